"""Decisions that a package's VERSION stands for, kept under ``tests/golden`` and compared with what the code decides.

A test collects decisions as text by name and calls :func:`check`. ``pytest --write-golden`` writes them anew, which is
right only after the package's ``VERSION`` was raised.
"""

from __future__ import annotations

import importlib
import json
from pathlib import Path

FOLDER = Path(__file__).parent / "golden"


def check(package: str, part: str, decisions: dict[str, str], write: bool) -> None:
    """Compare decisions with the kept ones, or keep them.

    Args:
        package: Name of the package whose VERSION they belong to, such as ``"grading"``.
        part: What of it; names the file ``tests/golden/<package>-<part>.json``.
        decisions: Text by name. Long lists belong into one text of a character a decision, or into a hash.
        write: The fixture ``write_golden``.
    """
    version = importlib.import_module(f"mammoth_utils.{package}").VERSION
    file = FOLDER / f"{package}-{part}.json"
    if write:
        FOLDER.mkdir(exist_ok=True)
        file.write_text(json.dumps({"version": version, "decisions": decisions}, indent=1, ensure_ascii=False) + "\n")
        return
    kept = json.loads(file.read_text(encoding="utf8"))
    moved = sorted(name for name in kept["decisions"] | decisions if kept["decisions"].get(name) != decisions.get(name))
    if kept["version"] == version:
        assert not moved, f"{moved}: decided otherwise; raise mammoth_utils.{package}.VERSION, then --write-golden"
    else:
        raise AssertionError(f"{file.name} is of version {kept['version']}, the code of {version}; use --write-golden")
