"""The nine claims, written down before they are measured, and their verdicts from whatever records exist.

A claim has one or more parts, each a difference of accuracies with a margin. It is *reproduced* if the interval of
every part lies above its margin, *not reproduced* if that of one lies below, and *cannot tell* otherwise. A cell under
5 % or over 97 % supports no claim: at the floor a model may have failed at the form of the answer, at the ceiling
nothing is left to gain. Steps are reported beside the parts and decide nothing. The verdict is under the corrected
rule; the published rule's estimate stands beside it.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import pandas as pd

from mammoth_utils.report import cells, statistics
from mammoth_utils.report.cells import Cell, Measured
from mammoth_utils.report.claim_definitions import CLAIMS, Claim, Part, paper_figures
from mammoth_utils.report.statistics import Interval, Sample
from mammoth_utils.vocabulary import RULES

REPRODUCED, NOT_REPRODUCED, CANNOT_TELL, NOT_MEASURED = (
    "reproduced", "not reproduced", "cannot tell", "not measured here",
)  # fmt: skip
VERDICTS = (REPRODUCED, NOT_REPRODUCED, CANNOT_TELL, NOT_MEASURED)
FLOOR, CEILING = 0.05, 0.97


@dataclass(frozen=True)
class PartResult:
    """A part as measured: its interval, the published rule's estimate, its own verdict with the reason, its cells."""

    name: str
    interval: Interval
    published_rule: float
    margin: float
    verdict: str
    reason: str
    accuracies: tuple[tuple[str, float], ...] = ()


@dataclass(frozen=True)
class ClaimResult:
    """A claim with its verdict.

    Attributes:
        estimate: The deciding part's, as a fraction: the one whose interval starts lowest above its margin; None
            where a cell is missing, as are ``low`` and ``high``.
        published_rule: The same part's estimate under the published rule.
        cells: Label of each cell, where it was measured (``this run`` or ``committed``) and the records' paths.
        command: What measures the missing cells; empty if there is none.
        paper: The paper's own figures for the same claim, in a sentence.
    """

    id: str
    statement: str
    formula: str
    built_in: str
    paper: str
    verdict: str
    reason: str
    estimate: float | None = None
    low: float | None = None
    high: float | None = None
    published_rule: float | None = None
    seeds: int = 0
    parts: tuple[PartResult, ...] = ()
    steps: tuple[PartResult, ...] = ()
    cells: tuple[tuple[str, str, tuple[str, ...]], ...] = field(default=())
    command: str = ""


def evaluate_claims(records: Iterable[Measured | Mapping[str, Any]]) -> list[ClaimResult]:
    """Each claim with estimate, interval and verdict, from the evaluation records that exist.

    Args:
        records: As :func:`cells.read` finds them, or plain records.
    """
    given = cells.measured(records)
    paper = paper_figures()
    return [_evaluate(claim, given, paper[claim.id]) for claim in CLAIMS]


def _evaluate(claim: Claim, given: Sequence[Measured], paper: str) -> ClaimResult:
    common = (claim.id, claim.statement, claim.formula, claim.built_in, paper)
    filled = {cell: cells.fill(cell, given) for cell in _wanted(claim)}
    where = tuple(
        (cell.label, " and ".join(dict.fromkeys(one.origin for one, _ in found)), tuple(one.path for one, _ in found))
        for cell, found in filled.items()
        if found
    )
    missing = [cell.label for cell in claim.needs if not filled[cell]]
    if missing:
        reason = f"no record of {'; '.join(missing)}"
        return ClaimResult(*common, NOT_MEASURED, reason, cells=where, command=claim.command)
    parts = tuple(_measure(part, filled) for part in claim.parts)
    steps = tuple(_measure(step, filled) for step in claim.steps if all(filled[cell] for _, cell, _ in step.terms))
    deciding = min(parts, key=lambda part: part.interval.low - part.margin)
    verdict, reason = _verdict(parts)
    seeds = min(part.interval.seeds for part in parts)
    scope = f"{deciding.interval.families} families, {deciding.interval.scope}"
    interval = deciding.interval
    return ClaimResult(
        *common, verdict, f"{reason}; {scope}", interval.estimate, interval.low, interval.high,
        deciding.published_rule, seeds, parts, steps, where,
    )  # fmt: skip


def _wanted(claim: Claim) -> list[Cell]:
    return list(dict.fromkeys(cell for part in (*claim.parts, *claim.steps) for _, cell, _ in part.terms))


