"""The book's figures; each function returns a matplotlib figure, and a page ends its line with a semicolon.

One colour and one marker per method through the book (Okabe and Ito's hues, told apart by the colour-blind too); ours
filled, the paper's hollow, and never on one axis where ours is the miniature's. A page shows a figure as SVG, with text
as large as its own at a phone's width, a caption, and the values in words for those who cannot see it.
"""

from __future__ import annotations

import math
import textwrap
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from typing import Any

import pandas as pd
from matplotlib.axes import Axes
from matplotlib.colors import to_rgb
from matplotlib.figure import Figure

from mammoth_utils.intervals import wilson
from mammoth_utils.miniature import MINIATURE, WORLDS, variant_of
from mammoth_utils.report import claim_definitions, measured_models, palette, statistics
from mammoth_utils.report import figure_style as style
from mammoth_utils.report.claims import ClaimResult
from mammoth_utils.report.measured_models import DecodedModel, EvaluationRecord
from mammoth_utils.vocabulary import UNTUNED

MEMORY_COLOURS = palette.MEMORY
METHOD_MARKERS = {"full": "o", "lora": "s", "qlora": "^"}
AXIS_REACH = 1.6  # cards' memories that the axis reaches; longer bars are cut, with their length written on
FUNNEL_COLUMNS = 2


@style.styled
def main_figure(
    records: Iterable[EvaluationRecord | Mapping[str, Any]], size: str = "1m", family: str = "llama"
) -> Figure:
    """Draw hybrid, PoT only and CoT only on each benchmark of the miniature, in domain above out of domain.

    Bars are 95 % intervals clustered by problem family (and seed, where there are several); a grey cross is the
    untuned base, a tick what guessing an option earns. Where none of the four models was measured, the figure names the
    command that measures them.
    """
    models = {
        "hybrid": DecodedModel(size, family, "hybrid"), "pot": DecodedModel(size, family, "pot", "pot"),
        "cot": DecodedModel(size, family, "cot", "cot"), "none": DecodedModel(size, family, UNTUNED),
    }  # fmt: skip
    what = f"the miniature's {family}-{size} models on its nine benchmarks"
    return _by_method(records, models, what, "`make book` measures the 1m ones, `make book-full` the others.")


@style.styled
def real_figure(records: Iterable[EvaluationRecord | Mapping[str, Any]]) -> Figure:
    """Draw the same of the real model on the real benchmarks; each problem is a cluster of its own."""
    real = claim_definitions.real_model
    models = {"hybrid": real("hybrid"), "pot": real("pot", "pot"), "cot": real("cot", "cot"),
              "none": claim_definitions.real_base()}  # fmt: skip
    return _by_method(records, models, "a real model of 0.5B on the nine real benchmarks", "`make real` measures them.")


def _by_method(
    records: Iterable[EvaluationRecord | Mapping[str, Any]],
    models: Mapping[str, DecodedModel],
    what: str,
    command: str,
) -> Figure:
    """Draw the models of each method on each benchmark; where none was measured, say what measures them."""
    evaluations = measured_models.deciding(measured_models.as_evaluations(records))
    by_method = {method: measured_models.seeds_of(model, evaluations) for method, model in models.items()}
    measured = {method: seeds for method, seeds in by_method.items() if seeds}
    if not measured:
        missing = ", ".join(model.label for model in models.values())
        return style.empty(f"No record of {missing}. {command}")
    benchmarks = next(iter(measured.values()))[0][1]
    panels = [[name for name, score in benchmarks.items() if score["in_domain"] is inside] for inside in (True, False)]
    figure, axes = style.panels([len(names) for names in panels], row=0.52)
    seen: dict[str, list[str]] = {}
    for axis, names, title in zip(axes, panels, ("in domain", "out of domain"), strict=True):
        for place, (method, seeds) in enumerate(measured.items()):
            shift = 0.0 if method == "none" else (place - 1) * 0.22
            for row, name in enumerate(names):
                sample = measured_models.sample(seeds, benchmarks=(name,))
                if sample is not None:
                    interval = statistics.accuracy(sample)
                    style.dot(axis, method, interval, row + shift, label=row == 0 and axis is axes[0])
                    seen.setdefault(name, []).append(f"{style.LABELS[method]} {100 * interval.estimate:.0f}")
        guessed = {row: share for row, name in enumerate(names) if (share := measured_models.guessing(name))}
        if guessed:
            axis.plot([100 * share for share in guessed.values()], list(guessed), "|", color="black", markersize=22,
                      label="guessing an option" if axis is axes[0] else None)  # fmt: skip
        style.rows(axis, names, title)
    problems = style.span({score["n"] for score in benchmarks.values()})
    # An untuned base has no seed: the trained models say how many there are.
    seeds = style.count(min((len(s) for method, s in measured.items() if method != "none"), default=1), "seed")
    style.finish(axes, f"correct, % (n = {problems} problems a set, {seeds}; bars: 95 % intervals)")
    style.legend(figure, axes[0])
    values = style.listed([f"{name}: {', '.join(parts)}" for name, parts in seen.items()])
    clusters = "problem" if next(iter(models.values())).world == "real" else "problem family"
    caption = (
        f"Accuracy of {what}, by what they were trained on. Each bar is a 95 % interval, clustered by "
        f"{clusters}. The untuned base is a cross without one. Ours, corrected rule."
    )
    return style.describe(figure, caption, f"Dot plot of accuracy in per cent. {values}")


