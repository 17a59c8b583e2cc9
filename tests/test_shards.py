"""The checks on a cut model, each made wrong here on a whole one; several processes are in test_sharded_sizes."""

from __future__ import annotations

import contextlib
from types import SimpleNamespace

import pytest
import tiny_base

from mammoth_utils.training import describe, finetune
from mammoth_utils.training.loop import batches, encoding, guards, losses, training_loop
from mammoth_utils.training.loop import model as models

torch = pytest.importorskip("torch")


@pytest.fixture(autouse=True)
def here(tmp_path, monkeypatch):
    monkeypatch.setenv("MAMMOTH_RUNS_DIR", str(tmp_path / "runs"))


@pytest.fixture
def model(base):
    return models.load_model(describe("1m", base=str(base)), "fp32")


@pytest.fixture(scope="module")
def examples():
    return encoding.encode_rows(tiny_base.rows(24), tiny_base.tokenizer(), 1000)[0]


def trainer(model, entered=None):
    """What the callbacks ask of a trainer; ``entered`` gets a word for each time that its autocast is."""

    @contextlib.contextmanager
    def autocast():
        if entered is not None:
            entered.append("autocast")
        yield

    return SimpleNamespace(model_wrapped=model, accelerator=SimpleNamespace(autocast=autocast))


def begin(callback, step=0, rank=0, world=1):
    callback.on_train_begin(
        SimpleNamespace(process_index=rank, world_size=world), SimpleNamespace(global_step=step), None
    )


def leak(model):
    """Rationales of a row that read each other."""
    from transformers import AttentionInterface

    from mammoth_utils.training.loop.packed_attention import packed_attention

    def leaking(module, query, key, value, mask, cu_seq_lens_q=None, **rest):
        return packed_attention(module, query, key, value, mask, cu_seq_lens_q=cu_seq_lens_q[[0, -1]], **rest)

    AttentionInterface.register("leaking", leaking)
    model.set_attn_implementation("leaking")


@pytest.mark.parametrize("step", [0, 5])
def test_rationales_that_see_each_other_after_the_cut_are_noticed_at_the_start_and_on_going_on(model, examples, step):
    from mammoth_utils.training.loop.shard_checks import ShardLossCheck

    entered = []
    callback = ShardLossCheck(model, examples, 5e-2, 1e-5)
    callback.trainer = trainer(model, entered)
    begin(callback, step)
    assert 0 <= callback.packing_nats < 1e-5
    assert entered, "as the run computes"
    assert (callback.difference is None) == (step > 0)
    leak(model)
    with pytest.raises(ValueError, match="see each other"):
        begin(callback, step)


def test_weights_that_a_cut_has_changed_are_noticed(model, examples):
    from mammoth_utils.training.loop.shard_checks import ShardLossCheck

    callback = ShardLossCheck(model, examples, 5e-2, 1e-5)
    callback.trainer = trainer(model)
    begin(callback)
    assert callback.difference == 0
    with torch.no_grad():
        model.model.norm.weight.mul_(8)
    with pytest.raises(ValueError, match="the shards are not the model that was loaded"):
        begin(callback)


def test_the_shards_expect_of_the_first_step_what_the_whole_base_does(model, examples, monkeypatch):
    from mammoth_utils.training.loop import shard_checks

    layout = batches.lay_out([len(example) for example in examples], 320, 16, 1, 4, 1, 2, 0)
    rows = [[examples[index] for index in row] for row in layout.rows[: layout.rows_per_step]]
    whole = shard_checks.FirstLossCheck(rows, 1e-4, model)
    parts = [sum(losses.row_loss(model, row) for row in rows[rank::2]) for rank in (0, 1)]
    assert all(parts)
    for rank in (0, 1):
        seen = []
        monkeypatch.setattr(
            shard_checks, "gather", lambda mine, seen=seen: (seen.append(mine), [{"nats": nats} for nats in parts])[1]
        )
        cut = shard_checks.FirstLossCheck(rows, 1e-4)
        cut.trainer = trainer(model)
        begin(cut, rank=rank, world=2)
        assert seen == [{"nats": parts[rank]}]
        assert cut.expected == pytest.approx(whole.expected, abs=1e-6)
        cut.on_log(None, SimpleNamespace(global_step=1), None, {"loss": whole.expected})
        with pytest.raises(ValueError, match="the first step's loss"):
            cut.on_log(None, SimpleNamespace(global_step=1), None, {"loss": whole.expected + 0.01})


def test_a_run_reads_its_packed_row_in_the_autocast_that_trains(base, monkeypatch):
    inside, read = [], []
    original = guards.check_packing

    @contextlib.contextmanager
    def noted(device, compute):
        inside.append((device, compute))
        yield
        inside.pop()

    def guard(*arguments):
        read.extend(inside)
        return original(*arguments)

    monkeypatch.setattr(training_loop, "training_autocast", noted)
    monkeypatch.setattr(guards, "check_packing", guard)
    description = describe("1m", base=str(base), max_length=320, max_steps=1, name="a")
    finetune(description, tiny_base.rows(8))
    assert read == [("cpu", guards.choose_precision("cpu").compute)]


@pytest.mark.parametrize(
    ("device", "compute", "on"),
    [
        ("cuda", "bf16", True),  # the variable-length kernel, which fp32 weights alone would not take
        ("cuda", "fp16", True),
        ("cuda", "fp32", False),
        ("cpu", "bf16", False),  # one attention for all types
        ("cpu", "fp32", False),
    ],
)
def test_that_autocast_is_on_where_types_decide_on_the_kernel(monkeypatch, device, compute, on):
    asked = []
    monkeypatch.setattr(torch, "autocast", lambda *arguments, **options: asked.append((*arguments, options)))
    training_loop.training_autocast(device, compute)
    assert asked == [(device, models.torch_dtype(compute), {"enabled": on})]


def test_processes_wait_longer_than_a_slow_disk_reads_the_largest_base(base):
    from mammoth_utils.training.loop import trainer as trainers

    description = describe("1m", base=str(base))
    layout = batches.lay_out([100] * 16, 320, 16, 1, 1, 1, 1, 0)
    options = trainers.trainer_arguments(description, "cpu", "fp32", layout, recompute=False)
    largest, slow = 140e9, 20e6  # bytes of 70B in 16 bit, bytes a second
    assert options.ddp_timeout_delta.total_seconds() > largest / slow
