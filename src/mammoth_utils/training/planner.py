"""The planner: before anything is loaded, what a run needs, what fits, what would fit, and what it costs. No torch."""

from __future__ import annotations

import os
import shutil
import subprocess
from dataclasses import asdict, dataclass
from typing import Any

from mammoth_utils import scales
from mammoth_utils.training import costs
from mammoth_utils.training.architectures import ARCHITECTURES, Architecture, architecture_of
from mammoth_utils.training.cards import CARDS, card
from mammoth_utils.training.memory import GIB, METHODS, PARTS, memory

CPU_PARAMETERS = 300_000_000  # beyond this a step on a CPU takes minutes, and a run months
GPU_COUNTS = (1, 2, 4, 8, 16, 32, 64)
LENGTHS = (2048, 1024, 512)  # what advice tries; below 512 a twentieth of MathInstruct's examples no longer fits
MOST_TOKENS = 1 << 20  # of one device pass, where the search for the largest micro-batch ends
SMALL_CARD = 24e9 / GIB
SIZES_GB = sorted({one.gb for one in CARDS.values()})

__all__ = [
    "CPU_PARAMETERS", "GIB", "METHODS", "PARTS", "Advice", "Gpu", "PlanRow", "advice", "choose", "cost_table", "gpus",
    "largest_micro_batch", "memory", "plan", "plan_row", "trainable_share",
]  # fmt: skip


@dataclass(frozen=True)
class Gpu:
    """A card of this machine: its name and its memory in GiB."""

    name: str
    gib: float


@dataclass(frozen=True)
class PlanRow:
    """What one method needs on each GPU, in GiB, and whether it fits.

    Attributes:
        method: ``full``, ``lora`` or ``qlora``.
        gpus: Cards that share the run.
        gpu_gib: Memory of one card.
        weights: The base's weights and the adapter's; fp32 master weights for ``full``.
        gradients: Of what is trained.
        optimiser: AdamW's two moments.
        activations: Kept for the backward pass.
        logits: Tiles of scores and the gradients of the head.
        extra: 16-bit copies or gathered layers, CUDA's context.
        total: The sum.
        fits: Whether ``total`` is at most ``gpu_gib``.
        fewest: The fewest cards of this memory that would do; None beyond 64.
    """

    method: str
    gpus: int
    gpu_gib: float
    weights: float
    gradients: float
    optimiser: float
    activations: float
    logits: float
    extra: float
    total: float
    fits: bool
    fewest: int | None

    def as_dict(self) -> dict[str, Any]:
        """The row by name, for a table."""
        return asdict(self)


@dataclass(frozen=True)
class Advice:
    """Whether a run fits its cards, and what would make it fit.

    Attributes:
        fits: Whether it does.
        sentence: What it needs, what the cards have, and where it does not fit, what would help.
        largest_micro_batch: Rows of ``max_length`` that one pass can hold; 0 where not even one fits.
        remedies: What would make it fit, as parameters of the page say it; empty where it fits, or nothing helps.
        row: The plan behind it.
    """

    fits: bool
    sentence: str
    largest_micro_batch: int
    remedies: tuple[str, ...]
    row: PlanRow


def plan_row(
    architecture: Architecture, method: str, tokens: int, gpus: int, gpu_gib: float, rank: int, **how: Any
) -> PlanRow:
    """One method on so many cards of that memory; ``how`` are the keyword arguments of :func:`memory`."""
    parts = {key: value / GIB for key, value in memory(architecture, method, tokens, gpus, rank, **how).items()}
    total = sum(parts.values())
    shared = how | {"replicas": 1}
    needs = {n: sum(memory(architecture, method, tokens, n, rank, **shared).values()) / GIB for n in GPU_COUNTS}
    fewest = next((n for n in GPU_COUNTS if needs[n] <= gpu_gib), None)
    return PlanRow(method, gpus, gpu_gib, **parts, total=total, fits=total <= gpu_gib, fewest=fewest)


def plan(description: Any, gpus: int = 1, gpu_gib: float = SMALL_CARD, checkpointing: bool = True) -> list[PlanRow]:
    """What each method needs for this run, the paper's way first.

    Args:
        description: A run description; its base's ``config.json`` is read where the base is a folder.
        gpus: Cards.
        gpu_gib: Memory of one card in GiB; an "80 GB" card has 74.5 by the maker's count.
        checkpointing: Whether activations are made again in the backward pass, as the runs of this book do.
    """
    architecture, tokens, rank, how = _run(description)
    return [plan_row(architecture, m, tokens, gpus, gpu_gib, rank, checkpointing=checkpointing, **how) for m in METHODS]


