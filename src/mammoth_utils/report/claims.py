"""The nine claims, written down before they are measured, and their verdicts from whatever records exist.

A claim has one or more parts, each a difference of accuracies with a margin, and each part has a verdict. It is
*reproduced* if its interval lies above the margin and *not reproduced* if below. It shows *no difference* if its
interval lies within half of the paper's own effect around zero, with every accuracy between 10 and 90 %. Else the data
*cannot tell*: so too where every accuracy is under 5 % or every one over 97 %, where one is under 5 % because fewer
than half of the answers could be read (then forms are compared, not models), and with fewer than eight families. The
claim has the worst verdict of its parts: not reproduced before cannot tell before no difference before reproduced.
Steps are reported beside the parts and decide nothing. The verdict is under the corrected rule; the published rule's
estimate stands beside it.

These are the second rules (2026-11-30). The first let no part count that had one accuracy under 5 %, and left eight of
nine claims untold, three of them 25 to 55 points wide.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import pandas as pd

from mammoth_utils.report import measured_models, statistics
from mammoth_utils.report.claim_definitions import (
    CLAIMS,
    Claim,
    CounterWorld,
    Part,
    models_of,
    paper_effects,
    paper_figures,
)
from mammoth_utils.report.development import read_half_widths
from mammoth_utils.report.measured_models import DecodedModel, EvaluationRecord, Seeds
from mammoth_utils.report.statistics import Interval, Sample
from mammoth_utils.vocabulary import RULES

REPRODUCED, NOT_REPRODUCED, NO_DIFFERENCE, CANNOT_TELL, NOT_MEASURED = (
    "reproduced", "not reproduced", "no difference", "cannot tell", "not measured here",
)  # fmt: skip
VERDICTS = (REPRODUCED, NOT_REPRODUCED, NO_DIFFERENCE, CANNOT_TELL, NOT_MEASURED)
FLOOR, CEILING = 0.05, 0.97
LEAST_FAMILIES, MOST_FAMILIES = 8, 10_000


@dataclass(frozen=True)
class PartResult:
    """A part as measured: its interval, the published rule's estimate, its verdict with the reason, its accuracies.

    Attributes:
        reason: A sentence without its full stop: ``finding``, and what it would take.
        finding: What was found.
        takes: What would decide, for a verdict that cannot be told; else empty.
    """

    name: str
    interval: Interval
    published_rule: float
    margin: float
    verdict: str
    reason: str
    finding: str
    takes: str
    accuracies: tuple[tuple[str, float], ...] = ()
    log_odds: bool = False

    @property
    def is_above(self) -> bool:
        """Whether its whole interval lies above its margin."""
        return self.interval.low > self.margin

    @property
    def difference(self) -> str:
        """The estimate and its interval, in points or in log-odds."""
        if not self.log_odds:
            return self.interval.points()
        return f"{self.interval.estimate:+.2f} [{self.interval.low:.2f}, {self.interval.high:.2f}] in log-odds"


@dataclass(frozen=True)
class ClaimResult:
    """A claim with its verdict.

    Attributes:
        paper: The paper's own figures for the same claim, in a sentence.
        estimate: Of the deciding part, as a fraction: of the parts with the claim's verdict, the one whose interval
            starts lowest above its margin. None where a model was not measured, as are ``low`` and ``high``.
        published_rule: The same part's estimate under the published rule.
        models: Label of each model, where it was measured (``this run`` or ``committed``) and the records' paths.
        command: The command that measures the missing models; empty if none is missing.
        deciding: The name of the deciding part; empty where a model was not measured.
        expected: The half-width of its interval that the development split foretold, as a fraction; None if not.
        this_run: The deciding part's estimate by this run's models alone, where others decide; else None.
        counter: What its counter-world shows, in a sentence; empty where it has none.
        counter_parts: The differences measured there.
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
    models: tuple[tuple[str, str, tuple[str, ...]], ...] = ()
    command: str = ""
    deciding: str = ""
    expected: float | None = None
    this_run: float | None = None
    counter: str = ""
    counter_parts: tuple[PartResult, ...] = ()

    @property
    def holds_in_counter_world(self) -> bool:
        """Whether it holds as well in the world that was made so that it must fail: the miniature does not test it."""
        return bool(self.counter_parts) and all(part.is_above for part in self.counter_parts)

    @property
    def telling_parts(self) -> tuple[PartResult, ...]:
        """The parts with the claim's own verdict, which its reason tells."""
        return tuple(part for part in self.parts if part.verdict == self.verdict)


