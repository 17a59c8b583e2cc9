"""Style of the book's figures: one colour and marker per method, panels, axes and legends."""

from __future__ import annotations

import functools
import hashlib
import html
import io
import re
import textwrap
from collections.abc import Callable, Sequence
from typing import Any

import matplotlib
import matplotlib.pyplot as plt
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from mammoth_utils.report import palette, statistics
from mammoth_utils.report.claims import CANNOT_TELL, NO_DIFFERENCE, NOT_REPRODUCED, REPRODUCED
from mammoth_utils.report.table_markup import prose

COLOURS = palette.METHODS
MARKERS = {"hybrid": "o", "pot": "s", "cot": "^", "none": "x", "coder": "D", "unfiltered": "v", "paper": "P"}
LABELS = {"hybrid": "hybrid", "pot": "PoT only", "cot": "CoT only", "none": "untuned base", "coder": "coder base"}
VERDICT_COLOURS = palette.VERDICTS
VERDICT_MARKERS = {REPRODUCED: "o", NOT_REPRODUCED: "X", NO_DIFFERENCE: "s", CANNOT_TELL: "d"}
WIDTH = 4.75  # inches, 342 pixels of an SVG: what a phone shows of a page
TEXT, SMALL_TEXT, LEAST_TEXT = 15, 14, 12  # pixels there, so that a figure's text is as large as the page's
MAX_WIDTH = "25rem"  # on a wide page, where the text would else outgrow the page's
LETTERS = 34  # of TEXT that fit into WIDTH
_STYLE = {
    "font.size": TEXT, "axes.titlesize": TEXT, "axes.labelsize": TEXT, "xtick.labelsize": SMALL_TEXT,
    "ytick.labelsize": SMALL_TEXT, "legend.fontsize": SMALL_TEXT, "axes.spines.top": False,
    "axes.spines.right": False, "axes.grid": True, "grid.color": "#DDDDDD", "axes.axisbelow": True, "figure.dpi": 130,
    "savefig.facecolor": "white", "figure.facecolor": "white", "axes.facecolor": "white", "svg.hashsalt": "mammoth",
}  # fmt: skip
# In the page's SVG black is the page's text and white its background, whatever the theme.
_PAGE_COLOURS = {
    "#000000": "currentColor", "#ffffff": "var(--pst-color-background, var(--jp-layout-color0, #fff))",
    "#dddddd": "rgba(128, 128, 128, 0.3)", "#eeeeee": "rgba(128, 128, 128, 0.15)",
    **{colour.lower(): palette.themed(colour) for colour in palette.THEMED},
}  # fmt: skip
_REFERENCE = re.compile(r"""(?:url\(#|href="#)([^)"]+)""")


class PageFigure(Figure):
    """A figure that a page shows as SVG, with a caption and with words for those who cannot see it.

    Attributes:
        caption: What it shows and how to read it.
        alternative: What is seen, with its values.
    """

    caption = ""
    alternative = ""

    def _repr_html_(self) -> str | None:
        return figure_html(self) if self.alternative else None


def describe(figure: Figure, caption: str, alternative: str) -> Figure:
    """Return a figure after giving it a caption and alternative text."""
    figure.caption, figure.alternative = caption, alternative
    return figure


def figure_html(figure: PageFigure) -> str:
    """Return a figure as HTML: inline SVG in the page's font and colours, above its caption."""
    caption = f'<figcaption class="bk-caption" data-kind="figure">{prose(figure.caption)}</figcaption>'
    return f'<figure class="bk-figure" style="margin:1em 0">{page_svg(figure)}{caption}</figure>'


