"""Counts of one piece of a curation, which can be stored, read back and added up."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterable

from mammoth_utils.curation.contamination import OverlapCounts
from mammoth_utils.curation.filters import Dropped
from mammoth_utils.rationale import Rationale
from mammoth_utils.records import Record


class PieceCounts:
    """Counts of what became of the rows, by source, and of what they touch in the benchmarks.

    Attributes:
        counts: By source, kind of count and name.
        before: What all rows touch, whatever threw them out.
        after: What the kept rows touch.
    """

    def __init__(self) -> None:
        self.counts: dict[str, dict[str, Counter]] = defaultdict(lambda: defaultdict(Counter))
        self.before, self.after = OverlapCounts(), OverlapCounts()

    def add(self, stored: Record) -> None:
        """Add the counts of another piece, as its ``as_dict`` gave them."""
        for source, kinds in stored["counts"].items():
            for kind, counter in kinds.items():
                self.counts[source][kind].update(counter)
        _add_touched(self.before, stored["before"])
        _add_touched(self.after, stored["after"])

    def drop(self, dropped: Iterable[Dropped]) -> None:
        """Count rows that were thrown out."""
        for drop in dropped:
            self.counts[drop.rationale.source]["dropped"][f"{drop.stage}: {drop.reason}"] += 1
            self._status(drop.rationale)

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

    def as_dict(self) -> Record:
        """Return the counts as JSON holds them."""
        counts = {source: dict(kinds) for source, kinds in self.counts.items()}
        return {"counts": counts, "before": _stored(self.before), "after": _stored(self.after)}


def _add_touched(touched: OverlapCounts, stored: Record) -> None:
    for source, count in stored["rows"].items():
        touched.rows[source] += count
    for source, benchmark, rule, count in stored["hits"]:
        touched.hits[source, benchmark, rule] += count
    for benchmark, by_rule in stored["questions"].items():
        for rule, by_id in by_rule.items():
            own = touched.questions.setdefault(benchmark, {}).setdefault(rule, {})
            for id, sources in by_id.items():
                own.setdefault(id, set()).update(sources)


def _stored(touched: OverlapCounts) -> Record:
    questions = {
        benchmark: {rule: {id: sorted(by) for id, by in by_id.items()} for rule, by_id in by_rule.items()}
        for benchmark, by_rule in touched.questions.items()
    }
    hits = [[*key, count] for key, count in touched.hits.items()]
    return {"rows": dict(touched.rows), "hits": hits, "questions": questions}