def evaluate_claims(
    given: Iterable[EvaluationRecord | Mapping[str, Any]], claims: Sequence[Claim] = CLAIMS
) -> list[ClaimResult]:
    """Return each claim with estimate, interval and verdict, from the evaluation records that exist.

    Args:
        claims: Those of the miniature, or ``claim_definitions.real_claims()``.
    """
    evaluations, paper = measured_models.as_evaluations(given), paper_figures()
    return [_evaluate(claim, evaluations, paper[claim.id]) for claim in claims]


def _evaluate(claim: Claim, evaluations: Sequence[EvaluationRecord], paper: str) -> ClaimResult:
    common = (claim.id, claim.statement, claim.formula, claim.built_in, paper)
    # Where the models were measured before, with several seeds, these decide; this run is shown beside them.
    before = [evaluation for evaluation in evaluations if evaluation.origin != measured_models.THIS_RUN]
    decide = before if all(measured_models.seeds_by_model(claim.needs, before).values()) else evaluations
    measured = measured_models.seeds_by_model(models_of((*claim.parts, *claim.steps)), decide)
    where = tuple(
        (model.label, " and ".join(dict.fromkeys(e.origin for e, _ in seeds)), tuple(e.path for e, _ in seeds))
        for model, seeds in measured.items()
        if seeds
    )
    missing = [model.label for model in claim.needs if not measured[model]]
    if missing:
        reason = f"no record of {'; '.join(missing)}"
        return ClaimResult(*common, NOT_MEASURED, reason, models=where, command=claim.command)
    effects = paper_effects()[claim.id]
    parts = tuple(_measure(part, measured, effect) for part, effect in zip(claim.parts, effects, strict=True))
    steps = tuple(_measure(step, measured) for step in claim.steps if all(measured[model] for model in step.models))
    verdict, reason = _verdict(parts)
    counter, counter_parts = _measure_counter(claim.counter, decide, verdict)
    deciding = min(
        (part for part in parts if part.verdict == verdict), key=lambda part: part.interval.low - part.margin
    )
    here = [evaluation for evaluation in evaluations if evaluation.origin == measured_models.THIS_RUN]
    now = measured_models.seeds_by_model(claim.needs, here)
    this_run = None
    if decide is before and all(now.values()):
        (part,) = (part for part in claim.parts if part.name == deciding.name)
        this_run = statistics.contrast(part.samples(now, "corrected"), part.log_odds).estimate
    seeds = min(part.interval.seeds for part in parts)
    interval = deciding.interval
    return ClaimResult(
        *common, verdict, reason, interval.estimate, interval.low, interval.high,
        deciding.published_rule, seeds, parts, steps, where, deciding=deciding.name,
        expected=_expected_half_width(claim, deciding.name), this_run=this_run, counter=counter,
        counter_parts=counter_parts,
    )  # fmt: skip


def _expected_half_width(claim: Claim, part: str) -> float | None:
    """Return the half-width that the development split foretold for a part; None for a real model, which has none."""
    return read_half_widths().get(claim.id, {}).get(part) if claim in CLAIMS else None


def _measure_counter(
    world: CounterWorld | None, evaluations: Sequence[EvaluationRecord], verdict: str
) -> tuple[str, tuple[PartResult, ...]]:
    """Return what a claim's counter-world shows, in a sentence, and the differences measured there.

    Args:
        verdict: The claim's own; where it does not hold already, a world in which it must fail decides nothing.
    """
    if world is None:
        return "", ()
    measured = measured_models.seeds_by_model(models_of(world.parts), evaluations)
    if not all(measured.values()):
        return f"Where {world.differs}, nothing is measured yet; `make book-full` measures it", ()
    parts = tuple(_measure(part, measured) for part in world.parts)
    holds = all(part.is_above for part in parts)
    turned = any(part.interval.high < part.margin for part in parts)
    if verdict == REPRODUCED:
        outcome = (
            "it holds as well, so that the miniature does not test it" if holds
            else "it comes out the other way, as it must" if turned
            else "it vanishes, as it must"
        )  # fmt: skip
    else:
        outcome = "it holds" if holds else "it fails too, which decides nothing" if turned else "it is not seen either"
    differences = "; ".join(f"{part.difference} points" for part in parts)
    return f"Where {world.differs}, {outcome}: {differences} (95 % interval, {parts[0].interval.scope})", parts


