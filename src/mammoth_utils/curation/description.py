"""Description of a curation: its parameters, resolved and checked."""

from __future__ import annotations

import inspect
import math
import re
from dataclasses import asdict, dataclass, replace
from pathlib import Path

from mammoth_utils import paths, records
from mammoth_utils.curation import contamination, filters, own_data
from mammoth_utils.curation.sources import registry
from mammoth_utils.curation.teacher import prompt_files
from mammoth_utils.curation.teacher.teacher import Teacher
from mammoth_utils.miniature import MINIATURE, WORLDS
from mammoth_utils.records import Record
from mammoth_utils.vocabulary import check_known

PAPER_TIMEOUT_S = 5.0
# What a teacher is paid, and how fast and by which way it is asked, decide no row: a run that was stopped by one of
# these goes on with another.
TERMS = ("budget_usd", "price", "batch", "requests_per_minute", "tokens_per_minute", "teacher_timeout_s")


@dataclass(frozen=True)
class Curation:
    """A curation with everything resolved; see ``describe``.

    Attributes:
        dataset: One of ``registry.BUILT_IN``, ``"auto"`` resolved, or a folder below ``runs/curate``.
        sources: Paper names of the sources, in Table 1's order.
        teacher: ``"miniature"``, or the base URL of an OpenAI-compatible endpoint.
        teacher_model: The model's name there.
        price: ``"input,output"`` dollars per million tokens, in place of the table's.
        samples: Answers asked for each problem; more than one needs a temperature.
        temperature: Of the teacher; below 0 leaves it to the endpoint.
        max_tokens: The teacher's longest answer; a reasoning model's thoughts count, so it needs several times more.
        batch: Whether the endpoint's batch API is used: within a day, at a share of the price.
        requests_per_minute: At most so many; 0 sets no limit.
        tokens_per_minute: Sent and allowed for at most; 0 sets no limit.
        seed: Draws the rows where ``limit`` cuts.
        limit: Rows a source at most; 0 takes all.
        agreement: Where prose that disagrees with the gold is thrown out, one of ``filters.AGREEMENT``.
        windows: Lengths in words of the runs that are looked for in the benchmarks.
        decontaminate: The rule under which rows that touch a benchmark are thrown out, or ``"none"``.
        name: The folder below ``runs/curate``.
        versions: Of the packages that decide the rows, and the hash of the teacher's prompt files.
    """

    dataset: str
    sources: tuple[str, ...]
    teacher: str
    teacher_model: str
    budget_usd: float
    price: str
    samples: int
    temperature: float
    max_tokens: int
    batch: bool
    requests_per_minute: int
    tokens_per_minute: int
    teacher_timeout_s: float
    seed: int
    limit: int
    agreement: str
    windows: tuple[int, ...]
    decontaminate: str
    timeout_s: float
    name: str
    versions: dict[str, int | str]

    @property
    def world(self) -> str:
        """Return ``"miniature"`` or ``"real"``."""
        return MINIATURE if self.dataset in WORLDS else "real"

    @property
    def folder(self) -> Path:
        """Return where the run is kept."""
        return paths.run_dir("curate", self.name)

    def teacher_at(self, base_url: str, model: str, concurrency: int = Teacher.concurrency) -> Teacher:
        """Return the teacher behind an endpoint, with this curation's settings, which it checks."""
        return Teacher(
            base_url, model, temperature=None if self.temperature < 0 else self.temperature,
            concurrency=concurrency, budget_usd=self.budget_usd, price=self.price, samples=self.samples,
            batch=self.batch, requests_per_minute=self.requests_per_minute, max_tokens=self.max_tokens,
            tokens_per_minute=self.tokens_per_minute, timeout_s=self.teacher_timeout_s,
        )  # fmt: skip

    def without_teacher(self) -> Curation:
        """Return the same without a teacher, for a dry run: sources that a teacher writes are then missing."""
        if self.teacher == MINIATURE:
            return self
        return replace(self, teacher=MINIATURE, teacher_model="", name=f"{self.name}-dry")

    def as_dict(self) -> Record:
        """Return the description as a record holds it."""
        lists = {"sources": list(self.sources), "windows": list(self.windows)}
        return {"page": "curate", **asdict(self), **lists}

    def identity(self) -> Record:
        """Return what tells one run from another, as ``run.json`` holds it: all but ``TERMS``."""
        return {key: value for key, value in self.as_dict().items() if key not in TERMS}


