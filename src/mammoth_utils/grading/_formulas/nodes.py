"""The words of the expression parser: nodes, numbers, tokens, and the limits that bound all work."""

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
    "binomial binom floor ceil ceiling"
)
_CONSTRUCTORS = (
    "Abs Fraction Rational Integer Float Eq Matrix array FiniteSet set ImmutableDenseMatrix Tuple list tuple frozenset "
    "Interval OpenInterval LopenInterval RopenInterval Union re conjugate"
)
_ENVIRONMENTS = "pmatrix bmatrix matrix vmatrix Bmatrix smallmatrix array cases"
FUNCTIONS = frozenset(_FUNCTION_NAMES.split())
CALLS = FUNCTIONS | frozenset(_CONSTRUCTORS.split())
MATRICES = frozenset(_ENVIRONMENTS.split())
WORDS = CALLS | MATRICES | {"pi", "oo", "inf", "nan", "zoo", "and", "or", "degrees"}
_TOKEN = re.compile(
    r"\s*(?:(?P<number>\d+\.?\d*(?:[eE][-+]?\d+)?(?![\d])|\.\d+(?:[eE][-+]?\d+)?)"
    r"|(?P<command>\\(?:[A-Za-z]+|[{}|]))|(?P<word>[A-Za-zα-ωΑ-Ω]+)|(?P<op><=|>=|!=|[-+*/^_()\[\]{},;=<>|!%:±∓∪∈&¶]))"
)
PROSE = re.compile(
    r"(?<![\\A-Za-z_])(?:[A-Za-z]{3,}|is|of|to|in|on|at|he|it|by|we|so|as|an|per)(?![A-Za-z(_{])|(?<=\})\s+[a-z]{3,}"
)


class Unreadable(ValueError):
    """The text is no mathematics that this parser knows, or exceeds its limits."""


@dataclass(frozen=True, slots=True)
class Node:
    """A piece of an expression.

    Attributes:
        kind: ``number``, ``symbol``, an operation (``add mul div pow neg pm call``) or a container (``list tuple
            set bare interval matrix equation relation union base``).
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


def number(text: str) -> Node:
    """A number from its digits, exact, with the worth of its last decimal place.

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
    """The tokens of a text as (kind, text, whether a space stood before).

    Raises:
        Unreadable: If a character belongs to no token.
    """
    if len(text) > MAX_TEXT:
        raise Unreadable(f"a text of {len(text)} characters")
    found, at = [], 0
    text = text.rstrip()
    while at < len(text):
        match = _TOKEN.match(text, at)
        if match is None:
            raise Unreadable(f"no mathematics at {text[at : at + 12]!r}")
        kind = match.lastgroup or "op"
        spaced = match.start(kind) > at
        if kind == "word" and 1 < len(match[kind]) <= 3 and match[kind] not in WORDS:
            # a short run of letters is a product, and "ab^2" squares the b alone
            found.extend(("word", letter, spaced and not index) for index, letter in enumerate(match[kind]))
        else:
            found.append((kind, match[kind], spaced))
        at = match.end()
    return found
