"""Calculus: slopes, derivatives, integrals and largest values."""

from __future__ import annotations

from random import Random

from mammoth_utils.miniature.arithmetic import divide_in_steps, subtract_in_steps
from mammoth_utils.miniature.families.definition import Solution, Values, family, number, program


@family(
    "calculus", "large",
    lambda rng, wide: {"a": rng.randint(3, 20), "n": rng.randint(2, 3), "b": number(rng, 4, 30, wide)},
    comment="derivative at a point",
    exam=("A car is {a}t^{n} metres away after t seconds. What is its speed, in metres per second, when t is {b}?",
          "A curve is given by y = {a}x^{n}. How steep is it at x = {b}?"),
    formal=("Find the derivative of {a}x^{n} at x = {b}.", "For f(x) = {a}x^{n}, find the value of f' at {b}."),
    bare=("Calculate d/dx {a}*x^{n} at x = {b}.", "What is y' for y = {a}*x^{n}, x = {b}?"),
)  # fmt: skip
def derivative(a: int, n: int, b: int) -> Solution:
    steps, value = [f"{a} x {n} = {a * n}"], a * n
    for _ in range(n - 1):
        steps.append(f"{value} x {b} = {value * b}")
        value *= b
    lines = ("from sympy import symbols, diff", "x = symbols('x')", f"print(diff({a} * x ** {n}, x).subs(x, {b}))")
    return value, ". ".join(steps), "\n".join(lines)


def _draw_integral(rng: Random, wide: float) -> Values:
    a, b, c = rng.randint(3, 30), rng.randint(11, 99), number(rng, 4, 30, wide)
    return {"a": a, "b": b, "c": c + a * c % 2}


@family(
    "calculus", "large", _draw_integral, comment="integral",
    exam=("A tap gives {a}t + {b} litres a minute, t minutes after its start. "
          "How many litres does it give in the first {c} minutes?",
          "What is the area under the line y = {a}x + {b} from x = 0 to x = {c}?"),
    formal=("Find the integral of {a}x + {b} from 0 to {c}.", "Integrate f(x) = {a}x + {b} over x from 0 to {c}."),
    bare=("Calculate int({a}*x + {b}, x, 0, {c}).", "Given F' = {a}*x + {b} and F(0) = 0, what is F({c})?"),
)  # fmt: skip
def integral(a: int, b: int, c: int) -> Solution:
    upper = a * c * c // 2
    steps = (
        f"{a} x {c} x {c} = {2 * upper}. half of it = {upper}. {b} x {c} = {b * c}. {upper} + {b * c} = {upper + b * c}"
    )
    lines = (
        "from sympy import symbols, integrate",
        "x = symbols('x')",
        f"print(integrate({a} * x + {b}, (x, 0, {c})))",
    )
    return upper + b * c, steps, "\n".join(lines)


def _draw_peak(rng: Random, wide: float) -> Values:
    a = rng.randint(3, 24)
    return {"a": a, "b": 2 * a * number(rng, 6, 70, wide), "c": rng.randint(11, 99)}


@family(
    "calculus", "large", _draw_peak, comment="place of the maximum",
    exam=("A ball is -{a}t^2 + {b}t + {c} cm high after t seconds. After how many seconds is it highest?",
          "At a price of x dollars a firm earns -{a}x^2 + {b}x + {c} dollars. Which price earns most?"),
    formal=("Find the x at which -{a}x^2 + {b}x + {c} is largest.",
            "For f(x) = -{a}x^2 + {b}x + {c}, find the x of its maximum."),
    bare=("Calculate argmax(-{a}*x^2 + {b}*x + {c}).", "Solve d/dx (-{a}*x^2 + {b}*x + {c}) = 0 for x."),
)  # fmt: skip
def peak(a: int, b: int, c: int) -> Solution:
    lines = ("from sympy import symbols, diff, solve", "x = symbols('x')")
    lines = (*lines, f"print(solve(diff(-{a} * x ** 2 + {b} * x + {c}, x), x)[0])")
    return b // (2 * a), f"2 x {a} = {2 * a}. {b} / {2 * a} = {b // (2 * a)}", "\n".join(lines)


def _draw_slope(rng: Random, wide: float) -> Values:
    run = rng.randint(2, 8)
    a, b = rng.randint(1, 9 - run), rng.randint(11, 99)
    return {"a": a, "b": b, "c": a + run, "d": b + run * number(rng, 4, 50, wide)}


@family(
    "calculus", "small", _draw_slope, comment="slope of a line",
    exam=("After {a} minutes a tank holds {b} litres, after {c} minutes {d} litres. "
          "By how many litres a minute does it rise?",
          "A straight line goes through the points ({a}, {b}) and ({c}, {d}). How steep is it?"),
    formal=("Find the slope of the line through ({a}, {b}) and ({c}, {d}).",
            "A linear function has f({a}) = {b} and f({c}) = {d}. Find its derivative."),
    bare=("What is dy/dx from ({a}, {b}) to ({c}, {d})?", "What is m in y = m*x + n for ({a}, {b}), ({c}, {d})?"),
)  # fmt: skip
def slope(a: int, b: int, c: int, d: int) -> Solution:
    steps = f"{subtract_in_steps(d, b)}. {subtract_in_steps(c, a)}. {divide_in_steps(d - b, c - a)}"
    return (d - b) // (c - a), steps, program("(high - low) / (end - start)", start=a, low=b, end=c, high=d)
