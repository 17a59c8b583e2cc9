"""Reports of an evaluation's record: cut completions, groups of problems, ceilings, failed programs, baselines.

The intervals are those of ``tables``: over problems of this one model.
"""

from __future__ import annotations

import math
import re
from collections import Counter, defaultdict
from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING, Any

from mammoth_utils.evaluation import benchmarks as sets
from mammoth_utils.evaluation import tables
from mammoth_utils.prompts import BASELINE_SHOTS, MAMMOTH, MAX_SHOTS, has_examples, parse_styles
from mammoth_utils.records import Record
from mammoth_utils.vocabulary import KINDS, RULES

if TYPE_CHECKING:
    import pandas

TYPED = ("numglue", "svamp")  # benchmarks whose families are the types of their questions
NO_PROGRAM, NOTHING, VALUE_ONLY, NO_ANSWER = "no program", "printed nothing", "value not printed", "printed no answer"
_EXCEPTION = re.compile(r"^(?:\w+\.)*([A-Z]\w*)(?::|$)", re.MULTILINE)


def cut(record: Record, decoding: str = "") -> pandas.DataFrame:
    """Return how many completions were cut by the limit of tokens, by benchmark and by the kind that was asked for.

    A cut program seldom runs and cut prose ends before its answer, so a large share says that the limit is too low.

    Columns: ``benchmark``, ``kind``, ``completions``, ``cut``, ``share`` (of the completions whose end is recorded),
    ``published`` and ``corrected`` (how many of the cut ones count as correct), ``note``: ``not recorded`` where the
    engine did not say how a completion ended, or an earlier version of this library did not keep it.
    """
    import pandas

    way = decoding or record["decoding"]
    tables.entries(record, way)
    counts: dict[tuple[str, str], Counter[str]] = defaultdict(Counter)
    for row in tables.attempts(record):
        made = tables.made_attempts(row, way)
        for attempt in made:
            count, finish = counts[row["benchmark"], attempt.kind], getattr(attempt, "finish", "")
            count["completions"] += 1
            count["recorded"] += finish != ""
            if finish == "length":
                count["cut"] += 1
                count.update(rule for rule in RULES if tables.is_right(row, way, attempt, made, rule))
    rows = []
    for (name, kind), count in counts.items():
        recorded, unknown = count["recorded"], count["completions"] - count["recorded"]
        rows.append(
            {
                "benchmark": name,
                "kind": kind,
                "completions": count["completions"],
                "cut": count["cut"] if recorded else math.nan,
                "share": count["cut"] / recorded if recorded else math.nan,
                **{rule: count[rule] if recorded else math.nan for rule in RULES},
                "note": "" if not unknown else f"not recorded for {unknown:,}" if recorded else "not recorded",
            }
        )
    columns = ["benchmark", "kind", "completions", "cut", "share", *RULES, "note"]
    whole = dict.fromkeys(("cut", *RULES), "Int64")
    return pandas.DataFrame(rows, columns=columns).astype(whole)


def by_group(record: Record, decoding: str = "") -> pandas.DataFrame:
    """Return the accuracy on the groups of problems that a benchmark names.

    Groups are subjects (of MATH, MMLU-Math, TheoremQA, of the miniature's sets the fields of mathematics), levels (of
    MATH) and types (of NumGLUE, SVAMP); a benchmark with one group only is left out.

    Columns: ``benchmark``, ``by`` (``subject``, ``level`` or ``type``), ``group``, ``n``, then under each rule the
    accuracy with the ends of Wilson's 95 % interval, which is wide where n is small.
    """
    import pandas

    rows = []
    for name, entry in tables.entries(record, decoding).items():
        items = entry["items"]
        named = {
            "subject": items.get("fields", ()),
            "level": [family.partition(", ")[2] for family in items.get("families", ())] if name == "math" else (),
            "type": items.get("families", ()) if name in TYPED else (),
        }
        for by, groups in named.items():
            if len(set(filter(None, groups))) < 2:
                continue
            for group in sorted(set(groups)):
                places = [place for place, other in enumerate(groups) if other == group]
                correct = {rule: sum(items[rule][place] == "1" for place in places) for rule in RULES}
                cells = {"benchmark": name, "by": by, "group": group or "not stated", "n": len(places)}
                rows.append({**cells, **tables.accuracies(correct, len(places))})
    accuracies = [f"{rule}{end}" for rule in RULES for end in ("", "_low", "_high")]
    return pandas.DataFrame(rows, columns=["benchmark", "by", "group", "n", *accuracies])


