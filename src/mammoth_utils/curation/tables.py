"""Tables of a curation's record, for its page."""

from __future__ import annotations

import re
from collections import Counter
from dataclasses import dataclass

import pandas as pd

from mammoth_utils import licences, records
from mammoth_utils.curation import mixtures
from mammoth_utils.curation.description import Curation
from mammoth_utils.curation.sources.registry import SOURCES
from mammoth_utils.curation.teacher import synthesis
from mammoth_utils.records import Record
from mammoth_utils.vocabulary import MINI

# The steps of a funnel: the stage after which each is counted.
STEPS = {"entered": "entered", "well-formed": "length", "program ran": "execution", "agrees with gold": "agreement",
         "no duplicate": "near-duplicate", "in no benchmark": "contamination"}  # fmt: skip


def table1(printed: pd.DataFrame, record: Record) -> pd.DataFrame:
    """Return Table 1 with the paper's column beside ours.

    Args:
        printed: ``report.published.table1()``.
        record: A curation of the real sources; a source that it does not have shows an empty cell.

    Raises:
        ValueError: If the record is of the miniature, whose counts share no table with the paper's.
    """
    if record["world"] != "real":
        raise ValueError(f"expected a curation of the real sources beside the paper's, got one of {record['world']!r}")
    released = {f"{row['source']} ({row['kind']})": row for row in printed.to_dict("records")}
    ours = {source["paper_name"]: source for source in record["sources"]}
    rows = []
    for name, source in SOURCES.items():
        own = ours.get(name, {})
        rows.append({
            "source": name, "rationales by": source.author, "new": "yes" if source.new else "",
            "the paper": released[name]["printed"], "the release": _released(released[name]),
            "ours, read": _count(own, "entered"), "ours, kept": _count(own, "kept"),
            "questions": _count(own, "questions"), "fields": source.fields, "difficulty": source.difficulty,
            "licence": source.licence + (", contested" if licences.contest_of_source(name) else ""),
        })  # fmt: skip
    return pd.DataFrame(rows)


def _count(own: Record, key: str) -> str:
    """Return a count of a source that was read; an empty text where it was not."""
    return f"{own[key]:,}" if own.get("entered") else ""


def _released(row: Record) -> str:
    """Return the release's rows as far as a source gives them: a number, an interval, a lower bound, or nothing."""
    low, high, exact = (row[key] for key in ("released_at_least", "released_at_most", "released_rows"))
    if not pd.isna(exact):
        return f"{exact:,}"
    if not pd.isna(low):
        return f"{low:,} to {high:,}" if not pd.isna(high) else f"at least {low:,}"
    return ""


def homes() -> pd.DataFrame:
    """Return where each source lives, its second home, and who says what its fields are."""
    rows = [(name, source.home, source.second_home, source.fields_from) for name, source in SOURCES.items()]
    return pd.DataFrame(rows, columns=["source", "home", "second home", "fields by"])


def funnel(record: Record) -> pd.DataFrame:
    """Return the rows left after each step, a row for each source that is there and each step."""
    rows = [(source["name"], source["kind"], step, source["funnel"][stage])
            for source in record["sources"] if source["entered"] for step, stage in STEPS.items()]  # fmt: skip
    return pd.DataFrame(rows, columns=["source", "kind", "step", "rows"])


def lengths(record: Record) -> pd.DataFrame:
    """Return how long the kept rows are: characters of question and rationale, lines of the rationale."""
    keys = {"question_characters": "question", "rationale_characters": "rationale", "rationale_lines": "lines"}
    rows = []
    for source in record["sources"]:
        if source["kept"]:
            parts = {f"{short}, {part}": source[key][part] for key, short in keys.items() for part in source[key]}
            rows.append({"source": source["name"], "rows": source["kept"], **parts})
    return pd.DataFrame(rows)


def fields(record: Record) -> pd.DataFrame:
    """Return fields and levels of difficulty of the kept rows, as the rows themselves name them."""
    rows = [(source["name"], what, value, count) for source in record["sources"]
            for what in ("fields", "levels") for value, count in source[what].items()]  # fmt: skip
    frame = pd.DataFrame(rows, columns=["source", "what", "value", "rows"])
    return frame.assign(what=frame["what"].map({"fields": "field", "levels": "difficulty"}))


def missing(record: Record) -> pd.DataFrame:
    """Return the sources that are not there, with what to download and where to put it, and notes on those that are.

    Behind them stand the benchmarks whose files are not there, with which no row was compared.
    """
    rows = [(source["name"], source["missing"] or source["notes"], "missing" if source["missing"] else "there")
            for source in record["sources"] if source["missing"] or source["notes"]]  # fmt: skip
    rows += [(f"benchmark, {file}", "no row was compared with it; `make data` fetches it", "missing")
             for file in record.get("benchmarks", {}).get("missing", [])]  # fmt: skip
    frame = pd.DataFrame(rows, columns=["source", "what to know", "state"])[["source", "state", "what to know"]]
    return frame.assign(**{"what to know": frame["what to know"].str.replace("`", "")})  # a table has no code in it


