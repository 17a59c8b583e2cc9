"""Merge the pieces of a curation: one file of kept rows, one of dropped ones, and the counts of all."""

from __future__ import annotations

import contextlib
import heapq
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

from mammoth_utils import records
from mammoth_utils.curation import clean_subset, mixtures
from mammoth_utils.curation.at_scale.piece_counts import PieceCounts
from mammoth_utils.curation.at_scale.shards import ShardSettings
from mammoth_utils.curation.sources import release
from mammoth_utils.curation.sources.registry import table1_place
from mammoth_utils.records import Record


def merge_pieces(
    shard_counts: Sequence[Path], bucket_counts: Sequence[Path], out: Path, settings: ShardSettings
) -> Record:
    """Write one file of kept rows and one of dropped ones, in the order of the input; return the counts of all."""
    total, checks = PieceCounts(), {}
    for file in (*shard_counts, *bucket_counts):
        piece = records.read_json(file)
        total.add(piece["tally"])
        checks = _sum(checks, piece.get("checks", {}))
    checks["rows_published"] = release.RELEASE_ROWS
    checks["absent"] = [name for name, count in checks["sources"].items() if not count]
    pieces = {
        mixtures.KEPT: [file.with_suffix(".kept") for file in bucket_counts],
        mixtures.DROPPED: [file.with_suffix(".dropped") for file in (*shard_counts, *bucket_counts)],
    }
    index = settings.index()
    names = sorted(total.counts, key=table1_place)
    clean = index.clean_record("+".join(settings.worlds), names, total.before, total.after)
    records.write_json(out / clean_subset.CLEAN, clean)
    files = {}
    for name, parts in pieces.items():
        count = _merge(parts, out / name)
        files[name] = {"rows": count, "sha256": records.sha256(out / name)}
    order = list(index.benchmarks)
    return {
        "kept": files[mixtures.KEPT]["rows"],
        "dropped": files[mixtures.DROPPED]["rows"],
        "checks": checks,
        "sources": _sources(total),
        "contamination": sorted(
            (overlap.as_dict() for overlap in index.overlaps(total.before)),
            key=lambda line: (*table1_place(line["source"]), order.index(line["benchmark"])),
        ),
        "clean": clean_subset.clean_counts(clean),
        "rules": list(index.rules),
        "files": files,
    }


def _merge(parts: Iterable[Path], target: Path) -> int:
    """Merge sorted pieces into one file of JSON Lines without holding them; return how many rows it has."""
    count = 0
    with contextlib.ExitStack() as stack:
        opened = [stack.enter_context(open(part, encoding="utf8", newline="\n")) for part in parts]
        file = stack.enter_context(records.atomic_file(target))
        for line in heapq.merge(*opened, key=lambda line: int(line.split("\t", 1)[0])):
            file.write(line.split("\t", 1)[1])
            count += 1
    return count


def _sum(first: Any, second: Any) -> Any:
    """Return the sum of two counts, key by key where they are dictionaries."""
    if isinstance(first, dict) and isinstance(second, dict):
        return {key: _sum(first.get(key), second.get(key)) for key in {**first, **second}}
    if first is None or second is None:
        return second if first is None else first
    return first + second


def _sources(total: PieceCounts) -> list[Record]:
    """Return a line a source, in Table 1's order: rows that entered, that were thrown out and why, and kept."""
    lines = []
    for name in sorted(total.counts, key=table1_place):
        own = total.counts[name]
        kept = own["kept"]["rows"]
        lines.append({
            "name": name, "entered": own["entered"]["rows"], "dropped": dict(sorted(own["dropped"].items())),
            "kept": kept, "kinds": dict(own["kind"]), "statuses": dict(own["status"].most_common()),
            "fields": dict(own["fields"].most_common()),
            "question_characters": round(own["kept"]["question"] / kept, 1) if kept else None,
            "rationale_characters": round(own["kept"]["rationale"] / kept, 1) if kept else None,
        })  # fmt: skip
    return lines
