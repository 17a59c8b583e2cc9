"""Golden decisions of base models and training: architectures, planned bytes, and resolved descriptions."""

from __future__ import annotations

import dataclasses
import json

import golden

from mammoth_utils import records
from mammoth_utils.base_models import ARCHITECTURES
from mammoth_utils.training import METHODS, Gpu, describe
from mammoth_utils.training.plan.memory import memory_by_part

OPTIONS = (
    {}, {"gpus": 8}, {"checkpointing": False}, {"tokens": 512, "device": "cpu"}, {"compute": "fp32", "labels": 0.5},
    {"rank": 8, "dropout": 0.0, "replicas": 8},
)  # fmt: skip
MACHINES = {"none": [], "1 x H100": [Gpu("H100", 79.6)], "8 x H100": [Gpu("H100", 79.6)] * 8, "T4": [Gpu("T4", 15.0)]}
RUNS = (
    {"size": "1m"}, {"size": "3m", "devices": 2, "seed": 3}, {"size": "0.5b"}, {"size": "7b"},
    {"size": "7b", "family": "coder", "method": "lora"}, {"size": "7b", "family": "mistral", "epochs": 1},
    {"size": "7b", "method": "full", "master_weights": "bf16", "trackers": "wandb, trackio", "dataset": "mine"},
    {"size": "7b", "devices": "cpu", "revision": "abc"}, {"size": "13b", "sharding": "none"},
    {"size": "13b", "devices": 1, "learning_rate": 1e-5}, {"size": "34b", "micro_batch": 3},
    {"size": "70b", "nodes": 4, "max_length": 1024},
)  # fmt: skip


def test_the_planners_bytes_are_those_of_this_version(write_golden):
    decisions = {}
    for (size, family), architecture in ARCHITECTURES.items():
        decisions[f"{size} {family}"] = str(architecture)
        for method in METHODS:
            plans = [memory_by_part(architecture, method, **options) for options in OPTIONS]
            decisions[f"{size} {family} {method}"] = json.dumps(
                [[round(part) for part in plan.values()] for plan in plans]
            )
    golden.check(
        "base_models", "architectures", {k: v for k, v in decisions.items() if k.count(" ") == 1}, write_golden
    )
    golden.check("training", "memory", {k: v for k, v in decisions.items() if k.count(" ") == 2}, write_golden)


def test_descriptions_resolve_as_in_this_version(write_golden, monkeypatch, tmp_path):
    monkeypatch.setenv("HF_HUB_CACHE", str(tmp_path))
    monkeypatch.delenv("MAMMOTH_BASES", raising=False)
    monkeypatch.setenv("MAMMOTH_RUNS_DIR", str(tmp_path))
    records.write_json(tmp_path / "curate" / "mine" / "record.json", {})
    decisions = {}
    for run in RUNS:
        for machine, gpus in MACHINES.items():
            description = describe(**run, gpus=gpus)
            words = f"{description.name}, {description.method}, {description.sharding}"
            decisions[f"{run} on {machine}"] = f"{words}, {records.fingerprint(dataclasses.asdict(description))}"
    golden.check("training", "descriptions", decisions, write_golden)
