"""Questions that occur twice: inside a benchmark, in two benchmarks, or in a training source.

Questions are compared by the index that curation removes them with: `equal` and `near` mean the same in both.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterable
from dataclasses import dataclass, field
from itertools import combinations

from mammoth_utils.curation import contamination
from mammoth_utils.grading import equivalent, gold_letter, gold_text, question_stem, question_tokens
from mammoth_utils.rationale import LETTERS, Problem


def gold_value(problem: Problem) -> str:
    """Return the gold as a value: the text of the option that it names, or the gold itself."""
    letter = gold_letter(problem.gold, problem.options) if problem.options else None
    return problem.options[LETTERS.index(letter)].strip() if letter else gold_text(problem.gold)


def have_same_gold(first: Problem, second: Problem) -> bool:
    """Return whether two golds have the same value under the corrected rule, in either order."""
    one, other = gold_value(first), gold_value(second)
    return equivalent(one, other)[0] or equivalent(other, one)[0]


@dataclass(frozen=True)
class RepeatedQuestion:
    """Problems of one benchmark whose questions are equal.

    Attributes:
        ids: The problems' ids, in the benchmark's order.
        golds: Their golds as values.
    """

    ids: tuple[str, ...]
    golds: tuple[str, ...]
    agree: bool


def find_repeats(problems: Iterable[Problem]) -> list[RepeatedQuestion]:
    """Return the questions of one benchmark that occur twice with the same options."""
    groups: dict[tuple[str, ...], list[Problem]] = defaultdict(list)
    for problem in problems:
        groups[tuple(question_tokens(problem.instruction))].append(problem)
    return [
        RepeatedQuestion(
            ids=tuple(problem.id for problem in group),
            golds=tuple(gold_value(problem)[:60] for problem in group),
            agree=all(have_same_gold(group[0], problem) for problem in group[1:]),
        )
        for group in groups.values()
        if len(group) > 1
    ]


def question_index(benchmarks: dict[str, list[Problem]]) -> contamination.BenchmarkIndex:
    """Return the index of the questions of some benchmarks, by which the functions below look them up."""
    return contamination.BenchmarkIndex(benchmarks, windows=())


def find_shared(index: contamination.BenchmarkIndex) -> dict[tuple[str, str], list[tuple[str, str, bool]]]:
    """Return the equal questions of each two benchmarks: both ids, and whether the golds agree."""
    by_id = {problem.id: problem for problems in index.benchmarks.values() for problem in problems}
    shared = defaultdict(list)
    for first, problems in index.benchmarks.items():
        for problem in problems:
            for second, other in index.equals(question_stem(problem)):
                shared[first, second].append((problem.id, other, have_same_gold(problem, by_id[other])))
    return {pair: shared[pair] for pair in combinations(index.benchmarks, 2) if pair in shared}


@dataclass
class TrainingOverlap:
    """The overlap of a benchmark with a training source.

    Attributes:
        equal_rows: Rows that equal a question of the benchmark.
        near_rows: Rows that are near one and equal none.
        equal: Ids of the problems that some row equals.
        near: Ids of the further problems that some row is near to.
    """

    rows: int = 0
    equal_rows: int = 0
    near_rows: int = 0
    equal: set[str] = field(default_factory=set)
    near: set[str] = field(default_factory=set)


def find_in_training(index: contamination.BenchmarkIndex, rows: Iterable[str]) -> dict[str, TrainingOverlap]:
    """Return the overlap of each benchmark with a source whose questions are given, one a row."""
    row_counts = Counter(rows)
    overlaps = {name: TrainingOverlap(rows=row_counts.total()) for name in index.benchmarks}
    for row, count in row_counts.items():
        places = index.find(Problem("", row, ""), (contamination.EQUAL, contamination.NEAR))
        equal: dict[str, set[str]] = defaultdict(set)
        near: dict[str, set[str]] = defaultdict(set)
        for ids, rule in ((equal, contamination.EQUAL), (near, contamination.NEAR)):
            for name, problem_id in map(index.places.__getitem__, places[rule]):
                ids[name].add(problem_id)
        for name in near:  # which has the equal ones too
            overlap = overlaps[name]
            if name in equal:
                overlap.equal_rows += count
                overlap.equal |= equal[name]
            else:
                overlap.near_rows += count
                overlap.near |= near[name]
    for overlap in overlaps.values():
        overlap.near -= overlap.equal
    return overlaps
