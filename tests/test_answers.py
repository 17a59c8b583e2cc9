"""Reading answers out of completions and out of programs' outputs."""

from __future__ import annotations

import json
import subprocess
import sys
import warnings
from pathlib import Path

import pytest

from mammoth_utils.grading import answer_from_execution, options_in, read_answer

CASES = Path(__file__).parent / "cases"


def cases(name: str) -> list[dict]:
    return [json.loads(line) for line in (CASES / name).read_text(encoding="utf8").splitlines()]


@pytest.mark.parametrize("case", cases("answers_corrected.jsonl"), ids=lambda case: case["because"][:40])
def test_the_corrected_rule_reads_the_answer_that_a_reader_would(case):
    found = read_answer(case["completion"], case["benchmark"], "corrected", case.get("options"))
    assert (found.text if found else None) == case["answer"], case["because"]


@pytest.mark.parametrize("case", cases("answers_corrected.jsonl"), ids=lambda case: case["because"][:40])
def test_the_span_shows_where_the_answer_was_read(case):
    found = read_answer(case["completion"], case["benchmark"], "corrected", case.get("options"))
    if found is None:
        assert case["answer"] is None
        return
    stands_there = case["completion"][slice(*found.span)]
    pieces = found.text.split(", ") if found.text not in stands_there else [found.text]
    assert all(piece in stands_there.upper() or piece in stands_there for piece in pieces), (stands_there, found)


@pytest.mark.parametrize(
    ("completion", "benchmark", "text"),
    [("so 1,2 and 3,456.0 it is", "gsm8k", "3,456.0"), ("The answer is 7.50 dollars", "svamp", "7.50"),
     ("ß or (b), The answer is d", "aqua", "d"), ("thus \\boxed{ \\frac12 } holds", "math", " \\frac12 ")],
)  # fmt: skip
def test_the_published_span_indexes_the_completion_although_the_text_is_normalised(completion, benchmark, text):
    found = read_answer(completion, benchmark, "published")
    assert completion[slice(*found.span)] == text


@pytest.mark.parametrize(
    ("output", "benchmark", "published", "corrected"),
    [
        ("18\n", "gsm8k", "18", "18"),
        ("18.0", "gsm8k", "18", "18.0"),
        ("first 5\n7\n", "gsm8k", "5", "7"),
        ("The total is 18 eggs", "gsm8k", "18", "18"),
        ("total = 18", "gsm8k", "18", "18"),
        ("[3]", "mathematics", "3", "[3]"),
        ("{3: 4}", "mathematics", "3", "{3: 4}"),
        ("sqrt(2)/2", "math", "sqrt(2)/2", "sqrt(2)/2"),
        ("15\n9", "simuleq", "15", "15"),
        ("", "gsm8k", None, None),
        ("None", "gsm8k", None, None),
        ("nan", "gsm8k", None, None),
        ("B", "aqua", "B", "B"),
        ("8.5", "aqua", "8.5", "8.5"),
        ("True", "theoremqa", None, "True"),
    ],
)
def test_a_programs_output_is_read_as_each_rule_has_it(output, benchmark, published, corrected):
    for rule, wanted in (("published", published), ("corrected", corrected)):
        found = answer_from_execution(output, benchmark, rule)
        assert (found.text if found else None) == wanted, rule
        if found is not None and rule == "corrected":
            assert output[slice(*found.span)].strip() == found.text


def test_an_output_that_is_an_options_value_is_left_for_the_options():
    assert answer_from_execution("21", "aqua", "corrected", ["20", "21", "22"]).text == "21"


def test_an_unknown_benchmark_is_read_as_numbers_with_one_warning():
    with pytest.warns(UserWarning, match="unknown benchmark 'gaokao'"):
        assert read_answer("The answer is 7.", "gaokao").text == "7"
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert read_answer("The answer is 8.", "gaokao").text == "8"


@pytest.mark.parametrize("name", ["mini-gsm8k", "mini-math", "mini-aqua", "mini-numglue", "mini-svamp",
                                  "mini-mathematics", "mini-simuleq", "mini-sat", "mini-mmlu", "deepmind",
                                  "mmlu_mathematics"])  # fmt: skip
def test_aliases_and_the_miniatures_names_are_known_without_a_warning(name):
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert read_answer("The answer is (B) 7.", name, "corrected") is not None


