"""Benchmarks that other groups cleaned by reading, from ``cleaned_sets.csv``, beside what this audit finds in them."""

from __future__ import annotations

from collections import Counter
from pathlib import Path
from typing import TYPE_CHECKING

from mammoth_utils.audit import golds
from mammoth_utils.records import Record

if TYPE_CHECKING:
    import pandas

FILE = Path(__file__).with_suffix(".csv")


def read_cleaned_sets() -> pandas.DataFrame:
    """Return one row a cleaned set: who cleaned it and how, the problems before and after, and where that was read."""
    import pandas

    return pandas.read_csv(FILE, dtype={"problems": "Int64"})


def compare_with_cleaned_sets(record: Record) -> pandas.DataFrame:
    """Return the cleaned sets, with the findings of this audit in the same benchmark by severity."""
    import pandas

    frame = read_cleaned_sets()
    entries = {entry["paper_name"]: entry for entry in record["benchmarks"].values()}
    frame = frame[frame["benchmark"].isin(list(entries))].reset_index(drop=True)
    rows = []
    for benchmark in frame["benchmark"]:
        counts = Counter(golds.FLAGS[flag][0] for _, flag, _ in entries[benchmark]["findings"])
        here = {f"here: {severity}": counts[severity] for severity in golds.SEVERITIES}
        rows.append({**here, "here: of": entries[benchmark]["n"]})
    joined = frame.join(pandas.DataFrame(rows)).rename(columns={"cleaned_by": "cleaned by"})
    return joined[[name for name in joined if name not in ("method", "source")] + ["method", "source"]]
