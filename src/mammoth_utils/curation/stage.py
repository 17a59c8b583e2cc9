"""The curation stage: a description in, ``runs/curate/<name>/`` with rows, reasons and a record out."""

from __future__ import annotations

import contextlib
import time
from collections import Counter, defaultdict
from collections.abc import Callable, Iterator
from typing import Any

from mammoth_utils import paths, records
from mammoth_utils.curation import contamination, filters, mixtures, synthesis, truth
from mammoth_utils.curation import sources as table_one
from mammoth_utils.curation.description import MINIATURE, Curation
from mammoth_utils.curation.filters import Dropped
from mammoth_utils.curation.sources import Loaded
from mammoth_utils.curation.teachers import Budget, Ledger, Teacher
from mammoth_utils.rationale import Rationale

Say = Callable[[str], None]


def curate(description: Curation, workers: int = 0, say: Say | None = None) -> dict[str, Any]:
    """The record of a curation, made or, where the same one finished before, read.

    Leaves ``mathinstruct.jsonl`` (kept rows), ``dropped.jsonl`` (with stage and reason), ``unfiltered.jsonl`` (the
    teacher's rows before execution) and ``record.json`` in ``description.folder``. A run that was killed starts
    again without asking the teacher anything twice. Two processes that want the same one wait for each other.

    Args:
        description: What to make.
        workers: Processes that execute programs and threads that ask the teacher; 0 leaves it to each.
        say: Called with a line at each stage.

    Raises:
        RunMismatchError: If the folder holds another run.
        FileNotFoundError: If no source of the data set is there.
        TeacherError: If the teacher cannot be asked.
    """
    import filelock

    folder = description.folder
    folder.mkdir(parents=True, exist_ok=True)
    with filelock.FileLock(folder.parent / f".{description.name}.lock"):
        _forget_older_code(description)
        finished = records.open_run(folder, description.as_dict())
        return finished if finished is not None else _run(description, workers, say or (lambda line: None))


def _forget_older_code(description: Curation) -> None:
    """Let a run of the same description by older code be made again, instead of refusing it.

    The miniature's is overwritten, since all of it is generated; a real one is moved aside.
    """
    file = description.folder / "run.json"
    if not file.is_file():
        return
    wanted = {"schema": records.SCHEMA, **description.as_dict()}
    differing = {line.split(":", 1)[0] for line in records.differences(records.read_json(file), wanted)}
    if not differing or not differing <= {"code", "teacher_model"} or description.teacher != MINIATURE:
        return
    if description.world == MINIATURE:
        (description.folder / "record.json").unlink(missing_ok=True)
        file.unlink()
    else:
        records.move_aside(description.folder)
        description.folder.mkdir(parents=True)


def _run(description: Curation, workers: int, say: Say) -> dict[str, Any]:
    started, seconds = time.monotonic(), {}

    @contextlib.contextmanager
    def stage(name: str, line: str) -> Iterator[None]:
        say(line)
        begun = time.monotonic()
        yield
        seconds[name] = round(time.monotonic() - begun, 2)

    with stage("load", f"loading {len(description.sources)} sources of {description.dataset}"):
        asks = description.dataset == MINIATURE or description.teacher != MINIATURE
        loaded = table_one.load(description.dataset, description.sources, description.limit, description.seed, asks)
    there = [entry for entry in loaded if not entry.missing]
    for entry in loaded:
        if entry.missing:
            say(f"missing: {entry.name}: {entry.missing}")
    if not there:
        raise FileNotFoundError(
            "none of the sources is there:\n" + "\n".join(f"  {e.name}: {e.missing}" for e in loaded)
        )

    with stage("teacher", "asking the teacher"):
        rows, dropped, ledger = _with_teacher(there, description, workers, say)
    entered = Counter(row.source for row in rows) + Counter(entry.rationale.source for entry in dropped)
    with stage("execution", f"executing {sum(row.kind == 'pot' for row in rows)} programs"):
        rows, out = filters.malformed(rows)
        dropped += out
        candidates = [row for row in rows if row.author.startswith("teacher:")]
        rows, out = filters.executed(rows, description.timeout_s, workers or None)
        dropped += out
        refused = {entry.rationale.problem.id + entry.rationale.source: entry for entry in out}
    with stage("duplicates", f"comparing {len(rows)} rows with each other"):
        for each in (filters.duplicates, filters.near_duplicates):
            rows, out = each(rows)
            dropped += out
    with stage("contamination", "comparing them with the benchmarks"):
        index = contamination.Index(contamination.questions(description.world))
        overlaps = contamination.report(rows, index)
        if description.decontaminate:
            rows, out = contamination.without_exact(rows, index)
            dropped += out

    # The unfiltered mixture differs from the kept one by the execution alone, so its extra rows pass the rest too.
    failed = [
        refused[row.problem.id + row.source].rationale for row in candidates if row.problem.id + row.source in refused
    ]
    failed, _ = filters.duplicates(failed)
    if description.decontaminate:
        failed, _ = contamination.without_exact(failed, index)
    written = [row for row in rows if row.author.startswith("teacher:")]
    unfiltered = [table_one.as_row(row) for row in written] + [table_one.as_row(row) for row in failed]
    kept = [table_one.as_row(row) for row in rows]
    files = {
        mixtures.KEPT: kept,
        mixtures.UNFILTERED: unfiltered,
        mixtures.DROPPED: [entry.as_row() for entry in dropped],
    }
    for name, lines in files.items():
        records.write_jsonl(description.folder / name, lines)
    for name in ledger.entries:
        ledger.accept(name, sum(row.source == name for row in written))
    record = {
        "page": "curate",
        "world": description.world,
        "name": description.name,
        "parameters": description.as_dict(),
        "sources": [_source(entry, entered, rows, dropped) for entry in loaded],
        "statuses": _statuses(rows, dropped),
        "ledger": ledger.as_dict(),
        "truth": truth.compare(rows, dropped) if description.world == MINIATURE else None,
        "contamination": [overlap.as_dict() for overlap in overlaps],
        "windows": list(contamination.WINDOWS),
        "mixtures": mixtures.sizes(kept, unfiltered),
        "files": {
            name: {"rows": len(lines), "sha256": records.sha256(description.folder / name)}
            for name, lines in files.items()
        },
        "isolation": _isolation(),
        "environment": records.environment(),
        "stages": {key: value for key, value in seconds.items()},
        "seconds": round(time.monotonic() - started, 2),
    }
    records.write_record(description.folder, record)
    say(f"kept {len(kept):,} rows: runs/curate/{description.name}")
    return records.read_json(description.folder / "record.json")


