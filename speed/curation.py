"""Rows per second of a release's curation, from its first row to both files, at growing sizes.

``python speed/curation.py`` prints a table; ``--json`` prints one object a row with the ratio against each peer. The
releases are synthetic (``_synthetic_release.py``): the published format, shares and length of rows, problems
of the miniature, faults planted. Every row is checked, every program executed, every row compared with every other
and with the questions of nine benchmarks: the real ones where ``MAMMOTH_DATA_DIR`` is, else the miniature's.

- ours: shards and buckets one after another in one process, programs on all cores;
- datatrove: the same pieces by its local executor, as many at once as there are cores;
- all at once: every row held in memory, as is done where nobody minds; at the smallest size only.

All three must keep the same rows. The last lines say whether time grows with the rows: a straight line through the
smallest and the largest size, and how far the one between lies from it.
"""

from __future__ import annotations

import argparse
import json
import os
import sys
import tempfile
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parent.parent / "src"))

import _synthetic_release
from _memory import run

from mammoth_utils.curation import RELEASE_ROWS

ROOT = Path(__file__).resolve().parent.parent
SIZES = (10_000, 50_000, RELEASE_ROWS)
WORLDS = ("real",) if os.environ.get("MAMMOTH_DATA_DIR") else ("miniature",)
CORES = os.cpu_count() or 1
OURS, DATATROVE, AT_ONCE = "ours", "datatrove", "all at once"

AUDIT = """
import json, sys
from pathlib import Path
from mammoth_utils.curation import ShardSettings, curate_in_shards
if __name__ == "__main__":
    file, out, worlds, engine, workers = sys.argv[1:]
    settings = ShardSettings(worlds=tuple(worlds.split(",")))
    record = curate_in_shards(Path(file), Path(out), settings, engine, int(workers))
    print(json.dumps({key: record[key] for key in ("rows", "kept", "dropped", "stages", "files", "sources")}))
"""
WHOLE = """
import json, sys
from pathlib import Path
from mammoth_utils import records
from mammoth_utils.curation import ShardSettings, contamination, filters, format_row
from mammoth_utils.curation import parse_release, stream_release
if __name__ == "__main__":
    file, out, worlds, engine, workers = sys.argv[1:]
    rows = list(parse_release(stream_release(Path(file))))
    count = len(rows)
    rows, _ = filters.drop_malformed(rows)
    rows, _ = filters.drop_failed_programs(rows, workers=int(workers))
    for each in (filters.drop_disagreeing_prose, filters.drop_duplicates, filters.drop_near_duplicates):
        rows, _ = each(rows)
    index = ShardSettings(worlds=tuple(worlds.split(","))).index()
    contamination.count_overlaps(rows, index)
    rows, _ = contamination.drop_contaminated(rows, index)
    kept = records.write_jsonl(Path(out) / "mathinstruct.jsonl", map(format_row, rows))
    files = {kept.name: {"rows": len(rows), "sha256": records.sha256(kept)}}
    print(json.dumps({"rows": count, "kept": len(rows), "files": files}))
"""


def measure(way: str, file: Path, out: Path) -> dict[str, Any]:
    """Return the record of one curation in a process of its own, its seconds and the peak of its memory.

    ``processor_s`` is what it took of the processors, ``least_s`` its seconds without what other work on this machine
    can have cost it.

    Raises:
        SystemExit: If it failed, with the end of what it complained of.
    """
    out.mkdir(parents=True)
    engine = "datatrove" if way == DATATROVE else "stream"
    script = out / "audit.py"  # a file, since an engine's processes import it again
    script.write_text(WHOLE if way == AT_ONCE else AUDIT, encoding="utf8")
    command = [sys.executable, str(script), str(file), str(out), ",".join(WORLDS), engine, str(CORES)]
    paths = os.pathsep.join(filter(None, [str(ROOT / "src"), os.environ.get("PYTHONPATH", "")]))
    ran = run(command, out, PYTHONPATH=paths, MAMMOTH_ROOT=str(ROOT), OMP_NUM_THREADS="1")
    if ran.returncode:
        raise SystemExit(f"{way}: {ran.stderr[-2000:]}")
    told = json.loads(ran.stdout.splitlines()[-1])
    peak = None if ran.peak_mb is None else round(ran.peak_mb)
    return {
        **told,
        "seconds": round(ran.seconds, 2),
        "least_s": round(ran.least_s, 2),
        "processor_s": round(ran.processor_s, 2),
        "rows_per_s": round(told["rows"] / ran.seconds, 1),
        "peak_mb": peak,
    }