def _measure(part: Part, measured: Mapping[DecodedModel, Seeds], effect: float | None = None) -> PartResult:
    """Return a part's interval and its own verdict; ``effect`` is the paper's, in points."""
    terms = {rule: part.samples(measured, rule) for rule in RULES}
    interval = statistics.contrast(terms["corrected"], part.log_odds)
    published_rule = statistics.contrast(terms["published"], part.log_odds).estimate
    cells = tuple(
        (model.label, sample) for (_, model, _), (_, sample) in zip(part.terms, terms["corrected"], strict=True)
    )
    judgement = _judge(part, interval, cells, effect)
    accuracies = tuple((label, sample.accuracy) for label, sample in cells)
    return PartResult(part.name, interval, published_rule, part.margin, *judgement, accuracies, part.log_odds)


def _judge(
    part: Part, interval: Interval, cells: Sequence[tuple[str, Sample]], effect: float | None
) -> tuple[str, str, str, str]:
    """Return a part's verdict, its reason, its finding and what it would take, as ``PartResult`` has them."""
    shares = [cell.accuracy for _, cell in cells]
    unread = [label for label, cell in cells if cell.accuracy < FLOOR and cell.answered < 0.5]
    margin = f"{100 * part.margin:g} points" if part.margin else "zero"
    within = max(effect or 0.0, 0.0) / 200 if not part.margin else 0.0  # a margin says already what does not matter
    says, points = part.says or f"{part.name} is above {margin}", 100 * interval.estimate
    measured = (
        f"{100 * interval.low:.1f} to {100 * interval.high:.1f}; {interval.families} {_clusters(interval)}, "
        f"{interval.scope}"
    )
    differs = f"the difference is {points:+.1f} points (95 % interval {measured})"
    untold = f"whether {says} cannot be told: {differs}"
    if max(shares) < FLOOR or min(shares) > CEILING:
        bound = f"under {FLOOR:.0%}" if max(shares) < FLOOR else f"over {CEILING:.0%}"
        untold += f", with every accuracy {bound}".replace("%", " %")
        takes = "problems of another difficulty"
    elif unread:
        untold += (
            f", but most answers of {' and '.join(unread)} cannot be read, so that it may be form and not mathematics"
        )
        takes = "a model that answers in the form asked for"
    elif interval.families < LEAST_FAMILIES:
        clusters = _clusters(interval).removeprefix("problem ")
        untold, takes = f"{untold}, but fewer than {LEAST_FAMILIES} {clusters} decide nothing", "that many"
    elif interval.low > part.margin:
        by = f"by {points:.1f} points" if points > 0 else f"with {points:+.1f} points"
        return _decided(REPRODUCED, f"{says} {by} (95 % interval {measured})")
    elif interval.high < part.margin:
        return _decided(NOT_REPRODUCED, f"it is not so that {says}: {differs}")
    elif -within < interval.low and interval.high < within and min(shares) >= 0.1 and max(shares) <= 0.9:
        paper = f"half of the paper's {effect:.1f} points"
        return _decided(NO_DIFFERENCE, f"it does not show that {says}: {differs}, within {paper}")
    else:
        size, needed = _what_it_takes(part, interval)
        includes = f"the interval includes {margin}"
        reason = f"{untold}, and {includes}; to tell one {size} would take {needed}"
        return CANNOT_TELL, reason, f"{untold}; {includes}", f"{needed}, to tell a difference {size}"
    return CANNOT_TELL, f"{untold}; it would take {takes}", untold, takes


def _decided(verdict: str, finding: str) -> tuple[str, str, str, str]:
    return verdict, finding, finding, ""


def _what_it_takes(part: Part, interval: Interval) -> tuple[str, str]:
    """Return in words how large the measured difference is and how many families would tell it.

    The widths of intervals go by the root of the number of families.
    """
    clusters = _clusters(interval).removeprefix("problem ")
    half, apart = (interval.high - interval.low) / 2, abs(interval.estimate - part.margin)
    needed = interval.families * (half / apart) ** 2 if apart else math.inf
    if needed > MOST_FAMILIES:
        return "so small", f"more than {MOST_FAMILIES:,} {clusters}"
    needed = math.ceil(needed / 10) * 10
    return "of this size", f"about {needed:,} {clusters}, and more seeds in proportion"


