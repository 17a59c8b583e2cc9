"""Guards: checks of seconds that each stop one mistake which would otherwise train for hours in silence."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from typing import Any

from mammoth_utils import prompts, records
from mammoth_utils.training.loop import losses
from mammoth_utils.training.loop.encoding import IGNORE_INDEX, Example

__all__ = [
    "ALPACA_SHA256",
    "TOLERANCE",
    "Precision",
    "dtypes",
    "first_loss",
    "keep_four_bit",
    "labels",
    "packed_equals_unpacked",
    "padding",
    "precision",
    "rope",
    "rope_theta",
    "same_loss",
    "template",
    "tokenizer_fits",
]

# What the authors trained on, as in their released `prompt_utils.py`; a test pins the same bytes.
ALPACA_SHA256 = "35101bc36d10997c7d926d8f21f7d173aec6523f3a57d78821b944a89925cdca"
TOLERANCE = {"fp32": 1e-4, "bf16": 3e-2, "fp16": 1e-2}


@dataclass(frozen=True)
class Precision:
    """In what a run computes: ``bf16``, ``fp16`` (with loss scaling) or ``fp32``, and why."""

    compute: str
    reason: str


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
    apart = losses.mean_loss(model, examples)
    together = losses.row_loss(model, examples) / sum(len(example.answer) for example in examples)
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


def first_loss(found: float, expected: float, tolerance: float) -> float:
    """The difference, in nats, between the trainer's loss before its first update and the base's own on those examples.

    Stops a trainer that learns something else than the base is asked: labels moved by a token or left on the prompt,
    another template, another scale of the loss, weights in another type.

    Raises:
        ValueError: If it exceeds the tolerance, or the trainer's loss is no number.
    """
    difference = abs(found - expected)
    if not difference <= tolerance:
        raise ValueError(
            f"the first step's loss is {found:.4f} nats a token, a plain pass of the base model over the same examples "
            f"gives {expected:.4f}, {difference:.4f} apart where {tolerance:g} is allowed: the trainer sees other "
            "labels, another template, another scale of the loss or another type than decoding will"
        )
    return difference


def same_loss(before: float, after: float, tolerance: float) -> float:
    """The difference, in nats, between the loss of one batch before and after the model was cut over processes.

    Stops shards that do not make the model: weights that stayed as they were initialised on all but one process,
    4-bit bytes that a cut has changed, a layer that was gathered twice or not at all.

    Raises:
        ValueError: If it exceeds the tolerance, or either is no number.
    """
    difference = abs(after - before)
    if not difference <= tolerance:
        raise ValueError(
            f"the loss of one batch was {before:.4f} nats a token before the model was cut over the processes and is "
            f"{after:.4f} now, {difference:.4f} apart where {tolerance:g} is allowed: the shards are not the model "
            "that was loaded; -p sharding none trains without them"
        )
    return difference


def dtypes(model: Any, method: str, compute: str, master_weights: str = "fp32", sharded: bool = False) -> None:
    """Nothing, if what is trained is kept in fp32 and the frozen base of adapters in the type that it computes in.

    Stops two mistakes that train without a word: weights in 16 bit, of which most updates are lost at the paper's
    rates, and a base in fp32 beside adapters, which takes twice the memory that the planner counted.

    Args:
        model: As the trainer has it.
        method: ``full``, ``lora`` or ``qlora``.
        compute: ``bf16``, ``fp16`` or ``fp32``.
        master_weights: ``bf16`` where 16 bit was asked for.
        sharded: Whether FSDP2 cuts the model; adapters of a 4-bit base then stay in bf16, as the trainer makes them.

    Raises:
        ValueError: Naming the first weight at fault, its type and the one expected.
    """
    names = {"fp32": "torch.float32", "bf16": "torch.bfloat16", "fp16": "torch.float16"}
    trained = names[master_weights]
    for name, parameter in model.named_parameters():
        kind = str(parameter.dtype)
        if parameter.requires_grad:
            if kind != trained and not (sharded and method == "qlora" and kind == names["bf16"]):
                raise ValueError(
                    f"{name} is trained in {kind}, expected {trained}: in 16 bit most updates of these rates are lost; "
                    "-p master_weights bf16 asks for that"
                )
        elif method != "full" and getattr(parameter, "quant_state", None) is None and kind != names[compute]:
            raise ValueError(
                f"{name} of the frozen base is {kind}, expected {names[compute]}: the base was loaded in another type "
                "than the run computes in, and takes other memory than was planned"
            )


def padding(inputs: dict[str, Any]) -> None:
    """Nothing, if a collated batch has labels, and none on padding.

    Stops a model that learns to write padding, or is shown padding as if it were text: right after the end of
    sequence, where decoding then never stops.

    Args:
        inputs: What the collator makes: ``labels`` of shape (batch, tokens), and either ``attention_mask`` (1 on
            tokens) or, for flattened rows, ``cu_seq_lens_q``, the borders of its documents.

    Raises:
        ValueError: Saying how many labels are at fault.
    """
    labelled = inputs["labels"] != IGNORE_INDEX
    if not labelled.any():
        raise ValueError("a batch has no label at all: nothing to learn, and its loss is no number")
    if inputs.get("attention_mask") is not None:
        wrong = int((labelled & (inputs["attention_mask"] == 0)).sum())
        if wrong:
            raise ValueError(f"{wrong} labels stand on padding: the model would learn to write it and not to stop")
        return
    if inputs.get("cu_seq_lens_q") is None:
        raise ValueError("expected a batch with attention_mask or cu_seq_lens_q; it does not say what is padding")
    borders, tokens = inputs["cu_seq_lens_q"], inputs["labels"].shape[1]
    if int(borders[-1]) != tokens:
        raise ValueError(
            f"{tokens - int(borders[-1])} tokens of a row of {tokens} belong to no document: padding read as text"
        )