def growth(points: dict[int, float]) -> dict[str, float]:
    """Return how seconds grow with rows: the line through the smallest and the largest size, and the worst other.

    Returns:
        ``fixed_s`` and ``per_million_s`` of the line, ``off``, the largest distance of a size between from it as a
        share of its own time, and ``power``, the exponent between the two: below 1 while the fixed part still counts.
    """
    import math

    if len(points) < 2:
        raise ValueError(f"expected two sizes at least, got {len(points)}")
    low, *between, high = sorted(points)
    slope = (points[high] - points[low]) / (high - low)
    fixed = points[low] - slope * low
    off = max((abs(points[size] - fixed - slope * size) / points[size] for size in between), default=0.0)
    power = math.log(points[high] / points[low]) / math.log(high / low)
    return {"fixed_s": round(fixed, 2), "per_million_s": round(slope * 1e6, 1), "off": round(off, 3),
            "power": round(power, 3)}  # fmt: skip


def missing(way: str) -> str | None:
    """Return why a peer cannot run here, or None."""
    if way == DATATROVE:
        try:
            import datatrove  # noqa: F401
        except ImportError as error:
            return f"{error}; pip install -e '.[scale]'"
    return None


def main() -> None:
    """Print the table, or with ``--json`` the rows."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--json", action="store_true", help="one JSON object a row")
    parser.add_argument("--sizes", default=",".join(map(str, SIZES)), help="rows, separated by commas")
    parser.add_argument("--peers", type=int, default=1, help="at how many of the sizes, from the smallest, peers run")
    arguments = parser.parse_args()
    sizes = sorted({int(size) for size in arguments.sizes.split(",")})
    if len(sizes) < 2 or sizes[0] < len(_synthetic_release.SHAPES):
        parser.error(f"expected two sizes at least, none below {len(_synthetic_release.SHAPES)}, got {arguments.sizes}")
    told = (lambda line: None) if arguments.json else print
    told(f"{CORES} cores; compared with the questions of the {WORLDS[0]} benchmarks")
    for peer in (DATATROVE, AT_ONCE):
        if reason := missing(peer):
            told(f"without {peer}: {reason}")
    told(f"\n{'rows':>9}  {'':<12}{'seconds':>9}{'rows/s':>9}{'peak MB':>9}{'kept':>9}")
    points: dict[int, float] = {}
    with tempfile.TemporaryDirectory() as folder:
        for number, size in enumerate(sizes):
            file = Path(folder) / f"{size}.json"
            _synthetic_release.write(file, size)
            ways = [OURS, *(peer for peer in (DATATROVE, AT_ONCE) if number < arguments.peers and not missing(peer))]
            found = {way: measure(way, file, Path(folder) / f"{size}-{way.replace(' ', '-')}") for way in ways}
            if len({one["files"]["mathinstruct.jsonl"]["sha256"] for one in found.values()}) > 1:
                raise SystemExit(f"{' and '.join(ways)} keep different rows of {size}: no comparison")
            points[size] = found[OURS]["seconds"]
            for way, one in found.items():
                told(f"{size:>9,}  {way:<12}{one['seconds']:>9.1f}{one['rows_per_s']:>9.0f}{one['peak_mb'] or 0:>9}"
                     f"{one['kept']:>9,}")  # fmt: skip
            if arguments.json:
                peers = {peer: round(found[OURS]["rows_per_s"] / found[peer]["rows_per_s"], 2)
                         for peer in found if peer != OURS}  # fmt: skip
                print(json.dumps({"name": "curation", "mix": f"{size} rows", "peers": peers, "worlds": list(WORLDS),
                                  **{key: found[OURS][key] for key in ("rows", "rows_per_s", "seconds", "peak_mb",
                                                                       "kept", "stages")}}))  # fmt: skip
            for path in Path(folder).glob(f"{size}*/*.jsonl"):
                path.unlink()
    line = growth(points)
    if arguments.json:
        print(json.dumps({"name": "curation", "mix": "growth", "peers": {}, **line}))
    told(f"\nseconds = {line['fixed_s']} + {line['per_million_s']} per million rows; the sizes between lie "
         f"{100 * line['off']:.1f} % off that line at most; rows to the power {line['power']}")  # fmt: skip


if __name__ == "__main__":
    main()
