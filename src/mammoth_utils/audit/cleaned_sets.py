"""Benchmarks that other groups cleaned by reading, from ``cleaned_sets.csv``, beside what this audit finds in them."""

from __future__ import annotations

import csv
from collections import Counter
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from mammoth_utils.audit import golds
from mammoth_utils.records import Record

if TYPE_CHECKING:
    import pandas

FILE = Path(__file__).with_suffix(".csv")


@dataclass(frozen=True)
class CleanedSet:
    """A benchmark that somebody cleaned.

    Attributes:
        benchmark: The paper's name of the benchmark.
        cleaned_by: Name of the cleaned edition.
        problems: Problems that were looked at; None where the source does not say.
        kept: Problems that stayed.
        method: How faulty problems were found.
        source: Where the figures were read, and when.
    """

    benchmark: str
    cleaned_by: str
    problems: int | None
    kept: int
    method: str
    source: str


def read_cleaned_sets() -> list[CleanedSet]:
    """Return the rows of ``cleaned_sets.csv``."""
    with open(FILE, encoding="utf8", newline="") as file:
        return [
            CleanedSet(
                **{**row, "problems": int(row["problems"]) if row["problems"] else None, "kept": int(row["kept"])}
            )
            for row in csv.DictReader(file)
        ]


def compare_with_cleaned_sets(record: Record) -> pandas.DataFrame:
    """Return one row a cleaned set, with the number of findings of this audit in the same benchmark by severity."""
    import pandas

    entries = {entry["paper_name"]: entry for entry in record["benchmarks"].values()}
    rows = []
    for cleaned in read_cleaned_sets():
        if cleaned.benchmark in entries:
            entry = entries[cleaned.benchmark]
            counts = Counter(golds.FLAGS[flag][0] for _, flag, _ in entry["findings"])
            here = {f"here: {severity}": counts[severity] for severity in golds.SEVERITIES}
            rows.append({"benchmark": cleaned.benchmark, "cleaned by": cleaned.cleaned_by,
                         "problems": cleaned.problems, "kept": cleaned.kept, **here, "here: of": entry["n"],
                         "method": cleaned.method, "source": cleaned.source})  # fmt: skip
    here = [f"here: {severity}" for severity in golds.SEVERITIES]
    columns = ["benchmark", "cleaned by", "problems", "kept", *here, "here: of", "method", "source"]
    return pandas.DataFrame(rows, columns=columns).astype({"problems": "Int64"})
