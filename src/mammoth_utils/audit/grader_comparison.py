"""The same stored completions under our two rules and two public graders, row by row.

Both public graders are given the answer that the corrected rule read, so that what differs is the judging.
``math_verify_alone`` is Math-Verify as its users call it, on the whole completion or a program's output; on multiple
choice it has no column, since there an answer is a letter and reading it is all there is.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from mammoth_utils import records
from mammoth_utils.audit import lm_eval_harness
from mammoth_utils.audit.math_verify_client import MathVerify, form_of
from mammoth_utils.evaluation import benchmarks as sets
from mammoth_utils.evaluation.attempts import TIMEOUT_S
from mammoth_utils.grading.benchmarks import bare_options, benchmark_named, gold_letter, options_in
from mammoth_utils.grading.completions import Graded, grade_file, output_under
from mammoth_utils.grading.corrected import option_letters
from mammoth_utils.grading.verdicts import corrected_gold
from mammoth_utils.vocabulary import MARKS, RULES

GRADERS = ("published", "corrected", "math_verify", "math_verify_alone", "harness")
NAMES = {
    "published": "published rule", "corrected": "corrected rule", "math_verify": "Math-Verify, on our answer",
    "math_verify_alone": "Math-Verify, reading too", "harness": "lm-evaluation-harness",
    "authors": "their authors",
}  # fmt: skip
SAID = {
    "1": "right", "0": "wrong", "n": "no answer", "u": "gold out of reach", "g": "gold not read", "t": "hung, killed",
    "e": "raised", "-": "not asked",
}  # fmt: skip
ABSENT = "-"
SHOWN = 80  # characters of an answer that a record keeps


def compared(file: Path, verifier: MathVerify | None, ids_from: Sequence[str] | None = None) -> dict[str, Any]:
    """A completions file under every grader.

    Args:
        file: As DESIGN.md section 10 has it.
        verifier: Math-Verify; None leaves its columns out.
        ids_from: Benchmarks whose rows count; None counts all.

    Returns:
        ``rows``, ``correct`` by grader, ``marks`` (a string by grader, one character of ``SAID`` a row) and
        ``differing``: for each row on which graders differ its number, benchmark, gold, the answers that the two rules
        read and what Math-Verify read by itself. Nothing of a question.
    """
    marks: dict[str, list[str]] = {grader: [] for grader in (*GRADERS, "authors")}
    names, differing, number = [], [], 0
    for graded in grade_file(file, RULES, timeout_s=TIMEOUT_S, workers=1):
        name = sets.ALIASES.get(graded.benchmark, graded.benchmark)
        if ids_from is not None and name not in ids_from:
            continue
        names.append(name)
        found, read = verdicts(graded, verifier)
        for grader, kept in marks.items():
            kept.append(found.get(grader, ABSENT))
        if len({found[grader] == "1" for grader in GRADERS if found.get(grader, ABSENT) != ABSENT}) > 1:
            texts = [answer.text if (answer := graded.answers[rule]) else None for rule in RULES]
            gold = graded.row["gold"]
            gold = _shown(gold) if isinstance(gold, str) else gold  # a float is graded as one when it is read again
            differing.append([number, name, gold, *(_shown(text) for text in texts), read])
        number += 1
    kept = {grader: "".join(row) for grader, row in marks.items() if set(row) - {ABSENT}}
    return {
        "file": file.name,
        "benchmarks": sorted(set(names)),
        "rows": number,
        "sha256": records.sha256(file),
        "correct": {grader: row.count("1") for grader, row in kept.items()},
        "asked": {grader: len(row) - row.count(ABSENT) for grader, row in kept.items()},
        "marks": kept,
        "differing": differing,
    }


def verdicts(graded: Graded, verifier: MathVerify | None) -> tuple[dict[str, str], str]:
    """Every grader's mark on one row, and what Math-Verify read where it reads by itself."""
    row, name = graded.row, graded.benchmark
    options = bare_options(row.get("options"))
    known = benchmark_named(name, options)
    options = options or (options_in(str(row.get("question") or "")) if known.choice or known.letters_too else None)
    found = {rule: MARKS[graded.verdicts[rule].outcome] for rule in RULES}
    if isinstance(row.get("published_correct"), bool):
        found["authors"] = "1" if row["published_correct"] else "0"
    answer = graded.answers["corrected"].text if graded.answers["corrected"] else None
    gold = corrected_gold(row["gold"], known)
    if known.choice:
        gold = gold_letter(row["gold"], options) or gold
        answer = (option_letters.option_of(answer, options) or answer) if answer else None
    form = form_of(known, gold)
    if answer is None:
        found["harness"] = "n"
    else:
        same = lm_eval_harness.same_number if form == "number" else lm_eval_harness.equivalent
        found["harness"] = "1" if same(answer, gold) else "0"
    if verifier is None:
        return found, ""
    found["math_verify"] = verifier.verdict(form, gold, answer)[0] if answer is not None else "n"
    if known.choice:
        return found, ""
    if graded.read_from["corrected"] == "program":
        text = output_under("corrected", graded.execution)
    else:
        text = str(row.get("completion", row.get("response")))
    mark, read = verifier.verdict(form, gold, text, whole=True) if text.strip() else ("n", "")
    found["math_verify_alone"] = mark
    return found, _shown(read) or ""


def _shown(text: Any) -> str | None:
    """A value as a record keeps it: on one line, cut after so many characters."""
    if text is None:
        return None
    line = " ".join(str(text).split())
    return line if len(line) <= SHOWN else line[: SHOWN - 1] + "…"
