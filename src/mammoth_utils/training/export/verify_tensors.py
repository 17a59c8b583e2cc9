"""Check of what a run saved, one tensor at a time: every name, every number, and that an adapter has learnt.

What is expected comes from the base's config alone and not from the saved folder or the net, so that a library which
saves nothing, or under other names, does not agree with itself.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from mammoth_utils.base_models import PROJECTIONS, BaseModelError, StoredWeights
from mammoth_utils.training.export.lora_pairs import PREFIX, SUFFIXES
from mammoth_utils.training.loop import checkpoints

if TYPE_CHECKING:
    import torch

    from mammoth_utils.training.description import RunDescription

SHOWN = 3  # names that an error gives of each fault
WRAPPINGS = ("_checkpoint_wrapped_module.", "_orig_mod.", "_fsdp_wrapped_module.")  # in names while a net trains


class IncompleteModelError(ValueError):
    """A saved model lacks tensors, or holds some that were not trained; the message names them."""


def empty_model(config: Any) -> Any:
    """Return a causal language model with shapes and without weights."""
    import torch
    from transformers import AutoModelForCausalLM

    with torch.device("meta"):
        return AutoModelForCausalLM.from_config(config)


def tied_names(model: Any) -> set[str]:
    """Return the names whose tensor is another's too, which files may leave out."""
    return set(getattr(model, "all_tied_weights_keys", None) or {})


def linear_layers(model: Any, targets: str = "") -> dict[str, tuple[int, ...]]:
    """Return name and shape of each matrix that QLoRA quantises, all but the head's, or of those that are adapted."""
    from torch import nn

    head, names = model.get_output_embeddings(), targets.split(",")
    named = names if names[0] in PROJECTIONS else None
    return {f"{name}.weight": tuple(module.weight.shape) for name, module in model.named_modules()
            if isinstance(module, nn.Linear) and module is not head
            and (named is None or name.split(".")[-1] in named)}  # fmt: skip


def expected_tensors(description: RunDescription) -> tuple[dict[str, tuple[int, ...]], set[str]]:
    """Return the shape of each tensor that a run saves, by its name in the file, and the names that may be left out.

    For an adapter an A of (rank, in) and a B of (out, rank) for each adapted matrix of each decoder layer: 14 tensors a
    layer of a Llama where all seven are.
    """
    from transformers import AutoConfig

    config = AutoConfig.from_pretrained(description.base_path, revision=description.revision or "main")
    model = empty_model(config)
    if description.method == "full":
        return {name: tuple(value.shape) for name, value in model.state_dict().items()}, tied_names(model)
    shapes, rank = {}, description.lora_rank
    for name, (rows, columns) in linear_layers(model, description.lora_targets).items():
        layer = PREFIX + name.removesuffix(".weight")
        shapes |= {layer + SUFFIXES[0]: (rank, columns), layer + SUFFIXES[1]: (rows, rank)}
    return shapes, set()


def named_tensors(model: Any, state: Mapping[str, torch.Tensor] | None = None) -> dict[str, torch.Tensor]:
    """Return the tensors that were saved, by their names in files: the model's own, or those gathered from all."""
    if state is None:
        state = dict(model.named_parameters(remove_duplicate=False)) | dict(model.named_buffers())
    named = {}
    for name, value in state.items():
        for wrapping in WRAPPINGS:
            name = name.replace(wrapping, "")
        named[name.replace(".default.", ".") if "lora_" in name else name] = value
    return named


def verify_tensors(folder: Path, description: RunDescription, memory: Mapping[str, torch.Tensor], stepped: bool) -> int:
    """Return the number of tensors in a saved folder; each is expected, finite, and equal to the one in memory.

    Args:
        folder: ``model/`` or ``adapter/`` of a run.
        memory: What was saved, by the name in the file; compared after the cast to the file's type.
        stepped: Whether training took a step at a rate above 0, which an adapter's B, zero at first, must show.

    Raises:
        IncompleteModelError: If a tensor is missing, unknown, of another shape, not finite, or another than in memory,
            or if a B is all zero after a step; with the last checkpoint, from which the run can go on.
    """
    try:
        stored = StoredWeights(folder)
    except (OSError, BaseModelError) as error:
        reason = f"its files cannot be read ({type(error).__name__}: {error})"
        raise _incomplete(folder, description, [reason]) from error
    expected, optional = expected_tensors(description)
    faults = {
        "missing": [name for name in expected if name not in stored.shapes and name not in optional],
        "unknown": [name for name in stored.shapes if name not in expected],
    }
    for name, shape in stored.shapes.items():
        if name in expected and shape != expected[name]:
            faults.setdefault("of another shape than the base's config gives", []).append(f"{name} {shape}")
        elif name in expected and (fault := _fault(name, stored.tensor(name), memory.get(name), stepped)):
            faults.setdefault(fault, []).append(name)
    reasons = [f"{fault}: {_first(names)}" for fault, names in faults.items() if names]
    if reasons:
        counts = f"{len(expected)} tensors expected, {len(stored.shapes)} there"
        raise _incomplete(folder, description, [counts, *reasons])
    return len(stored.shapes)


def _fault(name: str, saved: torch.Tensor, memory: torch.Tensor | None, stepped: bool) -> str:
    """Return what is wrong with one tensor; empty if nothing is."""
    import torch

    if not torch.isfinite(saved).all():
        return "with values that are not finite"
    if stepped and name.endswith(SUFFIXES[1]) and not saved.any():
        return "all zero, as before the first step: the adapter was not trained"
    if memory is None:
        return "in the file and not in the net that was trained"
    if not torch.equal(saved, memory.detach().to("cpu").to(saved.dtype)):
        return "other values than in the net that was trained"
    return ""


def _first(names: list[str]) -> str:
    return ", ".join(names[:SHOWN]) + (f" and {len(names) - SHOWN} more" if len(names) > SHOWN else "")


def _incomplete(folder: Path, description: RunDescription, reasons: list[str]) -> IncompleteModelError:
    last = checkpoints.find_checkpoint(description.folder / "checkpoints")
    where = f"the last checkpoint is {last}" if last else (
        f"no checkpoint lies in {description.folder / 'checkpoints'}, so it would start again"
    )  # fmt: skip
    return IncompleteModelError(
        f"{folder} is not what was trained: {'; '.join(reasons)}. The run is not finished; {where}"
    )
