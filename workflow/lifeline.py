"""Jobs end with the ``make book`` that started them, however that one ended.

A SIGKILL reaches one process and not its children: without this, a page of the killed run would go on training while
the next ``make book`` starts the same page in the same folder.
"""

from __future__ import annotations

import os
import signal
import threading
import time

VARIABLE = "MAMMOTH_BOOK_PID"
PERIOD_S = 0.3


def alive(pid: int) -> bool:
    """Whether a process of that number runs."""
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except PermissionError:  # it runs, under another user
        return True
    return True


def hold() -> None:
    """Kill this process as soon as the one named by ``MAMMOTH_BOOK_PID`` is gone; nothing where none is named.

    Its notebook kernel polls for its parent itself, and a sandboxed program dies with the process that runs it.
    """
    named = os.environ.get(VARIABLE)
    if not named:
        return
    pid = int(named)

    def watch() -> None:
        while alive(pid):
            time.sleep(PERIOD_S)
        os.kill(os.getpid(), signal.SIGKILL)

    threading.Thread(target=watch, daemon=True, name="lifeline").start()
