"""The record: one JSON file that says what a run was, what it measured and with what."""

from __future__ import annotations

import contextlib
import hashlib
import importlib
import json
import os
import platform
import subprocess
import tempfile
from collections.abc import Iterable, Iterator
from importlib import metadata
from pathlib import Path
from typing import Any, TextIO

from mammoth_utils import paths

Record = dict[str, Any]  # JSON that lies on disk: a run's description, what it measured, a committed record
SCHEMA = 1
PACKAGES = (
    "torch", "transformers", "trl", "peft", "bitsandbytes", "accelerate", "datasets", "openai",
    "sympy", "math-verify", "numpy", "pandas", "matplotlib", "papermill", "jupyter-book", "snakemake",
)  # fmt: skip


class RunMismatchError(RuntimeError):
    """A folder holds another run than the one that was asked for."""


@contextlib.contextmanager
def writing(path: Path) -> Iterator[TextIO]:
    """A file to write that is there whole or not at all: a temporary file beside it, flushed, then renamed.

    What the block raises takes the temporary file away and leaves the file that was there before.
    """
    path = Path(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    handle, temporary = tempfile.mkstemp(prefix=f".{path.name}.", dir=path.parent)
    try:
        with os.fdopen(handle, "w", encoding="utf8", newline="\n") as file:
            yield file
            file.flush()
            os.fsync(file.fileno())
        os.chmod(temporary, 0o644)
        os.replace(temporary, path)
    except BaseException:
        Path(temporary).unlink(missing_ok=True)
        raise


def write_text(path: Path, text: str) -> Path:
    """Write a file whole or not at all."""
    with writing(path) as file:
        file.write(text)
    return Path(path)


def write_json(path: Path, value: Any) -> Path:
    """Write JSON atomically, keys in the given order, one indent."""
    return write_text(path, json.dumps(value, indent=1, ensure_ascii=False, allow_nan=False) + "\n")


def read_json(path: Path) -> Any:
    """The content of a JSON file.

    Raises:
        FileNotFoundError: If there is none.
        ValueError: If it is no JSON, naming the file.
    """
    try:
        return json.loads(Path(path).read_text(encoding="utf8"))
    except json.JSONDecodeError as error:
        raise ValueError(f"{path} is no JSON: {error}") from error


def write_jsonl(path: Path, rows: Iterable[dict]) -> Path:
    """Write JSON Lines atomically, one row held at a time; an error of the rows leaves no file."""
    with writing(path) as file:
        for row in rows:
            file.write(json.dumps(row, ensure_ascii=False) + "\n")
    return Path(path)


def write_items(path: Path, record: dict[str, Any]) -> Path:
    """Write a record that is committed, atomically: an item a line, so that a change shows as the lines that changed.

    Objects take a line for each key to the fourth level; lists of objects or lists take one for each item at any
    level; what is left stands on one line.
    """
    return write_text(path, _items(record) + "\n")


def _items(value: Any, depth: int = 0) -> str:
    inner, outer = " " * (depth + 1), " " * depth
    if isinstance(value, dict) and value and depth < 4:
        lines = [f"{inner}{json.dumps(key, ensure_ascii=False)}: {_items(one, depth + 1)}"
                 for key, one in value.items()]  # fmt: skip
        return "{\n" + ",\n".join(lines) + f"\n{outer}}}"
    if isinstance(value, list) and value and all(isinstance(one, list | dict) for one in value):
        return "[\n" + ",\n".join(inner + _items(one, depth + 1) for one in value) + f"\n{outer}]"
    return json.dumps(value, ensure_ascii=False, separators=(",", ":"), allow_nan=False)


def read_jsonl(path: Path) -> Iterator[dict]:
    """The rows of a JSON Lines file, ``.gz`` or not, one at a time.

    Raises:
        ValueError: If a line is no JSON object, naming file and line.
    """
    import gzip

    opener = gzip.open if str(path).endswith(".gz") else open
    with opener(path, "rt", encoding="utf8") as file:
        for number, line in enumerate(file, 1):
            if not line.strip():
                continue
            try:
                row = json.loads(line)
            except json.JSONDecodeError as error:
                raise ValueError(f"{path}, line {number}: no JSON: {error}") from error
            if not isinstance(row, dict):
                raise ValueError(f"{path}, line {number}: expected an object, got {type(row).__name__}")
            yield row


def sha256(path: Path) -> str:
    """The SHA-256 of a file, in hexadecimal."""
    digest = hashlib.sha256()
    with open(path, "rb") as file:
        for block in iter(lambda: file.read(1 << 20), b""):
            digest.update(block)
    return digest.hexdigest()


def fingerprint(value: Any) -> str:
    """A short hash of anything that JSON can hold, independent of key order."""
    return hashlib.sha256(json.dumps(value, sort_keys=True, ensure_ascii=False).encode()).hexdigest()[:16]


def versions(*packages: str) -> dict[str, int]:
    """Return the version of what each package decides, by its name: ``{"grading": 1, "programs": 1}``.

    A package raises its ``VERSION`` when it begins to decide otherwise, so that a record knows whether it still holds;
    a move, a rename or a comment changes no version. ``tests/golden`` fails where a decision moved without it.
    """
    return {name: importlib.import_module(f"mammoth_utils.{name}").VERSION for name in packages}


def outdated(made_with: dict[str, int], now: dict[str, int]) -> list[str]:
    """Return a line for each version in which a record differs from the code; empty where it still holds."""
    return [
        f"the record was made with {name} version {made_with.get(name, 'unknown')}, and this is version {version}"
        for name, version in now.items()
        if made_with.get(name) != version
    ]


def committed(place: str | Path, command: str) -> Record:
    """Return a committed record.

    Args:
        place: Its path below ``records/``, such as ``real/audit.json``.
        command: The command line that makes it, for the error message.

    Raises:
        FileNotFoundError: If it is missing, naming the command.
    """
    file = paths.records() / place
    if not file.is_file():
        raise FileNotFoundError(f"expected a committed record in {file}; `{command}` makes it")
    return read_json(file)


def stale_reasons(record: Record, packages: Iterable[str], data_dir: Path | None = None) -> list[str]:
    """Return a line for each reason why code and data would give another record now; empty if it still holds.

    Args:
        record: A record whose ``inputs`` hold the ``versions`` of packages and the ``files`` with their SHA-256.
        packages: The packages whose decisions the record holds.
        data_dir: A data folder whose files are compared too, those that are there.
    """
    reasons = outdated(record["inputs"].get("versions", {}), versions(*packages))
    for name, known in record["inputs"]["files"].items():
        if data_dir is not None and (file := data_dir / name).is_file() and sha256(file) != known:
            reasons.append(f"{name} is another file")
    return reasons


def environment(threads: int | None = None, device: str = "cpu", dtype: str | None = None) -> dict[str, Any]:
    """Versions, commit and machine, as a record keeps them. Loads none of the packages."""
    versions = {}
    for name in PACKAGES:
        try:
            versions[name] = metadata.version(name)
        except metadata.PackageNotFoundError:
            continue
    return {
        "python": platform.python_version(),
        "packages": versions,
        "commit": commit(),
        "processor": processor(),
        "system": f"{platform.system()} {platform.machine()}",
        "device": device,
        "dtype": dtype,
        "threads": threads,
    }


def commit() -> str | None:
    """The checked-out commit with ``+`` where the tree was changed; None outside git."""
    try:
        command = ["git", "-C", str(paths.root()), "describe", "--always", "--abbrev=12", "--dirty=+"]
        return subprocess.run(command, capture_output=True, text=True, timeout=20, check=True).stdout.strip() or None
    except (OSError, subprocess.SubprocessError):
        return None  # a download without git has no commit, and the record says so


def processor() -> str:
    """The processor's name and its widest vector units: equal figures are promised on equal kinds only."""
    name, flags = platform.processor() or platform.machine(), ""
    info = Path("/proc/cpuinfo")
    if info.is_file():
        text = info.read_text(errors="replace")
        found = {
            line.split(":", 1)[0].strip(): line.split(":", 1)[1].strip() for line in text.splitlines() if ":" in line
        }
        name, flags = found.get("model name", name), found.get("flags", "")
    units = [unit for unit in ("amx_bf16", "avx512_bf16", "avx512f", "avx2") if unit in flags.split()]
    return f"{name} ({units[0]})" if units else name


def open_run(folder: Path, description: dict[str, Any], replace: bool = False) -> dict[str, Any] | None:
    """Claim a folder for a run; its record if the same run already finished there.

    Args:
        folder: The run's folder, such as ``runs/train/llama-1m-hybrid-full-s0``.
        description: The resolved description; ``schema`` is added.
        replace: Whether another run in that folder is moved aside instead of refused.

    Returns:
        The finished record, or None if the run is new or unfinished.

    Raises:
        RunMismatchError: If the folder holds another run, showing the lines that differ.
    """
    wanted = json.loads(json.dumps({"schema": SCHEMA, **description}))
    file = Path(folder) / "run.json"
    if file.is_file():
        differing = differences(read_json(file), wanted)
        if differing and not replace:
            raise RunMismatchError(
                f"{folder} holds another run than the one asked for:\n  "
                + "\n  ".join(differing)
                + "\ngive this run a `name` of its own, or remove that folder"
            )
        if differing:
            move_aside(Path(folder))
    record = Path(folder) / "record.json"
    if file.is_file() and record.is_file():
        return read_json(record)
    write_json(file, wanted)
    return None


def differences(old: Any, new: Any, at: str = "") -> list[str]:
    """The lines in which two descriptions differ, as ``key: there 1, asked 2``."""
    if isinstance(old, dict) and isinstance(new, dict):
        lines: list[str] = []
        for key in sorted(set(old) | set(new)):
            lines += differences(old.get(key), new.get(key), f"{at}.{key}" if at else str(key))
        return lines
    return [] if old == new else [f"{at}: there {old!r}, asked {new!r}"]


def move_aside(folder: Path) -> Path:
    """Rename a run's folder to ``<name>.old-<n>`` with the first free n."""
    number = 1
    while (target := folder.with_name(f"{folder.name}.old-{number}")).exists():
        number += 1
    return folder.rename(target)


def write_record(folder: Path, record: dict[str, Any]) -> Path:
    """Write a run's ``record.json``, last and by rename: where it stands, the run finished."""
    return write_json(Path(folder) / "record.json", {"schema": SCHEMA, **record})


def find(stage: str) -> Iterator[tuple[Path, dict[str, Any]]]:
    """Folder and record of every finished run of a stage, by name."""
    for file in sorted((paths.runs() / stage).glob("*/record.json")):
        if ".old-" not in file.parent.name:
            yield file.parent, read_json(file)
