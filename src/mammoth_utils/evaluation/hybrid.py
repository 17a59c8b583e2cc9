"""Ways of decoding: which completions a problem gets, and in which order.

Four ways, each a generator of steps for one problem, so that no problem waits for another:

- ``hybrid``: a program on open questions, prose on multiple choice; prose where the program gave nothing. The paper's.
- ``paper``: the released runner to the letter. It asks for a program on multiple choice too, there with the response's
  beginning filled in for programs as well, falls back under two different conditions, and has the model map an answer
  that is no option to the nearest one.
- ``cot`` and ``pot``: prose alone, a program alone.

Whether a program "gave nothing" depends on the rule that reads it. Here the published rule decides, so that one set of
completions serves both rules; the corrected rule then takes the first attempt in which it finds an answer.
"""

from __future__ import annotations

from collections.abc import Generator
from dataclasses import dataclass, replace

from mammoth_utils import prompts
from mammoth_utils.evaluation.attempts import Attempt, output_of_runner
from mammoth_utils.evaluation.benchmarks import find
from mammoth_utils.evaluation.engines.requests import Request
from mammoth_utils.rationale import Problem
from mammoth_utils.vocabulary import DECODINGS, check_known

MATCH_NEW_TOKENS = 300  # the default of the runner's helper, which its second call leaves as it is
OPTION_LETTERS = frozenset("ABCDE")


@dataclass(frozen=True)
class Step:
    """One completion that a way of decoding needs of a problem: its kind, what is asked, and in which prompt style."""

    kind: str
    request: Request
    style: str = prompts.MAMMOTH


@dataclass(frozen=True)
class PromptSettings:
    """How problems are asked.

    Attributes:
        styles: As ``prompts.parse_styles`` returns them.
        shots: Examples in a few-shot prompt.
        max_new_tokens: Most tokens of a completion.
    """

    max_new_tokens: int
    styles: tuple[str, ...] = (prompts.MAMMOTH,)
    shots: int = prompts.MAX_SHOTS

    def step(self, problem: Problem, kind: str, as_runner: bool = False) -> Step:
        """Return the step that asks for a kind; the runner begins the response for programs on multiple choice too."""
        choice = asked_as_choice(problem)
        asked = prompts.build(problem, kind, self.styles, self.shots, prefill=choice)
        begun = as_runner and choice and kind == "pot"
        text = asked.text + prompts.CHOICE_PREFILL if begun else asked.text
        return Step(kind, Request(text, self.max_new_tokens, asked.chat, asked.stop, problem.set), asked.style)


def decode(problem: Problem, decoding: str, settings: PromptSettings) -> Generator[Step, Attempt, list[Attempt]]:
    """Yield the steps of one way of decoding a problem; each is sent back as an attempt whose answers were read.

    Returns:
        The attempts in the order made.

    Raises:
        ValueError: If the decoding is unknown, naming the choices.
    """
    check_known("decoding", decoding, DECODINGS)
    as_runner, choice = decoding == "paper", asked_as_choice(problem)
    if decoding in ("cot", "pot"):
        return [(yield settings.step(problem, decoding))]
    first = "cot" if decoding == "hybrid" and choice else "pot"
    attempts = [(yield settings.step(problem, first, as_runner))]
    if _gave_nothing(attempts[0], as_runner and choice):
        attempts.append((yield settings.step(problem, "cot", as_runner)))
    answer = attempts[-1].answers["published"] or ""
    if as_runner and choice and answer not in OPTION_LETTERS:
        step = settings.step(problem, "cot")
        request = replace(step.request, prompt=match_prompt(problem, answer), max_new_tokens=MATCH_NEW_TOKENS)
        attempts.append((yield Step("match", request)))
    return attempts


def _gave_nothing(attempt: Attempt, as_runner_on_choice: bool) -> bool:
    """Return whether a program gave nothing, so that prose is asked for.

    Open questions: the published rule read no answer. Multiple choice under the runner: a text with ``print(`` was run
    and printed nothing; a text without is never asked again, whatever was read from it.
    """
    if attempt.kind != "pot":
        return False
    if as_runner_on_choice:
        return "published" in attempt.program_for and not output_of_runner(attempt)
    return not attempt.answers["published"]


def match_prompt(problem: Problem, answer: str) -> str:
    """Return the prompt of the runner's second call, which quotes 100 characters of the answer."""
    listed = problem.instruction.rpartition("Answer Choices:")[2].strip()
    question = f"Please find the closest option to {answer[:100]}. The options are {listed}"
    return prompts.alpaca(question) + prompts.CHOICE_PREFILL


def rules_of(problem: Problem) -> str:
    """Return the benchmark whose grading rules a problem falls under; an unknown set keeps its own name."""
    name = problem.set.split("/")[0]
    return known.rules if (known := find(name)) else name


def asked_as_choice(problem: Problem) -> bool:
    """Return whether a problem is asked as multiple choice: by its benchmark, elsewhere by its having options.

    NumGLUE holds questions with two options, and the paper asks all of it as open questions.
    """
    known = find(problem.set.split("/")[0])
    return known.choice if known else problem.options is not None
