"""A small safe parser of mathematical notation: LaTeX, plain and Python output, never `eval`.

It makes a tree of `Node`; `formula_values` evaluates the tree. All work is bounded by construction: the text's length,
the tree's depth and each number's digits have limits, and what exceeds them is `Unreadable`.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from fractions import Fraction

from mammoth_utils.grading._formulas.notation import MAX_TEXT

MAX_DEPTH = 40
MAX_OPERATIONS = 150  # signs and juxtapositions of one text: each is a level of the tree, and walks over it recurse
MAX_DIGITS = 400
MAX_EXPONENT = 300

_FUNCTION_NAMES = (
    "sqrt cbrt sin cos tan cot sec csc sinh cosh tanh arcsin arccos arctan asin acos atan log ln exp abs factorial "
    "binomial binom floor ceil ceiling acot asec acsc arccot cis"
)
_CONSTRUCTORS = (
    "Abs Fraction Rational Integer Float Eq Matrix array FiniteSet set ImmutableDenseMatrix Tuple list tuple frozenset "
    "Interval OpenInterval LopenInterval RopenInterval Union re conjugate Point Point2D Point3D tensor Complement"
)
_ENVIRONMENTS = "pmatrix bmatrix matrix vmatrix Bmatrix smallmatrix array cases"
FUNCTIONS = frozenset(_FUNCTION_NAMES.split())
CALLS = FUNCTIONS | frozenset(_CONSTRUCTORS.split())
MATRICES = frozenset(_ENVIRONMENTS.split())
WORDS = CALLS | MATRICES | {"pi", "oo", "inf", "nan", "zoo", "and", "or", "degrees", "Reals"}
_TOKEN = re.compile(
    r"\s*(?:(?P<number>\d+\.?\d*(?:[eE][-+]?\d+)?(?![\d])|\.\d+(?:[eE][-+]?\d+)?)"
    r"|(?P<command>\\(?:[A-Za-z]+|[{}|]))|(?P<word>[A-Za-zα-ωΑ-Ω]+)|(?P<op><=|>=|!=|[-+*/^_()\[\]{},;=<>|!%:±∓∪∖∈≈…&¶]))"
)
PROSE = re.compile(
    r"(?<![\\A-Za-z_])(?:[A-Za-z]{3,}|is|of|to|in|on|at|he|it|by|we|so|as|an|per)(?![A-Za-z(_{])|(?<=\})\s+[a-z]{3,}"
)
_GREEK_LETTERS = (
    "alpha beta gamma delta epsilon varepsilon zeta eta theta vartheta iota kappa lambda mu nu xi rho sigma tau "
    "upsilon phi varphi chi psi omega Gamma Delta Theta Lambda Xi Sigma Phi Psi Omega ell"
)
_GREEK = frozenset(_GREEK_LETTERS.split())
_SAME_FUNCTION = {"Abs": "abs", "arcsin": "asin", "arccos": "acos", "arctan": "atan", "ln": "log", "binom": "binomial",
                  "ceiling": "ceil", "cbrt": "cbrt", "arccot": "acot"}  # fmt: skip


class Unreadable(ValueError):
    """The text is no mathematics that this parser knows, or exceeds its limits."""


@dataclass(frozen=True, slots=True)
class Node:
    """A piece of an expression.

    Attributes:
        kind: ``number``, ``symbol``, an operation (``add mul div pow neg pm call``) or a container (``list tuple
            set bare interval matrix equation relation union difference base``). An equation keeps every side of its
            chain, and the signs between them (``=``, ``≈``) as its name.
        parts: Its operands.
        name: A symbol's, function's, bracket pair's or relation's name; a base numeral's digits.
        value: A number's value.
        unit: What one step in a decimal literal's last place is worth; None for numbers written without a dot.
    """

    kind: str
    parts: tuple[Node, ...] = ()
    name: str = ""
    value: Fraction | None = None
    unit: Fraction | None = None


_MINUS_ONE = Node("neg", (Node("number", value=Fraction(1)),))
_CLOSING = {"(": (")", "]"), "[": ("]", ")")}
_SEPARATORS = (",", ";", "and", "or")
_INFINITY = Node("symbol", name="oo")
REALS = Node("tuple", (Node("neg", (_INFINITY,)), _INFINITY))


def _grouped(node: Node) -> Node:
    """Return what square or curly brackets group where they stand in a sum, a product or a power."""
    return node.parts[0] if node.kind in ("list", "set") and len(node.parts) == 1 and not node.name else node


def number(text: str) -> Node:
    """Return a number from its digits, exact, with the worth of its last decimal place.

    Raises:
        Unreadable: If it has more than ``MAX_DIGITS`` digits or an exponent beyond ``MAX_EXPONENT``.
    """
    if len(text) > MAX_DIGITS:
        raise Unreadable(f"a number of {len(text)} digits")
    mantissa, _, exponent = text.lower().partition("e")
    shift = int(exponent or 0) if len(exponent) < 8 else MAX_EXPONENT + 1
    if abs(shift) > MAX_EXPONENT:
        raise Unreadable(f"an exponent of {exponent[:12]}")
    whole, dot, decimals = mantissa.partition(".")
    scale = Fraction(10) ** shift
    value = Fraction(int(whole + decimals or "0"), 10 ** len(decimals)) * scale
    return Node("number", value=value, unit=Fraction(1, 10 ** len(decimals)) * scale if dot or exponent else None)


def tokens(text: str) -> list[tuple[str, str, bool]]:
    """Return the tokens of a text as (kind, text, whether a space stood before); raise `Unreadable` for other text."""
    if len(text) > MAX_TEXT:
        raise Unreadable(f"a text of {len(text)} characters")
    pieces, at = [], 0
    text = text.rstrip()
    while at < len(text):
        match = _TOKEN.match(text, at)
        if match is None:
            raise Unreadable(f"no mathematics at {text[at : at + 12]!r}")
        kind = match.lastgroup or "op"
        spaced = match.start(kind) > at
        if kind == "word" and 1 < len(match[kind]) <= 3 and match[kind] not in WORDS:
            # a short run of letters is a product, and "ab^2" squares the b alone
            pieces.extend(("word", letter, spaced and not index) for index, letter in enumerate(match[kind]))
        else:
            pieces.append((kind, match[kind], spaced))
        at = match.end()
    return pieces


class Parser:
    """A recursive descent over the tokens of one text."""

    def __init__(self, text: str):
        self.tokens = tokens(text)
        self.at = 0
        self.depth = 0
        self.bars = 0
        self.operations = 0

    def another(self) -> None:
        """Count one operation; raise `Unreadable` if the text has more of them than a tree may have levels."""
        self.operations += 1
        if self.operations > MAX_OPERATIONS:
            raise Unreadable(f"more than {MAX_OPERATIONS} operations")

    def peek(self, ahead: int = 0) -> str:
        """Return the text of a coming token; nothing at the end."""
        return self.tokens[self.at + ahead][1] if self.at + ahead < len(self.tokens) else ""

    def kind(self, ahead: int = 0) -> str:
        """Return the kind of a coming token; ``end`` at the end."""
        return self.tokens[self.at + ahead][0] if self.at + ahead < len(self.tokens) else "end"

    def take(self, *expected: str) -> str:
        """Take the next token's text, which must be one of those expected if any are named."""
        text = self.peek()
        if not text or (expected and text not in expected):
            raise Unreadable(f"expected {' or '.join(expected) or 'more'}, got {text or 'the end'!r}")
        self.at += 1
        return text

    def whole(self) -> Node:
        """Return the tree of the whole text."""
        node = self.items("bare", ())
        if self.at < len(self.tokens):
            raise Unreadable(f"left over: {self.peek()!r}")
        return node

    def items(self, kind: str, closing: tuple[str, ...]) -> Node:
        """Parse items between commas (or ``and``, ``or``, ``;``) as a container; a lone item as itself where bare."""
        self.depth += 1
        if self.depth > MAX_DEPTH:
            raise Unreadable("nested too deeply")
        nodes: list[Node] = []
        between: set[str] = set()
        while self.peek() not in closing and self.kind() != "end":
            nodes.append(self.item())
            if self.peek() not in _SEPARATORS:
                break
            while self.peek() in _SEPARATORS:
                between.add(self.take())
        self.depth -= 1
        if not nodes and kind == "bare":
            raise Unreadable("nothing")
        if kind == "bare" and len(nodes) == 1:
            return nodes[0]
        return Node(kind, tuple(nodes), "and" if kind == "bare" and between == {"and"} else "")

    def item(self) -> Node:
        """Parse a union, relation or equation, or an expression; a dict's ``key: value`` is an equation."""
        node = self.sum()
        if self.peek() == "∈":
            self.at += 1
            node = self.sum()
        while self.peek() in ("∪", "U", "∖") and self.kind() != "end":
            sign = self.take()
            self.another()
            if sign == "∖":
                node = Node("difference", (node, self.sum()))
            else:
                node = Node("union", (*(node.parts if node.kind == "union" else (node,)), self.sum()))
        chain, names = [node], []
        while self.peek() in ("=", "≈", "<", ">", "<=", ">=", "!=", ":") and self.kind() == "op":
            names.append(self.take())
            chain.append(self.sum())
        if not names:
            return node
        if set(names) <= {"=", "≈"}:
            return Node("equation", tuple(chain), " ".join(names))
        if set(names) == {":"}:
            return Node("ratio", tuple(chain))
        if set(names) == {":", "="} and names.count("=") == 1:  # V_1:V_2 = 9:17
            at = names.index("=") + 1
            sides = [Node("ratio", tuple(part)) if len(part) > 1 else part[0] for part in (chain[:at], chain[at:])]
            return Node("equation", tuple(sides), "=")
        return Node("relation", tuple(chain), " ".join(names))

    def sum(self) -> Node:
        """Parse terms joined by plus, minus and plus-minus."""
        self.depth += 1
        if self.depth > MAX_DEPTH:
            raise Unreadable("nested too deeply")
        node = self.product()
        while self.peek() in ("+", "-", "±", "∓") and self.kind() == "op":
            sign = self.take()
            self.another()
            term = self.product()
            if sign in "±∓":
                node = Node("pm", (_grouped(node), _grouped(term)), sign)
            else:
                if node == REALS and sign == "-" and term.kind == "set":
                    node = Node("difference", (node, term))
                    continue
                node, term = _grouped(node), _grouped(term)
                node = Node("add", (node, term if sign == "+" else Node("neg", (term,))))
        self.depth -= 1
        return node

    def product(self) -> Node:
        """Parse factors joined by ``*``, ``/`` or side by side; a mixed number such as ``2 1/2`` is a sum."""
        node = self.factor()
        while True:
            if (sign := self.peek()) in ("*", "/") and self.kind() == "op":
                self.at += 1
                self.another()
                node = Node("mul" if sign == "*" else "div", (_grouped(node), _grouped(self.factor())))
            elif (mixed := self.mixed(node)) is not None:
                node = mixed
            elif self.starts_factor():
                self.another()
                node = Node("mul", (_grouped(node), _grouped(self.power())))
            else:
                return node

    def mixed(self, node: Node) -> Node | None:
        """Parse the sum that ``2 1/2`` or ``2\\frac{1}{2}`` means; None if something else follows a whole number."""
        sign, whole = (-1, node.parts[0]) if node.kind == "neg" else (1, node)
        if whole.kind != "number" or whole.unit is not None:
            return None
        start = self.at
        if self.peek() == "\\frac":
            part = self.power()
            top, bottom = part.parts if part.kind == "div" else (None, None)
        elif self.kind() == "number" and self.peek(1) == "/" and self.kind(2) == "number":
            top = number(self.take())
            self.at += 1
            bottom = number(self.take())
        else:
            return None
        plain = top is not None and all(part.kind == "number" and part.unit is None for part in (top, bottom))
        if plain and 0 < top.value < bottom.value and whole.value > 0:
            return Node("number", value=sign * (whole.value + top.value / bottom.value))
        self.at = start
        return None

    def starts_factor(self) -> bool:
        """Return whether what comes can stand beside a factor as another one."""
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
        """Parse a signed power."""
        signs = 0
        while self.peek() in ("-", "+") and self.kind() == "op":
            signs += self.take() == "-"
        if self.peek() in ("±", "∓") and self.kind() == "op":
            sign = self.take()
            return Node("pm", (Node("number", value=Fraction(0)), self.power()), sign)
        node = self.power()
        return Node("neg", (_grouped(node),)) if signs % 2 else node

    def power(self) -> Node:
        """Parse an atom with what follows it closely: exponent, factorial, percent sign, base."""
        self.depth += 1
        if self.depth > MAX_DEPTH:
            raise Unreadable("nested too deeply")
        node = self.atom()
        while self.kind() == "op" and self.peek() in ("^", "!", "%", "_"):
            sign = self.take()
            self.another()
            if sign == "^":
                node = Node("pow", (_grouped(node), self.exponent()))
            elif sign == "!":
                node = Node("call", (node,), "factorial")
            elif sign == "%":
                node = Node("percent", (node,))
            else:
                node = self.subscripted(node)
        self.depth -= 1
        return node

    def exponent(self) -> Node:
        """Parse what stands after ``^``: a signed atom, or a chain to the right."""
        return self.factor() if self.peek() != "{" else self.group()

    def group(self) -> Node:
        """Parse LaTeX braces as one expression, or the single token that LaTeX takes without braces."""
        if self.peek() != "{":
            if self.kind() == "number" and len(self.peek()) > 1:
                kind, text, gap = self.tokens[self.at]
                self.tokens[self.at : self.at + 1] = [(kind, text[0], gap), (kind, text[1:], False)]
            return self.atom()
        self.take("{")
        node = self.sum()
        self.take("}")
        return node

    def subscripted(self, node: Node) -> Node:
        """Parse a numeral with a base (``1200_7``) or a symbol with an index (``x_1``)."""
        self.at -= 1
        digits = self.tokens[self.at - 1][1] if node.kind in ("number", "symbol") else ""
        self.take("_")
        if self.peek() == "{":
            self.at += 1
            index = self.take()
            while self.peek() != "}":
                index += self.take()
            self.take("}")
        else:
            index = self.take()
        if node.kind == "symbol":
            return Node("symbol", name=f"{node.name}_{index}")
        if not index.isdigit() or not digits:
            raise Unreadable(f"a subscript {index[:12]!r} after what is no numeral")
        if node.kind == "mul":
            raise Unreadable("a base after a product")
        return Node("base", (node,), f"{digits}_{index}")

    def atom(self) -> Node:
        """Parse the next atom; raise `Unreadable` if none can start here."""
        kind, text = self.kind(), self.peek()
        if kind == "number":
            return number(self.take())
        if kind == "word":
            return self.word(self.take())
        if kind == "command":
            return self.command(self.take()[1:])
        if text in ("(", "["):
            return self.bracketed()
        if text == "{":
            self.take()
            return self.braced("}")
        if text == "|":
            self.take()
            self.bars += 1
            inside = self.sum()
            self.bars -= 1
            self.take("|")
            return Node("call", (inside,), "abs")
        if text == "…":
            return Node("symbol", name=self.take())
        raise Unreadable(f"no value starts with {text or 'the end'!r}")

    def word(self, text: str) -> Node:
        """Parse a named constant, a call or a symbol; products of letters were taken apart before."""
        if text in ("nan", "zoo"):
            raise Unreadable(f"{text} is no value")
        if text in CALLS:
            return self.call(text)
        if text == "Reals":
            return REALS
        return Node("symbol", name="oo" if text == "inf" else text)

    def command(self, name: str) -> Node:
        """Parse what a LaTeX command stands for."""
        if name == "frac":
            return Node("div", (self.group(), self.group()))
        if name == "sqrt":
            if self.peek() == "[":
                self.take()
                index = self.sum()
                self.take("]")
                return Node("pow", (self.group(), Node("div", (Node("number", value=Fraction(1)), index))))
            return Node("call", (self.group(),), "sqrt")
        if name in ("binom", "dbinom", "tbinom"):
            return Node("call", (self.group(), self.group()), "binomial")
        if name == "begin":
            return self.matrix()
        if name == "{":
            return self.braced("\\}")
        if name == "log" and self.peek() == "_":
            self.take()
            base = self.group()
            return Node("div", (self.call("log"), Node("call", (base,), "log")))
        if name in FUNCTIONS:
            return self.call(name)
        if name == "lg":
            return Node("div", (self.call("log"), Node("call", (Node("number", value=Fraction(10)),), "log")))
        if name in ("overline", "bar"):
            raise Unreadable("an overline")
        if name in _GREEK:
            return Node("symbol", name=name)
        if name in ("boxed", "vec", "hat", "mathbb", "mathcal"):
            return self.group()
        raise Unreadable(f"the command \\{name[:20]}")

    def call(self, name: str) -> Node:
        """Parse a function's arguments: ``sqrt(2)``, ``\\sin^2 x``, ``Fraction(1, 2)``, ``Matrix([[1], [2]])``."""
        power = None
        if self.peek() == "^":
            self.take()
            power = self.exponent()
        if self.peek() == "(":
            self.take()
            arguments = self.items("tuple", (")",)).parts
            self.take(")")
        elif self.peek() == "{":
            arguments = (self.group(),)
        else:
            arguments = (self.power(),)
            # \sin 2x and \cos 3\theta mean the whole product; sqrt 2x does not
            while name not in ("sqrt", "abs") and self.kind() in ("word", "command") and self.starts_factor():
                if self.peek().lstrip("\\") in FUNCTIONS:
                    break
                self.another()
                arguments = (Node("mul", (arguments[0], self.power())),)
        name = _SAME_FUNCTION.get(name, name)
        if power == _MINUS_ONE and "a" + name in FUNCTIONS:  # \sin^{-1} is the inverse function, not one over the sine
            name, power = "a" + name, None
        node = applied(name, arguments)
        return node if power is None else Node("pow", (node, power))

    def bracketed(self) -> Node:
        """Parse round or square brackets: a group, tuple, list or interval (brackets may differ)."""
        opening = self.take("(", "[")
        bars, self.bars = self.bars, 0
        inside = self.items("tuple", (")", "]"))
        self.bars = bars
        closing = self.take(*_CLOSING[opening])
        if opening + closing == "()" and len(inside.parts) == 1:
            if inside.parts[0].kind in ("equation", "relation"):
                raise Unreadable("an equation in brackets")
            return inside.parts[0]
        if opening + closing in ("(]", "[)"):
            if len(inside.parts) != 2:
                raise Unreadable("an interval has two ends")
            return Node("interval", inside.parts, opening + closing)
        return Node("tuple" if opening == "(" else "list", inside.parts)

    def braced(self, closing: str) -> Node:
        """Parse a set (``\\{1, 2\\}``, Python's ``{1, 2}``, ``{x: 3}``), or what LaTeX braces merely group."""
        inside = self.items("set", (closing,))
        self.take(closing)
        if closing == "}" and len(inside.parts) == 1 and inside.parts[0].kind not in ("ratio", "equation"):
            return inside.parts[0]
        if inside.parts and all(part.kind == "ratio" for part in inside.parts):
            return Node("dict", inside.parts)
        return inside

    def matrix(self) -> Node:
        """Parse a LaTeX matrix as a list of rows, each a list."""
        self.take("{")
        name = self.take()
        self.take("}")
        if name not in MATRICES:
            raise Unreadable(f"the environment {name[:20]}")
        if name == "vmatrix":
            raise Unreadable("a determinant, which is no matrix")
        rows: list[Node] = []
        cells: list[Node] = []
        sign = ""
        while sign != "\\end":
            cells.append(self.item())
            sign = self.take("&", "¶", "\\end")
            if sign != "&":
                rows.append(Node("list", tuple(cells)))
                cells = []
            if sign == "¶" and self.peek() == "\\end":
                sign = self.take()
        self.take("{")
        self.take(name)
        self.take("}")
        return Node("matrix", tuple(rows), "cases" if name == "cases" else "")