def oracle(record: Record) -> pandas.DataFrame:
    """Return what choosing between prose and program could reach, where a record holds both kinds of every problem.

    ``either`` is the share of problems that prose or the program gets right: the ceiling of any rule that chooses one
    of the two. ``reached`` is the part of the way from the better single kind to this ceiling that hybrid decoding
    goes, negative where it does worse than that kind; NaN where there is no such way. In the rows of averages it
    follows from the averages. The table is empty where the record lacks one of the two kinds.

    Columns: ``rule``, ``benchmark``, ``n``, ``cot``, ``pot``, ``hybrid`` (NaN where the record lacks it), ``either``,
    ``reached``.
    """
    import pandas

    held = {record["decoding"], *record.get("decodings", {})}
    columns = ["rule", "benchmark", "n", "cot", "pot", "hybrid", "either", "reached"]
    if not set(KINDS) <= held:
        return pandas.DataFrame(columns=columns)
    ways = {way: tables.entries(record, way) for way in (*KINDS, *({"hybrid"} & held))}
    rows = []
    for rule in RULES:
        own = []
        for name, entry in ways["cot"].items():
            marks = {way: by_name[name]["items"][rule] for way, by_name in ways.items()}
            right = {way: column.count("1") for way, column in marks.items()}
            right["either"] = sum("1" in pair for pair in zip(marks["cot"], marks["pot"], strict=True))
            shares = {way: number / entry["n"] for way, number in right.items()}
            known = {"benchmark": name, "in_domain": entry["in_domain"], "n": entry["n"]}
            own.append({**known, "hybrid": math.nan, **shares})
        for label, group in tables.averaged(own).items():
            means = {way: sum(row[way] for row in group) / len(group) for way in ("cot", "pot", "hybrid", "either")}
            own.append({"benchmark": label, "n": sum(row["n"] for row in group), **means})
        rows += [{"rule": rule, **row, "reached": _reached(row)} for row in own]
    return pandas.DataFrame(rows, columns=columns)


def _reached(row: Record) -> float:
    better = max(row["cot"], row["pot"])
    way = row["either"] - better
    return (row["hybrid"] - better) / way if way > 1e-9 else math.nan


def failures(record: Record, decoding: str = "") -> pandas.DataFrame:
    """Return where programs fail and why, by benchmark, the most frequent first.

    A problem counts where a program is asked for first. ``status`` is the execution's where the program did not end
    well (``error``, ``timeout``, ``memory``, ``output``, ``refused``, ``crashed``), else what it lacks: ``no program``
    in the completion (whose text may yet be read as prose), ``printed nothing``, ``value not printed`` (left in ``ans``
    or the last line, which the corrected rule alone reads), or ``printed no answer`` that the published rule reads.

    Columns: ``benchmark``, ``status``, ``exception`` (the type, of an error), ``programs``, ``share`` (of the
    benchmark's programs), ``published`` and ``corrected`` (how many the prose asked for then got right under each
    rule), ``example`` (the id of the first such problem).
    """
    import pandas

    way = decoding or record["decoding"]
    tables.entries(record, way)
    asked: Counter[str] = Counter()
    counts: dict[tuple[str, str, str], Counter[str]] = defaultdict(Counter)
    examples: dict[tuple[str, str, str], str] = {}
    for row in tables.attempts(record):
        made = tables.made_attempts(row, way)
        if made[0].kind != "pot":
            continue
        asked[row["benchmark"]] += 1
        if status := _failure(made[0]):
            exception = _exception(made[0].execution["error"]) if status == "error" else ""
            key = (row["benchmark"], status, exception)
            examples.setdefault(key, row["id"])
            counts[key]["programs"] += 1
            prose = tables.fallback_attempts(made)
            rescued = [rule for rule in RULES if any(tables.is_right(row, way, one, made, rule) for one in prose)]
            counts[key].update(rescued)
    order = list(asked)
    rows = [
        [*key, count["programs"], count["programs"] / asked[key[0]], *(count[rule] for rule in RULES), examples[key]]
        for key, count in sorted(counts.items(), key=lambda item: (order.index(item[0][0]), -item[1]["programs"]))
    ]
    columns = ["benchmark", "status", "exception", "programs", "share", *RULES, "example"]
    return pandas.DataFrame(rows, columns=columns)


def _failure(attempt: Any) -> str:
    """Return how a program failed; empty where it printed what the published rule reads as an answer."""
    execution = attempt.execution
    if execution is None:
        return NO_PROGRAM
    if execution["status"] != "ok":
        return execution["status"]
    if not execution["printed"].strip():
        return VALUE_ONLY if execution["output"].strip() else NOTHING
    return "" if attempt.answers["published"] else NO_ANSWER


