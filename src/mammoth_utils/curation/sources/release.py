"""The published MathInstruct: 262,039 rows of ``source``, ``instruction`` and ``output``, streamed and checked."""

from __future__ import annotations

import os
import re
from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from pathlib import Path

from mammoth_utils import paths, records, row_files
from mammoth_utils.curation.mathinstruct_rows import escape_surrogates
from mammoth_utils.curation.sources import hub_files
from mammoth_utils.curation.sources.homes import MATHINSTRUCT
from mammoth_utils.curation.sources.hub_files import REVISION_VARIABLE, Origin
from mammoth_utils.curation.sources.registry import NUMBER_COMPARISON, SOURCES, LoadedSource, Source
from mammoth_utils.rationale import Problem, Rationale
from mammoth_utils.records import Record

HUB_NAME, HUB_FILE = MATHINSTRUCT.name, MATHINSTRUCT.path
# `main` as public texts of 2026 pin it, with the file's size as the hub gave it there. The hub serves a commit's files
# for as long as the repository stands, so this is what everybody reads; `main` may change under a reader.
REVISION = MATHINSTRUCT.revision
BYTES = 212_488_891
RELEASE_ROWS = 262_039
FILE = Path("release") / HUB_FILE
KEYS = ("source", "instruction", "output")
RELEASE_SOURCES: dict[str, Source] = {source.release_file: source for source in (*SOURCES.values(), NUMBER_COMPARISON)}

# The release asks for programs in five wordings, listed by public code that replaces them; the last one is seen with
# and without a full stop. A wording is split off so that questions can be compared, and kept, since it is what a model
# is trained on.
PROGRAM_TRIGGERS = (
    "Let's write a program.",
    "Let's write a Python program.",
    "Let's program in Python in the response.",
    "Let's write a Python program to solve it.",
    "Please write a program to solve it.",
)
_TRIGGER = re.compile(r"\s+(?:" + "|".join(re.escape(text.rstrip(".")) for text in PROGRAM_TRIGGERS) + r")\.?\s*$")
# Any other last sentence that asks for a program: split off as well, and reported.
_OTHER = re.compile(r"\s+(?:Let's|[Pp]lease)\b[^.?!\n]*\b[Pp](?:rogram|ython)\b[^.?!\n]*\.?\s*$")
NO_TRIGGER = "(none)"
_EXAMPLES = 20
MOST_BAD = 0.05  # share of the rows that may be left out


def split_trigger(instruction: str) -> tuple[str, str]:
    """Return question and PoT trigger of a released instruction: ``""`` without one, else with its leading space."""
    match = _TRIGGER.search(instruction) or _OTHER.search(instruction)
    return (instruction[: match.start()], instruction[match.start() :]) if match else (instruction, "")


def wording(trigger: str) -> str:
    """Return the one of ``PROGRAM_TRIGGERS`` that a trigger is, else its own text, else ``NO_TRIGGER``."""
    plain = trigger.strip()
    known = next((text for text in PROGRAM_TRIGGERS if plain.rstrip(".") == text.rstrip(".")), "")
    return known or escape_surrogates(plain) or NO_TRIGGER


