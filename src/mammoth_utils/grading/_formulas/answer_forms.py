"""Forms of an answer that are no plain value: equations and what they state, chains, numerals with a base."""

from __future__ import annotations

import math
from fractions import Fraction

from mammoth_utils.grading._formulas.compare_values import close, last_place, literal
from mammoth_utils.grading._formulas.formula_values import Evaluation, Undefined, constant, symbols
from mammoth_utils.grading._formulas.parser import Node

_DEGREES = Node("symbol", name="degrees")
MAX_DENOMINATORS = 4
CONTAINERS = frozenset(("list", "tuple", "set", "bare", "interval", "union", "difference", "matrix", "dict"))


def size(node: Node) -> tuple[float, float]:
    """Return a constant's real and imaginary part, to sort by; raise `Undefined` if it is none, or too large."""
    try:
        value = complex(constant(node))
    except OverflowError as error:
        raise Undefined(str(error)) from error
    return value.real, value.imag


def with_sign(node: Node, sign: str) -> Node:
    """Return the tree with every plus-minus read as its upper (``±``) or lower (``∓``) sign."""
    if node.kind == "pm":
        left, right = (with_sign(part, sign) for part in node.parts)
        return Node("add", (left, right if node.name == sign else Node("neg", (right,))))
    parts = tuple(with_sign(part, sign) for part in node.parts)
    if all(new is old for new, old in zip(parts, node.parts, strict=True)):
        return node
    return Node(node.kind, parts, node.name, node.value, node.unit)


def may_be_share(node: Node) -> bool:
    """Return whether a constant may have been meant as a share: at most 1 in size, or no whole number."""
    try:
        value = constant(node)
        return abs(value) <= 1 or (isinstance(value, Fraction) and value.denominator != 1)
    except Undefined:
        return False


def digits(node: Node) -> str | None:
    """Return the digits of a whole number or of a numeral with a base; None for others."""
    if node.kind == "base":
        return node.name.partition("_")[0]
    if node.kind == "number" and node.unit is None and node.value.denominator == 1:
        return str(node.value)
    if node.kind == "neg" and (inner := digits(node.parts[0])):
        return f"-{inner}"
    return None


def infinity(node: Node) -> str | None:
    """Return the sign of an infinite value; None for finite ones."""
    if node.kind == "neg":
        inner = infinity(node.parts[0])
        return {"+": "-", "-": "+"}[inner] if inner else None
    return "+" if node.kind == "symbol" and node.name == "oo" else None


def named(equation: Node) -> tuple[str, Node] | None:
    """Return name and value of an equation with a lone symbol on one side: ``x = 3``, ``3 = x``, ``f(x) = 2x``."""
    if equation.kind != "equation":
        return None
    for side, value in (equation.parts, equation.parts[::-1]):
        if side.kind == "symbol":
            return side.name, value
        if side.kind == "tuple" and side.parts and all(part.kind == "symbol" for part in side.parts):
            return ",".join(part.name for part in side.parts), value  # (x, y) = (2, 3)
        if side.kind == "mul" and all(part.kind == "symbol" for part in side.parts) and side is equation.parts[0]:
            return f"{side.parts[0].name}({side.parts[1].name})", value
    return None


def stated(equation: Node, gold: bool = False) -> Node | None:
    """Return the value that an equation states of what stands before it; None where it relates unknowns.

    ``a + b = 7`` and ``xy = 6`` name the quantity asked for, ``f(2) = 9`` and ``\\sin x = 1/2`` a function's value,
    ``\\pi r^2 = 4\\pi`` an area, and ``x^2 - 1 = (x - 1)(x + 1)`` another form of it. ``x^2 = 9`` and ``2x = 6`` have
    still to be solved; ``x^2 + y^2 = 2`` is a circle and ``2x + 3y = 6`` a line.

    Args:
        gold: Whether the equation is a gold, which states a value only of what can be no unknown: a name, a distance
            ``|AB|``, a ratio of lengths.
    """
    if name := named(equation):
        return name[1]
    left, right = equation.parts
    if right.kind in CONTAINERS:
        return right
    unknowns = symbols(left)
    if not unknowns:
        return None if symbols(right) or gold else right
    if gold and any(name.islower() for name in unknowns):
        return None
    if symbols(right):
        return right
    several = sum(name.islower() for name in unknowns) > 1
    return None if (several and _has_coefficient(left)) or _is_to_be_solved(left) else right


def _is_to_be_solved(left: Node) -> bool:
    """Return whether a left side in one unknown is neither a function's value nor a multiple of pi."""
    factors = left
    while factors.kind == "mul":
        factors = factors.parts[0]
    applied = left.kind == "mul" and factors.kind in ("symbol", "pow")  # f(2), f^{-1}(2), \\pi r^2
    return len(symbols(left)) == 1 and left.kind not in ("symbol", "call", "list") and not applied and not _has_pi(left)


def _has_pi(node: Node) -> bool:
    return (node.kind == "symbol" and node.name == "pi") or any(map(_has_pi, node.parts))


