"""The verdict on an answer under a named rule."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Literal

from mammoth_utils.grading import benchmarks
from mammoth_utils.grading._formulas.compare_values import plainly_equal
from mammoth_utils.grading.answers import Answer
from mammoth_utils.grading.benchmarks import ALIASES, KNOWN, Benchmark, gold_letter, gold_text
from mammoth_utils.grading.corrected import equality, option_letters
from mammoth_utils.grading.published import hendrycks
from mammoth_utils.grading.published import rule as published

LONGEST_NUMERAL = 4300  # digits; Python turns no longer text into a number
LONGEST_GOLD = 20_000  # the longest solution of MATH, which is given whole, has 5,313 characters
# Names whose golds are no options, so that two plain numbers can be compared at once.
_OPEN = frozenset(name for name in (*KNOWN, *ALIASES) if not KNOWN[ALIASES.get(name, name)].choice)
Outcome = Literal["correct", "incorrect", "no_answer", "ungradable_gold"]


@dataclass(frozen=True)
class Verdict:
    """The grade of an answer under a rule.

    Attributes:
        outcome: ``correct``, ``incorrect``, ``no_answer`` (nothing was read), or ``ungradable_gold`` (no answer could
            ever pass). The last two are wrong for a score, and counted apart.
        reason: Why, in words for a reader.
    """

    outcome: Outcome
    reason: str

    @property
    def correct(self) -> bool:
        """Return whether the answer counts as right."""
        return self.outcome == "correct"

    @classmethod
    def of(cls, same: bool, reason: str) -> Verdict:
        """Return a correct or incorrect verdict with a reason."""
        return cls("correct" if same else "incorrect", reason)


def grade_math_number(answer: float | None, gold: int | float) -> Verdict:
    """Grade a number on MATH by the authors' rule; their other sets compare strings.

    An integer gold is matched after rounding the answer, any other within 4 % of its size; a gold of 0.0 therefore
    accepts only zero. The corrected rule stands beside it.
    """
    if answer is None or not published.math.isfinite(answer):
        return Verdict("no_answer", "the answer is not a finite number")
    return Verdict.of(*published.compare_math_numbers(answer, gold))


def grade(
    answer: Answer | str | None,
    gold: Any,
    benchmark: str = "math",
    rule: str = "corrected",
    options: Sequence[str] | None = None,
) -> Verdict:
    """Grade an answer. Any text gives a verdict within a bounded time; none raises.

    Args:
        answer: What `read_answer` gave, or its text, or None where nothing was read.
        gold: The reference: text, a number, a bool or a list (TheoremQA), for multiple choice a letter or an ``int``
            index from 0; GSM8K's ``... #### 18`` and a MATH solution with its ``\\boxed`` are taken apart.
        benchmark: Whose question it was; aliases count, an unknown name is graded as numbers, with a warning.
        rule: ``"published"`` or ``"corrected"``.
        options: The options' texts, by which the corrected rule knows an option by its value.

    Raises:
        ValueError: If the rule is unknown.
        TypeError: If the answer is neither an `Answer` nor text nor None.
    """
    text = answer.text if isinstance(answer, Answer) else answer
    if rule == "corrected" and benchmark in _OPEN and type(text) is type(gold) is str and options is None:
        same = plainly_equal(text, gold)
        if same is not None:
            return Verdict.of(same, f"{text} equals {gold}" if same else f"{text} differs from {gold}")
    benchmarks.check_rule(rule)
    known, options = benchmarks.benchmark_named(benchmark, options), benchmarks.bare_options(options)
    if text is not None and not isinstance(text, str):
        raise TypeError(f"expected an Answer, a text or None as the answer, got {type(answer).__name__}")
    try:
        gold_text(gold)
    except ValueError:  # Python refuses to write whole numbers of thousands of digits
        return Verdict("ungradable_gold", "a gold of more digits than Python writes")
    if rule == "published":
        return _published(text, gold, known, options)
    return _corrected(text, gold, known, options)


def _published(text: str | None, gold: Any, benchmark: Benchmark, options: Sequence[str] | None) -> Verdict:
    if isinstance(gold, str) and len(gold) > LONGEST_GOLD:
        return Verdict("ungradable_gold", f"a gold of {len(gold)} characters")
    reference = published.published_gold(gold, benchmark, options)
    if reference is None:
        return Verdict("ungradable_gold", f"{gold!r} names no option" if benchmark.choice else f"{gold!r} is no gold")
    if not published.reachable(reference, benchmark):
        return Verdict("ungradable_gold", f"no completion can be read as {reference[:60]!r} under the published rule")
    if not text:
        return Verdict("no_answer", "nothing was read from the completion")
    if benchmark.choice and text not in tuple("ABCDE"):
        return Verdict.of(False, f"{text[:60]!r} is no option; the authors would ask the model for the closest one")
    if benchmark.name == "math" and text != reference:
        number, value = published.number_of(text), published.gold_number(reference)
        if number is not None and value is not None:
            return grade_math_number(number, value)
    return Verdict.of(*published.grade_published(text, reference, benchmark))


def _corrected(text: str | None, gold: Any, benchmark: Benchmark, options: Sequence[str] | None) -> Verdict:
    if benchmark.choice or _is_option(gold, benchmark):
        letter = gold_letter(gold, options)
        if letter is None:
            return Verdict("ungradable_gold", f"{gold!r} names no option")
        if not text or equality.says_nothing(text):
            return Verdict("no_answer", "nothing was read from the completion")
        chosen = option_letters.option_of(text, options)
        if chosen is None:
            return Verdict.of(False, f"{text[:60]!r} is no option's letter, nor the value of exactly one option")
        same = option_letters.same_option(chosen, letter, options)
        alike = ", which has the same text" if same and chosen != letter else ""
        return Verdict.of(same, f"option {chosen} against {letter}{alike}")
    reference = corrected_gold(gold, benchmark)
    if not reference:
        return Verdict("ungradable_gold", f"{gold!r} is no gold")
    if len(reference) > LONGEST_NUMERAL and reference.lstrip("-").isdigit():
        return Verdict("ungradable_gold", f"a gold of {len(reference):,} digits")
    if not text or equality.says_nothing(text):
        return Verdict("no_answer", "nothing was read from the completion")
    mathematics, measured = benchmark.name == "mathematics", benchmark.name == "theoremqa"
    return Verdict.of(*equality.equivalent(text, reference, mathematics, measured, not benchmark.expression))


def _is_option(gold: Any, benchmark: Benchmark) -> bool:
    """Return whether a gold outside multiple choice is a letter: NumGLUE's Type_3, TheoremQA's ``(c)``."""
    if not isinstance(gold, str):
        return False
    if benchmark.letters_too:
        return re.fullmatch(r"\s*[A-E]\s*", gold) is not None
    return benchmark.name == "theoremqa" and re.fullmatch(r"\s*\([a-e]\)\s*", gold) is not None


def corrected_gold(gold: Any, benchmark: Benchmark) -> str:
    """Return the gold's text: what follows GSM8K's ``####``, what a MATH solution's last ``\\boxed`` holds."""
    if isinstance(gold, float) and gold != gold:  # an empty cell of a table
        return ""
    text = gold_text(gold)
    if benchmark.name == "gsm8k" and "####" in text:
        return text.rpartition("####")[2].strip()
    if benchmark.name == "math" and "\\boxed" in text:
        return hendrycks.boxed_content(text)[0]
    return text
