"""The golds judged: of what kind they are, which rule can accept them, and which cannot be right as they stand.

A benchmark is read as `Problem` rows; where they come from is no business of this room.
"""

from __future__ import annotations

import contextlib
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from fractions import Fraction

from mammoth_utils.grading._formulas import notation, words
from mammoth_utils.grading._formulas.forms import digits, infinity, with_sign
from mammoth_utils.grading._formulas.parser import Node, Unreadable, parse
from mammoth_utils.grading._formulas.values import POINTS, Evaluation, Undefined, constant, symbols
from mammoth_utils.grading._formulas.words import wordy
from mammoth_utils.grading.answers import read_answer
from mammoth_utils.grading.benchmarks import RULES, bare_options, benchmark_named, gold_letter, gold_text
from mammoth_utils.grading.verdicts import grade
from mammoth_utils.rationale import LETTERS, Problem

KINDS = (
    "option", "integer", "decimal", "fraction", "radical or constant", "per cent", "quantity with a unit",
    "expression", "equation or relation", "list, tuple or set", "interval", "matrix", "numeral with a base",
    "truth value", "words", "text", "empty",
)  # fmt: skip
# The ways in which a completion may state a gold; a rule that misses it in all of them never gives it.
STATED = ("The answer is {}.", "The answer is {}", "\\boxed{{{}}}", "#### {}", "{}")
ACCEPTS, JUDGES, NEVER = "accepts", "judges", "never"
MANY_PLACES = 6

# Flag: how grave it is, and what it says.
FLAGS: dict[str, tuple[str, str]] = {
    "empty": ("malformed", "the gold is empty"),
    "no option": ("malformed", "the gold names no option that the question has"),
    "brackets": ("malformed", "a bracket of the gold is opened and never closed, or the other way round"),
    "options alike": ("malformed", "two options are the same text, the gold is another"),
    "gold twice": ("ambiguous", "two options are the same text, and the gold is one of them"),
    "gold in two forms": ("ambiguous", "another option has the gold's value, written otherwise"),
    "rounded": ("ambiguous", f"the gold is a decimal cut after {MANY_PLACES} places or more"),
    "several asked": ("ambiguous", "the question asks for several values, the gold keeps one"),
    "several boxes": ("ambiguous", "the solution boxes several values, the gold keeps the last"),
    "figure": ("ambiguous", "the question rests on a picture that the file does not hold"),
    "own working": ("wrong", "the solution or equation in the same row gives another value"),
    "step": ("wrong", "a step of the solution in the same row is false arithmetic"),
    "other gold": ("ambiguous", "the same question stands elsewhere in the benchmark with another gold"),
}


@dataclass(frozen=True)
class Finding:
    """Something about one problem's gold.

    Attributes:
        problem: The problem's id.
        flag: A key of ``FLAGS``.
        detail: The values at issue; never the question's text.
    """

    problem: str
    flag: str
    detail: str = ""

    def __post_init__(self) -> None:
        if self.flag not in FLAGS:
            raise ValueError(f"unknown flag {self.flag!r}; known: {', '.join(FLAGS)}")

    @property
    def grade(self) -> str:
        """How grave it is: ``malformed``, ``ambiguous`` or ``wrong``."""
        return FLAGS[self.flag][0]