@style.styled
def accuracy_by_benchmark(frame: pd.DataFrame) -> Figure:
    """Draw one model's accuracy by benchmark: a filled mark under the corrected rule, a bar for Wilson's 95 % interval.

    Args:
        frame: Columns ``benchmark`` (or ``name``), ``in_domain``, ``n`` and ``corrected`` as fractions; where
            ``published`` stands too, an upright tick shows the accuracy under that rule. A column ``method`` draws
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
    figure, axes = style.panels([part[label].nunique() for _, part in groups])
    for axis, (title, part) in zip(axes, groups, strict=True):
        names = list(dict.fromkeys(part[label]))
        for place, method in enumerate(methods):
            own = part[part["method"] == method] if "method" in part else part
            for _, row in own.iterrows():
                at = names.index(row[label]) + (place - (len(methods) - 1) / 2) * 0.24
                n, share = int(row["n"]), float(row["corrected"])
                low, high = wilson(round(share * n), n)
                interval = statistics.Interval(share, low, high, n, 1, 1)
                style.dot(axis, method, interval, at, label=len(methods) > 1 and row[label] == names[0])
                if "published" in part:
                    axis.plot([100 * row["published"]], [at], "|", color="black", markersize=13)
        style.rows(axis, names, title)
    rule = "; upright tick: published rule" if "published" in frame else ""
    n = style.span(set(frame["n"].astype(int)))
    style.finish(axes, f"correct, % (n = {n}; bars: Wilson's 95 % interval{rule})")
    if len(methods) > 1:
        style.legend(figure, axes[0])
    seen = [
        f"{row[label]}{' ' + row['method'] if 'method' in row else ''} {100 * row['corrected']:.0f}"
        + (f", published rule {100 * row['published']:.0f}" if "published" in row else "")
        for row in frame.to_dict("records")
    ]
    tick = " The upright tick is the same answers under the published rule." if "published" in frame else ""
    caption = f"Accuracy by benchmark under the corrected rule, with Wilson's 95 % interval.{tick} Ours."
    return style.describe(figure, caption, f"Dot plot of accuracy in per cent. {style.listed(seen)}")


@style.styled
def growing_mixtures(frame: pd.DataFrame) -> Figure:
    """Draw our accuracy in and out of domain as sources are added.

    Args:
        frame: Columns ``mixture`` in order, ``in_domain`` and ``out_of_domain`` as :class:`statistics.Interval`.
    """
    if frame.empty:
        return style.empty("No growing mixture has a record. `make book` measures them.")
    figure, axes = style.panels([4.6], row=0.6)
    axis, places = axes[0], range(len(frame))
    for column, line, marker in (("in_domain", "--", "s"), ("out_of_domain", "-", "o")):
        _curve(axis, places, frame[column], color=style.COLOURS["hybrid"], linestyle=line, marker=marker,
               label=column.replace("_", " "))  # fmt: skip
    axis.set_xticks(list(places), list(frame["mixture"]))
    items = frame["out_of_domain"].iloc[0].items
    axis.tick_params(axis="x", labelrotation=30)
    seen = [
        f"{row['mixture']}: in domain {100 * row['in_domain'].estimate:.0f}, "
        f"out of domain {100 * row['out_of_domain'].estimate:.0f}"
        for row in frame.to_dict("records")
    ]
    caption = (
        "Accuracy in and out of domain as sources are added: G is mini-GSM8K; M, C and A add mini-MATH, "
        "mini-Camel-Math and mini-AQuA-RAT. Ours, the miniature, corrected rule, 95 % intervals."
    )
    return _describe_curves(figure, axis, f"mixture (n = {items} problems out of domain; bars: 95 %)", seen, caption)


def _curve(axis: Axes, places: Iterable[float], intervals: Iterable[statistics.Interval], **look: Any) -> None:
    """Draw accuracies with their intervals over places, on an axis from 0 to 100 %."""
    intervals = list(intervals)
    values = [100 * interval.estimate for interval in intervals]
    below = [max(0.0, 100 * (interval.estimate - interval.low)) for interval in intervals]
    above = [max(0.0, 100 * (interval.high - interval.estimate)) for interval in intervals]
    axis.errorbar(list(places), values, yerr=[below, above], capsize=2, **look)
    axis.set_ylim(0, 100)
    axis.set_ylabel("correct, %")


def _describe_curves(figure: Figure, axis: Axes, label: str, seen: Sequence[str], caption: str) -> Figure:
    """Give a figure of two curves its axis label, its legend, its caption and what is seen in words."""
    axis.set_xlabel(style.wrapped(label), loc="right")
    style.legend(figure, axis)
    return style.describe(figure, caption, f"Two curves of accuracy in per cent. {style.listed(seen)}")


@style.styled
def wrong_shares(frame: pd.DataFrame) -> Figure:
    """Draw accuracy by the share of the teacher's programs that are wrong, kept by execution and unfiltered.

    Args:
        frame: As :func:`wrong_shares_frame` returns it.
    """
    if frame.empty:
        return style.empty("No other share of wrong programs has a record. `make book-full` measures them.")
    figure, (axis,) = style.panels([4.6], row=0.6)
    for mixture, rows in frame.groupby("mixture", sort=False):
        _curve(axis, rows["wrong"], rows["accuracy"], color=style.COLOURS[mixture], marker=style.MARKERS[mixture],
               label="kept by execution" if mixture == "hybrid" else mixture)  # fmt: skip
    items, seeds = frame["accuracy"].iloc[0].items, min(interval.seeds for interval in frame["accuracy"])
    label = f"wrong programs of the teacher, % (n = {items} problems, {style.count(seeds, 'seed')} or more; bars: 95 %)"
    seen = [
        f"{row['wrong']:.0f} % wrong, {'kept by execution' if row['mixture'] == 'hybrid' else row['mixture']}: "
        f"{100 * row['accuracy'].estimate:.1f}"
        for row in frame.to_dict("records")
    ]
    caption = (
        "Accuracy on nine sets by the share of the teacher's programs that are wrong, trained on those that execution "
        "kept and on all of them. Ours, the miniature, corrected rule, 95 % intervals."
    )
    return _describe_curves(figure, axis, label, seen, caption)


def wrong_shares_in_words(frame: pd.DataFrame) -> str:
    """Return what :func:`wrong_shares` shows in a sentence; empty where there is no curve."""
    if frame.empty:
        return ""
    percent = [100 * interval.estimate for interval in frame["accuracy"]]
    by_mixture = frame.assign(percent=percent).pivot(index="wrong", columns="mixture", values="percent")
    gap = by_mixture["unfiltered"] - by_mixture["hybrid"]
    return (
        f"The unfiltered mixture is ahead at {int((gap > 0).sum())} of {len(gap)} shares: by {gap.iloc[0]:+.1f} points "
        f"where {gap.index[0]:.0f} % of the programs are wrong, by {gap.iloc[-1]:+.1f} where {gap.index[-1]:.0f} % are."
    )


def wrong_shares_frame(records: Iterable[EvaluationRecord | Mapping[str, Any]]) -> pd.DataFrame:
    """Return the frame that :func:`wrong_shares` draws: a row a world and mixture that are measured."""
    evaluations, rows = measured_models.deciding(measured_models.as_evaluations(records)), []
    for name, world in sorted(WORLDS.items(), key=lambda item: item[1].wrong_share):
        if replace(world, wrong_share=WORLDS[MINIATURE].wrong_share) != WORLDS[MINIATURE]:
            continue  # something else differs
        for model in (claim_definitions.HYBRID, claim_definitions.UNFILTERED):
            model = replace(model, variant=variant_of(name))
            if seeds := measured_models.seeds_of(model, evaluations):
                accuracy = statistics.accuracy(measured_models.sample(seeds))
                rows.append({"mixture": model.mixture, "wrong": 100 * world.wrong_share, "accuracy": accuracy})
    frame = pd.DataFrame(rows, columns=["mixture", "wrong", "accuracy"])
    return frame if frame["wrong"].nunique() > 1 else frame.iloc[:0]


@style.styled
def claims_figure(results: Sequence[ClaimResult]) -> Figure:
    """Draw every part of every measured claim as a difference with its interval; the colour is the part's verdict.

    Where no claim was measured, the figure names the commands that measure them.
    """
    rows = [(result.id, part) for result in results for part in result.parts]
    if not rows:
        commands = dict.fromkeys(result.command for result in results if result.command)
        measure = "; ".join(f"`{command}` measures them" for command in commands)
        return style.empty(f"None of these claims has all its models measured. {measure}")
    names = [style.wrapped(f"{claim} {part.name}", style.LETTERS + 4) for claim, part in rows]
    heights = [1 + 0.4 * name.count("\n") for name in names]
    places = [sum(heights[: at + 1]) - 1 for at in range(len(rows))]
    figure, (axis,) = style.panels([sum(heights)], row=0.62)
    axis.axvline(0, color="black", linewidth=0.8)
    shown = set()
    for place, name, (_, part) in zip(places, names, rows, strict=True):
        colour, interval = style.VERDICT_COLOURS[part.verdict], part.interval
        axis.plot([100 * interval.low, 100 * interval.high], [place, place], color=colour, linewidth=2.4)
        axis.plot([100 * interval.estimate], [place], color=colour, linestyle="none", markersize=8,
                  marker=style.VERDICT_MARKERS[part.verdict],
                  label=part.verdict if part.verdict not in shown else None)  # fmt: skip
        if part.margin:
            axis.plot([100 * part.margin], [place], color="black", marker="|", markersize=12, linestyle="none")
        # Above its interval, where it has the figure's whole width; behind it the axis and the grid are hidden.
        axis.text(0.01, place - 0.28, name, transform=axis.get_yaxis_transform(), va="bottom", linespacing=1.1,
                  fontsize=style.SMALL_TEXT, bbox={"facecolor": "white", "edgecolor": "none", "pad": 0.5},
                  ).set_in_layout(False)  # fmt: skip
        shown.add(part.verdict)
    axis.set_yticks(places, [""] * len(rows))
    axis.grid(axis="y", visible=False)
    axis.tick_params(axis="y", length=0)
    axis.set_ylim(places[-1] + 0.5, -0.9 - (heights[0] - 1) + places[0])
    seeds = min(part.interval.seeds for _, part in rows)
    items = style.span({part.interval.items for _, part in rows})
    axis.set_xlabel(style.wrapped(
        f"difference, points (n = {items}, {style.count(seeds, 'seed')} or more; bars: 95 %, tick: margin)"
    ), loc="right")  # fmt: skip
    style.legend(figure, axis)
    seen = [f"{claim}, {part.name}: {part.interval.points()} points, {part.verdict}" for claim, part in rows]
    caption = (
        "The differences that decide the claims, with 95 % intervals; colour and mark are each difference's own "
        "verdict. Ours, corrected rule."
    )
    return style.describe(figure, caption, f"Forest plot of differences in percentage points. {style.listed(seen)}")


@style.styled
def decodings(frame: pd.DataFrame) -> Figure:
    """Draw the paper's Table 7, a frame of :func:`published.decodings`: averages by decoding, hollow, as published."""
    models = list(dict.fromkeys(zip(frame["model"], frame["size"], strict=True)))
    figure, (axis,) = style.panels([len(models)])
    for method, decoding in (("hybrid", "Hybrid"), ("pot", "PoT"), ("cot", "CoT")):
        own = frame[frame["decoding"] == decoding].set_index(["model", "size"])["printed"]
        values, marker = [own[model] for model in models], style.MARKERS[method]
        axis.plot(values, range(len(models)), marker, label=f"{decoding} decoding", **style.hollow(method))
    style.rows(axis, [f"{model} {size}" for model, size in models], "published, Table 7 (v3)")
    style.finish([axis], "average of nine sets, % (no intervals printed)")
    style.legend(figure, axis)
    seen = [f"{row['model']} {row['size']} {row['decoding']} {row['printed']:.1f}" for row in frame.to_dict("records")]
    caption = "Three ways of decoding six models, as published in the paper's Table 7; hollow marks are the paper's."
    return style.describe(figure, caption, f"Dot plot of published averages in per cent. {style.listed(seen)}")


