"""Curation in pieces that fit in memory: a shard of rows checked and executed, a bucket of rows compared.

The functions of ``filters`` and ``contamination`` decide; this file only says which rows they see together. Checks and
executions need one row at a time, so any shard will do. Two rows are compared with each other only if they hold the
same numbers and are of one kind, so a bucket gets every row of some such groups, and what it keeps is what the whole
set at once would have kept. Each piece leaves files of its own, the one with its counts last: a piece that stands is
not made again.
"""

from __future__ import annotations

import dataclasses
import json
from collections import defaultdict
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from functools import lru_cache
from itertools import islice
from pathlib import Path

from mammoth_utils import paths, records
from mammoth_utils.curation import contamination, filters
from mammoth_utils.curation.at_scale.piece_counts import PieceCounts
from mammoth_utils.curation.benchmark_questions import load_questions
from mammoth_utils.curation.contamination import BenchmarkIndex
from mammoth_utils.curation.filters import Dropped
from mammoth_utils.curation.mathinstruct_rows import escape_surrogates, format_row
from mammoth_utils.curation.sources import release
from mammoth_utils.grading import question_tokens
from mammoth_utils.rationale import Problem, Rationale
from mammoth_utils.records import Record
from mammoth_utils.vocabulary import KINDS, check_known

FORMS = ("release", "rows")
BATCH = 32_768  # rows whose programs are executed in one call: at its end one worker may wait for another


@dataclass(frozen=True)
class ShardSettings:
    """ShardSettings that decide which rows are kept.

    Attributes:
        form: ``"release"``: the published form, checked strictly; ``"rows"``: any ``source``, ``instruction`` and
            ``output``, with ``kind``.
        sources: Names of the sources that are wanted; empty takes all.
        worlds: Whose benchmarks the rows are compared with: ``"real"``, ``"miniature"`` or both.
        agreement: Where prose must agree with its gold, one of ``filters.AGREEMENT``; the release has no golds.
        decontaminate: By which of ``contamination.rules(windows)`` rows are thrown out; ``"none"`` throws none out.
        isolation: As ``run_programs`` takes it.
        buckets: How many pieces the comparison is cut into.
    """

    form: str = "release"
    sources: tuple[str, ...] = ()
    worlds: tuple[str, ...] = ("real",)
    agreement: str = "validated"
    windows: tuple[int, ...] = contamination.WINDOWS
    decontaminate: str = contamination.EQUAL
    timeout_s: float = 5.0
    isolation: str = "auto"
    buckets: int = 1

    def __post_init__(self) -> None:
        check_known("form", self.form, FORMS)
        check_known("rule", self.decontaminate, (*contamination.rules(self.windows), contamination.KEEP_ALL))
        if self.buckets < 1 or self.timeout_s <= 0:
            raise ValueError(
                f"expected at least one bucket and a time limit above 0, got {self.buckets}, {self.timeout_s}"
            )

    def index(self) -> BenchmarkIndex:
        """Return the benchmarks that rows are compared with; built once a process and data folder."""
        return _index(self.worlds, self.windows, paths.data())


def read_rows(rows: Iterable[dict], first: int, settings: ShardSettings, checks: release.Checks) -> Iterator[Rationale]:
    """Yield raw rows as rationales, checked one by one; a problem's id holds its row's number in the whole set.

    Raises:
        ValueError: If more than a few of the rows are not of the form; the others are read, and ``checks`` names these.
    """
    if settings.form == "release":
        yield from release.parse_release(rows, settings.sources or None, checks, first)
        return
    for number, row in enumerate(rows, first):
        if fault := _find_fault(row):
            checks.leave_out(f"row {number}{fault}", "the input")
            continue
        checks.rows += 1
        checks.sources[row["source"]] += 1
        if settings.sources and row["source"] not in settings.sources:
            continue
        instruction, output = (row[key] if isinstance(row[key], str) else "" for key in ("instruction", "output"))
        question, trigger = release.split_trigger(instruction) if row["kind"] == "pot" else (instruction, "")
        history = {"trigger": trigger} if row["kind"] == "pot" else {}
        if odd := [key for key in ("instruction", "output") if not isinstance(row[key], str)]:
            history["no text"] = ", ".join(f"{key}: {type(row[key]).__name__}" for key in odd)
        problem = Problem(f"rows/{number}", question, "", set=row["source"], field=str(row.get("field") or ""))
        yield Rationale(problem, row["kind"], output, row["source"], str(row.get("author") or ""), history)
    checks.leave_out("", "the input", whole=first == 0)


def _find_fault(row: Record) -> str:
    """Return why a row is not of the form ``rows``, or an empty text."""
    if missing := {*release.KEYS, "kind"} - set(row):
        return f" lacks {', '.join(sorted(missing))}; it has {', '.join(sorted(row))}"
    if row["kind"] not in KINDS:
        return f": unknown kind {row['kind']!r}; known: {', '.join(KINDS)}"
    if not isinstance(row["source"], str) or escape_surrogates(row["source"]) != row["source"]:
        return f": expected text in 'source', got {ascii(row['source'])}"
    return ""


