"""A run that diverges stops before the update that would lose the weights, and says what to do."""

from __future__ import annotations

import dataclasses
import re
from types import SimpleNamespace

import pytest
import tiny_base

from mammoth_utils.training import describe, finetune
from mammoth_utils.training.cluster import launch
from mammoth_utils.training.loop import checkpoints, losses

torch = pytest.importorskip("torch")

STEPS, PASSES = 8, 9  # the pass from which on the loss is lost

BASE_WIDTH = 64


def run(base, method="full", **changes):
    """A run with two passes a step, a checkpoint after each step, and points of the curve at steps 1 and 8 alone."""
    asked = {key: changes.pop(key) for key in ("devices", "sharding") if key in changes}
    description = describe(
        "1m", base=str(base), method=method, max_length=640, max_steps=STEPS, learning_rate=2e-3, name="lost", **asked
    )
    return dataclasses.replace(description, global_batch=16, checkpoint_minutes=1e-9, **changes)


def no_number(loss, model):
    return loss * float("nan")


def infinite(loss, model):
    return loss + float("inf")


def no_slope(loss, model):
    """The loss as it was, with a gradient that is no number: the root's slope at nought, times nought."""
    trained = next(weight for weight in model.parameters() if weight.requires_grad)
    return loss + (trained.sum() * 0).sqrt()


@pytest.mark.parametrize(
    ("method", "lost", "said"),
    [
        ("full", no_number, "its loss is nan"),
        ("lora", no_number, "its loss is nan"),
        ("qlora", no_number, "its loss is nan"),
        ("full", infinite, "its loss is inf"),
        ("full", no_slope, "its gradient's norm is nan"),
        ("lora", no_slope, "its gradient's norm is nan"),
    ],
)
def test_a_loss_or_gradient_that_is_no_number_stops_the_run_at_its_step_with_its_good_checkpoints(
    here, base, monkeypatch, method, lost, said
):
    from safetensors.torch import load_file

    passes, summed = [0], losses.summed_loss

    def losing(model, inputs):
        passes[0] += 1
        loss = summed(model, inputs)
        return lost(loss, model) if passes[0] >= PASSES else loss

    monkeypatch.setattr(losses, "summed_loss", losing)
    description = run(base, method)
    with pytest.raises(FloatingPointError) as stopped:
        finetune(description, tiny_base.rows(64))
    message = str(stopped.value)
    assert said in message
    assert "with a learning_rate below 0.002" in message
    step = int(re.match(r"step (\d+) has no finite loss", message).group(1))
    assert 2 < step < STEPS
    assert f"The last good checkpoint is checkpoint-{step - 1}" in message
    kept = checkpoints.list_checkpoints(description.folder / "checkpoints")
    assert [folder.name for folder in kept] == [f"checkpoint-{step - 1}", f"checkpoint-{step - 2}"]
    for folder in kept:
        assert not checkpoints.faults(folder)
        file = folder / ("model.safetensors" if method == "full" else "adapter_model.safetensors")
        assert all(value.isfinite().all() for value in load_file(file).values())
    assert not [name for name in ("record.json", "model", "adapter") if (description.folder / name).exists()]


@pytest.mark.long
def test_a_loss_that_is_no_number_in_one_process_stops_all(here, base, monkeypatch):
    monkeypatch.setenv("MAMMOTH_TEST_NAN_IN_RANK", "1")
    description = run(base, "lora", devices="2", sharding="fsdp2")
    lines = []
    with pytest.raises(RuntimeError, match="training failed"):
        launch.train(description, tiny_base.rows(64), on_line=lines.append, module="fsdp_on_cpu")
    raised = [line for line in lines if "FloatingPointError: step" in line]
    assert raised, "and none is left to wait for the other"
    step = int(re.search(r"step (\d+) has no finite loss", raised[0]).group(1))
    last = checkpoints.find_checkpoint(description.folder / "checkpoints")
    assert last.name == f"checkpoint-{step - 1}"
    assert not (description.folder / "record.json").exists()


def trainer(place, fp16):
    """What the decision reads of a trainer in its fifth step."""
    options = SimpleNamespace(fp16=fp16, output_dir=str(place), learning_rate=1e-3)
    return SimpleNamespace(args=options, state=SimpleNamespace(global_step=4))


def test_with_loss_scaling_the_loss_alone_decides(tmp_path):
    from mammoth_utils.training.loop.trainer import PackedTrainer

    PackedTrainer._stop_if_diverged(trainer(tmp_path, fp16=True), 2.5, float("inf"))
    with pytest.raises(FloatingPointError, match=r"step 5 has .*its loss is nan.* on a card that computes in bf16"):
        PackedTrainer._stop_if_diverged(trainer(tmp_path, fp16=True), float("nan"), float("inf"))
    with pytest.raises(FloatingPointError, match=r"its gradient's norm is inf.*there is no checkpoint yet"):
        PackedTrainer._stop_if_diverged(trainer(tmp_path, fp16=False), 2.5, float("inf"))
