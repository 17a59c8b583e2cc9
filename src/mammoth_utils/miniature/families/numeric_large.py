"""Numeric families that need a program: products, divisors, equations, counting."""

from __future__ import annotations

import math
from random import Random

from mammoth_utils.miniature import arithmetic as by_hand
from mammoth_utils.miniature.families.definition import Family, Solved, Values, number
from mammoth_utils.miniature.families.definition import program as program_of


def _draw_revenue(rng: Random, wide: float) -> Values:
    return {"a": number(rng, 13, 99, wide), "b": number(rng, 13, 99, wide), "c": number(rng, 20, 400, wide)}


def _solve_revenue(v: Values) -> Solved:
    product = v["a"] * v["b"]
    program = program_of(v, {"a": "price", "b": "count", "c": "fee"}, "price * count + fee")
    return str(product + v["c"]), f"{v['a']} x {v['b']} = {product}. {by_hand.add(product, v['c'])}", program


def _draw_distance(rng: Random, wide: float) -> Values:
    return {"a": number(rng, 25, 99, wide), "b": number(rng, 11, 48, wide), "c": rng.randint(20, 250)}


def _solve_distance(v: Values) -> Solved:
    product = v["a"] * v["b"]
    program = program_of(v, {"a": "speed", "b": "hours", "c": "done"}, "speed * hours - done")
    return str(product - v["c"]), f"{v['a']} x {v['b']} = {product}. {by_hand.subtract(product, v['c'])}", program


def _draw_big_sum(rng: Random, wide: float) -> Values:
    return {"a": number(rng, 200, 999, wide), "b": number(rng, 200, 999, wide)}


def _solve_big_sum(v: Values) -> Solved:
    program = program_of(v, {"a": "first", "b": "second"}, "first + second")
    return str(v["a"] + v["b"]), by_hand.add(v["a"], v["b"]), program


def _draw_percent(rng: Random, wide: float) -> Values:
    return {"p": 5 * rng.randint(3, 19), "n": 20 * number(rng, 6, 60, wide)}


