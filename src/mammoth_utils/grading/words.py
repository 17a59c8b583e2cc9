"""Answers in words: yes and no, months and days, numbers spelled out, plain text."""

from __future__ import annotations

import re

_NUMBERS = (
    "zero one two three four five six seven eight nine ten eleven twelve thirteen fourteen fifteen sixteen seventeen "
    "eighteen nineteen twenty"
)
_DATES = (
    "january february march april may june july august september october november december monday tuesday wednesday "
    "thursday friday saturday sunday"
)
SPOKEN = {word: number for number, word in enumerate(_NUMBERS.split())}
_SAME_WORDS = {"yes": "true", "no": "false", "correct": "true", "incorrect": "false", "right": "true", "wrong": "false",
               "noon": "12 pm"}  # fmt: skip
_CALENDAR = {name: name for name in _DATES.split()} | {name[:3]: name for name in _DATES.split()}
_CALENDAR |= {"sept": "september", "tues": "tuesday", "thurs": "thursday", "thur": "thursday"}
_BOOLEANS = ("true", "false")
_WORDY = re.compile(r"[A-Za-z][A-Za-z\s.,'’\-]*")


def wordy(text: str) -> str | None:
    """A text of words in one spelling, months and days in full, yes as true; None for what may be a formula."""
    if not _WORDY.fullmatch(text) or len(text) > 200:
        return None
    plain = re.sub(r"[.,'’\-]", " ", text.lower()).split()
    plain = [word for word in plain if word not in ("the", "a", "an")] or plain
    if not plain:
        return None
    if len(plain) == 1 and plain[0] in _BOOLEANS:
        return plain[0]
    if len(plain) == 1 and (plain[0] in _SAME_WORDS or plain[0] in _CALENDAR):
        return _SAME_WORDS.get(plain[0]) or _CALENDAR[plain[0]]
    if max(len(word) for word in plain) < 4 or "pi" in plain or "sqrt" in plain:
        return None
    return " ".join(_CALENDAR.get(word, word) for word in plain)
