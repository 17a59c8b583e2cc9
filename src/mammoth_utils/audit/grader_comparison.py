"""The same stored completions under four graders, row by row: our two rules and two public ones.

Both public graders are given the answer that the corrected rule read, so that only the judging differs.
``math_verify_alone`` is Math-Verify as its users call it, on the whole completion or a program's output. It has no
column on multiple choice, where the answer is a letter and reading it is the whole task.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from mammoth_utils import records
from mammoth_utils.audit import lm_eval_harness
from mammoth_utils.audit.math_verify_client import MathVerify, answer_form
from mammoth_utils.evaluation import PROGRAM_TIMEOUT_S
from mammoth_utils.evaluation import benchmarks as sets
from mammoth_utils.grading import (
    Graded,
    bare_options,
    benchmark_named,
    corrected_gold,
    gold_letter,
    grade_file,
    option_of,
    options_in,
    output_under,
)
from mammoth_utils.records import Record
from mammoth_utils.vocabulary import MARKS, RULES

GRADERS = ("published", "corrected", "math_verify", "math_verify_alone", "harness")
GRADER_NAMES = {
    "published": "published rule", "corrected": "corrected rule", "math_verify": "Math-Verify, on our answer",
    "math_verify_alone": "Math-Verify, whole completion", "harness": "lm-evaluation-harness",
    "authors": "their authors",
}  # fmt: skip
NOT_GRADED = "-"
MARK_NAMES = {
    "1": "right", "0": "wrong", "n": "no answer", "u": "gold cannot be matched", "g": "gold not read",
    "t": "timed out", "e": "error", NOT_GRADED: "not graded",
}  # fmt: skip
SHOWN = 80  # characters of an answer that a record keeps


def compare_graders(completions: Path, verifier: MathVerify | None, benchmarks: Sequence[str] | None = None) -> Record:
    """Grade a completions file under every grader.

    Args:
        completions: JSON Lines with a completion a row, as the command line of ``grading`` reads them.
        verifier: Math-Verify; None leaves its columns out.
        benchmarks: Benchmarks whose rows count; None counts all.

    Returns:
        The part of the audit's record on this file: ``rows``, ``correct`` by grader, ``marks`` (a string by grader, a
        character of ``MARK_NAMES`` a row) and ``differing``: for each row on which graders differ its number,
        benchmark, gold, the answers that the two rules read and what Math-Verify read alone. It holds no question.
    """
    marks: dict[str, list[str]] = {grader: [] for grader in (*GRADERS, "authors")}
    names, differing = [], []
    for graded in grade_file(completions, RULES, timeout_s=PROGRAM_TIMEOUT_S, workers=1):
        name = sets.ALIASES.get(graded.benchmark, graded.benchmark)
        if benchmarks is not None and name not in benchmarks:
            continue
        row_marks, verifier_answer = mark_row(graded, verifier)
        for grader, column in marks.items():
            column.append(row_marks.get(grader, NOT_GRADED))
        if len({row_marks[grader] == MARKS["correct"] for grader in GRADERS if grader in row_marks}) > 1:
            answers = [answer.text if (answer := graded.answers[rule]) else None for rule in RULES]
            gold = graded.row["gold"]
            gold = _shortened(gold) if isinstance(gold, str) else gold  # a float is graded as one when it is read again
            differing.append([len(names), name, gold, *(_shortened(answer) for answer in answers), verifier_answer])
        names.append(name)
    columns = {grader: "".join(column) for grader, column in marks.items() if set(column) - {NOT_GRADED}}
    return {
        "file": completions.name,
        "benchmarks": sorted(set(names)),
        "rows": len(names),
        "sha256": records.sha256(completions),
        "correct": {grader: column.count(MARKS["correct"]) for grader, column in columns.items()},
        "asked": {grader: len(column) - column.count(NOT_GRADED) for grader, column in columns.items()},
        "marks": columns,
        "differing": differing,
    }


def mark_row(graded: Graded, verifier: MathVerify | None) -> tuple[dict[str, str], str]:
    """Return the mark of every grader that judged a row, and the answer that Math-Verify read alone."""
    row, name = graded.row, graded.benchmark
    options = bare_options(row.get("options"))
    benchmark = benchmark_named(name, options)
    if not options and (benchmark.choice or benchmark.letters_too):
        options = options_in(str(row.get("question") or ""))
    marks = {rule: MARKS[graded.verdicts[rule].outcome] for rule in RULES}
    if isinstance(row.get("published_correct"), bool):
        marks["authors"] = MARKS["correct" if row["published_correct"] else "incorrect"]
    answer = graded.answers["corrected"].text if graded.answers["corrected"] else None
    gold = corrected_gold(row["gold"], benchmark)
    if benchmark.choice:
        gold = gold_letter(row["gold"], options) or gold
        answer = (option_of(answer, options) or answer) if answer else None
    form = answer_form(benchmark, gold)
    if answer is None:
        marks["harness"] = MARKS["no_answer"]
    else:
        is_same = lm_eval_harness.is_same_number if form == "number" else lm_eval_harness.is_equivalent
        marks["harness"] = MARKS["correct" if is_same(answer, gold) else "incorrect"]
    if verifier is None:
        return marks, ""
    marks["math_verify"] = MARKS["no_answer"] if answer is None else verifier.judge(form, gold, answer)[0]
    if benchmark.choice:
        return marks, ""
    if graded.read_from["corrected"] == "program":
        text = output_under("corrected", graded.execution)
    else:
        text = str(row.get("completion", row.get("response")))
    blank = (MARKS["no_answer"], "")
    mark, verifier_answer = verifier.judge(form, gold, text, whole=True) if text.strip() else blank
    marks["math_verify_alone"] = mark
    return marks, _shortened(verifier_answer) or ""


def _shortened(text: Any) -> str | None:
    """Return a value as the record keeps it: on one line, cut after ``SHOWN`` characters."""
    if text is None:
        return None
    line = " ".join(str(text).split())
    return line if len(line) <= SHOWN else line[: SHOWN - 1] + "…"
