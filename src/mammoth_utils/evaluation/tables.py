"""Tables of an evaluation's record: accuracy under both rules, the items on which they differ, the fallbacks.

The intervals are 95 % intervals over problems of this one model: what another training or other problems of the same
kinds would give is not in them. Those of the claims are clustered by problem family and training seed, and wider.
"""

from __future__ import annotations

import math
from collections import Counter, defaultdict
from collections.abc import Iterator, Mapping, Sequence
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any

from mammoth_utils import paths, records
from mammoth_utils.evaluation import benchmarks as sets
from mammoth_utils.evaluation.attempts import counting_attempt
from mammoth_utils.intervals import wilson
from mammoth_utils.records import Record
from mammoth_utils.vocabulary import RULES

if TYPE_CHECKING:
    import pandas

PARTS = ("answer", "outcome", "reason")  # of a verdict in ``attempts.jsonl``


def entries(record: Record, decoding: str = "") -> dict[str, Record]:
    """Return the benchmarks of a record under one way of decoding; empty for the record's own.

    Raises:
        KeyError: If the record does not hold that way, naming those it does.
    """
    if decoding in ("", record["decoding"]):
        return record["benchmarks"]
    if decoding not in record.get("decodings", {}):
        raise KeyError(f"no decoding {decoding!r} in this record; it has {record['decoding']}, "
                       f"{', '.join(record.get('decodings', {}))}")  # fmt: skip
    return record["decodings"][decoding]


def table(record: Record, decoding: str = "", averages: bool = True) -> pandas.DataFrame:
    """Return one row per benchmark, then the averages over all, in domain and out of domain.

    Accuracies are fractions; an average is the mean of its benchmarks' accuracies, each counting once, as in the
    paper. ``differ`` counts the items that one rule calls correct and the other does not.

    Columns: ``benchmark``, ``name`` (as the paper has it, ``mini-`` before the miniature's), ``in_domain``,
    ``choice``, ``n``, ``published``, ``published_low``, ``published_high``, the same of ``corrected``, ``differ``,
    ``no_answer`` (corrected), ``prose`` (share of the answers that prose gave). ``_low`` and ``_high`` end the 95 %
    interval over problems of this one model: Wilson's, and of an average what `mean_accuracies` says. In the rows of
    averages ``in_domain`` and ``choice`` are None.
    """
    import pandas

    rows = []
    for name, entry in entries(record, decoding).items():
        items = entry["items"]
        pairs = zip(items["published"], items["corrected"], strict=True)
        rows.append(
            {
                "benchmark": name,
                "name": sets.paper_name(name),
                "in_domain": entry["in_domain"],
                "choice": entry["choice"],
                "n": entry["n"],
                **accuracies({rule: entry[rule]["correct"] for rule in RULES}, entry["n"]),
                "differ": sum((published == "1") != (corrected == "1") for published, corrected in pairs),
                "no_answer": entry["corrected"]["no_answer"],
                "prose": items["kinds"].count("c") / entry["n"],
            }
        )
    means = [
        {
            **{"benchmark": label, "name": label, "in_domain": None, "choice": None},
            **{key: sum(row[key] for row in group) for key in ("n", "differ", "no_answer")},
            **mean_accuracies(group),
            "prose": sum(row["prose"] for row in group) / len(group),
        }
        for label, group in averaged(rows).items()
        if averages
    ]
    return pandas.DataFrame(rows + means)


def averaged(rows: Sequence[Record]) -> dict[str, list[Record]]:
    """Return the groups of benchmarks that have an average, by its name; none where there is one benchmark."""
    groups = {
        "average": list(rows),
        "in-domain average": [row for row in rows if row["in_domain"]],
        "out-of-domain average": [row for row in rows if not row["in_domain"]],
    }
    return {label: group for label, group in groups.items() if group and len(rows) > 1}


def accuracies(correct: Mapping[str, int], n: int) -> Record:
    """Return the accuracy under each rule with the ends of Wilson's 95 % interval, as columns of a table."""
    cells: Record = {}
    for rule in RULES:
        low, high = wilson(correct[rule], n)
        cells |= {rule: correct[rule] / n, f"{rule}_low": low, f"{rule}_high": high}
    return cells


