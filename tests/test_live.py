"""What a page shows of a run: its status in one line, a run that other nodes train, and what comes after it."""

from __future__ import annotations

import re
import runpy
import sys
import threading

import pytest
import tiny_base

from mammoth_utils import pages, paths, prompts, records, training
from mammoth_utils.training import check_readiness, count_steps, evaluation_parameters, run_summary, train
from mammoth_utils.training.cluster import page_progress
from mammoth_utils.training.loop import batches
from mammoth_utils.training.plan import this_machine


def describe(*arguments, **parameters):
    """Describe a run for the GPUs that a test gives this machine."""
    return training.describe(*arguments, **parameters, gpus=this_machine.find_gpus())


def points(*seconds: float, every: int = 10, tokens: float = 1000.0) -> list[dict[str, float]]:
    return [
        {"step": 1 + every * at, "loss": 2.0 - 0.1 * at, "lr": 1e-3, "tokens": tokens * at, "seconds": second,
         "memory_gib": 1.5} for at, second in enumerate(seconds)
    ]  # fmt: skip


@pytest.mark.parametrize(("seen", "whole", "said"), [
    (points(2.0), 0, "step 1 · loss 2.000 · 1.5 GiB at most"),
    (points(2.0), 480, "step 1 of 480 · loss 2.000 · 1.5 GiB at most"),
    (points(2.0, 12.0), 0, "step 11 · loss 1.900 · 100 tokens/s · 1.5 GiB at most"),
    (points(2.0, 12.0), 111, "step 11 of 111 · loss 1.900 · 100 tokens/s · 1.5 GiB at most · about 1.7 min left"),
    (points(2.0, 12.0), 40_011, "step 11 of 40,011 · loss 1.900 · 100 tokens/s · 1.5 GiB at most · about 11.1 h left"),
    (points(2.0, 12.0), 11, "step 11 of 11 · loss 1.900 · 100 tokens/s · 1.5 GiB at most · all of it in 12 s"),
])  # fmt: skip
def test_a_status_says_step_loss_speed_memory_and_time_left(seen, whole, said):
    assert page_progress.status(seen, whole) == said


def test_the_speed_is_that_of_the_last_points_and_not_of_the_start():
    slow_start = points(0.0, 1000.0, *(1000.0 + 10 * at for at in range(1, 40)))
    assert " 100 tokens/s " in page_progress.status(slow_start)


@pytest.fixture
def shown(monkeypatch):
    """What a page would show: each display and each change of one, in order."""
    told: list[str] = []

    class Handle:
        def update(self, thing):
            told.append(repr(thing))

    def display(thing, display_id=False):
        told.append(repr(thing))
        return Handle()

    monkeypatch.setattr("IPython.display.display", display)
    return told


def test_a_flood_of_points_and_lines_changes_a_page_a_few_times_and_leaves_the_last(shown, monkeypatch):
    now = [0.0]
    monkeypatch.setattr(page_progress.time, "monotonic", lambda: now[0])
    curve = page_progress.LiveCurve(lambda given: pytest.fail("no picture within five seconds"), steps=1000)
    for at in range(1000):
        now[0] += 0.004
        curve({"step": at + 1, "loss": 1.0, "lr": 0.0, "tokens": 10.0 * at, "seconds": now[0], "memory_gib": 1.0})
        curve.line(f"worker {at}\n")
    assert len(shown) <= 8, "two displays, and a change a second"
    assert shown[-1].splitlines()[1:] == [f"worker {at}" for at in range(*_last_three(shown[-1]))]
    curve._status.last()
    assert shown[-1].startswith("step 1,000 of 1,000 · loss 1.000")


def _last_three(text: str) -> tuple[int, int]:
    last = int(text.splitlines()[-1].split()[1])
    return last - 2, last + 1


# --- a run of several nodes -----------------------------------------------------------------------------------------


@pytest.fixture
def here(tmp_path, monkeypatch):
    monkeypatch.setenv("MAMMOTH_RUNS_DIR", str(tmp_path / "runs"))
    return tmp_path


def test_nodes_are_no_part_of_what_a_run_is_but_cut_it_over_their_devices(here):
    several = describe("70b", method="full", nodes=4)
    assert several.sharding == "fsdp2"
    assert "nodes" not in several.as_dict()
    assert several.name == "llama-70b-hybrid-full-s0"
    with pytest.raises(ValueError, match="nodes is 0; expected a whole number from 1"):
        describe("70b", nodes=0)


@pytest.mark.parametrize(("world", "nodes", "fits"), [
    ("", 4, True),  # the page on the first of four nodes
    ("32", 1, True),  # a process of torchrun, which says how many there are
    ("8", 1, False),  # the same on one node
    ("", 1, False),  # the page with one node
])  # fmt: skip
def test_a_run_that_only_several_nodes_can_hold_is_ready_there_and_refused_on_one(
    here, monkeypatch, world, nodes, fits
):
    tiny_base_of_70b(here, monkeypatch)
    monkeypatch.setattr(this_machine, "find_gpus", lambda: [this_machine.Gpu("H100", 79.6)] * 8)
    monkeypatch.setattr(this_machine, "explain_torch", lambda cards: "")
    monkeypatch.setattr(this_machine, "free_memory", lambda: 500.0)
    if world:
        monkeypatch.setenv("WORLD_SIZE", world)
    description = describe("70b", method="full", nodes=nodes, sharding="fsdp2", max_length=1024)
    if fits:
        assert any("70b full needs" in line for line in check_readiness(description))
    else:
        with pytest.raises(RuntimeError, match="memory: 70b full needs .* GiB, each of these 8 cards has"):
            check_readiness(description)