@style.styled
def published_main(frame: pd.DataFrame) -> Figure:
    """Draw the paper's Tables 3 and 4: averages of its own models in and out of domain, hollow, as published.

    Rows of :func:`published.main_results` without complete cells are left out.
    """
    own = frame[frame["computed_in"].notna() & frame["computed_out"].notna()]
    if own.empty:
        raise ValueError("no row of the published table has all nine cells")
    figure, axes = style.panels([len(own)])
    axis, places = axes[0], range(len(own))
    columns = (
        ("computed_in", "s", "in domain (4 sets)", -0.2), ("computed_out", "o", "out of domain (5 sets)", 0.2),
    )  # fmt: skip
    for column, marker, title, shift in columns:
        # One above the other, since both averages are often the same.
        axis.plot(list(own[column]), [place + shift for place in places], marker, label=title, **style.hollow("hybrid"))
    names = [f"{model} {size}" for model, size in zip(own["model"], own["size"], strict=True)]
    style.rows(axis, names, f"published, {own['version'].iloc[0]}")
    style.finish(axes, "mean of the printed cells, % (no intervals printed)")
    style.legend(figure, axis, columns=1)
    seen = [
        f"{row['model']} {row['size']}: in domain {row['computed_in']:.1f}, out of domain {row['computed_out']:.1f}"
        for row in own.to_dict("records")
    ]
    caption = (
        "Averages of the models of Tables 3 and 4 whose nine cells are all known, as published; hollow marks are the "
        "paper's."
    )
    return style.describe(figure, caption, f"Dot plot of published averages in per cent. {style.listed(seen)}")


