"""The thirteen sources of Table 1, and where each one's rows come from in the three data sets."""

from __future__ import annotations

import random
from collections.abc import Iterable
from dataclasses import dataclass, field, replace
from typing import Any

from mammoth_utils import licences
from mammoth_utils.curation.sources.homes import HOMES, MATHINSTRUCT, Home, second
from mammoth_utils.prompts import POT_TRIGGER
from mammoth_utils.rationale import Problem, Rationale
from mammoth_utils.vocabulary import MINI

DATASETS = ("auto", "miniature", "release", "rebuild")
NOT_FOUND = "not found in a source that could be opened"


@dataclass(frozen=True)
class Source:
    """One line of Table 1.

    Attributes:
        name: The paper's name with the kind, such as ``GSM8K (CoT)``.
        kind: ``"cot"`` or ``"pot"``.
        author: Who wrote the rationales, as the paper says.
        validated: Whether the paper calls them validated; None where it says nothing (human rationales).
        new: Whether the paper made it (six are new, seven existed).
        rows_paper: The paper's sample count; rounded there.
        release_file: The value of ``source`` in the published MathInstruct.
        benchmark: Whose grading rule compares a program's output with the gold.
        fields: Fields of mathematics.
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
        """As the paper lists it."""
        return licences.of_source(self.name)

    @property
    def asks_teacher(self) -> bool:
        """Whether the paper had a teacher write these programs."""
        return self.new and self.kind == "pot"

    @property
    def homes(self) -> tuple[Home, ...]:
        """Where it lives, the first choice first."""
        return HOMES.get(self.name, (MATHINSTRUCT,))

    @property
    def home(self) -> str:
        """Where the original lives."""
        real = [home for home in self.homes if home.place != "teacher"]
        return str(real[0])

    @property
    def second_home(self) -> str:
        """Where to turn to if the first does not answer, or the word that there is none."""
        return second(self.homes)


_SEVEN = "algebra, counting & probability, geometry, intermediate algebra, number theory, prealgebra, precalculus"
_THEOREMS = "mathematics, EE & CS, physics, finance"
_ALL = (
    Source("GSM8K (CoT)", "cot", "human", None, False, 7_000, "data/CoT/gsm_train.json", "gsm8k",
           "Pre-Algebra", "the paper", "grade school exam; 2 to 8 steps"),
    Source("GSM8K-RFT (CoT)", "cot", "Llama", True, False, 28_000, "data/CoT/gsm_rft.json", "gsm8k",
           "Pre-Algebra", "the paper", "GSM8K's questions"),
    Source("AQuA-RAT (CoT)", "cot", "human", None, False, 90_000, "data/CoT/aqua_rat.json", "aqua",
           "algebraic word problems", "the set's own description"),
    Source("MATH (CoT)", "cot", "human", None, False, 7_000, "data/CoT/MATH_train.json", "math",
           _SEVEN, "the set's key `type`", "competitions; the set's key `level`, 1 to 5"),
    Source("TheoremQA (CoT)", "cot", "GPT-4", True, True, 600, "data/CoT/TheoremQA.json", "theoremqa",
           _THEOREMS, "the set's key `field`"),
    Source("Camel-Math (CoT)", "cot", "GPT-4", False, False, 50_000, "data/CoT/math50k_camel.json",
           "math", "its topics", "the set's keys `topic` and `sub_topic`"),
    Source("College-Math (CoT)", "cot", "GPT-4", False, True, 1_800, "data/CoT/college_math.json",
           "mmlu_math"),
    Source("GSM8K (PoT)", "pot", "GPT-4", True, True, 14_000, "data/PoT/gsm_gpt4.json", "gsm8k",
           "Pre-Algebra", "the paper", "GSM8K's questions"),
    Source("AQuA-RAT (PoT)", "pot", "GPT-4", True, True, 9_700, "data/PoT/aqua_rat_filtered.json",
           "aqua", "algebraic word problems", "the set's own description"),
    Source("MATH (PoT)", "pot", "GPT-4", True, True, 7_000, "data/PoT/MATH_train.json", "math",
           _SEVEN, "the set's key `type`", "competitions; the set's key `level`, 1 to 5"),
    Source("TheoremQA (PoT)", "pot", "GPT-4", True, True, 700, "data/PoT/TheoremQA.json", "theoremqa",
           _THEOREMS, "the set's key `field`"),
    Source("MathQA (PoT)", "pot", "human", None, False, 25_000, "data/PoT/mathqa.json", "numglue",
           "gain, general, geometry, other, physics, probability", "Lila's categories"),
    Source("NumGLUE (PoT)", "pot", "human", None, False, 13_000, "data/PoT/numglue.json", "numglue",
           "arithmetic in text, by task types", "the set's own description"),
)  # fmt: skip
SOURCES: dict[str, Source] = {source.name: source for source in _ALL}

# The release has a fourteenth `source` value that no table of the paper mentions.
NUMBER_COMPARISON = Source(
    "number_comparison (CoT)", "cot", "not stated", None, True, 0, "data/CoT/number_comparison.json",
    "numglue",
)  # fmt: skip


@dataclass
class Loaded:
    """What one source gave.

    Attributes:
        source: The entry of Table 1.
        name: Its name in this data set (``mini-...`` in the miniature).
        rationales: Rows with a solution.
        problems: Problems that a teacher must still solve.
        wanted: Problems that a teacher must make up and solve (Self-Instruct).
        missing: What to download and where to put it; empty if the source is there.
        notes: What a reader should know, such as how much of the source this is.
        files: SHA-256 of each file that was read, by its name below the data folder.
    """

    source: Source
    name: str
    rationales: list[Rationale] = field(default_factory=list)
    problems: list[Problem] = field(default_factory=list)
    wanted: int = 0
    missing: str = ""
    notes: str = ""
    files: dict[str, str] = field(default_factory=dict)

    def sample(self, limit: int, seed: int) -> Loaded:
        """At most ``limit`` rows (0: all), drawn with the seed, in their old order."""
        if limit > 0:
            self.rationales = _sample(self.rationales, limit, f"{self.name}/{seed}")
            self.problems = _sample(self.problems, limit, f"{self.name}/{seed}")
            self.wanted = min(self.wanted, limit)
        return self


def _sample(rows: list, limit: int, seed: str) -> list:
    chosen = sorted(random.Random(seed).sample(range(len(rows)), min(limit, len(rows))))
    return [rows[index] for index in chosen]


def paper_name(name: str) -> str:
    """The paper's name of a source: ``mini-MATH (PoT)`` and ``MATH (PoT)`` are both ``MATH (PoT)``."""
    return name.removeprefix(MINI)


