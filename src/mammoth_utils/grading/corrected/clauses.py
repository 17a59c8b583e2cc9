"""The value that a clause states: a formula, a number, a quantity, a word."""

from __future__ import annotations

import re
from collections.abc import Sequence

from mammoth_utils.grading._formulas.formula_values import symbols
from mammoth_utils.grading._formulas.notation import joined_thousands, plain
from mammoth_utils.grading._formulas.parser import Unreadable, parse
from mammoth_utils.grading._formulas.units import without_unit
from mammoth_utils.grading._formulas.words import leading_number, wordy
from mammoth_utils.grading.benchmarks import KNOWN, Benchmark
from mammoth_utils.grading.corrected import option_letters, phrases
from mammoth_utils.grading.corrected.option_letters import Read
from mammoth_utils.grading.corrected.question_numbers import number_asked_for

NEAR = 80  # characters before a number in which a word may deny it or say what it is for
VERBS_TRIED = 12  # from the last one backwards
CLAUSE = 600  # characters of a clause or a sentence that are looked at
Options = Sequence[str] | None

_SENTENCE_END = re.compile(r"(?<!\ba\.m)(?<!\bp\.m)(?<!\bi\.e)(?<!\be\.g)(?<!\bapprox)[.!?]+(?=\s|$|\*)|\n")
MATH = re.compile(
    r"\$\$(.+?)\$\$|\$(.+?)\$|\\\((.+?)\\\)|\\\[(.+?)\\\]"
    r"|\\begin\{((?:align|gather|equation)\*?)\}(.+?)\\end\{\5\}",
    re.S,
)
# A minus between a value and a number is subtraction: "(2x) - 22" holds 22, "is -22" holds -22. One with a space behind
# it is a dash or a bullet ("Total - 42") unless it opens the text or follows "is", a sign, a bracket or a comma.
_MINUS = (
    r"(?<![)\]}])(?<![)\]}\d]\s)(?:[-−–](?=[$\d.])"
    r"|(?:(?<![\s\S])|(?<=\b[iI]s\s)|(?<=\bbe\s)|(?<=\bto\s)|(?<=[=≈(,]\s)|(?<=[=≈(,]))[-−–]\s)"
)
# 1 1/2, 1,234.5, 10,00,000, 1.000.000, 1'000'000, 12.5, .5
_NUMERALS = (
    r"\d+,\d{2}(?=\s?[€£])", r"\d+\s+\d+\s*/\s*\d+", r"\d{1,3}(?:,\d{3})+(?:\.\d+)?",
    r"\d{1,2}(?:,\d{2})+,\d{3}", r"\d{1,3}(?:\.\d{3}){2,}",
    r"\d{1,3}(?:'\d{3})+(?!\d)", r"\d+(?:\.\d+)?", r"\.\d+",
)  # fmt: skip
NUMBER = re.compile(
    r"(?=[-−–$\d.\\])(?<![\w.])"  # to look at one character is cheaper than to look behind at each
    rf"(?:(?:{_MINUS})?\$?(?:{'|'.join(_NUMERALS)})(?:[eE][-+]?\d+)?(?:\s*/\s*\d+)?(?![\d])\s?%?"
    r"|-?\\[dt]?frac\s*\{?-?\d+\}?\s*\{?\d+\}?)"
)
_PLAIN_NUMBER = re.compile(r"\s*-?\d{1,100}(?:\.\d{1,50})?\.?\s*", re.ASCII)  # for which no parser is needed
_HEDGE = r"\s*\**\s*(?:about |approximately |only |just |now |a total of |\\approx )?-?[$€£]?(?=-?[\d.\\])"
_STATES = re.compile(r"(?:\b(?:is|are|was|were|be|equals?|equal to)\b|=|≈|:)" + _HEDGE, re.I)
_SAYS = re.compile(
    r"(?:\b(?:is|are|was|were|be|equals?|equal to|has|have|had|costs?|takes?|took|needs?|gives?|gets?"
    r"|pays?|paid|earns?|earned|spends?|owes?|saves?|weighs?)\b|=|≈|:)" + _HEDGE,
    re.I,
)
_VERBS = re.compile(r"\b(?:is|are|was|were|has|have|had|costs?|gets?|left|pays?)\s+", re.I)
_OPENING = re.compile(r"\s*(?:(?:after|in|for|over|during|if|with|since|at)\b[^,.]*,|step\s+\d+\s*[:.])", re.I)
_NAMELY = re.compile(r"\bnamely\b", re.I)
_TURNS = re.compile(r"\bnamely\b|[,;]\s*(?:and\s+)?(?:so|therefore|thus|hence)\b", re.I)
_NOT_BUT = re.compile(r"\s*(?:definitely\s+)?(?:not|neither)\s[^.]{1,60}?\bbut\s+(?:rather\s+)?", re.I)
_DENIED = re.compile(
    r"(?:[,(]\s*)?\b(?:and\s+|but\s+)?(?:not|rather\s+than|instead\s+of)\s+[$\\({]*-?\d.*$", re.I | re.S
)
_SCALE = re.compile(r"\s?(?:hundred|thousand|million|billion|trillion)\b")
_SIGN_WORD = re.compile(r"[\W_]*(?:minus|negative)\s+", re.I)
_SPOKEN_SIGN = re.compile(r"[\W_]*((?:minus|negative)\s+\$?\d[\d,]*(?:\.\d+)?)", re.I)
_BARE_NAME = re.compile(
    r"\s*(?:[A-Za-z]{1,8}(?:_\{?\w+\}?)?|[A-Za-z]\s*\([A-Za-z, ]*\)|\([a-z](?:,\s*[a-z])*\)"
    r"|\\(?:tri)?angle\s*[A-Z]+)\s*"
)
_TRUTH = re.compile(r"\W*(true|false|yes|no)\b", re.I)
_HOPES = re.compile(r"\s*I hope (?:it|this|that) (?:is correct|helps)[.!]?\s*\Z", re.I)
_SAYS_WHAT = re.compile(r"\b(?:is|are|was|were|be|equals|equal to|equation|function|polynomial)\b|=|:")
_WORDS = re.compile(r"(?<!\\)\b(?!sqrt|sin|cos|tan|log|and|or\b)[A-Za-z]{3,}")
_JOINS = re.compile(r"\s*(?:,?\s*(?:and|or)\b|,)\s*")
_BULLET = re.compile(r"[-–—•*·]\s+")
_LISTED = re.compile(r"[\W_]*(?:there\s+(?:are|is)|we\s+have)\s+(?:exactly\s+|only\s+)?(?=[-\d])[^:.]{1,80}:\s", re.I)
_SUBJECT = re.compile(r"\d+\s+[a-z]+\s+(?:will\s+)?(?:costs?|takes?|needs?|weighs?|makes?|earns?)\b", re.I)
_GIVEN = re.compile(r"(?:\b(?:the|these|those|all)|['’]s)\s+$", re.I)
_UNIT_BEHIND = re.compile(r"\s*[A-Za-z%]+(?=[.\s,]|$)")
_LINE_IS_OVER = re.compile(r"\s*[.,]?\s*(?:\n|$)")
_WHAT_IS_COUNTED = re.compile(r"(?:\s+[A-Za-z]+){0,2}\s*")


