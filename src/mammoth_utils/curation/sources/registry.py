"""The thirteen sources of Table 1 (``table1.csv``), and what loading one of them gives."""

from __future__ import annotations

import random
from collections.abc import Iterable
from dataclasses import dataclass, field
from pathlib import Path

from mammoth_utils import licences
from mammoth_utils.curation.sources.homes import HOMES, MATHINSTRUCT, NONE, Home
from mammoth_utils.miniature import WORLDS
from mammoth_utils.rationale import Problem, Rationale
from mammoth_utils.records import flag, read_facts
from mammoth_utils.vocabulary import MINI

DATASETS = ("auto", "miniature", "release", "rebuild")
BUILT_IN = (*DATASETS, *WORLDS)  # with the counter-worlds, which the grids name and no reader has to choose from
NOT_FOUND = "not found in a source that was looked at"


@dataclass(frozen=True)
class Source:
    """One line of Table 1.

    Attributes:
        name: The paper's name with the kind, such as ``GSM8K (CoT)``.
        author: Who wrote the rationales, as the paper says.
        validated: Whether the paper calls them validated; None where it says nothing (human rationales).
        new: Whether the paper made it (six are new, seven existed).
        rows_paper: The paper's sample count; rounded there.
        release_file: The value of ``source`` in the published MathInstruct.
        benchmark: Whose grading rule compares a program's output with the gold.
        fields_from: Who says so: the paper, or the set itself; its own key is what a row's ``field`` holds.
        difficulty: How hard, by the paper's words or the set's own measure; empty where neither was found.
    """

    name: str
    kind: str
    author: str
    validated: bool | None
    new: bool
    rows_paper: int
    release_file: str
    benchmark: str
    fields: str = NOT_FOUND
    fields_from: str = ""
    difficulty: str = ""

    @property
    def licence(self) -> str:
        """Return the licence as the paper lists it."""
        return licences.of_source(self.name)

    @property
    def asks_teacher(self) -> bool:
        """Return whether the paper had a teacher write these programs."""
        return self.new and self.kind == "pot"

    @property
    def homes(self) -> tuple[Home, ...]:
        """Return where it lives, the first choice first."""
        return HOMES.get(self.name, (MATHINSTRUCT,))

    @property
    def places(self) -> list[Home]:
        """Return the homes that hold its files."""
        return [home for home in self.homes if home.place != "teacher"]

    @property
    def home(self) -> str:
        """Return where the original lives."""
        return str(self.places[0])

    @property
    def second_home(self) -> str:
        """Return where to turn to if the first does not answer, or ``homes.NONE``."""
        return str(self.places[1]) if len(self.places) > 1 else NONE


_COLUMNS = {
    "name": str, "author": str, "validated": lambda text: flag(text) if text else None, "new": flag, "rows_paper": int,
    "release_file": str, "benchmark": str, "fields": lambda text: text or NOT_FOUND, "fields_from": str,
    "difficulty": str,
}  # fmt: skip
SOURCES: dict[str, Source] = {
    row["name"]: Source(kind="pot" if row["name"].endswith("(PoT)") else "cot", **row)
    for row in read_facts(Path(__file__).with_name("table1.csv"), _COLUMNS)
}
# The release has a fourteenth `source` value that no table of the paper mentions.
NUMBER_COMPARISON = Source("number_comparison (CoT)", "cot", "not stated", None, True, 0,
                           "data/CoT/number_comparison.json", "numglue")  # fmt: skip


@dataclass
class LoadedSource:
    """Rows and problems of one source.

    Attributes:
        name: Its name in this data set (``mini-...`` in the miniature).
        rationales: Rows with a solution.
        problems: Problems that a teacher must still solve.
        to_write: Problems that a teacher must make up and solve (Self-Instruct).
        missing: What to download and where to put it; empty if the source is there.
        notes: What a reader should know, such as how much of the source this is.
        files: SHA-256 of each file that was read, by its name below the data folder.
        release: The same of the release, which says nothing of licences, and its ``revision``.
        left_out: Which rows of the release were none, so that they belong to no source.
    """

    source: Source
    name: str
    rationales: list[Rationale] = field(default_factory=list)
    problems: list[Problem] = field(default_factory=list)
    to_write: int = 0
    missing: str = ""
    notes: str = ""
    files: dict[str, str] = field(default_factory=dict)
    release: dict[str, str] = field(default_factory=dict)
    left_out: str = ""

    def sample(self, limit: int, seed: int) -> LoadedSource:
        """Keep at most ``limit`` rows (0: all), drawn with the seed, in their old order; return the source itself."""
        if limit > 0:
            self.rationales = _sample(self.rationales, limit, f"{self.name}/{seed}")
            self.problems = _sample(self.problems, limit, f"{self.name}/{seed}")
            self.to_write = min(self.to_write, limit)
        return self


def _sample(rows: list, limit: int, seed: str) -> list:
    chosen = sorted(random.Random(seed).sample(range(len(rows)), min(limit, len(rows))))
    return [rows[index] for index in chosen]


def paper_name(name: str) -> str:
    """Return the paper's name of a source: ``mini-MATH (PoT)`` and ``MATH (PoT)`` are both ``MATH (PoT)``."""
    return name.removeprefix(MINI)


def benchmark_of(source: str) -> str:
    """Return whose grading rule compares answers with the golds of a source; MATH's for one outside Table 1."""
    known = SOURCES.get(paper_name(source))
    return known.benchmark if known else "math"


def table1_place(name: str) -> tuple[int, str]:
    """Return a source's place in Table 1's order; the one that it omits comes behind, any other last."""
    order = [*SOURCES, NUMBER_COMPARISON.name]
    return (order.index(name) if name in order else len(order), name)


def select(sources: str | Iterable[str]) -> tuple[str, ...]:
    """Return the names of the sources that a parameter asks for, in Table 1's order.

    Args:
        sources: ``"all"``, or names separated by commas, with or without ``mini-``; case does not matter.

    Raises:
        ValueError: If a name is unknown or none is given, naming the choices.
    """
    names = sources.split(",") if isinstance(sources, str) else list(sources)
    names = [paper_name(name.strip()) for name in names if name.strip()]
    if [name.lower() for name in names] == ["all"]:
        return tuple(SOURCES)
    known = {name.lower(): name for name in SOURCES}
    unknown = [name for name in names if name.lower() not in known]
    if unknown or not names:
        raise ValueError(f"unknown source {', '.join(map(repr, unknown)) or '(none given)'}; known: all, "
                         + ", ".join(SOURCES))  # fmt: skip
    chosen = {known[name.lower()] for name in names}
    return tuple(name for name in SOURCES if name in chosen)
