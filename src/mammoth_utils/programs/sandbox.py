"""Sandbox: programs in, executions out, in order, each program in a process of its own."""

from __future__ import annotations

import os
import selectors
import threading
import time
import warnings
from collections import deque
from collections.abc import Iterable, Iterator
from dataclasses import dataclass

from mammoth_utils.programs import isolation as isolations
from mammoth_utils.programs.parents import SandboxError, WarmParent
from mammoth_utils.programs.program import parent_for

STATUSES = ("ok", "error", "timeout", "memory", "output", "refused", "crashed")
MAX_PROGRAM_CHARS = 1_000_000
AHEAD = 1000  # programs that may run while one before them is still running
ATTEMPTS = 3  # workers that a program may lose before it counts as their end
WALL_FACTOR, WALL_SLACK_S = 4, 5.0  # a busy machine may give a program a small share of a processor
GRACE_S = 60.0  # beyond the elapsed-time limit, which the worker itself keeps: then it is stuck
START_S = 900.0  # to import sympy takes a second, and on a machine that gives us one processor in ninety, a minute


@dataclass(frozen=True)
class Execution:
    """What happened when a program ran.

    Attributes:
        status: ``ok``; ``error`` (it raised, or left with an exit code); ``timeout``; ``memory``; ``output`` (it
            printed without end); ``refused`` (it was not run); ``crashed`` (its process was ended by a signal).
        printed: What it printed, at most 64 KiB, also where it did not end well.
        value: Text of ``ans``, of what ``solution()`` returned, or of the last expression; None without.
        error: Last lines of its error, or None.
        seconds: Elapsed time from the start to the end of its process.
        peak_memory_mb: Most resident memory of its process in MiB, the interpreter and its libraries included.
        truncated: Whether ``printed`` or ``value`` was longer than what is kept.
        isolation: The level that held: ``namespaces``, ``landlock`` or ``process``.
    """

    status: str
    printed: str = ""
    value: str | None = None
    error: str | None = None
    seconds: float = 0.0
    peak_memory_mb: float = 0.0
    truncated: bool = False
    isolation: str = ""

    @property
    def output(self) -> str:
        """What was printed, or else the value: what a benchmark grades. Empty where there is neither."""
        return self.printed if self.printed.strip() else self.value or ""


@dataclass
class _Job:
    index: int
    task: dict
    kind: str
    attempts: int = 0
    deadline: float = 0.0


