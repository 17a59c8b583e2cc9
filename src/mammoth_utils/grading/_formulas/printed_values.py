"""What NumPy and SymPy print, in the notation that `notation` and `expressions` read.

NumPy leaves out the commas of an array, SymPy joins relations by ``&`` and ``|``. What is not one of these forms as a
whole comes back as it is.
"""

from __future__ import annotations

import re

_ARRAY = re.compile(r"\s*(?:array\(|matrix\()?\s*(\[[-+\d.eE\s\[\]]+\])\s*\)?\s*")
_GAP = re.compile(r"(?<=[\d.\]])\s+(?=[-+]?[\d.\[])")
_POLY = re.compile(r"\s*Poly\((.+?)(?:,\s*[A-Za-z]\w*)+(?:,\s*domain=[^()]*(?:\([^()]*\))?)?\)\s*")
_SETS = re.compile(r"\s*(?:S\.)?(EmptySet|Reals)(?:\(\))?\s*|\s*\\mathbb\s*\{?\s*(R)\s*\}?\s*")
_LOGIC = re.compile(r"[<>].*\)\s*[&|]\s*\(|^\s*(?:And|Or)\(.*[<>]", re.S)
_RELATION = re.compile(r"\s*([^<>=]+?)\s*(<=|>=|<|>)\s*([^<>=]+?)\s*")
_TURNED = {">": "<", ">=": "<="}
_LEVELS = 6


def in_our_notation(text: str) -> str:
    """The text with NumPy's arrays, SymPy's sets and joined relations written as mathematicians write them."""
    if (found := _ARRAY.fullmatch(text)) and _GAP.search(found[1]):
        return f"array({_GAP.sub(', ', found[1].strip())})"
    if found := _SETS.fullmatch(text):
        return r"\{\}" if found[1] == "EmptySet" else "(-oo, oo)"
    if found := _POLY.fullmatch(text):
        return found[1]
    if "\\" not in text and _LOGIC.search(text):
        return relations(text) or text
    return text


def relations(text: str) -> str | None:
    """``((-oo < x) & (x < -1)) | (x > 1)`` as ``x < -1 or x > 1``; None where it is anything else."""
    ranges = []
    for part in _split(text, "|", "Or"):
        bounds = [_RELATION.fullmatch(bound) for bound in _split(part, "&", "And")]
        if None in bounds:
            return None
        rising = [
            (found[3], _TURNED[found[2]], found[1]) if found[2] in _TURNED else found.groups() for found in bounds
        ]
        finite = [one for one in rising if one[0] != "-oo" and one[2] != "oo"] or rising[:1]
        if len(finite) == 2 and finite[1][2] == finite[0][0]:
            finite.reverse()  # (x < 3) & (-2 < x)
        if len(finite) == 2 and finite[0][2] == finite[1][0]:
            ranges.append(" ".join((*finite[0], *finite[1][1:])))
        elif len(finite) == 1:
            ranges.append(" ".join(finite[0]))
        else:
            return None
    return " or ".join(ranges)


def _split(text: str, sign: str, call: str, level: int = 0) -> list[str]:
    """The parts of a text that a sign joins outside all brackets, or the arguments of a call; brackets around go."""
    text = text.strip()
    if level > _LEVELS:
        return [text]
    parts = _outside(text, sign)
    if len(parts) > 1:
        return [one for part in parts for one in _split(part, sign, call, level + 1)]
    if text.startswith(f"{call}(") and _closes(text, len(call)) == len(text) - 1:
        arguments = _outside(text[len(call) + 1 : -1], ",")
        return [one for part in arguments for one in _split(part, sign, call, level + 1)]
    if text.startswith("(") and _closes(text, 0) == len(text) - 1:
        return _split(text[1:-1], sign, call, level + 1)
    return [text]


def _outside(text: str, sign: str) -> list[str]:
    parts, depth, start = [], 0, 0
    for at, character in enumerate(text):
        depth += (character in "([") - (character in ")]")
        if character == sign and not depth:
            parts.append(text[start:at])
            start = at + 1
    return [*parts, text[start:]]


def _closes(text: str, opening: int) -> int:
    """Where the bracket that opens at a position closes; -1 where it never does."""
    depth = 0
    for at in range(opening, len(text)):
        depth += (text[at] == "(") - (text[at] == ")")
        if not depth:
            return at
    return -1
