"""A line on a page that changes in place, so that an executed page holds its last state alone; durations in words."""

from __future__ import annotations

import time


class StatusLine:
    """A line on a page that the next text replaces; call it with a text.

    Args:
        every_s: Seconds between two changes; a text that comes sooner waits for :meth:`last`.
    """

    def __init__(self, text: str = "", every_s: float = 1.0) -> None:
        from IPython.display import display

        self.every_s, self._text, self._shown = every_s, text, time.monotonic()
        self._handle = display(_Plain(text), display_id=True)

    def __call__(self, text: str) -> None:
        self._text = text
        if time.monotonic() - self._shown >= self.every_s:
            self.last()

    def last(self) -> None:
        """Show the last text."""
        if self._handle is not None:  # None outside a page
            self._handle.update(_Plain(self._text))
        self._shown = time.monotonic()


class _Plain:
    """A text that is displayed as it is, in a fixed-width font."""

    def __init__(self, text: str) -> None:
        self.text = text

    def __repr__(self) -> str:
        return self.text


def duration(seconds: float) -> str:
    """Return seconds in a suitable unit: ``42 s``, ``3.5 min``, ``7.2 h``."""
    if seconds < 100:
        return f"{seconds:.0f} s"
    return f"{seconds / 60:.1f} min" if seconds < 6000 else f"{seconds / 3600:.1f} h"
