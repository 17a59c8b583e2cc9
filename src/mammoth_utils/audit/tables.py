"""Tables of an audit's record; questions are joined from the data where it is there."""

from __future__ import annotations

from collections import Counter
from itertools import combinations
from pathlib import Path
from typing import TYPE_CHECKING, Any

from mammoth_utils import records
from mammoth_utils.audit import audit_record as audits
from mammoth_utils.audit import golds
from mammoth_utils.audit.grader_comparison import ABSENT, GRADERS, NAMES, SAID
from mammoth_utils.evaluation import benchmarks as sets
from mammoth_utils.evaluation.tables import paper_name
from mammoth_utils.grading.verdicts import grade
from mammoth_utils.rationale import Problem
from mammoth_utils.vocabulary import MARKS, MINI

if TYPE_CHECKING:
    import pandas

GRAVE = ("wrong", "malformed", "ambiguous")


def chosen(record: dict[str, Any], names: tuple[str, ...]) -> dict[str, Any]:
    """The record with some benchmarks only, in the order of the names; files of others are left out."""
    return {
        **record,
        "benchmarks": {name: record["benchmarks"][name] for name in names if name in record["benchmarks"]},
        "shared": [one for one in record["shared"] if {one["first"], one["second"]} <= set(names)],
        "training": [one for one in record["training"] if one["benchmark"] in names],
        "outputs": [one for one in record["outputs"] if set(one["benchmarks"]) & set(names)],
    }


def kinds(record: dict[str, Any]) -> pandas.DataFrame:
    """One row a benchmark: whether it is in domain, its problems, and the kinds of its golds with their counts."""
    import pandas

    rows = []
    for name, entry in record["benchmarks"].items():
        ordered = sorted(entry["kinds"].items(), key=lambda one: -one[1])
        listed = ", ".join(f"{kind} {count}" for kind, count in ordered)
        rows.append(
            {"benchmark": paper_name(name), "in domain": entry["in_domain"], "problems": entry["n"], "golds": listed}
        )
    return pandas.DataFrame(rows).set_index("benchmark")


def acceptance(record: dict[str, Any]) -> pandas.DataFrame:
    """One row a benchmark: how many golds a grader can never call right, whatever a model writes.

    The last column counts the golds that the corrected rule knows as text alone, which it accepts word for word.
    """
    import pandas

    rows = []
    for name, entry in record["benchmarks"].items():
        row = {"benchmark": paper_name(name), "problems": entry["n"]}
        for grader, counts in entry["accepts"].items():
            row[NAMES[grader].removesuffix(", on our answer")] = entry["n"] - counts.get(golds.ACCEPTS, 0)
        rows.append({**row, "right word for word only": len(entry["verbatim"])})
    return pandas.DataFrame(rows).set_index("benchmark")


def out_of_reach(record: dict[str, Any]) -> list[dict[str, Any]]:
    """The golds that some grader can never call right."""
    return [
        {
            "benchmark": paper_name(name),
            "row": at,
            "gold": gold,
            "never right under": ", ".join(NAMES[one] for one in who),
        }
        for name, entry in record["benchmarks"].items()
        for at, gold, who in entry["refused"]
    ]


def verbatim(record: dict[str, Any]) -> list[dict[str, Any]]:
    """The golds that the corrected rule accepts only where an answer repeats them letter by letter."""
    return [
        {"benchmark": paper_name(name), "row": at, "gold": gold}
        for name, entry in record["benchmarks"].items()
        for at, gold in entry["verbatim"]
    ]


def findings(record: dict[str, Any]) -> pandas.DataFrame:
    """One row a flag that some gold has, the gravest first: what it says, how many golds have it, and where."""
    import pandas

    rows = []
    for flag, (how, says) in sorted(golds.FLAGS.items(), key=lambda one: GRAVE.index(one[1][0])):
        counts = {name: entry["flags"].get(flag, 0) for name, entry in record["benchmarks"].items()}
        if total := sum(counts.values()):
            where = ", ".join(f"{paper_name(name)} {count}" for name, count in counts.items() if count)
            rows.append({"grade": how, "flag": flag, "what": says, "golds": total, "where": where})
    return pandas.DataFrame(rows, columns=["grade", "flag", "what", "golds", "where"])


def found(record: dict[str, Any], problems: dict[str, list[Problem]] | None = None) -> list[dict[str, Any]]:
    """Every finding, the gravest first, with its question where the data is there."""
    rows = []
    for name, entry in record["benchmarks"].items():
        for at, flag, detail in entry["findings"]:
            row = {
                "benchmark": paper_name(name),
                "row": at,
                "grade": golds.FLAGS[flag][0],
                "flag": flag,
                "detail": detail,
            }
            if problems:
                row["question"] = problems[name][at].instruction if name in problems else None
            rows.append(row)
    return sorted(rows, key=lambda row: GRAVE.index(row["grade"]))


