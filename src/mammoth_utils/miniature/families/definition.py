"""A problem family: how its problems are drawn, worded, solved in prose and solved by a program.

A family is one decorated function, which solves a problem from its numbers::

    @family("arithmetic", "small", ranges(a=(12, 99), b=(12, 99)), comment="add", bare="What is {a} + {b}?")
    def gain(a, b):
        return a + b, add_in_steps(a, b), program("start + more", start=a, more=b)
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from random import Random

NAMES = ("Anna", "Ben", "Carla", "David", "Emma", "Felix", "Grace", "Hugo", "Iris", "Jonas", "Kate", "Leo")
THINGS = ("apples", "books", "coins", "cards", "shells", "stamps", "pens", "stones", "tickets", "beads")

Values = dict[str, int]
Draw = Callable[[Random, float], Values]
Solution = tuple[int | str, str, str | None]  # gold, steps in prose without the closing sentence, program or None


@dataclass(frozen=True)
class Family:
    """A problem family.

    Its wordings are grouped by *style*; sources and benchmarks have some styles of some families, so that one source
    teaches what another lacks: ``story`` (school stories), ``retold`` (the same told in another way), ``exam`` (exam
    prose), ``formal`` (textbook), ``bare`` (symbols).

    Attributes:
        name: Short name; intervals cluster by it.
        field: Field of mathematics.
        size: ``small`` (prose can compute it), ``large`` (a program is needed) or ``logic`` (a walk, whose program
            no source has but that of a counter-world).
        draw: Returns numbers; its second argument widens their ranges.
        solve: Returns gold, prose and program, from the numbers as keyword arguments.
        comment: A comment on its program in the text of the base models; empty where there is no program.
        answers: All possible answers, from which options are drawn; empty where options are numbers near the gold.
        words: Returns what the wordings need besides numbers, from the numbers; of a walk at least its ``begin`` and
            its ``path``, the moves.
    """

    name: str
    field: str
    size: str
    draw: Draw
    solve: Callable[..., Solution]
    wordings: dict[str, tuple[str, ...]] = field(default_factory=dict)
    comment: str = ""
    answers: tuple[str, ...] = ()
    words: Callable[[Values], dict[str, str]] = lambda values: {}


def family(
    of: str,
    size: str,
    draw: Draw,
    comment: str = "",
    answers: tuple[str, ...] = (),
    words: Callable[[Values], dict[str, str]] = lambda values: {},
    **wordings: str | tuple[str, ...],
) -> Callable[[Callable[..., Solution]], Family]:
    """Make a family of a function that solves it, under the function's name.

    Args:
        of: Field of mathematics; the other arguments are attributes of :class:`Family`.
        **wordings: A template or several, by style.
    """
    styles = {style: (texts,) if isinstance(texts, str) else texts for style, texts in wordings.items()}
    return lambda solve: Family(solve.__name__, of, size, draw, solve, styles, comment, answers, words)


def ranges(**limits: tuple[int, int]) -> Draw:
    """Return a function that draws numbers, each from its lowest to its highest value, in the given order."""
    return lambda rng, wide: {name: number(rng, low, high, wide) for name, (low, high) in limits.items()}


def number(rng: Random, low: int, high: int, wide: float = 1.0) -> int:
    """Draw a number from low to high; a wider range moves the upper end only."""
    return rng.randint(low, int(high * wide))


def program(expression: str, imports: str = "", **values: int) -> str:
    """Return a program of assignments, in the given order, and one print."""
    lines = [imports] if imports else []
    return "\n".join([*lines, *(f"{name} = {value}" for name, value in values.items()), f"print({expression})"])
