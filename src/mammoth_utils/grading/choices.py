"""Options: the letter that a text names, and the option that has a value."""

from __future__ import annotations

import re
from collections.abc import Sequence

from mammoth_utils.grading import notation
from mammoth_utils.grading.corrected import equivalent
from mammoth_utils.rationale import LETTERS

Read = tuple[str, tuple[int, int]]
DEFAULT_OPTIONS = 5  # where the options are not known: AQuA has the most

_IN_BRACKETS = re.compile(r"[(\[{]\s*(?:\\(?:text|textbf|mathrm)\s*\{\s*)?\(?([A-Ja-j])\)?\s*\}?\s*[)\]}]")
_NAMED = re.compile(r"\b(?:option|choice|answer)\b\W{0,4}(?:is\b\W{0,4})?\(?([A-J])\b(?!\s*[a-z])", re.I)
_AT_START = re.compile(r"[\s*_$\\({\[\"'`]*(?:text\s*\{\s*\(?)?([A-J])(?![A-Za-z'’])(?=\s*(?:[)\].,:;}*$\"'`-]|$))")
_LETTER = re.compile(r"(?:(?:option|choice|answer)\s*)?[(\[]?\s*([A-Ja-j])\s*[)\].:]*\s*", re.I)
_LETTER_AND_TEXT = re.compile(r"\s*\(\s*([A-Ja-j])\s*\)\s|\s*([A-J])[).:]\s")
_LETTER_GLUED = re.compile(r"\(?([A-J])[).:](?=\S)")
_PLAIN_NUMBER = re.compile(r"[-+]?[\d.,]+")
_REMARK = re.compile(r"(.*\S)\s+\([^()]*\)\s*", re.S)
CLAUSE = 200
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
    """The letter of the option that an answer means: the letter it is, the one option that has its text or its value.

    A letter may have its option's text beside it (``B) 42 %``). A remark in brackets behind a value (``20.0% (24)``)
    counts only where the whole is no option's value.
    """
    bare = notation.plain(text) if len(text) <= CLAUSE else text
    alone = _LETTER.fullmatch(bare) or _LETTER_AND_TEXT.match(bare)
    if alone and _known(alone.group(alone.lastindex), options):
        return alone.group(alone.lastindex).upper()
    if not options:
        return None
    glued = _LETTER_GLUED.match(bare)
    if (
        glued
        and _known(glued.group(1), options)
        and equivalent(bare[glued.end() :], options[LETTERS.index(glued[1])])[0]
    ):
        return glued.group(1)
    written = " ".join(text.split())
    same = [at for at, option in enumerate(options) if " ".join(option.split()) == written]
    if same and not _PLAIN_NUMBER.fullmatch(written):  # "5" and "5.0" are one number, whichever is written
        return LETTERS[same[0]]
    remark = _REMARK.fullmatch(text) if len(text) <= CLAUSE else None
    for value in (text, remark.group(1)) if remark else (text,):
        matching = [at for at, option in enumerate(options) if equivalent(value, option)[0]]
        if matching and len({options[at] for at in matching}) == 1:
            return LETTERS[matching[0]]
    return None


def same_option(chosen: str, gold: str, options: Sequence[str] | None) -> bool:
    """Whether two letters name one option: the same letter, or options of the same text, as a few of AQuA's are."""
    if chosen == gold or not options:
        return chosen == gold
    texts = [options[at] if (at := LETTERS.index(letter)) < len(options) else None for letter in (chosen, gold)]
    return None not in texts and texts[0] == texts[1]
