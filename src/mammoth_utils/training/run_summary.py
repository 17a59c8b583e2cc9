"""A run in sentences and tables: the origin of its settings, its duration, and how to evaluate it."""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Any

from mammoth_utils import paths, prompts, scales
from mammoth_utils.base_models import architecture_of
from mammoth_utils.processors import count_cores, measure_product_rate
from mammoth_utils.status_line import duration
from mammoth_utils.training.description import RunDescription, describe
from mammoth_utils.training.plan import run_cost
from mammoth_utils.training.plan.gpu_models import GPU_MODELS, GpuModel
from mammoth_utils.training.plan.this_machine import Gpu

SAMPLE = 300  # rows whose tokens are counted; they are in a random order
FEW_STEPS = 10
# Of the rate of a large product, which a step reaches on a CPU where every weight is counted as multiplied. The
# embedding is not, and the head for the rationale only, which makes up for most of what is no product (at 0.5B).
CPU_EFFICIENCY = 0.95


def recipe_table(description: RunDescription) -> list[dict[str, Any]]:
    """Return a row per setting of a run: its value, and whether that is the paper's, the authors', ours or asked for.

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


def count_steps(description: RunDescription, rows: int) -> int:
    """Return the optimiser steps of a run over that many rows, if none of them is left out."""
    trained = rows - round(description.validation * rows)
    return description.max_steps or max(1, round(description.epochs * trained / description.global_batch))


def evaluation_parameters(description: RunDescription) -> dict[str, str | int]:
    """Return the parameters by which the page `evaluate` finds this model.

    They are the run's own if its name follows from them, else its folder.
    """
    model = {"size": description.size, "family": description.family}
    usual = describe(description.size, description.family, description.method, description.mixture,
                     seed=description.seed).name  # fmt: skip
    if description.name == usual:
        return {**model, "mixture": description.mixture, "method": description.method, "seed": description.seed}
    return {**model, "model": paths.relative_to_root(description.folder)}


def _duration_on_cpu(description: RunDescription, tokens: float) -> str:
    """Return how long a run takes on this processor, by its rate at a large matrix product."""
    scale = scales.scale(description.size, description.family)
    architecture = architecture_of(scale, description.base, description.revision)
    cores = count_cores()
    flops = run_cost.flops_per_token(architecture, description.method, description.lora_rank, checkpointing=False)
    seconds = tokens * flops / (CPU_EFFICIENCY * measure_product_rate(cores))
    return (
        f"about {duration(seconds)} on {cores} core{'s' if cores > 1 else ''}, if nothing else runs beside it; after "
        "three passes the run says it more exactly"
    )


def estimate_duration(
    description: RunDescription, rows: Sequence[dict[str, Any]], tokenizer: Any, gpus: Sequence[Gpu] = ()
) -> str:
    """Say in a sentence how many tokens a run reads and, on known GPUs, how long that takes and what it costs.

    The tokens are estimated from the first rows, which are in a random order, the hours from a stated share of the
    GPUs' peak. ``gpus`` are those of each machine that trains.
    """
    texts = [prompts.alpaca(row["instruction"]) + row["output"] for row in rows[:SAMPLE]]
    mean = 1 + sum(map(len, tokenizer(texts).input_ids)) / len(texts)
    steps = count_steps(description, len(rows))
    examples = steps * description.global_batch if description.max_steps else description.epochs * len(rows)
    tokens = mean * examples
    sentence = f"{examples:,} examples of {mean:,.0f} tokens, {tokens / 1e6:,.2f} million tokens in {steps:,} steps"
    if steps < FEW_STEPS and not description.max_steps:
        sentence += (
            f" of {description.global_batch} examples: so few steps teach a model hardly anything. More passes over "
            f"the same rows are -p epochs {max(20, 2 * description.epochs)}, or -p max_steps 50"
        )
    if description.on_cpu and not description.miniature:
        return f"{sentence}; {_duration_on_cpu(description, tokens)}"
    taken = [] if description.miniature else gpus
    taken = taken[: int(description.devices)] if description.devices.isdigit() else taken
    model = find_gpu_model(taken[0]) if taken else None
    if model is None:
        return sentence
    scale = scales.scale(description.size, description.family)
    architecture = architecture_of(scale, description.base, description.revision)
    count = len(taken) * description.nodes
    cost = run_cost.estimate_cost(architecture, description.method, model, count, tokens, rank=description.lora_rank)
    money = "" if cost.dollars is None else f", {cost.dollars:,.0f} dollars at {cost.price_source}"
    return (
        f"{sentence}; about {cost.hours:,.1f} hours on {count} x {model.name} at {run_cost.EFFICIENCY:.0%} of their "
        f"peak, an estimate{money}"
    )


def find_gpu_model(gpu: Gpu) -> GpuModel | None:
    """Return the listed GPU that a driver's name and memory mean, such as ``NVIDIA H100 80GB HBM3``, or None."""

    def matches(model: GpuModel) -> bool:
        words = [word for word in model.name.split() if not re.fullmatch(r"\d+GB", word)]
        return all(re.search(rf"\b{word}\b", gpu.name) for word in words)

    return min(filter(matches, GPU_MODELS.values()), key=lambda model: abs(model.gib - gpu.whole), default=None)
