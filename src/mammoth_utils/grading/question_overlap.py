"""Questions that stand twice: inside one benchmark, in two of them, or in a training source.

Two questions are *equal* if nothing but case, spaces, commas and other punctuation tells them apart; signs, digits and
decimal points are kept, or "tan 225" would equal "tan 22.5" and "$.5" would equal "$5". They are *near* if they hold
the same numbers in the same order and at least seven tenths of their runs of three words, in the measure of Jaccard,
counted exactly. The page on curation uses the same two notions, and a test holds the two rooms together.
"""

from __future__ import annotations

import re
import unicodedata
from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from mammoth_utils.grading.benchmarks import gold_letter, gold_text
from mammoth_utils.grading.corrected import equality
from mammoth_utils.rationale import LETTERS, Problem

SHINGLE = 3
SIMILARITY = 0.7
SHORT = 8  # a question of fewer words ("Which of these is true?") is compared together with its options
_TOKEN = re.compile(r"\d+(?:\.\d+)?|[^\W\d_]+|[-+*/^=<>%°√!|]")
_THOUSANDS = re.compile(r"(?<=\d),(?=\d{3}(?!\d))")
_BARE = re.compile(r"(?<![\w.])\.(?=\d)")  # the point of ".5", which is 0.5; that of "p.5" or "...5" is none
_SIGNS = (("−", "-"), ("–", "-"), ("‒", "-"), ("‐", "-"), ("×", "*"), ("÷", "/"))
_OPTIONS = "\nAnswer Choices:"


def tokens(text: str) -> list[str]:
    """The text as compared: lower-case words, numbers and signs, in order; a dash is a minus, and ``.5`` is ``0.5``."""
    plain = unicodedata.normalize("NFKC", text).lower()
    for sign, ours in _SIGNS:
        plain = plain.replace(sign, ours)
    return _TOKEN.findall(_BARE.sub("0.", _THOUSANDS.sub("", plain)))


def stem(problem: Problem) -> str:
    """What is compared of a problem: its question, without options unless it is too short to be one."""
    question = problem.question.split(_OPTIONS)[0]
    return question if len(tokens(question)) >= SHORT else problem.instruction


def value_of_gold(problem: Problem) -> str:
    """The gold as a value: for an option its text."""
    letter = gold_letter(problem.gold, problem.options) if problem.options else None
    return problem.options[LETTERS.index(letter)].strip() if letter else gold_text(problem.gold)


def same_gold(one: Problem, other: Problem) -> bool:
    """Whether two problems have the same gold by value, under the corrected rule and in either order."""
    ours, theirs = value_of_gold(one), value_of_gold(other)
    return equality.equivalent(ours, theirs)[0] or equality.equivalent(theirs, ours)[0]


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
        found[tuple(tokens(problem.instruction))].append(problem)
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
            words = tokens(stem(problem))
            self._equal[tuple(words)].append(problem.id)
            self._buckets[_numbers(words)].append((problem.id, _shingles(words)))

    def equal(self, question: str) -> list[str]:
        """Ids of the problems whose question is equal."""
        return self._equal.get(tuple(tokens(question)), [])

    def near(self, question: str) -> list[str]:
        """Ids of the problems that are near and not equal."""
        words = tokens(question)
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
        for other in second.equal(stem(one))
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
