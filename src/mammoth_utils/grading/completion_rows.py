"""The rows of a completions file, read one at a time and checked."""

from __future__ import annotations

import gzip
import json
import zlib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from mammoth_utils.vocabulary import KINDS

REQUIRED = {"benchmark": ("benchmark", "dataset"), "completion": ("completion", "response"), "gold": ("gold",)}
GOLDS = (str, int, float, bool, list, type(None))


class CompletionsError(ValueError):
    """A row of a completions file that cannot be graded, with file, line and what was expected."""


def rows_of(path: Path) -> Iterator[tuple[int, dict[str, Any]]]:
    """Line number and checked row of each line that is not empty.

    Raises:
        CompletionsError: At the first row that is not as it should be.
    """
    opener = gzip.open if str(path).endswith(".gz") else open
    number = 0
    try:
        with opener(path, "rt", encoding="utf8") as file:
            for number, line in enumerate(file, 1):
                if line.strip():
                    yield number, _checked(line, f"{path}, line {number}")
    except (gzip.BadGzipFile, EOFError, UnicodeDecodeError, zlib.error) as error:
        raise CompletionsError(f"{path}, after line {number}: no readable text: {error}") from error


def _checked(line: str, where: str) -> dict[str, Any]:
    try:
        row = json.loads(line)
    except (json.JSONDecodeError, RecursionError) as error:
        raise CompletionsError(f"{where}: expected a JSON object, got what is no JSON: {error}") from error
    if not isinstance(row, dict):
        raise CompletionsError(f"{where}: expected a JSON object, got {type(row).__name__}")
    for noun, keys in REQUIRED.items():
        if not any(key in row for key in keys):
            accepted = " or ".join(f"`{key}`" for key in keys)
            raise CompletionsError(f"{where}: no {noun}; expected {accepted}, got the keys {', '.join(row) or 'none'}")
    for noun in ("benchmark", "completion"):
        if not isinstance(value_of(row, noun), str):
            raise CompletionsError(f"{where}: expected text as {noun}, got {type(value_of(row, noun)).__name__}")
    if not isinstance(row["gold"], GOLDS):
        raise CompletionsError(f"{where}: expected text, a number, a bool or a list as gold, got an object")
    if row.get("kind", "cot") not in KINDS:
        raise CompletionsError(f"{where}: unknown kind {row['kind']!r}; known: {', '.join(KINDS)}")
    if not isinstance(row.get("options"), (list, type(None))):
        raise CompletionsError(f"{where}: expected a list as options, got {type(row['options']).__name__}")
    return row


def value_of(row: dict[str, Any], noun: str) -> Any:
    """What a row holds under the first of a noun's keys that it has."""
    return next(row[key] for key in REQUIRED[noun] if key in row)
