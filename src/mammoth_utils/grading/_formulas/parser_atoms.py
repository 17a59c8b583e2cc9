"""The atoms of the expression parser: numbers, names, calls, brackets, sets, intervals and matrices."""

from __future__ import annotations

from fractions import Fraction
from typing import TYPE_CHECKING

from mammoth_utils.grading._formulas.nodes import CALLS, FUNCTIONS, MATRICES, Node, Unreadable, number

if TYPE_CHECKING:
    from mammoth_utils.grading._formulas.parser import Parser

_GREEK_LETTERS = (
    "alpha beta gamma delta epsilon varepsilon zeta eta theta vartheta iota kappa lambda mu nu xi rho sigma tau "
    "upsilon phi varphi chi psi omega Gamma Delta Theta Lambda Xi Sigma Phi Psi Omega ell"
)
_GREEK = frozenset(_GREEK_LETTERS.split())
_SAME_FUNCTION = {"Abs": "abs", "arcsin": "asin", "arccos": "acos", "arctan": "atan", "ln": "log", "binom": "binomial",
                  "ceiling": "ceil", "cbrt": "cbrt"}  # fmt: skip
_MINUS_ONE = Node("neg", (Node("number", value=Fraction(1)),))
_CLOSING = {"(": (")", "]"), "[": ("]", ")")}


def atom(parser: Parser) -> Node:
    """The next atom.

    Raises:
        Unreadable: If no atom can start here.
    """
    kind, text = parser.kind(), parser.peek()
    if kind == "number":
        return number(parser.take())
    if kind == "word":
        parser.take()
        return word(parser, text)
    if kind == "command":
        parser.take()
        return command(parser, text[1:])
    if text in ("(", "["):
        return bracketed(parser)
    if text == "{":
        return braced(parser, "{", "}")
    if text == "|":
        parser.take()
        parser.bars += 1
        inside = parser.sum()
        parser.bars -= 1
        parser.take("|")
        return Node("call", (inside,), "abs")
    raise Unreadable(f"no value starts with {text or 'the end'!r}")


def word(parser: Parser, text: str) -> Node:
    """A named constant, a call or a symbol; short runs of letters were taken apart as products before."""
    if text in ("pi", "oo", "inf", "nan", "zoo"):
        if text in ("nan", "zoo"):
            raise Unreadable(f"{text} is no value")
        return Node("symbol", name="oo" if text == "inf" else text)
    if text in CALLS:
        return call(parser, text)
    return Node("symbol", name=text)


def command(parser: Parser, name: str) -> Node:
    """What a LaTeX command stands for."""
    if name == "frac":
        return Node("div", (parser.group(), parser.group()))
    if name == "sqrt":
        if parser.peek() == "[":
            parser.take()
            index = parser.sum()
            parser.take("]")
            return Node("pow", (parser.group(), Node("div", (Node("number", value=Fraction(1)), index))))
        return Node("call", (parser.group(),), "sqrt")
    if name in ("binom", "dbinom", "tbinom"):
        return Node("call", (parser.group(), parser.group()), "binomial")
    if name == "begin":
        return matrix(parser)
    if name == "{":
        return braced(parser, "\\{", "\\}")
    if name == "log" and parser.peek() == "_":
        parser.take()
        base = parser.group()
        return Node("div", (call(parser, "log"), Node("call", (base,), "log")))
    if name in FUNCTIONS:
        return call(parser, name)
    if name in ("overline", "bar"):
        raise Unreadable("an overline")
    if name in _GREEK:
        return Node("symbol", name=name)
    if name in ("boxed", "vec", "hat", "mathbb", "mathcal"):
        return parser.group()
    raise Unreadable(f"the command \\{name[:20]}")


