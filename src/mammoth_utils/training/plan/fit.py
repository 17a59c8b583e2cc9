"""One plan: what a method needs on so many cards of one size, whether that fits, and what the fewest cards are."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any

from mammoth_utils.base_models.architectures import Architecture
from mammoth_utils.training.plan.memory import FIT, GIB, memory

GPU_COUNTS = (1, 2, 4, 8, 16, 32, 64)
MOST_TOKENS = 1 << 20  # of one device pass, where the search for the largest micro-batch ends


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
        loading: What loading takes beyond all that: each of several cards holds a 4-bit net whole before it is cut.
        total: The sum; the height of a step, or of loading where that is more.
        fits: Whether ``total`` is at most ``FIT`` of ``gpu_gib``.
        fewest: The fewest cards of this memory that would do; None beyond 64, or where a step has too few examples.
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
    loading: float
    total: float
    fits: bool
    fewest: int | None

    @property
    def said(self) -> str:
        """The total in words, with what it is of where it is loading's."""
        more = f" while each card loads the whole 4-bit net ({gib(self.total - self.loading)} in a step)"
        return f"{gib(self.total)} GiB" + (more if self.loading else "")

    def as_dict(self) -> dict[str, Any]:
        """The row by name, for a table."""
        return asdict(self)


def plan_row(
    architecture: Architecture,
    method: str,
    tokens: int,
    gpus: int,
    gpu_gib: float,
    rank: int,
    batch: int = 0,
    **how: Any,
) -> PlanRow:
    """One method on so many cards of that memory.

    Args:
        architecture: The model's numbers.
        method: ``full``, ``lora`` or ``qlora``.
        tokens: Tokens of one device pass.
        gpus: Cards that share the run.
        gpu_gib: Memory of one card.
        rank: Rank of the adapters.
        batch: Examples of a step: more cards than that have nothing to read. 0 sets no bound.
        **how: The keyword arguments of :func:`memory`.
    """
    parts = {key: value / GIB for key, value in memory(architecture, method, tokens, gpus, rank, **how).items()}
    total, shared = sum(parts.values()), how | {"replicas": 1}
    counts = [n for n in GPU_COUNTS if not batch or n <= batch]
    fewest = next((n for n in counts if fits(needed(architecture, method, tokens, n, rank, **shared), gpu_gib)), None)
    return PlanRow(method, gpus, gpu_gib, **parts, total=total, fits=fits(total, gpu_gib), fewest=fewest)


def needed(architecture: Architecture, method: str, tokens: int, gpus: int, rank: int, **how: Any) -> float:
    """GiB on each card, all parts together."""
    return sum(memory(architecture, method, tokens, gpus, rank, **how).values()) / GIB


def fits(need: float, has: float) -> bool:
    """Whether a plan of so many GiB fits a card of so many: not to the edge, since no formula sees all."""
    return need <= FIT * has


def largest_micro_batch(
    architecture: Architecture,
    method: str,
    max_length: int,
    gpus: int,
    gpu_gib: float,
    rank: int,
    batch: int = 0,
    **how: Any,
) -> int:
    """The most rows of ``max_length`` that one device pass can hold; 0 where not even one fits.

    Args:
        architecture: The model's numbers.
        method: ``full``, ``lora`` or ``qlora``.
        max_length: Tokens of a row.
        gpus: Cards that share the run.
        gpu_gib: Memory of one card.
        rank: Rank of the adapters.
        batch: Examples of a step, each in one row and no row empty; 0 sets no bound.
        **how: The keyword arguments of :func:`memory`.
    """
    low, high = 0, max(1, MOST_TOKENS // max_length)
    if batch:  # a step may have one example less than asked: the epochs' rest is dealt over all of them
        high = min(high, max(1, (batch - 1) // max(gpus, how.get("replicas", 1))))
    while low < high:
        middle = (low + high + 1) // 2
        enough = fits(needed(architecture, method, middle * max_length, gpus, rank, **how), gpu_gib)
        low, high = (middle, high) if enough else (low, middle - 1)
    return low


def gib(value: float) -> str:
    """GiB as a sentence has them."""
    return f"{value:.1f}" if value < 10 else f"{value:.0f}"
