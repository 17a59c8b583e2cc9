"""Worker: a guard and a warm parent, started by ``parents`` in an interpreter of its own.

The guard is the process that the caller started. It enters the namespaces, forks the warm parent and then only waits:
if the caller or the warm parent ends, in whatever way, the guard ends the rest and removes what is left. The warm
parent has imported what programs use and never runs a line of theirs: each program gets a process forked from it, and
what the parent says of it rests on what the kernel reports, not on the program's word.
"""

from __future__ import annotations

import contextlib
import gc
import importlib
import os
import select
import signal
import sys
import time
import traceback
from collections.abc import Iterator
from typing import NoReturn

from mammoth_utils.programs._sharing.shared_process import Neighbours
from mammoth_utils.programs._sharing.sympy_caches import LayeredCaches
from mammoth_utils.programs._worker import cleanup, confinement, linux_calls, pipe_messages, program_process

STANDARD = (
    "_strptime", "bisect", "calendar", "cmath", "collections", "collections.abc", "copy", "dataclasses", "datetime",
    "decimal", "enum", "fractions", "functools", "heapq", "itertools", "json", "math", "numbers", "operator", "random",
    "re", "statistics", "string", "sys", "textwrap", "time", "typing", "unicodedata",
)  # fmt: skip
EXERCISED = "xyabnt"
SCIENTIFIC = ("numpy", "numpy.random", "numpy.linalg", "mpmath", "sympy", "sympy.core.random")


def main() -> NoReturn:
    """Serve until the caller closes the pipe or ends; called in a fresh interpreter, on descriptors 0 and 1."""
    settings = pipe_messages.read(0)
    caller = os.getppid()
    level, scratch = settings["level"], settings["scratch"]
    try:
        if level != "process" and (reason := linux_calls.unsupported()) is not None:
            raise OSError(reason)
        confinement.adopt_orphans()
        stranger = confinement.enter_namespaces() if level == "namespaces" else False
        watched = [cleanup.end_of(caller)]  # before the fork: a caller that is gone by then is noticed all the same
        here, held = os.pipe()  # the guard holds one end for as long as it lives
        child = os.fork()
        if child == 0:
            os.close(held)
            _be_the_parent(settings, level, stranger, scratch, here)
        os.close(here)
    except OSError as error:
        pipe_messages.write(1, {"ok": False, "reason": str(error)})
        cleanup.remove(scratch)
        os._exit(0)
    os.close(0)
    os.close(1)
    status = None
    try:
        status = _wait_for_either([*watched, cleanup.end_of(child)], caller, child)
    finally:
        with contextlib.suppress(ProcessLookupError):
            os.kill(child, signal.SIGKILL)
        cleanup.sweep(level if level != "namespaces" else "landlock")
        cleanup.remove(scratch)
    if status is not None and os.WIFSIGNALED(status) and os.WTERMSIG(status) == signal.SIGKILL:
        # Ended from outside, and so are we: the caller tells a worker that was killed from one that failed.
        os.kill(os.getpid(), signal.SIGKILL)
    os._exit(0)


def _wait_for_either(descriptors: list[int | None], caller: int, child: int) -> int | None:
    """The child's wait status, once it has ended; None once the caller is gone and the child is not."""
    if None not in descriptors:
        select.select(descriptors, [], [])
        return _status(child)
    while os.getppid() == caller:
        if (status := _status(child)) is not None:
            return status
        time.sleep(0.1)
    return None


def _status(child: int) -> int | None:
    ended, status = os.waitpid(child, os.WNOHANG)
    return status if ended else None


# --- the warm parent ---


def _be_the_parent(settings: dict, level: str, stranger: bool, scratch: str, guard: int) -> NoReturn:
    """Turn this process into the warm parent; an error of ours goes to standard error, which the caller reads."""
    code = 1
    try:
        with contextlib.suppress(BrokenPipeError):  # the caller has gone, which is how this ends
            _serve(settings, level, stranger, scratch, guard)
        code = 0
    except BaseException:
        traceback.print_exc()
    finally:
        os._exit(code)