def call(parser: Parser, name: str) -> Node:
    """A function with its arguments: ``sqrt(2)``, ``\\sin^2 x``, ``Fraction(1, 2)``, ``Matrix([[1], [2]])``."""
    power = None
    if parser.peek() == "^":
        parser.take()
        power = parser.exponent()
    if parser.peek() == "(":
        parser.take()
        arguments = parser.items("tuple", (")",)).parts
        parser.take(")")
    elif parser.peek() == "{":
        arguments = (parser.group(),)
    else:
        arguments = (parser.power(),)
        # \sin 2x and \cos 3\theta mean the whole product; sqrt 2x does not
        while name not in ("sqrt", "abs") and parser.kind() in ("word", "command") and parser.starts_factor():
            if parser.peek().lstrip("\\") in FUNCTIONS:
                break
            parser.another()
            arguments = (Node("mul", (arguments[0], parser.power())),)
    name = _SAME_FUNCTION.get(name, name)
    if power == _MINUS_ONE and "a" + name in FUNCTIONS:  # \sin^{-1} is the inverse function, not one over the sine
        name, power = "a" + name, None
    node = applied(name, arguments)
    return node if power is None else Node("pow", (node, power))


def applied(name: str, arguments: tuple[Node, ...]) -> Node:
    """The node of a call, with Python's and SymPy's constructors turned into what they make."""
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
    if name in ("Matrix", "array", "ImmutableDenseMatrix"):
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
    """An interval as SymPy prints it: closed unless its name says otherwise, and open at infinity."""
    infinite = [one.name == "oo" or (one.kind == "neg" and one.parts[0].name == "oo") for one in ends]
    left = "(" if infinite[0] or name in ("OpenInterval", "LopenInterval") else "["
    right = ")" if infinite[1] or name in ("OpenInterval", "RopenInterval") else "]"
    kind = {"()": "tuple", "[]": "list"}.get(left + right, "interval")
    return Node(kind, ends, left + right if kind == "interval" else "")


def bracketed(parser: Parser) -> Node:
    """What stands in round or square brackets: a group, tuple, list or interval (brackets may differ)."""
    opening = parser.take("(", "[")
    bars, parser.bars = parser.bars, 0
    inside = parser.items("tuple", (")", "]"))
    parser.bars = bars
    closing = parser.take(*_CLOSING[opening])
    if opening + closing == "()" and len(inside.parts) == 1:
        if inside.parts[0].kind in ("equation", "relation"):
            raise Unreadable("an equation in brackets")
        return inside.parts[0]
    if opening + closing in ("(]", "[)"):
        if len(inside.parts) != 2:
            raise Unreadable("an interval has two ends")
        return Node("interval", inside.parts, opening + closing)
    return Node("tuple" if opening == "(" else "list", inside.parts)


def braced(parser: Parser, opening: str, closing: str) -> Node:
    """A set (``\\{1, 2\\}``, Python's ``{1, 2}``, ``{x: 3}``), or what LaTeX braces merely group."""
    if opening == "{":
        parser.take("{")
    inside = parser.items("set", (closing,))
    parser.take(closing)
    if opening == "{" and len(inside.parts) == 1 and inside.parts[0].kind not in ("ratio", "equation"):
        return inside.parts[0]
    if inside.parts and all(part.kind == "ratio" for part in inside.parts):
        return Node("dict", inside.parts)
    return inside


def matrix(parser: Parser) -> Node:
    """A LaTeX matrix as a list of rows, each a list."""
    parser.take("{")
    name = parser.take()
    parser.take("}")
    if name not in MATRICES:
        raise Unreadable(f"the environment {name[:20]}")
    if name == "vmatrix":
        raise Unreadable("a determinant, which is no matrix")
    rows: list[Node] = []
    cells: list[Node] = []
    while True:
        cells.append(parser.item())
        sign = parser.take("&", "¶", "\\end")
        if sign != "&":
            rows.append(Node("list", tuple(cells)))
            cells = []
        if sign == "¶" and parser.peek() == "\\end":
            sign = parser.take()
        if sign == "\\end":
            break
    parser.take("{")
    parser.take(name)
    parser.take("}")
    return Node("matrix", tuple(rows))