def applied(name: str, arguments: tuple[Node, ...]) -> Node:
    """Return the node of a call; Python's and SymPy's constructors become what they make."""
    if not arguments and name not in ("set", "FiniteSet"):
        raise Unreadable(f"{name} of nothing")
    if name in ("Fraction", "Rational") and len(arguments) == 2:
        return Node("div", arguments)
    if name in ("Fraction", "Rational", "Integer", "Float", "re", "conjugate", "list", "tuple"):
        return arguments[0]
    if name == "Eq" and len(arguments) == 2:
        return Node("equation", arguments, "=")
    if name in ("FiniteSet", "set", "frozenset"):
        inner = arguments[0].parts if len(arguments) == 1 and arguments[0].kind in ("list", "set") else arguments
        return Node("set", inner)
    if name == "Tuple":
        return Node("tuple", arguments)
    if name.endswith("Interval") and len(arguments) == 2:
        return sympy_interval(name, arguments)
    if name == "Union":
        return Node("union", arguments)
    if name in ("Point", "Point2D", "Point3D"):
        return Node("tuple", arguments)
    if name == "Complement" and len(arguments) == 2:
        return Node("difference", arguments)
    if name == "tensor" and arguments[0].kind != "list":
        return arguments[0]
    if name in ("Matrix", "array", "tensor", "ImmutableDenseMatrix"):
        parts = arguments[0].parts if len(arguments) == 1 and arguments[0].kind == "list" else arguments
        return Node("list", parts, "array") if len(arguments) > 1 or arguments[0].kind == "list" else arguments[0]
    if name in FUNCTIONS or name == "abs":
        if len(arguments) != (2 if name == "binomial" else 1) and name != "log":
            raise Unreadable(f"{name} of {len(arguments)} arguments")
        if name == "log" and len(arguments) == 2:
            return Node("div", (Node("call", arguments[:1], "log"), Node("call", arguments[1:], "log")))
        return Node("call", arguments, name)
    raise Unreadable(f"the call {name[:20]}")