def _with_teacher(
    loaded: list[Loaded], description: Curation, workers: int, say: Say
) -> tuple[list[Rationale], list[Dropped], Ledger]:
    """All rows in Table 1's order, the teacher's among them, and those it gave no program for."""
    rows: list[Rationale] = []
    dropped: list[Dropped] = []
    if not any(entry.problems for entry in loaded):
        return [row for entry in loaded for row in entry.rationales], [], Ledger((0.0, 0.0))
    with contextlib.ExitStack() as stack:
        teacher = _teacher(description, workers, stack)
        store = stack.enter_context(synthesis.Store(paths.runs() / "teacher" / "answers.sqlite"))
        ledger, budget, asked = Ledger(teacher.prices()), Budget(teacher.budget_usd), synthesis.prompt("pot")
        for entry in loaded:
            rows += entry.rationales
            if not entry.problems:
                continue
            say(f"asking {teacher.model} for {len(entry.problems)} programs: {entry.name}")
            answers = synthesis.ask(entry.problems, teacher, store, budget, asked)
            ledger.add(entry.name, answers)
            for answer in answers:
                row = synthesis.rationale(answer, entry.name, teacher, asked)
                if row is not None:
                    rows.append(row)
                    continue
                author = f"teacher:{teacher.model}"
                empty = Rationale(answer.problem, "pot", answer.text or "", entry.name, author)
                dropped.append(Dropped(empty, "teacher", "no program" if answer.text else answer.error or "no answer"))
    return rows, dropped, ledger


def _teacher(description: Curation, workers: int, stack: contextlib.ExitStack) -> Teacher:
    concurrency = workers or 8
    if description.teacher != MINIATURE:
        return Teacher(description.teacher, description.teacher_model, concurrency=concurrency,
                       budget_usd=description.budget_usd, price=description.price)  # fmt: skip
    from mammoth_utils.miniature import teacher

    served = stack.enter_context(teacher.serve())
    return Teacher(served.base_url, served.model, concurrency=concurrency)


def _source(entry: Loaded, entered: Counter, rows: list[Rationale], dropped: list[Dropped]) -> dict[str, Any]:
    """What the record says of one source: where it came from and how many rows each stage left."""
    own = [row for row in rows if row.source == entry.name]
    lost: dict[str, int] = defaultdict(int)
    for each in dropped:
        if each.rationale.source == entry.name:
            lost[f"{each.stage}: {each.reason}"] += 1
    fields = Counter(row.problem.field for row in own if row.problem.field)
    return {
        "name": entry.name, "paper_name": entry.source.name, "kind": entry.source.kind, "author": entry.source.author,
        "validated": entry.source.validated, "new": entry.source.new, "licence": entry.source.licence,
        "home": entry.source.home, "missing": entry.missing, "notes": entry.notes,
        "entered": entered[entry.name], "dropped": dict(sorted(lost.items())), "kept": len(own),
        "fields": dict(fields.most_common()),
        "question_characters": _mean([len(row.problem.instruction) for row in own]),
        "rationale_characters": _mean([len(row.text) for row in own]),
    }  # fmt: skip


def _mean(values: list[int]) -> float | None:
    return round(sum(values) / len(values), 1) if values else None


def _statuses(rows: list[Rationale], dropped: list[Dropped]) -> dict[str, dict[str, int]]:
    """Per source of programs, how many executions ended in each status."""
    counts: dict[str, Counter] = defaultdict(Counter)
    for row in (*rows, *(entry.rationale for entry in dropped)):
        if "status" in row.history:
            counts[row.source][row.history["status"]] += 1
    return {source: dict(counter.most_common()) for source, counter in counts.items()}


def _isolation() -> dict[str, Any]:
    from mammoth_utils.programs import describe

    report = describe()
    return {"level": report.level, "full": report.full, "summary": report.summary}
