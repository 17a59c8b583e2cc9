"""What a run leaves: weights or an adapter, the model folded together, and proof that they are what was trained.

The proof has two parts. Every saved tensor is there, finite and the one in memory (``whole``), at every size. And the
drift: the losses of a few training examples by the net that was trained, by the adapter loaded again on its base, and
by the model as a server would load it. They differ by rounding, or something was lost on the way. Of a large base no
second copy is loaded: there the saved adapter is loaded into the net in memory, and what that leaves open is recorded.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from mammoth_utils.training.export import merge_adapter as merging
from mammoth_utils.training.export import verify_tensors
from mammoth_utils.training.loop import losses
from mammoth_utils.training.loop import model as adapters
from mammoth_utils.training.loop.encoding import Example
from mammoth_utils.training.plan.run_cost import MERGED_UP_TO

if TYPE_CHECKING:
    from mammoth_utils.training.description import RunDescription

CHECKED = 6  # examples whose loss is compared
# What no comparison at the end of a run says of a base over MERGED_UP_TO, by what it left and whether it was cut.
OPEN = {
    (
        "model",
        False,
    ): "these are the losses of the weights in memory, which the files equal; they were not loaded again",
    ("adapter", False): "the saved adapter was loaded into the net in memory, not onto its base read again, and no "
    "merged model was loaded",
    ("model", True): "no losses were compared: the files equal the weights gathered from all processes, and were not "
    "loaded again",
    ("adapter", True): "no losses were compared: the file equals the adapter gathered from all processes, and neither "
    "it nor a merged model was loaded again",
}
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
        drift: How many saved tensors equal those in memory, what :func:`drift` or :func:`live_drift` measured, and
            under ``not_done`` what was not compared.
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
        NotWholeError: If what was written lacks a tensor, or holds one that is not finite, not trained or another than
            the net's.
        DriftError: If what was written gives other losses than the net that was trained.
    """
    folder, full = description.folder, description.method == "full"
    small = total <= MERGED_UP_TO
    # Before the weights are cast to be saved; every process takes part, since each holds a share.
    trained = _trained(trainer, sharded, examples) if examples and (small or not sharded) else None
    state = trainer.accelerator.get_state_dict(trainer.model_wrapped) if sharded else None
    if rank != 0:
        return Left([])
    model = trainer.accelerator.unwrap_model(trainer.model)
    if full and not description.miniature:
        stays = adapters.dtype_of(merging.kept(description, compute))
        if state is None:
            model = model.to(stays)
        else:
            cast(state, stays)
    kind = "model" if full else "adapter"
    target = adapters.save(folder / kind, model, tokenizer, description, state)
    if not full:
        adapters.point_to_base(target, description.base_path)
    told: dict[str, Any] = {
        "tensors": verify_tensors.check(target, description, verify_tensors.in_memory(model, state), stepped(trainer))
    }
    del state
    if full:
        folders, merged = ["model"], None
    elif small:
        folders, merged = ["adapter", "model"], merging.fold(folder, compute, device)
    else:
        folders, merged = ["adapter"], {"command": merging.command(folder, device),
                                        "needs": str(merging.needs(folder, compute))}  # fmt: skip
    if trained is not None:
        told |= (drift(description, trained, examples, compute, device) if small else
                 live_drift(description, model, trained, examples, compute, device))  # fmt: skip
    if not small:
        told["not_done"] = OPEN[kind, sharded]
    return Left(folders, told, merged)


def cast(state: dict[str, Any], dtype: Any) -> None:
    """Turn gathered weights to another type in place, one at a time, so that never two copies of a model are held.

    Names that share a tensor, as a tied head does, go on sharing it.
    """
    same: dict[tuple, list[str]] = {}
    for name, value in state.items():
        same.setdefault((value.data_ptr(), value.shape, value.stride()), []).append(name)
    for names in same.values():
        state.update(dict.fromkeys(names, state[names[0]].to(dtype)))


def stepped(trainer: Any) -> bool:
    """Whether training took a step at a rate above 0; the first one of a warm-up has none."""
    schedule = trainer.lr_scheduler
    return any(
        rate * factor(step) > 0
        for step in range(trainer.state.global_step)
        for rate, factor in zip(schedule.base_lrs, schedule.lr_lambdas, strict=True)
    )


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
    told, limit = _measure(description, trained, compute)
    loaders = {"adapter": _reloaded_adapter} if description.method != "full" else {}
    loaders |= {"model": _reloaded_model} if (description.folder / "model" / "config.json").is_file() else {}
    for name, load in loaders.items():
        again = mean_losses(load(description, compute, device), examples)
        told[f"{name}_nats"] = _within(description, name, again, trained, limit)
    return told


def live_drift(
    description: RunDescription, model: Any, trained: list[float], examples: list[Example], compute: str, device: str
) -> dict[str, Any]:
    """What :func:`drift` says without a second copy of the base: by the net in memory, of which a device holds all.

    An adapter is read from its folder into the net beside the trained one, and answers in its place. A fully trained
    net answers with the weights as they were cast, which the files equal.

    Args:
        description: The run.
        model: The net, after it was saved.
        trained: Its loss of each example before that.
        examples: The same examples.
        compute: In what the run computed.
        device: ``cpu`` or ``cuda``.

    Raises:
        DriftError: If a difference exceeds the tolerance.
    """
    told, limit = _measure(description, trained, compute)
    if description.method == "full":
        return told | {"model_nats": _within(description, "model", mean_losses(model, examples), trained, limit)}
    own = model.active_adapter
    model.load_adapter(str(description.folder / "adapter"), "saved", torch_device=device)
    model.set_adapter("saved")
    try:
        again = mean_losses(model, examples)
    finally:
        model.set_adapter(own)
        model.delete_adapter("saved")
    return told | {"adapter_nats": _within(description, "adapter", again, trained, limit)}


def _measure(description: RunDescription, trained: list[float], compute: str) -> tuple[dict[str, Any], float]:
    """What is compared, and the nats that rounding is allowed."""
    limit = max(TOLERANCE[compute], TOLERANCE[merging.kept(description, compute)])
    told = {"examples": len(trained), "trained_nats": sum(trained) / len(trained), "tolerance_nats": limit}
    return told, limit


def _within(description: RunDescription, name: str, again: list[float], trained: list[float], limit: float) -> float:
    """The mean absolute difference of two lists of losses, if it is rounding's."""
    difference = sum(abs(a - b) for a, b in zip(again, trained, strict=True)) / len(trained)
    if not difference <= limit:
        raise DriftError(
            f"{description.folder / name} gives a loss of {sum(again) / len(again):.4f} nats a token on "
            f"{len(trained)} training examples, the net that was trained {sum(trained) / len(trained):.4f}; the mean "
            f"difference of {difference:.4f} is more than the {limit:g} of rounding. {_MISTAKES[name]}"
        )
    return difference


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
