"""Reading the answer of a completion or of a program's output, under the corrected rule."""

from __future__ import annotations

import re
from collections.abc import Sequence

from mammoth_utils.grading._formulas.formula_values import symbols
from mammoth_utils.grading._formulas.notation import joined_thousands, plain, unwrapped
from mammoth_utils.grading._formulas.parser import Unreadable, parse
from mammoth_utils.grading._formulas.units import without_unit
from mammoth_utils.grading._formulas.words import leading_number, wordy
from mammoth_utils.grading.benchmarks import Benchmark
from mammoth_utils.grading.corrected import option_letters
from mammoth_utils.grading.corrected.answering_part import SAYS_IT, TRIGGER, answering_part
from mammoth_utils.grading.corrected.option_letters import Read
from mammoth_utils.grading.corrected.question_numbers import number_asked_for
from mammoth_utils.grading.programs_in_text import is_program_alone, without_cells

CLAUSE = 600
TRIGGERS_TRIED = 8  # from the last one backwards, where nothing follows them
LINE = 2000
Options = Sequence[str] | None

_SENTENCE_END = re.compile(r"(?<!\ba\.m)(?<!\bp\.m)[.!?]+(?=\s|$|\*)|\n")
_MATH = re.compile(r"\$\$(.+?)\$\$|\$(.+?)\$|\\\((.+?)\\\)|\\\[(.+?)\\\]", re.S)
# A minus between a value and a number is subtraction: "(2x) - 22" holds 22, "is -22" holds -22.
NUMBER = re.compile(
    r"(?<![\w.])(?:(?<![)\]}])(?<![)\]}\d]\s)[-−–]\s?)?\$?(?:\d+\s+\d+\s*/\s*\d+|\d{1,3}(?:,\d{3})+(?:\.\d+)?|\d+(?:\.\d+)?|\.\d+)"
    r"(?:[eE][-+]?\d+)?(?:\s*/\s*\d+)?(?![\d])\s?%?|(?<![\w.])-?\\[dt]?frac\s*\{?-?\d+\}?\s*\{?\d+\}?"
)
_PLAIN_NUMBER = re.compile(r"\s*-?\d{1,100}(?:\.\d{1,50})?\.?\s*", re.ASCII)  # for which no parser is needed
_HEDGE = r"\s*\**\s*(?:about |approximately |only |just |now |a total of |\\approx )?[$€£]?(?=-?[\d.\\])"
_STATES = re.compile(r"(?:\b(?:is|are|was|were|be|equals?|equal to)\b|=|≈|:)" + _HEDGE, re.I)
_SAYS = re.compile(
    r"(?:\b(?:is|are|was|were|be|equals?|equal to|has|have|had|costs?|takes?|took|needs?|gives?|gets?)\b|=|≈|:)"
    + _HEDGE,
    re.I,
)
_OPENING = re.compile(r"\s*(?:(?:after|in|for|over|during|if|with|since|at)\b[^,.]*,|step\s+\d+\s*[:.])", re.I)
_NAMELY = re.compile(r"\bnamely\b", re.I)
_TURNS = re.compile(r"\bnamely\b|[,;]\s*(?:and\s+)?(?:so|therefore|thus|hence)\b", re.I)
_NOT_BUT = re.compile(r"\s*not\s[^.]{1,60}?\bbut\s+(?:rather\s+)?", re.I)
_DENIED = re.compile(
    r"(?:[,(]\s*)?\b(?:and\s+|but\s+)?(?:not|rather\s+than|instead\s+of)\s+[$\\({]*-?\d.*$", re.I | re.S
)
_GIVEN = re.compile(r"(?:\b(?:the|these|those|all)|['’]s)\s+$", re.I)
_CONCLUDES = re.compile(r"(?:^|(?<=[.\n]))\s*\**(?:Therefore|Thus|Hence|So)\b[^\n]*?\d", re.I)
# What a program prints: an array over several lines, and what is never the last number in it.
_ARRAY = re.compile(r"(?:^|(?<=\n))[ \t]*(?:array\(|matrix\()?\[\[[^\[\]]*(?:\][,\s]*\[[^\[\]]*)*\]\]\)?\s*\Z")
_NO_NUMBER = re.compile(r"\s*(?:\[|.*[<>].*\)\s*[&|]\s*\(|(?:And|Or)\()")
_ERROR = re.compile(r"Traceback|\w*(?:Error|Exception|Interrupt)\b\s*:|^\s*Cell In\[|TIMEOUT|Timed out", re.M)


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
    prose, outputs, after = without_cells(text)
    question = None if benchmark.several else question
    if outputs and not prose[after:].strip():
        left, right = outputs[-1]
        read = None if _ERROR.search(text[left:right]) else output_value(text, left, right, benchmark)
    else:
        read = (
            triggered_value(prose, after, len(prose), benchmark, options, question)
            or (triggered_value(prose, 0, after, benchmark, options, question, "\\") if after else None)
            or untriggered_value(prose, after, len(prose), benchmark, options, question)
            or (untriggered_value(prose, 0, after, benchmark, options, question) if after and not outputs else None)
        )
    return read and (read[0], (read[1][0] + start, read[1][1] + start))


