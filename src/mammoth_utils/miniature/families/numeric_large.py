"""Numeric families that need a program: products, divisors, equations, counting."""

from __future__ import annotations

import math
from random import Random

from mammoth_utils.miniature.arithmetic import add_in_steps, subtract_in_steps
from mammoth_utils.miniature.families.definition import Solution, Values, family, number, program, ranges


@family(
    "rates", "large", ranges(a=(13, 99), b=(13, 99), c=(20, 400)), comment="price times count and fee",
    story=("{name} sells {b} {thing} at {a} dollars each and gets a tip of {c} dollars. How much is that?",
           "A ticket costs {a} dollars. {name} buys {b} tickets and pays a fee of {c} dollars. "
           "How much does {name} pay?"),
    retold="There are {b} boxes with {a} {thing} in each box, and {c} {thing} beside them. How many {thing} are there?",
    exam="A plumber charges {a} dollars an hour and {c} dollars for the visit. What do {b} hours cost?",
)  # fmt: skip
def revenue(a: int, b: int, c: int) -> Solution:
    steps = f"{a} x {b} = {a * b}. {add_in_steps(a * b, c)}"
    return a * b + c, steps, program("price * count + fee", price=a, count=b, fee=c)


@family(
    "rates", "large",
    lambda rng, wide: {"a": number(rng, 25, 99, wide), "b": number(rng, 11, 48, wide), "c": rng.randint(20, 250)},
    comment="speed times hours without done",
    story="{name} drives {a} km an hour for {b} hours in all and has done {c} km. How many km are left?",
    retold="A pump moves {a} litres an hour. After {b} hours {c} litres are taken out. How many litres are there?",
    exam="A train runs at {a} km an hour for {b} hours. How far is it after {c} km are taken off?",
)  # fmt: skip
def distance(a: int, b: int, c: int) -> Solution:
    steps = f"{a} x {b} = {a * b}. {subtract_in_steps(a * b, c)}"
    return a * b - c, steps, program("speed * hours - done", speed=a, hours=b, done=c)


@family(
    "arithmetic", "large", ranges(a=(200, 999), b=(200, 999)), comment="add large numbers",
    story="{name} counts {a} {thing} in one house and {b} in another. How many {thing} is that?",
    retold="One town has {a} people and the next has {b}. How many people live there?",
    exam="A firm made {a} dollars in May and {b} dollars in June. What did it make in both?",
    formal="Find the total of {a} and {b}.",
    bare="Work out {a} + {b}.",
)  # fmt: skip
def big_sum(a: int, b: int) -> Solution:
    return a + b, add_in_steps(a, b), program("first + second", first=a, second=b)


@family(
    "rates", "large", lambda rng, wide: {"p": 5 * rng.randint(3, 19), "n": 20 * number(rng, 6, 60, wide)},
    comment="percent of a number",
    story="{name} has {n} {thing} and sells {p} percent of them. How many {thing} does {name} sell?",
    exam="What is {p} percent of a sum of {n} dollars?",
    formal="Compute {p} percent of {n}.",
    bare="What is {p}% of {n}?",
)  # fmt: skip
def percent(p: int, n: int) -> Solution:
    steps = f"{p} x {n} = {p * n}. {p * n} / 100 = {p * n // 100}"
    return p * n // 100, steps, program("whole * rate / 100", rate=p, whole=n)


def _draw_average(rng: Random, wide: float) -> Values:
    a, b, c = (number(rng, 100, 600, wide) for _ in range(3))
    return {"a": a, "b": b, "c": c + (-(a + b + c)) % 3}


@family(
    "arithmetic", "large", _draw_average, comment="mean of three",
    exam="Three parcels weigh {a}, {b} and {c} grams. What is the mean weight?",
    formal="Find the mean of {a}, {b} and {c}.",
    retold="The scores were {a}, {b} and {c}. What was the mean score?",
)  # fmt: skip
def average(a: int, b: int, c: int) -> Solution:
    total = a + b + c
    steps = f"{add_in_steps(a, b)}. {add_in_steps(a + b, c)}. {total} / 3 = {total // 3}"
    return total // 3, steps, program("(first + second + third) / 3", first=a, second=b, third=c)