def kind_of_gold(problem: Problem, benchmark: str) -> str:
    """What a gold is, one of ``KINDS``: as the corrected rule's parser sees it."""
    text = gold_text(problem.gold)
    if not text:
        return "empty"
    known = benchmark_named(benchmark, problem.options)
    lettered = re.fullmatch(r"\(?[A-J]\)?", text, re.I) if known.letters_too or benchmark == "theoremqa" else None
    if known.choice or (lettered and (problem.options or text.startswith("("))):
        return "option"
    tidy = notation.joined_thousands(notation.plain(text))
    if (word := wordy(tidy)) is not None:
        return "truth value" if word in ("true", "false") else "words"
    number, unit = notation.without_unit(tidy)
    try:
        node = parse(number)
    except Unreadable:
        return "text"
    if unit:
        return "quantity with a unit"
    named = {
        "percent": "per cent", "base": "numeral with a base", "equation": "equation or relation",
        "relation": "equation or relation", "interval": "interval", "union": "interval", "matrix": "matrix",
        **dict.fromkeys(("list", "tuple", "set", "bare", "dict", "pm"), "list, tuple or set"),
    }  # fmt: skip
    if node.kind == "ratio" and len(node.parts) > 2:
        return "list, tuple or set"
    if node.kind == "neg" and node.parts[0].kind == "base":
        return named["base"]
    if node.kind in named:
        return named[node.kind]
    if symbols(node):
        return "expression"
    if re.fullmatch(r"-?\d+", tidy):
        return "integer"
    if re.fullmatch(r"-?\d*\.\d+|-?\d+\.", tidy):
        return "decimal"
    try:
        value = constant(node)
    except Undefined:
        return "text"
    if isinstance(value, (float, complex)):
        return "radical or constant"
    return "fraction" if value.denominator != 1 else "integer"


def only_as_written(problem: Problem, benchmark: str) -> bool:
    """Whether the corrected rule knows a gold as its text alone: no word, and no value at any point for its parser.

    Such a gold is accepted where an answer repeats it letter by letter, and says nothing of what the rule understands.
    """
    kind = kind_of_gold(problem, benchmark)
    if kind in ("option", "truth value", "words", "empty", "text"):
        return kind == "text" and words.block(gold_text(problem.gold)) is None
    number, _ = notation.without_unit(notation.joined_thousands(notation.plain(gold_text(problem.gold))))
    return not _has_value(parse(number))


def _has_value(node: Node) -> bool:
    """Whether a tree, or each part of a container, has a value at some fixed point."""
    if node.kind in (
        "list",
        "tuple",
        "set",
        "bare",
        "interval",
        "union",
        "matrix",
        "equation",
        "relation",
        "dict",
        "ratio",
    ):
        return all(_has_value(part) for part in node.parts)
    if digits(node) is not None or infinity(node):  # a numeral with a base, its sign before it
        return True
    for point in range(POINTS):
        with contextlib.suppress(Undefined):
            Evaluation(point).value(with_sign(node, "±"))
            return True
    return False


def acceptance(problem: Problem, benchmark: str, rule: str) -> str:
    """Whether a rule can ever call an answer to this problem right.

    Returns:
        ``accepts`` where a completion that states the gold passes; ``judges`` where the gold's own text would pass, but
        no completion in ``STATED`` is read as it; ``never`` where not even that.
    """
    gold, options = problem.gold, problem.options
    texts = [form.format(gold) for form in STATED]
    known = benchmark_named(benchmark, options)
    if known.choice and (letter := gold_letter(gold, options)):
        texts += [f"The answer is ({letter})", f"The answer is {letter}"]
    for text in texts:
        read = read_answer(text, benchmark, rule, options)
        if read is not None and grade(read, gold, benchmark, rule, options).correct:
            return ACCEPTS
    return JUDGES if grade(gold_text(gold), gold, benchmark, rule, options).correct else NEVER


def acceptances(problem: Problem, benchmark: str) -> dict[str, str]:
    """`acceptance` under every rule."""
    return {rule: acceptance(problem, benchmark, rule) for rule in RULES}


