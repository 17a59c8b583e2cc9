"""A small safe parser of mathematical notation: LaTeX, plain and Python output, never `eval`.

It makes a tree of `Node`; `values` evaluates the tree. All work is bounded by construction: the text's length, the
tree's depth and each number's digits have limits, and what exceeds them is `Unreadable`.
"""

from __future__ import annotations

import re
from fractions import Fraction

from mammoth_utils.grading._formulas.nodes import (
    MAX_DEPTH,
    MAX_OPERATIONS,
    PROSE,
    WORDS,
    Node,
    Unreadable,
    number,
    tokens,
)
from mammoth_utils.grading._formulas.notation import MAX_TEXT
from mammoth_utils.grading._formulas.parser_atoms import atom

__all__ = ["Node", "Parser", "Unreadable", "parse"]


class Parser:
    """A recursive descent over the tokens of one text."""

    def __init__(self, text: str):
        self.tokens = tokens(text)
        self.at = 0
        self.depth = 0
        self.bars = 0
        self.operations = 0

    def another(self) -> None:
        """Count one operation.

        Raises:
            Unreadable: If the text has more of them than a tree may have levels.
        """
        self.operations += 1
        if self.operations > MAX_OPERATIONS:
            raise Unreadable(f"more than {MAX_OPERATIONS} operations")

    def peek(self, ahead: int = 0) -> str:
        """The text of a coming token; nothing at the end."""
        return self.tokens[self.at + ahead][1] if self.at + ahead < len(self.tokens) else ""

    def kind(self, ahead: int = 0) -> str:
        """The kind of a coming token; ``end`` at the end."""
        return self.tokens[self.at + ahead][0] if self.at + ahead < len(self.tokens) else "end"

    def take(self, *wanted: str) -> str:
        """The next token's text, which must be one of those wanted if any are named."""
        text = self.peek()
        if not text or (wanted and text not in wanted):
            raise Unreadable(f"expected {' or '.join(wanted) or 'more'}, got {text or 'the end'!r}")
        self.at += 1
        return text

    def whole(self) -> Node:
        """The tree of the whole text."""
        node = self.items("bare", ())
        if self.at < len(self.tokens):
            raise Unreadable(f"left over: {self.peek()!r}")
        return node

    def items(self, kind: str, closing: tuple[str, ...]) -> Node:
        """Items between commas (or ``and``, ``or``, ``;``) as a container; a lone item as itself where bare."""
        self.depth += 1
        if self.depth > MAX_DEPTH:
            raise Unreadable("nested too deeply")
        found: list[Node] = []
        while self.peek() not in closing and self.kind() != "end":
            found.append(self.item())
            separated = False
            while self.peek() in (",", ";", "and", "or") and self.kind() != "end":
                self.at += 1
                separated = True
            if not separated:
                break
        self.depth -= 1
        if not found and kind == "bare":
            raise Unreadable("nothing")
        return found[0] if kind == "bare" and len(found) == 1 else Node(kind, tuple(found))

    def item(self) -> Node:
        """A union, relation or equation, or an expression without one; a dict's ``key: value`` is an equation."""
        node = self.sum()
        if self.peek() == "∈":
            self.at += 1
            node = self.sum()
        while self.peek() in ("∪", "U") and self.kind() != "end":
            self.at += 1
            self.another()
            node = Node("union", (*(node.parts if node.kind == "union" else (node,)), self.sum()))
        chain, names = [node], []
        while self.peek() in ("=", "<", ">", "<=", ">=", "!=", ":") and self.kind() == "op":
            names.append(self.take())
            chain.append(self.sum())
        if not names:
            return node
        if set(names) == {"="}:
            return Node("equation", (chain[0], chain[-1]), "=")
        if set(names) == {":"}:
            return Node("ratio", tuple(chain))
        return Node("relation", tuple(chain), " ".join(names))

    def sum(self) -> Node:
        """Terms joined by plus, minus and plus-minus."""
        self.depth += 1
        if self.depth > MAX_DEPTH:
            raise Unreadable("nested too deeply")
        node = self.product()
        while self.peek() in ("+", "-", "±", "∓") and self.kind() == "op":
            sign = self.take()
            self.another()
            term = self.product()
            if sign in "±∓":
                node = Node("pm", (node, term), sign)
            else:
                node = Node("add", (node, term if sign == "+" else Node("neg", (term,))))
        self.depth -= 1
        return node

    def product(self) -> Node:
        """Factors joined by ``*``, ``/`` or by standing side by side; a mixed number such as ``2 1/2`` is a sum."""
        node = self.factor()
        while True:
            if (sign := self.peek()) in ("*", "/") and self.kind() == "op":
                self.at += 1
                self.another()
                node = Node("mul" if sign == "*" else "div", (node, self.factor()))
            elif (mixed := self.mixed(node)) is not None:
                node = mixed
            elif self.starts_factor():
                self.another()
                node = Node("mul", (node, self.power()))
            else:
                return node

    def mixed(self, node: Node) -> Node | None:
        """The sum that ``2 1/2`` or ``2\\frac{1}{2}`` means, if that is what comes after a whole number."""
        sign, whole = (-1, node.parts[0]) if node.kind == "neg" else (1, node)
        if whole.kind != "number" or whole.unit is not None:
            return None
        start = self.at
        if self.peek() == "\\frac":
            part = self.power()
            top, bottom = part.parts if part.kind == "div" else (None, None)
        elif self.kind() == "number" and self.peek(1) == "/" and self.kind(2) == "number":
            top, bottom = number(self.take()), None
            self.at += 1
            bottom = number(self.take())
        else:
            return None
        plain = top is not None and all(one.kind == "number" and one.unit is None for one in (top, bottom))
        if plain and 0 < top.value < bottom.value and whole.value > 0:
            return Node("number", value=sign * (whole.value + top.value / bottom.value))
        self.at = start
        return None

    def starts_factor(self) -> bool:
        """Whether what comes can stand beside a factor as another one."""
        kind, text = self.kind(), self.peek()
        if kind == "number":
            # "12 3 0" is a list of numbers, never a product; a digit after a bracket is a factor
            return self.at > 0 and self.kind(-1) != "number"
        if kind == "word":
            return text not in ("and", "or", "U")
        if kind == "command":
            return text not in ("\\}", "\\end", "\\|")
        return text in ("(", "[", "{") or (text == "|" and not self.bars)

    def factor(self) -> Node:
        """A signed power."""
        signs = 0
        while self.peek() in ("-", "+") and self.kind() == "op":
            signs += self.take() == "-"
        if self.peek() in ("±", "∓") and self.kind() == "op":
            sign = self.take()
            return Node("pm", (Node("number", value=Fraction(0)), self.power()), sign)
        node = self.power()
        return Node("neg", (node,)) if signs % 2 else node

    def power(self) -> Node:
        """An atom with what follows it closely: exponent, factorial, percent sign, base."""
        self.depth += 1
        if self.depth > MAX_DEPTH:
            raise Unreadable("nested too deeply")
        node = atom(self)
        while self.kind() == "op" and self.peek() in ("^", "!", "%", "_"):
            sign = self.take()
            self.another()
            if sign == "^":
                node = Node("pow", (node, self.exponent()))
            elif sign == "!":
                node = Node("call", (node,), "factorial")
            elif sign == "%":
                node = Node("percent", (node,))
            else:
                node = self.subscripted(node)
        self.depth -= 1
        return node

    def exponent(self) -> Node:
        """What stands after ``^``: a signed atom, or a chain to the right."""
        return self.factor() if self.peek() != "{" else self.group()

    def group(self) -> Node:
        """The content of LaTeX braces as one expression, or the single token that LaTeX takes without braces."""
        if self.peek() != "{":
            if self.kind() == "number" and len(self.peek()) > 1:
                kind, text, gap = self.tokens[self.at]
                self.tokens[self.at : self.at + 1] = [(kind, text[0], gap), (kind, text[1:], False)]
            return atom(self)
        self.take("{")
        node = self.sum()
        self.take("}")
        return node

    def subscripted(self, node: Node) -> Node:
        """A numeral with a base (``1200_7``) or a symbol with an index (``x_1``)."""
        self.at -= 1
        digits = self.tokens[self.at - 1][1] if node.kind in ("number", "symbol") else ""
        self.take("_")
        braced = self.peek() == "{"
        if braced:
            self.at += 1
        index = self.take()
        if braced:
            while self.peek() != "}":
                index += self.take()
            self.take("}")
        if node.kind == "symbol":
            return Node("symbol", name=f"{node.name}_{index}")
        if not index.isdigit() or not digits:
            raise Unreadable(f"a subscript {index[:12]!r} after what is no numeral")
        if node.kind == "mul":
            raise Unreadable("a base after a product")
        return Node("base", (node,), f"{digits}_{index}")


_PER_CENT = re.compile(r"([-+]?(?:\d+\s+)?\d+\s*/\s*\d+|[-+]?\d*\s*\\frac\s*(?:\{\d+\}|\d)\s*(?:\{\d+\}|\d))\s*%")


def parse(text: str) -> Node:
    """The tree of a text in the notation of `notation.plain`.

    Raises:
        Unreadable: If it is no mathematics, or too long, too deep or too large.
    """
    spaced = re.fullmatch(r"[-+]?\d+(?:\s+[-+]?\d+)+", text)
    if spaced and len(text) <= MAX_TEXT:  # Mathematics writes sorted numbers as "12 3 0": their order is the answer
        return Node("tuple", tuple(_signed(one) for one in text.split()))
    if (whole := _PER_CENT.fullmatch(text)) and len(text) <= MAX_TEXT:  # 100/3% is a third, not a hundred over 3 %
        return Node("percent", (Parser(whole.group(1)).whole(),))
    if sum(word not in WORDS for word in PROSE.findall(text)) > 1:
        raise Unreadable("prose")
    return Parser(text).whole()


def _signed(text: str) -> Node:
    node = number(text.lstrip("+-"))
    return Node("neg", (node,)) if text.startswith("-") else node
