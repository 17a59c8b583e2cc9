"""Files that lm-evaluation-harness logs with ``--log_samples``, graded as completions files."""

from __future__ import annotations

import gzip
import json
import warnings
from pathlib import Path

import pytest

from mammoth_utils.evaluation import describe_evaluation, evaluate, tables
from mammoth_utils.grading import CompletionsError, grade_file, score_file
from mammoth_utils.grading.__main__ import main
from mammoth_utils.grading.lm_eval_samples import LmEvalSamples

TIME = "2025-03-04T10-20-30.123456"
GSM8K = {"question": "Two and five?", "answer": "2+5=<<2+5=7>>7\n#### 7"}
MATH = {"problem": "Half of one?", "level": "Level 2", "type": "Counting & Probability", "answer": "\\frac{1}{2}",
        "solution": "It is $\\boxed{\\frac{1}{2}}$."}  # fmt: skip
MMLU = {"question": "2p = 8?", "subject": "abstract_algebra", "choices": ["2", "4", "6", "8"], "answer": 1}


def sample(doc, completion, target="", doc_id=0, filtered="none", **changes):
    """A row as the harness writes it: texts in lists of lists, arguments as objects, and a task's metrics."""
    texts = completion if isinstance(completion, list) else [completion]
    settings = {"until": ["Question:"], "do_sample": False, "temperature": 0.0}
    return {
        "doc_id": doc_id,
        "doc": doc,
        "target": target or str(doc.get("answer")),
        "arguments": {"gen_args_0": {"arg_0": "Question: ...\nAnswer:", "arg_1": settings}},
        "resps": [texts],
        "filtered_resps": ["[invalid]"],
        "filter": filtered,
        "metrics": ["exact_match"],
        "doc_hash": f"hash of {doc}",
        "prompt_hash": "a",
        "target_hash": "b",
        "exact_match": 0.0,
        **changes,
    }


def written(folder: Path, rows, task="gsm8k", packed=False) -> Path:
    path = folder / f"samples_{task}_{TIME}.jsonl{'.gz' if packed else ''}"
    with (gzip.open if packed else open)(path, "wt", encoding="utf8") as file:
        file.write("".join((row if isinstance(row, str) else json.dumps(row)) + "\n" for row in rows))
    return path


@pytest.mark.parametrize(("task", "benchmark"), [
    ("gsm8k", "gsm8k"), ("gsm8k_cot_zeroshot", "gsm8k"), ("gsm8k_platinum", "gsm8k_platinum"),
    ("hendrycks_math_algebra", "math"), ("minerva_math500", "math"), ("leaderboard_math_geometry_hard", "math"),
    ("agieval_sat_math", "sat"), ("agieval_aqua_rat", "aqua"), ("mathqa", "mathqa"),
    ("mmlu_abstract_algebra_generative", "mmlu_math"), ("mmlu_flan_cot_zeroshot_formal_logic", "mmlu_math"),
    ("mmlu_cot_llama_high_school_mathematics", "mmlu_math"), ("mmlu_pro_math", "mmlu_pro_math"),
    ("mmlu_de_llama_abstract_algebra", "mmlu_de_llama_abstract_algebra"), ("mmlu_anatomy", "mmlu_anatomy"),
])  # fmt: skip
def test_the_task_in_the_file_s_name_says_the_benchmark(task, benchmark):
    samples = LmEvalSamples(f"samples_{task}_{TIME}.jsonl")
    assert (samples.task, samples.benchmark) == (task, benchmark)
    assert LmEvalSamples(f"samples_{task}.jsonl.gz").task == task, "a file without its time, packed"


def test_a_row_becomes_a_row_of_a_completions_file():
    samples = LmEvalSamples("samples_hendrycks_math_counting_and_prob.jsonl")
    assert samples.convert(sample(MATH, "A half.", doc_id=3)) == {
        "benchmark": "math",
        "id": "hendrycks_math_counting_and_prob/counting_&_probability/3",
        "kind": "cot",
        "question": "Half of one?",
        "completion": "A half.",
        "gold": "\\frac{1}{2}",
        "field": "counting & probability",
        "family": "counting & probability, level 2",
    }


