"""Ends a process together with the one that started it, however that one ended.

A SIGKILL reaches one process and not its children, and those would train on while the next start trains in the same
folder.
"""

from __future__ import annotations

import os
import signal
import threading
import time

PERIOD_S = 0.3
BOOK = "MAMMOTH_BOOK_PID"  # set by `make book` for its jobs
PAGE = "MAMMOTH_PAGE_PID"  # set by a page for the workers that it starts


def is_running(pid: int) -> bool:
    """Return whether a process of that number runs."""
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except PermissionError:  # it runs, under another user
        return True
    return True


def end_with_parent(variable: str) -> None:
    """Kill this process once the one is gone whose number an environment variable holds; unset, nothing is watched."""
    number = os.environ.get(variable)
    if not number:
        return
    pid = int(number)

    def watch() -> None:
        while is_running(pid):
            time.sleep(PERIOD_S)
        os.kill(os.getpid(), signal.SIGKILL)

    threading.Thread(target=watch, daemon=True, name="parent watch").start()
