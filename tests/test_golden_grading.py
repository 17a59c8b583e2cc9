"""Verdicts and answers of every table of cases under both rules, a character each, held by ``grading.VERSION``."""

from __future__ import annotations

import json
import zlib
from pathlib import Path

import golden

from mammoth_utils.grading import RULES, answer_from_execution, corrected_program, grade, read_answer
from mammoth_utils.vocabulary import MARKS

CASES = Path(__file__).parent / "cases"


def mark(text: str | None) -> str:
    """A character for a text: ``n`` for none, else a digit of its checksum."""
    return "n" if text is None else f"{zlib.crc32(text.encode()) % 16:x}"


def decided(case: dict, rule: str) -> str:
    """Return what a rule decides of a case: the answer read from a text, and the verdict where there is a gold."""
    benchmark, options = case.get("benchmark") or case["file"].rpartition("_")[2], case.get("options")
    answer, marks = case.get("answer"), ""
    if "kind" in case and rule == "corrected":
        marks += mark(corrected_program(case["completion"], case["kind"]))
    if "completion" in case or "output" in case:
        if "output" in case:
            answer = answer_from_execution(case["output"], benchmark, rule, options)
        else:
            answer = read_answer(case["completion"], benchmark, rule, options)
        marks += mark(answer.text if answer else None)
    return marks + (MARKS[grade(answer, case["gold"], benchmark, rule, options).outcome] if "gold" in case else "")


def test_every_case_is_decided_as_before(write_golden):
    decisions = {}
    for file in sorted(CASES.glob("*.jsonl")):
        rows = [json.loads(line) for line in file.read_text(encoding="utf8").splitlines()]
        for rule in RULES:
            decided_rows = [decided(row, rule) for row in rows if "benchmark" in row or "file" in row]
            decisions[f"{file.stem} {rule}"] = "".join(decided_rows)
    golden.check("grading", "cases", decisions, write_golden)
