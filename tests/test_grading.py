"""Verdicts under the two rules: hand-made tables, properties, adversaries, and real outputs."""

from __future__ import annotations

import json
import os
import threading
from collections import Counter
from fractions import Fraction
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mammoth_utils.grading import (
    RULES,
    Answer,
    benchmark_named,
    corrected_gold,
    corrected_program,
    gold_letter,
    grade,
    grade_math_number,
    read_answer,
)

CASES = Path(__file__).parent / "cases"
DATA = os.environ.get("MAMMOTH_DATA_DIR")
needs_data = pytest.mark.skipif(not DATA, reason="MAMMOTH_DATA_DIR names no folder of real data")


def cases(name: str) -> list[dict]:
    return [json.loads(line) for line in (CASES / name).read_text(encoding="utf8").splitlines()]


CORRECTED, PUBLISHED = cases("grading_corrected.jsonl"), cases("grading_published.jsonl")


def test_the_tables_are_as_large_as_promised():
    outcomes = Counter(case["expected"] for case in CORRECTED)
    assert len(CORRECTED) >= 150
    assert outcomes["incorrect"] >= 50
    assert len(PUBLISHED) >= 60


@pytest.mark.parametrize("case", CORRECTED, ids=lambda case: f"{case['benchmark']}-{case['because'][:40]}")
def test_the_corrected_rule_agrees_with_the_hand_made_table(case):
    verdict = grade(case["answer"], case["gold"], case["benchmark"], "corrected", case.get("options"))
    assert verdict.outcome == case["expected"], (case["because"], verdict.reason)
    assert verdict.reason


@pytest.mark.parametrize("case", PUBLISHED, ids=lambda case: f"{case['benchmark']}-{case['because'][:40]}")
def test_the_published_rule_agrees_with_the_hand_made_table(case):
    answer = read_answer(case["completion"], case["benchmark"], "published")
    assert (answer.text if answer else None) == case["answer"], case["because"]
    assert grade(answer, case["gold"], case["benchmark"], "published").outcome == case["expected"], case["because"]


@pytest.mark.parametrize(
    ("answer", "gold", "expected", "because"),
    [
        (12.4, 12, "correct", "an integer gold is matched after rounding"),
        (0.52, 0.5, "correct", "the edge of 4 % counts, as in the authors' code"),
        (0.5201, 0.5, "incorrect", "just beyond the edge"),
        (float("inf"), 7, "no_answer", "a program may print inf, and rounding it would raise"),
        (float("nan"), 7, "no_answer", "nan is no number"),
        (None, 7, "no_answer", "nothing was read"),
        (0.1, 0.0, "incorrect", "a real gold of zero accepts only zero"),
    ],
)
def test_published_rule_for_numbers_on_math(answer, gold, expected, because):
    assert grade_math_number(answer, gold).outcome == expected, because


@pytest.mark.parametrize("case", [case for case in CORRECTED if case["expected"] == "correct"
                                  and case["benchmark"] in ("math", "gsm8k") and isinstance(case["gold"], str)
                                  and "boxed" not in case["gold"] and "####" not in case["gold"]
                                  and "." not in case["gold"] + case["answer"] and "%" not in case["answer"]
                                  and case["answer"] != "9 500"],
                         ids=lambda case: case["because"][:40])  # fmt: skip
def test_what_is_equal_is_equal_the_other_way_round(case):
    assert grade(case["gold"], case["answer"], "math", "corrected").correct, case["because"]


NUMBERS = st.fractions(min_value=-10_000, max_value=10_000, max_denominator=500)


def latex(value: Fraction) -> str:
    sign = "-" if value < 0 else ""
    return f"{sign}\\frac{{{abs(value.numerator)}}}{{{value.denominator}}}" if value.denominator > 1 else str(value)


def forms(value: Fraction) -> list[str]:
    """The same number in many forms."""
    text = latex(value)
    made = [
        text, f"${text}$", f"\\({text}\\)", f"{text}.", f"  {text} ", f"\\text{{{value}}}", f"x = {text}",
        f"\\left({text}\\right)", text.replace("frac", "dfrac"), f"{value.numerator}/{value.denominator}",
        f"Fraction({value.numerator}, {value.denominator})", f"{2 * value.numerator}/{2 * value.denominator}",
        f"{value.numerator / value.denominator!r}", f"{{{text}}}", f"1*{text}" if value >= 0 else text,
    ]  # fmt: skip
    if value.denominator == 1:
        made += [f"{value}.0", f"{int(value):,}", f"\\${value}", f"{value}^\\circ", f"{value} \\text{{ cm}}"]
    return made


@settings(max_examples=120, deadline=None)
@given(NUMBERS, st.data())
def test_an_equivalent_form_never_changes_the_verdict(value, data):
    answer = data.draw(st.sampled_from(forms(value)))
    gold = latex(value)
    verdict = grade(answer, gold, "math", "corrected")
    assert verdict.correct, (answer, gold, verdict.reason)


