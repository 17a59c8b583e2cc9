"""A run's folder: who may write in it, whether what stands there is the run that is asked for, and its log."""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from mammoth_utils import records
from mammoth_utils.base_models import identify_base
from mammoth_utils.training.description import RunDescription

ROW_KEYS = ("instruction", "output", "kind", "source", "key")


def _kept(rows: list[dict[str, Any]]) -> list[dict[str, Any]]:
    return [{key: row.get(key, "") for key in ROW_KEYS} for row in rows]


def rows_hash(rows: list[dict[str, Any]]) -> str:
    """The SHA-256 of a mixture as it is trained on: its rows in their order, by ``ROW_KEYS``."""
    digest = hashlib.sha256()
    for row in _kept(rows):
        digest.update(json.dumps(row, ensure_ascii=False).encode() + b"\n")
    return digest.hexdigest()


def claim(description: RunDescription, rows: list[dict[str, Any]], resume: bool = True) -> dict[str, Any] | None:
    """Write ``run.json`` and ``rows.jsonl`` for a new run; the record of one that finished.

    A folder with the same description but other data, another base or (the miniature) older code holds a run whose
    inputs changed: it is moved aside and the run is made again.
    """
    folder = description.folder
    kept = _kept(rows)
    inputs = {"rows": len(kept), "rows_sha256": rows_hash(rows)}
    there = folder / "run.json"
    before = records.read_json(there) if there.is_file() else None
    wanted = _wanted(description, inputs, before)
    lines = [] if before is None else _differences(before, wanted)
    changed = bool(lines) and all(line.startswith("inputs.") for line in lines)
    if before is not None and (changed or (not resume and not lines)):
        wanted = _wanted(description, inputs, None)
        if not resume:
            records.move_aside(folder)
        else:
            say(folder, f"made again, since its inputs changed: {'; '.join(lines)}")
    record = records.open_run(folder, wanted, replace=changed)
    if record is None:
        records.write_jsonl(folder / "rows.jsonl", kept)
    return record


def finished(description: RunDescription, resume: bool = True) -> dict[str, Any] | None:
    """The record of a run that finished in its folder, on whatever machine; None where there is something to train.

    It asks for no card and no base, and looks at no rows: those are compared when they have been read, by ``claim``.

    Raises:
        RunMismatchError: If a run of another description finished there.
    """
    there = description.folder / "run.json"
    if not resume or not there.is_file() or not _record(description).is_file():
        return None
    before = records.read_json(there)
    rows = {key: before.get("inputs", {}).get(key) for key in ("rows", "rows_sha256")}
    wanted = _wanted(description, rows, before)
    lines = _differences(before, wanted)
    if lines and all(line.startswith("inputs.") for line in lines):
        return None
    return records.open_run(description.folder, wanted)


def _record(description: RunDescription) -> Path:
    return description.folder / "record.json"


def _differences(before: dict[str, Any], wanted: dict[str, Any]) -> list[str]:
    return records.differences(before, json.loads(json.dumps({"schema": records.SCHEMA, **wanted})))


def _wanted(description: RunDescription, rows: dict[str, Any], before: dict[str, Any] | None) -> dict[str, Any]:
    """What ``run.json`` is to hold, of which that which stands there has the remarks, and what is not known here.

    Why a method was taken is a remark: ``full`` asked for and ``full`` chosen by ``auto`` are one run. So is, once it
    finished, how it was cut over its cards: ``auto`` means something else on a machine without them.
    """
    base = identify_base(*description.base_source)
    wanted = {"page": "train", **description.as_dict(), "inputs": {**rows, "base": base}}
    if description.miniature:  # a long run outlives an edit of this library, a run of a minute follows it
        wanted["inputs"]["versions"] = records.versions("prompts", "training")
    if before is None:
        return wanted
    done = _record(description).is_file()
    wanted["method_reason"] = before.get("method_reason", description.method_reason)
    if done:
        wanted["sharding"] = before.get("sharding", description.sharding)
    known = before.get("inputs", {}).get("base", base)
    # The newest was asked for, and is not in this machine's cache; or a finished run's base was a folder, known by a
    # hash, and is a commit of the hub here, or the other way round: nothing tells whether they differ.
    of_two_kinds = done and known.get("name") == base["name"] and ("revision" in known) != ("revision" in base)
    if of_two_kinds or base.get("revision", "") is None:
        wanted["inputs"]["base"] = known
    return wanted


def say(folder: Path, line: str) -> None:
    """Add a line to ``train.log``; in a worker of torchrun print it, and the page that started it keeps the log."""
    if "RANK" in os.environ:
        if os.environ["RANK"] == "0":
            print(line, flush=True)
        return
    folder.mkdir(parents=True, exist_ok=True)
    with open(folder / "train.log", "a", encoding="utf8") as log:
        log.write(line + "\n")


@contextlib.contextmanager
def alone(folder: Path) -> Iterator[None]:
    """Hold a run's folder, so that a second process waits, and then reads what the first one made."""
    import fcntl

    folder.parent.mkdir(parents=True, exist_ok=True)
    with open(folder.parent / f".{folder.name}.lock", "w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield
