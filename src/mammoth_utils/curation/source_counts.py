"""Counts of one source in a curation's record: where its rows went, how long they are, what they are about."""

from __future__ import annotations

import statistics
from collections import Counter, defaultdict
from collections.abc import Iterable, Sequence

from mammoth_utils.curation.filters import STAGES, Dropped
from mammoth_utils.curation.sources.registry import LoadedSource
from mammoth_utils.rationale import Rationale
from mammoth_utils.records import Record


def count_source(entry: LoadedSource, rows: Sequence[Rationale], dropped: Sequence[Dropped]) -> Record:
    """Return the entry of one source in the record, from its rows that stay and those that were thrown out."""
    source, lost = entry.source, Counter(f"{drop.stage}: {drop.reason}" for drop in dropped)
    return {
        "name": entry.name, "paper_name": source.name, "kind": source.kind, "author": source.author,
        "validated": source.validated, "new": source.new, "licence": source.licence, "home": source.home,
        "second_home": source.second_home, "files": entry.files, "missing": entry.missing, "notes": entry.notes,
        "rows_paper": source.rows_paper, "entered": len(rows) + len(dropped), "dropped": dict(sorted(lost.items())),
        "kept": len(rows), "funnel": count_funnel(len(rows) + len(dropped), dropped),
        "fields": _most(row.problem.field for row in rows),
        "levels": dict(sorted(_most(row.history.get("level", "") for row in rows).items(), key=_by_number)),
        "verdicts": _most(row.history.get("verdict", "")
                          for row in (*rows, *(drop.rationale for drop in dropped))),
        "authors": _most(row.author for row in rows),
        "questions": len({row.problem.instruction for row in rows}),
        "question_characters": summarise_lengths([len(row.problem.instruction) for row in rows]),
        "rationale_characters": summarise_lengths([len(row.text) for row in rows]),
        "rationale_lines": summarise_lengths([row.text.count("\n") + 1 for row in rows]),
    }  # fmt: skip


def count_funnel(entered: int, dropped: Iterable[Dropped]) -> dict[str, int]:
    """Return the rows left after each stage, in the order of the stages; the first is what entered."""
    lost = Counter(drop.stage for drop in dropped)
    left, steps = entered, {"entered": entered}
    for stage in STAGES:
        left -= lost[stage]
        steps[stage] = left
    return steps


def summarise_lengths(values: Sequence[int]) -> dict[str, float] | None:
    """Return mean, median, 95th percentile and maximum of some lengths; None of none."""
    if not values:
        return None
    ordered = sorted(values)
    return {
        "mean": round(statistics.fmean(ordered), 1),
        "median": statistics.median(ordered),
        "p95": ordered[max(0, -(-95 * len(ordered) // 100) - 1)],
        "max": ordered[-1],
    }


def count_statuses(rows: Iterable[Rationale]) -> dict[str, dict[str, int]]:
    """Return, per source of programs, how many executions ended in each status."""
    counts: dict[str, Counter] = defaultdict(Counter)
    for row in rows:
        if "status" in row.history:
            counts[row.source][row.history["status"]] += 1
    return {name: dict(counter.most_common()) for name, counter in counts.items()}


def _most(values: Iterable[str], most: int = 40) -> dict[str, int]:
    return dict(Counter(value for value in values if value).most_common(most))


def _by_number(item: tuple[str, int]) -> tuple[int, str]:
    digits = "".join(sign for sign in item[0] if sign.isdigit())
    return (int(digits) if digits else 10**6, item[0])
