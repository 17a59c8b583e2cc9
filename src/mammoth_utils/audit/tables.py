"""Tables of an audit's record. Questions are joined from the data where it is present; the record holds none."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass
from itertools import combinations
from pathlib import Path
from typing import TYPE_CHECKING, Any

from mammoth_utils import licences, records
from mammoth_utils.audit import golds
from mammoth_utils.audit.audit_record import correct_completions
from mammoth_utils.audit.grader_comparison import GRADER_NAMES, GRADERS, MARK_NAMES, NOT_GRADED
from mammoth_utils.audit.reported_cases import JUDGES
from mammoth_utils.evaluation import benchmarks as sets
from mammoth_utils.evaluation import paper_name
from mammoth_utils.grading import grade
from mammoth_utils.rationale import Problem
from mammoth_utils.records import Record
from mammoth_utils.vocabulary import MARKS, MINI, RULES

if TYPE_CHECKING:
    import pandas

RIGHT = MARKS["correct"]


def select_benchmarks(record: Record, names: tuple[str, ...]) -> Record:
    """Return the record with some benchmarks only, in the order of the names, without the outputs of others."""
    return {
        **record,
        "benchmarks": {name: record["benchmarks"][name] for name in names if name in record["benchmarks"]},
        "shared": [pair for pair in record["shared"] if {pair["first"], pair["second"]} <= set(names)],
        "training": [overlap for overlap in record["training"] if overlap["benchmark"] in names],
        "outputs": [file for file in record["outputs"] if set(file["benchmarks"]) & set(names)],
    }


def gold_kinds(record: Record) -> pandas.DataFrame:
    """Return one row a benchmark: whether it is in domain, its problems, and the kinds of its golds."""
    import pandas

    rows = []
    for name, entry in record["benchmarks"].items():
        kinds = ", ".join(f"{kind} {count}" for kind, count in Counter(entry["kinds"]).most_common())
        rows.append(
            {"benchmark": paper_name(name), "in domain": entry["in_domain"], "problems": entry["n"], "golds": kinds}
        )
    return pandas.DataFrame(rows)


def unmatched_counts(record: Record) -> pandas.DataFrame:
    """Return one row a benchmark: how many golds no prediction can match under each grader.

    The last column counts the golds that the corrected rule accepts only letter by letter.
    """
    import pandas

    rows = []
    for name, entry in record["benchmarks"].items():
        row = {"benchmark": paper_name(name), "problems": entry["n"]}
        for grader, counts in entry["accepts"].items():
            row[GRADER_NAMES[grader].removesuffix(", on our answer")] = entry["n"] - counts.get(golds.ACCEPTS, 0)
        rows.append({**row, "matched as text only": len(entry["verbatim"])})
    return pandas.DataFrame(rows)


def unmatched_golds(record: Record) -> list[dict[str, Any]]:
    """Return the golds that no prediction can match under some grader."""
    return [
        {"benchmark": paper_name(name), "row": row, "gold": gold,
         "no match under": ", ".join(GRADER_NAMES[grader] for grader in graders)}
        for name, entry in record["benchmarks"].items()
        for row, gold, graders in entry["refused"]
    ]  # fmt: skip


def golds_matched_as_text(record: Record) -> list[dict[str, Any]]:
    """Return the golds that the corrected rule accepts only where an answer repeats them letter by letter."""
    return [
        {"benchmark": paper_name(name), "row": row, "gold": gold}
        for name, entry in record["benchmarks"].items()
        for row, gold in entry["verbatim"]
    ]


def finding_counts(record: Record) -> pandas.DataFrame:
    """Return one row a flag that some gold has, by severity: its description, how many golds have it, and where."""
    import pandas

    rows = []
    for flag, (severity, description) in sorted(
        golds.FLAGS.items(), key=lambda item: golds.SEVERITIES.index(item[1][0])
    ):
        counts = {name: entry["flags"].get(flag, 0) for name, entry in record["benchmarks"].items()}
        if total := sum(counts.values()):
            where = ", ".join(f"{paper_name(name)} {count}" for name, count in counts.items() if count)
            rows.append([severity, flag, description, total, where])
    return pandas.DataFrame(rows, columns=["severity", "flag", "description", "golds", "where"])


def findings(record: Record, problems: dict[str, list[Problem]] | None = None) -> list[dict[str, Any]]:
    """Return every finding by severity, with its question where the problems are given and may be shown."""
    rows = []
    for name, entry in record["benchmarks"].items():
        for number, flag, detail in entry["findings"]:
            row = {"benchmark": paper_name(name), "row": number, "severity": golds.FLAGS[flag][0], "flag": flag,
                   "detail": detail}  # fmt: skip
            if problems:
                problem = problems[name][number] if name in problems else None
                row["question"] = problem.instruction if problem and _may_be_shown(name, problem.field) else None
            rows.append(row)
    return sorted(rows, key=lambda row: golds.SEVERITIES.index(row["severity"]))


def repeated_questions(record: Record) -> pandas.DataFrame:
    """Return one row a pair of benchmarks with equal questions, or a benchmark and itself; how many golds disagree."""
    import pandas

    rows = []
    for name, entry in record["benchmarks"].items():
        if groups := entry["repeats"]:
            rows.append([paper_name(name), "itself", sum(len(ids) for ids, _, _ in groups), entry["n"],
                         sum(len(ids) for ids, _, agree in groups if not agree)])  # fmt: skip
    for shared in record["shared"]:
        pairs = shared["pairs"]
        rows.append([paper_name(shared["first"]), paper_name(shared["second"]), _shared_questions(shared),
                     record["benchmarks"][shared["second"]]["n"], sum(not agree for _, _, agree in pairs)])  # fmt: skip
    return pandas.DataFrame(rows, columns=["first", "second", "questions", "of", "golds disagree"])


def _shared_questions(shared: Record) -> int:
    return len({second for _, second, _ in shared["pairs"]})


def training_overlaps(record: Record) -> pandas.DataFrame:
    """Return one row a source and benchmark: the test questions that are equal or near to one of the source."""
    import pandas

    columns = ["source", "rows read", "benchmark", "in domain", "problems", "equal", "near", "share, %"]
    rows = []
    for overlap in record["training"]:
        entry = record["benchmarks"][overlap["benchmark"]]
        equal, near = len(overlap["equal"]), len(overlap["near"])
        where = [overlap["source"], overlap["rows"], paper_name(overlap["benchmark"]), entry["in_domain"], entry["n"]]
        rows.append([*where, equal, near, 100 * (equal + near) / entry["n"]])
    return pandas.DataFrame(rows, columns=columns).sort_values("share, %", ascending=False, ignore_index=True)


def training_overlap_counts(record: Record, source: str, benchmark: str) -> tuple[int, int]:
    """Return how many questions of a benchmark equal one of a source, and how many more are near one."""
    for overlap in record["training"]:
        if (overlap["source"], overlap["benchmark"]) == (source, benchmark):
            return len(overlap["equal"]), len(overlap["near"])
    return 0, 0


def accuracies(record: Record) -> pandas.DataFrame:
    """Return one row a completions file: its accuracy in per cent under each grader, and the widest gap between two."""
    import pandas

    rows = []
    for file in record["outputs"]:
        row: dict[str, Any] = {"outputs": file["file"].removesuffix(".gz").removesuffix(".jsonl")}
        row |= {GRADER_NAMES[grader]: 100 * file["correct"][grader] / file["asked"][grader] if grader in file["asked"]
                else None for grader in (*GRADERS, "authors")}  # fmt: skip
        graded = [value for name in GRADERS if (value := row[GRADER_NAMES[name]]) is not None]
        rows.append(
            {**row, "widest gap": max(graded) - min(graded), "rows": file["rows"], "differ": len(file["differing"])}
        )
    return pandas.DataFrame(rows).set_index("outputs").dropna(axis=1, how="all")


def accuracy_range(record: Record, outputs: str) -> tuple[float, float]:
    """Return the lowest and the highest accuracy of a completions file, in per cent, its authors' grader left out."""
    frame = accuracies(record)
    row = frame.loc[outputs, [GRADER_NAMES[grader] for grader in GRADERS if GRADER_NAMES[grader] in frame]].dropna()
    return float(row.min()), float(row.max())


