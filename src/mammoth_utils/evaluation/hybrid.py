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

from mammoth_utils import prompts
from mammoth_utils.evaluation.attempts import Attempt, output_of_runner, read_answers, run_attempts, start_attempt
from mammoth_utils.evaluation.benchmarks import find
from mammoth_utils.evaluation.engines.decoders import Decoder
from mammoth_utils.programs import Execution
from mammoth_utils.rationale import Problem
from mammoth_utils.vocabulary import DECODINGS, check_known

MATCH_NEW_TOKENS = 300  # the default of the runner's helper, which its second call leaves as it is
OPTION_LETTERS = frozenset("ABCDE")


def decode(
    problems: Sequence[Problem],
    decoder: Decoder,
    decodings: Iterable[str],
    max_new_tokens: int,
    run: Callable[[list[str]], Iterable[Execution]] | None = None,
) -> dict[str, list[list[Attempt]]]:
    """Return the attempts of every problem, in the order made, for each way of decoding; no prompt is decoded twice.

    Args:
        problems: What is asked; ``problem.set`` says which benchmark's rules read the answers.
        decoder: Anything with ``complete(prompts, max_new_tokens)``.
        decodings: Some of ``DECODINGS``.
        run: What runs the programs, as in ``attempts.run_attempts``.

    Raises:
        ValueError: If a decoding is unknown, naming the choices.
    """
    decodings = list(decodings)
    for decoding in decodings:
        check_known("decoding", decoding, DECODINGS)
    cache = AttemptCache(problems, decoder, max_new_tokens, run)
    # First everything that is certain to be asked, in one pass; then, for each way, what depends on the answers.
    certain = [
        (place, cache.first_kind(place, decoding), decoding == "paper")
        for decoding in decodings
        for place in range(len(problems))
    ]
    cache.ask(certain)
    return {decoding: cache.attempts(decoding) for decoding in decodings}


class AttemptCache:
    """Asks for completions in passes and remembers the attempts by problem and prompt."""

    def __init__(
        self,
        problems: Sequence[Problem],
        decoder: Decoder,
        max_new_tokens: int,
        run: Callable[[list[str]], Iterable[Execution]] | None,
    ) -> None:
        self.problems, self.decoder, self.max_new_tokens, self.run = list(problems), decoder, max_new_tokens, run
        self.known: dict[tuple[int, str, str], Attempt] = {}  # by the problem's place, the kind and the prompt
        self.rules = [rules_of(problem) for problem in self.problems]
        self.choice = [asked_as_choice(problem) for problem in self.problems]

    def first_kind(self, place: int, decoding: str) -> str:
        """Return the kind that a problem is asked for first."""
        if decoding in ("cot", "pot"):
            return decoding
        return "cot" if decoding == "hybrid" and self.choice[place] else "pot"

    def prompt(self, place: int, kind: str, as_runner: bool) -> str:
        """Return a problem's prompt; the runner begins the response for programs on multiple choice too."""
        text = prompts.prompt(self.problems[place], kind, prefill=self.choice[place])
        return text + prompts.CHOICE_PREFILL if as_runner and self.choice[place] and kind == "pot" else text

    def ask(self, requests: Sequence[tuple[int, str, bool]]) -> list[Attempt]:
        """Return the attempts at (place, kind, as the runner asks); those not yet known are made in one pass."""
        keys = [(place, kind, self.prompt(place, kind, as_runner)) for place, kind, as_runner in requests]
        return self._attempts(keys, self.max_new_tokens)

    def _attempts(self, keys: list[tuple[int, str, str]], max_new_tokens: int) -> list[Attempt]:
        new = [key for key in dict.fromkeys(keys) if key not in self.known]
        texts = self.decoder.complete([prompt for _, _, prompt in new], max_new_tokens) if new else []
        attempts = [start_attempt(kind, prompt, text) for (_, kind, prompt), text in zip(new, texts, strict=True)]
        for key, attempt in zip(new, run_attempts(attempts, self.run), strict=True):
            problem = self.problems[key[0]]
            self.known[key] = read_answers(attempt, self.rules[key[0]], problem.options, problem.question)
        return [self.known[key] for key in keys]

    def attempts(self, decoding: str) -> list[list[Attempt]]:
        """Return every problem's attempts under one way of decoding."""
        as_runner = decoding == "paper"
        places = range(len(self.problems))
        first = self.ask([(place, self.first_kind(place, decoding), as_runner) for place in places])
        attempts = [[attempt] for attempt in first]
        if decoding in ("hybrid", "paper"):
            failed = [place for place in places if self._gave_nothing(place, first[place], as_runner)]
            for place, attempt in zip(failed, self.ask([(place, "cot", as_runner) for place in failed]), strict=True):
                attempts[place].append(attempt)
        return self._with_mapped_options(attempts) if as_runner else attempts

    def _gave_nothing(self, place: int, attempt: Attempt, as_runner: bool) -> bool:
        """Return whether a program gave nothing, so that prose is asked for.

        Open questions: the published rule read no answer. Multiple choice under the runner: a text with ``print(``
        was run and printed nothing; a text without is never asked again, whatever was read from it.
        """
        if attempt.kind != "pot":
            return False
        if as_runner and self.choice[place]:
            return "published" in attempt.program_for and not output_of_runner(attempt)
        return not attempt.answers["published"]

    def _with_mapped_options(self, attempts: list[list[Attempt]]) -> list[list[Attempt]]:
        """Add the runner's second call: on multiple choice, the model maps an answer that is no option to one."""
        keys = []
        for place, made in enumerate(attempts):
            answer = made[-1].answers["published"] or ""
            if self.choice[place] and answer not in OPTION_LETTERS:
                keys.append((place, "match", match_prompt(self.problems[place], answer)))
        for (place, _, _), attempt in zip(keys, self._attempts(keys, MATCH_NEW_TOKENS), strict=True):
            attempts[place].append(attempt)
        return attempts


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
