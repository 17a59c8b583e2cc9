"""The planner against measurement: the committed record holds today's formulas to their bounds, and so do new runs."""

from __future__ import annotations

import contextlib
import dataclasses
import random
import sys

import pytest

from mammoth_utils import paths, records
from mammoth_utils.base_models import Architecture
from mammoth_utils.training import hardware_tables
from mammoth_utils.training.plan import measurements, memory

sys.path.insert(0, str(paths.root() / "speed"))
import _measure_memory as measuring  # noqa: E402

sys.path.pop(0)

RECORD = measurements.committed_measurements()


def within_bounds(case):
    beside = measurements.compare_measurement(case)
    assert beside.exact, f"{measurements.predict_memory(case)} against {case['held']}"
    assert abs(beside.saved) <= measurements.SAVED_WITHIN
    assert abs(beside.peak) <= measurements.PEAK_WITHIN


@pytest.mark.parametrize(
    "case",
    RECORD["cases"],
    ids=lambda c: f"{c['shape']}-{c['method']}-{c['compute']}-{'again' if c['checkpointing'] else 'kept'}",
)
def test_the_committed_measurements_hold_todays_formulas_to_their_bounds(case):
    within_bounds(case)


def test_the_record_has_every_case_that_the_command_measures():
    measured_cases = [{key: case[key] for key in measuring.KEYS} for case in RECORD["cases"]]
    assert measured_cases == measuring.cases(), f"make it again: {measurements.MEASURE_COMMAND}"


def test_the_nets_vary_in_what_decides_memory():
    nets = [measurements.architecture_of_shape(name) for name in measurements.MEASURED_SHAPES]
    assert len(nets) >= 6
    assert all(10e6 <= net.parameters <= 200e6 for net in nets)
    for name, millions in ((name, name.split("-")[1].rstrip("m")) for name in measurements.MEASURED_SHAPES):
        assert round(measurements.architecture_of_shape(name).parameters / 1e6) == int(millions), (
            f"{name} says its own size"
        )
    assert {net.tied for net in nets} == {net.qkv_bias for net in nets} == {True, False}
    assert {net.kv == net.queries for net in nets} == {True, False}
    assert min(net.layers for net in nets) <= 4 < 24 <= max(net.layers for net in nets)
    assert max(net.vocabulary for net in nets) >= 16 * min(net.vocabulary for net in nets)
    methods = {(case["shape"], case["method"]) for case in measuring.cases()}
    assert len(methods) == 3 * (len(measurements.MEASURED_SHAPES) + 1)


def test_an_unknown_shape_is_refused_with_the_choices(monkeypatch, capsys):
    with pytest.raises(ValueError, match="unknown shape 'gpt'; known: llama-1m, llama-14m"):
        measurements.architecture_of_shape("gpt")
    monkeypatch.setattr("sys.argv", ["measured", "--shapes", "llama-14m,gpt"])
    with pytest.raises(SystemExit):
        measuring.main()
    assert "unknown shape 'gpt'; known: llama-1m" in capsys.readouterr().err


def test_a_run_that_fails_says_how_it_ended(tmp_path):
    with pytest.raises(RuntimeError, match=r"failed \(1\):(?s:.*)unexpected keyword argument 'colour'"):
        measuring._child({"colour": "blue"}, tmp_path)


def test_cases_that_were_measured_before_are_kept_and_the_record_is_written_after_each(tmp_path, monkeypatch):
    kept, asked = RECORD["cases"][0], []

    def measure(case, folder, allocator=measuring.ALLOCATOR):
        asked.append((case, allocator))
        assert records.read_json(tmp_path / "r.json")["cases"], "the case before is on disk already"
        return {**RECORD["cases"][1], **case}

    monkeypatch.setattr(measuring, "measure", measure)
    wanted = measuring.cases()[:2]
    made = measuring.record(wanted, tmp_path / "r.json", [kept], say=lambda line: None)
    default = {key: made["allocator_default"][key] for key in measuring.KEYS}
    assert asked == [(wanted[1], measuring.ALLOCATOR), (default, {})], "the largest is measured with the defaults too"
    assert records.read_json(tmp_path / "r.json")["cases"] == made["cases"]