def _serve(settings: dict, level: str, stranger: bool, scratch: str, guard: int) -> None:
    """Build the layers, import, say what holds, and run programs until the pipe closes."""
    incoming, outgoing = _move_channel()
    statm = _open_or_none("/proc/self/statm")
    confinement.die_with_parent()
    confinement.adopt_orphans()  # not inherited from the guard
    reasons: dict[str, str] = {}
    ruleset = None
    try:
        readable = confinement.readable_places(settings["packages"])
        if level == "namespaces":
            unreadable = stranger and not confinement.readable_by_all(readable)
            owner = confinement.NOBODY if stranger and not unreadable else 0
            scratch = confinement.build_root(readable, owner)
            if owner:
                confinement.become_nobody()
        sys.path.extend(settings["packages"])
        caches = LayeredCaches()
        loaded = _warm(settings["kind"], caches)
        if level != "process":
            try:
                ruleset = confinement.file_rules(readable, scratch)
            except OSError as error:
                if level == "landlock":
                    raise
                reasons["landlock"] = str(error)
            confinement.confine_parent()
            confinement.die_with_parent()  # a change of user or of capabilities has switched it off
    except OSError as error:
        pipe_messages.write(outgoing, {"ok": False, "reason": str(error)})
        return
    if select.select([guard], [], [], 0)[0]:
        return  # the guard ended before the kernel was told to end this process with it
    os.close(guard)
    os.chdir(scratch)
    os.environ.clear()
    sys.set_int_max_str_digits(0)  # a product of ten thousand digits is an answer, and time is limited anyhow
    # Objects that are never looked at again by the collector keep their pages shared with the programs' processes.
    gc.collect()
    gc.freeze()
    hello = {"ok": True, "landlock": ruleset is not None, "reasons": reasons, "loaded": loaded}
    pipe_messages.write(outgoing, hello | {"user": confinement.user_name(), "python": sys.version.split()[0]})
    descriptors = {"incoming": incoming, "statm": statm, "ruleset": ruleset}
    neighbours = Neighbours(level, descriptors, caches.clear)
    while (batch := pipe_messages.read(incoming)) is not None:
        for results in _results(batch, neighbours, level, descriptors):
            try:
                clean = cleanup.wipe(scratch)
            except OSError:
                clean = False
            # A folder that cannot be emptied is not handed to the next program: the caller starts another parent.
            pipe_messages.write(outgoing, {"results": results, "retired": not clean})
            if not clean:
                return


def _results(batch: dict, neighbours: Neighbours, level: str, descriptors: dict) -> Iterator[list[list]]:
    """``[index, fields]`` of the programs of a batch, in pieces as they are done, in no order.

    Args:
        batch: ``programs``, a list of ``[index, cells]``; the limits; ``share``, whether those that a static check
            clears may share an interpreter.
        neighbours: The handle on that interpreter.
        level: One of ``namespaces``, ``landlock``, ``process``.
        descriptors: Of the warm parent.
    """
    waiting, alone = list(batch["programs"]), []
    while waiting and batch["share"]:
        settled = neighbours.run(waiting, batch)
        if settled.results:
            yield [[index, fields | {"process": "shared"}] for index, fields in settled.results]
        done = {index for index, _ in settled.results}
        alone += [one for one in waiting if one[0] in settled.alone]
        waiting = [one for one in waiting if one[0] not in done and one[0] not in settled.alone]
    # Behind all that share: one that takes its whole time must not keep the answers of those that take none.
    for index, cells in sorted(alone) or waiting:
        task = batch | {"cells": cells}
        fields = program_process.run(task, level, descriptors, neighbours.pid)
        if fields["status"] == "crashed" and fields["error"] == program_process.KILLED:
            # By its own hand or by another's, such as that of a machine short of memory: once more will tell.
            fields = program_process.run(task, level, descriptors, neighbours.pid)
        yield [[index, fields | {"process": "own"}]]


