"""Processes of this machine, as tests of the sandbox look for them."""

from __future__ import annotations

import os
import time
from pathlib import Path


def processes() -> dict[int, int]:
    """Every process with its parent; one that has ended and was not yet fetched is not counted."""
    found = {}
    for entry in os.listdir("/proc"):
        if entry.isdigit():
            try:
                fields = Path(f"/proc/{entry}/stat").read_bytes().rpartition(b")")[2].split()
            except OSError:
                continue
            if fields[0] != b"Z":
                found[int(entry)] = int(fields[1])
    return found


def below(pid: int) -> set[int]:
    """The processes below one, at any depth."""
    parents, found, last = processes(), {pid}, set()
    while found != last:
        last = set(found)
        found |= {child for child, parent in parents.items() if parent in found}
    return found - {pid}


def children() -> set[int]:
    """Processes whose parent is this one."""
    return {pid for pid, parent in processes().items() if parent == os.getpid()}


def gone(pids: set[int], wait_s: float = 60) -> bool:
    """Whether all these processes end; they get some time, since the machine may be busy."""
    until = time.monotonic() + wait_s
    while time.monotonic() < until:
        if not any(Path(f"/proc/{pid}").exists() for pid in pids):
            return True
        time.sleep(0.05)
    return False
