"""Guards: checks of seconds that each stop one mistake which would otherwise train for hours in silence."""

from __future__ import annotations

import hashlib
import json
import os
import shutil
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from mammoth_utils import paths, prompts, records, scales
from mammoth_utils.training import architectures, planner
from mammoth_utils.training.describe import RunDescription
from mammoth_utils.training.encoding import IGNORE_INDEX, Example, columns
from mammoth_utils.training.quiet import importing

# What the authors trained on, as in their released `prompt_utils.py`; a test pins the same bytes.
ALPACA_SHA256 = "35101bc36d10997c7d926d8f21f7d173aec6523f3a57d78821b944a89925cdca"
TOLERANCE = {"fp32": 1e-4, "bf16": 3e-2, "fp16": 1e-2}
WEIGHT_FILES = ("*.safetensors", "pytorch_model*.bin")


class NotReadyError(RuntimeError):
    """A run cannot start on this machine; the message says what is missing and how to get it."""


@dataclass(frozen=True)
class Precision:
    """In what a run computes: ``bf16``, ``fp16`` (with loss scaling) or ``fp32``, and why."""

    compute: str
    reason: str


def ready(description: RunDescription) -> list[str]:
    """What was found for a run, line by line; it loads nothing and takes seconds.

    Raises:
        NotReadyError: If weights, a GPU or disk are missing, with all that is missing and how to get each.
    """
    found, missing = [], []
    scale = scales.scale(description.size, description.family)
    architecture = architectures.architecture_of(scale, description.base)
    device = _device(description, architecture)
    (found if device.ok else missing).append(device.said)
    weights = _weights(description, fetch=device.ok)
    (found if weights.ok else missing).append(weights.said)
    space = _disk(description, architecture)
    (found if space.ok else missing).append(space.said)
    if missing:
        raise NotReadyError(
            f"{description.name} cannot start here:\n- " + "\n- ".join(missing)
            + "\nThe miniature trains anywhere: -p size 1m"
        )  # fmt: skip
    return found


@dataclass(frozen=True)
class _Finding:
    ok: bool
    said: str


def _device(description: RunDescription, architecture: architectures.Architecture) -> _Finding:
    """Whether the cards, or the processor, of this machine carry the run."""
    count, size = architecture.parameters, description.size
    cards = [] if description.devices == "cpu" else planner.gpus()
    if not cards or (description.miniature and description.devices == "auto"):
        if count <= planner.CPU_PARAMETERS:
            return _Finding(True, f"{count:,} parameters train on the CPU")
        card = 80e9 / planner.GIB
        needs = {row.method: row for row in planner.plan(description, 1, card)}
        row = needs[description.method]
        others = ", ".join(f"{m} {needs[m].total:.0f} GiB" for m in planner.METHODS if m != description.method)
        why = "devices=cpu leaves it none" if description.devices == "cpu" else "nvidia-smi lists none here"
        return _Finding(
            False,
            f"an NVIDIA GPU: {size} has {count:,} parameters, and {why}. {description.method} needs "
            f"{row.total:.0f} GiB on one card (80 GB cards: {row.fewest or 'over 64'}); on one card {others}",
        )
    asked = len(cards) if description.devices == "auto" else int(description.devices)
    if asked > len(cards):
        return _Finding(False, f"{asked} GPUs, as devices={asked} asks; this machine has {len(cards)}")
    smallest = min(card.gib for card in cards[:asked])
    rows = {row.method: row for row in planner.plan(description, asked, smallest)}
    row = rows[description.method]
    if row.fits:
        return _Finding(True, f"{row.method} needs {row.total:.1f} of the {smallest:.0f} GiB of {cards[0].name}")
    fitting = [m for m in planner.METHODS if rows[m].fits]
    advice = f"use method={' or '.join(fitting)}" if fitting else "a smaller max_length or more cards would help"
    return _Finding(
        False,
        f"memory: {row.method} needs {row.total:.0f} GiB on each of {asked} cards, they have {smallest:.0f}; {advice}"
        + (f"; {row.fewest} such cards carry {row.method}" if row.fewest else ""),
    )


