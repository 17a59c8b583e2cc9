"""What a run costs: operations a token, tokens a second, hours and dollars, from stated assumptions; and disk."""

from __future__ import annotations

from dataclasses import dataclass

from mammoth_utils.base_models.architectures import Architecture
from mammoth_utils.training.plan.gpu_models import PRICES_SEEN, Card
from mammoth_utils.training.plan.memory import METHODS

# 190 M tokens are three epochs of 262,039 examples at a mean of about 243 tokens (a synthetic mean, not yet measured
# on the release).
PAPER_TOKENS = 190e6
# A cautious share of the peak: ten published runs of LoRA and QLoRA over two to eight cards, counted the same way,
# reached 33 to 70 % (training/plan/literature.py). None was measured here.
EFFICIENCY = 0.4
CHECKPOINTS = 3  # the last two are kept while the next is written


@dataclass(frozen=True)
class Cost:
    """Time and money of a run.

    Attributes:
        tokens_per_second: Over all cards.
        hours: By the clock.
        card_hours: Hours times cards.
        dollars: Card-hours times the price; None where no price is known.
        price: Dollars an hour of one card, or None.
        said: Where the price is from, in words.
    """

    tokens_per_second: float
    hours: float
    card_hours: float
    dollars: float | None
    price: float | None
    said: str


def flops_per_token(architecture: Architecture, method: str, rank: int = 64, checkpointing: bool = True) -> float:
    """Operations that one trained token takes.

    Two a weight forward, two backward to the activations, two more to the weights where these are trained, and the
    forward pass again under checkpointing: 8 a weight for ``full``, 6 for a frozen base. Attention itself is left
    out: documents of 243 tokens make it half a per cent at 7B. The input embedding is counted though it multiplies
    nothing, 2 % at 7B.

    Raises:
        ValueError: If the method is unknown.
    """
    if method not in METHODS:
        raise ValueError(f"unknown method {method!r}; known: {', '.join(METHODS)}")
    again = 2 if checkpointing else 0
    if method == "full":
        return (6.0 + again) * architecture.parameters
    return (4.0 + again) * architecture.parameters + (6.0 + again) * architecture.lora_parameters(rank)


def cost(
    architecture: Architecture,
    method: str,
    card: Card,
    gpus: int = 1,
    tokens: float = PAPER_TOKENS,
    price: float | None = None,
    rank: int = 64,
    checkpointing: bool = True,
    efficiency: float = EFFICIENCY,
) -> Cost:
    """Time and money of training on so many tokens.

    Cards are taken to share the work without loss; a slow link between them is what the efficiency must hold.

    Args:
        architecture: The model's numbers.
        method: ``full``, ``lora`` or ``qlora``.
        card: What it runs on.
        gpus: How many.
        tokens: Tokens in all, every epoch counted.
        price: Dollars an hour of one card; None takes the dated list's, and where that has none there are no dollars.
        rank: Rank of the adapters.
        checkpointing: Whether activations are made again.
        efficiency: Share of the card's peak.

    Raises:
        ValueError: If the efficiency is no share, or the price negative.
    """
    if not 0 < efficiency <= 1:
        raise ValueError(f"efficiency is {efficiency}; expected a share of the card's peak, above 0 and at most 1")
    if price is not None and price < 0:
        raise ValueError(f"price is {price}; expected dollars an hour of one card, or None for the list's")
    speed = gpus * efficiency * card.peak_flops / flops_per_token(architecture, method, rank, checkpointing)
    hours = tokens / speed / 3600
    hourly, said = priced(card, price)
    return Cost(speed, hours, hours * gpus, None if hourly is None else hours * gpus * hourly, hourly, said)


def priced(card: Card, price: float | None = None) -> tuple[float | None, str]:
    """Dollars an hour of one card, or None where none are known, and where they are from."""
    if price is not None:
        return price, f"{price:.2f} an hour of one {card.name}, as given"
    if card.price is None:
        return None, f"no price of a {card.name} was seen, so that none is reckoned: give one"
    return card.price, f"{card.price:.2f} an hour of one {card.name}, as listed on {PRICES_SEEN}"


def written(
    architecture: Architecture,
    method: str,
    rank: int = 64,
    master: int = 4,
    model: int = 2,
    folded: bool = False,
    checkpoints: bool = True,
) -> tuple[int, int]:
    """Bytes that a run writes at most: what it leaves, and the checkpoints that stand at once.

    A checkpoint is what is trained and AdamW's two moments of it, in the type that they are trained in.

    Args:
        architecture: The model's numbers.
        method: ``full``, ``lora`` or ``qlora``.
        rank: Rank of the adapters.
        master: Bytes of a weight that full fine-tuning trains; adapters are trained in fp32.
        model: Bytes of a weight of the model that is left.
        folded: Whether an adapter is folded into a model of its own when the run ends.
        checkpoints: Whether any are kept.
    """
    count, full = architecture.parameters, method == "full"
    trained, width = (count, master) if full else (architecture.lora_parameters(rank), 4)
    left = model * count if full else 4 * trained + (model * count if folded else 0)
    return left, CHECKPOINTS * 3 * width * trained if checkpoints else 0
