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
    """The thresholds and the figures of book/miniature.md, from the records of three seeds that it names."""
    folder = paths.records() / "miniature"
    seeds = [records.read_json(folder / f"dev-llama-1m-hybrid-full-s{seed}-hybrid.json") for seed in (0, 1, 2)]

    def right(pick, keep=lambda field: True):
        """The share of each question's answers that are right over the seeds."""
        answers = [
            [
                verdict == "1"
                for one in pick(record)
                for verdict, field in zip(one["items"]["corrected"], one["items"]["fields"], strict=True)
                if keep(field)
            ]
            for record in seeds
        ]
        return [sum(of) / len(of) for of in zip(*answers, strict=True)]

    def mean(values):
        return sum(values) / len(values)

    numeric = ("mini-gsm8k", "mini-math", "mini-numglue")
    asked = right(lambda record: [record["decodings"]["pot"][name] for name in numeric])
    programs = mean(asked)
    prose = mean(right(lambda record: [record["decodings"]["cot"][name] for name in numeric]))
    reasoning = {"logic", "abstract algebra"}
    walks = right(lambda record: [record["decodings"]["cot"]["mini-mmlu"]], lambda field: field in reasoning)
    logic = mean(walks)
    # The seeds answer the same questions, so the interval is over questions and not over answers.
    half = 1.96 * (sum((walk - logic) ** 2 for walk in walks) / (len(walks) - 1) / len(walks)) ** 0.5
    cells = {name: mean(right(lambda record, name=name: [record["benchmarks"][name]]))
             for name in seeds[0]["benchmarks"]}  # fmt: skip
    inside = mean([cells[name] for name in cells if benchmarks.BENCHMARKS[name].in_domain])
    outside = mean([cells[name] for name in cells if not benchmarks.BENCHMARKS[name].in_domain])
    assert programs >= 0.8
    assert 0.2 <= prose <= 0.6
    assert logic - half > 0.2
    assert all(0.05 <= cell <= 0.97 for cell in cells.values())
    assert outside >= inside / 2
    page = (paths.root() / "book" / "miniature.md").read_text(encoding="utf8")
    for figure in (
        f"{100 * programs:.1f} % of {len(asked)}",
        f"{100 * prose:.1f} %",
        f"{100 * logic:.1f} ± {100 * half:.1f} % of {len(walks)}",
        f"{100 * min(cells.values()):.1f} to {100 * max(cells.values()):.1f} %",
        f"{100 * outside:.1f} against {100 * inside:.1f} %",
    ):
        assert figure in page, figure
