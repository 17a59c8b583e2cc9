"""Traces: what a program may leave behind, processes and files, found and removed."""

from __future__ import annotations

import contextlib
import os
import signal
import time


def end_of(pid: int) -> int | None:
    """A descriptor that becomes readable when a process ends, or None where the kernel has no such thing."""
    try:
        return os.pidfd_open(pid)
    except (AttributeError, OSError):
        return None


def sweep(level: str, spared: int | None = None) -> None:
    """End and reap whatever a program has left running.

    Args:
        level: One of ``namespaces``, ``landlock``, ``process``.
        spared: A child of ours that goes on, or None. Where a call filter holds, which lets no program make a process,
            nothing but this child can be there then; where none is spared, the whole process table ends.
    """
    if spared is not None and level != "process":
        return
    if level == "namespaces":
        with contextlib.suppress(ProcessLookupError):
            os.kill(-1, signal.SIGKILL)  # everything in this process table but ourselves, its first process
    with contextlib.suppress(ChildProcessError):  # none is left
        while True:
            if os.waitpid(-1, os.WNOHANG)[0] == 0:
                left = [pid for pid in _children() if pid != spared]
                if spared is not None and not left:
                    return
                for pid in left:
                    with contextlib.suppress(ProcessLookupError):
                        os.kill(pid, signal.SIGKILL)
                time.sleep(0.001)


def _children() -> list[int]:
    """Processes whose parent we are: a program's orphans fall to us, and theirs in turn when they are ended."""
    me, found = os.getpid(), []
    if not os.path.isdir("/proc/self"):
        return found
    for entry in os.listdir("/proc"):
        if entry.isdigit():
            with contextlib.suppress(OSError), open(f"/proc/{entry}/stat", "rb") as file:
                if int(file.read().rpartition(b")")[2].split()[1]) == me:
                    found.append(int(entry))
    return found


def wipe(folder: str) -> bool:
    """Empty a folder, however deep and with whatever rights; whether it is empty now.

    Folders inside are moved up before they are emptied, so that no path is ever longer than two names.
    """
    os.chmod(folder, 0o700)
    for round_number in range(100_000):
        entries = list(os.scandir(folder))
        if not entries:
            return True
        for number, entry in enumerate(entries):
            if not entry.is_dir(follow_symlinks=False):
                os.unlink(entry.path)
                continue
            os.chmod(entry.path, 0o700)
            for inner, below in enumerate(list(os.scandir(entry.path))):
                if below.is_dir(follow_symlinks=False):
                    os.chmod(below.path, 0o700)
                    os.rename(below.path, os.path.join(folder, f"{round_number}-{number}-{inner}"))
                else:
                    os.unlink(below.path)
            os.rmdir(entry.path)
    return False


def remove(folder: str) -> None:
    """Remove a scratch folder and all in it, if it is still there."""
    if os.path.isdir(folder) and wipe(folder):
        os.rmdir(folder)
