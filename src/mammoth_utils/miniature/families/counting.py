"""Counting, probability and sets: selections, routes, chances and overlaps."""

from __future__ import annotations

import math
from random import Random

from mammoth_utils.miniature.arithmetic import add_in_steps, subtract_in_steps
from mammoth_utils.miniature.families.definition import Solution, Values, family, number, program, ranges


def _draw_choose(rng: Random, wide: float) -> Values:
    pairs = [(n, k) for n in range(9, int(100 * wide) + 1) for k in range(2, 8) if math.comb(n, k) < 10**6]
    return dict(zip("nk", rng.choice(pairs), strict=True))


@family(
    "counting", "large", _draw_choose, comment="number of ways to choose",
    story=("{name} takes {k} of {n} different {thing} for a trip. How many selections are possible?",
           "{name} may invite {k} of {n} friends. How many different groups of guests are possible?"),
    retold=("A sauce is mixed from {k} of {n} spices. How many different sauces are possible?",
            "A hand of {k} cards is dealt from {n} different cards. How many different hands are there?"),
    exam=("In how many ways can a team of {k} be picked from {n} people?",
          "A test asks for any {k} of {n} questions. How many selections of questions are there?"),
    formal=("Find the number of ways to choose {k} of {n} objects.",
            "Find the number of subsets with {k} elements of a set with {n} elements."),
    bare="Calculate {n} choose {k}.",
)  # fmt: skip
def choose(n: int, k: int) -> Solution:
    ways = math.comb(n, k)
    return ways, f"{n} choose {k} = {ways}", program("math.comb(total, taken)", "import math", total=n, taken=k)


def _draw_series(rng: Random, wide: float) -> Values:
    a = number(rng, 11, 99, wide)
    return {"a": a, "b": a + number(rng, 12, 180, wide)}


@family(
    "counting", "large", _draw_series, comment="sum of a range",
    story=("{name} finds cards with all numbers from {a} to {b} and adds them up. What is the sum?",
           "{name} saves {a} coins on the first day, each day one more than the day before and {b} on the last day. "
           "How many coins is that?"),
    retold=("Houses in a street have all numbers from {a} to {b}. What is the sum of the numbers?",
            "A row holds {a} stones, each next row one more, the last row {b}. How many stones are there?"),
    exam=("What do all whole numbers from {a} to {b} add up to?",
          "All the whole numbers from {a} up to and including {b} are added. What is the total?"),
    formal=("Find the sum of the integers from {a} to {b}.",
            "Find the sum of the arithmetic series with first term {a}, last term {b} and difference one."),
    bare="Calculate {a} + ... + {b}.",
)  # fmt: skip
def series(a: int, b: int) -> Solution:
    total, count = sum(range(a, b + 1)), b - a + 1
    steps = f"{count} numbers. {a} + {b} = {a + b}. {count} x {a + b} / 2 = {total}"
    return total, steps, program("sum(range(first, last + 1))", first=a, last=b)


def _draw_outfits(rng: Random, wide: float) -> Values:
    return {name: min(number(rng, 6, 40, wide), 99) for name in "abc"}


@family(
    "counting", "large", _draw_outfits, comment="number of combinations",
    story=("{name} has {a} shirts, {b} skirts and {c} hats. How many outfits with one of each are possible?",
           "{name} picks one of {a} books, one of {b} games and one of {c} films. How many choices are there?"),
    retold=("A menu has {a} soups, {b} mains and {c} sweets. How many meals of three such courses are possible?",
            "There are {a} roads from Ayr to Bray, {b} on to Cork and {c} on to Deal. "
            "How many ways lead from Ayr to Deal?"),
    exam=("A lock has three rings with {a}, {b} and {c} signs. How many codes can be set?",
          "A car comes in {a} colours, {b} sizes and {c} styles. How many versions are there?"),
    formal=("Sets have {a}, {b} and {c} elements. Find the size of their Cartesian product.",
            "Count the triples whose entries have {a}, {b} and {c} possible values in turn."),
)  # fmt: skip
def outfits(a: int, b: int, c: int) -> Solution:
    steps = f"{a} x {b} = {a * b}. {a * b} x {c} = {a * b * c}"
    return a * b * c, steps, program("first * second * third", first=a, second=b, third=c)


