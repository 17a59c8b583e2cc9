"""Records: a JSON file for each run, with its description, what it measured and the versions it was made with."""

from __future__ import annotations

import contextlib
import csv
import errno
import gzip
import hashlib
import importlib
import io
import json
import os
import platform
import subprocess
import tempfile
from collections.abc import Callable, Iterable, Iterator, Mapping
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
    """A folder holds another run than the requested one."""


@contextlib.contextmanager
def atomic_file(path: Path) -> Iterator[TextIO]:
    """Open a file that appears whole or not at all: a temporary file beside it, flushed, then renamed.

    A name that ends in ``.gz`` is compressed. An error in the block removes the temporary file and leaves an earlier
    file as it was.
    """
    path = Path(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    handle, temporary = tempfile.mkstemp(prefix=f".{path.name}.", dir=path.parent)
    try:
        with os.fdopen(handle, "wb") as raw:
            # Neither name nor time in the gzip header, so that the same content makes the same file.
            content = gzip.GzipFile("", "wb", fileobj=raw, mtime=0) if path.suffix == ".gz" else raw
            with io.TextIOWrapper(content, encoding="utf8", newline="\n", write_through=True) as file:
                yield file
                file.flush()
                if content is not raw:
                    content.close()
                os.fsync(raw.fileno())
        os.chmod(temporary, 0o644)
        os.replace(temporary, path)
    except BaseException:
        Path(temporary).unlink(missing_ok=True)
        raise


def is_disk_full(error: BaseException) -> bool:
    """Return whether a failure to write was a full disk, by its number or, where a library hides that, by its text."""
    seen: BaseException | None = error
    while seen is not None:
        if isinstance(seen, OSError) and seen.errno in (errno.ENOSPC, errno.EDQUOT, errno.EFBIG):
            return True
        if any(word in str(seen) for word in ("No space left", "os error 28", "unexpected pos", "file write failed")):
            return True
        seen = seen.__cause__ or seen.__context__
    return False


def write_text(path: Path, text: str) -> Path:
    """Write a file atomically."""
    with atomic_file(path) as file:
        file.write(text)
    return Path(path)


def write_json(path: Path, value: Any) -> Path:
    """Write JSON atomically, keys in the given order, one indent."""
    return write_text(path, json.dumps(value, indent=1, ensure_ascii=False, allow_nan=False) + "\n")


def read_json(path: Path) -> Any:
    """Return the content of a JSON file; raise ValueError with the file's name if it is not JSON."""
    try:
        return json.loads(Path(path).read_text(encoding="utf8"))
    except (json.JSONDecodeError, UnicodeDecodeError) as error:
        raise ValueError(f"{path} is not JSON: {error}") from error


def write_jsonl(path: Path, rows: Iterable[dict]) -> Path:
    """Write JSON Lines atomically, one row in memory at a time; an error of the rows leaves no file."""
    with atomic_file(path) as file:
        for row in rows:
            try:
                file.write(json.dumps(row, ensure_ascii=False) + "\n")
            except UnicodeEncodeError:  # a completion was cut within a character of two halves
                file.write(json.dumps(row) + "\n")
    return Path(path)


def write_items(path: Path, record: dict[str, Any]) -> Path:
    """Write a committed record atomically, an item a line, so that git shows the lines that changed.

    Objects have a line for each key to the fourth level, lists of objects or lists a line for each item at any level;
    everything else is on one line.
    """
    return write_text(path, _items(record) + "\n")


def _items(value: Any, depth: int = 0) -> str:
    inner, outer = " " * (depth + 1), " " * depth
    if isinstance(value, dict) and value and depth < 4:
        lines = [f"{inner}{json.dumps(key, ensure_ascii=False)}: {_items(inside, depth + 1)}"
                 for key, inside in value.items()]  # fmt: skip
        return "{\n" + ",\n".join(lines) + f"\n{outer}}}"
    if isinstance(value, list) and value and all(isinstance(item, list | dict) for item in value):
        return "[\n" + ",\n".join(inner + _items(item, depth + 1) for item in value) + f"\n{outer}]"
    return json.dumps(value, ensure_ascii=False, separators=(",", ":"), allow_nan=False)


def read_jsonl(path: Path) -> Iterator[dict]:
    """Yield the rows of a JSON Lines file, gzipped (``.gz``) or not; raise ValueError with file and line for others."""
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


def read_facts(file: Path, columns: Mapping[str, Callable[[str], Any]]) -> list[dict[str, Any]]:
    """Read a CSV table of facts that is kept beside the code.

    Args:
        file: The table. Lines that begin with ``#`` are comments.
        columns: Every column with its type, such as ``int``; the table must have exactly these, in this order.

    Raises:
        ValueError: If the columns differ or a value does not parse; the message names file and row.
    """
    lines = (line for line in file.read_text(encoding="utf8").splitlines() if not line.startswith("#"))
    table = csv.DictReader(lines, strict=True)
    if table.fieldnames != list(columns):
        raise ValueError(f"{file.name}: expected the columns {', '.join(columns)}, got {table.fieldnames}")
    rows = []
    for row in table:
        try:
            rows.append({name: parse(row[name]) for name, parse in columns.items()})
        except (TypeError, ValueError) as error:
            raise ValueError(f"{file.name}: {row} does not parse: {error}") from error
    return rows


def flag(text: str) -> bool:
    """Return the truth value of ``true`` or ``false``; raise ValueError for any other text."""
    if text not in ("true", "false"):
        raise ValueError(f"expected true or false, got {text!r}")
    return text == "true"


def sha256(path: Path) -> str:
    """Return the SHA-256 of a file, in hexadecimal."""
    with open(path, "rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def fingerprint(value: Any) -> str:
    """Return a short hash of a JSON value, independent of key order."""
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
    """Return a committed record; raise FileNotFoundError, naming the command that makes it, if it is missing.

    Args:
        place: Its path below ``records/``, such as ``real/audit.json``.
        command: The command line that makes it.
    """
    file = paths.records() / place
    if not file.is_file():
        raise FileNotFoundError(f"expected a committed record in {file}; `{command}` makes it")
    return read_json(file)


def stale_reasons(record: Record, packages: Iterable[str], data_dir: Path | None = None) -> list[str]:
    """Return a line for each reason why code and data would give another record now; empty if it still holds.

    Args:
        record: A record whose ``inputs`` hold the ``versions`` of packages and the ``files`` with their SHA-256.
        data_dir: A data folder whose files are compared too, those that are there.
    """
    reasons = outdated(record["inputs"].get("versions", {}), versions(*packages))
    for name, known in record["inputs"]["files"].items():
        if data_dir is not None and (file := data_dir / name).is_file() and sha256(file) != known:
            reasons.append(f"{name} is another file")
    return reasons


def environment(threads: int | None = None, device: str = "cpu", dtype: str | None = None) -> dict[str, Any]:
    """Return package versions, commit and machine for a record, without importing the packages."""
    installed = {}
    for name in PACKAGES:
        with contextlib.suppress(metadata.PackageNotFoundError):
            installed[name] = metadata.version(name)
    return {
        "python": platform.python_version(),
        "packages": installed,
        "commit": commit(),
        "processor": processor(),
        "system": f"{platform.system()} {platform.machine()}",
        "device": device,
        "dtype": dtype,
        "threads": threads,
    }


def commit() -> str | None:
    """Return the checked-out commit, with ``+`` if the tree was changed; None outside git."""
    try:
        command = ["git", "-C", str(paths.root()), "describe", "--always", "--abbrev=12", "--dirty=+"]
        return subprocess.run(command, capture_output=True, text=True, timeout=20, check=True).stdout.strip() or None
    except (OSError, subprocess.SubprocessError):
        return None  # a download without git has no commit, and the record says so


def processor() -> str:
    """Return the processor's name and widest vector units: equal figures are promised for equal ones only."""
    name, flags = platform.processor() or platform.machine(), ""
    info = Path("/proc/cpuinfo")
    if info.is_file():
        pairs = (line.partition(":") for line in info.read_text(errors="replace").splitlines())
        fields = {key.strip(): value.strip() for key, _, value in pairs}
        name, flags = fields.get("model name", name), fields.get("flags", "")
    units = [unit for unit in ("amx_bf16", "avx512_bf16", "avx512f", "avx2") if unit in flags.split()]
    return f"{name} ({units[0]})" if units else name


def open_run(
    folder: Path,
    description: dict[str, Any],
    replace: bool = False,
    identity: Callable[[dict[str, Any]], dict[str, Any]] = dict,
) -> dict[str, Any] | None:
    """Claim a folder for a run, and return its record if the same run already finished there.

    Args:
        description: The resolved description; ``schema`` is added.
        replace: Whether another run in that folder is moved aside rather than refused.
        identity: Returns the part of a description that tells one run from another; an unfinished run takes the rest
            of the new one.

    Returns:
        The finished record, or None if the run is new or unfinished.

    Raises:
        RunMismatchError: If the folder holds another run, with the values that differ and a name that keeps both.
    """
    described = json.loads(json.dumps({"schema": SCHEMA, **description}))
    file = Path(folder) / "run.json"
    if file.is_file():
        differing = differences(identity(read_json(file)), identity(described))
        if differing and not replace:
            raise RunMismatchError(
                f"{folder} holds another run than the one asked for:\n  "
                + "\n  ".join(differing)
                + f"\nto keep both, give this one a name of its own: -p name {free_name(Path(folder))}; with the "
                "values there, that one is read or goes on"
            )
        if differing:
            move_aside(Path(folder))
    record = Path(folder) / "record.json"
    if file.is_file() and record.is_file():
        return read_json(record)
    write_json(file, described)
    return None


def free_name(folder: Path) -> str:
    """Return the name of a run's folder with the first number behind it that no folder beside it has."""
    number = 2
    while folder.with_name(f"{folder.name}-{number}").exists():
        number += 1
    return f"{folder.name}-{number}"


def differences(old: Any, new: Any, at: str = "") -> list[str]:
    """Return the lines in which two descriptions differ, as ``key: there 1, asked 2``."""
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
    """Write a run's ``record.json``, last and atomically: a folder that has one is of a finished run."""
    return write_json(Path(folder) / "record.json", {"schema": SCHEMA, **record})


def finished_runs(stage: str) -> Iterator[tuple[Path, dict[str, Any]]]:
    """Yield folder and record of every finished run of a stage, by name."""
    for file in sorted((paths.runs() / stage).glob("*/record.json")):
        if ".old-" not in file.parent.name:
            yield file.parent, read_json(file)
