"""Shared: the interpreter that cleared programs run in one after another, in a process of its own.

The process is forked from the warm parent, as that of a single program is, and is confined in the same way. It takes
programs in batches and answers with what they printed, or with the word that a program must have a process of its own:
because the static check does not clear it, or since something came up while it ran that a process of its own settles
better (an event that the interpreter tells its audit hooks, memory, half a character, a flood of output). A program
that does not end takes the process with it, by a timer of the kernel's, and the parent knows which one it was.

After each batch, and before its results count, the process compares what programs could have changed with what it was.
The check should make a difference impossible; if there is one all the same, no result of the batch is believed.
"""

from __future__ import annotations

import builtins
import decimal
import io
import os
import re
import resource
import signal
import struct
import sys
import time
from collections.abc import Callable, Sequence
from types import CodeType
from typing import Any

from mammoth_utils.programs import frames, program
from mammoth_utils.programs.allowed import BUILTINS, HARMLESS_EVENTS, MODULES
from mammoth_utils.programs.clearance import reason_for_own_process

POSITION = struct.Struct("=i")  # in memory shared with the parent: the program that runs, or NOBODY
NOBODY = -1
SLICE_S = 0.03  # of a batch, after which results leave
PRINTED_CHARS = 64 * 1024  # of output; more than this is counted and cut in a process of its own
NUMBER = re.compile(r"[-+*/() .\d]{1,400}")  # a text that can be nothing but a number
USES_RE = re.compile(r"import[^\n]*\bre\b|from\s+re\b")
ADDRESS = " at 0x"  # of an object, different in each process
GROWTH_MB, PROGRAMS = 64, 20_000  # after which another interpreter takes over
OWN_DEPTH = 9  # frames below a program in a process of its own; the recursion limit must leave it as many here
HERE_DEPTH = 11


class Leaving(BaseException):
    """Raised in a program that does what no shared program may, and told again where the program swallows it."""


class Printed(io.StringIO):
    """What a shared program prints, as long as it is not too much."""

    flooded = False

    def write(self, text: str) -> int:
        if self.tell() + len(text) > PRINTED_CHARS:
            self.flooded = True
            raise Leaving("output")
        return super().write(text)


