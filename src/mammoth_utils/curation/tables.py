"""A curation's record as tables for its page."""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING, Any

from mammoth_utils import records
from mammoth_utils.curation import mixtures
from mammoth_utils.curation.description import Curation

if TYPE_CHECKING:
    import pandas as pd

Record = dict[str, Any]


def sources(record: Record) -> pd.DataFrame:
    """One row a source: kind, author, rows that entered and rows kept, characters of question and rationale."""
    import pandas as pd

    columns = {
        "name": "source", "kind": "kind", "author": "author", "validated": "validated", "new": "new", "entered": "rows",
        "kept": "kept", "question_characters": "question", "rationale_characters": "rationale", "licence": "licence",
    }  # fmt: skip
    frame = pd.DataFrame(record["sources"])[list(columns)].rename(columns=columns)
    words = {True: "yes", False: "no"}
    return frame.assign(validated=[words.get(value, "") for value in frame["validated"]])


def missing(record: Record) -> pd.DataFrame:
    """The sources that are not there, with what to download and where to put it; notes on those that are."""
    import pandas as pd

    rows = [(one["name"], one["missing"] or one["notes"], "missing" if one["missing"] else "there")
            for one in record["sources"] if one["missing"] or one["notes"]]  # fmt: skip
    return pd.DataFrame(rows, columns=["source", "what to know", "state"])[["source", "state", "what to know"]]


def statuses(record: Record) -> pd.DataFrame:
    """How executions ended, one row a source of programs."""
    import pandas as pd

    frame = pd.DataFrame.from_dict(record["statuses"], orient="index").fillna(0).astype(int)
    return frame.rename_axis("source").reset_index()


def reasons(record: Record) -> pd.DataFrame:
    """Why rows were thrown out: one row a source, one column a stage and reason, and the rows kept."""
    import pandas as pd

    rows = {one["name"]: {"kept": one["kept"], **one["dropped"]} for one in record["sources"] if one["entered"]}
    frame = pd.DataFrame.from_dict(rows, orient="index").fillna(0).astype(int)
    return frame.rename_axis("source").reset_index()


def fates(record: Record) -> pd.DataFrame:
    """What became of the teacher's programs by what was wrong with them on purpose; the miniature alone knows."""
    import pandas as pd

    frame = pd.DataFrame.from_dict((record["truth"] or {"fates": {}})["fates"], orient="index").fillna(0).astype(int)
    return frame.rename_axis("the teacher's program").reset_index()


def overlaps(record: Record) -> pd.DataFrame:
    """Sources that share a question, or a run of words, with a benchmark; pairs that share nothing are left out."""
    import pandas as pd

    runs = [f"ngram_{window}_rows" for window in record["windows"]]
    columns = ["source", "benchmark", "rows", "equal_rows", "equal_questions", "near_rows", *runs]
    frame = pd.DataFrame(record["contamination"], columns=columns)
    found = frame[(frame[["equal_rows", "near_rows", *runs]] > 0).any(axis=1)]
    return found.sort_values("equal_rows", ascending=False, kind="stable").reset_index(drop=True)


def ledger(record: Record) -> pd.DataFrame:
    """What the teacher was asked and what it cost, one row a source and the total."""
    import pandas as pd

    total = {name: value for name, value in record["ledger"]["total"].items() if record["ledger"]["sources"]}
    frame = pd.DataFrame.from_dict({**record["ledger"]["sources"], **({"all": total} if total else {})}, orient="index")
    return frame.rename_axis("source").reset_index()


def sizes(record: Record) -> pd.DataFrame:
    """Rows of every mixture, with what it holds."""
    import pandas as pd

    rows = [(name, count, mixtures.MEANING[name]) for name, count in record["mixtures"].items()]
    return pd.DataFrame(rows, columns=["mixture", "rows", "what it holds"])


def examples(description: Curation, count: int = 3) -> pd.DataFrame:
    """Kept rows to look at, of different sources and both kinds where there are both."""
    import pandas as pd

    chosen: dict[str, dict] = {}
    for row in records.read_jsonl(description.folder / mixtures.KEPT):
        chosen.setdefault(row["source"], row)
    by_kind = [[row for row in chosen.values() if row["kind"] == kind] for kind in ("cot", "pot")]
    mixed = [row for pair in zip(*by_kind, strict=False) for row in pair] or list(chosen.values())
    return pd.DataFrame(mixed[:count])[["source", "kind", "instruction", "output", "gold"]]


def dropped(description: Curation, stage: str, count: int = 3) -> pd.DataFrame:
    """Rows that a stage threw out, the first one of each reason, then more."""
    import pandas as pd

    rows = [row for row in records.read_jsonl(description.folder / mixtures.DROPPED) if row["stage"] == stage]
    seen: Counter = Counter()
    order = []
    for row in rows:
        order.append((seen[row["reason"]], len(order)))
        seen[row["reason"]] += 1
    chosen = [rows[index] for _, index in sorted(order)[:count]]
    return pd.DataFrame(chosen, columns=["source", "instruction", "output", "gold", "reason", "detail"])


def summary(record: Record) -> dict[str, Any]:
    """The page's numbers in prose: rows, kinds, programs executed, thrown out by stage, and what the truth says."""
    dropped_by_stage: Counter = Counter()
    for one in record["sources"]:
        for reason, count in one["dropped"].items():
            dropped_by_stage[reason.split(":")[0]] += count
    executed = sum(sum(counts.values()) for counts in record["statuses"].values())
    return {
        "sources": sum(not one["missing"] for one in record["sources"]),
        "entered": sum(one["entered"] for one in record["sources"]),
        "kept": record["mixtures"]["hybrid"],
        "cot": record["mixtures"]["cot"],
        "pot": record["mixtures"]["pot"],
        "executed": executed,
        "failed": dropped_by_stage["execution"],
        "differed": dropped_by_stage["gold"],
        "duplicates": dropped_by_stage["duplicate"],
        "near": dropped_by_stage["near-duplicate"],
        "leaked": dropped_by_stage["contamination"],
        "seconds": record["seconds"],
        "truth": _truth(record["truth"]),
    }


def _truth(found: dict[str, Any] | None) -> str:
    if found is None:
        return "What was right among the rows thrown out, and wrong among those kept, is not known on real data."
    lucky, lost, prose = (sum(found[key].values()) for key in ("passed_by_luck", "lost", "wrong_prose_kept"))
    return (
        f"The teacher wrote {found['right']:,} right programs and {found['wrong']:,} wrong ones. Of the right ones "
        f"{lost} were lost; of the wrong ones {lucky} passed by luck: their output is the gold by chance. "
        f"Prose is not executed, so {prose:,} of {found['prose_kept']:,} rows of prose that stay have a wrong answer."
    )
