"""The curation stage: a description in, ``runs/curate/<name>/`` with rows, reasons and a record out."""

from __future__ import annotations

import contextlib
import re
import time
from collections import defaultdict
from collections.abc import Iterator, Sequence
from pathlib import Path

from mammoth_utils import pages, paths, records
from mammoth_utils.curation import (
    clean_subset,
    filter_errors,
    filters,
    input_hashes,
    mixtures,
    own_data,
    source_counts,
    teacher_stage,
)
from mammoth_utils.curation.benchmark_questions import benchmark_files, load_questions, missing_files
from mammoth_utils.curation.contamination import KEEP_ALL, BenchmarkIndex, OverlapCounts, drop_contaminated
from mammoth_utils.curation.description import Curation, describe, describe_again
from mammoth_utils.curation.filters import Dropped
from mammoth_utils.curation.mathinstruct_rows import format_row, is_by_teacher
from mammoth_utils.curation.sources.loaders import load_sources
from mammoth_utils.curation.sources.registry import BUILT_IN, LoadedSource
from mammoth_utils.curation.teacher.cost_ledger import Ledger
from mammoth_utils.curation.teacher_stage import Say
from mammoth_utils.miniature import MINIATURE, WORLDS
from mammoth_utils.rationale import Rationale
from mammoth_utils.records import Record


def curate(description: Curation, workers: int = 0, say: Say | None = None) -> Record:
    """Make a curation, or read the one that finished before; return its record.

    Leaves in ``description.folder``: ``mathinstruct.jsonl`` (kept rows), ``dropped.jsonl`` (with stage and reason),
    ``unfiltered.jsonl`` (the teacher's rows before execution), ``clean.json`` (which benchmark problems the rows leave
    untouched) and ``record.json``. A run that was killed starts again without asking the teacher anything twice, and so
    does one whose record has requests that the teacher may answer now. Two processes that want the same one wait for
    each other.

    Args:
        workers: Processes that execute programs and threads that ask the teacher; 0 leaves it to each.

    Raises:
        RunMismatchError: If the folder holds another run.
        FileNotFoundError: If no source of the data set is there, or no benchmark to throw rows out by.
        TeacherError: If the teacher cannot be asked.
    """
    import filelock

    folder = description.folder
    folder.mkdir(parents=True, exist_ok=True)
    with filelock.FileLock(folder.parent / f".{description.name}.lock"):
        _remove_other_version(description)
        finished, say = records.open_run(folder, description.identity()), say or (lambda line: None)
        if finished is not None and (changes := input_hashes.find_changes(finished)):
            finished = _remove_other_inputs(description, changes, say)
        if finished is not None and not teacher_stage.has_open_requests(finished, description, say):
            return finished
        return _run(description, workers, say)


def ensure_dataset(dataset: str, say: Say = lambda line: None, columns: str = "") -> Path:
    """Return the folder of a curated data set; the miniature, the release and the rebuild are made if not there.

    The release is the local copy in the data folder, or the hub's at the pinned commit with its content checked; to
    curate it takes minutes. Where no benchmark's file is there, its rows are taken as they were published, as the
    paper did, and the record says ``decontaminate`` ``none``: nothing is called clean that was not compared. A data
    set whose files were replaced since is made again, which ``say`` is told.

    Args:
        dataset: ``miniature``, ``release``, the name of a folder below ``runs/curate``, or the path of your own file.
        columns: Of a file, as ``own_data.resolve_dataset`` takes them.

    Raises:
        ValueError: If the rows were changed after the data set was made, or a file cannot be read.
        FileNotFoundError: If another data set is not there, naming the command that makes it, or the release is
            neither here nor to be fetched.
    """
    dataset = MINIATURE if dataset == "auto" else own_data.resolve_dataset(dataset, columns)
    folder, command = paths.run_dir("curate", dataset), mixtures.curate_command(dataset)
    # The miniature follows the version of the code that makes it; a real data set that stands is taken as it is, if it
    # was made from the files that are here.
    if dataset not in WORLDS and (folder / "record.json").is_file():
        record = records.read_json(folder / "record.json")
        input_hashes.check_rows(dataset, record)
        for line in record.get("notes", ()):
            say(line)
        if record.get("page") == "curate" and input_hashes.find_changes(record):
            curate(describe_again(record["parameters"]), say=say)
        return folder
    if dataset not in (*WORLDS, "release", "rebuild"):
        raise FileNotFoundError(f"expected the data set {dataset!r} in {folder}, found none; make it: {command}")
    description = describe(dataset=dataset)
    if dataset == "release":
        if not benchmark_files():
            description = describe(dataset=dataset, decontaminate=KEEP_ALL, name=dataset)
            say("no benchmark's file is here: the release's rows are taken as published, none is compared with a "
                "benchmark (decontaminate=none in the record). `make data` before this line fetches the files, "
                "and rows that stand in a benchmark then go")  # fmt: skip
        say(f"no data set in runs/curate/{dataset} yet: curating the release, which takes minutes when it is whole")
    elif dataset == "rebuild":
        say("no data set in runs/curate/rebuild yet: rebuilding the public sources, which takes a minute")
    try:
        curate(description, say=None if dataset in WORLDS else say)
    except FileNotFoundError as error:
        raise FileNotFoundError(f"{error}\nthen this line, or the one that asked, makes it: {command}") from error
    return description.folder


