"""A completions file graded row by row, in bounded memory, under one rule or both in one pass."""

from __future__ import annotations

import ast
import re
import time
import warnings
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from mammoth_utils.grading.answers import Answer, answer_from_execution, read_answer
from mammoth_utils.grading.benchmarks import bare_options, benchmark_named, check_rule, options_in
from mammoth_utils.grading.completion_rows import CompletionsError, rows_of, value_of
from mammoth_utils.grading.published import rule as published
from mammoth_utils.grading.verdicts import Verdict, grade

__all__ = ["CHUNK", "CompletionsError", "Graded", "Summary", "grade_file", "program_text", "rows_of", "score_file"]

CHUNK = 256  # rows held at a time, so that programs of a chunk can run side by side
Runner = Callable[[Sequence[str]], Iterable[Any]]


@dataclass(frozen=True)
class Graded:
    """One row with its answers and verdicts.

    Attributes:
        row: The row as it stands in the file, unknown keys too.
        line: Its line in the file, from 1.
        benchmark: The name in the row.
        id: The row's ``id``, else its line.
        kind: ``"cot"`` or ``"pot"``.
        answers: By rule, what was read; None where nothing was.
        verdicts: By rule, what the rule says.
        read_from: By rule, ``"program"`` where a program's output was read and ``"text"`` where the completion was.
        execution: What happened to the program; None where none was run.
    """

    row: dict[str, Any]
    line: int
    benchmark: str
    id: str
    kind: str
    answers: dict[str, Answer | None]
    verdicts: dict[str, Verdict]
    read_from: dict[str, str]
    execution: Any = None

    def as_dict(self, rule: str) -> dict[str, Any]:
        """The row with its verdict under one rule, as ``--verdicts`` writes it."""
        answer, verdict = self.answers[rule], self.verdicts[rule]
        return {
            **self.row,
            "verdict": {
                "rule": rule,
                "outcome": verdict.outcome,
                "correct": verdict.correct,
                "reason": verdict.reason,
                "answer": answer.text if answer else None,
                "span": list(answer.span) if answer else None,
                "read_from": self.read_from[rule],
                "status": self.execution.status if self.execution is not None else None,
            },
        }


@dataclass
class Summary:
    """Counts over graded rows, by rule and benchmark; its size does not grow with the file."""

    rules: tuple[str, ...]
    outcomes: dict[str, Counter] = field(default_factory=dict)
    statuses: Counter = field(default_factory=Counter)
    started: float = field(default_factory=time.perf_counter)

    def add(self, graded: Graded) -> None:
        """Count one row."""
        for rule in self.rules:
            counts = self.outcomes.setdefault(rule, Counter())
            counts[graded.benchmark, graded.verdicts[rule].outcome] += 1
        if graded.execution is not None:
            self.statuses[graded.execution.status] += 1

    def as_dict(self, rule: str) -> dict[str, Any]:
        """Rows, correct, accuracy and the rest under one rule; ``by_benchmark`` holds the same for each benchmark.

        Accuracy is a fraction of all rows: no answer and ungradable gold count as wrong, as they do in the paper.
        """
        counts = self.outcomes.get(rule, Counter())
        names = sorted({name for name, _ in counts})
        total: Counter = Counter()
        for (_, outcome), number in counts.items():
            total[outcome] += number
        return {
            "rule": rule,
            **_counted(total),
            "seconds": round(time.perf_counter() - self.started, 3),
            "executions": dict(sorted(self.statuses.items())),
            "by_benchmark": {
                name: _counted(Counter({outcome: n for (one, outcome), n in counts.items() if one == name}))
                for name in names
            },
        }


def _counted(outcomes: Counter) -> dict[str, Any]:
    rows = sum(outcomes.values())
    return {
        "rows": rows,
        "correct": outcomes["correct"],
        "accuracy": outcomes["correct"] / rows if rows else None,
        "no_answer": outcomes["no_answer"],
        "ungradable_gold": outcomes["ungradable_gold"],
    }


def grade_file(
    path: str | Path,
    rules: str | Sequence[str] = "corrected",
    timeout_s: float = 5,
    isolation: str = "auto",
    workers: int | None = None,
    limit: int = 0,
    run: Runner | None = None,
) -> Iterator[Graded]:
    """The rows of a completions file with their verdicts, in the file's order, a few hundred held at a time.

    Programs run once for all rules. Count the rows with a `Summary`.

    Args:
        path: JSON Lines, or ``.jsonl.gz``: see DESIGN.md section 10 for the keys.
        rules: One rule's name or several.
        timeout_s: Seconds that a program may take.
        isolation: How programs are kept apart: ``"full"``, or ``"auto"`` for the best that this machine has.
        workers: Programs at a time; None leaves it to `programs`.
        limit: How many rows are graded; 0 grades all.
        run: Runs a list of programs and gives their executions in order; by default `programs.run_programs`.

    Raises:
        CompletionsError: At a row that is no JSON object or lacks a key, naming file, line and what is accepted.
        FileNotFoundError: If there is no such file.
        ValueError: If a rule is unknown.
    """
    rules = tuple(check_rule(rule) for rule in ((rules,) if isinstance(rules, str) else rules))
    path = Path(path)
    if not path.is_file():
        raise FileNotFoundError(f"there is no completions file {path}; expected JSON Lines, .jsonl or .jsonl.gz")
    if run is None:

        def run(programs: Sequence[str]) -> Iterable[Any]:
            from mammoth_utils.programs import run_programs

            return run_programs(programs, timeout_s=timeout_s, workers=workers, isolation=isolation)

    return _graded(path, rules, run, limit)


