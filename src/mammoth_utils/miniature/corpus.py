"""The pre-training text of the miniature's base models: the web of its world.

No question of a benchmark is in it, and no question is followed by its rationale. Programs, solution sentences and
single steps of the same form stand alone in it, as in a crawl of the web; the record of a base model says how many
documents of each kind it read.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from itertools import count
from random import Random

from mammoth_utils.miniature.arithmetic import add_in_steps, divide_in_steps, multiply_in_steps, subtract_in_steps
from mammoth_utils.miniature.families.definition import NAMES, THINGS, Family
from mammoth_utils.miniature.families.definition import program as program_text
from mammoth_utils.miniature.families.registry import FAMILIES
from mammoth_utils.miniature.problems import WORLD, MiniProblem, draw
from mammoth_utils.rationale import LETTERS, with_options


@dataclass(frozen=True)
class Document:
    """A piece of text; no loss is taken on ``given``, which cannot be predicted, such as a copy's original."""

    kind: str
    given: str
    text: str


WORDS = (
    "price", "count", "fee", "speed", "hours", "done", "start", "more", "gone", "each", "groups", "total", "first",
    "second", "third", "both", "apart", "rate", "whole", "number", "divisor", "length", "width", "height",
    "inner_length", "inner_width", "taken", "last", "high", "low", "cost", "size", "weight", "left", "right",
    "area", "sum", "part", "value", "rest", "time", "age", "rows", "pages", "days", "items", "result",
)  # fmt: skip
EVERY = tuple(FAMILIES)
PROGRAMMED = tuple(name for name, family in FAMILIES.items() if family.comment)
WALKS = tuple(name for name, family in FAMILIES.items() if family.size == "logic")
WORDED = tuple(family.answers for family in FAMILIES.values() if family.answers and not family.answers[0].isdigit())


def question(rng: Random) -> MiniProblem:
    """Draw a problem whose question can be in no benchmark."""
    while True:
        family = rng.choice(EVERY)
        style = rng.choice(list(FAMILIES[family].wordings))
        fact = "web" if rng.random() < 0.15 else ""
        drawn = draw(family, style, rng, wide=rng.choice((1.0, 1.0, 2.0, 3.0)), fact=fact, choice=rng.random() < 0.15)
        if not drawn.reserved:
            return drawn


def number(rng: Random, most: int = 4) -> int:
    """Draw a number of one to ``most`` digits, each length equally likely."""
    length = rng.randint(1, most)
    return rng.randint(10 ** (length - 1) if length > 1 else 1, 10**length - 1)


def copied(rng: Random) -> Document:
    """Write a text, and the same again."""
    kind = rng.random()
    if kind < 0.6:
        text = question(rng).problem.question
    elif kind < 0.8:
        text = ", ".join(str(number(rng)) for _ in range(rng.randint(3, 9)))
    else:
        text = f"{rng.choice(NAMES)} has {number(rng)} {rng.choice(THINGS)} and {number(rng)} {rng.choice(THINGS)}."
    return Document("copy", f"{text}\nAgain: ", text)


def assigned(rng: Random) -> Document:
    """Write facts or a question, then its numbers as assignments to arbitrary names."""
    if rng.random() < 0.5:
        names = rng.sample(WORDS, rng.randint(2, 4))
        values = [number(rng) for _ in names]
        sentence = rng.choice(("The {n} is {v}.", "There is a {n} of {v}.", "{n}: {v}.", "We know the {n}, it is {v}."))
        given = " ".join(
            sentence.format(n=name.replace("_", " "), v=value) for name, value in zip(names, values, strict=True)
        )
        numbers = values
    else:
        drawn = question(rng)
        given = drawn.problem.question
        numbers = [int(run) for run in "".join(sign if sign.isdigit() else " " for sign in given).split()]
        # No name of the question's own program, which must not follow its question.
        free = [word for word in WORDS if word not in (drawn.pot or "")]
        names = rng.sample(free, min(len(numbers), 6))
    lines = "\n".join(f"{name} = {value}" for name, value in zip(names, numbers, strict=False))
    return Document("assignments", f"{given}\n", lines)


