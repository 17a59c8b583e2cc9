"""Tables of an evaluation's record: accuracy under both rules, the items on which they differ, the fallbacks."""

from __future__ import annotations

import html
from collections import Counter, defaultdict
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

from mammoth_utils import paths, records
from mammoth_utils.evaluation import benchmarks as sets
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
    ``choice``, ``n``, ``published``, ``corrected``, ``differ``, ``no_answer`` (corrected), ``prose`` (share of the
    answers that prose gave). In the rows of averages ``in_domain`` and ``choice`` are None.
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
                **{rule: entry[rule]["correct"] / entry["n"] for rule in RULES},
                "differ": sum((published == "1") != (corrected == "1") for published, corrected in pairs),
                "no_answer": entry["corrected"]["no_answer"],
                "prose": items["kinds"].count("c") / entry["n"],
            }
        )
    groups = {
        "average": rows,
        "in-domain average": [row for row in rows if row["in_domain"]],
        "out-of-domain average": [row for row in rows if not row["in_domain"]],
    }
    means = [_mean(label, group) for label, group in groups.items() if group and averages and len(rows) > 1]
    return pandas.DataFrame(rows + means)


def _mean(label: str, rows: list[Record]) -> Record:
    parts = {key: sum(row[key] for row in rows) / len(rows) for key in (*RULES, "prose")}
    sums = {key: sum(row[key] for row in rows) for key in ("n", "differ", "no_answer")}
    return {"benchmark": label, "name": label, "in_domain": None, "choice": None, **sums, **parts}


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
    """Return a record in numbers for prose: problems, benchmarks, averages in per cent, differing items, minutes."""
    frame = table(record, averages=False)
    return {
        "benchmarks": len(frame),
        "problems": int(frame["n"].sum()),
        "completions": record["completions"],
        "published": 100 * float(frame["published"].mean()),
        "corrected": 100 * float(frame["corrected"].mean()),
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


def folded(frame: pandas.DataFrame, title: str, of: int) -> Any:
    """Return a table that a reader opens with a click; its title says so where ``of`` are more rows."""
    from IPython.display import HTML

    note = f" (the first {len(frame)} of them)" if of > len(frame) else ""
    body = frame.to_html(index=False, escape=True, border=0)
    return HTML(f"<details><summary>{html.escape(title + note)}</summary>{body}</details>")


def attempts(record: Record) -> Iterator[Record]:
    """Return the rows of ``attempts.jsonl`` beside a record, one a problem.

    Raises:
        FileNotFoundError: If the file is not there, for example since only the record was committed.
    """
    file = paths.run_dir("evaluate", record["parameters"]["name"]) / "attempts.jsonl"
    if not file.is_file():
        raise FileNotFoundError(f"expected the attempts of this record in {file}; evaluate again to have them")
    return records.read_jsonl(file)


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

    Columns: ``benchmark``, ``programs`` (problems first asked for a program), ``gave_nothing``, ``answered`` (by the
    prose), ``correct`` and ``corrected`` (of those, under the published and the corrected rule), ``why`` (how the
    programs ended, the most frequent first).
    """
    import pandas

    way = decoding or record["decoding"]
    counts: dict[str, Counter[str]] = defaultdict(Counter)
    endings: dict[str, Counter[str]] = defaultdict(Counter)
    for row in attempts(record):
        verdict = row["decodings"][way]
        made = [row["attempts"][place] for place in verdict["order"]]
        if made[0]["kind"] != "pot":
            continue
        count = counts[row["benchmark"]]
        count["programs"] += 1
        if len(made) > 1 and made[1]["kind"] == "cot":
            count["gave_nothing"] += 1
            count["answered"] += made[1]["answers"]["published"] is not None
            count["correct"] += verdict["published"]["outcome"] == "correct"
            count["corrected"] += verdict["corrected"]["outcome"] == "correct"
            execution = made[0]["execution"]
            endings[row["benchmark"]][execution["status"] if execution else "no program"] += 1
    columns = ("programs", "gave_nothing", "answered", "correct", "corrected")
    rows = []
    for name, count in counts.items():
        ended = sorted(endings[name].items(), key=lambda item: (-item[1], item[0]))
        why = ", ".join(f"{status} {programs}" for status, programs in ended)
        rows.append([name, *(count[column] for column in columns), why])
    return pandas.DataFrame(rows, columns=["benchmark", *columns, "why"])
