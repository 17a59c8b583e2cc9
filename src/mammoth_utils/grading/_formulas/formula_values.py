"""The values of formulas.

Rational numbers are exact fractions of bounded size, irrational ones floats. A formula with symbols has a value at
each of a few fixed points of either sign.
"""

from __future__ import annotations

import cmath
import math
import operator
import zlib
from fractions import Fraction
from functools import lru_cache

from mammoth_utils.grading._formulas.parser import Node

MAX_BITS = 16384
MAX_STEPS = 600
POINTS = 3
_CONSTANTS = {"pi": math.pi, "e": math.e, "i": 1j, "I": 1j, "degrees": math.pi / 180}  # degrees: inside a function
_FUNCTIONS = {
    "sin": cmath.sin, "cos": cmath.cos, "tan": cmath.tan, "sinh": cmath.sinh, "cosh": cmath.cosh, "tanh": cmath.tanh,
    "asin": cmath.asin, "acos": cmath.acos, "atan": cmath.atan, "log": cmath.log, "exp": cmath.exp,
    "acot": lambda x: cmath.atan(1 / x), "asec": lambda x: cmath.acos(1 / x), "acsc": lambda x: cmath.asin(1 / x),
    "cis": lambda x: cmath.exp(1j * x),
    "cot": lambda x: 1 / cmath.tan(x), "sec": lambda x: 1 / cmath.cos(x), "csc": lambda x: 1 / cmath.sin(x),
}  # fmt: skip
Value = Fraction | float | complex


class Undefined(ArithmeticError):
    """The expression has no finite value at this point, or one beyond the limits."""


class Evaluation:
    """One walk over a tree at one point: bounded in steps and in the size of its numbers.

    Attributes:
        point: Which of the fixed points symbols are read at.
        real: Whether even roots and logarithms of negative numbers have no value, as in real analysis.
        largest: The largest magnitude met, which says how far rounding can have reached.
    """

    def __init__(self, point: int = 0, real: bool = False):
        self.point = point
        self.real = real
        self.largest = 0.0
        self.steps = 0

    def value(self, node: Node) -> Value:
        """Return the node's value; raise `Undefined` if it has none here, or one that is too large."""
        self.steps += 1
        if self.steps > MAX_STEPS:
            raise Undefined("too many steps")
        try:
            value = self._value(node)
        except (ZeroDivisionError, OverflowError, ValueError) as error:
            raise Undefined(str(error)) from error
        if isinstance(value, Fraction):
            if value.numerator.bit_length() + value.denominator.bit_length() > MAX_BITS:
                raise Undefined("too large a number")
            return value
        if isinstance(value, complex) and value.imag == 0:
            value = value.real
        if not cmath.isfinite(value):
            raise Undefined("not finite")
        self.largest = max(self.largest, abs(value))
        return value

    def _value(self, node: Node) -> Value:
        kind = node.kind
        if kind == "number":
            return node.value
        if kind == "symbol":
            if node.name == "oo":
                raise Undefined("infinity")
            return _CONSTANTS[node.name] if node.name in _CONSTANTS else point_of(node.name, self.point)
        if kind == "call":
            return self.called(node.name, [self.value(part) for part in node.parts])
        if kind not in _OPERATIONS:
            raise Undefined(f"a {node.kind} is no value")
        parts = [self.value(part) for part in node.parts]
        if kind == "ratio" and len(parts) != 2:
            raise Undefined("a ratio of more than two")
        if kind == "pow" and self.real and _is_negative(parts[0]) and not _has_odd_root(parts[1]):
            raise Undefined("an even root of a negative number")
        return _OPERATIONS[kind](*parts)

    def called(self, name: str, arguments: list[Value]) -> Value:
        """Return a function's value at its arguments."""
        first = arguments[0]
        if self.real and name in ("sqrt", "log") and _is_negative(first):
            raise Undefined(f"{name} of a negative number")
        if name == "sqrt":
            return power(first, Fraction(1, 2))
        if name == "cbrt":
            return power(first, Fraction(1, 3))
        if name == "abs":
            return abs(first)
        if name in ("floor", "ceil"):
            if isinstance(first, complex):
                raise Undefined("the floor of a complex number")
            return Fraction(math.floor(first) if name == "floor" else math.ceil(first))
        if name in ("factorial", "binomial"):
            if not all(isinstance(n, Fraction) and n.denominator == 1 and 0 <= n <= 400 for n in arguments):
                return self.gamma(name, arguments)
            whole = [int(argument) for argument in arguments]
            return Fraction(math.factorial(whole[0]) if name == "factorial" else math.comb(whole[0], whole[1]))
        if name == "exp" and first == 0:
            return Fraction(1)
        if name not in _FUNCTIONS:
            raise Undefined(f"unknown function {name}")
        return _FUNCTIONS[name](complex(first))

    def gamma(self, name: str, arguments: list[Value]) -> Value:
        """Return the factorial or binomial of a letter's value, by which ``(n+1)!/n!`` is ``n+1``."""
        if any(isinstance(n, complex) or abs(n) > 100 for n in arguments):
            raise Undefined(f"{name} of what is no small real number")
        if name == "factorial":
            return math.gamma(float(arguments[0]) + 1)
        above, below = (float(n) for n in arguments)
        return math.gamma(above + 1) / (math.gamma(below + 1) * math.gamma(above - below + 1))


