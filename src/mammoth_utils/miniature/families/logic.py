"""Logic and abstract algebra: walks in the order of the question, for which no source has a program."""

from __future__ import annotations

from random import Random

from mammoth_utils.miniature.families.definition import Family, Solved, Values

DAYS = ("Monday", "Tuesday", "Wednesday", "Thursday", "Friday", "Saturday", "Sunday")
ROOMS = 6
ORDER = 7


def _draw_steps(rng: Random, wide: float) -> Values:
    count = 4 if wide <= 1 else rng.randint(4, 5)
    return {"start": rng.randint(1, ROOMS), **{f"m{i}": rng.randint(0, 1) for i in range(count)}}


def _moves(v: Values) -> list[int]:
    return [value for key, value in v.items() if key.startswith("m")]


def _solve_rooms(v: Values) -> Solved:
    place, steps = v["start"], []
    for right in _moves(v):
        place = min(place + 1, ROOMS) if right else max(place - 1, 1)
        steps.append(f"{'right' if right else 'left'} {place}")
    return str(place), f"From place {v['start']}: {', '.join(steps)}", None


def _draw_days(rng: Random, wide: float) -> Values:
    count = 3 if wide <= 1 else rng.randint(3, 4)
    moves = {f"m{i}": rng.choice((-3, -2, -1, 1, 2, 3)) for i in range(count)}
    return {"start": rng.randrange(7), **moves}


def _solve_weekday(v: Values) -> Solved:
    day, steps = v["start"], []
    for move in _moves(v):
        day = (day + move) % 7
        steps.append(f"{'on' if move > 0 else 'back'} {abs(move)} {DAYS[day]}")
    return DAYS[day], f"From {DAYS[v['start']]}: {', '.join(steps)}", None


def _draw_cyclic(rng: Random, wide: float) -> Values:
    count = 3 if wide <= 1 else rng.randint(3, 4)
    return {"start": rng.randint(1, ORDER - 1), **{f"m{i}": rng.randint(1, ORDER - 1) for i in range(count - 1)}}


def _solve_cyclic(v: Values) -> Solved:
    power, steps = v["start"], []
    for move in _moves(v):
        steps.append(f"{power} and {move} is {(power + move) % ORDER}")
        power = (power + move) % ORDER
    return str(power), f"From {v['start']}: {', '.join(steps)}", None


LOGIC = (
    Family("rooms", "logic", "logic", _draw_steps, _solve_rooms, {
        "story": ("A robot stands at place {start} of 6 places in a row and stays where a wall stops it. "
                  "It goes {path}. At which place does it end?",),
        "formal": ("In a row of 6 cells a token at cell {start} moves {path} and never leaves the row. "
                   "Find its last cell.",)}),
    Family("weekday", "logic", "logic", _draw_days, _solve_weekday, {
        "story": ("Today is {day}. Go {path}. Which day is it then?",),
        "formal": ("Starting on {day}, count {path}. Find the day.",)}),
    Family("cyclic", "abstract algebra", "logic", _draw_cyclic, _solve_cyclic, {
        "story": ("In a clock group of order 7, add {path}. What is the result?",),
        "formal": ("In the cyclic group of order 7 with generator r, find k with r^k = {powers}.",)}),
)  # fmt: skip


def path_words(family: Family, values: Values) -> dict[str, str]:
    """What the logic families' wordings need besides numbers: moves and days in words."""
    moves = _moves(values)
    if family.name == "rooms":
        return {"path": ", ".join("right" if right else "left" for right in moves)}
    if family.name == "weekday":
        walk = ", ".join(f"{'on' if move > 0 else 'back'} {abs(move)}" for move in moves)
        return {"path": walk, "day": DAYS[values["start"]]}
    if family.name == "cyclic":
        terms = [values["start"], *moves]
        return {"path": ", ".join(map(str, terms)), "powers": " ".join(f"r^{term}" for term in terms)}
    return {}