def load_described(description: Curation) -> list[LoadedSource]:
    """Return what each source of a curation holds, before anything is asked or executed."""
    if description.dataset not in BUILT_IN:
        loaded = own_data.load_curated(description.dataset)
        return [entry.sample(description.limit, description.seed) for entry in loaded]
    asks = description.dataset in WORLDS or description.teacher != MINIATURE
    return load_sources(description.dataset, description.sources, description.limit, description.seed, asks)


def _remove_other_version(description: Curation) -> None:
    """Let a run of the same description by another version of the code be made again.

    The miniature's is overwritten, since all of it is generated; a real one is moved aside. What another teacher wrote
    raises RunMismatchError: to make it again may cost money.
    """
    file = description.folder / "run.json"
    if not file.is_file():
        return
    there, now = records.read_json(file), {"schema": records.SCHEMA, **description.identity()}
    differing = {re.split("[.:]", line, maxsplit=1)[0] for line in records.differences(there, now)}
    if not differing or not (differing <= {"versions", "teacher_model"} or set(there) != set(now)):
        return
    if description.teacher != MINIATURE:
        if differing == {"teacher_model"}:
            return  # another run, which is refused with the lines that differ
        was = there.get("versions", "none noted")
        raise records.RunMismatchError(
            f"{description.folder} was made by another version of the code ({was}; this is {now['versions']}): remove "
            f"the folder, or give this run a `name` of its own; stored answers of {description.teacher_model} are not "
            "paid again"
        )
    if description.world == MINIATURE:
        (description.folder / "record.json").unlink(missing_ok=True)
        file.unlink()
    else:
        records.move_aside(description.folder)
        description.folder.mkdir(parents=True)


def _remove_other_inputs(description: Curation, changes: list[str], say: Say) -> None:
    """Move a data set aside whose files are other ones now, so that it is made again; refuse if that may cost money."""
    reason = f"{description.folder} was made from other files: {'; '.join(changes)}"
    if description.teacher != MINIATURE:
        raise records.RunMismatchError(
            f"{reason}. Give this run a `name` of its own, or remove the folder; what {description.teacher_model} "
            "answered to the same questions is not paid again"
        )
    aside = records.move_aside(description.folder)
    say(f"{reason}; it is made again, and the former one is {paths.relative_to_root(aside)}")
    records.open_run(description.folder, description.identity())


class _Clock:
    """Seconds of each stage."""

    def __init__(self, say: Say) -> None:
        self.say, self.seconds, self.started = say, {}, time.monotonic()

    @contextlib.contextmanager
    def stage(self, name: str, line: str) -> Iterator[None]:
        self.say(line)
        begun = time.monotonic()
        yield
        self.seconds[name] = round(time.monotonic() - begun, 2)

    @property
    def all(self) -> float:
        return round(time.monotonic() - self.started, 2)


def _run(description: Curation, workers: int, say: Say) -> Record:
    clock = _Clock(say)
    if absent := missing_files([description.world], description.decontaminate != KEEP_ALL):
        say(f"missing: {', '.join(absent)}: no row is compared with these benchmarks; `make data` fetches them")
    with clock.stage("load", f"loading {len(description.sources) or 'the'} sources of {description.dataset}"):
        loaded = load_described(description)
    there = [entry for entry in loaded if not entry.missing]
    for entry in loaded:
        if entry.missing:
            say(f"missing: {entry.name}: {entry.missing}")
    for line in dict.fromkeys(entry.left_out for entry in loaded if entry.left_out):
        say(line)
    if not there:
        raise FileNotFoundError(
            "none of the sources is there:\n" + "\n".join(f"  {e.name}: {e.missing}" for e in loaded)
        )
    with clock.stage("teacher", "asking the teacher"):
        rows, dropped, ledger = teacher_stage.ask_for_rows(there, description, workers, say)
    with clock.stage("execution", f"executing {sum(row.kind == 'pot' for row in rows)} programs"):
        rows, out = filters.drop_malformed(rows)
        dropped += out
        candidates = [row for row in rows if is_by_teacher(row.author)]
        rows, out = filters.drop_failed_programs(rows, description.timeout_s, workers or None)
        dropped += out
    with clock.stage("agreement", "comparing prose with the gold"):
        rows, out = filters.drop_disagreeing_prose(rows, description.agreement)
        dropped += out
    with clock.stage("duplicates", f"comparing {len(rows)} rows with each other"):
        for each in (filters.drop_duplicates, filters.drop_near_duplicates):
            rows, out = each(rows)
            dropped += out
    with clock.stage("contamination", "comparing them with the benchmarks"):
        index = BenchmarkIndex(load_questions(description.world), description.windows)
        before, after = OverlapCounts(), OverlapCounts()
        for drop in dropped:  # the report is about every row of a source, whatever threw it out
            index.count_row(drop.rationale, before)
        rows, out = index.decontaminate(rows, description.decontaminate, before, after)
        dropped += out
    return _write(description, loaded, rows, dropped, candidates, ledger, index, (before, after), clock)


