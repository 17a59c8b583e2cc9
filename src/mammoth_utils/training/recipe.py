"""What a page says of a run before and after it: whose its settings are, how long it is, and what evaluates it."""

from __future__ import annotations

from typing import Any

from mammoth_utils import paths, scales
from mammoth_utils.training.describe import RunDescription, describe


def recipe_table(description: RunDescription) -> list[dict[str, Any]]:
    """A row per setting of a run: its value here, and whose it is: the paper's, the authors' code's, ours or asked for.

    A value that departs from the scale's recipe was asked for, and its row says what the recipe has.
    """
    rows = []
    for row in scales.recipe_table(description.size, description.family, description.method):
        field, recipe = row.pop("field"), row["value"]
        value = getattr(description, field) if field else recipe
        if value != recipe:
            row |= {"value": value, "whose": "asked for", "why": f"the recipe has {recipe!r} ({row['whose']})"}
        rows.append(row)
    return rows


def steps(description: RunDescription, rows: int) -> int:
    """Optimiser steps of a run over so many rows, as long as none of them is left out."""
    return description.max_steps or max(1, round(description.epochs * rows / description.global_batch))


def evaluation(description: RunDescription) -> dict[str, Any]:
    """The parameters by which the page `evaluate` finds this very model.

    They are the run's own where its name follows from them, else its folder.
    """
    found = {"size": description.size, "family": description.family}
    usual = describe(description.size, description.family, description.method, description.mixture,
                     seed=description.seed).name  # fmt: skip
    if description.name == usual:
        return {**found, "mixture": description.mixture, "method": description.method, "seed": description.seed}
    place = description.folder
    inside = place.is_relative_to(paths.root())
    return {**found, "model": str(place.relative_to(paths.root()) if inside else place)}
