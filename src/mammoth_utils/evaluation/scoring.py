"""Scores: verdicts of a benchmark's problems under both rules, and what a record keeps of them."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from mammoth_utils.evaluation.attempts import Attempt, counting_attempt
from mammoth_utils.evaluation.benchmarks import Benchmark
from mammoth_utils.grading import Verdict, grade
from mammoth_utils.rationale import Problem
from mammoth_utils.records import Record
from mammoth_utils.vocabulary import MARKS, RULES

COUNTED = ("correct", "no_answer", "ungradable_gold")  # the outcomes that a record counts; the rest is incorrect
# Items of one benchmark that a record names, beyond any benchmark's size. Of a longer completions file it keeps the
# verdicts, three characters a row; the ids stand in attempts.jsonl, in the same order.
NAMED = 100_000


def grade_attempts(problem: Problem, attempts: Sequence[Attempt], benchmark: str) -> dict[str, Verdict]:
    """Return a problem's verdict under each rule, on the answer of the attempt that counts.

    Args:
        attempts: Of one way of decoding, in the order made.
        benchmark: The benchmark whose grading rules apply.
    """
    return {
        rule: grade(counting_attempt(attempts, rule).answers[rule], problem.gold, benchmark, rule, problem.options)
        for rule in RULES
    }


@dataclass
class BenchmarkScore:
    """A benchmark's counts and marks, gathered item by item: three characters an item, and its names."""

    n: int = 0
    choice: bool = True  # whether every problem had options
    outcomes: dict[str, Counter[str]] = field(default_factory=lambda: {rule: Counter() for rule in RULES})
    marks: dict[str, bytearray] = field(default_factory=lambda: {rule: bytearray() for rule in (*RULES, "kinds")})
    names: dict[str, list[str]] = field(default_factory=lambda: {"ids": [], "families": [], "fields": []})

    def add(self, problem: Mapping[str, Any], kind: str, verdicts: Mapping[str, Verdict]) -> None:
        """Count an item.

        Args:
            problem: Its fields, as ``attempts.jsonl`` keeps them.
            kind: Which kind answered, as ``attempts.answering_kind`` says.
        """
        self.n += 1
        self.choice &= bool(problem["options"])
        for rule in RULES:
            outcome = verdicts[rule].outcome
            self.outcomes[rule][outcome] += 1
            self.marks[rule] += MARKS[outcome].encode()
        self.marks["kinds"] += kind.encode()
        if self.n > NAMED:
            self.names = {}
        for column, key in zip(self.names.values(), ("id", "family", "field"), strict=False):
            column.append(problem[key])

    def entry(self, benchmark: Benchmark | None) -> Record:
        """Return the benchmark's part of a record; an unknown set is out of domain."""
        in_domain = benchmark is not None and benchmark.in_domain
        choice = self.choice if benchmark is None else benchmark.choice
        counts = {rule: {outcome: self.outcomes[rule][outcome] for outcome in COUNTED} for rule in RULES}
        marks = {name: bytes(column).decode() for name, column in self.marks.items()}
        return {"n": self.n, "in_domain": in_domain, "choice": choice, **counts, "items": {**self.names, **marks}}
