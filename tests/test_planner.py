"""The planner's gigabytes, against exact parameter counts, the table they were first worked out in, and others'."""

from __future__ import annotations

import subprocess
import sys

import pytest

from mammoth_utils import scales
from mammoth_utils.base_models import architectures
from mammoth_utils.training import describe, hardware_tables
from mammoth_utils.training.loop import batches
from mammoth_utils.training.plan import gpu_fit, gpu_models, literature, memory, planner, run_cost, this_machine

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


# GiB on each GPU at 2,048 tokens a pass with checkpointing, rank 64, as first worked out by hand; the head's gradient
# in fp32, a layer's gradients in 16 bit, dropout's masks and a key for each query head were not in it, and adapters of
# a 4-bit net were in 16 bit.
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
def test_memory_agrees_with_the_table_within_4_per_cent_or_a_gib_and_a_half(size, family, method, gpus, gib):
    architecture = architectures.ARCHITECTURES[size, family]
    options = {"whole_first": False, "adapter_bytes": 2 if method == "qlora" else 4}
    total = sum(memory.memory_by_part(architecture, method, 2048, gpus, **options).values()) / memory.GIB
    assert abs(total - gib) <= max(1.5, 0.04 * gib)


@pytest.mark.parametrize(
    ("size", "family", "gib"), [("7b", "llama", 8), ("13b", "llama", 12), ("34b", "coder", 25), ("70b", "llama", 46)]
)
def test_qlora_with_16_bit_adapters_agrees_with_the_table(size, family, gib):
    architecture = architectures.ARCHITECTURES[size, family]
    total = sum(memory.memory_by_part(architecture, "qlora", 2048, adapter_bytes=2).values()) / memory.GIB
    assert abs(total - gib) <= 1.5


def test_full_fine_tuning_of_70b_fits_16_cards_of_141_gb_and_not_of_80():
    architecture = architectures.ARCHITECTURES["70b", "llama"]
    assert not gpu_fit.plan_memory(architecture, "full", 2048, 16, 80e9 / memory.GIB, 64).fits
    assert gpu_fit.plan_memory(architecture, "full", 2048, 16, 141e9 / memory.GIB, 64).fits


