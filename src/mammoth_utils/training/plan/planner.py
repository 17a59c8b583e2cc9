"""The planner: what a run needs, what fits, what would make it fit, and what it costs, before torch is loaded."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Protocol

from mammoth_utils import scales
from mammoth_utils.base_models import ARCHITECTURES, Architecture, architecture_of
from mammoth_utils.training.plan.gpu_fit import (
    MemoryPlan,
    fits,
    format_gib,
    largest_micro_batch,
    plan_memory,
    total_gib,
)
from mammoth_utils.training.plan.gpu_models import GPU_MODELS, gpu_model
from mammoth_utils.training.plan.memory import FIT, GIB, METHODS, OPTIMIZERS, memory_by_part
from mammoth_utils.training.plan.run_cost import bytes_written, estimate_cost
from mammoth_utils.training.plan.this_machine import Gpu

CPU_PARAMETERS = 300_000_000  # beyond this a step on a CPU takes minutes, and a run months
LENGTHS = (2048, 1024, 512)  # what advice tries; below 512 a twentieth of MathInstruct's examples no longer fits
SMALL_GPU_GIB = 24e9 / GIB
SIZES_GB = sorted({model.gb for model in GPU_MODELS.values()})


class PlannedRun(Protocol):
    """The fields of a run description that decide its memory."""

    size: str
    family: str
    method: str
    base: str
    revision: str
    max_length: int
    micro_batch: int
    global_batch: int
    lora_rank: int
    lora_targets: str
    master_weights: str
    optimizer: str


@dataclass(frozen=True)
class Advice:
    """Whether a run fits its GPUs, and what would make it fit.

    Attributes:
        sentence: What it needs, what the GPUs have, and if it does not fit, what would help.
        largest_micro_batch: Rows of ``max_length`` that one pass can hold; 0 if not even one fits.
        remedies: What would make it fit, as parameters of the page; empty if it fits or nothing helps.
    """

    fits: bool
    sentence: str
    largest_micro_batch: int
    remedies: tuple[str, ...]


@dataclass(frozen=True)
class TrainableShare:
    """How many of a model's weights a run trains.

    Attributes:
        base_model: Hub name or folder.
        weights: All weights, the adapter's included.
        trained: Weights that are trained.
        share: ``trained`` of ``weights``.
    """

    base_model: str
    method: str
    weights: int
    trained: int
    share: float


def plan_methods(
    description: PlannedRun, gpus: int = 1, gpu_gib: float = SMALL_GPU_GIB, checkpointing: bool = True,
    replicas: int = 1,
) -> list[MemoryPlan]:  # fmt: skip
    """Plan the memory of a run by each method, full fine-tuning first.

    Args:
        description: A run description; its base's ``config.json`` is read if it is on this machine.
        gpus: GPUs that share the run (FSDP2).
        gpu_gib: Memory of one GPU in GiB; an "80 GB" card has 74.5 by the maker's count.
        checkpointing: Whether activations are recomputed in the backward pass, as the runs of this book do.
        replicas: GPUs that each hold the whole run instead (DDP).
    """
    architecture, tokens, rank, options = _memory_arguments(description)
    options |= {"checkpointing": checkpointing, "replicas": replicas}
    return [plan_memory(architecture, m, tokens, gpus, gpu_gib, rank, _batch(description, m), **options)
            for m in METHODS]  # fmt: skip


def _batch(description: PlannedRun, method: str) -> int:
    """Return the examples of a step by another method: the recipe's, or those that were asked for."""
    recipe, own = scales.scale(description.size, description.family).recipe, description.global_batch
    return recipe.batch(method) if own == recipe.batch(description.method) else own


def _memory_arguments(description: PlannedRun) -> tuple[Architecture, int, int, dict[str, Any]]:
    """Return architecture, tokens of a pass, rank, and the options of a description that decide its memory."""
    scale = scales.scale(description.size, description.family)
    rank = description.lora_rank or scale.recipe.lora_rank
    tokens = description.max_length * description.micro_batch
    options = {"master": description.master_weights, "targets": description.lora_targets,
               "optimizer": description.optimizer}  # fmt: skip
    return architecture_of(scale, description.base, description.revision), tokens, rank, options


def sharing_and_replicas(gpus: int, sharding: str) -> tuple[int, int]:
    """Return how many of a run's GPUs share one copy of it, and how many each hold a copy."""
    return (1, gpus) if sharding == "none" else (gpus, 1)


def choose_sharding(
    architecture: Architecture, method: str, tokens: int, gpus: int, gpu_gib: float, rank: int, sharding: str = "auto",
    **options: Any,
) -> str:  # fmt: skip
    """Return how a run uses its GPUs: ``none`` where each of them holds all of it, else ``fsdp2``.

    Sharing, each GPU fetches every layer from the others twice in a pass, which over PCIe takes longer than computing
    it; GPUs that hold all of it exchange the gradients of a step.
    """
    if sharding != "auto":
        return sharding
    if options.get("optimizer", "adamw") != "adamw":
        return "none"
    alone = total_gib(architecture, method, tokens, 1, rank, **options | {"replicas": gpus})
    return "none" if fits(alone, gpu_gib) else "fsdp2"


