"""Committed records: made with the world and the bases that are here, or a word on how to make them again."""

from __future__ import annotations

import pytest

from mammoth_utils import paths, records
from mammoth_utils.miniature import benchmarks
from mammoth_utils.miniature.problems import WORLD

COMMITTED = sorted(paths.records().rglob("*.json"))
EVALUATIONS = [file for file in COMMITTED if records.read_json(file).get("page") == "evaluate"]
MINIATURE = [file for file in EVALUATIONS if records.read_json(file)["world"] == "miniature"]
AGAIN = "run `make book` and `make book-full`, then copy runs/evaluate/*/record.json into records/miniature"


def name(file):
    return file.stem


@pytest.mark.parametrize("file", COMMITTED, ids=name)
def test_a_committed_record_says_what_it_is_and_holds_no_path_of_one_machine(file):
    record = records.read_json(file)
    assert {"schema", "page", "world", "environment"} <= set(record)
    text = file.read_text(encoding="utf8")
    assert not any(place in text for place in ("/home/", "/root/", "/tmp/", "/Users/"))


@pytest.mark.parametrize("file", MINIATURE, ids=name)
def test_a_record_of_the_miniature_was_made_in_the_world_of_this_code(file):
    record = records.read_json(file)
    assert record["inputs"]["world"] == WORLD, AGAIN
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


def test_the_development_split_showed_what_the_miniature_was_chosen_for():
    """The thresholds and the figures of book/miniature.md, from the record that it names."""
    record = records.read_json(paths.records() / "miniature" / "dev-llama-1m-hybrid-full-s0-hybrid.json")

    def share(scores, keep=lambda field: True):
        kept = [
            verdict == "1"
            for one in scores
            for verdict, field in zip(one["items"]["corrected"], one["items"]["fields"], strict=True)
            if keep(field)
        ]
        return sum(kept) / len(kept), len(kept)

    numeric = ("mini-gsm8k", "mini-math", "mini-numglue")
    programs, asked = share([record["decodings"]["pot"][name] for name in numeric])
    prose, _ = share([record["decodings"]["cot"][name] for name in numeric])
    reasoning = {"logic", "abstract algebra"}
    logic, walks = share([record["decodings"]["cot"]["mini-mmlu"]], lambda field: field in reasoning)
    half = 1.96 * (logic * (1 - logic) / walks) ** 0.5
    cells = {name: share([scores])[0] for name, scores in record["benchmarks"].items()}
    inside = [cells[name] for name in cells if benchmarks.BENCHMARKS[name].in_domain]
    outside = [cells[name] for name in cells if not benchmarks.BENCHMARKS[name].in_domain]
    averages = (sum(outside) / len(outside), sum(inside) / len(inside))
    assert programs >= 0.8
    assert 0.2 <= prose <= 0.6
    assert logic - half > 0.2
    assert all(0.05 <= cell <= 0.97 for cell in cells.values())
    assert averages[0] >= averages[1] / 2
    page = (paths.root() / "book" / "miniature.md").read_text(encoding="utf8")
    for figure in (
        f"{100 * programs:.1f} % of {asked}",
        f"{100 * prose:.1f} %",
        f"{100 * logic:.1f} ± {100 * half:.1f} % of {walks}",
        f"{100 * min(cells.values()):.1f} to {100 * max(cells.values()):.1f} %",
        f"{100 * averages[0]:.1f} against {100 * averages[1]:.1f} %",
    ):
        assert figure in page
