"""A run goes on: with other words to the machine, on a full disk, from an adapter, with rows that are held out."""

from __future__ import annotations

import dataclasses
import errno
import json
import os
import shutil
from pathlib import Path

import pytest
import tiny_base

from mammoth_utils import prompts, records
from mammoth_utils.training import describe, find_record, finetune
from mammoth_utils.training.description import RunDescription
from mammoth_utils.training.export import model_card, model_folder
from mammoth_utils.training.loop import batches, checkpoints, run_folder, validation
from mammoth_utils.training.loop import curve as curves

pytest.importorskip("torch")

ROWS = tiny_base.rows(40)
STEPS = 6


@pytest.fixture(scope="module")
def base(tmp_path_factory):
    return str(tiny_base.base(tmp_path_factory.mktemp("bases") / "tiny"))


@pytest.fixture
def runs(tmp_path, monkeypatch):
    monkeypatch.setenv("MAMMOTH_RUNS_DIR", str(tmp_path / "runs"))
    return tmp_path / "runs" / "train"


def described(base, name="a", **changes):
    asked = {key: changes.pop(key) for key in list(changes) if key not in ("logging_steps",)}
    description = describe("1m", base=base, name=name, **({"max_steps": STEPS, "checkpoint_minutes": 1e-9} | asked))
    return dataclasses.replace(description, logging_steps=1, **changes)


def interrupted(description, step=4, rows=ROWS):
    def stop(point):
        if point["step"] == step:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        finetune(description, rows, stop)
    return description


def curve(description, *keys):
    return [[point.get(key) for key in keys] for point in records.read_jsonl(description.folder / "curve.jsonl")]


OTHER_TERMS = {
    "checkpoint_minutes": {"checkpoint_minutes": 0.0},
    "devices": {"devices": "cpu"},
    "micro_batch": {"micro_batch": 3},
    "sharding": {"sharding": "fsdp2"},
    "all": {"checkpoint_minutes": 5.0, "devices": "cpu", "micro_batch": 2},
}


def test_a_stopped_run_goes_on_with_other_terms_and_the_same_examples_in_each_step(runs, base):
    whole = described(base, "whole")
    finetune(whole, ROWS)
    description = interrupted(described(base))
    other = described(base, **OTHER_TERMS["all"])
    record = finetune(other, ROWS)
    log = (other.folder / "train.log").read_text()
    assert "goes on with other terms" in log
    assert "micro_batch: there 1, asked 2" in log
    assert "goes on from checkpoint-3" in log
    assert record["parameters"]["micro_batch"] == 2, "the record has the terms with which it ended"
    assert curve(other, "step", "tokens") == curve(whole, "step", "tokens"), "as many tokens in each step"
    for (ours,), (theirs,) in zip(curve(other, "loss"), curve(whole, "loss"), strict=True):
        assert ours == pytest.approx(theirs, abs=2e-3), "rows are packed otherwise, and rounded otherwise"
    assert description.name == other.name


@pytest.mark.parametrize(("micro_batch", "processes"), [(2, 1), (1, 3), (2, 3)])
def test_every_step_has_the_same_examples_whatever_the_micro_batch_and_the_processes(micro_batch, processes):
    lengths = [40 + 7 * (number % 13) for number in range(300)]
    one, other = (
        batches.lay_out(lengths, 512, 13, 1, 0, *terms, seed=3) for terms in ((1, 1), (micro_batch, processes))
    )
    assert one.steps == other.steps
    assert all(sorted(one.batch(step)) == sorted(other.batch(step)) for step in range(one.steps))


@pytest.fixture(scope="module")
def finished(tmp_path_factory, base):
    """A finished run, in a folder of runs of its own."""
    folder = tmp_path_factory.mktemp("finished")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("MAMMOTH_RUNS_DIR", str(folder))
        finetune(described(base, "done-micro_batch2"), ROWS)
    return folder


@pytest.mark.parametrize("terms", OTHER_TERMS)
def test_a_finished_run_is_read_whatever_the_terms(monkeypatch, base, finished, terms):
    monkeypatch.setenv("MAMMOTH_RUNS_DIR", str(finished))
    description = described(base, "done-micro_batch2", **OTHER_TERMS[terms])
    assert find_record(description)["name"] == "done-micro_batch2"
    assert finetune(description, ROWS)["parameters"]["micro_batch"] == 1, "as it ended"