def choose_micro_batch(
    architecture: Architecture, method: str, max_length: int, gpus: int, gpu_gib: float, rank: int, sharding: str,
    batch: int, **options: Any,
) -> int:  # fmt: skip
    """Return the most rows that fit one device pass, and one where not even that fits."""
    sharing, replicas = sharing_and_replicas(gpus, sharding)
    options |= {"replicas": replicas}
    return max(1, largest_micro_batch(architecture, method, max_length, sharing, gpu_gib, rank, batch, **options))


def advise(
    description: PlannedRun, gpus: int = 1, gpu_gib: float = SMALL_GPU_GIB, checkpointing: bool = True,
    replicas: int = 1,
) -> Advice:  # fmt: skip
    """Say whether a run fits its GPUs, and if not, what would make it fit; arguments as for :func:`plan_methods`."""
    architecture, tokens, rank, options = _memory_arguments(description)
    method, length = description.method, description.max_length
    options |= {"checkpointing": checkpointing, "replicas": replicas}
    batch = description.global_batch
    plan = plan_memory(architecture, method, tokens, gpus, gpu_gib, rank, batch, **options)
    largest = largest_micro_batch(architecture, method, length, gpus, gpu_gib, rank, batch, **options)
    where = "this card has" if gpus == replicas == 1 else f"each of these {max(gpus, replicas)} cards has"
    sentence = (
        f"{description.size} {method} needs {plan.total_text}, {where} {format_gib(gpu_gib)}, of which a plan may "
        f"take {FIT:.0%}"
    )
    if plan.fits:
        more = f"; a micro_batch of up to {largest} fits" if largest > description.micro_batch else ""
        return Advice(True, sentence + more, largest, ())
    remedies = tuple(_remedies(description, plan, largest, options))
    most = min(64, batch)
    helps = "use " + _or(remedies) if remedies else f"nothing on at most {most} such cards makes it fit"
    return Advice(False, f"{sentence}: {helps}", largest, remedies)


def _remedies(description: PlannedRun, plan: MemoryPlan, largest: int, options: dict[str, Any]) -> list[str]:
    """List what would make a run fit, the least change first."""
    architecture, tokens, rank, _ = _memory_arguments(description)
    gpus, gib, replicas = plan.gpus, plan.gpu_gib, options["replicas"]
    recomputed, shared = options | {"checkpointing": True}, options | {"replicas": 1}
    remedies: list[str] = []
    if largest:
        remedies.append(f"micro_batch {largest}")
    with_checkpointing = plan_memory(architecture, plan.method, tokens, gpus, gib, rank, **recomputed)
    if not options["checkpointing"] and with_checkpointing.fits:
        remedies.append("activation checkpointing")
    if not largest:
        for length in (length for length in LENGTHS if length < description.max_length):
            if plan_memory(architecture, plan.method, length, gpus, gib, rank, **options).fits:
                remedies.append(f"max_length {length}" + (" with micro_batch 1" if description.micro_batch > 1 else ""))
                break
    rows = max(gpus, replicas) * description.micro_batch
    # Each GPU loads a 4-bit net whole, so that over many of them LoRA's share of a 16-bit one takes less.
    heavy = plan.method == "qlora" and (plan.loading > 0 or plan.fewest is None)
    others = ("lora",) if heavy else METHODS[METHODS.index(plan.method) + 1 :]
    if plan.method == "full" and gpus == 1 and options["optimizer"] == "adamw":
        for optimizer in OPTIMIZERS[1:]:
            other = plan_memory(architecture, plan.method, tokens, 1, gib, rank, **options | {"optimizer": optimizer})
            if other.fits:
                remedies.append(f"optimizer {optimizer} ({other.total_text})")
                break
    for method in others:
        other = plan_memory(architecture, method, tokens, gpus, gib, rank, **options)
        if other.fits and rows <= _batch(description, method):
            remedies.append(f"method {method} ({other.total_text})")
    shares = replicas > 1 and options["optimizer"] == "adamw"
    if shares and plan_memory(architecture, plan.method, tokens, replicas, gib, rank, **shared).fits:
        remedies.append("sharding fsdp2")
    elif plan.fewest is not None and plan.fewest > max(gpus, replicas):
        remedies.append(f"{plan.fewest} such cards")
    larger = next((gb for gb in SIZES_GB if gb * 1e9 / GIB > gib and fits(plan.total, gb * 1e9 / GIB)), None)
    if larger and gpus == 1:
        remedies.append(f"a card of {larger:g} GB" if replicas == 1 else f"cards of {larger:g} GB")
    for method in (plan.method, *others) if heavy or not remedies else ():
        other = plan_memory(architecture, method, tokens, gpus, gib, rank, _batch(description, method), **recomputed)
        changes = [f"method {method}"] if method != plan.method else []
        changes += [] if options["checkpointing"] else ["activation checkpointing"]
        if changes and other.fewest is not None and other.fewest > max(gpus, replicas):
            remedies.append(f"{' with '.join(changes)} on {other.fewest} such cards")
    if larger and gpus > 1 and (not remedies or plan.loading):
        remedies.append(f"cards of {larger:g} GB")
    return remedies


