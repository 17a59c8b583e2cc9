"""Benchmarks of both worlds: their sizes, their prompts to the byte, their golds, and errors that help."""

from __future__ import annotations

import json
import os
from itertools import pairwise
from pathlib import Path

import pytest

from mammoth_utils import prompts
from mammoth_utils.evaluation import benchmarks
from mammoth_utils.rationale import LETTERS
from mammoth_utils.vocabulary import NAMESAKES

DATA = os.environ.get("MAMMOTH_DATA_DIR")
real = pytest.mark.skipif(not DATA, reason="needs the real evaluation sets: set MAMMOTH_DATA_DIR")

ROWS = {
    "gsm8k": ({"question": " How much? ", "answer": "2,000 + 125\n#### 2,125"}, "How much?", "2125", None),
    "svamp": (
        {"Body": "He had 3 pens.", "Question": "How many?", "Answer": 3.0, "Type": "Common-Divison"},
        "He had 3 pens. How many?", "3", None,
    ),
    "numglue": (
        {"question": "Which is cooler? \nAnswer Choices: (A) web (B) tree", "answer": "B", "type": "Type_3"},
        "Which is cooler? \nAnswer Choices: (A) web (B) tree", "B", ("web", "tree"),
    ),
    "sat": (
        {"question": "Which of (A) and (B)? \nAnswer Choices: (A) see (B) below (B) no (C) f(x)", "answer": "C"},
        "Which of (A) and (B)? \nAnswer Choices: (A) see (B) below (B) no (C) f(x)",
        "C", ("see", "below (B) no", "f(x)"),
    ),
    "aqua": (
        {"question": "x?", "options": ["A)5(√3 + 1)", "B)36"], "correct": "B"},
        "x?\nAnswer Choices: (A) 5 (√3 + 1)  (B) 36", "B", ("5 (√3 + 1) ", "36"),
    ),
    "mmlu_math": (
        {"question": "p?", "subject": "formal_logic", "choices": ["4", "8"], "answer": 1},
        "p?\nAnswer Choices: (A) 4 (B) 8", "B", ("4", "8"),
    ),
    "math": (
        {"problem": "x?", "type": "Algebra", "solution": "so \\boxed{1}, or $\\boxed{\\frac{1}{2}}$."},
        "x?", "\\frac{1}{2}", None,
    ),
    "theoremqa": (
        {"Question": "x?", "Answer": [1, 2], "field": "Math", "subfield": "Algebra"}, "x?", "[1, 2]", None,
    ),
}  # fmt: skip


@pytest.mark.parametrize("name", ROWS)
def test_each_file_has_its_own_form_and_gives_question_options_and_gold(name, tmp_path):
    row, instruction, gold, options = ROWS[name]
    file = tmp_path / "eval" / benchmarks.BENCHMARKS[name].file
    file.parent.mkdir()
    file.write_text(json.dumps(row) + "\n", encoding="utf8")
    (problem,) = benchmarks.load(name, data_dir=tmp_path)
    assert (problem.instruction, problem.gold, problem.options) == (instruction, gold, options)
    assert (problem.id, problem.set) == (f"{name}/0", name)


def test_a_row_of_another_form_is_refused_with_file_and_row(tmp_path):
    (tmp_path / "eval").mkdir()
    (tmp_path / "eval" / "gsm8k.jsonl").write_text('{"question": "x", "answer": "no marker"}\n')
    with pytest.raises(ValueError, match=r"gsm8k\.jsonl, row 1"):
        benchmarks.load("gsm8k", data_dir=tmp_path)


def test_missing_data_names_the_command_and_the_variable(tmp_path):
    with pytest.raises(FileNotFoundError, match="make data.*MAMMOTH_DATA_DIR"):
        benchmarks.load("svamp", data_dir=tmp_path)


@pytest.mark.parametrize(("solution", "gold", "because"), [
    ("$\\boxed{3} or \\boxed{x^{2}}$", "x^{2}", "the last one counts, inner braces stay"),
    ("is $\\boxed 5$.", "5", "a few are written without braces"),
    ("is \\boxed{\\{1, 2\\}}", "\\{1, 2\\}", "escaped braces are no ends"),
    ("is \\fbox{7}", "7", "the older command"),
])  # fmt: skip
def test_the_gold_of_math_is_the_text_in_the_last_box(solution, gold, because):
    assert benchmarks.boxed(solution) == gold, because


