"""Guards: each mistake that one of them stops is really made here, and is stopped."""

from __future__ import annotations

import dataclasses

import pytest
import tiny_base

from mammoth_utils.training import describe, finetune
from mammoth_utils.training.loop import batches, encoding, guards
from mammoth_utils.training.loop import model as models

torch = pytest.importorskip("torch")


@pytest.fixture(autouse=True)
def here(tmp_path, monkeypatch):
    monkeypatch.setenv("MAMMOTH_RUNS_DIR", str(tmp_path / "runs"))


@pytest.fixture(scope="module")
def sharp(base, tmp_path_factory):
    """The base after a few steps of learning: a random one answers everything alike, so no row would stand out."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("MAMMOTH_RUNS_DIR", str(tmp_path_factory.mktemp("runs")))
        description = run(base, max_steps=30, learning_rate=1e-2)
        finetune(description, tiny_base.rows(24))
        return description.folder / "model"


def run(base, **changes):
    """Two steps of the tiny base."""
    description = describe("1m", base=str(base), max_length=320, max_steps=2, name="a")
    return dataclasses.replace(description, **changes)


# --- the first loss -------------------------------------------------------------------------------------------------


def moved(held):
    """Labels that stand one token too far to the right: the token to learn is the one just read."""
    held["labels"] = [[encoding.IGNORE_INDEX, *labels[:-1]] for labels in held["labels"]]
    return held


def on_the_prompt(held):
    """Labels on everything: the loss of the prompt is mixed into that of the rationale."""
    return held | {"labels": held["input_ids"]}


def other_words(held):
    """Other ids than the template's where the prompt ends."""
    for ids, labels in zip(held["input_ids"], held["labels"], strict=True):
        for place, label in enumerate(labels):
            if label == encoding.IGNORE_INDEX:
                ids[place] = 5 + place % 7
    return held


@pytest.mark.parametrize("mistake", [moved, on_the_prompt, other_words])
def test_a_trainer_that_is_given_other_rows_than_the_base_was_asked_is_stopped_at_its_first_step(
    sharp, monkeypatch, mistake
):
    columns = batches.columns
    monkeypatch.setattr(batches, "columns", lambda packed: mistake(columns(packed)))
    with pytest.raises(ValueError, match="first step's loss is .* a plain pass of the base model .* gives"):
        finetune(run(sharp), tiny_base.rows(24))
    monkeypatch.setattr(batches, "columns", columns)
    assert finetune(run(sharp, name="b"), tiny_base.rows(24))["steps"] == 2


def test_a_loss_on_another_scale_is_stopped_at_its_first_step(base, monkeypatch):
    from mammoth_utils.training.loop.trainer import PackedTrainer

    compute_loss = PackedTrainer.compute_loss
    monkeypatch.setattr(PackedTrainer, "compute_loss", lambda self, *a, **k: compute_loss(self, *a, **k) / 2)
    with pytest.raises(ValueError, match="another scale of the loss"):
        finetune(run(base), tiny_base.rows(24))


def test_a_check_that_is_skipped_stops_nothing_and_the_record_says_so(base, monkeypatch):
    from mammoth_utils.training.loop.trainer import PackedTrainer

    compute_loss = PackedTrainer.compute_loss
    monkeypatch.setattr(PackedTrainer, "compute_loss", lambda self, *a, **k: compute_loss(self, *a, **k) / 2)
    description = run(base, skip_checks="first_loss")
    record = finetune(description, tiny_base.rows(24))
    assert record["parameters"]["skip_checks"] == "first_loss"
    assert record["packing"]["first_minus_base_nats"] == pytest.approx(record["losses"]["first"], rel=1e-3)
    assert "warning: skip_checks=first_loss" in (description.folder / "train.log").read_text()
    monkeypatch.setattr(guards.losses, "row_loss", lambda model, row: 9.0 * len(row) ** 2)
    with pytest.raises(ValueError, match="by more than"):
        finetune(run(base, skip_checks="first_loss", name="b"), tiny_base.rows(24))


def test_checks_that_can_be_skipped_are_named_and_part_of_the_runs_name():
    described = describe("7b", method="lora", skip_checks="drift, packing")
    assert described.skip_checks == "packing,drift"
    assert described.name == "llama-7b-hybrid-lora-s0-withoutpacking+drift"
    assert described.tolerance("drift", 0.1) == float("inf")
    assert described.tolerance("shards", 0.1) == 0.1
    with pytest.raises(ValueError, match="unknown skip_checks 'labels'; known: packing, first_loss, shards, drift"):
        describe("7b", skip_checks="labels")


@pytest.mark.parametrize("optimizer", ["adamw_8bit", "paged_adamw_8bit"])
def test_moments_in_8_bit_train_as_those_in_32_do(base, optimizer):
    losses = {}
    for name in ("adamw", optimizer):
        record = finetune(run(base, name=name, optimizer=name, max_steps=12, learning_rate=5e-3), tiny_base.rows(24))
        losses[name] = record["losses"]
    assert losses[optimizer]["first"] == losses["adamw"]["first"]
    assert losses[optimizer]["last"] < losses["adamw"]["first"] - 0.2
    assert losses[optimizer]["last"] == pytest.approx(losses["adamw"]["last"], abs=0.05)


