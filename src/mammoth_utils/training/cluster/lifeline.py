"""A process that ends with the one that started it, however that one ended."""

from __future__ import annotations

import os
import signal
import threading
import time

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


def hold(variable: str) -> None:
    """Kill this process as soon as the one whose number stands in a variable is gone; nothing where none is named.

    A SIGKILL reaches one process and not its children, and those would train on while the next start trains in the
    same folder.
    """
    named = os.environ.get(variable)
    if not named:
        return
    pid = int(named)

    def watch() -> None:
        while alive(pid):
            time.sleep(PERIOD_S)
        os.kill(os.getpid(), signal.SIGKILL)

    threading.Thread(target=watch, daemon=True, name="lifeline").start()