def test_a_run_that_an_earlier_version_wrote_is_read_and_compared(monkeypatch, base, finished, tmp_path):
    shutil.copytree(finished / "train", tmp_path / "train")
    monkeypatch.setenv("MAMMOTH_RUNS_DIR", str(tmp_path))
    description = described(base, "done-micro_batch2")
    file = description.folder / "run.json"
    later = ("lora_targets", "validation", "adapter")
    older = {key: value for key, value in records.read_json(file).items() if key not in later}
    records.write_json(file, older)
    assert find_record(description) is not None
    assert RunDescription.from_dict(older) == description
    assert RunDescription.from_dict(older | {"lora_rank": 8}).lora_targets == "all-linear"
    with pytest.raises(records.RunMismatchError, match=r"validation: there 0\.0, asked 0\.2"):
        find_record(described(base, "done-micro_batch2", validation=0.2))


def test_another_model_is_refused_with_its_values_and_a_name_that_keeps_both(monkeypatch, base, finished):
    monkeypatch.setenv("MAMMOTH_RUNS_DIR", str(finished))
    with pytest.raises(records.RunMismatchError) as caught:
        find_record(described(base, "done-micro_batch2", learning_rate=1e-3, micro_batch=2))
    message = str(caught.value)
    assert "learning_rate: there 0.002, asked 0.001" in message
    assert "-p name done-micro_batch2-2" in message
    assert "micro_batch: there" not in message
    assert "remove" not in message


def test_micro_batch_is_no_part_of_a_name():
    assert describe("1m", micro_batch=2).name == describe("1m").name


@pytest.mark.parametrize("cut", [True, False])
def test_a_checkpoint_that_is_cut_otherwise_than_the_run_names_both_ways_out(tmp_path, cut):
    place = tmp_path / "a" / "checkpoints" / "checkpoint-3"
    (place / checkpoints.SHARDS[0] if cut else place).mkdir(parents=True)
    records.write_json(place / checkpoints.MANIFEST, {"processes": 2, "files": {}})
    checkpoints.check_sharding(place, cut)
    ways = f"-p devices 2 -p sharding {'fsdp2' if cut else 'none'} goes on.*-p name a-2"
    with pytest.raises(records.RunMismatchError, match=ways):
        checkpoints.check_sharding(place, not cut)


class FullDisk:
    """A disk of so many bytes below a run's folder: what writes beyond them fails as a full disk does."""

    def __init__(self, folder, monkeypatch):
        from transformers import Trainer

        self.folder, self.room, self.refuse_model = folder, 10**9, False
        for owner, name, what in ((model_folder, "save", "model"), (Trainer, "_save_checkpoint", "checkpoint")):
            monkeypatch.setattr(owner, name, self.limited(getattr(owner, name), what))
        free = shutil.disk_usage(folder.parent)
        monkeypatch.setattr(shutil, "disk_usage", lambda place: free._replace(free=max(0, self.room - self.used())))

    def used(self):
        return sum(file.stat().st_size for file in self.folder.rglob("*") if file.is_file())

    def limited(self, write, what):
        def written(*arguments, **options):
            made = write(*arguments, **options)
            if self.used() > self.room or (self.refuse_model and what == "model"):
                raise OSError(errno.ENOSPC, "No space left on device")
            return made

        return written


@pytest.fixture
def disk(runs, base, monkeypatch):
    """A disk, the run on it, and the hash of the model that an undisturbed run makes."""
    description = described(base)
    whole = finetune(described(base, "whole"), ROWS)["model"]["hash"]
    description.folder.mkdir(parents=True)
    return FullDisk(description.folder, monkeypatch), description, whole


def fill_from(disk, step, keep):
    """From a step on the disk has only the room that a function of a checkpoint's bytes gives."""

    def fill(point):
        if point["step"] == step:
            held = checkpoints.list_checkpoints(disk.folder / "checkpoints")
            size = sum(file.stat().st_size for file in held[0].rglob("*") if file.is_file())
            disk.room = disk.used() - len(held) * size + int(keep * size)

    return fill