def _has_coefficient(node: Node) -> bool:
    """Return whether a sum or product has a number or a power of an unknown in it."""
    if node.kind in ("number", "pow") or (node.kind == "add" and any(part.kind == "call" for part in node.parts)):
        return True  # |x| + |y| = 1 is a square
    return node.kind not in ("symbol", "call", "base", "tuple") and any(map(_has_coefficient, node.parts))


def settled(node: Node) -> Node:
    """Return a tree whose equations have two sides: the first and the last of a chain.

    A rounded decimal at the end of a chain, or behind ``or``, stands for the exact value before it:
    ``x = \\sqrt{2} ≈ 1.414`` is ``x = \\sqrt{2}``. Where it rounds another value the two contradict each other.
    """
    if node.kind == "equation":
        sides, sign = list(node.parts), node.name.split()[-1]
        value = _exact_value(sides[-2], sides[-1], sign == "≈")
        if value is True:
            sides.pop()
        elif value is False and sign == "≈":
            return Node("contradiction", tuple(sides))
        return sides[0] if len(sides) == 1 else Node("equation", (sides[0], sides[-1]), "=")
    if node.kind == "bare":
        parts = tuple(map(settled, node.parts))
        if len(parts) == 2 and literal(parts[0]) is None and _exact_value(*parts, False):
            return parts[0]
        return Node("bare", parts, node.name)
    return node


def _exact_value(exact: Node, decimal: Node, approximate: bool) -> bool | None:
    """Return whether a decimal rounds a constant; None where they are not a constant and a decimal."""
    turn = 1
    if decimal.kind == "mul" and decimal.parts[1] == _DEGREES and exact.kind == "call":  # \\arctan 1 ≈ 45.0 degrees
        decimal, turn = decimal.parts[0], 180 / math.pi
    written = literal(decimal)
    if written is None and approximate and (whole := digits(decimal)):
        zeros = len(whole) - len(whole.rstrip("0"))
        written = (Fraction(int(whole)), Fraction(10**zeros)) if len(whole) < 20 else None
    if written is None or exact.kind in CONTAINERS:
        return None
    try:
        value = constant(exact)
    except Undefined:
        return None
    tolerance = written[1] if approximate else last_place(*written, 2)
    return not isinstance(value, complex) and abs(Fraction(value * turn) - written[0]) <= tolerance


def without_degrees(node: Node) -> Node:
    """Return a tree without the degree signs of a value and of a sum's terms; those inside functions stay."""
    if node.kind == "mul" and node.parts[1] == _DEGREES:
        return node.parts[0]
    if node.kind in ("add", "neg", "pm", "bare"):
        return Node(node.kind, tuple(map(without_degrees, node.parts)), node.name)
    return node


def difference(node: Node) -> Node:
    """Return the left side less the right side of an equation or relation."""
    return Node("add", (node.parts[0], Node("neg", (node.parts[1],))))


def proportional(ours: Node, theirs: Node, signed: bool) -> bool:
    """Return whether one expression is a constant multiple of the other, a positive one if ``signed``."""
    if symbols(ours) != symbols(theirs):
        return False
    if not signed:  # y = 12/x is xy = 12
        ours, theirs = (_cleared(node) for node in (ours, theirs))
    ratios = []
    for point in range(3):
        try:
            walk = Evaluation(point)
            ratios.append(walk.value(ours) / walk.value(theirs))
        except (Undefined, ZeroDivisionError, OverflowError):
            continue
    if len(ratios) < 2 or not ratios[0] or (signed and (isinstance(ratios[0], complex) or ratios[0] < 0)):
        return False
    return all(close(ratio, ratios[0]) for ratio in ratios)


def _cleared(node: Node) -> Node:
    """Return a sum times the denominators of its terms that hold unknowns."""
    terms, denominators, whole = [node], [], node
    while terms:
        term = terms.pop()
        if term.kind in ("add", "neg"):
            terms += term.parts
        elif term.kind == "div" and symbols(term.parts[1]):
            denominators.append(term.parts[1])
    for below in denominators[:MAX_DENOMINATORS]:
        whole = Node("mul", (whole, below))
    return whole


def names_differ(items: tuple[Node, ...]) -> bool:
    """Return whether all items name their values, each another unknown; ``x_1`` and ``x_2`` are roots of one."""
    names = [item.parts[0].name for item in items if item.kind == "equation" and item.parts[0].kind == "symbol"]
    return len(names) == len(items) > 1 and len({name.partition("_")[0] for name in names}) == len(names)


def by_name(items: tuple[Node, ...]) -> tuple[Node, ...]:
    """Return items that all name their values (``y = 3, x = 2``) in the order of the names; others as they are."""
    names = [
        item.parts[0].name if item.kind in ("equation", "ratio") and item.parts[0].kind == "symbol" else ""
        for item in items
    ]
    return tuple(items[at] for at in sorted(range(len(items)), key=names.__getitem__)) if all(names) else items
