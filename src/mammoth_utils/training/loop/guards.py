"""Guards: checks of seconds that each stop one mistake which would otherwise train for hours in silence."""

from __future__ import annotations

import hashlib
import math
from dataclasses import dataclass
from typing import Any

from mammoth_utils import prompts, records
from mammoth_utils.training.loop import losses
from mammoth_utils.training.loop.encoding import IGNORE_INDEX, Example

# What the authors trained on, as in their released `prompt_utils.py`; a test pins the same bytes.
ALPACA_SHA256 = "35101bc36d10997c7d926d8f21f7d173aec6523f3a57d78821b944a89925cdca"
LOSS_TOLERANCE = {"fp32": 1e-4, "bf16": 3e-2, "fp16": 1e-2}


@dataclass(frozen=True)
class Precision:
    """In what a run computes: ``bf16``, ``fp16`` (with loss scaling) or ``fp32``, and why."""

    compute: str
    reason: str


def choose_precision(device: str) -> Precision:
    """Return what the device computes fast and exactly enough in; weights that are trained stay fp32 beside it."""
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


def check_template() -> None:
    """Raise ValueError unless the prompt template is the authors' to the byte.

    Otherwise a model would be asked in other words than it was trained on.
    """
    digest = hashlib.sha256(prompts.ALPACA.encode()).hexdigest()
    if digest != ALPACA_SHA256:
        raise ValueError(f"the Alpaca template has changed: expected sha256 {ALPACA_SHA256}, got {digest}")


def check_tokenizer(tokenizer: Any, embedding_rows: int) -> None:
    """Raise ValueError unless the tokenizer can end, pad and give back the prompt, and the model has all its ids."""
    if tokenizer.eos_token_id is None:
        raise ValueError("the tokenizer has no end-of-sequence token, so a model could not learn to stop")
    if tokenizer.pad_token_id is None:
        raise ValueError("the tokenizer has no padding token; tokenizer.prepare_tokenizer gives it one")
    own = (tokenizer.bos_token, tokenizer.eos_token, tokenizer.unk_token, tokenizer.pad_token)
    never = set(tokenizer.all_special_tokens) - set(own)  # a row with one of these is left out
    count = 1 + max(number for token, number in tokenizer.get_vocab().items() if token not in never)
    if count > embedding_rows:
        raise ValueError(f"the tokenizer has {count} tokens, the model rows for {embedding_rows} only")
    text = prompts.alpaca("What is 7 plus 5?" + prompts.POT_TRIGGER)
    decoded = tokenizer.decode(tokenizer(text, add_special_tokens=False).input_ids, skip_special_tokens=False)
    if decoded.strip() != text.strip():
        raise ValueError(f"the tokenizer does not give the prompt back: {text!r} became {decoded!r}")


def rope_theta(config: Any) -> float | None:
    """Return the base of the rotary embedding, wherever the configuration's version of transformers keeps it."""
    values = config if isinstance(config, dict) else config.to_dict()
    for place in (values.get("rope_parameters") or {}, values.get("rope_scaling") or {}, values):
        if isinstance(place, dict) and place.get("rope_theta") is not None:
            return float(place["rope_theta"])
    return None


def check_rope(config: Any, expected: float | None) -> None:
    """Raise ValueError unless the rotary embedding's base is what the family needs.

    Code Llama's is 1e6: MAmmoTH-Coder-7B read 19.8 on MATH until its configuration said so. transformers 5 keeps the
    value in ``rope_parameters`` and reads the older ``rope_theta`` into it.
    """
    theta = rope_theta(config)
    if expected is not None and theta != expected:
        raise ValueError(
            f'rope_theta is {theta}, this base model needs {expected:g}: put "rope_theta": {expected:g} into its '
            'config.json (transformers 5: inside "rope_parameters"), or every position is read wrongly'
        )


def check_labels(packed: list[list[Example]], eos: int) -> None:
    """Raise ValueError unless every row has something to learn, every rationale its end, and no prompt a label."""
    for number, row in enumerate(packed):
        for example in row:
            if not example.answer or example.answer[-1] != eos:
                raise ValueError(f"packed row {number}: a rationale lost its end of sequence, so none is learnt")
            if len(example.prompt) == 0:
                raise ValueError(f"packed row {number}: a rationale without its prompt")
        if all(label == IGNORE_INDEX for example in row for label in example.labels[1:]):
            raise ValueError(f"packed row {number} has no label: nothing to learn")


