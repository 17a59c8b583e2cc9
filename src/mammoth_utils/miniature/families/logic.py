"""Logic and abstract algebra: walks in the order of the question, for which no source has a program."""

from __future__ import annotations

from collections.abc import Iterable
from random import Random

from mammoth_utils.miniature.families.definition import Solution, Values, family

DAYS = ("Monday", "Tuesday", "Wednesday", "Thursday", "Friday", "Saturday", "Sunday")
ROOMS = 6
ORDER = 7


def _draw_rooms(rng: Random, wide: float) -> Values:
    count = 4 if wide <= 1 else rng.randint(4, 5)
    return {"start": rng.randint(1, ROOMS), **{f"m{number}": rng.randint(0, 1) for number in range(count)}}


def _draw_weekday(rng: Random, wide: float) -> Values:
    count = 3 if wide <= 1 else rng.randint(3, 4)
    moves = {f"m{number}": rng.choice((-3, -2, -1, 1, 2, 3)) for number in range(count)}
    return {"start": rng.randrange(7), **moves}


def _draw_cyclic(rng: Random, wide: float) -> Values:
    count = 2 if wide <= 1 else rng.randint(2, 3)
    return {"start": rng.randint(1, ORDER - 1), **{f"m{number}": rng.randint(1, ORDER - 1) for number in range(count)}}


def _moves(values: Values) -> list[int]:
    return [value for key, value in values.items() if key.startswith("m")]


def _by_days(moves: Iterable[int]) -> list[str]:
    return [f"{'on' if move > 0 else 'back'} {abs(move)}" for move in moves]


@family(
    "logic", "logic", _draw_rooms,
    answers=tuple(map(str, range(1, ROOMS + 1))),
    words=lambda values: {"path": ", ".join("right" if right else "left" for right in _moves(values))},
    story="A robot stands at place {start} of 6 places in a row and stays where a wall stops it. "
          "It goes {path}. At which place does it end?",
    formal="In a row of 6 cells a token at cell {start} moves {path} and never leaves the row. Find its last cell.",
)  # fmt: skip
def rooms(start: int, **moves: int) -> Solution:
    place, steps = start, []
    for right in moves.values():
        place = min(place + 1, ROOMS) if right else max(place - 1, 1)
        steps.append(f"{'right' if right else 'left'} {place}")
    return place, f"From place {start}: {', '.join(steps)}", None


@family(
    "logic", "logic", _draw_weekday,
    answers=DAYS, words=lambda values: {"path": ", ".join(_by_days(_moves(values))), "day": DAYS[values["start"]]},
    story="Today is {day}. Go {path}. Which day is it then?",
    formal="Starting on {day}, count {path}. Find the day.",
)  # fmt: skip
def weekday(start: int, **moves: int) -> Solution:
    day, steps = start, []
    for move, text in zip(moves.values(), _by_days(moves.values()), strict=True):
        day = (day + move) % 7
        steps.append(f"{text} {DAYS[day]}")
    return DAYS[day], f"From {DAYS[start]}: {', '.join(steps)}", None


def _sum_words(values: Values) -> dict[str, str]:
    terms = [values["start"], *_moves(values)]
    return {"path": ", ".join(map(str, terms)), "powers": " ".join(f"r^{term}" for term in terms)}


@family(
    "abstract algebra", "logic", _draw_cyclic,
    answers=tuple(map(str, range(ORDER))), words=_sum_words,
    story="In a clock group of order 7, add {path}. What is the result?",
    formal="In the cyclic group of order 7 with generator r, find k with r^k = {powers}.",
)  # fmt: skip
def cyclic(start: int, **moves: int) -> Solution:
    power, steps = start, []
    for move in moves.values():
        steps.append(f"{power} and {move} is {(power + move) % ORDER}")
        power = (power + move) % ORDER
    return power, f"From {start}: {', '.join(steps)}", None
