"""Ways of decoding: which completions a problem gets, and in which order.

Four ways, all in passes over many problems (programs decoded together, run together, then the fallbacks):

- ``hybrid``: a program on open questions, prose on multiple choice; prose where the program gave nothing. The paper's.
- ``paper``: the released runner to the letter. It asks for a program on multiple choice too, there with the response's
  beginning filled in for programs as well, falls back under two different conditions, and has the model map an answer
  that is no option to the nearest one.
- ``cot`` and ``pot``: prose alone, a program alone.

Whether a program "gave nothing" depends on the rule that reads it. Here the published rule decides, so that one set of
completions serves both rules; the corrected rule then takes the first attempt in which it finds an answer.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from typing import Any

from mammoth_utils import prompts
from mammoth_utils.evaluation.attempts import Attempt, executed, printed_for_runner, read, unread
from mammoth_utils.evaluation.benchmarks import ALIASES, BENCHMARKS, info
from mammoth_utils.evaluation.engines.decoders import Decoder
from mammoth_utils.rationale import Problem
from mammoth_utils.vocabulary import DECODINGS, MINI

Run = Callable[[list[str]], Iterable[Any]]
MATCH_NEW_TOKENS = 300  # the default of the runner's helper, which its second call leaves as it is
OPTION_LETTERS = frozenset("ABCDE")


# --- the ways of decoding --------------------------------------------------------------------------------------------


def decode(
    problems: Sequence[Problem],
    decoder: Decoder,
    decoding: str = "hybrid",
    max_new_tokens: int = 1024,
    run: Run | None = None,
    on_progress: Callable[[int, int], None] | None = None,
) -> list[list[Attempt]]:
    """The attempts of every problem, in the order made.

    Args:
        problems: What is asked; ``problem.set`` says which benchmark's rules read the answers.
        decoder: Anything with ``complete(prompts, max_new_tokens)``.
        decoding: One of ``DECODINGS``.
        max_new_tokens: Most tokens of a completion.
        run: What runs the programs, as in ``attempts.executed``.
        on_progress: Called with completions done and completions asked for so far.

    Raises:
        ValueError: If the decoding is unknown.
    """
    return decode_all(problems, decoder, (decoding,), max_new_tokens, run, on_progress)[decoding]


def decode_all(
    problems: Sequence[Problem],
    decoder: Decoder,
    decodings: Iterable[str],
    max_new_tokens: int = 1024,
    run: Run | None = None,
    on_progress: Callable[[int, int], None] | None = None,
) -> dict[str, list[list[Attempt]]]:
    """The attempts of several ways of decoding from one set of completions: no prompt is decoded twice.

    Raises:
        ValueError: If a decoding is unknown, naming the choices.
    """
    wanted = list(decodings)
    for decoding in wanted:
        if decoding not in DECODINGS:
            raise ValueError(f"unknown decoding {decoding!r}; known: {', '.join(DECODINGS)}")
    desk = _Desk(problems, decoder, max_new_tokens, run, on_progress)
    # First everything that is certain to be asked, in one pass; then, for each way, what depends on the answers.
    desk.ask(
        [
            (place, kind, d == "paper")
            for d in wanted
            for place in range(len(problems))
            for kind in (desk.first(place, d),)
        ]
    )
    return {decoding: desk.attempts(decoding) for decoding in wanted}


class _Desk:
    """Asks for completions in passes and remembers them by prompt."""

    def __init__(self, problems, decoder, max_new_tokens, run, on_progress) -> None:
        self.problems, self.decoder, self.run = list(problems), decoder, run
        self.max_new_tokens, self.on_progress = max_new_tokens, on_progress
        self.known: dict[tuple[int, str, str], Attempt] = {}
        self.rules = [rules_of(problem) for problem in self.problems]
        self.choice = [asked_as_choice(problem) for problem in self.problems]
        self.done = 0

    def first(self, place: int, decoding: str) -> str:
        if decoding in ("cot", "pot"):
            return decoding
        return "cot" if decoding == "hybrid" and self.choice[place] else "pot"

    def prompt(self, place: int, kind: str, runner: bool) -> str:
        """The prompt of a problem; ``runner`` fills in the response's beginning for programs on multiple choice too."""
        text = prompts.prompt(self.problems[place], kind, prefill=self.choice[place])
        return text + prompts.CHOICE_PREFILL if runner and self.choice[place] and kind == "pot" else text

    def ask(self, wanted: Sequence[tuple[int, str, bool]]) -> list[Attempt]:
        """The attempts at (place, kind, as the runner asks); those not yet known are decoded and run in one pass."""
        asked = [(place, kind, self.prompt(place, kind, runner)) for place, kind, runner in wanted]
        self._decode([key for key in dict.fromkeys(asked) if key not in self.known], self.max_new_tokens)
        return [self.known[key] for key in asked]

    def _decode(self, keys: list[tuple[int, str, str]], max_new_tokens: int) -> None:
        texts = self.decoder.complete([prompt for _, _, prompt in keys], max_new_tokens) if keys else []
        self.done += len(keys)
        if self.on_progress and keys:
            self.on_progress(self.done, self.done)
        made = [unread(kind, prompt, text) for (_, kind, prompt), text in zip(keys, texts, strict=True)]
        rows = zip(keys, executed(made, self.run), strict=True)
        for key, attempt in rows:
            problem = self.problems[key[0]]
            self.known[key] = read(attempt, self.rules[key[0]], problem.options, problem.question)

    def attempts(self, decoding: str) -> list[list[Attempt]]:
        runner = decoding == "paper"
        places = range(len(self.problems))
        made = [[attempt] for attempt in self.ask([(place, self.first(place, decoding), runner) for place in places])]
        if decoding in ("hybrid", "paper"):
            failed = [
                place
                for place in places
                if made[place][0].kind == "pot" and self._nothing(place, made[place][0], runner)
            ]
            for place, attempt in zip(failed, self.ask([(place, "cot", runner) for place in failed]), strict=True):
                made[place].append(attempt)
        return self._matched(made) if runner else made

    def _nothing(self, place: int, attempt: Attempt, runner: bool) -> bool:
        """Whether a program gave nothing, so that prose is asked for.

        Open questions: the published rule read no answer. Multiple choice under the runner: a text with ``print(``
        was run and printed nothing; a text without is never asked again, whatever was read from it.
        """
        if runner and self.choice[place]:
            return "published" in attempt.program_for and not printed_for_runner(attempt)
        return not attempt.answers["published"]

    def _matched(self, made: list[list[Attempt]]) -> list[list[Attempt]]:
        """The runner's second call: on multiple choice, an answer that is no option is mapped to one by the model."""
        keys = []
        for place, attempts in enumerate(made):
            answer = attempts[-1].answers["published"] or ""
            if self.choice[place] and answer not in OPTION_LETTERS:
                keys.append((place, "match", match_prompt(self.problems[place], answer)))
        self._decode([key for key in keys if key not in self.known], MATCH_NEW_TOKENS)
        for key in keys:
            made[key[0]].append(self.known[key])
        return made


def match_prompt(problem: Problem, answer: str) -> str:
    """The prompt of the runner's second call, with its beginning of the response; 100 characters of the answer."""
    listed = problem.instruction.rpartition("Answer Choices:")[2].strip()
    asked = f"Please find the closest option to {answer[:100]}. The options are {listed}"
    return prompts.alpaca(asked) + prompts.CHOICE_PREFILL


def rules_of(problem: Problem) -> str:
    """The benchmark whose grading rules a problem falls under; an unknown set keeps its own name."""
    name = problem.set.split("/")[0]
    plain = name.removeprefix(MINI)
    plain = ALIASES.get(plain, plain)
    return plain if plain in BENCHMARKS else name


def asked_as_choice(problem: Problem) -> bool:
    """Whether a problem is asked as multiple choice: by its benchmark, elsewhere by its having options.

    NumGLUE holds questions with two options, and the paper asks all of it as open questions.
    """
    name = problem.set.split("/")[0]
    known = name in BENCHMARKS or name in ALIASES or name.startswith(MINI)
    return info(name).choice if known else problem.options is not None
