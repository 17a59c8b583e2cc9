"""Where files are, whatever folder a page or a command was started in."""

from __future__ import annotations

import os
import re
import tempfile
from pathlib import Path

BASES_VARIABLE = "MAMMOTH_BASES"  # names a folder that holds base models under their hub names


def root(start: Path | None = None) -> Path:
    """Return the project's folder: the first one upward with ``_config.yml`` and ``src``, else ``MAMMOTH_ROOT``.

    Raises:
        FileNotFoundError: If neither is the project.
    """
    here = (start or Path.cwd()).resolve()
    for folder in (here, *here.parents):
        if (folder / "_config.yml").is_file() and (folder / "src" / "mammoth_utils").is_dir():
            return folder
    named = os.environ.get("MAMMOTH_ROOT")
    if named and (Path(named) / "_config.yml").is_file():
        return Path(named).resolve()
    raise FileNotFoundError(
        f"expected the project's folder (with _config.yml) at or above {here}, found none; "
        "start there or set MAMMOTH_ROOT"
    )


def relative_to_root(place: Path) -> str:
    """Return a path for pages and printed lines: relative to the project if it lies inside, else absolute."""
    place = Path(os.path.abspath(place))
    return str(place.relative_to(root())) if place.is_relative_to(root()) else str(place)


def public_name(path: str | Path) -> str:
    """Return a model's or file's name for a record: relative to the project, or without this machine's folders."""
    place = Path(path)
    for start in (root(), runs().parent):
        if place.is_absolute() and place.is_relative_to(start):
            return str(place.relative_to(start))
    return place.name if place.is_absolute() else str(path)


def runs() -> Path:
    """Return the folder of runs: ``MAMMOTH_RUNS_DIR``, else ``runs/`` in the project."""
    named = os.environ.get("MAMMOTH_RUNS_DIR")
    return Path(named).resolve() if named else root() / "runs"


def writable_runs() -> Path:
    """Return the folder of runs, made where it is missing.

    Raises:
        PermissionError: If nothing can be written there, naming ``MAMMOTH_RUNS_DIR``.
    """
    folder = runs()
    try:
        folder.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryFile(dir=folder):
            return folder
    except OSError as error:
        raise PermissionError(
            f"nothing can be written in {folder} ({error.strerror}); name a folder of yours in MAMMOTH_RUNS_DIR"
        ) from error


def run_dir(stage: str, name: str) -> Path:
    """Return the folder of a run, such as ``runs/train/llama-1m-hybrid-full-s0``; it is not created."""
    return runs() / stage / name


def data() -> Path | None:
    """Return the folder of real data: ``MAMMOTH_DATA_DIR``, else ``data/`` where ``make data`` filled it, else None.

    Raises:
        FileNotFoundError: If ``MAMMOTH_DATA_DIR`` names a folder that does not exist.
    """
    named = os.environ.get("MAMMOTH_DATA_DIR")
    if named:
        if not Path(named).is_dir():
            raise FileNotFoundError(f"MAMMOTH_DATA_DIR names {named}, which is no folder")
        return Path(named).resolve()
    folder = root() / "data"
    return folder if folder.is_dir() else None


def base_folder(name: str) -> Path | None:
    """Return the folder of a hub's model below ``MAMMOTH_BASES``, ``owner/name`` or ``owner--name``, or None.

    Raises:
        FileNotFoundError: If ``MAMMOTH_BASES`` names no folder.
    """
    named = os.environ.get(BASES_VARIABLE, "").strip()
    if not named or not re.fullmatch(r"[\w.-]+/[\w.-]+", name):
        return None
    place = Path(named).expanduser()
    if not place.is_dir():
        raise FileNotFoundError(f"{BASES_VARIABLE} names {named}, which is no folder")
    places = (place / name, place / name.replace("/", "--"))
    return next((folder.resolve() for folder in places if (folder / "config.json").is_file()), None)


def records() -> Path:
    """Return the folder of committed records."""
    return root() / "records"


def miniature_models() -> Path:
    """Return the folder of the shipped base models."""
    return root() / "models" / "miniature"
