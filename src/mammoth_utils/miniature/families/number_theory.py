"""Number theory: remainders, divisors, primes and digits."""

from __future__ import annotations

import math
from random import Random

from mammoth_utils.miniature.families.definition import Solution, Values, family, number, program


def _draw_remainder(rng: Random, wide: float) -> Values:
    a, b = number(rng, 200, 2500, wide), rng.randint(13, 97)
    return {"a": a if a % b else a + 1, "b": b}


@family(
    "number theory", "large", _draw_remainder, comment="remainder",
    retold=("{name} packs {a} {thing} into boxes of {b}. How many {thing} do not fit?",
            "From {a} {thing} {name} builds as many towers of {b} as possible. How many {thing} are not used?"),
    exam=("When {a} is divided by {b}, what is left over?",
          "A rope of {a} cm is cut into parts of {b} cm. How many cm of rope remain?"),
    formal=("Find the remainder when {a} is divided by {b}.",
            "Find the smallest number r >= 0 for which {a} - r is a multiple of {b}."),
    bare="Calculate {a} mod {b}.",
)  # fmt: skip
def remainder(a: int, b: int) -> Solution:
    return a % b, f"{a} = {a // b} x {b} + {a % b}", program("number % divisor", number=a, divisor=b)


def _draw_gcd(rng: Random, wide: float) -> Values:
    common = rng.randint(3, 24)
    return {"a": common * number(rng, 7, 45, wide), "b": common * number(rng, 7, 45, wide)}


@family(
    "number theory", "large", _draw_gcd, comment="greatest common divisor",
    retold=("{name} gives {a} {thing} and {b} cakes in equal parts to as many children as possible. "
            "How many children is that?",
            "A floor of {a} by {b} cm is covered with equal square tiles, as large as can be. How long is a tile?"),
    exam=("Ropes of {a} and {b} metres are cut into equal parts, as long as can be. How long is a part?",
          "Which is the largest number that divides both {a} and {b}?"),
    formal=("Find the greatest common divisor of {a} and {b}.", "Find the greatest common factor of {a} and {b}."),
    bare="Calculate gcd({a}, {b}).",
)  # fmt: skip
def gcd(a: int, b: int) -> Solution:
    common = math.gcd(a, b)
    steps = f"{a} = {common} x {a // common} and {b} = {common} x {b // common}"
    return common, steps, program("math.gcd(first, second)", "import math", first=a, second=b)


def _draw_lcm(rng: Random, wide: float) -> Values:
    common = rng.randint(2, 12)
    first, second = rng.sample(range(3, int(17 * wide) + 1), 2)
    return {"a": common * first, "b": common * second}


@family(
    "number theory", "large", _draw_lcm, comment="least common multiple",
    retold=("One lamp flashes every {a} seconds and another every {b} seconds. They flash together now. "
            "After how many seconds do they flash together again?",
            "{name} lays planks of {a} cm end to end, and beside them planks of {b} cm. "
            "After how many cm are both rows first equally long?"),
    exam=("Two buses start together. One starts every {a} minutes, the other every {b} minutes. "
          "After how many minutes do they next start together?",
          "Which is the smallest number above zero that both {a} and {b} divide?"),
    formal=("Find the least common multiple of {a} and {b}.",
            "Find the smallest positive integer that is divisible by {a} and by {b}."),
    bare="Calculate lcm({a}, {b}).",
)  # fmt: skip
def lcm(a: int, b: int) -> Solution:
    common = math.lcm(a, b)
    steps = f"{a} x {common // a} = {common} and {b} x {common // b} = {common}"
    return common, steps, program("math.lcm(first, second)", "import math", first=a, second=b)


