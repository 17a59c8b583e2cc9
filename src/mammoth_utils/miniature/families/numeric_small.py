"""Numeric families that prose can compute: one or two steps on small numbers."""

from __future__ import annotations

from random import Random

from mammoth_utils.miniature.arithmetic import add_in_steps, divide_in_steps, multiply_in_steps, subtract_in_steps
from mammoth_utils.miniature.families.definition import Solution, Values, family, number, program, ranges


@family(
    "arithmetic", "small", ranges(a=(12, 99), b=(12, 99)), comment="add",
    story=("{name} has {a} {thing} and gets {b} more. How many {thing} does {name} have now?",
           "{name} picks {a} {thing} on one day and {b} on the next. How many {thing} is that?"),
    retold="There were {a} {thing} in the box. {name} put in {b} more. How many are in the box?",
    exam="A shelf holds {a} {thing}. If {b} are added, what is the new number?",
    formal="Find the sum of {a} and {b}.",
    bare="What is {a} + {b}?",
)  # fmt: skip
def gain(a: int, b: int) -> Solution:
    return a + b, add_in_steps(a, b), program("start + more", start=a, more=b)


def _draw_loss(rng: Random, wide: float) -> Values:
    a, b = number(rng, 30, 99, wide), number(rng, 12, 70, wide)
    return {"a": max(a, b) + 5, "b": min(a, b)}


@family(
    "arithmetic", "small", _draw_loss, comment="take away",
    story=("{name} has {a} {thing} and gives away {b}. How many {thing} are left?",
           "{name} had {a} {thing} but lost {b} of them. How many {thing} remain?"),
    retold="From the {a} {thing} in the box {name} took {b}. How many are in the box?",
    exam="A shelf holds {a} {thing}. If {b} are sold, what is the new number?",
    formal="Find the difference of {a} and {b}.",
    bare="What is {a} - {b}?",
)  # fmt: skip
def loss(a: int, b: int) -> Solution:
    return a - b, subtract_in_steps(a, b), program("start - gone", start=a, gone=b)


@family(
    "arithmetic", "small", lambda rng, wide: {"a": number(rng, 12, 99, wide), "d": rng.randint(3, 9)},
    comment="multiply",
    story=("Each bag holds {a} {thing}. {name} fills {d} bags. How many {thing} is that?",
           "{name} reads {a} pages a day for {d} days. How many pages is that?"),
    retold="There are {d} rows with {a} {thing} in each row. How many {thing} are there?",
    exam="If one crate weighs {a} kg, what do {d} such crates weigh?",
    formal="Find the product of {a} and {d}.",
    bare="What is {a} * {d}?",
)  # fmt: skip
def groups(a: int, d: int) -> Solution:
    return a * d, multiply_in_steps(a, d), program("each * groups", each=a, groups=d)


def _draw_share(rng: Random, wide: float) -> Values:
    d = rng.randint(3, 9)
    return {"a": d * number(rng, 12, 60, wide), "d": d}


@family(
    "arithmetic", "small", _draw_share, comment="divide",
    story=("{name} shares {a} {thing} equally among {d} friends. How many {thing} does each get?",
           "{name} packs {a} {thing} into {d} equal bags. How many {thing} are in each bag?"),
    retold="The {a} {thing} stand in {d} equal rows. How many are in each row?",
    exam="If {d} equal crates weigh {a} kg, what does one weigh?",
    formal="Find the quotient of {a} and {d}.",
    bare="What is {a} / {d}?",
)  # fmt: skip
def share(a: int, d: int) -> Solution:
    return a // d, divide_in_steps(a, d), program("total // groups", total=a, groups=d)


def _draw_gain_loss(rng: Random, wide: float) -> Values:
    a, b = number(rng, 12, 80, wide), number(rng, 12, 80, wide)
    return {"a": a, "b": b, "c": rng.randint(5, a + b - 5)}


@family(
    "arithmetic", "small", _draw_gain_loss, comment="add and take away",
    story=("{name} has {a} {thing}, gets {b} more and then loses {c}. How many {thing} are left?",
           "{name} bakes {a} cakes, then {b} more, and sells {c}. How many cakes are left?"),
    retold="There were {a} {thing} in the box. {name} put in {b} and took out {c}. How many are in the box?",
    exam="A shelf holds {a} {thing}. If {b} are added and {c} are sold, what is the new number?",
    formal="Add {b} to {a} and subtract {c}.",
    bare="What is {a} + {b} - {c}?",
)  # fmt: skip
def gain_loss(a: int, b: int, c: int) -> Solution:
    steps = f"{add_in_steps(a, b)}. {subtract_in_steps(a + b, c)}"
    return a + b - c, steps, program("start + more - gone", start=a, more=b, gone=c)


@family(
    "arithmetic", "small", ranges(a=(12, 70), b=(12, 70), c=(12, 70)), comment="add three numbers",
    story=("{name} has {a} red, {b} blue and {c} green {thing}. How many {thing} is that?",
           "{name} walks {a} steps, then {b} steps, then {c} steps. How many steps is that?"),
    retold="The boxes hold {a}, {b} and {c} {thing}. How many are in the boxes?",
    exam="Three crates weigh {a}, {b} and {c} kg. What do they weigh together?",
    formal="Find the sum of {a}, {b} and {c}.",
    bare="What is {a} + {b} + {c}?",
)  # fmt: skip
def three(a: int, b: int, c: int) -> Solution:
    steps = f"{add_in_steps(a, b)}. {add_in_steps(a + b, c)}"
    return a + b + c, steps, program("first + second + third", first=a, second=b, third=c)


def _draw_pair_small(rng: Random, wide: float) -> Values:
    small, difference = number(rng, 5, 35, wide), 2 * number(rng, 2, 12, wide)
    return {"s": 2 * small + difference, "d": difference}


@family(
    "algebra", "small", _draw_pair_small, comment="larger of two from sum and difference",
    retold="Two numbers add up to {s}. One is {d} more than the other. What is the larger one?",
    exam="{name} and a friend have {s} {thing} together. {name} has {d} more. How many does {name} have?",
    formal="Given x + y = {s} and x - y = {d}, find x.",
)  # fmt: skip
def pair_small(s: int, d: int) -> Solution:
    steps = f"{add_in_steps(s, d)}. {divide_in_steps(s + d, 2)}"
    return (s + d) // 2, steps, program("(both + apart) // 2", both=s, apart=d)
