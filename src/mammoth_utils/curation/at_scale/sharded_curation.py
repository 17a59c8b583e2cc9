"""Curation of a release of any size in bounded memory: on this machine, or by an engine that has many.

``python -m mammoth_utils.curation.at_scale.sharded_curation FILE OUT --engine datatrove`` is its command line.

One machine streams: ``curate_in_shards(file, out)`` goes shard by shard, then bucket by bucket (``shards``), holds one
of them at a time, and goes on where a killed run stopped. Where that is outgrown, ``engine="datatrove"`` hands the
same pieces to datatrove, whose executors run them on the cores of one machine, under Slurm or on a Ray cluster. It was
taken over Ray Data because curation is a row of independent tasks with files between them: datatrove marks each
finished task and skips it in the next run, submits job arrays to Slurm without a service that has to stand first, adds
three small pure Python packages (``pip install 'mammoth_utils[scale]'``), and made the web-scale sets (FineWeb,
FineMath) that a user who outgrows this machine has in mind. Ray Data starts a pipeline anew when its driver dies.
"""

from __future__ import annotations

import argparse
import json
import os
import shutil
import sys
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import asdict, dataclass, replace
from functools import partial
from itertools import islice
from pathlib import Path
from typing import Any

from mammoth_utils import records
from mammoth_utils.command_line import in_one_line
from mammoth_utils.curation import clean_subset, mixtures
from mammoth_utils.curation.at_scale import shards
from mammoth_utils.curation.at_scale.piece_merge import merge_pieces
from mammoth_utils.curation.at_scale.shards import ShardSettings
from mammoth_utils.curation.benchmark_questions import missing_files
from mammoth_utils.curation.contamination import KEEP_ALL
from mammoth_utils.curation.sources import release
from mammoth_utils.records import Record

SHARD_ROWS = 32_768
BUCKET_ROWS = 4_096  # compared at once; about 30 kB of memory each
MOST_BUCKETS = 512  # files open at once while they are merged

Task = Callable[[int], None]
# A stage's task, how many times it runs (with 0, 1, ...), a folder for the engine's own logs, and how many at once.
Engine = Callable[[Task, int, Path, int], None]


def run_in_order(task: Task, count: int, logs: Path, workers: int) -> None:
    """Run the tasks one after another in this process."""
    for number in range(count):
        task(number)


def run_by_datatrove(task: Task, count: int, logs: Path, workers: int) -> None:
    """Run the tasks by datatrove's local executor, ``workers`` at once.

    Raises:
        ModuleNotFoundError: If datatrove is not installed, saying how to.
    """
    try:
        from datatrove.executor import LocalPipelineExecutor
    except ModuleNotFoundError as error:
        raise ModuleNotFoundError(f"{error}: pip install 'mammoth_utils[scale]'") from error
    LocalPipelineExecutor([partial(step, task)], tasks=count, workers=workers, logging_dir=str(logs)).run()


def step(task: Task, data: Any, rank: int, world_size: int) -> None:
    """Run a task as a step of a datatrove pipeline; any of its executors takes ``partial(step, task)``."""
    task(rank)


ENGINES: dict[str, Engine] = {"stream": run_in_order, "datatrove": run_by_datatrove}


@dataclass(frozen=True)
class CheckShard:
    """The first stage: makes the pieces of a shard by its number."""

    files: tuple[tuple[Path, int], ...]
    out: Path
    settings: ShardSettings
    workers: int | None

    def __call__(self, number: int) -> None:
        file, first = self.files[number]
        shards.check_shard(file, first, self.out, f"shard-{number:05d}", self.settings, self.workers)


@dataclass(frozen=True)
class CompareBucket:
    """The second stage: makes the pieces of a bucket by its number."""

    shards: tuple[Path, ...]
    out: Path
    settings: ShardSettings

    def __call__(self, number: int) -> None:
        shards.compare_bucket(list(self.shards), number, self.out, f"bucket-{number:05d}", self.settings)


