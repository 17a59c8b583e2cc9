"""The result of a run: the weights or the adapter, for a small base the merged model, and the proof that they hold.

The proof has two parts. Every saved tensor is there, finite and the one in memory (``verify_tensors``), at every size.
And the losses of a few training examples (``verify_losses``): by the trained model, by the adapter loaded again on its
base, and by the merged model as a server would load it. Of a large base no second copy is loaded: there the saved
adapter is loaded into the model in memory, and the record says what that does not compare.
"""

from __future__ import annotations

import shutil
from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from mammoth_utils import records
from mammoth_utils.training.export import merge_adapter as merging
from mammoth_utils.training.export import model_folder, verify_losses, verify_tensors
from mammoth_utils.training.loop import checkpoints
from mammoth_utils.training.loop import model as models
from mammoth_utils.training.plan.run_cost import MERGED_UP_TO

if TYPE_CHECKING:
    from mammoth_utils.training.description import RunDescription
    from mammoth_utils.training.loop.training_loop import TrainedRun

# What is not compared at the end of a run of a base over MERGED_UP_TO, by what it saved and whether it was cut.
NOT_COMPARED = {
    ("model", False): "these are the losses of the weights in memory, which the files equal; they were not loaded "
    "again",
    ("adapter", False): "the saved adapter was loaded into the net in memory, not onto its base read again, and no "
    "merged model was loaded",
    ("model", True): "no losses were compared: the files equal the weights gathered from all processes, and were not "
    "loaded again",
    ("adapter", True): "no losses were compared: the file equals the adapter gathered from all processes, and neither "
    "it nor a merged model was loaded again",
}  # fmt: skip


@dataclass(frozen=True)
class SavedRun:
    """The folders that a run saved and how they were verified.

    Attributes:
        folders: Names below the run's folder, the one that was trained first.
        checks: As the record keeps it under ``drift``: how many saved tensors equal those in memory, the losses that
            were compared, and under ``not_done`` what was not.
        merging: What merging the adapter took; None where there was none, with the command where the base is too
            large for merging it unasked.
    """

    folders: list[str]
    checks: dict[str, Any] | None = None
    merging: dict[str, Any] | None = None


def save_with_room(
    description: RunDescription, run: TrainedRun, need: int, say: Callable[[str], None] = print
) -> SavedRun:
    """Save what was trained, as :func:`save_and_verify` does, also on a disk that is full of the run's checkpoints.

    A complete newer state comes before an older one is removed wherever both find room: first the last step as a
    checkpoint in the place of the last but one, then the model in the place of those before. Every process calls.

    Args:
        need: Bytes of what is saved.

    Raises:
        OSError: If there is no room for the model beside the newest state, with how much is missing and what is kept.
    """
    from mammoth_utils.training.loop.trainer import everywhere

    place = description.folder / "checkpoints"
    if not everywhere(run.rank != 0 or shutil.disk_usage(description.folder).free >= need):
        _keep_last_step(run, place, need, say)
    for attempt in (1, 2):
        try:
            return save_and_verify(description, run)
        except Exception as error:
            if not records.is_disk_full(error):
                raise
            for part in description.folder.glob("*.part"):
                shutil.rmtree(part)
            # Weights that were cast to be saved are none to go on from, and shards need every process.
            whole = run.processes == 1 and (description.miniature or description.method != "full")
            if attempt == 1:
                _keep_last_step(run, place, need, say, whole)
                continue
            missing = max(0, need - shutil.disk_usage(description.folder).free) / 1e9
            last = checkpoints.find_checkpoint(place)
            kept = "no checkpoint is there, so the run would start again"
            if last:
                kept = (
                    f"{last.name} of {run.trainer.state.global_step} steps is kept, and the same line goes on from it"
                )
            raise OSError(
                f"the disk has no room for what was trained: {need / 1e9:.2f} GB in {description.folder}, "
                f"{missing:.2f} GB are missing; {kept}. Make room first"
            ) from error
    raise AssertionError("the second attempt returns or raises")


