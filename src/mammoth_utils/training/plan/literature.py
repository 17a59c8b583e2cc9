"""The planner against the literature: published memory and speed (``literature.yaml``) beside what the planner says."""

from __future__ import annotations

from dataclasses import dataclass, field
from functools import cache
from pathlib import Path
from typing import Any

import yaml

from mammoth_utils.base_models import ARCHITECTURES, Architecture
from mammoth_utils.training.plan.gpu_fit import fits, total_gib
from mammoth_utils.training.plan.gpu_models import gpu_model
from mammoth_utils.training.plan.memory import GIB, memory_by_part
from mammoth_utils.training.plan.run_cost import flops_per_token

FILE = Path(__file__).with_suffix(".yaml")


@dataclass(frozen=True)
class PublishedMemory:
    """One published figure of memory.

    Attributes:
        run: Model, method and GPUs.
        source: Publication and place in it.
        why: Why the planner's figure differs.
        gib: GiB of one GPU as published; None if only "it fits", or "it does not", was published.
        limit: GiB that the GPU has, if the claim is that the run fits; None otherwise.
        fits: Whether it was said to fit ``limit``.
        tokens: Tokens of a pass.
        gpus: GPUs that share it.
        options: Further arguments of :func:`memory_by_part`.
        parts: Parts that the figure counts; empty for all.
    """

    run: str
    source: str
    why: str
    architecture: Architecture
    method: str
    gib: float | None = None
    limit: float | None = None
    fits: bool = True
    tokens: int = 2048
    gpus: int = 1
    options: dict[str, Any] = field(default_factory=dict)
    parts: tuple[str, ...] = ()

    @property
    def planned(self) -> float:
        """Return the planner's GiB of one GPU."""
        parts = memory_by_part(self.architecture, self.method, self.tokens, self.gpus, **self.options)
        return sum(value for key, value in parts.items() if not self.parts or key in self.parts) / GIB

    @property
    def agrees(self) -> bool | None:
        """Return whether the planner confirms a claim that the run fits, or does not; None without such a claim.

        The claim is of a run that was done, if need be to the GPU's edge, and loaded in its authors' way.
        """
        return None if self.limit is None else (self.planned <= self.limit) == self.fits

    @property
    def starts_here(self) -> bool | None:
        """Return whether this book would start the run: loaded in its own way, within ``FIT`` of the GPU."""
        if self.limit is None:
            return None
        options = {"rank": 64, **self.options, "whole_first": True}
        return fits(total_gib(self.architecture, self.method, self.tokens, self.gpus, **options), self.limit)


@dataclass(frozen=True)
class PublishedSpeed:
    """One published run's time: 1,024 rows of 2,048 tokens, with checkpointing.

    Attributes:
        run: Model and method.
        gpu: A name of ``gpu_models.csv``.
        seconds: As published.
        method: ``lora`` or ``qlora``.
    """

    run: str
    gpu: str
    gpus: int
    seconds: float
    architecture: Architecture
    method: str

    @property
    def tokens_per_second(self) -> float:
        """Return the speed over all GPUs."""
        return 1024 * 2048 / self.seconds

    @property
    def efficiency(self) -> float:
        """Return the share of the GPUs' peak, with operations counted as the planner counts them."""
        work = flops_per_token(self.architecture, self.method) * self.tokens_per_second
        return work / (self.gpus * gpu_model(self.gpu).peak_flops)


@cache
def _document() -> dict[str, Any]:
    return yaml.safe_load(FILE.read_text(encoding="utf8"))


def _architecture(model: str) -> Architecture:
    """Return a model of the file, or of a scale named by size and family; raise ValueError if there is none."""
    numbers = _document()["architectures"].get(model)
    if numbers is not None:
        return Architecture(**numbers)
    size, _, family = model.partition(" ")
    if (size, family) not in ARCHITECTURES:
        raise ValueError(f"{FILE.name}: unknown model {model!r}")
    return ARCHITECTURES[size, family]


@cache
def published_memory() -> tuple[PublishedMemory, ...]:
    """Read the published figures of memory.

    Raises:
        ValueError: If an entry names an unknown model.
        TypeError: If an entry has a key that is unknown or lacks one.
    """
    figures = []
    for row in map(dict, _document()["memory"]):
        for name, key in (("gib", "gb"), ("limit", "limit_gb")):
            if key in row:
                row[name] = row.pop(key) * 1e9 / GIB
        source, where = _document()["sources"][row.pop("source")], row.pop("where", "")
        figures.append(PublishedMemory(
            source=f"{source}, {where}" if where else source, architecture=_architecture(row.pop("model")),
            parts=tuple(row.pop("parts", ())), **row,
        ))  # fmt: skip
    return tuple(figures)


@cache
def published_speed() -> tuple[PublishedSpeed, ...]:
    """Read the published times."""
    rows = map(dict, _document()["speed"])
    return tuple(PublishedSpeed(architecture=_architecture(row.pop("model")), **row) for row in rows)


def published_memory_table() -> list[dict[str, Any]]:
    """Return a row per published figure: theirs, ours, the difference and why."""
    rows = []
    for figure in published_memory():
        claim = "" if figure.limit is None else f"{'fits' if figure.fits else 'does not fit'} {figure.limit:.1f} GiB"
        verdict = "" if figure.agrees is None else "agrees" if figure.agrees else "disagrees"
        here = "" if figure.starts_here is None else "fits" if figure.starts_here else "does not fit"
        rows.append({
            "run": figure.run, "published, GiB a card": figure.gib, "claim": claim, "ours, GiB": figure.planned,
            "difference, %": None if figure.gib is None else 100 * (figure.planned / figure.gib - 1),
            "on the claim": verdict, "in this book": here, "why": figure.why, "source": figure.source,
        })  # fmt: skip
    return rows


def published_speed_table() -> list[dict[str, Any]]:
    """Return a row per published time: tokens a second and the share of the peak."""
    return [
        {"run": time.run, "cards": f"{time.gpus} x {time.gpu}", "seconds": time.seconds,
         "tokens a second": time.tokens_per_second, "share of the peak, %": 100 * time.efficiency,
         "source": _document()["sources"]["answer"]}
        for time in published_speed()
    ]  # fmt: skip
