"""A finished run on another machine: read where it is the one asked for, and made again only where that is known."""

from __future__ import annotations

import dataclasses
import shutil

import pytest
import tiny_base

from mammoth_utils import records
from mammoth_utils.training import describe, find_record, find_tokenizer
from mammoth_utils.training.loop import run_folder

pytest.importorskip("torch")
NAME = "meta-llama/Llama-2-7b-hf"


@pytest.fixture
def there(tmp_path, monkeypatch):
    """A run of the 7B that finished where cards were, on a base below ``MAMMOTH_BASES``."""
    monkeypatch.setenv("MAMMOTH_RUNS_DIR", str(tmp_path / "runs"))
    monkeypatch.setenv("MAMMOTH_BASES", str(tmp_path / "bases"))
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "")
    tiny_base.base(tmp_path / "bases" / NAME)
    description = describe("7b", method="lora", name="a")
    run_folder.claim_folder(
        dataclasses.replace(description, sharding="fsdp2", method_reason="it fits"), tiny_base.rows(4)
    )
    records.write_record(description.folder, {"name": "a"})
    return description


def bases(there):
    return there.folder.parents[2] / "bases"


@pytest.mark.parametrize("gone", [False, True])
def test_a_finished_run_is_found_with_its_base_and_without(there, gone):
    if gone:
        shutil.rmtree(bases(there) / "meta-llama")
    assert find_record(there)["name"] == "a"
    assert run_folder.claim_folder(there, tiny_base.rows(4))["name"] == "a", "and read when the rows are the same"
    assert find_record(there, resume=False) is None


def test_an_unfinished_run_and_none_at_all_have_something_to_train(there):
    (there.folder / "record.json").unlink()
    assert find_record(there) is None
    shutil.rmtree(there.folder)
    assert find_record(there) is None


def test_a_finished_run_on_a_base_that_has_changed_here_is_made_again(there):
    config = bases(there) / NAME / "config.json"
    config.write_text(config.read_text() + "\n")
    assert find_record(there) is None
    assert run_folder.claim_folder(there, tiny_base.rows(4)) is None
    assert there.folder.with_name("a.old-1").is_dir()


def test_another_run_under_the_same_name_is_refused_before_anything_is_asked_of_the_machine(there):
    with pytest.raises(records.RunMismatchError, match="seed: there 0, asked 7"):
        find_record(dataclasses.replace(there, seed=7))


@pytest.mark.parametrize("rows", [4, 6])
def test_a_run_that_is_made_again_is_cut_as_it_is_now(there, rows):
    """What a finished run was cut by is a remark of that run alone."""
    assert run_folder.claim_folder(there, tiny_base.rows(rows), resume=False) is None
    assert records.read_json(there.folder / "run.json")["sharding"] == there.sharding == "none"
    assert there.folder.with_name("a.old-1").is_dir()


@pytest.mark.parametrize(("left", "found"), [("model", True), ("adapter", True), (None, False)])
def test_the_tokenizer_is_the_bases_or_the_copy_that_the_run_left(there, left, found):
    text = "What is 7 plus 5?"
    ids = find_tokenizer(there)(text).input_ids
    if left:
        shutil.copytree(bases(there) / NAME, there.folder / left)
    shutil.rmtree(bases(there) / "meta-llama")
    here = find_tokenizer(there)
    assert (here is not None) == found
    if found:
        assert here(text).input_ids == ids
        assert here.pad_token is not None
