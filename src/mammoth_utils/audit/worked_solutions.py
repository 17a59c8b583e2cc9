"""Golds held against the working in the same row: equations, calculator notes, the letter that a solution ends in.

Each check is exact arithmetic on what the file itself says, so that a finding can be followed by hand. A row that
passes is not thereby right: most wrong golds are wrong in the reasoning, which nothing here reads.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from fractions import Fraction
from typing import Any

from mammoth_utils.audit.golds import Finding
from mammoth_utils.grading._formulas.notation import joined_thousands, plain
from mammoth_utils.grading._formulas.parser import Unreadable, parse
from mammoth_utils.grading._formulas.values import Undefined, constant
from mammoth_utils.grading._formulas.words import SPOKEN
from mammoth_utils.grading.corrected import equality
from mammoth_utils.grading.published import hendrycks
from mammoth_utils.rationale import Problem

_NOTE = re.compile(r"<<([^<>=]+)=([^<>=]+)>>")
_LETTER = re.compile(r"(?:answer|ans|option|correct|choice)\b[^A-Za-z]{0,6}(?:is\b)?[^A-Za-z]{0,4}\(?([A-E])\b", re.I)
_ALONE = re.compile(r"\b([A-E])\W*$")
_ASKED = re.compile(r"(?:Calculate|Evaluate|What is|Work out|Total of|Sum)\s+([-\d.,()/*+ ]+?)[.?]?")
_PRODUCT = re.compile(r"(?:Multiply|Product of) (-?[\d.]+) and (-?[\d.]+)[.?]?|(-?[\d.]+) times (-?[\d.]+)")
DISPLAY = Fraction(1, 100)  # calculator notes round to cents
CENTS = 100
TAIL = 80  # characters of a solution in which it names its letter


def value_of(text: str) -> Fraction | None:
    """An arithmetic text as an exact fraction; None for anything else."""
    try:
        value = constant(parse(joined_thousands(plain(text))))
    except (Unreadable, Undefined):
        return None
    return value if isinstance(value, Fraction) else None


def gsm8k(problem: Problem, row: dict[str, Any]) -> Iterator[Finding]:
    """Calculator notes ``<<48/2=24>>`` that are false, and a last note that is not the gold.

    A note may round, to cents or to a whole number, and a step such as ``<<5*20*.01=1>>`` may be shown by a solver that
    rounds; only a difference that no rounding to its last digit explains counts.
    """
    notes = _NOTE.findall(row["answer"])
    for left, right in notes:
        made, said = value_of(left.replace("%", "/100")), value_of(right.replace("%", "/100"))
        if made is not None and said is not None and abs(made - said) > _rounding(right):
            yield Finding(problem.id, "step", f"{left} = {_shown(made)}, not {right}")
    gold, last = value_of(problem.gold), value_of(notes[-1][1]) if notes else None
    if gold is None or last is None or abs(last - gold) < 1:
        return
    closing = re.sub(r"<<[^<>]*>>", "", row["answer"].rpartition("####")[0].strip().rpartition("\n")[2])
    said = [value_of(found) for found in re.findall(r"-?\d[\d,]*\.?\d*", closing)]
    said += [Fraction(SPOKEN[word]) for word in re.findall(r"[a-z]+", closing.lower()) if word in SPOKEN]
    if not {gold, gold / CENTS} & set(said):
        yield Finding(problem.id, "own working", f"the last step gives {_shown(last)}, the gold is {problem.gold}")


def _rounding(said: str) -> Fraction:
    places = len(said.strip().partition(".")[2])
    return max(DISPLAY, Fraction(1, 10**places)) if places else Fraction(1)


def svamp(problem: Problem, row: dict[str, Any]) -> Iterator[Finding]:
    """A gold that is not the value of the equation beside it."""
    made, gold = value_of(row["Equation"]), value_of(problem.gold)
    if made is None or gold is None or abs(made - gold) > Fraction(1, 1000):
        shown = "no value" if made is None else _shown(made)
        yield Finding(problem.id, "own working", f"the equation gives {shown}, the gold is {problem.gold}")


def aqua(problem: Problem, row: dict[str, Any]) -> Iterator[Finding]:
    """A solution that ends in another letter than the gold."""
    tail = row["rationale"][-TAIL:]
    named, alone = _LETTER.findall(tail), _ALONE.search(tail)
    letter = named[-1].upper() if named else alone[1] if alone else None
    if letter is not None and letter != row["correct"]:
        yield Finding(problem.id, "own working", f"the solution ends in {letter}, the gold is {row['correct']}")


def math(problem: Problem, row: dict[str, Any]) -> Iterator[Finding]:
    """A solution with several boxes of which the last, taken as gold, is not the same as the others."""
    after = re.split(r"\\(?:boxed|fbox)(?![A-Za-z])\s*", row["solution"])[1:]
    boxes = [hendrycks.boxed_content("boxed" + rest)[0] for rest in after]
    boxes = [box for box in boxes if box and "phantom" not in box]
    if any(not equality.equivalent(box, problem.gold)[0] for box in boxes[:-1]):
        kept = f"boxes {'; '.join(box[:30] for box in boxes)}: the gold keeps {problem.gold[:30]}"
        yield Finding(problem.id, "several boxes", kept)


def mathematics(problem: Problem, row: dict[str, Any]) -> Iterator[Finding]:
    """A question of bare arithmetic whose value is not the gold."""
    found = _ASKED.fullmatch(row["question"].strip())
    product = _PRODUCT.search(row["question"].strip())
    if found and found[1].count("(") == found[1].count(")"):
        made = value_of(found[1])
    elif product:
        left, right = [one for one in product.groups() if one]
        made = value_of(f"({left})*({right})")
    else:
        return
    gold = value_of(problem.gold)
    if made is not None and gold is not None and made != gold:
        yield Finding(problem.id, "own working", f"the question's value is {_shown(made)}, the gold is {problem.gold}")


def theoremqa(problem: Problem, row: dict[str, Any]) -> Iterator[Finding]:
    """A question with a picture, which no text holds."""
    if row.get("Picture"):
        yield Finding(problem.id, "figure")


CHECKS: dict[str, Callable[[Problem, dict[str, Any]], Iterator[Finding]]] = {
    "gsm8k": gsm8k, "svamp": svamp, "aqua": aqua, "math": math, "mathematics": mathematics, "theoremqa": theoremqa,
}  # fmt: skip


def _shown(value: Fraction) -> str:
    return str(value) if value.denominator == 1 else f"{float(value):.6g}"
