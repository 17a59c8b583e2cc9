"""Reading the answer of a completion under the corrected rule."""

from __future__ import annotations

import re
from itertools import takewhile

from mammoth_utils.grading._formulas.notation import TAG
from mammoth_utils.grading.benchmarks import Benchmark
from mammoth_utils.grading.corrected import option_letters, phrases
from mammoth_utils.grading.corrected.answering_part import TRIGGER, answering_part
from mammoth_utils.grading.corrected.boxes import boxed
from mammoth_utils.grading.corrected.clauses import (
    CLAUSE,
    Options,
    blank,
    clause,
    clause_value,
    is_value,
    last_formula,
    last_number,
    stripped,
)
from mammoth_utils.grading.corrected.option_letters import Read
from mammoth_utils.grading.corrected.outputs import ERROR, output_value
from mammoth_utils.grading.programs_in_text import is_program_alone, without_cells

TRIGGERS_TRIED = 8  # from the last one backwards, where nothing follows them
_GSM8K_VALUE = re.compile(
    r"[ \t]*(?!\d+[.:)]\s*[A-Za-z*])(?:[$€£¥₹({\[\\*]|-|[-−]?[\d.]|(?:yes|no|true|false|none)\b"
    r"|\(?[A-Z]\)?[ \t]*$|[a-z]+[ \t]*$)",
    re.I | re.M,
)
_IS_HEADING = re.compile(r"[^\n]*\d[^\n]*[A-Za-z]{3,}[^\n]*\n(?!\s*(?:####|$))[^\n]*\d[^\n]*=")  # "#### 10% discount"
_NUMBERED_HEADING = re.compile(r"^[ \t]*#{1,6}[ \t]*(?:step[ \t]*)?\d+[.:)][ \t]*\S[^\n]*", re.I | re.M)
_HEADING = re.compile(r"[ \t]*(?:#|\*\*|__)|final answer", re.I)
_LINE_ENDS = re.compile(r"[ \t*_:]*\n\s*")
_LINES = re.compile(r"[^\n]+")
_BULLETED = re.compile(r"[ \t]*(?:[-–—•*·+]|\d+[.)])[ \t]+")
_QUOTED = re.compile(r'\s*"((?:[^"\\]|\\.)*)"|\s*(\[[^\]]*\]|-?[\d.,]*\d)')
_STRUCK = re.compile(r"~~[^~\n]*~~")
_UNDERSCORES = re.compile(r"(?<![\w_])__(?=[\w$\\-])|(?<=[\w$])__(?![\w_])")  # __12__ is bold
_STOP_OR_LINE = re.compile(r"[.\n]")
_SENTENCE_STOPS = re.compile(r"[.!?](?=\s|$|\))|\n")
LONGEST_WORDS = 4  # an answer in words has no more, unless nothing follows it
_CONCLUDES = re.compile(r"(?:^|(?<=[.\n]))\s{0,8}\*{0,3}(?:Therefore|Thus|Hence|So)\b,?(?P<that>\s*)[^\n]*?\d", re.I)


def read_corrected(completion: str, benchmark: Benchmark, options: Options, question: str | None) -> Read | None:
    """Return answer and span under the corrected rule; None where nothing looks like an answer.

    A completion that ends in prose is read there: what stands after the last trigger (``The answer is``, ``####``,
    ``\\boxed``, ``Answer:``), else what an earlier ``\\boxed`` holds, else the number that the last sentence states.
    One that ends in a fenced cell's quoted output is read there, and an error that it ends in is no answer: what stands
    before is working that the model itself went on from. Nor has one an answer that is a program and nothing else.
    """
    start, end = answering_part(completion)
    text = completion[start:end]
    if is_program_alone(text):
        return None  # a program that was asked for as prose, and was never run
    prose, outputs, after = without_cells(_without_marks(text))
    question = None if benchmark.several else question
    if outputs and not prose[after:].strip():
        left, right = outputs[-1]
        read = None if ERROR.search(text[left:right]) else output_value(text, left, right, benchmark)
    else:
        read = (
            triggered_value(prose, after, len(prose), benchmark, options, question)
            or (triggered_value(prose, 0, after, benchmark, options, question, "\\") if after else None)
            or untriggered_value(prose, after, len(prose), benchmark, options, question)
            or (untriggered_value(prose, 0, after, benchmark, options, question) if after and not outputs else None)
        )
    return read and (read[0], (read[1][0] + start, read[1][1] + start))


