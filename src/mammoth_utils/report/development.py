"""What the development split of the miniature told before the test split was opened.

It alone chose the world, the bases and the reference of C9, and it foretells how wide the claims' intervals will be.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from functools import cache
from typing import Any

from mammoth_utils import paths, records
from mammoth_utils.records import Record
from mammoth_utils.report import measured_models, statistics
from mammoth_utils.report.claim_definitions import CLAIMS, HYBRID, HYBRID_COT, HYBRID_POT, REASONING
from mammoth_utils.report.measured_models import DecodedModel, EvaluationRecord

SEEDS = 5  # of every model that a claim reads, once all of them are measured
FILE = "miniature/development.json"
OPEN_IN_DOMAIN = {"in_domain": True, "choice": False}


def read() -> Record | None:
    """Return the committed record of the development split; None without one."""
    file = paths.records() / FILE
    return records.read_json(file) if file.is_file() else None


@cache
def read_half_widths() -> dict[str, dict[str, float]]:
    """Return by claim and part what `expected_half_widths` gave before the test split was opened."""
    record = read()
    return record["half_widths"] if record else {}


def measure_development(given: Iterable[EvaluationRecord | Mapping[str, Any]], seeds: int = SEEDS) -> Record:
    """Return the record of the development split: each model's accuracies, and how wide the intervals will be.

    Args:
        given: Evaluations on that split.
        seeds: As many as will be measured on the test split.
    """
    evaluations = [one for one in measured_models.as_evaluations(given) if one.covers("dev")]
    accuracies = {
        f"{one.model.label}, seed {one.seed}": {
            name: score["corrected"]["correct"] / score["n"] for name, score in one.record["benchmarks"].items()
        }
        for one in evaluations
    }
    return {
        "schema": records.SCHEMA, "page": "development", "world": "miniature",
        "inputs": evaluations[0].record["inputs"], "seeds": seeds, "accuracies": dict(sorted(accuracies.items())),
        "hybrid": _hybrid_shares(evaluations),
        "half_widths": expected_half_widths(evaluations, seeds), "environment": evaluations[0].record["environment"],
    }  # fmt: skip


def _hybrid_shares(evaluations: Iterable[EvaluationRecord]) -> dict[str, float]:
    """Return the hybrid model's accuracies, as fractions, by which the world was chosen."""

    def share(model: DecodedModel, **items: Any) -> float:
        sample = measured_models.sample(measured_models.seeds_of(model, evaluations, split="dev"), **items)
        return sample.accuracy if sample else float("nan")

    return {
        "programs on open questions in domain": share(HYBRID_POT, **OPEN_IN_DOMAIN),
        "prose on open questions in domain": share(HYBRID_COT, **OPEN_IN_DOMAIN),
        "prose on logic and abstract algebra": share(HYBRID_COT, **REASONING),
        "average in domain": share(HYBRID, in_domain=True),
        "average out of domain": share(HYBRID, in_domain=False),
        **{name: share(HYBRID, benchmarks=(name,)) for name in measured_models.MINI_BENCHMARKS},
    }


def expected_half_widths(
    given: Iterable[EvaluationRecord | Mapping[str, Any]], seeds: int
) -> dict[str, dict[str, float]]:
    """Return by claim and part the half-width, as a fraction, that the development split foretells for so many seeds.

    Args:
        given: Evaluations on the development split, at two seeds at least of each model that is trained.
    """
    evaluations = measured_models.as_evaluations(given)
    widths: dict[str, dict[str, float]] = {}
    for claim in CLAIMS:
        measured = measured_models.seeds_by_model(claim.needs, evaluations, split="dev")
        for part in claim.parts:
            if all(measured[model] for model in part.models):
                interval = statistics.contrast(part.samples(measured, "corrected"), part.log_odds, seeds)
                widths.setdefault(claim.id, {})[part.name] = (interval.high - interval.low) / 2
    return widths