def check_packing(model: Any, examples: list[Example], tolerance: float) -> float:
    """Return by how many nats the mean loss of a packed row differs from that of its documents one at a time.

    Raises:
        ValueError: If it exceeds the tolerance: documents see each other, and the run would train something else.
    """
    apart = losses.mean_loss(model, examples)
    together = losses.row_loss(model, examples) / sum(len(example.answer) for example in examples)
    difference = abs(together - apart)
    if not math.isfinite(together + apart):
        raise ValueError(
            f"the base's loss is {apart} before training, though its weights are finite: it does not compute in this "
            "type; take another base, or a card with bf16"
        )
    if not difference <= tolerance:
        raise ValueError(
            f"packed loss {together:.5f} differs from unpacked {apart:.5f} by more than {tolerance:g}: "
            "the documents of a row see each other"
        )
    return difference


def keep_four_bit(model: Any) -> int:
    """Stop the 4-bit layers of a model on a CPU from repacking their weights, and return their number.

    On processors with AVX512-BF16 bitsandbytes repacks them in place at the first pass in evaluation mode; what the
    backward pass then reads is noise, while the loss looks right (measured: training diverges).
    """
    layers = [module for module in model.modules() if hasattr(module, "support_avx512bf16_for_cpu")]
    for layer in layers:
        layer.support_avx512bf16_for_cpu = False
    return len(layers)


def check_first_loss(loss: float, expected: float, tolerance: float) -> float:
    """Return by how many nats the trainer's loss before its first update differs from the base's own.

    Stops a trainer that learns something else than the base is asked: labels moved by a token or left on the prompt,
    another template, another scale of the loss, weights in another type.

    Raises:
        ValueError: If the difference exceeds the tolerance, or the trainer's loss is no number.
    """
    difference = abs(loss - expected)
    if not difference <= tolerance:
        raise ValueError(
            f"the first step's loss is {loss:.4f} nats a token, a plain pass of the base model over the same examples "
            f"gives {expected:.4f}, {difference:.4f} apart where {tolerance:g} is allowed: the trainer sees other "
            "labels, another template, another scale of the loss or another type than decoding will"
        )
    return difference


def check_sharded_loss(before: float, after: float, tolerance: float) -> float:
    """Return by how many nats the loss of one batch changed when the model was cut over processes.

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


def check_dtypes(model: Any, method: str, compute: str, master_weights: str = "fp32") -> None:
    """Raise ValueError unless trained weights are in fp32 and the frozen base of adapters in the compute type.

    Stops two mistakes that train without a word: weights in 16 bit, of which most updates are lost at the paper's
    rates, and a base in fp32 beside adapters, which takes twice the memory that the planner counted.

    Args:
        model: As the trainer has it.
        compute: ``bf16``, ``fp16`` or ``fp32``.
        master_weights: ``bf16`` where 16 bit was asked for.
    """
    names = {"fp32": "torch.float32", "bf16": "torch.bfloat16", "fp16": "torch.float16"}
    trained = names[master_weights]
    for name, parameter in model.named_parameters():
        dtype = str(parameter.dtype)
        if parameter.requires_grad:
            if dtype != trained:
                raise ValueError(
                    f"{name} is trained in {dtype}, expected {trained}: in 16 bit most updates of these rates are "
                    "lost; -p master_weights bf16 asks for that"
                )
        elif method != "full" and getattr(parameter, "quant_state", None) is None and dtype != names[compute]:
            raise ValueError(
                f"{name} of the frozen base is {dtype}, expected {names[compute]}: the base was loaded in another type "
                "than the run computes in, and takes other memory than was planned"
            )


def check_padding(inputs: dict[str, Any]) -> None:
    """Raise ValueError unless a collated batch has labels, and none on padding.

    Stops a model that learns to write padding, or is shown padding as if it were text: right after the end of
    sequence, where decoding then never stops.

    Args:
        inputs: What the collator makes: ``labels`` of shape (batch, tokens), and either ``attention_mask`` (1 on
            tokens) or, for flattened rows, ``cu_seq_lens_q``, the borders of its documents.
    """
    labelled = inputs["labels"] != IGNORE_INDEX
    if not labelled.any():
        raise ValueError("a batch has no label at all: nothing to learn, and its loss is no number")
    if inputs.get("attention_mask") is not None:
        if wrong := int((labelled & (inputs["attention_mask"] == 0)).sum()):
            raise ValueError(f"{wrong} labels stand on padding: the model would learn to write it and not to stop")
        return
    if inputs.get("cu_seq_lens_q") is None:
        raise ValueError("expected a batch with attention_mask or cu_seq_lens_q; it does not say what is padding")
    borders, tokens = inputs["cu_seq_lens_q"], inputs["labels"].shape[1]
    if int(borders[-1]) != tokens:
        raise ValueError(
            f"{tokens - int(borders[-1])} tokens of a row of {tokens} belong to no document: padding read as text"
        )