def mean_accuracies(rows: Sequence[Record]) -> Record:
    """Return the mean accuracy of several benchmarks under each rule with the ends of its 95 % interval.

    Benchmarks are independent samples of problems, so the squared distances from an accuracy to the ends of its own
    interval add up like variances (Newcombe's square-and-add method): with many problems this is the normal interval,
    and it keeps a width where every answer is right.
    """
    cells: Record = {}
    for rule in RULES:
        mean = sum(row[rule] for row in rows) / len(rows)
        below = math.hypot(*(row[rule] - row[f"{rule}_low"] for row in rows)) / len(rows)
        above = math.hypot(*(row[f"{rule}_high"] - row[rule] for row in rows)) / len(rows)
        cells |= {rule: mean, f"{rule}_low": max(mean - below, 0.0), f"{rule}_high": min(mean + above, 1.0)}
    return cells


def in_per_cent(frame: pandas.DataFrame) -> pandas.DataFrame:
    """Return a table for readers: shares per cent, and benchmarks by the names that `benchmarks.paper_name` gives.

    An accuracy has its interval in its own column, such as ``41.2 [38.0, 44.5]``.
    """
    shares = frame.select_dtypes("float").columns
    shown = frame.assign(**{column: 100 * frame[column] for column in shares})
    if "benchmark" in frame:
        shown["benchmark"] = frame["benchmark"].map(sets.paper_name)
    for rule in RULES:
        if f"{rule}_low" not in frame:
            continue
        cells = zip(shown[rule], shown[f"{rule}_low"], shown[f"{rule}_high"], strict=True)
        shown[rule] = ["" if value != value else f"{value:.1f} [{low:.1f}, {high:.1f}]" for value, low, high in cells]
        shown = shown.drop(columns=[f"{rule}_low", f"{rule}_high"])
    return shown


def by_decoding(record: Record) -> pandas.DataFrame:
    """Return one row for each way of decoding that a record holds, with its averages under both rules.

    Columns: ``decoding``, then ``published`` and ``corrected`` over all benchmarks, in domain and out of domain, where
    the record has such benchmarks.
    """
    import pandas

    rows = []
    for way in (record["decoding"], *record.get("decodings", {})):
        frame = table(record, way, averages=False)
        groups = {"": frame, " in domain": frame[frame["in_domain"]], " out of domain": frame[~frame["in_domain"]]}
        cells = {f"{rule}{where}": part[rule].mean() for where, part in groups.items() for rule in RULES if len(part)}
        rows.append({"decoding": way, **cells})
    return pandas.DataFrame(rows)


def summary(record: Record) -> dict[str, float]:
    """Return a record in numbers for prose: problems, benchmarks, averages in per cent, differing items, minutes.

    ``published_low`` and the like end the 95 % intervals of the averages.
    """
    frame = table(record, averages=False)
    return {
        "benchmarks": len(frame),
        "problems": int(frame["n"].sum()),
        "completions": record["completions"],
        **{name: 100 * value for name, value in mean_accuracies(frame.to_dict("records")).items()},
        "differ": int(frame["differ"].sum()),
        "no_answer": int(frame["no_answer"].sum()),
        "minutes": record["seconds"] / 60,
    }


def example(record: Record) -> Record:
    """Return the first problem of a record whose program ran and printed something, else the first problem."""
    first = None
    for row in attempts(record):
        first = first or row
        execution = next((attempt["execution"] for attempt in row["attempts"] if attempt["execution"]), None)
        if execution and execution["status"] == "ok" and execution["output"].strip():
            return row
    if first is None:
        raise ValueError("the record holds no problem")
    return first


def verdicts(row: Record, decoding: str) -> pandas.DataFrame:
    """Return both verdicts on one problem: a row a rule, with the answer that was read, the outcome and the reason."""
    import pandas

    rows = [{"rule": rule, "gold": row["gold"], **row["decodings"][decoding][rule]} for rule in RULES]
    return pandas.DataFrame(rows).set_index("rule")


