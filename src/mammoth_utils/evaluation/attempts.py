"""Attempts: one completion each, what its program did, and the answer that each rule reads from it."""

from __future__ import annotations

import ast
import re
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from typing import Any

from mammoth_utils import grading
from mammoth_utils.vocabulary import RULES

# The runner cuts a program where the model begins to write a next problem.
CUT = "### Instruction"
PROGRAM_SIGN = "print("
TIMEOUT_S = 5.0  # the runner's
KEPT_OUTPUT = 2_000  # characters of a program's output that an attempt keeps
_CODE_LINE = re.compile(r"(import |from \w[\w.]* import |def \w+\(|\w+(, ?\w+)* ?[-+*/]?= ?[^=]|print\()")
_SAID = re.compile(r"the answer is|\\boxed|####", re.IGNORECASE)
_FENCED = re.compile(r"\s*```(?:python|py)?\n(.*?)\n?```\s*", re.DOTALL | re.IGNORECASE)


@dataclass(frozen=True)
class Attempt:
    """One completion of one problem, what its program did, and the answers that were read.

    Attributes:
        kind: ``"pot"``, ``"cot"``, or ``"match"`` for the runner's second call that maps an answer to an option.
        prompt: What the model was asked, whole.
        completion: What it wrote.
        program: What was run, or None if no rule saw a program.
        execution: ``status``, ``printed``, ``output``, ``error`` and ``seconds`` of that run, or None.
        answers: Under each rule the answer's text, or None where nothing was found.
        program_for: Rules that read this completion as a program.
    """

    kind: str
    prompt: str
    completion: str
    program: str | None = None
    execution: dict[str, Any] | None = None
    answers: dict[str, str | None] = field(default_factory=dict)
    program_for: tuple[str, ...] = ()

    def as_dict(self) -> dict[str, Any]:
        """The attempt as a record keeps it."""
        return {**self.__dict__, "answers": dict(self.answers), "program_for": list(self.program_for)}


# --- is this a program? ----------------------------------------------------------------------------------------------


def published_program(completion: str) -> str | None:
    """The program of a completion under the published rule: whatever holds ``print(``, cut at ``### Instruction``."""
    return completion.split(CUT)[0] if PROGRAM_SIGN in completion else None


def corrected_program(completion: str) -> str | None:
    """The program of a completion under the corrected rule, None for prose.

    A text that parses as Python and does something (``Yes`` and ``42`` parse too) is a program. So is one that does
    not parse, begins with a line of code and states no answer in words: it is a broken program, and searching it for
    numbers would be luck. A completion that is one fenced block is that block.
    """
    text = completion.split(CUT)[0]
    fenced = _FENCED.fullmatch(text)
    text = fenced[1] if fenced else text
    try:
        tree = ast.parse(text)
    except (SyntaxError, ValueError, RecursionError, MemoryError):
        lines = (line for line in text.splitlines() if line.strip() and not line.lstrip().startswith("#"))
        return text if _CODE_LINE.match(next(lines, "").strip()) and not _SAID.search(text) else None
    doing = (
        ast.Assign,
        ast.AnnAssign,
        ast.AugAssign,
        ast.Import,
        ast.ImportFrom,
        ast.FunctionDef,
        ast.Call,
        ast.For,
        ast.While,
    )
    return text if any(isinstance(node, doing) for node in ast.walk(tree)) else None


# --- reading an attempt ----------------------------------------------------------------------------------------------


def unread(kind: str, prompt: str, completion: str) -> Attempt:
    """An attempt with its programs found; the runner reads a mapped option as text and never runs it."""
    found = {"published": published_program(completion), "corrected": corrected_program(completion)}
    seen = tuple(rule for rule in RULES if kind != "match" and found[rule] is not None)
    return Attempt(kind, prompt, completion, found[seen[-1]] if seen else None, program_for=seen)


def executed(attempts: Sequence[Attempt], run: Callable[[list[str]], Iterable[Any]] | None = None) -> list[Attempt]:
    """The attempts with their programs run, each program once: one execution serves both rules.

    Args:
        attempts: From ``unread``.
        run: Programs to executions in their order, such as ``Sandbox.run_all``; None starts a sandbox for this call,
            with the best isolation that this machine has.
    """
    from mammoth_utils.programs import run_programs

    programs = list(dict.fromkeys(attempt.program for attempt in attempts if attempt.program is not None))
    if not programs:
        return list(attempts)
    executions = run(programs) if run else run_programs(programs, timeout_s=TIMEOUT_S, isolation="auto")
    ran = {program: summary(execution) for program, execution in zip(programs, executions, strict=True)}
    return [one if one.program is None else _with(one, execution=ran[one.program]) for one in attempts]


def summary(execution: Any) -> dict[str, Any]:
    """What an attempt keeps of an execution."""
    return {
        "status": execution.status,
        "printed": (execution.printed or "")[:KEPT_OUTPUT],
        "output": (execution.output or "")[:KEPT_OUTPUT],
        "error": (execution.error or "")[:KEPT_OUTPUT] or None,
        "seconds": round(execution.seconds, 3),
    }


def published_output(execution: dict[str, Any] | None) -> str:
    """What the runner grades of an execution: what was printed; nothing if the program failed, even half-way."""
    return execution["printed"].strip("\n") if execution and execution["status"] == "ok" else ""


def printed_for_runner(attempt: Attempt) -> str:
    """The runner's output of an attempt that it reads as a program.

    A fenced block was run without its fence; the runner runs the fence too, which is no Python and prints nothing.
    """
    return published_output(attempt.execution) if attempt.program == published_program(attempt.completion) else ""


def read(
    attempt: Attempt, benchmark: str, options: Sequence[str] | None = None, question: str | None = None
) -> Attempt:
    """The attempt with its answer under each rule: from its execution where the rule saw a program, else its text."""
    answers: dict[str, str | None] = {}
    for rule in RULES:
        if rule not in attempt.program_for:
            found = grading.read_answer(
                attempt.completion, benchmark=benchmark, rule=rule, options=options, question=question
            )
        elif rule == "published":
            output = printed_for_runner(attempt)
            found = grading.answer_from_execution(output, benchmark, rule, options) if output else None
        else:
            output = attempt.execution["output"].strip() if attempt.execution["status"] == "ok" else ""
            found = grading.answer_from_execution(output, benchmark, rule, options) if output else None
        text = getattr(found, "text", found)
        answers[rule] = text if text else None
    return _with(attempt, answers=answers)


def final(attempts: Sequence[Attempt], rule: str) -> Attempt:
    """The attempt whose answer counts under a rule.

    Published: the last one, as in the runner. Corrected: the first in which an answer was found, else the last.
    """
    if rule == "published":
        return attempts[-1]
    return next((attempt for attempt in attempts if attempt.answers[rule]), attempts[-1])


def giver(attempts: Sequence[Attempt]) -> str:
    """Which kind gave the answer: ``p``, ``c``, or ``-`` where no rule found one. ``match`` counts for its source."""
    if not any(attempt.answers[rule] for attempt in attempts for rule in RULES):
        return "-"
    return [attempt.kind for attempt in attempts if attempt.kind != "match"][-1][0]


def _with(attempt: Attempt, **changes: Any) -> Attempt:
    return Attempt(**{**attempt.__dict__, **changes})