def page_svg(figure: PageFigure) -> str:
    """Return a figure as SVG for a page: text stays text, no name that another figure on the page may have."""
    picture = io.StringIO()
    with matplotlib.rc_context({"svg.fonttype": "none", "svg.hashsalt": "mammoth"}):
        figure.savefig(picture, format="svg", transparent=True, metadata={"Date": None})
    svg = picture.getvalue()
    svg = re.sub(r"<metadata>.*?</metadata>", "", svg[svg.index("<svg") :], flags=re.DOTALL)
    svg = svg.replace("xlink:href", "href")
    # Names that count up: matplotlib's own follow from the last digits of a layout.
    prefix = hashlib.sha256(f"{figure.caption}{figure.alternative}".encode()).hexdigest()[:8]
    names = {name: f"{prefix}-{at}" for at, name in enumerate(dict.fromkeys(_REFERENCE.findall(svg)))}
    svg = re.sub(r' id="([^"]+)"', lambda found: f' id="{names[found[1]]}"' if found[1] in names else "", svg)
    svg = _REFERENCE.sub(lambda found: found[0].replace(found[1], names[found[1]]), svg)
    # The colour black is what SVG fills text with where nothing is said.
    svg = svg.replace("<text ", '<text fill="currentColor" ')
    svg = re.sub(r"#[0-9a-f]{6}", lambda found: _PAGE_COLOURS.get(found[0], found[0]), svg)
    svg = re.sub(r"font: ([\d.]+)px [^;\"]+", r"font-size: \1px", svg)
    svg = re.sub(r"(\.\d{2})\d+", r"\1", svg)
    box = re.search(r'viewBox="[^"]+"', svg)[0]
    body = re.sub(r">\s+<", "><", svg[svg.index(">") + 1 :]).strip()
    return (
        f'<svg role="img" aria-label="{html.escape(figure.alternative, quote=True)}" {box} '
        f'style="display:block;width:100%;height:auto;max-width:{MAX_WIDTH}" '
        f'xmlns="http://www.w3.org/2000/svg">{body}'
    )


def wrapped(text: str, letters: int = LETTERS) -> str:
    """Return a text in lines that fit into the figure; a number stays with its noun, a command in one piece."""
    together = re.sub(r"`[^`]+`", lambda found: found[0].replace(" ", "\0"), text)
    together = re.sub(r"(?<=\d) (?=\w)|(?<==) (?=\d)|(?<=\bn) (?==)", "\0", together)
    return "\n".join(textwrap.wrap(together, letters, break_long_words=False)).replace("\0", " ")


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
    return {"color": COLOURS[method], "markerfacecolor": "white", "markersize": 8}


def new_figure(height: float, **options: Any) -> PageFigure:
    """Return an empty figure of the book's width."""
    # By pyplot, so that the page's backend shows the figure once although the line ends with a semicolon.
    figure = plt.figure(figsize=(WIDTH, height), FigureClass=PageFigure, **options)
    assert isinstance(figure, PageFigure)
    return figure


def panels(heights: Sequence[float], row: float = 0.42) -> tuple[PageFigure, list[Axes]]:
    """Return a figure and its panels, one below the other, tall in proportion to their rows."""
    figure = new_figure(row * sum(heights) + 0.8 * len(heights) + 1.0, layout="constrained")
    axes = figure.subplots(len(heights), 1, sharex=len(heights) > 1, squeeze=False, height_ratios=list(heights))
    return figure, list(axes[:, 0])


def empty(message: str) -> Figure:
    """Return a figure that shows a message in place of data: what is missing and which command measures it."""
    text, message = (part.replace("`", "") for part in (wrapped(message), message))  # a drawing has no code
    figure = new_figure(0.28 * (1 + text.count("\n")) + 0.4)
    figure.text(0.5, 0.5, text, ha="center", va="center")
    return describe(figure, "Nothing is measured yet.", message)


def dot(axis: Axes, method: str, interval: statistics.Interval, at: float, label: bool) -> None:
    """Draw one accuracy with its interval at a height of the axis."""
    colour, marker = COLOURS.get(method, COLOURS["hybrid"]), MARKERS.get(method, "o")
    if method != "none":  # the base is a reference: its interval would only hide the others
        axis.plot([100 * interval.low, 100 * interval.high], [at, at], color=colour, linewidth=2.2, alpha=0.8)
    axis.plot([100 * interval.estimate], [at], marker=marker, color=colour, markersize=7, linestyle="none",
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
    axes[-1].set_xlabel(wrapped(label), loc="right")


def legend(figure: Figure, axis: Axes, columns: int = 2) -> None:
    """Put the legend above the panels, so that it covers nothing."""
    handles, names = axis.get_legend_handles_labels()
    if handles:
        figure.legend(handles, names, loc="outside upper left", ncols=columns, frameon=False, columnspacing=1.0,
                      handletextpad=0.3)  # fmt: skip


def span(counts: set[int]) -> str:
    """Return a range of counts in words, such as ``200 to 500``."""
    return f"{min(counts)}" if len(counts) == 1 else f"{min(counts)} to {max(counts)}"


def count(number: int, noun: str) -> str:
    """Return a number with its noun, such as ``3 seeds``."""
    return f"{number} {noun}" + ("" if number == 1 else "s")


def listed(parts: Sequence[str]) -> str:
    """Return parts as a sentence of an alternative text, with semicolons between."""
    return "; ".join(parts) + "."
