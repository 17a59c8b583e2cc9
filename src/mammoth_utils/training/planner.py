"""The planner: how much memory a run needs and which method fits, from the architecture alone, without torch.

The formulas were checked on tiny models: parameters, gradients and AdamW states to the byte, saved activations
against torch's own hooks. What they leave out (the allocator's slack, NCCL's buffers) is the few per cent by which
a card's stated memory should exceed the figure.
"""

from __future__ import annotations

import os
import shutil
import subprocess
from dataclasses import asdict, dataclass
from typing import Any

from mammoth_utils import scales
from mammoth_utils.training.architectures import ARCHITECTURES, Architecture, architecture_of

GIB = 2**30
CONTEXT = 1.5 * GIB  # CUDA's context and the libraries' workspaces
LOGITS = 0.25 * GIB  # TRL scores the vocabulary in tiles of about this size
CPU_PARAMETERS = 300_000_000  # beyond this a step on a CPU takes minutes, and a run months
GPU_COUNTS = (1, 2, 4, 8, 16, 32, 64)
METHODS = ("full", "lora", "qlora")

# For the hours: 190 M tokens are three epochs of 262,039 examples at a mean of about 243 tokens (a synthetic mean,
# not yet measured on the release), and 40 % of a card's bf16 peak is a usual share for a well-packed run.
PAPER_TOKENS = 190e6
EFFICIENCY = 0.4
PEAK_FLOPS = {"A100": 312e12, "H100": 989e12}


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
        activations: Kept for the backward pass, with checkpointing.
        extra: 16-bit copies or gathered layers, logits, CUDA's context.
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
    extra: float
    total: float
    fits: bool
    fewest: int | None

    def as_dict(self) -> dict[str, Any]:
        """The row by name, for a table."""
        return asdict(self)


def memory(
    architecture: Architecture, method: str, tokens: int = 2048, gpus: int = 1, rank: int = 64, adapter_bytes: int = 0
) -> dict[str, float]:
    """Bytes that one GPU needs, by part, with activation checkpointing and AdamW.

    Args:
        architecture: The model's numbers.
        method: ``full``: fp32 master weights and autocast. ``lora``: a 16-bit base. ``qlora``: a base in nf4 with
            double quantisation: half a byte a weight, one byte and 4/256 for every 64 weights' scales.
        tokens: Tokens of one device pass, ``micro_batch * max_length``.
        gpus: Cards that share weights, gradients and optimiser states (FSDP2); activations are each card's own.
        rank: Rank of the adapters.
        adapter_bytes: Bytes of one adapter weight: 4, or 2 for QLoRA over several cards, where TRL keeps bf16.

    Raises:
        ValueError: If the method is unknown.
    """
    if method not in METHODS:
        raise ValueError(f"unknown method {method!r}; known: {', '.join(METHODS)}")
    a = architecture
    count, lora = a.parameters, a.lora_parameters(rank)
    per_weight = adapter_bytes or (2 if method == "qlora" and gpus > 1 else 4)
    linear = a.layers * a.layer_matrices
    if method == "full":
        weights, trained, per_weight = 4.0 * count, count, 4
    elif method == "lora":
        weights, trained = 2.0 * count + per_weight * lora, lora
    else:
        scaled = linear / 64 * (1 + 4 / 256)
        weights, trained = 0.5 * linear + scaled + 2.0 * (a.embeddings + a.norms) + per_weight * lora, lora
    # Per token: what one layer keeps for its backward pass, and the input of every layer under checkpointing.
    shared = 4 * a.kv + 8 * a.intermediate + 4 * a.heads + 8
    layer = (30 * a.hidden + shared) if method == "full" else (24 * a.hidden + shared + 14 * rank)
    kept = (4 if method == "full" else 2) * a.hidden * a.layers
    extra = CONTEXT + min(LOGITS, 10.0 * tokens * a.vocabulary)
    if gpus > 1:
        layer_bytes = linear / a.layers * (0.52 if method == "qlora" else 2.0)
        extra += 2 * layer_bytes + 2.0 * a.embeddings
        extra += 4.0 * linear / a.layers if method == "full" else 0.0
    elif method == "full":
        extra += 2.0 * count  # autocast's 16-bit copies live for the whole step
    if method == "qlora":
        extra += 2.0 * a.hidden * a.intermediate  # one matrix at a time is dequantised
    return {
        "weights": weights / gpus,
        "gradients": per_weight * trained / gpus,
        "optimiser": 2.0 * per_weight * trained / gpus,
        "activations": float((layer + kept) * tokens),
        "extra": extra,
    }