def statuses(record: Record) -> pd.DataFrame:
    """Return how executions ended, one row a source of programs."""
    frame = pd.DataFrame.from_dict(record["statuses"], orient="index").fillna(0).astype(int)
    return frame.rename_axis("source").reset_index()


def verdicts(record: Record) -> pd.DataFrame:
    """Return how the answers of the rows compare with their golds, one row a source."""
    rows = {source["name"]: {"kind": source["kind"], **source["verdicts"]}
            for source in record["sources"] if source["verdicts"]}  # fmt: skip
    frame = pd.DataFrame.from_dict(rows, orient="index")
    counts = [column for column in frame.columns if column != "kind"]
    return frame.fillna(dict.fromkeys(counts, 0)).astype(dict.fromkeys(counts, int)).rename_axis("source").reset_index()


def reasons(record: Record) -> pd.DataFrame:
    """Return why rows were thrown out: one row a source, one column a stage and reason, and the rows kept."""
    rows = {source["name"]: {"kept": source["kept"], **source["dropped"]}
            for source in record["sources"] if source["entered"]}  # fmt: skip
    frame = pd.DataFrame.from_dict(rows, orient="index").fillna(0).astype(int)
    return frame.rename_axis("source").reset_index()


# What the miniature's teacher did wrong, by its names of faults.
FAULTS = {
    "number": "a number changed", "operation": "a sign swapped", "syntax": "a bracket too many",
    "constant": "only prints a number", "loop": "never ends",
}  # fmt: skip


def filter_errors(record: Record) -> pd.DataFrame:
    """Return what became of the teacher's programs by the fault planted in them; the miniature alone knows."""
    frame = pd.DataFrame.from_dict((record["truth"] or {"fates": {}})["fates"], orient="index").fillna(0).astype(int)
    return frame.rename(index=FAULTS).rename_axis("the teacher's program").reset_index()


def overlaps(record: Record) -> pd.DataFrame:
    """Return the sources that touch a benchmark: rows and benchmark questions under each rule."""
    columns = [f"{rule}_{what}" for rule in record["rules"] for what in ("rows", "questions")]
    frame = pd.DataFrame(record["contamination"], columns=["source", "benchmark", *columns])
    touching = frame[(frame[columns] > 0).any(axis=1)]
    touching = touching.sort_values(columns, ascending=False, kind="stable").reset_index(drop=True)
    return touching.rename(columns={name: name.replace("_", " ") for name in columns})


def clean_problems(record: Record) -> pd.DataFrame:
    """Return the problems of each benchmark, and how many of them the kept rows do not touch under each rule."""
    columns = ["benchmark", "name", "problems", *record["rules"]]  # named for a record without any benchmark
    frame = pd.DataFrame(record["clean"], columns=columns).drop(columns=["benchmark"])
    return frame.rename(columns={"name": "benchmark", **{rule: f"clean, {rule}" for rule in record["rules"]}})


def known_overlaps(record: Record) -> pd.DataFrame:
    """Return overlaps that were counted before, and the same counted here three ways, in training questions."""
    rows = [
        {"source": pair["source"], "benchmark": pair["benchmark"], "counted before": pair["before"],
         "letters and digits, no options": pair["without_options"]["training_questions"],
         "letters and digits": pair["letters_and_digits"]["training_questions"],
         "ours": pair["ours"]["training_questions"], "ours, rows": pair["ours"]["rows"],
         "ours, benchmark questions": pair["ours"]["benchmark_questions"]}
        for pair in record["known"]
    ]  # fmt: skip
    return pd.DataFrame(rows)


def questions_apart(record: Record) -> pd.DataFrame:
    """Return questions that letters and digits alone make equal, and the signs that tell them apart."""
    rows = []
    for pair in record["known"]:
        for training, benchmark, differing in pair["only_by_letters_and_digits"]:
            parts = [part.partition(" | ") for part in differing.split("; ")]
            sides = [", ".join(part[side].strip() or "nothing" for part in parts) for side in (0, 2)]
            rows.append((pair["source"], training, benchmark, *sides))
    named = ["source", "training question", "benchmark question", "the first has", "the second has"]
    return pd.DataFrame(rows, columns=named)


def teacher_plans(plans: dict[str, synthesis.Plan]) -> pd.DataFrame:
    """Return what asking the teacher would send and cost: a row a source of ``plan_teacher_requests``, and the sum."""
    if len(plans) > 1:
        plans = {**plans, "all": synthesis.total(plans.values())}
    rows = [{"source": name, **{key: getattr(plan, key) for key in _PLANNED}} for name, plan in plans.items()]
    return pd.DataFrame(rows, columns=["source", *_PLANNED])


_PLANNED = ("requests", "stored", "prompt_tokens", "completion_tokens", "dollars", "dollars_most", "basis")


def ledger(record: Record) -> pd.DataFrame:
    """Return what the teacher was asked and what it cost, one row a source and the total."""
    total = {name: value for name, value in record["ledger"]["total"].items() if record["ledger"]["sources"]}
    frame = pd.DataFrame.from_dict({**record["ledger"]["sources"], **({"all": total} if total else {})}, orient="index")
    columns = [name for name in frame.columns if name != "source"]
    frame = frame[columns].rename_axis("source").reset_index()
    return frame.fillna({"model": ""}) if "model" in frame else frame


