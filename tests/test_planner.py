"""The planner's gigabytes, against exact parameter counts and the table they were first worked out in."""

from __future__ import annotations

import json
import subprocess
import sys

import pytest

from mammoth_utils import paths, scales
from mammoth_utils.training import architectures, describe, planner

REAL = sorted(architectures.ARCHITECTURES)


@pytest.mark.parametrize(("size", "family"), REAL)
def test_parameters_are_those_of_the_published_model(size, family):
    assert architectures.ARCHITECTURES[size, family].parameters == scales.scale(size, family).parameters


def test_every_real_scale_has_an_architecture():
    assert set(REAL) == {key for key, scale in scales.SCALES.items() if not scale.miniature}


@pytest.mark.parametrize(
    ("size", "family", "millions"),
    [("7b", "llama", 159.9), ("13b", "llama", 250.3), ("34b", "coder", 435.7), ("70b", "llama", 828.4)],
)
def test_adapters_of_rank_64_have_the_known_size(size, family, millions):
    assert round(architectures.ARCHITECTURES[size, family].lora_parameters(64) / 1e6, 1) == millions


# GiB on each GPU at 2,048 tokens a pass with checkpointing, rank 64.
TABLE = [
    ("7b", "llama", "full", 1, 116), ("7b", "llama", "full", 4, 30), ("7b", "llama", "full", 8, 17),
    ("7b", "llama", "full", 16, 11), ("7b", "llama", "lora", 1, 18),
    ("13b", "llama", "full", 1, 222), ("13b", "llama", "full", 4, 54), ("13b", "llama", "full", 8, 30),
    ("13b", "llama", "lora", 1, 31), ("34b", "coder", "full", 1, 571), ("34b", "coder", "full", 4, 136),
    ("34b", "coder", "full", 8, 73), ("34b", "coder", "lora", 1, 73), ("70b", "llama", "full", 1, 1164),
    ("70b", "llama", "full", 8, 141), ("70b", "llama", "full", 16, 77), ("70b", "llama", "lora", 1, 146),
    ("70b", "llama", "qlora", 4, 18), ("34b", "coder", "qlora", 4, 11), ("7b", "llama", "qlora", 8, 4),
]  # fmt: skip


@pytest.mark.parametrize(("size", "family", "method", "gpus", "gib"), TABLE)
def test_memory_agrees_with_the_table_within_4_per_cent_or_1_gib(size, family, method, gpus, gib):
    architecture = architectures.ARCHITECTURES[size, family]
    total = sum(planner.memory(architecture, method, 2048, gpus).values()) / planner.GIB
    assert abs(total - gib) <= max(1.0, 0.04 * gib)


@pytest.mark.parametrize(
    ("size", "family", "gib"), [("7b", "llama", 8), ("13b", "llama", 12), ("34b", "coder", 25), ("70b", "llama", 46)]
)
def test_qlora_with_16_bit_adapters_agrees_with_the_table(size, family, gib):
    architecture = architectures.ARCHITECTURES[size, family]
    total = sum(planner.memory(architecture, "qlora", 2048, adapter_bytes=2).values()) / planner.GIB
    assert abs(total - gib) <= 0.75


def test_a_65b_model_trains_on_one_48_gb_card_as_the_qlora_paper_says():
    llama_65b = architectures.Architecture(8192, 80, 64, 64, 22_016, 32_000)
    total = sum(planner.memory(llama_65b, "qlora", 512, adapter_bytes=2).values())
    assert total < 48e9


def test_full_fine_tuning_of_70b_fits_16_cards_of_141_gb_and_not_of_80():
    architecture = architectures.ARCHITECTURES["70b", "llama"]
    assert not planner.plan_row(architecture, "full", 2048, 16, 80e9 / planner.GIB, 64).fits
    assert planner.plan_row(architecture, "full", 2048, 16, 141e9 / planner.GIB, 64).fits