def tiny_base_of_70b(folder, monkeypatch):
    """A folder with the 70B's published configuration, an empty file of weights, and a disk without end."""
    import shutil
    from collections import namedtuple

    place = folder / "bases" / "meta-llama" / "Llama-2-70b-hf"
    place.mkdir(parents=True)
    config = {"hidden_size": 8192, "num_hidden_layers": 80, "num_attention_heads": 64, "num_key_value_heads": 8,
              "intermediate_size": 28672, "vocab_size": 32000}  # fmt: skip
    records.write_json(place / "config.json", config)
    for name in ("tokenizer.json", "model.safetensors"):
        (place / name).write_text("")
    monkeypatch.setenv("MAMMOTH_BASES", str(folder / "bases"))
    monkeypatch.setattr("mammoth_utils.training.readiness.check_weights", lambda *arguments, **settings: None)
    monkeypatch.setattr(shutil, "disk_usage", lambda _: namedtuple("Usage", "free")(10**15))


def test_a_page_waits_for_the_nodes_and_shows_their_curve_and_record(here, monkeypatch):
    pytest.importorskip("torch")
    base = tiny_base.base(here / "base")
    description = describe("1m", base=str(base), max_length=320, max_steps=3, nodes=2, sharding="none", name="a")
    seen, lines, done = [], [], []
    waiting = threading.Thread(
        target=lambda: done.append(train(description, tiny_base.rows(40), seen.append, on_line=lines.append)),
        daemon=True,
    )
    waiting.start()
    waiting.join(3)
    assert waiting.is_alive(), "nothing is trained here"
    assert "prepared for 2 nodes" in lines[0]
    monkeypatch.setattr(sys, "argv", ["training", str(description.folder / "run.json")])
    runpy.run_module("mammoth_utils.training", run_name="__main__")  # what another node would do
    waiting.join(30)
    assert done[0] == records.read_json(description.folder / "record.json")
    assert [point["step"] for point in seen] == [1, 3]


# --- before and after -----------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("rows", "given"), [(5908, {}), (40, {}), (40, {"epochs": 3}), (40, {"max_steps": 7})])
def test_the_steps_that_a_page_counts_down_are_those_that_the_run_lays_out(rows, given):
    description = describe("1m", **given)
    layout = batches.lay_out([50] * rows, 1280, description.global_batch, description.epochs, description.max_steps)
    assert count_steps(description, rows) == layout.steps


@pytest.mark.parametrize(("name", "gib", "expected"), [
    ("NVIDIA H100 80GB HBM3", 79.6, "H100"),
    ("NVIDIA A100-SXM4-40GB", 39.4, "A100 40GB"),
    ("NVIDIA A100 80GB PCIe", 79.2, "A100 80GB"),
    ("Tesla T4", 14.6, "T4"),
    ("Tesla V100-SXM2-32GB", 31.7, "V100 32GB"),
    ("NVIDIA L40S", 44.6, "L40S"),  # not the L4, whose name begins like it
    ("NVIDIA GeForce RTX 4090", 23.5, "RTX 4090"),
    ("NVIDIA GeForce GTX 1080", 8.0, None),
])  # fmt: skip
def test_a_drivers_name_finds_the_card_whose_peak_is_known(name, gib, expected):
    found = run_summary.find_gpu_model(this_machine.Gpu(name, gib))
    assert (found and found.name) == expected


def test_the_estimate_counts_tokens_and_on_a_known_card_hours_and_dollars():
    tokenizer, rows = tiny_base.tokenizer(), tiny_base.rows(500)
    plain = run_summary.estimate_duration(describe("7b", method="full"), rows, tokenizer)
    mean = int(re.search(r"^1,500 examples of (\d+) tokens, .* in 12 steps$", plain)[1])
    assert mean == pytest.approx(sum(len(tokenizer(prompts.alpaca(r["instruction"]) + r["output"]).input_ids) + 1
                                     for r in rows) / 500, rel=0.02)  # fmt: skip
    gpus = [this_machine.Gpu("NVIDIA H100 80GB HBM3", 79.6)] * 8
    said = run_summary.estimate_duration(describe("7b", method="full", max_steps=6000), rows, tokenizer, gpus)
    hours = float(re.search(r"768,000 examples .* about ([\d.]+) hours on 8 x H100 at 40% of their peak", said)[1])
    assert hours == pytest.approx(8 * 6.738e9 * mean * 768_000 / (8 * 0.4 * 989e12) / 3600, abs=0.051)
    assert "dollars at 2.69 an hour of one H100, as listed on" in said


@pytest.mark.parametrize(("given", "expected"), [
    ({}, {"size": "1m", "family": "llama", "mixture": "hybrid", "method": "full", "seed": 0}),
    ({"seed": 3, "mixture": "pot"}, {"size": "1m", "family": "llama", "mixture": "pot", "method": "full", "seed": 3}),
    ({"max_steps": 5}, {"size": "1m", "family": "llama", "model": "runs/train/llama-1m-hybrid-full-s0-max_steps5"}),
    ({"name": "mine"}, {"size": "1m", "family": "llama", "model": "runs/train/mine"}),
])  # fmt: skip
def test_the_line_that_evaluates_a_run_finds_it_by_its_parameters_or_by_its_folder(monkeypatch, given, expected):
    monkeypatch.delenv("MAMMOTH_RUNS_DIR", raising=False)
    found = evaluation_parameters(describe("1m", **given))
    assert found == expected
    assert pages.resolve("evaluate", found)
    assert "papermill notebooks/evaluate.ipynb" in pages.show_command("evaluate", **found)
    assert paths.runs().name == "runs"