@family(
    "number theory", "large", lambda rng, wide: {"a": number(rng, 200, 2500, wide), "b": number(rng, 13, 97)},
    comment="remainder",
    retold="{name} packs {a} {thing} into boxes of {b}. How many {thing} do not fit?",
    exam="When {a} is divided by {b}, what is left over?",
    formal="Find the remainder when {a} is divided by {b}.",
    bare="Calculate {a} mod {b}.",
)  # fmt: skip
def remainder(a: int, b: int) -> Solution:
    return a % b, f"{a} = {a // b} x {b} + {a % b}", program("number % divisor", number=a, divisor=b)


def _draw_gcd(rng: Random, wide: float) -> Values:
    common = rng.randint(3, 24)
    return {"a": common * number(rng, 7, 45, wide), "b": common * number(rng, 7, 45, wide)}


@family(
    "number theory", "large", _draw_gcd, comment="greatest common divisor",
    exam="Ropes of {a} and {b} metres are cut into equal parts, as long as can be. How long is a part?",
    formal="Find the greatest common divisor of {a} and {b}.",
    bare="Calculate gcd({a}, {b}).",
)  # fmt: skip
def gcd(a: int, b: int) -> Solution:
    common = math.gcd(a, b)
    steps = f"{a} = {common} x {a // common} and {b} = {common} x {b // common}"
    return common, steps, program("math.gcd(first, second)", "import math", first=a, second=b)


@family(
    "algebra", "large", ranges(a=(11, 60), b=(11, 60)), comment="sum of squares",
    exam="Two square fields have sides of {a} and {b} metres. What is their area together?",
    formal="Find the sum of the squares of {a} and {b}.",
    bare="Calculate {a}^2 + {b}^2.",
)  # fmt: skip
def squares(a: int, b: int) -> Solution:
    steps = f"{a} x {a} = {a * a}. {b} x {b} = {b * b}. {add_in_steps(a * a, b * b)}"
    return a * a + b * b, steps, program("first ** 2 + second ** 2", first=a, second=b)


def _draw_linear(rng: Random, wide: float) -> Values:
    a, x, b = rng.randint(3, 29), number(rng, 12, 80, wide), number(rng, 11, 99, wide)
    return {"a": a, "b": b, "c": a * x + b}


@family(
    "algebra", "large", _draw_linear, comment="solve for x",
    exam="{a} times a number plus {b} is {c}. What is the number?",
    formal="If {a}x + {b} = {c}, find x.",
    bare="Solve {a}*x + {b} = {c} for x.",
)  # fmt: skip
def linear(a: int, b: int, c: int) -> Solution:
    lines = ("from sympy import symbols, solve", "x = symbols('x')", f"print(solve({a} * x + {b} - {c}, x)[0])")
    return (c - b) // a, f"{subtract_in_steps(c, b)}. {c - b} / {a} = {(c - b) // a}", "\n".join(lines)


@family(
    "geometry", "large", ranges(a=(11, 45), b=(11, 45), c=(11, 45)), comment="volume",
    exam="A tank is {a} m long, {b} m wide and {c} m high. How many cubic metres does it hold?",
    formal="Find the volume of a box with sides {a}, {b} and {c}.",
)  # fmt: skip
def box(a: int, b: int, c: int) -> Solution:
    steps = f"{a} x {b} = {a * b}. {a * b} x {c} = {a * b * c}"
    return a * b * c, steps, program("length * width * height", length=a, width=b, height=c)


def _draw_frame(rng: Random, wide: float) -> Values:
    c, d = number(rng, 11, 30, wide), number(rng, 11, 30, wide)
    return {"a": c + rng.randint(5, 50), "b": d + rng.randint(5, 50), "c": c, "d": d}


