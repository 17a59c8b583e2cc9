"""Problems of the miniature world: drawn from families, worded, solved, and turned into multiple choice.

Print any problem with its rationales in one line::

    python -m mammoth_utils.miniature.problems gcd --style formal --seed 3
"""

from __future__ import annotations

import argparse
import hashlib
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from random import Random

from mammoth_utils.miniature.families.definition import NAMES, THINGS, Family
from mammoth_utils.miniature.families.registry import FAMILIES
from mammoth_utils.prompts import ANSWER_TRIGGER, CHOICE_PREFILL
from mammoth_utils.rationale import LETTERS, Problem

# The version is raised when a change to the world invalidates base models, records and figures of the old one.
WORLD = {"version": 2, "seed": 230905653}

OPTION_COUNT = 5
# One question in eight, by its hash, may stand in benchmarks and nowhere else, so that a benchmark can be drawn anew
# while the base models stay as they are.
RESERVED_SHARE = 8
STYLES = ("story", "retold", "exam", "formal", "bare")

# A quarter of the training questions have an unrelated fact in front. Those of the benchmarks use other wordings, so
# that a test measures whether such a sentence is ignored, not whether it is known.
WEB_FACTS = (
    "{name} is {n} years old.",
    "The shop is at number {n}.",
    "It is {n} degrees outside.",
    "The bus has {n} seats.",
)
TRAINING_FACTS = (
    *WEB_FACTS,
    "The book has {n} pages.",
    "{name} sits in row {n}.",
    "There are {n} cars on the road.",
    "The town is {n} km away.",
    "A week ago {name} slept for {n} hours.",
    "The wall has {n} windows.",
    "{name} was born in the year {n}.",
    "The tower was painted {n} months ago.",
)
TEST_FACTS = (
    "The house was built {n} years ago.",
    "{name} lives on floor {n}.",
    "There are {n} trees in the park.",
)
FACTS = {"training": TRAINING_FACTS, "test": TEST_FACTS, "web": WEB_FACTS}  # web: in the text of the base models
FACT_SHARE = 0.25


@dataclass(frozen=True)
class MiniProblem:
    """A problem of the miniature world with its true rationales.

    Attributes:
        cot: The correct chain of thought, ending in ``The answer is ...``.
        pot: A correct program, or None where no source has one (logic and abstract algebra).
        style: The style of its wording, one of ``STYLES``.
        value: The answer as a value: the gold, or the text of the gold option.
        reserved: Whether its question is one of the benchmarks'.
    """

    problem: Problem
    cot: str
    pot: str | None
    style: str
    value: str
    reserved: bool


def is_reserved(question: str) -> bool:
    """Return whether a question, without an unrelated fact or options, may stand in benchmarks only."""
    digest = hashlib.sha256(f"{WORLD['seed']}/{question}".encode()).digest()
    return int.from_bytes(digest[:4]) % RESERVED_SHARE == 0


def draw(
    family: str,
    style: str,
    rng: Random,
    *,
    wide: float = 1.0,
    fact: str = "",
    choice: bool = False,
    logic_programs: bool = False,
    id: str = "",
    set: str = "",
) -> MiniProblem:
    """Draw a problem of a family in a style; raise ValueError, naming the choices, if one of them is unknown.

    Args:
        family: A key of ``FAMILIES``.
        style: A style that the family has wordings in.
        wide: Factor on the upper end of the number ranges; above 1 logic walks may be longer.
        fact: ``""``, or a key of ``FACTS`` for an unrelated sentence of these wordings in front.
        choice: Whether five options are offered.
        logic_programs: Whether a walk comes with its program, as in a counter-world.
    """
    if family not in FAMILIES:
        raise ValueError(f"unknown family {family!r}; known: {', '.join(FAMILIES)}")
    kind = FAMILIES[family]
    if style not in kind.wordings:
        raise ValueError(f"family {family!r} has no style {style!r}; it has: {', '.join(kind.wordings)}")
    values = kind.draw(rng, wide)
    answer, steps, program = kind.solve(**values)
    if kind.size == "logic" and not logic_programs:
        program = None
    gold = str(answer)
    name = rng.choice(NAMES)
    words = {"name": name, "thing": rng.choice(THINGS), **kind.words(values)}
    question = rng.choice(kind.wordings[style]).format(**values, **words)
    reserved = is_reserved(question)
    if fact:
        other = rng.choice([other for other in NAMES if other != name])
        question = f"{rng.choice(FACTS[fact]).format(name=other, n=rng.randint(12, 99))} {question}"
    options = _options(kind, gold, rng) if choice else None
    cot = prose(steps, gold, options)
    letter = LETTERS[options.index(gold)] if options else gold
    problem = Problem(id, question, letter, options, set, kind.field, family)
    return MiniProblem(problem, cot, program, style, gold, reserved)