def grader_disagreements(record: Record) -> pandas.DataFrame:
    """Return a square table: the rows of all outputs that two graders both judged, and judged differently."""
    import pandas

    present = [grader for grader in GRADERS if any(grader in file["marks"] for file in record["outputs"])]
    labels = [GRADER_NAMES[grader] for grader in present]
    frame = pandas.DataFrame(0, index=labels, columns=labels)
    for first, second in combinations(present, 2):
        total = sum(
            (a == RIGHT) != (b == RIGHT)
            for file in record["outputs"]
            for a, b in zip(file["marks"].get(first, ""), file["marks"].get(second, ""), strict=False)
            if NOT_GRADED not in (a, b)
        )
        frame.loc[GRADER_NAMES[first], GRADER_NAMES[second]] = total
        frame.loc[GRADER_NAMES[second], GRADER_NAMES[first]] = total
    return frame


def author_agreement(record: Record) -> pandas.DataFrame:
    """Return accuracies and rows judged alike, in per cent, for the outputs whose authors published verdicts."""
    import pandas

    rows = []
    for file in record["outputs"]:
        if authors := file["marks"].get("authors"):
            pairs = zip(file["marks"]["corrected"], authors, strict=True)
            alike = sum((ours == RIGHT) == (theirs == RIGHT) for ours, theirs in pairs)
            percent = {name: 100 * file["correct"][name] / file["rows"] for name in (*RULES, "authors")}
            name = {"outputs": file["file"].split(".")[0], "benchmark": paper_name(file["benchmarks"][0])}
            rows.append({**name, "rows": file["rows"], **percent, "judged alike": 100 * alike / file["rows"]})
    return pandas.DataFrame(rows)


