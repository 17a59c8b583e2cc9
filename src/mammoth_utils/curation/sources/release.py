"""The published MathInstruct: 262,039 rows of ``source``, ``instruction`` and ``output``, streamed and checked."""

from __future__ import annotations

import json
import re
from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from mammoth_utils import paths
from mammoth_utils.curation.sources.registry import NUMBER_COMPARISON, SOURCES, Loaded, Source, written_out
from mammoth_utils.rationale import Problem, Rationale

HUB_NAME = "TIGER-Lab/MathInstruct"
HUB_FILE = "MathInstruct.json"
# `main` as public texts of 2026 pin it, with the file's size as the hub gave it there. The hub serves a commit's files
# for as long as the repository stands, so this is what everybody reads; `main` may change under a reader.
REVISION = "b4fdc323a7be1379c9c7c0b67b1de72dfee2111a"
BYTES = 212_488_891
ROWS = 262_039
FILE = Path("release") / HUB_FILE
KEYS = ("source", "instruction", "output")
BY_FILE: dict[str, Source] = {source.release_file: source for source in (*SOURCES.values(), NUMBER_COMPARISON)}

# The release asks for programs in five wordings, listed by public code that replaces them; the last one is seen with
# and without a full stop. A wording is split off so that questions can be compared, and kept, since it is what a model
# is trained on.
TRIGGERS = (
    "Let's write a program.",
    "Let's write a Python program.",
    "Let's program in Python in the response.",
    "Let's write a Python program to solve it.",
    "Please write a program to solve it.",
)
_TRIGGER = re.compile(r"\s+(?:" + "|".join(re.escape(one.rstrip(".")) for one in TRIGGERS) + r")\.?\s*$")
# Any other last sentence that asks for a program: split off as well, and reported.
_OTHER = re.compile(r"\s+(?:Let's|[Pp]lease)\b[^.?!\n]*\b[Pp](?:rogram|ython)\b[^.?!\n]*\.?\s*$")
NO_TRIGGER = "(none)"
LONGEST = 1 << 24  # characters that a row may have
_CHUNK = 1 << 20
_EXAMPLES = 20


def split_trigger(instruction: str) -> tuple[str, str]:
    """Question and PoT trigger (with its leading space) of a released instruction; no trigger gives ``""``."""
    found = _TRIGGER.search(instruction) or _OTHER.search(instruction)
    return (instruction[: found.start()], instruction[found.start() :]) if found else (instruction, "")


def wording(trigger: str) -> str:
    """The one of ``TRIGGERS`` that a split-off trigger is, else its own text, else ``NO_TRIGGER``."""
    plain = trigger.strip()
    return (
        next((known for known in TRIGGERS if plain.rstrip(".") == known.rstrip(".")), written_out(plain)) or NO_TRIGGER
    )


@dataclass
class Checks:
    """What was seen of a release, row by row.

    Attributes:
        rows: Rows seen.
        sources: Rows of each value of ``source``.
        triggers: For each value of ``source`` that holds programs, how often each wording asks for one.
        odd: What does not fit the published form, by kind: how many rows.
        where: Numbers of the first rows of each kind in ``odd``.
    """

    rows: int = 0
    sources: Counter[str] = field(default_factory=Counter)
    triggers: dict[str, Counter[str]] = field(default_factory=lambda: defaultdict(Counter))
    odd: Counter[str] = field(default_factory=Counter)
    where: dict[str, list[int]] = field(default_factory=lambda: defaultdict(list))

    def see(self, number: int, row: dict[str, Any]) -> None:
        """Check one row and count it.

        Raises:
            ValueError: If the row cannot be one of the release: a key is missing, a value is no text, or the source
                is unknown.
        """
        if missing := set(KEYS) - set(row):
            raise ValueError(f"row {number} lacks {', '.join(sorted(missing))}; it has {', '.join(sorted(row))}")
        if wrong := [key for key in KEYS if not isinstance(row[key], str)]:
            raise ValueError(f"row {number}: expected text in {wrong[0]!r}, got {type(row[wrong[0]]).__name__}")
        if row["source"] not in BY_FILE:
            raise ValueError(f"row {number}: unknown source {row['source']!r}; known: {', '.join(BY_FILE)}")
        self.rows += 1
        self.sources[row["source"]] += 1
        asked = wording(split_trigger(row["instruction"])[1])
        if BY_FILE[row["source"]].kind == "pot":
            self.triggers[row["source"]][asked] += 1
            if asked == NO_TRIGGER:
                self._odd(number, "a program that no trigger asks for")
            elif asked not in TRIGGERS:
                self._odd(number, "a trigger in other words")
        elif asked != NO_TRIGGER:
            self._odd(number, "prose that a trigger asks for")
        if extra := sorted(set(row) - set(KEYS)):
            self._odd(number, written_out(f"more keys: {', '.join(extra)}"))

    def _odd(self, number: int, what: str) -> None:
        self.odd[what] += 1
        if len(self.where[what]) < _EXAMPLES:
            self.where[what].append(number)

    @property
    def absent(self) -> list[str]:
        """Values of ``source`` that the published file has and this one does not."""
        return [file for file in BY_FILE if not self.sources[file]]

    def as_dict(self) -> dict[str, Any]:
        """The checks as a record keeps them."""
        return {
            "rows": self.rows,
            "rows_published": ROWS,
            "sources": {file: self.sources[file] for file in BY_FILE},
            "absent": self.absent,
            "triggers": {file: dict(counts.most_common()) for file, counts in sorted(self.triggers.items())},
            "odd": dict(self.odd.most_common()),
            "odd_rows": {what: list(numbers) for what, numbers in self.where.items()},
        }


