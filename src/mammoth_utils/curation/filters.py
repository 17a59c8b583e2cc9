"""Filters on the way to MathInstruct; each row that is thrown out has its stage and reason."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

from mammoth_utils.curation.mathinstruct_rows import escape_row, format_row, is_writable
from mammoth_utils.curation.near_duplicates import NearIndex
from mammoth_utils.curation.sources import registry
from mammoth_utils.grading import SIMILARITY, answer_from_execution, grade, question_tokens, read_answer
from mammoth_utils.rationale import Rationale
from mammoth_utils.records import Record
from mammoth_utils.vocabulary import check_known

MAX_CHARACTERS = 8_000  # instruction and output together: about the 2,048 tokens that training keeps
STAGES = ("teacher", "malformed", "length", "execution", "gold", "agreement", "duplicate", "near-duplicate",
          "contamination")  # fmt: skip
AGREEMENT = ("validated", "all", "none")
DISAGREE = {"incorrect": "another answer", "no_answer": "no answer in the prose"}


@dataclass(frozen=True)
class Dropped:
    """A rationale that was thrown out: at which stage, why in a word or two, and the particulars."""

    rationale: Rationale
    stage: str
    reason: str
    detail: str = ""

    def __post_init__(self) -> None:
        check_known("stage", self.stage, STAGES)

    def as_row(self) -> Record:
        """Return the row of ``dropped.jsonl``."""
        return format_row(self.rationale) | {"stage": self.stage, "reason": self.reason, "detail": self.detail}


Split = tuple[list[Rationale], list[Dropped]]


def normalised(text: str) -> str:
    """Return one string for texts that differ in case, spaces and punctuation only; signs, digits, dots are kept."""
    return " ".join(question_tokens(text))


def drop_malformed(rows: Iterable[Rationale], max_characters: int = MAX_CHARACTERS) -> Split:
    """Throw out rows that are no rationale, or too long for a training row.

    A lone surrogate, which no file can hold, is written as ``\\udc80`` in a row that is thrown out.
    """
    kept, dropped = [], []
    for row in rows:
        length = len(row.problem.instruction) + len(row.text)
        if not is_writable(row):
            dropped.append(Dropped(escape_row(row), "malformed", "broken characters", "a lone surrogate"))
        elif odd := row.history.get("no text"):
            dropped.append(Dropped(row, "malformed", "no text", odd))
        elif not row.problem.question.strip():
            dropped.append(Dropped(row, "malformed", "empty question"))
        elif not row.text.strip():
            dropped.append(Dropped(row, "malformed", "empty rationale"))
        elif "\ufffd" in row.text or "\x00" in row.text:
            dropped.append(Dropped(row, "malformed", "broken characters"))
        elif length > max_characters:
            dropped.append(Dropped(row, "length", "over-long", f"{length} characters, at most {max_characters}"))
        else:
            kept.append(row)
    return kept, dropped


def drop_failed_programs(
    rows: Sequence[Rationale],
    timeout_s: float = 5.0,
    workers: int | None = None,
    isolation: str = "auto",
    memory_mb: int = 1024,
) -> Split:
    """Keep programs that run and whose output equals the gold, as the paper does; prose passes untouched.

    A program without a gold (the release, NumGLUE's copy) is kept if it runs and says something. The execution's
    status, output and verdict go into each row's history.

    Args:
        workers: Processes; None leaves it to the sandbox.
        isolation: As ``run_programs`` takes it.
    """
    from mammoth_utils.programs import run_programs

    programs = [row for row in rows if row.kind == "pot"]
    results = run_programs(
        [row.text for row in programs], timeout_s=timeout_s, memory_mb=memory_mb, workers=workers, isolation=isolation
    )
    judged = {id(row): _judge(row, execution) for row, execution in zip(programs, results, strict=True)}
    outcomes = [judged.get(id(row), row) for row in rows]
    kept = [outcome for outcome in outcomes if isinstance(outcome, Rationale)]
    return kept, [outcome for outcome in outcomes if isinstance(outcome, Dropped)]


def _judge(row: Rationale, execution: Any) -> Rationale | Dropped:
    """Return the row with its history, as dropped if it is thrown out."""
    output = (execution.output or "").strip()
    row = row.with_history(status=execution.status, output=output[:200])
    if execution.status != "ok":
        lines = (execution.error or "").strip().splitlines()
        return Dropped(row, "execution", execution.status, lines[-1][:200] if lines else "")
    if not output:
        return Dropped(row, "execution", "no output")
    if not row.problem.gold:
        return row.with_history(verdict="no gold")
    benchmark = registry.benchmark_of(row.source)
    options = row.problem.options
    answer = answer_from_execution(output, benchmark, "corrected", options)
    verdict = grade(answer, row.problem.gold, benchmark=benchmark, rule="corrected", options=options)
    row = row.with_history(verdict=verdict.outcome)
    if verdict.correct:
        return row
    reason = {"incorrect": "another answer", "no_answer": "no answer in the output"}.get(
        verdict.outcome, verdict.outcome
    )
    return Dropped(row, "gold", reason, verdict.reason or "")


def drop_disagreeing_prose(rows: Iterable[Rationale], which: str = "validated") -> Split:
    """Throw out prose whose answer is not the gold; programs pass untouched, and so does prose without a gold.

    Every row of prose with a gold gets a verdict in its history, whether it can be thrown out or not. ``by gold`` is
    the verdict of human prose whose last line was written from the gold, which therefore cannot disagree with it.

    Args:
        which: ``"validated"`` throws out in the sources that the paper calls validated, as it did, and in those that
            it does not have; ``"all"`` wherever there is a gold; ``"none"`` nowhere.

    Raises:
        ValueError: If ``which`` is unknown, naming the choices.
    """
    check_known("agreement", which, AGREEMENT)
    kept, dropped = [], []
    for row in rows:
        if row.kind != "cot":
            kept.append(row)
            continue
        verdict, detail = _agreement(row)
        row = row.with_history(verdict=verdict)
        source = registry.SOURCES.get(registry.paper_name(row.source))
        compared = which == "all" or (which == "validated" and (source is None or source.validated))
        if compared and verdict in DISAGREE:
            dropped.append(Dropped(row, "agreement", DISAGREE[verdict], detail))
        else:
            kept.append(row)
    return kept, dropped


def _agreement(row: Rationale) -> tuple[str, str]:
    """Return the verdict on prose and its particulars."""
    if not row.problem.gold:
        return "no gold", ""
    if row.history.get("answer_line") == "gold":
        return "by gold", ""
    benchmark = registry.benchmark_of(row.source)
    options = row.problem.options
    answer = read_answer(row.text, benchmark=benchmark, rule="corrected", options=options)
    verdict = grade(answer, row.problem.gold, benchmark=benchmark, rule="corrected", options=options)
    return verdict.outcome, verdict.reason or ""


def drop_duplicates(rows: Iterable[Rationale]) -> Split:
    """Throw out rows whose instruction, kind and text stood before, byte for byte; the first one stays."""
    first: dict[str, Rationale] = {}
    kept, dropped = [], []
    for row in rows:
        key = row.key
        if key in first:
            dropped.append(Dropped(row, "duplicate", "same text", f"of {_name(first[key])}"))
        else:
            first[key] = row
            kept.append(row)
    return kept, dropped


def drop_near_duplicates(rows: Iterable[Rationale], similarity: float = SIMILARITY) -> Split:
    """Throw out rows that say almost the same as an earlier one about almost the same question.

    Two rows are near duplicates if they are of one kind, hold the same numbers in the same order, share at least
    ``similarity`` of their shingles, and ask in different words. A number is a problem's identity: a template
    filled with other numbers is another problem. And several rationales for one and the same question are
    what rejection sampling (GSM8K-RFT) is for, so those are left to the exact comparison.
    """
    index: NearIndex[Rationale] = NearIndex(similarity)
    kept, dropped = [], []
    for row in rows:
        words = question_tokens(f"{row.problem.question}\n{row.text}")
        own = row.problem.instruction
        earlier = next((other for other in index.find(words, row.kind) if other.problem.instruction != own), None)
        if earlier is not None:
            dropped.append(Dropped(row, "near-duplicate", "similar text", f"of {_name(earlier)}"))
        else:
            index.add(row, words, row.kind)
            kept.append(row)
    return kept, dropped


def _name(row: Rationale) -> str:
    return f"{row.source}, {row.problem.id or row.key}"
