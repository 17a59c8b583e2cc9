"""Scoring: records under both rules, runs that resume, stale ones that are made again, and tables made from them."""

from __future__ import annotations

import functools
import importlib
import json
import os
import re
import subprocess
import sys
import tracemalloc
from pathlib import Path

import pytest
from completion_files import generated
from scripted_decoder import ScriptedDecoder

from mammoth_utils import grading, paths, records
from mammoth_utils.evaluation import (
    MissingCompletionsError,
    benchmarks,
    describe_evaluation,
    evaluate,
    pipeline,
    progress,
    scoring,
    tables,
)
from mammoth_utils.evaluation.engines.requests import Completion
from mammoth_utils.miniature import benchmarks as miniature
from mammoth_utils.prompts import POT_TRIGGER

TWO = "mini-gsm8k,mini-aqua"


@functools.cache
def true_rationales():
    return {one.problem.instruction: one for name in miniature.BENCHMARKS for one in miniature.truths(name)}


class Truth(ScriptedDecoder):
    """A decoder that writes each problem's true rationale: a program where there is one, else prose.

    ``wrong`` names the kinds whose completions are spoilt; ``dies_at`` ends the process's work at that request.
    """

    def __init__(self, wrong=(), dies_at=None) -> None:
        super().__init__()
        self.known = true_rationales()
        self.wrong, self.dies_at = wrong, dies_at

    def write(self, prompt):
        if len(self.asked) == self.dies_at:
            raise KeyboardInterrupt
        asked = prompt.split("### Instruction:\n")[1].split("\n\n### Response:")[0]
        kind = "pot" if asked.endswith(POT_TRIGGER) else "cot"
        one = self.known[asked.removesuffix(POT_TRIGGER)]
        text = one.pot if kind == "pot" and one.pot else one.cot if kind == "cot" else "I do not know."
        return "print()" if kind in self.wrong else text


@pytest.fixture
def model(tmp_path, monkeypatch):
    """A folder with weights that only their hash is taken of; runs go to a folder of the test."""
    monkeypatch.setenv("MAMMOTH_RUNS_DIR", str(tmp_path / "runs"))
    folder = tmp_path / "a-model"
    folder.mkdir()
    (folder / "model.safetensors").write_bytes(b"weights")
    return folder


def without_times(record):
    return {key: value for key, value in record.items() if key not in ("seconds", "environment", "decoded")}


def test_true_rationales_score_full_marks_under_both_rules_on_every_miniature_benchmark(model):
    description = describe_evaluation(model=str(model), benchmarks=",".join(miniature.BENCHMARKS), limit=20)
    record = evaluate(description, decoder=Truth())
    frame = tables.table(record)
    assert frame["published"].tolist() == [1.0] * 12, frame
    assert frame["corrected"].tolist() == [1.0] * 12, frame
    assert frame["benchmark"].tolist()[9:] == ["average", "in-domain average", "out-of-domain average"]
    assert set(record["decodings"]) == {"cot", "pot"}
    assert tables.table(record, "cot")["published"].iloc[9] == 1.0
    assert tables.table(record, "pot")["published"].iloc[9] < 1.0, "logic has no program"


def test_a_record_holds_one_mark_an_item_under_each_rule_and_says_which_kind_answered(model):
    record = evaluate(describe_evaluation(model=str(model), benchmarks=TWO, limit=6), decoder=Truth(wrong=("pot",)))
    entry, choice = record["benchmarks"]["mini-gsm8k"], record["benchmarks"]["mini-aqua"]
    assert entry["items"]["published"] == "111111"
    assert entry["items"]["kinds"] == "cccccc", "every program printed nothing, so prose answered"
    assert entry["published"] == {"correct": 6, "no_answer": 0, "ungradable_gold": 0}
    assert record["decodings"]["pot"]["mini-gsm8k"]["items"]["corrected"] == "nnnnnn"
    assert record["decodings"]["pot"]["mini-gsm8k"]["items"]["kinds"] == "------"
    assert (entry["in_domain"], entry["choice"], choice["choice"], entry["n"]) == (True, False, True, 6)
    assert entry["items"]["ids"] == [problem.id for problem in benchmarks.load("mini-gsm8k", limit=6)]
    assert len(entry["items"]["families"]) == len(entry["items"]["fields"]) == 6
    assert record["world"] == "miniature"
    assert record["model"]["hash"] == records.sha256(model / "model.safetensors")
    assert str(model.parent) not in json.dumps(record), "no folder of this machine in a record"


