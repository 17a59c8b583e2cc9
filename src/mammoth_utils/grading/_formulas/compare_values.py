"""Comparison of two values: whole numbers, fractions, decimals to their precision, and formulas with unknowns.

Formulas with unknowns are compared at fixed points of either sign, which tells unequal polynomials apart with certainty
for all practical purposes. Two plain numbers, which most pairs of GSM8K and SVAMP are, need no parser.
"""

from __future__ import annotations

import contextlib
import math
import re
from fractions import Fraction

from mammoth_utils.grading._formulas.formula_values import POINTS, Evaluation, Undefined, Value, symbols
from mammoth_utils.grading._formulas.parser import Node

FLOAT_DIGITS = 10**15  # a gold of as many digits was printed by a program, and its last one is noise
RELATIVE = 1e-9  # how close a float must come to an exact gold: programs print 12.000000000000002
# Short enough that exact integers stay small; thousands are set apart by commas or not at all.
_NUMERAL = re.compile(r"\s*([-+]?(?:\d{1,15}|\d{1,3}(?:,\d{3}){1,4}))(?:\.(\d{0,9}))?\s*").fullmatch


def plainly_equal(answer: str, gold: str) -> bool | None:
    """Return whether two plain numbers are equal; None where `corrected.equality` has to decide.

    It is asked for all that is no plain number, for answers of more decimals than a decimal gold, which may round to
    it, and for those within a billionth of a whole gold, which may be a program's float.
    """
    ours, theirs = _NUMERAL(answer), _NUMERAL(gold)
    if ours is None or theirs is None:
        return None
    whole, decimals = ours.groups()
    gold_whole, places = theirs.groups()
    decimals, places = (decimals or "").rstrip("0"), (places or "").rstrip("0")
    value = int(whole.replace(",", "") + decimals)
    aim = int(gold_whole.replace(",", "") + places)
    further = len(decimals) - len(places)
    if further <= 0:
        return value * 10**-further == aim
    aim *= 10**further
    if places or abs(value - aim) * 10**9 <= (abs(aim) or 10 ** len(decimals)):
        return None
    return False


def literal(node: Node) -> tuple[Fraction, Fraction] | None:
    """Return value and last place of a decimal such as ``-4.17``, ``1.28*10^-6`` or ``2.5%``; None for others."""
    if node.kind == "number":
        return (node.value, node.unit) if node.unit is not None else None
    factor = {"neg": Fraction(-1), "percent": Fraction(1, 100)}.get(node.kind)
    if node.kind == "mul" and node.parts[1].kind == "pow" and node.parts[1].parts[0].value == 10:
        with contextlib.suppress(Undefined):
            factor = Evaluation().value(node.parts[1])
    inner = literal(node.parts[0]) if isinstance(factor, Fraction) else None
    return (inner[0] * factor, inner[1] * abs(factor)) if inner else None


def last_place(value: Fraction, unit: Fraction, digits: int) -> Fraction:
    """Return the place at which answers are compared with a decimal gold.

    A gold of 4.17 takes what rounds to 4.17. A gold of 0.5 is read as 0.50 where golds are exact: 0.52 and 0.45 are
    other numbers; where golds are rounded (TheoremQA) one digit is enough.
    """
    return unit / 10 if abs(value) / unit < 10 ** (digits - 1) else unit


def rounds_to(answer: Value, gold: Fraction, place: Fraction) -> bool:
    """Return whether a real answer rounds to the gold at that place, halves away from zero."""
    if isinstance(answer, complex):
        return False
    steps = abs(Fraction(answer)) / place
    rounded = math.floor(steps + Fraction(1, 2)) * place
    # a half that a float only just misses still counts as a half
    nudged = math.floor(steps + min(steps / 10**13, Fraction(1, 1000)) + Fraction(1, 2)) * place
    return abs(gold) in (rounded, nudged) and (answer < 0) == (gold < 0)


def floats_noise(answer: Value, written: tuple[Fraction, Fraction] | None, gold: Fraction, unit: Fraction) -> bool:
    """Return whether an answer of more places than a long decimal gold is within two units of its last place.

    Golds of seven decimals and more were printed by a program that computed in 32 bits or integrated numerically:
    TheoremQA has 0.78539815 where π/4 is 0.78539816. An answer of as few places as the gold must be the gold.
    """
    if isinstance(answer, complex) or unit > Fraction(1, 10**7) or abs(gold) < 10**6 * unit:
        return False
    return (written is None or written[1] < unit) and abs(Fraction(answer) - gold) <= 2 * unit


def _is_printed_float(answer: Value, gold: Fraction, unit: Fraction) -> bool:
    """Return whether an answer is what a gold such as 0.30000000000000004 stands for, whose last digit is noise."""
    if isinstance(answer, complex) or abs(gold) < unit * FLOAT_DIGITS or unit > Fraction(1, 10**12):
        return False
    return abs(Fraction(answer) - gold) <= abs(gold) / FLOAT_DIGITS


def close(answer: Value, gold: Value, scale: float = 0.0) -> bool:
    """Return whether two values agree up to what rounding in floats explains."""
    try:
        difference, size = abs(complex(answer) - complex(gold)), abs(complex(gold))
    except OverflowError:
        return False
    return difference <= RELATIVE * max(size, abs(complex(answer))) + 1e-13 * scale


def equal_values(answer: Node, gold: Node, digits: int) -> bool:
    """Return whether an answer's value is the gold's, under the corrected rule.

    * A decimal gold that is no whole number takes what rounds to it, at ``digits`` or more (`last_place`; long ones
      by `floats_noise`).
    * A whole or rational gold takes the same number; a decimal answer that is no whole number may be off by 1e-9 of it
      (never by more than 1e-4), as a program's floats are.
    * Irrational values must agree to 1e-9; expressions with unknowns at every fixed point.

    Raises:
        Undefined: If one side has no value and so cannot be compared.
    """
    if symbols(gold) or symbols(answer):
        return identical(answer, gold)
    exact = literal(gold)
    walk = Evaluation()
    value = walk.value(answer)
    if exact and exact[0].denominator != 1:
        rounded = rounds_to(value, exact[0], last_place(*exact, digits))
        return rounded or floats_noise(value, literal(answer), *exact) or _is_printed_float(value, *exact)
    aim = walk.value(gold)
    if isinstance(value, Fraction) and isinstance(aim, Fraction):
        if value == aim:
            return True
        written = literal(answer)
        if written is None or written[0].denominator == 1:
            return False
        return abs(value - aim) <= min(Fraction(1, 10**9) * (abs(aim) or 1), Fraction(1, 10**4))
    return close(value, aim, walk.largest)


def identical(answer: Node, gold: Node) -> bool:
    """Return whether two expressions with unknowns agree wherever both have a value, at two fixed points at least.

    Even roots and logarithms of negative numbers are no value there (``\\ln x^2`` is ``2 \\ln x``), unless one side
    has none at the positive points either: ``\\sqrt{-x}`` is compared as a complex number.
    """
    for real in (True, False):
        agreed = 0
        for point in range(2 * POINTS if real else POINTS):
            if point == POINTS and agreed >= 2:
                break
            walk = Evaluation(point, real)
            try:
                aim = walk.value(gold)
                value = walk.value(answer)
            except Undefined:
                continue
            exact = isinstance(value, Fraction) and isinstance(aim, Fraction)
            if not (value == aim if exact else close(value, aim, walk.largest)):
                return False
            agreed += 1
        if agreed >= 2:
            return True
    raise Undefined("no value at the fixed points")