def test_all_is_the_nine_in_the_papers_order_and_theoremqa_is_asked_for_by_name():
    assert benchmarks.resolve("all", "real") == benchmarks.NINE
    assert len(benchmarks.NINE) == 9
    assert benchmarks.resolve("theoremqa, math,gsm8k,math", "real") == ("gsm8k", "math", "theoremqa")
    assert benchmarks.resolve("deepmind,mmlu_mathematics", "real") == ("mathematics", "mmlu_math")


@pytest.mark.parametrize(("names", "world", "message"), [
    ("gms8k", "real", "did you mean 'gsm8k'"),
    ("mini-gsm8", "miniature", "did you mean 'mini-gsm8k'"),
    ("gsm8k", "miniature", "did you mean 'mini-gsm8k'"),
    ("mini-math", "real", "did you mean 'math'"),
    (" , ", "real", "no benchmark named"),
])  # fmt: skip
def test_a_mistyped_benchmark_is_refused_with_the_nearest_name(names, world, message):
    with pytest.raises(ValueError, match=message):
        benchmarks.resolve(names, world)


def test_the_miniature_has_nine_benchmarks_with_two_splits_and_its_own_names():
    names = benchmarks.resolve("all", "miniature")
    assert names == tuple(NAMESAKES), "in the paper's order"
    assert len(names) == 9
    assert all(name.startswith("mini-") for name in names)
    for name in names:
        known, problems = benchmarks.info(name), benchmarks.load(name, "dev", limit=7)
        assert len(problems) == 7
        assert known.rules in benchmarks.BENCHMARKS
        assert all((problem.options is not None) == known.choice and problem.family for problem in problems)
    with pytest.raises(ValueError, match="no split 'dev'"):
        benchmarks.load("gsm8k", "dev")


def test_a_limit_spreads_its_problems_evenly_and_a_larger_one_contains_a_smaller():
    everything = benchmarks.load("mini-gsm8k")
    chosen = [benchmarks.load("mini-gsm8k", limit=limit) for limit in (1, 4, 25, 100)]
    assert [len(each) for each in chosen] == [1, 4, 25, 100]
    for smaller, larger in pairwise((*chosen, everything)):
        assert [problem for problem in larger if problem in smaller] == smaller, "in one order"
    places = [everything.index(problem) for problem in chosen[2]]
    apart = [after - before for before, after in pairwise((-1, *places, len(everything)))]
    assert max(apart) <= 2.5 * len(everything) / 25
    with pytest.raises(ValueError, match="limit is -1"):
        benchmarks.load("mini-gsm8k", limit=-1)


@real
@pytest.mark.parametrize("name", benchmarks.BENCHMARKS)
def test_a_real_benchmark_has_the_papers_size_and_golds_of_its_kind(name):
    known, problems = benchmarks.BENCHMARKS[name], benchmarks.load(name)
    assert len(problems) == known.size
    assert all(problem.gold and problem.question for problem in problems)
    if known.choice:
        assert all(problem.gold in LETTERS[: len(problem.options)] for problem in problems)


@real
def test_a_real_multiple_choice_question_is_asked_in_the_authors_bytes():
    (first, *_) = benchmarks.load("sat")
    raw = json.loads((Path(DATA) / "eval" / "sat.jsonl").read_text(encoding="utf8").splitlines()[0])
    assert prompts.prompt(first, "cot").count(raw["question"]) == 1
    numglue = [json.loads(line) for line in (Path(DATA) / "eval" / "numglue.jsonl").open(encoding="utf8")]
    assert [problem.instruction for problem in benchmarks.load("numglue")] == [row["question"] for row in numglue]
    aqua = [json.loads(line) for line in (Path(DATA) / "eval" / "aqua.jsonl").open(encoding="utf8")]
    for problem, row in zip(benchmarks.load("aqua"), aqua, strict=True):
        listed = ("(" + "(".join(row["options"])).replace("(", " (").replace(")", ") ")
        assert problem.instruction == f"{row['question'].strip()}\nAnswer Choices:{listed}"
