"""Jobs end with the ``make book`` that started them, however that one ended.

A SIGKILL reaches one process and not its children: without this, a page of the killed run would go on training while
the next ``make book`` starts the same page in the same folder. A job's notebook kernel polls for its parent itself, and
a sandboxed program dies with the process that runs it.
"""

from __future__ import annotations

from mammoth_utils.training.cluster import lifeline

VARIABLE = "MAMMOTH_BOOK_PID"


def hold() -> None:
    """Kill this process as soon as the one named by ``MAMMOTH_BOOK_PID`` is gone; nothing where none is named."""
    lifeline.hold(VARIABLE)