class SharedInterpreter:
    """Runs cleared programs in this process, one after another."""

    def __init__(self, clear_caches: Callable[[], None]) -> None:
        self._clear_caches = clear_caches
        self._builtins = {name: getattr(builtins, name) for name in BUILTINS} | {"__import__": builtins.__import__}
        self._watching = False
        self._left = ""
        self.spoilt = False  # something was interrupted in it: it must not run another program
        self._ours: tuple[CodeType, ...] = ()
        self._let_numbers_be_read()
        sys.setrecursionlimit(sys.getrecursionlimit() + HERE_DEPTH - OWN_DEPTH)
        self._state = _State()
        sys.addaudithook(self._hear)

    def _hear(self, event: str, arguments: tuple) -> None:
        if self._watching and event not in HARMLESS_EVENTS:
            if event == "exec" and any(arguments[0] is code for code in self._ours):
                return
            self._left = event
            raise Leaving(event)

    def _let_numbers_be_read(self) -> None:
        """Let sympy read a number from a text, as it does by itself for decimals; it reads by evaluating code."""
        parser = sys.modules.get("sympy.parsing.sympy_parser")
        if parser is None:
            return
        parse_expr = parser.parse_expr

        def parse_number(text: Any, *arguments: Any, **named: Any) -> Any:
            watching = self._watching
            # Names of the program's own would run unwatched, so a text that comes with any is evaluated under watch.
            if type(text) is str and NUMBER.fullmatch(text) and not arguments and not named.get("local_dict"):
                self._watching = False
            try:
                return parse_expr(text, *arguments, **named)
            finally:
                self._watching = watching

        parser.parse_expr = parse_number

    def run(self, cells: Sequence[str], limit_s: float) -> dict | None:
        """The fields of an ``Execution``, or None where the program must have a process of its own.

        A program that runs for longer than ``limit_s`` seconds of processor time ends this process.
        """
        started = time.monotonic()
        names = program.cell_names(cells)
        try:
            trees = [program.parsed(cell, name) for cell, name in zip(cells, names, strict=True)]
            if reason_for_own_process(tree for _, tree in trees) is not None:
                return None
            ready = [program.compiled(*pair, name) for pair, name in zip(trees, names, strict=True)]
        except (SyntaxError, ValueError) as error:
            # In a notebook the cells before the one that is no Python would have run.
            return self._report(started, "error", error=program.last_lines(error, names)) if len(cells) == 1 else None
        except (RecursionError, MemoryError):
            return None
        self._ours = tuple(code for cell in ready for code in (cell.statements, cell.last) if code is not None)
        if any("import" in cell for cell in cells):  # else nothing random is within reach
            program.seed_everything()
        self._state.restart_counters()
        stream = Printed(newline="\n")
        space = {"__name__": "__main__", "__builtins__": self._builtins}
        fields: dict[str, Any] = {}
        sys.stdout, self._left = stream, ""
        signal.setitimer(signal.ITIMER_PROF, limit_s)
        self._watching = True
        try:
            value = program.execute(ready, space, lambda: bool(stream.getvalue().strip()))
            fields = program.valued(value)
        except (MemoryError, RecursionError, Leaving) as error:
            # A library may have been interrupted half-way; where depth and memory end, a process of its own tells.
            self._left = self._left or type(error).__name__
        except BaseException as error:
            self._watching = False
            fields = {"status": "error", "error": program.last_lines(error, names)}  # a long text takes time as well
        finally:
            self._watching = False
            signal.setitimer(signal.ITIMER_PROF, 0)
            sys.stdout = sys.__stdout__
        self.spoilt = self.spoilt or bool(self._left)
        space.clear()
        self._clear_caches()
        if any(USES_RE.search(cell) for cell in cells):
            self._state.restore_patterns()
        printed = stream.getvalue()
        said = (printed, fields.get("value") or "", fields.get("error") or "")
        if self._left or stream.flooded or any(ADDRESS in text for text in said):
            return None
        try:
            if sum(len(text.encode()) for text in said) > PRINTED_CHARS:
                return None
        except UnicodeEncodeError:
            return None
        return self._report(started, printed=printed, **fields)

    def _report(self, started: float, status: str = "ok", **fields: Any) -> dict:
        empty = {"status": status, "printed": "", "value": None, "error": None, "truncated": False}
        times = {"seconds": time.monotonic() - started, "peak_memory_mb": _peak_mb()}
        return empty | fields | times

    def sound(self) -> bool:
        """Whether everything that a program could have changed is what it was."""
        return self._state.differences() == []


def _peak_mb() -> float:
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak / (2**20 if sys.platform == "darwin" else 1024)