def _keep_last_step(run: TrainedRun, place: Path, need: int, say: Callable[[str], None], whole: bool = True) -> None:
    """Make room for the model: by a checkpoint of the last step where it finds room, then by removing older ones."""

    step, first = run.trainer.state.global_step, run.rank == 0
    older = [path for path in checkpoints.list_checkpoints(place) if path.name != f"checkpoint-{step}"]
    newest_is_last = len(older) < len(checkpoints.list_checkpoints(place))
    if first:
        for path in older[1:]:
            shutil.rmtree(path)
    if whole and not newest_is_last:
        say(f"the disk has no room for the model beside the checkpoints: step {step} is written as one first")
        run.trainer._save_checkpoint(run.trainer.model, None)
    if not first or not older:
        return
    if (place / f"checkpoint-{step}").is_dir():
        shutil.rmtree(older[0], ignore_errors=True)
        return
    held = sum(file.stat().st_size for file in older[0].rglob("*") if file.is_file())
    if shutil.disk_usage(place).free + held >= need:
        say(f"{older[0].name} is removed, since the model of step {step} needs its {held / 1e9:.2f} GB")
        shutil.rmtree(older[0])


def save_and_verify(description: RunDescription, run: TrainedRun) -> SavedRun:
    """Save what was trained, merge a small adapter, and check that the files are what was trained.

    The miniature is kept in fp32, the net that was trained to the bit and 3 MB; real scales in 16 bit, as their bases
    are published. Every process of a sharded run must call.

    Args:
        run: The run after its last step; without examples no losses are compared.

    Raises:
        IncompleteModelError: If a saved tensor is missing, not finite, not trained or another than in memory.
        DriftError: If the files give other losses than the model that was trained.
    """
    folder, full, trainer = description.folder, description.method == "full", run.trainer
    small = run.total <= MERGED_UP_TO
    # Before the weights are cast to be saved; every process takes part, since each holds a share.
    compared = bool(run.examples) and (small or not run.sharded)
    trained = verify_losses.trained_losses(trainer, run.sharded, run.examples) if compared else None
    state = trainer.accelerator.get_state_dict(trainer.model_wrapped) if run.sharded else None
    if run.rank != 0:
        return SavedRun([])
    model = trainer.accelerator.unwrap_model(trainer.model)
    if full and not description.miniature:
        dtype = models.torch_dtype(merging.stored_dtype(description, run.compute))
        if state is None:
            model = model.to(dtype)
        else:
            cast_in_place(state, dtype)
    kind = "model" if full else "adapter"
    saved = model_folder.save(folder / kind, model, run.tokenizer, description, state)
    if not full:
        model_folder.point_to_base(saved, description.base_path)
    memory, stepped = verify_tensors.named_tensors(model, state), took_a_step(trainer)
    checks: dict[str, Any] = {"tensors": verify_tensors.verify_tensors(saved, description, memory, stepped)}
    del state, memory
    folders, report = [kind], None
    if not full and small:
        folders, report = ["adapter", "model"], asdict(merging.merge_and_report(folder, run.compute, run.device))
    elif not full:
        command = merging.merge_command(folder, run.device)
        report = {"command": command, "needs": str(merging.estimate_needs(folder, run.compute))}
    if trained is not None:
        given = (trained, run.examples, run.compute, run.device)
        checks |= (
            verify_losses.compare_reloaded(description, *given) if small
            else verify_losses.compare_in_memory(description, model, *given)
        ).as_dict()  # fmt: skip
    if not small:
        checks["not_done"] = NOT_COMPARED[kind, run.sharded]
    return SavedRun(folders, checks, report)


def cast_in_place(state: dict[str, Any], dtype: Any) -> None:
    """Cast gathered weights to another type one at a time, so that never two copies of a model are held.

    Names that share a tensor, as a tied head does, go on sharing it.
    """
    same: dict[tuple, list[str]] = {}
    for name, value in state.items():
        same.setdefault((value.data_ptr(), value.shape, value.stride()), []).append(name)
    for names in same.values():
        state.update(dict.fromkeys(names, state[names[0]].to(dtype)))


def took_a_step(trainer: Any) -> bool:
    """Return whether training took a step at a rate above 0; the first one of a warm-up has none."""
    schedule = trainer.lr_scheduler
    return any(
        rate * factor(step) > 0
        for step in range(trainer.state.global_step)
        for rate, factor in zip(schedule.base_lrs, schedule.lr_lambdas, strict=True)
    )