def test_a_finished_run_is_read_and_decodes_nothing(model):
    description = describe_evaluation(model=str(model), benchmarks=TWO, limit=4)
    first, again = evaluate(description, decoder=Truth()), Truth()
    assert evaluate(description, decoder=again) == first
    assert again.asked == []


def test_a_run_cut_off_goes_on_without_asking_anything_twice_and_ends_with_the_same_record(model):
    description = describe_evaluation(model=str(model), benchmarks=TWO, limit=4)
    first, rest = Truth(dies_at=7), Truth()
    with pytest.raises(KeyboardInterrupt):
        evaluate(description, decoder=first)
    assert not (description.folder / "record.json").exists()
    record = evaluate(description, decoder=rest)
    assert not set(first.asked[:6]) & set(rest.asked), "what had arrived was on disk"
    assert len(rest.asked) == len(set(rest.asked)) == record["decoded"] == record["completions"] - 6
    (runs := description.folder.parent.parent / "completions").rename(runs.with_name("away"))
    undisturbed = evaluate(
        describe_evaluation(model=str(model), benchmarks=TWO, limit=4, name=description.name + "-b"), decoder=Truth()
    )
    undisturbed["model"]["name"] = undisturbed["parameters"]["name"] = description.name
    assert without_times(record) == without_times(undisturbed)
    assert len(list(tables.attempts(record))) == 8


def test_other_ways_of_decoding_and_fewer_problems_read_the_same_completions(model):
    evaluate(describe_evaluation(model=str(model), benchmarks=TWO, limit=4), decoder=Truth())
    for way in ("cot", "pot"):
        decoder = Truth()
        evaluate(describe_evaluation(model=str(model), benchmarks="mini-gsm8k", limit=4, decoding=way), decoder=decoder)
        assert decoder.asked == []


def test_a_model_with_other_weights_is_evaluated_again_and_the_old_record_is_kept_aside(model):
    description = describe_evaluation(model=str(model), benchmarks="mini-gsm8k", limit=4)
    evaluate(description, decoder=Truth())
    (model / "model.safetensors").write_bytes(b"other weights")
    record = evaluate(description, decoder=Truth(wrong=("pot", "cot")))
    assert record["benchmarks"]["mini-gsm8k"]["published"]["correct"] == 0
    aside = records.read_json(description.folder.with_name(description.folder.name + ".old-1") / "record.json")
    assert aside["benchmarks"]["mini-gsm8k"]["published"]["correct"] == 4


@pytest.fixture(params=["miniature", "real"])
def finished(request, model, tmp_path, monkeypatch):
    """A finished evaluation in either world, of weights that no decoder can load: whatever decodes has to be given."""
    decoder = Truth(wrong=("pot",))
    if request.param == "miniature":
        description = describe_evaluation(model=str(model), benchmarks="mini-gsm8k", limit=4)
    else:
        monkeypatch.setenv("MAMMOTH_DATA_DIR", str(tmp_path))
        rows = [{"question": one.problem.question, "answer": f"\n#### {one.problem.gold}"}
                for one in miniature.truths("mini-gsm8k")[:4]]  # fmt: skip
        records.write_jsonl(tmp_path / "eval" / "gsm8k.jsonl", rows)
        description = describe_evaluation(model=str(model), benchmarks="gsm8k")
    return description, evaluate(description, decoder=decoder), decoder


def marks(record):
    return {name: entry["items"] for name, entry in record["benchmarks"].items()}


def test_another_version_of_what_decides_grades_stored_completions_again_and_decodes_nothing(finished, monkeypatch):
    description, first, _ = finished
    assert first["decoded"] == first["completions"] > 0
    for package in ("grading", "programs", "evaluation", "prompts"):
        monkeypatch.setattr(importlib.import_module(f"mammoth_utils.{package}"), "VERSION", 99)
        again = evaluate(description)
        assert again["inputs"]["versions"][package] == 99
        assert {**again["inputs"], "versions": 0} == {**first["inputs"], "versions": 0}
        assert (again["decoded"], again["completions"]) == (0, first["completions"])
        assert marks(again) == marks(first)
        assert again["decoder"] == first["decoder"], "the record says which decoder wrote the completions"
        assert evaluate(description) == again, "and is read from then on"
    aside = description.folder.with_name(f"{description.folder.name}.old-1")
    assert records.read_json(aside / "record.json") == first


