"""The speed run of training: its contestants read the same kind of examples, and what is counted is what was read."""

from __future__ import annotations

import argparse
import dataclasses
import json
import statistics
import sys
from pathlib import Path

import pytest

torch = pytest.importorskip("torch")
SPEED = str(Path(__file__).resolve().parent.parent / "speed")


@pytest.fixture(scope="module")
def modules():
    sys.path.insert(0, SPEED)
    try:
        import _nets
        import _trainers
        import training

        yield training, _trainers, _nets
    finally:
        sys.path.remove(SPEED)


@pytest.fixture
def setting(modules, tmp_path):
    """The smallest net of the speed run, three steps of eight examples, the first to warm."""
    speed, _, _ = modules
    options = argparse.Namespace(parameters=1, rehearse=False, pool=400, device="cpu", examples=8, steps=2, warming=1,
                                 compute="fp32")  # fmt: skip
    return speed.setting_of("random", options, tmp_path)


def test_examples_are_as_long_as_mathinstructs(modules):
    _, _, nets = modules
    examples = nets.mathinstruct_like(20_000, 2048)
    sizes = sorted(map(len, examples))
    assert statistics.mean(sizes) == pytest.approx(243, rel=0.02)
    assert [sizes[200 * part] for part in (5, 50, 95)] == pytest.approx([99, 205, 511], rel=0.03)
    assert sizes[-1] == 1120
    assert sum(one.kind == "pot" for one in examples) / 20_000 == pytest.approx(0.28, abs=0.01)
    assert sum(len(one.prompt) for one in examples) / sum(sizes) == pytest.approx(0.45, abs=0.01)
    assert nets.mathinstruct_like(5, 2048) == examples[:5], "a seed's first ones are the same at any count"


@pytest.mark.parametrize(("asked", "off"), [(4e6, 0.35), (5e6, 0.35), (1e7, 0.35)])
def test_the_random_net_has_about_as_many_weights_as_were_asked(modules, asked, off):
    _, _, nets = modules
    config, folder = nets.config_of("random", int(asked))
    with torch.device("meta"):
        from transformers import LlamaForCausalLM

        count = sum(p.numel() for p in LlamaForCausalLM(config).parameters())
    assert folder is None
    assert count == pytest.approx(asked, rel=off)


def test_every_contestant_reads_as_many_examples_a_step_and_padding_is_no_token(modules, setting):
    speed, contestants, _ = modules
    from mammoth_utils.silence_libraries import silent_training

    with silent_training():
        ran = {case.name: contestants.run(setting, case, 0) for case in speed.CPU_CASES[:4]}
    for name in ("ours", "padded", "group_by_length"):
        assert ran[name].documents == 16, name
    assert ran["ours"].tokens == ran["ours"].slots
    assert ran["padded"].tokens < 0.85 * ran["padded"].slots
    assert ran["group_by_length"].tokens > 0.8 * ran["group_by_length"].slots
    assert ran["TRL bfd 2048"].tokens == ran["TRL bfd 2048"].slots
    assert all(one.processor_s > 0 and one.squares > one.tokens for one in ran.values())
    losses = [one.loss for one in ran.values()]
    assert max(losses) - min(losses) < 0.05, "the same net on the same kind of examples"


def test_a_padded_pass_is_padded_to_its_longest_as_alpacas_script_does(modules, setting):
    speed, contestants, _ = modules
    trainer = contestants.trainer_of(setting, speed.CPU_CASES[1], 0)
    rows = [trainer.train_dataset[place] for place in range(8)]
    batch = trainer.data_collator(rows)
    longest = max(len(row["input_ids"]) for row in rows)
    assert batch["input_ids"].shape == batch["labels"].shape == batch["attention_mask"].shape == (8, longest)
    for row, ids, labels, mask in zip(rows, *(batch[key] for key in ("input_ids", "labels", "attention_mask")),
                                      strict=True):  # fmt: skip
        count = len(row["input_ids"])
        assert ids[:count].tolist() == row["input_ids"]
        assert labels.tolist() == row["labels"] + [-100] * (longest - count)
        assert mask.tolist() == [1] * count + [0] * (longest - count)


