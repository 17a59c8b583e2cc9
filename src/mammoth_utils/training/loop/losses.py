"""Losses of packed rows: summed for a training step, and read without gradients for the checks.

About half of a row is prompt, whose next tokens no loss reads. TRL leaves such positions out where it has Triton, and
scores every one on a CPU, twice over, with an entropy and an accuracy that no page reads: over a quarter of a step of a
net of a few million weights. There :func:`summed_loss` asks the head for the labels' positions alone.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from mammoth_utils.training.loop.encoding import IGNORE_INDEX, Example, columns

if TYPE_CHECKING:
    from torch import Tensor


def summed_loss(model: Any, inputs: dict[str, Any]) -> Tensor:
    """Return the loss of a flattened row, summed over its labels, in nats.

    The model's own forward is called, with whatever wraps it, so adapters, 4-bit weights, data parallelism and shards
    stay as they are.

    Args:
        model: A causal language model of transformers, whose ``logits_to_keep`` takes positions.
        inputs: What the padding-free collator gives: one flattened row, ``labels`` among it.

    Raises:
        RuntimeError: If the model scores other positions.
    """
    from torch.nn.functional import cross_entropy

    scored = (inputs["labels"][0, 1:] != IGNORE_INDEX).nonzero().flatten()
    rest = {key: value for key, value in inputs.items() if key not in ("labels", "use_cache")}
    logits = model(**rest, use_cache=False, logits_to_keep=scored).logits
    if logits.shape[1] != len(scored):
        raise RuntimeError(
            f"expected scores of {len(scored)} positions, got {logits.shape[1]}: this model's forward takes no "
            "logits_to_keep, which transformers 5 gives every causal language model"
        )
    return cross_entropy(logits[0].float(), inputs["labels"][0, scored + 1], reduction="sum")


def row_loss(model: Any, row: list[Example]) -> float:
    """Return the summed loss of a packed row's rationales in nats, without gradients and in evaluation mode.

    The sum has one term for each token of the answers. Under FSDP every process must call.
    """
    import torch
    from torch.nn.functional import cross_entropy

    from mammoth_utils.training.loop.packed_attention import row_inputs

    data = {key: values[0] for key, values in columns([row]).items()}
    device = next(model.parameters()).device
    ids = torch.tensor([data["input_ids"]], device=device)
    target = torch.tensor([data["labels"]], device=device)
    training = model.training
    model.eval()
    try:
        with torch.no_grad():
            # Neither a mask nor a cache: with either, transformers would let the examples read each other.
            logits = model(input_ids=ids, **row_inputs(data["seq_lengths"], device)).logits
            summed = cross_entropy(logits[0, :-1].float(), target[0, 1:], ignore_index=IGNORE_INDEX, reduction="sum")
            return summed.item()
    finally:
        model.train(training)


def mean_loss(model: Any, examples: list[Example]) -> float:
    """Return the mean loss of a rationale's tokens over examples that are read one at a time, in nats."""
    return sum(row_loss(model, [example]) for example in examples) / sum(len(example.answer) for example in examples)