def test_a_fallback_that_the_new_grading_needs_is_asked_for_and_nothing_else(model, monkeypatch):
    description = describe_evaluation(model=str(model), benchmarks="mini-gsm8k", limit=4, also=())
    assert evaluate(description, decoder=Truth())["completions"] == 4, "every program gave its answer"
    monkeypatch.setattr(grading, "VERSION", 99)
    read = grading.answer_after_run
    monkeypatch.setattr(grading, "answer_after_run", lambda *how: None if how[2] is not None else read(*how))
    decoder = Truth()
    record = evaluate(description, decoder=decoder)
    assert (len(decoder.asked), record["decoded"], record["completions"]) == (4, 4, 8)
    assert record["benchmarks"]["mini-gsm8k"]["items"]["kinds"] == "cccc"
    assert record["decoder"] == decoder.describe()


def interrupted(*_):
    raise KeyboardInterrupt


def test_a_regrading_that_was_cut_off_still_decodes_nothing(finished, monkeypatch):
    description, first, _ = finished
    monkeypatch.setattr(grading, "VERSION", 99)
    with monkeypatch.context() as patch:
        patch.setattr(pipeline, "write_record", interrupted)
        with pytest.raises(KeyboardInterrupt):
            evaluate(description)
    monkeypatch.setattr(grading, "VERSION", 100)
    assert marks(evaluate(description)) == marks(first)


def test_other_weights_are_decoded_again_whatever_was_stored(finished, model):
    description, first, _ = finished
    (model / "model.safetensors").write_bytes(b"other weights")
    again = evaluate(description, decoder=Truth(wrong=("pot", "cot")))
    assert again["decoded"] == again["completions"]
    assert again["benchmarks"][description.benchmarks[0]]["corrected"]["correct"] == 0


def test_a_record_of_an_older_project_is_graded_again_from_its_completions(finished):
    """Records were once bound to a hash of the code, and those of real benchmarks to nothing."""
    description, first, _ = finished
    file = description.folder / "record.json"
    old = {key: value for key, value in first.items() if key != "decoded"}
    old["inputs"] = {key: value for key, value in first["inputs"].items() if key != "versions"} | {"code": "0" * 16}
    records.write_json(file, old)
    again = evaluate(description)
    assert again["inputs"] == first["inputs"]
    assert marks(again) == marks(first)


def test_another_run_in_the_same_folder_is_refused_with_the_lines_that_differ(model):
    evaluate(describe_evaluation(model=str(model), benchmarks="mini-gsm8k", limit=2, name="mine"), decoder=Truth())
    with pytest.raises(records.RunMismatchError, match="limit: there 2, asked 3"):
        evaluate(describe_evaluation(model=str(model), benchmarks="mini-gsm8k", limit=3, name="mine"), decoder=Truth())


def test_fallbacks_are_counted_with_what_the_prose_earned_and_how_the_program_ended(model):
    record = evaluate(describe_evaluation(model=str(model), benchmarks=TWO, limit=5), decoder=Truth(wrong=("pot",)))
    frame = tables.fallbacks(record)
    assert frame.to_dict("records") == [
        {
            "benchmark": "mini-gsm8k",
            "programs": 5,
            "gave_nothing": 5,
            "share": 1.0,
            "answered": 5,
            "right, published rule": 5,
            "right, corrected rule": 5,
            "added, published rule": 1.0,
            "added, corrected rule": 1.0,
            "why": "ok 5",
        }
    ], "multiple choice is asked for prose at once, so it has no fallback"


def test_items_on_which_the_rules_differ_are_shown_with_both_verdicts(model):
    class Unprinted(Truth):
        def write(self, prompt):
            return super().write(prompt).replace("print(", "ans = (")

    record = evaluate(
        describe_evaluation(model=str(model), benchmarks="mini-gsm8k", limit=8, decoding="pot"), decoder=Unprinted()
    )
    frame = tables.differing(record)
    assert len(frame) == tables.table(record)["differ"].iloc[0] > 0
    assert set(frame["corrected outcome"]) == {"correct"}
    assert "correct" not in set(frame["published outcome"])
    assert frame["published reason"].str.len().min() > 0


def test_progress_says_how_far_it_is_and_after_the_first_completions_what_the_rest_takes(model, monkeypatch):
    monkeypatch.setattr(progress, "WORTH_SAYING_S", 0.0)
    lines, said = [], []
    description = describe_evaluation(model=str(model), benchmarks=TWO, limit=20)
    evaluate(description, decoder=Truth(), say=said.append, show=lines.append, usd_per_hour=2.0)
    assert re.fullmatch(r"80 of 80 completions · [\d,]+ tokens/s · 0.0 % cut at the limit · all in \d+ s", lines[-1])
    (estimate,) = said
    assert re.match(r"from the first 32 completions: about \d+ s for the 48 others, [\d,]+ tokens to write", estimate)
    assert "dollars" in estimate