@family(
    "number theory", "large", lambda rng, wide: {"n": number(rng, 30, 2000, wide)}, comment="next prime",
    retold=("{name} counts up from {n} and stops at the first prime above it. At which number does {name} stop?",
            "A house has the smallest prime number above {n}. Which number does it have?"),
    exam=("Which prime number comes next after {n}?",
          "The code of a lock is the first prime number after {n}. What is the code?"),
    formal=("Find the smallest prime greater than {n}.", "Find the least prime number p with p > {n}."),
    bare="Calculate next_prime({n}).",
)  # fmt: skip
def next_prime(n: int) -> Solution:
    prime = next(p for p in range(n + 1, 2 * n) if all(p % d for d in range(2, math.isqrt(p) + 1)))
    steps = f"The first prime from {n + 1} on is {prime}"
    return prime, steps, program("nextprime(start)", "from sympy import nextprime", start=n)


def _draw_power_mod(rng: Random, wide: float) -> Values:
    a = b = m = 1
    while pow(a, b, m) < 2:  # powers often leave 0 or 1, which would be easy to guess
        a, b, m = rng.randint(2, 40), number(rng, 3, 30, wide), number(rng, 11, 97, wide)
    return {"a": a, "b": b, "m": m}


@family(
    "number theory", "large", _draw_power_mod, comment="remainder of a power",
    retold=("A cell becomes {a} cells each hour, as does each of these. After {b} hours they go into dishes of {m}. "
            "How many cells are left over?",
            "{name} writes {a} as a factor {b} times, multiplies and divides by {m}. What is the remainder?"),
    exam=("What is left over when {a} to the power {b} is divided by {m}?",
          "A secret is {a} to the power {b}, reduced modulo {m}. What is the secret?"),
    formal=("Find the remainder of the power {a}^{b} on division by {m}.",
            "Find the least r >= 0 with {a}^{b} congruent to r modulo {m}."),
    bare="Calculate {a}^{b} mod {m}.",
)  # fmt: skip
def power_mod(a: int, b: int, m: int) -> Solution:
    rest = pow(a, b, m)
    steps = f"{a} to the power {b} leaves {rest} modulo {m}"
    return rest, steps, program("pow(base, power, modulus)", base=a, power=b, modulus=m)


def _draw_digit_sum(rng: Random, wide: float) -> Values:
    count = 4 if wide <= 1 else rng.randint(4, 5)
    low, high = sorted(rng.sample(range(1, 10), k=2))  # spreads the sums, of which most would be near 20
    return {"n": int("".join(str(rng.randint(low, high)) for _ in range(count)))}


@family(
    "number theory", "small", _draw_digit_sum, comment="sum of digits",
    story=("{name} has ticket {n} and adds its digits. What is the sum?",
           "The code of a lock is {n}. {name} adds up the digits of the code. What does {name} get?"),
    retold=("A house has the number {n}. What do its digits add up to?",
            "{name} writes {n} and then the sum of its digits. What is that sum?"),
    exam=("What is the sum of all digits of {n}?", "A check digit test adds the digits of {n}. What is the result?"),
    formal=("Find the digit sum of {n}.", "Find the sum of the decimal digits of {n}."),
    bare="Calculate digit_sum({n}).",
)  # fmt: skip
def digit_sum(n: int) -> Solution:
    total, *others = map(int, str(n))
    steps = []
    for digit in others:
        steps.append(f"{total} + {digit} = {total + digit}")
        total += digit
    return total, ", ".join(steps), program("sum(map(int, str(number)))", number=n)


@family(
    "number theory", "large", lambda rng, wide: {"n": number(rng, 300, 3000, wide), "d": rng.randint(12, 99)},
    comment="count multiples",
    retold=("From {n} {thing} {name} fills bags of {d}. How many bags are full?",
            "A book has {n} pages. {name} marks every page whose number is a multiple of {d}. "
            "How many pages are marked?"),
    exam=("How many of the whole numbers from 1 to {n} are multiples of {d}?",
          "Up to and including {n}, how many positive integers can be divided by {d} without a remainder?"),
    formal=("Among the integers from 1 to {n}, count the multiples of {d}.",
            "Find the largest integer k for which {n} is at least {d} times k."),
    bare="Calculate floor({n} / {d}).",
)  # fmt: skip
def multiples(n: int, d: int) -> Solution:
    count = n // d
    steps = f"{d} x {count} = {d * count} is at most {n}, {d} x {count + 1} = {d * count + d} is not"
    return count, steps, program("limit // step", limit=n, step=d)
