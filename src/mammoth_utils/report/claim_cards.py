"""The claims as cards: a sentence, a forest plot with every interval, the verdict in words, and what lies behind it.

The miniature and the real model stand on the same axis of a card, since both are ours and only differences are drawn;
the paper's figures stay in a sentence below.
"""

from __future__ import annotations

import html
import textwrap
from collections.abc import Sequence
from itertools import zip_longest

from mammoth_utils.report.claims import (
    CANNOT_TELL,
    NO_DIFFERENCE,
    NOT_MEASURED,
    NOT_REPRODUCED,
    REPRODUCED,
    ClaimResult,
    PartResult,
    join_sentences,
)
from mammoth_utils.report.palette import VERDICTS, themed
from mammoth_utils.report.table_markup import Markup, prose

WIDTH, LEFT, RIGHT = 320, 4, 316  # of the plot, in pixels at the size at which its text has that of the page
LINE, GAP, LETTERS = 18, 10, 35
MINIATURE, REAL = "miniature", "real, 0.5B, one seed"
_SIGNS = {REPRODUCED: "✓", NOT_REPRODUCED: "✗", NO_DIFFERENCE: "=", CANNOT_TELL: "?", NOT_MEASURED: "–"}


def cards(results: Sequence[ClaimResult], real: Sequence[ClaimResult] = ()) -> Markup:
    """Return one card a claim.

    Args:
        results: Of the miniature.
        real: The same claims on the real model; those that are not measured say what measures them.
    """
    second = {result.id: result for result in real}
    return Markup(f'<div class="bk-claims">{"".join(_card(result, second.get(result.id)) for result in results)}</div>')


def _card(result: ClaimResult, real: ClaimResult | None) -> str:
    verdicts = _verdict(MINIATURE, result.verdict) + (_verdict(REAL, real.verdict) if real else "")
    told = [("Miniature", _reason(result))] + ([("Real model", _reason(real))] if real else [])
    takes = [
        (name, take) for name, one in (("miniature", result), ("real model", real)) if one and (take := _takes(one))
    ]
    lines = [f"<p><strong>{name}.</strong> {prose(text)}</p>" for name, text in told]
    for title, tell in (("By the published rule", _by_published), ("Beside it, deciding nothing", _steps)):
        found = [(name, tell(one)) for name, one in (("miniature", result), ("real model", real)) if one and tell(one)]
        if found:
            text = " ".join(f"{name.capitalize()}: {what}." for name, what in found)
            lines.append(f"<p><strong>{title}.</strong> {prose(text)}</p>")
    lines.append(f"<p><strong>The paper.</strong> {prose(_sentence(result.paper))}</p>")
    lines.append(f"<p><strong>What the world builds in.</strong> {prose(result.built_in)}</p>")
    if result.counter:
        lines.append(f"<p><strong>In a counter-world.</strong> {prose(_sentence(result.counter))}</p>")
    if takes:
        needed = " ".join(f"For the {name}: {text}." for name, text in takes)
        lines.append(f"<p><strong>What it would take.</strong> {prose(needed)}</p>")
    return (
        f'<section class="bk-claim" id="claim-{result.id}" aria-label="Claim {result.id}">'
        f'<p class="bk-claim-title"><a href="#claim-{result.id}">{result.id}</a> {prose(result.statement)}</p>'
        f'<p class="bk-verdicts">{verdicts}</p>{forest(result, real)}{"".join(lines)}</section>'
    )


def _verdict(where: str, verdict: str) -> str:
    style = f"border-left:0.4em solid {themed(VERDICTS[verdict])};padding-left:0.4em"
    return (
        f'<span class="bk-verdict" style="{style}"><span aria-hidden="true">{_SIGNS[verdict]}</span> '
        f"<strong>{html.escape(verdict)}</strong> ({html.escape(where)})</span> "
    )


def _reason(result: ClaimResult) -> str:
    """Return why, without what it would take, which stands on a line of its own."""
    if result.verdict == NOT_MEASURED:
        return "Not measured here."
    return _sentence(join_sentences(part.finding for part in result.telling_parts))


def _takes(result: ClaimResult) -> str:
    """Return what a verdict would take where there is none; empty where it stands."""
    if result.verdict == NOT_MEASURED:
        return f"`{result.command}`, which measures it"
    return "; ".join(dict.fromkeys(part.takes for part in result.telling_parts if part.takes))