class Gaps(Truth):
    """Has no completion for prose."""

    def run(self, queue):
        while requests := queue.take(1):
            self.asked += requests
            if POT_TRIGGER in requests[0].prompt:
                queue.finish(requests[0], Completion(self.write(requests[0].prompt), "stop", 1))
            else:
                queue.fail(requests[0], "the server answers 500: no prose today")


def test_requests_that_fail_are_listed_nothing_is_filled_in_and_they_alone_are_asked_again(model):
    description = describe_evaluation(model=str(model), benchmarks=TWO, limit=3)
    message = r"^6 requests have no completion \(.*\): the server answers 500: no prose today \(6 of them\)\. The "
    with pytest.raises(MissingCompletionsError, match=message):
        evaluate(description, decoder=Gaps())
    assert not (description.folder / "record.json").exists()
    missing = records.read_json(description.folder / "missing.json")
    assert {row["kind"] for row in missing} == {"cot"}
    assert {row["benchmark"] for row in missing} == set(TWO.split(","))
    decoder = Truth()
    assert evaluate(description, decoder=decoder)["completions"] == 12
    assert len(decoder.asked) == 6
    assert not (description.folder / "missing.json").exists()


# --- the description -------------------------------------------------------------------------------------------------


def trained(name, method="full", finished=True):
    folder = paths.run_dir("train", name)
    kind = "model" if method == "full" else "adapter"
    (folder / kind).mkdir(parents=True)
    (folder / kind / f"{kind}.safetensors").write_bytes(b"x")
    records.write_json(folder / "run.json", {"size": "1m", "family": "llama", "method": method, "base": "llama-1m"})
    if finished:
        records.write_record(folder, {"page": "train"})
    return folder


def test_the_model_that_train_left_is_found_by_its_parameters(model):
    folder = trained("llama-1m-cot-full-s0")
    found = describe_evaluation(size="1m", mixture="cot")
    assert (found.name, found.model, found.adapter, found.method) == (
        "llama-1m-cot-full-s0-hybrid", str(folder / "model"), "", "full",
    )  # fmt: skip
    assert found.world == "miniature"
    assert found.also == ("cot", "pot")
    assert len(found.benchmarks) == 9
    assert found.folder == paths.run_dir("evaluate", found.name)


def test_an_adapter_is_found_with_its_base_and_whether_that_was_in_4_bits(model):
    folder = trained("llama-1m-cot-qlora-s0", "qlora")
    found = describe_evaluation(
        size="1m", mixture="cot", method="qlora", decoding="cot", split="dev", limit=5, benchmarks="mini-math"
    )
    assert (found.model, found.adapter, found.dequantise) == ("llama-1m", str(folder / "adapter"), True)
    assert found.name == "llama-1m-cot-qlora-s0-cot-dev-mini-math-n5"


def test_at_miniature_size_auto_means_full_as_in_training(model):
    trained("llama-1m-cot-full-s0")
    trained("llama-1m-cot-qlora-s0", "qlora")
    assert describe_evaluation(mixture="cot").method == "full"


@pytest.mark.parametrize(("arguments", "error", "message"), [
    ({"mixture": "pot"}, FileNotFoundError, "papermill notebooks/train.ipynb .* -p family llama -p mixture pot"),
    ({"mixture": "poet"}, ValueError, "unknown mixture 'poet'; known: hybrid"),
    ({"size": "2m"}, ValueError, "unknown scale '2m'"),
    ({"decoding": "beam"}, ValueError, "unknown decoding 'beam'; known: hybrid, paper, cot, pot"),
    ({"benchmarks": "gsm8k"}, ValueError, "did you mean 'mini-gsm8k'"),
    ({"split": "train"}, ValueError, "no split 'train'; known: test, dev"),
    ({"model": "/nowhere/at/all"}, FileNotFoundError, "hub name"),
    ({"completions": "none.jsonl"}, FileNotFoundError, "expected a completions file"),
])  # fmt: skip
def test_what_cannot_be_evaluated_is_refused_with_the_choices_or_the_command(model, arguments, error, message):
    with pytest.raises(error, match=message):
        describe_evaluation(**arguments)


def test_a_training_that_did_not_finish_is_refused(model):
    trained("llama-1m-G-full-s0", finished=False)
    with pytest.raises(FileNotFoundError, match="did not finish"):
        describe_evaluation(mixture="G")


# --- stored completions ----------------------------------------------------------------------------------------------


