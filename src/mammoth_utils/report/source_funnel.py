"""The funnel of each source: how many of its rows are left after each step of a curation."""

from __future__ import annotations

import math

import pandas as pd
from matplotlib.figure import Figure

from mammoth_utils.report import figure_style

COLUMNS = 3


@figure_style.styled
def funnels(frame: pd.DataFrame) -> Figure:
    """One small funnel a source: a bar a step, its length the rows left, on an axis of the source's own.

    Args:
        frame: Columns ``source``, ``kind`` (``cot`` or ``pot``), ``step`` and ``rows``, steps in their order.

    Raises:
        ValueError: If there is no row.
    """
    if frame.empty:
        raise ValueError("a funnel needs at least one source, got none")
    sources, steps = list(dict.fromkeys(frame["source"])), list(dict.fromkeys(frame["step"]))
    lines = math.ceil(len(sources) / COLUMNS)
    figure = figure_style.plt.figure(
        figsize=(figure_style.WIDTH * 1.25, lines * (0.16 * len(steps) + 0.42) + 0.5), layout="constrained"
    )
    grid = figure.subplots(lines, COLUMNS, squeeze=False, sharey=True)
    for axis in grid.flat[len(sources) :]:
        axis.set_visible(False)
    for axis, source in zip(grid.flat, sources, strict=False):
        own = frame[frame["source"] == source].set_index("step")["rows"].reindex(steps)
        kind = str(frame.loc[frame["source"] == source, "kind"].iloc[0]).lower()
        colour, most = figure_style.COLOURS[kind], max(int(own.max()), 1)
        for place, rows in enumerate(own):
            last = place == len(steps) - 1
            axis.barh(place, rows, height=0.8, color=colour, alpha=1.0 if last else 0.35)
            lost = "" if place == 0 or rows == own.iloc[place - 1] else f"  (-{int(own.iloc[place - 1] - rows):,})"
            axis.text(most * 0.03, place, f"{int(rows):,}{lost}", va="center", ha="left", fontsize=6.5, color="black")
        axis.set_xlim(0, most)
        axis.set_ylim(len(steps) - 0.4, -0.6)
        axis.set_yticks(range(len(steps)), steps, fontsize=7)
        axis.set_xticks([])
        axis.grid(False)
        axis.set_title(source, loc="left", fontsize=7.5)
        axis.spines["bottom"].set_visible(False)
    counted = int(frame.loc[frame["step"] == steps[0], "rows"].sum())
    figure.supxlabel(f"rows left after each step (n = {counted:,} that entered)", fontsize=9)
    return figure
