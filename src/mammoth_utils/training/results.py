"""What a run leaves: weights or an adapter, the model folded together, and proof that they are what was trained.

The proof is the drift: the losses of a few training examples by the net that was trained, by the adapter loaded again
on its base, and by the model as a server would load it. They differ by rounding, or something was lost on the way.
"""

from __future__ import annotations

import time
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from mammoth_utils.training import adapters, checkpoints, losses, merging
from mammoth_utils.training.encoding import Example

if TYPE_CHECKING:
    from mammoth_utils.training.describe import RunDescription

MERGED_UP_TO = 2_000_000_000  # adapters of bases up to this many parameters are folded in when the run ends
CHECKED = 6  # examples whose loss is compared
# Nats a token, the mean over the examples: by what rounding a matrix to that type once more was seen to move a loss,
# with room (the most seen: 0.002 in bf16). A model that lost something moves by far more: one without its adapter by
# what was learnt, one folded into repacked 4-bit weights by 5 nats.
TOLERANCE = {"fp32": 1e-3, "fp16": 1e-2, "bf16": 2e-2}


class DriftError(ValueError):
    """What a run left is not the net that was trained; the message says by how much, and which mistakes look so."""


@dataclass(frozen=True)
class Left:
    """What a run left.

    Attributes:
        folders: Names below the run's folder, the one that was trained first.
        drift: What :func:`drift` measured; None where nothing was loaded again.
        merging: What folding the adapter in took and where; None where there was none, with the command where the
            base is too large for doing so unasked.
    """

    folders: list[str]
    drift: dict[str, Any] | None = None
    merging: dict[str, Any] | None = None


def finish(
    description: RunDescription,
    trainer: Any,
    tokenizer: Any,
    sharded: bool,
    rank: int,
    total: int,
    compute: str,
    examples: list[Example],
    device: str = "cpu",
) -> Left:
    """Write what the run made, fold a small adapter in, and check that what lies there is what was trained.

    The miniature is kept in fp32, the net that was trained to the bit and 3 MB; real scales in 16 bit, as their bases
    are published. Every process of a sharded run must call.

    Args:
        description: The run.
        trainer: The trainer, after the last step.
        tokenizer: The run's.
        sharded: Whether the model is cut over the processes.
        rank: This process.
        total: Weights of the model.
        compute: In what the run computed.
        examples: Training examples whose losses are compared; none to compare nothing.
        device: ``cpu`` or ``cuda``: where the model is loaded again.

    Raises:
        DriftError: If what was written gives other losses than the net that was trained.
    """
    folder, full = description.folder, description.method == "full"
    small = total <= MERGED_UP_TO
    # Before the weights are cast to be saved; every process takes part, since each holds a share.
    trained = _trained(trainer, sharded, examples) if examples and small else None
    state = trainer.accelerator.get_state_dict(trainer.model_wrapped) if sharded else None
    if rank != 0:
        return Left([])
    model = trainer.accelerator.unwrap_model(trainer.model)
    if full and not description.miniature:
        stays = adapters.dtype_of(merging.kept(description, compute))
        if state is None:
            model = model.to(stays)
        else:
            state = {name: value.to(stays) for name, value in state.items()}
    target = adapters.save(folder / ("model" if full else "adapter"), model, tokenizer, description, state)
    if not full:
        adapters.point_to_base(target, description.base_path)
    if full or not small:
        merged = None
        if not full:
            merged = {"command": f"python -m mammoth_utils.training.merging {folder}",
                      "needs": str(merging.needs(folder, compute))}  # fmt: skip
        measured = None if trained is None else drift(description, trained, examples, compute, device)
        return Left(["model" if full else "adapter"], measured, merged)
    began, needs = time.monotonic(), merging.needs(folder, compute)
    merging.merge(folder, compute, device)
    measured = None if trained is None else drift(description, trained, examples, compute, device)
    told = {"seconds": time.monotonic() - began, "memory_bytes": needs.memory, "disk_bytes": needs.disk,
            "hash": checkpoints.weights_hash(folder / "model")}  # fmt: skip
    return Left(["adapter", "model"], measured, told)


