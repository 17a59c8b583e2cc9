"""Abstract algebra: walks in small groups and rings.

Their programs are those of a counter-world; the sources of the miniature have none for them.
"""

from __future__ import annotations

from collections.abc import Sequence

from mammoth_utils.miniature.families.definition import Solution, Values, family
from mammoth_utils.miniature.families.walks import told, walk

ORDER = 7
HOURS = 12
# The triangle's symmetries: i rests, r and s turn, t, u and v flip; s = rr, u = rt and v = st fix the products.
ELEMENTS = "irstuv"
PRODUCTS = {"i": "irstuv", "r": "rsiuvt", "s": "sirvtu", "t": "tvuisr", "u": "utvris", "v": "vutsri"}
FIELD = 5


def reckon(terms: Sequence[int], word: str, order: int, times: bool = False) -> Solution:
    """Add or multiply numbers one after another modulo an order, each step told as ``3 word 5 is 1``."""
    result, steps = terms[0], []
    for term in terms[1:]:
        before, result = result, (result * term if times else result + term) % order
        steps.append(f"{before} {word} {term} is {result}")
    whole = " * ".join(map(str, terms)) if times else f"({' + '.join(map(str, terms))})"
    return result, f"From {terms[0]}: {', '.join(steps)}", f"print({whole} % {order})"


def _sum_words(values: Values) -> dict[str, str]:
    powers = " ".join(f"r^{value}" for value in values.values())
    return {**told(str, str)(values), "powers": powers}


@family(
    "abstract algebra", "logic", walk(range(1, ORDER), range(1, ORDER), 2, 3),
    answers=tuple(map(str, range(ORDER))), words=_sum_words,
    story=("In a clock group of order 7, add {begin}, {path}. What is the result?",
           "A wheel has 7 places from 0 to 6 and stands at 0. {name} turns it by {begin}, {path} places. "
           "Where does it stand?"),
    formal=("In the cyclic group of order 7 with generator r, find k with r^k = {powers}.",
            "Let r have order 7. Write {powers} as one power r^k with k from 0 to 6 and find k."),
    exam="What is the sum of {begin}, {path} in the group of numbers modulo 7?",
)  # fmt: skip
def cyclic(start: int, **moves: int) -> Solution:
    return reckon((start, *moves.values()), "and", ORDER)


@family(
    "abstract algebra", "logic", walk(range(1, ORDER), range(2, ORDER), 2, 3),
    answers=tuple(map(str, range(1, ORDER))), words=told(str, "by {}".format),
    story=("{name} multiplies {begin} {path} and keeps only the remainder after division by 7. What is kept?",
           "In a code one multiplies modulo 7. {name} multiplies {begin} {path}. What is the result?"),
    formal=("Modulo 7, multiply {begin} {path}. Find the result.",
            "In the group of units modulo 7, multiply {begin} {path} and give the element."),
    exam="Which number from 1 to 6 is the product modulo 7 when one multiplies {begin} {path}?",
)  # fmt: skip
def units(start: int, **moves: int) -> Solution:
    return reckon((start, *moves.values()), "by", ORDER, times=True)


@family(
    "abstract algebra", "logic", walk(range(HOURS), range(1, HOURS), 2, 3),
    answers=tuple(map(str, range(HOURS))), words=told(str, "plus {}".format),
    story=("A clock with the hours 0 to 11 shows {begin}. It goes on, {path}. Which hour does it show then?",
           "On a clock face from 0 to 11 {name} reckons {begin} {path}. Which hour is the result?"),
    formal=("In the cyclic group of order 12, find {begin} {path}.",
            "Modulo 12, work out {begin} {path} and give the result from 0 to 11."),
    exam="A dial with the marks 0 to 11 points to {begin} and is turned, {path}. To which mark does it point?",
)  # fmt: skip
def clock(start: int, **moves: int) -> Solution:
    return reckon((start, *moves.values()), "plus", HOURS)


@family(
    "abstract algebra", "logic", walk(range(6), range(1, 6), 2, 3),
    answers=tuple(ELEMENTS), words=told(ELEMENTS.__getitem__, lambda move: f"then {ELEMENTS[move]}"),
    story=("In the symmetry group of the triangle with s = rr, u = rt and v = st, {name} does {begin}, {path}. "
           "Which element is that?",
           "A triangle is moved by {begin}, {path}. Which element in the symmetry group of the triangle, "
           "with s = rr, u = rt and v = st, does the same?"),
    formal=("In the symmetry group of the triangle with s = rr, u = rt and v = st, find {begin}, {path}.",
            "Let s = rr, u = rt and v = st in the symmetry group of the triangle. "
            "Read from left to right and find the product {begin}, {path}."),
    exam="With s = rr, u = rt and v = st in the symmetry group of the triangle, which element is {begin}, {path}?",
)  # fmt: skip
def symmetry(start: int, **moves: int) -> Solution:
    element, steps = ELEMENTS[start], []
    for move in moves.values():
        result = PRODUCTS[element][move]
        steps.append(f"{element} then {ELEMENTS[move]} is {result}")
        element = result
    word = "".join(ELEMENTS[move] for move in (start, *moves.values()))
    lines = (
        f"rows = '{' '.join(PRODUCTS.values())}'.split()", "at = 0", f"for letter in '{word}':",
        f"    at = '{ELEMENTS}'.index(rows[at]['{ELEMENTS}'.index(letter)])", f"print('{ELEMENTS}'[at])",
    )  # fmt: skip
    return element, f"From {ELEMENTS[start]}: {', '.join(steps)}", "\n".join(lines)


AFFINE = (("add", 1), ("add", 2), ("add", 3), ("add", 4), ("times", 2), ("times", 3), ("times", 4))


@family(
    "abstract algebra", "logic", walk(range(FIELD), range(len(AFFINE)), 2, 4),
    answers=tuple(map(str, range(FIELD))), words=told(str, lambda move: "{} {}".format(*AFFINE[move])),
    story=("{name} counts modulo 5. Start with {begin} and do {path}. What is the result?",
           "In a game one counts 0, 1, 2, 3, 4 and then 0 again. {name} has {begin} and does {path}. "
           "Which number comes out?"),
    formal=("In Z5 start with {begin} and apply {path}. Find the result.",
            "Let x = {begin} in the integers modulo 5. Replace x by {path}, in this order, and give x."),
    exam="A counter modulo 5 stands at {begin}. Its steps are {path}. At what does it stand then?",
)  # fmt: skip
def affine(start: int, **moves: int) -> Solution:
    value, steps, lines = start, [], [f"value = {start}"]
    for move in moves.values():
        name, count = AFFINE[move]
        lines.append(f"value = value {'+' if name == 'add' else '*'} {count}")
        value = (value + count if name == "add" else value * count) % FIELD
        steps.append(f"{name} {count} gives {value}")
    return value, f"From {start}: {', '.join(steps)}", "\n".join([*lines, f"print(value % {FIELD})"])
