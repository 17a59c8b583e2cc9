"""Sharded runs under a real size's name, on narrow weights: what the miniature's options leave out is on there.

The miniature keeps its activations. Every real size makes them again in the backward pass, which put wrappers into the
names of a sharded model's modules, and with them no adapter into what it saved.
"""

from __future__ import annotations

import dataclasses
from pathlib import Path

import pytest
import tiny_base

from mammoth_utils import records
from mammoth_utils.training import describe, finetune
from mammoth_utils.training.cluster import launch
from mammoth_utils.training.loop import checkpoints, guards

torch = pytest.importorskip("torch")
pytestmark = pytest.mark.alone

TESTS = Path(__file__).parent
SHARDED = "fsdp_on_cpu"
STEPS = 6
LAYERS, MATRICES = 2, 7
METHODS = ["full", "lora", "qlora"]


@pytest.fixture(scope="module")
def bases(tmp_path_factory):
    """A base whose head is its own, as the families' have it, and one whose head is its embedding, as Qwen2.5-0.5B."""
    place = tmp_path_factory.mktemp("bases")
    return {
        "7b": tiny_base.base(place / "untied", width=64, layers=LAYERS, tied=False),
        "0.5b": tiny_base.base(place / "tied", width=64, layers=LAYERS),
    }


@pytest.fixture
def here(tmp_path, monkeypatch):
    monkeypatch.setenv("MAMMOTH_RUNS_DIR", str(tmp_path / "runs"))
    monkeypatch.setenv("PYTHONPATH", str(TESTS))
    monkeypatch.setenv("OMP_NUM_THREADS", "1")
    monkeypatch.setenv("MAMMOTH_TEST_FP32", "1")
    return tmp_path


def run(bases, name, method, size="7b", **changes):
    """A run of 16 examples a step with a point of the curve at each, sharded over two processes."""
    options = {"devices": "2", "sharding": "fsdp2", "family": "auto"} | changes
    asked = {key: options.pop(key) for key in ("devices", "sharding", "family")}
    description = describe(
        size, base=str(bases[size]), method=method, max_length=640, max_steps=STEPS, learning_rate=2e-3, name=name,
        **asked,
    )  # fmt: skip
    return dataclasses.replace(description, global_batch=16, logging_steps=1, **options)


def losses(description):
    return [point["loss"] for point in records.read_jsonl(description.folder / "curve.jsonl")]


def sharded(description):
    return launch.train(description, tiny_base.rows(64), module=SHARDED)


def adapter(folder):
    from safetensors.torch import load_file

    return load_file(folder / "adapter" / "adapter_model.safetensors")


@pytest.mark.long
@pytest.mark.parametrize(("size", "method"), [*(("7b", method) for method in METHODS), ("0.5b", "full")])
def test_a_real_size_sharded_has_the_losses_of_one_process_and_leaves_all_that_it_trained(
    here, bases, monkeypatch, size, method
):
    # Without dropout, of which each process draws its own.
    options = {"size": size, "lora_dropout": 0.0, "family": "qwen" if size == "0.5b" else "auto"}
    several = run(bases, "several", method, **options)
    one = run(bases, "one", method, **options | {"devices": "cpu", "sharding": "none"})
    monkeypatch.setattr(guards, "choose_precision", lambda device: guards.Precision("fp32", "asked by a test"))
    record, alone = sharded(several), finetune(one, tiny_base.rows(64))
    assert losses(several) == pytest.approx(losses(one), abs=1e-3)
    assert record["packing"]["sharded_minus_whole_nats"] < 0.01
    assert record["packing"]["packed_minus_unpacked_nats"] < 1e-4
    assert record["drift"].keys() == alone["drift"].keys()
    if method != "full":
        found, expected = adapter(several.folder), adapter(one.folder)
        assert {name: value.shape for name, value in found.items()} == {
            name: value.shape for name, value in expected.items()
        }
        assert len(found) == 2 * LAYERS * MATRICES
        assert all(value.any() for value in found.values()), "each began with one half of zeros, and was trained"


@pytest.mark.long
@pytest.mark.parametrize("method", ["lora", "qlora"])  # tests/test_several_processes.py has the other one
def test_a_real_size_sharded_goes_on_from_a_checkpoint_as_if_it_had_not_been_killed(here, bases, monkeypatch, method):
    undisturbed, killed = (
        run(bases, name, method, checkpoint_minutes=1e-9, lora_dropout=0.05) for name in ("undisturbed", "killed")
    )
    whole = sharded(undisturbed)
    with monkeypatch.context() as patch:
        patch.setenv("MAMMOTH_TEST_DIES_AFTER", "4")
        with pytest.raises(RuntimeError, match="training failed"):
            sharded(killed)
    last = checkpoints.find_checkpoint(killed.folder / "checkpoints")
    assert last is not None
    record = sharded(killed)
    assert f"goes on from {last.name}" in (killed.folder / "train.log").read_text()
    assert losses(killed) == losses(undisturbed)
    assert record["model"]["hash"] == whole["model"]["hash"]


@pytest.mark.long
@pytest.mark.parametrize("method", ["full", "qlora"])
def test_a_sharded_run_hands_on_16_bit_and_keeps_what_it_trains_in_32(here, bases, monkeypatch, method):
    """Cast to fp32 behind every layer, the residual stream and the head's products take twice the memory and time."""
    monkeypatch.delenv("MAMMOTH_TEST_FP32")
    monkeypatch.setenv("MAMMOTH_TEST_BF16", "1")
    monkeypatch.setenv("MAMMOTH_TEST_TYPES", str(here / "types.json"))
    monkeypatch.setattr(guards, "choose_precision", lambda device: guards.Precision("bf16", "asked by a test"))
    options = {"lora_dropout": 0.0} if method != "full" else {}
    several = run(bases, "several", method, **options)
    one = run(bases, "one", method, **options, devices="cpu", sharding="none")
    sharded(several)
    wide, narrow = ["torch.float32"], ["torch.bfloat16"]
    assert records.read_json(here / "types.json") == {"layers": narrow, "trained": wide, "averages": wide}
    finetune(one, tiny_base.rows(64))
    assert losses(several) == pytest.approx(losses(one), abs=4e-3)


@pytest.mark.long
def test_a_layer_that_is_made_again_draws_the_dropout_that_it_drew(here, bases, monkeypatch):
    again, kept = (run(bases, name, "lora", lora_dropout=0.3) for name in ("again", "kept"))
    sharded(again)
    monkeypatch.setenv("MAMMOTH_TEST_KEEPS_ACTIVATIONS", "1")
    sharded(kept)
    assert losses(again) == losses(kept)


@pytest.mark.long
def test_a_trainer_of_shards_whose_first_loss_is_not_the_bases_is_stopped(here, bases, monkeypatch):
    monkeypatch.setenv("MAMMOTH_TEST_LOSS_TIMES", "1.1")
    description = run(bases, "scaled", "lora")
    with pytest.raises(RuntimeError, match="the first step's loss is .* another scale of the loss"):
        sharded(description)
    assert not (description.folder / "record.json").exists()