@family(
    "geometry", "large", _draw_frame, comment="area without a part",
    exam="A garden of {a} by {b} metres has a pond of {c} by {d} metres. What area is left?",
    formal="A {c} by {d} rectangle is cut from a {a} by {b} rectangle. Find the area left.",
)  # fmt: skip
def frame(a: int, b: int, c: int, d: int) -> Solution:
    expression = "length * width - inner_length * inner_width"
    steps = f"{a} x {b} = {a * b}. {c} x {d} = {c * d}. {subtract_in_steps(a * b, c * d)}"
    return a * b - c * d, steps, program(expression, length=a, width=b, inner_length=c, inner_width=d)


@family(
    "counting", "large", lambda rng, wide: {"n": number(rng, 9, 60, wide), "k": rng.randint(2, 6)},
    comment="number of ways to choose",
    exam="In how many ways can a team of {k} be picked from {n} people?",
    formal="Find the number of ways to choose {k} of {n} objects.",
)  # fmt: skip
def choose(n: int, k: int) -> Solution:
    ways = math.comb(n, k)
    return ways, f"{n} choose {k} = {ways}", program("math.comb(total, taken)", "import math", total=n, taken=k)


def _draw_series(rng: Random, wide: float) -> Values:
    a = number(rng, 11, 99, wide)
    return {"a": a, "b": a + number(rng, 12, 180, wide)}


@family(
    "counting", "large", _draw_series, comment="sum of a range",
    exam="What do all whole numbers from {a} to {b} add up to?",
    formal="Find the sum of the integers from {a} to {b}.",
    bare="Calculate {a} + ... + {b}.",
)  # fmt: skip
def series(a: int, b: int) -> Solution:
    total = sum(range(a, b + 1))
    steps = f"{b - a + 1} numbers. {a} + {b} = {a + b}. half of the product = {total}"
    return total, steps, program("sum(range(first, last + 1))", first=a, last=b)


def _draw_pair_large(rng: Random, wide: float) -> Values:
    x, y = number(rng, 21, 150, wide), number(rng, 21, 150, wide)
    b = rng.randint(3, 12)
    a = b + rng.randint(2, 9)
    return {"s": x + y, "a": a, "b": b, "t": a * x + b * y}


@family(
    "algebra", "large", _draw_pair_large, comment="two prices and a total",
    retold="There are {s} tickets. Some cost {a} dollars and the others {b} dollars, {t} dollars in all. "
           "How many cost {a} dollars?",
    exam="A farm has {s} birds and pays {a} coins for a goose and {b} for a hen, {t} coins in all. "
         "How many geese are there?",
)  # fmt: skip
def pair_large(s: int, a: int, b: int, t: int) -> Solution:
    rest, apart = t - b * s, a - b
    steps = f"{b} x {s} = {b * s}. {subtract_in_steps(t, b * s)}. {a} - {b} = {apart}"
    steps = f"{steps}. {rest} / {apart} = {rest // apart}"
    return rest // apart, steps, program("(total - low * both) // (high - low)", both=s, high=a, low=b, total=t)


@family(
    "rates", "large", ranges(a=(13, 60), b=(13, 60), c=(13, 60), d=(13, 60)), in_corpus=False,
    story="{name} sells {b} {thing} at {a} dollars each and {d} cakes at {c} dollars each. How much is that?",
    retold="There are {b} boxes with {a} {thing} in each box and {d} bags with {c} in each bag. "
           "How many {thing} are there?",
)  # fmt: skip
def two_kinds(a: int, b: int, c: int, d: int) -> Solution:
    steps = f"{a} x {b} = {a * b}. {c} x {d} = {c * d}. {add_in_steps(a * b, c * d)}"
    expression = "price * count + other_price * other_count"
    return a * b + c * d, steps, program(expression, price=a, count=b, other_price=c, other_count=d)
