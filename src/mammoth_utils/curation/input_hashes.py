"""The files that a data set was made from, by their SHA-256, and which of them are other files now."""

from __future__ import annotations

import re

from mammoth_utils import paths, records
from mammoth_utils.curation.benchmark_questions import benchmark_files
from mammoth_utils.curation.mixtures import KEPT
from mammoth_utils.curation.sources.registry import LoadedSource
from mammoth_utils.curation.sources.release import FILE, release_revision
from mammoth_utils.records import Record

_COMMIT = re.compile(r"[0-9a-f]{40}")


def hash_inputs(loaded: list[LoadedSource]) -> Record:
    """Return the files of the sources and of the benchmarks, by their names below the data folder, with their hashes.

    ``revision`` is the hub's commit where the release came from there.
    """
    files: dict[str, str] = {}
    for entry in loaded:
        files |= entry.files | entry.release
    revision = files.pop("revision", "")
    for file in benchmark_files().values():
        files[f"eval/{file.name}"] = records.sha256(file)
    return {"files": files, "revision": revision}


def find_changes(record: Record) -> list[str]:
    """Return a line for each file that is another one than the data set was made from.

    A file that is not on this machine, as where a data set was copied, changes nothing. Of records that were made
    before ``inputs`` was noted, the release's hash is in the notes, and those of a rebuild are with its sources.
    """
    inputs = record.get("inputs") or {"files": _noted(record), "revision": ""}
    folder, lines = paths.data() or paths.root() / "data", []
    for name, before in inputs["files"].items():
        if (folder / name).is_file() and (now := records.sha256(folder / name)) != before:
            lines.append(f"{name} has SHA-256 {now[:12]}…, the data set was made from {before[:12]}…")
    revision, wanted = inputs.get("revision", ""), release_revision()
    if revision and not (folder / FILE).is_file() and _COMMIT.fullmatch(wanted) and wanted != revision:
        lines.append(f"the release at commit {wanted[:12]} is asked for, the data set was made from {revision[:12]}")
    return lines


def _noted(record: Record) -> dict[str, str]:
    files: dict[str, str] = {}
    for source in record.get("sources") or ():
        files |= source.get("files") or {}
        if found := re.search(r"bytes[^;]*, sha256 ([0-9a-f]{64})", source.get("notes") or ""):
            files[FILE.as_posix()] = found[1]
    return files


def check_rows(dataset: str, record: Record) -> None:
    """Raise ValueError if the kept rows of a data set are not those that its record counted."""
    file = paths.run_dir("curate", dataset) / KEPT
    expected = (record.get("files") or {}).get(KEPT, {}).get("sha256")
    if expected and file.is_file() and records.sha256(file) != expected:
        raise ValueError(
            f"{file} was changed after it was made: its SHA-256 is not the one of record.json. To train on it as it "
            f"is, copy it elsewhere and name the copy: -p dataset PATH/{KEPT}"
        )
