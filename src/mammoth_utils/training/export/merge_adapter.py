"""Merge an adapter into its base, one matrix at a time, so that a 70B is merged on a machine that cannot load it.

``python -m mammoth_utils.training.export.merge_adapter runs/train/NAME`` says what it needs, then does it. A QLoRA
adapter is merged into the *dequantised* 4-bit base, since that is the net which was trained: each matrix is quantised
and dequantised as the run's layers did it, read from disk, never from layers that have computed. On processors with
AVX512-BF16 those hold repacked weights after their first evaluation pass, and an adapter merged into them gives noise
(measured: 7.5 nats).
"""

from __future__ import annotations

import argparse
import math
import random
import shutil
import sys
import time
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from mammoth_utils import records
from mammoth_utils.base_models import BaseModelError, StoredWeights, check_weights, fetch_base, require_same_base
from mammoth_utils.silence_libraries import silent_training
from mammoth_utils.training.description import RunDescription
from mammoth_utils.training.export import model_card, model_folder, verify_tensors
from mammoth_utils.training.export.lora_pairs import Pairs
from mammoth_utils.training.loop.model import torch_dtype

if TYPE_CHECKING:
    import torch

SHARD_BYTES = 2_000_000_000
LIBRARIES = 600_000_000  # what torch, transformers and bitsandbytes hold before anything is read
CHECKED = 4  # matrices of a merged model, drawn by the run's seed, that are computed once more


@dataclass(frozen=True)
class MergeNeeds:
    """What merging takes: bytes of memory beyond the libraries' own, bytes of disk, and files."""

    memory: int
    disk: int
    shards: int

    def __str__(self) -> str:
        return (
            f"{(self.memory + LIBRARIES) / 1e9:.1f} GB of memory and {self.disk / 1e9:.2f} GB of disk "
            f"for {self.shards} file{'s' if self.shards > 1 else ''}"
        )


def stored_dtype(description: RunDescription, compute: str) -> str:
    """Return in what a run's model is stored: fp32 for the miniature, else the 16 bits it computed in, or bf16."""
    return "fp32" if description.miniature else "fp16" if compute == "fp16" else "bf16"


@dataclass(frozen=True)
class MergeReport:
    """A merge as the record keeps it: what it took, the merged weights' hash, and the matrices computed once more."""

    seconds: float
    memory_bytes: int
    disk_bytes: int
    device: str
    hash: str
    checked: list[str]


def estimate_needs(folder: Path, compute: str = "", shard_bytes: int = SHARD_BYTES) -> MergeNeeds:
    """Estimate what merging a run takes, from the headers of its files alone.

    Memory is one output file, the largest matrix as it is stored, in fp32 twice (itself and what is added) and in the
    output's type, and the adapter. The arguments are those of :func:`merge_adapter`.
    """
    description, compute, stored = _run(Path(folder), compute)
    item = 4 if stored_dtype(description, compute) == "fp32" else 2
    shards = _shards(stored.shapes, item, shard_bytes)
    largest = max(map(math.prod, stored.shapes.values()))
    adapter = sum(file.stat().st_size for file in (Path(folder) / "adapter").glob("*.safetensors"))
    held = max(sum(math.prod(stored.shapes[name]) for name in shard) for shard in shards) * item
    total = sum(map(math.prod, stored.shapes.values())) * item
    return MergeNeeds(held + largest * (stored.item_bytes + 8 + item) + adapter, total, len(shards))


