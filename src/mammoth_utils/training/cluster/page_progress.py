"""Progress of a run on its page: a curve that is redrawn, and a status line.

Both replace themselves, so an executed page holds their last state only. Papermill saves the page while a cell runs
(every half minute, or ``--autosave-cell-every`` seconds), so the file that it writes can be looked at meanwhile.
"""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Callable
from pathlib import Path
from typing import Any

from mammoth_utils import records
from mammoth_utils.status_line import StatusLine, duration

WORKER_LINES = 3


class LiveCurve:
    """A picture of the curve so far above a line with step, loss, speed, memory and time left.

    Give it to ``train`` as ``on_step``, and its :meth:`line` as ``on_line``.

    Args:
        draw: Returns a matplotlib figure of the points.
        steps: Optimiser steps of the run, for the time left; 0 if unknown.
        every_s: Seconds between two pictures; drawing one takes about a fifth of a second from the run.
    """

    def __init__(self, draw: Callable[[list[dict[str, float]]], Any], steps: int = 0, every_s: float = 5.0) -> None:
        from IPython.display import Markdown, display

        self.draw, self.steps, self.every_s = draw, steps, every_s
        self.points: list[dict[str, float]] = []
        self._lines: deque[str] = deque(maxlen=WORKER_LINES)
        self._drawn = time.monotonic()
        self._handle = display(Markdown("*The first steps are on their way.*"), display_id=True)
        self._status = StatusLine("no step yet")

    def __call__(self, point: dict[str, float]) -> None:
        self.points.append(point)
        self._status(self._status_text())
        if time.monotonic() - self._drawn >= self.every_s:
            self._show()

    def line(self, text: str) -> None:
        """Show a line of torchrun's workers below the status; ``train.log`` keeps them all."""
        self._lines.append(text.rstrip()[:160])
        self._status(self._status_text())

    def show(self, file: Path) -> None:
        """Draw the whole curve of a run from its ``curve.jsonl``, also of one that finished before."""
        self.points = list(records.read_jsonl(file))
        self.steps = int(self.points[-1]["step"])
        self._lines.clear()
        self._show()
        self._status(self._status_text())
        self._status.last()

    def _status_text(self) -> str:
        first = status(self.points, self.steps) if self.points else "no step yet"
        return "\n".join([first, *self._lines])

    def _show(self) -> None:
        from matplotlib import pyplot

        figure = self.draw(self.points)
        pyplot.close(figure)  # the inline backend would show it a second time
        if self._handle is not None:
            self._handle.update(figure)
        self._drawn = time.monotonic()


def status(points: list[dict[str, float]], steps: int = 0) -> str:
    """Return a line about a run's last point: step, loss, tokens a second, memory, and the time left.

    The speed is that of the last tenth of the points, and of at least two, since the first step warms caches up.
    ``steps`` are those of the whole run; 0 if unknown.
    """
    last = points[-1]
    before = points[-min(len(points), max(2, 1 + len(points) // 10))]
    seconds = last["seconds"] - before["seconds"]
    parts = [f"step {last['step']:,.0f}" + (f" of {steps:,}" if steps else ""), f"loss {last['loss']:.3f}"]
    if seconds > 0:
        parts.append(f"{(last['tokens'] - before['tokens']) / seconds:,.0f} tokens/s")
    if "memory_gib" in last:
        parts.append(f"{last['memory_gib']:.1f} GiB at most")
    if steps and steps <= last["step"]:
        parts.append(f"all of it in {duration(last['seconds'])}")
    elif steps and seconds > 0 and last["step"] > before["step"]:
        left = (steps - last["step"]) * seconds / (last["step"] - before["step"])
        parts.append(f"about {duration(left)} left")
    return " · ".join(parts)
