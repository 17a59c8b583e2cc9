"""A curation's record as tables for its page."""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING, Any

from mammoth_utils import records
from mammoth_utils.curation import mixtures
from mammoth_utils.curation.description import Curation
from mammoth_utils.curation.sources import registry as table_one
from mammoth_utils.curation.teacher import synthesis

if TYPE_CHECKING:
    import pandas as pd

Record = dict[str, Any]
# The steps of a funnel: the stage after which each is counted.
STEPS = {"entered": "entered", "well-formed": "length", "program ran": "execution", "agrees with gold": "agreement",
         "not said before": "near-duplicate", "in no benchmark": "contamination"}  # fmt: skip


def table1(printed: pd.DataFrame, record: Record) -> pd.DataFrame:
    """Table 1 with the paper's column beside ours.

    Args:
        printed: ``report.published.table1()``.
        record: A curation of the real sources; a source that it does not have shows an empty cell.

    Raises:
        ValueError: If the record is of the miniature, whose counts share no table with the paper's.
    """
    import pandas as pd

    if record["world"] != "real":
        raise ValueError(f"expected a curation of the real sources beside the paper's, got one of {record['world']!r}")
    released = {f"{row['source']} ({row['kind']})": row for row in printed.to_dict("records")}
    ours = {one["paper_name"]: one for one in record["sources"]}
    rows = []
    for name, source in table_one.SOURCES.items():
        own = ours.get(name, {})
        rows.append({
            "source": name, "rationales by": source.author, "new": "yes" if source.new else "",
            "the paper": released[name]["printed"], "the release": _released(released[name]),
            "ours, read": _count(own, "entered"), "ours, kept": _count(own, "kept"),
            "questions": _count(own, "questions"), "fields": source.fields, "difficulty": source.difficulty,
            "licence": source.licence,
        })  # fmt: skip
    return pd.DataFrame(rows)


def _count(own: dict[str, Any], key: str) -> str:
    """A count of a source that was read; nothing where it was not."""
    return f"{own[key]:,}" if own.get("entered") else ""


def _released(row: dict[str, Any]) -> str:
    """The release's rows as far as a source gives them: a number, an interval, a lower bound, or nothing."""
    import pandas as pd

    low, high, exact = (row[key] for key in ("released_at_least", "released_at_most", "released_rows"))
    if not pd.isna(exact):
        return f"{exact:,}"
    if not pd.isna(low):
        return f"{low:,} to {high:,}" if not pd.isna(high) else f"at least {low:,}"
    return ""


def homes() -> pd.DataFrame:
    """Where each source lives, its second home, and who says what its fields are."""
    import pandas as pd

    rows = [(name, source.home, source.second_home, source.fields_from)
            for name, source in table_one.SOURCES.items()]  # fmt: skip
    return pd.DataFrame(rows, columns=["source", "home", "second home", "fields by"])


def funnel(record: Record) -> pd.DataFrame:
    """Rows left after each step, a row for each source that is there and each step."""
    import pandas as pd

    rows = [(one["name"], one["kind"], step, one["funnel"][stage])
            for one in record["sources"] if one["entered"] for step, stage in STEPS.items()]  # fmt: skip
    return pd.DataFrame(rows, columns=["source", "kind", "step", "rows"])


def lengths(record: Record) -> pd.DataFrame:
    """How long the kept rows are: characters of question and rationale, lines of the rationale; median to maximum."""
    import pandas as pd

    keys = {"question_characters": "question", "rationale_characters": "rationale", "rationale_lines": "lines"}
    rows = []
    for one in record["sources"]:
        if one["kept"]:
            told = {f"{short}, {part}": one[key][part] for key, short in keys.items() for part in one[key]}
            rows.append({"source": one["name"], "rows": one["kept"], **told})
    return pd.DataFrame(rows)


def fields(record: Record) -> pd.DataFrame:
    """Fields and levels of difficulty of the kept rows, as the rows themselves name them."""
    import pandas as pd

    rows = [(one["name"], what, value, count) for one in record["sources"]
            for what in ("fields", "levels") for value, count in one[what].items()]  # fmt: skip
    frame = pd.DataFrame(rows, columns=["source", "what", "value", "rows"])
    return frame.assign(what=frame["what"].map({"fields": "field", "levels": "difficulty"}))


