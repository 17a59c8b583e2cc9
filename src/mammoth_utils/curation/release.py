"""The published MathInstruct: 262,039 rows of ``source``, ``instruction`` and ``output``, streamed."""

from __future__ import annotations

import json
import re
from collections import Counter
from collections.abc import Iterable, Iterator
from pathlib import Path

from mammoth_utils import paths
from mammoth_utils.curation.sources import NUMBER_COMPARISON, SOURCES, Loaded, Source
from mammoth_utils.rationale import Problem, Rationale

HUB_NAME = "TIGER-Lab/MathInstruct"
FILE = Path("release") / "MathInstruct.json"
ROWS = 262_039
BY_FILE: dict[str, Source] = {source.release_file: source for source in (*SOURCES.values(), NUMBER_COMPARISON)}

# The release asks for programs in several wordings, all of them a last sentence about a program:
# " Let's write a program.", " Let's write a Python program to solve it." ... It is split off so that
# questions can be compared, and kept, since it is what a model is trained on.
_TRIGGER = re.compile(r"\s+(?:Let's|Please)\b[^.?!\n]*\b[Pp](?:rogram|ython)\b[^.?!\n]*\.?\s*$")
_CHUNK = 1 << 20


def split_trigger(instruction: str) -> tuple[str, str]:
    """Question and PoT trigger (with its leading space) of a released instruction; no trigger gives ``""``."""
    found = _TRIGGER.search(instruction)
    return (instruction[: found.start()], instruction[found.start() :]) if found else (instruction, "")


def stream(path: Path) -> Iterator[dict]:
    """The rows of a JSON array, or of JSON Lines, without holding the file in memory.

    Raises:
        ValueError: If the file is cut short or holds something else, naming the place.
    """
    decoder, text, read, number = json.JSONDecoder(), "", 0, 0
    with open(path, encoding="utf8") as file:
        while chunk := file.read(_CHUNK):
            read += len(chunk)
            text += chunk
            start = 0
            while True:
                while start < len(text) and text[start] in " \t\r\n,[":
                    start += 1
                if start == len(text) or text[start] == "]":
                    break
                try:
                    row, end = decoder.raw_decode(text, start)
                except json.JSONDecodeError:
                    break  # the row goes on in the next chunk
                if not isinstance(row, dict):
                    raise ValueError(f"{path}, row {number}: expected an object, got {type(row).__name__}")
                yield row
                number, start = number + 1, end
            text = text[start:]
    if text.strip(" \t\r\n,[]"):
        raise ValueError(f"{path}: no JSON after row {number} (character {read - len(text)}): {text[:60]!r}")


def rationales(rows: Iterable[dict], wanted: Iterable[str] | None = None) -> Iterator[Rationale]:
    """Released rows as rationales; a PoT row is known by its source's path, never by its text.

    The release carries no gold answers, so ``gold`` is empty; options stay inside the question.

    Args:
        rows: Objects with ``source``, ``instruction`` and ``output``.
        wanted: Source names to keep; None keeps all.

    Raises:
        ValueError: If a row lacks a key or names a source that the release does not have.
    """
    wanted = None if wanted is None else set(wanted)
    for number, row in enumerate(rows):
        if missing := {"source", "instruction", "output"} - set(row):
            raise ValueError(f"row {number} lacks {', '.join(sorted(missing))}; it has {', '.join(sorted(row))}")
        if row["source"] not in BY_FILE:
            raise ValueError(f"row {number}: unknown source {row['source']!r}; known: {', '.join(BY_FILE)}")
        source = BY_FILE[row["source"]]
        if wanted is not None and source.name not in wanted:
            continue
        question, trigger = split_trigger(row["instruction"]) if source.kind == "pot" else (row["instruction"], "")
        yield Rationale(
            Problem(f"release/{number}", question, "", set=source.name),
            source.kind,
            row["output"],
            source.name,
            source.author,
            {"file": row["source"], "trigger": trigger} if source.kind == "pot" else {"file": row["source"]},
        )


def rows() -> Iterator[dict]:
    """The release's rows: the local file, else the hub through ``datasets``.

    Raises:
        FileNotFoundError: If neither is there, saying what to download and where to put it.
    """
    folder = paths.data()
    local = folder / FILE if folder else None
    if local is not None and local.is_file():
        yield from stream(local)
        return
    place = local or paths.root() / "data" / FILE
    import datasets

    try:
        hub = datasets.load_dataset(HUB_NAME, split="train", streaming=True)
        iterator = iter(hub)
        first = next(iterator)
    except Exception as error:  # the library raises a dozen types for "not reachable"; each means the same here
        raise FileNotFoundError(
            f"expected MathInstruct at {place}, found none, and {HUB_NAME} could not be read from the hub "
            f"({type(error).__name__}: {error}); download MathInstruct.json (212 MB) from "
            f"https://huggingface.co/datasets/{HUB_NAME} and put it there"
        ) from error
    yield first
    yield from iterator


def load(names: Iterable[str]) -> list[Loaded]:
    """Every named source of the release; the one that Table 1 omits comes last when all are asked for."""
    names = tuple(names)
    entries = {name: Loaded(SOURCES[name], name) for name in names}
    if set(names) == set(SOURCES):
        entries[NUMBER_COMPARISON.name] = Loaded(NUMBER_COMPARISON, NUMBER_COMPARISON.name)
    triggers: dict[str, Counter] = {name: Counter() for name in entries}
    for rationale in rationales(rows(), entries):
        entries[rationale.source].rationales.append(rationale)
        if rationale.kind == "pot":
            triggers[rationale.source][rationale.history["trigger"].strip() or "(none)"] += 1
    for name, entry in entries.items():
        if not entry.rationales:
            entry.missing = f"the release holds no row of {entry.source.release_file}"
        if triggers[name]:
            entry.notes = "triggers: " + ", ".join(f"{text!r} {n}" for text, n in triggers[name].most_common())
    return list(entries.values())
