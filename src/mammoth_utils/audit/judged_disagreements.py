"""Disagreements between the corrected rule and Math-Verify that a person judged by reading the problem."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from mammoth_utils import paths, records
from mammoth_utils.records import Record

if TYPE_CHECKING:
    import pandas

FILE = Path("tests") / "cases" / "grading_disagreements.jsonl"
SIDES = {"ours": "corrected rule", "theirs": "Math-Verify", "neither": "neither", "ambiguous": "depends on the reading"}


@dataclass(frozen=True)
class JudgedDisagreements:
    """Rows on which the two graders disagree, each with a judgement.

    Attributes:
        compared: Stored outputs that both graders saw.
        differing: Those on which they disagree; the judged rows are some of these.
        rows: The judged rows as the file has them; ``right`` is a key of ``SIDES``, ``drawn`` says whether the row is
            part of the random sample.
    """

    compared: int
    differing: int
    rows: tuple[Record, ...]

    def right_in_sample(self) -> dict[str, int]:
        """Return for each key of ``SIDES`` how often that side is right in the random sample."""
        counts = Counter(row["right"] for row in self.rows if row["drawn"])
        return {side: counts[side] for side in SIDES}

    def counts(self) -> pandas.DataFrame:
        """Return one row a side: how often it is right in the random sample, and in the rows judged besides."""
        import pandas

        sample = self.right_in_sample()
        besides = Counter(row["right"] for row in self.rows if not row["drawn"])
        return pandas.DataFrame(
            {"right is": name, "in the sample": sample[side], "besides": besides[side]} for side, name in SIDES.items()
        )

    def listed(self) -> list[dict[str, Any]]:
        """Return the rows as a table for readers."""
        names = {"file": "outputs", "id": "id", "gold": "gold", "answer": "corrected reads",
                 "they_read": "Math-Verify reads", "right": "right is", "because": "because"}  # fmt: skip
        shown = [{**row, "id": row["id"].rpartition("/")[2], "right": SIDES[row["right"]]} for row in self.rows]
        return [{name: row[key] for key, name in names.items()} for row in shown]


def read_judged_disagreements(file: Path | None = None) -> JudgedDisagreements:
    """Return the judged disagreements.

    Raises:
        ValueError: If the file is empty, or a judgement is not in ``SIDES``.
    """
    about, *rows = records.read_jsonl(file or paths.root() / FILE)
    for row in rows:
        if row["right"] not in SIDES:
            raise ValueError(f"{row['id']}: unknown judgement {row['right']!r}; known: {', '.join(SIDES)}")
    return JudgedDisagreements(about["rows"], about["differing"], tuple(rows))