def test_fewest_cards_of_80_gb_for_full_fine_tuning():
    fewest = {
        key: gpu_fit.plan_memory(architectures.ARCHITECTURES[key], "full", 2048, 1, 80e9 / memory.GIB, 64).fewest
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
def test_auto_takes_the_first_method_that_fits_and_says_why(cards, size, method):
    description = describe(size, gpus=[this_machine.Gpu(*card) for card in cards])
    assert description.method == method
    assert "GiB" in description.method_reason


def test_a_plan_has_a_row_for_each_method():
    rows = planner.plan_methods(describe("7b"), gpus=1, gpu_gib=24e9 / memory.GIB)
    assert [row.method for row in rows] == ["full", "lora", "qlora"]
    assert [row.fits for row in rows] == [False, True, True]
    assert rows[0].total == pytest.approx(sum(getattr(rows[0], part) for part in memory.PARTS))


@pytest.mark.parametrize(
    ("wrong", "words"),
    [
        ({"method": "dora"}, "unknown method 'dora'; known: full, lora, qlora"),
        ({"compute": "fp8"}, "unknown compute 'fp8'; known: fp32, bf16, fp16"),
        ({"master": "fp16"}, "unknown master 'fp16'; known: fp32, bf16"),
        ({"device": "tpu"}, "unknown device 'tpu'; known: cuda, cpu"),
        ({"tokens": 0}, "at least one token, GPU and rank, got 0, 1 and 64"),
    ],
)
def test_what_the_planner_does_not_know_is_refused_with_the_choices(wrong, words):
    with pytest.raises(ValueError, match=words):
        memory.memory_by_part(architectures.ARCHITECTURES["7b", "llama"], **{"method": "full", **wrong})


SEVEN = architectures.ARCHITECTURES["7b", "llama"]


@pytest.mark.parametrize(
    ("less", "more", "part", "because"),
    [
        ({}, {"checkpointing": False}, "activations", "kept activations are all layers', not one's"),
        ({}, {"tokens": 4096}, "activations", "each token is kept"),
        ({"tokens": 1024}, {"tokens": 4096}, "logits", "a tile holds up to 4,096 tokens"),
        ({"master": "bf16"}, {"master": "fp32"}, "weights", "two bytes a weight, or four"),
        ({"master": "bf16"}, {"master": "fp32"}, "extra", "weights in 16 bit need no copies in 16 bit"),
        ({"gpus": 8}, {"gpus": 2}, "optimiser", "states are shared out"),
        ({"method": "qlora"}, {"method": "lora"}, "weights", "half a byte a weight, or two"),
        ({"method": "lora", "dropout": 0.0}, {"method": "lora"}, "activations", "a dropout's mask is kept"),
        ({"method": "lora", "rank": 8}, {"method": "lora"}, "gradients", "of adapters of that rank"),
        ({"compute": "fp32"}, {"compute": "bf16"}, "extra", "autocast copies the weights"),
    ],
)
def test_each_choice_moves_its_part(less, more, part, because):
    small, large = (memory.memory_by_part(SEVEN, **{"method": "full", **how})[part] for how in (less, more))
    assert small < large, because


def test_logits_are_a_part_of_their_own_and_a_tile_at_most():
    """TRL scores 4,096 tokens and 32,768 words at a time, so that more of either costs the gradients alone."""
    wide = architectures.Architecture(4096, 32, 32, 8, 14_336, 128_256)
    tile = 2 * 4096 * 32_768
    parts = memory.memory_by_part(wide, "lora", 16_384)
    assert parts["logits"] == tile + (4 * 4096 + 2 * 4096 + 13) * 16_384
    assert memory.memory_by_part(wide, "lora", 16_384, labels=0.5)["logits"] < parts["logits"]


def test_nf4_counts_scales_scales_of_scales_and_tables_matrix_by_matrix():
    tiny = architectures.Architecture(64, 1, 1, 1, 128, 100)
    # Four matrices of 64 x 64 with 64 scales each, three of 64 x 128 with 128; tables of 1,092 bytes each.
    assert memory.four_bit_bytes(tiny) == 4 * (2048 + 64 + 4 + 1092) + 3 * (4096 + 128 + 4 + 1092)


@pytest.mark.parametrize(
    ("size", "method", "gpus", "gb", "more", "sentence"),
    [
        ("7b", "full", 1, 24, {}, "7b full needs 116 GiB, this card has 22, of which a plan may take 95%: use method "
         "lora (18 GiB), method qlora (9.0 GiB), 8 such cards or a card of 141 GB"),
        ("13b", "lora", 1, 24, {}, "13b lora needs 32 GiB, this card has 22, of which a plan may take 95%: use method "
         "qlora (14 GiB), 2 such cards or a card of 40 GB"),
        ("70b", "qlora", 2, 24, {}, "70b qlora needs 57 GiB while each card loads the whole 4-bit net (31 in a step), "
         "each of these 2 cards has 22, of which a plan may take 95%: use method lora on 16 such "
         "cards or cards of 80 GB"),
        ("7b", "qlora", 1, 24, {}, "7b qlora needs 9.0 GiB, this card has 22, of which a plan may take 95%; a "
         "micro_batch of up to 12 fits"),
        ("13b", "qlora", 1, 16, {"max_length": 8192}, "13b qlora needs 19 GiB, this card has 15, of which a plan may "
         "take 95%: use max_length 2048, 2 such cards or a card of 24 GB"),
        ("70b", "full", 2, 24, {}, "70b full needs 529 GiB, each of these 2 cards has 22, of which a plan may take "
         "95%: use method lora on 16 such cards"),
    ],
)  # fmt: skip
def test_advice_says_what_would_fit(size, method, gpus, gb, more, sentence):
    said = planner.advise(describe(size, method=method, devices="cpu", **more), gpus, gb * 1e9 / memory.GIB)
    assert said.sentence == sentence
    assert said.fits == (said.remedies == ())


@pytest.mark.parametrize(("size", "method"), [("7b", "full"), ("13b", "lora"), ("70b", "qlora"), ("7b", "qlora")])
@pytest.mark.parametrize("gb", [16, 24, 40, 80, 141])
def test_every_remedy_of_advice_does_what_it_says(size, method, gb):
    gib = gb * 1e9 / memory.GIB
    asked = {"method": method, "devices": "cpu", "max_length": 4096, "micro_batch": 2}
    for remedy in planner.advise(describe(size, **asked), 1, gib).remedies:
        words, then, cards_then, gib_then = remedy.split(), dict(asked), 1, gib
        if words[0] == "max_length":
            then |= {"max_length": int(words[1])} | ({"micro_batch": 1} if words[-1] == "1" else {})
        elif words[0] == "micro_batch":
            then["micro_batch"] = int(words[1])
        elif words[0] in ("method", "optimizer"):
            then[words[0]] = words[1]
        if remedy.startswith("a card of"):
            gib_then = float(words[3]) * 1e9 / memory.GIB
        elif remedy.endswith("such cards"):
            cards_then = int(words[-3])
        after = planner.advise(describe(size, **then), cards_then, gib_then)
        assert after.fits, f"{remedy}: {after.sentence}"


def test_without_checkpointing_the_advice_is_to_switch_it_on_and_how_many_cards_that_takes():
    described = describe("13b", method="full", devices="cpu")
    said = planner.advise(described, 2, 24e9 / memory.GIB, checkpointing=False)
    assert said.remedies[0] == "activation checkpointing on 16 such cards"
    assert planner.advise(described, 16, 24e9 / memory.GIB).fits
    assert not planner.advise(described, 8, 24e9 / memory.GIB).fits


def test_cards_that_each_hold_the_whole_run_need_its_gradients_twice_and_are_told_to_share():
    one, many = (memory.memory_by_part(SEVEN, "full", replicas=replicas) for replicas in (1, 8))
    assert many["extra"] - one["extra"] == one["gradients"]
    said = planner.advise(describe("7b", method="full", devices="cpu"), gpu_gib=80e9 / memory.GIB, replicas=8)
    assert said.sentence.startswith("7b full needs 142 GiB, each of these 8 cards has 75, of which a plan may take 95%")
    assert "method lora (18 GiB)" in said.remedies
    assert "sharding fsdp2" in said.remedies
    with pytest.raises(ValueError, match="cards that share a run or cards that each hold it, got 2 and 2"):
        memory.memory_by_part(SEVEN, "full", gpus=2, replicas=2)


def test_the_largest_micro_batch_fits_and_one_more_does_not():
    gib = 24e9 / memory.GIB
    largest = gpu_fit.largest_micro_batch(SEVEN, "qlora", 2048, 1, gib, 64)
    needs = [sum(memory.memory_by_part(SEVEN, "qlora", 2048 * n).values()) / memory.GIB for n in (largest, largest + 1)]
    assert needs[0] <= memory.FIT * gib < needs[1]
    assert gpu_fit.largest_micro_batch(SEVEN, "full", 2048, 1, gib, 64) == 0


def test_dollars_are_card_hours_times_the_price_and_an_unknown_price_is_said():
    listed = run_cost.estimate_cost(SEVEN, "full", gpu_models.gpu_model("H100"), gpus=2)
    assert listed.dollars == pytest.approx(listed.card_hours * gpu_models.GPU_MODELS["H100"].price.dollars_an_hour)
    assert listed.hours == pytest.approx(8 * SEVEN.parameters * run_cost.PAPER_TOKENS / (2 * 0.4 * 989e12) / 3600)
    assert listed.price_source == "2.69 an hour of one H100, as listed on 2026-03-21"
    none = run_cost.estimate_cost(SEVEN, "full", gpu_models.gpu_model("T4"))
    assert none.dollars is None
    assert none.price is None
    assert "no price of a T4 was seen" in none.price_source
    assert (
        run_cost.estimate_cost(SEVEN, "full", gpu_models.gpu_model("T4"), price=0.5).price_source
        == "0.50 an hour of one T4, as given"
    )


def test_a_frozen_base_takes_three_quarters_of_the_operations_and_checkpointing_a_forward_pass_more():
    full, lora = (run_cost.flops_per_token(SEVEN, method, rank=1) for method in ("full", "lora"))
    assert lora / full == pytest.approx(0.75, abs=0.002)
    kept = run_cost.flops_per_token(SEVEN, "full", checkpointing=False)
    assert full - kept == 2 * SEVEN.parameters


def test_an_unknown_card_names_the_choices_and_short_names_count():
    with pytest.raises(ValueError, match="unknown gpu 'P100'; known: T4, V100.*H100.*3090, 4090, A100"):
        gpu_models.gpu_model("P100")
    assert gpu_models.gpu_model("A100") is gpu_models.GPU_MODELS["A100 80GB"]
    assert [name for name, one in gpu_models.GPU_MODELS.items() if not one.bf16] == ["T4", "V100", "V100 32GB"]


def test_the_stated_efficiency_lies_within_what_others_reached():
    """The comment beside EFFICIENCY names the range; a literature table that moves it moves the comment too."""
    shares = [one.efficiency for one in literature.published_speed()]
    assert (len(shares), round(100 * min(shares)), round(100 * max(shares))) == (10, 33, 70)
    assert min(shares) < run_cost.EFFICIENCY < max(shares)


@pytest.mark.parametrize("one", literature.published_memory(), ids=lambda one: f"{one.run}, {one.source.split(',')[0]}")
def test_the_planner_agrees_with_what_others_published(one):
    """Whether a run fits is said alike everywhere; gigabytes agree within 30 %, but for the rule of thumb named."""
    assert one.agrees is not False, f"{one.planned:.1f} GiB against {one.limit} GiB: {one.why}"
    if one.starts_here is False and one.fits:
        assert "this book" in one.why, "why it would not start here what others ran"
    assert one.why.endswith(".")
    if one.gib is not None and not (one.method == "qlora" and one.source.startswith("LLaMA-Factory")):
        assert abs(one.planned / one.gib - 1) < 0.31, one.why


def test_of_eight_published_claims_all_hold_and_four_are_of_runs_that_this_book_would_not_start():
    claims = [one for one in literature.published_memory() if one.limit is not None]
    assert len(claims) == 8
    assert all(one.agrees for one in claims)
    refused = [(one.run.split(",")[0], one.method, one.gpus) for one in claims if one.fits and not one.starts_here]
    assert refused == [("Yi 34B", "qlora", 2), ("Llama-2 70B", "qlora", 4), ("Llama-2 70B", "qlora", 2),
                       ("Llama-2 70B", "full", 16)]  # fmt: skip


# --- loading: each of several cards holds a 4-bit net whole before it is cut ------------------------------------------

WHOLE = {("34b", "coder"): 16.9, ("70b", "llama"): 33.9}  # GiB in nf4 with the embedding and the head in 16 bit


@pytest.mark.parametrize(("size", "family"), WHOLE)
@pytest.mark.parametrize("gpus", [2, 4, 8, 64])
def test_a_sharded_qlora_run_is_planned_by_its_loading_where_that_takes_more_than_a_step(size, family, gpus):
    architecture = architectures.ARCHITECTURES[size, family]
    whole = memory.quantised_bytes(architecture, 2) / memory.GIB
    assert round(whole, 1) == WHOLE[size, family]
    row = gpu_fit.plan_memory(architecture, "qlora", 2048, gpus, 80.0, 64)
    assert row.loading > 0
    assert row.total > whole * (1 + 1 / gpus) + 1.5, "the whole net, the share that is cut from it, and CUDA's context"
    assert "while each card loads the whole 4-bit net" in row.total_text


@pytest.mark.parametrize(("method", "gpus", "how", "because"), [
    ("qlora", 1, {}, "one card loads what it keeps"),
    ("qlora", 1, {"replicas": 8}, "nothing is cut"),
    ("lora", 8, {}, "a 16-bit net waits in the first process's own memory"),
    ("full", 8, {}, "so do fp32 weights"),
    ("qlora", 8, {"whole_first": False}, "a loader that hands a card its share"),
    ("qlora", 2, {"tokens": 2048 * 60}, "a step of so many tokens takes more than loading"),
])  # fmt: skip
def test_loading_is_no_part_of_other_plans(method, gpus, how, because):
    assert memory.memory_by_part(SEVEN, **{"method": method, "gpus": gpus, **how})["loading"] == 0, because


def test_eight_cards_of_24_gb_are_not_advised_qlora_at_70b_and_no_number_of_them_carries_it():
    gpus = [this_machine.Gpu("RTX 4090", 24.0)] * 8
    described = describe("70b", gpus=gpus)
    assert "qlora would need 44 GiB while each card loads the whole 4-bit net" in described.method_reason
    assert described.method_reason.endswith("16 such cards carry lora")
    rows = {row.method: row for row in planner.plan_methods(described, 8, 24.0)}
    assert (rows["qlora"].fits, rows["qlora"].fewest, rows["lora"].fewest) == (False, None, 16)
    said = planner.advise(describe("70b", method="qlora", gpus=gpus), 16, 24.0)
    assert said.remedies == ("method lora (18 GiB)", "cards of 48 GB"), "a sixteenth of 16 bit, less than 4 bit whole"


def test_the_scales_of_a_4_bit_net_are_whole_on_every_card_that_shares_it():
    one, two, eight = (memory.memory_by_part(SEVEN, "qlora", gpus=n, whole_first=False) for n in (1, 2, 8))
    scales_of = memory.quantisation_scales(SEVEN)
    assert 0.10e9 < scales_of < 0.11e9, "a byte for each 64 of 6.5 billion weights, and a little"
    halves = memory.four_bit_bytes(SEVEN) - scales_of
    assert halves == SEVEN.linear / 2
    assert eight["extra"] - two["extra"] == pytest.approx(scales_of * (1 / 2 - 1 / 8))
    assert one["weights"] == memory.quantised_bytes(SEVEN, 2) + 4 * SEVEN.lora_parameters(64)


# --- what fits, and what is advised -----------------------------------------------------------------------------------


def test_a_plan_that_fills_a_card_to_the_edge_does_not_fit():
    need = gpu_fit.plan_memory(SEVEN, "lora", 2048, 1, 80.0, 64).total
    assert not gpu_fit.plan_memory(SEVEN, "lora", 2048, 1, need, 64).fits
    assert gpu_fit.plan_memory(SEVEN, "lora", 2048, 1, need / memory.FIT * 1.0001, 64).fits
    assert 0.92 <= memory.FIT <= 0.95
    edge = planner.advise(describe("7b", method="lora", devices="cpu"), 1, need)
    assert not edge.fits
    assert "of which a plan may take 95%" in edge.sentence


@pytest.mark.parametrize(("method", "gpus", "largest"), [("lora", 1, 31), ("lora", 4, 7), ("lora", 16, 1),
                                                         ("full", 8, 15), ("full", 64, 1)])  # fmt: skip
def test_no_larger_micro_batch_is_advised_than_a_step_has_examples_for(method, gpus, largest):
    """With one example less than the recipe's, which the epochs' rest leaves some steps with."""
    described = describe("7b", method=method, devices="cpu", max_length=512)
    said = planner.advise(described, gpus, 180.0)
    assert said.fits
    assert said.largest_micro_batch == largest
    examples = described.global_batch * 10 - 1
    rows = batches.lay_out([100] * examples, 512, described.global_batch, 1, 0, largest, gpus)
    assert rows.micro_batch <= largest
    assert rows.rows_per_step <= described.global_batch - 1


def test_no_more_cards_are_advised_than_a_step_has_examples():
    row = gpu_fit.plan_memory(architectures.ARCHITECTURES["70b", "llama"], "lora", 2048, 1, 14.0, 64)
    assert row.fewest == 64
    assert (
        gpu_fit.plan_memory(architectures.ARCHITECTURES["70b", "llama"], "lora", 2048, 1, 14.0, 64, 32).fewest is None
    )


# --- `auto` plans the run that will be started ------------------------------------------------------------------------


@pytest.mark.parametrize(("size", "asked", "method", "because"), [
    ("13b", {}, "full", "30 GiB on each of eight"),
    ("13b", {"sharding": "none"}, "lora", "each card would have to hold all 222 GiB, and gradients twice"),
    ("13b", {"devices": 1}, "lora", "one of the eight"),
    ("70b", {}, "lora", "eight cards do not carry 1.2 TB"),
    ("70b", {"nodes": 4}, "full", "thirty-two do"),
    ("70b", {"nodes": 2}, "lora", "sixteen cards do not carry fp32 weights"),
    ("70b", {"nodes": 2, "master_weights": "bf16"}, "full", "half the weights, gradients and states"),
    ("34b", {}, "full", "74 of 79.6 GiB at a row of 2,048 tokens"),
    ("34b", {"micro_batch": 3}, "lora", "three such rows are more"),
    ("7b", {"micro_batch": 16}, "full", "eight rows of sixteen are a step's 128 examples"),
    ("7b", {"nodes": 20}, "qlora", "160 cards are more than any step's examples"),
])  # fmt: skip
def test_auto_counts_with_sharding_nodes_rows_and_weights(size, asked, method, because):
    described = describe(size, **asked, gpus=[this_machine.Gpu("H100", 79.6)] * 8)
    assert described.method == method, f"{because}: {described.method_reason}"
    if "nothing fits" in described.method_reason:
        assert described.method_reason.endswith("qlora has 32 examples a step for 160 rows"), "not for want of cards"


@pytest.mark.parametrize(("size", "method", "cards", "gib", "asked", "sharding", "because"), [
    ("7b", "lora", 8, 79.6, {}, "none", "18 GiB and the gradients once more: each card holds it"),
    ("7b", "qlora", 2, 24.0, {}, "none", "so does a card of 24 GB"),
    ("70b", "qlora", 4, 79.6, {}, "none", "46 GiB on each card, where loading a share would take as much"),
    ("70b", "qlora", 8, 48.0, {}, "fsdp2", "a copy and its gradients are more than 95 % of 48"),
    ("7b", "full", 8, 79.6, {}, "fsdp2", "142 GiB are not on one card"),
    ("7b", "full", 8, 180.0, {}, "none", "but on a larger one"),
    ("7b", "lora", 8, 79.6, {"sharding": "fsdp2"}, "fsdp2", "asked for"),
    ("7b", "lora", 8, 79.6, {"nodes": 2}, "none", "sixteen copies"),
    ("7b", "full", 8, 79.6, {"optimizer": "paged_adamw_8bit"}, "none", "weights that are cut have no 8-bit moments"),
])  # fmt: skip
def test_each_card_holds_the_run_where_the_plan_fits_it(size, method, cards, gib, asked, sharding, because):
    gpus = [this_machine.Gpu("H100", gib)] * cards
    described = describe(size, method=method, gpus=gpus, **asked)
    assert described.sharding == sharding, because


def test_several_nodes_whose_cards_are_unknown_share_the_run():
    assert describe("7b", method="lora", nodes=2).sharding == "fsdp2"


@pytest.mark.parametrize(
    ("size", "method", "gib"), [("7b", "lora", 79.6), ("7b", "qlora", 24.0), ("13b", "full", 141.0)]
)
def test_auto_takes_the_most_rows_a_pass_that_the_plan_fits(size, method, gib):
    gpus = [this_machine.Gpu("card", gib)] * 4
    described = describe(size, method=method, gpus=gpus)
    assert described.micro_batch > 1
    sharing, replicas = planner.sharing_and_replicas(4, described.sharding)
    said = planner.advise(described, sharing, gib, replicas=replicas)
    assert said.fits
    assert said.largest_micro_batch == described.micro_batch
    assert 4 * described.micro_batch < described.global_batch
    assert describe(size, method=method, gpus=gpus, micro_batch=1).micro_batch == 1, "as asked"


def test_without_a_card_a_pass_has_one_row():
    assert describe("7b", devices="cpu", gpus=[this_machine.Gpu("H100", 79.6)]).micro_batch == 1
    assert describe("1m", gpus=[this_machine.Gpu("H100", 79.6)]).micro_batch == 1
    assert describe("7b").micro_batch == 1


# --- 8-bit optimisers -------------------------------------------------------------------------------------------------


def test_paged_8_bit_adam_puts_full_fine_tuning_of_7b_on_one_card_of_80_gb():
    gib = 80e9 / memory.GIB
    plans = {name: gpu_fit.plan_memory(SEVEN, "full", 2048, 1, gib, 64, optimizer=name) for name in memory.OPTIMIZERS}
    assert [round(plan.total) for plan in plans.values()] == [116, 80, 66]
    assert [plan.fits for plan in plans.values()] == [False, False, True]
    said = planner.advise(describe("7b", method="full", devices="cpu"), 1, gib)
    assert "optimizer paged_adamw_8bit (66 GiB)" in said.remedies
    described = describe("7b", method="full", optimizer="paged_adamw_8bit", gpus=[this_machine.Gpu("H100", gib)])
    assert planner.advise(described, 1, gib).fits
    assert described.name == "llama-7b-hybrid-full-s0-optimizerpaged_adamw_8bit"


def test_8_bit_moments_are_for_cards_that_each_hold_the_run():
    with pytest.raises(ValueError, match="unknown optimizer 'lion'; known: adamw, adamw_8bit, paged_adamw_8bit"):
        describe("7b", optimizer="lion")
    with pytest.raises(ValueError, match="bitsandbytes does not update weights that FSDP2 cuts; use -p sharding none"):
        describe("7b", method="full", optimizer="adamw_8bit", sharding="fsdp2")
    with pytest.raises(ValueError, match="over cards that share a run only adamw works"):
        memory.memory_by_part(SEVEN, "full", gpus=2, optimizer="adamw_8bit")


def test_auto_reads_the_configuration_of_the_revision_that_was_asked_for(monkeypatch):
    seen = []
    known = planner.architecture_of
    monkeypatch.setattr(planner, "architecture_of", lambda scale, base="", revision="": (
        seen.append(revision), known(scale, base))[1])  # fmt: skip
    describe("7b", revision="abc", gpus=[this_machine.Gpu("H100", 79.6)])
    assert seen[0] == "abc"


def test_the_pages_table_has_every_scale_and_method_and_hours_only_where_cards_carry_them():
    rows = hardware_tables.scale_table(hardware_tables.Hardware.of("RTX 4090", 1, 0, 2048, 1, True))
    assert len(rows) == 3 * len(REAL)
    for row in rows:
        assert row["total"] == pytest.approx(sum(row[part] for part in memory.PARTS))
        assert (row["hours"] is None) == (row["cards"] is None)
        assert row["cards"] is None or row["largest micro_batch"] >= 1
    beyond = [(row["size"], row["method"]) for row in rows if row["cards"] is None]
    assert beyond == [("70b", "full"), ("70b", "qlora")], "too many bytes in a step, and in a card while it loads"


def test_the_page_advises_on_exactly_what_does_not_fit():
    machine = hardware_tables.Hardware.of("H100", 2, 1.5, 2048, 1, True)
    short = {(r["size"], r["family"], r["method"]) for r in hardware_tables.scale_table(machine) if not r["fits"]}
    advised = {(r["size"], r["family"], r["method"]): r["advice"] for r in hardware_tables.advice_table(machine)}
    assert set(advised) == short
    assert all("use " in text for text in advised.values())


def test_a_card_without_bf16_is_named_as_such():
    assert str(hardware_tables.Hardware.of("T4", 1, 0, 2048, 1, True)) == "1 x T4, 14.9 GiB each, no bf16"
    assert str(hardware_tables.Hardware.of("H100", 2, 0, 2048, 1, True)) == "2 x H100, 74.5 GiB each"


@pytest.mark.parametrize("wrong", [{"gpus": 0}, {"max_length": 0}, {"micro_batch": 0}])
def test_a_machine_without_cards_or_tokens_is_refused(wrong):
    given = {"gpu": "H100", "gpus": 1, "price": 0.0, "max_length": 2048, "micro_batch": 1, "checkpointing": True}
    with pytest.raises(ValueError, match=f"{next(iter(wrong))} is 0; expected at least 1"):
        hardware_tables.Hardware.of(**{**given, **wrong})


def test_a_configuration_without_a_width_is_refused():
    with pytest.raises(ValueError, match="missing.*hidden_size"):
        architectures.Architecture.from_config({"num_hidden_layers": 2})


def test_hidden_cards_do_not_count(monkeypatch):
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "")
    assert this_machine.find_gpus() == []