def stream(path: Path) -> Iterator[dict]:
    """The rows of a JSON array, or of JSON Lines, without holding the file in memory.

    Raises:
        ValueError: If the file is cut short or holds something else, naming the place. A file of JSON Lines that is
            cut at the end of a line cannot be told from a whole one.
    """
    decoder, text, read, number, array = json.JSONDecoder(), "", 0, 0, False
    with open(path, encoding="utf8") as file:
        while chunk := file.read(_CHUNK):
            read += len(chunk)
            text += chunk
            start = 0
            while True:
                while start < len(text) and text[start] in " \t\r\n,[":
                    array = array or text[start] == "["
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
            if len(text) > LONGEST:  # else what stands behind a spoilt row would be held to the end of the file
                raise ValueError(f"{path}: no JSON after row {number} (character {read - len(text)}) in {LONGEST:,} "
                                 f"characters: {text[:60]!r}")  # fmt: skip
    if text.strip(" \t\r\n,[]"):
        raise ValueError(f"{path}: no JSON after row {number} (character {read - len(text)}): {text[:60]!r}")
    if array and not text.rstrip().endswith("]"):
        raise ValueError(f"{path}: cut after row {number} (character {read}): the array is not closed by ']'")


def rationales(
    rows: Iterable[dict], wanted: Iterable[str] | None = None, checks: Checks | None = None, first: int = 0
) -> Iterator[Rationale]:
    """Released rows as rationales; a PoT row is known by its source's path, never by its text.

    The release carries no gold answers, so ``gold`` is empty; options stay inside the question.

    Args:
        rows: Objects with ``source``, ``instruction`` and ``output``.
        wanted: Source names to keep; None keeps all.
        checks: Where every row is counted, wanted or not.
        first: Number of the first row.

    Raises:
        ValueError: If a row lacks a key or names a source that the release does not have.
    """
    wanted = None if wanted is None else set(wanted)
    checks = checks or Checks()
    for number, row in enumerate(rows, first):
        checks.see(number, row)
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


@dataclass(frozen=True)
class Origin:
    """Where a release was read from.

    Attributes:
        path: The file.
        home: ``local copy``, or the hub's address and name.
        revision: The hub's commit; empty for a local copy.
        sha256: SHA-256 of the file.
        bytes: Its size.
    """

    path: Path
    home: str
    revision: str
    sha256: str
    bytes: int

    def __str__(self) -> str:
        at = f" at revision {self.revision}" if self.revision else ""
        other = "" if self.bytes == BYTES else f", where the published file has {BYTES:,}"
        return f"{self.home}{at}: {self.bytes:,} bytes{other}, sha256 {self.sha256}"

    def as_dict(self) -> dict[str, Any]:
        """The origin as a record keeps it; no machine's path."""
        return {"home": self.home, "revision": self.revision, "sha256": self.sha256, "bytes": self.bytes}


def find() -> Origin:
    """The release's file: the local copy in the data folder, else the hub's, downloaded into the hub's own cache.

    Raises:
        FileNotFoundError: If neither is there, saying what to download and where to put it.
    """
    from mammoth_utils import records

    folder = paths.data()
    local = (folder or paths.root() / "data") / FILE
    if local.is_file():
        return Origin(local, "local copy", "", records.sha256(local), local.stat().st_size)
    from mammoth_utils.curation.sources import hub

    try:
        return hub.fetch(HUB_NAME, HUB_FILE, hub.release_revision())
    except hub.HubError as error:
        raise FileNotFoundError(
            f"expected MathInstruct at {local}, found none, and the hub did not give it: {error}\n"
            f"download {HUB_FILE} ({BYTES / 1e6:.0f} MB) of {HUB_NAME} and put it there"
        ) from error


def load(names: Iterable[str]) -> list[Loaded]:
    """Every named source of the release; the one that Table 1 omits comes last when all are asked for.

    Raises:
        FileNotFoundError: If the release is neither here nor to be fetched.
        ValueError: If a row is none of the release's.
    """
    names = tuple(names)
    entries = {name: Loaded(SOURCES[name], name) for name in names}
    if set(names) == set(SOURCES):
        entries[NUMBER_COMPARISON.name] = Loaded(NUMBER_COMPARISON, NUMBER_COMPARISON.name)
    origin, checks = find(), Checks()
    for rationale in rationales(stream(origin.path), entries, checks):
        entries[rationale.source].rationales.append(rationale)
    for entry in entries.values():
        if not entry.rationales:
            entry.missing = f"the release holds no row of {entry.source.release_file}"
        else:
            entry.notes = notes(entry.source, origin, checks)
    return list(entries.values())


def notes(source: Source, origin: Origin, checks: Checks) -> str:
    """What a reader should know of one source of a release: where it was read, and its triggers."""
    told = [str(origin)]
    if triggers := checks.triggers.get(source.release_file):
        told.append("triggers: " + ", ".join(f"{text!r} {many:,}" for text, many in triggers.most_common()))
    told += [f"{what}: {many:,} rows of the release" for what, many in checks.odd.items()]
    return "; ".join(told)
