"""What fits a GPU: the memory plan of one method, the fewest GPUs that carry it, and the largest micro-batch."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any

from mammoth_utils.base_models import Architecture
from mammoth_utils.training.plan.memory import FIT, GIB, memory_by_part

GPU_COUNTS = (1, 2, 4, 8, 16, 32, 64)
MOST_TOKENS = 1 << 20  # of one device pass, where the search for the largest micro-batch ends


@dataclass(frozen=True)
class MemoryPlan:
    """What one method needs on each GPU, in GiB, and whether it fits.

    Attributes:
        method: ``full``, ``lora`` or ``qlora``.
        gpus: GPUs that share the run.
        weights: The base's weights and the adapter's; fp32 master weights for ``full``.
        gradients: Of the trained weights.
        optimiser: AdamW's two moments.
        activations: Kept for the backward pass.
        logits: Tiles of scores and the gradients of the head.
        extra: 16-bit copies or gathered layers, CUDA's context.
        loading: What loading takes beyond a step: each of several GPUs holds a 4-bit net whole before it is cut.
        total: The sum; the peak of a step, or of loading where that is more.
        fits: Whether ``total`` is at most ``FIT`` of ``gpu_gib``.
        fewest: The fewest GPUs of this memory that carry the run; None beyond 64, or if a step has too few examples.
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
    def total_text(self) -> str:
        """Return the total in words; where loading needs more than a step, with the step's share of it."""
        more = f" while each card loads the whole 4-bit net ({format_gib(self.total - self.loading)} in a step)"
        return f"{format_gib(self.total)} GiB" + (more if self.loading else "")

    def as_dict(self) -> dict[str, Any]:
        """Return the plan by field, for a table."""
        return asdict(self)


def plan_memory(
    architecture: Architecture,
    method: str,
    tokens: int,
    gpus: int,
    gpu_gib: float,
    rank: int,
    batch: int = 0,
    **options: Any,
) -> MemoryPlan:
    """Plan one method on GPUs of one size.

    Args:
        architecture: The model's numbers.
        method: ``full``, ``lora`` or ``qlora``.
        tokens: Tokens of one device pass.
        gpus: GPUs that share the run.
        gpu_gib: Memory of one GPU.
        rank: Rank of the adapters.
        batch: Examples of a step, which more GPUs cannot share; 0 sets no bound.
        **options: Keyword arguments of :func:`memory_by_part`.
    """
    parts = memory_by_part(architecture, method, tokens, gpus, rank, **options)
    parts = {part: value / GIB for part, value in parts.items()}
    total, shared = sum(parts.values()), options | {"replicas": 1}
    counts = (n for n in GPU_COUNTS if not batch or n <= batch)
    if options.get("optimizer", "adamw") != "adamw":  # which cards that share a run do not have
        counts = (1,)
    needs = ((n, total_gib(architecture, method, tokens, n, rank, **shared)) for n in counts)
    fewest = next((n for n, need in needs if fits(need, gpu_gib)), None)
    return MemoryPlan(method, gpus, gpu_gib, **parts, total=total, fits=fits(total, gpu_gib), fewest=fewest)


def total_gib(architecture: Architecture, method: str, tokens: int, gpus: int, rank: int, **options: Any) -> float:
    """Return the GiB on each GPU, all parts together."""
    return sum(memory_by_part(architecture, method, tokens, gpus, rank, **options).values()) / GIB


def fits(need_gib: float, gpu_gib: float) -> bool:
    """Return whether a plan fits a GPU with the margin that ``FIT`` leaves for what no formula counts."""
    return need_gib <= FIT * gpu_gib


def largest_micro_batch(
    architecture: Architecture,
    method: str,
    max_length: int,
    gpus: int,
    gpu_gib: float,
    rank: int,
    batch: int = 0,
    **options: Any,
) -> int:
    """Return the most rows of ``max_length`` tokens that fit one device pass; 0 if not even one fits.

    Every row needs an example of the step's ``batch``. The other arguments are those of :func:`plan_memory`.
    """
    low, high = 0, max(1, MOST_TOKENS // max_length)
    if batch:  # a step may have one example less than the recipe's: the epochs' rest is dealt over all of them
        high = min(high, max(1, (batch - 1) // max(gpus, options.get("replicas", 1))))
    while low < high:
        middle = (low + high + 1) // 2
        enough = fits(total_gib(architecture, method, middle * max_length, gpus, rank, **options), gpu_gib)
        low, high = (middle, high) if enough else (low, middle - 1)
    return low


def format_gib(value: float) -> str:
    """Return GiB as a sentence has them."""
    return f"{value:.1f}" if value < 10 else f"{value:.0f}"
