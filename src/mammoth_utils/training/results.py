"""What a run leaves: the trained weights or the adapter, the model folded together, the tokenizer beside them."""

from __future__ import annotations

from typing import Any

from mammoth_utils.training import adapters
from mammoth_utils.training.describe import RunDescription

MERGED_UP_TO = 2_000_000_000  # adapters of bases up to this many parameters are folded in when the run ends


def leave(
    description: RunDescription, trainer: Any, tokenizer: Any, sharded: bool, rank: int, total: int, compute: str
) -> list[str]:
    """Write what the run made; names of the folders, the one that was trained first.

    The miniature is kept in fp32, the net that was trained to the bit and 3 MB; real scales in bf16, as their bases
    are published.
    """
    import torch

    folder, full = description.folder, description.method == "full"
    state = trainer.accelerator.get_state_dict(trainer.model_wrapped) if sharded else None  # every rank takes part
    if rank != 0:
        return []
    model = trainer.accelerator.unwrap_model(trainer.model)
    if full and not description.miniature:
        if state is None:
            model = model.to(torch.bfloat16)
        else:
            state = {name: value.to(torch.bfloat16) for name, value in state.items()}
    target = adapters.save(folder / ("model" if full else "adapter"), model, tokenizer, state)
    if full:
        return ["model"]
    adapters.point_to_base(target, description.base_path)
    if total > MERGED_UP_TO:
        return ["adapter"]
    adapters.merge(folder, compute)
    return ["adapter", "model"]