def _without_marks(text: str) -> str:
    """Return a text with Markdown's double underscores and HTML's tags blanked."""
    text = _UNDERSCORES.sub("  ", text) if "__" in text else text
    text = _STRUCK.sub(blank, text) if "~~" in text else text
    return TAG.sub(blank, text) if "</" in text else text


def triggered_value(
    prose: str, start: int, end: int, benchmark: Benchmark, options: Options, question: str | None, only: str = ""
) -> Read | None:
    """Return the value after the last trigger that has one; ``only`` restricts how triggers start."""
    for trigger in list(TRIGGER.finditer(prose, start, end))[: -TRIGGERS_TRIED - 1 : -1]:
        if not trigger.group().startswith(only):
            continue
        if trigger.group().startswith("\\"):
            read = boxed(prose, start, end, trigger.end(), benchmark)
        elif _is_asked(prose, trigger.end(), end):
            continue  # "Is it possible that the answer is 18? No"
        else:
            read = announced(prose, trigger, end, benchmark, options, question)
        if read is not None and read[0].strip():
            if not benchmark.choice:
                behind = max(read[1][1], trigger.end())
                return corrected_later(prose, behind, end, benchmark, question) or read
            return option_letters.letter_read(read, options)
    return None


def announced(
    prose: str, trigger: re.Match, end: int, benchmark: Benchmark, options: Options, question: str | None
) -> Read | None:
    """Return the value that a trigger in words announces: in tags, in JSON, behind it, or in the lines below it."""
    mark, at = trigger.group(), trigger.end()
    if mark == "####" and (not _GSM8K_VALUE.match(prose, at, end) or _IS_HEADING.match(prose, at, end)):
        return None
    if mark.startswith("<"):
        closing = prose.find(f"</{mark[1:]}", at, end)
        return whole_or_stated(prose, at, closing if closing >= 0 else end, benchmark, options, question)
    if '"' in mark and (quoted := _QUOTED.match(prose, at, end)):  # {"answer": "42"}
        return stripped(quoted.group(quoted.lastindex), quoted.start(quoted.lastindex))
    below = _LINE_ENDS.match(prose, trigger.start() + len(mark.rstrip("* \t\n")), end)
    if below and not benchmark.choice and (mark.rstrip("* \n").endswith((":", "：")) or _HEADING.match(mark)):
        return below_heading(prose, below.end(), end, benchmark, question)
    if mark.rstrip("* \n").endswith(":"):
        # behind "Answer:" several sentences may stand, of which the conclusion counts
        concluding = list(_CONCLUDES.finditer(prose, at, min(end, at + CLAUSE)))
        at = concluding[-1].end("that") if concluding else at
    read = clause_value(prose, *clause(prose, at, end), benchmark, True, options, question)
    if read and benchmark.expression and len(read[0].split()) > LONGEST_WORDS and not re.search(r"[\d\\$]", read[0]):
        return last_formula(prose, read[1][1], end, question) or read  # words that a formula follows
    return read


def _is_asked(prose: str, at: int, end: int) -> bool:
    """Return whether the sentence behind a trigger is a question."""
    stop = _SENTENCE_STOPS.search(prose, at, min(end, at + CLAUSE))
    return stop is not None and stop.group()[0] == "?"


def whole_or_stated(
    prose: str, start: int, end: int, benchmark: Benchmark, options: Options = None, question: str | None = None
) -> Read | None:
    """Return a passage where it is one value, else the value that it states."""
    if not prose[start:end].strip():
        return None
    if not benchmark.choice and is_value(prose[start:end].strip(), benchmark):
        return stripped(prose[start:end], start)
    return clause_value(prose, start, end, benchmark, True, options, question)