def test_grouped_passes_hold_examples_of_about_one_length_and_come_in_any_order(modules, setting):
    speed, contestants, nets = modules
    more = dataclasses.replace(setting, examples=nets.mathinstruct_like(4000, 2048), steps=9)
    trainer = contestants.trainer_of(more, speed.CPU_CASES[2], 0)
    sizes = [len(row["input_ids"]) for row in trainer.train_dataset]
    passes = [sizes[start : start + 8] for start in range(0, len(sizes), 8)]
    assert len(passes) == 10
    assert statistics.median(max(one) / min(one) for one in passes) < 1.1
    means = [statistics.mean(one) for one in passes]
    assert means not in (sorted(means), sorted(means, reverse=True))


def test_operations_are_those_of_the_tokens_alone(modules):
    speed, contestants, nets = modules
    config, _ = nets.config_of("7b", 0)
    one = contestants.Ran(1000, 2000, 250_000, 4, 1.0, 1.0, 0.0, None)
    weights = 6_738_415_616 - 32_000 * 4096 - 65 * 4096
    attention = 6 * 32 * 4096 * 250_000
    assert speed.model_flops(config, one, "full") == pytest.approx(6 * weights * 1000 + attention)
    assert speed.model_flops(config, one, "qlora") == pytest.approx(4 * weights * 1000 + attention)


def test_a_row_has_the_median_the_ratio_and_how_far_the_runs_lay_apart(modules, setting):
    speed, contestants, _ = modules

    def ran(seconds):
        return contestants.Ran(1000, 1250, 10_000, 16, seconds, 10 * seconds, 7.0, None)

    cases = speed.CPU_CASES[:2]
    runs = {"ours": [ran(1.0), ran(0.5), ran(0.8)], "padded": [ran(2.5), ran(2.0), ran(4.0)]}
    ours, padded = speed.rows_of(setting, cases, runs, 0.0)
    assert (ours["tokens_per_s"], padded["tokens_per_s"]) == (1250, 400)
    assert ours["peers"] == {"padded": 3.12}
    assert padded["ours_over_it"] == 3.12
    assert padded["padding"] == 0.2
    assert padded["examples_per_step"] == 8
    assert padded["apart"] == pytest.approx((500 - 250) / 400)
    assert padded["wall_tokens_per_s"] == 40
    assert ours["mfu"] is None
    assert json.loads(json.dumps(ours)) == ours
    with pytest.raises(ValueError, match="expected ours among the contestants, got padded"):
        speed.rows_of(setting, cases, {"padded": runs["padded"]}, 0.0)


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["--examples", "12"], "a multiple of 8"),
        (["--steps", "0"], "at least 1"),
        (["--cases", "ours;fast"], "unknown case 'fast'; known: ours; padded"),
        (["--cases", "padded"], "names none of ours"),
        (["--device", "cuda"], "torch sees no card here"),
    ],
)
def test_what_cannot_be_measured_is_refused_with_the_choices(modules, words, said, monkeypatch, capsys):
    speed, _, _ = modules
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    monkeypatch.setattr(sys, "argv", ["training.py", *words])
    with pytest.raises(SystemExit):
        speed.main()
    assert said in capsys.readouterr().err


@pytest.mark.long
def test_the_cards_cases_run_on_a_cpu_at_a_small_width(modules, monkeypatch, capsys):
    speed, _, _ = modules
    words = ["--rehearse", "--json", "--repeats", "1", "--steps", "1", "--pool", "200", "--examples", "16"]
    monkeypatch.setattr(sys, "argv", ["training.py", *words])
    speed.main()
    rows = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
    assert [row["contestant"] for row in rows] == [*(case.name for case in speed.GPU_CASES), "packed minus unpacked"]
    assert all(row["tokens_per_s"] > 0 for row in rows[:-1])
    assert rows[-1]["nats"] < 0.03
    assert set(rows[0]["peers"]) == {case.name for case in speed.GPU_CASES[1:]}
