"""A completions file graded row by row, in bounded memory, under one rule or both in one pass."""

from __future__ import annotations

import codecs
import gzip
import json
import time
import warnings
import zlib
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from itertools import islice
from pathlib import Path
from typing import Any

from mammoth_utils.grading.answers import Answer, answer_after_run
from mammoth_utils.grading.benchmarks import bare_options, benchmark_named, check_rule, options_in
from mammoth_utils.grading.lm_eval_samples import LmEvalSamples, is_sample
from mammoth_utils.grading.programs_in_text import fenced_blocks, program_to_run, program_under
from mammoth_utils.grading.verdicts import Verdict, grade
from mammoth_utils.records import Record
from mammoth_utils.row_files import whole_number
from mammoth_utils.vocabulary import KINDS

CHUNK = 256  # rows held at a time, so that programs of a chunk can run side by side
REQUIRED = {"benchmark": ("benchmark", "dataset"), "completion": ("completion", "response"), "gold": ("gold",)}
GOLDS = (str, int, float, bool, list, type(None))
GZIP, FENCE = b"\x1f\x8b", "```"
Runner = Callable[[Sequence[str]], Iterable[Any]]


REMEMBERED = 200_000  # rows, of which a second one is known: 13 MB


class CompletionsError(ValueError):
    """A row of a completions file that cannot be graded, with file, line and what was expected."""

    def __init__(self, message: str, line: int = 0):
        super().__init__(message)
        self.line = line


@dataclass(frozen=True)
class Graded:
    """One row with its answers and verdicts.

    Attributes:
        row: The row as it stands in the file, unknown keys too; of a row of lm-evaluation-harness what it stands for.
        line: Its line in the file, from 1.
        id: The row's ``id``, else its line.
        answers: By rule, what was read; None where nothing was.
        verdicts: By rule, what the rule says.
        read_from: By rule, ``"program"`` where a program's output was read and ``"text"`` where the completion was.
    """

    row: Record
    line: int
    benchmark: str
    id: str
    kind: str
    answers: dict[str, Answer | None]
    verdicts: dict[str, Verdict]
    read_from: dict[str, str]
    program: str | None = None
    execution: Any = None

    def as_dict(self, rule: str) -> dict[str, Any]:
        """Return the row with its verdict under one rule, as ``--verdicts`` writes it."""
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
    """Counts over graded rows, by rule and benchmark; of a row it keeps a number, by which a second one is known.

    Attributes:
        doubled: Rows that stand in the file a second time, with their id, question and completion; they are counted.
        bad: Rows that could not be graded; they count nowhere else. Pass `add_bad` to `grade_file`.
        unrun: Rows asked for as a chain of thought that hold Python in a fence, which was read as text.
    """

    rules: tuple[str, ...]
    outcomes: dict[str, Counter] = field(default_factory=dict)
    statuses: Counter = field(default_factory=Counter)
    started: float = field(default_factory=time.perf_counter)
    doubled: int = 0
    bad: int = 0
    unrun: int = 0
    _seen: set[int] = field(default_factory=set, repr=False)

    def add(self, graded: Graded) -> None:
        """Count one row."""
        self.doubled += is_doubled(graded, self._seen)
        for rule in self.rules:
            counts = self.outcomes.setdefault(rule, Counter())
            counts[graded.benchmark, graded.verdicts[rule].outcome] += 1
        if graded.execution is not None:
            self.statuses[graded.execution.status] += 1
        elif graded.kind == "cot" and FENCE in (completion := value_of(graded.row, "completion")):
            self.unrun += any(block.python for block in fenced_blocks(completion))

    def add_bad(self, error: CompletionsError) -> None:
        """Count a row that could not be graded."""
        self.bad += 1

    def as_dict(self, rule: str) -> dict[str, Any]:
        """Return rows, correct, accuracy and the rest under one rule, and the same for each benchmark.

        Accuracy is a fraction of all rows: no answer and ungradable gold count as wrong, as they do in the paper.
        """
        counts = self.outcomes.get(rule, Counter())
        by_name: dict[str, Counter] = {}
        total: Counter = Counter()
        for (name, outcome), number in counts.items():
            total[outcome] += number
            by_name.setdefault(name, Counter())[outcome] += number
        return {
            "rule": rule,
            **_counted(total),
            "seconds": round(time.perf_counter() - self.started, 3),
            "executions": dict(sorted(self.statuses.items())),
            "by_benchmark": {name: _counted(outcomes) for name, outcomes in sorted(by_name.items())},
            **({"doubled": self.doubled} if self.doubled else {}),
            **({"bad_rows": self.bad} if self.bad else {}),
            **({"fenced_programs_not_run": self.unrun} if self.unrun else {}),
        }


