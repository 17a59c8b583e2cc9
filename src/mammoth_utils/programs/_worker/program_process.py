"""The process of one program, from the fork to the fields of its ``Execution``, as the fork server sees it."""

from __future__ import annotations

import contextlib
import fcntl
import json
import os
import resource
import secrets
import select
import signal
import sys
import time
from typing import NoReturn

from mammoth_utils.programs._worker import cleanup, confinement, program_code

PRINTED_BYTES = 64 * 1024  # kept of what a program prints
FLOOD_BYTES = 1024 * 1024  # a program that prints more is stopped
REPORT_BYTES = 1024 * 1024
ENDED_BY = "the program's process was ended by"
KILLED = f"{ENDED_BY} SIGKILL"
POLL_S = 0.005  # where the kernel cannot announce the end of a process


def run_in_own_process(task: dict, level: str, descriptors: dict, spared: int | None = None) -> dict:
    """Run a program in a process of its own and return the fields of its ``Execution``.

    Args:
        task: The limits, and ``cells``.
        descriptors: ``incoming``, ``statm`` and ``ruleset`` of the fork server.
        spared: A child that goes on when every other process that is left is ended, or None.
    """
    timeout_s, wall_s = task["timeout_s"], task["wall_s"]
    base, resident = memory_sizes(descriptors["statm"])
    ceiling = None if base is None else base + task["memory_mb"] * 2**20
    out, out_end = os.pipe()
    reports, report_end = os.pipe()
    nonce = secrets.token_bytes(16)
    started = time.monotonic()
    pid = os.fork()
    if pid == 0:
        _become_the_program(task, level, descriptors["ruleset"], ceiling, out_end, report_end, nonce)
    os.close(out_end)
    os.close(report_end)
    monitor = _ProcessMonitor(pid, out, reports, descriptors["incoming"])
    forced = monitor.wait_for_end(started, timeout_s, wall_s)
    seconds = time.monotonic() - started
    if level == "process":
        with contextlib.suppress(ProcessLookupError, PermissionError):
            os.killpg(pid, signal.SIGKILL)
    cleanup.end_processes(level, spared)
    monitor.close()
    status, usage = monitor.status, monitor.usage
    peak_mb = usage.ru_maxrss / (2**20 if sys.platform == "darwin" else 1024)
    used_s = usage.ru_utime + usage.ru_stime
    # Memory that the process shares with the fork server does not count.
    near = ceiling is not None and peak_mb * 2**20 - resident >= 0.9 * task["memory_mb"] * 2**20
    report = _outcome(forced, status, monitor.report(nonce), near, used_s >= timeout_s, task)
    printed = bytes(monitor.printed[:PRINTED_BYTES])
    cut = monitor.total > PRINTED_BYTES
    return report | {
        "printed": printed.decode("utf-8", errors="ignore" if cut else "replace"),
        "seconds": seconds,
        "peak_memory_mb": peak_mb,
        "truncated": bool(cut or report["truncated"]),
    }


def _outcome(forced: str | None, status: int, report: dict | None, near: bool, spent: bool, task: dict) -> dict:
    """Return status, value, error and truncated: what the kernel says first, then the program's own report."""
    silent = {"status": "ok", "value": None, "error": None, "truncated": False}
    code = os.waitstatus_to_exitcode(status)
    if forced == "output":
        return silent | {"status": "output", "error": f"printed more than {FLOOD_BYTES // 1024} KiB and was stopped"}
    if forced == "elapsed":
        words = f"ran longer than {task['wall_s']:g} s of elapsed time and was stopped"
        return silent | {"status": "timeout", "error": words}
    if forced == "timeout" or code == -signal.SIGXCPU or (code == -signal.SIGKILL and spent):
        return silent | {"status": "timeout", "error": f"ran longer than {task['timeout_s']:g} s and was stopped"}
    if code == 0 and report is not None:
        return report
    if code < 0 and near:
        return silent | {"status": "memory", "error": f"ended at its limit of {task['memory_mb']} MiB"}
    if code < 0:
        try:
            name = signal.Signals(-code).name
        except ValueError:
            name = f"signal {-code}"
        return silent | {"status": "crashed", "error": f"{ENDED_BY} {name}"}
    if code:
        return silent | {"status": "error", "error": f"the program ended its process with exit code {code}"}
    return silent  # os._exit(0): it ended well, and what it printed counts