def below_heading(prose: str, start: int, end: int, benchmark: Benchmark, question: str | None) -> Read | None:
    """Return the value in the lines below a heading ``Answer:``.

    It is the first line's where that is a value and no equation; else the conclusion's; else what the last line states.
    Of bullets all count where golds are expressions, else the last. An explanation behind them does not count.
    """
    if explained := phrases.EXPLAINS.search(prose, start, end):
        end = explained.start()
    lines = [line for line in _LINES.finditer(prose, start, end) if line.group().strip(" *")]
    if not lines:
        return None
    bullets = list(takewhile(lambda line: _BULLETED.match(line.group()), lines))
    if len(bullets) > 1:
        items = [(bullet.start() + _BULLETED.match(bullet.group()).end(), bullet.end()) for bullet in bullets]
        if not benchmark.expression:
            item = items[0] if benchmark.several else items[-1]
            return clause_value(prose, *item, benchmark, False, None, question)
        reads = [whole_or_stated(prose, *item, benchmark) for item in items]
        if None not in reads:
            return ", ".join(read[0] for read in reads), (reads[0][1][0], reads[-1][1][1])
    first = clause(prose, lines[0].start(), end)
    text = prose[slice(*first)]
    if is_value(text, benchmark) and (len(lines) == 1 or "=" not in text):
        return clause_value(prose, *first, benchmark, True, None, question)
    concluding = list(_CONCLUDES.finditer(prose, start, end))
    if concluding or len(lines) == 1:
        sentence = clause(prose, concluding[-1].end("that") if concluding else lines[0].start(), end)
        return clause_value(prose, *sentence, benchmark, True, None, question)
    return untriggered_value(prose, start, end, benchmark, None, question)


def corrected_later(prose: str, start: int, end: int, benchmark: Benchmark, question: str | None) -> Read | None:
    """Return what a correction behind an answer states: ``Wait, no: it is 6``; None where nothing is taken back.

    A check (``Let me check: 5 + 1 = 6``) takes nothing back: it needs a word that says so, or a value that is said to
    be *it*, the result, or what should be.
    """
    doubt = phrases.DOUBT.search(prose, start, end)
    if doubt is None:
        return None
    if phrases.SLIP.search(prose, doubt.start(), end):
        return untriggered_value(prose, doubt.end(), end, benchmark, None, question)
    statements = list(phrases.STATES_ANEW.finditer(prose, doubt.start(), end))
    if not statements or "?" in prose[statements[-1].end() : _line_end(prose, statements[-1].end(), end)]:
        return None
    said = statements[-1]
    doubts = (phrases.TAKES_BACK, phrases.CHECKS_AGAIN)
    if not any(pattern.search(prose, doubt.start(), said.end()) for pattern in doubts):
        return None
    return clause_value(prose, *clause(prose, said.end(), end), benchmark, True, None, question)


def _line_end(prose: str, at: int, end: int) -> int:
    found = _STOP_OR_LINE.search(prose, at, end)
    return found.start() if found else end


def untriggered_value(
    prose: str, start: int, end: int, benchmark: Benchmark, options: Options, question: str | None
) -> Read | None:
    """Return what prose without a trigger states last: an option, a formula, or a number."""
    if benchmark.choice:
        if read := option_letters.untriggered(prose, start, end, options):
            return read
        if option_letters.undecided(prose[start:end].rstrip().rpartition("\n")[2][-CLAUSE:], options):
            return None
    for remark in phrases.REMARKS.finditer(prose, start, end):
        if re.search(r"\d", prose[start : remark.start()]) and not phrases.CONCLUDING.search(prose, remark.end(), end):
            end = remark.start()  # a check behind the answer
            break
    if benchmark.expression:
        return last_formula(prose, start, end, question)
    if "#" in prose:
        prose = _NUMBERED_HEADING.sub(blank, prose)
    return last_number(prose, start, end, question)
