"""What a page says of a run before and after it: whose its settings are, how long it takes, and what evaluates it."""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Any

from mammoth_utils import paths, prompts, scales
from mammoth_utils.base_models import architectures
from mammoth_utils.training.description import RunDescription, describe
from mammoth_utils.training.plan import advice, gpu_models
from mammoth_utils.training.plan import cost as costs

SAMPLE = 300  # rows whose tokens are counted; they are in a random order


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


def outlook(description: RunDescription, rows: Sequence[dict[str, Any]], tokenizer: Any) -> str:
    """How much a run reads and, on cards that the planner knows, how long that takes and what it costs, in a sentence.

    The tokens follow from a sample of the rows; hours from a stated share of the cards' peak. An estimate.

    Args:
        description: The run.
        rows: The mixture, in a random order.
        tokenizer: The base model's.
    """
    texts = [prompts.alpaca(row["instruction"]) + row["output"] for row in rows[:SAMPLE]]
    mean = 1 + sum(map(len, tokenizer(texts).input_ids)) / len(texts)
    count = steps(description, len(rows))
    examples = count * description.global_batch if description.max_steps else description.epochs * len(rows)
    tokens = mean * examples
    said = f"{examples:,} examples of {mean:,.0f} tokens, {tokens / 1e6:,.2f} million tokens in {count:,} steps"
    listed = [] if description.devices == "cpu" or description.miniature else advice.gpus()
    listed = listed if description.devices in ("auto", "cpu") else listed[: int(description.devices)]
    known = card_like(listed[0]) if listed else None
    if known is None:
        return said
    scale = scales.scale(description.size, description.family)
    architecture = architectures.architecture_of(scale, description.base, description.revision)
    many = len(listed) * description.nodes
    cost = costs.cost(architecture, description.method, known, many, tokens, rank=description.lora_rank)
    money = "" if cost.dollars is None else f", {cost.dollars:,.0f} dollars at {cost.said}"
    return (
        f"{said}; about {cost.hours:,.1f} hours on {many} x {known.name} at {costs.EFFICIENCY:.0%} of their peak, an "
        f"estimate{money}"
    )


def card_like(gpu: advice.Gpu) -> gpu_models.Card | None:
    """The card of the planner's list that a driver's name and memory mean, or None: ``NVIDIA H100 80GB HBM3``."""

    def named(card: gpu_models.Card) -> bool:
        words = [word for word in card.name.split() if not re.fullmatch(r"\d+GB", word)]
        return all(re.search(rf"\b{word}\b", gpu.name) for word in words)

    return min(filter(named, gpu_models.CARDS.values()), key=lambda card: abs(card.gib - gpu.whole), default=None)
