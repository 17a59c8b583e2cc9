"""The cost of a run: operations a token, tokens a second, hours and dollars, from stated assumptions; and disk."""

from __future__ import annotations

from dataclasses import dataclass

from mammoth_utils.base_models import Architecture
from mammoth_utils.training.plan.gpu_models import GpuModel
from mammoth_utils.training.plan.memory import METHODS
from mammoth_utils.vocabulary import check_known

# 190 M tokens are three epochs of 262,039 examples at a mean of about 243 tokens (a synthetic mean, not yet measured
# on the release).
PAPER_TOKENS = 190e6
# A cautious share of the peak: ten published runs of LoRA and QLoRA over two to eight cards, counted the same way,
# reached 33 to 70 % (training/plan/literature.yaml). None was measured here.
EFFICIENCY = 0.4
CHECKPOINTS = 3  # the last two are kept while the next is written
MERGED_UP_TO = 2_000_000_000  # adapters of bases up to this many parameters are folded in when the run ends


@dataclass(frozen=True)
class Cost:
    """Time and money of a run.

    Attributes:
        tokens_per_second: Over all GPUs.
        hours: By the clock.
        dollars: Card-hours times the price; None where no price is known.
        price: Dollars an hour of one GPU, or None.
        price_source: Where the price is from, in words.
    """

    tokens_per_second: float
    hours: float
    card_hours: float
    dollars: float | None
    price: float | None
    price_source: str


def flops_per_token(architecture: Architecture, method: str, rank: int = 64, checkpointing: bool = True) -> float:
    """Return the operations that one trained token takes.

    Two a weight forward, two backward to the activations, two more to the weights where these are trained, and the
    forward pass again under checkpointing: 8 a weight for ``full``, 6 for a frozen base. Attention itself is left
    out: documents of 243 tokens make it half a per cent at 7B. The input embedding is counted though it multiplies
    nothing, 2 % at 7B.

    Raises:
        ValueError: If the method is unknown.
    """
    check_known("method", method, METHODS)
    again = 2 if checkpointing else 0
    if method == "full":
        return (6.0 + again) * architecture.parameters
    return (4.0 + again) * architecture.parameters + (6.0 + again) * architecture.lora_parameters(rank)


def estimate_cost(
    architecture: Architecture,
    method: str,
    gpu: GpuModel,
    gpus: int = 1,
    tokens: float = PAPER_TOKENS,
    price: float | None = None,
    rank: int = 64,
    checkpointing: bool = True,
) -> Cost:
    """Estimate time and money of training on that many tokens.

    GPUs share the work without loss; a slow link between them is part of ``EFFICIENCY``.

    Args:
        tokens: Tokens of all epochs.
        price: Dollars an hour of one GPU; None takes the dated list's.

    Raises:
        ValueError: If the price is negative.
    """
    if price is not None and price < 0:
        raise ValueError(f"price is {price}; expected dollars an hour of one card, or None for the list's")
    speed = gpus * EFFICIENCY * gpu.peak_flops / flops_per_token(architecture, method, rank, checkpointing)
    hours = tokens / speed / 3600
    hourly, source = hourly_price(gpu, price)
    return Cost(speed, hours, hours * gpus, None if hourly is None else hours * gpus * hourly, hourly, source)


def hourly_price(gpu: GpuModel, price: float | None = None) -> tuple[float | None, str]:
    """Return dollars an hour of one GPU, or None if unknown, and where the price is from."""
    if price is not None:
        return price, f"{price:.2f} an hour of one {gpu.name}, as given"
    if gpu.price is None:
        return None, f"no price of a {gpu.name} was seen; give one to get dollars"
    dollars = gpu.price.dollars_an_hour
    return dollars, f"{dollars:.2f} an hour of one {gpu.name}, as listed on {gpu.price.seen}"


def bytes_written(
    architecture: Architecture, method: str, rank: int = 64, master: int = 4, model: int = 2, checkpoints: bool = True,
    targets: str = "",
) -> tuple[int, int]:  # fmt: skip
    """Return the most bytes that a run writes: its results, and the checkpoints that exist at once.

    A checkpoint holds the trained weights and AdamW's two moments of them, in the type in which they are trained.

    Args:
        method: ``full``, ``lora`` or ``qlora``. Adapters of small bases are also merged into a model.
        master: Bytes of a weight that full fine-tuning trains; adapters are trained in fp32.
        model: Bytes of a weight of the resulting model.
        targets: Matrices that have adapters, with commas; all for any other text.
    """
    count, full = architecture.parameters, method == "full"
    trained, width = (count, master) if full else (architecture.lora_parameters(rank, targets), 4)
    results = model * count if full else 4 * trained + (model * count if count <= MERGED_UP_TO else 0)
    return results, CHECKPOINTS * 3 * width * trained if checkpoints else 0