def test_an_unknown_rule_is_refused_with_the_choices():
    with pytest.raises(ValueError, match="unknown rule 'strict'; known: published, corrected"):
        read_answer("7", "gsm8k", "strict")


def test_what_is_no_text_is_refused():
    with pytest.raises(TypeError, match="expected a completion's text, got int"):
        read_answer(7, "gsm8k")
    with pytest.raises(TypeError, match="expected a program's output as text, got NoneType"):
        answer_from_execution(None, "gsm8k", "corrected")


@pytest.mark.parametrize(
    ("question", "options"),
    [
        ("Which? \nAnswer Choices: (A) 2 (B) 4 (C) 9 (D) 10", ("2", "4", "9", "10")),
        ("Which? Answer Choices: (A) f(B) (B) g (A) (C) h", ("f(B)", "g (A)", "h")),
        ("Which of (A) and (B)?", None),
        ("Answer Choices: none", None),
    ],
)
def test_options_are_found_in_a_question(question, options):
    assert options_in(question) == options


@pytest.mark.parametrize(
    ("question", "completion", "text"),
    [
        ("How many cakes did each person eat?", "Answer: Each person will get 14 crackers and 15 cakes.", "15"),
        ("How many crackers did each person eat?", "Answer: Each person will get 14 crackers and 15 cakes.", "14"),
        (
            "How many oranges are harvested?",
            "Answer: The total is 12 sacks, which is equivalent to 600 oranges.",
            "600",
        ),
        ("How many groups will be created?", "We can divide the 15 eggs into 3 groups of 5.", "3"),
        ("How many customers left?", "Answer:\n3 customers left and there are now 102 customers.", "3"),
        ("How many birds and storks are there?", "Answer: There are 3 birds and 13 storks.", "3"),  # a sum was asked
        ("How many more peaches does Jake have than Jill?", "Jake has 2 more peaches, so x = 2 - (-3) = 5", "5"),
        ("How many visited within 57 days?", "The total number of visitors in 57 days is 45976.", "45976"),
        (None, "Answer: Each person will get 14 crackers and 15 cakes.", "14"),
    ],
)
def test_of_several_numbers_in_a_sentence_the_one_that_was_asked_for_is_read(question, completion, text):
    found = read_answer(completion, "svamp", "corrected", question=question)
    assert found.text == text
    assert completion[slice(*found.span)] == text


@pytest.mark.parametrize(
    ("completion", "text"),
    [("x = (original number) - 22 crackers", "22"), ("the change is -22 dollars", "-22"),
     ("it fell by 3 to - 4 degrees", "- 4"), ("so 12 - 5", "5")],
)  # fmt: skip
def test_a_minus_between_two_values_is_no_sign(completion, text):
    assert read_answer(completion, "gsm8k", "corrected").text == text


def modules_after(code: str) -> set[str]:
    """The top-level packages and this project's rooms that an interpreter has loaded after some code."""
    listed = (
        code + "; import sys; print(*sorted(m for m in sys.modules if '.' not in m or m.startswith('mammoth_utils.')))"
    )
    done = subprocess.run([sys.executable, "-c", listed], capture_output=True, text=True, timeout=120, check=True)
    return set(done.stdout.split())


def test_grading_loads_its_own_modules_and_the_standard_library():
    use = "g.grade('1/2', '0.5'); g.read_answer('The answer is 7.'); g.program_in('x = 1'); g.score_file"
    new = modules_after(f"import mammoth_utils.grading as g; {use}") - modules_after("pass")
    ours = {name for name in new if name.startswith("mammoth_utils")}
    strangers = {name for name in new - ours if name not in sys.stdlib_module_names and not name.startswith("_")}
    assert strangers == {"lazy_loader"}
    assert {name.split(".")[1] for name in ours if name.count(".") >= 2} == {"grading"}


@pytest.mark.parametrize(
    "use",
    [
        "g.grade('1/2', '0.5')",
        "g.grade(r'\\frac{x^2-1}{x-1}', 'x+1')",
        "g.grade(r'\\{1, 2\\}', '2, 1')",
        "g.read_answer('The answer is 7.', 'gsm8k', 'published')",
        "g.grade('7', '7.0', 'math', 'published')",
    ],
)
def test_no_verdict_of_ours_needs_sympy_or_anything_heavier(use):
    loaded = modules_after(f"import mammoth_utils.grading as g; {use}")
    assert not loaded & {"torch", "transformers", "sympy", "math_verify", "latex2sympy2_extended", "numpy", "pandas"}