def repeats(record: dict[str, Any]) -> pandas.DataFrame:
    """One row a pair: benchmarks with equal questions inside or between them, and how many golds disagree."""
    import pandas

    rows = []
    for name, entry in record["benchmarks"].items():
        groups = entry["repeats"]
        if groups:
            rows.append({
                "first": paper_name(name), "second": "itself",
                "questions": sum(len(ids) for ids, _, _ in groups), "of": entry["n"],
                "golds disagree": sum(len(ids) for ids, _, agree in groups if not agree),
            })  # fmt: skip
    for one in record["shared"]:
        rows.append({
            "first": paper_name(one["first"]), "second": paper_name(one["second"]),
            "questions": len({pair[1] for pair in one["pairs"]}), "of": record["benchmarks"][one["second"]]["n"],
            "golds disagree": sum(not pair[2] for pair in one["pairs"]),
        })  # fmt: skip
    return pandas.DataFrame(rows, columns=["first", "second", "questions", "of", "golds disagree"])


def training(record: dict[str, Any]) -> pandas.DataFrame:
    """One row a source and benchmark: how many test questions stand in the source, equal or near."""
    import pandas

    columns = ["source", "rows read", "benchmark", "in domain", "problems", "equal", "near", "share"]
    rows = []
    for one in record["training"]:
        entry = record["benchmarks"][one["benchmark"]]
        equal, near = len(one["equal"]), len(one["near"])
        rows.append([one["source"], one["rows"], paper_name(one["benchmark"]), entry["in_domain"], entry["n"], equal,
                     near, (equal + near) / entry["n"]])  # fmt: skip
    return pandas.DataFrame(rows, columns=columns).sort_values("share", ascending=False, ignore_index=True)


def scores(record: dict[str, Any]) -> pandas.DataFrame:
    """One row a file of outputs: its accuracy under each grader, as a fraction, and the widest gap between two."""
    import pandas

    rows = []
    for one in record["outputs"]:
        row = {"outputs": one["file"].removesuffix(".gz").removesuffix(".jsonl"), "rows": one["rows"]}
        shares = {}
        for grader in (*GRADERS, "authors"):
            asked = one["asked"].get(grader)
            share = one["correct"][grader] / asked if asked else None
            row[NAMES[grader]] = share
            if share is not None and grader != "authors":
                shares[grader] = share
        rows.append({**row, "widest gap": max(shares.values()) - min(shares.values()), "differ": len(one["differing"])})
    return pandas.DataFrame(rows).set_index("outputs").dropna(axis=1, how="all")


def disagreements(record: dict[str, Any]) -> pandas.DataFrame:
    """Rows on which two graders disagree, over all outputs that both judged: a square table."""
    import pandas

    names = [one for one in GRADERS if any(one in file["marks"] for file in record["outputs"])]
    frame = pandas.DataFrame(0, index=[NAMES[one] for one in names], columns=[NAMES[one] for one in names])
    for one, other in combinations(names, 2):
        total = sum(
            (a == "1") != (b == "1")
            for file in record["outputs"]
            for a, b in zip(file["marks"].get(one, ""), file["marks"].get(other, ""), strict=False)
            if ABSENT not in (a, b)
        )
        frame.loc[NAMES[one], NAMES[other]] = frame.loc[NAMES[other], NAMES[one]] = total
    return frame


def differing(record: dict[str, Any], data_dir: Path | None = None) -> list[dict[str, Any]]:
    """Every stored output on which graders differ: each one's mark, the answers, and why our rules say so.

    Reasons are made anew from the answers that the record holds; one for another verdict than the record's, which saw
    the options, is not shown. Questions stand there where the data does.
    """
    rows = []
    for file in record["outputs"]:
        asked = _questions(file, data_dir)
        for at, benchmark, gold, published, corrected, alone in file["differing"]:
            marks = {one: row[at] for one, row in file["marks"].items() if row[at] != ABSENT}
            theirs, source = marks.pop("authors", None), asked.get(at, {})
            verdict = grade(corrected, gold, sets.info(benchmark).rules, "corrected", source.get("options"))
            rows.append({
                "outputs": file["file"].split(".")[0],
                "benchmark": paper_name(benchmark),
                "row": at,
                "gold": gold,
                "published reads": published,
                "corrected reads": corrected,
                "Math-Verify reads": alone or None,
                "right says": ", ".join(_SHORT[one] for one, mark in marks.items() if mark == "1"),
                "others say": "; ".join(f"{_SHORT[one]}: {SAID[mark]}" for one, mark in marks.items() if mark != "1"),
                "authors say": SAID[theirs] if theirs else None,
                "corrected, why": verdict.reason if MARKS[verdict.outcome] == marks.get("corrected") else BY_OPTIONS,
                "question": source.get("question"),
            })  # fmt: skip
    empty = [column for column in rows[0] if all(row[column] is None for row in rows)] if rows else []
    return [{column: value for column, value in row.items() if column not in empty} for row in rows]


