"""The memory and the processor time of a command and all it starts, measured while it runs."""

from __future__ import annotations

import os
import resource
import subprocess
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

EVERY_S = 0.25  # to read what a large process holds takes the kernel milliseconds


@dataclass(frozen=True)
class Ran:
    """A command that has ended.

    Attributes:
        returncode: How it ended.
        stdout: What it printed.
        stderr: What it complained of.
        seconds: How long it took.
        peak_mb: The largest memory that it and its descendants held together, shared pages counted once (PSS); None
            where the system does not say (it is read from ``/proc``).
        processor_s: Processor time that it and its descendants took.
        others_s: Processor time that everybody else took meanwhile on this machine; None where the system does not say.
    """

    returncode: int
    stdout: str
    stderr: str
    seconds: float
    peak_mb: float | None
    processor_s: float
    others_s: float | None

    @property
    def least_s(self) -> float:
        """Return the seconds less those that other processes can have cost, at most one each second of theirs."""
        return self.seconds - (self.others_s or 0.0)


def run(command: Sequence[str], folder: Path, timeout_s: float = 1800, **environment: str) -> Ran:
    """Run a command to its end and watch its memory.

    Args:
        command: The command.
        folder: An existing folder for what it prints.
        timeout_s: Seconds after which it is killed.
        environment: Variables that are added to ours.

    Raises:
        TimeoutError: If it did not end in time.
    """
    out, err = folder / "stdout", folder / "stderr"
    started, peak = time.monotonic(), 0.0
    busy, own, theirs = _busy_s(), _taken_s(), _taken_s(resource.RUSAGE_CHILDREN)
    with open(out, "w", encoding="utf8") as printed, open(err, "w", encoding="utf8") as complained:
        process = subprocess.Popen(command, stdout=printed, stderr=complained, env={**os.environ, **environment})
        while process.poll() is None:
            peak = max(peak, held_mb(process.pid))
            if time.monotonic() - started > timeout_s:
                process.kill()
                process.wait()
                raise TimeoutError(f"{' '.join(command)} did not end in {timeout_s} s: {err.read_text()[-500:]}")
            time.sleep(EVERY_S)
    seconds = time.monotonic() - started
    took = _taken_s(resource.RUSAGE_CHILDREN) - theirs
    others = None if busy is None else max(0.0, _busy_s() - busy - took - (_taken_s() - own))
    return Ran(process.returncode, out.read_text(), err.read_text(), seconds, peak or None, took, others)


def _taken_s(whose: int = resource.RUSAGE_SELF) -> float:
    usage = resource.getrusage(whose)
    return usage.ru_utime + usage.ru_stime


def _busy_s() -> float | None:
    """Return the seconds that all processors of this machine have worked since it started; None where not told.

    What a host took away from a virtual machine counts as work, of others.
    """
    try:
        user, nice, system, _, _, irq, softirq, stolen, *_ = map(
            int, Path("/proc/stat").read_text().split("\n")[0].split()[1:]
        )
    except OSError:
        return None
    return (user + nice + system + irq + softirq + stolen) / os.sysconf("SC_CLK_TCK")


def held_mb(process: int) -> float:
    """Return the memory that a process and its descendants hold now; 0 where that cannot be read."""
    return sum(map(_pss_mb, _family(process)))


def _family(process: int) -> list[int]:
    family = [process]
    for member in family:
        for tasks in Path(f"/proc/{member}/task").glob("*/children"):
            try:
                family += map(int, tasks.read_text().split())
            except OSError:  # it ended meanwhile
                continue
    return family


def _pss_mb(process: int) -> float:
    try:
        lines = Path(f"/proc/{process}/smaps_rollup").read_text().splitlines()
    except OSError:  # it ended meanwhile, or is not ours to look into
        return 0.0
    return sum(int(line.split()[1]) for line in lines if line.startswith("Pss:")) / 1024