def flags(problem: Problem, benchmark: str) -> Iterator[Finding]:
    """What is amiss with a gold that the question and its options alone show."""
    text, options = gold_text(problem.gold), bare_options(problem.options)
    known = benchmark_named(benchmark, options)
    if not text:
        yield Finding(problem.id, "empty")
        return
    if known.choice and gold_letter(problem.gold, options) is None:
        yield Finding(problem.id, "no option", f"{text[:40]} of {len(options or ())}")
    if options:
        letter = gold_letter(problem.gold, options)
        for first, second, how in alike(options):
            pair = LETTERS[first] + LETTERS[second]
            if letter and letter in pair:
                yield Finding(problem.id, "gold twice" if how == "text" else "gold in two forms", " = ".join(pair))
            elif how == "text":
                yield Finding(problem.id, "options alike", " = ".join(pair))
    elif not balanced(text):
        yield Finding(problem.id, "brackets", text[:60])
    if (cut := re.fullmatch(r"-?\d*\.(\d+)", text)) and len(cut[1]) >= MANY_PLACES:
        yield Finding(problem.id, "rounded", text[:40])
    if known.several and asks_for_several(problem.question) and not re.search(r",|\band\b", text):
        yield Finding(problem.id, "several asked", text[:40])
    if not _DRAWN.search(problem.instruction) and _REFERS.search(problem.question):
        yield Finding(problem.id, "figure")


def alike(options: Sequence[str]) -> list[tuple[int, int, str]]:
    """Pairs of options that are the same ``"text"``, or one ``"value"`` written in two forms.

    Values are compared for plain constants alone: in options with letters, commas or relations order and form are
    often the very point of the question.
    """
    found = []
    values = [_constant(option) for option in options]
    for first, one in enumerate(options):
        for second in range(first + 1, len(options)):
            if " ".join(one.split()) == " ".join(options[second].split()):
                found.append((first, second, "text"))
            elif None not in (values[first], values[second]) and _close(values[first], values[second]):
                found.append((first, second, "value"))
    return found


def _close(one: complex, other: complex) -> bool:
    return abs(one - other) <= 1e-12 * abs(one)


def _constant(option: str) -> Fraction | float | complex | None:
    """The value of an option that is a number without words, units, lists or relations; None for others."""
    if re.search(r"(?<![\\A-Za-z])[A-Za-z]|[,;=<>%:×*]", option):
        return None
    try:
        return constant(parse(notation.plain(option)))
    except (Unreadable, Undefined):
        return None


def balanced(text: str) -> bool:
    """Whether every bracket is closed; half-open intervals count as closed, escaped braces as braces."""
    open_braces = open_brackets = 0
    for character in re.sub(r"\\(?:left|right)\s*\.", "", text):
        open_braces += (character == "{") - (character == "}")
        open_brackets += (character in "([") - (character in ")]")
        if open_braces < 0 or open_brackets < 0:
            return False
    return not open_braces and not open_brackets


_DRAWN = re.compile(r"\[asy\]|\\begin\{(?:tabular|array|tikzpicture|center)\}|\|[^|\n]*\|[^|\n]*\|")
_REFERS = re.compile(
    r"\b(?:figure|graph(?! of)|diagram|picture|chart|scatterplot|circuit|image|drawing)\b[^.?]{0,40}"
    r"\b(?:above|below|shown)\b"
    r"|\b(?:above|below|shown)\b[^.?]{0,20}\b(?:figure|graph|diagram|chart|scatterplot|circuit)\b"
    r"|\bin the (?:figure|diagram|picture|image)\b|\bthe following (?:figure|diagram|picture)\b",
    re.I,
)
_ASKING = re.compile(r"[^.?!;]*\b(?:how|what|which|find|determine|calculate|give|name)\b[^.?!;]*[.?!;]?", re.I)
_SEVERAL = re.compile(
    r"\b(?:numbers|integers|values|ages|prices|costs|lengths|dimensions|angles|measures|speeds|rates)\b(?! of\b)"
    r"|\b(?:each|both|respectively)\b|\bhow (?:many|much)\b.*\b(?:and|or)\b.*\bhow (?:many|much)\b"
    r"|\b(?:find|what (?:is|are|was|were)) the\b[^,]*\band (?:the|one|an?)\b|\bhow many\b[^,]*\band (?:how many )?\w+",
    re.I,
)


def asks_for_several(question: str) -> bool:
    """Whether a question's wording asks for more than one value. A pattern, not a reader: it errs both ways."""
    asking = [part.strip() for part in _ASKING.findall(question.rsplit("\n", 1)[-1]) if part.strip()]
    return len(asking) > 1 or any(_SEVERAL.search(part) for part in asking[-1:])