@style.styled
def sources_ablation(frame: pd.DataFrame) -> Figure:
    """Draw the paper's Figure 2 / Table 6: the average by what Llama-2 7B was trained on, hollow bars, as published."""
    own = frame[frame["printed"].notna()]
    figure, axes = style.panels([len(own)])
    keys = {"none": "none", "CoT": "cot", "PoT": "pot", "hybrid": "hybrid"}
    colours = [style.COLOURS[keys.get(training, "paper")] for training in own["training"]]
    axes[0].barh(range(len(own)), own["printed"], height=0.55, color="white", edgecolor=colours, linewidth=2.4)
    for place, value in enumerate(own["printed"]):
        axes[0].text(value + 1, place, f"{value:.1f}", va="center", fontsize=style.SMALL_TEXT)
    names = [training.replace("none", "untuned") for training in own["training"]]
    style.rows(axes[0], names, f"published, Table 6 ({own['version'].iloc[0]})")
    style.finish(axes, "average of nine sets, % (Llama-2 7B, no intervals printed)")
    seen = [f"{name} {value:.1f}" for name, value in zip(names, own["printed"], strict=True)]
    caption = (
        "Llama-2 7B by what it was trained on, as published in the paper's Figure 2 and Table 6; hollow bars are the "
        "paper's."
    )
    return style.describe(figure, caption, f"Bars of published averages in per cent. {style.listed(seen)}")


