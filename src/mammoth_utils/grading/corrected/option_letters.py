"""Options: the letter that a text names, and the option that has a value."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence

from mammoth_utils.grading._formulas import notation
from mammoth_utils.grading.corrected.equality import equivalent
from mammoth_utils.rationale import LETTERS

Read = tuple[str, tuple[int, int]]
DEFAULT_OPTIONS = 5  # where the options are not known: AQuA has the most

_IN_BRACKETS = re.compile(r"[(\[{<]\s*(?:\\(?:text|textbf|mathrm)\s*\{\s*)?\(?([A-Za-z])\)?\s*\}?\s*[)\]}>]")
_NAMED = re.compile(r"\b(?:option|choice|answer)\b\W{0,4}(?:is\b\W{0,4})?\(?([A-Z])\b(?!\s*[a-z])", re.I)
_AT_START = re.compile(
    r"[\s*_$\\({\[\"'`]*(?:text\s*\{\s*\(?)?([A-Z])(?![A-Za-z'’])"
    r"(?=\s*(?:[)\].,:;}*$\"'`-]|$)|\s+(?:\(|(?:because|since|as|so|which|where|when|due|by|and|or|but)\b))"
)
# "B is the correct answer", "I choose B": the letter A counts as the others do
_STATED = re.compile(
    r"(?<!tatement )(?<![A-Za-z'’\\$_^])([A-Z])\b\)?\s+(?:is|must be|should be|would be)\s+"
    r"(?:(?:the|thus|therefore|clearly)\s+)*"
    r"(?:correct\b(?=\s*(?:[.,;!*]|$))|(?:(?:correct|right|best|closest|only)\s+)*(?:answer|option|choice)\b)"
    r"|\b(?:I|[Ww]e)(?:\s+would|\s+will|['’]d|\s+therefore)?\s+(?:choose|pick|select|chose|go\s+with)\s+"
    r"(?:the\s+)?(?:(?:option|choice|answer)\s+)?\(?([A-Z])\b(?!\s*[a-z=+*/^])"
    r"|\b(?:it|this|answer)\s+(?:must|has\s+to|should)\s+be\s+(?:(?:option|choice)\s+)?\(?([A-Z])\b(?!\s*[a-z=+*/^])"
    r"|\b(?:leaving|leaves)\s+(?:us\s+with\s+)?(?:only\s+)?(?:(?:option|choice|answer)\s+)?\(?([A-Z])\b(?!\s*[a-z=+*/^])"
)
_DENIED = re.compile(
    r"(?:\b(?:not|neither|nor|cannot|rather\s+than|instead\s+of|rul(?:es|ed|ing)\s+out|eliminat(?:es|ed|ing)|exclud(?:es|ed|ing))|n['’]t)\s+(?:be\s+)?(?:either\s+)?(?:the\s+)?"
    r"(?:(?:option|choice|answer)\s+)?[\s(\[{$*\\\"'`]*$",
    re.I,
)
_JOINT = r"[)\]}$*\"'`]*\s*(?:,\s*(?:or|and)?|/|&|\b(?:or|and|nor)\b)\s*(?:(?:option|choice)\s+)?[(\[{$*\"'`]*"
_JOINED_AFTER = re.compile(_JOINT + r"(?:([B-Z])|(A)(?!\s+[a-z]))(?![A-Za-z'’_^])(?!\s*[-+=*/^]\s*\w)")
_JOINED_BEFORE = re.compile(rf"(?<![A-Za-z'’])([A-Z]){_JOINT}$")
_LETTER = re.compile(r"(?:(?:option|choice|answer)\s*)?[(\[]?\s*([A-Za-z])\s*[)\].:]*\s*", re.I)
_LETTER_AND_TEXT = re.compile(r"\s*\(\s*([A-Za-z])\s*\)\s|\s*([A-Z])[).:]\s")
_LETTER_GLUED = re.compile(r"\(?([A-Z])[).:](?=\S)")
_LINE_ALONE = re.compile(r"[\s*(]*([A-Z])[)*.:\s]*\n")
_LETTER_IN_BOLD = re.compile(r"\*\*([A-Z])\*\*")
_LETTER_IN_ROUND = re.compile(r"\(([A-Z])\)")
_PLAIN_NUMBER = re.compile(r"[-+]?[\d.,]+")
_REMARK = re.compile(r"(.*\S)\s+\([^()]*\)\s*", re.S)
CLAUSE = 200
_ALONE = re.compile(r"(?<![A-Za-z'’\\$_^])([B-Z])(?![A-Za-z'’=+*/^_$])(?!\s*[-+=*/^]\s*\w)")


def _known(letter: str, options: Sequence[str] | None) -> bool:
    return LETTERS.index(letter.upper()) < (len(options) if options else DEFAULT_OPTIONS)


def letter_in(text: str, options: Sequence[str] | None) -> Read | None:
    """Return the letter that a clause chooses, and where; None if it names none, denies it, or leaves several.

    A letter counts in brackets (either case), at the clause's start before punctuation or a reason, or alone in upper
    case. The word "A" in front of another word is an article and never counts, nor does a letter inside a formula.
    """
    for mention in _mentions(text, options):
        span = mention.span(mention.lastindex)
        if not _denied(text, span[0]):
            return None if _joined(text, span, options) else (text[slice(*span)].upper(), span)
    return None


def undecided(text: str, options: Sequence[str] | None) -> bool:
    """Return whether a clause names letters and chooses none: ``not B``, ``B or C``; an option's text may."""
    named = next(_mentions(text, options), None) is not None and letter_in(text, options) is None
    return named and not (options and option_of(text.strip(" .*"), options))


