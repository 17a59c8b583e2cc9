"""The run description: one training run with every value resolved and checked, before torch is loaded."""

from __future__ import annotations

import dataclasses
import math
import os
import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from mammoth_utils import paths, scales
from mammoth_utils.base_models import PROJECTIONS, find_folder, is_gguf, required_rope_theta, scale_of
from mammoth_utils.curation import resolve_dataset
from mammoth_utils.records import Record
from mammoth_utils.training.plan import planner
from mammoth_utils.training.plan.memory import OPTIMIZERS
from mammoth_utils.training.plan.this_machine import Gpu
from mammoth_utils.training.start_model import StartModel, find_start
from mammoth_utils.vocabulary import RunName, check_known

MAX_SEED = 2**31 - 1
NOT_STORED = ("force", "nodes")  # parameters of the page that are no part of the run
# Words to the machine: a step reads the same examples whatever they are, so a run that was stopped goes on with others.
TERMS = ("checkpoint_minutes", "devices", "sharding", "micro_batch", "logging_steps", "trackers")
FORCE_VARIABLE = "MAMMOTH_FORCE"  # "1" hands the page's `force` on to the processes that it starts
CHECKPOINT_MINUTES = 30.0
MAX_LEFT_OUT = 0.05  # share of the rows that may be too long, empty or hold special tokens before a run is refused
SHARDINGS = ("auto", "none", "fsdp2")
MASTER_WEIGHTS = ("fp32", "bf16")
ALL_LINEAR = "all-linear"
MAX_VALIDATION = 0.5
TRACKERS = ("tensorboard", "trackio", "wandb")
# Checks that compare two losses, and could find a difference that is only another kernel's rounding.
SKIPPABLE = ("packing", "first_loss", "shards", "drift")