def curate_in_shards(
    inputs: Path | Sequence[Path],
    out: Path,
    settings: ShardSettings | None = None,
    engine: str | Engine = "stream",
    workers: int = 0,
    say: Callable[[str], None] | None = None,
    shard_rows: int = SHARD_ROWS,
) -> Record:
    """Curate a release in pieces, and return what became of its rows.

    Leaves in ``out``: ``mathinstruct.jsonl``, ``dropped.jsonl`` (each row with its stage and reason), ``clean.json``
    (which benchmark problems the kept rows leave untouched), ``audit.json``, and ``record.json``, by which
    ``-p dataset OUT`` on the page `train` takes the folder; rows in the order of the input. Every
    engine keeps the same rows. A run that was killed goes on where it stopped.

    Args:
        inputs: A file in the published form, or several, whose rows follow one another.
        settings: What decides; the number of buckets is set from the number of rows where it is 1.
        engine: ``"stream"``, ``"datatrove"``, or a function that runs a stage's tasks some other way.
        workers: Programs executed, or tasks run, at once; 0 takes the processor's cores.
        shard_rows: Rows that are checked and executed as one piece.

    Raises:
        ValueError: If the engine is unknown, or a row is not of the form.
        FileNotFoundError: If an input is not there, or no benchmark to throw rows out by.
    """
    if isinstance(engine, str) and engine not in ENGINES:
        raise ValueError(f"unknown engine {engine!r}; known: {', '.join(ENGINES)}")
    run = ENGINES[engine] if isinstance(engine, str) else engine
    settings, say, workers = settings or ShardSettings(), say or (lambda line: None), workers or os.cpu_count() or 1
    files = [Path(inputs)] if isinstance(inputs, str | Path) else [Path(file) for file in inputs]
    if absent := [str(file) for file in files if not file.is_file()]:
        raise FileNotFoundError(f"expected rows in {', '.join(absent)}, found no such file")
    if unseen := missing_files(settings.worlds, settings.decontaminate != KEEP_ALL):
        say(f"missing: {', '.join(unseen)}: no row is compared with these benchmarks; `make data` fetches them")
    out, started = Path(out), time.monotonic()
    hashes = [records.sha256(file) for file in files]
    versions = records.versions("curation", "grading", "programs", "prompts")
    plan = {"inputs": hashes, "settings": asdict(settings), "shard_rows": shard_rows, "versions": versions}
    key = records.fingerprint(plan)
    finished = out / "audit.json"
    if finished.is_file() and (record := records.read_json(finished))["key"] == key:
        _write_page_record(out, record)
        return record
    parts, seconds, begun = out / "parts" / key, {}, time.monotonic()

    def mark(name: str) -> None:
        nonlocal begun
        seconds[name], begun = round(time.monotonic() - begun, 2), time.monotonic()

    say(f"cutting {len(files)} files into shards of {shard_rows:,} rows")
    cut = _cut(files, parts / "raw", shard_rows)
    rows = sum(count for _, _, count in cut)
    if settings.buckets == 1:
        settings = replace(settings, buckets=min(MOST_BUCKETS, -(-max(rows, 1) // BUCKET_ROWS)))
    mark("cut")
    say(f"checking {rows:,} rows in {len(cut)} shards and executing their programs: {engine}")
    in_task = workers if run is run_in_order else 1
    first = CheckShard(tuple((file, start) for file, start, _ in cut), parts / "rows", settings, in_task)
    run(first, len(cut), parts / "logs" / "check", workers)
    mark("checks and execution")
    say(f"comparing them with each other and with the benchmarks in {settings.buckets} buckets")
    shard_counts = tuple(parts / "rows" / f"shard-{number:05d}.json" for number in range(len(cut)))
    run(CompareBucket(shard_counts, parts / "rows", settings), settings.buckets, parts / "logs" / "compare", workers)
    mark("duplicates and contamination")
    bucket_counts = [parts / "rows" / f"bucket-{number:05d}.json" for number in range(settings.buckets)]
    record = merge_pieces(shard_counts, bucket_counts, out, settings)
    mark("merge")
    record = {"key": key, "plan": plan, "engine": engine if isinstance(engine, str) else "own", "workers": workers,
            "rows": rows, **record, "benchmarks_missing": unseen, "stages": seconds,
            "seconds": round(time.monotonic() - started, 2)}  # fmt: skip
    records.write_json(finished, record)
    _write_page_record(out, record)
    shutil.rmtree(out / "parts")
    if bad := record["checks"].get("left_out", 0):
        say(f"left out (rows are counted from 0): {bad:,}: {'; '.join(record['checks']['first_left_out'][:5])}")
    say(f"kept {record['kept']:,} of {rows:,} rows")
    return records.read_json(finished)


def _write_page_record(out: Path, record: Record) -> None:
    """Write the two files by which a page knows a folder as a finished data set."""
    named = {"page": "at scale", "name": out.name, "dataset": out.name}
    records.write_json(out / "run.json", {"schema": records.SCHEMA, **named, "plan": record["plan"]})
    records.write_record(out, {**record, **named})


def _cut(files: Iterable[Path], folder: Path, shard_rows: int) -> list[tuple[Path, int, int]]:
    """Return shards as JSON Lines, each with the number of its first row and how many it has; made once."""
    index = folder / "index.json"
    if not index.is_file():
        pieces: list[list[Any]] = []
        rows = (row for file in files for row in release.stream_release(file))
        while batch := list(islice(rows, shard_rows)):
            name = f"{len(pieces):05d}.jsonl"
            # Characters as numbers, since a row may hold half of a surrogate pair, which is counted later on.
            records.write_text(folder / name, "".join(f"{json.dumps(row)}\n" for row in batch))
            pieces.append([name, sum(count for _, _, count in pieces), len(batch)])
        records.write_json(index, pieces)
    return [(folder / name, first, count) for name, first, count in records.read_json(index)]


def kept_rows(out: Path) -> Iterator[Record]:
    """Yield the rows that a curation in shards kept."""
    with open(Path(out) / mixtures.KEPT, encoding="utf8") as file:
        yield from map(json.loads, file)


@in_one_line("not curated")
def main(arguments: Sequence[str] | None = None) -> int:
    """Curate a release in shards and say what became of each source's rows; return 1 if it cannot be."""
    parser = argparse.ArgumentParser(
        prog="python -m mammoth_utils.curation.at_scale.sharded_curation",
        description="Curate a release of any size in bounded memory.",
    )
    parser.add_argument("inputs", type=Path, nargs="+", metavar="FILE", help="rows, in one file or in several")
    parser.add_argument("out", type=Path, metavar="OUT", help="the folder to write")
    parser.add_argument(
        "--form", default=ShardSettings.form, choices=shards.FORMS, help="of the rows: published, or any"
    )
    parser.add_argument("--engine", default="stream", choices=ENGINES, help="what runs the pieces")
    parser.add_argument("--workers", type=int, default=0, help="at once; 0 takes the processor's cores")
    parser.add_argument("--world", default="real", choices=("real", "miniature"), help="whose benchmarks")
    parser.add_argument(
        "--decontaminate", default=ShardSettings.decontaminate, help="equal, near, ngram_13 ..., or none"
    )
    parser.add_argument("--timeout", type=float, default=ShardSettings.timeout_s, help="seconds a program may take")
    chosen = parser.parse_args(arguments)
    settings = ShardSettings(
        form=chosen.form, worlds=(chosen.world,), decontaminate=chosen.decontaminate, timeout_s=chosen.timeout
    )
    record = curate_in_shards(chosen.inputs, chosen.out, settings, chosen.engine, chosen.workers, say=print)
    for line in record["sources"]:
        lost = ", ".join(f"{why} {count:,}" for why, count in line["dropped"].items())
        print(f"{line['name']}: {line['entered']:,} read, {line['kept']:,} kept{f'; {lost}' if lost else ''}")
    print(f"{chosen.out}: {mixtures.KEPT}, {mixtures.DROPPED}, {clean_subset.CLEAN}, audit.json")
    return 0


if __name__ == "__main__":
    sys.exit(main())
