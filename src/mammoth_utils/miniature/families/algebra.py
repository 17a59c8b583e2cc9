"""Algebra: values of expressions, equations in one unknown, and pairs of unknowns."""

from __future__ import annotations

import math
from random import Random

from mammoth_utils.miniature.arithmetic import add_in_steps, divide_in_steps, multiply_in_steps, subtract_in_steps
from mammoth_utils.miniature.families.definition import Draw, Solution, Values, family, number, program, ranges


@family(
    "algebra", "large", ranges(a=(11, 60), b=(11, 60)), comment="sum of squares",
    exam=("Two square fields have sides of {a} and {b} metres. What is their area together?",
          "One square hall has a side of {a} tiles and another of {b} tiles. How many tiles cover both floors?"),
    formal=("Find the sum of the squares of {a} and {b}.", "Square {a}, square {b} and add the results."),
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
    exam=("{a} times a number plus {b} is {c}. What is the number?",
          "Some chairs at {a} dollars each and a table at {b} dollars cost {c} dollars. How many chairs are there?"),
    formal=("If {a}x + {b} = {c}, find x.", "Find the x for which {a}x + {b} equals {c}."),
    bare="Solve {a}*x + {b} = {c} for x.",
)  # fmt: skip
def linear(a: int, b: int, c: int) -> Solution:
    lines = ("from sympy import symbols, solve", "x = symbols('x')", f"print(solve({a} * x + {b} - {c}, x)[0])")
    return (c - b) // a, f"{subtract_in_steps(c, b)}. {c - b} / {a} = {(c - b) // a}", "\n".join(lines)


@family(
    "algebra", "large",
    lambda rng, wide: {"a": rng.randint(2, 9), "b": rng.randint(2, 19), "c": number(rng, 11, 99, wide),
                       "d": number(rng, 11, 50, wide)},
    comment="value of a polynomial",
    exam=("Digging n metres costs {a} times n squared plus {b} times n plus {c} dollars. What do {d} metres cost?",
          "After n days a pond holds {a} times n squared plus {b} times n plus {c} plants. "
          "How many does it hold after {d} days?"),
    formal=("Find the value of {a}x^2 + {b}x + {c} at x = {d}.", "Let f(x) = {a}x^2 + {b}x + {c}. Find f({d})."),
    bare="Calculate {a}*x^2 + {b}*x + {c}, x = {d}.",
)  # fmt: skip
def polynomial(a: int, b: int, c: int, d: int) -> Solution:
    high, low, value = a * d * d, b * d, a * d * d + b * d + c
    steps = f"{d} x {d} = {d * d}. {d * d} x {a} = {high}. {b} x {d} = {low}. {high} + {low} + {c} = {value}"
    expression = "lead * point ** 2 + middle * point + last"
    return value, steps, program(expression, lead=a, middle=b, last=c, point=d)


def sum_and_product(low: tuple[int, int], gap: tuple[int, int]) -> Draw:
    """Return the draw of two different numbers' sum and product; a number and a gap above it are drawn."""

    def drawn(rng: Random, wide: float) -> Values:
        smaller = number(rng, *low, wide)
        larger = smaller + number(rng, *gap, wide)
        return {"s": smaller + larger, "p": smaller * larger}

    return drawn


@family(
    "algebra", "large", sum_and_product((3, 40), (1, 25)), comment="larger root",
    exam=("{s} times a number is its square plus {p}. What is the largest such number?",
          "Take {s} times a number and you get {p} more than its square. How large can the number be at most?"),
    formal=("Find the larger root of x^2 - {s}x + {p} = 0.", "If x^2 - {s}x + {p} = 0, find the greatest x."),
    bare="Solve x^2 - {s}*x + {p} = 0 for the larger x.",
)  # fmt: skip
def quadratic(s: int, p: int) -> Solution:
    gap = math.isqrt(s * s - 4 * p)
    steps = f"{s} x {s} - 4 x {p} = {gap * gap} = {gap} x {gap}. {s} + {gap} = {s + gap}. {s + gap} / 2"
    lines = ("from sympy import symbols, solve", "x = symbols('x')", f"print(max(solve(x ** 2 - {s} * x + {p}, x)))")
    return (s + gap) // 2, f"{steps} = {(s + gap) // 2}", "\n".join(lines)


