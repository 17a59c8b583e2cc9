"""The answer in what a program printed."""

from __future__ import annotations

import re

from mammoth_utils.grading.benchmarks import Benchmark
from mammoth_utils.grading.corrected import phrases
from mammoth_utils.grading.corrected.answering_part import TRIGGER
from mammoth_utils.grading.corrected.clauses import NUMBER, blank, clause, clause_value, is_value, stripped
from mammoth_utils.grading.corrected.option_letters import Read
from mammoth_utils.grading.corrected.pretty_printing import as_one_line

LINE = 2000
ERROR = re.compile(
    r"Traceback|(?<!\w)\w{0,60}?(?:Error|Exception|Interrupt)\b\s{0,4}:|^\s*Cell In\[|TIMEOUT|Timed out", re.M
)
# What a program prints: an array over several lines, and what is never the last number in it.
_ARRAY = re.compile(r"(?:^|(?<=\n))[ \t]*(?:array\(|matrix\()?\[\[[^\[\]]*(?:\][,\s]*\[[^\[\]]*)*\]\]\)?\s*\Z")
_NO_NUMBER = re.compile(r"\s*(?:\[|\{[^{}]*:[^{}]*,[^{}]*:|datetime\.|.*[<>].*\)\s*[&|]\s*\(|(?:And|Or)\()")


_ANSI = re.compile(r"\x1b\[[0-9;?]*[A-Za-z]")
_NAMED_LINE = re.compile(r"\s*([A-Za-z])(?:_\d)?\s*[:=]\s*(\S[^=:]*)")
_PAIR = re.compile(r"\s*\([^()]{1,80}(?:\([^()]*\)[^()]{0,80}){0,4}\)\s*")
_NAMED_IN_A_LINE = re.compile(r"\s*(?:[A-Za-z]\s*=\s*[^\s,=]+\s+){1,5}[A-Za-z]\s*=\s*[^\s,=]+\s*")
_IS_TIMING = re.compile(r"answer|result|execution|elapsed|cpu|run(?:ning)?\s*time|\d\.\d{3}", re.I)
_COLON_LABEL = re.compile(r"\s*[A-Za-z_][\w ]*:\s+(?=\S)|\s*[A-Za-z_]\w*\s{2,}(?=-?[\d.])")
_SUM_OF_MONEY = re.compile(r"\b(?:total|cost|price|amount)\b", re.I)
_EULER = re.compile(r"(?<![A-Za-z0-9_.])E(?![A-Za-z0-9_(])")  # as SymPy prints it


def output_value(text: str, start: int, end: int, benchmark: Benchmark) -> Read | None:
    """Return the value that a program's output states: its last line that is not empty, without a label.

    ``None``, a closing word or a rule behind it do not count, nor do colours. Lines that name an unknown each are one
    answer where golds are expressions; what SymPy prints over several lines is read as one formula. On SimulEq, where
    every line holds a number, the first line is read.
    """
    text = _ANSI.sub(blank, text)
    printed = text[start:end].rstrip()
    lines = list(re.finditer(r"[^\n]*\S[^\n]*", printed))
    while len(lines) > 1 and (
        phrases.CLOSING.fullmatch(lines[-1].group())
        or (
            phrases.RUN_TIME.fullmatch(lines[-1].group())
            and _IS_TIMING.search("\n".join(line.group() for line in lines[-2:]))
        )
    ):
        lines.pop()
    if not lines or re.fullmatch(r"\s*(?:None|nan|-?inf|zoo)\s*", lines[-1].group()) or ERROR.search(lines[-1].group()):
        return None
    printed = printed[: lines[-1].end()]
    if benchmark.expression and (joined := _several_in_one(printed, [line.group() for line in lines])):
        return joined, (start + lines[0].start(), start + lines[-1].end())
    # SimulEq programs print one unknown a line; the gold is mostly the one asked, and printed, first
    chosen = lines[0] if benchmark.several and all(NUMBER.search(line.group()) for line in lines) else lines[-1]
    if array := _ARRAY.search(text, max(start, start + len(printed) - LINE), start + len(printed)):
        return stripped(array.group(), array.start())
    cut = max(0, len(chosen.group()) - LINE)
    start, line = start + chosen.start() + cut, chosen.group()[cut:]
    if not line.strip():
        return None
    read = _value_of_line(text, start, line, end, benchmark)
    if read and benchmark.expression and "E" in read[0]:
        return _EULER.sub("e", read[0]), read[1]
    return read


def _several_in_one(printed: str, lines: list[str]) -> str | None:
    """Return as one answer what is drawn over lines, pairs a line each, or named unknowns; None for other output."""
    if len(printed) <= LINE and (formula := as_one_line(printed)):
        return formula
    if len(lines) == 1:
        line = lines[0]
        return re.sub(r"\s+(?=[A-Za-z]\s*=)", ", ", line.strip()) if _NAMED_IN_A_LINE.fullmatch(line) else None
    if all(map(_PAIR.fullmatch, lines)):
        return ", ".join(line.strip() for line in lines)
    named = list(map(_NAMED_LINE.fullmatch, lines))
    if len(lines) <= 4 and all(named) and len({match[1] for match in named}) == len(named):
        return ", ".join(f"{match[1]} = {match[2].strip()}" for match in named)
    return None


def _value_of_line(text: str, start: int, line: str, end: int, benchmark: Benchmark) -> Read | None:
    """Return the value that one line of output states."""
    if (label := _COLON_LABEL.match(line)) and is_value(line[label.end() :], benchmark):
        return stripped(line[label.end() :], start + label.end())
    if is_value(line, benchmark) or not (benchmark.expression or NUMBER.search(line)):
        return stripped(line, start) if benchmark.expression or benchmark.choice or NUMBER.search(line) else None
    trigger = list(TRIGGER.finditer(line))
    if trigger and (read := clause_value(text, *clause(text, start + trigger[-1].end(), end), benchmark, True)):
        return read
    if _NO_NUMBER.match(line):
        return stripped(line, start)
    sums = [number for number in NUMBER.finditer(line) if "$" in number.group()]
    if len(sums) == 1 and _SUM_OF_MONEY.search(line):  # "Order total: 3 items, $45.00"
        return stripped(sums[0].group(), start + sums[0].start())
    label = re.match(r".*?[A-Za-z)\]]\s*[:=]\s*(?=\S)", line)
    if label and is_value(line[label.end() :], benchmark):
        return stripped(line[label.end() :], start + label.end())
    return clause_value(text, start, start + len(line), benchmark, False) or stripped(line, start)