@pytest.mark.parametrize(("keep", "said"), [
    (2.1, "step 6 is written as one first"),  # two checkpoints, and no model beside them
    (1.05, "checkpoint-2 is removed, since the model of step 6"),  # the old checkpoint holds the model's room
])  # fmt: skip
def test_a_disk_that_filled_in_the_middle_loses_no_step_at_the_end(disk, keep, said):
    full, description, whole = disk
    fill = fill_from(full, 3, keep)

    def fill_all(point):
        fill(point)
        if point["step"] == 3 and keep < 2:
            for path in checkpoints.list_checkpoints(full.folder / "checkpoints")[1:]:
                shutil.rmtree(path)

    record = finetune(description, ROWS, fill_all)
    assert record["model"]["hash"] == whole
    log = (description.folder / "train.log").read_text()
    assert said in log
    assert not (description.folder / "checkpoints").exists()


def test_a_model_without_any_room_leaves_the_last_step_and_the_same_line_ends_it(disk):
    full, description, whole = disk
    full.refuse_model = True
    with pytest.raises(
        OSError, match=r"no room for what was trained.*checkpoint-6 of 6 steps is kept, and the same line"
    ):
        finetune(description, ROWS)
    assert checkpoints.find_checkpoint(description.folder / "checkpoints").name == "checkpoint-6"
    assert not list(description.folder.glob("*.part"))
    full.refuse_model = False
    assert finetune(description, ROWS)["model"]["hash"] == whole
    assert "goes on from checkpoint-6" in (description.folder / "train.log").read_text()


def test_a_checkpoint_whose_list_of_files_finds_no_room_ends_no_run(disk, monkeypatch):
    _, description, whole = disk
    monkeypatch.setattr(checkpoints, "commit", _no_room)
    assert finetune(description, ROWS)["model"]["hash"] == whole
    log = (description.folder / "train.log").read_text()
    assert "the checkpoint of step 3 was not written, the disk has no room" in log


def test_points_that_found_no_room_are_written_with_the_next(tmp_path, monkeypatch):
    points = curves.Curve(tmp_path / "curve.jsonl", lambda point: None)
    points.add(1, 2.0, 0.1, 10)
    monkeypatch.setattr(curves, "open", _no_room, raising=False)
    points.add(2, 1.5, 0.1, 20)
    monkeypatch.undo()
    points.add(3, 1.0, 0.1, 30)
    assert [point["step"] for point in records.read_jsonl(tmp_path / "curve.jsonl")] == [1, 2, 3]
    monkeypatch.setattr(run_folder, "open", _no_room, raising=False)
    run_folder.log_line(tmp_path, "a line that a full disk does not hold")


def _no_room(*arguments, **options):
    raise OSError(errno.ENOSPC, "No space left on device")


SETTINGS = {
    "lora_rank": ({"method": "lora", "lora_rank": 4}, {"lora_rank": 4, "lora_alpha": 8.0}),
    "lora_alpha": ({"method": "lora", "lora_alpha": 5.0}, {"lora_rank": 16, "lora_alpha": 5.0}),
    "lora_targets": ({"method": "qlora", "lora_targets": "v_proj, q_proj"}, {"lora_targets": "q_proj,v_proj"}),
    "global_batch": ({"global_batch": 5}, {"global_batch": 5}),
    "warmup": ({"warmup": 0.0}, {"warmup": 0.0}),
    "weight_decay": ({"weight_decay": 0.0}, {"weight_decay": 0.0}),
    "validation": ({"validation": 0.25}, {"validation": 0.25}),
}


@pytest.mark.parametrize("setting", SETTINGS)
def test_a_setting_departs_from_the_recipe_and_stands_in_the_name(setting):
    asked, expected = SETTINGS[setting]
    description = describe("1m", **asked)
    assert {key: getattr(description, key) for key in expected} == expected
    usual = describe("1m", method=asked.get("method", "auto"))
    assert description.name.startswith(f"{usual.name}-{setting}")
    same = describe("1m", method=usual.method, **{setting: getattr(usual, setting)})
    assert same.name == usual.name or setting == "lora_targets"


