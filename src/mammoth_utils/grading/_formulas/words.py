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
_TENS = {"twenty": 20, "thirty": 30, "forty": 40, "fifty": 50, "sixty": 60, "seventy": 70, "eighty": 80, "ninety": 90}
_SCALES = {"hundred": 100, "thousand": 1000, "million": 10**6}
_DENOMINATORS = {"third": 3, "fourth": 4, "fifth": 5, "sixth": 6, "seventh": 7, "eighth": 8, "ninth": 9, "tenth": 10,
                 "twelfth": 12, "twentieth": 20, "hundredth": 100, "thousandth": 1000, "millionth": 10**6}  # fmt: skip
PARTS = _DENOMINATORS | {f"{name}s": below for name, below in _DENOMINATORS.items()} | {"halves": 2}
_PARTS = PARTS | {"half": 2, "quarter": 4, "quarters": 4}  # "3 quarters" in digits are coins, "three quarters" 3/4
_CALENDAR = {name: name for name in _DATES.split()} | {name[:3]: name for name in _DATES.split()}
_CALENDAR |= {"sept": "september", "tues": "tuesday", "thurs": "thursday", "thur": "thursday"}
_ONE_WORD = _CALENDAR | {
    **dict.fromkeys(("true", "yes", "correct", "right"), "true"),
    **dict.fromkeys(("false", "no", "incorrect", "wrong"), "false"),
    "noon": "12 pm",
}
_SHORT_WORDS = frozenset(("odd", "all"))  # words, not products of three letters
_STARTS = re.compile(rf"\s*(?:a|an|hundred|{'|'.join([*SPOKEN, *_TENS])})\b", re.I)
_BLOCK = re.compile(
    r"(?:\\boxed)?\{?\s*\\(?:text|textbf|textit|textrm|mbox|mathrm|mathbf)\s*\{\s*([A-Za-z]{2,})\s*\}[\s.]*\}?"
)
_DRESS = re.compile(r"\$|\\[()\[\],;:!]|\\displaystyle(?![A-Za-z])|\*\*")
DATE = "date"
_DATE = re.compile(r"(\d{4})-(\d{1,2})-(\d{1,2})")
_DAY = re.compile(
    r"(\d{1,2})\s+(?:of\s+)?([A-Za-z]{3,9})\.?(?:,?\s+(\d{4}))?|([A-Za-z]{3,9})\.?\s+(\d{1,2})(?:,?\s+(\d{4}))?"
)
_MONTHS = frozenset(_DATES.split()[:12])
_TIME = re.compile(r"(\d{1,2}):(\d\d)\s*([ap]m)?")
_WORDY = re.compile(r"[A-Za-z][A-Za-z\s.,'’\-]*")


def spoken(text: str) -> str | None:
    """Return a number in words as digits (``twenty-five``, ``two thirds``); None for others."""
    words = text.lower().replace("-", " ").split() if len(text) <= 80 else []
    if not words or not all(word.isalpha() for word in words):
        return None
    below = 1
    if len(words) > 1 and words[-1] in _PARTS:
        below, words = _PARTS[words[-1]], words[:-1]
    total, current, last = 0, 0, ""
    for at, word in enumerate(words):
        if word in ("a", "an") and at == 0 and (len(words) > 1 or below > 1):
            current = 1
        elif word in SPOKEN and (
            last in ("", "hundred", "thousand", "million", "and") or (last in _TENS and 0 < SPOKEN[word] < 10)
        ):
            current += SPOKEN[word]
        elif word in _TENS and last in ("", "hundred", "thousand", "million", "and"):
            current += _TENS[word]
        elif word in _SCALES and current:
            total, current = (total, current * 100) if word == "hundred" else (total + current * _SCALES[word], 0)
        elif not (word == "and" and last in _SCALES and at < len(words) - 1):
            return None
        last = word
    return str(total + current) if below == 1 else f"{total + current}/{below}"


def leading_number(text: str) -> tuple[str, int] | None:
    """Return the number in words that a text starts with, as digits, and where it ends; None without one.

    ``twenty-five dollars`` is 25 up to the space; of ``one of them`` nothing is a number.
    """
    if not _STARTS.match(text):
        return None
    words = list(re.finditer(r"[A-Za-z]+", text[:120]))
    for word in reversed(words[:10]):
        digits = spoken(text[: word.end()])
        if digits is not None and not re.match(
            r"\s+(?:of|or|to|and|times|more|less|fewer)\b", text[word.end() :], re.I
        ):
            return digits, word.end()
    return None


def stamp(text: str) -> tuple[str, ...] | None:
    """Return the parts of a date (``2020-01-01``) or of a time with minutes (``2:30``, ``4:30 pm``), else None.

    Two of them are compared part by part: no date is a subtraction, and no two times are one ratio.
    """
    if match := _DATE.fullmatch(text):
        return (DATE, *(str(int(part)) for part in match.groups()))
    if (match := _DAY.fullmatch(text)) and (month := _CALENDAR.get((match[2] or match[4]).lower())) in _MONTHS:
        return (DATE, month, str(int(match[1] or match[5])), *([match[3] or match[6]] if match[3] or match[6] else []))
    match = _TIME.fullmatch(text)
    if match and int(match[1]) <= 24 and int(match[2]) < 60:
        return ("time", str(int(match[1])), match[2], match[3] or "")
    return None


def block(gold: str) -> str | None:
    """Return the letters of a gold that is a text of letters, ``\\text{VW}``: no product, so their order counts."""
    match = _BLOCK.fullmatch(_DRESS.sub("", gold).strip(" \n.")) if "{" in gold else None
    return match.group(1) if match else None


def same_block(answer: str, letters: str) -> bool:
    """Return whether an answer has these letters in this order, whatever separates them."""
    return re.sub(r"\b(?:and|or)\b|[\s,;&.]", "", answer).lower() == letters.lower()


def wordy(text: str) -> str | None:
    """Return words in one spelling, months and days in full, yes as true; None for what may be a formula."""
    if not _WORDY.fullmatch(text) or len(text) > 200:
        return None
    plain = re.sub(r"^(?:it|that|this) (?:is|was) ", "", re.sub(r"[.,'’\-]", " ", text.lower())).split()
    plain = [word for word in plain if word not in ("the", "a", "an")] or plain
    if len(plain) > 1 and plain[-1] == "function":  # an odd function
        plain = plain[:-1]
    if len(plain) == 2 and plain[0] in ("in", "on", "during") and plain[1] in _CALENDAR:
        plain = plain[1:]
    if len(plain) == 1 and plain[0] in _ONE_WORD:
        return _ONE_WORD[plain[0]]
    if (max(len(word) for word in plain) < 4 and not _SHORT_WORDS & set(plain)) or "pi" in plain or "sqrt" in plain:
        return None
    return " ".join(_CALENDAR.get(word, word) for word in plain)
