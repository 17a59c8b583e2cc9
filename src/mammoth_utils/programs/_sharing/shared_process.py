"""The fork server's handle on the process whose interpreter programs share."""

from __future__ import annotations

import contextlib
import mmap
import os
import select
import signal
import time
import traceback
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import NoReturn

from mammoth_utils.programs._sharing import shared_interpreter
from mammoth_utils.programs._worker import confinement, pipe_messages, program_process

TIMEOUT_S = 0.5  # of processor time a program; one that needs more gets a process of its own, with its whole limit
WALL_S = 30.0  # of elapsed time a slice, enough on a machine that is ten times overloaded


@dataclass
class BatchOutcome:
    """The outcome of the first programs of a batch."""

    results: list[list] = field(default_factory=list)  # [index, fields]
    own_process: list[int] = field(default_factory=list)  # indices of programs that need a process of their own


class SharedProcess:
    """A process in which programs run one after another; started for the first, and again whenever it ended."""

    def __init__(self, level: str, descriptors: dict, clear_caches: Callable[[], None]) -> None:
        self._level, self._descriptors, self._clear_caches = level, descriptors, clear_caches
        self._position = mmap.mmap(-1, shared_interpreter.POSITION.size)
        self.pid: int | None = None

    def run(self, programs: Sequence[list], task: dict) -> BatchOutcome:
        """Run the first of these programs ``[index, cells]``, as many as a time slice holds, at least one."""
        if self.pid is None:
            self._start(task)
        limit_s = min(TIMEOUT_S, task["timeout_s"])
        shared_interpreter.POSITION.pack_into(self._position, 0, shared_interpreter.NO_PROGRAM)
        with contextlib.suppress(BrokenPipeError):  # it has ended, which the answer will show
            pipe_messages.write(self._to, {"programs": list(programs), "limit_s": limit_s})
        answer = self._answer(min(WALL_S, task["wall_s"]) + shared_interpreter.SLICE_S)
        if answer is None or not (
            shared_interpreter.well_formed(answer) and _answers_these(answer, programs) and answer["unchanged"]
        ):
            (running,) = shared_interpreter.POSITION.unpack_from(self._position, 0)
            self.end()
            if answer is None and 0 <= running < len(programs):
                # Those before it ran well, but the state after them was not compared: they run again with the rest.
                return BatchOutcome(own_process=[programs[running][0]])
            return BatchOutcome(own_process=[index for index, _ in programs])
        if answer["retire"]:
            self.end()
        results = [result for result in answer["results"] if result[1] is not None]
        return BatchOutcome(results, [index for index, fields in answer["results"] if fields is None])

    def _start(self, task: dict) -> None:
        base, _ = program_process.memory_sizes(self._descriptors["statm"])
        ceiling = None if base is None else base + task["memory_mb"] * 2**20
        to_read, self._to = os.pipe()
        self._from, to_write = os.pipe()
        self.pid = os.fork()
        if self.pid == 0:
            self._become_the_interpreter(to_read, to_write, ceiling)
        os.close(to_read)
        os.close(to_write)

    def _become_the_interpreter(self, incoming: int, outgoing: int, ceiling: int | None) -> NoReturn:
        code = 1
        try:
            os.setsid()
            confinement.die_with_parent()
            channels = program_process.confine_and_keep([incoming, outgoing], self._descriptors["ruleset"], self._level)
            confinement.limit_program(None, ceiling, self._level)
            try:
                shared_interpreter.serve(*channels, self._position, self._clear_caches)
            except Exception:  # an error of this library, not of a program
                pipe_messages.write(channels[1], {"failed": traceback.format_exc()})
            code = 0
        finally:
            os._exit(code)

    def _answer(self, wall_s: float) -> dict | None:
        """Return the next answer, or None if the process ends, sends no valid message, or none in time."""
        inbox, until = pipe_messages.MessageReader(), time.monotonic() + wall_s
        poller = select.poll()
        poller.register(self._from, select.POLLIN)
        poller.register(self._descriptors["incoming"], 0)  # a hang-up is always reported: the caller has ended
        while (left := until - time.monotonic()) > 0:
            for descriptor, event in poller.poll(left * 1000):
                if descriptor != self._from:
                    if event & (select.POLLHUP | select.POLLERR):
                        os.kill(self.pid, signal.SIGKILL)
                        os._exit(0)
                    continue
                piece = os.read(self._from, 1 << 18)
                if not piece:
                    return None
                try:
                    answers = inbox.feed(piece)
                except (pipe_messages.MessageError, ValueError, RecursionError):
                    return None
                if answers and "failed" in answers[0]:
                    raise RuntimeError(f"the shared interpreter failed: {answers[0]['failed']}")
                if answers:
                    return answers[0]
        return None

    def end(self) -> None:
        """End the process, if there is one."""
        if self.pid is None:
            return
        with contextlib.suppress(ProcessLookupError):
            os.kill(self.pid, signal.SIGKILL)
        with contextlib.suppress(ChildProcessError):
            os.waitpid(self.pid, 0)
        for descriptor in (self._to, self._from):
            os.close(descriptor)
        self.pid = None


def _answers_these(answer: dict, programs: Sequence[list]) -> bool:
    """Return whether an answer is about the first of these programs, at least one, each once and in order."""
    answered = [index for index, _ in answer["results"]]
    return 0 < len(answered) <= len(programs) and answered == [index for index, _ in programs[: len(answered)]]