def missing(record: Record) -> pd.DataFrame:
    """The sources that are not there, with what to download and where to put it; notes on those that are.

    Behind them stand the benchmarks whose files are not there, with which no row was compared.
    """
    import pandas as pd

    rows = [(one["name"], one["missing"] or one["notes"], "missing" if one["missing"] else "there")
            for one in record["sources"] if one["missing"] or one["notes"]]  # fmt: skip
    rows += [(f"benchmark, {file}", "no row was compared with it; `make data` fetches it", "missing")
             for file in record.get("benchmarks", {}).get("missing", [])]  # fmt: skip
    return pd.DataFrame(rows, columns=["source", "what to know", "state"])[["source", "state", "what to know"]]


def statuses(record: Record) -> pd.DataFrame:
    """How executions ended, one row a source of programs."""
    import pandas as pd

    frame = pd.DataFrame.from_dict(record["statuses"], orient="index").fillna(0).astype(int)
    return frame.rename_axis("source").reset_index()


def verdicts(record: Record) -> pd.DataFrame:
    """How the answers of the rows compare with their golds, one row a source; rows that did not run have none."""
    import pandas as pd

    rows = {one["name"]: {"kind": one["kind"], **one["verdicts"]} for one in record["sources"] if one["verdicts"]}
    frame = pd.DataFrame.from_dict(rows, orient="index")
    counts = [column for column in frame.columns if column != "kind"]
    return frame.fillna(dict.fromkeys(counts, 0)).astype(dict.fromkeys(counts, int)).rename_axis("source").reset_index()


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
    """Sources that touch a benchmark: rows and benchmark questions under each rule; other pairs are left out."""
    import pandas as pd

    columns = [f"{rule}_{what}" for rule in record["rules"] for what in ("rows", "questions")]
    frame = pd.DataFrame(record["contamination"], columns=["source", "benchmark", *columns])
    found = frame[(frame[columns] > 0).any(axis=1)]
    found = found.sort_values(columns, ascending=False, kind="stable").reset_index(drop=True)
    return found.rename(columns={name: name.replace("_", " ") for name in columns})


def clean(record: Record) -> pd.DataFrame:
    """Problems of each benchmark, and how many of them the kept rows leave untouched under each rule."""
    import pandas as pd

    columns = ["benchmark", "name", "problems", *record["rules"]]  # named for a record without any benchmark
    frame = pd.DataFrame(record["clean"], columns=columns).drop(columns=["benchmark"])
    return frame.rename(columns={"name": "benchmark", **{rule: f"clean, {rule}" for rule in record["rules"]}})


def known(record: Record) -> pd.DataFrame:
    """Overlaps that were counted before, and the same counted here three ways, in training questions."""
    import pandas as pd

    rows = [
        {"source": one["source"], "benchmark": one["benchmark"], "counted before": one["before"],
         "letters and digits, no options": one["without_options"]["training_questions"],
         "letters and digits": one["letters_and_digits"]["training_questions"],
         "ours": one["ours"]["training_questions"], "ours, rows": one["ours"]["rows"],
         "ours, benchmark questions": one["ours"]["benchmark_questions"]}
        for one in record["known"]
    ]  # fmt: skip
    return pd.DataFrame(rows)


def apart(record: Record) -> pd.DataFrame:
    """Questions that letters and digits alone make equal, and the signs that tell them apart."""
    import pandas as pd

    rows = [(one["source"], *pair) for one in record["known"] for pair in one["only_by_letters_and_digits"]]
    return pd.DataFrame(rows, columns=["source", "training", "benchmark", "training | benchmark"])


def plans(planned: dict[str, Any]) -> pd.DataFrame:
    """What asking the teacher would send and cost, a row a source and the sum; ``planned`` is of ``asking.plans``."""
    import pandas as pd

    if len(planned) > 1:
        planned = {**planned, "all": synthesis.total(planned.values())}
    rows = [{"source": name, **{key: getattr(plan, key) for key in _PLANNED}} for name, plan in planned.items()]
    return pd.DataFrame(rows, columns=["source", *_PLANNED])


_PLANNED = ("requests", "stored", "prompt_tokens", "completion_tokens", "dollars", "dollars_most", "basis")