@dataclass(frozen=True)
class RunDescription:
    """One training run with every value resolved. As JSON it is ``run.json``, which ``torchrun`` is given.

    Attributes:
        name: The run's folder below ``runs/train``; follows from the parameters unless it was given.
        world: ``"miniature"`` or ``"real"``.
        family: Family of the base model, never ``auto``.
        method: ``full``, ``lora`` or ``qlora``, never ``auto``.
        method_reason: Why this method was chosen, in a sentence.
        dataset: ``miniature``, ``release``, ``rebuild``, or the name of a ``runs/curate`` folder.
        base: Hub name or folder of the base model; the miniature's as a name below ``models/miniature``.
        revision: Commit, tag or branch of the base on its hub; empty takes the newest, and the record has its commit.
        rope_theta: Value that the base's configuration must have, or None for any.
        seed: Seeds the order of the data and the initial adapter.
        epochs: Passes over the mixture.
        max_steps: Optimiser steps; 0 runs all epochs.
        max_length: Tokens of a packed row; longer examples are left out and counted.
        micro_batch: Packed rows per device pass at most; a step takes the fewest passes that this allows.
        global_batch: Examples per optimiser step.
        learning_rate: Peak rate.
        warmup: Share of the steps in which the rate rises.
        lora_rank: Rank of the adapters; 0 for ``full``.
        lora_alpha: Scale of the adapters; 0 for ``full``.
        lora_dropout: Dropout in front of the adapters.
        lora_targets: Matrices of a layer that have adapters: ``all-linear``, or names with commas; empty for ``full``.
        validation: Share of the rows that is held out: drawn by the seed, never trained on, read along the curve.
        max_rows: Rows at most, of each source its share, the first in the order of the seed; 0 for all.
        adapter: Folder of the adapter that the run goes on from; empty for a fresh one.
        devices: ``auto``, ``cpu``, or how many devices as text.
        sharding: ``fsdp2`` cuts weights, gradients and optimiser states over the devices; ``none`` keeps a whole
            copy on each.
        master_weights: Type in which full fine-tuning keeps its weights: ``fp32``, or ``bf16`` at half the memory,
            which loses most updates (measured at the paper's rates: 84 % of the weights stay unchanged).
        optimizer: ``adamw``; ``adamw_8bit`` keeps its two moments in 8 bit, ``paged_adamw_8bit`` in the machine's own
            memory too. Neither works on weights that are cut over devices.
        skip_checks: Checks of ``SKIPPABLE`` whose differences are recorded and stop nothing, comma-separated.
        max_left_out: Share of the rows that may be left out before the run is refused.
        checkpoint_minutes: Minutes between checkpoints; 0 keeps none, and a killed run starts again.
        trackers: Trackers that get the curve besides ``curve.jsonl``, comma-separated; may be empty.
        logging_steps: Optimiser steps between two points of the curve.
        force: Start although the planner says that it cannot fit. Like ``nodes`` it is for the page that starts the
            run, and ``run.json`` does not hold it.
        nodes: Machines that share the run; more than one are started by hand or by a cluster's scheduler.
    """

    name: str
    world: str
    size: str
    family: str
    method: str
    method_reason: str
    mixture: str
    dataset: str
    base: str
    revision: str
    rope_theta: float | None
    seed: int
    epochs: int
    max_steps: int
    max_length: int
    micro_batch: int
    global_batch: int
    learning_rate: float
    warmup: float
    weight_decay: float
    lora_rank: int
    lora_alpha: float
    lora_dropout: float
    devices: str
    sharding: str
    master_weights: str
    max_left_out: float
    checkpoint_minutes: float
    logging_steps: int
    trackers: str
    lora_targets: str = ""
    validation: float = 0.0
    max_rows: int = 0
    adapter: str = ""
    optimizer: str = "adamw"
    skip_checks: str = ""
    force: bool = False
    nodes: int = 1

    @property
    def folder(self) -> Path:
        """Return the folder of the run's weights, curve and record."""
        return paths.run_dir("train", self.name)

    @property
    def miniature(self) -> bool:
        """Return whether the run belongs to the miniature world."""
        return self.world == "miniature"

    @property
    def base_path(self) -> str:
        """Return what transformers loads: a folder if there is one, also in ``MAMMOTH_BASES``, else the hub name."""
        if self.miniature and "/" not in self.base and "\\" not in self.base:
            return str(paths.miniature_models() / self.base)
        folder = find_folder(self.base)
        return self.base if folder is None else str(folder)

    @property
    def base_source(self) -> tuple[str, str, str]:
        """Return name, revision and path of the base model, as ``base_models.fetch_base`` takes them."""
        return self.base, self.revision, self.base_path

    @property
    def tracker_names(self) -> tuple[str, ...]:
        """Return the trackers, each once."""
        return tuple(dict.fromkeys(name for part in self.trackers.split(",") if (name := part.strip())))

    def tolerance(self, check: str, usual: float) -> float:
        """Return what a check of ``SKIPPABLE`` allows two losses to differ by: anything if the run skips it."""
        return math.inf if check in self.skip_checks.split(",") else usual

    @property
    def on_cpu(self) -> bool:
        """Return whether the run takes no GPU although one may be there: asked for, or the miniature's ``auto``."""
        return self.devices == "cpu" or (self.miniature and self.devices == "auto")

    def as_dict(self) -> Record:
        """Return every value that defines the run by name, as ``run.json`` holds it."""
        return {name: value for name, value in dataclasses.asdict(self).items() if name not in NOT_STORED}

    @classmethod
    def from_dict(cls, values: Record) -> RunDescription:
        """Return the description that ``run.json`` or ``as_dict`` holds; other keys of the file are ignored.

        Raises:
            ValueError: If a value is missing; the message names it.
        """
        values = with_later_fields(values)
        names = [field.name for field in dataclasses.fields(cls) if field.name not in NOT_STORED]
        missing = [name for name in names if name not in values]
        if missing:
            raise ValueError(f"a run description needs {', '.join(names)}; missing here: {', '.join(missing)}")
        return cls(**{name: values[name] for name in names}, force=os.environ.get(FORCE_VARIABLE) == "1")