@style.styled
def training_curve(rows: Sequence[Mapping[str, float]]) -> Figure:
    """Draw the training loss by optimiser step.

    Args:
        rows: Points with ``step`` and ``loss`` (nats a token), as ``curve.jsonl`` holds them, some of them with the
            ``validation_loss`` of held-out rows.

    Raises:
        ValueError: If there is no point.
    """
    if not rows:
        raise ValueError("a curve needs at least one point, got none")
    figure, axes = style.panels([4.2], row=0.6)
    axes[0].plot([row["step"] for row in rows], [row["loss"] for row in rows], color=style.COLOURS["hybrid"])
    if held_out := [row for row in rows if "validation_loss" in row]:
        values = [row["validation_loss"] for row in held_out]
        axes[0].plot([row["step"] for row in held_out], values, "o--", color="black", markersize=4, label="held out")
        axes[0].legend()
    axes[0].set_ylim(bottom=0)
    axes[0].set_xlabel(f"optimiser step (n = {len(rows)} points)")
    axes[0].set_ylabel("loss, nats a token")
    first, last = rows[0], rows[-1]
    seen = f"from {first['loss']:.2f} at step {first['step']:.0f} to {last['loss']:.2f} at step {last['step']:.0f}"
    held = f"; held out {held_out[-1]['validation_loss']:.2f} at the end" if held_out else ""
    return style.describe(figure, "Training loss by optimiser step.", f"Curve of the training loss, {seen}{held}.")


def mixtures_frame(records: Iterable[EvaluationRecord | Mapping[str, Any]]) -> pd.DataFrame:
    """Return the frame that :func:`growing_mixtures` draws: each measured mixture with its two averages."""
    evaluations, rows = measured_models.deciding(measured_models.as_evaluations(records)), []
    for model in (*claim_definitions.GROWING, claim_definitions.HYBRID):
        if seeds := measured_models.seeds_of(model, evaluations):
            row: dict[str, Any] = {"mixture": "all" if model.mixture == "hybrid" else model.mixture}
            for key, inside in (("in_domain", True), ("out_of_domain", False)):
                row[key] = statistics.accuracy(measured_models.sample(seeds, in_domain=inside))
            rows.append(row)
    return pd.DataFrame(rows, columns=["mixture", "in_domain", "out_of_domain"])