@pytest.mark.parametrize(("asked", "words"), [
    ({"lora_rank": 4}, "method=full trains no adapter; use -p method lora"),
    ({"method": "lora", "lora_targets": "q_proj,head"}, "unknown lora_targets 'head'; known: all-linear, q_proj"),
    ({"warmup": -0.5}, "warmup is -0.5"), ({"weight_decay": float("nan")}, "weight_decay is nan"),
    ({"validation": 0.5}, "validation is 0.5; expected a number from 0 to below 0.5"),
    ({"lora_alpha": -1.0, "method": "lora"}, "lora_alpha is -1.0"), ({"global_batch": -1}, "global_batch is -1"),
])  # fmt: skip
def test_a_setting_that_cannot_be_is_refused(asked, words):
    with pytest.raises(ValueError, match=words.replace(".", r"\.")):
        describe("1m", **asked)


def test_the_plan_counts_rank_and_targets():
    from mammoth_utils.training import plan_methods, trainable_share

    whole, few = (
        describe("7b", method="lora", **asked) for asked in ({}, {"lora_rank": 8, "lora_targets": "q_proj,v_proj"})
    )
    memory = [next(plan for plan in plan_methods(each) if plan.method == "lora") for each in (whole, few)]
    assert memory[1].optimiser < memory[0].optimiser / 20
    assert memory[1].activations < memory[0].activations
    assert trainable_share(few).trained == 32 * 8 * 2 * (4096 + 4096)


def test_rows_that_are_held_out_are_whole_questions_drawn_by_the_seed():
    rows = [*ROWS, *({**row, "instruction": prompts.pot_instruction(row["instruction"])} for row in ROWS[::2])]
    kept, held = validation.hold_out(rows, 0.2, 1)
    assert len(kept) + len(held) == len(rows)
    assert 12 <= len(held) <= 13

    def asked(row):
        return row["instruction"].removesuffix(prompts.POT_TRIGGER)

    assert not {asked(row) for row in kept} & {asked(row) for row in held}
    assert validation.hold_out(rows, 0.2, 1)[1] == held
    assert validation.hold_out(rows, 0.2, 2)[1] != held
    assert validation.hold_out(rows, 0.0, 1) == (rows, [])
    with pytest.raises(ValueError, match="leave none to train on"):
        validation.hold_out([ROWS[0]] * 5, 0.2, 1)


