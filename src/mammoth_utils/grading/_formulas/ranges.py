"""Sets of real numbers as unions of intervals: from inequalities, absolute values, missing points and set builders."""

from __future__ import annotations

import math
from collections.abc import Callable
from fractions import Fraction

from mammoth_utils.grading._formulas.formula_values import Undefined, constant, symbols
from mammoth_utils.grading._formulas.parser import REALS, Node

_INFINITY = Node("symbol", name="oo")
_TURNED = {">": "<", "<": ">", ">=": "<=", "<=": ">="}
_SETS = frozenset(("interval", "tuple", "list", "set", "union", "difference", "relation", "bare"))
_MIRROR = str.maketrans("()[]", ")(][")
_KINDS = {"()": "tuple", "[]": "list"}
Ends = tuple[Node, Node, str]  # left, right and the two brackets


def interval(left: Node, right: Node, brackets: str) -> Node:
    """Return an interval as the parser makes it: ``()`` as a tuple of two, ``[]`` as a list of two."""
    kind = _KINDS.get(brackets, "interval")
    return Node(kind, (left, right), brackets if kind == "interval" else "")


def _brackets(node: Node) -> str:
    return {"tuple": "()", "list": "[]"}.get(node.kind, node.name)


def _negated(node: Node) -> Node:
    return node.parts[0] if node.kind == "neg" else Node("neg", (node,))


def rising(node: Node) -> Node:
    """Return a chain of relations whose first sign is no ``>``: ``c > b > a`` as ``a < b < c``."""
    signs = node.name.split()
    if not signs[0].startswith(">"):
        return node
    return Node("relation", node.parts[::-1], " ".join(_TURNED.get(sign, sign) for sign in reversed(signs)))


def as_interval(node: Node) -> Node | None:
    """Return an interval, or the one that ``x > 3`` or ``-2 <= x < 3`` describes; None for others."""
    if node.kind == "interval":
        return node
    if node.kind in ("tuple", "list") and len(node.parts) == 2 and node.name != "array":
        return node
    bounds = _bounds(node)
    return interval(*bounds[1]) if bounds and _is_unknown(bounds[0]) else None


def _is_unknown(node: Node) -> bool:
    """Return whether a tree is a symbol, or a function of one: ``0 < f(x) < 1``."""
    return node.kind == "symbol" or (node.kind == "mul" and all(part.kind == "symbol" for part in node.parts))


def _bounds(node: Node) -> tuple[Node, Ends] | None:
    """Return what a relation bounds, and between which ends; None for what is no rising or falling chain of one."""
    if node.kind != "relation" or "!=" in node.name:
        return None
    node = rising(node)
    parts, signs = list(node.parts), node.name.split()
    if any(sign[0] != "<" for sign in signs):
        return None
    if len(parts) == 2 and not symbols(parts[1]):
        parts, signs = [Node("neg", (_INFINITY,)), *parts], ["<", *signs]
    elif len(parts) == 2 and not symbols(parts[0]):
        parts, signs = [*parts, _INFINITY], [*signs, "<"]
    if len(parts) != 3:
        return None
    brackets = ("[" if signs[0] == "<=" else "(") + ("]" if signs[1] == "<=" else ")")
    return parts[1], (parts[0], parts[2], brackets)


def as_union(node: Node) -> Node | None:
    """Return a union of intervals, or what describes one; None for others.

    These are ``x < -1 or x > 1``, ``|x - 1| >= 2``, ``x != 0``, and the reals without some points.
    """
    if node.kind == "union":
        parts = [part if part.kind in _SETS else Node("set", (part,)) for part in node.parts]
        return _joined([as_union(part) for part in parts])
    if whole := as_interval(node):
        return Node("union", (whole,))
    if node.kind == "set":  # single points, each a closed interval
        return Node("union", tuple(interval(point, point, "[]") for point in node.parts))
    if node.kind == "difference":
        return _without(as_union(node.parts[0]), node.parts[1])
    if node.kind == "relation":
        if node.name == "!=" and node.parts[0].kind == "symbol":
            return _without(Node("union", (REALS,)), Node("set", node.parts[1:]))
        bounds = _bounds(node)
        if bounds and bounds[0].kind == "call" and bounds[0].name == "abs":
            return _of_distance(bounds[0].parts[0], bounds[1])
        return None
    if node.kind != "bare" or not node.parts:
        return None
    if all(part.kind == "relation" for part in node.parts):
        if node.name == "and" and "!=" not in {part.name for part in node.parts}:
            return _met([as_interval(part) for part in node.parts])
        if len(frozenset().union(*(symbols(part) for part in node.parts))) != 1:
            return None
        missing = [part for part in node.parts if part.name == "!=" and part.parts[0].kind == "symbol"]
        ranges = [part for part in node.parts if part not in missing]
        if missing and len(ranges) <= 1:  # x > 0, x != 1
            points = tuple(point for part in missing for point in part.parts[1:])
            return _without(as_union(ranges[0]) if ranges else Node("union", (REALS,)), Node("set", points))
    return _joined([as_union(part) for part in node.parts])


def _joined(unions: list[Node | None]) -> Node | None:
    return None if None in unions else Node("union", tuple(part for union in unions for part in union.parts))