class _State:
    """What programs could change, as it was before the first of them."""

    def __init__(self) -> None:
        self._modules = [
            (module, dict(vars(module)))
            for name, module in sys.modules.items()
            if module is not None and (name == "builtins" or name.partition(".")[0] in {*MODULES, "mammoth_utils"})
        ]
        self._loaded = dict(sys.modules)
        self._patterns = dict(re._cache)
        symbol = sys.modules.get("sympy.core.symbol")
        self._dummy = symbol.Dummy if symbol else None
        self._count = symbol.Dummy._count if symbol else 0
        self._settings = self._now()

    def restart_counters(self) -> None:
        """Let the numbers that sympy gives to its dummies start where they do in a process of their own."""
        if self._dummy is not None:
            self._dummy._count = self._count

    def restore_patterns(self) -> None:
        """Let the cache of regular expressions, whose keys do not tell 2 from 2.0, be what it was."""
        if re._cache != self._patterns:
            re._cache.clear()
            re._cache.update(self._patterns)

    def _now(self) -> list[tuple[str, Any]]:
        context = decimal.getcontext()
        found: list[tuple[str, Any]] = [
            ("recursion limit", sys.getrecursionlimit()),
            ("digits", sys.get_int_max_str_digits()),
            ("decimal", (context.prec, context.rounding, context.Emin, context.Emax, dict(context.traps))),
            ("hooks", (sys.displayhook, sys.excepthook, sys.gettrace(), sys.getprofile())),
            ("signals", (signal.getsignal(signal.SIGPROF), signal.getsignal(signal.SIGXCPU))),
            ("folder", os.getcwd()),
            ("this room", (dict(vars(SharedInterpreter)), dict(vars(_State)))),
        ]
        if (numpy := sys.modules.get("numpy")) is not None:
            found.append(("numpy", (numpy.geterr(), numpy.get_printoptions())))
        if (mpmath := sys.modules.get("mpmath")) is not None:
            found.append(("mpmath", (mpmath.mp.prec, mpmath.mp.trap_complex, mpmath.mp.pretty, mpmath.iv.prec)))
        if (sympy := sys.modules.get("sympy")) is not None:
            parameters = sys.modules["sympy.core.parameters"].global_parameters
            found.append(("sympy", (dict(vars(parameters)), set(sympy.assumptions.assume.global_assumptions))))
            printer = sys.modules["sympy.printing.printer"].Printer
            found.append(("printing", (dict(printer._global_settings), sympy.StrPrinter._global_settings)))
        return found

    def differences(self) -> list[str]:
        """What is no longer as it was."""
        found = [name for (name, was), (_, now) in zip(self._settings, self._now(), strict=True) if was != now]
        if any(sys.modules.get(name) is not module for name, module in self._loaded.items()):
            found.append("sys.modules")
        for module, was in self._modules:
            if vars(module) != was:
                now = {name: value for name, value in vars(module).items() if name != "__warningregistry__"}
                if now.keys() != was.keys() - {"__warningregistry__"} or any(
                    now[name] is not was[name] for name in now
                ):
                    found.append(module.__name__)
        return found


def serve(incoming: int, outgoing: int, position: Any, clear_caches: Callable[[], None]) -> None:
    """Answer batches until the parent closes the pipe; called in the process that is there for it.

    Args:
        incoming: Descriptor of frames ``{"programs": [[index, cells], ...], "limit_s": seconds}``.
        outgoing: Descriptor of answers ``{"results": [[index, fields or None], ...], "sound": bool, "worn": bool}``,
            for as many programs, from the first, as a slice of time holds.
        position: A buffer shared with the parent.
        clear_caches: Empties what programs leave in sympy's caches.
    """
    interpreter = SharedInterpreter(clear_caches)
    first_mb, count = _peak_mb(), 0
    while (batch := frames.read(incoming)) is not None:
        results: list[list] = []
        until = time.monotonic() + SLICE_S
        for at, (index, cells) in enumerate(batch["programs"]):
            POSITION.pack_into(position, 0, at)
            try:
                results.append([index, interpreter.run(cells, batch["limit_s"])])
            except MemoryError:  # what the program left is too much even to say so: the parent knows who it was
                return
            if interpreter.spoilt or time.monotonic() > until:
                break
        POSITION.pack_into(position, 0, NOBODY)
        count += len(results)
        worn = interpreter.spoilt or count > PROGRAMS or _peak_mb() - first_mb > GROWTH_MB
        frames.write(outgoing, {"results": results, "sound": interpreter.sound(), "worn": worn})


FIELDS = {
    "status": str, "printed": str, "value": str | None, "error": str | None, "truncated": bool, "seconds": float,
    "peak_memory_mb": float,
}  # fmt: skip


def well_formed(answer: object) -> bool:
    """Whether an answer has the form that ``serve`` gives it; the parent does not take the process's word for it."""
    try:
        reports = [fields for _, fields in answer["results"] if fields is not None]
        typed = all(isinstance(fields[name], of) for fields in reports for name, of in FIELDS.items())
        exact = all(len(fields) == len(FIELDS) and fields["status"] in ("ok", "error") for fields in reports)
        return typed and exact and isinstance(answer["sound"], bool) and isinstance(answer["worn"], bool)
    except (KeyError, TypeError, ValueError):
        return False
