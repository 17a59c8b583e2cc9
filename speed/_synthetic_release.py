"""A synthetic release: MathInstruct's format, size and shares, with problems of the miniature and known faults.

The published file may be out of reach, and nobody knows what is wrong in it. This one is generated, never committed,
as long as the real one (262,039 rows, about 74 thousand programs, about 200 MB), and what is wrong in it is planted, so
an audit can be checked against it::

    python speed/_synthetic_release.py data/release/MathInstruct.json --rows 10000
"""

from __future__ import annotations

import argparse
import json
import sys
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from random import Random

sys.path.insert(0, str(Path(__file__).resolve().parent.parent / "src"))

from mammoth_utils import records
from mammoth_utils.curation import PROGRAM_TRIGGERS, RELEASE_ROWS, RELEASE_SOURCES
from mammoth_utils.miniature import benchmarks, problems
from mammoth_utils.miniature import sources as world
from mammoth_utils.prompts import ANSWER_TRIGGER, CHOICE_PREFILL

WIDE = 12.0  # number ranges, so that a quarter of a million problems are distinct


@dataclass(frozen=True)
class Shape:
    """Shape of the rows of one value of ``source``.

    Attributes:
        rows: Rows in the whole release: the published count where one is known, else what fits Table 1 and the sums.
        like: Source of the miniature whose families and styles are drawn from.
        parts: Least and most problems that are put into one row, so that rows are as long as the real ones.
        twin: Share of the rows that ask the question of the row of this source before, in another rationale's words.
    """

    rows: int
    like: str
    parts: tuple[int, int]
    twin: float = 0.0


SHAPES: dict[str, Shape] = {
    "data/CoT/gsm_train.json": Shape(7_473, "mini-GSM8K (CoT)", (3, 5)),
    "data/CoT/gsm_rft.json": Shape(28_290, "mini-GSM8K-RFT (CoT)", (2, 5), 0.7),
    "data/CoT/aqua_rat.json": Shape(89_300, "mini-AQuA-RAT (CoT)", (1, 3)),
    "data/CoT/MATH_train.json": Shape(11_270, "mini-MATH (CoT)", (3, 8)),
    "data/CoT/TheoremQA.json": Shape(600, "mini-TheoremQA (CoT)", (4, 8)),
    "data/CoT/math50k_camel.json": Shape(49_484, "mini-Camel-Math (CoT)", (6, 14)),
    "data/CoT/college_math.json": Shape(1_840, "mini-College-Math (CoT)", (2, 5)),
    "data/CoT/number_comparison.json": Shape(100, "mini-GSM8K (CoT)", (1, 1)),
    "data/PoT/gsm_gpt4.json": Shape(14_400, "mini-GSM8K (PoT)", (2, 4), 0.5),
    "data/PoT/aqua_rat_filtered.json": Shape(9_700, "mini-AQuA-RAT (PoT)", (1, 3)),
    "data/PoT/MATH_train.json": Shape(10_632, "mini-MATH (PoT)", (2, 4)),
    "data/PoT/TheoremQA.json": Shape(700, "mini-TheoremQA (PoT)", (2, 5)),
    "data/PoT/mathqa.json": Shape(24_350, "mini-MathQA (PoT)", (1, 3)),
    "data/PoT/numglue.json": Shape(13_900, "mini-NumGLUE (PoT)", (1, 2)),
}
# What is wrong on purpose, in rows of 100,000.
PLANTED = {"copy": 1_000, "reworded": 500, "leaked": 200, "error": 500, "syntax": 100, "long": 30}
RIGHT, ENDLESS = "right", "endless"
# One program in so many never ends: few, as in a set that was executed before it was published, and evenly placed,
# since each costs its whole time limit and sizes are compared by their time.
ENDLESS_EVERY = 5_000
_SPOIL = {
    "error": "{}\nprint(1 / 0)",
    "syntax": "{}\nprint((1)",
    ENDLESS: "found = 0\nwhile found >= 0:\n    found += 1\n{}",
}