def describe(
    dataset: str = "auto",
    sources: str = "all",
    teacher: str = MINIATURE,
    teacher_model: str = "",
    budget_usd: float = 0.0,
    price: str = "",
    samples: int = 1,
    temperature: float = 0.0,
    max_tokens: int = Teacher.max_tokens,
    batch: bool = False,
    requests_per_minute: int = 0,
    tokens_per_minute: int = 0,
    teacher_timeout_s: float = Teacher.timeout_s,
    seed: int = 42,
    limit: int = 0,
    agreement: str = "validated",
    windows: str = "8,13",
    decontaminate: str = contamination.EQUAL,
    timeout_s: float = PAPER_TIMEOUT_S,
    name: str = "",
    columns: str = "",
) -> Curation:
    """Return a curation with everything resolved and checked; nothing heavy is loaded.

    ``dataset="auto"`` is the miniature. The name follows from what is not the default: ``rebuild`` takes every
    source, ``rebuild-gsm8k-cot-mathqa-pot`` two of them.

    The arguments are the attributes of ``Curation``; these have another form.

    Args:
        dataset: Also the path of a file of your own rows, which is read here and becomes a data set.
        sources: ``"all"``, or names of Table 1 with commas between them.
        windows: Words in a run, with commas between them.
        name: The folder; empty for the one that follows.
        columns: Of a file of your own, as ``own_data.resolve_dataset`` takes them.

    Raises:
        ValueError: If a value is unknown or out of its range, naming the choices.
    """
    dataset = MINIATURE if dataset == "auto" else own_data.resolve_dataset(dataset, columns)
    own = dataset not in registry.BUILT_IN
    if own and sources != "all":
        raise ValueError(f"sources names those of Table 1, and {dataset} is of your own: leave sources out")
    chosen = () if own else registry.select(sources)
    if limit < 0:
        raise ValueError(f"expected a limit of at least 0 rows a source (0 takes all), got {limit}")
    if not (math.isfinite(timeout_s) and timeout_s > 0):
        raise ValueError(f"expected timeout_s above 0 and finite, the seconds that a program may take, got {timeout_s}")
    check_known("agreement", agreement, filters.AGREEMENT)
    runs_of_words = _windows(windows)
    choices = (*contamination.rules(runs_of_words), contamination.KEEP_ALL)
    if decontaminate not in choices:
        raise ValueError(f"unknown rule {decontaminate!r} for decontaminate; known: {', '.join(choices)}")
    if teacher == MINIATURE:
        from mammoth_utils.miniature import teacher as miniature_teacher

        if teacher_model:
            raise ValueError(f"the miniature's teacher names itself; got teacher_model={teacher_model!r}")
        if (samples, temperature, batch, max_tokens) != (1, 0.0, False, Teacher.max_tokens):
            raise ValueError("the miniature's teacher answers once, the same each time, at its own length, and has no "
                             f"batch API; got samples={samples}, temperature={temperature}, batch={batch}, "
                             f"max_tokens={max_tokens}")  # fmt: skip
        teacher_model = miniature_teacher.model_name(dataset) if dataset in WORLDS else ""
    if not name:
        parts = [dataset, "checked"] if own else [dataset]
        parts += [] if own or len(chosen) == len(registry.SOURCES) else [_slug(each) for each in chosen]
        parts += [] if teacher == MINIATURE else [_slug(teacher_model)]
        parts += [f"x{samples}"] if samples > 1 else []
        parts += [f"max{max_tokens}"] if max_tokens != Teacher.max_tokens else []
        parts += ([f"limit{limit}"] if limit else []) + ([f"s{seed}"] if seed != 42 else [])
        parts += [] if agreement == "validated" else [f"agreement-{agreement}"]
        parts += [] if decontaminate == contamination.EQUAL else [f"clean-{decontaminate.replace('_', '-')}"]
        name = "-".join(parts)
    if not re.fullmatch(r"[A-Za-z0-9][A-Za-z0-9._+-]*", name):
        raise ValueError(f"expected a name of letters, digits and . _ + -, got {name!r}")
    description = Curation(
        dataset, chosen, teacher, teacher_model, float(budget_usd), price, samples, float(temperature), max_tokens,
        batch, requests_per_minute, tokens_per_minute, float(teacher_timeout_s), seed, limit, agreement,
        runs_of_words, decontaminate, float(timeout_s), name, versions(dataset),
    )  # fmt: skip
    if teacher == MINIATURE:  # it is served once it is needed; what it is given must be possible all the same
        description.teacher_at("http://localhost", MINIATURE)
    else:
        description.teacher_at(teacher, teacher_model)
    return description


def describe_again(parameters: Record) -> Curation:
    """Return the description that a record's ``parameters`` hold, as this version of the code resolves it."""
    values = {key: parameters[key] for key in inspect.signature(describe).parameters if key in parameters}
    lists = {key: ",".join(map(str, parameters[key])) or "all" for key in ("sources", "windows")}
    own_teacher = {"teacher_model": ""} if parameters["teacher"] == MINIATURE else {}
    return describe(**{**values, **lists, **own_teacher})


def _windows(text: str) -> tuple[int, ...]:
    """Return the lengths that a parameter names, each once, the shortest first."""
    parts = [part.strip() for part in text.split(",") if part.strip()]
    if not parts or not all(part.isdigit() for part in parts):
        raise ValueError(f"expected windows such as '8,13', got {text!r}")
    return tuple(sorted({int(part) for part in parts}))


def _slug(text: str) -> str:
    return re.sub(r"[^a-z0-9.]+", "-", text.lower()).strip("-")


def versions(dataset: str) -> dict[str, int | str]:
    """Return the versions that a data set depends on, with the hash of the teacher's prompt files."""
    packages = ("curation", "grading", "programs", "prompts", *(("miniature",) if dataset in WORLDS else ()))
    return {**records.versions(*packages), "prompt_files": prompt_files.files_hash()}
