"""The tables of the page `hardware`: what each scale costs on one kind of GPU, and the planner against measurement."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from mammoth_utils import paths, records, scales
from mammoth_utils.base_models import ARCHITECTURES
from mammoth_utils.records import Record
from mammoth_utils.training.description import describe
from mammoth_utils.training.plan.gpu_fit import largest_micro_batch, plan_memory
from mammoth_utils.training.plan.gpu_models import GpuModel, gpu_model
from mammoth_utils.training.plan.measurements import compare_measurement
from mammoth_utils.training.plan.memory import METHODS, PARTS
from mammoth_utils.training.plan.planner import advise, choose_sharding, sharing_and_replicas
from mammoth_utils.training.plan.run_cost import estimate_cost, hourly_price


@dataclass(frozen=True)
class Hardware:
    """The GPUs that a page plans for, and how a run uses them.

    Attributes:
        gpus: How many share a run.
        price: Dollars an hour of one GPU; None takes the dated list's.
        max_length: Tokens of a packed row.
        micro_batch: Rows of one pass.
        checkpointing: Whether activations are recomputed in the backward pass.
    """

    gpu: GpuModel
    gpus: int = 1
    price: float | None = None
    max_length: int = 2048
    micro_batch: int = 1
    checkpointing: bool = True

    def __post_init__(self) -> None:
        for name in ("gpus", "max_length", "micro_batch"):
            if getattr(self, name) < 1:
                raise ValueError(f"{name} is {getattr(self, name)}; expected at least 1")

    @classmethod
    def of(cls, gpu: str, gpus: int, price: float, max_length: int, micro_batch: int, checkpointing: bool) -> Hardware:
        """Return the hardware that a page's parameters name; a price of 0 takes the dated list's.

        Raises:
            ValueError: If the GPU is unknown or a number is too small.
        """
        return cls(gpu_model(gpu), gpus, price or None, max_length, micro_batch, checkpointing)

    @property
    def price_source(self) -> str:
        """Return the price of one GPU and where it is from, in words."""
        return hourly_price(self.gpu, self.price)[1]

    def __str__(self) -> str:
        return f"{self.gpus} x {self.gpu.name}, {self.gpu.gib:.1f} GiB each" + ("" if self.gpu.bf16 else ", no bf16")


def scale_table(hardware: Hardware) -> list[dict[str, Any]]:
    """Return a row per real scale and method: GiB of a GPU by part, whether it fits, and what the run takes if it does.

    Each card holds the whole run where that fits, as in a run with ``sharding=auto``; else they share it. ``cards`` are
    the hardware's or, if these do not carry the run, the fewest that do; speed, hours and dollars are those of the
    paper's three epochs on so many. Empty if 64 do not carry it, or as many as a step has examples.
    """
    rows = []
    for (size, family), architecture in ARCHITECTURES.items():
        recipe = scales.scale(size, family).recipe
        rank, gib = recipe.lora_rank, hardware.gpu.gib
        for method in METHODS:
            tokens, options = hardware.max_length * hardware.micro_batch, {"checkpointing": hardware.checkpointing}
            batch = recipe.batch(method)
            sharding = choose_sharding(architecture, method, tokens, hardware.gpus, gib, rank, **options)
            sharing, replicas = sharing_and_replicas(hardware.gpus, sharding)
            plan = plan_memory(architecture, method, tokens, sharing, gib, rank, batch, **options, replicas=replicas)
            gpus = hardware.gpus if plan.fits else plan.fewest
            if not plan.fits:  # on the fewest that carry it they share it, or there is one
                sharing, replicas = gpus or 1, 1
            cost = largest = None
            if gpus is not None:
                cost = estimate_cost(
                    architecture, method, hardware.gpu, gpus, price=hardware.price, rank=rank, **options
                )
                largest = largest_micro_batch(
                    architecture, method, hardware.max_length, sharing, gib, rank, batch, **options, replicas=replicas
                )
            rows.append({
                "size": size, "family": family, "method": method,
                **{part: getattr(plan, part) for part in PARTS},
                "total": plan.total, "fits": plan.fits, "cards": gpus, "largest micro_batch": largest,
                "each card holds": None if gpus is None else "all" if sharing == 1 else "a share",
                "tokens a second": cost and cost.tokens_per_second, "hours": cost and cost.hours,
                "card-hours": cost and cost.card_hours, "dollars": cost and cost.dollars,
            })  # fmt: skip
    return rows


def advice_table(hardware: Hardware) -> list[dict[str, Any]]:
    """Return a row per scale and method that does not fit the hardware, with the sentence that says what would help."""
    rows = []
    for size, family in ARCHITECTURES:
        for method in METHODS:
            description = describe(size, family=family, method=method, max_length=hardware.max_length,
                                   micro_batch=hardware.micro_batch, devices="cpu")  # fmt: skip
            advice = advise(description, hardware.gpus, hardware.gpu.gib, hardware.checkpointing)
            if not advice.fits:
                rows.append({"size": size, "family": family, "method": method, "advice": advice.sentence})
    return rows


def merge_families(rows: Iterable[Mapping[str, Any]]) -> list[dict[str, Any]]:
    """Return rows of one size as one where only the family differs, or figures by less than a part in a hundred."""
    merged: list[dict[str, Any]] = []
    for row in rows:
        if same := next((other for other in merged if _alike(other, row)), None):
            same["family"] += f", {row['family']}"
        else:
            merged.append(dict(row))
    return merged


def _alike(first: Mapping[str, Any], second: Mapping[str, Any]) -> bool:
    return all(
        math.isclose(value, second[name], rel_tol=0.01)
        if isinstance(value, float) and isinstance(second[name], float)
        else value == second[name]
        for name, value in first.items()
        if name != "family"
    )


def gpu_table() -> list[dict[str, Any]]:
    """Return a row per run that ``speed/gpu.py`` measured on a GPU, beside its plan; empty without such a record."""
    rows = []
    for file in sorted(paths.records().glob("*/gpu.json")):
        record = records.read_json(file)
        if not record["shown"]:
            continue
        for part in record["parts"].values():
            if "tokens_a_second" not in part:
                continue
            rows.append({
                "device": record["device"], "size": record["size"], "method": part["method"],
                "batches": part["way"], "optimizer": part["optimizer"], "tokens a pass": part["tokens_a_pass"],
                "planned, GiB": part["planned_gib"], "measured, GiB": part["peak_gib"],
                "difference, %": 100 * (part["planned_gib"] / part["peak_gib"] - 1),
                "tokens a second": part["tokens_a_second"],
                "share of a matrix product's rate, %": 100 * part["share_of_the_rate"],
            })  # fmt: skip
    return rows


def measured_table(record: Record) -> list[dict[str, Any]]:
    """Return a row per measured run beside the planner of today, differences in per cent of the measured value."""
    return [
        {
            "net": run.shape, "weights, M": run.parameters / 1e6, "method": run.method, "computes in": run.compute,
            "activations": "made again" if run.checkpointing else "kept",
            "weights, gradients, states": "to the byte" if run.exact else "differ", "saved, %": 100 * run.saved,
            "planned, MB": run.planned / 1e6, "measured, MB": run.measured / 1e6, "peak, %": 100 * run.peak,
        }
        for run in map(compare_measurement, record["cases"])
    ]  # fmt: skip