def _weights(description: RunDescription, fetch: bool) -> _Finding:
    """Whether the base's weights are here or can be fetched; asks the hub only if nothing else is missing."""
    base = description.base_path
    folder = Path(base)
    if folder.is_absolute():
        if not (folder / "config.json").is_file():
            made = " (made by `python -m mammoth_utils.miniature.pretraining`)" if description.miniature else ""
            return _Finding(False, f"the base model: {folder} holds no config.json{made}")
        if not any(file for pattern in WEIGHT_FILES for file in folder.glob(pattern)):
            return _Finding(False, f"the base model's weights: {folder} holds none of {', '.join(WEIGHT_FILES)}")
        return _Finding(True, f"base model in {folder}")
    how = (
        f"`hf download {base}` (older: `huggingface-cli download {base}`) fetches them, or -p base PATH names a folder "
        f"with them; where https://huggingface.co/{base} asks for consent, give it there and set HF_TOKEN"
    )
    if base.startswith((".", "~", os.sep)) or base.count("/") != 1:
        return _Finding(False, f"the base model: {base!r} is neither a folder here nor a hub name like owner/name")
    if revision(base) is not None:
        return _Finding(True, f"base model {base} in the hub's cache")
    if not fetch or os.environ.get("HF_HUB_OFFLINE", "0") not in ("", "0"):
        return _Finding(False, f"the weights of {base}: they are not on this machine. {how}")
    from huggingface_hub import hf_hub_download
    from huggingface_hub.errors import HfHubHTTPError, LocalEntryNotFoundError

    try:
        hf_hub_download(base, "config.json", etag_timeout=10)
    except HfHubHTTPError as error:
        status = getattr(error.response, "status_code", "?")
        token = "the token in HF_TOKEN was not accepted" if os.environ.get("HF_TOKEN") else "HF_TOKEN is not set"
        refused = f" ({token})" if status in (401, 403) else ""
        return _Finding(False, f"the weights of {base}: the hub answered {status}{refused}. {how}")
    except (LocalEntryNotFoundError, OSError) as error:
        return _Finding(False, f"the weights of {base}: the hub cannot be reached ({type(error).__name__}). {how}")
    return _Finding(True, f"base model {base}, which the hub gives us")


def _disk(description: RunDescription, architecture: architectures.Architecture) -> _Finding:
    """Whether the run's folder has room for the model and, where they are kept, two checkpoints."""
    count = architecture.parameters
    trained = count if description.method == "full" else architecture.lora_parameters(description.lora_rank)
    need = (4 if description.miniature else 2) * count + (2 * 12 * trained if description.checkpoint_minutes else 0)
    place = paths.runs()
    while not place.is_dir():
        place = place.parent
    free = shutil.disk_usage(place).free
    if free < need:
        return _Finding(
            False, f"disk: {need / 1e9:.1f} GB for the model and two checkpoints, {place} has {free / 1e9:.1f}"
        )
    return _Finding(True, f"{need / 1e9:.2f} GB of disk needed, {free / 1e9:.0f} free")


def revision(name: str) -> str | None:
    """The commit of a hub model in the local cache, or None where its configuration is not there."""
    with importing():
        from huggingface_hub import try_to_load_from_cache

    cached = try_to_load_from_cache(name, "config.json")
    return Path(cached).parent.name if isinstance(cached, str) else None


def precision(device: str) -> Precision:
    """What the processor or card computes fast and exactly enough in; weights that are trained stay fp32 beside it."""
    if device == "cuda":
        import torch

        name = torch.cuda.get_device_name()
        if torch.cuda.is_bf16_supported(including_emulation=False):
            return Precision("bf16", f"{name} has bf16")
        return Precision("fp16", f"{name} has no bf16: fp16 with loss scaling")
    processor = records.processor()
    if "_bf16" in processor:
        return Precision("bf16", f"{processor} multiplies in bf16")
    return Precision("fp32", f"{processor} has no bf16 instructions, which it would emulate")


def template() -> None:
    """Nothing, if the prompt template is the authors' to the byte.

    Raises:
        ValueError: If it is not: a model would be asked in other words than it was trained on.
    """
    found = hashlib.sha256(prompts.ALPACA.encode()).hexdigest()
    if found != ALPACA_SHA256:
        raise ValueError(f"the Alpaca template has changed: expected sha256 {ALPACA_SHA256}, got {found}")


def tokenizer_fits(tokenizer: Any, embedding_rows: int) -> None:
    """Nothing, if the tokenizer can end, pad and write back the prompt, and the model has a row for each of its ids.

    Raises:
        ValueError: Naming what is wrong.
    """
    if tokenizer.eos_token_id is None:
        raise ValueError("the tokenizer has no end-of-sequence token, so a model could not learn to stop")
    if tokenizer.pad_token_id is None:
        raise ValueError("the tokenizer has no padding token; adapters.prepare_tokenizer gives it one")
    if len(tokenizer) > embedding_rows:
        raise ValueError(f"the tokenizer has {len(tokenizer)} tokens, the model rows for {embedding_rows} only")
    text = prompts.alpaca("What is 7 plus 5?" + prompts.POT_TRIGGER)
    back = tokenizer.decode(tokenizer(text, add_special_tokens=False).input_ids, skip_special_tokens=False)
    if back.strip() != text.strip():
        raise ValueError(f"the tokenizer does not give the prompt back: {text!r} became {back!r}")