def _exception(error: str | None) -> str:
    """Return the type of an exception from the last lines of its traceback; a message may go on below the type."""
    names = _EXCEPTION.findall(error or "")
    return names[-1] if names else "other"


def baseline(records: Iterable[Record]) -> pandas.DataFrame:
    """Return a baseline's accuracy by the paper's rule, from records of one model under several prompts.

    In domain the better of 8-shot and 0-shot counts, out of domain 5-shot, each of the kind that does better; under
    each rule of grading the best is taken by itself. The best of several on the test problems themselves flatters the
    baseline, and the interval, which is that of the chosen record, does not know of the choice. A cell for which no
    record has the shots is NaN, and so is every average over it.

    Args:
        records: Evaluations by prose alone or a program alone, or with these among ``decodings``.

    Returns:
        Columns ``benchmark``, ``name``, ``in_domain``, ``n``, then under each rule the accuracy, the ends of its 95 %
        interval and ``_from`` (kind, shots, prompt and record), and ``note`` (shots of which there is no record).

    Raises:
        ValueError: If the records are of several models, ask different problems, or none has one kind alone.
    """
    import pandas

    records = list(records)
    if len({record["model"]["hash"] for record in records}) != 1:
        names = ", ".join(record["model"]["name"] for record in records) or "none"
        raise ValueError(f"expected records of one model, got {names}")
    held = [(record, way) for record in records for way in KINDS
            if way == record["decoding"] or way in record.get("decodings", {})]  # fmt: skip
    if not held:
        ways = ", ".join(sorted({record["decoding"] for record in records}))
        raise ValueError(f"expected records of decoding {' or '.join(KINDS)}, or with it among `also`; got {ways}")
    by_name: dict[str, list[tuple[Record, str, Record]]] = {}
    for record, way in held:
        for name, entry in tables.entries(record, way).items():
            by_name.setdefault(name, []).append((record, way, entry))
    rows = [_baseline_row(name, cells) for name, cells in by_name.items()]
    for label, group in tables.averaged(rows).items():
        n, means = sum(row["n"] for row in group), tables.mean_accuracies(group)
        rows.append({"benchmark": label, "name": label, "in_domain": None, "n": n, **means, "note": ""})
    cells = [f"{rule}{end}" for rule in RULES for end in ("", "_low", "_high", "_from")]
    frame = pandas.DataFrame(rows, columns=["benchmark", "name", "in_domain", "n", *cells, "note"])
    return frame.fillna({f"{rule}_from": "" for rule in RULES})


def _baseline_row(name: str, cells: Sequence[tuple[Record, str, Record]]) -> Record:
    """Return a benchmark's row from all records that asked it."""
    first = cells[0][2]
    if any(entry["n"] != first["n"] or entry["items"].get("ids") != first["items"].get("ids") for *_, entry in cells):
        sizes = ", ".join(f"{record['model']['name']}: {entry['n']}" for record, _, entry in cells)
        raise ValueError(f"the records ask different problems of {name} ({sizes}); evaluate them with one `limit`")
    allowed = BASELINE_SHOTS["in_domain" if first["in_domain"] else "out_of_domain"]
    fitting = [cell for cell in cells if _shots(cell[0]) in allowed]
    missing = [f"{shots}-shot" for shots in allowed if shots not in {_shots(cell[0]) for cell in fitting}]
    row = {"benchmark": name, "name": sets.paper_name(name), "in_domain": first["in_domain"], "n": first["n"]}
    for rule in RULES:
        ends = (rule, f"{rule}_low", f"{rule}_high")
        row |= dict.fromkeys(ends, math.nan)
        if fitting:
            record, way, entry = max(fitting, key=lambda cell: cell[2][rule]["correct"])
            best = tables.accuracies({other: entry[other]["correct"] for other in RULES}, entry["n"])
            row |= {end: best[end] for end in ends}
            row[f"{rule}_from"] = f"{way}, {_shots(record)}-shot, {_prompt(record)}: {record['model']['name']}"
    return {**row, "note": f"no record of {', '.join(missing)}" if missing else ""}


def _prompt(record: Record) -> str:
    return record["parameters"].get("prompt", MAMMOTH)


def _shots(record: Record) -> int:
    """Return how many worked examples a record's prompt has; only the styles called so have any."""
    few = has_examples(parse_styles(_prompt(record)))
    return int(record["parameters"].get("shots", MAX_SHOTS)) if few else 0
