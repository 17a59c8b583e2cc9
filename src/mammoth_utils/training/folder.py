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
from mammoth_utils.training import guards
from mammoth_utils.training.describe import RunDescription

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
    inputs: dict[str, Any] = {
        "rows": len(kept),
        "rows_sha256": rows_hash(rows),
        "base": guards.base_identity(description),
    }
    if description.miniature:  # a long run outlives an edit of this library, a run of a minute follows it
        inputs["code"] = records.code_fingerprint("training", "prompts.py")
    wanted = {"page": "train", **description.as_dict(), "inputs": inputs}
    there = folder / "run.json"
    changed = False
    if there.is_file():
        before = records.read_json(there)
        # Why a method was taken is a remark: `full` asked for and `full` chosen by `auto` are one run.
        wanted["method_reason"] = before.get("method_reason", description.method_reason)
        if inputs["base"].get("revision", "") is None:  # the newest was asked for, and is not in this machine's cache
            inputs["base"] = before.get("inputs", {}).get("base", inputs["base"])
        lines = records.differences(before, json.loads(json.dumps({"schema": records.SCHEMA, **wanted})))
        changed = bool(lines) and all(line.startswith("inputs.") for line in lines)
        if not resume and not (lines and not changed):
            records.move_aside(folder)
        elif changed:
            say(folder, f"made again, since its inputs changed: {'; '.join(lines)}")
    record = records.open_run(folder, wanted, replace=changed)
    if record is None:
        records.write_jsonl(folder / "rows.jsonl", kept)
    return record


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