BY_OPTIONS = "decided by the options, which stand with the question"
_SHORT = {
    "published": "published", "corrected": "corrected", "math_verify": "Math-Verify", "math_verify_alone": "M-V alone",
    "harness": "lm-eval",
}  # fmt: skip


def _questions(file: dict[str, Any], data_dir: Path | None) -> dict[int, dict[str, Any]]:
    """The questions of the rows that differ, from the file of outputs itself; none where it is another or not there."""
    wanted = {one[0] for one in file["differing"]}
    if all(name.startswith(MINI) for name in file["benchmarks"]):
        rows: Any = audits.right_rationales([name for name in sets.names("miniature") if name in file["benchmarks"]])
    else:
        source = data_dir / "outputs" / file["file"] if data_dir is not None else None
        source = Path(file["path"]) if "path" in file else source
        if source is None or not source.is_file() or records.sha256(source) != file["sha256"]:
            return {}
        rows = records.read_jsonl(source)
    return {at: row for at, row in enumerate(rows) if at in wanted}


def summary(record: dict[str, Any]) -> dict[str, Any]:
    """The record in numbers for prose, of the nine benchmarks unless said otherwise."""
    nine = {name: entry for name, entry in record["benchmarks"].items() if name != "theoremqa"}
    never = {name: entry["n"] - entry["accepts"]["published"].get(golds.ACCEPTS, 0) for name, entry in nine.items()}
    fair = [entry["n"] - entry["accepts"]["corrected"].get(golds.ACCEPTS, 0) for entry in nine.values()]
    counts = Counter(golds.FLAGS[flag][0] for entry in nine.values() for _, flag, _ in entry["findings"])
    return {
        "problems": sum(entry["n"] for entry in nine.values()),
        "benchmarks": len(nine),
        "never_published": sum(never.values()),
        "never_mathematics": never.get("mathematics", 0),
        "never_numglue": never.get("numglue", 0),
        "never_corrected": sum(fair),
        "verbatim": sum(len(entry["verbatim"]) for entry in nine.values()),
        **{how: counts[how] for how in GRAVE},
        "several": sum(flag == "several asked" for entry in nine.values() for _, flag, _ in entry["findings"]),
        "shared": sum(len({pair[1] for pair in one["pairs"]}) for one in record["shared"]),
        "outputs": len(record["outputs"]),
        "rows": sum(one["rows"] for one in record["outputs"]),
        "differing": sum(len(one["differing"]) for one in record["outputs"]),
        "seconds": record["seconds"],
    }


def span(record: dict[str, Any], outputs: str) -> tuple[float, float]:
    """The lowest and the highest accuracy of a file of outputs over all graders but its authors', in per cent."""
    frame = scores(record)
    row = frame.loc[outputs, [NAMES[one] for one in GRADERS if NAMES[one] in frame]].dropna()
    return 100 * float(row.min()), 100 * float(row.max())


def kept_from_training(record: dict[str, Any], source: str, benchmark: str) -> tuple[int, int]:
    """Equal and near questions of a benchmark in a source."""
    for one in record["training"]:
        if (one["source"], one["benchmark"]) == (source, benchmark):
            return len(one["equal"]), len(one["near"])
    return 0, 0


def in_numbers(numbers: dict[str, Any]) -> pandas.DataFrame:
    """The `summary` as a table for a page."""
    import pandas

    says = {
        "problems": "problems of the nine benchmarks",
        "never_published": "golds that the published rule can never meet",
        "never_corrected": "golds that the corrected rule can never meet",
        "verbatim": "golds that the corrected rule knows as text alone",
        "wrong": "golds that their own row contradicts",
        "malformed": "findings of damaged rows",
        "ambiguous": "findings of ambiguous ones",
        "shared": "questions that two benchmarks share",
        "rows": "stored outputs",
        "differing": "stored outputs on which graders differ",
    }
    return pandas.DataFrame({"what": list(says.values()), "number": [numbers[key] for key in says]})