def _move_channel() -> tuple[int, int]:
    """Take the caller's pipes away from 0 and 1, where an import that prints would write into them."""
    incoming, outgoing, null = os.dup(0), os.dup(1), os.open(os.devnull, os.O_RDWR)
    for standard in (0, 1):
        os.dup2(null, standard)
    return incoming, outgoing


def _open_or_none(path: str) -> int | None:
    try:
        return os.open(path, os.O_RDONLY)
    except OSError:
        return None


def _warm(kind: str, caches: LayeredCaches) -> dict[str, str]:
    """Import what programs of a kind use, and use what is slow at first; versions of what was found.

    Args:
        kind: ``bare`` or ``scientific``.
        caches: Take up what sympy keeps; frozen on return.
    """
    for name in STANDARD:
        importlib.import_module(name)
    if kind == "bare":
        caches.freeze()
        return {}
    versions = {}
    for name in SCIENTIFIC:
        # A library that is not installed is the program's own ImportError, told in its execution.
        with contextlib.suppress(ImportError), caches.installed():
            versions[name] = getattr(importlib.import_module(name), "__version__", "")
    if "sympy" in versions:
        _exercise_sympy()
    caches.freeze()
    return {name: version for name, version in versions.items() if version}


def _exercise_sympy() -> None:
    """Solve, simplify and print: modules that sympy imports late, and caches, are then shared by all programs.

    What is asked for is what programs ask for most: linear equations in one and two unknowns under usual names, a
    quadratic, a few of each of the rest. Longer lists cost more at the start of each worker than they gave.
    """
    import sympy

    # Drawn by chance at import, and part of how sympy orders the dummies that it makes: the same in every worker.
    sympy.Dummy._base_dummy_index = 10**6
    x, y = sympy.symbols("x y")
    sympy.solve(x**2 - 5 * x + 6, x)
    sympy.solve([x + y - 3, x - 2 * y], [x, y])
    sympy.solve(sympy.Eq(2 * x + 1, 7.5), x)
    sympy.solve(sympy.sqrt(x) - 2, x)
    sympy.solveset(x**2 - 2, x, sympy.S.Reals)
    sympy.simplify(sympy.sin(x) ** 2 + sympy.cos(x) ** 2 + (x**2 - 1) / (x - 1))
    sympy.expand((x + y) ** 3), sympy.factor(x**2 - 1)
    sympy.integrate(x * sympy.exp(x), x), sympy.diff(sympy.log(x) * x, x), sympy.limit(sympy.sin(x) / x, x, 0)
    sympy.Matrix([[1, 2], [3, 4]]).det(), sympy.factorint(360), sympy.gcd(12, 18)
    # Tables and modules that are made at the first need, which a shared program would have to leave for.
    sympy.integrate(sympy.exp(-(x**2)), (x, 0, sympy.oo))
    sympy.Sum(x**y / sympy.factorial(y), (y, 0, sympy.oo)).doit(), sympy.product(y, (y, 1, 5))
    sympy.solveset(sympy.sin(x) - 1, x), sympy.solveset(sympy.cos(2 * x) - 1, x, sympy.Interval(0, 3))
    str(sympy.Rational(1, 3) + sympy.pi), sympy.sqrt(8).evalf(), sympy.N(sympy.pi, 20)
    for name in EXERCISED:
        unknown = sympy.Symbol(name)
        for factor in range(1, 11):
            sympy.solve(sympy.Eq(factor * unknown + 17, 101), unknown)
        sympy.solve(sympy.Eq(0.15 * unknown - 17.5, 101), unknown)
    for pair in ("x y", "a b"):
        first, second = sympy.symbols(pair)
        for factor in (2, 3, 4, 5):
            one = sympy.Eq(first + factor * second, 17), sympy.Eq(factor * first - second, 101)
            sympy.solve(one, (first, second))
        one = sympy.Eq(first + second, 17), sympy.Eq(0.25 * first + 1.5 * second, 101)
        sympy.solve(one, (first, second))