def number_of(row: Rationale) -> int:
    """Return a row's number in the whole set."""
    return int(row.problem.id.rsplit("/", 1)[1])


def comparison_group(row: Rationale) -> str:
    """Return what rows must share to be compared with each other: their kind, and all numbers in their order."""
    words = question_tokens(f"{row.problem.question}\n{row.text}")
    return " ".join([row.kind, *(word for word in words if word[0].isdigit())])


def bucket_of(row: Rationale, buckets: int) -> int:
    """Return the bucket of a row's group, the same in every process."""
    return int(records.fingerprint(comparison_group(row)), 16) % buckets


@lru_cache(maxsize=2)
def _index(worlds: tuple[str, ...], windows: tuple[int, ...], folder: Path | None) -> BenchmarkIndex:
    benchmarks: dict[str, list[Problem]] = {}
    for world in worlds:
        benchmarks |= load_questions(world)
    return BenchmarkIndex(benchmarks, windows)


def check_shard(file: Path, first: int, out: Path, name: str, settings: ShardSettings, workers: int | None) -> None:
    """Make the first pass over one shard: check rows, drop malformed ones, execute programs, lay the rest into buckets.

    Args:
        file: The shard's raw rows, JSON Lines or an array.
        first: Number of its first row in the whole set.
        out: Where the files of the piece called ``name`` go.
    """
    if (out / f"{name}.json").is_file():
        return
    counts, checks, index = PieceCounts(), release.Checks(), settings.index()
    buckets: dict[int, list[str]] = defaultdict(list)
    lost: list[str] = []
    rows = read_rows(release.stream_release(file), first, settings, checks)
    while batch := list(islice(rows, BATCH)):
        for row in batch:
            counts.counts[row.source]["entered"]["rows"] += 1
        batch, dropped = filters.drop_malformed(batch)
        batch, failed = filters.drop_failed_programs(batch, settings.timeout_s, workers, settings.isolation)
        batch, disagreeing = filters.drop_disagreeing_prose(batch, settings.agreement)
        dropped += failed + disagreeing
        counts.drop(dropped)
        for drop in dropped:
            index.count_row(drop.rationale, counts.before)
        lost += [_line(number_of(drop.rationale), drop.as_row()) for drop in dropped]
        for row in batch:
            buckets[bucket_of(row, settings.buckets)].append(json.dumps(dataclasses.asdict(row), ensure_ascii=False))
    places, end = {}, 0
    for bucket in sorted(buckets):
        size = sum(len(line.encode()) + 1 for line in buckets[bucket])
        places[bucket] = [end, end + size]
        end += size
    records.write_text(
        out / f"{name}.rows", "".join(f"{line}\n" for bucket in sorted(buckets) for line in buckets[bucket])
    )
    records.write_text(out / f"{name}.dropped", "".join(sorted(lost, key=_number)))
    piece = {"tally": counts.as_dict(), "checks": checks.as_dict(), "places": places}
    records.write_json(out / f"{name}.json", piece)


def compare_bucket(shards: list[Path], bucket: int, out: Path, name: str, settings: ShardSettings) -> None:
    """Make the second pass over one bucket: drop duplicates and near-duplicates, then what stands in a benchmark.

    Args:
        shards: The first pass's counts, in the order of the shards.
        out: Where the files of the piece called ``name`` go.
    """
    if (out / f"{name}.json").is_file():
        return
    rows, counts, index = list(_of_bucket(shards, bucket)), PieceCounts(), settings.index()
    lost: list[Dropped] = []
    for each in (filters.drop_duplicates, filters.drop_near_duplicates):
        rows, dropped = each(rows)
        lost += dropped
    for drop in lost:
        index.count_row(drop.rationale, counts.before)
    rows, dropped = index.decontaminate(rows, settings.decontaminate, counts.before, counts.after)
    lost += dropped
    counts.drop(lost)
    counts.keep(rows)
    records.write_text(out / f"{name}.kept", "".join(_line(number_of(row), format_row(row)) for row in rows))
    lines = sorted((_line(number_of(drop.rationale), drop.as_row()) for drop in lost), key=_number)
    records.write_text(out / f"{name}.dropped", "".join(lines))
    records.write_json(out / f"{name}.json", {"tally": counts.as_dict()})


def _of_bucket(shards: list[Path], bucket: int) -> Iterator[Rationale]:
    for counts in shards:
        place = records.read_json(counts)["places"].get(str(bucket))
        if place is None:
            continue
        with open(counts.with_suffix(".rows"), "rb") as file:
            file.seek(place[0])
            # Not ``splitlines``: a row's text may hold U+2028, U+2029 or U+0085, which JSON writes as they are.
            for line in file.read(place[1] - place[0]).decode().split("\n")[:-1]:
                row = json.loads(line)
                yield Rationale(**{**row, "problem": Problem(**row["problem"])})


def _line(number: int, row: Record) -> str:
    return f"{number}\t{json.dumps(row, ensure_ascii=False)}\n"


def _number(line: str) -> int:
    return int(line.split("\t", 1)[0])