def test_cards_are_read_from_nvidia_smi(monkeypatch, tmp_path):
    program = tmp_path / "nvidia-smi"
    program.write_text("#!/bin/sh\necho 'Card A, 81559, 40960, GPU-aa'\necho 'Card B, 24564, [N/A], GPU-bb'\n")
    program.chmod(0o755)
    monkeypatch.setenv("PATH", f"{tmp_path}:/usr/bin:/bin")
    monkeypatch.delenv("CUDA_VISIBLE_DEVICES", raising=False)
    monkeypatch.delenv("RANK", raising=False)
    assert [card.name for card in this_machine.find_gpus()] == ["Card A", "Card B"]
    assert [(round(card.gib, 1), round(card.whole, 1)) for card in this_machine.find_gpus()] == [
        (40.0, 79.6),
        (24.0, 24.0),
    ]
    monkeypatch.setenv("RANK", "0")
    assert round(this_machine.find_gpus()[0].gib, 1) == 79.6, "what the workers beside this one hold by now is theirs"
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "1")
    assert [card.name for card in this_machine.find_gpus()] == ["Card B"]


def test_describing_and_planning_load_no_torch():
    code = (
        "import sys; from mammoth_utils import training; training.describe('7b'); "
        "sys.exit(any(name in sys.modules for name in ('torch', 'transformers', 'trl', 'peft', 'datasets')))"
    )
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0


def test_a_real_size_on_a_cpu_takes_lora():
    described = describe("1.5b", devices="cpu")
    assert described.method == "lora"
    assert "the processor's own type" in described.method_reason
    assert describe("1.5b").method == "qlora", "planned for a card that is not here"