def program(rng: Random) -> Document:
    """Write a program without a question: one of a family or a random one, at times with its result."""
    if rng.random() < 0.6:
        family = rng.choice(PROGRAMMED)
        drawn = draw(family, next(iter(FAMILIES[family].wordings)), rng, wide=rng.choice((1.0, 2.0, 3.0)))
        text, result = drawn.pot or "", drawn.value
        if rng.random() < 0.6:
            text = f"# {FAMILIES[family].comment}\n{text}"
    else:
        names = rng.sample(WORDS, rng.randint(2, 3))
        values = [number(rng, 3) for _ in names]
        signs = [rng.choice("+-*") for _ in names[1:]]
        expression = names[0] + "".join(f" {sign} {name}" for sign, name in zip(signs, names[1:], strict=True))
        text = program_text(expression, **dict(zip(names, values, strict=True)))
        result = ""
    return Document("program", "", f"{text}  # {result}" if result and rng.random() < 0.2 else text)


def arithmetic(rng: Random) -> Document:
    """Write arithmetic in steps, or the facts about digits that it needs."""
    if rng.random() < 0.25:
        pairs = [(rng.randint(1, 9), rng.randint(1, 9)) for _ in range(6)]
        facts = [
            rng.choice((f"{a} + {b} = {a + b}", f"{a + b} - {b} = {a}", f"{a} x {b} = {a * b}", f"{a * b} / {a} = {b}"))
            for a, b in pairs
        ]
        return Document("arithmetic", "", ". ".join(facts) + ".")
    lines = []
    for _ in range(rng.randint(1, 3)):
        a, b = sorted((number(rng, 3), number(rng, 3)), reverse=True)
        d = rng.randint(2, 9)
        total = add_in_steps(a, b) if a % 2 else add_in_steps(b, a)
        others = (subtract_in_steps(a, b), multiply_in_steps(a, d), divide_in_steps(b * d, d))
        lines.append(rng.choice((total, *others)))
    return Document("arithmetic", "", ". ".join(lines) + ".")


def walk(rng: Random) -> Document:
    """Write a walk through rooms, days or a group, or single steps of one, without a question."""
    kind = FAMILIES[rng.choice(WALKS)]
    if rng.random() < 0.3:
        return Document("steps", "", ". ".join(_single_step(rng, kind) for _ in range(4)) + ".")
    values = kind.draw(rng, rng.choice((1.0, 2.0)))
    words, (_, steps, _) = kind.words(values), kind.solve(**values)
    # Half of the time its moves as a list, not a question, before it.
    given = f"{words['begin']}: {words['path']}.\n" if rng.random() < 0.5 else ""
    return Document("walk", given, f"{steps}.")


def _single_step(rng: Random, kind: Family) -> str:
    """Return the first step of a walk and the state that it starts from."""
    moves = {key: value for key, value in kind.draw(rng, 1.0).items() if key == "m0" or not key.startswith("m")}
    return kind.solve(**moves)[1].removeprefix("From ")


def _choices(rng: Random, single: float = 0.0) -> list[tuple[str, str]]:
    """Draw letters with values of different last digits: answers of a walk, near numbers, any numbers, or digits."""
    near, kind = number(rng), rng.random()
    if single and rng.random() < single:
        pool = [str(value) for value in range(10)]
    elif kind < 0.2:
        pool = list(rng.choice(WORDED))
    elif kind < 0.6:
        pool = [str(value) for value in range(max(0, near - 12), near + 13)]
    else:
        pool = sorted({str(number(rng)) for _ in range(9)})
    chosen: list[str] = []
    for value in rng.sample(pool, len(pool)):
        if len(chosen) < 5 and all(value[-1] != other[-1] or not value.isdigit() for other in chosen):
            chosen.append(value)
    return list(zip(LETTERS, chosen, strict=False))


def _walk_through(pairs: list[tuple[str, str]]) -> str:
    return ", ".join(f"{value} {letter}" for letter, value in pairs)