def reported_answers(record: Record) -> pandas.DataFrame:
    """Return how each grader judged the answers of the kinds that public bug reports name, and its seconds."""
    import pandas

    return pandas.DataFrame(
        {
            "answers": answers,
            "grader": name,
            "asked": of["asked"],
            "as labelled, %": 100 * of["as_labelled"] / of["asked"],
            "accepts a wrong answer": of["false_accepts"],
            "refuses a right one": of["false_refusals"],
            "seconds": of["seconds"],
        }
        for answers, report in record.get("reports", {}).items()
        for judge, name in JUDGES.items()
        if (of := report["judges"].get(judge))
    )


BY_OPTIONS = "decided by the options, which stand with the question"
_SHORT_NAMES = {
    "published": "published", "corrected": "corrected", "math_verify": "Math-Verify",
    "math_verify_alone": "Math-Verify on the whole", "harness": "lm-eval",
}  # fmt: skip


def disputed_outputs(record: Record, data_dir: Path | None = None) -> list[dict[str, Any]]:
    """Return every stored output on which graders differ: the marks, the answers, and the corrected rule's reason.

    The reason is made anew from the answer that the record holds. Where that gives another verdict than the record's,
    because the options are missing, ``BY_OPTIONS`` stands instead. Questions are shown where the data is present and
    they may be shown; those of a file of the reader's own always.
    """
    rows = []
    for file in record["outputs"]:
        sources = _source_rows(file, data_dir)
        for number, benchmark, gold, published, corrected, verifier_answer in file["differing"]:
            marks = {name: column[number] for name, column in file["marks"].items() if column[number] != NOT_GRADED}
            authors, source = marks.pop("authors", None), sources.get(number, {})
            verdict = grade(corrected, gold, sets.info(benchmark).rules, "corrected", source.get("options"))
            quoted = "path" in file or _may_be_shown(benchmark)
            others = {name: mark for name, mark in marks.items() if mark != RIGHT}
            rows.append({
                "outputs": file["file"].removesuffix(".gz").removesuffix(".jsonl"),
                "benchmark": paper_name(benchmark),
                "row": number,
                "gold": gold,
                "published reads": published,
                "corrected reads": corrected,
                "Math-Verify reads": verifier_answer or None,
                "right says": ", ".join(_SHORT_NAMES[name] for name in marks if name not in others),
                "others say": "; ".join(f"{_SHORT_NAMES[name]}: {MARK_NAMES[mark]}" for name, mark in others.items()),
                "authors say": MARK_NAMES[authors] if authors else None,
                "corrected, why": verdict.reason if MARKS[verdict.outcome] == marks.get("corrected") else BY_OPTIONS,
                "question": source.get("question") if quoted else None,
            })  # fmt: skip
    empty = [column for column in rows[0] if all(row[column] is None for row in rows)] if rows else []
    return [{column: value for column, value in row.items() if column not in empty} for row in rows]