def _met(intervals: list[Node | None]) -> Node | None:
    """Return the interval that lies in all of some; None where there is none."""
    if None in intervals:
        return None
    try:
        pieces = [_ends(part) for part in intervals]
        low = max(pieces, key=lambda ends: (_size(ends[0]), ends[2][0] == "("))
        high = min(pieces, key=lambda ends: (_size(ends[1]), ends[2][1] == "]"))
        if _size(low[0]) > _size(high[1]):
            return None
    except Undefined:
        return None
    return Node("union", (interval(low[0], high[1], low[2][0] + high[2][1]),))


def _without(union: Node | None, points: Node) -> Node | None:
    """Return a union without some points, which must be constants; None where they are none."""
    if union is None:
        return None
    pieces = [_ends(part) for part in union.parts]
    try:
        for point in points.parts if points.kind in ("set", "bare") else (points,):
            at, split = _size(point), []
            for left, right, brackets in pieces:
                low, high = _size(left) - at, _size(right) - at
                if low < 0 < high:
                    split += [(left, point, brackets[0] + ")"), (point, right, "(" + brackets[1])]
                elif low or high:
                    split.append((left, right, ("(" if not low else brackets[0]) + (")" if not high else brackets[1])))
            pieces = split
    except Undefined:
        return None
    return Node("union", tuple(interval(*piece) for piece in pieces))


def _of_distance(inside: Node, ends: Ends) -> Node | None:
    """Return where the absolute value of a linear form lies between two ends; None for others."""
    linear = _linear(inside)
    if linear is None or not linear[0] or symbols(ends[0]) or symbols(ends[1]):
        return None
    slope, start = linear if linear[0] > 0 else (-linear[0], -linear[1])

    def moved(end: Node) -> Node:
        if _is_infinite(end) or (slope, start) == (1, 0):
            return end
        shifted = Node("add", (end, Node("number", value=-start)))
        return Node("div", (shifted, Node("number", value=slope)))

    low, high, brackets = ends
    mirrored = brackets[::-1].translate(_MIRROR)
    if low == REALS.parts[0]:  # |x| < c
        return Node("union", (interval(moved(_negated(high)), moved(high), mirrored[0] + brackets[1]),))
    below = interval(moved(_negated(high)), moved(_negated(low)), mirrored)
    return Node("union", (below, interval(moved(low), moved(high), brackets)))


def _linear(node: Node) -> tuple[Fraction, Fraction] | None:
    """Return slope and start of a rational linear form in one unknown; None for others."""
    if node.kind == "symbol" and symbols(node):
        return Fraction(1), Fraction(0)
    if node.kind == "number":
        return Fraction(0), node.value
    parts = [_linear(part) for part in node.parts]
    if not parts or None in parts or node.kind not in ("add", "neg", "mul", "div") or len(symbols(node)) > 1:
        return None
    if node.kind == "neg":
        return -parts[0][0], -parts[0][1]
    (a, b), (c, d) = parts
    if node.kind == "add":
        return a + c, b + d
    if node.kind == "div":
        return None if c or not d else (a / d, b / d)
    return None if a and c else (a * d + c * b, b * d)


def _is_infinite(node: Node) -> bool:
    return node in REALS.parts


def _size(node: Node) -> float:
    """Return a real constant's size, infinite ends too; raise `Undefined` for others."""
    if _is_infinite(node):
        return math.inf if node == REALS.parts[1] else -math.inf
    value = constant(node)
    if isinstance(value, complex):
        raise Undefined("a complex end")
    try:
        return float(value)
    except OverflowError as error:
        raise Undefined(str(error)) from error


def same_ranges(ours: Node, theirs: Node, same: Callable[[Node, Node], bool]) -> bool:
    """Return whether two unions are the same set; ``same`` compares two ends."""
    try:
        pieces = [_merged(union) for union in (ours, theirs)]
    except Undefined:  # an end holds an unknown: intervals are compared one by one, in any order
        left = list(theirs.parts)
        for part in ours.parts:
            match = next((other for other in left if _alike(_ends(part), _ends(other), same)), None)
            if match is None:
                return False
            left.remove(match)
        return not left
    return len(pieces[0]) == len(pieces[1]) and all(_alike(*pair, same) for pair in zip(*pieces, strict=True))


def _ends(part: Node) -> Ends:
    return (*part.parts, _brackets(part))


def _alike(ours: Ends, theirs: Ends, same: Callable[[Node, Node], bool]) -> bool:
    return ours[2] == theirs[2] and same(ours[0], theirs[0]) and same(ours[1], theirs[1])


def _merged(union: Node) -> list[Ends]:
    """Return a union's intervals from left to right, those that touch or overlap as one."""
    merged: list[Ends] = []
    for left, right, brackets in sorted(map(_ends, union.parts), key=lambda ends: (_size(ends[0]), ends[2][0] == "(")):
        if merged:
            low, high, before = merged[-1]
            gap = _size(left) - _size(high)
            if gap < 0 or (not gap and (before[1] == "]" or brackets[0] == "[")):
                further = _size(right) - _size(high)
                if further > 0 or (not further and brackets[1] == "]"):
                    merged[-1] = (low, right, before[0] + brackets[1])
                continue
        merged.append((left, right, brackets))
    return merged
