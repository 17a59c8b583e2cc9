"""Matrices and vectors: their rows, also of multiples, sums, products and transposes, and sums of unit vectors."""

from __future__ import annotations

from collections.abc import Callable
from fractions import Fraction

from mammoth_utils.grading._formulas.parser import Node

Rows = list[tuple[Node, ...]]
MAX_CELLS = 64
_UNIT_VECTORS = ("i", "j", "k")
_ONE, _ZERO = (Node("number", value=Fraction(value)) for value in (1, 0))
_OPERATIONS = frozenset(("neg", "add", "mul", "div", "pow"))


def holds_matrix(node: Node) -> bool:
    """Return whether a tree is a matrix or calculates with one."""
    return node.kind == "matrix" or (node.kind in _OPERATIONS and any(map(_is_or_holds_matrix, node.parts)))


def _is_or_holds_matrix(node: Node) -> bool:
    nested = node.kind == "list" and bool(node.parts) and all(part.kind == "list" for part in node.parts)
    return nested or holds_matrix(node)


def rows_of_matrix(node: Node) -> Rows | None:
    """Return the rows of a matrix, of a list of lists, or of a column that is a flat list or tuple.

    A multiple, sum, product or transpose of matrices is calculated; None for anything else, or where sizes do not fit.
    """
    if node.kind in ("matrix", "list", "tuple") and node.parts and all(_is_row(part) for part in node.parts):
        rows = [part.parts for part in node.parts]
    elif node.kind in ("list", "tuple"):
        rows = [(part,) for part in node.parts]
    else:
        rows = _calculated(node)
    if rows is None or len({len(row) for row in rows}) > 1 or sum(map(len, rows)) > MAX_CELLS:
        return None
    return rows


def _is_row(node: Node) -> bool:
    return node.kind in ("list", "tuple")


def _calculated(node: Node) -> Rows | None:
    if node.kind == "neg":
        return _each(rows_of_matrix(node.parts[0]), lambda cell: Node("neg", (cell,)))
    if node.kind == "pow" and node.parts[1].kind == "symbol" and node.parts[1].name in ("T", "t", "top"):
        rows = rows_of_matrix(node.parts[0])
        return None if rows is None else list(zip(*rows, strict=True))
    if node.kind not in ("add", "mul", "div"):
        return None
    left, right = node.parts
    if node.kind == "div":
        return None if holds_matrix(right) else _each(rows_of_matrix(left), lambda cell: Node("div", (cell, right)))
    if node.kind == "add":
        first, second = rows_of_matrix(left), rows_of_matrix(right)
        if first is None or second is None or [*map(len, first)] != [*map(len, second)]:
            return None
        return [tuple(map(_sum, *pair)) for pair in zip(first, second, strict=True)]
    if not _is_or_holds_matrix(left):
        return _each(rows_of_matrix(right), lambda cell: Node("mul", (left, cell)))
    if not _is_or_holds_matrix(right):
        return _each(rows_of_matrix(left), lambda cell: Node("mul", (cell, right)))
    if _is_product(left) or _is_product(right):  # whose entries would double with every factor
        return None
    first, second = rows_of_matrix(left), rows_of_matrix(right)
    if not first or not second or len(first[0]) != len(second):
        return None
    return [tuple(_dot(row, column) for column in zip(*second, strict=True)) for row in first]


def _is_product(node: Node) -> bool:
    """Return whether a tree multiplies two matrices."""
    here = node.kind == "mul" and all(map(_is_or_holds_matrix, node.parts))
    return here or (node.kind in _OPERATIONS and any(map(_is_product, node.parts)))


def _each(rows: Rows | None, change: Callable[[Node], Node]) -> Rows | None:
    return None if rows is None else [tuple(map(change, row)) for row in rows]


def _sum(left: Node, right: Node) -> Node:
    return Node("add", (left, right))


def _dot(row: tuple[Node, ...], column: tuple[Node, ...]) -> Node:
    products = [Node("mul", pair) for pair in zip(row, column, strict=True)]
    total = products[0]
    for product in products[1:]:
        total = _sum(total, product)
    return total


def unit_vector_sum(node: Node, size: int) -> Node | None:
    """Return ``2i - j + 4k`` as a tuple of its coordinates; None where a term has no unit vector, or another."""
    coordinates: dict[str, Node] = {}
    terms = [(node, False)]
    while terms:
        term, negative = terms.pop()
        if term.kind == "add":
            terms += [(part, negative) for part in term.parts]
        elif term.kind == "neg":
            terms.append((term.parts[0], not negative))
        else:
            split = _coefficient(term)
            if split is None or split[0] in coordinates:
                return None
            coordinates[split[0]] = Node("neg", (split[1],)) if negative else split[1]
    names = _UNIT_VECTORS[:size]
    if not {"j", "k"} & coordinates.keys() or not coordinates.keys() <= set(names):
        return None
    return Node("tuple", tuple(coordinates.get(name, _ZERO) for name in names))


def _coefficient(term: Node) -> tuple[str, Node] | None:
    if term.kind == "symbol" and term.name in _UNIT_VECTORS:
        return term.name, _ONE
    if term.kind == "mul" and term.parts[1].kind == "symbol" and term.parts[1].name in _UNIT_VECTORS:
        return term.parts[1].name, term.parts[0]
    return None
