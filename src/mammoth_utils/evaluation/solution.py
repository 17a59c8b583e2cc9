"""A question of the reader's own, from its prompt to its verdict: what the page `solve` and `make try` show."""

from __future__ import annotations

import ast
import re
import time
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from mammoth_utils import pages, paths, records
from mammoth_utils.evaluation.attempts import Attempt, answering_kind, counting_attempt
from mammoth_utils.evaluation.description import Evaluation, describe_evaluation
from mammoth_utils.evaluation.engines.requests import Decoder
from mammoth_utils.evaluation.hybrid import rules_of
from mammoth_utils.evaluation.pipeline import MissingCompletionsError, ask_problems
from mammoth_utils.evaluation.run_folder import model_identity
from mammoth_utils.evaluation.scoring import grade_attempts
from mammoth_utils.grading import Verdict
from mammoth_utils.programs import isolation as isolations
from mammoth_utils.rationale import LETTERS, Problem
from mammoth_utils.records import Record
from mammoth_utils.scales import scale
from mammoth_utils.vocabulary import RULES, UNTUNED

if TYPE_CHECKING:
    import pandas

SAID = {"pot": "a program", "cot": "prose", "match": "the option closest to that answer"}
ENDED = {"stop": "the model ended it", "length": "cut at the limit of tokens"}


@dataclass(frozen=True)
class Step:
    """One step of a solution, for display.

    Attributes:
        title: What happened.
        text: The prompt, the completion, or the program's output, whole.
        language: ``"python"`` for a program, else ``"text"``.
    """

    title: str
    text: str
    language: str = "text"


@dataclass(frozen=True)
class Solution:
    """A model's attempts at one question, with their verdicts.

    Attributes:
        name: Which model, decoded how, as an evaluation of it is called.
        decoding: The way of decoding that answers.
        attempts: By way of decoding, in the order made; those of ``decoding`` and of every other that was asked for.
        decoder: What wrote the completions, as a record keeps it.
        seconds: From the first request to the last answer, the model's loading included.
    """

    problem: Problem
    name: str
    decoding: str
    attempts: dict[str, list[Attempt]]
    decoder: Record = field(default_factory=dict)
    seconds: float = 0.0

    @property
    def verdicts(self) -> dict[str, Verdict]:
        """The verdict under each rule; empty where the question has no reference answer."""
        return self._verdicts(self.decoding)

    def _verdicts(self, decoding: str) -> dict[str, Verdict]:
        made = self.attempts[decoding]
        return grade_attempts(self.problem, made, rules_of(self.problem)) if self.problem.gold else {}

    @property
    def steps(self) -> list[Step]:
        """What happened, in order: each prompt, completion and execution, then the answer and the verdicts."""
        steps = []
        for number, attempt in enumerate(self.attempts[self.decoding]):
            asked = SAID[attempt.kind]
            why = "The program gave nothing, so the model is asked for" if number else "The model is asked for"
            if attempt.kind == "match":
                why = "The answer is no option, so the model is asked for"
            steps.append(Step(f"{why} {asked}", attempt.prompt))
            length = f"{attempt.tokens} tokens, " if attempt.tokens else ""
            written = ENDED.get(attempt.finish, "the engine does not say how it ended")
            language = "python" if attempt.program and _is_python(attempt.completion) else "text"
            steps.append(Step(f"It writes ({length}{written})", attempt.completion.strip("\n"), language))
            if (execution := attempt.execution) is not None:
                title = f"The program runs in the sandbox: {execution.status}"
                steps.append(Step(title, execution.output.strip("\n") or execution.error or "(it printed nothing)"))
        reference = self.problem.gold
        if self.problem.options and reference:
            reference += f", {self.problem.options[LETTERS.index(reference)]}"
        steps.append(Step("The answer that each rule reads", self._answers()))
        if self.verdicts:
            steps.append(Step(f"The verdicts, against the answer {reference}", self._reasons()))
        return steps

    def _answers(self) -> str:
        made = self.attempts[self.decoding]
        answers = {rule: counting_attempt(made, rule).answers[rule] for rule in RULES}
        return "\n".join(f"{rule:<11}{answer or '(none)'}" for rule, answer in answers.items())

    def _reasons(self) -> str:
        return "\n".join(f"{rule:<11}{verdict.outcome}: {verdict.reason}" for rule, verdict in self.verdicts.items())

    def by_decoding(self) -> pandas.DataFrame:
        """Return a row for each way of decoding: what answered, the answers, and the verdicts if there are any."""
        import pandas

        rows = []
        for decoding, made in self.attempts.items():
            row: dict[str, Any] = {"decoding": decoding}
            row["answered by"] = _answered_by(made)
            row |= {f"answer, {rule}": counting_attempt(made, rule).answers[rule] or "" for rule in RULES}
            row |= {f"verdict, {rule}": verdict.outcome for rule, verdict in self._verdicts(decoding).items()}
            rows.append(row)
        return pandas.DataFrame(rows)

    def summary(self) -> dict[str, str]:
        """Return the answer, what gave it, and each rule's verdict in words for a sentence."""
        made, verdicts = self.attempts[self.decoding], self.verdicts
        answers = counting_attempt(made, "corrected").answers
        words = {rule: verdicts[rule].outcome.replace("_", " ") if verdicts else "none was asked for" for rule in RULES}
        answer = answers["corrected"] or answers["published"] or "nothing that a rule could read"
        return {"answer": answer, "kind": _answered_by(made), **words}

    def as_dict(self) -> Record:
        """Return the solution as its record keeps it."""
        attempts = {decoding: [attempt.as_dict() for attempt in made] for decoding, made in self.attempts.items()}
        verdicts = {
            decoding: {rule: vars(verdict) for rule, verdict in self._verdicts(decoding).items()}
            for decoding in self.attempts
        }
        problem = {"question": self.problem.question, "gold": self.problem.gold, "rules": self.problem.set}
        problem["options"] = list(self.problem.options) if self.problem.options else None
        return {
            "name": self.name, "problem": problem, "decoding": self.decoding, "attempts": attempts,
            "verdicts": verdicts, "decoder": self.decoder, "seconds": round(self.seconds, 2),
        }  # fmt: skip

    def __repr__(self) -> str:
        parts = [f"{number}. {step.title}\n\n{_indented(step.text)}" for number, step in enumerate(self.steps, 1)]
        return "\n\n".join(parts)

    def _repr_markdown_(self) -> str:
        parts = []
        for number, step in enumerate(self.steps, 1):
            longest = max(map(len, re.findall("`+", step.text)), default=0)
            fence = "`" * max(3, longest + 1)
            parts.append(f"**{number}. {step.title}**\n\n{fence}{step.language}\n{step.text}\n{fence}")
        return "\n\n".join(parts)