@style.styled
def source_funnels(frame: pd.DataFrame) -> Figure:
    """Draw one small funnel a source: a bar a step, its length the rows left, on an axis of the source's own.

    Args:
        frame: Columns ``source``, ``kind`` (``cot`` or ``pot``), ``step`` and ``rows``, steps in their order.

    Raises:
        ValueError: If there is no row.
    """
    if frame.empty:
        raise ValueError("a funnel needs at least one source, got none")
    sources, steps = list(dict.fromkeys(frame["source"])), list(dict.fromkeys(frame["step"]))
    lines = math.ceil(len(sources) / FUNNEL_COLUMNS)
    figure = style.new_figure(lines * (0.27 * len(steps) + 0.65) + 0.6, layout="constrained")
    grid = figure.subplots(lines, FUNNEL_COLUMNS, squeeze=False, sharey=True)
    for axis in grid.flat[len(sources) :]:
        axis.set_visible(False)
    for axis, source in zip(grid.flat, sources, strict=False):
        own = frame[frame["source"] == source].set_index("step")["rows"].reindex(steps)
        kind = str(frame.loc[frame["source"] == source, "kind"].iloc[0]).lower()
        colour, most = style.COLOURS[kind], max(int(own.max()), 1)
        for place, rows in enumerate(own):
            last = place == len(steps) - 1
            # Pale, so that the text on a bar can be read in both themes; what is left at the end has an edge.
            axis.barh(place, rows, height=0.8, color=(*to_rgb(colour), 0.3), edgecolor=colour,
                      linewidth=2 if last else 0)  # fmt: skip
            lost = "" if place == 0 or rows == own.iloc[place - 1] else f"  (-{int(own.iloc[place - 1] - rows):,})"
            axis.text(
                most * 0.03,
                place,
                f"{int(rows):,}{lost}",
                va="center",
                ha="left",
                fontsize=style.LEAST_TEXT,
                color="black",
            )
        axis.set_xlim(0, most)
        axis.set_ylim(len(steps) - 0.4, -0.6)
        axis.set_yticks(range(len(steps)), steps, fontsize=style.LEAST_TEXT)
        axis.set_xticks([])
        axis.grid(False)
        name = "\n".join(textwrap.wrap(source, 14, break_long_words=False))  # narrower than its panel
        axis.set_title(name, loc="left", fontsize=style.SMALL_TEXT)
        axis.spines["bottom"].set_visible(False)
    counted = int(frame.loc[frame["step"] == steps[0], "rows"].sum())
    figure.supxlabel(f"rows left after each step\n(n = {counted:,} that entered)", fontsize=style.SMALL_TEXT)
    seen = []
    for source in sources:
        own = frame[frame["source"] == source]["rows"]
        seen.append(f"{source}: {int(own.iloc[0]):,} to {int(own.iloc[-1]):,}")
    caption = (
        "Rows of each source after each step of the curation; the bar with an edge is what is left at the end. Ours."
    )
    return style.describe(figure, caption, f"Bars for each source, first to last step. {style.listed(seen)}")


