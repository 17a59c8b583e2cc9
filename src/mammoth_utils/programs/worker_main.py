"""The worker process: a guard and a fork server, started by ``worker_handle`` in an interpreter of its own.

The guard is the process that the caller started. It enters the namespaces, forks the fork server and then only waits:
if the caller or the fork server ends, in whatever way, the guard ends the rest and removes the scratch folder. The fork
server has imported what programs use and never runs a line of theirs: each program gets a process forked from it, and
its report on that process rests on what the kernel says, not on what the program says.
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

from mammoth_utils.programs._sharing.shared_process import SharedProcess
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
    """Serve on descriptors 0 and 1 of a fresh interpreter until the caller closes the pipe or ends."""
    settings = pipe_messages.read(0)
    caller = os.getppid()
    level, scratch = settings["level"], settings["scratch"]
    try:
        if level != "process" and (reason := linux_calls.unsupported_reason()) is not None:
            raise OSError(reason)
        confinement.adopt_orphans()
        has_nobody = confinement.enter_namespaces() if level == "namespaces" else False
        watched = [cleanup.open_pidfd(caller)]  # before the fork, so that a caller that has ended by then is noticed
        here, held = os.pipe()  # the guard holds one end for as long as it lives
        child = os.fork()
        if child == 0:
            os.close(held)
            _become_the_fork_server(settings, level, has_nobody, scratch, here)
        os.close(here)
    except OSError as error:
        pipe_messages.write(1, {"ok": False, "reason": str(error)})
        cleanup.remove_folder(scratch)
        os._exit(0)
    os.close(0)
    os.close(1)
    status = None
    try:
        status = _wait_for_either([*watched, cleanup.open_pidfd(child)], caller, child)
    finally:
        with contextlib.suppress(ProcessLookupError):
            os.kill(child, signal.SIGKILL)
        cleanup.end_processes(level if level != "namespaces" else "landlock")
        cleanup.remove_folder(scratch)
    if status is not None and os.WIFSIGNALED(status) and os.WTERMSIG(status) == signal.SIGKILL:
        # Killed from outside: the guard ends in the same way, so that the caller can tell this from a failure.
        os.kill(os.getpid(), signal.SIGKILL)
    os._exit(0)


def _wait_for_either(descriptors: list[int | None], caller: int, child: int) -> int | None:
    """Return the child's wait status once it has ended, or None once the caller has ended and the child has not."""
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


def _become_the_fork_server(settings: dict, level: str, has_nobody: bool, scratch: str, guard: int) -> NoReturn:
    """Turn this process into the fork server; an error of ours goes to standard error, which the caller reads."""
    code = 1
    try:
        with contextlib.suppress(BrokenPipeError):  # the caller has ended, and with it this process
            _serve(settings, level, has_nobody, scratch, guard)
        code = 0
    except BaseException:
        traceback.print_exc()
    finally:
        os._exit(code)


def _serve(settings: dict, level: str, has_nobody: bool, scratch: str, guard: int) -> None:
    """Build the isolation, import, report what holds, and run programs until the pipe closes."""
    incoming, outgoing = _move_channel()
    statm = _open_or_none("/proc/self/statm")
    confinement.die_with_parent()
    confinement.adopt_orphans()  # not inherited from the guard
    reasons: dict[str, str] = {}
    ruleset = None
    try:
        readable = confinement.readable_places(settings["packages"])
        if level == "namespaces":
            unreadable = has_nobody and not confinement.readable_by_all(readable)
            owner = confinement.NOBODY if has_nobody and not unreadable else 0
            scratch = confinement.build_root(readable, owner)
            if owner:
                confinement.become_nobody()
                confinement.die_with_parent()  # a change of user has switched it off
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
            confinement.confine_fork_server()
            confinement.die_with_parent()  # a change of capabilities has switched it off
    except OSError as error:
        pipe_messages.write(outgoing, {"ok": False, "reason": str(error)})
        return
    if select.select([guard], [], [], 0)[0]:
        return  # the guard ended before the kernel was told to end this process with it
    os.close(guard)
    os.chdir(scratch)
    os.environ.clear()
    sys.set_int_max_str_digits(0)  # a product of ten thousand digits is an answer, and time is limited anyhow
    # Pages of objects that the collector never visits again stay shared with the processes of the programs.
    gc.collect()
    gc.freeze()
    hello = {"ok": True, "landlock": ruleset is not None, "reasons": reasons, "loaded": loaded}
    pipe_messages.write(outgoing, hello | {"user": confinement.user_name(), "python": sys.version.split()[0]})
    descriptors = {"incoming": incoming, "statm": statm, "ruleset": ruleset}
    shared = SharedProcess(level, descriptors, caches.clear)
    while (batch := pipe_messages.read(incoming)) is not None:
        for results in _results(batch, shared, level, descriptors):
            try:
                clean = cleanup.empty_folder(scratch)
            except OSError:
                clean = False
            # A folder that cannot be emptied is not given to the next program: the caller starts another worker.
            pipe_messages.write(outgoing, {"results": results, "retired": not clean})
            if not clean:
                return


