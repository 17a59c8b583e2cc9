"""The answer in what a program printed."""

from __future__ import annotations

import re

from mammoth_utils.grading.benchmarks import Benchmark
from mammoth_utils.grading.corrected.answering_part import TRIGGER
from mammoth_utils.grading.corrected.clauses import NUMBER, clause, clause_value, is_value, stripped
from mammoth_utils.grading.corrected.option_letters import Read

LINE = 2000
# What a program prints: an array over several lines, and what is never the last number in it.
_ARRAY = re.compile(r"(?:^|(?<=\n))[ \t]*(?:array\(|matrix\()?\[\[[^\[\]]*(?:\][,\s]*\[[^\[\]]*)*\]\]\)?\s*\Z")
_NO_NUMBER = re.compile(r"\s*(?:\[|.*[<>].*\)\s*[&|]\s*\(|(?:And|Or)\()")


def output_value(text: str, start: int, end: int, benchmark: Benchmark) -> Read | None:
    """Return the value that a program's output states: its last line that is not empty, without a label.

    On SimulEq, where every line holds a number, the first line is read.
    """
    printed = text[start:end].rstrip()
    lines = list(re.finditer(r"[^\n]*\S[^\n]*", printed))
    if not lines:
        return None
    # SimulEq programs print one unknown a line; the gold is mostly the one asked, and printed, first
    chosen = lines[0] if benchmark.several and all(NUMBER.search(line.group()) for line in lines) else lines[-1]
    if array := _ARRAY.search(text, max(start, start + len(printed) - LINE), start + len(printed)):
        return stripped(array.group(), array.start())
    cut = max(0, len(chosen.group()) - LINE)
    start, line = start + chosen.start() + cut, chosen.group()[cut:]
    if not line.strip() or re.fullmatch(r"\s*(?:None|nan|-?inf|zoo)\s*", line):
        return None
    if is_value(line, benchmark) or not (benchmark.expression or NUMBER.search(line)):
        return stripped(line, start) if benchmark.expression or benchmark.choice or NUMBER.search(line) else None
    trigger = list(TRIGGER.finditer(line))
    if trigger and (read := clause_value(text, *clause(text, start + trigger[-1].end(), end), benchmark, True)):
        return read
    if _NO_NUMBER.match(line):
        return stripped(line, start)
    label = re.match(r".*?[A-Za-z)\]]\s*[:=]\s*(?=\S)", line)
    if label and is_value(line[label.end() :], benchmark):
        return stripped(line[label.end() :], start + label.end())
    return clause_value(text, start, start + len(line), benchmark, False) or stripped(line, start)
