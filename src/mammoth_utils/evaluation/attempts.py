"""Attempts: one completion each, what its program did, and the answer that each rule reads from it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING

from mammoth_utils import grading, prompts
from mammoth_utils.records import Record
from mammoth_utils.vocabulary import RULES

if TYPE_CHECKING:
    from mammoth_utils.programs import Execution

PROGRAM_TIMEOUT_S = 5.0  # the runner's
KEPT_OUTPUT = 2_000  # characters of a program's output that a record keeps


@dataclass(frozen=True)
class Attempt:
    """One completion of one problem, what its program did, and the answers that were read.

    Attributes:
        kind: ``"pot"``, ``"cot"``, or ``"match"`` for the runner's second call that maps an answer to an option.
        prompt: What the model was asked, whole.
        finish: How the completion ended, as ``engines.requests.Completion`` says.
        tokens: Tokens of the completion; 0 where the engine does not say.
        graded: What the rules read in place of the completion, where the prompt's style asks for another form: of a
            chat the program without its fence and without the output that the model made up. Empty for the completion.
        program: What was run, or None if no rule saw a program.
        answers: Under each rule the answer's text, or None where nothing was found.
        program_for: Rules that read this completion as a program.
    """

    kind: str
    prompt: str
    completion: str
    finish: str = ""
    tokens: int = 0
    graded: str = ""
    program: str | None = None
    execution: Execution | None = None
    answers: dict[str, str | None] = field(default_factory=dict)
    program_for: tuple[str, ...] = ()

    @property
    def text(self) -> str:
        """What the rules read."""
        return self.graded or self.completion

    def as_dict(self) -> Record:
        """Return the attempt as ``attempts.jsonl`` keeps it, of an execution the beginning of each text."""
        execution = self.execution and {
            "status": self.execution.status,
            "printed": (self.execution.printed or "")[:KEPT_OUTPUT],
            "output": (self.execution.output or "")[:KEPT_OUTPUT],
            "error": (self.execution.error or "")[:KEPT_OUTPUT] or None,
            "seconds": round(self.execution.seconds, 3),
        }
        fields = {**self.__dict__, "execution": execution, "program_for": list(self.program_for)}
        return fields if self.graded else {key: value for key, value in fields.items() if key != "graded"}


def start_attempt(
    kind: str, prompt: str, completion: str, finish: str = "", tokens: int = 0, style: str = prompts.MAMMOTH
) -> Attempt:
    """Return an attempt with its program; the runner reads a mapped option as text and never runs it."""
    text = completion if style == prompts.MAMMOTH else prompts.text_to_grade(style, completion)
    if style == prompts.CHAT_POT:
        # The published rule would run the fence too, which is no Python: the chat was asked for the fence.
        text = grading.corrected_program(text, kind) or text
    programs = _programs(kind, text)
    rules = tuple(rule for rule in RULES if programs[rule] is not None)
    program = grading.program_to_run(programs)
    graded = text if text != completion else ""
    return Attempt(kind, prompt, completion, finish, tokens, graded, program, program_for=rules)


def _programs(kind: str, completion: str) -> dict[str, str | None]:
    return {rule: None if kind == "match" else grading.program_under(rule, completion, kind) for rule in RULES}


def output_of_runner(attempt: Attempt) -> str:
    """Return what the runner grades of an attempt that it reads as a program: what was printed unless it failed.

    A fenced block was run without its fence; the runner runs the fence too, which is no Python and prints nothing.
    """
    if attempt.execution is None or attempt.program != grading.published_program(attempt.text):
        return ""
    return grading.output_under("published", attempt.execution).strip("\n")


def read_answers(
    attempt: Attempt, benchmark: str, options: Sequence[str] | None = None, question: str | None = None
) -> Attempt:
    """Return the attempt with its answer under each rule.

    Args:
        benchmark: Whose rules read the answers.
        question: The question, whose own numbers are no answer.
    """
    programs = _programs(attempt.kind, attempt.text)
    answers: dict[str, str | None] = {}
    for rule in RULES:
        answer = grading.answer_after_run(attempt.text, programs, attempt.execution, benchmark, rule, options, question)
        answers[rule] = answer.text if answer else None
    return replace(attempt, answers=answers)


def counting_attempt(attempts: Sequence[Attempt], rule: str) -> Attempt:
    """Return the attempt whose answer counts under a rule.

    Published: the last one, as in the runner. Corrected: the first in which an answer was found, else the last.
    """
    if rule == "published":
        return attempts[-1]
    return next((attempt for attempt in attempts if attempt.answers[rule]), attempts[-1])


def answering_kind(attempts: Sequence[Attempt]) -> str:
    """Return the kind that gave the answer as a letter, ``p`` or ``c``, or ``-`` where no rule found one.

    ``match`` counts for the attempt that it maps.
    """
    if not any(attempt.answers[rule] for attempt in attempts for rule in RULES):
        return "-"
    return [attempt.kind for attempt in attempts if attempt.kind != "match"][-1][0]
