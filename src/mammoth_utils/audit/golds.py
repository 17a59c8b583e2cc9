"""Checks of reference answers: their kind, whether a rule can accept them, and which ones look faulty."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import combinations

from mammoth_utils.grading import (
    FORMULA_KINDS,
    bare_options,
    benchmark_named,
    constant_value,
    formula_kind,
    gold_letter,
    gold_text,
    grade,
    is_matched_as_text_only,
    read_answer,
)
from mammoth_utils.rationale import LETTERS, Problem
from mammoth_utils.vocabulary import RULES, check_known

KINDS = ("option", *FORMULA_KINDS, "empty")
# Sentences in which a completion may state a gold. A rule that misses it in all of them never gives the point.
STATEMENTS = ("The answer is {}.", "The answer is {}", "\\boxed{{{}}}", "#### {}", "{}")
ACCEPTS, JUDGES, NEVER = "accepts", "judges", "never"
MANY_PLACES = 6
SEVERITIES = ("wrong", "malformed", "ambiguous")

# Flag: its severity and its description.
FLAGS: dict[str, tuple[str, str]] = {
    "empty": ("malformed", "the gold is empty"),
    "no option": ("malformed", "the gold names none of the question's options"),
    "brackets": ("malformed", "the brackets of the gold are unbalanced"),
    "options alike": ("malformed", "two options have the same text, and the gold is another option"),
    "gold twice": ("ambiguous", "two options have the same text, and the gold is one of them"),
    "gold in two forms": ("ambiguous", "another option has the gold's value, written differently"),
    "rounded": ("ambiguous", f"the gold is a decimal of {MANY_PLACES} places or more, cut off"),
    "several asked": ("ambiguous", "the question asks for several values, and the gold holds one"),
    "several boxes": ("ambiguous", "the solution boxes several values, and the gold is the last"),
    "figure": ("ambiguous", "the question refers to a picture that the file does not contain"),
    "own working": ("wrong", "the solution or equation in the same row gives another value"),
    "step": ("wrong", "a step of the solution in the same row is false arithmetic"),
    "other gold": ("ambiguous", "the same question stands elsewhere in the benchmark with another gold"),
}


@dataclass(frozen=True)
class Finding:
    """A possible fault of one problem's gold.

    Attributes:
        problem: The problem's id.
        flag: A key of ``FLAGS``.
        detail: The values at issue; never the question's text.
    """

    problem: str
    flag: str
    detail: str = ""

    def __post_init__(self) -> None:
        check_known("flag", self.flag, tuple(FLAGS))


def gold_kind(problem: Problem, benchmark: str) -> str:
    """Return the kind of a gold, one of ``KINDS``, as the parser of the corrected rule sees it."""
    text = gold_text(problem.gold)
    if not text:
        return "empty"
    known = benchmark_named(benchmark, problem.options)
    lettered = re.fullmatch(r"\(?[A-J]\)?", text, re.I) if known.letters_too or benchmark == "theoremqa" else None
    if known.choice or (lettered and (problem.options or text.startswith("("))):
        return "option"
    return formula_kind(text)


def gold_matches_as_text_only(problem: Problem, benchmark: str) -> bool:
    """Return whether the corrected rule accepts a gold only where an answer repeats it letter by letter."""
    return gold_kind(problem, benchmark) not in ("option", "empty") and is_matched_as_text_only(gold_text(problem.gold))


def acceptance(problem: Problem, benchmark: str) -> dict[str, str]:
    """Return by rule whether it can ever give a point for this problem.

    ``accepts``: a completion that states the gold passes. ``judges``: the gold's own text would pass, but no completion
    in ``STATEMENTS`` is read as that text. ``never``: not even the gold's own text passes.
    """
    gold, options = problem.gold, problem.options
    completions = [statement.format(gold) for statement in STATEMENTS]
    if benchmark_named(benchmark, options).choice and (letter := gold_letter(gold, options)):
        completions += [f"The answer is ({letter})", f"The answer is {letter}"]
    statuses = {}
    for rule in RULES:
        answers = (read_answer(completion, benchmark, rule, options) for completion in completions)
        if any(answer is not None and grade(answer, gold, benchmark, rule, options).correct for answer in answers):
            statuses[rule] = ACCEPTS
        else:
            statuses[rule] = JUDGES if grade(gold_text(gold), gold, benchmark, rule, options).correct else NEVER
    return statuses


def check_gold(problem: Problem, benchmark: str) -> Iterator[Finding]:
    """Yield the faults of a gold that its question and options alone show."""
    text, options = gold_text(problem.gold), bare_options(problem.options)
    known = benchmark_named(benchmark, options)
    if not text:
        yield Finding(problem.id, "empty")
        return
    letter = gold_letter(problem.gold, options)
    if known.choice and letter is None:
        yield Finding(problem.id, "no option", f"{text[:40]} of {len(options or ())}")
    if options:
        for first, second, equality in equal_options(options):
            pair = LETTERS[first] + LETTERS[second]
            if letter and letter in pair:
                flag = "gold twice" if equality == "text" else "gold in two forms"
                yield Finding(problem.id, flag, " = ".join(pair))
            elif equality == "text":
                yield Finding(problem.id, "options alike", " = ".join(pair))
    elif not has_balanced_brackets(text):
        yield Finding(problem.id, "brackets", text[:60])
    if (decimal := re.fullmatch(r"-?\d*\.(\d+)", text)) and len(decimal[1]) >= MANY_PLACES:
        yield Finding(problem.id, "rounded", text[:40])
    if known.several and asks_for_several_values(problem.question) and not re.search(r",|\band\b", text):
        yield Finding(problem.id, "several asked", text[:40])
    if not _DRAWN.search(problem.instruction) and _REFERS_TO_FIGURE.search(problem.question):
        yield Finding(problem.id, "figure")


def equal_options(options: Sequence[str]) -> list[tuple[int, int, str]]:
    """Return the pairs of options that are the same ``"text"``, or the same ``"value"`` in two forms.

    Values are compared for plain constants alone: where options hold letters, commas or relations, order and form are
    often the point of the question.
    """
    pairs = []
    values = [None if _NOT_CONSTANT.search(option) else constant_value(option) for option in options]
    for (first, one), (second, other) in combinations(enumerate(values), 2):
        if options[first].split() == options[second].split():
            pairs.append((first, second, "text"))
        elif None not in (one, other) and abs(one - other) <= 1e-12 * abs(one):
            pairs.append((first, second, "value"))
    return pairs


def has_balanced_brackets(text: str) -> bool:
    """Return whether every bracket is closed; half-open intervals count as closed, escaped braces as braces."""
    open_braces = open_brackets = 0
    for character in re.sub(r"\\(?:left|right)\s*\.", "", text):
        open_braces += (character == "{") - (character == "}")
        open_brackets += (character in "([") - (character in ")]")
        if open_braces < 0 or open_brackets < 0:
            return False
    return not open_braces and not open_brackets


_NOT_CONSTANT = re.compile(r"(?<![\\A-Za-z])[A-Za-z]|[,;=<>%:×*]")
_DRAWN = re.compile(r"\[asy\]|\\begin\{(?:tabular|array|tikzpicture|center)\}|\|[^|\n]*\|[^|\n]*\|")
_REFERS_TO_FIGURE = re.compile(
    r"\b(?:figure|graph(?! of)|diagram|picture|chart|scatterplot|circuit|image|drawing)\b[^.?]{0,40}"
    r"\b(?:above|below|shown)\b"
    r"|\b(?:above|below|shown)\b[^.?]{0,20}\b(?:figure|graph|diagram|chart|scatterplot|circuit)\b"
    r"|\bin the (?:figure|diagram|picture|image)\b|\bthe following (?:figure|diagram|picture)\b",
    re.I,
)
_QUESTION_CLAUSE = re.compile(r"[^.?!;]*\b(?:how|what|which|find|determine|calculate|give|name)\b[^.?!;]*[.?!;]?", re.I)
_SEVERAL_VALUES = re.compile(
    r"\b(?:numbers|integers|values|ages|prices|costs|lengths|dimensions|angles|measures|speeds|rates)\b(?! of\b)"
    r"|\b(?:each|both|respectively)\b|\bhow (?:many|much)\b.*\b(?:and|or)\b.*\bhow (?:many|much)\b"
    r"|\b(?:find|what (?:is|are|was|were)) the\b[^,]*\band (?:the|one|an?)\b|\bhow many\b[^,]*\band (?:how many )?\w+",
    re.I,
)


def asks_for_several_values(question: str) -> bool:
    """Return whether the wording asks for more than one value; a pattern decides, which errs both ways."""
    last_line = question.rsplit("\n", 1)[-1]
    clauses = [clause.strip() for clause in _QUESTION_CLAUSE.findall(last_line) if clause.strip()]
    return len(clauses) > 1 or any(_SEVERAL_VALUES.search(clause) for clause in clauses[-1:])