def attempts(record: Record) -> Iterator[Record]:
    """Return the rows of ``attempts.jsonl`` beside a record, one a problem.

    Raises:
        FileNotFoundError: If the file is not there, for example since only the record was committed.
    """
    file = paths.run_dir("evaluate", record["parameters"]["name"]) / "attempts.jsonl"
    if not file.is_file():
        raise FileNotFoundError(f"expected the attempts of this record in {file}; evaluate again to have them")
    return records.read_jsonl(file)


def made_attempts(row: Record, decoding: str) -> list[Any]:
    """Return the attempts that one way of decoding took of a row of ``attempts.jsonl``, in the order made."""
    return [SimpleNamespace(**row["attempts"][place]) for place in row["decodings"][decoding]["order"]]


def fallback_attempts(made: Sequence[Any]) -> Sequence[Any]:
    """Return the prose that was asked for after a program, with what maps its answer to an option; empty for none."""
    return made[1:] if len(made) > 1 and made[1].kind == "cot" else ()


def is_right(row: Record, decoding: str, attempt: Any, made: Sequence[Any], rule: str) -> bool:
    """Return whether a problem is correct under a rule, and by the answer of this one of its attempts."""
    correct = row["decodings"][decoding][rule]["outcome"] == "correct"
    return correct and counting_attempt(made, rule) is attempt


def differing(record: Record, decoding: str = "", most: int = 300) -> pandas.DataFrame:
    """Return the first items that one rule calls correct and the other does not, with both verdicts and their reasons.

    How many there are in all is the sum of ``differ`` in `table`.
    """
    import pandas

    names = [(rule, part) for part in PARTS for rule in RULES]
    rows = []
    for row in attempts(record):
        verdict = row["decodings"][decoding or record["decoding"]]
        if (verdict["published"]["outcome"] == "correct") != (verdict["corrected"]["outcome"] == "correct"):
            parts = [verdict[rule][part] for rule, part in names]
            rows.append([row["benchmark"], row["question"], row["gold"], *parts])
        if len(rows) == most:
            break
    columns = ["benchmark", "question", "gold", *(f"{rule} {part}" for rule, part in names)]
    return pandas.DataFrame(rows, columns=columns)


def fallbacks(record: Record, decoding: str = "") -> pandas.DataFrame:
    """Return how often a program gave nothing, by benchmark, and what the prose asked for then earned.

    Columns: ``benchmark``, ``programs`` (problems first asked for a program), ``gave_nothing``, ``share`` (of the
    programs that gave nothing), ``answered`` (by the prose), then under each rule ``right`` (by what the prose says),
    then ``added`` (the accuracy that this adds, a fraction of the benchmark's problems), and ``why`` (how the programs
    ended, the most frequent first).
    """
    import pandas

    way, benchmarks = decoding or record["decoding"], entries(record, decoding)
    counts: dict[str, Counter[str]] = defaultdict(Counter)
    endings: dict[str, Counter[str]] = defaultdict(Counter)
    for row in attempts(record):
        made = made_attempts(row, way)
        if made[0].kind != "pot":
            continue
        count = counts[row["benchmark"]]
        count["programs"] += 1
        if prose := fallback_attempts(made):
            count["gave_nothing"] += 1
            count["answered"] += prose[0].answers["published"] is not None
            for rule in RULES:
                count[rule] += any(is_right(row, way, attempt, made, rule) for attempt in prose)
            execution = made[0].execution
            endings[row["benchmark"]][execution["status"] if execution else "no program"] += 1
    rows = []
    for name, count in counts.items():
        ended = sorted(endings[name].items(), key=lambda item: (-item[1], item[0]))
        rows.append(
            {
                "benchmark": name,
                "programs": count["programs"],
                "gave_nothing": count["gave_nothing"],
                "share": count["gave_nothing"] / count["programs"],
                "answered": count["answered"],
                **{f"right, {rule} rule": count[rule] for rule in RULES},
                **{f"added, {rule} rule": count[rule] / benchmarks[name]["n"] for rule in RULES},
                "why": ", ".join(f"{status} {programs}" for status, programs in ended),
            }
        )
    earned = [f"{what}, {rule} rule" for what in ("right", "added") for rule in RULES]
    columns = ["benchmark", "programs", "gave_nothing", "share", "answered", *earned, "why"]
    return pandas.DataFrame(rows, columns=columns)
