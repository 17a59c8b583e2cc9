"""The output head on the positions that the loss sees, and on no other.

About half of a row is prompt, whose next tokens nobody asks for. TRL leaves such positions out where it has Triton, and
scores every one on a CPU, twice over, with an entropy and an accuracy that no page reads: over a quarter of a
step of a net of a few million weights. There the head is asked for the labels' positions alone.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from mammoth_utils.training.loop.encoding import IGNORE_INDEX

BYTES_A_LOGIT = 10  # in 16 bit, in 32, and its gradient
ROOM = 2**28  # bytes; beyond it, TRL's head works in tiles of about this size, as the planner expects


def fits(device: str, tokens: int, vocabulary: int) -> bool:
    """Return whether the labels' scores are built whole: on a CPU, and if those of so many tokens are within ``ROOM``.

    It follows from the run, not from a row: processes that differed here would wait for each other's counts.
    """
    return device == "cpu" and tokens * vocabulary * BYTES_A_LOGIT <= ROOM


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
    scored = (inputs["labels"][0, 1:] != IGNORE_INDEX).nonzero().flatten()
    rest = {key: value for key, value in inputs.items() if key not in ("labels", "use_cache")}
    logits = model(**rest, use_cache=False, logits_to_keep=scored).logits
    if logits.shape[1] != len(scored):
        raise RuntimeError(
            f"expected scores of {len(scored)} positions, got {logits.shape[1]}: this model's forward takes no "
            "logits_to_keep, which transformers 5 gives every causal language model"
        )
    return torch.nn.functional.cross_entropy(logits[0].float(), inputs["labels"][0, scored + 1], reduction="sum")
