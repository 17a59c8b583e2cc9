"""The planner: before anything is loaded, what a run needs, what fits, what would fit, and what it costs. No torch."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from mammoth_utils import scales
from mammoth_utils.base_models.architectures import ARCHITECTURES, Architecture, architecture_of
from mammoth_utils.training.plan import cost
from mammoth_utils.training.plan.fit import PlanRow, fits, largest_micro_batch, plan_row
from mammoth_utils.training.plan.fit import gib as _gib
from mammoth_utils.training.plan.gpu_models import CARDS, card
from mammoth_utils.training.plan.memory import FIT, GIB, METHODS, PARTS, memory
from mammoth_utils.training.plan.this_machine import Gpu, gpus

CPU_PARAMETERS = 300_000_000  # beyond this a step on a CPU takes minutes, and a run months
LENGTHS = (2048, 1024, 512)  # what advice tries; below 512 a twentieth of MathInstruct's examples no longer fits
SMALL_CARD = 24e9 / GIB
SIZES_GB = sorted({one.gb for one in CARDS.values()})

__all__ = [
    "CPU_PARAMETERS", "FIT", "GIB", "METHODS", "PARTS", "Advice", "Gpu", "PlanRow", "advice", "choose", "cost_table",
    "gpus", "largest_micro_batch", "memory", "plan", "plan_row", "shares", "trainable_share",
]  # fmt: skip


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


def plan(
    description: Any, gpus: int = 1, gpu_gib: float = SMALL_CARD, checkpointing: bool = True, replicas: int = 1
) -> list[PlanRow]:
    """What each method needs for this run, the paper's way first.

    Args:
        description: A run description; its base's ``config.json`` is read where the base is a folder.
        gpus: Cards.
        gpu_gib: Memory of one card in GiB; an "80 GB" card has 74.5 by the maker's count.
        checkpointing: Whether activations are made again in the backward pass, as the runs of this book do.
        replicas: Cards that each hold the whole run instead (DDP).
    """
    architecture, tokens, rank, how = _run(description)
    how |= {"checkpointing": checkpointing, "replicas": replicas}
    recipe = scales.scale(description.size, description.family).recipe
    return [plan_row(architecture, m, tokens, gpus, gpu_gib, rank, recipe.batch(m), **how) for m in METHODS]


def _run(description: Any) -> tuple[Architecture, int, int, dict[str, Any]]:
    """Architecture, tokens of a pass, rank, and what else of a description decides its memory."""
    scale = scales.scale(description.size, description.family)
    rank = description.lora_rank or scale.recipe.lora_rank
    tokens = description.max_length * description.micro_batch
    how = {"master": getattr(description, "master_weights", "fp32")}
    return architecture_of(scale, description.base, description.revision), tokens, rank, how


def shares(cards: int, sharding: str) -> tuple[int, int]:
    """Of so many cards, how many share one copy of a run, and how many each hold one of their own."""
    return (1, cards) if sharding == "none" else (cards, 1)


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
    batch = description.global_batch
    row = plan_row(architecture, method, tokens, gpus, gib, rank, batch, **how)
    largest = largest_micro_batch(architecture, method, length, gpus, gib, rank, batch, **how)
    where = "this card has" if gpus == replicas == 1 else f"each of these {max(gpus, replicas)} cards has"
    said = f"{description.size} {method} needs {row.said}, {where} {_gib(gib)}, of which a plan may take {FIT:.0%}"
    if row.fits:
        more = f"; a micro_batch of up to {largest} fits" if largest > description.micro_batch else ""
        return Advice(True, said + more, largest, (), row)
    remedies = tuple(_remedies(description, row, largest, gpus, gib, how))
    most = min(64, batch)
    helps = "use " + _or(remedies) if remedies else f"nothing on at most {most} such cards makes it fit"
    return Advice(False, f"{said}: {helps}", largest, remedies, row)


def _remedies(
    description: Any, row: PlanRow, largest: int, gpus: int, gib: float, how: dict[str, Any]
) -> list[str]:  # fmt: skip
    """What would make a run fit, the least change first."""
    architecture, tokens, rank, _ = _run(description)
    found: list[str] = []
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
    recipe, rows = scales.scale(description.size, description.family).recipe, max(gpus, how["replicas"])
    # Each card loads a 4-bit net whole, so that over many of them LoRA's share of a 16-bit one takes less.
    heavy = row.method == "qlora" and (row.loading > 0 or row.fewest is None)
    others = ("lora",) if heavy else METHODS[METHODS.index(row.method) + 1 :]
    for method in others:
        other = plan_row(architecture, method, tokens, gpus, gib, rank, **how)
        if other.fits and rows * description.micro_batch <= recipe.batch(method):
            found.append(f"method {method} ({other.said})")
    replicas, shared = how["replicas"], how | {"replicas": 1}
    if replicas > 1 and plan_row(architecture, row.method, tokens, replicas, gib, rank, **shared).fits:
        found.append("sharding fsdp2")
    elif row.fewest is not None and row.fewest > max(gpus, replicas):
        found.append(f"{row.fewest} such cards")
    larger = next((gb for gb in SIZES_GB if gb * 1e9 / GIB > gib and fits(row.total, gb * 1e9 / GIB)), None)
    if larger and gpus == 1:
        found.append(f"a card of {larger:g} GB" if replicas == 1 else f"cards of {larger:g} GB")
    for method in (row.method, *others) if heavy or not found else ():
        other = plan_row(architecture, method, tokens, gpus, gib, rank, recipe.batch(method), **again)
        changes = [f"method {method}"] if method != row.method else []
        changes += [] if how["checkpointing"] else ["activation checkpointing"]
        if changes and other.fewest is not None and other.fewest > max(gpus, replicas):
            found.append(f"{' with '.join(changes)} on {other.fewest} such cards")
    if larger and gpus > 1 and (not found or row.loading):
        found.append(f"cards of {larger:g} GB")
    return found


def _or(parts: tuple[str, ...]) -> str:
    return parts[0] if len(parts) == 1 else f"{', '.join(parts[:-1])} or {parts[-1]}"


def choose(
    scale: scales.Scale,
    method: str,
    base: str,
    max_length: int,
    devices: str = "auto",
    *,
    revision: str = "",
    nodes: int = 1,
    sharding: str = "auto",
    micro_batch: int = 1,
    master: str = "fp32",
) -> tuple[str, str]:
    """The method of a run and the reason for it, in a sentence.

    A method that was asked for is taken. ``auto`` is full at miniature sizes; elsewhere the first of full, LoRA and
    QLoRA that fits the cards of this machine, or of so many like it, and QLoRA, which needs least, where none does.

    Args:
        scale: The scale.
        method: As asked for, or ``auto``.
        base: A folder or hub name in place of the scale's.
        max_length: Tokens of a packed row.
        devices: As a run description has them.
        revision: Of the hub's base.
        nodes: Machines that share the run.
        sharding: ``none`` keeps the whole run on each card.
        micro_batch: Rows of one pass.
        master: What full fine-tuning keeps its weights in.
    """
    if method != "auto":
        return method, "asked for"
    if scale.miniature:
        return "full", "full fine-tuning, as in the paper: the miniature fits any machine"
    architecture, recipe = architecture_of(scale, base, revision), scale.recipe
    tokens, rank = max_length * micro_batch, recipe.lora_rank
    cards = [] if devices == "cpu" else gpus()
    if not cards:
        if architecture.parameters <= CPU_PARAMETERS and scale.parameters > CPU_PARAMETERS:
            return "full", f"full fine-tuning: {architecture.parameters:,} parameters are few enough for a CPU"
        need = sum(memory(architecture, "qlora", tokens, rank=rank).values()) / GIB
        return "qlora", f"no NVIDIA GPU was found here; QLoRA needs the least, {need:.0f} GiB on one card"
    count = len(cards) if devices == "auto" else min(int(devices), len(cards))
    smallest = min(card.gib for card in cards[:count])
    have = f"{count * nodes} x {cards[0].name} with {smallest:.0f} GiB"
    together, replicas = shares(count * nodes, sharding)
    said, carry = [], {}
    for m in METHODS:
        batch, how = recipe.batch(m), {"master": master, "replicas": replicas}
        row = plan_row(architecture, m, tokens, together, smallest, rank, batch, **how)
        if (rows := count * nodes * micro_batch) > batch:
            said.append(f"{m} has {batch} examples a step for {rows} rows")
        elif row.fits:
            before = f" ({'; '.join(said)})" if said else ""
            return m, f"{m} needs {row.said} on each of {have}{before}"
        else:
            said.append(f"{m} would need {row.said}")
            carry |= {m: row.fewest} if row.fewest else {}
    least = min(carry, key=carry.__getitem__, default="")
    more = f"; {carry[least]} such cards carry {least}" if least else ""
    return "qlora", f"nothing fits {have}: {'; '.join(said)}{more}"


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

    Hours are those of the paper's three epochs by full fine-tuning, from :mod:`mammoth_utils.training.plan.cost`; an
    estimate, not a measurement. Disk is what a full run writes, :func:`mammoth_utils.training.plan.cost.written`, and its
    base in 16 bit.

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
            | {"hours of one card": round(cost.cost(architecture, "full", one).hours)}
            | {"disk (GB)": round((2 * architecture.parameters + sum(cost.written(architecture, "full"))) / 1e9)}
        )
    return rows