def _solve_percent(v: Values) -> Solved:
    product = v["p"] * v["n"]
    program = program_of(v, {"p": "rate", "n": "whole"}, "whole * rate / 100")
    return str(product // 100), f"{v['p']} x {v['n']} = {product}. {product} / 100 = {product // 100}", program


def _draw_average(rng: Random, wide: float) -> Values:
    a, b, c = (number(rng, 100, 600, wide) for _ in range(3))
    return {"a": a, "b": b, "c": c + (-(a + b + c)) % 3}


def _solve_average(v: Values) -> Solved:
    total = sum(v.values())
    prose = f"{by_hand.add(v['a'], v['b'])}. {by_hand.add(v['a'] + v['b'], v['c'])}. {total} / 3 = {total // 3}"
    program = program_of(v, {"a": "first", "b": "second", "c": "third"}, "(first + second + third) / 3")
    return str(total // 3), prose, program


def _draw_remainder(rng: Random, wide: float) -> Values:
    return {"a": number(rng, 200, 2500, wide), "b": number(rng, 13, 97)}


def _solve_remainder(v: Values) -> Solved:
    q, r = divmod(v["a"], v["b"])
    program = program_of(v, {"a": "number", "b": "divisor"}, "number % divisor")
    return str(r), f"{v['a']} = {q} x {v['b']} + {r}", program


def _draw_gcd(rng: Random, wide: float) -> Values:
    common = rng.randint(3, 24)
    return {"a": common * number(rng, 7, 45, wide), "b": common * number(rng, 7, 45, wide)}


def _solve_gcd(v: Values) -> Solved:
    g = math.gcd(v["a"], v["b"])
    program = program_of(v, {"a": "first", "b": "second"}, "math.gcd(first, second)", "import math")
    return str(g), f"{v['a']} = {g} x {v['a'] // g} and {v['b']} = {g} x {v['b'] // g}", program


def _draw_squares(rng: Random, wide: float) -> Values:
    return {"a": number(rng, 11, 60, wide), "b": number(rng, 11, 60, wide)}


def _solve_squares(v: Values) -> Solved:
    x, y = v["a"] ** 2, v["b"] ** 2
    program = program_of(v, {"a": "first", "b": "second"}, "first ** 2 + second ** 2")
    return str(x + y), f"{v['a']} x {v['a']} = {x}. {v['b']} x {v['b']} = {y}. {by_hand.add(x, y)}", program


def _draw_linear(rng: Random, wide: float) -> Values:
    a, x, b = rng.randint(3, 29), number(rng, 12, 80, wide), number(rng, 11, 99, wide)
    return {"a": a, "b": b, "c": a * x + b}


def _solve_linear(v: Values) -> Solved:
    rest = v["c"] - v["b"]
    lines = (
        "from sympy import symbols, solve",
        "x = symbols('x')",
        f"print(solve({v['a']} * x + {v['b']} - {v['c']}, x)[0])",
    )
    prose = f"{by_hand.subtract(v['c'], v['b'])}. {rest} / {v['a']} = {rest // v['a']}"
    return str(rest // v["a"]), prose, "\n".join(lines)


def _draw_box(rng: Random, wide: float) -> Values:
    return {key: number(rng, 11, 45, wide) for key in "abc"}


def _solve_box(v: Values) -> Solved:
    flat = v["a"] * v["b"]
    program = program_of(v, {"a": "length", "b": "width", "c": "height"}, "length * width * height")
    return str(flat * v["c"]), f"{v['a']} x {v['b']} = {flat}. {flat} x {v['c']} = {flat * v['c']}", program


def _draw_frame(rng: Random, wide: float) -> Values:
    c, d = number(rng, 11, 30, wide), number(rng, 11, 30, wide)
    return {"a": c + rng.randint(5, 50), "b": d + rng.randint(5, 50), "c": c, "d": d}


def _solve_frame(v: Values) -> Solved:
    outer, inner = v["a"] * v["b"], v["c"] * v["d"]
    names = {"a": "length", "b": "width", "c": "inner_length", "d": "inner_width"}
    program = program_of(v, names, "length * width - inner_length * inner_width")
    prose = f"{v['a']} x {v['b']} = {outer}. {v['c']} x {v['d']} = {inner}. {by_hand.subtract(outer, inner)}"
    return str(outer - inner), prose, program


def _draw_choose(rng: Random, wide: float) -> Values:
    return {"n": number(rng, 9, 60, wide), "k": rng.randint(2, 6)}


def _solve_choose(v: Values) -> Solved:
    ways = math.comb(v["n"], v["k"])
    program = program_of(v, {"n": "total", "k": "taken"}, "math.comb(total, taken)", "import math")
    return str(ways), f"{v['n']} choose {v['k']} = {ways}", program


def _draw_series(rng: Random, wide: float) -> Values:
    a = number(rng, 11, 99, wide)
    return {"a": a, "b": a + number(rng, 12, 180, wide)}


def _solve_series(v: Values) -> Solved:
    count, total = v["b"] - v["a"] + 1, sum(range(v["a"], v["b"] + 1))
    program = program_of(v, {"a": "first", "b": "last"}, "sum(range(first, last + 1))")
    return (
        str(total),
        f"{count} numbers. {v['a']} + {v['b']} = {v['a'] + v['b']}. half of the product = {total}",
        program,
    )


def _draw_two_kinds(rng: Random, wide: float) -> Values:
    return {"a": number(rng, 13, 60, wide), "b": number(rng, 13, 60, wide),
            "c": number(rng, 13, 60, wide), "d": number(rng, 13, 60, wide)}  # fmt: skip


def _solve_two_kinds(v: Values) -> Solved:
    first, second = v["a"] * v["b"], v["c"] * v["d"]
    names = {"a": "price", "b": "count", "c": "other_price", "d": "other_count"}
    program = program_of(v, names, "price * count + other_price * other_count")
    prose = f"{v['a']} x {v['b']} = {first}. {v['c']} x {v['d']} = {second}. {by_hand.add(first, second)}"
    return str(first + second), prose, program


def _draw_pair_large(rng: Random, wide: float) -> Values:
    x, y = number(rng, 21, 150, wide), number(rng, 21, 150, wide)
    b = rng.randint(3, 12)
    a = b + rng.randint(2, 9)
    return {"s": x + y, "a": a, "b": b, "t": a * x + b * y}


def _solve_pair_large(v: Values) -> Solved:
    cheap = v["b"] * v["s"]
    x = (v["t"] - cheap) // (v["a"] - v["b"])
    names = {"s": "both", "a": "high", "b": "low", "t": "total"}
    program = program_of(v, names, "(total - low * both) // (high - low)")
    prose = f"{v['b']} x {v['s']} = {cheap}. {by_hand.subtract(v['t'], cheap)}. {v['a']} - {v['b']} = {v['a'] - v['b']}"
    return str(x), f"{prose}. {v['t'] - cheap} / {v['a'] - v['b']} = {x}", program


LARGE = (
    Family("revenue", "rates", "large", _draw_revenue, _solve_revenue, {
        "story": ("{name} sells {b} {thing} at {a} dollars each and gets a tip of {c} dollars. How much is that?",
                  "A ticket costs {a} dollars. {name} buys {b} tickets and pays a fee of {c} dollars. "
                  "How much does {name} pay?"),
        "retold": ("There are {b} boxes with {a} {thing} in each box, and {c} {thing} beside them. "
                   "How many {thing} are there?",),
        "exam": ("A plumber charges {a} dollars an hour and {c} dollars for the visit. What do {b} hours cost?",)}),
    Family("distance", "rates", "large", _draw_distance, _solve_distance, {
        "story": ("{name} drives {a} km an hour for {b} hours in all and has done {c} km. How many km are left?",),
        "retold": ("A pump moves {a} litres an hour. After {b} hours {c} litres are taken out. "
                   "How many litres are there?",),
        "exam": ("A train runs at {a} km an hour for {b} hours. How far is it after {c} km are taken off?",)}),
    Family("big_sum", "arithmetic", "large", _draw_big_sum, _solve_big_sum, {
        "story": ("{name} counts {a} {thing} in one house and {b} in another. How many {thing} is that?",),
        "retold": ("One town has {a} people and the next has {b}. How many people live there?",),
        "exam": ("A firm made {a} dollars in May and {b} dollars in June. What did it make in both?",),
        "formal": ("Find the total of {a} and {b}.",),
        "bare": ("Work out {a} + {b}.",)}),
    Family("percent", "rates", "large", _draw_percent, _solve_percent, {
        "story": ("{name} has {n} {thing} and sells {p} percent of them. How many {thing} does {name} sell?",),
        "exam": ("What is {p} percent of a sum of {n} dollars?",),
        "formal": ("Compute {p} percent of {n}.",),
        "bare": ("What is {p}% of {n}?",)}),
    Family("average", "arithmetic", "large", _draw_average, _solve_average, {
        "exam": ("Three parcels weigh {a}, {b} and {c} grams. What is the mean weight?",),
        "formal": ("Find the mean of {a}, {b} and {c}.",),
        "retold": ("The scores were {a}, {b} and {c}. What was the mean score?",)}),
    Family("remainder", "number theory", "large", _draw_remainder, _solve_remainder, {
        "retold": ("{name} packs {a} {thing} into boxes of {b}. How many {thing} do not fit?",),
        "exam": ("When {a} is divided by {b}, what is left over?",),
        "formal": ("Find the remainder when {a} is divided by {b}.",),
        "bare": ("Calculate {a} mod {b}.",)}),
    Family("gcd", "number theory", "large", _draw_gcd, _solve_gcd, {
        "exam": ("Ropes of {a} and {b} metres are cut into equal parts, as long as can be. How long is a part?",),
        "formal": ("Find the greatest common divisor of {a} and {b}.",),
        "bare": ("Calculate gcd({a}, {b}).",)}),
    Family("squares", "algebra", "large", _draw_squares, _solve_squares, {
        "exam": ("Two square fields have sides of {a} and {b} metres. What is their area together?",),
        "formal": ("Find the sum of the squares of {a} and {b}.",),
        "bare": ("Calculate {a}^2 + {b}^2.",)}),
    Family("linear", "algebra", "large", _draw_linear, _solve_linear, {
        "exam": ("{a} times a number plus {b} is {c}. What is the number?",),
        "formal": ("If {a}x + {b} = {c}, find x.",),
        "bare": ("Solve {a}*x + {b} = {c} for x.",)}),
    Family("box", "geometry", "large", _draw_box, _solve_box, {
        "exam": ("A tank is {a} m long, {b} m wide and {c} m high. How many cubic metres does it hold?",),
        "formal": ("Find the volume of a box with sides {a}, {b} and {c}.",)}),
    Family("frame", "geometry", "large", _draw_frame, _solve_frame, {
        "exam": ("A garden of {a} by {b} metres has a pond of {c} by {d} metres. What area is left?",),
        "formal": ("A {c} by {d} rectangle is cut from a {a} by {b} rectangle. Find the area left.",)}),
    Family("choose", "counting", "large", _draw_choose, _solve_choose, {
        "exam": ("In how many ways can a team of {k} be picked from {n} people?",),
        "formal": ("Find the number of ways to choose {k} of {n} objects.",)}),
    Family("series", "counting", "large", _draw_series, _solve_series, {
        "exam": ("What do all whole numbers from {a} to {b} add up to?",),
        "formal": ("Find the sum of the integers from {a} to {b}.",),
        "bare": ("Calculate {a} + ... + {b}.",)}),
    Family("pair_large", "algebra", "large", _draw_pair_large, _solve_pair_large, {
        "retold": ("There are {s} tickets. Some cost {a} dollars and the others {b} dollars, {t} dollars in all. "
                   "How many cost {a} dollars?",),
        "exam": ("A farm has {s} birds and pays {a} coins for a goose and {b} for a hen, {t} coins in all. "
                 "How many geese are there?",)}),
    Family("two_kinds", "rates", "large", _draw_two_kinds, _solve_two_kinds, {
        "story": ("{name} sells {b} {thing} at {a} dollars each and {d} cakes at {c} dollars each. How much is that?",),
        "retold": ("There are {b} boxes with {a} {thing} in each box and {d} bags with {c} in each bag. "
                   "How many {thing} are there?",)}),
)  # fmt: skip