@pytest.mark.parametrize(("task", "doc", "target", "gold", "because"), [
    ("gsm8k", {"question": "?", "answer": "so\n#### 2,125"}, "", "2125", "what follows ####, without commas"),
    ("gsm8k_cot_llama", {"question": "?", "answer": "so\n#### 2,125"}, "2,125", "2125", "a target without ####"),
    ("minerva_math_algebra", {"problem": "?", "solution": "It is $\\boxed{3\\text{ cm}}$."}, "3", "3\\text{ cm}",
     "the solution's box, not the target that the task normalises"),
    ("minerva_math_algebra", {"problem": "?", "solution": "Of \\boxed{1} the last, \\boxed{\\{2\\}}."}, "1", "\\{2\\}",
     "of several boxes the last"),
    ("hendrycks_math_algebra", {"problem": "?", "solution": "It is \\boxed 5."}, "5", "5", "a box without braces"),
    ("agieval_math", {"query": "?", "answer": "\\pi"}, "", "\\pi", "no solution: the target"),
    ("mmlu_abstract_algebra_generative", MMLU, "B", "B", "the data set's index, counted from 0"),
    ("mmlu_abstract_algebra_generative", {**MMLU, "answer": None}, "(C)", "C", "a letter in brackets"),
    ("agieval_sat_math", {"query": "?", "choices": ["(A)1", "(B)7"], "gold": [1]}, "", "B", "a list of one index"),
    ("mmlu_pro_math", {"question": "?", "options": ["x", "y"], "answer": "B", "answer_index": 1}, "", "B", "a letter"),
    ("asdiv_cot_llama", {"body": "He has 9.", "question": "?", "answer": "9 (apples)"}, "9", "9", "else the target"),
])  # fmt: skip
def test_the_gold_is_the_data_set_s(task, doc, target, gold, because):
    assert LmEvalSamples(f"samples_{task}.jsonl").convert(sample(doc, "text", target))["gold"] == gold, because


def test_a_file_is_graded_under_both_rules_packed_or_not(tmp_path):
    rows = [sample(GSM8K, "The answer is 7."), sample({**GSM8K, "question": "Other?"}, "It is 8.", doc_id=1)]
    for packed in (False, True):
        counts = score_file(written(tmp_path, rows, packed=packed), ("published", "corrected")).as_dict("corrected")
        assert (counts["rows"], counts["correct"]) == (2, 1)
        assert list(counts["by_benchmark"]) == ["gsm8k"]
    path = written(tmp_path, [sample(MMLU, "2p = 8, so p = 4. The answer is (B).")], "mmlu_abstract_algebra_generative")
    (graded,) = grade_file(path)
    assert graded.verdicts["corrected"].outcome == "correct"
    assert graded.row["options"] == ["2", "4", "6", "8"]


def test_arguments_as_lists_of_earlier_releases_are_read_too(tmp_path):
    row = sample(GSM8K, "The answer is 7.", arguments=[["Question: ...", {"until": ["\n\n"]}]])
    assert score_file(written(tmp_path, [row])).as_dict("corrected")["correct"] == 1


def test_a_document_under_several_filters_counts_once_and_a_warning_says_so(tmp_path):
    docs = [{**GSM8K, "question": f"{number}?"} for number in range(3)]
    rows = [sample(doc, "The answer is 7.", doc_id=at, filtered=name)
            for name in ("strict-match", "flexible-extract") for at, doc in enumerate(docs)]  # fmt: skip
    with pytest.warns(UserWarning, match="under several filters, such as 'strict-match'; it is graded once") as caught:
        counts = score_file(written(tmp_path, rows)).as_dict("corrected")
    assert (counts["rows"], len(caught)) == (3, 1)
    assert "doubled" not in counts


def test_documents_of_joined_files_that_share_a_number_are_kept_apart(tmp_path):
    algebra = {**MATH, "type": "Algebra", "problem": "Another half?"}
    path = written(tmp_path, [sample(MATH, "1/2"), sample(algebra, "1/2")], "hendrycks_math")
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        ids = [graded.id for graded in grade_file(path)]
    assert ids == ["hendrycks_math/counting_&_probability/0", "hendrycks_math/algebra/0"]


def test_of_several_generations_the_first_is_graded_and_a_warning_says_so(tmp_path):
    row = sample(GSM8K, ["The answer is 7.", "The answer is 8."])
    path = written(tmp_path, [row] * 2, "gsm8k_cot_self_consistency")
    with pytest.warns(UserWarning, match="holds 2 generations of a document; the first is graded") as caught:
        counts = score_file(path).as_dict("corrected")
    assert (counts["rows"], counts["correct"], counts["doubled"], len(caught)) == (2, 2, 1, 1)


