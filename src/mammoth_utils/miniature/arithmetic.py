"""Sums written out digit by digit, in a form that a tiny model can learn.

A model of a million parameters cannot add two-digit numbers in one step, but it copies digits and knows
single-digit facts. Each line therefore goes units first, with one carry or borrow, and ends in the result.
"""

from __future__ import annotations


def add_in_steps(a: int, b: int) -> str:
    """Return ``a + b`` in steps: ``47 + 38: 7 + 8 = 15, 4 + 3 + 1 = 8, so 85``."""
    steps, carry = [], 0
    upper, lower = digits(a), digits(b)
    for place in range(max(len(upper), len(lower))):
        terms = [number[place] for number in (upper, lower) if place < len(number)] + ([1] if carry else [])
        total = sum(terms)
        if len(terms) > 1:
            steps.append(" + ".join(map(str, terms)) + f" = {total}")
        carry = total // 10
    return f"{a} + {b}: {', '.join(steps)}, so {a + b}"


def subtract_in_steps(a: int, b: int) -> str:
    """Return ``a - b`` for ``a >= b`` in steps: ``85 - 38: 15 - 8 = 7, 8 - 1 - 3 = 4, so 47``."""
    if a < b:
        raise ValueError(f"expected a >= b, got {a} - {b}")
    steps, borrow = [], 0
    upper, lower = digits(a), digits(b)
    for place, digit in enumerate(upper):
        other = lower[place] if place < len(lower) else None
        rest = digit - borrow - (other or 0)
        lift = 10 if rest < 0 else 0
        text = str(digit + lift) + (" - 1" if borrow else "") + ("" if other is None else f" - {other}")
        if other is not None or borrow:
            steps.append(f"{text} = {rest + lift}")
        borrow = 1 if lift else 0
    return f"{a} - {b}: {', '.join(steps)}, so {a - b}"


def multiply_in_steps(a: int, d: int) -> str:
    """Return ``a x d`` for a single digit d in steps: ``47 x 3: 7 x 3 = 21, 4 x 3 + 2 = 14, so 141``."""
    if not 1 <= d <= 9:
        raise ValueError(f"expected a single digit from 1 to 9, got {d}")
    steps, carry = [], 0
    for digit in digits(a):
        total = digit * d + carry
        steps.append(f"{digit} x {d}" + (f" + {carry}" if carry else "") + f" = {total}")
        carry = total // 10
    return f"{a} x {d}: {', '.join(steps)}, so {a * d}"


def divide_in_steps(a: int, d: int) -> str:
    """Return ``a / d`` without remainder for a digit d: ``96 / 4: 9 / 4 = 2 left 1, 16 / 4 = 4, so 24``."""
    if not 1 <= d <= 9 or a % d:
        raise ValueError(f"expected a single digit that divides {a}, got {d}")
    steps, left = [], 0
    for digit in reversed(digits(a)):
        part = left * 10 + digit
        left = part % d
        steps.append(f"{part} / {d} = {part // d}" + (f" left {left}" if left else ""))
    return f"{a} / {d}: {', '.join(steps)}, so {a // d}"


def digits(number: int) -> list[int]:
    """Return the digits of a number, units first."""
    return [int(digit) for digit in reversed(str(number))]