def _is_negative(value: Value) -> bool:
    return not isinstance(value, complex) and value < 0


def _has_odd_root(exponent: Value) -> bool:
    """Return whether a negative number has a real power: a whole one, or one with an odd root."""
    return isinstance(exponent, Fraction) and exponent.denominator % 2 == 1


def power(base: Value, exponent: Value) -> Value:
    """Return ``base ** exponent``, exact where both are rational and the result is; no huge number is ever made."""
    if isinstance(base, Fraction) and isinstance(exponent, Fraction):
        if exponent.denominator == 1:
            bits = max(base.numerator.bit_length(), base.denominator.bit_length())
            if base not in (0, 1, -1) and abs(exponent) * (bits - 1) > MAX_BITS:
                raise Undefined("too large a power")
            if abs(exponent) > 10**6:
                raise Undefined("too large an exponent")
            return base**exponent
        root = exact_root(base, exponent.denominator)
        if root is not None:
            return power(root, Fraction(exponent.numerator))
        if base < 0 and exponent.denominator % 2:  # the real odd root, which is what a reader means
            return -(float(-base) ** float(exponent)) if exponent.numerator % 2 else float(-base) ** float(exponent)
    if not base:
        return Fraction(0) if complex(exponent).real > 0 else 1 / Fraction(0)
    if not isinstance(base, complex) and not isinstance(exponent, complex) and base > 0:
        return float(base) ** float(exponent)
    return complex(base) ** complex(exponent)


_OPERATIONS = {
    "neg": operator.neg, "add": operator.add, "mul": operator.mul, "div": operator.truediv, "ratio": operator.truediv,
    "pow": power, "percent": lambda value: value / 100,
}  # fmt: skip


def exact_root(base: Fraction, index: int) -> Fraction | None:
    """Return the rational root of that index, if there is one."""
    if base < 0 and index % 2 == 0:
        return None
    if index == 2:
        top, bottom = math.isqrt(base.numerator), math.isqrt(base.denominator)
    elif index < 20 and max(abs(base.numerator), base.denominator) < 2**60:
        top, bottom = (round(abs(part) ** (1 / index)) for part in (base.numerator, base.denominator))
    else:
        return None
    if top**index == abs(base.numerator) and bottom**index == base.denominator:
        return Fraction(top if base > 0 else -top, bottom)
    return None


@lru_cache(maxsize=4096)
def point_of(name: str, point: int) -> Fraction:
    """Return a symbol's value at one of the fixed points: between 0.1 and 4, negative at the second."""
    digest = zlib.crc32(f"{point}:{name}".encode())
    if point >= POINTS:  # further ones, between 0 and 1, for what has no value at the first
        return Fraction(digest % 997 + 1, 1009)
    return Fraction(digest % 15013 + 401, 4001) * (-1 if point == 1 else 1)


def symbols(node: Node) -> frozenset[str]:
    """Return the names of the unknowns in a tree."""
    if node.kind == "symbol":
        return frozenset() if node.name in _CONSTANTS or node.name == "oo" else frozenset((node.name,))
    return frozenset().union(*(symbols(part) for part in node.parts)) if node.parts else frozenset()


def constant(node: Node) -> Value:
    """Return the value of an expression; raise `Undefined` if it has unknowns or no finite value."""
    if symbols(node):
        raise Undefined("an expression with unknowns")
    return Evaluation().value(node)