def _unfiltered(
    rows: Sequence[Rationale], candidates: Sequence[Rationale], dropped: Sequence[Dropped], index: BenchmarkIndex,
    rule: str,
) -> list[Rationale]:  # fmt: skip
    """Return the teacher's rows as if none had been executed: those kept, and those that failed and pass the rest."""
    refused = {_sample(drop.rationale): drop.rationale for drop in dropped if drop.stage in ("execution", "gold")}
    failed, _ = filters.drop_duplicates([refused[_sample(row)] for row in candidates if _sample(row) in refused])
    if rule != KEEP_ALL:
        failed, _ = drop_contaminated(failed, index, rule)
    return [row for row in rows if is_by_teacher(row.author)] + failed


def _sample(row: Rationale) -> tuple[str, str, int]:
    return row.source, row.problem.id, row.history.get("sample", 0)


def _write(
    description: Curation, loaded: Sequence[LoadedSource], rows: list[Rationale], dropped: list[Dropped],
    candidates: Sequence[Rationale], ledger: Ledger, index: BenchmarkIndex,
    touched: tuple[OverlapCounts, OverlapCounts], clock: _Clock,
) -> Record:  # fmt: skip
    """Write the files of a curation, its record last; return the record."""
    from mammoth_utils.programs import describe as describe_isolation

    folder, isolation = description.folder, describe_isolation()
    kept = list(map(format_row, rows))
    unfiltered = list(map(format_row, _unfiltered(rows, candidates, dropped, index, description.decontaminate)))
    files = {
        mixtures.KEPT: kept,
        mixtures.UNFILTERED: unfiltered,
        mixtures.DROPPED: [drop.as_row() for drop in dropped],
    }
    (folder / "record.json").unlink(missing_ok=True)  # of a run that goes on: it is not of the files to come
    for name, lines in files.items():
        records.write_jsonl(folder / name, lines)
    there = [entry.name for entry in loaded if not entry.missing]
    clean = index.clean_record(description.world, there, *touched)
    records.write_json(folder / clean_subset.CLEAN, clean)
    own: dict[str, list[Rationale]] = defaultdict(list)
    lost: dict[str, list[Dropped]] = defaultdict(list)
    for row in rows:
        own[row.source].append(row)
    for drop in dropped:
        lost[drop.rationale.source].append(drop)
    for name, entry in ledger.entries.items():
        ledger.accept(name, sum(is_by_teacher(row.author) for row in own[entry["source"]]))
    record = {
        "page": "curate",
        "world": description.world,
        "name": description.name,
        "parameters": description.as_dict(),
        "sources": [source_counts.count_source(entry, own[entry.name], lost[entry.name]) for entry in loaded],
        "statuses": source_counts.count_statuses((*rows, *(drop.rationale for drop in dropped))),
        "ledger": ledger.as_dict(),
        "truth": filter_errors.count_filter_errors(rows, dropped, description.dataset)
        if description.world == MINIATURE
        else None,
        "left_out": list(dict.fromkeys(entry.left_out for entry in loaded if entry.left_out)),
        "contamination": [overlap.as_dict() for overlap in index.overlaps(touched[0])],
        "rules": list(index.rules),
        "benchmarks": {"compared": list(index.benchmarks), "missing": missing_files([description.world])},
        **({} if description.world == MINIATURE else {"inputs": input_hashes.hash_inputs(loaded)}),
        **({} if description.dataset in BUILT_IN else {"own": own_data.origin_of(description.dataset)}),
        "clean": clean_subset.clean_counts(clean),
        "mixtures": mixtures.count_mixtures(kept, unfiltered),
        "files": {name: {"rows": len(lines), "sha256": records.sha256(folder / name)} for name, lines in files.items()},
        "isolation": {"level": isolation.level, "full": isolation.full, "summary": isolation.summary},
        "environment": records.environment(),
        "stages": clock.seconds,
        "seconds": clock.all,
    }
    records.write_record(folder, record)
    clock.say(f"kept {len(kept):,} rows: runs/curate/{description.name}")
    if description.dataset not in BUILT_IN:
        clock.say(f"train on them: {pages.show_command('train', dataset=description.name)}")
    return records.read_json(folder / "record.json")