@pytest.mark.parametrize(("resps", "arguments"), [
    ([[["-3.2", "False"]], [["-1.1", "True"]]], {"gen_args_0": {"arg_0": "2p = 8?", "arg_1": " 2"}}),
    ([[[-3.2, False]], [[-1.1, True]]], [["2p = 8?", " 2"], ["2p = 8?", " 4"]]),
    ([["-310.5"]], {"gen_args_0": {"arg_0": "a text of which the likelihood is measured"}}),
])  # fmt: skip
def test_tasks_that_compare_likelihoods_are_refused_with_the_reason(tmp_path, resps, arguments):
    path = written(tmp_path, [sample(MMLU, "", resps=resps, arguments=arguments)], "mmlu_abstract_algebra")
    with pytest.raises(CompletionsError, match="line 1: the task mmlu_abstract_algebra compares log-likelihoods"):
        list(grade_file(path))


def test_a_completion_that_is_a_number_is_no_likelihood(tmp_path):
    assert score_file(written(tmp_path, [sample(GSM8K, "7")])).as_dict("corrected")["correct"] == 1


@pytest.mark.parametrize(("row", "message"), [
    ({**sample(GSM8K, "7"), "doc": "text"}, "expected the data set's row, an object, as doc, got str"),
    (sample(GSM8K, "7", resps=[]), r"no completion: expected \[\[text\]\] as resps"),
    (sample({**MMLU, "answer": "Z"}, "B", target="Z"), "the target 'Z' is none of the 4 options"),
    (sample({**MMLU, "choices": "a) 2 b) 4"}, "B"), "expected options as a list"),
    ({"doc": GSM8K, "resps": [["7"]]}, "no benchmark; expected `benchmark` or `dataset`"),
    ("{", "expected a JSON object"),
])  # fmt: skip
def test_wrong_rows_are_named_and_the_others_graded(tmp_path, row, message, capsys):
    ours = {"benchmark": "gsm8k", "completion": "The answer is 7.", "gold": "7"}
    path = written(tmp_path, [sample(GSM8K, "The answer is 7."), row, ours])
    with pytest.raises(CompletionsError, match=f"line 2: {message}"):
        list(grade_file(path))
    assert main([str(path)]) == 1
    output = capsys.readouterr()
    assert json.loads(output.out)["rows"] == 2, "a harness's row and one of ours in one file"
    assert "line 2" in output.err


def test_a_file_whose_name_says_no_task_is_refused_with_the_names_that_do(tmp_path):
    path = tmp_path / "results.jsonl"
    path.write_text(json.dumps(sample(GSM8K, "7")) + "\n", encoding="utf8")
    with pytest.raises(CompletionsError, match=r"such as samples_gsm8k_cot\.jsonl .*, got results\.jsonl"):
        list(grade_file(path))


def test_the_command_writes_verdicts_on_the_converted_rows(tmp_path, capsys):
    path = written(tmp_path, [sample(MATH, "The answer is $\\frac{1}{2}$.")], "minerva_math_algebra")
    verdicts = tmp_path / "verdicts.jsonl"
    assert main([str(path), "--verdicts", str(verdicts)]) == 0
    assert json.loads(capsys.readouterr().out)["by_benchmark"]["math"]["correct"] == 1
    row = json.loads(verdicts.read_text(encoding="utf8"))
    assert row["verdict"]["correct"]
    assert row["gold"] == "\\frac{1}{2}"


def test_the_evaluation_page_s_record_counts_such_a_file(tmp_path, monkeypatch):
    monkeypatch.setenv("MAMMOTH_RUNS_DIR", str(tmp_path / "runs"))
    algebra = {**MATH, "type": "Algebra"}
    path = written(tmp_path, [sample(MATH, "The answer is 1/2."), sample(algebra, "So 2.", doc_id=1)], "hendrycks_math")
    record = evaluate(describe_evaluation(completions=str(path)), say=print)
    assert tables.table(record, averages=False)[["benchmark", "n", "corrected"]].to_dict("records") == [
        {"benchmark": "math", "n": 2, "corrected": 0.5}
    ]
    assert record["benchmarks"]["math"]["items"]["fields"] == ["counting & probability", "algebra"]
