"""The real model: its grid, its prompt chosen on training questions, its records, and the claims that they decide."""

from __future__ import annotations

import json
import sys
from pathlib import Path

import pytest
from evaluation_records import record
from scripted_decoder import ScriptedDecoder

from mammoth_utils import records
from mammoth_utils.evaluation import prompt_choice
from mammoth_utils.report import claim_definitions, claims, figures, measured_models, tables
from mammoth_utils.vocabulary import NAMESAKES, RunName

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT / "workflow"))

import keep_records  # noqa: E402  (the workflow is scripts beside each other, no package)
import measure_models  # noqa: E402
import real  # noqa: E402

GRID = measure_models.read_grid(real.REAL_GRID)


@pytest.fixture(autouse=True)
def runs(tmp_path, monkeypatch):
    monkeypatch.setenv("MAMMOTH_RUNS_DIR", str(tmp_path / "runs"))
    return tmp_path / "runs"


def cell(mixture, rate, decoding="hybrid", limit=50, also=None):
    """A record as a cell of the real model leaves it: the miniature's hand-made one under real names."""
    name = str(RunName("qwen-coder-instruct", "0.5b", mixture, "lora", 0, "rows400" if mixture != "none" else ""))
    made = record(mixture, rate, decoding, also=also)

    def renamed(benchmarks):
        return {NAMESAKES[name]: {**scores, "in_domain": scores["in_domain"]} for name, scores in benchmarks.items()}

    empty = dict.fromkeys(("size", "family", "mixture"), "")
    return {
        **made, "world": "real", "parameters": {"limit": limit},
        "model": {**made["model"], **empty, "name": f"{name}-{decoding}-n{limit}"},
        "benchmarks": renamed(made["benchmarks"]),
        "decodings": {way: renamed(scores) for way, scores in made["decodings"].items()},
    }  # fmt: skip


CELLS = [
    cell("hybrid", 0.6, also={"cot": 0.4, "pot": 0.3}), cell("pot", 0.3, "pot"), cell("cot", 0.4, "cot"),
    cell("G-cot", 0.3, "cot"), cell("none", 0.2, also={"cot": 0.2, "pot": 0.1}),
]  # fmt: skip


def test_the_grid_holds_the_cells_that_the_claims_read():
    names = [measure_models.run_name(model) for model in GRID]
    needed = {model for claim in claim_definitions.real_claims() for model in claim.needs}
    assert {model.training[:4] for model in needed} == {
        (run.size, run.family, run.mixture, run.variant) for run in map(RunName.parse, names)
    }
    for model in GRID:
        decoding = model["evaluate"].get("decoding", "hybrid")
        read = {one.decoding for one in needed if one.mixture == model["mixture"] and one.mixture != "none"}
        assert read <= {decoding, *model["evaluate"].get("also", "").split(",")}
    trained = [model for model in GRID if model["mixture"] != "none"]
    steps = {model["max_rows"] * model["epochs"] / model["global_batch"] for model in trained}
    assert steps == {50.0}, "all cells take equal steps"


def test_a_record_with_a_limit_counts_as_the_real_model_and_the_larger_one_is_read():
    evaluations = measured_models.as_evaluations([*CELLS, cell("hybrid", 0.9, limit=200)])
    model = claim_definitions.real_model("hybrid")
    assert evaluations[0].model == model
    assert evaluations[0].is_complete
    ((found, _),) = measured_models.seeds_of(model, evaluations[:1])
    assert found.record is CELLS[0]
    with_engine = cell("hybrid", 0.6)
    with_engine["parameters"]["engine"] = "transformers"
    with_engine["model"]["name"] += "-transformers"
    assert measured_models.EvaluationRecord(with_engine).model == model, "as the grid asks"


def test_five_claims_get_a_verdict_with_each_problem_a_cluster_of_its_own():
    results = {result.id: result for result in claims.evaluate_claims(CELLS, claim_definitions.real_claims())}
    assert list(results) == ["C1", "C2", "C3", "C5", "C9"]
    assert results["C1"].verdict == claims.NOT_REPRODUCED, "programs alone lose to prose alone in these records"
    first, second = results["C1"].parts
    assert (first.verdict, second.verdict) == (claims.REPRODUCED, claims.NOT_REPRODUCED)
    assert "900 problems, one training seed: about this model only" in first.reason
    assert results["C2"].parts[1].name == "MMLU-Math: CoT only - PoT only"
    assert results["C5"].parts[0].verdict == claims.REPRODUCED
    assert results["C1"].expected is None
    assert claims.evaluate_claims(CELLS)[0].verdict == claims.NOT_MEASURED, "the miniature's claims read no real record"
    missing = claims.evaluate_claims(CELLS[:2], claim_definitions.real_claims())[0]
    assert (missing.verdict, missing.command) == (claims.NOT_MEASURED, "make real")


