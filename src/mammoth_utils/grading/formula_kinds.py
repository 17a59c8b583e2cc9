"""The kind and the value of a formula, as the corrected rule's parser sees it."""

from __future__ import annotations

import contextlib
import re
from fractions import Fraction

from mammoth_utils.grading._formulas.answer_forms import CONTAINERS, digits, infinity, with_sign
from mammoth_utils.grading._formulas.formula_values import POINTS, Evaluation, Undefined, constant, symbols
from mammoth_utils.grading._formulas.notation import joined_thousands, plain
from mammoth_utils.grading._formulas.parser import Node, Unreadable, parse
from mammoth_utils.grading._formulas.units import without_unit
from mammoth_utils.grading._formulas.words import block, wordy

_KIND_OF_NODE = {
    "percent": "per cent", "base": "numeral with a base", "equation": "equation or relation",
    "relation": "equation or relation", "interval": "interval", "union": "interval", "difference": "interval",
    "matrix": "matrix",
    **dict.fromkeys(("list", "tuple", "set", "bare", "dict", "pm"), "list, tuple or set"),
}  # fmt: skip
FORMULA_KINDS = (
    "integer", "decimal", "fraction", "radical or constant", "quantity with a unit", "expression",
    *dict.fromkeys(_KIND_OF_NODE.values()), "truth value", "words", "text",
)  # fmt: skip


def formula_kind(text: str) -> str:
    """Return what a text is to the corrected rule, one of ``FORMULA_KINDS``; ``text`` where it cannot be parsed."""
    tidy = joined_thousands(plain(text))
    if (word := wordy(tidy)) is not None:
        return "truth value" if word in ("true", "false") else "words"
    number, unit = without_unit(tidy)
    try:
        node = parse(number)
    except Unreadable:
        return "text"
    if unit:
        return "quantity with a unit"
    if node.kind == "ratio" and len(node.parts) > 2:
        return _KIND_OF_NODE["list"]
    if node.kind == "neg" and node.parts[0].kind == "base":
        return _KIND_OF_NODE["base"]
    if node.kind in _KIND_OF_NODE:
        return _KIND_OF_NODE[node.kind]
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


def constant_value(text: str) -> Fraction | float | complex | None:
    """Return the value of an arithmetic text, exact where it is rational; None for anything else."""
    try:
        return constant(parse(joined_thousands(plain(text))))
    except (Unreadable, Undefined):
        return None


def is_matched_as_text_only(text: str) -> bool:
    """Return whether the corrected rule accepts a gold only letter by letter: it is no word, and has no value."""
    kind = formula_kind(text)
    if kind in ("truth value", "words", "text"):
        return kind == "text" and block(text) is None
    number, _ = without_unit(joined_thousands(plain(text)))
    return not _has_value(parse(number))


def _has_value(node: Node) -> bool:
    """Return whether a tree, or each part of a container, has a value at some fixed point."""
    if node.kind in CONTAINERS or node.kind in ("equation", "relation", "ratio"):
        return all(_has_value(part) for part in node.parts)
    if digits(node) is not None or infinity(node):  # a numeral with a base, its sign before it
        return True
    for point in range(POINTS):
        with contextlib.suppress(Undefined):
            Evaluation(point).value(with_sign(node, "±"))
            return True
    return False
