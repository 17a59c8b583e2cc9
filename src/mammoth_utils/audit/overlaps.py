"""Questions that stand twice: inside one benchmark, in two of them, or in a training source.

When two questions are equal or near is defined by `grading.question_text`, which
curation uses too.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

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


def value_of_gold(problem: Problem) -> str:
    """The gold as a value: for an option its text."""
    letter = gold_letter(problem.gold, problem.options) if problem.options else None
    return problem.options[LETTERS.index(letter)].strip() if letter else gold_text(problem.gold)


def same_gold(one: Problem, other: Problem) -> bool:
    """Whether two problems have the same gold by value, under the corrected rule and in either order."""
    ours, theirs = value_of_gold(one), value_of_gold(other)
    return equivalent(ours, theirs)[0] or equivalent(theirs, ours)[0]


@dataclass(frozen=True)
class Group:
    """Problems whose questions are equal.

    Attributes:
        ids: In the benchmark's order.
        golds: Of each, as a value.
        agree: Whether all golds are the same value.
    """

    ids: tuple[str, ...]
    golds: tuple[str, ...]
    agree: bool


def repeats(problems: Iterable[Problem]) -> list[Group]:
    """Groups of problems of one benchmark whose whole instructions, options included, are equal."""
    found: dict[tuple[str, ...], list[Problem]] = defaultdict(list)
    for problem in problems:
        found[tuple(question_tokens(problem.instruction))].append(problem)
    return [_group(group) for group in found.values() if len(group) > 1]


def _group(members: Sequence[Problem]) -> Group:
    golds = tuple(value_of_gold(one)[:60] for one in members)
    return Group(tuple(one.id for one in members), golds, all(same_gold(members[0], one) for one in members[1:]))


class Questions:
    """Questions of one benchmark, ready to be looked up.

    Args:
        problems: The benchmark's.
    """

    def __init__(self, problems: Iterable[Problem]) -> None:
        self.problems = {problem.id: problem for problem in problems}
        self._equal: dict[tuple[str, ...], list[str]] = defaultdict(list)
        self._buckets: dict[tuple[str, ...], list[tuple[str, frozenset]]] = defaultdict(list)
        for problem in self.problems.values():
            words = question_tokens(question_stem(problem))
            self._equal[tuple(words)].append(problem.id)
            self._buckets[_numbers(words)].append((problem.id, _shingles(words)))

    def equal(self, question: str) -> list[str]:
        """Ids of the problems whose question is equal."""
        return self._equal.get(tuple(question_tokens(question)), [])

    def near(self, question: str) -> list[str]:
        """Ids of the problems that are near and not equal."""
        words = question_tokens(question)
        own, found = _shingles(words), []
        if not own:
            return []
        same = set(self._equal.get(tuple(words), ()))
        for name, theirs in self._buckets.get(_numbers(words), ()):
            if name in same or not SIMILARITY * len(own) <= len(theirs) <= len(own) / SIMILARITY:
                continue
            shared = len(own & theirs)
            if shared >= SIMILARITY * (len(own) + len(theirs) - shared):
                found.append(name)
        return found


def _numbers(words: Sequence[str]) -> tuple[str, ...]:
    return tuple(word for word in words if word[0].isdigit())


def _shingles(words: Sequence[str]) -> frozenset:
    return frozenset(tuple(words[at : at + SHINGLE]) for at in range(len(words) - SHINGLE + 1))


def shared(first: Questions, second: Questions) -> list[tuple[str, str, bool]]:
    """Pairs of equal questions of two benchmarks, and whether their golds agree."""
    return [
        (one.id, other, same_gold(one, second.problems[other]))
        for one in first.problems.values()
        for other in second.equal(question_stem(one))
    ]


def in_training(benchmark: Questions, rows: Iterable[str]) -> dict[str, Any]:
    """What of a benchmark stands in a training source.

    Args:
        benchmark: The benchmark's questions.
        rows: The source's questions, one a row.

    Returns:
        ``rows`` read, ``equal_rows`` and ``near_rows`` of the source, and the ids of the benchmark's problems
        that some row equals (``equal``) or is near to and none equals (``near``), in the benchmark's order.
    """
    counts = {"rows": 0, "equal_rows": 0, "near_rows": 0}
    equal: set[str] = set()
    near: set[str] = set()
    looked_up: dict[str, tuple[list[str], list[str]]] = {}
    for row in rows:
        counts["rows"] += 1
        if row not in looked_up:
            same = benchmark.equal(row)
            looked_up[row] = same, [] if same else benchmark.near(row)
        same, close = looked_up[row]
        counts["equal_rows"] += bool(same)
        counts["near_rows"] += bool(close)
        equal.update(same)
        near.update(close)
    order = list(benchmark.problems)
    return {**counts, "equal": sorted(equal, key=order.index), "near": sorted(near - equal, key=order.index)}


def all_shared(sets: Mapping[str, Questions]) -> dict[tuple[str, str], list[tuple[str, str, bool]]]:
    """`shared` for every pair of benchmarks that have a question in common, in the order given."""
    names = list(sets)
    pairs = ((one, other) for at, one in enumerate(names) for other in names[at + 1 :])
    found = {pair: shared(sets[pair[0]], sets[pair[1]]) for pair in pairs}
    return {pair: items for pair, items in found.items() if items}