def rows(count: int = RELEASE_ROWS, seed: int = 0) -> Iterator[tuple[dict[str, str], str]]:
    """Yield rows in the published format, each with its fault: ``RIGHT``, ``ENDLESS`` or one of ``PLANTED``.

    Sources come mixed, in their published shares. The same count and seed give the same rows.

    Args:
        count: How many; the release's own number by default.
        seed: Names the stream of chance.

    Raises:
        ValueError: If there are to be fewer rows than sources.
    """
    if count < len(SHAPES):
        raise ValueError(f"expected at least {len(SHAPES)} rows, one a source, got {count}")
    rng = Random(f"{problems.WORLD['version']}/{problems.WORLD['seed']}/rehearsal/{seed}/{count}")
    order = _order(count, rng)
    leaks = [one for name in benchmarks.BENCHMARKS for one in benchmarks.truths(name, "test")]
    last: dict[str, tuple[str, list[problems.MiniProblem]]] = {}
    made: dict[str, dict[str, str]] = {}
    programs = 0
    for number, file in enumerate(order):
        fault = _fault(rng)
        kind = RELEASE_SOURCES[file].kind
        programs += kind == "pot"
        if kind == "pot" and programs % ENDLESS_EVERY == ENDLESS_EVERY // 2:
            fault = ENDLESS
        if fault in _SPOIL and kind != "pot":
            fault = RIGHT
        if fault in ("copy", "reworded") and file in made:
            row = dict(made[file])
            if fault == "reworded":
                row["instruction"] = f"Here is problem {_word(number)}. {row['instruction']}"
            yield row, fault
            continue
        if fault == "leaked":
            true = rng.choice([one for one in leaks if one.pot] if kind == "pot" else leaks)
            parts, choice = [true], true.problem.options is not None
        else:
            fault = RIGHT if fault in ("copy", "reworded") else fault
            twin = file in last and rng.random() < SHAPES[file].twin
            parts, choice = last[file] if twin else _draw(file, rng)
            last[file] = (parts, choice)
        row = {"source": file, **_row(parts, choice, kind, rng)}
        if fault in _SPOIL:
            row["output"] = _SPOIL[fault].format(row["output"])
        elif fault == "long":
            row["output"] = " ".join([row["output"]] * (1 + 9_000 // len(row["output"])))
        elif fault == RIGHT:
            made[file] = row
        yield row, fault


def _order(count: int, rng: Random) -> list[str]:
    """Return the source of each row: at least one each, the rest in the published shares, mixed."""
    shares = {file: count * shape.rows / RELEASE_ROWS for file, shape in SHAPES.items()}
    counts = {file: max(1, int(share)) for file, share in shares.items()}
    largest = sorted(SHAPES, key=lambda file: -shares[file])
    counts[largest[0]] += count - sum(counts.values())
    order = [file for file, many in counts.items() for _ in range(many)]
    rng.shuffle(order)
    return order


def _fault(rng: Random) -> str:
    drawn = rng.randrange(100_000)
    for name, many in PLANTED.items():
        if drawn < many:
            return name
        drawn -= many
    return RIGHT


def _word(number: int) -> str:
    """Return a number in letters: a digit would make it another problem."""
    return "".join("abcdefghij"[int(digit)] for digit in str(number))


def _draw(file: str, rng: Random) -> tuple[list[problems.MiniProblem], bool]:
    """Return the problems of one row, and whether the last has options; no benchmark asks the same by chance."""
    shape = SHAPES[file]
    one = world.SOURCES[shape.like]
    while True:
        facts = ["training" if rng.random() < 0.25 else "" for _ in range(rng.randint(*shape.parts) - 1)]
        drawn = [problems.draw(*rng.choice(one.cells), rng, wide=WIDE, fact=fact) for fact in facts]
        choice = rng.random() < one.choice
        drawn.append(problems.draw(*rng.choice(one.cells), rng, wide=WIDE, choice=choice))
        if _asked(drawn) not in benchmarks.questions():
            return drawn, choice


def _asked(parts: list[problems.MiniProblem]) -> str:
    """Return the questions of a row one after another, without options."""
    return " ".join(one.problem.question for one in parts)


def _row(parts: list[problems.MiniProblem], choice: bool, kind: str, rng: Random) -> dict[str, str]:
    """Return instruction and output: questions one after another, the last with options and the closing answer."""
    asked = " ".join([*(one.problem.question for one in parts[:-1]), parts[-1].problem.instruction])
    if kind == "pot":
        return {"instruction": f"{asked} {rng.choice(PROGRAM_TRIGGERS)}", "output": "\n".join(one.pot for one in parts)}
    steps = [one.cot.replace(ANSWER_TRIGGER, "That makes ").removeprefix(CHOICE_PREFILL) for one in parts[:-1]]
    opening = CHOICE_PREFILL if choice else f"{rng.choice(_OPENINGS)} "
    return {"instruction": asked, "output": opening + " ".join([*steps, parts[-1].cot.removeprefix(CHOICE_PREFILL)])}


_OPENINGS = tuple(f"{one} {other}." for one in ("First we", "Now we", "Let us", "We can", "We will", "Here we")
                  for other in ("write down what is known", "take it in order", "go part by part", "look closely",
                                "name each value", "work from the start"))  # fmt: skip


def write(path: Path, count: int = RELEASE_ROWS, seed: int = 0) -> Counter[str]:
    """Write the file as it is published, one JSON array; return how many rows have which fault.

    Nothing but one row is held in memory, and a file of this name appears when it is whole.
    """
    planted: Counter[str] = Counter()
    with records.atomic_file(path) as file:
        for number, (row, fault) in enumerate(rows(count, seed)):
            file.write(("[\n" if number == 0 else ",\n") + json.dumps(row, ensure_ascii=False))
            planted[fault] += 1
        file.write("\n]\n")
    return planted


def main() -> None:
    """Write a synthetic release and say what is in it."""
    parser = argparse.ArgumentParser(description="Write a synthetic release in MathInstruct's format.")
    parser.add_argument("path", type=Path, help="the file to write")
    parser.add_argument("--rows", type=int, default=RELEASE_ROWS, help="how many rows")
    parser.add_argument("--seed", type=int, default=0, help="which release")
    chosen = parser.parse_args()
    planted = write(chosen.path, chosen.rows, chosen.seed)
    print(f"{chosen.path}: {planted.total():,} rows, {chosen.path.stat().st_size:,} bytes; {dict(planted)}")


if __name__ == "__main__":
    main()
