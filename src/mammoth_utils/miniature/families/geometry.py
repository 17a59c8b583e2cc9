"""Geometry: angles, lengths, areas and volumes."""

from __future__ import annotations

import math
from random import Random

from mammoth_utils.miniature.arithmetic import add_in_steps, multiply_in_steps, subtract_in_steps
from mammoth_utils.miniature.families.definition import Solution, Values, family, number, program, ranges

TRIPLES = (
    *((3, 4), (5, 12), (8, 15), (7, 24), (20, 21), (12, 35), (9, 40), (28, 45)),
    *((11, 60), (33, 56), (16, 63), (48, 55), (13, 84), (36, 77), (39, 80), (65, 72)),
)  # legs of right triangles whose sides are whole numbers


@family(
    "geometry", "large", ranges(a=(11, 33), b=(11, 33), c=(11, 33)), comment="volume",
    story=("{name} fills a box {a} cm long, {b} cm wide and {c} cm high with sand. How many cubic cm of sand is that?",
           "{name} builds a block of cubes, {a} long, {b} wide and {c} high. How many cubes does it have?"),
    exam=("A tank is {a} m long, {b} m wide and {c} m high. How many cubic metres does it hold?",
          "A room measures {a} by {b} by {c} metres. What is its volume in cubic metres?"),
    formal=("Find the volume of a box with sides {a}, {b} and {c}.",
            "A cuboid has edges of lengths {a}, {b} and {c}. Determine its volume."),
)  # fmt: skip
def box(a: int, b: int, c: int) -> Solution:
    steps = f"{a} x {b} = {a * b}. {a * b} x {c} = {a * b * c}"
    return a * b * c, steps, program("length * width * height", length=a, width=b, height=c)


def _draw_frame(rng: Random, wide: float) -> Values:
    c, d = number(rng, 11, 30, wide), number(rng, 11, 30, wide)
    return {"a": c + rng.randint(5, 50), "b": d + rng.randint(5, 50), "c": c, "d": d}


@family(
    "geometry", "large", _draw_frame, comment="area without a part",
    story=("{name} has a sheet of {a} by {b} cm and cuts a window of {c} by {d} cm into it. What area is left?",
           "{name} has a room of {a} by {b} feet with a rug of {c} by {d} feet. What area of the floor is bare?"),
    exam=("A garden of {a} by {b} metres has a pond of {c} by {d} metres. What area is left?",
          "A wall of {a} by {b} metres has a gate of {c} by {d} metres. What is its area without the gate?"),
    formal=("From a rectangle of {a} by {b} one of {c} by {d} is cut. Find the area left.",
            "A rectangle with sides {a} and {b} has one with sides {c} and {d} inside. Find the area between them."),
)  # fmt: skip
def frame(a: int, b: int, c: int, d: int) -> Solution:
    expression = "length * width - inner_length * inner_width"
    steps = f"{a} x {b} = {a * b}. {c} x {d} = {c * d}. {subtract_in_steps(a * b, c * d)}"
    return a * b - c * d, steps, program(expression, length=a, width=b, inner_length=c, inner_width=d)


def _draw_angle(rng: Random, wide: float) -> Values:
    a = number(rng, 15, 85, min(wide, 1.4))
    return {"a": a, "b": rng.randint(12, min(85, 170 - a))}


@family(
    "geometry", "small", _draw_angle, comment="third angle",
    story=("{name} draws a triangle with angles of {a} and {b} degrees. How many degrees does the third angle have?",
           "{name} cuts a triangle from paper. Two corners have {a} and {b} degrees. How many does the last one have?"),
    exam=("Two angles of a triangle are {a} and {b} degrees. How large is the third?",
          "A roof is a triangle with angles of {a} and {b} degrees at its ends. What is the angle at the top?"),
    formal=("In a triangle ABC, angle A is {a} degrees and angle B is {b} degrees. Find angle C.",
            "A triangle has angles {a}, {b} and x, in degrees. Find x."),
)  # fmt: skip
def angle(a: int, b: int) -> Solution:
    steps = f"{add_in_steps(a, b)}. {subtract_in_steps(180, a + b)}"
    return 180 - a - b, steps, program("180 - (angle + other_angle)", angle=a, other_angle=b)


@family(
    "geometry", "small", ranges(a=(12, 80), b=(11, 80)), comment="length around",
    story=("{name} runs once around a field of {a} by {b} metres. How many metres does {name} run?",
           "{name} puts a ribbon around a picture {a} cm long and {b} cm wide. How long is the ribbon?"),
    exam=("A garden is {a} m long and {b} m wide. How long is the fence around it?",
          "A tape goes once around a window of {a} by {b} cm. How many cm of tape does it take?"),
    formal=("Find the perimeter of a rectangle with sides {a} and {b}.",
            "A rectangle has length {a} and width {b}. Determine its perimeter."),
)  # fmt: skip
def perimeter(a: int, b: int) -> Solution:
    steps = f"{add_in_steps(a, b)}. {multiply_in_steps(a + b, 2)}"
    return 2 * (a + b), steps, program("2 * (length + width)", length=a, width=b)


@family(
    "geometry", "large", lambda rng, wide: {"a": number(rng, 13, 90, wide), "b": 2 * number(rng, 6, 45, wide)},
    comment="area of a triangle",
    story=("{name} cuts a triangle with a base of {a} cm and a height of {b} cm. What is its area in square cm?",
           "{name} sews a sail, a triangle {a} feet wide at the base and {b} feet high. How many square feet is that?"),
    exam=("A field is a triangle with a base of {a} metres and a height of {b} metres. What is its area?",
          "The end of a roof is a triangle, {a} m at the base and {b} m high. How many square metres is it?"),
    formal=("Find the area of a triangle with base {a} and height {b}.",
            "A triangle has base {a} and altitude {b}. Determine its area."),
)  # fmt: skip
def triangle(a: int, b: int) -> Solution:
    steps = f"{a} x {b} = {a * b}. {a * b} / 2 = {a * b // 2}"
    return a * b // 2, steps, program("base * height / 2", base=a, height=b)


def _draw_hypotenuse(rng: Random, wide: float) -> Values:
    scale = number(rng, 1, 15, wide)
    a, b = rng.sample(rng.choice(TRIPLES), 2)
    return {"a": a * scale, "b": b * scale}


@family(
    "geometry", "large", _draw_hypotenuse, comment="longest side, right angle",
    story=("{name} walks {a} metres north and then {b} metres east. How far is the start in a straight line?",
           "{name} cuts a sheet of {a} by {b} mm from corner to corner. How many mm long is the cut?"),
    exam=("A gate is {a} cm wide and {b} cm high. How long is a bar from one corner to the opposite one?",
          "A rope runs from {a} metres up a mast to the flat ground {b} metres from its foot. How long is the rope?"),
    formal=("A right triangle has legs {a} and {b}. Find the hypotenuse.",
            "Determine the diagonal of a rectangle whose sides are {a} and {b}."),
)  # fmt: skip
def hypotenuse(a: int, b: int) -> Solution:
    square = a * a + b * b
    side = math.isqrt(square)
    steps = f"{a} x {a} = {a * a}. {b} x {b} = {b * b}. {a * a} + {b * b} = {square}. root of {square} = {side}"
    return side, steps, program("math.isqrt(leg ** 2 + other_leg ** 2)", "import math", leg=a, other_leg=b)