def is_doubled(graded: Graded, seen: set[int]) -> bool:
    """Return whether a row was seen before, by its benchmark, id, kind, question and completion; add it to ``seen``."""
    row = graded.row
    named = (graded.benchmark, graded.kind, str(row.get("id")), str(row.get("question")))
    key = hash((*named, value_of(row, "completion")))
    if key in seen:
        return True
    if len(seen) < REMEMBERED:
        seen.add(key)
    return False


def describe_doubled(doubled: int, name: str) -> str:
    """Return a sentence for the reader of a file in which rows stand twice."""
    return (
        f"{doubled:,} rows of {name} stand there a second time, with the same id, question and completion; each "
        "counts twice"
    )


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
    on_bad_row: Callable[[CompletionsError], None] | None = None,
) -> Iterator[Graded]:
    """Yield the rows of a completions file with their verdicts, in order, a few hundred held at a time.

    Programs run once for all rules. Count the rows with a `Summary`.

    Args:
        path: JSON Lines, gzipped or not: see `REQUIRED` for the keys. The rows that lm-evaluation-harness logs with
            ``--log_samples`` are known by theirs; its file's name says the task (`lm_eval_samples`).
        rules: One rule's name or several.
        timeout_s: Seconds that a program may take.
        isolation: How programs are kept apart: ``"full"``, or ``"auto"`` for the best that this machine has.
        workers: Programs at a time; None leaves it to `programs`.
        limit: How many rows are graded; 0 grades all.
        run: Runs a list of programs and gives their executions in order; by default `programs.run_programs`.
        on_bad_row: Called with the error of a row that cannot be graded, which is then left out.

    Raises:
        CompletionsError: At a row that is no JSON object or lacks a key, naming file, line and what is accepted, unless
            ``on_bad_row`` takes it.
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

    return _graded(path, rules, run, limit, on_bad_row)


def score_file(path: str | Path, rules: str | Sequence[str] = "corrected", **how: Any) -> Summary:
    """Count a completions file under one rule or several, in bounded memory; ``how`` as `grade_file` takes it.

    A row that cannot be graded is counted in ``bad_rows`` and nowhere else.
    ``score_file("completions.jsonl.gz").as_dict("corrected")["accuracy"]`` re-grades a file.
    """
    summary = Summary((rules,) if isinstance(rules, str) else tuple(rules))
    for graded in grade_file(path, rules, **{"on_bad_row": summary.add_bad, **how}):
        summary.add(graded)
    return summary


def _graded(
    path: Path,
    rules: tuple[str, ...],
    run: Runner,
    limit: int,
    on_bad_row: Callable[[CompletionsError], None] | None,
) -> Iterator[Graded]:
    rows = islice(rows_of(path, on_bad_row), limit if limit > 0 else None)
    while chunk := list(islice(rows, CHUNK)):
        yield from _graded_chunk(chunk, rules, run)


def _graded_chunk(chunk: list[tuple[int, Record]], rules: tuple[str, ...], run: Runner) -> Iterator[Graded]:
    by_row = [
        {rule: program_under(rule, value_of(row, "completion"), kind_of(row)) for rule in rules} for _, row in chunk
    ]
    programs = [program for program in dict.fromkeys(map(program_to_run, by_row)) if program is not None]
    executions = list(run(programs)) if programs else []
    if len(executions) != len(programs):
        raise RuntimeError(f"{len(programs)} programs were run, {len(executions)} executions came back")
    ran = dict(zip(programs, executions, strict=True))
    for (line, row), by_rule in zip(chunk, by_row, strict=True):
        yield grade_row(row, line, by_rule, ran.get(program_to_run(by_rule)))


def grade_row(row: Record, line: int, programs: dict[str, str | None], execution: Any = None) -> Graded:
    """Return one row's answers and verdicts, given each rule's program and what happened to the one that was run."""
    name, completion = value_of(row, "benchmark"), value_of(row, "completion")
    with warnings.catch_warnings():
        warnings.simplefilter("default")
        benchmark = benchmark_named(name, row.get("options"))
    options, question = bare_options(row.get("options")), str(row.get("question") or "")
    if options is None and (benchmark.choice or benchmark.letters_too):
        options = options_in(question)
    answers: dict[str, Answer | None] = {}
    verdicts: dict[str, Verdict] = {}
    for rule in programs:
        answers[rule] = answer_after_run(completion, programs, execution, name, rule, options, question)
        verdicts[rule] = grade(answers[rule], row["gold"], name, rule, options)
    return Graded(
        row=row,
        line=line,
        benchmark=name,
        id=str(row.get("id", line)),
        kind=kind_of(row),
        answers=answers,
        verdicts=verdicts,
        read_from={rule: "text" if own is None else "program" for rule, own in programs.items()},
        program=program_to_run(programs),
        execution=execution,
    )


def rows_of(path: Path, on_bad_row: Callable[[CompletionsError], None] | None = None) -> Iterator[tuple[int, Record]]:
    """Yield line number and row of each line that is not empty; a line that is no row is given to ``on_bad_row``.

    Rows of lm-evaluation-harness come converted, each document once.

    Raises:
        CompletionsError: At the first line that is no row, where ``on_bad_row`` is None.
    """
    samples = LmEvalSamples(path.name)
    for number, line in _numbered_lines(path):
        where = f"{path}, line {number}"
        try:
            if isinstance(line, Exception):
                raise CompletionsError(f"{path}, after line {number}: no readable text: {line}", number) from line
            row = _parsed(line, number, where)
            if is_sample(row):
                row = _converted(row, samples, number, where)
            if row is not None:
                yield number, _checked(row, number, where)
        except CompletionsError as error:
            if on_bad_row is None:
                raise
            on_bad_row(error)


def _numbered_lines(path: Path) -> Iterator[tuple[int, bytes | Exception]]:
    """Yield number and bytes of each line that is not empty; where an archive is cut or damaged, the error, last."""
    with open(path, "rb") as file:
        packed = file.read(len(GZIP)) == GZIP or path.suffix.lower() == ".gz"
    number = 0
    with (gzip.open if packed else open)(path, "rb") as file:
        try:
            for number, line in enumerate(file, 1):
                # Windows marks a file's start, and joined files have the mark in their middle
                line = line.removeprefix(codecs.BOM_UTF8)
                if line.strip():
                    yield number, line
        except (gzip.BadGzipFile, EOFError, zlib.error) as error:
            yield number, error


def _parsed(line: bytes, number: int, where: str) -> Record:
    """Return a line's object; raise `CompletionsError` where it is none."""
    try:
        row = json.loads(line.decode("utf8"), parse_int=whole_number)
    except (ValueError, RecursionError) as error:  # of which UnicodeDecodeError and JSONDecodeError are two
        raise CompletionsError(f"{where}: expected a JSON object, got what is no JSON: {error}", number) from error
    if not isinstance(row, dict):
        raise CompletionsError(f"{where}: expected a JSON object, got {type(row).__name__}", number)
    return row


