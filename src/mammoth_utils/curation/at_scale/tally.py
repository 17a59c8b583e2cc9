"""Counts of a curation that is made in pieces: what one piece counted can be stored, read back and added up."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterable, Sequence
from typing import Any

from mammoth_utils.curation import contamination
from mammoth_utils.curation.filters import Dropped
from mammoth_utils.rationale import Rationale


class Tally:
    """Counts of what became of the rows, by source, and of what they touch in the benchmarks; pieces add up.

    Attributes:
        counts: By source, kind of count and name.
        before: What all rows touch, whatever threw them out.
        after: What the kept rows touch.
    """

    def __init__(self, told: dict[str, Any] | None = None) -> None:
        self.counts: dict[str, dict[str, Counter]] = defaultdict(lambda: defaultdict(Counter))
        self.before, self.after = contamination.Touched(), contamination.Touched()
        if told is not None:
            self._count(told["counts"])
            for touched, one in ((self.before, told["before"]), (self.after, told["after"])):
                _touch(touched, one["rows"], one["hits"], one["questions"])

    def add(self, other: Tally) -> None:
        """Add another piece's counts."""
        self._count(other.counts)
        for touched, one in ((self.before, other.before), (self.after, other.after)):
            _touch(touched, one.rows, ((*key, count) for key, count in one.hits.items()), one.questions)

    def _count(self, counts: dict[str, dict[str, dict[str, int]]]) -> None:
        for source, kinds in counts.items():
            for kind, counter in kinds.items():
                self.counts[source][kind].update(counter)

    def drop(self, dropped: Iterable[Dropped]) -> None:
        """Count rows that were thrown out."""
        for one in dropped:
            self.counts[one.rationale.source]["dropped"][f"{one.stage}: {one.reason}"] += 1
            self._status(one.rationale)

    def keep(self, rows: Iterable[Rationale]) -> None:
        """Count rows that stay."""
        for row in rows:
            own = self.counts[row.source]
            own["kept"]["rows"] += 1
            own["kept"]["question"] += len(row.problem.instruction)
            own["kept"]["rationale"] += len(row.text)
            own["kind"][row.kind] += 1
            if row.problem.field:
                own["fields"][row.problem.field] += 1
            self._status(row)

    def _status(self, row: Rationale) -> None:
        if "status" in row.history:
            self.counts[row.source]["status"][row.history["status"]] += 1

    def as_dict(self) -> dict[str, Any]:
        """The counts as JSON holds them."""
        counts = {source: dict(kinds) for source, kinds in self.counts.items()}
        return {"counts": counts, "before": _told(self.before), "after": _told(self.after)}


def _touch(touched: contamination.Touched, rows: dict[str, int], hits: Iterable[Sequence], questions: dict) -> None:
    """Add counts of rows, of hits and of touched questions to others."""
    for source, count in rows.items():
        touched.rows[source] += count
    for source, benchmark, rule, count in hits:
        touched.hits[source, benchmark, rule] += count
    for benchmark, by_rule in questions.items():
        for rule, by_id in by_rule.items():
            own = touched.questions.setdefault(benchmark, {}).setdefault(rule, {})
            for id, sources in by_id.items():
                own.setdefault(id, set()).update(sources)


def _told(touched: contamination.Touched) -> dict[str, Any]:
    questions = {
        benchmark: {rule: {id: sorted(by) for id, by in by_id.items()} for rule, by_id in by_rule.items()}
        for benchmark, by_rule in touched.questions.items()
    }
    hits = [[*key, count] for key, count in touched.hits.items()]
    return {"rows": dict(touched.rows), "hits": hits, "questions": questions}
