"""Checks of a gold against the worked solution in the same row: equations, calculator notes, the letter at its end.

Each check is exact arithmetic on what the row itself states, so that a reader can follow a finding by hand. A row that
passes may still be wrong: most wrong golds come from wrong reasoning, which no check here reads.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from fractions import Fraction

from mammoth_utils.audit.golds import Finding
from mammoth_utils.grading import SPOKEN, boxed_content, constant_value, equivalent
from mammoth_utils.rationale import Problem
from mammoth_utils.records import Record

_NOTE = re.compile(r"<<([^<>=]+)=([^<>=]+)>>")
_NAMED_LETTER = re.compile(
    r"(?:answer|ans|option|correct|choice)\b[^A-Za-z]{0,6}(?:is\b)?[^A-Za-z]{0,4}\(?([A-E])\b", re.I
)
_LAST_LETTER = re.compile(r"\b([A-E])\W*$")
_ARITHMETIC = re.compile(r"(?:Calculate|Evaluate|What is|Work out|Total of|Sum)\s+([-\d.,()/*+ ]+?)[.?]?")
_PRODUCT = re.compile(r"(?:Multiply|Product of) (-?[\d.]+) and (-?[\d.]+)[.?]?|(-?[\d.]+) times (-?[\d.]+)")
CENT = Fraction(1, 100)  # calculator notes round to cents
SOLUTION_END = 80  # last characters of a solution, in which it names its letter


def exact_value(text: str) -> Fraction | None:
    """Return the value of an arithmetic text as an exact fraction; None for anything else."""
    value = constant_value(text)
    return value if isinstance(value, Fraction) else None


def check_gsm8k(problem: Problem, row: Record) -> Iterator[Finding]:
    """Yield the calculator notes (``<<48/2=24>>``) that are false, and a last note that is not the gold.

    A note may round, to cents or to a whole number, and a step such as ``<<5*20*.01=1>>`` is shown rounded by some
    solvers; only a difference that no rounding to its last digit explains counts.
    """
    notes = _NOTE.findall(row["answer"])
    for left, right in notes:
        value, stated = exact_value(left.replace("%", "/100")), exact_value(right.replace("%", "/100"))
        if value is not None and stated is not None and abs(value - stated) > _rounding_error(right):
            yield Finding(problem.id, "step", f"{left} = {_shown(value)}, not {right}")
    gold, last = exact_value(problem.gold), exact_value(notes[-1][1]) if notes else None
    if gold is None or last is None or abs(last - gold) < 1:
        return
    closing = re.sub(r"<<[^<>]*>>", "", row["answer"].rpartition("####")[0].strip().rpartition("\n")[2])
    stated_values = {exact_value(number) for number in re.findall(r"-?\d[\d,]*\.?\d*", closing)}
    stated_values |= {Fraction(SPOKEN[word]) for word in re.findall(r"[a-z]+", closing.lower()) if word in SPOKEN}
    if not {gold, gold * CENT} & stated_values:
        yield Finding(problem.id, "own working", f"the last step gives {_shown(last)}, the gold is {problem.gold}")


def _rounding_error(number: str) -> Fraction:
    places = len(number.strip().partition(".")[2])
    return max(CENT, Fraction(1, 10**places)) if places else Fraction(1)


def check_svamp(problem: Problem, row: Record) -> Iterator[Finding]:
    """Yield a finding if the gold is not the value of the row's equation."""
    value, gold = exact_value(row["Equation"]), exact_value(problem.gold)
    if value is None or gold is None or abs(value - gold) > Fraction(1, 1000):
        shown = "no value" if value is None else _shown(value)
        yield Finding(problem.id, "own working", f"the equation gives {shown}, the gold is {problem.gold}")


def check_aqua(problem: Problem, row: Record) -> Iterator[Finding]:
    """Yield a finding if the solution ends in another letter than the gold."""
    end = row["rationale"][-SOLUTION_END:]
    named, last = _NAMED_LETTER.findall(end), _LAST_LETTER.search(end)
    letter = named[-1].upper() if named else last[1] if last else None
    if letter is not None and letter != row["correct"]:
        yield Finding(problem.id, "own working", f"the solution ends in {letter}, the gold is {row['correct']}")


def check_math(problem: Problem, row: Record) -> Iterator[Finding]:
    """Yield a finding if the solution has several boxes, and the last, which is the gold, differs from another."""
    after = re.split(r"\\(?:boxed|fbox)(?![A-Za-z])\s*", row["solution"])[1:]
    boxes = [boxed_content("boxed" + rest)[0] for rest in after]
    boxes = [box for box in boxes if box and "phantom" not in box]
    if any(not equivalent(box, problem.gold)[0] for box in boxes[:-1]):
        detail = f"boxes {'; '.join(box[:30] for box in boxes)}: the gold keeps {problem.gold[:30]}"
        yield Finding(problem.id, "several boxes", detail)


def check_mathematics(problem: Problem, row: Record) -> Iterator[Finding]:
    """Yield a finding if the question is plain arithmetic with another value than the gold."""
    arithmetic = _ARITHMETIC.fullmatch(row["question"].strip())
    product = _PRODUCT.search(row["question"].strip())
    if arithmetic and arithmetic[1].count("(") == arithmetic[1].count(")"):
        value = exact_value(arithmetic[1])
    elif product:
        left, right = [factor for factor in product.groups() if factor]
        value = exact_value(f"({left})*({right})")
    else:
        return
    gold = exact_value(problem.gold)
    if value is not None and gold is not None and value != gold:
        yield Finding(problem.id, "own working", f"the question's value is {_shown(value)}, the gold is {problem.gold}")


def check_theoremqa(problem: Problem, row: Record) -> Iterator[Finding]:
    """Yield a finding if the question comes with a picture, which no text contains."""
    if row.get("Picture"):
        yield Finding(problem.id, "figure")


CHECKS: dict[str, Callable[[Problem, Record], Iterator[Finding]]] = {
    "gsm8k": check_gsm8k, "svamp": check_svamp, "aqua": check_aqua, "math": check_math,
    "mathematics": check_mathematics, "theoremqa": check_theoremqa,
}  # fmt: skip


def _shown(value: Fraction) -> str:
    return str(value) if value.denominator == 1 else f"{float(value):.6g}"