def triggered_value(
    prose: str, start: int, end: int, benchmark: Benchmark, options: Options, question: str | None, only: str = ""
) -> Read | None:
    """Return the value after the last trigger that has one; ``only`` restricts how triggers start."""
    for trigger in list(TRIGGER.finditer(prose, start, end))[: -TRIGGERS_TRIED - 1 : -1]:
        if not trigger.group().startswith(only):
            continue
        if trigger.group().startswith("\\"):
            read = boxed(prose, start, end, trigger.end(), benchmark)
        else:
            start_of_answer = trigger.end()
            if trigger.group().rstrip("* \n").endswith(":"):
                # below a heading "Answer:" several sentences may stand, of which the conclusion counts
                concluding = list(_CONCLUDES.finditer(prose, start_of_answer, min(end, start_of_answer + CLAUSE)))
                start_of_answer = concluding[-1].start() if concluding else start_of_answer
            read = clause_value(prose, *clause(prose, start_of_answer, end), benchmark, True, options, question)
        if read is not None and read[0].strip():
            return option_letters.letter_read(read, options) if benchmark.choice else read
    return None


def untriggered_value(
    prose: str, start: int, end: int, benchmark: Benchmark, options: Options, question: str | None
) -> Read | None:
    """Return the option that prose without a trigger chooses, or the number that its last sentence states."""
    if benchmark.choice:
        if read := option_letters.untriggered(prose, start, end, options):
            return read
        if option_letters.undecided(prose[start:end].rstrip().rpartition("\n")[2][-CLAUSE:], options):
            return None
    return last_number(prose, start, end, question)


def boxed(prose: str, start: int, end: int, at: int, benchmark: Benchmark) -> Read | None:
    """Return what the last ``\\boxed`` holds, with the boxes just before it that belong to one answer.

    Two boxes are one answer on MATH, Mathematics and TheoremQA where only ``and``, ``or`` or a comma stands between
    them. SimulEq asks for several unknowns and its gold keeps one, mostly the first asked: of several boxes the first
    is read.
    """
    if benchmark.several:
        filled = re.search(r"\\boxed\s*\{\s*(?=[^}\s])", prose[start:end])
        at = start + filled.start() + len("\\boxed") if filled else at
    inside = unwrapped(prose, at)
    if inside is None:
        line = prose.find("\n", at)
        stop = line if line >= 0 else len(prose)
        dollar = prose.find("$", at, stop)
        inside = (at, dollar if dollar >= 0 else stop)
    nested = prose.rfind("\\boxed", inside[0], inside[1])
    if nested >= 0 and (deeper := unwrapped(prose, nested + len("\\boxed"))):
        inside = deeper
    spans = [inside]
    while benchmark.expression:
        before = prose.rfind("\\boxed", start, spans[0][0] - len("\\boxed{"))
        earlier = unwrapped(prose, before + len("\\boxed")) if before >= 0 else None
        if earlier is None or earlier[1] > spans[0][0]:
            break
        gap = prose[earlier[1] + 1 : spans[0][0]]
        if not re.fullmatch(r"[\s$,;\\()]*(?:and|or)?[\s$,;\\()]*\\boxed\{?", gap):
            break
        spans.insert(0, earlier)
    if len(spans) == 1:
        return _stripped(prose[inside[0] : inside[1]], inside[0])
    return ", ".join(prose[left:right].strip() for left, right in spans), (spans[0][0], spans[-1][1])


