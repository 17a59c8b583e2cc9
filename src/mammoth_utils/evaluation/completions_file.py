"""A completions file graded into a record of the same form as a decoded one; without torch."""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path

from mammoth_utils import records
from mammoth_utils.evaluation import benchmarks as sets
from mammoth_utils.evaluation.attempts import PROGRAM_TIMEOUT_S, Attempt, answering_kind
from mammoth_utils.evaluation.description import Evaluation
from mammoth_utils.evaluation.run_folder import attempt_row, write_record
from mammoth_utils.evaluation.scoring import BenchmarkScore
from mammoth_utils.grading import CompletionsError, Graded, describe_doubled, grade_file, is_doubled
from mammoth_utils.paths import public_name
from mammoth_utils.records import Record
from mammoth_utils.vocabulary import MINI, RULES, STORED


def grade_completions_file(
    description: Evaluation, inputs: Record, isolation: str = "auto", say: Callable[[str], None] = print
) -> Record:
    """Return the record of a file's completions under both rules.

    The rows stream: a few hundred are held at a time, whatever the length of the file, and a number of each.

    Args:
        description: Names the file, and the benchmarks whose rows count where it names some.
        inputs: From ``run_folder.inputs_of``.
        isolation: How programs are confined.
        say: Called with a line if rows stand in the file twice, or cannot be graded; these are left out of the record,
            which names their lines in ``bad_rows``.

    Raises:
        ValueError: If the file holds none of the benchmarks that were asked for, naming those it holds.
    """
    started, file = time.perf_counter(), Path(description.completions)
    scores: dict[str, BenchmarkScore] = {}
    doubled: Counter[str] = Counter()
    bad: list[CompletionsError] = []
    rows = _rows(description, isolation, scores, doubled, bad)
    records.write_jsonl(description.folder / "attempts.jsonl", rows)
    if doubled.total():
        say(describe_doubled(doubled.total(), file.name))
    if bad:
        say(f"{len(bad):,} rows of {file.name} could not be graded and count nowhere; the first: {bad[0]}")
    entries = {name: score.entry(sets.find(name)) for name, score in scores.items() if score.n}
    total = sum(score.n for score in scores.values())
    fields = {
        "world": "miniature" if all(name.startswith(MINI) for name in entries) else "real",
        "model": {"name": description.name, "hash": inputs["completions"]},
        "benchmarks": entries,
        "decodings": {},
        "inputs": inputs,
        "completions": total,
        "decoder": {"engine": STORED, "model": public_name(file), "rows": total},
        "environment": records.environment(),
        "seconds": round(time.perf_counter() - started, 2),
        **({"doubled": dict(doubled)} if doubled else {}),
        **({"bad_rows": [error.line for error in bad]} if bad else {}),
    }
    return write_record(description, isolation, fields)


def _rows(
    description: Evaluation,
    isolation: str,
    scores: dict[str, BenchmarkScore],
    doubled: Counter[str],
    bad: list[CompletionsError],
) -> Iterator[Record]:
    """Yield the rows that count in the form of ``attempts.jsonl``; count them, and those that stand there twice."""
    file, asked, seen = Path(description.completions), description.benchmarks, set()
    for graded in grade_file(file, RULES, timeout_s=PROGRAM_TIMEOUT_S, isolation=isolation, on_bad_row=bad.append):
        known = sets.find(graded.benchmark.strip().lower())
        name = known.name if known else graded.benchmark
        score = scores.setdefault(name, BenchmarkScore())
        if asked and name not in asked:
            continue
        if is_doubled(graded, seen):
            doubled[name] += 1
        row, attempts = graded.row, [_attempt(graded)]
        problem = {
            "id": graded.id,
            "question": str(row.get("question", "")),
            "gold": str(row["gold"]),
            "options": row.get("options"),
            "set": name,
            "field": str(row.get("field", "")),
            "family": str(row.get("family", "")),
        }
        score.add(problem, answering_kind(attempts), graded.verdicts)
        yield attempt_row(name, problem, {STORED: attempts}, {STORED: graded.verdicts})
    missing = [name for name in asked if name not in scores]
    if missing or not scores:
        held, first = ", ".join(scores) or "no row", f"; {len(bad):,} bad rows, the first: {bad[0]}" if bad else ""
        what = ", ".join(missing) or "any benchmark"
        raise ValueError(f"{file.name} holds no completion of {what}; it holds {held}{first}")


def _attempt(graded: Graded) -> Attempt:
    """Return a row's completion as an attempt, whose prompt is the question as the file has it."""
    return Attempt(
        kind=graded.kind,
        prompt=str(graded.row.get("question", "")),
        completion=graded.row.get("completion", graded.row.get("response")),
        program=graded.program,
        execution=graded.execution,
        answers={rule: answer.text if (answer := graded.answers[rule]) else None for rule in RULES},
        program_for=tuple(rule for rule in RULES if graded.read_from[rule] == "program"),
    )
