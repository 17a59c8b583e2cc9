"""The text of a question as it is compared with other questions.

Two questions are *equal* if only case, spaces, commas and other punctuation tell them apart. Signs, digits and decimal
points are kept, or "tan 225" would equal "tan 22.5" and "$.5" would equal "$5". They are *near* if they hold the same
numbers in the same order and at least seven tenths of their runs of three words, in the measure of Jaccard.
"""

from __future__ import annotations

import re
import unicodedata

from mammoth_utils.rationale import Problem

SHINGLE = 3  # words in a run
SIMILARITY = 0.7  # Jaccard similarity of runs from which two texts are near duplicates
SHORT_QUESTION = 8  # a question of fewer words ("Which of these is true?") is compared together with its options
_TOKEN = re.compile(r"\d+(?:\.\d+)?|[^\W\d_]+|[-+*/^=<>%°√!|]")
_THOUSANDS = re.compile(r"(?<=\d),(?=\d{3}(?!\d))")
_BARE = re.compile(r"(?<![\w.])\.(?=\d)")  # the point of ".5", which is 0.5; that of "p.5" or "...5" is none
_DEGREES = re.compile(r"\^\s*\{?\s*\\circ(?![A-Za-z])\s*\}?")
_SIGNS = (("−", "-"), ("–", "-"), ("‒", "-"), ("‐", "-"), ("×", "*"), ("÷", "/"))
_OPTIONS = "\nAnswer Choices:"


def question_tokens(text: str) -> list[str]:
    """Return the lower-case words, numbers and signs of a text, in order; a dash is a minus, and ``.5`` is ``0.5``."""
    plain = unicodedata.normalize("NFKC", _DEGREES.sub("°", text) if "circ" in text else text).lower()
    for sign, ours in _SIGNS:
        plain = plain.replace(sign, ours)
    return _TOKEN.findall(_BARE.sub("0.", _THOUSANDS.sub("", plain)))


def question_stem(problem: Problem) -> str:
    """Return a problem's question, without its options unless it is too short to be compared alone."""
    question = problem.question.split(_OPTIONS)[0]
    return question if len(question_tokens(question)) >= SHORT_QUESTION else problem.instruction