def merge_adapter(folder: Path, compute: str = "", device: str = "cpu", shard_bytes: int = SHARD_BYTES) -> Path:
    """Merge a run's adapter into its base and return the folder ``model/``, which any server loads.

    In 16 bit (fp32 for the miniature), without a quantisation, in safetensors of at most ``shard_bytes`` with their
    index. Each weight is computed in fp32 and rounded once. :func:`estimate_needs` says what memory this takes.

    Args:
        folder: The run's folder, with ``run.json`` and ``adapter/``.
        compute: In what the run computed; read from its record where it is not given.
        device: Where matrices are quantised and multiplied, ``cpu`` or ``cuda``; a run on a card quantised there.
        shard_bytes: The most that one output file holds.

    Raises:
        FileNotFoundError: If it holds no adapter, or the base no weights.
        ValueError: If the adapter does not belong to this base.
        OSError: If the disk has no room for it.
    """
    import torch
    from safetensors.torch import save_file

    folder = Path(folder)
    pairs = Pairs.read(folder / "adapter")
    description, compute, stored = _run(folder, compute)
    model = _empty_model(stored, description)
    _check_pairs(pairs, stored, model, description)
    item = 4 if stored_dtype(description, compute) == "fp32" else 2
    shards = _shards(stored.shapes, item, shard_bytes)
    free, total = shutil.disk_usage(folder).free, sum(map(math.prod, stored.shapes.values())) * item
    if free < total:
        raise OSError(f"{folder / 'model'} takes {total / 1e9:.2f} GB, the disk has {free / 1e9:.2f} GB left")
    part = model_folder.fresh_part(folder / "model")
    stored_as, computed = torch_dtype(stored_dtype(description, compute)), torch_dtype(compute)
    index: dict[str, str] = {}
    for number, shard in enumerate(shards, 1):
        file = "model.safetensors" if len(shards) == 1 else f"model-{number:05}-of-{len(shards):05}.safetensors"
        tensors = {}
        for name in shard:
            if name in pairs.a:
                base = _adapted_weight(stored, name, computed, description, device)
                weight = base.to(device).float() + pairs.product(name, device)
            else:
                weight = stored.tensor(name).to(computed)
            if not torch.isfinite(weight).all():
                raise ValueError(f"{name} is not finite after merging: the adapter or the base is damaged")
            tensors[name] = weight.to(stored_as).to("cpu", copy=True).contiguous()
            index[name] = file
        save_file(tensors, part / file, metadata={"format": "pt"})
    if len(shards) > 1:
        sizes = {"metadata": {"total_size": total}, "weight_map": index}
        records.write_json(part / "model.safetensors.index.json", sizes)
    from transformers import AutoTokenizer

    config, tokenizer = model.config, AutoTokenizer.from_pretrained(folder / "adapter")
    config.dtype, config.use_cache, config.architectures = stored_as, True, [type(model).__name__]
    config.save_pretrained(part)
    model_folder.add_tokenizer(part, tokenizer, description)
    model_folder.generation_config(tokenizer).save_pretrained(part)
    tensors.clear()
    _check_merged(part, description, computed, pairs, stored, device)
    return model_folder.put_in_place(part, folder / "model")


def merge_and_report(folder: Path, compute: str = "", device: str = "cpu") -> MergeReport:
    """Merge a run's adapter, as :func:`merge_adapter` does, and return what that took and what came of it."""
    began, needs = time.monotonic(), estimate_needs(folder, compute)
    model = merge_adapter(folder, compute, device)
    seconds = time.monotonic() - began
    description = RunDescription.from_dict(records.read_json(Path(folder) / "run.json"))
    checked = _drawn(Pairs.read(Path(folder) / "adapter"), description)
    return MergeReport(seconds, needs.memory, needs.disk, device, model_folder.weights_hash(model), checked)


def record_merge(folder: Path, report: MergeReport) -> None:
    """Write a merge that came after its run into the run's record, and the model's card."""
    record = records.read_json(folder / "record.json")
    record["merging"] = asdict(report)
    record["model"]["folders"] = list(dict.fromkeys([*record["model"]["folders"], "model"]))
    model_card.write_card(folder, record)
    records.write_record(folder, record)


def _drawn(pairs: Pairs, description: RunDescription) -> list[str]:
    """Return the matrices of a merged model that are computed once more."""
    names = sorted(pairs.a)
    return random.Random(description.seed).sample(names, min(CHECKED, len(names)))


def _check_merged(
    place: Path, description: RunDescription, computed: torch.dtype, pairs: Pairs, stored: StoredWeights, device: str
) -> None:
    """Raise ValueError unless the files hold every weight, and the drawn ones are base + scale · B A, rounded."""
    written = StoredWeights(place)
    if written.shapes != stored.shapes:
        differ = sorted(set(written.shapes.items()) ^ set(stored.shapes.items()))
        raise ValueError(f"{place} does not hold the weights of {description.base}: {differ[:3]} are in one alone")
    for name in _drawn(pairs, description):
        weight = _adapted_weight(stored, name, computed, description, device)
        error = pairs.rounding_error(name, weight, written.tensor(name))
        if not error <= 1:
            raise ValueError(f"{name}, merged, is {error:.3g} times the rounding of its type from base + scale · B A: "
                             f"{place} is not the net that was trained")  # fmt: skip


def _adapted_weight(
    stored: StoredWeights, name: str, computed: torch.dtype, description: RunDescription, device: str
) -> torch.Tensor:
    """Return the base's matrix as the adapter was trained on it."""
    weight = stored.tensor(name).to(computed)
    return quantise_and_dequantise(weight.to(device)) if description.method == "qlora" else weight


def quantise_and_dequantise(weight: torch.Tensor) -> torch.Tensor:
    """Return what a QLoRA layer multiplies by: the matrix quantised to nf4 with double quantisation, and back."""
    from bitsandbytes import functional

    stored, state = functional.quantize_4bit(weight.contiguous(), compress_statistics=True, quant_type="nf4")
    return functional.dequantize_4bit(stored, state)