@style.styled
def memory_by_part(frame: pd.DataFrame, limit: float, card: str) -> Figure:
    """Draw a bar a scale and method, its parts in GiB a card, and a line where the card is full.

    Args:
        frame: Columns ``size``, ``family``, ``method``, ``total`` and those of :data:`MEMORY_COLOURS`, in GiB a card.
        limit: Memory of the card in GiB.
        card: Its name and how many share a run, for the axis.

    Raises:
        ValueError: If there is no row.
    """
    if frame.empty:
        raise ValueError("a figure of memory needs at least one run, got none")
    reach = max(limit * AXIS_REACH, min(float(frame["total"].max()), limit) * 1.05)
    figure, (axis,) = style.panels([len(frame)], row=0.3)
    # One card has nothing to load twice.
    parts = {part: colour for part, colour in MEMORY_COLOURS.items() if frame[part].any()}
    for place, row in enumerate(frame.to_dict("records")):
        left = 0.0
        for part, colour in parts.items():
            axis.barh(place, row[part], left=left, height=0.78, color=colour, edgecolor="white", linewidth=0.8,
                      label=part if place == 0 else None)  # fmt: skip
            left += row[part]
        beyond = row["total"] > reach
        text = f"{row['total']:,.0f} GiB" if row["total"] >= 10 else f"{row['total']:.1f} GiB"
        axis.text(min(row["total"], reach) - (0.01 if beyond else -0.01) * reach, place, text, va="center",
                  ha="right" if beyond else "left", fontsize=style.LEAST_TEXT, color="black",
                  bbox={"facecolor": "white", "alpha": 0.9, "edgecolor": "none", "pad": 0.6})  # fmt: skip
    axis.axvline(limit, color="black", linewidth=1.2, linestyle="--")
    axis.text(limit, -0.9, f" {limit:.0f} GiB", fontsize=style.LEAST_TEXT, va="bottom", ha="left")
    names = [f"{row['size']} {row['family']} {row['method']}" for row in frame.to_dict("records")]
    style.rows(axis, names, "")
    axis.tick_params(axis="y", labelsize=style.LEAST_TEXT)
    axis.set_xlim(0, reach)
    label = f"GiB on each of {card} (n = {len(frame)} plans; longer bars are cut where the axis ends)"
    axis.set_xlabel(style.wrapped(label), loc="right")
    axis.grid(axis="y", visible=False)
    style.legend(figure, axis)
    seen = [f"{name} {row['total']:.1f} GiB" for name, row in zip(names, frame.to_dict("records"), strict=True)]
    caption = f"Planned memory of each scale and method on each of {card}; the dashed line is where the memory is full."
    alternative = f"Stacked bars of planned memory, limit {limit:.0f} GiB. {style.listed(seen)}"
    return style.describe(figure, caption, alternative)


@style.styled
def planned_against_measured(frame: pd.DataFrame, within: float) -> Figure:
    """Draw how far the planned peak lies from each measured one, in per cent, by net and method.

    Args:
        frame: Columns ``net``, ``method``, ``activations``, ``computes in`` and ``peak, %``. Filled marks are runs
            that make activations again, hollow ones those that keep them; marks of fp32 runs are smaller.
        within: The bound in per cent, drawn as a band.

    Raises:
        ValueError: If there is no row.
    """
    if frame.empty:
        raise ValueError("a figure of measurements needs at least one run, got none")
    nets: Sequence[str] = list(dict.fromkeys(frame["net"]))
    figure, (axis,) = style.panels([len(nets)], row=0.42)
    axis.axvspan(-within, within, color="#EEEEEE", zorder=0)
    axis.axvline(0, color="black", linewidth=0.8)
    colours = palette.METHODS_OF_TRAINING
    for row in frame.to_dict("records"):
        method, again = row["method"], row["activations"] == "made again"
        shift = (list(METHOD_MARKERS).index(method) - 1) * 0.22
        axis.plot([row["peak, %"]], [nets.index(row["net"]) + shift], METHOD_MARKERS[method], color=colours[method],
                  markerfacecolor=colours[method] if again else "white",
                  markersize=8 if row["computes in"] == "bf16" else 5)  # fmt: skip
    for method in dict.fromkeys(frame["method"]):
        axis.plot([], [], METHOD_MARKERS[method], color=colours[method], label=method)
    style.rows(axis, nets, "")
    reach = max(1.15 * within, 1.1 * float(frame["peak, %"].abs().max()))
    axis.set_xlim(-reach, reach)
    axis.set_xlabel(style.wrapped(
        f"planned over measured growth of the peak, less one, % (n = {len(frame)} runs; "
        f"filled: activations made again; band: ±{within:g} %)"
    ), loc="right")  # fmt: skip
    style.legend(figure, axis, columns=3)
    inside = int((frame["peak, %"].abs() <= within).sum())
    caption = (
        "How far the planned peak of memory lies from the measured one. Filled marks make activations again, hollow "
        "ones keep them; small marks are fp32."
    )
    alternative = (
        f"Dot plot by net: {inside} of {len(frame)} plans are within ±{within:g} per cent, from "
        f"{frame['peak, %'].min():+.1f} to {frame['peak, %'].max():+.1f}."
    )
    return style.describe(figure, caption, alternative)
