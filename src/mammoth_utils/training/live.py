"""A curve that is drawn anew on the page while its run goes on."""

from __future__ import annotations

import io
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from mammoth_utils import records


class LiveCurve:
    """One place on a page that shows the points so far; give it to ``train`` as ``on_step``.

    The picture replaces itself, so that an executed page holds the last one only.

    Args:
        draw: Makes a matplotlib figure of the points.
        every_s: Seconds between two pictures; drawing one takes about a fifth of a second from the run.
    """

    def __init__(self, draw: Callable[[list[dict[str, float]]], Any], every_s: float = 5.0) -> None:
        from IPython.display import Markdown, display

        self.draw, self.every_s = draw, every_s
        self.points: list[dict[str, float]] = []
        self._drawn = time.monotonic()
        self._handle = display(Markdown("*The first steps are on their way.*"), display_id=True)

    def __call__(self, point: dict[str, float]) -> None:
        self.points.append(point)
        if time.monotonic() - self._drawn >= self.every_s:
            self._show()

    def show(self, file: Path) -> None:
        """Draw the whole curve of a run from its ``curve.jsonl``, also of one that was finished before."""
        self.points = list(records.read_jsonl(file))
        self._show()

    def _show(self) -> None:
        from IPython.display import SVG
        from matplotlib import pyplot

        figure, picture = self.draw(self.points), io.StringIO()
        figure.savefig(picture, format="svg", bbox_inches="tight")
        pyplot.close(figure)  # the inline backend would show it a second time
        if self._handle is not None:  # None outside a page
            self._handle.update(SVG(picture.getvalue()))
        self._drawn = time.monotonic()
