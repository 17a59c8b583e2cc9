"""Options: the letter that a text names, and the option that has a value."""

from __future__ import annotations

import re
from collections.abc import Sequence

from mammoth_utils.grading.corrected import equivalent
from mammoth_utils.rationale import LETTERS

Read = tuple[str, tuple[int, int]]
DEFAULT_OPTIONS = 5  # where the options are not known: AQuA has the most

_IN_BRACKETS = re.compile(r"[(\[{]\s*(?:\\(?:text|textbf|mathrm)\s*\{\s*)?\(?([A-Ja-j])\)?\s*\}?\s*[)\]}]")
_NAMED = re.compile(r"\b(?:option|choice|answer)\b\W{0,4}(?:is\b\W{0,4})?\(?([A-J])\b(?!\s*[a-z])", re.I)
_AT_START = re.compile(r"[\s*_$\\({\[\"'`]*(?:text\s*\{\s*\(?)?([A-J])(?![A-Za-z'’])(?=\s*(?:[)\].,:;}*$\"'`-]|$))")
_ALONE = re.compile(r"(?<![A-Za-z'’\\$_^])([B-J])(?![A-Za-z'’=+*/^_$])(?!\s*[-+=*/^]\s*\w)")


def _known(letter: str, options: Sequence[str] | None) -> bool:
    return LETTERS.index(letter.upper()) < (len(options) if options else DEFAULT_OPTIONS)


def letter_in(text: str, options: Sequence[str] | None = None) -> Read | None:
    """The letter that a clause names, and where; None if it names none.

    A letter counts in brackets (either case), at the clause's start before punctuation, or alone in upper case.
    The word "A" in front of another word is an article and never counts, nor does a letter inside a formula.
    """
    for pattern in (_AT_START, _IN_BRACKETS, _NAMED, _ALONE):
        for found in [pattern.match(text)] if pattern is _AT_START else pattern.finditer(text):
            if found and _known(found.group(1), options):
                return found.group(1).upper(), found.span(1)
    return None


def letter_read(found: Read, options: Sequence[str] | None) -> Read:
    """A read answer with its letter alone where it names one, as it is otherwise."""
    letter = letter_in(found[0], options) if len(found[0]) <= 200 else None
    return found if letter is None else (letter[0], found[1])


def untriggered(prose: str, start: int, end: int, options: Sequence[str] | None) -> Read | None:
    """The option that prose without a trigger settles on: named as one, or on the last line in brackets or alone."""
    named = [found for found in _NAMED.finditer(prose, start, end) if _known(found.group(1), options)]
    if named:
        return named[-1].group(1).upper(), named[-1].span(1)
    text = prose[start:end].rstrip()
    line = text.rfind("\n") + 1
    found = _AT_START.match(text, line)
    if found and _known(found.group(1), options):
        return found.group(1), (start + found.start(1), start + found.end(1))
    bracketed = [found for found in re.finditer(r"\(([A-J])\)", text[line:]) if _known(found.group(1), options)]
    if bracketed:
        at = start + line + bracketed[-1].start(1)
        return bracketed[-1].group(1), (at, at + 1)
    return None


def option_of(text: str, options: Sequence[str] | None) -> str | None:
    """The letter of the option that an answer means: the letter it is, or the one option that has its value."""
    alone = re.fullmatch(r"\s*[(\[]?\s*([A-Ja-j])\s*[)\].:]*\s*", text) or re.match(
        r"\s*\(\s*([A-Ja-j])\s*\)\s|\s*([A-J])[).:]\s", text
    )
    if alone and _known(alone.group(alone.lastindex), options):
        return (alone.group(alone.lastindex)).upper()
    if not options:
        return None
    matching = [at for at, option in enumerate(options) if equivalent(text, option)[0]]
    if len(matching) == 1:
        return LETTERS[matching[0]]
    return None