@family(
    "counting", "large", ranges(n=(12, 60), m=(5, 40)), comment="number of pairs",
    story=("At a party there are {n} people, then {m} more come. All shake hands, each two of them once. "
           "How many handshakes is that?",
           "A chess club has {n} girls and {m} boys. Each two of them play one game. How many games is that?"),
    retold=("A league has {n} teams and takes in {m} more. Then each team meets each other team once. "
            "How many matches are played?",
            "{n} pupils and {m} teachers all clink glasses, each two of them once. How often do two glasses clink?"),
    exam=("An office has {n} computers and buys {m} more. A cable joins each two of them. How many cables are needed?",
          "A region has {n} old and {m} new towns. Each two towns get a direct road. How many roads are there?"),
    formal=("Of {n} blue and {m} red points no three lie on a line. Count the lines through two of the points.",
            "Find the number of edges of the complete graph on {n} + {m} vertices."),
)  # fmt: skip
def handshakes(n: int, m: int) -> Solution:
    total, pairs = n + m, math.comb(n + m, 2)
    steps = f"{add_in_steps(n, m)}. {total} x {total - 1} = {2 * pairs}. half of it = {pairs}"
    return pairs, steps, program("math.comb(people + guests, 2)", "import math", people=n, guests=m)


def _draw_expected(rng: Random, wide: float) -> Values:
    a, b = rng.randint(3, 40), rng.randint(3, 40)
    return {"a": a, "b": b, "n": (a + b) // math.gcd(a, b) * number(rng, 3, 15, wide)}


@family(
    "probability", "large", _draw_expected, comment="expected number",
    story=("A bag holds {a} red and {b} blue beads. {name} draws one and puts it back, {n} times. "
           "How many red ones are expected?",
           "A drawer has {a} black and {b} white socks. {name} takes one, looks at it and puts it back, {n} times. "
           "How many black ones are expected?"),
    retold=("A wheel has {a} green and {b} white fields of equal size. How often is green expected in {n} spins?",
            "A stack has {a} winning and {b} other cards. One is drawn and put back, {n} times. "
            "How many wins are expected?"),
    exam=("A box has {a} bad and {b} good lamps. A random lamp is tested and put back, {n} times. "
          "How often is a bad one expected?",
          "Each day one child is picked at random from all {a} girls and {b} boys. "
          "In {n} days, how often is a girl expected?"),
    formal=("A trial has {a} good and {b} bad outcomes, all equally likely. "
            "Find the expected number of good ones in {n} independent trials.",
            "An urn has {a} black and {b} white balls. "
            "Find the expected number of black ones in {n} draws with replacement."),
)  # fmt: skip
def expected(a: int, b: int, n: int) -> Solution:
    mean = n * a // (a + b)
    steps = f"{add_in_steps(a, b)}. {n} x {a} = {n * a}. {n * a} / {a + b} = {mean}"
    return mean, steps, program("draws * red / (red + blue)", red=a, blue=b, draws=n)


def _draw_chance_percent(rng: Random, wide: float) -> Values:
    parts = rng.choice((20, 25, 50, 100))
    times = number(rng, 2, 12, wide)
    return {"a": rng.randint(1, parts - 1) * times, "b": parts * times}


@family(
    "probability", "large", _draw_chance_percent, comment="chance in percent",
    story=("{a} of the {b} {thing} in a bag are red. {name} draws one. How likely is a red one, in percent?",
           "{name} has {a} of all {b} tickets, and one ticket wins. What is the chance of {name} in percent?"),
    retold=("On a wheel, {a} of {b} equal fields are green. What is the chance of green in percent?",
            "In a stack, {a} of {b} cards win. One is turned over at random. In percent, how likely is a win?"),
    exam=("In a store, {a} of {b} lamps are bad. One is picked at random. What is the chance of a bad one, in percent?",
          "A guess is right in {a} of {b} equally likely cases. What is its chance of being right, in percent?"),
    formal=("An event has {a} of {b} equally likely outcomes. Find its probability in percent.",
            "Event A holds {a} outcomes of a uniform space of {b}. Express the probability of A in percent."),
)  # fmt: skip
def chance_percent(a: int, b: int) -> Solution:
    steps = f"{a} x 100 = {100 * a}. {100 * a} / {b} = {100 * a // b}"
    return 100 * a // b, steps, program("100 * winning / possible", winning=a, possible=b)


def _draw_union(rng: Random, wide: float) -> Values:
    both = number(rng, 5, 30, wide)
    return {"a": both + number(rng, 8, 60, wide), "b": both + number(rng, 8, 60, wide), "c": both}


@family(
    "sets", "small", _draw_union, comment="size of a union",
    story=("In the school of {name}, {a} pupils play chess and {b} play tennis. {c} of them play both. "
           "How many play at least one?",
           "{name} counts {a} pupils with a cat and {b} with a dog, {c} of them with both. "
           "How many have a cat, a dog or both?"),
    retold=("A list has {a} names and another has {b}. {c} names are on both. How many different names are there?",
            "A paper is read by {a} people and its rival by {b}, and {c} of them read both. "
            "How many people read at least one of them?"),
    exam=("In a test, {a} pupils solve the first task and {b} the second, {c} of them both. "
          "How many solve at least one?",
          "Of some cars, {a} are red and {b} are new, {c} of them both. How many are red or new or both?"),
    formal=("Sets A and B have {a} and {b} elements, and {c} are in both. Find the size of their union.",
            "Set A has {a} elements, B has {b} and their intersection {c}. Count the elements in A or B."),
)  # fmt: skip
def union(a: int, b: int, c: int) -> Solution:
    steps = f"{add_in_steps(a, b)}. {subtract_in_steps(a + b, c)}"
    return a + b - c, steps, program("first + second - both", first=a, second=b, both=c)


def _draw_neither(rng: Random, wide: float) -> Values:
    c, only_a, only_b = (rng.randint(5, 18) for _ in range(3))
    return {"n": c + only_a + only_b + number(rng, 11, 50, wide), "a": c + only_a, "b": c + only_b, "c": c}


@family(
    "sets", "small", _draw_neither, comment="in neither set",
    story=("Of {n} pupils in the school of {name}, {a} play chess, {b} play tennis and {c} of these play both. "
           "How many play neither?",
           "{name} asks {n} pupils: {a} have a cat, {b} a dog, {c} of these have both. How many have neither?"),
    retold=("A town has {n} people. {a} read one paper, {b} another, {c} of these both. How many read neither?",
            "Of {n} guests, {a} take tea, {b} take cake and {c} of these take both. How many take nothing?"),
    exam=("Of {n} pupils, {a} solve the first task, {b} the second and {c} of these both. How many solve neither?",
          "Of {n} cars, {a} are red, {b} are new and {c} of these are both. How many are neither?"),
    formal=("In a set of {n} elements, {a} are in A, {b} in B and {c} of these in both. Count those in neither.",
            "A universe has {n} elements, A has {a}, B has {b} and their intersection {c}. "
            "Find the size of the complement of their union."),
)  # fmt: skip
def neither(n: int, a: int, b: int, c: int) -> Solution:
    either = a + b - c
    steps = f"{add_in_steps(a, b)}. {subtract_in_steps(a + b, c)}. {subtract_in_steps(n, either)}"
    expression = "total - (first + second - both)"
    return n - either, steps, program(expression, total=n, first=a, second=b, both=c)
