"""Numeric families that prose can compute: one or two steps on small numbers."""

from __future__ import annotations

from random import Random

from mammoth_utils.miniature import arithmetic as by_hand
from mammoth_utils.miniature.families.definition import Family, Solved, Values, number
from mammoth_utils.miniature.families.definition import program as program_of


def _draw_gain(rng: Random, wide: float) -> Values:
    return {"a": number(rng, 12, 99, wide), "b": number(rng, 12, 99, wide)}


def _solve_gain(v: Values) -> Solved:
    return str(v["a"] + v["b"]), by_hand.add(v["a"], v["b"]), program_of(v, {"a": "start", "b": "more"}, "start + more")


def _draw_loss(rng: Random, wide: float) -> Values:
    a, b = number(rng, 30, 99, wide), number(rng, 12, 70, wide)
    return {"a": max(a, b) + 5, "b": min(a, b)}


def _solve_loss(v: Values) -> Solved:
    program = program_of(v, {"a": "start", "b": "gone"}, "start - gone")
    return str(v["a"] - v["b"]), by_hand.subtract(v["a"], v["b"]), program


def _draw_groups(rng: Random, wide: float) -> Values:
    return {"a": number(rng, 12, 99, wide), "d": rng.randint(3, 9)}


def _solve_groups(v: Values) -> Solved:
    program = program_of(v, {"a": "each", "d": "groups"}, "each * groups")
    return str(v["a"] * v["d"]), by_hand.times_digit(v["a"], v["d"]), program


def _draw_share(rng: Random, wide: float) -> Values:
    d = rng.randint(3, 9)
    return {"a": d * number(rng, 12, 60, wide), "d": d}


def _solve_share(v: Values) -> Solved:
    program = program_of(v, {"a": "total", "d": "groups"}, "total // groups")
    return str(v["a"] // v["d"]), by_hand.divide_digit(v["a"], v["d"]), program


def _draw_gain_loss(rng: Random, wide: float) -> Values:
    a, b = number(rng, 12, 80, wide), number(rng, 12, 80, wide)
    return {"a": a, "b": b, "c": rng.randint(5, a + b - 5)}


def _solve_gain_loss(v: Values) -> Solved:
    total = v["a"] + v["b"]
    prose = f"{by_hand.add(v['a'], v['b'])}. {by_hand.subtract(total, v['c'])}"
    return str(total - v["c"]), prose, program_of(v, {"a": "start", "b": "more", "c": "gone"}, "start + more - gone")


def _draw_three(rng: Random, wide: float) -> Values:
    return {key: number(rng, 12, 70, wide) for key in "abc"}


def _solve_three(v: Values) -> Solved:
    total = v["a"] + v["b"]
    prose = f"{by_hand.add(v['a'], v['b'])}. {by_hand.add(total, v['c'])}"
    program = program_of(v, {"a": "first", "b": "second", "c": "third"}, "first + second + third")
    return str(total + v["c"]), prose, program


def _draw_pair_small(rng: Random, wide: float) -> Values:
    small, difference = number(rng, 5, 35, wide), 2 * number(rng, 2, 12, wide)
    return {"s": 2 * small + difference, "d": difference}


def _solve_pair_small(v: Values) -> Solved:
    both = v["s"] + v["d"]
    prose = f"{by_hand.add(v['s'], v['d'])}. {by_hand.divide_digit(both, 2)}"
    return str(both // 2), prose, program_of(v, {"s": "both", "d": "apart"}, "(both + apart) // 2")


SMALL = (
    Family("gain", "arithmetic", "small", _draw_gain, _solve_gain, {
        "story": ("{name} has {a} {thing} and gets {b} more. How many {thing} does {name} have now?",
                  "{name} picks {a} {thing} on one day and {b} on the next. How many {thing} is that?"),
        "retold": ("There were {a} {thing} in the box. {name} put in {b} more. How many are in the box?",),
        "exam": ("A shelf holds {a} {thing}. If {b} are added, what is the new number?",),
        "formal": ("Find the sum of {a} and {b}.",),
        "bare": ("What is {a} + {b}?",)}),
    Family("loss", "arithmetic", "small", _draw_loss, _solve_loss, {
        "story": ("{name} has {a} {thing} and gives away {b}. How many {thing} are left?",
                  "{name} had {a} {thing} but lost {b} of them. How many {thing} remain?"),
        "retold": ("From the {a} {thing} in the box {name} took {b}. How many are in the box?",),
        "exam": ("A shelf holds {a} {thing}. If {b} are sold, what is the new number?",),
        "formal": ("Find the difference of {a} and {b}.",),
        "bare": ("What is {a} - {b}?",)}),
    Family("groups", "arithmetic", "small", _draw_groups, _solve_groups, {
        "story": ("Each bag holds {a} {thing}. {name} fills {d} bags. How many {thing} is that?",
                  "{name} reads {a} pages a day for {d} days. How many pages is that?"),
        "retold": ("There are {d} rows with {a} {thing} in each row. How many {thing} are there?",),
        "exam": ("If one crate weighs {a} kg, what do {d} such crates weigh?",),
        "formal": ("Find the product of {a} and {d}.",),
        "bare": ("What is {a} * {d}?",)}),
    Family("share", "arithmetic", "small", _draw_share, _solve_share, {
        "story": ("{name} shares {a} {thing} equally among {d} friends. How many {thing} does each get?",
                  "{name} packs {a} {thing} into {d} equal bags. How many {thing} are in each bag?"),
        "retold": ("The {a} {thing} stand in {d} equal rows. How many are in each row?",),
        "exam": ("If {d} equal crates weigh {a} kg, what does one weigh?",),
        "formal": ("Find the quotient of {a} and {d}.",),
        "bare": ("What is {a} / {d}?",)}),
    Family("gain_loss", "arithmetic", "small", _draw_gain_loss, _solve_gain_loss, {
        "story": ("{name} has {a} {thing}, gets {b} more and then loses {c}. How many {thing} are left?",
                  "{name} bakes {a} cakes, then {b} more, and sells {c}. How many cakes are left?"),
        "retold": ("There were {a} {thing} in the box. {name} put in {b} and took out {c}. How many are in the box?",),
        "exam": ("A shelf holds {a} {thing}. If {b} are added and {c} are sold, what is the new number?",),
        "formal": ("Add {b} to {a} and subtract {c}.",),
        "bare": ("What is {a} + {b} - {c}?",)}),
    Family("three", "arithmetic", "small", _draw_three, _solve_three, {
        "story": ("{name} has {a} red, {b} blue and {c} green {thing}. How many {thing} is that?",
                  "{name} walks {a} steps, then {b} steps, then {c} steps. How many steps is that?"),
        "retold": ("The boxes hold {a}, {b} and {c} {thing}. How many are in the boxes?",),
        "exam": ("Three crates weigh {a}, {b} and {c} kg. What do they weigh together?",),
        "formal": ("Find the sum of {a}, {b} and {c}.",),
        "bare": ("What is {a} + {b} + {c}?",)}),
    Family("pair_small", "algebra", "small", _draw_pair_small, _solve_pair_small, {
        "retold": ("Two numbers add up to {s}. One is {d} more than the other. What is the larger one?",),
        "exam": ("{name} and a friend have {s} {thing} together. {name} has {d} more. How many does {name} have?",),
        "formal": ("Given x + y = {s} and x - y = {d}, find x.",)}),
)  # fmt: skip
