"""Prices of teachers: the dated table ``prices.csv``, read and checked."""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import cache
from pathlib import Path

from mammoth_utils.records import read_facts

BATCH_SHARE = 0.5  # of the ordinary price, where the table does not say otherwise


@dataclass(frozen=True)
class Price:
    """Dollars per million tokens of one model, and when and where that was read.

    Attributes:
        output: Of an answer, reasoning included.
        batch_share: The batch API's share of these prices.
    """

    input: float
    output: float
    batch_share: float
    read: str
    where: str


@cache
def price_table() -> dict[str, Price]:
    """Return the prices of ``prices.csv`` by model.

    Prices change and models are withdrawn: each row has a date, ``Teacher.price`` overrides it, and a model that
    is not there is refused before it is asked.

    Raises:
        ValueError: If a price is no number of at least 0.
    """
    columns = {"model": str, "input": _price, "output": _price, "batch_share": _price, "read": str, "where": str}
    rows = read_facts(Path(__file__).with_suffix(".csv"), columns)
    return {row.pop("model"): Price(**row) for row in rows}


def _price(text: str) -> float:
    number = float(text)
    if not (math.isfinite(number) and number >= 0):
        raise ValueError(f"expected a price of at least 0, got {text}")
    return number
