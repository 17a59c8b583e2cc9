"""Committed records: made with the world and the bases that are here, or a word on how to make them again."""

from __future__ import annotations

import pytest

from mammoth_utils import paths, records
from mammoth_utils.miniature import benchmarks
from mammoth_utils.miniature.problems import WORLD

COMMITTED = sorted(paths.records().rglob("*.json"))
EVALUATIONS = [file for file in COMMITTED if records.read_json(file).get("page") == "evaluate"]
MINIATURE = [file for file in EVALUATIONS if records.read_json(file)["world"] == "miniature"]
AGAIN = "run `make book` and `make book-full`, then `python workflow/keep_records.py`"


def name(file):
    return file.stem


@pytest.mark.parametrize("file", COMMITTED, ids=name)
def test_a_committed_record_says_what_it_is_and_holds_no_path_of_one_machine(file):
    record = records.read_json(file)
    assert {"schema", "page", "world", "environment"} <= set(record)
    text = file.read_text(encoding="utf8")
    assert not any(place in text for place in ("/home/", "/root/", "/tmp/", "/Users/"))


@pytest.mark.parametrize("file", MINIATURE, ids=name)
def test_a_record_of_the_miniature_was_made_in_this_world_by_these_versions(file):
    record = records.read_json(file)
    assert record["inputs"]["world"] == WORLD, AGAIN
    made_with = record["inputs"]["versions"]
    assert not records.outdated(made_with, records.versions(*made_with)), AGAIN
    for benchmark, scores in record["benchmarks"].items():
        asked = [problem.id for problem in benchmarks.load(benchmark, record["split"])]
        assert scores["items"]["ids"] == asked, AGAIN


@pytest.mark.parametrize("file", MINIATURE, ids=name)
def test_a_record_of_an_untuned_base_is_of_the_shipped_weights(file):
    record = records.read_json(file)
    if record["model"]["mixture"] != "none":
        pytest.skip("a fine-tuned model's weights are not shipped; `make check-record` makes one again")
    base = records.read_json(paths.miniature_models() / record["model"]["base"] / "record.json")
    assert base["world_version"] == record["inputs"]["world"]["version"], AGAIN


def test_every_committed_record_is_small():
    assert all(file.stat().st_size < 1e6 for file in COMMITTED)
