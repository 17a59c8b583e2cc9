"""The curation stage: a description in, ``runs/curate/<name>/`` with rows, reasons and a record out."""

from __future__ import annotations

import contextlib
import re
import time
from collections import defaultdict
from collections.abc import Iterator, Sequence
from typing import Any

from mammoth_utils import records
from mammoth_utils.curation import contamination, counts, filters, known_faults, mixtures
from mammoth_utils.curation.description import MINIATURE, NOTHING, Curation
from mammoth_utils.curation.filters import Dropped
from mammoth_utils.curation.sources import registry as table_one
from mammoth_utils.curation.sources.registry import Loaded
from mammoth_utils.curation.teacher import asking
from mammoth_utils.curation.teacher.asking import Say, by_teacher
from mammoth_utils.curation.teacher.ledger import Ledger
from mammoth_utils.rationale import Rationale


def curate(description: Curation, workers: int = 0, say: Say | None = None) -> dict[str, Any]:
    """The record of a curation, made or, where the same one finished before, read.

    Leaves in ``description.folder``: ``mathinstruct.jsonl`` (kept rows), ``dropped.jsonl`` (with stage and reason),
    ``unfiltered.jsonl`` (the teacher's rows before execution), ``clean.json`` (which benchmark problems the rows leave
    untouched) and ``record.json``. A run that was killed starts again without asking the teacher anything twice, and so
    does one whose record has requests that the teacher may answer now. Two processes that want the same one wait for
    each other.

    Args:
        description: What to make.
        workers: Processes that execute programs and threads that ask the teacher; 0 leaves it to each.
        say: Called with a line at each stage.

    Raises:
        RunMismatchError: If the folder holds another run.
        FileNotFoundError: If no source of the data set is there, or no benchmark to throw rows out by.
        TeacherError: If the teacher cannot be asked.
    """
    import filelock

    folder = description.folder
    folder.mkdir(parents=True, exist_ok=True)
    with filelock.FileLock(folder.parent / f".{description.name}.lock"):
        _forget_older_code(description)
        finished, say = records.open_run(folder, description.identity()), say or (lambda line: None)
        if finished is not None and not asking.goes_on(finished, description, say):
            return finished
        return _run(description, workers, say)


def load(description: Curation) -> list[Loaded]:
    """What each source of a curation holds, before anything is asked or executed."""
    asks = description.dataset == MINIATURE or description.teacher != MINIATURE
    return table_one.load(description.dataset, description.sources, description.limit, description.seed, asks)


def _forget_older_code(description: Curation) -> None:
    """Let a run of the same description by older code be made again, instead of refusing it.

    The miniature's is overwritten, since all of it is generated; a real one is moved aside.
    """
    file = description.folder / "run.json"
    if not file.is_file():
        return
    there, wanted = records.read_json(file), {"schema": records.SCHEMA, **description.identity()}
    differing = {re.split("[.:]", line, maxsplit=1)[0] for line in records.differences(there, wanted)}
    by_code = differing <= {"versions", "teacher_model"} or set(there) != set(
        wanted
    )  # other keys: another version of it
    if not differing or not by_code or description.teacher != MINIATURE:
        return
    if description.world == MINIATURE:
        (description.folder / "record.json").unlink(missing_ok=True)
        file.unlink()
    else:
        records.move_aside(description.folder)
        description.folder.mkdir(parents=True)


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


def _run(description: Curation, workers: int, say: Say) -> dict[str, Any]:
    clock = _Clock(say)
    if absent := contamination.absent([description.world], description.decontaminate != NOTHING):
        say(f"missing: {', '.join(absent)}: no row is compared with these benchmarks; `make data` fetches them")
    with clock.stage("load", f"loading {len(description.sources)} sources of {description.dataset}"):
        loaded = load(description)
    there = [entry for entry in loaded if not entry.missing]
    for entry in loaded:
        if entry.missing:
            say(f"missing: {entry.name}: {entry.missing}")
    if not there:
        raise FileNotFoundError(
            "none of the sources is there:\n" + "\n".join(f"  {e.name}: {e.missing}" for e in loaded)
        )
    with clock.stage("teacher", "asking the teacher"):
        rows, dropped, ledger = asking.asked(there, description, workers, say)
    rows, candidates, out = _filtered(rows, description, workers, clock)
    dropped += out
    with clock.stage("contamination", "comparing them with the benchmarks"):
        index = contamination.Index(contamination.questions(description.world), description.windows)
        before, after = contamination.Touched(), contamination.Touched()
        for one in dropped:  # the report is about every row of a source, whatever threw it out
            index.see(one.rationale, before)
        rows, out = _decontaminated(rows, index, description.decontaminate, before, after)
        dropped += out
    return _write(description, loaded, rows, dropped, candidates, ledger, index, (before, after), clock)