class _ProcessMonitor:
    """Watches the pipes, the clocks and the end of a program's process."""

    def __init__(self, pid: int, out: int, reports: int, incoming: int) -> None:
        self.pid, self.out, self.reports, self.incoming = pid, out, reports, incoming
        self.printed, self.total, self._report = bytearray(), 0, bytearray()
        self.status, self.usage = 0, None
        self.end, self._open = cleanup.open_pidfd(pid), {out, reports}
        os.set_blocking(out, False)
        os.set_blocking(reports, False)
        self.poller = select.poll()
        self.poller.register(out, select.POLLIN)
        self.poller.register(reports, select.POLLIN)
        self.poller.register(incoming, 0)  # a hang-up is always reported: the caller has ended
        if self.end is not None:
            self.poller.register(self.end, select.POLLIN)

    def wait_for_end(self, started: float, timeout_s: float, wall_s: float) -> str | None:
        """Wait for the process to end, or end it; return why it was ended, or None."""
        forced = None
        while True:
            processor_left, elapsed_left = timeout_s - self._processor_s(), wall_s - (time.monotonic() - started)
            left = min(processor_left, elapsed_left)
            if left <= 0 and forced is None:
                forced = self._end("timeout" if processor_left <= 0 else "elapsed")
            # Several threads use processor time faster than the clock runs, so it is read from time to time.
            pause = min(max(left, 0.001), 0.25) if forced is None else 1.0
            for descriptor, event in self.poller.poll((pause if self.end is not None else min(pause, POLL_S)) * 1000):
                if descriptor == self.incoming and event & (select.POLLHUP | select.POLLERR):
                    os.kill(self.pid, signal.SIGKILL)
                    os._exit(0)  # the first process of the namespaces takes all others with it; else the guard does
                elif descriptor in (self.out, self.reports):
                    self._take(descriptor)
            if self.total > FLOOD_BYTES and forced is None:
                forced = self._end("output")
            if self._ended():
                return forced

    def _processor_s(self) -> float:
        """Return the processor seconds of the process, by the kernel's clock of it; 0 where there is none."""
        if sys.platform != "linux":
            return 0.0
        try:
            return time.clock_gettime((~self.pid << 3) | 2)  # the clock's number, as clock_getcpuclockid(3) makes it
        except OSError:
            return 0.0

    def _end(self, reason: str) -> str:
        os.kill(self.pid, signal.SIGKILL)
        return reason

    def _ended(self) -> bool:
        pid, self.status, self.usage = os.wait4(self.pid, os.WNOHANG)
        return pid != 0

    def _take(self, descriptor: int) -> bool:
        try:
            piece = os.read(descriptor, 65536)
        except BlockingIOError:
            return False
        if not piece:
            if descriptor in self._open:
                self._open.remove(descriptor)
                self.poller.unregister(descriptor)  # else its end would be reported again and again
            return False
        if descriptor == self.out:
            self.total += len(piece)
            self.printed += piece[: max(0, PRINTED_BYTES - len(self.printed))]
        elif len(self._report) <= REPORT_BYTES:
            self._report += piece
        return True

    def close(self) -> None:
        """Read what is left in the pipes, which no writer holds open any more, and close them."""
        for descriptor in (self.out, self.reports):
            while self._take(descriptor) and self.total <= FLOOD_BYTES:
                pass
            os.close(descriptor)
        if self.end is not None:
            os.close(self.end)

    def report(self, nonce: bytes) -> dict | None:
        """Return the program's own report, or None if there is none; other bytes count as a crash."""
        if not self._report:
            return None
        try:
            if not self._report.startswith(nonce) or len(self._report) > REPORT_BYTES:
                raise ValueError("not a report")
            report = json.loads(self._report[len(nonce) :])
            status, value, error, truncated = (report[key] for key in ("status", "value", "error", "truncated"))
            texts = all(text is None or isinstance(text, str) for text in (value, error))
            if status not in ("ok", "error", "memory") or not texts or not isinstance(truncated, bool):
                raise ValueError("not a report")
        except (ValueError, KeyError, TypeError, RecursionError):
            error = "the program wrote into the channel of its result"
            return {"status": "crashed", "value": None, "error": error, "truncated": False}
        # A lone surrogate, which Python's texts may hold and files may not, becomes a question mark.
        value, error = (text and text.encode("utf-8", "replace").decode() for text in (value, error))
        return {"status": status, "value": value, "error": error, "truncated": truncated}


def _become_the_program(task, level, ruleset, ceiling, out: int, report: int, nonce: bytes) -> NoReturn:
    """Turn this process into that of a program: limit and confine it, run the program, report, and exit."""
    try:
        os.setsid()
        confinement.die_with_parent()
        os.dup2(out, 1)
        (channel,) = confine_and_keep([report], ruleset, level)
        confinement.limit_program(task["timeout_s"], ceiling, level, task["file_mb"])
        program_code.seed_everything()
        words = f"ended at its limit of {task['memory_mb']} MiB"
        full = {"status": "memory", "value": None, "error": words, "truncated": False}
        message = nonce + json.dumps(full).encode("ascii")  # made while there is memory for it
        with contextlib.suppress(MemoryError):
            message = nonce + json.dumps(program_code.run_cells(task["cells"], 1)).encode("ascii")
        while message:
            message = message[os.write(channel, message) :]
        os._exit(0)
    finally:
        os.abort()  # it could not report, and every exit code belongs to the program


def confine_and_keep(kept: list[int], ruleset: int | None, level: str) -> list[int]:
    """Confine this process and close every descriptor but the first three and these, which move to 3, 4 and so on.

    Standard error becomes the null device, as standard input is.
    """
    os.dup2(0, 2)
    high = [fcntl.fcntl(descriptor, fcntl.F_DUPFD, 64) for descriptor in kept]  # the fork server has a dozen at most
    if level != "process":
        confinement.confine_program(ruleset)
    os.closerange(3, 64)
    moved = [os.dup2(descriptor, 3 + at) for at, descriptor in enumerate(high)]
    os.closerange(64, confinement.OPEN_FILES)
    return moved


def memory_sizes(statm: int | None) -> tuple[int | None, int]:
    """Return the fork server's bytes of address space (None if unknown) and of memory, with which programs start."""
    if statm is None:
        return None, 0
    pages, resident = map(int, os.pread(statm, 64, 0).split()[:2])
    return pages * resource.getpagesize(), resident * resource.getpagesize()
