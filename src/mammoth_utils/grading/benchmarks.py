"""How each benchmark is graded: its names, whether it has options, and what its gold looks like."""

from __future__ import annotations

import re
import warnings
from collections.abc import Collection, Mapping
from dataclasses import dataclass
from typing import Any

from mammoth_utils.rationale import LETTERS
from mammoth_utils.vocabulary import FILE_NAMES, NAMESAKES, RULES, check_known


@dataclass(frozen=True)
class Benchmark:
    """How one benchmark is graded.

    Attributes:
        choice: Whether every item has options and the gold is one of them.
        expression: Whether golds are expressions (MATH, TheoremQA) and not plain numbers.
        letters_too: Whether some items have options and others do not (NumGLUE).
        several: Whether a question may ask for more unknowns than its gold keeps, mostly the first (SimulEq).
    """

    name: str
    choice: bool = False
    expression: bool = False
    letters_too: bool = False
    several: bool = False


KNOWN: dict[str, Benchmark] = {
    known.name: known
    for known in (
        Benchmark("gsm8k"),
        Benchmark("math", expression=True),
        Benchmark("aqua", choice=True),
        Benchmark("numglue", letters_too=True),
        Benchmark("svamp"),
        Benchmark("mathematics", expression=True),
        Benchmark("simuleq", several=True),
        Benchmark("sat", choice=True),
        Benchmark("mmlu_math", choice=True),
        Benchmark("theoremqa", expression=True),
    )
}
# The data files' names, and the miniature's sets, which are graded as the sets they are named after.
ALIASES = FILE_NAMES | NAMESAKES
UNSEEN_OPTIONS = 10  # options that a letter may name where their texts are not known
_WARNED: set[str] = set()


def benchmark_named(name: str, options: Any = None) -> Benchmark:
    """Return how a benchmark of that name is graded; upper case and aliases count.

    A name that is not known is graded as plain numbers, or as options where ``options`` are given; the
    first time a name is met, a ``UserWarning`` says so.

    Raises:
        TypeError: If the name is no text.
    """
    if not isinstance(name, str):
        raise TypeError(f"expected a benchmark's name, got {type(name).__name__}; known: {', '.join(KNOWN)}")
    key = name.strip().lower()
    key = ALIASES.get(key, key)
    if key in KNOWN:
        return KNOWN[key]
    if key not in _WARNED:
        _WARNED.add(key)
        known = ", ".join([*KNOWN, *ALIASES])
        how = "options" if options else "plain numbers"
        warnings.warn(f"unknown benchmark {name!r} is graded as {how}; known: {known}", UserWarning, stacklevel=3)
    return Benchmark(key, choice=bool(options))


def check_rule(rule: str) -> str:
    """Return the rule's name, or raise ValueError, naming the choices, if there is no such rule."""
    check_known("rule", rule, RULES)
    return rule


def gold_text(gold: Any) -> str:
    """Return a gold as text: floats without a trailing ``.0``, lists in Python's form, None as nothing.

    SVAMP keeps ``51.0`` for 51, so a float that is a whole number is one.
    """
    if gold is None:
        return ""
    if isinstance(gold, float) and gold.is_integer() and abs(gold) < 1e16:
        return str(int(gold))
    return str(gold).strip()


def gold_letter(gold: Any, options: Any = None) -> str | None:
    """Return the letter of the right option; None if the gold names none.

    Args:
        gold: A letter (``"C"``, ``"(c)"``), an ``int`` index counted from 0 (MMLU's form), or an option's own text.
        options: The options' texts, which bound the letters where they are given.
    """
    count = len(options) if options else UNSEEN_OPTIONS
    if isinstance(gold, bool):
        return None
    if isinstance(gold, float) and gold.is_integer():  # what pandas makes of an index beside an empty cell
        gold = int(gold)
    if isinstance(gold, int):
        return LETTERS[gold] if 0 <= gold < min(count, len(LETTERS)) else None
    text = gold_text(gold)
    if match := re.fullmatch(r"\(?\s*([A-Za-z])\s*\)?\.?", text):
        letter = match.group(1).upper()
        return letter if LETTERS.index(letter) < count else None
    if options:
        same = [at for at, option in enumerate(options) if str(option).strip() == text]
        if len(same) == 1:
            return LETTERS[same[0]]
    return None


_GIVEN_LETTER = re.compile(r"^\s*\(?([A-Z])[).]\s*")
_CHOICE_MARK = re.compile(r"(?:(?<=\s)|^)\(?([A-Z])\)\s*")


def bare_options(options: Any) -> tuple[str, ...] | None:
    """Return options without the letters that some files keep in them (AQuA's ``"A)21"``, once ``"A)A)59"``).

    Options are a list, or an object from letters to texts in order; None stands for none.

    Raises:
        TypeError: If they are anything else, or more than there are letters.
    """
    if not options:
        return None
    if isinstance(options, Mapping) and [str(key) for key in options] == list(LETTERS[: len(options)]):
        options = list(options.values())
    if isinstance(options, str | Mapping) or not isinstance(options, Collection):
        raise TypeError(f"expected options as a list, or as an object from A, B, ... to texts; got {options!r}"[:200])
    if len(options) > len(LETTERS):
        raise TypeError(f"expected at most {len(LETTERS)} options, got {len(options)}")
    texts = [str(option).strip() for option in options]
    while all((match := _GIVEN_LETTER.match(text)) and match.group(1) == LETTERS[at] for at, text in enumerate(texts)):
        texts = [_GIVEN_LETTER.sub("", text, count=1).strip() for text in texts]
    return tuple(texts)


def options_in(question: str) -> tuple[str, ...] | None:
    """Return the options that a question lists after ``Answer Choices:``, None unless in order A, B, and so on."""
    _, marker, listed = question.rpartition("Answer Choices:")
    if not marker:
        return None
    in_order: list[re.Match] = []
    for mark in _CHOICE_MARK.finditer(listed):
        if len(in_order) < len(LETTERS) and mark.group(1) == LETTERS[len(in_order)]:
            in_order.append(mark)
    if len(in_order) < 2:
        return None
    ends = [mark.start() for mark in in_order[1:]] + [len(listed)]
    return tuple(listed[mark.end() : end].strip() for mark, end in zip(in_order, ends, strict=True))