def clause(prose: str, at: int, end: int) -> tuple[int, int]:
    """Return start and end of the clause after a trigger: to the end of its sentence, line or formula."""
    while at < end and (prose[at].isspace() or prose[at] in ":*"):
        at += 1
    if "\n" in prose[max(0, at - 4) : at] and (bullet := _BULLET.match(prose, at, end)):
        at = bullet.end()
    formula = MATH.match(prose, at, min(end, at + CLAUSE))
    if formula and not is_money(formula):
        stop = formula.end()
        while stop < at + 2 * CLAUSE and (more := _JOINS.match(prose, stop, end)):
            following = MATH.match(prose, more.end(), min(end, more.end() + CLAUSE))
            if not following or is_money(following):
                break
            stop = following.end()
        unit = _UNIT_BEHIND.match(prose, stop, end)
        rest = _LINE_IS_OVER.match(prose, unit.end() if unit else stop, end)
        return at, unit.end() if unit and rest else stop
    stop = _SENTENCE_END.search(prose, at, min(end, at + CLAUSE))
    return at, stop.start() if stop else min(end, at + CLAUSE)


def is_money(formula: re.Match) -> bool:
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
        if triggered and (leads := phrases.LEADS.match(text)):
            start, text = start + leads.end(), text[leads.end() :]
        if triggered and (reason := phrases.REASON.search(text)) and text[: reason.start()].strip(" ,"):
            text = text[: reason.start()]
        if triggered and phrases.NO_VALUE.match(text) and re.search(r"\d", text):
            settled = list(phrases.SETTLES.finditer(text))
            if not settled:
                return stripped(text, start)
            start, text = start + settled[-1].end(), text[settled[-1].end() :]
        if (sign := _SPOKEN_SIGN.match(text)) and triggered:
            return stripped(sign[1], start + sign.start(1))
        several = phrases.ALTERNATIVES.match(text)
        if triggered and not benchmark.expression and several:
            return stripped(several.group(), start)
    if is_value(text, benchmark):
        return stripped(text, start)
    if benchmark.expression or benchmark.choice:
        formulas = [formula for formula in MATH.finditer(text) if not is_money(formula)]
        telling = [formula for formula in formulas if not _BARE_NAME.fullmatch(formula.group(formula.lastindex))]
        behind = _without_formulas(text, formulas, telling[-1].end() if telling else 0, len(text))
        if formulas and not re.search(r"\d", behind):  # "the largest $n$ is 34" states no formula
            return joined_formulas(text, telling or formulas, start)
        for says in reversed(list(re.finditer(r"\b(?:is|are|equals|equal to)\b|=|:", text))):
            if is_value(text[says.end() :], benchmark):
                return stripped(text[says.end() :], start + says.end())
        truth = _TRUTH.match(text)
        if truth:
            return truth.group(1), (start + truth.start(1), start + truth.end(1))
    numbers = list(NUMBER.finditer(text))
    if not numbers:
        if benchmark.expression or benchmark.choice or benchmark.letters_too:
            return stripped(text, start)
        sign = _SIGN_WORD.match(text) if triggered else None
        if sign and (spoken := leading_number(text[sign.end() :])):
            return stripped(text[: sign.end() + spoken[1]], start)
        spoken = leading_number(text) if triggered else None
        if spoken is None:
            return None
        return stripped(text if _WHAT_IS_COUNTED.fullmatch(text, spoken[1]) else text[: spoken[1]], start)
    chosen = number_asked_for(text, numbers, question) if len(numbers) > 1 else None
    chosen = chosen or stated(text, numbers, triggered)
    return chosen and _with_scale(text, chosen, start)


