"""Neighbours: the warm parent's handle on the interpreter that its cleared programs share."""

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

LIMIT_S = 0.5  # of processor time a program; who needs longer gets a process, and there all of its time
WALL_S = 30.0  # of elapsed time a slice: a machine that gives us one processor in ten still answers


@dataclass
class Settled:
    """What became of the first programs of a batch."""

    results: list[list] = field(default_factory=list)  # [index, fields]
    alone: list[int] = field(default_factory=list)  # indices of programs that need a process of their own


class Neighbours:
    """A process in which cleared programs run one after another; made when the first comes, and anew when it ends.

    Attributes:
        pid: Of the process, or None.
    """

    def __init__(self, level: str, descriptors: dict, clear_caches: Callable[[], None]) -> None:
        self._level, self._descriptors, self._clear_caches = level, descriptors, clear_caches
        self._position = mmap.mmap(-1, shared_interpreter.POSITION.size)
        self.pid: int | None = None

    def run(self, programs: Sequence[list], task: dict) -> Settled:
        """Run the first of these programs, as many as a slice of time holds, at least one.

        Args:
            programs: ``[index, cells]`` each.
            task: The limits.
        """
        if self.pid is None:
            self._start(task)
        limit_s = min(LIMIT_S, task["timeout_s"])
        shared_interpreter.POSITION.pack_into(self._position, 0, shared_interpreter.NOBODY)
        with contextlib.suppress(BrokenPipeError):  # it has gone, which the answer will show
            pipe_messages.write(self._to, {"programs": list(programs), "limit_s": limit_s})
        answer = self._answer(min(WALL_S, task["wall_s"]) + shared_interpreter.SLICE_S)
        if answer is None or not (
            shared_interpreter.well_formed(answer) and _of_these(answer, programs) and answer["sound"]
        ):
            (culprit,) = shared_interpreter.POSITION.unpack_from(self._position, 0)
            self.end()
            if answer is None and 0 <= culprit < len(programs):
                # Those before it ran well, but their batch was not looked over: they run again with the rest.
                return Settled(alone=[programs[culprit][0]])
            return Settled(alone=[index for index, _ in programs])
        if answer["worn"]:
            self.end()
        results = [result for result in answer["results"] if result[1] is not None]
        return Settled(results, [index for index, fields in answer["results"] if fields is None])

    def _start(self, task: dict) -> None:
        base, _ = program_process.sizes(self._descriptors["statm"])
        ceiling = None if base is None else base + task["memory_mb"] * 2**20
        to_read, self._to = os.pipe()
        self._from, to_write = os.pipe()
        self.pid = os.fork()
        if self.pid == 0:
            self._be_the_interpreter(to_read, to_write, ceiling)
        os.close(to_read)
        os.close(to_write)

    def _be_the_interpreter(self, incoming: int, outgoing: int, ceiling: int | None) -> NoReturn:
        code = 1
        try:
            os.setsid()
            confinement.die_with_parent()
            kept = program_process.keep_only([incoming, outgoing], self._descriptors["ruleset"], self._level)
            confinement.limit_program(None, ceiling, self._level)
            try:
                shared_interpreter.serve(*kept, self._position, self._clear_caches)
            except Exception:  # a mistake of ours, which must not pass for a program's
                pipe_messages.write(kept[1], {"failed": traceback.format_exc()})
            code = 0
        finally:
            os._exit(code)

    def _answer(self, wall_s: float) -> dict | None:
        """The next answer, or None where the process ends, says what is no frame, or nothing in time."""
        inbox, until = pipe_messages.Inbox(), time.monotonic() + wall_s
        poller = select.poll()
        poller.register(self._from, select.POLLIN)
        poller.register(self._descriptors["incoming"], 0)  # a hang-up is always told: the caller has gone
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
                except (pipe_messages.FrameError, ValueError, RecursionError):
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


def _of_these(answer: dict, programs: Sequence[list]) -> bool:
    """Whether an answer speaks of the first of these programs, at least one, each once and in their order."""
    told = [index for index, _ in answer["results"]]
    return 0 < len(told) <= len(programs) and told == [index for index, _ in programs[: len(told)]]