@settings(max_examples=120, deadline=None)
@given(NUMBERS, NUMBERS, st.data())
def test_another_value_is_never_accepted(value, other, data):
    if value == other or abs(value) == abs(100 * other) or abs(100 * value) == abs(other):
        return
    answer, gold = data.draw(st.sampled_from(forms(other))), latex(value)
    assert not grade(answer, gold, "math", "corrected").correct, (answer, gold)


@settings(max_examples=60, deadline=None)
@given(st.lists(st.integers(-99, 99), min_size=2, max_size=6, unique=True), st.randoms())
def test_order_matters_in_tuples_and_not_in_sets(items, random):
    shuffled = items[:]
    random.shuffle(shuffled)
    braces = ["\\{" + ", ".join(map(str, some)) + "\\}" for some in (items, shuffled)]
    brackets = ["(" + ",".join(map(str, some)) + ")" for some in (items, shuffled)]
    assert grade(braces[1], braces[0], "math", "corrected").correct
    assert grade(", ".join(map(str, shuffled)), ", ".join(map(str, items)), "math", "corrected").correct
    assert grade(brackets[1], brackets[0], "math", "corrected").correct == (items == shuffled)


@settings(max_examples=60, deadline=None)
@given(st.lists(st.integers(-9, 9), min_size=2, max_size=5), st.integers(1, 9))
def test_a_polynomial_equals_its_factored_form_and_no_neighbour(coefficients, factor):
    inner = " + ".join(f"{c}x^{power}" for power, c in enumerate(coefficients))
    outer = " + ".join(f"{factor * c}*x**{power}" for power, c in enumerate(coefficients))
    assert grade(outer, f"{factor}({inner})", "math", "corrected").correct
    assert not grade(outer + " + 1", f"{factor}({inner})", "math", "corrected").correct


@settings(max_examples=80, deadline=None)
@given(st.text(max_size=200), st.sampled_from(["gsm8k", "math", "aqua", "theoremqa"]), st.sampled_from(RULES))
def test_any_text_gets_a_verdict(text, benchmark, rule):
    for answer in (read_answer(text, benchmark, rule), text):
        assert grade(answer, "A" if benchmark == "aqua" else "\\frac{1}{2}", benchmark, rule).outcome


ADVERSARIES = {
    "a tower of powers": "9**9**9",
    "a tower in LaTeX": "9^{9^{9^9}}",
    "a factorial tower": "((9!)!)!",
    "a megabyte of digits": "7" * 1_000_000,
    "a megabyte of brackets": "(" * 1_000_000,
    "nested fractions": "\\frac{1}{" * 3000 + "2" + "}" * 3000,
    "nested roots": "\\sqrt{" * 100 + "2" + "}" * 100,
    "many terms": " + ".join(["\\frac{1}{3}"] * 100),
    "a long product of fractions": "*".join(f"\\frac{{{n}}}{{{n + 1}}}" for n in range(1, 70)),
    "a power of a sum": "(x+y+z+1)^{300}",
    "many items": "\\{" + ",".join(str(n) for n in range(250)) + "\\}",
    "many plus-minus signs": "1" + "\\pm 2" * 100,
    "a huge exponent": "10^{999999999}",
    "a tiny float": "1e-999999999",
    "a binomial": "\\binom{10000000}{5000000}",
    "a lone backslash": "\\",
    "a null character": "\x00",
    "surrogates": "\ud800",
    "the word lambda": "lambda: __import__('os').system('true')",
    "an attribute": "().__class__.__bases__",
    "the input that hangs math-verify": "\\begin{cases}" + "x" * 300 + "\\end{cases}",
    "repeated boxes": "\\boxed{" * 3000,
    "repeated triggers": "The answer is " * 3000,
    "dollar signs": "$" * 20_000,
    "commas": "1," * 50_000,
    "unclosed cells": "```python\n" * 3000,
}


@pytest.mark.parametrize("name", ADVERSARIES)
@pytest.mark.parametrize("rule", RULES)
def test_an_adversary_gets_a_verdict_and_never_an_exception(name, rule):
    text = ADVERSARIES[name]
    assert corrected_program(text, "pot") in (None, text)
    for benchmark in ("gsm8k", "math", "aqua"):
        gold = "A" if benchmark == "aqua" else "3"
        options = ["1", "2", "x^2"] if benchmark == "aqua" else None
        assert not grade(text, gold, benchmark, rule, options).correct
        assert grade(read_answer(text, benchmark, rule, options), gold, benchmark, rule, options).outcome
        assert grade("3", text, "math", rule).outcome in ("incorrect", "ungradable_gold")