def clause(prose: str, at: int, end: int) -> tuple[int, int]:
    """Return start and end of the clause after a trigger: to the end of its sentence, line or formula."""
    while at < end and (prose[at].isspace() or prose[at] in ":*"):
        at += 1
    formula = _MATH.match(prose, at, min(end, at + CLAUSE))
    if formula and not _is_money(formula):
        stop = formula.end()
        while more := re.compile(r"\s*(?:,|and|or)\s*(?=\$|\\\()").match(prose, stop, end):
            following = _MATH.match(prose, more.end(), min(end, more.end() + CLAUSE))
            if not following:
                break
            stop = following.end()
        unit = re.compile(r"\s*[A-Za-z%]+(?=[.\s,]|$)").match(prose, stop, end)
        rest = re.compile(r"\s*[.,]?\s*(?:\n|$)").match(prose, unit.end() if unit else stop, end)
        return at, unit.end() if unit and rest else stop
    stop = _SENTENCE_END.search(prose, at, min(end, at + CLAUSE))
    return at, stop.start() if stop else min(end, at + CLAUSE)


def _is_money(formula: re.Match) -> bool:
    """Return whether ``$18 and pays $`` was taken for a formula between two dollar signs."""
    inside = formula.group(2)
    if not inside or not re.match(r"\d", inside):
        return False
    return re.search(r"[a-z]{3,}(?![^{]*\})", re.sub(r"\\[a-z]+", "", inside)) is not None


def clause_value(
    prose: str,
    start: int,
    end: int,
    benchmark: Benchmark,
    triggered: bool,
    options: Options = None,
    question: str | None = None,
) -> Read | None:
    """Return the answer inside a clause: all of it where it is one value, else the value that it states."""
    text = prose[start:end]
    if not text.strip():
        return None
    if benchmark.choice or (benchmark.letters_too and (options or not re.search(r"\d", text))):
        letter = option_letters.letter_in(text, options)
        if letter is not None:
            return letter[0], (start + letter[1][0], start + letter[1][1])
        if benchmark.choice and option_letters.undecided(text, options):
            return None
    if not benchmark.choice:
        if instead := _NOT_BUT.match(text):  # "not 6 but 5"
            start, text = start + instead.end(), text[instead.end() :]
        if (denied := _DENIED.search(text)) and re.search(r"\d", text[: denied.start()]):  # "5 (not 6)"
            text = text[: denied.start()]
    if is_value(text, benchmark):
        return _stripped(text, start)
    if benchmark.expression or benchmark.choice:
        formulas = [formula for formula in _MATH.finditer(text) if not _is_money(formula)]
        if formulas:
            last = formulas[-1]
            return _stripped(last.group(last.lastindex), start + last.start(last.lastindex))
        for says in reversed(list(re.finditer(r"\b(?:is|are|equals|equal to)\b|=|:", text))):
            if is_value(text[says.end() :], benchmark):
                return _stripped(text[says.end() :], start + says.end())
        truth = re.match(r"\W*(true|false|yes|no)\b", text, re.I)
        if truth:
            return truth.group(1), (start + truth.start(1), start + truth.end(1))
    numbers = list(NUMBER.finditer(text))
    if not numbers:
        if benchmark.expression or benchmark.choice or benchmark.letters_too:
            return _stripped(text, start)
        spoken = leading_number(text) if triggered else None
        if spoken is None:
            return None
        rest = re.compile(r"(?:\s+[A-Za-z]+){0,2}\s*").fullmatch(text, spoken[1])  # what is counted
        return _stripped(text if rest else text[: spoken[1]], start)
    chosen = number_asked_for(text, numbers, question) if len(numbers) > 1 else None
    chosen = chosen or stated(text, numbers, triggered)
    return _stripped(chosen.group(), start + chosen.start())