@pytest.mark.parametrize(("found", "expected"), [(float("nan"), 2.0), (2.0, float("inf")), (2.0, 2.1)])
def test_a_first_loss_that_is_no_number_or_too_far_off_is_stopped(found, expected):
    assert guards.check_first_loss(2.0, 2.00001, 1e-3) == pytest.approx(1e-5)
    with pytest.raises(ValueError, match="labels, another template, another scale of the loss or another type"):
        guards.check_first_loss(found, expected, 1e-3)


# --- shards ---------------------------------------------------------------------------------------------------------


def test_shards_that_are_not_the_model_are_stopped(base):
    from mammoth_utils.training.loop import losses

    model = models.load_model(run(base), "fp32")
    examples, _ = encoding.encode_rows(tiny_base.rows(2), tiny_base.tokenizer(), 1000)
    before = losses.mean_loss(model, examples)
    assert guards.check_sharded_loss(before, losses.mean_loss(model, examples), 1e-6) == 0
    with torch.no_grad():  # a layer that stayed as another process had initialised it
        torch.nn.init.normal_(model.model.layers[1].mlp.down_proj.weight, std=0.5)
    with pytest.raises(ValueError, match="the shards are not the model that was loaded; -p sharding none"):
        guards.check_sharded_loss(before, losses.mean_loss(model, examples), 1e-3)
    with pytest.raises(ValueError, match="is nan now"):
        guards.check_sharded_loss(before, float("nan"), 1e-3)


# --- types ----------------------------------------------------------------------------------------------------------


def test_weights_that_are_trained_in_16_bit_are_stopped_unless_they_were_asked_for(base):
    model = models.load_model(run(base), "bf16")
    guards.check_dtypes(model, "full", "bf16")
    model.to(torch.bfloat16)
    with pytest.raises(
        ValueError, match="is trained in torch.bfloat16, expected torch.float32.*-p master_weights bf16"
    ):
        guards.check_dtypes(model, "full", "bf16")
    guards.check_dtypes(model, "full", "bf16", master_weights="bf16")


@pytest.mark.parametrize("method", ["lora", "qlora"])
def test_adapters_in_16_bit_and_a_base_in_another_type_than_the_run_computes_in_are_stopped(base, method):
    from peft import get_peft_model

    description = dataclasses.replace(describe("1m", base=str(base), method=method), lora_rank=4)
    model = get_peft_model(models.load_model(description, "bf16"), models.lora_config(description))
    models.cast_trained_to_fp32(model)
    guards.check_dtypes(model, method, "bf16")
    name, adapter = next((name, one) for name, one in model.named_parameters() if one.requires_grad)
    adapter.data = adapter.data.bfloat16()
    with pytest.raises(ValueError, match=f"{name} is trained in torch.bfloat16"):
        guards.check_dtypes(model, method, "bf16")
    models.cast_trained_to_fp32(model)
    norm = next(one for name, one in model.named_parameters() if name.endswith("norm.weight"))
    norm.data = norm.data.float()
    with pytest.raises(ValueError, match="of the frozen base is torch.float32, expected torch.bfloat16"):
        guards.check_dtypes(model, method, "bf16")


# --- padding --------------------------------------------------------------------------------------------------------


def test_labels_on_padding_are_stopped():
    ids = torch.tensor([[5, 6, 7, 2], [5, 7, 2, 2]])
    mask = torch.tensor([[1, 1, 1, 1], [1, 1, 1, 0]])
    hidden = ids.masked_fill(mask == 0, encoding.IGNORE_INDEX)
    guards.check_padding({"labels": hidden, "attention_mask": mask})
    with pytest.raises(
        ValueError, match="1 labels stand on padding: the model would learn to write it and not to stop"
    ):
        guards.check_padding({"labels": ids, "attention_mask": mask})
    with pytest.raises(ValueError, match="no label at all"):
        guards.check_padding({"labels": torch.full_like(ids, encoding.IGNORE_INDEX), "attention_mask": mask})


def test_padding_that_no_document_owns_is_stopped_in_a_flattened_row(base):
    from trl.trainer.sft_trainer import DataCollatorForLanguageModeling

    examples, _ = encoding.encode_rows(tiny_base.rows(3), tiny_base.tokenizer(), 1000)
    row = {key: values[0] for key, values in encoding.columns([examples]).items()}
    collate = DataCollatorForLanguageModeling(pad_token_id=2, padding_free=True)
    inputs = collate([row])
    guards.check_padding(inputs)
    longer = {key: torch.nn.functional.pad(inputs[key], (0, 3), value=2) for key in ("input_ids", "labels")}
    with pytest.raises(ValueError, match=r"3 tokens of a row of \d+ belong to no document: padding read as text"):
        guards.check_padding(inputs | longer)
    del inputs["cu_seq_lens_q"]
    with pytest.raises(ValueError, match="does not say what is padding"):
        guards.check_padding(inputs)
