"""Rows on which the corrected rule and Math-Verify differ, as somebody judged them by reading the problem."""

from __future__ import annotations

from collections import Counter
from pathlib import Path
from typing import TYPE_CHECKING, Any

from mammoth_utils import paths, records

if TYPE_CHECKING:
    import pandas

FILE = Path("tests") / "cases" / "grading_disagreements.jsonl"
SIDES = {
    "ours": "corrected rule",
    "theirs": "Math-Verify",
    "neither": "neither",
    "ambiguous": "either, as one reads it",
}


def read(file: Path | None = None) -> tuple[dict[str, Any], list[dict[str, Any]]]:
    """What the file says of itself (how many rows differ, how they were drawn), and its rows.

    Raises:
        ValueError: If it is empty, or a row's judgement is none of ``SIDES``.
    """
    about, *rows = records.read_jsonl(file or paths.root() / FILE)
    for row in rows:
        if row["right"] not in SIDES:
            raise ValueError(f"{row['id']}: unknown judgement {row['right']!r}; known: {', '.join(SIDES)}")
    return about, rows


def counts(rows: list[dict[str, Any]]) -> pandas.DataFrame:
    """One row a side: how often it is right among the rows that were drawn, and among those judged besides."""
    import pandas

    drawn = Counter(row["right"] for row in rows if row["drawn"])
    besides = Counter(row["right"] for row in rows if not row["drawn"])
    return pandas.DataFrame(
        [
            {"right is": said, "of those drawn": drawn[side], "of those besides": besides[side]}
            for side, said in SIDES.items()
        ]
    )


def listed(rows: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """The rows for a reader."""
    return [
        {
            "outputs": row["file"],
            "id": row["id"].rpartition("/")[2],
            "gold": row["gold"],
            "corrected reads": row["answer"],
            "Math-Verify reads": row["they_read"],
            "right is": SIDES[row["right"]],
            "because": row["because"],
        }
        for row in rows
    ]
