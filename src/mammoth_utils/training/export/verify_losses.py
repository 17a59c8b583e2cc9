"""Comparison of the losses of what a run saved with those of the model that was trained."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any

from mammoth_utils.training.export import merge_adapter as merging
from mammoth_utils.training.loop import losses
from mammoth_utils.training.loop import model as models
from mammoth_utils.training.loop.encoding import Example

if TYPE_CHECKING:
    from mammoth_utils.training.description import RunDescription

CHECKED = 6  # examples whose loss is compared
# Nats a token, the mean over the examples: by what rounding a matrix to that type once more was seen to move a loss,
# with room (the most seen: 0.002 in bf16). A model that lost something moves by far more: one without its adapter by
# what was learnt, one merged into repacked 4-bit weights by 5 nats.
TOLERANCE = {"fp32": 1e-3, "fp16": 1e-2, "bf16": 2e-2}


class DriftError(ValueError):
    """The saved model is not the one that was trained; the message says by how much, and the likely mistakes."""


@dataclass(frozen=True)
class LossDrift:
    """How far what a run saved is from the model that was trained.

    Attributes:
        examples: Training examples whose losses were compared.
        trained_nats: Their mean loss by the trained model, in nats a token.
        tolerance_nats: What rounding is allowed.
        adapter_nats: Mean absolute difference of the adapter on its base; None where it was not compared.
        model_nats: The same of the merged or fully trained model.
    """

    examples: int
    trained_nats: float
    tolerance_nats: float
    adapter_nats: float | None = None
    model_nats: float | None = None

    def as_dict(self) -> dict[str, Any]:
        """Return what was compared, as a record keeps it."""
        return {name: value for name, value in asdict(self).items() if value is not None}


def trained_losses(trainer: Any, sharded: bool, examples: list[Example]) -> list[float]:
    """Return the mean loss of each example by the model as it was trained; every process of a sharded run calls."""
    if not sharded:
        # Without the trainer's autocast, which a model loaded again does not have.
        model = trainer.accelerator.unwrap_model(trainer.model, keep_fp32_wrapper=False)
        return mean_losses(model, examples)
    with trainer.accelerator.autocast():
        return mean_losses(trainer.model_wrapped, examples)


def mean_losses(model: Any, examples: list[Example]) -> list[float]:
    """Return the mean loss of each example's rationale in nats a token, read alone."""
    return [losses.row_loss(model, [example]) / len(example.answer) for example in examples[:CHECKED]]


def compare_reloaded(
    description: RunDescription, trained: list[float], examples: list[Example], compute: str, device: str = "cpu"
) -> LossDrift:
    """Load what a run saved again, and compare its losses with those of the model that was trained.

    Args:
        description: The run, whose folder holds ``model/`` and, but for full fine-tuning, ``adapter/``.
        trained: The trained model's loss of each example.
        compute: In what the run computed.

    Raises:
        DriftError: If a difference exceeds the tolerance.
    """
    loaders = {"adapter": _reload_adapter} if description.method != "full" else {}
    loaders |= {"model": _reload_model} if (description.folder / "model" / "config.json").is_file() else {}
    return _drift(
        description, trained, compute,
        {kind: mean_losses(load(description, compute, device), examples) for kind, load in loaders.items()},
    )  # fmt: skip


def compare_in_memory(
    description: RunDescription, model: Any, trained: list[float], examples: list[Example], compute: str, device: str
) -> LossDrift:
    """Compare the same losses without a second copy of the base, by the model in memory, all of it on one device.

    An adapter is read from its folder into the model beside the trained one, and answers in its place. A fully trained
    model answers with the weights as they were cast, which the files equal. The other arguments and the error are those
    of :func:`compare_reloaded`.
    """
    if description.method == "full":
        return _drift(description, trained, compute, {"model": mean_losses(model, examples)})
    own = model.active_adapter
    model.load_adapter(str(description.folder / "adapter"), "saved", torch_device=device)
    model.set_adapter("saved")
    try:
        reloaded = mean_losses(model, examples)
    finally:
        model.set_adapter(own)
        model.delete_adapter("saved")
    return _drift(description, trained, compute, {"adapter": reloaded})


def _drift(
    description: RunDescription, trained: list[float], compute: str, reloaded: dict[str, list[float]]
) -> LossDrift:
    """Return the mean absolute differences from the trained model's losses, if they are rounding's."""
    limit = max(TOLERANCE[compute], TOLERANCE[merging.stored_dtype(description, compute)])
    allowed = description.tolerance("drift", limit)
    trained_nats, differences = sum(trained) / len(trained), {}
    for kind, nats in reloaded.items():
        difference = sum(abs(a - b) for a, b in zip(nats, trained, strict=True)) / len(trained)
        if not difference <= allowed:
            raise DriftError(
                f"{description.folder / kind} gives a loss of {sum(nats) / len(nats):.4f} nats a token on "
                f"{len(trained)} training examples, the net that was trained {trained_nats:.4f}; the mean "
                f"difference of {difference:.4f} is more than the {limit:g} of rounding. {_MISTAKES[kind]}"
            )
        differences[f"{kind}_nats"] = difference
    return LossDrift(len(trained), trained_nats, limit, **differences)


_MISTAKES = {
    "adapter": "The adapter was not saved whole, or is loaded on another base than it was trained on: for qlora that "
    "is the base in nf4, and 4-bit layers on a CPU must not be repacked (guards.keep_four_bit)",
    "model": "Weights were lost or rounded twice on the way; or the run was so short that 16 bit, in which real sizes "
    "are kept, hold no step as small as its update; or the adapter was merged into another base than it was "
    "trained on: a QLoRA adapter belongs into the 4-bit base dequantised, and never into 4-bit layers, which hold "
    "repacked weights once they ran an evaluation pass (7.5 nats)",
}


def _reload_adapter(description: RunDescription, compute: str, device: str) -> Any:
    """Load the adapter on its base, in 4 bit where it was trained so."""
    from peft import PeftModel

    base = models.load_model(description, compute, device)
    return PeftModel.from_pretrained(base, description.folder / "adapter").eval()


def _reload_model(description: RunDescription, compute: str, device: str) -> Any:
    """Load the model as transformers does by default."""
    from transformers import AutoModelForCausalLM

    return AutoModelForCausalLM.from_pretrained(description.folder / "model", dtype="auto").to(device).eval()