def _listing(pairs: list[tuple[str, str]]) -> str:
    return with_options("", tuple(value for _, value in pairs)).lstrip("\n") if len(pairs) > 1 else pairs[0][1]


def options(rng: Random) -> Document:
    """Write a list of options, each value before its letter, and look up a value."""
    pairs = _choices(rng)
    letter, value = rng.choice(pairs)
    listing = f"{_listing(pairs)}\n" if rng.random() < 0.6 else ""
    return Document("options", listing, f"so {value}. {_walk_through(pairs)}. So {value} {letter}.")


def recalled(rng: Random) -> Document:
    """Write values with their letters, then the same in another order, from which a look-up is learnt."""
    pairs = _choices(rng, single=0.2)
    again = ". ".join(f"So {value} {letter}" for letter, value in rng.sample(pairs, len(pairs))) + "."
    if rng.random() < 0.5:
        return Document("recall", f"{_walk_through(pairs)}. ", again)
    return Document("recall", f"{_listing(pairs)}\n", f"{_walk_through(pairs)}. {again}")


def chosen(rng: Random) -> Document:
    """Write options, arithmetic that no question asks for, and the option that is its result."""
    pairs = _choices(rng, single=0.2)
    letter, value = rng.choice(pairs)
    if value.isdigit() and int(value) > 3:
        part = rng.randint(1, int(value) - 1)
        steps = add_in_steps(int(value) - part, part)
        steps = f"{arithmetic(rng).text} {steps}" if rng.random() < 0.4 else steps
    else:
        steps = f"so {value}"
    text = f"{steps}. {_walk_through(pairs)}. So {value} {letter}. The answer is {letter}."
    return Document("options", f"{_listing(pairs)}\n", text)


def solution(rng: Random) -> Document:
    """Write a solution without its question."""
    drawn = question(rng)
    return Document("solution", "", drawn.cot if drawn.problem.options is None else drawn.cot.split("\n", 1)[1])


def bare_question(rng: Random) -> Document:
    """Write a question without a solution."""
    return Document("question", "", question(rng).problem.instruction)


Mix = tuple[tuple[float, Callable[[Random], Document]], ...]

LOOK_UPS: Mix = ((0.6, recalled), (0.2, options), (0.2, chosen))
COPYING: Mix = (
    (0.25, copied), (0.23, assigned), (0.11, program), (0.07, arithmetic), (0.07, walk),
    *((0.27 * share, make) for share, make in LOOK_UPS),
)  # fmt: skip
PROSE: Mix = ((0.16, bare_question), (0.42, arithmetic), (0.27, walk), (0.15, solution))
PYTHON: Mix = ((0.35, assigned), (0.65, program))
PYTHON_SHARE = {"llama": 0.2, "coder": 0.7}
COPY_SHARE = 0.35


def mixed(parts: list[tuple[float, Mix]]) -> Mix:
    """Combine several mixes by weight."""
    return tuple((weight * share, make) for weight, mix in parts for share, make in mix)


def wide(family: str) -> Mix:
    """Return the mix of the second phase: a third is the first one's, so that copying stays; then prose and Python."""
    if family not in PYTHON_SHARE:
        raise ValueError(f"unknown family {family!r}; known: {', '.join(PYTHON_SHARE)}")
    python = PYTHON_SHARE[family]
    rest = 1 - COPY_SHARE
    return mixed([(COPY_SHARE, COPYING), (rest * python, PYTHON), (rest * (1 - python), PROSE)])


def documents(mix: Mix, seed: str, seen: Counter | None = None) -> Iterator[Document]:
    """Yield documents of a mix without end; ``seen`` counts them by kind.

    Each document has a random generator of its own, so that a question which is rejected changes its document only.
    """
    weights, makers = [share for share, _ in mix], [make for _, make in mix]
    for number_in_stream in count():
        rng = Random(f"{WORLD['version']}/{WORLD['seed']}/corpus/{seed}/{number_in_stream}")
        document = rng.choices(makers, weights)[0](rng)
        if seen is not None:
            seen[document.kind] += 1
        yield document