def test_a_stored_file_is_graded_into_a_record_of_the_same_form(tmp_path, model):
    table = [
        ("gsm8k", "a", "pot", "6*7?", "ans = 6 * 7", "42"),
        ("gsm8k", "b", "cot", "6*7?", "The answer is 41.", "42"),
        ("svamp", "c", "cot", "1+1?", "The answer is 2.", "2"),
    ]
    names = ("benchmark", "id", "kind", "question", "completion", "gold")
    rows = [dict(zip(names, row, strict=True)) for row in table]
    file = records.write_jsonl(tmp_path / "stored.jsonl", rows)
    record = evaluate(describe_evaluation(completions=str(file)))
    gsm8k = record["benchmarks"]["gsm8k"]
    assert gsm8k["items"]["corrected"] == "10"
    assert gsm8k["items"]["ids"] == ["a", "b"]
    assert gsm8k["items"]["kinds"] == "pc"
    assert tables.table(record)["corrected"].tolist()[:2] == [0.5, 1.0]
    assert {row["question"] for row in tables.attempts(record)} == {"6*7?", "1+1?"}
    assert str(tmp_path) not in json.dumps(record)
    assert evaluate(describe_evaluation(completions=str(file))) == record
    records.write_jsonl(file, rows[:1])
    assert evaluate(describe_evaluation(completions=str(file)))["benchmarks"]["gsm8k"]["n"] == 1, (
        "a changed file is graded again"
    )


def test_a_stored_file_is_graded_without_torch(tmp_path, model):
    row = {"benchmark": "gsm8k", "kind": "pot", "question": "?", "completion": "print(4)", "gold": "4"}
    file = records.write_jsonl(tmp_path / "one.jsonl", [row])
    code = (
        "import sys; from mammoth_utils.evaluation import describe_evaluation, evaluate; "
        f"r = evaluate(describe_evaluation(completions={str(file)!r})); "
        "assert r['benchmarks']['gsm8k']['published']['correct'] == 1; "
        "sys.exit(', '.join(sorted({'torch', 'transformers', 'pandas'} & set(sys.modules))) or None)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=120, check=False)
    assert done.returncode == 0, done.stderr


def test_benchmarks_that_a_stored_file_does_not_hold_are_named(tmp_path, model):
    row = {"benchmark": "gsm8k", "kind": "cot", "question": "?", "completion": "The answer is 4", "gold": "4"}
    file = records.write_jsonl(tmp_path / "one.jsonl", [row])
    with pytest.raises(ValueError, match="holds no completion of svamp; it holds gsm8k"):
        evaluate(describe_evaluation(completions=str(file), benchmarks="svamp"))


def peak_bytes(path):
    """The most memory that Python held while a file was graded and shown as the page does, and the record."""
    tracemalloc.start()
    try:
        record = evaluate(describe_evaluation(completions=str(path)))
        count = tables.summary(record)["differ"]
        assert len(tables.differing(record)) == min(count, 300)
        tables.table(record), tables.by_decoding(record), tables.fallbacks(record), tables.example(record)
        return tracemalloc.get_traced_memory()[1], record
    finally:
        tracemalloc.stop()


def test_the_memory_of_the_page_does_not_grow_with_the_file(tmp_path, model, monkeypatch):
    monkeypatch.setattr(scoring, "NAMED", 100)
    few, many = (generated(tmp_path / f"{count}.jsonl.gz", count) for count in (500, 4_000))
    peak_bytes(generated(tmp_path / "first.jsonl.gz", 500))  # fills the caches, whose size is bounded
    (small, _), (large, record) = peak_bytes(few), peak_bytes(many)
    assert large < small + 500_000, (small, large)
    items = record["benchmarks"]["gsm8k"]["items"]
    assert items["corrected"] == "10" * 2_000, "a mark a row, whatever the length"
    assert set(items) == {"published", "corrected", "kinds"}, "the ids of a long file stand beside its record alone"
    assert [row["id"] for row in tables.attempts(record)] == [f"g/{at}" for at in range(4_000)]


@pytest.mark.skipif(not os.environ.get("MAMMOTH_DATA_DIR"), reason="needs real stored outputs: set MAMMOTH_DATA_DIR")
@pytest.mark.long
def test_stored_programs_of_a_real_model_read_as_published(model):
    file = Path(os.environ["MAMMOTH_DATA_DIR"]) / "outputs" / "pot_gsm8k_fewshot.jsonl.gz"
    record = evaluate(describe_evaluation(completions=str(file)))
    assert tables.table(record)["corrected"].iloc[0] == pytest.approx(0.716, abs=0.003)
