"""Which training questions stand in a benchmark: word for word, nearly, or by shared runs of words.

Everything is compared after one normalisation, which the audit of the benchmarks shares
(``grading.overlaps.tokens``): Unicode's compatibility forms, lower case, commas inside numbers dropped, and then only
words, numbers with their decimal point (``.5`` is ``0.5``), and signs (``+ - * / ^ = < > % ° √ ! |``; a dash is a
minus). Letters and digits alone would make "tan 225°" equal "tan 22.5°" and "x - 3" equal "x + 3".

Rules, the strictest first:

- ``equal``: the whole questions are the same. Options count only where a question has fewer than eight words.
- ``near``: the same numbers in the same order, and at least 0.7 of the runs of three words (Jaccard); equal included.
- ``ngram_N``: at least one run of N words in common; equal included.
"""

from __future__ import annotations

import sys
from collections import defaultdict
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any

from mammoth_utils.curation.benchmark_questions import NAMES, absent, questions
from mammoth_utils.curation.clean_part import CLEAN, clean_counts, clean_ids
from mammoth_utils.curation.filters import Dropped, Split
from mammoth_utils.curation.near_duplicates import NearIndex
from mammoth_utils.grading import question_stem, question_tokens
from mammoth_utils.rationale import Problem, Rationale

__all__ = [
    "CLEAN",
    "NAMES",
    "WINDOWS",
    "Index",
    "Overlap",
    "Touched",
    "absent",
    "clean_counts",
    "clean_ids",
    "questions",
    "report",
    "rules",
    "without",
]

WINDOWS = (8, 13)  # words in a row: open-r1 takes 8, the GPT-3 report 13
EQUAL, NEAR = "equal", "near"


def rules(windows: Sequence[int] = WINDOWS) -> tuple[str, ...]:
    """The names of the rules, the strictest first.

    Raises:
        ValueError: If a window is shorter than two words.
    """
    if any(window < 2 for window in windows):
        raise ValueError(f"expected windows of at least 2 words, got {', '.join(map(str, windows))}")
    return (EQUAL, NEAR, *(f"ngram_{window}" for window in windows))


@dataclass(frozen=True)
class Overlap:
    """How much of one source stands in one benchmark.

    Attributes:
        source: Name of the source.
        benchmark: Name of the benchmark.
        rows: Rows of the source.
        questions: Questions of the benchmark.
        found: For each rule, the source's rows and the benchmark's questions that it finds.
    """

    source: str
    benchmark: str
    rows: int
    questions: int
    found: dict[str, tuple[int, int]]

    def as_dict(self) -> dict[str, Any]:
        """The overlap as a record keeps it: two columns for each rule, ``equal_rows`` and ``equal_questions``."""
        plain = {key: value for key, value in vars(self).items() if key != "found"}
        for rule, counts in self.found.items():
            plain |= {f"{rule}_rows": counts[0], f"{rule}_questions": counts[1]}
        return plain


@dataclass
class Touched:
    """What was found while rows went by.

    Attributes:
        rows: Rows by source.
        hits: Rows by source, benchmark and rule that touch some question.
        questions: By benchmark, rule and problem id, the sources that touch the question.
    """

    rows: dict[str, int] = field(default_factory=lambda: defaultdict(int))
    hits: dict[tuple[str, str, str], int] = field(default_factory=lambda: defaultdict(int))
    questions: dict[str, dict[str, dict[str, set[str]]]] = field(default_factory=dict)