def joined_formulas(text: str, formulas: Sequence[re.Match], start: int) -> Read:
    """Return the last formula of a text, with those before it that only ``and``, ``or`` or a comma joins to it."""
    first = last = formulas[-1]
    for formula in reversed(formulas[:-1]):
        if _stands_before(phrases.CONDITION, text, formula):
            break  # "since $x > 0$, $x = 6$"
        if not _JOINS.fullmatch(text, formula.end(), first.start()):
            break
        first = formula
    if first is last:
        return stripped(last.group(last.lastindex), start + last.start(last.lastindex))
    return text[first.start() : last.end()], (start + first.start(), start + last.end())


def _stands_before(pattern: re.Pattern, text: str, value: re.Match) -> bool:
    """Return whether what a pattern describes stands in a text right before a number or a formula."""
    return pattern.search(text, max(0, value.start() - NEAR), value.start()) is not None


def stated(text: str, numbers: list[re.Match], triggered: bool) -> re.Match | None:
    """Return the number that a sentence states; None where it only denies or bounds one.

    It stands after the last ``is`` or ``=`` (``has`` too where no trigger announces it); else it is the first after a
    trigger, the last without one. Numbers that the sentence takes as given do not count: ``After 26 days, ...``, ``each
    of the 13 boys``, ``Step 2: ...``; nor those before a conclusion (``..., so 8 pieces``, ``between 5 and 7, namely
    6``).
    """
    if not triggered and not phrases.MUST_BE.search(text):
        numbers = [number for number in numbers if not _stands_before(phrases.NO_STATEMENT, text, number)]
    if not numbers:
        return None
    if listed := _LISTED.match(text):  # "There are 3 such integers: 2, 4 and 6"
        return next((number for number in numbers if number.start() < listed.end()), numbers[0])
    turned = 0
    for turn in (_NAMELY if triggered and not text[:1].isalpha() else _TURNS).finditer(text):
        later = [number for number in numbers if number.start() >= turn.end()]
        numbers, turned = (later, turn.end()) if later else (numbers, turned)
    told = [number for number in numbers if not _stands_before(phrases.PURPOSE, text, number)]
    told = [number for number in told if not phrases.COMPARES.match(text, number.end())]
    told = [number for number in told if not phrases.TIMES.match(text, number.end())] if triggered else told
    if not triggered:
        told = [number for number in told if not phrases.A_RATE.match(text, number.end())] or told
    told = [number for number in told if not _stands_before(phrases.A_DATE, text, number)] or told
    numbers = told or numbers
    verbs = [(_STATES if triggered else _SAYS, -1)]
    if triggered and (text[:1].isalpha() or _SUBJECT.match(text)):  # a whole sentence behind "The answer is:"
        verbs.append((_SAYS, 1))
    for pattern, order in verbs:
        for says in list(pattern.finditer(text, turned))[::order]:
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