def _measure(part: Part, filled: Mapping[Cell, list]) -> PartResult:
    """A part's interval and verdict by itself."""
    judged: dict[str, list[tuple[float, Sample]]] = {}
    for rule in RULES:
        judged[rule] = []
        for factor, cell, items in part.terms:
            drawn = cells.sample(filled[cell], rule=rule, **items)
            if drawn is None:
                raise ValueError(f"no items of {dict(items)} in the records of {cell.label}, which {part.name!r} needs")
            judged[rule].append((factor, drawn))
    interval = statistics.contrast(judged["corrected"])
    loose = sum(factor * drawn.accuracy for factor, drawn in judged["published"])
    verdict, reason = _judge(part, interval, [drawn.accuracy for _, drawn in judged["corrected"]])
    pairs = zip(part.terms, judged["corrected"], strict=True)
    accuracies = tuple((cell.label, drawn.accuracy) for (_, cell, _), (_, drawn) in pairs)
    return PartResult(part.name, interval, loose, part.margin, verdict, reason, accuracies)


def _judge(part: Part, interval: Interval, accuracies: Sequence[float]) -> tuple[str, str]:
    mute = []
    for (_, cell, _), accuracy in zip(part.terms, accuracies, strict=True):
        if not FLOOR <= accuracy <= CEILING:
            bound = f"under {FLOOR:.0%}" if accuracy < FLOOR else f"over {CEILING:.0%}"
            mute.append(f"{cell.label} is at {accuracy:.1%}, {bound}".replace("%", " %"))
    if mute:
        return CANNOT_TELL, f"{part.name}: {'; '.join(dict.fromkeys(mute))}, which supports no claim"
    margin = f"{100 * part.margin:g} points" if part.margin else "0"
    shown = f"{part.name}: {interval.points()} points"
    if interval.low > part.margin:
        return REPRODUCED, f"{shown}, above {margin}"
    if interval.high < part.margin:
        return NOT_REPRODUCED, f"{shown}, below {margin}"
    return CANNOT_TELL, f"{shown}, contains {margin}"


def _verdict(parts: Sequence[PartResult]) -> tuple[str, str]:
    """The claim's verdict: one part that fails outweighs one that cannot tell; all have to hold."""
    for verdict in (NOT_REPRODUCED, CANNOT_TELL, REPRODUCED):
        found = [part.reason for part in parts if part.verdict == verdict]
        if found:
            return verdict, "; ".join(found)
    raise ValueError("a claim without parts has no verdict")


def table(results: Sequence[ClaimResult]) -> pd.DataFrame:
    """The claims as a frame in percentage points, one row a claim, empty where nothing was measured."""
    rows = []
    for one in results:
        measured = one.estimate is not None
        interval = f"{100 * one.low:.1f} to {100 * one.high:.1f}" if measured else ""
        rows.append({
            "claim": one.id, "statement": one.statement, "verdict": one.verdict,
            "difference": f"{100 * one.estimate:+.1f}" if measured else "", "95 % interval": interval,
            "published rule": f"{100 * one.published_rule:+.1f}" if measured else "",
            "the paper": one.paper, "seeds": one.seeds or "", "measured in": _origins(one),
            "reason": one.reason if measured else f"{one.reason}; measure it with `{one.command}`",
            "built in": one.built_in,
        })  # fmt: skip
    return pd.DataFrame(rows)


def sentence(results: Sequence[ClaimResult]) -> str:
    """How the claims fared, in a sentence that fits whatever was found."""
    found = {verdict: [one.id for one in results if one.verdict == verdict] for verdict in VERDICTS}
    words = {
        REPRODUCED: "reproduced", NOT_REPRODUCED: "not reproduced", CANNOT_TELL: "undecided",
        NOT_MEASURED: "not measured here",
    }  # fmt: skip
    parts = [f"{len(ids)} {words[verdict]} ({', '.join(ids)})" for verdict, ids in found.items() if ids]
    seeds = [one.seeds for one in results if one.seeds]
    scope = " With one seed a verdict is about that model only." if seeds and min(seeds) == 1 else ""
    return f"Of {len(results)} claims: {', '.join(parts)}.{scope}"


def told(result: ClaimResult) -> str:
    """One claim's outcome in a sentence: its reason where measured, else what measures it."""
    if result.estimate is None:
        return f"{result.id} is {result.verdict} ({result.reason}): `{result.command}` measures it."
    return f"{result.id} is {result.verdict}: {result.reason}.".replace("is cannot tell", "is undecided")


def _origins(result: ClaimResult) -> str:
    return ", ".join(dict.fromkeys(origin for _, origin, _ in result.cells)) if result.estimate is not None else ""
