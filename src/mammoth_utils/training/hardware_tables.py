"""What each scale costs on one kind of card: the tables behind the page, from the planner alone."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from mammoth_utils import scales
from mammoth_utils.base_models.architectures import ARCHITECTURES
from mammoth_utils.training.description import describe
from mammoth_utils.training.plan import advice, cost, measurements
from mammoth_utils.training.plan.gpu_models import Card, card
from mammoth_utils.training.plan.memory import METHODS, PARTS


@dataclass(frozen=True)
class Machine:
    """The cards that a page plans for, and how a run uses them.

    Attributes:
        card: The kind of card.
        gpus: How many share a run.
        price: Dollars an hour of one card; None takes the dated list's.
        max_length: Tokens of a packed row.
        micro_batch: Rows of one pass.
        checkpointing: Whether activations are made again in the backward pass.
    """

    card: Card
    gpus: int = 1
    price: float | None = None
    max_length: int = 2048
    micro_batch: int = 1
    checkpointing: bool = True

    def __post_init__(self) -> None:
        for name in ("gpus", "max_length", "micro_batch"):
            if getattr(self, name) < 1:
                raise ValueError(f"{name} is {getattr(self, name)}; expected at least 1")

    @classmethod
    def of(cls, gpu: str, gpus: int, price: float, max_length: int, micro_batch: int, checkpointing: bool) -> Machine:
        """The machine that a page's parameters name; a price of 0 takes the dated list's.

        Raises:
            ValueError: If the card is unknown or a number is too small.
        """
        return cls(card(gpu), gpus, price or None, max_length, micro_batch, checkpointing)

    def __str__(self) -> str:
        return f"{self.gpus} x {self.card.name}, {self.card.gib:.1f} GiB each" + ("" if self.card.bf16 else ", no bf16")


def scale_table(machine: Machine) -> list[dict[str, Any]]:
    """A row per real scale and method: GiB a card by part, whether it fits, and what the run takes where it does.

    ``cards`` are the machine's, or, where these do not carry the run, the fewest that do; speed, hours and dollars are
    those of the paper's three epochs on so many. Empty where 64 do not, or fewer where a step has fewer examples.
    """
    rows = []
    for (size, family), architecture in ARCHITECTURES.items():
        recipe = scales.scale(size, family).recipe
        rank = recipe.lora_rank
        for method in METHODS:
            tokens, how = machine.max_length * machine.micro_batch, {"checkpointing": machine.checkpointing}
            batch = recipe.batch(method)
            row = advice.plan_row(architecture, method, tokens, machine.gpus, machine.card.gib, rank, batch, **how)
            cards = machine.gpus if row.fits else row.fewest
            spent = largest = None
            if cards is not None:
                spent = cost.cost(architecture, method, machine.card, cards, price=machine.price, rank=rank, **how)
                largest = advice.largest_micro_batch(
                    architecture, method, machine.max_length, cards, machine.card.gib, rank, batch, **how
                )
            rows.append({
                "size": size, "family": family, "method": method,
                **{part: getattr(row, part) for part in PARTS},
                "total": row.total, "fits": row.fits, "cards": cards, "largest micro_batch": largest,
                "tokens a second": spent and spent.tokens_per_second, "hours": spent and spent.hours,
                "card-hours": spent and spent.card_hours, "dollars": spent and spent.dollars,
            })  # fmt: skip
    return rows


def advice_table(machine: Machine) -> list[dict[str, Any]]:
    """A row per scale and method that does not fit the machine, with the sentence that says what would help."""
    rows = []
    for size, family in ARCHITECTURES:
        for method in METHODS:
            described = describe(size, family=family, method=method, max_length=machine.max_length,
                                 micro_batch=machine.micro_batch, devices="cpu")  # fmt: skip
            said = advice.advice(described, machine.gpus, machine.card.gib, machine.checkpointing)
            if not said.fits:
                rows.append({"size": size, "family": family, "method": method, "advice": said.sentence})
    return rows


def measured_table(record: dict[str, Any]) -> list[dict[str, Any]]:
    """A row per measured run beside the planner of today, differences in per cent of what was measured."""
    rows = []
    for case in record["cases"]:
        one = measurements.compare(case)
        rows.append({
            "net": one["shape"], "weights, M": one["parameters"] / 1e6, "method": one["method"],
            "computes in": one["compute"], "activations": "made again" if one["checkpointing"] else "kept",
            "weights, gradients, states": "to the byte" if one["exact"] else "differ",
            "saved, %": 100 * one["saved"],
            "planned, MB": one["planned"] / 1e6, "measured, MB": one["measured"] / 1e6, "peak, %": 100 * one["peak"],
        })  # fmt: skip
    return rows
