"""What others report who cleaned such sets by having them read, and the same sets in our audit."""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING, Any

from mammoth_utils.audit import golds
from mammoth_utils.audit.tables import GRAVE

if TYPE_CHECKING:
    import pandas

_SITE = "platinum-bench.csail.mit.edu, November 2026"
CLEANED = (
    {"set": "GSM8K", "by": "GSM8K-Platinum", "problems": 1319, "kept": 1209,
     "how": "every problem that one of several frontier models missed was read: unclear ones removed, labels revised",
     "seen": "dataset card madrylab/gsm8k-platinum, November 2026"},
    {"set": "GSM8K", "by": "platinum-bench", "problems": 300, "kept": 280, "how": "the same on a sample",
     "seen": f"gradientscience.org; {_SITE}"},
    {"set": "SVAMP", "by": "platinum-bench", "problems": None, "kept": 276,
     "how": "the same on a sample whose size the page does not state", "seen": _SITE},
    {"set": "MMLU-Math", "by": "platinum-bench", "problems": None, "kept": 268,
     "how": "the same on high school mathematics", "seen": _SITE},
)  # fmt: skip


PLATINUM = CLEANED[0]


def graded(record: dict[str, Any], paper_name: str, how: str) -> int:
    """Findings of a grade in one benchmark."""
    entries = (entry for entry in record["benchmarks"].values() if entry["paper_name"] == paper_name)
    return sum(golds.FLAGS[flag][0] == how for entry in entries for _, flag, _ in entry["findings"])


def beside(record: dict[str, Any]) -> pandas.DataFrame:
    """Those who cleaned such sets, and what this audit finds wrong, malformed or ambiguous in the same sets."""
    import pandas

    by_paper = {entry["paper_name"]: entry for entry in record["benchmarks"].values()}
    rows = []
    for one in CLEANED:
        entry = by_paper.get(one["set"])
        if entry is None:
            continue
        counts = Counter(golds.FLAGS[flag][0] for _, flag, _ in entry["findings"])
        rows.append({**one, **{f"here: {how}": counts[how] for how in GRAVE}, "here: of": entry["n"]})
    columns = ["set", "by", "problems", "kept", *(f"here: {how}" for how in GRAVE), "here: of", "how", "seen"]
    return pandas.DataFrame(rows, columns=columns).astype({"problems": "Int64"}).set_index("set")