def _trained(trainer: Any, sharded: bool, examples: list[Example]) -> list[float]:
    """Mean losses of the net as it was trained, one for each example."""
    if not sharded:
        # Without the trainer's autocast, which a model loaded again does not have.
        model = trainer.accelerator.unwrap_model(trainer.model, keep_fp32_wrapper=False)
        return mean_losses(model, examples)
    with trainer.accelerator.autocast():
        return mean_losses(trainer.model_wrapped, examples)


def mean_losses(model: Any, examples: list[Example]) -> list[float]:
    """The mean loss of each example's rationale in nats a token, read alone."""
    return [losses.row_loss(model, [example]) / len(example.answer) for example in examples[:CHECKED]]


def drift(
    description: RunDescription, trained: list[float], examples: list[Example], compute: str, device: str = "cpu"
) -> dict[str, Any]:
    """How far what a run left is from the net that was trained, in nats a token.

    Args:
        description: The run, whose folder holds ``model/`` and, but for full fine-tuning, ``adapter/``.
        trained: The trained net's loss of each example.
        examples: The same examples.
        compute: In what the run computed.
        device: ``cpu`` or ``cuda``.

    Returns:
        The number of examples, the trained net's mean loss, for ``adapter`` (on its base as it was trained on) and
        ``model`` (loaded as anybody would) the mean absolute difference, and the tolerance.

    Raises:
        DriftError: If a difference exceeds the tolerance.
    """
    stays = merging.kept(description, compute)
    limit = max(TOLERANCE[compute], TOLERANCE[stays])
    told: dict[str, Any] = {"examples": len(trained), "trained_nats": sum(trained) / len(trained),
                            "tolerance_nats": limit}  # fmt: skip
    loaders = {"adapter": _reloaded_adapter} if description.method != "full" else {}
    loaders |= {"model": _reloaded_model} if (description.folder / "model" / "config.json").is_file() else {}
    for name, load in loaders.items():
        again = mean_losses(load(description, compute, device), examples)
        difference = sum(abs(a - b) for a, b in zip(again, trained, strict=True)) / len(trained)
        if not difference <= limit:
            raise DriftError(
                f"{description.folder / name} gives a loss of {sum(again) / len(again):.4f} nats a token on "
                f"{len(trained)} training examples, the net that was trained {told['trained_nats']:.4f}; the mean "
                f"difference of {difference:.4f} is more than the {limit:g} of rounding. {_MISTAKES[name]}"
            )
        told[f"{name}_nats"] = difference
    return told


_MISTAKES = {
    "adapter": "The adapter was not saved whole, or is loaded on another base than it was trained on: for qlora that "
    "is the base in nf4, and 4-bit layers on a CPU must not be repacked (guards.keep_four_bit)",
    "model": "Weights were lost or rounded twice on the way; or the run was so short that 16 bit, in which real sizes "
    "are kept, hold no step as small as its update; or the adapter was folded into another base than it was "
    "trained on: a QLoRA adapter belongs into the 4-bit base dequantised, and never into 4-bit layers, which hold "
    "repacked weights once they ran an evaluation pass (7.5 nats)",
}


def _reloaded_adapter(description: RunDescription, compute: str, device: str) -> Any:
    """The adapter on its base, in 4 bit where it was trained so."""
    from peft import PeftModel

    base = adapters.load_model(description, compute, device)
    return PeftModel.from_pretrained(base, description.folder / "adapter").eval()


def _reloaded_model(description: RunDescription, compute: str, device: str) -> Any:
    """The model as transformers loads it without being told anything."""
    from transformers import AutoModelForCausalLM

    return AutoModelForCausalLM.from_pretrained(description.folder / "model", dtype="auto").to(device).eval()
