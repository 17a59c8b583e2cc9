"""The loss of examples outside a trainer, in the form that packed attention reads."""

from __future__ import annotations

from typing import Any

from mammoth_utils.training.loop.encoding import IGNORE_INDEX, Example, columns


def row_loss(model: Any, row: list[Example]) -> float:
    """Return the summed loss of a packed row's rationales in nats, without gradients and in evaluation mode.

    Args:
        model: A causal language model with attention ``packed``; under FSDP every process must call.
        row: The row's examples; the sum has one term for each token of their answers.
    """
    import torch

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
            return torch.nn.functional.cross_entropy(
                logits[0, :-1].float(), target[0, 1:], ignore_index=IGNORE_INDEX, reduction="sum"
            ).item()
    finally:
        model.train(training)


def mean_loss(model: Any, examples: list[Example]) -> float:
    """Return the mean loss of a rationale's tokens over examples that are read one at a time, in nats."""
    return sum(row_loss(model, [example]) for example in examples) / sum(len(example.answer) for example in examples)