def stated(text: str, numbers: list[re.Match], triggered: bool) -> re.Match:
    """Return the number that a sentence states.

    It stands after the last ``is`` or ``=`` (``has`` too where no trigger announces it); else it is the first after a
    trigger, the last without one. Numbers that the sentence takes as given do not count: ``After 26 days, ...``, ``each
    of the 13 boys``, ``Step 2: ...``; nor those before a conclusion (``..., so 8 pieces``, ``between 5 and 7, namely
    6``).
    """
    turned = 0
    for turn in (_NAMELY if triggered else _TURNS).finditer(text):
        later = [number for number in numbers if number.start() >= turn.end()]
        numbers, turned = (later, turn.end()) if later else (numbers, turned)
    for says in reversed(list((_STATES if triggered else _SAYS).finditer(text, turned))):
        for number in numbers:
            if says.end() - 1 <= number.start() <= says.end() or number.start() <= says.end() < number.end():
                return number
    opening = _OPENING.match(text)
    after = opening.end() if opening else 0
    asked = [
        number
        for number in numbers
        if number.start() >= after and not _GIVEN.search(text, max(0, number.start() - 12), number.start())
    ]
    return (asked or numbers)[0 if triggered else -1]


def is_value(text: str, benchmark: Benchmark) -> bool:
    """Return whether a text as a whole is one answer: a formula, a quantity with its unit, or a word or two."""
    if _PLAIN_NUMBER.fullmatch(text):
        return True
    tidy = joined_thousands(plain(text))
    if not tidy or len(tidy) > 200:
        return False
    numeric = not (benchmark.expression or benchmark.choice)
    if numeric and not re.search(r"\d", tidy):
        return False
    if not numeric and wordy(tidy) is not None:
        return len(tidy.split()) <= 3
    number, _ = without_unit(tidy)
    try:
        node = parse(number)
    except Unreadable:
        return False
    return not numeric or (node.kind != "ratio" and all(len(name) == 1 for name in symbols(node)))


def last_number(prose: str, start: int, end: int, question: str | None) -> Read | None:
    """Return the number that the last sentence with one states; of several, the one that was asked for."""
    numbers = list(NUMBER.finditer(prose, start, end))
    if not numbers:
        return None
    last = numbers[-1]
    left = max(prose.rfind("\n", start, last.start()) + 1, start, last.start() - CLAUSE)
    left += max((stop.end() for stop in re.finditer(r"[.!?]\s+(?=[A-Z])", prose[left : last.start()])), default=0)
    sentence = prose[left : last.end()]
    line_end = prose.find("\n", last.end(), end)
    whole = prose[left : line_end if line_end >= 0 else end]  # with what its last number counts
    counting = [number for number in NUMBER.finditer(whole) if number.end() <= len(sentence)]
    chosen = number_asked_for(whole, counting, question) if len(counting) > 1 else None
    chosen = chosen or stated(sentence, list(NUMBER.finditer(sentence)) or [last], False)
    return _stripped(chosen.group(), last.start() if chosen is last else left + chosen.start())


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
        return _stripped(array.group(), array.start())
    cut = max(0, len(chosen.group()) - LINE)
    start, line = start + chosen.start() + cut, chosen.group()[cut:]
    if not line.strip() or re.fullmatch(r"\s*(?:None|nan|-?inf|zoo)\s*", line):
        return None
    if is_value(line, benchmark) or not (benchmark.expression or NUMBER.search(line)):
        return _stripped(line, start) if benchmark.expression or benchmark.choice or NUMBER.search(line) else None
    trigger = list(TRIGGER.finditer(line))
    if trigger and (read := clause_value(text, *clause(text, start + trigger[-1].end(), end), benchmark, True)):
        return read
    if _NO_NUMBER.match(line):
        return _stripped(line, start)
    label = re.match(r".*?[A-Za-z)\]]\s*[:=]\s*(?=\S)", line)
    if label and is_value(line[label.end() :], benchmark):
        return _stripped(line[label.end() :], start + label.end())
    return clause_value(text, start, start + len(line), benchmark, False) or _stripped(line, start)


def _stripped(text: str, start: int) -> Read:
    """Return a text and its place without spaces, stars and the dollar signs of a lone formula."""
    kept = text.strip().strip("*").strip()
    lone = _MATH.fullmatch(kept)
    if lone and not _is_money(lone):
        inside = lone.group(lone.lastindex)
        kept = kept if "$" in inside else inside.strip()
    at = text.find(kept) if kept else 0
    return kept, (start + at, start + at + len(kept))
