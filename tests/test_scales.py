"""Scales as data: what each one is, whose its settings are, and that every one of them resolves anywhere."""

from __future__ import annotations

import re

import pytest

from mammoth_utils import scales
from mammoth_utils.training import describe, plan_methods, recipe_table
from mammoth_utils.training.plan import memory, this_machine

METHODS = ("full", "lora", "qlora")
REAL = [key for key, one in scales.SCALES.items() if not one.miniature]


@pytest.mark.parametrize(("size", "family", "rate", "batch", "epochs", "where"), [
    ("7b", "llama", 2e-5, 128, 3, "section 2.3"),
    ("13b", "llama", 2e-5, 128, 3, "section 2.3"),
    ("70b", "llama", 1e-5, 128, 3, "section 2.3"),
    ("7b", "coder", 2e-5, 128, 3, "section 2.3"),
    ("13b", "coder", 2e-5, 128, 3, "section 2.3"),
    ("34b", "coder", 1e-5, 128, 3, "section 2.3"),
    ("7b", "mistral", 5e-6, 256, 2, "run_mistral.sh"),  # the authors' script of their later model
])  # fmt: skip
def test_full_fine_tuning_has_the_authors_values_and_says_where_they_stand(size, family, rate, batch, epochs, where):
    rows = {row["field"] or row["setting"]: row for row in scales.recipe_table(size, family)}
    values = {name: rows[name]["value"] for name in ("learning_rate", "global_batch", "epochs", "warmup", "schedule")}
    assert values == {"learning_rate": rate, "global_batch": batch, "epochs": epochs, "warmup": 0.03,
                      "schedule": "cosine"}  # fmt: skip
    for name in ("learning_rate", "global_batch", "epochs"):
        assert rows[name]["whose"] in (scales.PAPER, scales.SCRIPT)
        assert where in rows[name]["why"]
    assert rows["max_length"]["whose"] == scales.OURS, "no version of the paper says a length"
    assert rows["optimiser"]["whose"] == scales.SCRIPT, "nor an optimiser; train.py has one"


@pytest.mark.parametrize("method", ["lora", "qlora"])
@pytest.mark.parametrize(("size", "family"), [key for key in REAL if key[1] != "mistral"])
def test_adapters_take_ten_times_the_rate_and_a_smaller_batch_and_say_that_both_are_ours(size, family, method):
    recipe = scales.scale(size, family).recipe
    assert recipe.rate(method) == pytest.approx(10 * recipe.rate("full"))
    assert recipe.batch(method) == 32 < recipe.batch("full")
    rows = {row["field"] or row["setting"]: row for row in scales.recipe_table(size, family, method)}
    for name, source in (("learning_rate", "LoRA Without Regret"), ("global_batch", "LoRA Without Regret"),
                         ("lora_rank", "QLoRA paper"), ("lora_alpha", "LoRA Learns Less"),
                         ("lora_dropout", "QLoRA paper"), ("lora_targets", "QLoRA paper")):  # fmt: skip
        assert rows[name]["whose"] == scales.OURS
        assert source in rows[name]["why"]


@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize(("size", "family"), list(scales.SCALES))
def test_every_setting_says_whose_it_is_and_why(size, family, method):
    rows = scales.recipe_table(size, family, method)
    assert {row["whose"] for row in rows} <= {scales.PAPER, scales.SCRIPT, scales.OURS}
    assert all(row["why"] for row in rows)
    assert ("LoRA rank" in {row["setting"] for row in rows}) == (method != "full")
    if scales.scale(size, family).miniature:
        assert scales.PAPER not in {row["whose"] for row in rows}, "no value of the miniature is the paper's"


@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize(("size", "family"), list(scales.SCALES))
def test_a_description_holds_the_recipe_and_a_departure_is_said_to_be_asked_for(size, family, method):
    description = describe(size, family, method)
    assert "asked for" not in {row["whose"] for row in recipe_table(description)}
    changed = {row["setting"]: row for row in recipe_table(describe(size, family, method, learning_rate=3e-6))}
    assert changed["peak rate"]["value"] == 3e-6
    assert changed["peak rate"]["whose"] == "asked for"
    assert f"the recipe has {scales.scale(size, family).recipe.rate(method)!r}" in changed["peak rate"]["why"]


@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize(("size", "family"), REAL)
def test_every_size_resolves_and_plans_without_a_network_and_without_weights(
    tmp_path, monkeypatch, size, family, method
):
    monkeypatch.setenv("HF_HUB_CACHE", str(tmp_path))
    monkeypatch.setattr("socket.socket.connect", lambda *address: pytest.fail(f"asked the network: {address}"))
    monkeypatch.setattr(this_machine, "find_gpus", lambda: pytest.fail("asked this machine"))
    description = describe(size, family, method)
    rows = {row.method: row for row in plan_methods(description, gpus=8, gpu_gib=80e9 / memory.GIB)}
    assert set(rows) == set(METHODS)
    full, lora, qlora = (rows[name].total - rows[name].loading for name in ("full", "lora", "qlora"))
    assert full > lora > qlora > 0, "in a step; each card loads a 4-bit net whole"
    assert description.global_batch == scales.scale(size, family).recipe.batch(method)


def test_bases_of_the_hub_are_pinned_by_a_whole_commit_or_resolved_when_they_are_fetched():
    for key, one in scales.SCALES.items():
        assert re.fullmatch(r"[0-9a-f]{40}|", one.revision), key
        row = next((row for row in scales.recipe_table(*key) if row["field"] == "revision"), None)
        assert (row is None) == one.miniature
        if row and not one.revision:
            assert "resolved at the download" in row["why"]
    assert describe("13b").revision == scales.scale("13b").revision
    assert describe("13b", base="NousResearch/Llama-2-13b-hf").revision == "", "a copy has commits of its own"
    assert describe("13b", revision="main").name == "llama-13b-hybrid-qlora-s0-revisionmain"


def test_gated_bases_name_ungated_copies_of_the_same_size():
    for one in scales.SCALES.values():
        assert bool(one.copies) == one.gated
        assert all(copy.split("/")[1] == one.base.split("/")[1] for copy in one.copies)
    assert scales.known_copies("meta-llama/Llama-2-7b-hf") == ("NousResearch/Llama-2-7b-hf",)
    assert scales.known_copies("someone/else") == ()


def test_a_method_that_is_none_is_refused_with_the_choices():
    with pytest.raises(ValueError, match="unknown method 'auto'; known: full, lora, qlora"):
        scales.recipe_table("7b", method="auto")


@pytest.mark.parametrize(("given", "words"), [
    ({"method": "lora", "master_weights": "bf16"}, "master_weights=bf16 is for method=full; lora trains fp32 adapters"),
    ({"master_weights": "fp16"}, "unknown master_weights 'fp16'; known: fp32, bf16"),
    ({"sharding": "zero3"}, "unknown sharding 'zero3'; known: auto, none, fsdp2"),
])  # fmt: skip
def test_a_value_that_no_run_can_have_is_refused_with_the_choices(given, words):
    with pytest.raises(ValueError, match=words):
        describe("7b", **given)