def sympy_interval(name: str, ends: tuple[Node, ...]) -> Node:
    """Return an interval as SymPy prints it: closed unless its name says otherwise, and open at infinity."""
    infinite = [end.name == "oo" or (end.kind == "neg" and end.parts[0].name == "oo") for end in ends]
    left = "(" if infinite[0] or name in ("OpenInterval", "LopenInterval") else "["
    right = ")" if infinite[1] or name in ("OpenInterval", "RopenInterval") else "]"
    kind = {"()": "tuple", "[]": "list"}.get(left + right, "interval")
    return Node(kind, ends, left + right if kind == "interval" else "")


_PER_CENT = re.compile(r"([-+]?(?:\d+\s+)?\d+\s*/\s*\d+|[-+]?\d*\s*\\frac\s*(?:\{\d+\}|\d)\s*(?:\{\d+\}|\d))\s*%")


def parse(text: str) -> Node:
    """Return the tree of a text in the notation of `notation.plain`.

    Raises:
        Unreadable: If it is no mathematics, or too long, too deep or too large.
    """
    spaced = re.fullmatch(r"[-+]?\d+(?:\s+[-+]?\d+)+", text)
    if spaced and len(text) <= MAX_TEXT:  # Mathematics writes sorted numbers as "12 3 0": their order is the answer
        return Node("tuple", tuple(_signed(numeral) for numeral in text.split()))
    if (whole := _PER_CENT.fullmatch(text)) and len(text) <= MAX_TEXT:  # 100/3% is a third, not a hundred over 3 %
        return Node("percent", (Parser(whole.group(1)).whole(),))
    if sum(word not in WORDS for word in PROSE.findall(text)) > 1:
        raise Unreadable("prose")
    return Parser(text).whole()


def _signed(text: str) -> Node:
    node = number(text.lstrip("+-"))
    return Node("neg", (node,)) if text.startswith("-") else node
