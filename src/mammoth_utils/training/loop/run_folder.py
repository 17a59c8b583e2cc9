"""A run's folder: who may write in it, whether it holds the run that is asked for, and its log."""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from mammoth_utils import records
from mammoth_utils.base_models import identify_base, weights_hash
from mammoth_utils.records import Record
from mammoth_utils.training.description import TERMS, RunDescription, identity
from mammoth_utils.training.start_model import label_of

ROW_KEYS = ("instruction", "output", "kind", "source", "key")


def _columns(rows: list[dict[str, Any]]) -> list[dict[str, Any]]:
    return [{key: row.get(key, "") for key in ROW_KEYS} for row in rows]


def rows_hash(rows: list[dict[str, Any]]) -> str:
    """Return the SHA-256 of a mixture as it is trained on: its rows in their order, by ``ROW_KEYS``."""
    digest = hashlib.sha256()
    for row in _columns(rows):
        digest.update(json.dumps(row, ensure_ascii=False).encode() + b"\n")
    return digest.hexdigest()


def claim_folder(description: RunDescription, rows: list[dict[str, Any]], resume: bool = True) -> Record | None:
    """Write ``run.json`` and ``rows.jsonl`` for a new run, or return the record of one that finished.

    A folder with the same description but other data, another base or (the miniature) code of another version holds a
    run whose inputs changed: it is moved aside and the run is made again.
    """
    folder = description.folder
    inputs = {"rows": len(rows), "rows_sha256": rows_hash(rows)}
    file = folder / "run.json"
    before = records.read_json(file) if file.is_file() else None
    expected = _run_json(description, inputs, before)
    lines = [] if before is None else _differences(before, expected)
    changed = bool(lines) and _only_inputs(lines)
    if before is not None and (changed or (not resume and not lines)):
        expected = _run_json(description, inputs, None)
        if not resume:
            records.move_aside(folder)
        else:
            _tell(folder, f"made again, since its inputs changed: {'; '.join(lines)}; what was there is kept aside")
    record = records.open_run(folder, expected, changed, identity)
    if record is None:
        if before is not None and not changed:
            old, new = ({key: values.get(key) for key in TERMS} for values in (before, expected))
            if terms := records.differences(old, new):
                _tell(folder, f"goes on with other terms, which change no step's examples: {'; '.join(terms)}")
        records.write_jsonl(folder / "rows.jsonl", _columns(rows))
    return record


def find_record(description: RunDescription, resume: bool = True) -> Record | None:
    """Return the record of a run that finished in its folder, on any machine; None where there is something to train.

    It asks for no card and no base, and looks at no rows: :func:`claim_folder` compares those once they were read.

    Raises:
        RunMismatchError: If a run of another description finished there.
    """
    file = description.folder / "run.json"
    if not resume or not file.is_file() or not _is_finished(description):
        return None
    before = records.read_json(file)
    inputs = {key: before.get("inputs", {}).get(key) for key in ("rows", "rows_sha256")}
    expected = _run_json(description, inputs, before)
    lines = _differences(before, expected)
    return None if lines and _only_inputs(lines) else records.open_run(description.folder, expected, identity=identity)


def _is_finished(description: RunDescription) -> bool:
    return (description.folder / "record.json").is_file()


def _differences(before: dict[str, Any], expected: dict[str, Any]) -> list[str]:
    """Return the lines in which two runs differ; ``TERMS`` tell none from another."""
    stored = json.loads(json.dumps({"schema": records.SCHEMA, **expected}))
    return records.differences(identity(before), identity(stored))


def _only_inputs(lines: list[str]) -> bool:
    return all(line.startswith("inputs.") for line in lines)


def _run_json(description: RunDescription, inputs: dict[str, Any], before: dict[str, Any] | None) -> dict[str, Any]:
    """Return what ``run.json`` is to hold; remarks, and what this machine does not know, come from the earlier one.

    Why a method was taken is a remark: ``full`` asked for and ``full`` chosen by ``auto`` are one run.
    """
    base = identify_base(*description.base_source)
    expected = {"page": "train", **description.as_dict(), "inputs": {**inputs, "base": base}}
    if description.adapter:
        expected["inputs"]["adapter"] = identify_adapter(description)
    if description.miniature:  # a long run outlives a change of this library, a run of a minute follows it
        expected["inputs"]["versions"] = records.versions("prompts", "training")
    if before is None:
        return expected
    finished = _is_finished(description)
    expected["method_reason"] = before.get("method_reason", description.method_reason)
    known = before.get("inputs", {}).get("base", base)
    # The newest was asked for, and is not in this machine's cache; or a finished run's base was a folder, known by a
    # hash, and is a commit of the hub here, or the other way round: nothing tells whether they differ.
    of_two_kinds = finished and known.get("name") == base["name"] and ("revision" in known) != ("revision" in base)
    if of_two_kinds or base.get("revision", "") is None:
        expected["inputs"]["base"] = known
    return expected


def identify_adapter(description: RunDescription) -> dict[str, str]:
    """Return the name of the adapter that a run goes on from, and the hash of its weights.

    Raises:
        ValueError: If a run of this book made it on another base than the one that is here now.
    """
    made, base = Path(description.adapter).parent / "run.json", identify_base(*description.base_source)
    known = records.read_json(made).get("inputs", {}).get("base", {}) if made.is_file() else {}
    for key in set(known) & set(base) - {"name"}:
        if known[key] and base[key] and known[key] != base[key]:
            raise ValueError(f"the adapter in {description.adapter} was trained on {description.base} with {key} "
                             f"{known[key][:16]}, here it has {base[key][:16]}: another base")  # fmt: skip
    return {"name": label_of(description.adapter), "sha256": weights_hash(description.adapter)}


def log_line(folder: Path, line: str) -> None:
    """Add a line to ``train.log``; in a worker of torchrun print it, and the page that started it keeps the log."""
    if "RANK" in os.environ:
        if os.environ["RANK"] == "0":
            print(line, flush=True)
        return
    try:
        folder.mkdir(parents=True, exist_ok=True)
        with open(folder / "train.log", "a", encoding="utf8") as log:
            log.write(line + "\n")
    except OSError as error:
        if not records.is_disk_full(error):
            raise
        print(line, flush=True)


def _tell(folder: Path, line: str) -> None:
    """Print a line on the page that starts the run, and add it to ``train.log``."""
    log_line(folder, line)
    print(f"{folder.name}: {line}", flush=True)


@contextlib.contextmanager
def lock_folder(folder: Path) -> Iterator[None]:
    """Lock a run's folder, so that a second process waits, and then reads what the first one made."""
    import fcntl

    folder.parent.mkdir(parents=True, exist_ok=True)
    with open(folder.parent / f".{folder.name}.lock", "w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield
