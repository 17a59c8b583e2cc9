"""The pieces of an audit put together: one file of kept rows, one of dropped ones, and the counts of all."""

from __future__ import annotations

import heapq
import os
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

from mammoth_utils import records
from mammoth_utils.curation import contamination, mixtures
from mammoth_utils.curation.at_scale.shards import Settings
from mammoth_utils.curation.at_scale.tally import Tally
from mammoth_utils.curation.sources import release


def merged(
    shard_counts: Sequence[Path], bucket_counts: Sequence[Path], out: Path, settings: Settings
) -> dict[str, Any]:
    """One file of kept rows and one of dropped ones, in the order of the input, and the counts of all pieces."""
    tally, checks = Tally(), _Checks()
    for counts in (*shard_counts, *bucket_counts):
        told = records.read_json(counts)
        tally.add(Tally(told["tally"]))
        if "checks" in told:
            checks.add(told["checks"])
    pieces = {
        mixtures.KEPT: [one.with_suffix(".kept") for one in bucket_counts],
        mixtures.DROPPED: [one.with_suffix(".dropped") for one in (*shard_counts, *bucket_counts)],
    }
    index = settings.index()
    clean = {
        "world": "+".join(settings.worlds),
        "rules": list(index.rules),
        "sources": sorted(tally.counts, key=_place),
        "benchmarks": index.clean(tally.after),
        "benchmarks_before": index.clean(tally.before, clean=False),
    }
    records.write_json(out / contamination.CLEAN, clean)
    files = {}
    for name, parts in pieces.items():
        count = _merge(parts, out / name)
        files[name] = {"rows": count, "sha256": records.sha256(out / name)}
    order = list(index.benchmarks)
    return {
        "kept": files[mixtures.KEPT]["rows"],
        "dropped": files[mixtures.DROPPED]["rows"],
        "checks": checks.told,
        "sources": _sources(tally),
        "contamination": sorted(
            (one.as_dict() for one in index.overlaps(tally.before)),
            key=lambda one: (*_place(one["source"]), order.index(one["benchmark"])),
        ),
        "clean": contamination.clean_counts(clean),
        "rules": list(index.rules),
        "files": files,
    }


def _merge(parts: Iterable[Path], target: Path) -> int:
    """Merge sorted pieces into one file of JSON Lines without holding them; how many rows it has."""
    opened = [open(part, encoding="utf8", newline="\n") for part in parts]  # noqa: SIM115, closed below
    part, count = target.with_name(f".{target.name}.{os.getpid()}.part"), 0
    try:
        with open(part, "w", encoding="utf8", newline="\n") as file:
            for line in heapq.merge(*opened, key=lambda line: int(line.split("\t", 1)[0])):
                file.write(line.split("\t", 1)[1])
                count += 1
        part.replace(target)
    finally:
        for each in opened:
            each.close()
        part.unlink(missing_ok=True)
    return count


class _Checks:
    """The checks of all shards, added up."""

    def __init__(self) -> None:
        self.told: dict[str, Any] = {}

    def add(self, other: dict[str, Any]) -> None:
        self.told = _added(self.told, other)
        self.told["rows_published"] = release.ROWS
        self.told["absent"] = [name for name, count in self.told["sources"].items() if not count]


def _added(one: Any, other: Any) -> Any:
    if isinstance(one, dict) and isinstance(other, dict):
        return {key: _added(one.get(key), other.get(key)) for key in {**one, **other}}
    if one is None or other is None:
        return other if one is None else one
    return one + other


def _sources(tally: Tally) -> list[dict[str, Any]]:
    """A source a line, in Table 1's order: rows that entered, rows thrown out by stage and reason, rows kept."""
    found = []
    for name in sorted(tally.counts, key=_place):
        own = tally.counts[name]
        kept = own["kept"]["rows"]
        found.append({
            "name": name, "entered": own["entered"]["rows"], "dropped": dict(sorted(own["dropped"].items())),
            "kept": kept, "kinds": dict(own["kind"]), "statuses": dict(own["status"].most_common()),
            "fields": dict(own["fields"].most_common()),
            "question_characters": round(own["kept"]["question"] / kept, 1) if kept else None,
            "rationale_characters": round(own["kept"]["rationale"] / kept, 1) if kept else None,
        })  # fmt: skip
    return found


def _place(name: str) -> tuple[int, str]:
    """A source's place in Table 1's order; the one that it omits comes behind, any other last."""
    order = [source.name for source in release.BY_FILE.values()]
    return (order.index(name) if name in order else len(order), name)