def test_fewest_cards_of_80_gb_for_full_fine_tuning():
    fewest = {
        key: planner.plan_row(architectures.ARCHITECTURES[key], "full", 2048, 1, 80e9 / planner.GIB, 64).fewest
        for key in (("7b", "llama"), ("13b", "llama"), ("34b", "coder"), ("70b", "llama"))
    }
    assert list(fewest.values()) == [2, 4, 16, 32]


@pytest.mark.parametrize(
    ("cards", "size", "method"),
    [
        ([("H100", 79.6)], "13b", "lora"),
        ([("RTX 4090", 24.0)], "13b", "qlora"),
        ([("RTX 4090", 24.0)], "7b", "lora"),
        ([("H200", 140.0)], "7b", "full"),
        ([("H100", 79.6)] * 8, "13b", "full"),
        ([("T4", 15.0)], "70b", "qlora"),
        ([], "7b", "qlora"),
    ],
)
def test_auto_takes_the_first_method_that_fits_and_says_why(monkeypatch, cards, size, method):
    monkeypatch.setattr(planner, "gpus", lambda: [planner.Gpu(*card) for card in cards])
    description = describe(size)
    assert description.method == method
    assert "GiB" in description.method_reason


def test_a_plan_has_a_row_for_each_method(monkeypatch):
    monkeypatch.setattr(planner, "gpus", list)
    rows = planner.plan(describe("7b"), gpus=1, gpu_gib=24e9 / planner.GIB)
    assert [row.method for row in rows] == ["full", "lora", "qlora"]
    assert [row.fits for row in rows] == [False, True, True]
    assert rows[0].total == pytest.approx(
        rows[0].weights + rows[0].gradients + rows[0].optimiser + rows[0].activations + rows[0].extra
    )


def test_an_unknown_method_names_the_choices():
    with pytest.raises(ValueError, match="full, lora, qlora"):
        planner.memory(architectures.ARCHITECTURES["7b", "llama"], "dora")


def test_a_configuration_without_a_width_is_refused():
    with pytest.raises(ValueError, match="missing.*hidden_size"):
        architectures.Architecture.from_config({"num_hidden_layers": 2})


def test_hidden_cards_do_not_count(monkeypatch):
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "")
    assert planner.gpus() == []


def test_cards_are_read_from_nvidia_smi(monkeypatch, tmp_path):
    program = tmp_path / "nvidia-smi"
    program.write_text("#!/bin/sh\necho 'Card A, 81559, GPU-aa'\necho 'Card B, 24564, GPU-bb'\n")
    program.chmod(0o755)
    monkeypatch.setenv("PATH", f"{tmp_path}:/usr/bin:/bin")
    monkeypatch.delenv("CUDA_VISIBLE_DEVICES", raising=False)
    assert [card.name for card in planner.gpus()] == ["Card A", "Card B"]
    assert round(planner.gpus()[0].gib, 1) == 79.6
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "1")
    assert [card.name for card in planner.gpus()] == ["Card B"]


def test_the_pages_table_of_costs_is_the_planners():
    notebook = json.loads((paths.root() / "notebooks" / "train.ipynb").read_text(encoding="utf8"))
    text = "".join("".join(cell["source"]) + "\n" for cell in notebook["cells"] if cell["cell_type"] == "markdown")
    shown = [
        [part.strip(" `") for part in line.strip("|").split("|")]
        for line in text.splitlines()
        if line.startswith("| `")
    ]
    columns = ("size", "family", "full", "lora", "qlora", "cards for full", "hours of one card", "disk (GB)")
    assert shown == [[str(row[column]) for column in columns] for row in planner.cost_table()]


def test_describing_and_planning_load_no_torch():
    code = (
        "import sys; from mammoth_utils import training; training.describe('7b'); "
        "sys.exit(any(name in sys.modules for name in ('torch', 'transformers', 'trl', 'peft', 'datasets')))"
    )
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
