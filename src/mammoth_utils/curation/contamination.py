"""Training questions that stand in a benchmark: word for word, nearly, or by shared runs of words.

Everything is compared after one normalisation, which the audit of the benchmarks shares
(``grading.question_tokens``): Unicode's compatibility forms, lower case, commas inside numbers dropped, and then only
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

from mammoth_utils.curation.filters import Dropped, Split
from mammoth_utils.curation.near_duplicates import NearIndex
from mammoth_utils.grading import question_stem, question_tokens
from mammoth_utils.rationale import Problem, Rationale
from mammoth_utils.records import Record

WINDOWS = (8, 13)  # words in a row: open-r1 takes 8, the GPT-3 report 13
EQUAL, NEAR = "equal", "near"
KEEP_ALL = "none"  # in place of a rule: no row is thrown out


def rules(windows: Sequence[int] = WINDOWS) -> tuple[str, ...]:
    """Return the names of the rules, the strictest first.

    Raises:
        ValueError: If a window is shorter than two words.
    """
    if any(window < 2 for window in windows):
        raise ValueError(f"expected windows of at least 2 words, got {', '.join(map(str, windows))}")
    return (EQUAL, NEAR, *(f"ngram_{window}" for window in windows))


@dataclass(frozen=True)
class Overlap:
    """Rows of one source that stand in one benchmark.

    Attributes:
        rows: All rows of the source.
        questions: All questions of the benchmark.
        counts: For each rule, the source's rows and the benchmark's questions that it finds.
    """

    source: str
    benchmark: str
    rows: int
    questions: int
    counts: dict[str, tuple[int, int]]

    def as_dict(self) -> Record:
        """Return the overlap as a record keeps it, with ``equal_rows`` and ``equal_questions`` and so on."""
        plain = {key: value for key, value in vars(self).items() if key != "counts"}
        for rule, (rows, questions) in self.counts.items():
            plain |= {f"{rule}_rows": rows, f"{rule}_questions": questions}
        return plain


@dataclass
class OverlapCounts:
    """Counts of rows that touch benchmark questions, by source.

    Attributes:
        hits: Rows by source, benchmark and rule that touch some question.
        questions: By benchmark, rule and problem id, the sources that touch the question.
    """

    rows: dict[str, int] = field(default_factory=lambda: defaultdict(int))
    hits: dict[tuple[str, str, str], int] = field(default_factory=lambda: defaultdict(int))
    questions: dict[str, dict[str, dict[str, set[str]]]] = field(default_factory=dict)


class BenchmarkIndex:
    """Questions of some benchmarks, ready to be looked up; a row costs the same however many rows there are."""

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

    def find(self, problem: Problem, which: Sequence[str] = ()) -> dict[str, set[int]]:
        """Return, for each rule (all, or those of ``which``), the places of the questions that a problem touches."""
        words, which = question_tokens(question_stem(problem)), which or self.rules
        equal = set(self._equal.get(tuple(words), ()))
        places = {EQUAL: equal} if EQUAL in which else {}
        if NEAR in which:
            places[NEAR] = equal | set(self._near.find(words))
        for window in self.windows:
            if (rule := f"ngram_{window}") in which:
                places[rule] = equal | set(self._sharing(words, window))
        return places

    def _sharing(self, words: Sequence[str], window: int) -> Iterator[int]:
        """Yield the places of the questions that share a run of so many words with a text."""
        known = self._runs[window]
        for run in _runs(words, window):
            for place in known.get(hash(run), ()):
                if run in _runs(self._words[place], window):
                    yield place

    def equals(self, question: str) -> list[tuple[str, str]]:
        """Return benchmark and problem id of every benchmark question that a question equals."""
        return [self.places[place] for place in self._equal.get(tuple(question_tokens(question)), ())]

    def count_row(self, row: Rationale, touched: OverlapCounts) -> dict[str, set[int]]:
        """Count what one row touches, and return it as ``find`` does."""
        by_rule = self.find(row.problem)
        self._count(row, by_rule, touched)
        return by_rule

    def _count(self, row: Rationale, by_rule: dict[str, set[int]], touched: OverlapCounts) -> None:
        touched.rows[row.source] += 1
        for rule, places in by_rule.items():
            for name in {self.places[place][0] for place in places}:
                touched.hits[row.source, name, rule] += 1
            for place in places:
                name, id = self.places[place]
                touched.questions.setdefault(name, {}).setdefault(rule, {}).setdefault(id, set()).add(row.source)

    def decontaminate(self, rows: Iterable[Rationale], rule: str, before: OverlapCounts, after: OverlapCounts) -> Split:
        """Throw out the rows that touch a benchmark under a rule, and count what they touch.

        Args:
            rule: One of ``rules``; ``KEEP_ALL`` throws none out.
            before: Where every row is counted.
            after: Where the kept rows are counted.
        """
        kept, dropped = [], []
        for row in rows:
            by_rule = self.count_row(row, before)
            if rule != KEEP_ALL and by_rule[rule]:
                dropped.append(dropped_row(row, self, by_rule[rule], rule))
            else:
                self._count(row, by_rule, after)
                kept.append(row)
        return kept, dropped

    def overlaps(self, touched: OverlapCounts) -> list[Overlap]:
        """Return what each source shares with each benchmark."""
        overlaps = []
        for source, rows in touched.rows.items():
            for name, problems in self.benchmarks.items():
                counts = {}
                for rule in self.rules:
                    touching = touched.questions.get(name, {}).get(rule, {}).values()
                    questions = sum(source in sources for sources in touching)
                    counts[rule] = touched.hits.get((source, name, rule), 0), questions
                overlaps.append(Overlap(source, name, rows, len(problems), counts))
        return overlaps

    def clean(self, touched: OverlapCounts, clean: bool = True) -> Record:
        """Return, per benchmark and rule, the touched problems with their sources, and the ids of all others."""
        benchmarks: Record = {}
        for name, problems in self.benchmarks.items():
            ids = [problem.id for problem in problems]
            by_rule = {rule: touched.questions.get(name, {}).get(rule, {}) for rule in self.rules}
            listed = {rule: {id: sorted(hits[id]) for id in ids if id in hits} for rule, hits in by_rule.items()}
            entry: Record = {"name": name, "problems": len(ids), "touched": listed}
            if clean:
                entry["clean"] = {rule: [id for id in ids if id not in hits] for rule, hits in by_rule.items()}
            benchmarks[ids[0].split("/", 1)[0] if ids else name] = entry
        return benchmarks

    def clean_record(self, world: str, sources: Sequence[str], before: OverlapCounts, after: OverlapCounts) -> Record:
        """Return the content of ``clean.json``: which problems the rows of a curation touch, and which stay clean."""
        return {"world": world, "rules": list(self.rules), "sources": list(sources), "benchmarks": self.clean(after),
                "benchmarks_before": self.clean(before, clean=False)}  # fmt: skip


def _runs(words: Sequence[str], window: int) -> Iterator[tuple[str, ...]]:
    """Yield the runs of ``window`` words; a shorter text has none, and is left to the comparison of whole questions."""
    return (tuple(words[start : start + window]) for start in range(len(words) - window + 1))


def count_overlaps(rows: Iterable[Rationale], index: BenchmarkIndex) -> list[Overlap]:
    """Return the overlap of every source with every benchmark."""
    touched = OverlapCounts()
    for row in rows:
        index.count_row(row, touched)
    return index.overlaps(touched)


def drop_contaminated(rows: Iterable[Rationale], index: BenchmarkIndex, rule: str = EQUAL) -> Split:
    """Throw out rows whose question touches a benchmark under a rule; nothing is counted.

    Raises:
        ValueError: If the index has no such rule, naming those it has.
    """
    if rule not in index.rules:
        raise ValueError(f"unknown rule {rule!r}; known: {', '.join(index.rules)}")
    kept, dropped = [], []
    for row in rows:
        if places := index.find(row.problem, (rule,))[rule]:
            dropped.append(dropped_row(row, index, places, rule))
        else:
            kept.append(row)
    return kept, dropped


def dropped_row(row: Rationale, index: BenchmarkIndex, places: Iterable[int], rule: str) -> Dropped:
    """Return a row that touches a benchmark as dropped, with the benchmarks and the first problem that it touches."""
    problems = [index.places[place] for place in sorted(places)]
    names = ", ".join(dict.fromkeys(name for name, _ in problems))
    reason = "stands in a benchmark" if rule == EQUAL else f"touches a benchmark ({rule})"
    return Dropped(row, "contamination", reason, f"{names}: {problems[0][1]}")
