"""Logic: walks in the order of the question.

Their programs are those of a counter-world; the sources of the miniature have none for them.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Sequence
from itertools import product
from random import Random

from mammoth_utils.miniature.families.definition import NAMES, Draw, Solution, Values, family

Text = Callable[[int], str]

ROOMS = 6
SIDES = ("left", "right")
DAYS = ("Monday", "Tuesday", "Wednesday", "Thursday", "Friday", "Saturday", "Sunday")
MONTHS = (
    "January", "February", "March", "April", "May", "June",
    "July", "August", "September", "October", "November", "December",
)  # fmt: skip
NOTES = ("do", "re", "mi", "fa", "sol", "la", "ti")
COLOURS = ("red", "blue", "green", "yellow", "white", "black", "brown", "pink")
LAMPS = tuple(" ".join(lamps) for lamps in product(("off", "on"), repeat=3))
SHIFTS = (-3, -2, -1, 1, 2, 3)
GONE = -1  # one leaves a line or a pile; another move is the number of the one that comes


def walk(starts: Sequence[int], moves: Sequence[int], shortest: int, longest: int) -> Draw:
    """Return the draw of a walk: a start, then moves, at times one more where ranges are widened."""

    def drawn(rng: Random, wide: float) -> Values:
        count = rng.randint(shortest, longest + (wide > 1))
        return {"start": rng.choice(starts), **{f"m{number}": rng.choice(moves) for number in range(count)}}

    return drawn


def told(begin: Text, move: Text) -> Callable[[Values], dict[str, str]]:
    """Return the words of a walk: its start, and its moves in order; a start of several numbers is a list."""

    def words(values: Values) -> dict[str, str]:
        starts = [value for key, value in values.items() if key.startswith("s")]
        moves = [value for key, value in values.items() if key.startswith("m")]
        return {"begin": " ".join(map(begin, starts)), "path": ", ".join(map(move, moves))}

    return words


def shift(ahead: str, back: str) -> Text:
    """Return the words of a move by a number of places in one of two directions."""
    return lambda move: f"{ahead if move > 0 else back} {abs(move)}"


def around(ring: Sequence[str], start: int, moves: Collection[int], text: Text) -> Solution:
    """Walk around a ring."""
    place, steps = start, []
    for move in moves:
        place = (place + move) % len(ring)
        steps.append(f"{text(move)} {ring[place]}")
    turns = " ".join(f"{'-' if move < 0 else '+'} {abs(move)}" for move in moves)
    lines = (f"ring = '{' '.join(ring)}'.split()", f"print(ring[(ring.index('{ring[start]}') {turns}) % {len(ring)}])")
    return ring[place], f"From {ring[start]}: {', '.join(steps)}", "\n".join(lines)


@family(
    "logic", "logic", walk(range(1, ROOMS + 1), (0, 1), 4, 5),
    answers=tuple(map(str, range(1, ROOMS + 1))), words=told("place {}".format, SIDES.__getitem__),
    story=("A robot stands at place {start} of 6 places in a row and stays where a wall stops it. "
           "It goes {path}. At which place does it end?",
           "A frog sits on stone {start} of 6 stones in a row and never jumps off the row. "
           "It jumps {path}. On which stone is it then?"),
    formal=("In a row of 6 cells a token at cell {start} moves {path} and never leaves the row. Find its last cell.",
            "A point at {start} on the line from 1 to 6 moves {path}, where a move past an end is left out. "
            "Find its last place."),
    exam="A cup stands at place {start} of a shelf with 6 places and stays at an end when it is pushed there. "
         "It is pushed {path}. What is its last place?",
)  # fmt: skip
def rooms(start: int, **moves: int) -> Solution:
    place, steps = start, []
    for right in moves.values():
        place = min(place + 1, ROOMS) if right else max(place - 1, 1)
        steps.append(f"{SIDES[right]} {place}")
    turns = [1 if right else -1 for right in moves.values()]
    lines = (
        f"place = {start}", f"for turn in {turns}:", f"    place = min(max(place + turn, 1), {ROOMS})", "print(place)",
    )  # fmt: skip
    return place, f"From place {start}: {', '.join(steps)}", "\n".join(lines)


@family(
    "logic", "logic", walk(range(len(DAYS)), SHIFTS, 3, 3),
    answers=DAYS, words=told(DAYS.__getitem__, shift("on", "back")),
    story=("Today is {begin}. Go {path}. Which day is it then?",
           "It is {begin}. {name} counts days, {path}. Which day comes out?"),
    formal=("Starting on {begin}, count {path}. Find the day.",
            "Let the day be {begin}. Move it {path} and give the new day."),
    exam=("A meeting on {begin} is moved {path}. On which day is it held?",
          "If the first day of a course is {begin} and it is moved {path}, which day is it?"),
)  # fmt: skip
def weekday(start: int, **moves: int) -> Solution:
    return around(DAYS, start, moves.values(), shift("on", "back"))


@family(
    "logic", "logic", walk(range(len(MONTHS)), SHIFTS, 2, 4),
    answers=MONTHS, words=told(MONTHS.__getitem__, shift("on", "back")),
    story=("The month is {begin}. Go {path}. Which month is it then?",
           "{name} opens a calendar at {begin} and turns its months {path}. Which month does it show?"),
    formal=("Starting in {begin}, count months {path}. Find the month.",
            "Let the month be {begin}. Move it {path} and give the new month."),
    exam=("A fair in {begin} is moved by months, {path}. In which month is it held?",
          "If a ship is due in {begin} and its month is moved {path}, in which month is it due?"),
)  # fmt: skip
def months(start: int, **moves: int) -> Solution:
    return around(MONTHS, start, moves.values(), shift("on", "back"))


@family(
    "logic", "logic", walk(range(len(NOTES)), SHIFTS, 2, 4),
    answers=NOTES, words=told(NOTES.__getitem__, shift("up", "down")),
    story=("{name} sings the note {begin} and then goes {path}. Which note is sung last?",
           "A song begins on {begin} and goes {path}. On which note does it end?"),
    formal=("The notes do re mi fa sol la ti form a ring. Starting on {begin}, go {path}. Find the note.",
            "In the ring of seven notes from do to ti let a note be {begin}. Move it {path} and give the new note."),
    exam="On a harp with the strings do re mi fa sol la ti again and again a hand at {begin} moves {path}. "
         "Which note does it reach?",
)  # fmt: skip
def notes(start: int, **moves: int) -> Solution:
    return around(NOTES, start, moves.values(), shift("up", "down"))


def line(kinds: int) -> Draw:
    """Return the draw of a line: two or three stand in it, then one comes or goes; it never gets empty."""

    def drawn(rng: Random, wide: float) -> Values:
        new, size = rng.sample(range(kinds), kinds), rng.randint(2, 3)
        values = {f"s{number}": new.pop() for number in range(size)}
        for number in range(rng.randint(2, 3 + (wide > 1))):
            goes = size > 1 and rng.random() < 0.6
            values[f"m{number}"] = GONE if goes else new.pop()
            size += -1 if goes else 1
        return values

    return drawn


def along(values: Values, kinds: Sequence[str], text: Text, name: str, end: int) -> Solution:
    """Follow a line or a pile: one comes at its end, or the one at ``end`` (0 or -1) goes; that one is asked for."""
    there = [kinds[value] for key, value in values.items() if key.startswith("s")]
    begin, steps, lines = " ".join(there), [], [f"{name} = {there}"]
    for move in (value for key, value in values.items() if key.startswith("m")):
        if move == GONE:
            there = there[:-1] if end else there[1:]
            lines.append(f"{name}.pop({'' if end else end})")
        else:
            there = [*there, kinds[move]]
            lines.append(f"{name}.append('{kinds[move]}')")
        steps.append(f"{text(move)} {' '.join(there)}")
    return there[end], f"From {begin}: {', '.join(steps)}", "\n".join([*lines, f"print({name}[{end}])"])


def _joins(move: int) -> str:
    return "first leaves" if move == GONE else f"{NAMES[move]} joins"


@family(
    "logic", "logic", line(len(NAMES)),
    answers=NAMES, words=told(NAMES.__getitem__, _joins),
    story=("In a line at a shop stand {begin}, from first to last. Then {path}. Who is first in the line now?",
           "The line for a ride is {begin}, the one named first in front. Then {path}. Who is in front at the end?"),
    formal=("A queue holds {begin}, from first to last. It changes: {path}. Find its first member at the end.",
            "Let a queue be {begin}, first in, first out. After {path} find who is first."),
    exam="At a bus stop the line from first to last is {begin}. Then {path}. Who gets on the bus first?",
)  # fmt: skip
def queue(**values: int) -> Solution:
    return along(values, NAMES, _joins, "line", 0)


def _lands(move: int) -> str:
    return "top off" if move == GONE else f"{COLOURS[move]} on"


@family(
    "logic", "logic", line(len(COLOURS)),
    answers=COLOURS, words=told(COLOURS.__getitem__, _lands),
    story=("A pile of cards is {begin}, from the bottom to the top. {name} plays: {path}. Which card is on top now?",
           "Plates lie in a pile, {begin}, the last one on top. Then it goes: {path}. "
           "Which colour is on top at the end?"),
    formal=("A stack holds {begin}, from bottom to top. It changes: {path}. Find its top at the end.",
            "Let a stack be {begin}, last in, first out. After {path} find its top."),
    exam="Boxes in a store form the pile {begin}, from the bottom up. The work is: {path}. Which box is on top then?",
)  # fmt: skip
def pile(**values: int) -> Solution:
    return along(values, COLOURS, _lands, "pile", -1)


@family(
    "logic", "logic", walk(range(len(LAMPS)), (1, 2, 3), 2, 4),
    answers=LAMPS, words=told(LAMPS.__getitem__, "lamp {}".format),
    story=("Three lamps are {begin}. {name} flips the switches of {path}. How are the lamps now?",
           "In a hall three lamps are {begin}. {name} presses the buttons of {path}. How are they then?"),
    formal=("The states of three lamps are {begin}. Each move changes one state: {path}. Find the states.",
            "Let three switches be {begin}. Turn over those of {path} in this order and give the states."),
    exam="A panel shows its three lamps as {begin}. A test switches {path}, each from on to off or from off to on. "
         "What does it show then?",
)  # fmt: skip
def lamps(start: int, **moves: int) -> Solution:
    state, steps = start, []
    for move in moves.values():
        state ^= 8 >> move  # lamp 1 is the first of three bits
        steps.append(f"lamp {move} {LAMPS[state]}")
    lines = (f"lamps = '{LAMPS[start]}'.split()", f"for lamp in {[move - 1 for move in moves.values()]}:",
             "    lamps[lamp] = 'off' if lamps[lamp] == 'on' else 'on'", "print(*lamps)")  # fmt: skip
    return LAMPS[state], f"From {LAMPS[start]}: {', '.join(steps)}", "\n".join(lines)
