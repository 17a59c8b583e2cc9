"""The corrected rule against the pairs of a review, labelled before the rule was changed for any of them.

Each case keeps in ``at_first`` what the rule as it then stood gave where that was not the label. ``point`` numbers the
review's remarks. The labels were written by reading the pair, and the problem where the gold is a real one:
``\\text{VW}`` and ``\\text{ACF}`` answer problems of MATH that ask for letters in alphabetic order, so that another
order is refused there.
"""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from mammoth_utils.grading import answer_from_execution, grade, read_answer

CASES = Path(__file__).parent / "cases"


def cases(name: str) -> list:
    rows = [json.loads(line) for line in (CASES / name).read_text(encoding="utf8").splitlines()]
    return [pytest.param(row, id=f"{row['point']}-{row['because'][:40]}-{number}") for number, row in enumerate(rows)]


@pytest.mark.parametrize("case", cases("grading_review.jsonl"))
def test_the_verdict_is_the_label(case):
    answer = case.get("answer")
    if "output" in case:
        answer = answer_from_execution(case["output"], case["benchmark"], "corrected")
    verdict = grade(answer, case["gold"], case["benchmark"], "corrected")
    # an output in which nothing is read is as wrong as one that is refused
    outcome = "incorrect" if verdict.outcome == "no_answer" and "output" in case else verdict.outcome
    assert outcome == case["expected"], (case["because"], answer, verdict.reason)


@pytest.mark.parametrize("case", cases("answers_review.jsonl"))
def test_the_answer_read_is_the_label(case):
    found = read_answer(case["completion"], case["benchmark"], "corrected")
    assert (found.text if found else None) == case["answer"], case["because"]
    if found is not None:
        assert case["completion"][slice(*found.span)].upper() == found.text.upper()
