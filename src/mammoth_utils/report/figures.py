"""The book's figures; each function returns a matplotlib figure, and a page ends its line with a semicolon.

One colour and one marker per method through the book (Okabe and Ito's palette, told apart by the colour-blind too);
ours filled, the paper's hollow, and never on one axis where ours is the miniature's. Drawn 5.2 inches wide on white
with text of 10 points, so that a page of 380 pixels and a dark one both read.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import pandas as pd
from matplotlib.figure import Figure

from mammoth_utils.report import cells, claim_definitions, figure_style, statistics
from mammoth_utils.report.cells import Cell, Measured
from mammoth_utils.report.claims import ClaimResult
from mammoth_utils.vocabulary import UNTUNED


@figure_style.styled
def main_figure(records: Iterable[Measured | Mapping[str, Any]], size: str = "1m", family: str = "llama") -> Figure:
    """Hybrid, PoT only and CoT only on each benchmark of the miniature, in domain above out of domain.

    Bars are 95 % intervals clustered by problem family (and seed, where there are several); a grey cross is the
    untuned base.

    If none of the four models was measured, the figure says so and how to measure them.
    """
    given = cells.measured(records)
    wanted = {
        "hybrid": Cell(size, family, "hybrid"), "pot": Cell(size, family, "pot", "pot"),
        "cot": Cell(size, family, "cot", "cot"), "none": Cell(size, family, UNTUNED),
    }  # fmt: skip
    filled = {method: found for method, cell in wanted.items() if (found := cells.fill(cell, given))}
    if not filled:
        missing = ", ".join(cell.label for cell in wanted.values())
        return figure_style.empty(
            f"No record of {missing}. `make book` measures the 1m ones, `make book-full` the others."
        )
    held = next(iter(filled.values()))[0][1]
    panels = [[name for name, one in held.items() if one["in_domain"] is inside] for inside in (True, False)]
    figure, axes = figure_style.panels([len(names) for names in panels], row=0.52)
    for axis, names, title in zip(axes, panels, ("in domain", "out of domain"), strict=True):
        for place, (method, found) in enumerate(filled.items()):
            shift = 0.0 if method == "none" else (place - 1) * 0.22
            for row, name in enumerate(names):
                drawn = cells.sample(found, benchmarks=(name,))
                interval = statistics.accuracy(drawn) if drawn is not None else None
                if interval is not None:
                    figure_style.dot(axis, method, interval, row + shift, label=row == 0 and axis is axes[0])
        figure_style.rows(axis, names, title)
    counts = {one["n"] for one in held.values()}
    # An untuned base has no seed: what was trained says how many there are.
    seeds = min((len(found) for method, found in filled.items() if method != "none"), default=1)
    figure_style.finish(
        axes,
        f"correct, % (n = {figure_style.span(counts)} problems a set, {figure_style.count(seeds, 'seed')};\nbars: 95 % intervals)",
    )
    figure_style.legend(figure, axes[0])
    return figure


@figure_style.styled
def accuracy_by_benchmark(frame: pd.DataFrame) -> Figure:
    """One model's accuracy by benchmark: a filled mark under the corrected rule, a bar for Wilson's 95 % interval.

    Args:
        frame: Columns ``benchmark`` (or ``name``), ``in_domain``, ``n`` and ``corrected`` as fractions; where
            ``published`` stands too, a black tick shows the accuracy under that rule. A column ``method`` draws
            several series. Rows whose ``in_domain`` is empty (averages) are left out.
    """
    frame = frame[frame["in_domain"].notna()]
    if frame.empty:
        raise ValueError("no benchmark in the table: expected rows with in_domain true or false")
    label = "name" if "name" in frame else "benchmark"
    inside = frame["in_domain"].astype(bool)
    both = (("in domain", frame[inside]), ("out of domain", frame[~inside]))
    groups = [(title, part) for title, part in both if len(part)]
    methods = list(dict.fromkeys(frame["method"])) if "method" in frame else ["hybrid"]
    figure, axes = figure_style.panels([part[label].nunique() for _, part in groups])
    for axis, (title, part) in zip(axes, groups, strict=True):
        names = list(dict.fromkeys(part[label]))
        for place, method in enumerate(methods):
            own = part[part["method"] == method] if "method" in part else part
            for _, row in own.iterrows():
                at = names.index(row[label]) + (place - (len(methods) - 1) / 2) * 0.24
                n, share = int(row["n"]), float(row["corrected"])
                low, high = statistics.wilson(round(share * n), n)
                interval = statistics.Interval(share, low, high, n, 1, 1)
                figure_style.dot(axis, method, interval, at, label=len(methods) > 1 and row[label] == names[0])
                if "published" in part:
                    axis.plot([100 * row["published"]], [at], "|", color="black", markersize=11)
        figure_style.rows(axis, names, title)
    rule = "; black tick: published rule" if "published" in frame else ""
    figure_style.finish(
        axes, f"correct, % (n = {figure_style.span(set(frame['n'].astype(int)))};\nbars: Wilson's 95 % interval{rule})"
    )
    if len(methods) > 1:
        figure_style.legend(figure, axes[0])
    return figure


@figure_style.styled
def growing_mixtures(frame: pd.DataFrame) -> Figure:
    """Accuracy in and out of domain as sources are added, ours.

    Args:
        frame: Columns ``mixture`` in order, ``in_domain`` and ``out_of_domain`` as :class:`statistics.Interval`.
    """
    if frame.empty:
        return figure_style.empty("No growing mixture has a record. `make book` measures them.")
    figure, axes = figure_style.panels([4.6], row=0.6)
    axis, places = axes[0], range(len(frame))
    for column, line, marker in (("in_domain", "--", "s"), ("out_of_domain", "-", "o")):
        values = [100 * one.estimate for one in frame[column]]
        below = [max(0.0, 100 * (one.estimate - one.low)) for one in frame[column]]
        above = [max(0.0, 100 * (one.high - one.estimate)) for one in frame[column]]
        axis.errorbar(places, values, yerr=[below, above], color=figure_style.COLOURS["hybrid"], linestyle=line, marker=marker,
                      capsize=2, label=column.replace("_", " "))  # fmt: skip
    axis.set_xticks(list(places), list(frame["mixture"]))
    axis.set_ylim(0, 100)
    items = frame["out_of_domain"].iloc[0].items
    axis.set_xlabel(f"mixture (n = {items} problems out of domain; bars: 95 %)")
    axis.set_ylabel("correct, %")
    axis.legend(frameon=False)
    return figure


@figure_style.styled
def claims_figure(results: Sequence[ClaimResult]) -> Figure:
    """Every part of every measured claim as a difference with its interval; the colour is the part's verdict.

    If no claim was measured, the figure says so and how to measure them.
    """
    rows = [(one.id, part) for one in results for part in one.parts]
    if not rows:
        return figure_style.empty("None of these claims has all its cells. " + _commands(results))
    figure, axes = figure_style.panels([len(rows)], row=0.46)
    axis = axes[0]
    axis.axvline(0, color="black", linewidth=0.8)
    shown = set()
    for place, (_, part) in enumerate(rows):
        colour, one = figure_style.VERDICT_COLOURS[part.verdict], part.interval
        axis.plot([100 * one.low, 100 * one.high], [place, place], color=colour, linewidth=2)
        axis.plot([100 * one.estimate], [place], color=colour, linestyle="none", markersize=6,
                  marker=figure_style.VERDICT_MARKERS[part.verdict],
                  label=part.verdict if part.verdict not in shown else None)  # fmt: skip
        if part.margin:
            axis.plot([100 * part.margin], [place], color="black", marker="|", markersize=12, linestyle="none")
        shown.add(part.verdict)
    axis.set_yticks(
        range(len(rows)), [f"{claim}  {figure_style.wrapped(part.name)}" for claim, part in rows], fontsize=8.5
    )
    axis.set_ylim(len(rows) - 0.5, -0.5)
    seeds = min(part.interval.seeds for _, part in rows)
    behind = f"n = {figure_style.span({part.interval.items for _, part in rows})}, {figure_style.count(seeds, 'seed')} or more"
    axis.set_xlabel(f"difference, points, corrected rule\n({behind}; bars: 95 %, tick: margin)")
    figure_style.legend(figure, axis)
    return figure


def _commands(results: Sequence[ClaimResult]) -> str:
    wanted = dict.fromkeys(one.command for one in results if one.command)
    return "; ".join(f"`{command}` measures them" for command in wanted)


@figure_style.styled
def decodings(frame: pd.DataFrame) -> Figure:
    """The paper's Table 7: averages of each model by its three ways of decoding, hollow, as published.

    Args:
        frame: As :func:`published.decodings` gives it.
    """
    models = list(dict.fromkeys(zip(frame["model"], frame["size"], strict=True)))
    figure, axes = figure_style.panels([len(models)])
    axis = axes[0]
    for method, decoding in (("hybrid", "Hybrid"), ("pot", "PoT"), ("cot", "CoT")):
        own = frame[frame["decoding"] == decoding].set_index(["model", "size"])["printed"]
        values = [own[one] for one in models]
        axis.plot(
            values,
            range(len(models)),
            figure_style.MARKERS[method],
            label=f"{decoding} decoding",
            **figure_style.hollow(method),
        )
    figure_style.rows(axis, [f"{model}\n{size}" for model, size in models], "published, Table 7 (v3)")
    figure_style.finish(axes, "average of nine sets, % (no intervals printed)")
    figure_style.legend(figure, axis)
    return figure


@figure_style.styled
def published_main(frame: pd.DataFrame) -> Figure:
    """The paper's Tables 3 and 4: averages of its own models in and out of domain, hollow, as published.

    Args:
        frame: As :func:`published.main_results` gives it; rows without complete cells are left out.
    """
    own = frame[frame["computed_in"].notna() & frame["computed_out"].notna()]
    if own.empty:
        raise ValueError("no row of the published table has all nine cells")
    figure, axes = figure_style.panels([len(own)])
    axis, places = axes[0], range(len(own))
    columns = (("computed_in", "s", "in domain (4 sets)"), ("computed_out", "o", "out of domain (5 sets)"))
    for column, marker, title in columns:
        axis.plot(list(own[column]), places, marker, label=title, **figure_style.hollow("hybrid"))
    names = [f"{model}\n{size}" for model, size in zip(own["model"], own["size"], strict=True)]
    figure_style.rows(axis, names, f"published, {own['version'].iloc[0]}")
    figure_style.finish(axes, "mean of the printed cells, % (no intervals printed)")
    figure_style.legend(figure, axis)
    return figure


@figure_style.styled
def sources_ablation(frame: pd.DataFrame) -> Figure:
    """The paper's Figure 2 / Table 6: the average by what Llama-2 7B was trained on, hollow bars, as published."""
    own = frame[frame["printed"].notna()]
    figure, axes = figure_style.panels([len(own)])
    keys = {"none": "none", "CoT": "cot", "PoT": "pot", "hybrid": "hybrid"}
    colours = [figure_style.COLOURS[keys.get(one, "paper")] for one in own["training"]]
    axes[0].barh(range(len(own)), own["printed"], height=0.55, color="white", edgecolor=colours, linewidth=2)
    for place, value in enumerate(own["printed"]):
        axes[0].text(value + 1, place, f"{value:.1f}", va="center", fontsize=9)
    names = [one.replace("none", "untuned") for one in own["training"]]
    figure_style.rows(axes[0], names, f"published, Table 6 ({own['version'].iloc[0]})")
    figure_style.finish(axes, "average of nine sets, % (Llama-2 7B, no intervals printed)")
    return figure