@family(
    "algebra", "large", ranges(a=(11, 99), d=(11, 40), n=(12, 60)), comment="term of a sequence",
    retold="{name} finds {a} {thing} on day one and on each later day {d} more than the day before. "
           "How many does {name} find on day {n}?",
    exam=("A firm sells {a} lamps in month one and {d} more in each next month. How many does it sell in month {n}?",
          "A hall has {a} seats in row one and each further row has {d} seats more. How many seats has row {n}?"),
    formal=("An arithmetic sequence starts with {a} and has the difference {d}. Find term number {n}.",
            "The first term is {a} and each further term is {d} more than the one before. Find term {n}."),
)  # fmt: skip
def term(a: int, d: int, n: int) -> Solution:
    rise = (n - 1) * d
    steps = f"{subtract_in_steps(n, 1)}. {n - 1} x {d} = {rise}. {add_in_steps(rise, a)}"
    return a + rise, steps, program("start + (position - 1) * step", start=a, step=d, position=n)


def _draw_root(rng: Random, wide: float) -> Values:
    a, x = rng.randint(2, 15), number(rng, 11, 80, wide)
    return {"a": a, "b": a * x * x}


@family(
    "algebra", "large", _draw_root, comment="square root of quotient",
    exam=("{a} equal square fields have an area of {b} square metres together. How long is a side?",
          "{a} equal square walls need {b} tiles in all. How many tiles are along one edge of a wall?"),
    formal=("Find the positive x with {a}x^2 = {b}.", "Let {a} times the square of x be {b}. Find the positive x."),
    bare="Solve {a}*x^2 = {b} for x > 0.",
)  # fmt: skip
def root(a: int, b: int) -> Solution:
    x = math.isqrt(b // a)
    steps = f"{b} / {a} = {b // a}. {b // a} = {x} x {x}"
    return x, steps, program("math.isqrt(area // fields)", "import math", fields=a, area=b)


def _draw_pair_small(rng: Random, wide: float) -> Values:
    small, difference = number(rng, 5, 35, wide), 2 * number(rng, 2, 12, wide)
    return {"s": 2 * small + difference, "d": difference}


@family(
    "algebra", "small", _draw_pair_small, comment="larger of two",
    retold=("Two numbers add up to {s}. One is {d} more than the other. What is the larger one?",
            "Two bags hold {s} {thing}, one of them {d} more than the other. How many are in the fuller bag?"),
    exam=("{name} and a friend have {s} {thing} together. {name} has {d} more. How many does {name} have?",
          "A rope of {s} metres is cut in two. One part is {d} metres longer. How long is the longer part?"),
    formal=("Given x + y = {s} and x - y = {d}, find x.",
            "Two numbers have the sum {s} and the difference {d}. Find the larger number."),
)  # fmt: skip
def pair_small(s: int, d: int) -> Solution:
    steps = f"{add_in_steps(s, d)}. {divide_in_steps(s + d, 2)}"
    return (s + d) // 2, steps, program("(both + apart) // 2", both=s, apart=d)


@family(
    "algebra", "small", _draw_pair_small, comment="smaller of two",
    retold=("Two numbers add up to {s}. One is {d} less than the other. What is the smaller one?",
            "Two bags hold {s} {thing}, one of them {d} fewer than the other. How many are in the emptier bag?"),
    exam=("{name} and a friend have {s} {thing} together. {name} has {d} fewer. How many does {name} have?",
          "A rope of {s} metres is cut in two. One part is {d} metres shorter. How long is the shorter part?"),
    formal=("Given x + y = {s} and x - y = {d}, find y.",
            "Two numbers have the sum {s} and the difference {d}. Find the smaller number."),
)  # fmt: skip
def pair_less(s: int, d: int) -> Solution:
    steps = f"{subtract_in_steps(s, d)}. {divide_in_steps(s - d, 2)}"
    return (s - d) // 2, steps, program("(both - gap) // 2", both=s, gap=d)


def _draw_pair_times(rng: Random, wide: float) -> Values:
    k = rng.randint(2, 8)
    return {"s": (k + 1) * number(rng, 8, 90, wide), "k": k}


@family(
    "algebra", "small", _draw_pair_times, comment="sum and multiple",
    retold=("Two boxes hold {s} {thing}. One holds {k} times as many as the other. How many does the smaller box hold?",
            "The sum of two numbers is {s}. One is {k} times the other. What is the smaller one?"),
    exam=("A rope of {s} metres is cut in two. One part is {k} times as long as the other. "
          "How long is the shorter part?",
          "{s} dollars are split in two shares, one {k} times the other. How many dollars is the smaller share?"),
    formal=("Given x + y = {s} and y = {k}x, find x.",
            "Split {s} into two numbers, one of them {k} times the other. Find the smaller number."),
)  # fmt: skip
def pair_times(s: int, k: int) -> Solution:
    steps = f"{add_in_steps(k, 1)}. {divide_in_steps(s, k + 1)}"
    return s // (k + 1), steps, program("whole // (times + 1)", whole=s, times=k)


def _draw_pair_ages(rng: Random, wide: float) -> Values:
    k = rng.randint(3, 9)
    return {"d": (k - 1) * number(rng, 4, 60, wide), "k": k}


@family(
    "algebra", "small", _draw_pair_ages, comment="age of the younger",
    retold=("An oak is {d} years older than a birch and {k} times as old. How old is the birch?",
            "The church is {d} years older than the school and {k} times as old. How old is the school?"),
    exam=("A castle is {d} years older than a bridge and has {k} times its age. What is the age of the bridge?",
          "Of two towns one is {d} years older and {k} times as old as the other. How old is the younger town?"),
    formal=("Given y - x = {d} and y = {k}x, find x.",
            "Two ages differ by {d} years and one is {k} times the other. Find the lower age."),
)  # fmt: skip
def pair_ages(d: int, k: int) -> Solution:
    steps = f"{subtract_in_steps(k, 1)}. {divide_in_steps(d, k - 1)}"
    return d // (k - 1), steps, program("years // (ratio - 1)", years=d, ratio=k)


def _draw_pair_legs(rng: Random, wide: float) -> Values:
    chickens, rabbits = number(rng, 4, 45, wide), number(rng, 4, 45, wide)
    return {"heads": chickens + rabbits, "legs": 2 * chickens + 4 * rabbits}


@family(
    "algebra", "small", _draw_pair_legs, comment="heads and legs",
    retold=("Chickens and rabbits have {heads} heads and {legs} legs in all. How many rabbits are there?",
            "{name} counts {heads} heads and {legs} legs of chickens and rabbits. How many are rabbits?"),
    exam=("A farm keeps chickens and rabbits. They have {heads} heads and {legs} legs. How many rabbits does it keep?",
          "Geese and sheep on a field have {heads} heads and {legs} legs together. How many sheep are on it?"),
    formal=("Given x + y = {heads} and 2x + 4y = {legs}, find y.",
            "Birds with 2 legs and dogs with 4 legs have {heads} heads and {legs} legs. Find the number of dogs."),
)  # fmt: skip
def pair_legs(heads: int, legs: int) -> Solution:
    steps = f"{divide_in_steps(legs, 2)}. {subtract_in_steps(legs // 2, heads)}"
    return legs // 2 - heads, steps, program("legs // 2 - heads", heads=heads, legs=legs)


def _draw_pair_coins(rng: Random, wide: float) -> Values:
    twos, fives = number(rng, 4, 16, wide), rng.randint(4, 33)
    return {"n": twos + fives, "v": 2 * twos + 5 * fives}


@family(
    "algebra", "small", _draw_pair_coins, comment="coins of two kinds",
    retold=("{name} has {n} coins of 2 and 5 dollars, worth {v} dollars in all. How many are 5 dollar coins?",
            "In a jar are {n} coins. They are twos and fives and make {v} dollars. How many fives are in it?"),
    exam=("A machine holds {n} coins of 2 and 5 dollars with a value of {v} dollars. How many 5 dollar coins is that?",
          "A fair sells {n} tickets at 2 or 5 dollars for {v} dollars in all. How many tickets at 5 dollars is that?"),
    formal=("Given x + y = {n} and 2x + 5y = {v}, find y.",
            "Each of {n} numbers is 2 or 5 and their sum is {v}. Find how many of them are 5."),
)  # fmt: skip
def pair_coins(n: int, v: int) -> Solution:
    steps = f"{multiply_in_steps(n, 2)}. {subtract_in_steps(v, 2 * n)}. {divide_in_steps(v - 2 * n, 3)}"
    return (v - 2 * n) // 3, steps, program("(value - 2 * coins) // 3", coins=n, value=v)


def _draw_pair_large(rng: Random, wide: float) -> Values:
    x, y = number(rng, 21, 150, wide), number(rng, 21, 150, wide)
    b = rng.randint(3, 12)
    a = b + rng.randint(2, 9)
    return {"s": x + y, "a": a, "b": b, "t": a * x + b * y}


@family(
    "algebra", "large", _draw_pair_large, comment="two prices",
    retold=("There are {s} tickets. Seats in front cost {a} dollars and seats behind {b} dollars, {t} dollars in all. "
            "How many tickets are for seats in front?",
            "A shop sells {s} cups. Big ones bring {a} dollars and small ones {b}, {t} dollars in all. "
            "How many big ones does it sell?"),
    exam=("A farm has {s} birds and pays {a} coins for a goose and {b} for a hen, {t} coins in all. "
          "How many geese are there?",
          "A firm has {s} workers. A driver gets {a} dollars and a packer {b}, which makes {t} dollars. "
          "How many drivers are there?"),
    formal=("Given x + y = {s} and {a}x + {b}y = {t}, find x.",
            "Each of {s} numbers is {a} or {b} and their sum is {t}. Find how many are the larger one."),
)  # fmt: skip
def pair_large(s: int, a: int, b: int, t: int) -> Solution:
    rest, apart = t - b * s, a - b
    steps = f"{b} x {s} = {b * s}. {subtract_in_steps(t, b * s)}. {a} - {b} = {apart}"
    steps = f"{steps}. {rest} / {apart} = {rest // apart}"
    return rest // apart, steps, program("(total - low * both) // (high - low)", both=s, high=a, low=b, total=t)


def _draw_pair_system(rng: Random, wide: float) -> Values:
    a, b, c, d = (rng.randint(2, 9) for _ in range(4))
    while a * d <= b * c:
        a, b, c, d = (rng.randint(2, 9) for _ in range(4))
    x, y = number(rng, 10, 60, wide), number(rng, 10, 60, wide)
    return {"a": a, "b": b, "s": a * x + b * y, "c": c, "d": d, "t": c * x + d * y}


@family(
    "algebra", "large", _draw_pair_system, comment="system of two equations",
    retold=("{a} lamps and {b} chairs cost {s} dollars. {c} lamps and {d} chairs cost {t} dollars. "
            "What does a lamp cost?",
            "{a} cups and {b} pots hold {s} spoons of tea. {c} cups and {d} pots hold {t} spoons. "
            "How many spoons does a cup hold?"),
    exam=("{a} bags of rice and {b} of corn weigh {s} kg. {c} bags of rice and {d} of corn weigh {t} kg. "
          "What does a bag of rice weigh?",
          "{a} buses and {b} vans seat {s} people. {c} buses and {d} vans seat {t} people. "
          "How many people does a bus seat?"),
    formal=("If {a}x + {b}y = {s} and {c}x + {d}y = {t}, find x.",
            "Find the x that solves both {a}x + {b}y = {s} and {c}x + {d}y = {t}."),
)  # fmt: skip
def pair_system(a: int, b: int, s: int, c: int, d: int, t: int) -> Solution:
    left, right, apart = d * s, b * t, a * d - b * c
    steps = f"{s} x {d} = {left}. {t} x {b} = {right}. {left} - {right} = {left - right}"
    steps = f"{steps}. {a} x {d} - {c} x {b} = {apart}. {left - right} / {apart} = {(left - right) // apart}"
    solved = f"print(solve([{a} * x + {b} * y - {s}, {c} * x + {d} * y - {t}])[x])"
    return (left - right) // apart, steps, f"from sympy import solve\nfrom sympy.abc import x, y\n{solved}"


@family(
    "algebra", "large", sum_and_product((6, 45), (1, 30)), comment="sum and product",
    retold=("Two numbers have the sum {s} and the product {p}. What is the larger one?",
            "{name} thinks of two numbers. They add up to {s} and multiply to {p}. What is the larger one?"),
    exam=("Length and width of a field add up to {s} metres and its area is {p} square metres. "
          "How many metres is the longer side?",
          "Half the way round a card is {s} cm and its area is {p} square cm. How many cm is its longer side?"),
    formal=("Given x + y = {s}, xy = {p} and x > y, find x.",
            "Write {s} as the sum of two numbers with the product {p}. Find the larger number."),
)  # fmt: skip
def pair_product(s: int, p: int) -> Solution:
    gap = math.isqrt(s * s - 4 * p)
    larger = (s + gap) // 2
    steps = f"{p} = {s - larger} x {larger}. {add_in_steps(larger, s - larger)}. the larger is {larger}"
    expression = "(total + math.isqrt(total ** 2 - 4 * product)) // 2"
    return larger, steps, program(expression, "import math", total=s, product=p)