class Sandbox:
    """A few workers that stay warm from one call to the next: for programs that come one by one.

    Used as a context manager, or closed by ``close``; workers also end with this process. One thread at a time.
    """

    def __init__(
        self,
        timeout_s: float = 5,
        memory_mb: int = 1024,
        workers: int | None = None,
        isolation: str = "full",
        wall_s: float | None = None,
    ) -> None:
        """A sandbox that holds the given limits; its workers start when the first program comes.

        Args:
            timeout_s: Seconds of processor time a program, which do not depend on what else the machine does.
            memory_mb: MiB of memory a program, beyond what the interpreter and its libraries take.
            workers: Programs at once; None takes one a processor that this process may use.
            isolation: ``full``, ``auto``, or a level; see ``isolation.resolve``.
            wall_s: Seconds of elapsed time a program, for those that sleep; None takes four times ``timeout_s`` and
                five seconds.

        Raises:
            ValueError: If a limit is not positive or the isolation unknown.
            IsolationError: If the isolation cannot hold on this machine.
        """
        cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
        workers = cores if workers is None else workers
        wall_s = WALL_FACTOR * timeout_s + WALL_SLACK_S if wall_s is None else wall_s
        limits = {"timeout_s": timeout_s, "memory_mb": memory_mb, "workers": workers, "wall_s": wall_s}
        for name, value in limits.items():
            if not value > 0:
                raise ValueError(f"{name} must be positive, got {value!r}")
        self.level = isolations.resolve(isolation)
        if self.level == "process" and isolation != "process":
            warnings.warn(isolations.describe("process").summary, stacklevel=3)
        self._limits = {"timeout_s": timeout_s, "memory_mb": int(memory_mb), "wall_s": wall_s}
        self._idle: list[dict[str, WarmParent]] = [
            {} for _ in range(int(workers))
        ]  # a slot holds a parent of each kind
        self._busy: dict[WarmParent, tuple[dict[str, WarmParent], _Job]] = {}
        self._lock = threading.Lock()
        self._closed = False

    def __enter__(self) -> Sandbox:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def run(self, program: str) -> Execution:
        """The execution of one program."""
        return next(self.run_all([program]))

    def run_all(self, programs: Iterable[str]) -> Iterator[Execution]:
        """The executions of programs, in their order, each as soon as it and those before it are done.

        Programs are taken from the iterable while others run, at most ``AHEAD`` beyond the one that is waited for.

        Raises:
            TypeError: If a program is no text.
            SandboxError: If workers cannot be started, or another run of this sandbox is going on.
        """
        if self._closed:
            raise SandboxError("this sandbox is closed")
        if not self._lock.acquire(blocking=False):
            raise SandboxError("this sandbox is running other programs; finish or close that run, or open another one")
        selector = selectors.DefaultSelector()
        try:
            yield from self._run(iter(programs), selector)
        finally:
            for parent in list(self._busy):  # an abandoned run: what is going on ends with its worker
                self._drop(parent)
            selector.close()
            self._lock.release()

    def close(self) -> None:
        """End the workers; harmless when repeated."""
        self._closed = True
        for slot in self._idle:
            for parent in slot.values():
                parent.close()
            slot.clear()

    def _run(self, programs: Iterator[str], selector: selectors.BaseSelector) -> Iterator[Execution]:
        done: dict[int, Execution] = {}
        again: deque[_Job] = deque()
        taken = given = 0
        more = True
        while more or again or self._busy or done:
            while self._idle and (again or (more and taken - given < AHEAD)):
                if again:
                    self._start(again.popleft(), selector)
                    continue
                try:
                    text = next(programs)
                except StopIteration:
                    more = False
                    break
                refusal = _refusal(text)
                if refusal:
                    done[taken] = Execution("refused", error=refusal, isolation=self.level)
                else:
                    self._start(_Job(taken, {"program": text, **self._limits}, parent_for(text)), selector)
                taken += 1
            while given in done:
                yield done.pop(given)
                given += 1
            if self._busy:
                for parent, result in self._answers(selector):
                    slot, job = self._busy[parent]
                    if result is not None and not result.pop("retired"):
                        del self._busy[parent]
                        selector.unregister(parent)
                        self._idle.append(slot)
                    else:
                        words = self._drop(parent, selector)
                    if result is not None:
                        done[job.index] = Execution(**result, isolation=self.level)
                    elif job.attempts < ATTEMPTS:
                        again.append(job)
                    elif words:  # a worker's own error, not a kill from outside
                        raise SandboxError(f"a worker failed: {words}")
                    else:
                        error = f"{ATTEMPTS} workers in a row were ended while they ran this program"
                        done[job.index] = Execution("crashed", error=error, isolation=self.level)

    def _start(self, job: _Job, selector: selectors.BaseSelector) -> None:
        """Hand a program to a free slot, one with a parent of the right kind if there is one."""
        at = next((at for at, slot in enumerate(self._idle) if job.kind in slot), len(self._idle) - 1)
        slot = self._idle.pop(at)
        if job.kind not in slot:
            slot[job.kind] = WarmParent(job.kind, self.level)
        parent = slot[job.kind]
        job.attempts += 1
        job.deadline = time.monotonic() + (START_S if parent.hello is None else job.task["wall_s"] + GRACE_S)
        self._busy[parent] = (slot, job)
        selector.register(parent, selectors.EVENT_READ)
        parent.send(job.task)

    def _answers(self, selector: selectors.BaseSelector) -> Iterator[tuple[WarmParent, dict | None]]:
        """Workers that have answered, with the result, or None where a worker has gone or is stuck."""
        nearest = min(job.deadline for _, job in self._busy.values())
        for key, _ in selector.select(max(0.0, nearest - time.monotonic())):
            parent = key.fileobj
            answers = parent.receive()
            if answers is None:
                if parent.hello is None:
                    raise SandboxError(f"a worker could not start: {parent.last_words()}")
                yield parent, None
            elif answers:
                yield parent, answers[0]
            else:  # it has said that it is ready, or a part of an answer
                _, job = self._busy[parent]
                job.deadline = time.monotonic() + job.task["wall_s"] + GRACE_S
        now = time.monotonic()
        for parent in [parent for parent, (_, job) in self._busy.items() if job.deadline < now]:
            yield parent, None

    def _drop(self, parent: WarmParent, selector: selectors.BaseSelector | None = None) -> str:
        """Close a worker and free its slot; what it said on standard error."""
        slot, _ = self._busy.pop(parent)
        if selector is not None:
            selector.unregister(parent)
        slot.pop(parent.kind)
        parent.close()
        self._idle.append(slot)
        return parent.words


def run_programs(
    programs: Iterable[str],
    timeout_s: float = 5,
    memory_mb: int = 1024,
    workers: int | None = None,
    isolation: str = "full",
    wall_s: float | None = None,
) -> Iterator[Execution]:
    """The executions of programs, in their order, streamed; workers end with the iterator, or when it is abandoned.

    A program's mistakes are told in its execution and never raised. Arguments and errors are those of ``Sandbox``, and
    are checked at once, before the first program is taken.
    """
    sandbox = Sandbox(timeout_s, memory_mb, workers, isolation, wall_s)

    def executions() -> Iterator[Execution]:
        with sandbox:
            yield from sandbox.run_all(programs)

    return executions()


def run_program(
    program: str, timeout_s: float = 5, memory_mb: int = 1024, isolation: str = "full", wall_s: float | None = None
) -> Execution:
    """The execution of one program; for many, ``run_programs`` is faster by far, and so is an open ``Sandbox``."""
    with Sandbox(timeout_s, memory_mb, 1, isolation, wall_s) as sandbox:
        return sandbox.run(program)


def _refusal(program: str) -> str | None:
    """Why a program is not run, or None."""
    if not isinstance(program, str):
        raise TypeError(f"a program is text, got {type(program).__name__}: {program!r:.80}")
    if not program.strip():
        return "there is no program: the text is empty"
    if "\0" in program:
        return "the text holds a null character, which no Python program may"
    if len(program) > MAX_PROGRAM_CHARS:
        return f"the text has {len(program)} characters; at most {MAX_PROGRAM_CHARS} are run"
    return None
