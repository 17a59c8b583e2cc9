"""What ``\\boxed`` holds."""

from __future__ import annotations

import re

from mammoth_utils.grading._formulas.notation import unwrapped
from mammoth_utils.grading.benchmarks import Benchmark
from mammoth_utils.grading.corrected.clauses import stripped
from mammoth_utils.grading.corrected.equality import equivalent
from mammoth_utils.grading.corrected.option_letters import Read

# What may stand between the boxes of one answer: "and", "or", a comma, spaces, and the next one's name.
_BETWEEN = re.compile(
    r"(?:[\s$,;\\()\[\]]|\\(?:quad|qquad)(?![A-Za-z]))*(?:\\text\s*\{)?\s*(?:and|or)?\s*\}?(?:[\s$,;\\()\[\]]|\\(?:quad|qquad)(?![A-Za-z]))*"
    r"(?P<name>[A-Za-z](?:_\{?\w+\}?)?\s*=\s*)?"
)
# "... and the width is": another quantity of the same sentence.
_NAMED = re.compile(r"[\s$]*[,;]?[\s$]*(?:and\s+)?(?:the\s+)?[A-Za-z]+(?:\s+[A-Za-z]+)?\s*(?:\bis|:)[\s$]*", re.I)
_NAME = re.compile(r"(?<![A-Za-z\\^_])[A-Za-z](?:_\{?\w+\}?)?\s*=\s*\Z")
_DIGITS = re.compile(r"\s*(-?\d[\d.,]*)(?=\W|$)")
LONGEST_GAP = 60  # characters between two boxes of one answer
Span = tuple[int, int]


def boxed(prose: str, start: int, end: int, at: int, benchmark: Benchmark) -> Read | None:
    """Return what the last ``\\boxed`` holds, with the boxes just before it that belong to one answer.

    Two boxes are one answer on MATH, Mathematics and TheoremQA where only ``and``, ``or``, a comma or a name stands
    between them (``x = \\boxed{7}, y = \\boxed{2}``); the same box again is one. A box that is cut off counts only
    where no whole one stands before it. SimulEq asks for several unknowns and its gold keeps one, mostly the first
    asked: of several boxes the first is read.

    Args:
        at: Where the last command ends.
    """
    if benchmark.several:
        filled = re.search(r"\\boxed\s*\{\s*(?=[^}\s])", prose[start:end])
        at = start + filled.start() + len("\\boxed") if filled else at
    inside = unwrapped(prose, at)
    around = prose.rfind("\\boxed", start, at - len("\\boxed"))
    if around >= 0 and (outer := unwrapped(prose, around + len("\\boxed"))) and outer[0] < at < outer[1]:
        inside = outer  # a box within a box
    if inside is None:
        before = _box_before(prose, start, at - len("\\boxed"))
        if before is not None and prose[at:end].lstrip().startswith("{"):
            inside = before
        else:
            return _without_braces(prose, at)
    nested = prose.rfind("\\boxed", inside[0], inside[1])
    if nested >= 0 and (deeper := unwrapped(prose, nested + len("\\boxed"))):
        alone = not prose[inside[0] : nested].strip(" $") and not prose[deeper[1] + 1 : inside[1]].strip(" $")
        inside = deeper if alone else inside
    spans, names = [inside], [_name(prose, inside)]
    while benchmark.expression:
        opening = prose.rfind("\\", 0, spans[0][0])
        earlier = _box_before(prose, start, opening)
        between = prose[earlier[1] + 1 : opening] if earlier else ""
        if (
            earlier is None
            or len(between) > LONGEST_GAP
            or not (_BETWEEN.fullmatch(between) or _NAMED.fullmatch(between))
        ):
            break
        spans.insert(0, earlier)
        names.insert(0, _name(prose, earlier))
    values = [prose[left:right].strip() for left, right in spans]
    if all(equivalent(value, values[-1])[0] for value in values):  # one value, boxed again
        return stripped(prose[inside[0] : inside[1]], inside[0])
    values = [f"{name}{value}" for name, value in zip(names, values, strict=True)] if all(names) else values
    return ", ".join(dict.fromkeys(values)), (spans[0][0], spans[-1][1])


def _box_before(prose: str, start: int, end: int) -> Span | None:
    """Return the inside of the last box that closes before a position."""
    opening = prose.rfind("\\boxed", start, end)
    inside = unwrapped(prose, opening + len("\\boxed")) if opening >= 0 else None
    return inside if inside is not None and inside[1] < end and prose[slice(*inside)].strip() else None


def _name(prose: str, inside: Span) -> str:
    """Return the ``x =`` before a box, outside of it or in it."""
    before = _NAME.search(prose, max(0, (opening := prose.rfind("\\", 0, inside[0])) - 20), opening)
    return before.group().rstrip() + " " if before else ""


def _without_braces(prose: str, at: int) -> Read:
    """Return what stands behind a box without braces, or whose braces never close: to the line's end or a dollar."""
    if digits := _DIGITS.match(prose, at):
        return digits[1].rstrip(".,"), (digits.start(1), digits.start(1) + len(digits[1].rstrip(".,")))
    line = prose.find("\n", at)
    stop = line if line >= 0 else len(prose)
    dollar = prose.find("$", at, stop)
    inside = (at, dollar if dollar >= 0 else stop)
    return stripped(prose[inside[0] : inside[1]], inside[0])
