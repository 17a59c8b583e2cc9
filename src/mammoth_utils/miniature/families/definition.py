"""One kind of problem: how it is drawn, worded, solved in prose and solved by a program."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from random import Random

NAMES = ("Anna", "Ben", "Carla", "David", "Emma", "Felix", "Grace", "Hugo", "Iris", "Jonas", "Kate", "Leo")
THINGS = ("apples", "books", "coins", "cards", "shells", "stamps", "pens", "stones", "tickets", "beads")

Values = dict[str, int]
Solved = tuple[str, str, str | None]  # gold, steps in prose without the closing sentence, program or None


@dataclass(frozen=True)
class Family:
    """One kind of problem.

    Its wordings are grouped by *style*; sources and benchmarks carry some styles of some families, so that what
    one source teaches another may lack: ``story`` (school stories), ``retold`` (the same told another way),
    ``exam`` (exam prose), ``formal`` (textbook), ``bare`` (symbols).

    Attributes:
        name: Short name; intervals cluster by it.
        field: Field of mathematics.
        size: ``small`` (prose can compute it), ``large`` (a program is needed) or ``logic`` (no program exists).
        draw: Numbers from a generator; the second argument widens the range.
        solve: Gold, prose and program from the numbers.
        wordings: Templates by style.
    """

    name: str
    field: str
    size: str
    draw: Callable[[Random, float], Values]
    solve: Callable[[Values], Solved]
    wordings: dict[str, tuple[str, ...]]


def program(values: Values, names: dict[str, str], expression: str, imports: str = "") -> str:
    """Assignments in the order of the question, then one print."""
    lines = [imports] if imports else []
    lines += [f"{word} = {values[key]}" for key, word in names.items()]
    return "\n".join([*lines, f"print({expression})"])


def number(rng: Random, low: int, high: int, wide: float = 1.0) -> int:
    """A number from low to high; a wider range moves the upper end only."""
    return rng.randint(low, int(high * wide))