def _filtered(
    rows: list[Rationale], description: Curation, workers: int, clock: _Clock
) -> tuple[list[Rationale], list[Rationale], list[Dropped]]:
    """Rows that pass, the teacher's rows that came to the execution, and those thrown out."""
    with clock.stage("execution", f"executing {sum(row.kind == 'pot' for row in rows)} programs"):
        rows, dropped = filters.malformed(rows)
        candidates = [row for row in rows if by_teacher(row)]
        rows, out = filters.executed(rows, description.timeout_s, workers or None)
        dropped += out
    with clock.stage("agreement", "comparing prose with the gold"):
        rows, out = filters.agreeing(rows, description.agreement)
        dropped += out
    with clock.stage("duplicates", f"comparing {len(rows)} rows with each other"):
        for each in (filters.duplicates, filters.near_duplicates):
            rows, out = each(rows)
            dropped += out
    return rows, candidates, dropped


def _decontaminated(
    rows: Sequence[Rationale], index: contamination.Index, rule: str, before: contamination.Touched,
    after: contamination.Touched,
) -> tuple[list[Rationale], list[Dropped]]:  # fmt: skip
    """Rows that stay under a rule and those thrown out; what all touch is counted, and what the kept ones touch."""
    kept, dropped = [], []
    for row in rows:
        found = index.see(row, before)
        if rule != NOTHING and found[rule]:
            dropped.append(contamination.thrown_out(row, index, found[rule], rule))
        else:
            index.count(row, found, after)
            kept.append(row)
    return kept, dropped


def _unfiltered(
    rows: Sequence[Rationale], candidates: Sequence[Rationale], dropped: Sequence[Dropped],
    index: contamination.Index, rule: str,
) -> list[Rationale]:  # fmt: skip
    """The teacher's rows as if none had been executed: those kept, and those that failed and pass the rest."""
    refused = {_sample(one.rationale): one.rationale for one in dropped if one.stage in ("execution", "gold")}
    failed, _ = filters.duplicates([refused[_sample(row)] for row in candidates if _sample(row) in refused])
    if rule != NOTHING:
        failed, _ = contamination.without(failed, index, rule)
    return [row for row in rows if by_teacher(row)] + failed


def _sample(row: Rationale) -> tuple[str, str, int]:
    return row.source, row.problem.id, row.history.get("sample", 0)


def _write(
    description: Curation, loaded: Sequence[Loaded], rows: list[Rationale], dropped: list[Dropped],
    candidates: Sequence[Rationale], ledger: Ledger, index: contamination.Index,
    touched: tuple[contamination.Touched, contamination.Touched], clock: _Clock,
) -> dict[str, Any]:  # fmt: skip
    """The files of a curation, its record last."""
    folder, (before, after) = description.folder, touched
    kept = [table_one.as_row(row) for row in rows]
    unfiltered = [
        table_one.as_row(row) for row in _unfiltered(rows, candidates, dropped, index, description.decontaminate)
    ]
    files = {
        mixtures.KEPT: kept,
        mixtures.UNFILTERED: unfiltered,
        mixtures.DROPPED: [entry.as_row() for entry in dropped],
    }
    (folder / "record.json").unlink(missing_ok=True)  # of a run that goes on: it is not of the files to come
    for name, lines in files.items():
        records.write_jsonl(folder / name, lines)
    there = [entry.name for entry in loaded if not entry.missing]
    clean = {"world": description.world, "rules": list(index.rules), "sources": there, "benchmarks": index.clean(after),
             "benchmarks_before": index.clean(before, clean=False)}  # fmt: skip
    records.write_json(folder / contamination.CLEAN, clean)
    own, lost = _by_source(rows, dropped)
    for name, entry in ledger.entries.items():
        ledger.accept(name, sum(by_teacher(row) for row in own[entry["source"]]))
    record = {
        "page": "curate",
        "world": description.world,
        "name": description.name,
        "parameters": description.as_dict(),
        "sources": [counts.source(entry, own[entry.name], lost[entry.name]) for entry in loaded],
        "statuses": counts.statuses((*rows, *(entry.rationale for entry in dropped))),
        "ledger": ledger.as_dict(),
        "truth": known_faults.compare(rows, dropped) if description.world == MINIATURE else None,
        "contamination": [overlap.as_dict() for overlap in index.overlaps(before)],
        "rules": list(index.rules),
        "benchmarks": {"compared": list(index.benchmarks), "missing": contamination.absent([description.world])},
        "clean": contamination.clean_counts(clean),
        "mixtures": mixtures.sizes(kept, unfiltered),
        "files": {name: {"rows": len(lines), "sha256": records.sha256(folder / name)} for name, lines in files.items()},
        "isolation": _isolation(),
        "environment": records.environment(),
        "stages": clock.seconds,
        "seconds": clock.all,
    }
    records.write_record(folder, record)
    clock.say(f"kept {len(kept):,} rows: runs/curate/{description.name}")
    return records.read_json(folder / "record.json")


def _by_source(
    rows: Sequence[Rationale], dropped: Sequence[Dropped]
) -> tuple[dict[str, list[Rationale]], dict[str, list[Dropped]]]:
    own: dict[str, list[Rationale]] = defaultdict(list)
    lost: dict[str, list[Dropped]] = defaultdict(list)
    for row in rows:
        own[row.source].append(row)
    for one in dropped:
        lost[one.rationale.source].append(one)
    return own, lost


def _isolation() -> dict[str, Any]:
    from mammoth_utils.programs import describe

    report = describe()
    return {"level": report.level, "full": report.full, "summary": report.summary}