def sizes(record: Record) -> pd.DataFrame:
    """Return the rows of every mixture, with what it holds."""
    names = sorted(mixtures.GROWING["G+M+C+A"], key=len, reverse=True)
    prefix = "" if record["world"] == "real" else MINI
    said = {name: re.sub("|".join(names), rf"{prefix}\g<0>", text) for name, text in mixtures.MEANING.items()}
    rows = [(name, count, said[name]) for name, count in record["mixtures"].items()]
    return pd.DataFrame(rows, columns=["mixture", "rows", "what it holds"])


def examples(description: Curation, count: int = 10) -> list[Record]:
    """Return kept rows to browse, of as many sources as there are, prose and programs in turn."""
    queues: dict[str, list[dict]] = {}
    for row in records.read_jsonl(description.folder / mixtures.KEPT):
        queue = queues.setdefault(row["source"], [])
        if len(queue) < count:
            queue.append(row)
    kinds = [[queue for queue in queues.values() if queue[0]["kind"] == kind] for kind in ("cot", "pot")]
    order = [queue for turn in range(max(map(len, kinds))) for kind in kinds for queue in kind[turn : turn + 1]]
    rows: list[dict] = []
    while len(rows) < count and any(order):
        rows += [queue.pop(0) for queue in order if queue]
    shown = ("source", "kind", "instruction", "output", "gold", "author", "field")
    return [{**{key: row[key] for key in shown}, "history": _history(row["history"])} for row in rows[:count]]


def _history(history: Record) -> str:
    return ", ".join(f"{key}: {value}" for key, value in history.items() if value not in ("", None))


def dropped(description: Curation, stage: str, count: int = 3) -> list[Record]:
    """Return rows that a stage threw out, the first one of each reason, then more."""
    rows = [row for row in records.read_jsonl(description.folder / mixtures.DROPPED) if row["stage"] == stage]
    seen: Counter = Counter()
    order = []
    for row in rows:
        order.append((seen[row["reason"]], len(order)))
        seen[row["reason"]] += 1
    shown = ("source", "instruction", "output", "gold", "reason", "detail")
    return [{key: rows[index][key] for key in shown} for _, index in sorted(order)[:count]]


@dataclass(frozen=True)
class Summary:
    """The page's numbers in prose.

    Attributes:
        kept: Rows kept; ``cot`` and ``pot`` of them in prose and as programs.
        compared: Programs whose output was compared with a gold; ``agreed`` of them equal it.
        failed: Rows thrown out by the execution; the next five are thrown out by the gold, by the agreement of prose,
            as duplicates, as near duplicates, and since they stand in a benchmark.
        truth: A sentence on what the filters got wrong.
    """

    sources: int
    entered: int
    kept: int
    cot: int
    pot: int
    executed: int
    compared: int
    agreed: int
    failed: int
    differed: int
    disagreed: int
    duplicates: int
    near: int
    leaked: int
    seconds: float
    truth: str


def summary(record: Record) -> Summary:
    """Return the page's numbers in prose."""
    sources, lost = record["sources"], Counter()
    for source in sources:
        for reason, count in source["dropped"].items():
            lost[reason.split(":")[0]] += count
    verdicts = [source["verdicts"] for source in sources if source["kind"] == "pot"]
    executed = sum(sum(counts.values()) for counts in record["statuses"].values())
    return Summary(
        sources=sum(not source["missing"] for source in sources),
        entered=sum(source["entered"] for source in sources),
        kept=record["mixtures"]["hybrid"], cot=record["mixtures"]["cot"], pot=record["mixtures"]["pot"],
        executed=executed,
        compared=sum(counts.get(verdict, 0) for counts in verdicts
                     for verdict in ("correct", "incorrect", "no_answer")),
        agreed=sum(counts.get("correct", 0) for counts in verdicts),
        failed=lost["execution"], differed=lost["gold"], disagreed=lost["agreement"], duplicates=lost["duplicate"],
        near=lost["near-duplicate"], leaked=lost["contamination"], seconds=record["seconds"],
        truth=_truth(record.get("truth"), executed),
    )  # fmt: skip


def _truth(errors: Record | None, executed: int) -> str:
    if errors is None:
        return "What was right among the rows thrown out, and wrong among those kept, is not known on real data."
    lucky, lost, prose = (sum(errors[key].values()) for key in ("passed_by_luck", "lost", "wrong_prose_kept"))
    return (
        f"The teacher wrote {errors['programs']:,} of the {executed:,} programs, {errors['right']:,} right and "
        f"{errors['wrong']:,} wrong; the others came with their sources. The filters lost {lost} of the right ones; "
        f"{lucky} of the wrong ones passed by luck: their output is the gold by chance. "
        f"Prose is not executed, so {prose:,} of {errors['prose_kept']:,} rows of prose that stay have a wrong answer."
    )