def last_formula(prose: str, start: int, end: int, question: str | None) -> Read | None:
    """Return what the last sentence states where golds are expressions: its last formula, whole, else a number.

    Behind a formula a number counts, and before one that is but a name (``$x$``, ``$f(x)$``). Without either, the word
    that the last sentence states counts: ``Hence the day was Thursday.``
    """
    if hopes := _HOPES.search(prose, max(start, end - 80), end):
        end = hopes.start()
    formulas = [formula for formula in MATH.finditer(prose, start, end) if not is_money(formula)]
    telling = [formula for formula in formulas if not _BARE_NAME.fullmatch(formula.group(formula.lastindex))]
    while len(telling) > 1 and _is_remark(prose, telling[-1], telling[-2].end()):
        telling.pop()
    behind = _without_formulas(prose, formulas, telling[-1].end() if telling else start, end)
    outside = next(
        (digit for digit in re.finditer(r"(?<!\d)\d", behind) if not phrases.ROUNDED.search(behind[: digit.start()])),
        None,
    )
    if telling and not outside:
        return joined_formulas(prose, telling, 0)
    line = prose.rfind("\n", start, start + len(prose[start:end].rstrip())) + 1 or start
    left = line + max((stop.end() for stop in re.finditer(r"[.!?]\s+(?=[A-Z$\\])", prose[line:end])), default=0)
    text = prose[left:end].rstrip(" \n.*")
    if outside and not _WORDS.search(text) and is_value(text, KNOWN["math"]):
        return stripped(text, left)
    if not outside and not formulas and (truth := _TRUTH.match(text)):
        return truth[1], (left + truth.start(1), left + truth.end(1))
    for says in list(_SAYS_WHAT.finditer(text))[: -VERBS_TRIED - 1 : -1]:
        rest = text[says.end() :]
        counts = outside is not None if re.search(r"\d", rest) else not formulas and wordy(plain(rest)) is not None
        if counts and is_value(rest, KNOWN["math"]):
            return stripped(rest, left + says.end())
    if outside:
        return last_number(prose, start, end, question)
    if formulas and not re.sub(r"[\s.]", "", _without_formulas(prose, formulas, start, end)):
        return joined_formulas(prose, formulas, 0)  # the completion is a name and nothing else
    return None


