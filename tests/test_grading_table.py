"""The corrected rule against a table of pairs that was labelled before the rule was run on it.

846 pairs (answer, gold, verdict, because) over the ten sets, hard cases first; golds are real, answers are real where
stored outputs have them. Whoever labelled them read the problems and the design, not the rule's code. On the first run
the rule as it then stood gave the label on 830 of 846 (98.1 %): GSM8K 51 of 51, MATH 222 of 229, AQuA 65 of 68, NumGLUE
54 of 55, SVAMP 44 of 44, Mathematics 89 of 90, SimulEq 49 of 49, SAT 54 of 55, MMLU 63 of 65, TheoremQA 139 of 140. The
rule committed before it, without the work on stored outputs and properties, gave 818 (96.7 %). The 16 were faults of
the rule (degrees left out in a list, times of day, options whose texts have one value, chains of inequalities, a unit
after a constant, a lone dot, a preposition before a month, TheoremQA's one-digit decimals) and were mended there; no
label was changed.
"""

from __future__ import annotations

import json
from collections import Counter
from pathlib import Path

import pytest

from mammoth_utils.grading import grade

TABLE = [
    json.loads(line)
    for line in (Path(__file__).parent / "cases" / "grading_table.jsonl").read_text(encoding="utf8").splitlines()
]
LABELS = {"correct": "correct", "incorrect": "incorrect", "no_answer": "no_answer", "ungradable": "ungradable_gold"}
SETS = {"gsm8k", "math", "aqua", "numglue", "svamp", "mathematics", "simuleq", "sat", "mmlu_math", "theoremqa"}
# Where the two sides play different parts: a decimal gold says how precisely an answer must agree, a per cent sign and
# a row of sorted numbers mean something in a gold, and a solution or a file's answer is taken apart as a gold alone.
ONE_SIDED = (".", "%", "boxed", "####")


def expected(case: dict) -> str:
    return LABELS[case["expected"]]


def symmetric(case: dict) -> bool:
    sides = (case["answer"], case["gold"])
    return (
        case["expected"] in ("correct", "incorrect")
        and not case.get("options")
        and all(isinstance(side, str) for side in sides)
        and not any(mark in side for side in sides for mark in ONE_SIDED)
        and not (case["benchmark"] == "mathematics" and " " in case["gold"].strip())
    )


def test_the_table_is_as_large_as_promised():
    outcomes, sets = Counter(map(expected, TABLE)), Counter(case["benchmark"] for case in TABLE)
    assert len(TABLE) >= 400
    assert outcomes["incorrect"] >= 120
    assert set(sets) == SETS
    assert min(sets.values()) >= 40
    assert all(case["because"] for case in TABLE)


def test_the_corrected_rule_agrees_with_every_label():
    differing = []
    for case in TABLE:
        verdict = grade(case["answer"], case["gold"], case["benchmark"], "corrected", case.get("options"))
        if verdict.outcome != expected(case) or not verdict.reason:
            differing.append((case["benchmark"], case["answer"], case["gold"], verdict, case["because"]))
    assert differing == []


def test_the_labels_hold_in_the_other_order_where_the_rule_is_symmetric():
    turned = [case for case in TABLE if symmetric(case)]
    assert len(turned) >= 240
    assert Counter(map(expected, turned))["incorrect"] >= 80
    differing = []
    for case in turned:
        verdict = grade(case["gold"], case["answer"], case["benchmark"], "corrected")
        if verdict.outcome != expected(case):
            differing.append((case["benchmark"], case["gold"], case["answer"], verdict, case["because"]))
    assert differing == []


@pytest.mark.parametrize("rewritten", ["  {} ", "${}$", "{}.", "\\text{{{}}}"])
def test_a_harmless_rewriting_of_the_answer_changes_no_label_where_it_is_a_plain_number(rewritten):
    plain = [case for case in TABLE if isinstance(case["answer"], str) and case["answer"].lstrip("-").isdigit()]
    assert len(plain) >= 60
    for case in plain:
        answer = rewritten.format(case["answer"])
        verdict = grade(answer, case["gold"], case["benchmark"], "corrected", case.get("options"))
        assert verdict.outcome == expected(case), (answer, case)