def _run(folder: Path, compute: str) -> tuple[RunDescription, str, StoredWeights]:
    """Return a run's description, in what it computed, and the weights of its base, which is the one of the run."""
    run = records.read_json(folder / "run.json")
    description = RunDescription.from_dict(run)
    if not compute:
        if not (folder / "record.json").is_file():
            raise FileNotFoundError(f"{folder} holds no record.json: the run has not finished")
        compute = records.read_json(folder / "record.json")["environment"]["dtype"]
    base = fetch_base(*description.base_source)
    require_same_base(run.get("inputs", {}).get("base", {}), *description.base_source)
    check_weights(base)
    return description, compute, StoredWeights(base)


def _empty_model(stored: StoredWeights, description: RunDescription) -> Any:
    """Return the base with shapes and without weights."""
    from transformers import AutoConfig

    return verify_tensors.empty_model(AutoConfig.from_pretrained(stored.folder))


def _check_pairs(pairs: Pairs, stored: StoredWeights, model: Any, description: RunDescription) -> None:
    """Raise ValueError unless the base is complete, each pair has its matrix in it and each linear layer its pair."""
    expected = {name: tuple(value.shape) for name, value in model.state_dict().items()}
    tied = verify_tensors.tied_names(model)
    absent = sorted(name for name in expected if name not in stored.shapes and name not in tied)
    foreign = sorted(name for name in stored.shapes if name not in expected)
    if absent or foreign:
        raise ValueError(f"the weights of {description.base} are not those of its config.json: "
                         f"missing {absent[:3]}, unknown {foreign[:3]}")  # fmt: skip
    for name in pairs.a:
        shape = (pairs.b[name].shape[0], pairs.a[name].shape[1])
        if stored.shapes.get(name) != shape:
            raise ValueError(f"the adapter changes {name} of shape {shape}, {description.base} holds "
                             f"{stored.shapes.get(name, 'none')}: it was trained on another base")  # fmt: skip
    if bare := sorted(set(verify_tensors.linear_layers(model, description.lora_targets)) - set(pairs.a)):
        adapted = description.lora_targets.replace("all-linear", "all linear layers")
        raise ValueError(f"a {description.method} run adapts {adapted}; without a pair: {bare[:3]}")


def _shards(shapes: dict[str, tuple[int, ...]], item: int, limit: int) -> list[list[str]]:
    """Return the names of each output file, in order; a tensor larger than a file has one of its own."""
    shards: list[list[str]] = [[]]
    used = 0
    for name, shape in shapes.items():
        size = math.prod(shape) * item
        if shards[-1] and used + size > limit:
            shards.append([])
            used = 0
        shards[-1].append(name)
        used += size
    return shards


def merge_command(folder: Path, device: str = "cpu") -> str:
    """Return the line that merges a run; on a card where it computed on one, which quantised its base."""
    on_card = " --device cuda" if device == "cuda" else ""
    return f"python -m mammoth_utils.training.export.merge_adapter {folder}{on_card}"


def _check_device(device: str) -> None:
    """Raise ValueError if this machine has no such device."""
    import torch

    if device == "cuda" and not torch.cuda.is_available():
        raise ValueError("--device cuda was asked for and torch finds no card here; --device cpu computes the same "
                         "sums, but quantises a QLoRA base with another kernel than the run's")  # fmt: skip


def main(arguments: Sequence[str] | None = None) -> int:
    """Merge the adapter of a finished run; return 0 if that went well."""
    parser = argparse.ArgumentParser(description="Merge a run's adapter into its base, one matrix at a time.")
    parser.add_argument("folder", type=Path, help="a finished LoRA or QLoRA run, such as runs/train/NAME")
    parser.add_argument(
        "--device", default="cpu", choices=("cpu", "cuda"), help="cuda where the run computed on a card"
    )
    parser.add_argument("--dry-run", action="store_true", help="say what it needs, and do nothing")
    chosen = parser.parse_args(arguments)
    try:
        with silent_training():
            Pairs.read(chosen.folder / "adapter")
            _check_device(chosen.device)
            print(f"merging {chosen.folder} needs {estimate_needs(chosen.folder)}", flush=True)
            if chosen.dry_run:
                return 0
            report = merge_and_report(chosen.folder, device=chosen.device)
            record_merge(chosen.folder, report)
    except (BaseModelError, FileNotFoundError, ValueError, OSError) as error:
        print(f"not merged: {error}", file=sys.stderr)
        return 1
    print(f"{chosen.folder / 'model'}: {report.disk_bytes / 1e9:.2f} GB, merged in {report.seconds:.0f} s; "
          f"{len(report.checked)} matrices computed once more, record and card written")  # fmt: skip
    return 0


if __name__ == "__main__":
    sys.exit(main())