def _or(parts: tuple[str, ...]) -> str:
    return parts[0] if len(parts) == 1 else f"{', '.join(parts[:-1])} or {parts[-1]}"


def choose_method(
    scale: scales.Scale,
    method: str,
    base: str,
    max_length: int,
    devices: str = "auto",
    *,
    gpus: Sequence[Gpu] = (),
    revision: str = "",
    nodes: int = 1,
    sharding: str = "auto",
    micro_batch: int = 1,
    master: str = "fp32",
    rank: int = 0,
    targets: str = "",
    batch: int = 0,
    optimizer: str = "adamw",
) -> tuple[str, str]:
    """Return the method of a run and the reason for it, in a sentence.

    Any method but ``auto`` is taken as it is. ``auto`` is full at miniature sizes; elsewhere the first of full, LoRA
    and QLoRA that fits the machine's GPUs, on all nodes together, and QLoRA, which needs least, if none does.
    ``gpus`` are those of each node, ``batch`` the examples of a step if not the recipe's; the other parameters are
    those of ``description.describe``.
    """
    if method != "auto":
        return method, "asked for"
    if scale.miniature:
        return "full", "full fine-tuning, as in the paper: the miniature fits any machine"
    architecture, recipe = architecture_of(scale, base, revision), scale.recipe
    tokens, rank = max_length * micro_batch, rank or recipe.lora_rank
    if devices == "cpu" or not gpus:
        if architecture.parameters <= CPU_PARAMETERS and scale.parameters > CPU_PARAMETERS:
            return "full", f"full fine-tuning: {architecture.parameters:,} parameters are few enough for a CPU"
        if devices == "cpu":
            return "lora", "LoRA, on a base in the processor's own type: 4 bit would save memory there, and take longer"
        need = sum(memory_by_part(architecture, "qlora", tokens, rank=rank, targets=targets).values()) / GIB
        return "qlora", f"no NVIDIA GPU was found here; QLoRA needs the least, {need:.0f} GiB on one card"
    count = len(gpus) if devices == "auto" else min(int(devices), len(gpus))
    smallest = min(gpu.gib for gpu in gpus[:count])
    hardware = f"{count * nodes} x {gpus[0].name} with {smallest:.0f} GiB"
    reasons, fewest = [], {}
    for m in METHODS:
        step, options = batch or recipe.batch(m), {"master": master, "targets": targets, "optimizer": optimizer}
        how = choose_sharding(architecture, m, tokens, count * nodes, smallest, rank, sharding, **options)
        together, options["replicas"] = sharing_and_replicas(count * nodes, how)
        plan = plan_memory(architecture, m, tokens, together, smallest, rank, step, **options)
        if (rows := count * nodes * micro_batch) > step:
            reasons.append(f"{m} has {step} examples a step for {rows} rows")
        elif plan.fits:
            before = f" ({'; '.join(reasons)})" if reasons else ""
            return m, f"{m} needs {plan.total_text} on each of {hardware}{before}"
        else:
            reasons.append(f"{m} would need {plan.total_text}")
            fewest |= {m: plan.fewest} if plan.fewest else {}
    least = min(fewest, key=fewest.__getitem__, default="")
    more = f"; {fewest[least]} such cards carry {least}" if least else ""
    return "qlora", f"nothing fits {hardware}: {'; '.join(reasons)}{more}"


def trainable_share(description: PlannedRun) -> TrainableShare:
    """Count the weights that a run trains, from the architecture; the record has what was counted in the run."""
    architecture = architecture_of(scales.scale(description.size, description.family), description.base)
    total, full = architecture.parameters, description.method == "full"
    trained = total if full else architecture.lora_parameters(description.lora_rank, description.lora_targets)
    weights = total if full else total + trained
    return TrainableShare(description.base, description.method, weights, trained, trained / weights)


def cost_table(gpu: str = "H100") -> list[dict[str, Any]]:
    """Return a row per real scale: GiB on one GPU for each method, GPUs for full fine-tuning, hours of one, and disk.

    Hours are those of the paper's three epochs by full fine-tuning: an estimate, not a measurement. Disk is what a full
    run writes (:func:`bytes_written`), and its base in 16 bit.

    Raises:
        ValueError: If the GPU is unknown; the message names the choices.
    """
    model = gpu_model(gpu)
    rows = []
    for (size, family), architecture in ARCHITECTURES.items():
        recipe = scales.scale(size, family).recipe
        plans = {m: plan_memory(architecture, m, recipe.max_length, 1, model.gib, recipe.lora_rank) for m in METHODS}
        rows.append(
            {"size": size, "family": family, "parameters": architecture.parameters}
            | {method: round(plan.total) for method, plan in plans.items()}
            | {"cards for full": plans["full"].fewest}
            | {"hours of one card": round(estimate_cost(architecture, "full", model).hours)}
            | {"disk (GB)": round((2 * architecture.parameters + sum(bytes_written(architecture, "full"))) / 1e9)}
        )
    return rows