def _by_published(result: ClaimResult) -> str:
    """Return each part's difference under the published rule; empty where nothing was measured."""
    return "; ".join(f"{part.name} {100 * part.published_rule:+.1f}" for part in result.parts)


def _steps(result: ClaimResult) -> str:
    """Return the differences that stand beside a claim's parts, with their intervals."""
    return "; ".join(f"{step.name} {step.difference}" for step in result.steps)


def _sentence(text: str) -> str:
    text = text[:1].upper() + text[1:]
    return text if text.endswith(".") else f"{text}."


def forest(result: ClaimResult, real: ClaimResult | None = None) -> Markup:
    """Return the differences of a claim with their 95 % intervals as SVG; empty where nothing was measured.

    A filled circle is the miniature's, a filled diamond the real model's; the verdict's colour is on both.
    """
    groups = [
        [(where, part) for where, part in ((_miniature(own), own), (REAL, other)) if part]
        for own, other in zip_longest(result.parts, real.parts if real else ())
    ]
    if not groups:
        return Markup("")
    drawn = [part for group in groups for _, part in group]
    reach = max(abs(100 * bound) for part in drawn for bound in (part.interval.low, part.interval.high))
    reach = max(5.0, 5.0 * -(-reach // 5))

    def across(points: float) -> str:
        return f"{LEFT + (RIGHT - LEFT) * (points + reach) / (2 * reach):.1f}"

    y, marks = 2, []
    for group in groups:
        for line in textwrap.wrap(group[0][1].name, LETTERS):
            y += LINE
            marks.append(f'<text x="{LEFT}" y="{y}" font-weight="600">{html.escape(line)}</text>')
        for where, part in group:
            low, middle, high = (
                100 * value for value in (part.interval.low, part.interval.estimate, part.interval.high)
            )
            y += LINE
            x, colour = float(across(middle)), themed(VERDICTS[part.verdict])
            diamond = f"M{x - 7:.1f} {y}L{x} {y - 7}L{x + 7:.1f} {y}L{x} {y + 7}Z"
            mark = f'<path d="{diamond}"/>' if where == REAL else f'<circle cx="{x}" cy="{y}" r="6"/>'
            tick = _upright(across(100 * part.margin), y - 9, y + 9, 1.0) if part.margin else ""
            zero = _upright(across(0), y - 12, y + 8, 0.6)
            ends = f'x1="{across(low)}" x2="{across(high)}" y1="{y}" y2="{y}"'
            y += LINE + 4
            marks.append(
                f'{zero}<g fill="{colour}" stroke="{colour}"><line stroke-width="3" {ends}/>{mark}</g>{tick}'
                f'<text x="{LEFT}" y="{y}">{middle:+.1f} [{low:.1f}, {high:.1f}], {html.escape(where)}</text>'
            )
        y += GAP
    axis = [f'<text text-anchor="middle" x="{across(0)}" y="{y + LINE}">0</text>']
    axis += [
        f'<text text-anchor="{anchor}" x="{across(value)}" y="{y + LINE}">{value:+.0f}</text>'
        for value, anchor in ((-reach, "start"), (reach, "end"))
    ]
    axis.append(f'<text text-anchor="middle" x="{WIDTH / 2}" y="{y + 2 * LINE}">difference, points; bars: 95 %</text>')
    told = "; ".join(
        f"{part.name}, {where}: {part.interval.points()} points, {part.verdict}"
        for group in groups for where, part in group
    )  # fmt: skip
    return Markup(
        f'<svg class="bk-forest" role="img" aria-label="Forest plot of {result.id}. {html.escape(told, quote=True)}." '
        f'viewBox="0 0 {WIDTH} {y + 2 * LINE + 6}" style="display:block;width:100%;max-width:24rem" font-size="15" '
        f'fill="currentColor" stroke="none">{"".join(axis + marks)}</svg>'
    )


def _miniature(part: PartResult | None) -> str:
    seeds = part.interval.seeds if part else 0
    return f"miniature, {seeds} seed{'' if seeds == 1 else 's'}"


def _upright(x: str, top: float, bottom: float, opacity: float) -> str:
    return (
        f'<line class="bk-axis" stroke="currentColor" stroke-width="1.5" stroke-opacity="{opacity}" x1="{x}" x2="{x}" '
        f'y1="{top}" y2="{bottom}"/>'
    )