def describe_solution(
    size: str = "1m",
    family: str = "auto",
    mixture: str = "hybrid",
    model: str = "",
    say: Callable[[str], None] = print,
    **settings: Any,
) -> Evaluation:
    """Return the description of the model that answers and of how it is asked, as ``describe_evaluation`` does.

    Where the miniature has no such model yet, its untuned base answers, and ``say`` is told so with the command that
    trains one.

    Args:
        settings: Further arguments of ``describe_evaluation``: ``method``, ``seed``, ``prompt``, ``engine``,
            ``decoding``, ``also``, ``max_new_tokens``.

    Raises:
        ValueError: If a value is unknown, naming the choices.
        FileNotFoundError: If the model is not there, naming the command that makes it.
    """
    asked = {"size": size, "family": family, "model": model, **settings}
    try:
        return describe_evaluation(mixture=mixture, **asked)
    except FileNotFoundError:
        if model or mixture == UNTUNED or not scale(size, family).miniature:
            raise
        given = {"size": size, "family": scale(size, family).family, "mixture": mixture}
        given |= {key: settings[key] for key in ("method", "seed") if key in settings}
        command = pages.show_command("train", **given)
        message = "No such model was trained yet. Its untuned base answers, which knows no instructions. To train it:"
        say(f"{message}\n  {command}")
        return describe_evaluation(mixture=UNTUNED, **asked)


def solve(
    problem: Problem,
    description: Evaluation,
    decoder: Decoder | None = None,
    isolation: str = "auto",
    say: Callable[[str], None] = print,
) -> Solution:
    """Return what a model makes of one question, asked, run and graded by the code that evaluates benchmarks.

    The completion of a question that the model was asked before is read from its file.

    Args:
        problem: From ``read_question``; ``problem.set`` says whose rules read and grade the answer.
        description: From ``describe_solution``.
        decoder: In place of the one that the description names.
        isolation: How programs are confined; ``"full"`` refuses to run where it cannot hold.

    Raises:
        MissingCompletionsError: If the engine has no completion for it, with the reason.
        EndpointError: If the server cannot be asked.
    """
    # Under a name without a folder: a finished evaluation says nothing about a model that is away now.
    weights = model_identity(replace(description, name=f"solve-{description.name}"), say)["weights"]
    begun = time.perf_counter()
    ((made,), failures, decoders) = ask_problems(description, [problem], weights, decoder, isolation=isolation, say=say)
    if failures or made is None:
        raise MissingCompletionsError(f"the question has no completion: {failures[0].reason}")
    attempts = {way: made[way] for way in (description.decoding, *description.also)}
    used = {key: value for key, value in decoders[0].items() if key != "completions"}
    return Solution(problem, description.name, description.decoding, attempts, used, time.perf_counter() - begun)


def write_solution(solution: Solution, description: Evaluation, isolation: str = "auto") -> Path:
    """Write the record of a solution below ``runs/solve`` and return its file."""
    question = records.fingerprint([solution.problem.instruction, solution.problem.gold])[:8]
    folder = paths.run_dir("solve", f"{solution.name}-{question}")
    report = isolations.describe(isolation)
    sandbox = {"level": report.level, "full": report.full, "summary": report.summary}
    versions = records.versions("evaluation", "grading", "programs", "prompts")
    record = {"page": "solve", "parameters": description.as_dict(), **solution.as_dict(), "sandbox": sandbox}
    return records.write_record(folder, {**record, "versions": versions})


def _answered_by(made: list[Attempt]) -> str:
    """Return what gave the answer: a program, prose, text that should have been a program, or nothing."""
    kind = answering_kind(made)
    if kind == "p":
        return "a program" if made[0].program is not None else "text in place of a program"
    return {"c": "prose", "-": "nothing"}[kind]


def _is_python(text: str) -> bool:
    """Return whether a text can be coloured as a program; Sphinx warns of one that it cannot read."""
    try:
        ast.parse(text)
    except (SyntaxError, ValueError, RecursionError, MemoryError):
        return False
    return True


def _indented(text: str) -> str:
    return "\n".join(f"    {line}" for line in text.splitlines())