def identity(values: Record) -> Record:
    """Return what tells one run from another, of a description as ``run.json`` holds it: all but ``TERMS``."""
    return {key: value for key, value in with_later_fields(values).items() if key not in TERMS}


def with_later_fields(values: Record) -> Record:
    """Return a stored description with the fields that it was written before, as they had effect then."""
    targets = ALL_LINEAR if values.get("lora_rank") else ""
    return {"lora_targets": targets, "validation": 0.0, "max_rows": 0, "adapter": "", "optimizer": "adamw",
            "skip_checks": "", **values}  # fmt: skip


def describe(
    size: str = "1m",
    family: str = "auto",
    method: str = "auto",
    mixture: str = "hybrid",
    dataset: str = "auto",
    base: str = "",
    seed: int = 0,
    epochs: int = 0,
    max_steps: int = 0,
    max_length: int = 0,
    micro_batch: int = 0,
    learning_rate: float = 0.0,
    devices: str = "auto",
    name: str = "",
    revision: str = "",
    sharding: str = "auto",
    master_weights: str = "fp32",
    checkpoint_minutes: float = CHECKPOINT_MINUTES,
    trackers: str = "",
    force: bool = False,
    nodes: int = 1,
    global_batch: int = 0,
    warmup: float = -1.0,
    weight_decay: float = -1.0,
    lora_rank: int = 0,
    lora_alpha: float = 0.0,
    lora_targets: str = ALL_LINEAR,
    validation: float = 0.0,
    max_rows: int = 0,
    columns: str = "",
    optimizer: str = "adamw",
    skip_checks: str = "",
    *,
    gpus: Sequence[Gpu] = (),
) -> RunDescription:
    """Resolve the description of a run; zero, an empty text and ``auto`` take the scale's recipe.

    The result follows from the arguments, ``MAMMOTH_BASES`` and the base's configuration if it is on this machine.
    Every size resolves on every machine; ``readiness.check_readiness`` checks whether the run can start. Parameters
    that are not explained below are those of :class:`RunDescription`.

    Args:
        size: One of ``scales.SIZES``.
        family: One of ``scales.FAMILIES``, or ``auto`` for the one with this size.
        method: ``auto`` is full at miniature sizes; else full if the planner says it fits, else LoRA, else QLoRA.
        mixture: One of ``scales.MIXTURES``.
        dataset: ``auto`` is ``miniature`` for the miniature's sizes, else ``release``. The path of a file of your own
            rows, or of a curated folder, is read here and becomes a data set below ``runs/curate``.
        columns: Of such a file: ``instruction=question,output=answer``; empty takes those that are known by sight.
        base: A path, a GGUF file or a hub name in place of the scale's base model. A GGUF file chooses the scale too,
            unless ``size`` is a real one. The folder of an adapter, or of a run that made
            one, goes on training that adapter on its own base; the folder of a full run starts from its ``model/``.
        devices: ``auto`` (all GPUs; the CPU at miniature sizes, so that every machine trains the same net),
            ``cpu``, or a number of devices.
        name: The run's folder; without it the name follows from the parameters, and a value that departs from the
            recipe is part of it, as in ``llama-1m-hybrid-full-s0-max_steps20``.
        revision: Commit, tag or branch of the base on its hub; empty takes the scale's.
        micro_batch: 0 is the most that the planner says fits the GPUs, and 1 on a CPU.
        sharding: ``auto`` is ``none`` where each GPU holds the whole run by the plan, else ``fsdp2``; with several
            nodes whose GPUs are not known here it is ``fsdp2``.
        trackers: Any of ``tensorboard``, ``trackio`` and ``wandb``, comma-separated.
        nodes: Machines that share the run; ``devices`` are those of each.
        warmup: Below 0 takes the recipe's, as does ``weight_decay``; 0 is none.
        lora_alpha: 0 keeps the recipe's ratio to the rank.
        gpus: GPUs of the machine that will train, as ``find_gpus`` lists them; ``method`` and ``sharding`` follow from
            them where they are ``auto``.

    Raises:
        ValueError: If a value is unknown or out of range; the message names what was expected and the choices.
    """
    if is_gguf(base) and scales.scale(size, family).miniature:
        size, family = scale_of(base)  # a file says itself how large it is
    scale = scales.scale(size, family)
    recipe = scale.recipe
    check_known("method", method, scales.METHODS)
    check_known("mixture", mixture, scales.MIXTURES)
    check_known("sharding", sharding, SHARDINGS)
    check_known("master_weights", master_weights, MASTER_WEIGHTS)
    check_known("optimizer", optimizer, OPTIMIZERS)
    skipped = {part.strip() for part in skip_checks.split(",") if part.strip()}
    for check in sorted(skipped):
        check_known("skip_checks", check, SKIPPABLE)
    skip_checks = ",".join(check for check in SKIPPABLE if check in skipped)
    trackers = ",".join(part.strip() for part in trackers.split(",") if part.strip())
    for tracker in filter(None, trackers.split(",")):
        check_known("tracker", tracker, TRACKERS)
    _check_range("seed", seed, 0, MAX_SEED)
    _check_range("epochs", epochs, 0, 100)
    _check_range("max_steps", max_steps, 0, 10_000_000)
    _check_range("max_length", max_length, 0, 1 << 20)
    _check_range("micro_batch", micro_batch, 0, 4096)
    _check_range("nodes", nodes, 1, 4096)
    _check_range("max_rows", max_rows, 0, 1 << 30)
    _check_range("global_batch", global_batch, 0, 1 << 20)
    _check_range("lora_rank", lora_rank, 0, 4096)
    for parameter, value, limit, unset in (("warmup", warmup, 1, -1), ("weight_decay", weight_decay, 10, -1),
                                           ("lora_alpha", lora_alpha, 1e6, 0),
                                           ("validation", validation, MAX_VALIDATION, 0)):  # fmt: skip
        if isinstance(value, bool) or not (isinstance(value, (int, float)) and (value == unset or 0 <= value < limit)):
            raise ValueError(f"{parameter} is {value!r}; expected a number from 0 to below {limit:g}")
    lora_targets = _resolve_targets(lora_targets)
    if max_length and max_length < 32:
        raise ValueError(
            f"max_length is {max_length} tokens; expected at least 32, since the prompt alone needs as many"
        )
    if not (isinstance(learning_rate, (int, float)) and math.isfinite(learning_rate) and 0 <= learning_rate < 1):
        raise ValueError(f"learning_rate is {learning_rate!r}; expected a number from 0 (the recipe's) to below 1")
    if not (isinstance(checkpoint_minutes, (int, float)) and 0 <= checkpoint_minutes < 1e6):
        raise ValueError(f"checkpoint_minutes is {checkpoint_minutes!r}; expected minutes from 0 (none)")
    devices = str(devices)
    if devices not in ("auto", "cpu") and not re.fullmatch(r"[1-9]\d{0,3}", devices):
        raise ValueError(f"unknown devices {devices!r}; known: auto, cpu, or a number from 1")
    if not re.fullmatch(r"[A-Za-z0-9][\w.+-]*|", name):
        raise ValueError(f"name {name!r} is no folder name; expected letters, digits and . _ + - only")
    dataset = _resolve_dataset(dataset, scale, columns)
    start = find_start(base, scale)
    if start.adapter:
        method, lora_rank, lora_alpha, lora_targets, sharding = _settings_of_adapter(
            start, method, lora_rank, lora_alpha, lora_targets, sharding
        )
    given, base, revision = base, start.base, revision or start.revision
    source = base or scale.base
    chosen, reason = planner.choose_method(
        scale, method, base, max_length or recipe.max_length, devices, gpus=gpus, revision=revision, nodes=nodes,
        sharding=sharding, micro_batch=micro_batch or 1, master=master_weights, rank=lora_rank or recipe.lora_rank,
        targets=lora_targets, batch=global_batch, optimizer=optimizer,
    )  # fmt: skip
    reason = start.reason or reason
    adapter = chosen != "full"
    asked = {"lora_rank": lora_rank, "lora_alpha": lora_alpha, "lora_targets": lora_targets != ALL_LINEAR}
    if not adapter and any(asked.values()):
        names = ", ".join(name for name, value in asked.items() if value)
        raise ValueError(f"{names}: method=full trains no adapter; use -p method lora or qlora, or leave it out")
    if adapter and master_weights != "fp32":
        raise ValueError(f"master_weights={master_weights} is for method=full; {chosen} trains fp32 adapters")
    if optimizer != "adamw" and sharding == "fsdp2":
        raise ValueError(f"optimizer is {optimizer!r}: bitsandbytes does not update weights that FSDP2 cuts; use -p "
                         "sharding none, or -p optimizer adamw")  # fmt: skip
    usual = recipe.rate(chosen)
    rank = (lora_rank or recipe.lora_rank) if adapter else 0
    ratio = recipe.lora_alpha / recipe.lora_rank
    alpha = float(lora_alpha or rank * ratio)
    length, batch = max_length or recipe.max_length, global_batch or recipe.batch(chosen)
    taken = [] if devices == "cpu" or (scale.miniature and devices == "auto") else list(gpus)
    taken = taken[: int(devices)] if devices.isdigit() else taken
    if taken:
        architecture, smallest = planner.architecture_of(scale, base, revision), min(gpu.gib for gpu in taken)
        count, options = len(taken) * nodes, {"master": master_weights, "targets": lora_targets, "optimizer": optimizer}
        plan = (architecture, chosen, length, count, smallest, rank or recipe.lora_rank)
        if sharding == "auto":
            tokens = length * (micro_batch or 1)
            sharding = planner.choose_sharding(*plan[:2], tokens, *plan[3:], **options) if count > 1 else "none"
        micro_batch = micro_batch or planner.choose_micro_batch(*plan, sharding, batch, **options)
    elif sharding == "auto":
        sharding = "fsdp2" if nodes > 1 and optimizer == "adamw" else "none"
    warmup, weight_decay = (recipe.warmup if warmup < 0 else float(warmup),
                            recipe.weight_decay if weight_decay < 0 else float(weight_decay))  # fmt: skip
    pinned = scale.revision if source == scale.base else ""
    peak = learning_rate or usual
    departures = {
        "dataset": dataset if dataset != _resolve_dataset("auto", scale) else "",
        "base": re.sub(r"[^\w.+-]+", "_", start.label) if given and given != scale.base else "",
        "epochs": epochs if epochs != recipe.epochs else 0,
        "max_steps": max_steps,
        "max_length": max_length if max_length != recipe.max_length else 0,
        "global_batch": global_batch if global_batch != recipe.batch(chosen) else 0,
        "learning_rate": learning_rate if peak != usual else 0,
        "warmup": f"{warmup:g}" if warmup != recipe.warmup else "",
        "weight_decay": f"{weight_decay:g}" if weight_decay != recipe.weight_decay else "",
        "lora_rank": rank if adapter and rank != recipe.lora_rank else 0,
        "lora_alpha": f"{alpha:g}" if adapter and alpha != rank * ratio else "",
        "lora_targets": lora_targets.replace(",", "+") if lora_targets != ALL_LINEAR else "",
        "validation": f"{validation:g}" if validation else "",
        "max_rows": max_rows,
        "weights": master_weights if master_weights != "fp32" else "",
        "optimizer": optimizer if optimizer != "adamw" else "",
        "without": skip_checks.replace(",", "+"),
        "revision": re.sub(r"[^\w.+-]+", "_", revision)[:12] if revision not in ("", pinned) else "",
    }
    variant = "-".join(f"{key}{value}" for key, value in departures.items() if value)
    return RunDescription(
        name=name or str(RunName(scale.family, size, mixture, chosen, seed, variant)),
        world="miniature" if scale.miniature else "real",
        size=size,
        family=scale.family,
        method=chosen,
        method_reason=reason,
        mixture=mixture,
        dataset=dataset,
        base=source,
        revision=revision or pinned,
        rope_theta=required_rope_theta(scale, base, revision),
        seed=seed,
        epochs=epochs or recipe.epochs,
        max_steps=max_steps,
        max_length=length,
        micro_batch=micro_batch or 1,
        global_batch=batch,
        learning_rate=float(peak),
        warmup=warmup,
        weight_decay=weight_decay,
        lora_rank=rank,
        lora_alpha=alpha,
        lora_dropout=(recipe.lora_dropout if start.dropout is None else start.dropout) if adapter else 0.0,
        devices=devices,
        sharding=sharding,
        master_weights=master_weights,
        max_left_out=MAX_LEFT_OUT,
        checkpoint_minutes=float(checkpoint_minutes),
        # A step of a model of language takes minutes on a CPU, and the time left follows from two points.
        logging_steps=1 if devices == "cpu" and not scale.miniature else 10,
        trackers=trackers,
        lora_targets=lora_targets if adapter else "",
        validation=float(validation),
        max_rows=max_rows,
        adapter=start.adapter,
        optimizer=optimizer,
        skip_checks=skip_checks,
        force=force,
        nodes=nodes,
    )