@pytest.mark.parametrize("rule", RULES)
@pytest.mark.parametrize("gold", [10**5000, -(10**5000), [1, 10**5000]], ids=["large", "negative", "in a list"])
@pytest.mark.parametrize("benchmark", ["gsm8k", "math", "mathematics", "theoremqa", "aqua"])
def test_a_gold_of_more_digits_than_python_writes_is_ungradable(rule, gold, benchmark):
    assert grade("5", gold, benchmark, rule).outcome == "ungradable_gold"


def test_verdicts_are_the_same_in_threads():
    found: list[str] = []
    threads = [
        threading.Thread(target=lambda: found.extend(
            grade(case["answer"], case["gold"], case["benchmark"], "corrected", case.get("options")).outcome
            for case in CORRECTED))
        for _ in range(2)
    ]  # fmt: skip
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert Counter(found) == Counter(case["expected"] for case in CORRECTED for _ in threads)


def test_an_answer_its_text_and_nothing_are_all_taken():
    assert grade(Answer("18", (0, 2)), "18", "gsm8k").correct
    assert grade("18", "18", "gsm8k").correct
    assert grade(None, "18", "gsm8k").outcome == "no_answer"
    with pytest.raises(TypeError, match="expected an Answer, a text or None as the answer, got int"):
        grade(18, "18", "gsm8k")


@pytest.mark.parametrize(
    ("gold", "options", "letter"),
    [("C", None, "C"), ("(c)", None, "C"), (2, None, "C"), (2, ["a", "b"], None), ("21", ["20", "21"], "B"),
     (True, None, None), ("Z", None, None), (-1, None, None)],
)  # fmt: skip
def test_a_gold_names_its_option_by_letter_index_or_text(gold, options, letter):
    assert gold_letter(gold, options) == letter


GOLD_KEYS = {"gsm8k": "answer", "math": "solution", "numglue": "answer", "svamp": "Answer", "deepmind": "answer",
             "simuleq": "answer", "aqua": "correct", "sat": "answer", "mmlu_mathematics": "answer"}  # fmt: skip


@needs_data
@pytest.mark.parametrize(
    ("name", "ungradable"),
    [("deepmind", 139), ("numglue", 3), ("gsm8k", 0), ("svamp", 0), ("simuleq", 0), ("aqua", 0), ("sat", 0),
     ("mmlu_mathematics", 0)],
)  # fmt: skip
def test_the_published_rule_can_never_match_so_many_golds_of_the_real_sets(name, ungradable):
    rows = [json.loads(line) for line in (Path(DATA) / "eval" / f"{name}.jsonl").read_text("utf8").splitlines()]
    outcomes = Counter(grade("-12345.678", row[GOLD_KEYS[name]], name, "published").outcome for row in rows)
    assert outcomes["ungradable_gold"] == ungradable


@needs_data
@pytest.mark.parametrize("name", list(GOLD_KEYS))
def test_the_corrected_rule_accepts_every_gold_of_the_real_sets_as_its_own_answer(name):
    rows = [json.loads(line) for line in (Path(DATA) / "eval" / f"{name}.jsonl").read_text("utf8").splitlines()]
    refused = []
    for row in rows:
        gold = row[GOLD_KEYS[name]]
        answer = gold_letter(gold) if benchmark_named(name).choice else corrected_gold(gold, benchmark_named(name))
        if not grade(answer, gold, name, "corrected").correct:
            refused.append(gold)
    assert refused == []


ABOUT, *DISAGREEMENTS = cases("grading_disagreements.jsonl")
TIMES_RIGHT = 4  # how much oftener our rule must be right than wrong where it and Math-Verify differ


def test_the_disagreements_with_math_verify_are_judged_and_counted():
    assert ABOUT["math_verify"].startswith("0.9.")
    assert ABOUT["differing"] == ABOUT["only_ours"] + ABOUT["only_theirs"]
    drawn = [one for one in DISAGREEMENTS if one["drawn"]]
    assert len(drawn) == min(200, ABOUT["differing"])
    assert sum(one["ours"] != "correct" for one in DISAGREEMENTS) == ABOUT["only_theirs"]
    for one in DISAGREEMENTS:
        assert (one["ours"] == "correct") != (one["theirs"] == "1"), one
        assert one["right"] in ("ours", "theirs", "neither", "ambiguous"), one
        assert len(one["because"]) > 20, one
    right = Counter(one["right"] for one in drawn)
    wrong = right["theirs"] + right["neither"]
    assert right["ours"] >= TIMES_RIGHT * wrong
    assert sum(right.values()) == len(drawn)


@pytest.mark.parametrize("case", DISAGREEMENTS, ids=lambda case: case["id"])
def test_the_present_rule_still_gives_the_recorded_verdict(case):
    options = None
    if "option" in case:  # an option's value was printed: the gold's own text among others that nothing equals
        options = [f"option {letter}" for letter in "ABCDE"]
        options["ABCDE".index(case["gold"])] = case["option"]
    assert grade(case["answer"], case["gold"], case["benchmark"], "corrected", options).outcome == case["ours"]
