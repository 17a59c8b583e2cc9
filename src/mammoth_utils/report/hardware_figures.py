"""Figures of the page on hardware: a run's memory by part against a card's, and the planner against measurement."""

from __future__ import annotations

from collections.abc import Sequence

import pandas as pd
from matplotlib.figure import Figure

from mammoth_utils.report import figure_style

# Of no method and no verdict: Tol's muted palette, which the colour-blind tell apart, with grey for the rest.
PARTS = {
    "weights": "#332288", "gradients": "#88CCEE", "optimiser": "#44AA99", "activations": "#DDCC77",
    "logits": "#CC6677", "extra": "#BBBBBB", "loading": "#AA4499",
}  # fmt: skip
MARKERS = {"full": "o", "lora": "s", "qlora": "^"}
SHOWN = 1.6  # cards' memories that the axis reaches; longer bars are cut, with their length written on


@figure_style.styled
def memory_parts(frame: pd.DataFrame, limit: float, card: str) -> Figure:
    """A bar a scale and method, its parts in GiB a card, and a line where the card is full.

    Args:
        frame: Columns ``size``, ``family``, ``method``, ``total`` and those of ``PARTS``, in GiB a card.
        limit: GiB that the card has.
        card: Its name and how many share a run, for the axis.

    Raises:
        ValueError: If there is no row.
    """
    if frame.empty:
        raise ValueError("a figure of memory needs at least one run, got none")
    reach = max(limit * SHOWN, min(float(frame["total"].max()), limit) * 1.05)
    figure, (axis,) = figure_style.panels([len(frame)], row=0.21)
    parts = {part: colour for part, colour in PARTS.items() if frame[part].any()}  # one card has nothing to load twice
    for place, row in enumerate(frame.to_dict("records")):
        left = 0.0
        for part, colour in parts.items():
            axis.barh(place, row[part], left=left, height=0.78, color=colour, label=part if place == 0 else None)
            left += row[part]
        beyond = row["total"] > reach
        text = f"{row['total']:,.0f} GiB" if row["total"] >= 10 else f"{row['total']:.1f} GiB"
        axis.text(min(row["total"], reach) - (0.01 if beyond else -0.01) * reach, place, text, va="center",
                  ha="right" if beyond else "left", fontsize=7.5, color="black",
                  bbox={"facecolor": "white", "alpha": 0.8, "edgecolor": "none", "pad": 0.6})  # fmt: skip
    axis.axvline(limit, color="black", linewidth=1.2, linestyle="--")
    axis.text(limit, -0.9, f" {limit:.0f} GiB", fontsize=8, va="bottom", ha="left")
    names = [f"{row['size']} {row['family']} {row['method']}" for row in frame.to_dict("records")]
    figure_style.rows(axis, names, "")
    axis.tick_params(axis="y", labelsize=8)
    axis.set_xlim(0, reach)
    axis.set_xlabel(f"GiB on each of {card} (n = {len(frame)} plans;\nlonger bars are cut where the axis ends)")
    axis.grid(axis="y", visible=False)
    figure_style.legend(figure, axis)
    return figure


@figure_style.styled
def planned_against_measured(frame: pd.DataFrame, within: float) -> Figure:
    """How far the planned peak lies from each measured one, in per cent, by net and method.

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
    figure, (axis,) = figure_style.panels([len(nets)], row=0.42)
    axis.axvspan(-within, within, color="#EEEEEE", zorder=0)
    axis.axvline(0, color="black", linewidth=0.8)
    colours = dict(zip(MARKERS, ("#332288", "#CC6677", "#44AA99"), strict=True))
    for row in frame.to_dict("records"):
        method, again = row["method"], row["activations"] == "made again"
        shift = (list(MARKERS).index(method) - 1) * 0.22
        axis.plot([row["peak, %"]], [nets.index(row["net"]) + shift], MARKERS[method], color=colours[method],
                  markerfacecolor=colours[method] if again else "white",
                  markersize=6 if row["computes in"] == "bf16" else 4)  # fmt: skip
    for method in dict.fromkeys(frame["method"]):
        axis.plot([], [], MARKERS[method], color=colours[method], label=method)
    figure_style.rows(axis, nets, "")
    reach = max(1.15 * within, 1.1 * float(frame["peak, %"].abs().max()))
    axis.set_xlim(-reach, reach)
    axis.set_xlabel(f"planned over measured growth of the peak, less one, %\n(n = {len(frame)} runs; "
                    f"filled: activations made again; band: ±{within:g} %)")  # fmt: skip
    figure_style.legend(figure, axis)
    return figure
