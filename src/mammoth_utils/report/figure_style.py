"""Style of the book's figures: one colour and marker per method, panels, axes and legends."""

from __future__ import annotations

import functools
import textwrap
from collections.abc import Callable, Sequence
from typing import Any

import matplotlib
import matplotlib.pyplot as plt
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from mammoth_utils.report import statistics
from mammoth_utils.report.claims import CANNOT_TELL, NO_DIFFERENCE, NOT_REPRODUCED, REPRODUCED

COLOURS = {
    "hybrid": "#0072B2", "pot": "#D55E00", "cot": "#009E73", "none": "#7F7F7F", "coder": "#CC79A7",
    "unfiltered": "#E69F00", "G": "#A6CEE3", "G+M": "#7DB2D6", "G+M+C": "#4F95C6", "G+M+C+A": "#2A80BC",
    "paper": "#56B4E9", "existing": "#F0E442", "G-cot": "#B2DF8A", "G+M-cot": "#66A61E",
}  # fmt: skip
MARKERS = {"hybrid": "o", "pot": "s", "cot": "^", "none": "x", "coder": "D", "unfiltered": "v", "paper": "P"}
LABELS = {"hybrid": "hybrid", "pot": "PoT only", "cot": "CoT only", "none": "untuned base", "coder": "coder base"}
# Other colours than any method's, and other marks, so that a verdict is not read as a model.
VERDICT_COLOURS = {
    REPRODUCED: "#332288", NOT_REPRODUCED: "#882255", NO_DIFFERENCE: "#44AA99", CANNOT_TELL: "#999933",
}  # fmt: skip
VERDICT_MARKERS = {REPRODUCED: "o", NOT_REPRODUCED: "X", NO_DIFFERENCE: "s", CANNOT_TELL: "d"}
WIDTH = 5.2
_STYLE = {
    "font.size": 10, "axes.titlesize": 10, "axes.labelsize": 10, "legend.fontsize": 9, "axes.spines.top": False,
    "axes.spines.right": False, "axes.grid": True, "grid.color": "#DDDDDD", "axes.axisbelow": True, "figure.dpi": 130,
    "savefig.facecolor": "white", "figure.facecolor": "white", "axes.facecolor": "white", "svg.hashsalt": "mammoth",
}  # fmt: skip


def styled(draw: Callable[..., Figure]) -> Callable[..., Figure]:
    """Return a drawing function that applies the book's style, whatever the page has set."""

    @functools.wraps(draw)
    def drawn(*args: Any, **kwargs: Any) -> Figure:
        # Not rc_context: a page's first figure also switches its backend and interactive mode on, and to restore
        # these with the rest would keep every later figure off the page.
        before = {name: matplotlib.rcParams[name] for name in _STYLE}
        matplotlib.rcParams.update(_STYLE)
        try:
            return draw(*args, **kwargs)
        finally:
            matplotlib.rcParams.update(before)

    return drawn


def hollow(method: str) -> dict[str, Any]:
    """Return the look of a published mark: the method's colour, white inside."""
    return {"color": COLOURS[method], "markerfacecolor": "white", "markersize": 7}


def panels(heights: Sequence[float], row: float = 0.42) -> tuple[Figure, list[Axes]]:
    """Return a figure and its panels, one below the other, tall in proportion to their rows."""
    # By pyplot, so that the page's backend shows the figure once although the line ends with a semicolon.
    figure = plt.figure(figsize=(WIDTH, row * sum(heights) + 0.7 * len(heights) + 0.5), layout="constrained")
    axes = figure.subplots(len(heights), 1, sharex=len(heights) > 1, squeeze=False, height_ratios=list(heights))
    return figure, list(axes[:, 0])


def empty(message: str) -> Figure:
    """Return a figure that shows a message in place of data: what is missing and which command measures it."""
    figure = plt.figure(figsize=(WIDTH, 1.4))
    figure.text(0.5, 0.5, "\n".join(textwrap.wrap(message, 60)), ha="center", va="center", fontsize=9, wrap=True)
    return figure


def dot(axis: Axes, method: str, interval: statistics.Interval, at: float, label: bool) -> None:
    """Draw one accuracy with its interval at a height of the axis."""
    colour, marker = COLOURS.get(method, COLOURS["hybrid"]), MARKERS.get(method, "o")
    if method != "none":  # the base is a reference: its interval would only hide the others
        axis.plot([100 * interval.low, 100 * interval.high], [at, at], color=colour, linewidth=1.8, alpha=0.8)
    axis.plot([100 * interval.estimate], [at], marker=marker, color=colour, markersize=6, linestyle="none",
              label=LABELS.get(method, method) if label else None)  # fmt: skip


def rows(axis: Axes, names: Sequence[str], title: str) -> None:
    """Name the rows of a panel, first on top."""
    axis.set_yticks(range(len(names)), list(names))
    axis.set_ylim(len(names) - 0.5, -0.5)
    axis.set_title(title, loc="left")


def finish(axes: Sequence[Axes], label: str) -> None:
    """Give every panel the axis from 0 to 100 % and the last one its label."""
    for axis in axes:
        axis.set_xlim(-2, 102)
    axes[-1].set_xlabel(label)


def legend(figure: Figure, axis: Axes) -> None:
    """Put the legend above the panels, so that it covers nothing."""
    handles, names = axis.get_legend_handles_labels()
    if handles:
        figure.legend(handles, names, loc="outside upper center", ncols=min(3, len(handles)), frameon=False, fontsize=9)


def span(counts: set[int]) -> str:
    """Return a range of counts in words, such as ``200 to 500``."""
    return f"{min(counts)}" if len(counts) == 1 else f"{min(counts)} to {max(counts)}"


def count(number: int, noun: str) -> str:
    """Return a number with its noun, such as ``3 seeds``."""
    return f"{number} {noun}" + ("" if number == 1 else "s")
