"""Cleaning up after a program: end the processes and remove the files that it left."""

from __future__ import annotations

import contextlib
import os
import signal
import time


def open_pidfd(pid: int) -> int | None:
    """Return a descriptor that becomes readable when a process ends, or None where the kernel has none."""
    try:
        return os.pidfd_open(pid)
    except (AttributeError, OSError):
        return None


def end_processes(level: str, spared: int | None = None) -> None:
    """End and reap the processes that a program has left.

    Args:
        spared: A child that goes on, or None. Where a call filter holds, which lets no program make a process, nothing
            but this child can be there; where none is spared, the whole process table ends.
    """
    if spared is not None and level != "process":
        return
    if level == "namespaces":
        with contextlib.suppress(ProcessLookupError):
            os.kill(-1, signal.SIGKILL)  # all of this process table but its first process, this one
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
    """Return the children of this process; a program's orphans become its children, and theirs when they end."""
    me, children = os.getpid(), []
    if not os.path.isdir("/proc/self"):
        return children
    for entry in os.listdir("/proc"):
        if entry.isdigit():
            with contextlib.suppress(OSError), open(f"/proc/{entry}/stat", "rb") as file:
                if int(file.read().rpartition(b")")[2].split()[1]) == me:
                    children.append(int(entry))
    return children


def empty_folder(folder: str) -> bool:
    """Empty a folder of any depth and any rights, and return whether it is empty now.

    Folders inside are moved up before they are emptied, so that no path is longer than two names.
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


def remove_folder(folder: str) -> None:
    """Remove a scratch folder with its content, if it is there."""
    if os.path.isdir(folder) and empty_folder(folder):
        os.rmdir(folder)