class Index:
    """The questions of some benchmarks, ready to be looked up; a row costs the same however many rows there are.

    Args:
        benchmarks: Problems by benchmark.
        windows: Lengths of the runs of words that are compared.
    """

    def __init__(self, benchmarks: dict[str, list[Problem]], windows: Sequence[int] = WINDOWS) -> None:
        self.benchmarks, self.windows, self.rules = benchmarks, tuple(windows), rules(windows)
        self.places: list[tuple[str, str]] = []  # benchmark and problem id
        self._equal: dict[tuple[str, ...], list[int]] = defaultdict(list)
        self._words: list[tuple[str, ...]] = []
        # Runs by their hash: a million runs as tuples would take half a gigabyte. A hit is compared word for word.
        self._runs: dict[int, dict[int, tuple[int, ...]]] = {window: {} for window in windows}
        self._near: NearIndex[int] = NearIndex()
        for name, problems in benchmarks.items():
            for problem in problems:
                words, place = tuple(map(sys.intern, question_tokens(question_stem(problem)))), len(self.places)
                self.places.append((name, problem.id))
                self._words.append(words)
                self._equal[words].append(place)
                self._near.add(place, words)
                for window in self.windows:
                    known = self._runs[window]
                    for run in set(_runs(words, window)):
                        known[hash(run)] = (*known.get(hash(run), ()), place)

    def find(self, problem: Problem, wanted: Sequence[str] = ()) -> dict[str, set[int]]:
        """For each rule, the places of the benchmark questions that a training problem touches.

        Args:
            problem: The training problem.
            wanted: Rules to look at; none given takes all.
        """
        words, wanted = question_tokens(question_stem(problem)), wanted or self.rules
        equal = set(self._equal.get(tuple(words), ()))
        found = {EQUAL: equal} if EQUAL in wanted else {}
        if NEAR in wanted:
            found[NEAR] = equal | set(self._near.find(words))
        for window in self.windows:
            if (rule := f"ngram_{window}") in wanted:
                found[rule] = equal | set(self._sharing(words, window))
        return found

    def _sharing(self, words: Sequence[str], window: int) -> Iterator[int]:
        """The places of the questions that share a run of so many words with a text."""
        known = self._runs[window]
        for run in _runs(words, window):
            for place in known.get(hash(run), ()):
                if run in _runs(self._words[place], window):
                    yield place

    def equals(self, question: str) -> list[tuple[str, str]]:
        """Benchmark and problem id of every benchmark question that a question, normalised or not, equals."""
        return [self.places[place] for place in self._equal.get(tuple(question_tokens(question)), ())]

    def see(self, row: Rationale, touched: Touched) -> dict[str, set[int]]:
        """Count one row; what ``find`` says of it."""
        found = self.find(row.problem)
        self.count(row, found, touched)
        return found

    def count(self, row: Rationale, found: dict[str, set[int]], touched: Touched) -> None:
        """Count one row of which it is known what it touches."""
        touched.rows[row.source] += 1
        for rule, places in found.items():
            for name in {self.places[place][0] for place in places}:
                touched.hits[row.source, name, rule] += 1
            for place in places:
                name, id = self.places[place]
                touched.questions.setdefault(name, {}).setdefault(rule, {}).setdefault(id, set()).add(row.source)

    def overlaps(self, touched: Touched) -> list[Overlap]:
        """What each source shares with each benchmark."""
        made = []
        for source, rows in touched.rows.items():
            for name, problems in self.benchmarks.items():
                by_rule = touched.questions.get(name, {})
                counts = {
                    rule: (
                        touched.hits.get((source, name, rule), 0),
                        sum(source in sources for sources in by_rule.get(rule, {}).values()),
                    )
                    for rule in self.rules
                }
                made.append(Overlap(source, name, rows, len(problems), counts))
        return made

    def clean(self, touched: Touched, clean: bool = True) -> dict[str, Any]:
        """Per benchmark and rule, the touched problems with the sources that touch them, and the clean ones' ids.

        Args:
            touched: What the rows touch.
            clean: Whether the clean ids are listed too; they are all that are not touched.
        """
        made: dict[str, Any] = {}
        for name, problems in self.benchmarks.items():
            ids = [problem.id for problem in problems]
            by_rule = {rule: touched.questions.get(name, {}).get(rule, {}) for rule in self.rules}
            listed = {rule: {id: sorted(found[id]) for id in ids if id in found} for rule, found in by_rule.items()}
            told: dict[str, Any] = {"name": name, "problems": len(ids), "touched": listed}
            if clean:
                told["clean"] = {rule: [id for id in ids if id not in found] for rule, found in by_rule.items()}
            made[ids[0].split("/", 1)[0] if ids else name] = told
        return made


def _runs(words: Sequence[str], window: int) -> Iterator[tuple[str, ...]]:
    """The runs of ``window`` words; a shorter text has none, and is left to the comparison of whole questions."""
    return (tuple(words[start : start + window]) for start in range(len(words) - window + 1))


def report(rows: Iterable[Rationale], index: Index) -> list[Overlap]:
    """Overlap of every source with every benchmark."""
    touched = Touched()
    for row in rows:
        index.see(row, touched)
    return index.overlaps(touched)


def without(rows: Iterable[Rationale], index: Index, rule: str = EQUAL) -> Split:
    """Rows whose question touches no benchmark under a rule, and those thrown out.

    Raises:
        ValueError: If the index has no such rule, naming those it has.
    """
    if rule not in index.rules:
        raise ValueError(f"unknown rule {rule!r}; known: {', '.join(index.rules)}")
    kept, dropped = [], []
    for row in rows:
        found = index.find(row.problem, (rule,))[rule]
        if found:
            dropped.append(thrown_out(row, index, found, rule))
        else:
            kept.append(row)
    return kept, dropped


def without_exact(rows: Iterable[Rationale], index: Index) -> Split:
    """Rows whose question stands in no benchmark word for word, and those thrown out."""
    return without(rows, index, EQUAL)


def thrown_out(row: Rationale, index: Index, places: Iterable[int], rule: str) -> Dropped:
    """A row that touches a benchmark, with the benchmarks and the first problem that it touches."""
    found = [index.places[place] for place in sorted(places)]
    named = ", ".join(dict.fromkeys(name for name, _ in found))
    reason = "stands in a benchmark" if rule == EQUAL else f"touches a benchmark ({rule})"
    return Dropped(row, "contamination", reason, f"{named}: {found[0][1]}")
