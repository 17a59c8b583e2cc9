"""Forms of an answer that are no plain value: equations, inequalities, intervals, matrices, numerals with a base."""

from __future__ import annotations

from fractions import Fraction

from mammoth_utils.grading._formulas.compare_values import close
from mammoth_utils.grading._formulas.formula_values import Evaluation, Undefined, constant, symbols
from mammoth_utils.grading._formulas.parser import Node

CONTAINERS = frozenset(("list", "tuple", "set", "bare", "interval", "union", "matrix", "dict"))


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


def to_be_solved(equation: Node) -> bool:
    """Return whether an equation in one unknown states no value: ``x^2 = 9``, ``2x = 6``.

    ``a + b = 7`` and ``xy = 6`` name the quantity asked for, ``f(2) = 9`` and ``\\sin x = 1/2`` a function's value, and
    ``x^2 - 1 = (x - 1)(x + 1)`` another form of it.
    """
    left, right = equation.parts
    factors = left
    while factors.kind == "mul":
        factors = factors.parts[0]
    applied = left.kind == "mul" and (factors.kind == "symbol" or factors.kind == "pow")  # f(2), f^{-1}(2)
    return len(symbols(left)) == 1 and not symbols(right) and left.kind not in ("symbol", "call") and not applied


def difference(node: Node) -> Node:
    """Return the left side less the right side of an equation or relation."""
    return Node("add", (node.parts[0], Node("neg", (node.parts[1],))))


def proportional(ours: Node, theirs: Node, signed: bool) -> bool:
    """Return whether one expression is a constant multiple of the other, a positive one if ``signed``."""
    if symbols(ours) != symbols(theirs):
        return False
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


def rising(node: Node) -> Node:
    """Return a chain of relations whose first sign is no ``>``: ``c > b > a`` as ``a < b < c``."""
    signs = node.name.split()
    if not signs[0].startswith(">"):
        return node
    turned = {">": "<", "<": ">", ">=": "<=", "<=": ">="}
    return Node("relation", node.parts[::-1], " ".join(turned.get(sign, sign) for sign in reversed(signs)))


def as_interval(node: Node) -> Node | None:
    """Return an interval, or the one that ``x > 3`` or ``-2 <= x < 3`` describes; None for others."""
    if node.kind in ("interval", "union"):
        return node
    if node.kind in ("tuple", "list") and len(node.parts) == 2 and node.name != "array":
        return node
    if node.kind != "relation" or "!=" in node.name:
        return None
    signs = node.name.split()
    flipped = all(sign[0] == ">" for sign in signs)
    if not flipped and any(sign[0] == ">" for sign in signs):
        return None
    parts = list(node.parts[::-1] if flipped else node.parts)
    signs = [sign.replace(">", "<") for sign in (signs[::-1] if flipped else signs)]
    infinity = Node("symbol", name="oo")
    if len(parts) == 2 and parts[0].kind == "symbol" and not symbols(parts[1]):
        parts, signs = [Node("neg", (infinity,)), *parts], ["<", *signs]
    elif len(parts) == 2 and parts[1].kind == "symbol" and not symbols(parts[0]):
        parts, signs = [*parts, infinity], [*signs, "<"]
    if len(parts) != 3 or parts[1].kind != "symbol":
        return None
    brackets = ("[" if signs[0] == "<=" else "(") + ("]" if signs[1] == "<=" else ")")
    ends = (parts[0], parts[2])
    kind = {"()": "tuple", "[]": "list"}.get(brackets, "interval")
    return Node(kind, ends, brackets if kind == "interval" else "")


def as_union(node: Node) -> Node | None:
    """Return a union, or the one that ``x < -1 or x > 1`` describes; None for others."""
    if node.kind == "union":
        return node
    if node.kind != "bare" or not node.parts or any(part.kind != "relation" for part in node.parts):
        return None
    intervals = [as_interval(part) for part in node.parts]
    unknowns = frozenset().union(*(symbols(part) for part in node.parts))
    return Node("union", tuple(intervals)) if None not in intervals and len(unknowns) == 1 else None


def by_name(items: tuple[Node, ...]) -> tuple[Node, ...]:
    """Return items that all name their values (``y = 3, x = 2``) in the order of the names; others as they are."""
    names = [
        item.parts[0].name if item.kind in ("equation", "ratio") and item.parts[0].kind == "symbol" else ""
        for item in items
    ]
    return tuple(items[at] for at in sorted(range(len(items)), key=names.__getitem__)) if all(names) else items


def rows_of_matrix(node: Node) -> list[tuple[Node, ...]] | None:
    """Return the rows of a matrix, of a list of lists, or of a column that is a flat list or tuple."""
    if node.kind in ("matrix", "list", "tuple") and all(part.kind in ("list", "tuple") for part in node.parts):
        rows = [part.parts for part in node.parts]
    elif node.kind in ("list", "tuple"):
        rows = [(part,) for part in node.parts]
    else:
        return None
    return rows if len({len(row) for row in rows}) <= 1 else None
