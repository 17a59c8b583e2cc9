"""Prices of teachers: the dated table ``prices.csv``, read and checked."""

from __future__ import annotations

import csv
import math
from dataclasses import dataclass
from functools import cache
from importlib import resources

BATCH_SHARE = 0.5  # of the ordinary price, where the table does not say otherwise


@dataclass(frozen=True)
class Price:
    """Dollars per million tokens of one model, and when and where that was read.

    Attributes:
        input: Dollars per million tokens of a prompt.
        output: Dollars per million tokens of an answer, reasoning included.
        batch_share: The batch API's share of these prices.
        read: The day on which they were read.
        where: The page.
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
    text = (resources.files("mammoth_utils.curation.teacher") / "prices.csv").read_text(encoding="utf8")
    table = {}
    for row in csv.DictReader(text.splitlines()):
        numbers = [float(row[column]) for column in ("input", "output", "batch_share")]
        if not all(math.isfinite(number) and number >= 0 for number in numbers):
            raise ValueError(f"prices.csv: expected prices of at least 0 for {row['model']!r}, got {numbers}")
        table[row["model"]] = Price(*numbers, row["read"], row["where"])
    return table
