"""The number in a sentence that a question asks for, found by what its "How many ..." counts."""

from __future__ import annotations

import re
from collections.abc import Sequence
from itertools import takewhile

NEAR = 40  # characters before a number that may name a larger unit
QUESTION = 4000  # characters from the end of a question that are looked at
_HOW_MANY = re.compile(
    r"\bhow\s+(?:many|much)\s+(?P<by>more\s+|fewer\s+|less\s+)?(?:of\s+)?(?P<what>[^?.,!;:\n]{1,200})", re.I
)
# What is asked for ends where the verb begins, what is counted where a preposition does.
_VERBS = (
    "did do does is are was were will would can could should has have had must may might need needs there in on "
    "at to for from each per if when within after before during the a an he she they it you we i"
)
_ENDS = frozenset(_VERBS.split())
_HEAD_ENDS = frozenset([*_ENDS, "of", "with", "than", "and", "or", "more", "fewer", "less", "which", "that", "while"])
_PERCENTAGE = re.compile(r"\bwhat(?:\s+is\s+the)?\s+per\s?cent(?:age)?\b", re.I)
_PER_CENT = re.compile(r"\s*(?:\\%|per\s?cent)")
_COMPARISON = re.compile(r"\bhow\s+(?:many|much)\s+(?:more|fewer|less)\b[^?.]*\bthan\b[^?.]*\?", re.I)
_MORE_THAN = re.compile(r"\s*(?:more|fewer|less)\b[^,.;]{0,60}?\bthan\b", re.I)
_SO = re.compile(r"[,;]\s*(?:and\s+)?(?:so|therefore|thus|hence)\b[^.]*\d", re.I)
_MONEY = re.compile(
    r"\bhow\s+(?:much\s+money|many\s+dollars|much)\b[^?.]*?\b(?P<verb>cost|pay|earn|spend|make|charge|save|owe)\b"
    r"|\bhow\s+(?:much\s+money|many\s+dollars|much\b[^?.]*\bworth)\b",
    re.I,
)
_PAST = {"pay": "paid", "earn": "earned", "spend": "spent", "make": "made", "charge": "charged", "save": "saved"}
_LEFT = re.compile(r"\bhow\s+(?:many|much)\b(?:(?!so that|\bneed)[^?.])*\b(?:left|remain(?:s|ing)?)\b[^?.]*\?", re.I)
_IS_LEFT = re.compile(r"\s*(?:[A-Za-z]+\s+){0,3}?(?:left|remain)", re.I)
_OPERATOR = re.compile(r"\s*[-+*/×÷x=]")
_RATE = re.compile(r"\s*(?:dollars?\s+|miles?\s+)?(?:per|a|each|every)\s+([A-Za-z]+)", re.I)
_PART = re.compile(
    r"\d\s+(?:hours?|minutes?|feet|foot|days?|weeks?|years?|dollars?|pounds?)\s*(?:,\s*|\s+)(?:and\s+)?$", re.I
)
_WORD = re.compile(r"[A-Za-z][A-Za-z'’-]*")


def _stem(word: str) -> str:
    word = word.lower().replace("’", "'").removesuffix("'s")
    if word.endswith("ies") and len(word) > 4:
        return word[:-3] + "y"
    if re.search(r"(?:s|x|z|ch|sh)es$", word):
        return word[:-2]
    return word[:-1] if word.endswith("s") and not word.endswith("ss") else word


def asked_for(question: str | None) -> frozenset[str]:
    """Return the stems of what the last ``How many ...`` of a question counts; none where it asks otherwise.

    ``How many cakes did each eat?`` asks for cakes. One that names two things (``birds and storks``) asks for a sum,
    one that compares (``how many more than``) for a difference: no name in an answer points to these, and they give
    nothing.
    """
    phrases = list(_HOW_MANY.finditer((question or "")[-QUESTION:]))
    if not phrases or (phrases[-1]["by"] and re.search(r"\bthan\b", phrases[-1]["what"])):
        return frozenset()
    stems: list[str] = []
    for word in _WORD.findall(phrases[-1]["what"]):
        if word.lower() in _ENDS or word.lower() == "of":
            break
        if word.lower() in ("and", "or", "than"):
            return frozenset()
        stems.append(_stem(word))
    return frozenset(stems)


def counted(text: str, number: re.Match) -> frozenset[str]:
    """Return the stems of the words that a number counts: ``cake`` in ``15 cakes to each``."""
    following = re.compile(r"\s*(?:more |other |new |different )?((?:[A-Za-z][A-Za-z'’-]*[ ]?){1,5})")
    words = following.match(text, number.end())
    counts = takewhile(lambda word: word.lower() not in _HEAD_ENDS, _WORD.findall(words[1]) if words else [])
    return frozenset(map(_stem, counts))


def number_asked_for(text: str, numbers: Sequence[re.Match], question: str | None) -> re.Match | None:
    """Return the one number of a sentence that counts what a question asks for; None where none or several do.

    A question for a percentage asks for the number with a per cent sign, ``... per year?`` for the one ``per year``.
    Of ``2 hours and 15 minutes, or 135 minutes`` the 15 is a part.
    """
    ending = (question or "")[-QUESTION:]
    if _PERCENTAGE.search(ending):
        shares = [number for number in numbers if "%" in number.group() or _PER_CENT.match(text, number.end())]
        return shares[0] if len(shares) == 1 else None
    if asked := _MONEY.search(ending):
        past = _PAST.get((asked["verb"] or "").lower(), "")
        done = [number for number in numbers if past and re.search(rf"\b{past}\s+$", text[: number.start()])]
        if len(done) == 1 and not _OPERATOR.match(text, done[0].end()):
            return done[0]
        sums = [number for number in numbers if "$" in number.group()]
        if len(sums) == 1:
            return sums[0]
    if _COMPARISON.search(ending):
        compared = [number for number in numbers if _MORE_THAN.match(text, number.end())]
        return compared[0] if len(compared) == 1 and not _SO.search(text, compared[0].end()) else None
    stems = asked_for(question)
    if not stems:
        rates = list(_RATE.finditer(ending))
        unit = _stem(rates[-1][1]) if rates else ""
        following = [_RATE.match(text, number.end()) for number in numbers]
        at = [place for place, rate in enumerate(following) if rate and _stem(rate[1]) == unit]
        return numbers[at[0]] if len(at) == 1 else None
    numbers = [
        number for number in numbers if not _PART.search(text, max(0, number.start() - NEAR), number.start())
    ] or numbers
    if _LEFT.search(ending):
        left = [number for number in numbers if _IS_LEFT.match(text, number.end())]
        if len(left) == 1:
            return left[0]
    shared = [len(counted(text, number) & stems) for number in numbers]
    if not max(shared) or shared.count(max(shared)) != 1:
        return None
    chosen = numbers[shared.index(max(shared))]
    return None if _SO.search(text, chosen.end()) else chosen