def select(sources: str | Iterable[str]) -> tuple[str, ...]:
    """Names of the sources that a parameter asks for, in Table 1's order.

    Args:
        sources: ``"all"``, or names separated by commas, with or without ``mini-``; case does not matter.

    Raises:
        ValueError: If a name is unknown or none is given, naming the choices.
    """
    asked = sources.split(",") if isinstance(sources, str) else list(sources)
    asked = [paper_name(name.strip()) for name in asked if name.strip()]
    if [name.lower() for name in asked] == ["all"]:
        return tuple(SOURCES)
    known = {name.lower(): name for name in SOURCES}
    unknown = [name for name in asked if name.lower() not in known]
    if unknown or not asked:
        raise ValueError(f"unknown source {', '.join(map(repr, unknown)) or '(none given)'}; known: all, "
                         + ", ".join(SOURCES))  # fmt: skip
    wanted = {known[name.lower()] for name in asked}
    return tuple(name for name in SOURCES if name in wanted)


def load(dataset: str, names: Iterable[str], limit: int = 0, seed: int = 42, teacher: bool = True) -> list[Loaded]:
    """What each named source holds in one data set, in Table 1's order.

    Args:
        dataset: ``"miniature"``, ``"release"`` or ``"rebuild"``.
        names: Paper names, as ``select`` gives them.
        limit: Rows a source at most; 0 takes all.
        seed: Draws the rows where ``limit`` cuts.
        teacher: Whether problems may be put to a teacher (``rebuild`` lists those sources as missing otherwise).

    Raises:
        ValueError: If the data set is unknown.
        FileNotFoundError: If the release is neither here nor to be fetched.
    """
    from mammoth_utils.curation.sources import rebuild, release

    names = tuple(names)
    if dataset == "miniature":
        loaded = [_miniature(name) for name in names]
    elif dataset == "release":
        loaded = release.load(names)
    elif dataset == "rebuild":
        loaded = [rebuild.load(name, teacher) for name in names]
    else:
        raise ValueError(f"unknown data set {dataset!r}; known: {', '.join(DATASETS)}")
    return [entry.sample(limit, seed) for entry in loaded]


def _miniature(name: str) -> Loaded:
    from mammoth_utils.miniature import sources as world

    mini = MINI + name
    entry = world.SOURCES[mini]
    loaded = Loaded(SOURCES[name], mini)
    if entry.asks_teacher:
        loaded.problems = list(world.unsolved(mini))
    else:
        loaded.rationales = list(world.load(mini))
    return loaded


def writable(row: Rationale | Problem) -> bool:
    """Whether a file can hold a row's texts; half of a surrogate pair, which JSON may name, it cannot."""
    problem = row.problem if isinstance(row, Rationale) else row
    texts = [problem.id, problem.question, problem.gold, problem.field, problem.family, *(problem.options or ())]
    if isinstance(row, Rationale):
        texts += [row.text, row.author, *(value for value in row.history.values() if isinstance(value, str))]
    try:
        "".join(texts).encode()
    except UnicodeEncodeError:
        return False
    return True


def written_out(text: str) -> str:
    """A text with what no file can hold written out: ``\\udc80`` for half of a surrogate pair."""
    return text.encode(errors="backslashreplace").decode()


def all_written_out(row: Rationale) -> Rationale:
    """A row whose every text is written out."""
    one = row.problem
    plain = {name: written_out(getattr(one, name)) for name in ("id", "question", "gold", "field", "family")}
    options = None if one.options is None else tuple(map(written_out, one.options))
    history = {key: written_out(value) if isinstance(value, str) else value for key, value in row.history.items()}
    return row.replaced(problem=replace(one, options=options, **plain), text=written_out(row.text),
                        author=written_out(row.author), history=history)  # fmt: skip


def as_row(rationale: Rationale) -> dict[str, Any]:
    """A rationale as ``mathinstruct.jsonl`` holds it: MathInstruct's three keys and what it does not keep.

    A PoT row's instruction ends in its trigger: the released row's own where it had one, else the code's.
    """
    problem = rationale.problem
    trigger = rationale.history.get("trigger", POT_TRIGGER) if rationale.kind == "pot" else ""
    return {
        "source": rationale.source,
        "instruction": problem.instruction + trigger,
        "output": rationale.text,
        "kind": rationale.kind,
        "gold": problem.gold or None,
        "options": list(problem.options) if problem.options else None,
        "field": problem.field,
        "family": problem.family,
        "author": rationale.author,
        "key": rationale.key,
        "history": {"problem": problem.id, **rationale.history},
    }