@dataclass
class Checks:
    """Counts of a release's rows, and of what does not fit the published form.

    Attributes:
        sources: Rows of each value of ``source``.
        triggers: For each value of ``source`` that holds programs, how often each wording asks for one.
        odd: What does not fit the published form, by kind: how many rows.
        where: Numbers of the first rows of each kind in ``odd``.
        left_out: What is wrong with each row that cannot be one of the release.
    """

    rows: int = 0
    left_out: list[str] = field(default_factory=list)
    sources: Counter[str] = field(default_factory=Counter)
    triggers: dict[str, Counter[str]] = field(default_factory=lambda: defaultdict(Counter))
    odd: Counter[str] = field(default_factory=Counter)
    where: dict[str, list[int]] = field(default_factory=lambda: defaultdict(list))

    def count_row(self, number: int, row: Record) -> None:
        """Check one row and count it.

        Raises:
            ValueError: If the row cannot be one of the release: a key is missing, a value is no text, or the source
                is unknown.
        """
        if missing := set(KEYS) - set(row):
            raise ValueError(f"row {number} lacks {', '.join(sorted(missing))}; it has {', '.join(sorted(row))}")
        if wrong := [key for key in KEYS if not isinstance(row[key], str)]:
            raise ValueError(f"row {number}: expected text in {wrong[0]!r}, got {type(row[wrong[0]]).__name__}")
        if row["source"] not in RELEASE_SOURCES:
            raise ValueError(f"row {number}: unknown source {row['source']!r}; known: {', '.join(RELEASE_SOURCES)}")
        self.rows += 1
        self.sources[row["source"]] += 1
        trigger = wording(split_trigger(row["instruction"])[1])
        if RELEASE_SOURCES[row["source"]].kind == "pot":
            self.triggers[row["source"]][trigger] += 1
            if trigger == NO_TRIGGER:
                self._odd(number, "a program that no trigger asks for")
            elif trigger not in PROGRAM_TRIGGERS:
                self._odd(number, "a trigger in other words")
        elif trigger != NO_TRIGGER:
            self._odd(number, "prose that a trigger asks for")
        if extra := sorted(set(row) - set(KEYS)):
            self._odd(number, escape_surrogates(f"more keys: {', '.join(extra)}"))

    def _odd(self, number: int, what: str) -> None:
        self.odd[what] += 1
        if len(self.where[what]) < _EXAMPLES:
            self.where[what].append(number)

    def leave_out(self, fault: str, of: str = "the release", whole: bool = False) -> None:
        """Note a row that is left out.

        Raises:
            ValueError: If there are too many: ``MOST_BAD`` of the rows so far, and more than a few unless the release
                was read as a ``whole``, of which one row may be bad at any length.
        """
        self.left_out += [fault] if fault else []
        bad, none = len(self.left_out), whole and not self.rows
        if bad > max(1 if whole else _EXAMPLES, MOST_BAD * (self.rows + bad)) or (bad and none):
            raise ValueError(f"{self.say_left_out(of)}; at most {MOST_BAD:.0%} of the rows may be")

    def say_left_out(self, of: str) -> str:
        """Return which rows are left out, the first five by name; empty where there is none."""
        more = f"; and {len(self.left_out) - 5:,} more" if len(self.left_out) > 5 else ""
        named = f"{'; '.join(self.left_out[:5])}{more}"
        return f"{of}: left out (rows are counted from 0): {len(self.left_out):,}: {named}" if self.left_out else ""

    @property
    def absent(self) -> list[str]:
        """Return the values of ``source`` that the published file has and this one does not."""
        return [file for file in RELEASE_SOURCES if not self.sources[file]]

    def as_dict(self) -> Record:
        """Return the checks as a record keeps them."""
        return {
            "rows": self.rows,
            "rows_published": RELEASE_ROWS,
            "sources": {file: self.sources[file] for file in RELEASE_SOURCES},
            "absent": self.absent,
            "triggers": {file: dict(counts.most_common()) for file, counts in sorted(self.triggers.items())},
            "odd": dict(self.odd.most_common()),
            "odd_rows": {what: list(numbers) for what, numbers in self.where.items()},
            **({"left_out": len(self.left_out), "first_left_out": self.left_out[:_EXAMPLES]} if self.left_out else {}),
        }


def stream_release(path: Path) -> Iterator[dict]:
    """Yield the rows of a file of any form of ``row_files``, without holding it in memory.

    Raises:
        RowFileError: If the file is cut short or holds something else, naming the place. A file of JSON Lines that is
            cut at the end of a line cannot be told from a whole one.
    """
    return (row for _, row in row_files.read_rows(path))