def test_table_and_figure_show_the_cells_that_are_measured():
    shown = tables.real_model(CELLS).frame
    assert shown["model"].tolist()[0].startswith("qwen-coder-instruct-0.5b hybrid")
    assert shown["decoding"].tolist()[:3] == ["hybrid", "cot", "pot"]
    assert shown.set_index("model").loc["guessing an option", ["aqua", "sat"]].tolist() == ["20.0", "25.0"]
    assert set(tables.real_model(CELLS[:2]).frame["decoding"]) == {"hybrid", "cot", "pot", ""}
    assert tables.real_model([]) is None
    labels = {text.get_text() for axis in figures.real_figure(CELLS).axes for text in axis.get_yticklabels()}
    assert "gsm8k" in labels


def test_the_pages_say_how_much_of_the_real_model_is_measured():
    assert tables.real_model_state([]).startswith("is not measured yet")
    assert tables.real_model_state(CELLS[:2]) == "is measured in 2 of its 5 cells so far"
    assert tables.real_model_state(CELLS) == "is measured too"


def test_the_prompt_with_most_correct_training_questions_is_chosen(tmp_path):
    rows = [
        {"instruction": "What is 2 + 2?", "gold": "4", "options": None, "history": {"problem": "train/0"}},
        {"instruction": "Which?\nAnswer Choices: (A) 1 (B) 2", "gold": "B", "options": ["1", "2"],
         "history": {"problem": "train/1"}},
        {"instruction": "No gold", "gold": None, "history": {"problem": "train/2"}},
    ]  # fmt: skip
    questions = tmp_path / "questions.jsonl"
    assert prompt_choice.write_questions(rows, questions) == 2
    (folder := tmp_path / "model").mkdir()
    (folder / "model.safetensors").write_bytes(b"weights")

    def answer(prompt):
        if "### Response" in prompt:
            return "I cannot say."
        return "```python\nprint(5)\n```" if "Python" in prompt or "program" in prompt else (
            "The answer is 4." if "2 + 2" in prompt else "The answer is (B)."
        )  # fmt: skip

    choice = prompt_choice.choose_prompt(str(folder), "base", questions, decoder=ScriptedDecoder(answer), say=str)
    assert (choice["prompt"], choice["questions"]) == ("chat_cot+chat_pot", 2)
    assert choice["decoding"] == "cot"
    assert {(row["prompt"], row["decoding"]) for row in choice["candidates"]} == {
        (prompt, decoding) for prompt in prompt_choice.CANDIDATES for decoding in prompt_choice.DECODINGS
    }
    assert claim_definitions.real_base().decoding == "hybrid", "without a choice"


def test_a_kept_cell_has_its_completions_and_no_question(runs, tmp_path, monkeypatch):
    monkeypatch.setattr(keep_records, "REAL", tmp_path / "real")
    name = measure_models.run_name(GRID[0])
    folder = runs / "evaluate" / f"{name}-hybrid-n50"
    records.write_record(folder, CELLS[0])
    place = "/somewhere/else/base.gguf"
    records.write_json(
        runs / "train" / name / "record.json",
        {"page": "train", "model": {"hash": "abc"}, "parameters": {"base": place}, "base": {"name": place}},
    )
    attempt = {"kind": "pot", "prompt": "a question", "completion": "print(4)", "program": "print(4)",
               "execution": {"status": "ok", "printed": "4\n", "error": None, "seconds": 0.1}}  # fmt: skip
    row = {"benchmark": "gsm8k", "id": "gsm8k/1", "question": "a question", "gold": "4", "attempts": [attempt],
           "decodings": {"pot": {"kind": "p"}}}  # fmt: skip
    records.write_jsonl(folder / "attempts.jsonl", [row])
    keep_records.keep_real(folder, records.read_json(folder / "record.json"))
    kept = list(records.read_jsonl(tmp_path / "real" / "completions" / f"{folder.name}.jsonl.gz"))
    (item,) = kept
    kept_attempt = {"kind": "pot", "completion": "print(4)", "status": "ok", "printed": "4\n"}
    assert item == {"id": "gsm8k/1", "decodings": {"pot": {"kind": "p"}}, "attempts": [kept_attempt]}
    assert "question" not in json.dumps(kept)
    trained = records.read_json(tmp_path / "real" / "training" / f"{name}.json")
    assert trained["model"]["hash"] == "abc"
    assert (trained["parameters"]["base"], trained["base"]["name"]) == ("base.gguf", "base.gguf"), "no folder of here"
    assert (tmp_path / "real" / "models" / f"{folder.name}.json").is_file()


def test_as_many_cells_work_side_by_side_as_memory_and_cores_carry():
    assert real.count_processes(2, 23.0, gpus=0) == 2
    assert real.count_processes(16, 35.0, gpus=0) == 3
    assert real.count_processes(2, 4.0, gpus=0) == 1
    assert real.count_processes(16, 128.0, gpus=8) == 1
    assert 2 < real.estimate_hours(GRID, 1.3e11) < 24, "a night on two cores"