def _is_remark(prose: str, formula: re.Match, before: int) -> bool:
    """Return whether a formula is the condition (``at $x = 3$``) or the rounding of one in the same sentence."""
    between = prose[before : formula.start()]
    if re.search(r"[.!?]\s", between):
        return False
    inside = formula.group(formula.lastindex)
    if phrases.CLAUSE_OF_CONDITION.search(between):
        return True
    return bool(
        phrases.ROUNDED.search(between)
        or (phrases.CONDITION.search(between) and re.search(r"[=<>]|\\(?:n?[lg]?eq?|in)\b", inside))
    )


def _without_formulas(prose: str, formulas: Sequence[re.Match], start: int, end: int) -> str:
    parts, at = [], start
    for formula in formulas:
        if formula.start() >= at:
            parts.append(prose[at : formula.start()])
            at = formula.end()
    return "".join([*parts, prose[at:end]])


def last_number(prose: str, start: int, end: int, question: str | None) -> Read | None:
    """Return the number that the last sentence with one states; of several, the one that was asked for."""
    numbers = list(NUMBER.finditer(prose, start, end))
    if not numbers:
        return _number_in_words(prose, start, end)
    last = numbers[-1]
    left = max(prose.rfind("\n", start, last.start()) + 1, start, last.start() - CLAUSE)
    left += max((stop.end() for stop in re.finditer(r"[.!?]\s+(?=[A-Z])", prose[left : last.start()])), default=0)
    if denied := phrases.ANSWER_DENIED.search(prose, left, end):
        stop = _SENTENCE_END.search(prose, denied.end(), end)
        return stripped(prose[denied.start() : stop.start() if stop else end], denied.start())
    sentence = prose[left : last.end()]
    line_end = prose.find("\n", last.end(), end)
    whole = prose[left : line_end if line_end >= 0 else end]  # with what its last number counts
    counting = [number for number in NUMBER.finditer(whole) if number.end() <= len(sentence)]
    chosen = number_asked_for(whole, counting, question) if len(counting) > 1 else None
    chosen = chosen or stated(whole, counting or [last], False)
    if chosen is None:
        return None
    return stripped(chosen.group(), chosen.start()) if chosen is last else _with_scale(whole, chosen, left)


def _number_in_words(prose: str, start: int, end: int) -> Read | None:
    """Return the number in words that prose without a digit states last: ``He is fifteen years old.``"""
    for says in list(_VERBS.finditer(prose, start, end))[: -VERBS_TRIED - 1 : -1]:
        if spoken := leading_number(prose[says.end() : min(end, says.end() + NEAR)]):
            return stripped(prose[says.end() : says.end() + spoken[1]], says.end())
    return None


def _with_scale(text: str, number: re.Match, start: int) -> Read:
    """Return a number, with the word that scales it: ``0.75 million``."""
    scale = _SCALE.match(text, number.end())
    return stripped(text[number.start() : scale.end()] if scale else number.group(), start + number.start())


def blank(match: re.Match) -> str:
    """Return as many spaces as a match is long, so that the places behind it stay."""
    return " " * len(match.group())


def stripped(text: str, start: int) -> Read:
    """Return a text and its place without spaces, stars and the dollar signs of a lone formula."""
    kept = text.strip().strip("*").strip()
    lone = MATH.fullmatch(kept)
    if lone and not is_money(lone):
        inside = lone.group(lone.lastindex)
        kept = kept if "$" in inside else inside.strip()
    at = text.find(kept) if kept else 0
    return kept, (start + at, start + at + len(kept))