def parse_release(
    rows: Iterable[dict],
    names: Iterable[str] | None = None,
    checks: Checks | None = None,
    first: int = 0,
    of: str = "the release",
) -> Iterator[Rationale]:
    """Yield released rows as rationales; a PoT row is known by its source's path, never by its text.

    The release carries no gold answers, so ``gold`` is empty; options stay inside the question.

    Args:
        names: Source names to keep; None keeps all.
        checks: Where every row is counted, kept or not.
        of: The file's name, for errors.

    Raises:
        ValueError: If more than ``MOST_BAD`` of the rows lack a key or a text, or name a source that the release does
            not have; fewer are left out, and ``checks`` names them.
    """
    names = None if names is None else set(names)
    checks = checks or Checks()
    for number, row in enumerate(rows, first):
        try:
            checks.count_row(number, row)
        except ValueError as error:
            checks.leave_out(str(error), of)
            continue
        source = RELEASE_SOURCES[row["source"]]
        if names is not None and source.name not in names:
            continue
        question, trigger = split_trigger(row["instruction"]) if source.kind == "pot" else (row["instruction"], "")
        problem = Problem(f"release/{number}", question, "", set=source.name)
        history = {"file": row["source"]} | ({"trigger": trigger} if source.kind == "pot" else {})
        yield Rationale(problem, source.kind, row["output"], source.name, source.author, history)
    checks.leave_out("", of, whole=first == 0)


def release_revision() -> str:
    """Return the revision of the release that is read: the pinned one, or that of ``MAMMOTH_RELEASE_REVISION``.

    A branch or tag (``main``) is resolved when the file is fetched, and the commit is what is recorded.
    """
    return os.environ.get(REVISION_VARIABLE, "").strip() or REVISION


def find_release() -> Origin:
    """Return the release's file: the local copy in the data folder, else the hub's, in the hub's own cache.

    Raises:
        FileNotFoundError: If neither is there, saying what to download and where to put it.
    """
    local = (paths.data() or paths.root() / "data") / FILE
    if local.is_file():
        return Origin(local, "local copy", "", records.sha256(local), local.stat().st_size)
    try:
        return hub_files.fetch(HUB_NAME, HUB_FILE, release_revision())
    except hub_files.HubError as error:
        raise FileNotFoundError(
            f"expected MathInstruct at {local}, found none, and the hub did not give it: {error}\n"
            f"download {HUB_FILE} ({BYTES / 1e6:.0f} MB) of {HUB_NAME} and put it there"
        ) from error


def load_release(names: Iterable[str]) -> list[LoadedSource]:
    """Return every named source of the release; the one that Table 1 omits comes last when all are asked for.

    Raises:
        FileNotFoundError: If the release is neither here nor to be fetched.
        ValueError: If a row is none of the release's.
    """
    names = tuple(names)
    entries = {name: LoadedSource(SOURCES[name], name) for name in names}
    if set(names) == set(SOURCES):
        entries[NUMBER_COMPARISON.name] = LoadedSource(NUMBER_COMPARISON, NUMBER_COMPARISON.name)
    origin, checks = find_release(), Checks()
    for rationale in parse_release(stream_release(origin.path), entries, checks, of=str(origin.path)):
        entries[rationale.source].rationales.append(rationale)
    for entry in entries.values():
        if not entry.rationales:
            entry.missing = f"the release holds no row of {entry.source.release_file}"
        else:
            entry.notes = _notes(entry.source, origin, checks)
            entry.left_out = checks.say_left_out(FILE.as_posix())
            entry.release = {FILE.as_posix(): origin.sha256, "revision": origin.revision}
    return list(entries.values())


def describe_origin(origin: Origin) -> str:
    """Return where a release was read from, with its size and hash, and the published size where it differs."""
    at = f" at revision {origin.revision}" if origin.revision else ""
    other = "" if origin.bytes == BYTES else f", where the published file has {BYTES:,}"
    return f"{origin.home}{at}: {origin.bytes:,} bytes{other}, sha256 {origin.sha256}"


def _notes(source: Source, origin: Origin, checks: Checks) -> str:
    """Return where one source of a release was read, its triggers, and what is odd in the release."""
    notes = [describe_origin(origin)]
    if triggers := checks.triggers.get(source.release_file):
        notes.append("triggers: " + ", ".join(f"{text!r} {many:,}" for text, many in triggers.most_common()))
    notes += [f"{what}: {many:,} rows of the release" for what, many in checks.odd.items()]
    return "; ".join(notes)