def _converted(row: Record, samples: LmEvalSamples, number: int, where: str) -> Record | None:
    """Return what a row of lm-evaluation-harness stands for, None where it repeats one."""
    try:
        return samples.convert(row)
    except (TypeError, ValueError) as error:
        raise CompletionsError(f"{where}: {error}", number) from error


def _checked(row: Record, number: int, where: str) -> Record:
    """Return a row that can be graded; raise `CompletionsError` where something is missing or of another type."""
    for noun, keys in REQUIRED.items():
        if not any(key in row for key in keys):
            accepted, got = " or ".join(f"`{key}`" for key in keys), ", ".join(row) or "none"
            raise CompletionsError(f"{where}: no {noun}; expected {accepted}, got the keys {got[:200]}", number)
    for noun in ("benchmark", "completion"):
        if not isinstance(value_of(row, noun), str):
            kind = type(value_of(row, noun)).__name__
            raise CompletionsError(f"{where}: expected text as {noun}, got {kind}", number)
    if not isinstance(row["gold"], GOLDS):
        raise CompletionsError(f"{where}: expected text, a number, a bool or a list as gold, got an object", number)
    if kind_of(row) not in KINDS:
        raise CompletionsError(f"{where}: unknown kind {row['kind']!r}; known: {', '.join(KINDS)}", number)
    try:
        bare_options(row.get("options"))
    except TypeError as error:
        raise CompletionsError(f"{where}: {error}", number) from error
    return row


def kind_of(row: Record) -> str:
    """Return the kind that was asked for; ``cot`` where a row has none, or an empty cell of a table."""
    kind = row.get("kind")
    return "cot" if kind is None or kind != kind or kind == "" else kind


def value_of(row: Record, noun: str) -> Any:
    """Return what a row holds under the first of a noun's keys that it has."""
    return next(row[key] for key in REQUIRED[noun] if key in row)
