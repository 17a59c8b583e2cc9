"""Questions that occur twice: inside a benchmark, in two benchmarks, or in a training source.

`grading.question_text` defines when two questions are equal or near; curation uses the same definition.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from itertools import combinations

from mammoth_utils.grading import (
    SHINGLE,
    SIMILARITY,
    equivalent,
    gold_letter,
    gold_text,
    question_stem,
    question_tokens,
)
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
        agree: Whether all golds have the same value.
    """

    ids: tuple[str, ...]
    golds: tuple[str, ...]
    agree: bool


def find_repeats(problems: Iterable[Problem]) -> list[RepeatedQuestion]:
    """Return the questions of one benchmark that occur twice with the same options."""
    groups: dict[tuple[str, ...], list[Problem]] = defaultdict(list)
    for problem in problems:
        groups[tuple(question_tokens(problem.instruction))].append(problem)
    return [_repeated(group) for group in groups.values() if len(group) > 1]


def _repeated(group: Sequence[Problem]) -> RepeatedQuestion:
    golds = tuple(gold_value(problem)[:60] for problem in group)
    agree = all(have_same_gold(group[0], problem) for problem in group[1:])
    return RepeatedQuestion(tuple(problem.id for problem in group), golds, agree)


class QuestionIndex:
    """The questions of one benchmark, indexed for look-ups of equal and near ones."""

    def __init__(self, problems: Iterable[Problem]) -> None:
        self.problems = {problem.id: problem for problem in problems}
        self._by_words: dict[tuple[str, ...], list[str]] = defaultdict(list)
        self._by_numbers: dict[tuple[str, ...], list[tuple[str, frozenset]]] = defaultdict(list)
        for problem in self.problems.values():
            words = question_tokens(question_stem(problem))
            self._by_words[tuple(words)].append(problem.id)
            self._by_numbers[_numbers(words)].append((problem.id, _shingles(words)))

    def equal(self, question: str) -> list[str]:
        """Return the ids of the problems whose question is equal."""
        return self._by_words.get(tuple(question_tokens(question)), [])

    def near(self, question: str) -> list[str]:
        """Return the ids of the problems whose question is near and not equal."""
        words = question_tokens(question)
        shingles, ids = _shingles(words), []
        if not shingles:
            return []
        equal = set(self._by_words.get(tuple(words), ()))
        for problem_id, others in self._by_numbers.get(_numbers(words), ()):
            if problem_id in equal or not SIMILARITY * len(shingles) <= len(others) <= len(shingles) / SIMILARITY:
                continue
            common = len(shingles & others)
            if common >= SIMILARITY * (len(shingles) + len(others) - common):
                ids.append(problem_id)
        return ids


def _numbers(words: Sequence[str]) -> tuple[str, ...]:
    return tuple(word for word in words if word[0].isdigit())


def _shingles(words: Sequence[str]) -> frozenset:
    return frozenset(tuple(words[at : at + SHINGLE]) for at in range(len(words) - SHINGLE + 1))


def find_shared(first: QuestionIndex, second: QuestionIndex) -> list[tuple[str, str, bool]]:
    """Return the ids of each pair of equal questions in two benchmarks, and whether the golds agree."""
    return [
        (problem.id, other, have_same_gold(problem, second.problems[other]))
        for problem in first.problems.values()
        for other in second.equal(question_stem(problem))
    ]


def find_all_shared(benchmarks: Mapping[str, QuestionIndex]) -> dict[tuple[str, str], list[tuple[str, str, bool]]]:
    """Return `find_shared` for every pair of benchmarks that have a question in common, in the order given."""
    pairs = {(a, b): find_shared(benchmarks[a], benchmarks[b]) for a, b in combinations(benchmarks, 2)}
    return {pair: shared for pair, shared in pairs.items() if shared}


@dataclass(frozen=True)
class TrainingOverlap:
    """The overlap of a benchmark with a training source.

    Attributes:
        rows: Rows of the source.
        equal_rows: Rows that equal a question of the benchmark.
        near_rows: Rows that are near one and equal none.
        equal: Ids of the problems that some row equals, in the benchmark's order.
        near: Ids of the further problems that some row is near to, in the benchmark's order.
    """

    rows: int
    equal_rows: int
    near_rows: int
    equal: list[str]
    near: list[str]


def find_in_training(benchmark: QuestionIndex, rows: Sequence[str]) -> TrainingOverlap:
    """Return the overlap of a benchmark with a source whose questions are given, one a row."""
    equal_rows = near_rows = 0
    equal: set[str] = set()
    near: set[str] = set()
    looked_up: dict[str, tuple[list[str], list[str]]] = {}
    for row in rows:
        if row not in looked_up:
            equal_ids = benchmark.equal(row)
            looked_up[row] = equal_ids, [] if equal_ids else benchmark.near(row)
        equal_ids, near_ids = looked_up[row]
        equal_rows += bool(equal_ids)
        near_rows += bool(near_ids)
        equal.update(equal_ids)
        near.update(near_ids)
    in_order = [problem for problem in benchmark.problems if problem in equal or problem in near]
    return TrainingOverlap(
        rows=len(rows),
        equal_rows=equal_rows,
        near_rows=near_rows,
        equal=[problem for problem in in_order if problem in equal],
        near=[problem for problem in in_order if problem not in equal],
    )