def plan_row(architecture: Architecture, method: str, tokens: int, gpus: int, gpu_gib: float, rank: int) -> PlanRow:
    """One method on so many cards of that memory."""
    parts = {key: value / GIB for key, value in memory(architecture, method, tokens, gpus, rank).items()}
    total = sum(parts.values())
    needs = {n: sum(memory(architecture, method, tokens, n, rank).values()) / GIB for n in GPU_COUNTS}
    fewest = next((n for n in GPU_COUNTS if needs[n] <= gpu_gib), None)
    return PlanRow(method, gpus, gpu_gib, **parts, total=total, fits=total <= gpu_gib, fewest=fewest)


def plan(description: Any, gpus: int = 1, gpu_gib: float = 24e9 / GIB) -> list[PlanRow]:
    """What each method needs for this run, the paper's way first.

    Args:
        description: A run description; its base's ``config.json`` is read where the base is a folder.
        gpus: Cards.
        gpu_gib: Memory of one card in GiB; an "80 GB" card has 74.5 by the maker's count.
    """
    scale = scales.scale(description.size, description.family)
    architecture = architecture_of(scale, description.base)
    tokens = description.max_length * description.micro_batch
    rank = description.lora_rank or scale.recipe.lora_rank
    return [plan_row(architecture, method, tokens, gpus, gpu_gib, rank) for method in METHODS]


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
    return "qlora", f"nothing fits {have}: {'; '.join(said)}"


def trainable_share(description: Any) -> dict[str, Any]:
    """How many weights a run trains, of how many, from the architecture; the record has what was counted."""
    architecture = architecture_of(scales.scale(description.size, description.family), description.base)
    total, full = architecture.parameters, description.method == "full"
    trained = total if full else architecture.lora_parameters(description.lora_rank)
    whole = total if full else total + trained
    return {"base model": description.base, "method": description.method, "weights": whole, "trained": trained,
            "share": trained / whole}  # fmt: skip


def cost_table(gpu: str = "H100", gpu_gib: float = 80e9 / GIB) -> list[dict[str, Any]]:
    """A row per real scale: GiB on one card for each method, cards for full fine-tuning, hours of one card, and disk.

    Hours are those of the paper's three epochs, from ``8 N`` operations a token (6 N and the forward pass repeated
    by checkpointing) at ``EFFICIENCY`` of the card's peak; an estimate, not a measurement. Disk is two checkpoints of
    a full run (12 bytes a weight each), the base and the result in 16 bit.

    Raises:
        ValueError: If the card's peak is not known, naming the choices.
    """
    if gpu not in PEAK_FLOPS:
        raise ValueError(f"unknown gpu {gpu!r}; known: {', '.join(PEAK_FLOPS)}")
    rows = []
    for (size, family), architecture in ARCHITECTURES.items():
        recipe = scales.scale(size, family).recipe
        plans = {m: plan_row(architecture, m, recipe.max_length, 1, gpu_gib, recipe.lora_rank) for m in METHODS}
        seconds = 8 * architecture.parameters * PAPER_TOKENS / (EFFICIENCY * PEAK_FLOPS[gpu])
        rows.append(
            {"size": size, "family": family, "parameters": architecture.parameters}
            | {method: round(row.total) for method, row in plans.items()}
            | {"cards for full": plans["full"].fewest, "hours of one card": round(seconds / 3600)}
            | {"disk (GB)": round(28 * architecture.parameters / 1e9)}
        )
    return rows