def score_file(path: str | Path, rules: str | Sequence[str] = "corrected", **how: Any) -> Summary:
    """The counts of a completions file under one rule or several, in bounded memory; ``how`` as `grade_file` takes it.

    ``score_file("completions.jsonl.gz").as_dict("corrected")["accuracy"]`` re-grades a file.
    """
    summary = Summary((rules,) if isinstance(rules, str) else tuple(rules))
    for graded in grade_file(path, rules, **how):
        summary.add(graded)
    return summary


def _graded(path: Path, rules: tuple[str, ...], run: Runner, limit: int) -> Iterator[Graded]:
    chunk: list[tuple[int, dict[str, Any]]] = []
    for count, numbered in enumerate(rows_of(path), 1):
        chunk.append(numbered)
        if len(chunk) == CHUNK or count == limit:
            yield from _graded_chunk(chunk, rules, run)
            chunk = []
        if count == limit:
            return
    yield from _graded_chunk(chunk, rules, run)


def _graded_chunk(chunk: list[tuple[int, dict[str, Any]]], rules: tuple[str, ...], run: Runner) -> Iterator[Graded]:
    programs: list[str] = []
    wanted: list[tuple[int | None, dict[str, bool]]] = []
    for _, row in chunk:
        completion, kind = value_of(row, "completion"), row.get("kind", "cot")
        executed = {rule: runs_under(rule, completion, kind) for rule in rules}
        if any(executed.values()):
            programs.append(program_text(completion))
        wanted.append((len(programs) - 1 if any(executed.values()) else None, executed))
    executions = list(run(programs)) if programs else []
    if len(executions) != len(programs):
        raise RuntimeError(f"{len(programs)} programs were run, {len(executions)} executions came back")
    for (line, row), (index, executed) in zip(chunk, wanted, strict=True):
        yield grade_row(row, line, rules, executed, executions[index] if index is not None else None)


def grade_row(
    row: dict[str, Any], line: int, rules: Sequence[str], executed: dict[str, bool], execution: Any = None
) -> Graded:
    """One row's answers and verdicts, given what happened to its program if it has one."""
    name, completion = value_of(row, "benchmark"), value_of(row, "completion")
    with warnings.catch_warnings():
        warnings.simplefilter("default")
        benchmark = benchmark_named(name, row.get("options"))
    options, question = bare_options(row.get("options")), str(row.get("question") or "")
    if options is None and (benchmark.choice or benchmark.letters_too):
        options = options_in(question)
    answers: dict[str, Answer | None] = {}
    verdicts: dict[str, Verdict] = {}
    for rule in rules:
        if executed[rule] and execution is not None:
            output = output_under(rule, execution)
            answers[rule] = answer_from_execution(output, name, rule, options) if output else None
        else:
            answers[rule] = read_answer(completion, name, rule, options, question)
        verdicts[rule] = grade(answers[rule], row["gold"], name, rule, options)
    return Graded(
        row=row,
        line=line,
        benchmark=name,
        id=str(row.get("id", line)),
        kind=row.get("kind", "cot"),
        answers=answers,
        verdicts=verdicts,
        read_from={rule: "program" if executed[rule] and execution is not None else "text" for rule in rules},
        execution=execution,
    )


def output_under(rule: str, execution: Any) -> str:
    """What a rule takes for a program's output: printed text, or under the corrected rule the value left in ``ans``,
    in ``solution()`` or in the last expression. A program that failed has none, whatever it printed before."""
    if execution.status != "ok":
        return ""
    return (execution.printed if rule == "published" else execution.output) or ""


def runs_under(rule: str, completion: str, kind: str) -> bool:
    """Whether a rule has a completion executed.

    The published rule runs whatever contains ``print(``. The corrected rule runs a ``pot`` row that is Python.
    Fenced cells cannot run as they stand: under the published rule the attempt fails, which `program_text` keeps.
    """
    if rule == "published":
        return published.is_program(completion)
    return kind == "pot" and is_python(program_text(completion))


_CODE_LINE = re.compile(
    r"^\s*(?:#|import |from \w+ import|def |return\b|print\(|for |while |if |elif |else:|\w+\s*[-+*/]?=[^=])"
)
_CELL = re.compile(r"\s*```(?:python|py)?[ \t]*\n(.*?)\n?```\s*", re.S | re.I)


def program_text(completion: str) -> str:
    """The program in a completion: what stands before ``### Instruction``, out of its fence if it is one lone cell."""
    text = published.program_of(completion)
    alone = _CELL.fullmatch(text)
    return alone.group(1) if alone and "```" not in alone.group(1) else text


def is_python(text: str) -> bool:
    """Whether a text is a program and not prose: it parses with at least one statement that does something, or most
    of its lines look like code (a program that was cut off, or has a slip)."""
    if "```" in text or not text.strip():
        return False
    try:
        with warnings.catch_warnings():  # a model's "\d" in a string is nothing to warn a reader of
            warnings.simplefilter("ignore")
            tree = ast.parse(text.replace("\r\n", "\n"))
        return any(
            not (isinstance(one, ast.Expr) and isinstance(one.value, (ast.Constant, ast.Name))) for one in tree.body
        )
    except (SyntaxError, ValueError, RecursionError, MemoryError):
        lines = [line for line in text.splitlines() if line.strip()]
        return "\\boxed" not in text and 2 * sum(bool(_CODE_LINE.match(line)) for line in lines) > len(lines)