def rope_theta(config: Any) -> float | None:
    """The base of the rotary embedding that a configuration holds, wherever its version of transformers keeps it."""
    values = config if isinstance(config, dict) else config.to_dict()
    for place in (values.get("rope_parameters") or {}, values.get("rope_scaling") or {}, values):
        if isinstance(place, dict) and place.get("rope_theta") is not None:
            return float(place["rope_theta"])
    return None


def rope(config: Any, expected: float | None) -> None:
    """Nothing, if the rotary embedding's base is what the family needs.

    Code Llama's is 1e6: MAmmoTH-Coder-7B read 19.8 on MATH until its configuration said so. transformers 5 keeps the
    value in ``rope_parameters`` and reads the older ``rope_theta`` into it.

    Raises:
        ValueError: Naming both values and the line to put into ``config.json``.
    """
    found = rope_theta(config)
    if expected is not None and found != expected:
        raise ValueError(
            f'rope_theta is {found}, this base model needs {expected:g}: put "rope_theta": {expected:g} into its '
            'config.json (transformers 5: inside "rope_parameters"), or every position is read wrongly'
        )


def labels(packed: list[list[Example]], eos: int) -> None:
    """Nothing, if every row has something to learn, every rationale its end, and no prompt a label.

    Raises:
        ValueError: Naming the first row at fault.
    """
    for number, row in enumerate(packed):
        for example in row:
            if not example.answer or example.answer[-1] != eos:
                raise ValueError(f"packed row {number}: a rationale lost its end of sequence, so none is learnt")
            if len(example.prompt) == 0:
                raise ValueError(f"packed row {number}: a rationale without its prompt")
        if all(label == IGNORE_INDEX for example in row for label in example.labels[1:]):
            raise ValueError(f"packed row {number} has no label: nothing to learn")


def packed_equals_unpacked(model: Any, examples: list[Example], tolerance: float) -> float:
    """The difference between the mean loss of a packed row and that of its documents one at a time, in nats.

    Raises:
        ValueError: If it exceeds the tolerance: documents see each other, and the run would train something else.
    """
    import torch

    from mammoth_utils.training.attention import row_inputs

    def total(row: list[Example]) -> float:
        data = {key: values[0] for key, values in columns([row]).items()}
        ids = torch.tensor([data["input_ids"]], device=model.device)
        target = torch.tensor([data["labels"]], device=model.device)
        logits = model(input_ids=ids, **row_inputs(data["seq_lengths"], model.device)).logits
        return torch.nn.functional.cross_entropy(
            logits[0, :-1].float(), target[0, 1:], ignore_index=IGNORE_INDEX, reduction="sum"
        ).item()

    training = model.training
    model.eval()
    try:
        with torch.no_grad():
            count = sum(len(example.answer) for example in examples)
            apart = sum(total([example]) for example in examples) / count
            together = total(examples) / count
    finally:
        model.train(training)
    difference = abs(together - apart)
    if not difference <= tolerance:
        raise ValueError(
            f"packed loss {together:.5f} differs from unpacked {apart:.5f} by more than {tolerance:g}: "
            "the documents of a row see each other"
        )
    return difference


def keep_four_bit(model: Any) -> int:
    """The number of 4-bit layers on a CPU that were told not to repack their weights.

    On processors with AVX512-BF16 bitsandbytes repacks them in place at the first pass in evaluation mode; what the
    backward pass then reads is noise, while the loss looks right (measured: training diverges).
    """
    held = 0
    for module in model.modules():
        if hasattr(module, "support_avx512bf16_for_cpu"):
            module.support_avx512bf16_for_cpu = False
            held += 1
    return held


def base_identity(description: RunDescription) -> dict[str, Any]:
    """What identifies the base: its revision on the hub, else the hash of its files (of their headers beyond 1 GB)."""
    folder = Path(description.base_path)
    if not folder.is_dir():
        return {"name": description.base, "revision": revision(description.base)}
    files = sorted(file for pattern in WEIGHT_FILES for file in folder.glob(pattern))
    whole = sum(file.stat().st_size for file in files) <= 1e9
    digest = hashlib.sha256()
    for name in ("config.json", "tokenizer.json", "tokenizer.model"):
        if (folder / name).is_file():
            digest.update(name.encode() + (folder / name).read_bytes())
    for file in files:
        digest.update(f"{file.name} {file.stat().st_size}".encode())
        if whole:
            digest.update(records.sha256(file).encode())
        else:
            with open(file, "rb") as opened:
                digest.update(opened.read(1 << 20))
    return {"name": description.base, "sha256" if whole else "sha256 of headers": digest.hexdigest()}


def stored_config(folder: Path) -> dict[str, Any]:
    """The ``config.json`` of a model folder."""
    return json.loads((folder / "config.json").read_text(encoding="utf8"))