def _resolve_targets(text: str) -> str:
    """Return the matrices that have adapters, in a layer's order; all of them are ``all-linear``."""
    names = {part.strip() for part in text.split(",") if part.strip()} or {ALL_LINEAR}
    for name in sorted(names):
        check_known("lora_targets", name, (ALL_LINEAR, *PROJECTIONS))
    return ALL_LINEAR if ALL_LINEAR in names or len(names) == len(PROJECTIONS) else ",".join(
        name for name in PROJECTIONS if name in names
    )  # fmt: skip


def _settings_of_adapter(
    start: StartModel, method: str, rank: int, alpha: float, targets: str, sharding: str
) -> tuple[str, int, float, str, str]:
    """Return method, rank, alpha, targets and sharding of a run that goes on from an adapter, which has them."""
    own_targets = _resolve_targets(start.targets)
    for parameter, value, own, unset in (("method", method, start.method, "auto"), ("lora_rank", rank, start.rank, 0),
                                         ("lora_alpha", alpha, start.alpha, 0),
                                         ("lora_targets", targets, own_targets, ALL_LINEAR)):  # fmt: skip
        if value not in (unset, own) and own:
            raise ValueError(f"{parameter} is {value!r}, the adapter in {start.adapter} has {own!r} and goes on with "
                             f"that: leave {parameter} out, or merge the adapter and train a new one")  # fmt: skip
    if not start.method and method not in scales.ADAPTERS:
        raise ValueError(f"{start.adapter} does not say whether its base was in 4 bit when it was trained: -p method "
                         "qlora goes on so, -p method lora with the base in 16 bit")  # fmt: skip
    if sharding == "fsdp2":
        raise ValueError("sharding is 'fsdp2'; going on from an adapter keeps a whole copy on each card: -p sharding "
                         "none")  # fmt: skip
    return start.method or method, start.rank, start.alpha, own_targets, "none"


def _resolve_dataset(dataset: str, scale: scales.Scale, columns: str = "") -> str:
    """Return the data set's name with ``auto`` resolved; what is named by its path is taken in."""
    if dataset == "auto" and not columns:
        return "miniature" if scale.miniature else "release"
    return resolve_dataset(dataset, columns)


def _check_range(parameter: str, value: int, low: int, high: int) -> None:
    if isinstance(value, bool) or not isinstance(value, int) or not low <= value <= high:
        raise ValueError(f"{parameter} is {value!r}; expected a whole number from {low} to {high}")