def _mentions(text: str, options: Sequence[str] | None) -> Iterator[re.Match]:
    """Yield where a clause names options that there are, the surest forms first."""
    for pattern in (_AT_START, _IN_BRACKETS, _STATED, _NAMED, _ALONE):
        for mention in [pattern.match(text)] if pattern is _AT_START else pattern.finditer(text):
            if mention and _known(mention.group(mention.lastindex), options) and not _is_pronoun(text, mention):
                yield mention


def _is_pronoun(text: str, mention: re.Match) -> bool:
    """Return whether a letter is the "I" of a sentence, where there are nine options and more."""
    return mention[mention.lastindex] == "I" and bool(re.match(r"['’]|\s+[a-z]", text[mention.end() :]))


def _denied(text: str, at: int) -> bool:
    """Return whether the words before a letter, or before one that it is joined to, deny it."""
    before = text[max(0, at - CLAUSE) : at]
    while joined := _JOINED_BEFORE.search(before):
        before = before[: joined.start(1)]
    return _DENIED.search(before) is not None


def _joined(text: str, span: tuple[int, int], options: Sequence[str] | None) -> bool:
    """Return whether another option stands beside a letter: ``B or C``, ``A, B and C``."""
    beside = (_JOINED_AFTER.match(text, span[1]), _JOINED_BEFORE.search(text[max(0, span[0] - 40) : span[0]]))
    letters = [match.group(match.lastindex) for match in beside if match]
    return any(_known(other, options) and other != text[slice(*span)].upper() for other in letters)


def letter_read(read: Read, options: Sequence[str] | None) -> Read:
    """Return a read answer as its letter alone where it names one, otherwise as it is."""
    letter = letter_in(read[0], options) if len(read[0]) <= 200 else None
    return read if letter is None else (letter[0], read[1])


def untriggered(prose: str, start: int, end: int, options: Sequence[str] | None) -> Read | None:
    """Return the option that prose without a trigger names, or that stands on its last line in brackets or alone."""
    text = prose[start:end].rstrip()

    def chosen(patterns: Sequence[re.Pattern], at: int) -> list[tuple[int, int]]:
        spans = [match.span(match.lastindex) for pattern in patterns for match in pattern.finditer(text, at)]
        return [
            span
            for span in sorted(spans)
            if _known(text[slice(*span)], options) and not _denied(text, span[0]) and not _joined(text, span, options)
        ]

    line = text.rfind("\n") + 1
    spans = chosen((_NAMED, _STATED), 0)
    if not spans and (opening := _AT_START.match(text, line)) and letter_in(text[line:], options) is not None:
        spans = [opening.span(1)] if _known(opening.group(1), options) else []
    spans = spans or chosen((_LETTER_IN_ROUND, _LETTER_IN_BOLD), line)
    if not spans and (alone := _LINE_ALONE.match(text)) and _known(alone[1], options):
        spans = [alone.span(1)]  # the letter stands first, an explanation behind it
    if not spans:
        return None
    left, right = spans[-1]
    return text[left:right].upper(), (start + left, start + right)


def option_of(text: str, options: Sequence[str] | None) -> str | None:
    """Return the letter of the option that an answer means: by its letter, its text or its value.

    A letter may have its option's text beside it (``B) 42 %``). A remark in brackets behind a value (``20.0% (24)``)
    counts only where the whole is no option's value.
    """
    bare = notation.plain(text.replace("**", "")) if len(text) <= CLAUSE else text
    alone = _LETTER.fullmatch(bare) or _LETTER_AND_TEXT.match(bare)
    if alone and _known(alone.group(alone.lastindex), options):
        return alone.group(alone.lastindex).upper()
    if not options:
        return None
    if (glued := _LETTER_GLUED.match(bare)) and _known(glued[1], options):
        option = options[LETTERS.index(glued[1])]
        if equivalent(bare[glued.end() :], option)[0]:
            return glued[1]
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
    """Return whether two letters name one option; a few of AQuA's options have the same text."""
    if chosen == gold or not options:
        return chosen == gold
    texts = [options[at] if (at := LETTERS.index(letter)) < len(options) else None for letter in (chosen, gold)]
    return None not in texts and texts[0] == texts[1]
