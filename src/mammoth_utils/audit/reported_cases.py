"""Labelled answers of the kinds that public bug reports name, judged by our rule, before and now, and by two others.

The labels were written before the rule was changed for them. The rule was then mended until it gave all of them, so its
share says nothing of other answers; ``at_first`` keeps what it gave before. ``first_try`` keeps, of the later batches,
what the rule gave when it met them.
"""

from __future__ import annotations

import time
from collections.abc import Iterator, Sequence
from pathlib import Path

from mammoth_utils import paths, records
from mammoth_utils.audit import lm_eval_harness
from mammoth_utils.audit.math_verify_client import MathVerify, answer_form
from mammoth_utils.grading import (
    Answer,
    Verdict,
    answer_from_execution,
    benchmark_named,
    corrected_gold,
    forget_parsed_formulas,
    grade,
    read_answer,
)
from mammoth_utils.records import Record

CASES = Path("tests") / "cases"
FILES = {
    "from public reports": CASES / "grading_public_reports.jsonl", "of our own": CASES / "grading_reports.jsonl",
}  # fmt: skip
JUDGES = {
    "corrected": "corrected rule", "before": "corrected rule, before the reports",
    "first_try": "corrected rule, first try of later batches", "math_verify": "Math-Verify",
    "harness": "lm-evaluation-harness",
}  # fmt: skip


def compare_on_reports(verifier: MathVerify | None) -> dict[str, Record]:
    """Return for each file of `FILES` how its answers were judged, by `judge_cases`."""
    return {name: judge_cases(paths.root() / file, verifier) for name, file in FILES.items()}


def judge_cases(file: Path, verifier: MathVerify | None) -> Record:
    """Return for each judge how many labelled answers it was asked, how many it judged as labelled, and how not.

    Math-Verify and the harness are not asked where the gold is an option: reading the letter is the whole task there.

    Args:
        file: The labelled cases.
        verifier: Math-Verify, without a file of earlier verdicts, so that its seconds are its own; None leaves it out.
    """
    cases = list(_cases(file))
    judged: dict[str, list[bool | None]] = {}
    seconds: dict[str, float] = {}

    def judge(name: str, verdicts: Iterator[bool | None]) -> None:
        started = time.perf_counter()
        judged[name] = list(verdicts)
        seconds[name] = round(time.perf_counter() - started, 3)

    forget_parsed_formulas()
    judge("corrected", (grade_case(case)[1].correct for case in cases))
    for name, key in (("before", "at_first"), ("first_try", "first_try")):
        later = [name == "before" or "batch" in case for case in cases]
        said = [case.get(key) or case["expected"] for case in cases]
        if any(later):
            judged[name] = [verdict == "correct" if of else None for verdict, of in zip(said, later, strict=True)]
    judge("harness", map(_harness_accepts, cases))
    if verifier is not None:
        judge("math_verify", (_verifier_accepts(verifier, case) for case in cases))
    right = [case["expected"] == "correct" for case in cases]
    return {
        "cases": len(cases),
        "judges": {
            name: {**_counted(verdicts, right), "seconds": seconds.get(name)} for name, verdicts in judged.items()
        },
    }


def _cases(file: Path) -> Iterator[Record]:
    for case in records.read_jsonl(file):
        if case["expected"] in ("correct", "not correct"):
            yield case


def _text(case: Record) -> str:
    return next(case[key] for key in ("completion", "output", "answer") if key in case)


def grade_case(case: Record) -> tuple[Answer | str | None, Verdict]:
    """Return the answer of a labelled case, read where it is a completion or an output, and the corrected verdict."""
    about = (case["benchmark"], "corrected", case.get("options"))
    answer = case.get("answer")
    if "completion" in case:
        answer = read_answer(case["completion"], *about, case.get("question"))
    elif "output" in case:
        answer = answer_from_execution(case["output"], *about)
    return answer, grade(answer, case["gold"], *about)


def _asked(case: Record) -> tuple[str, str] | None:
    """Return the form of a case's gold and its text; None where it is an option."""
    benchmark = benchmark_named(case["benchmark"], case.get("options"))
    gold = corrected_gold(case["gold"], benchmark)
    form = answer_form(benchmark, gold)
    return None if form == "option" else (form, gold)


def _harness_accepts(case: Record) -> bool | None:
    asked = _asked(case)
    if asked is None:
        return None
    is_right = lm_eval_harness.is_same_number if asked[0] == "number" else lm_eval_harness.holds_expression
    return is_right(_text(case), asked[1])


def _verifier_accepts(verifier: MathVerify, case: Record) -> bool | None:
    asked = _asked(case)
    return None if asked is None else verifier.judge(*asked, _text(case), whole="answer" not in case)[0] == "1"


def _counted(verdicts: Sequence[bool | None], right: Sequence[bool]) -> Record:
    pairs = [(verdict, label) for verdict, label in zip(verdicts, right, strict=True) if verdict is not None]
    return {
        "asked": len(pairs),
        "as_labelled": sum(verdict == label for verdict, label in pairs),
        "false_accepts": sum(verdict and not label for verdict, label in pairs),
        "false_refusals": sum(label and not verdict for verdict, label in pairs),
    }