def _results(batch: dict, shared: SharedProcess, level: str, descriptors: dict) -> Iterator[list[list]]:
    """Yield lists of ``[index, fields]`` of the programs of a batch as they are done, in no order.

    Args:
        batch: ``programs``, a list of ``[index, cells]``; the limits; ``share``, whether programs that pass the static
            check may share an interpreter.
    """
    waiting, own_process = list(batch["programs"]), []
    while waiting and batch["share"]:
        outcome = shared.run(waiting, batch)
        if outcome.results:
            yield [[index, fields | {"process": "shared"}] for index, fields in outcome.results]
        done = {index for index, _ in outcome.results}
        own_process += [program for program in waiting if program[0] in outcome.own_process]
        waiting = [program for program in waiting if program[0] not in done and program[0] not in outcome.own_process]
    # After all that share: one that uses its whole time must not delay the answers of those that need little.
    for index, cells in sorted(own_process) or waiting:
        task = batch | {"cells": cells}
        fields = program_process.run_in_own_process(task, level, descriptors, shared.pid)
        if fields["status"] == "crashed" and fields["error"] == program_process.KILLED:
            # Killed by itself or from outside, as by a machine short of memory: a second run shows which.
            fields = program_process.run_in_own_process(task, level, descriptors, shared.pid)
        yield [[index, fields | {"process": "own"}]]


def _move_channel() -> tuple[int, int]:
    """Move the caller's pipes away from 0 and 1, where an import that prints would write into them."""
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
    """Import what programs of a kind use, call what is slow the first time, and return the versions of the libraries.

    Sympy's caches are filled here and frozen on return.
    """
    for name in STANDARD:
        importlib.import_module(name)
    if kind == "bare":
        caches.freeze()
        return {}
    versions = {}
    for name in SCIENTIFIC:
        # A library that is not installed gives the program that imports it an ImportError.
        with contextlib.suppress(ImportError), caches.installed():
            versions[name] = getattr(importlib.import_module(name), "__version__", "")
    if "sympy" in versions:
        _exercise_sympy()
    caches.freeze()
    return {name: version for name, version in versions.items() if version}


def _exercise_sympy() -> None:
    """Solve, simplify and print, so that all programs share the modules that sympy imports late, and its caches.

    These are the calls that programs make most: linear equations in one and two unknowns under usual names, a
    quadratic, a few of each of the rest. Longer lists cost more at the start of each worker than they gain.
    """
    import sympy

    # Random at import, and part of how sympy orders its dummies: made the same in every worker.
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
    # Tables and modules that are made at first use, for which a program would have to leave the shared interpreter.
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
            equations = sympy.Eq(first + factor * second, 17), sympy.Eq(factor * first - second, 101)
            sympy.solve(equations, (first, second))
        equations = sympy.Eq(first + second, 17), sympy.Eq(0.25 * first + 1.5 * second, 101)
        sympy.solve(equations, (first, second))
