"""The sandbox: a pool of workers that run programs and return their executions in order.

Programs that pass a static check share an interpreter; any other gets a process of its own. Both are isolated from the
machine in the same way.
"""

from __future__ import annotations

import selectors
import threading
import time
import warnings
from collections import deque
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Any

from mammoth_utils.processors import count_cores
from mammoth_utils.programs import isolation as isolations
from mammoth_utils.programs._worker.confinement import DISK_MB
from mammoth_utils.programs._worker.program_code import worker_kind
from mammoth_utils.programs.execution import Execution, Program, each_program, program_cells, refusal_reason
from mammoth_utils.programs.limits import check_limits
from mammoth_utils.programs.worker_handle import STARTS, SandboxError, Worker

AHEAD = 2000  # programs that may run while an earlier one is still running
BATCH, BATCH_CHARS, BATCH_S = 256, 500_000, 0.05  # most programs and characters of a batch, and its aimed-at seconds
FILL_S = 0.005  # how long more programs are taken from a slow source before those at hand start
NONE_AT_HAND: Any = object()  # what a source gives to `Sandbox.run_as_completed` while it has no program
PAUSE_S = 0.01  # how long after that it is asked again
ATTEMPTS = 3  # workers that may end while they run a program before it is called crashed
WALL_FACTOR, WALL_SLACK_S = 4, 5.0  # a busy machine may give a program a small share of a processor
GRACE_S = 60.0  # beyond the elapsed-time limit, which the worker itself enforces: later than that it is stuck
START_S = 900.0  # importing sympy takes a second, and minutes on a machine that is very busy


@dataclass
class _Job:
    index: int
    cells: list[str]
    kind: str
    attempts: int = 0


@dataclass
class _Batch:
    slot: dict[str, Worker]
    jobs: dict[int, _Job]
    started: float
    deadline: float
    size: int