@pytest.fixture(scope="module", params=["full", "lora", pytest.param("qlora", marks=pytest.mark.long)])
def held_out(request, tmp_path_factory, base):
    """A finished run with rows held out, the same one interrupted and gone on with, and the first one's record."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("MAMMOTH_RUNS_DIR", str(tmp_path_factory.mktemp(request.param)))
        asked = {"method": request.param, "validation": 0.2, "max_steps": STEPS}
        if request.param == "lora":
            asked |= {"lora_rank": 4, "lora_targets": "q_proj,down_proj"}
        whole, other = described(base, "whole", **asked), described(base, "other", **asked)
        record = finetune(whole, ROWS)
        interrupted(other)
        finetune(other, ROWS)
        yield whole, other, record


def test_the_loss_of_held_out_rows_stands_along_the_curve_and_is_that_of_the_saved_model(held_out):
    whole, other, record = held_out
    read = [value for (value,) in curve(whole, "validation_loss")]
    assert read[0] is not None, "before the first update"
    assert read[-1] is not None
    assert sum(value is not None for value in read) == STEPS
    assert read[-1] < read[0]
    assert curve(other, "step", "loss", "validation_loss") == curve(whole, "step", "loss", "validation_loss")
    kept = record["validation"]
    assert (kept["rows"], kept["first"], kept["last"]) == (8, read[0], read[-1])
    assert record["dataset"]["rows"] == 32, "never trained on"


def test_training_goes_on_from_an_adapter_or_a_finished_model(held_out, monkeypatch):
    whole, _, before = held_out
    monkeypatch.setenv("MAMMOTH_RUNS_DIR", str(whole.folder.parents[1]))
    description = describe("1m", base=str(whole.folder), max_steps=2, validation=0.2, name="on")
    record = finetune(description, ROWS)
    assert description.method == whole.method
    assert record["validation"]["first"] == pytest.approx(before["validation"]["last"], abs=1e-6)
    if whole.method == "full":
        assert record["base"]["name"] == str(whole.folder / "model")
        return
    assert (description.base, description.lora_targets) == (whole.base, whole.lora_targets)
    assert record["adapter"]["name"] == "whole"
    inputs = records.read_json(description.folder / "run.json")["inputs"]
    assert inputs["adapter"] == record["adapter"]
    for wrong in ({"lora_rank": 5}, {"lora_alpha": 1.0}, {"method": "full"}, {"lora_targets": "k_proj"}):
        with pytest.raises(ValueError, match=f"{next(iter(wrong))} is .* the adapter in"):
            describe("1m", base=str(whole.folder / "adapter"), **wrong)
    with pytest.raises(ValueError, match="use -p size 1m -p family llama"):
        describe("3m", base=str(whole.folder))


def test_an_adapter_of_elsewhere_needs_its_method_and_a_form_that_is_trained_here(held_out, tmp_path):
    whole, *_ = held_out
    if whole.method == "full":
        return
    folder = tmp_path / "foreign"
    shutil.copytree(whole.folder / "adapter", folder)
    (folder / "record.json").unlink()
    with pytest.raises(ValueError, match="-p method qlora goes on so"):
        describe("1m", base=str(folder))
    assert describe("1m", base=str(folder), method=whole.method).adapter == str(folder)
    config = records.read_json(folder / "adapter_config.json")
    (folder / "adapter_config.json").write_text(json.dumps(config | {"use_dora": True}))
    with pytest.raises(ValueError, match=r"no plain LoRA adapter \(use_dora=True\)"):
        describe("1m", base=str(folder), method=whole.method)


def test_an_adapter_whose_base_has_changed_is_refused(held_out, monkeypatch, tmp_path):
    whole, *_ = held_out
    if whole.method == "full":
        return
    monkeypatch.setenv("MAMMOTH_RUNS_DIR", str(whole.folder.parents[1]))
    changed = dataclasses.replace(
        describe("1m", base=str(whole.folder), name="changed"), base=str(tiny_base.base(tmp_path / "other", seed=1))
    )
    with pytest.raises(ValueError, match=r"was trained on .* here it has .*: another base"):
        run_folder.identify_adapter(changed)


def test_the_way_to_a_gguf_and_the_prompt_to_the_byte_lie_beside_the_model(held_out):
    whole, _, record = held_out
    for kind in record["model"]["folders"]:
        folder = whole.folder / kind
        prompt = (folder / "prompt.txt").read_bytes().decode()
        assert prompt == prompts.alpaca(prompts.pot_instruction(model_card.QUESTION))
        assert prompt.endswith(" Let's write a program.\n\n### Response:")
        text = (folder / "GGUF.md").read_text()
        merged = f"runs/train/{whole.name}/model"
        assert f"python llama.cpp/convert_hf_to_gguf.py {merged} --outfile {whole.name}.gguf" in text
        assert f"llama-quantize {whole.name}.gguf {whole.name}-Q4_K_M.gguf Q4_K_M" in text
        assert f"-f {merged}/prompt.txt --no-escape --temp 0" in text
        assert ("merge_adapter runs/train/" in text) == (kind == "adapter")
        assert "(GGUF.md)" in (folder / "README.md").read_text()


@pytest.mark.long
@pytest.mark.alone
def test_held_out_rows_that_sharded_processes_read_in_parts_have_the_loss_of_one(runs, base, monkeypatch):
    from mammoth_utils.training.cluster import launch

    monkeypatch.setenv("PYTHONPATH", f"{Path(__file__).parent}{os.pathsep}{os.environ.get('PYTHONPATH', '')}")
    asked = {"validation": 0.2, "max_steps": 4, "checkpoint_minutes": 0.0}
    one = finetune(described(base, "one", **asked), ROWS)["validation"]
    several = described(base, "two", devices="2", sharding="fsdp2", **asked)
    two = launch.train(several, ROWS, module="fsdp_on_cpu")["validation"]
    assert (two["rows"], two["tokens"]) == (one["rows"], one["tokens"])
    assert [two["first"], two["last"]] == pytest.approx([one["first"], one["last"]], abs=5e-3)