@figure_style.styled
def sources_by_kind(frame: pd.DataFrame) -> Figure:
    """Rows of each source, coloured by its kind.

    Args:
        frame: Columns ``source``, ``kind`` (``cot`` or ``pot``) and ``rows``; ``kept`` where a filter ran.
    """
    figure, axes = figure_style.panels([len(frame)], row=0.34)
    for kind, name in (("cot", "CoT"), ("pot", "PoT")):
        at = [place for place, one in enumerate(frame["kind"]) if str(one).lower() == kind]
        own = frame.iloc[at]
        if "kept" in frame:
            edge = {"facecolor": "white", "edgecolor": figure_style.COLOURS[kind]}
            axes[0].barh(at, own["rows"], height=0.7, label=f"{name}, loaded", **edge)
            axes[0].barh(at, own["kept"], height=0.7, color=figure_style.COLOURS[kind], label=f"{name}, kept")
        else:
            axes[0].barh(at, own["rows"], height=0.7, color=figure_style.COLOURS[kind], label=name)
    axes[0].set_yticks(range(len(frame)), list(frame["source"]), fontsize=8.5)
    axes[0].set_ylim(len(frame) - 0.4, -0.6)
    axes[0].set_xlabel(f"rationales (n = {int(frame['rows'].sum()):,} in all)")
    figure_style.legend(figure, axes[0])
    return figure


