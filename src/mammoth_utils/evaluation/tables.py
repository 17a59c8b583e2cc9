"""Tables of an evaluation's record: accuracy under both rules, the items on which they differ, the fallbacks."""

from __future__ import annotations

import html
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

from mammoth_utils import paths, records
from mammoth_utils.evaluation import benchmarks as sets
from mammoth_utils.records import Record
from mammoth_utils.vocabulary import RULES

if TYPE_CHECKING:
    import pandas

AVERAGES = {"all": "average", "in": "in-domain average", "out": "out-of-domain average"}


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
                "differ": sum((one == "1") != (other == "1") for one, other in pairs),
                "no_answer": entry["corrected"]["no_answer"],
                "prose": items["kinds"].count("c") / entry["n"],
            }
        )
    groups = {
        "all": rows,
        "in": [row for row in rows if row["in_domain"]],
        "out": [row for row in rows if not row["in_domain"]],
    }
    means = [_mean(AVERAGES[key], group) for key, group in groups.items() if group and averages and len(rows) > 1]
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


def summary(record: Record) -> Record:
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


def example(record: Record, folder: Path | None = None) -> Record:
    """Return the first problem of a record whose program ran and printed something, else the first problem."""
    first = None
    for row in attempts(record, folder):
        first = first or row
        program = next((one["execution"] for one in row["attempts"] if one["execution"]), None)
        if program and program["status"] == "ok" and program["output"].strip():
            return row
    if first is None:
        raise ValueError("the record holds no problem")
    return first


def verdicts(row: Record, decoding: str) -> pandas.DataFrame:
    """Return both verdicts on one problem: a row a rule, with the answer that was read, the outcome and the reason."""
    import pandas

    found = row["decodings"][decoding]
    return pandas.DataFrame([{"rule": rule, "gold": row["gold"], **found[rule]} for rule in RULES]).set_index("rule")


def folded(frame: pandas.DataFrame, title: str, of: int) -> Any:
    """Return a table that a reader opens with a click; its title says so where ``of`` are more rows."""
    from IPython.display import HTML

    note = f" (the first {len(frame)} of them)" if of > len(frame) else ""
    body = frame.to_html(index=False, escape=True, border=0)
    return HTML(f"<details><summary>{html.escape(title + note)}</summary>{body}</details>")


def attempts(record: Record, folder: Path | None = None) -> Iterator[Record]:
    """Return the rows of ``attempts.jsonl`` beside a record, one a problem.

    Raises:
        FileNotFoundError: If the file is not there, for example since only the record was committed.
    """
    file = (folder or paths.run_dir("evaluate", record["parameters"]["name"])) / "attempts.jsonl"
    if not file.is_file():
        raise FileNotFoundError(f"expected the attempts of this record in {file}; evaluate again to have them")
    return records.read_jsonl(file)


def differing(record: Record, decoding: str = "", folder: Path | None = None, most: int = 300) -> pandas.DataFrame:
    """Return the first items that one rule calls correct and the other does not, with both verdicts and their reasons.

    How many there are in all is the sum of ``differ`` in `table`.
    """
    import pandas

    way = decoding or record["decoding"]
    rows = []
    for row in attempts(record, folder):
        found = row["decodings"][way]
        if (found["published"]["outcome"] == "correct") != (found["corrected"]["outcome"] == "correct"):
            rows.append(
                {
                    "benchmark": row["benchmark"],
                    "question": row["question"],
                    "gold": row["gold"],
                    **{
                        f"{rule} {part}": found[rule][part]
                        for part in ("answer", "outcome", "reason")
                        for rule in RULES
                    },
                }
            )
        if len(rows) == most:
            break
    names = [f"{rule} {part}" for part in ("answer", "outcome", "reason") for rule in RULES]
    return pandas.DataFrame(rows, columns=["benchmark", "question", "gold", *names])


def fallbacks(record: Record, decoding: str = "", folder: Path | None = None) -> pandas.DataFrame:
    """Return how often a program gave nothing, by benchmark, and what the prose asked for then earned.

    Columns: ``benchmark``, ``programs`` (problems first asked for a program), ``gave_nothing``, ``answered`` (by the
    prose), ``correct`` and ``corrected`` (of those, under the published and the corrected rule), ``why`` (how the
    programs ended, the most frequent first).
    """
    import pandas

    way = decoding or record["decoding"]
    found: dict[str, Record] = {}
    for row in attempts(record, folder):
        made = [row["attempts"][place] for place in row["decodings"][way]["order"]]
        if made[0]["kind"] != "pot":
            continue
        counted = found.setdefault(
            row["benchmark"], {"programs": 0, "nothing": 0, "answered": 0, "right": 0, "fair": 0, "why": Counter()}
        )
        counted["programs"] += 1
        if len(made) < 2 or made[1]["kind"] != "cot":
            continue
        verdict = row["decodings"][way]
        counted["nothing"] += 1
        counted["answered"] += made[1]["answers"]["published"] is not None
        counted["right"] += verdict["published"]["outcome"] == "correct"
        counted["fair"] += verdict["corrected"]["outcome"] == "correct"
        counted["why"][made[0]["execution"]["status"] if made[0]["execution"] else "no program"] += 1
    names = ("benchmark", "programs", "gave_nothing", "answered", "correct", "corrected", "why")
    rows = [
        (name, one["programs"], one["nothing"], one["answered"], one["right"], one["fair"], _tally(one["why"]))
        for name, one in found.items()
    ]
    return pandas.DataFrame(rows, columns=list(names))


def _tally(words: Counter[str]) -> str:
    shown = sorted(words, key=lambda word: (-words[word], word))
    return ", ".join(f"{word} {words[word]}" for word in shown)