def test_the_pages_table_says_of_each_run_what_was_compared():
    rows = hardware_tables.measured_table(RECORD)
    assert len(rows) == len(RECORD["cases"])
    assert {row["weights, gradients, states"] for row in rows} == {"to the byte"}
    spoilt = {**RECORD, "cases": [{**RECORD["cases"][0], "held": {**RECORD["cases"][0]["held"], "weights": 1}}]}
    assert hardware_tables.measured_table(spoilt)[0]["weights, gradients, states"] == "differ"


@pytest.mark.long
@pytest.mark.parametrize(
    "wanted",
    [("llama-1m", "full", False), ("llama-14m", "lora", True), ("llama-14m", "qlora", False)],
    ids=lambda wanted: f"{wanted[0]}-{wanted[1]}",
)
def test_a_run_measured_now_is_within_the_same_bounds(wanted, tmp_path):
    """Weights, gradients and states to the byte, saved activations within 5 %, the process's peak within 15 %."""
    from mammoth_utils.training.loop import guards

    if guards.choose_precision("cpu").compute != "bf16":
        pytest.skip("this processor emulates 16 bit, and its libraries hold more beside it")
    names = ("shape", "method", "checkpointing")
    case = next(one for one in measuring.cases() if tuple(one[name] for name in names) == wanted)
    within_bounds(measuring.measure(case, tmp_path))


@pytest.mark.long
@pytest.mark.parametrize(
    ("method", "compute", "dropout"),
    [
        ("full", "bf16", 0.0),
        ("full", "fp32", 0.0),
        ("lora", "bf16", 0.0),
        ("lora", "bf16", 0.05),
        ("lora", "fp32", 0.05),
    ],
)
def test_what_a_forward_pass_saves_is_the_formula_to_the_byte_on_random_shapes(method, compute, dropout):
    """Saved tensors by torch's own hooks, each storage once: the coefficients count tensors, so nothing may be left."""
    import torch
    from peft import LoraConfig, get_peft_model
    from transformers import AutoConfig, AutoModelForCausalLM

    from mammoth_utils.training.loop import losses
    from mammoth_utils.training.loop.packed_attention import register_packed_attention, row_inputs

    draw, lengths, vocabulary, rank, labels = random.Random(0), [50, 47, 40], 300, 12, 61
    width = memory.BYTES[compute]
    for _ in range(5):
        heads, head_dim = draw.choice([2, 4, 6, 8]), draw.choice([8, 16, 24, 40])
        kv = heads // draw.choice([n for n in (1, 2, 3, 4) if heads % n == 0])
        shape = Architecture(draw.choice([48, 72, 96, 168]), draw.choice([1, 2, 3]), heads, kv,
                             draw.choice([96, 152, 264]), vocabulary, head_dim)  # fmt: skip
        config = AutoConfig.for_model(
            "llama", vocab_size=vocabulary, hidden_size=shape.hidden, intermediate_size=shape.intermediate,
            num_hidden_layers=shape.layers, num_attention_heads=heads, num_key_value_heads=kv, head_dim=head_dim,
        )  # fmt: skip
        stored = torch.float32 if method == "full" or compute == "fp32" else torch.bfloat16
        model = AutoModelForCausalLM.from_config(config, dtype=stored, attn_implementation=register_packed_attention())
        if method == "lora":
            lora = LoraConfig(r=rank, lora_dropout=dropout, target_modules="all-linear", task_type="CAUSAL_LM")
            model = get_peft_model(model, lora)
            for parameter in model.parameters():
                parameter.data = parameter.data.float() if parameter.requires_grad else parameter.data
        ids = torch.randint(0, vocabulary, (1, sum(lengths)))
        row = {"input_ids": ids, "labels": ids.clone(), **row_inputs(lengths)}
        row["labels"][0, : sum(lengths) - labels] = -100
        watch = measuring.Watch()
        autocast = torch.autocast("cpu", torch.bfloat16) if compute == "bf16" else contextlib.nullcontext()
        with watch.watching(), autocast:
            losses.summed_loss(model.train(), row)
            watch._keep()
        stream = 4 if method == "full" else width
        tokens, how = sum(lengths), {"checkpointing": False, "compute": compute, "dropout": dropout, "device": "cpu"}
        kept = memory.memory_by_part(shape, method, tokens, rank=rank, **how)["activations"]
        scores, _ = memory.head_bytes(shape, method, tokens, width, stream, "cpu", labels / tokens)
        assert watch.most["saved"] - kept - scores == 4, f"{dataclasses.asdict(shape)}: a scalar of the loss is left"