def _clusters(interval: Interval) -> str:
    """Return what stands or falls together: a family of problems, or each problem by itself."""
    return "problems" if interval.families == interval.items else "problem families"


def _verdict(parts: Sequence[PartResult]) -> tuple[str, str]:
    """Return the claim's verdict, its parts' worst, and the sentences that tell it, without the last full stop."""
    order = (NOT_REPRODUCED, CANNOT_TELL, NO_DIFFERENCE, REPRODUCED)
    verdict = min((part.verdict for part in parts), key=order.index)
    return verdict, join_sentences(part.reason for part in parts if part.verdict == verdict)


def join_sentences(sentences: Iterable[str]) -> str:
    """Return sentences one after the other, each with a capital letter, without the last full stop."""
    return ". ".join(sentence[0].upper() + sentence[1:] for sentence in sentences)


def table(results: Sequence[ClaimResult]) -> pd.DataFrame:
    """Return the claims in percentage points, one row a claim, empty where nothing was measured."""
    rows = []
    for result in results:
        measured = result.estimate is not None
        origins = dict.fromkeys(origin for _, origin, _ in result.models)
        rows.append({
            "claim": result.id, "statement": result.statement, "verdict": result.verdict,
            "difference": f"{100 * result.estimate:+.1f}" if measured else "",
            "95 % interval": f"{100 * result.low:.1f} to {100 * result.high:.1f}" if measured else "",
            "half-width expected": "" if result.expected is None else f"{100 * result.expected:.1f}",
            "this run": _beside(result),
            "published rule": f"{100 * result.published_rule:+.1f}" if measured else "",
            "the paper": result.paper, "seeds": result.seeds or "",
            "measured in": ", ".join(origins) if measured else "",
            "reason": result.reason if measured else f"{result.reason}; measure it with `{result.command}`",
            "built in": result.built_in,
        })  # fmt: skip
    return pd.DataFrame(rows)


def _beside(result: ClaimResult) -> str:
    """Return this run's estimate beside the committed interval."""
    if result.this_run is None:
        return ""
    return f"{100 * result.this_run:+.1f}"


def count_verdicts(results: Sequence[ClaimResult]) -> str:
    """Return a sentence that counts the claims by verdict."""
    by_verdict = {verdict: [result.id for result in results if result.verdict == verdict] for verdict in VERDICTS}
    parts = [f"{len(ids)} {verdict} ({', '.join(ids)})" for verdict, ids in by_verdict.items() if ids]
    seeds = [result.seeds for result in results if result.seeds]
    scope = " With one seed a verdict is about that model only." if seeds and min(seeds) == 1 else ""
    return f"Of {len(results)} claims: {', '.join(parts)}.{scope}"


def outcome(result: ClaimResult) -> str:
    """Return one claim's outcome in a sentence: its reason where measured, else the command that measures it."""
    if result.estimate is None:
        return f"{result.id}: {result.verdict} ({result.reason}); `{result.command}` measures it."
    return f"{result.id}: {result.verdict}. {result.reason}."


def between_rules(result: ClaimResult, part: str) -> str:
    """Return a part of C1 or C3 under both rules in words, and why they differ; empty where it was not measured."""
    found = next((one for one in result.parts if one.name == part), None)
    if found is None:
        return ""
    corrected, by_published = 100 * found.interval.estimate, 100 * found.published_rule
    turns = "has another sign under" if corrected * by_published < 0 else "is another under"
    return (
        f"The difference {part} {turns} the two rules: {corrected:+.1f} points under the corrected one, "
        f"{by_published:+.1f} under the published one. On multiple choice a program prints a value. The corrected rule "
        "takes the option that has this value; the published rule finds no letter in it and counts it wrong, so that "
        "there only prose can answer."
    )


def beside(result: ClaimResult, step: str) -> str:
    """Return a difference that stands beside a claim, in points with its interval, or that it is not measured."""
    return next((one.difference for one in result.steps if one.name == step), NOT_MEASURED)