def prose(steps: str, gold: str, options: tuple[str, ...] | None) -> str:
    """Return the chain of thought: the steps, for multiple choice the list of options, and the answer.

    The list has each value before its letter: a small model can find what *follows* something that it has seen.
    """
    if options is None:
        return f"{steps}. {ANSWER_TRIGGER}{gold}."
    walk = ", ".join(f"{text} {letter}" for letter, text in zip(LETTERS, options, strict=False))
    letter = LETTERS[options.index(gold)]
    return f"{CHOICE_PREFILL}{steps}. {walk}. So {gold} {letter}. {ANSWER_TRIGGER}{letter}."


def _options(family: Family, gold: str, rng: Random) -> tuple[str, ...]:
    """Return five options in random order, the gold among them, no two with the same last digit."""
    if family.answers:
        values = [gold]
        for other in rng.sample(family.answers, len(family.answers)):
            if len(values) < OPTION_COUNT and all(_differ(other, value) for value in values):
                values.append(other)
    else:
        values, number = [gold], int(gold)
        while len(values) < OPTION_COUNT:
            other = number + rng.choice((-1, 1)) * rng.choice((1, 2, 3, 4, 6, 7, 8, 9, 10 + rng.randint(1, 9)))
            if other > 0 and all(_differ(str(other), value) for value in values):
                values.append(str(other))
    rng.shuffle(values)
    return tuple(values)


def _differ(one: str, other: str) -> bool:
    return one != other and (one[-1] != other[-1] or not one.isdigit())


def draw_many(
    count: int,
    cells: Sequence[tuple[str, str]],
    seed: str,
    *,
    wide: float = 1.0,
    fact: str = "",
    fact_share: float = 1.0,
    choice: bool = False,
    logic_programs: bool = False,
    set: str = "",
    reserved: bool = False,
    avoid: Iterable[str] = (),
) -> Iterator[MiniProblem]:
    """Draw distinct problems, families and styles in turn; raise RuntimeError if the cells hold too few of them.

    Args:
        cells: Pairs of family and style, repeated for a larger share.
        seed: Name of the random stream, which is combined with the world's seed.
        reserved: Whether the problems are a benchmark's.
        avoid: Instructions that are not drawn.
    """
    rng = Random(f"{WORLD['version']}/{WORLD['seed']}/{seed}")
    taken, misses, number = {*avoid}, 0, 0
    while number < count:
        family, style = cells[number % len(cells)]
        sentence = fact if fact and rng.random() < fact_share else ""
        identifier = f"{set}/{number}" if set else str(number)
        drawn = draw(
            family, style, rng, wide=wide, fact=sentence, choice=choice, logic_programs=logic_programs, id=identifier,
            set=set,
        )  # fmt: skip
        if drawn.reserved != reserved or drawn.problem.instruction in taken:
            misses += 1
            if misses > 50 * count:
                raise RuntimeError(f"{set or seed}: found {number} distinct problems of {count} in {len(cells)} cells")
            continue
        taken.add(drawn.problem.instruction)
        number += 1
        yield drawn


def show(drawn: MiniProblem) -> str:
    """Return a problem with its rationales as text."""
    program = drawn.pot or "(no source has a program for this family)"
    return f"{drawn.problem.instruction}\n\ngold: {drawn.problem.gold}\n\nCoT: {drawn.cot}\n\nPoT:\n{program}"


def main() -> None:
    """Print one problem of a family."""
    parser = argparse.ArgumentParser(description="Print a problem of the miniature world with its rationales.")
    parser.add_argument("family", choices=FAMILIES, help="problem family")
    parser.add_argument("--style", choices=STYLES, default="", help="wording; default: the family's first")
    parser.add_argument("--seed", type=int, default=0, help="which problem")
    parser.add_argument("--wide", type=float, default=1.0, help="factor on the number ranges")
    parser.add_argument("--choice", action="store_true", help="offer five options")
    chosen = parser.parse_args()
    style = chosen.style or next(iter(FAMILIES[chosen.family].wordings))
    try:
        print(show(draw(chosen.family, style, Random(chosen.seed), wide=chosen.wide, choice=chosen.choice)))
    except ValueError as error:
        parser.error(str(error))


if __name__ == "__main__":
    main()