class Sandbox:
    """Workers that stay ready from one call to the next, for programs that come one by one.

    Use it as a context manager or call ``close``, from one thread at a time; workers also end with this process.
    """

    def __init__(
        self,
        timeout_s: float = 5,
        memory_mb: int = 1024,
        workers: int | None = None,
        isolation: str = "full",
        wall_s: float | None = None,
        share: bool = True,
        file_mb: float = DISK_MB,
    ) -> None:
        """Check the limits and the isolation; the workers start when the first program comes.

        Args:
            timeout_s: Seconds of processor time a program, which do not depend on what else the machine does.
            memory_mb: MiB of memory a program, beyond what the interpreter and its libraries take.
            workers: Programs at once; None takes one a processor that this process may use.
            isolation: ``full``, ``auto``, or a level; see ``isolation.resolve_level``.
            wall_s: Seconds of elapsed time a program, for those that sleep; None takes four times ``timeout_s`` and
                five seconds.
            share: Whether programs that pass a static check may share an interpreter, which is many times faster;
                False gives each a process of its own.
            file_mb: MiB of a file that a program writes; at most ``DISK_MB``, which is what its folder holds.

        Raises:
            ValueError: If a limit is no number within its range (``limits.LIMITS``), or the isolation is unknown.
            IsolationError: If the isolation cannot hold on this machine.
        """
        workers = count_cores() if workers is None else workers
        check_limits(timeout_s=timeout_s, memory_mb=memory_mb, workers=workers, file_mb=file_mb)
        wall_s = WALL_FACTOR * timeout_s + WALL_SLACK_S if wall_s is None else wall_s
        check_limits(wall_s=wall_s)
        limits = {"timeout_s": float(timeout_s), "wall_s": float(wall_s), "file_mb": float(file_mb)}
        self.level = isolations.resolve_level(isolation)
        if self.level == "process" and isolation != "process":
            warnings.warn(isolations.describe("process").summary, stacklevel=3)
        self._limits = {**limits, "memory_mb": int(memory_mb), "share": bool(share)}
        self._idle: list[dict[str, Worker]] = [{} for _ in range(int(workers))]  # a slot: at most a worker of each kind
        self._busy: dict[Worker, _Batch] = {}
        self._lost_starts = 0  # in a row
        self._pace: dict[str, float] = {}  # seconds a program of each kind, as measured
        self._lock = threading.Lock()
        self._closed = False

    def __enter__(self) -> Sandbox:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def run(self, program: Program) -> Execution:
        """Run one program."""
        return next(self.run_all([program]))

    def run_all(self, programs: Iterable[Program]) -> Iterator[Execution]:
        """Yield the executions of programs in their order, each as soon as it and those before it are done.

        Programs are taken from the iterable while others run, at most ``AHEAD`` beyond the next one to be yielded.

        Raises:
            TypeError: If a program is no text and no list of texts, or if all of them are one text.
            SandboxError: If workers cannot be started, or another run of this sandbox is going on.
        """
        yield from (execution for _, execution in self._run(each_program(programs), ordered=True))

    def run_as_completed(self, programs: Iterable[Program]) -> Iterator[tuple[int, Execution]]:
        """Yield place and execution of each program as soon as it is done, whatever those before it still do.

        Args:
            programs: As in ``run_all``. ``NONE_AT_HAND`` among them means that there is no program yet; the iterable is
                asked again a moment later, and counts no place for it.

        Raises:
            TypeError, SandboxError: As ``run_all``.
        """
        yield from self._run(each_program(programs), ordered=False)

    def close(self) -> None:
        """End the workers; harmless when repeated."""
        self._closed = True
        for slot in self._idle:
            for worker in slot.values():
                worker.close()
            slot.clear()

    def _run(self, programs: Iterator[Program], ordered: bool) -> Iterator[tuple[int, Execution]]:
        """Yield place and execution of every program, in their order or as they are done."""
        if self._closed:
            raise SandboxError("this sandbox is closed")
        if not self._lock.acquire(blocking=False):
            raise SandboxError("this sandbox is running other programs; finish or close that run, or open another one")
        selector = selectors.DefaultSelector()
        try:
            yield from self._executions(programs, selector, ordered)
        finally:
            for worker in list(self._busy):  # an abandoned run: the programs end with their worker
                self._drop(worker)
            selector.close()
            self._lock.release()

    def _executions(
        self, programs: Iterator[Program], selector: selectors.BaseSelector, ordered: bool
    ) -> Iterator[tuple[int, Execution]]:
        done: dict[int, Execution] = {}
        waiting: deque[_Job] = deque()  # taken, in order, and not yet with a worker
        taken = given = 0
        more = True
        while more or waiting or self._busy or done:
            until, at_hand = time.monotonic() + FILL_S, True
            while more and self._idle and len(waiting) < BATCH * len(self._idle) and taken - given < AHEAD:
                try:
                    program = next(programs)
                except StopIteration:
                    more = False
                    break
                if program is NONE_AT_HAND:
                    at_hand = False
                    break
                cells = program_cells(program)
                if reason := refusal_reason(cells):
                    done[taken] = Execution("refused", error=reason, isolation=self.level)
                else:
                    waiting.append(_Job(taken, cells, worker_kind(cells)))
                taken += 1
                if time.monotonic() > until:
                    break
            while self._idle and waiting:
                self._start(waiting, selector)
            while ready := ([given] if given in done else []) if ordered else list(done):
                for place in ready:
                    yield place, done.pop(place)
                    given += 1
            if not self._busy:
                if not at_hand:
                    time.sleep(PAUSE_S)
                continue
            wait_s = None if not (more and self._idle) else 0.0 if at_hand else PAUSE_S
            for worker, results, gone in self._answers(selector, wait_s):
                batch = self._busy[worker]
                for index, fields in results:
                    done[index] = Execution(**fields, isolation=self.level)
                    del batch.jobs[index]
                    self._lost_starts = 0
                if not gone:
                    if not batch.jobs:
                        self._finish(worker, selector)
                    continue
                # Ended from outside before it was ready: no program ran, so it counts as no attempt.
                unstarted = worker.hello is None and time.monotonic() < batch.deadline
                words = self._drop(worker, selector)
                self._lost_starts += unstarted
                if self._lost_starts == STARTS:
                    raise SandboxError(f"{STARTS} workers in a row were ended while they started")
                for job in reversed(batch.jobs.values()):
                    job.attempts -= unstarted
                    if job.attempts < ATTEMPTS:
                        waiting.appendleft(job)
                    elif words:  # a worker's own error, not a kill from outside
                        raise SandboxError(f"a worker failed: {words}")
                    else:
                        error = f"{ATTEMPTS} workers in a row were ended while they ran this program"
                        done[job.index] = Execution("crashed", error=error, isolation=self.level)

    def _start(self, waiting: deque[_Job], selector: selectors.BaseSelector) -> None:
        """Give the first waiting program and more of its kind to a free slot, one with a worker of that kind if any."""
        kind = waiting[0].kind
        jobs = self._next_batch(waiting)
        at = next((at for at, slot in enumerate(self._idle) if kind in slot), len(self._idle) - 1)
        slot = self._idle.pop(at)
        if kind not in slot:
            slot[kind] = Worker(kind, self.level)
        worker = slot[kind]
        for job in jobs:
            job.attempts += 1
        now = time.monotonic()
        deadline = now + (START_S if worker.hello is None else self._patience())
        self._busy[worker] = _Batch(slot, {job.index: job for job in jobs}, now, deadline, len(jobs))
        selector.register(worker, selectors.EVENT_READ)
        worker.send(self._limits | {"programs": [[job.index, job.cells] for job in jobs]})

    def _next_batch(self, waiting: deque[_Job]) -> list[_Job]:
        """Take as many waiting programs of one kind as are likely to end within ``BATCH_S``."""
        kind = waiting[0].kind
        size = int(min(BATCH, max(1, BATCH_S / self._pace.get(kind, BATCH_S / 8))))
        size = min(size, -(-len(waiting) // len(self._idle)))  # no worker idles while another has many to run
        jobs: list[_Job] = []
        others: list[_Job] = []
        chars = 0
        while waiting and len(jobs) < size:
            job = waiting.popleft()
            length = sum(map(len, job.cells))
            if job.kind != kind or (jobs and chars + length > BATCH_CHARS) or (jobs and job.attempts):
                others.append(job)
                if len(others) > BATCH:
                    break
                continue
            jobs.append(job)
            chars += length
            if job.attempts:  # a worker ended while it ran: alone, so that the cause is known
                break
        waiting.extendleft(reversed(others))
        return jobs

    def _patience(self) -> float:
        """Return the seconds after which a worker without an answer is stuck."""
        return self._limits["wall_s"] + GRACE_S

    def _answers(
        self, selector: selectors.BaseSelector, wait_s: float | None
    ) -> Iterator[tuple[Worker, list[list], bool]]:
        """Yield workers that answered, their results ``[index, fields]``, and whether the worker is to be dropped.

        Args:
            wait_s: How long to wait for an answer; None waits until a worker is overdue.
        """
        now = time.monotonic()
        nearest = max(0.0, min(batch.deadline for batch in self._busy.values()) - now)
        for key, _ in selector.select(nearest if wait_s is None else wait_s):
            worker = key.fileobj
            answers = worker.receive()
            if answers is None:
                if worker.hello is None:
                    words = worker.last_words()
                    if not worker.killed:
                        raise SandboxError(f"a worker could not start: {words}")
                yield worker, [], True
                continue
            batch = self._busy[worker]
            batch.deadline = time.monotonic() + self._patience()
            if not answers and worker.hello is not None and len(batch.jobs) == batch.size:
                batch.started = time.monotonic()  # it is ready now: its start is not the programs' time
            results = [result for answer in answers for result in answer["results"]]
            yield worker, results, any(answer["retired"] for answer in answers)
        now = time.monotonic()
        for worker in [worker for worker, batch in self._busy.items() if batch.deadline < now]:
            yield worker, [], True

    def _finish(self, worker: Worker, selector: selectors.BaseSelector) -> None:
        """Free the slot of a worker whose whole batch is answered."""
        batch = self._busy.pop(worker)
        selector.unregister(worker)
        self._idle.append(batch.slot)
        pace = (time.monotonic() - batch.started) / batch.size
        self._pace[worker.kind] = (self._pace.get(worker.kind, pace) + pace) / 2

    def _drop(self, worker: Worker, selector: selectors.BaseSelector | None = None) -> str:
        """Close a worker and free its slot; return the last line of its standard error."""
        slot = self._busy.pop(worker).slot
        if selector is not None:
            selector.unregister(worker)
        slot.pop(worker.kind)
        worker.close()
        self._idle.append(slot)
        return worker.words


def run_programs(
    programs: Iterable[Program],
    timeout_s: float = 5,
    memory_mb: int = 1024,
    workers: int | None = None,
    isolation: str = "full",
    wall_s: float | None = None,
    share: bool = True,
    progress: bool = False,
    file_mb: float = DISK_MB,
) -> Iterator[Execution]:
    """Yield the executions of programs in their order; workers end with the iterator, or when it is abandoned.

    A program's mistakes are reported in its execution and never raised. The other arguments, and the errors, are those
    of :class:`Sandbox`; they are checked at once, before the first program is taken.

    Args:
        programs: Texts. A list of texts in the place of one is the cells of a notebook, which run in one namespace:
            all that they print is kept, and the value of the last.
        progress: Whether to show a progress bar on standard error.
    """
    each_program(programs)
    sandbox = Sandbox(timeout_s, memory_mb, workers, isolation, wall_s, share, file_mb)

    def executions() -> Iterator[Execution]:
        with sandbox:
            ran = sandbox.run_all(programs)
            if progress:
                from tqdm.auto import tqdm

                total = len(programs) if hasattr(programs, "__len__") else None
                ran = tqdm(ran, total=total, desc="programs", unit="program", smoothing=0.05)
            yield from ran

    return executions()


def run_program(
    program: Program, timeout_s: float = 5, memory_mb: int = 1024, isolation: str = "full", wall_s: float | None = None
) -> Execution:
    """Run one program; for many, ``run_programs`` or an open ``Sandbox`` is faster by far."""
    with Sandbox(timeout_s, memory_mb, 1, isolation, wall_s, share=False) as sandbox:
        return sandbox.run(program)