def ledger(record: Record) -> pd.DataFrame:
    """What the teacher was asked and what it cost, one row a source and the total."""
    import pandas as pd

    total = {name: value for name, value in record["ledger"]["total"].items() if record["ledger"]["sources"]}
    frame = pd.DataFrame.from_dict({**record["ledger"]["sources"], **({"all": total} if total else {})}, orient="index")
    columns = [name for name in frame.columns if name != "source"]
    return frame[columns].rename_axis("source").reset_index()


def sizes(record: Record) -> pd.DataFrame:
    """Rows of every mixture, with what it holds."""
    import pandas as pd

    rows = [(name, count, mixtures.MEANING[name]) for name, count in record["mixtures"].items()]
    return pd.DataFrame(rows, columns=["mixture", "rows", "what it holds"])


def examples(description: Curation, count: int = 10) -> list[dict[str, Any]]:
    """Kept rows to browse, of as many sources as there are, prose and programs in turn."""
    queues: dict[str, list[dict]] = {}
    for row in records.read_jsonl(description.folder / mixtures.KEPT):
        queue = queues.setdefault(row["source"], [])
        if len(queue) < count:
            queue.append(row)
    kinds = [[queue for queue in queues.values() if queue[0]["kind"] == kind] for kind in ("cot", "pot")]
    order = [queue for turn in range(max(map(len, kinds))) for kind in kinds for queue in kind[turn : turn + 1]]
    found: list[dict] = []
    while len(found) < count and any(order):
        found += [queue.pop(0) for queue in order if queue]
    shown = ("source", "kind", "instruction", "output", "gold", "author", "field")
    return [{**{key: row[key] for key in shown}, "history": _told(row["history"])} for row in found[:count]]


def _told(history: dict[str, Any]) -> str:
    return ", ".join(f"{key}: {value}" for key, value in history.items() if value not in ("", None))


def dropped(description: Curation, stage: str, count: int = 3) -> list[dict[str, Any]]:
    """Rows that a stage threw out, the first one of each reason, then more."""
    rows = [row for row in records.read_jsonl(description.folder / mixtures.DROPPED) if row["stage"] == stage]
    seen: Counter = Counter()
    order = []
    for row in rows:
        order.append((seen[row["reason"]], len(order)))
        seen[row["reason"]] += 1
    shown = ("source", "instruction", "output", "gold", "reason", "detail")
    return [{key: rows[index][key] for key in shown} for _, index in sorted(order)[:count]]


def summary(record: Record) -> dict[str, Any]:
    """The page's numbers in prose: rows, kinds, programs executed, thrown out by stage, and what the truth says."""
    lost: Counter = Counter()
    for one in record["sources"]:
        for reason, count in one["dropped"].items():
            lost[reason.split(":")[0]] += count
    return {
        "sources": sum(not one["missing"] for one in record["sources"]),
        "entered": sum(one["entered"] for one in record["sources"]),
        "kept": record["mixtures"]["hybrid"],
        "cot": record["mixtures"]["cot"],
        "pot": record["mixtures"]["pot"],
        "executed": sum(sum(counts.values()) for counts in record["statuses"].values()),
        "compared": sum(one["verdicts"].get(verdict, 0) for one in record["sources"] if one["kind"] == "pot"
                        for verdict in ("correct", "incorrect", "no_answer")),
        "agreed": sum(one["verdicts"].get("correct", 0) for one in record["sources"] if one["kind"] == "pot"),
        "failed": lost["execution"],
        "differed": lost["gold"],
        "disagreed": lost["agreement"],
        "duplicates": lost["duplicate"],
        "near": lost["near-duplicate"],
        "leaked": lost["contamination"],
        "seconds": record["seconds"],
        "truth": _truth(record.get("truth")),
    }  # fmt: skip


def _truth(found: dict[str, Any] | None) -> str:
    if found is None:
        return "What was right among the rows thrown out, and wrong among those kept, is not known on real data."
    lucky, lost, prose = (sum(found[key].values()) for key in ("passed_by_luck", "lost", "wrong_prose_kept"))
    return (
        f"The teacher wrote {found['right']:,} right programs and {found['wrong']:,} wrong ones. Of the right ones "
        f"{lost} were lost; of the wrong ones {lucky} passed by luck: their output is the gold by chance. "
        f"Prose is not executed, so {prose:,} of {found['prose_kept']:,} rows of prose that stay have a wrong answer."
    )