@figure_style.styled
def training_curve(rows: Sequence[Mapping[str, float]]) -> Figure:
    """Training loss by optimiser step.

    Args:
        rows: Points with ``step`` and ``loss`` (nats a token), as ``curve.jsonl`` holds them.

    Raises:
        ValueError: If there is no point.
    """
    if not rows:
        raise ValueError("a curve needs at least one point, got none")
    figure, axes = figure_style.panels([4.2], row=0.6)
    axes[0].plot([row["step"] for row in rows], [row["loss"] for row in rows], color=figure_style.COLOURS["hybrid"])
    axes[0].set_ylim(bottom=0)
    axes[0].set_xlabel(f"optimiser step (n = {len(rows)} points)")
    axes[0].set_ylabel("loss, nats a token")
    return figure


def mixtures_frame(records: Iterable[Measured | Mapping[str, Any]]) -> pd.DataFrame:
    """What :func:`growing_mixtures` draws, from records: each measured mixture with its two averages."""
    given, rows = cells.measured(records), []
    for cell in (*claim_definitions.GROWING, claim_definitions.HYBRID):
        if found := cells.fill(cell, given):
            row: dict[str, Any] = {"mixture": "all" if cell.mixture == "hybrid" else cell.mixture}
            for key, inside in (("in_domain", True), ("out_of_domain", False)):
                row[key] = statistics.accuracy(cells.sample(found, in_domain=inside))
            rows.append(row)
    return pd.DataFrame(rows, columns=["mixture", "in_domain", "out_of_domain"])