def _run(description: Any) -> tuple[Architecture, int, int, dict[str, Any]]:
    """Architecture, tokens of a pass, rank, and what else of a description decides its memory."""
    scale = scales.scale(description.size, description.family)
    rank = description.lora_rank or scale.recipe.lora_rank
    tokens = description.max_length * description.micro_batch
    how = {"master": getattr(description, "master_weights", "fp32")}
    return architecture_of(scale, description.base, description.revision), tokens, rank, how


def largest_micro_batch(
    architecture: Architecture, method: str, max_length: int, gpus: int, gpu_gib: float, rank: int, **how: Any
) -> int:
    """The most rows of ``max_length`` that one device pass can hold; 0 where not even one fits."""

    def fits(count: int) -> bool:
        return sum(memory(architecture, method, count * max_length, gpus, rank, **how).values()) <= gpu_gib * GIB

    low, high = 0, max(1, MOST_TOKENS // max_length)
    while low < high:
        middle = (low + high + 1) // 2
        low, high = (middle, high) if fits(middle) else (low, middle - 1)
    return low


def advice(
    description: Any, gpus: int = 1, gib: float = SMALL_CARD, checkpointing: bool = True, replicas: int = 1
) -> Advice:
    """Whether a run fits its cards, in a sentence that says what would make it fit where it does not.

    Args:
        description: A run description.
        gpus: Cards that share the run (FSDP2).
        gib: Memory of one card in GiB.
        checkpointing: Whether activations are made again in the backward pass.
        replicas: Cards that each hold the whole run instead (DDP).
    """
    architecture, tokens, rank, how = _run(description)
    method, length = description.method, description.max_length
    how |= {"checkpointing": checkpointing, "replicas": replicas}
    row = plan_row(architecture, method, tokens, gpus, gib, rank, **how)
    largest = largest_micro_batch(architecture, method, length, gpus, gib, rank, **how)
    where = "this card has" if gpus == replicas == 1 else f"each of these {max(gpus, replicas)} cards has"
    said = f"{description.size} {method} needs {_gib(row.total)} GiB, {where} {_gib(gib)}"
    if row.fits:
        more = f"; a micro_batch of up to {largest} fits" if largest > description.micro_batch else ""
        return Advice(True, said + more, largest, (), row)
    remedies = tuple(_remedies(description, row, largest, gpus, gib, how))
    helps = "use " + _or(remedies) if remedies else "nothing on at most 64 such cards makes it fit; take larger cards"
    return Advice(False, f"{said}: {helps}", largest, remedies, row)


def _remedies(
    description: Any, row: PlanRow, largest: int, gpus: int, gib: float, how: dict[str, Any]
) -> list[str]:  # fmt: skip
    """What would make a run fit, the least change first."""
    architecture, tokens, rank, _ = _run(description)
    found = []
    if largest:
        found.append(f"micro_batch {largest}")
    again = how | {"checkpointing": True}
    if not how["checkpointing"] and plan_row(architecture, row.method, tokens, gpus, gib, rank, **again).fits:
        found.append("activation checkpointing")
    if not largest:
        for length in (one for one in LENGTHS if one < description.max_length):
            if plan_row(architecture, row.method, length, gpus, gib, rank, **how).fits:
                found.append(f"max_length {length}" + (" with micro_batch 1" if description.micro_batch > 1 else ""))
                break
    for method in METHODS[METHODS.index(row.method) + 1 :]:
        other = plan_row(architecture, method, tokens, gpus, gib, rank, **how)
        if other.fits:
            found.append(f"method {method} ({_gib(other.total)} GiB)")
    replicas, shared = how["replicas"], how | {"replicas": 1}
    if replicas > 1 and plan_row(architecture, row.method, tokens, replicas, gib, rank, **shared).fits:
        found.append("sharding fsdp2")
    elif row.fewest is not None and row.fewest > max(gpus, replicas):
        found.append(f"{row.fewest} such cards")
    if gpus == 1 and (larger := next((gb for gb in SIZES_GB if gb * 1e9 / GIB >= max(row.total, gib)), None)):
        found.append(f"a card of {larger:g} GB")
    for method in METHODS[METHODS.index(row.method) :] if not found else ():
        other = plan_row(architecture, method, tokens, gpus, gib, rank, **again)
        changes = [f"method {method}"] if method != row.method else []
        changes += [] if how["checkpointing"] else ["activation checkpointing"]
        if changes and other.fewest is not None:
            found.append(f"{' with '.join(changes)} on {other.fewest} such cards")
    return found


def _gib(value: float) -> str:
    return f"{value:.1f}" if value < 10 else f"{value:.0f}"


def _or(parts: tuple[str, ...]) -> str:
    return parts[0] if len(parts) == 1 else f"{', '.join(parts[:-1])} or {parts[-1]}"


def gpus() -> list[Gpu]:
    """The NVIDIA cards that this process may use, asked of ``nvidia-smi``; empty without one. Loads nothing."""
    visible = os.environ.get("CUDA_VISIBLE_DEVICES")
    if visible is not None and visible.strip() in ("", "-1", "NoDevFiles"):
        return []
    if shutil.which("nvidia-smi") is None:
        return []
    query = ["nvidia-smi", "--query-gpu=name,memory.total,uuid", "--format=csv,noheader,nounits"]
    try:
        listed = subprocess.run(query, capture_output=True, text=True, timeout=20, check=True).stdout.splitlines()
    except (OSError, subprocess.SubprocessError):
        return []  # a driver without a card answers with an error, which is "no GPU" and no fault of ours
    rows = [[part.strip() for part in line.split(",")] for line in listed if line.count(",") == 2]
    cards = [(row[2], Gpu(row[0], float(row[1]) / 1024)) for row in rows if row[1].replace(".", "").isdigit()]
    if visible is None:
        return [card for _, card in cards]
    chosen = []
    for name in visible.split(","):
        name = name.strip()
        chosen += [c for n, (uuid, c) in enumerate(cards) if name == str(n) or (name and uuid.startswith(name))]
    return chosen


def choose(scale: scales.Scale, method: str, base: str, tokens: int, devices: str = "auto") -> tuple[str, str]:
    """The method of a run and the reason for it, in a sentence.

    A method that was asked for is taken. ``auto`` is full at miniature sizes; elsewhere the first of full, LoRA and
    QLoRA that fits the cards of this machine, and QLoRA, which needs least, where none of them does.
    """
    if method != "auto":
        return method, "asked for"
    if scale.miniature:
        return "full", "full fine-tuning, as in the paper: the miniature fits any machine"
    architecture = architecture_of(scale, base)
    cards = [] if devices == "cpu" else gpus()
    if not cards:
        if architecture.parameters <= CPU_PARAMETERS and scale.parameters > CPU_PARAMETERS:
            return "full", f"full fine-tuning: {architecture.parameters:,} parameters are few enough for a CPU"
        need = sum(memory(architecture, "qlora", tokens, rank=scale.recipe.lora_rank).values()) / GIB
        return "qlora", f"no NVIDIA GPU was found here; QLoRA needs the least, {need:.0f} GiB on one card"
    count = len(cards) if devices == "auto" else min(int(devices), len(cards))
    smallest = min(card.gib for card in cards[:count])
    have = f"{count} x {cards[0].name} with {smallest:.0f} GiB"
    said = []
    for row in (plan_row(architecture, m, tokens, count, smallest, scale.recipe.lora_rank) for m in METHODS):
        if row.fits:
            before = f" ({'; '.join(said)})" if said else ""
            return row.method, f"{row.method} needs {row.total:.0f} GiB on each of {have}{before}"
        said.append(f"{row.method} would need {row.total:.0f} GiB")
    carry = f"; {row.fewest} such cards carry QLoRA" if row.fewest else ""
    return "qlora", f"nothing fits {have}: {'; '.join(said)}{carry}"


def trainable_share(description: Any) -> dict[str, Any]:
    """How many weights a run trains, of how many, from the architecture; the record has what was counted."""
    architecture = architecture_of(scales.scale(description.size, description.family), description.base)
    total, full = architecture.parameters, description.method == "full"
    trained = total if full else architecture.lora_parameters(description.lora_rank)
    whole = total if full else total + trained
    return {"base model": description.base, "method": description.method, "weights": whole, "trained": trained,
            "share": trained / whole}  # fmt: skip


def cost_table(gpu: str = "H100", gpu_gib: float = 0.0) -> list[dict[str, Any]]:
    """A row per real scale: GiB on one card for each method, cards for full fine-tuning, hours of one card, and disk.

    Hours are those of the paper's three epochs by full fine-tuning, from :mod:`mammoth_utils.training.costs`; an
    estimate, not a measurement. Disk is two checkpoints of a full run (12 bytes a weight each), the base and the
    result in 16 bit.

    Args:
        gpu: Whose peak the hours are reckoned with.
        gpu_gib: Memory of one card; 0 takes the maker's.

    Raises:
        ValueError: If the card is unknown, naming the choices.
    """
    one = card(gpu)
    rows = []
    for (size, family), architecture in ARCHITECTURES.items():
        recipe = scales.scale(size, family).recipe
        rank, gib = recipe.lora_rank, gpu_gib or one.gib
        plans = {m: plan_row(architecture, m, recipe.max_length, 1, gib, rank) for m in METHODS}
        rows.append(
            {"size": size, "family": family, "parameters": architecture.parameters}
            | {method: round(row.total) for method, row in plans.items()}
            | {"cards for full": plans["full"].fewest}
            | {"hours of one card": round(costs.cost(architecture, "full", one).hours)}
            | {"disk (GB)": round(28 * architecture.parameters / 1e9)}
        )
    return rows