def common_disputes(rows: list[dict[str, Any]], most: int = 6) -> pandas.DataFrame:
    """Return a row for each set of graders that call an output right: how many outputs there are, and the first.

    Args:
        rows: As :func:`disputed_outputs` returns them.
        most: Sets at most, the most frequent ones.
    """
    import pandas

    counts, first = Counter(row["right says"] for row in rows), {}
    for row in rows:
        first.setdefault(row["right says"], row)
    reads = ("gold", "published reads", "corrected reads", "Math-Verify reads")
    return pandas.DataFrame(
        {"right says": right, "rows": count,
         "such as": f"{first[right]['outputs']}/{first[right]['row']}",
         **{name: first[right][name] for name in reads if name in first[right]}}
        for right, count in counts.most_common(most)
    )  # fmt: skip


def _may_be_shown(benchmark: str, field: str = "") -> bool:
    """Return whether a question may be shown; of the miniature every one may."""
    about = sets.info(benchmark)
    return not about.file or licences.may_be_shown(f"eval/{about.file}", field)


def _source_rows(file: Record, data_dir: Path | None) -> dict[int, Record]:
    """Return the rows on which graders differ out of the completions file; empty if it is missing or another file."""
    numbers = {number for number, *_ in file["differing"]}
    if all(name.startswith(MINI) for name in file["benchmarks"]):
        rows = correct_completions([name for name in sets.names("miniature") if name in file["benchmarks"]])
    else:
        source = data_dir / "outputs" / file["file"] if data_dir is not None else None
        source = Path(file["path"]) if "path" in file else source
        if source is None or not source.is_file() or records.sha256(source) != file["sha256"]:
            return {}
        rows = records.read_jsonl(source)
    return {number: row for number, row in enumerate(rows) if number in numbers}


@dataclass(frozen=True)
class AuditSummary:
    """An audit in numbers, TheoremQA left out; a gold is unmatched if no prediction can match it."""

    problems: int
    unmatched_published: int
    unmatched_mathematics: int  # under the published rule, as the next
    unmatched_numglue: int
    unmatched_corrected: int
    text_only: int
    wrong: int
    malformed: int
    ambiguous: int
    several_asked: int  # questions that ask for several values where the gold holds one
    shared: int
    outputs: int  # completions files
    rows: int
    differing: int
    seconds: float

    def as_table(self) -> pandas.DataFrame:
        """Return the main numbers with their description."""
        import pandas

        descriptions = {
            "problems": "problems of the nine benchmarks",
            "unmatched_published": "golds that no prediction can match under the published rule",
            "unmatched_corrected": "golds that no prediction can match under the corrected rule",
            "text_only": "golds that the corrected rule matches as text only",
            "wrong": "golds that their own row contradicts",
            "malformed": "findings of damaged rows",
            "ambiguous": "findings of ambiguous rows",
            "shared": "questions that two benchmarks share",
            "rows": "stored outputs",
            "differing": "stored outputs on which graders differ",
        }
        values = [getattr(self, name) for name in descriptions]
        return pandas.DataFrame({"description": descriptions.values(), "number": values})


def summarize(record: Record) -> AuditSummary:
    """Return an audit in numbers."""
    entries = {name: entry for name, entry in record["benchmarks"].items() if name != "theoremqa"}
    unmatched = {rule: {name: entry["n"] - entry["accepts"][rule].get(golds.ACCEPTS, 0)
                        for name, entry in entries.items()} for rule in RULES}  # fmt: skip
    flags = Counter(flag for entry in entries.values() for _, flag, _ in entry["findings"])
    severities = Counter({severity: 0 for severity in golds.SEVERITIES})
    for flag, count in flags.items():
        severities[golds.FLAGS[flag][0]] += count
    return AuditSummary(
        problems=sum(entry["n"] for entry in entries.values()),
        unmatched_published=sum(unmatched["published"].values()),
        unmatched_mathematics=unmatched["published"].get("mathematics", 0),
        unmatched_numglue=unmatched["published"].get("numglue", 0),
        unmatched_corrected=sum(unmatched["corrected"].values()),
        text_only=sum(len(entry["verbatim"]) for entry in entries.values()),
        **severities,
        several_asked=flags["several asked"],
        shared=sum(map(_shared_questions, record["shared"])),
        outputs=len(record["outputs"]),
        rows=sum(file["rows"] for file in record["outputs"]),
        differing=sum(len(file["differing"]) for file in record["outputs"]),
        seconds=record["seconds"],
    )
