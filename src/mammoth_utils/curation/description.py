"""What a curation makes: its parameters, resolved and checked."""

from __future__ import annotations

import re
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from mammoth_utils import paths, records
from mammoth_utils.curation import sources as table_one
from mammoth_utils.curation import synthesis
from mammoth_utils.curation.teachers import Teacher

MINIATURE = "miniature"
PAPER_TIMEOUT_S = 5.0


@dataclass(frozen=True)
class Curation:
    """What a curation makes, resolved; see ``describe``.

    Attributes:
        dataset: ``"miniature"``, ``"release"`` or ``"rebuild"``.
        sources: Paper names of the sources, in Table 1's order.
        teacher: ``"miniature"``, or the base URL of an OpenAI-compatible endpoint.
        teacher_model: The model's name there.
        budget_usd: Dollars that the teacher may cost.
        price: ``"input,output"`` dollars per million tokens, in place of the table's.
        seed: Draws the rows where ``limit`` cuts.
        limit: Rows a source at most; 0 takes all.
        decontaminate: Whether rows whose question stands in a benchmark are thrown out.
        timeout_s: Seconds a program may take.
        name: The folder below ``runs/curate``.
        code: Hash of the code and prompts that decide the rows.
    """

    dataset: str
    sources: tuple[str, ...]
    teacher: str
    teacher_model: str
    budget_usd: float
    price: str
    seed: int
    limit: int
    decontaminate: bool
    timeout_s: float
    name: str
    code: str

    @property
    def world(self) -> str:
        """``"miniature"`` or ``"real"``."""
        return MINIATURE if self.dataset == MINIATURE else "real"

    @property
    def folder(self) -> Path:
        """Where the run is kept."""
        return paths.run_dir("curate", self.name)

    def as_dict(self) -> dict[str, Any]:
        """The description as ``run.json`` holds it."""
        return {"page": "curate", **asdict(self), "sources": list(self.sources)}


def describe(
    dataset: str = "auto",
    sources: str = "all",
    teacher: str = MINIATURE,
    teacher_model: str = "",
    budget_usd: float = 0.0,
    price: str = "",
    seed: int = 42,
    limit: int = 0,
    decontaminate: bool = True,
    timeout_s: float = PAPER_TIMEOUT_S,
    name: str = "",
) -> Curation:
    """A curation with everything resolved and checked; nothing heavy is loaded.

    ``dataset="auto"`` is the miniature. The name follows from what is not the default: ``rebuild`` takes every
    source, ``rebuild-gsm8k-cot-mathqa-pot`` two of them.

    Raises:
        ValueError: If a value is unknown or cannot be, naming the choices.
    """
    if dataset not in table_one.DATASETS:
        raise ValueError(f"unknown data set {dataset!r}; known: {', '.join(table_one.DATASETS)}")
    dataset = MINIATURE if dataset == "auto" else dataset
    chosen = table_one.select(sources)
    if limit < 0 or timeout_s <= 0:
        raise ValueError(f"expected a limit of at least 0 and a time limit above 0, got {limit} and {timeout_s}")
    if teacher == MINIATURE:
        from mammoth_utils.miniature.teacher import model_name

        if teacher_model:
            raise ValueError(f"the miniature's teacher names itself; got teacher_model={teacher_model!r}")
        teacher_model = model_name() if dataset == MINIATURE else ""
    else:
        Teacher(teacher, teacher_model, budget_usd=budget_usd, price=price)  # refuses what cannot be
    if not name:
        parts = [dataset]
        parts += [] if len(chosen) == len(table_one.SOURCES) else [_slug(each) for each in chosen]
        parts += [] if teacher == MINIATURE else [_slug(teacher_model)]
        parts += ([f"limit{limit}"] if limit else []) + ([f"s{seed}"] if seed != 42 else [])
        parts += [] if decontaminate else ["contaminated"]
        name = "-".join(parts)
    if not re.fullmatch(r"[A-Za-z0-9][A-Za-z0-9._+-]*", name):
        raise ValueError(f"expected a name of letters, digits and . _ + -, got {name!r}")
    code = code_hash(dataset)
    return Curation(dataset, chosen, teacher, teacher_model, float(budget_usd), price, seed, limit, decontaminate,
                    float(timeout_s), name, code)  # fmt: skip


def _slug(text: str) -> str:
    return re.sub(r"[^a-z0-9.]+", "-", text.lower()).strip("-")


def code_hash(dataset: str) -> str:
    from mammoth_utils.miniature.teacher import CODE

    ours = ("curation", "grading", "programs", "rationale.py", "prompts.py", *(CODE if dataset == MINIATURE else ()))
    prompt = synthesis.prompt("pot").sha256
    return records.fingerprint([records.code_fingerprint(*ours), prompt])
