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
import io
import re
import resource
import signal
import struct
import sys
import time
from collections.abc import Callable, Sequence
from types import CodeType
from typing import Any

from mammoth_utils.programs._sharing.allowed_names import BUILTINS, HARMLESS_EVENTS
from mammoth_utils.programs._sharing.clearance import reason_for_own_process
from mammoth_utils.programs._sharing.state_check import State
from mammoth_utils.programs._worker import pipe_messages, program_code

POSITION = struct.Struct("=i")  # in memory shared with the parent: the program that runs, or NOBODY
NOBODY = -1
SLICE_S = 0.03  # of a batch, after which results leave
PRINTED_CHARS = 64 * 1024  # of output; more than this is counted and cut in a process of its own
NUMBER = re.compile(r"[-+*/() .\d]{1,400}")  # a text that can be nothing but a number
# What sympy makes of such a text and evaluates, and what it runs first.
NUMBER_CODE = re.compile(rb"(?:Integer|Float|Rational|'[.\d]*'|[-+*/() .\d])*")
NUMBER_NAMES = frozenset({"Integer", "Float", "Rational"})
STAR = "from sympy import *"
STAR_CODE = compile(STAR, "<string>", "exec")
ADDRESS = " at 0x"  # of an object, different in each process
FAILED = " str() failed>"  # of an error without words, as at the end of depth
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
        self._watching = self._reading = False
        self._left = ""
        self.spoilt = False  # something was interrupted in it: it must not run another program
        self._ours: tuple[CodeType, ...] = ()
        self._let_numbers_be_read()
        sys.setrecursionlimit(sys.getrecursionlimit() + HERE_DEPTH - OWN_DEPTH)
        self._state = State(SharedInterpreter)
        self._attributes = ()
        self._attributes = tuple(vars(self))
        sys.addaudithook(self._hear)

    def _hear(self, event: str, arguments: tuple) -> None:
        if self._watching and event not in HARMLESS_EVENTS:
            if event == "exec" and any(arguments[0] is code for code in self._ours):
                return
            if self._reading and _of_a_number(event, arguments):
                return
            self._left = event
            raise Leaving(event)

    def _let_numbers_be_read(self) -> None:
        """Let sympy read a number from a text, as it does by itself for decimals; it reads by evaluating code.

        The watch goes on meanwhile, and lets pass what such a text becomes and nothing else. It lets nothing pass
        where the program hands over names of its own, which would be called, or within such a call for another text.
        """
        parser = sys.modules.get("sympy.parsing.sympy_parser")
        if parser is None:
            return
        parse_expr = parser.parse_expr

        def parse_number(text: Any, *arguments: Any, **named: Any) -> Any:
            before, names = self._reading, named.get("local_dict")
            plain = not arguments and (names is None or (type(names) is dict and not names))
            self._reading = plain and type(text) is str and NUMBER.fullmatch(text) is not None
            try:
                return parse_expr(text, *arguments, **named)
            finally:
                self._reading = before

        parser.parse_expr = parse_number

    def run(self, cells: Sequence[str], limit_s: float) -> dict | None:
        """The fields of an ``Execution``, or None where the program must have a process of its own.

        A program that runs for longer than ``limit_s`` seconds of processor time ends this process.
        """
        started = time.monotonic()
        names = program_code.cell_names(cells)
        try:
            trees = [program_code.parsed(cell, name) for cell, name in zip(cells, names, strict=True)]
            if reason_for_own_process(tree for _, tree in trees) is not None:
                return None
            ready = [program_code.compiled(*pair, name) for pair, name in zip(trees, names, strict=True)]
        except (SyntaxError, ValueError) as error:
            # In a notebook the cells before the one that is no Python would have run.
            told = program_code.last_lines(program_code.ending(error, names))
            return self._report(started, "error", error=told) if len(cells) == 1 else None
        except (RecursionError, MemoryError):
            return None
        self._ours = tuple(code for cell in ready for code in (cell.statements, cell.last) if code is not None)
        if any("import" in cell for cell in cells):  # else nothing random is within reach
            program_code.seed_everything()
        self._state.restart_counters()
        stream = Printed(newline="\n")
        space = {"__name__": "__main__", "__builtins__": self._builtins}
        fields: dict[str, Any] = {}
        sys.stdout, self._left = stream, ""
        signal.setitimer(signal.ITIMER_PROF, limit_s)
        self._reading, self._watching = False, True
        try:
            value = program_code.execute(ready, space, lambda: bool(stream.getvalue().strip()))
            fields = program_code.valued(value)
        except (MemoryError, RecursionError, Leaving) as error:
            # A library may have been interrupted half-way; where depth and memory end, a process of its own tells.
            self._left = self._left or type(error).__name__
        except BaseException as error:
            fields = self._error(error, names)  # a long text takes time as well
        finally:
            value = None
            space.clear()
            self._watching = False
            signal.setitimer(signal.ITIMER_PROF, 0)
            sys.stdout = sys.__stdout__
        self.spoilt = self.spoilt or bool(self._left)
        self._clear_caches()
        self._state.restore_patterns()
        printed = stream.getvalue()
        said = (printed, fields.get("value") or "", fields.get("error") or "")
        if self._left or stream.flooded or any(ADDRESS in text or FAILED in text for text in said):
            return None
        try:
            if sum(len(text.encode()) for text in said) > PRINTED_CHARS:
                return None
        except UnicodeEncodeError:
            return None
        return self._report(started, printed=printed, **fields)

    def _error(self, error: BaseException, names: Sequence[str]) -> dict:
        """The fields of a program that raised: the words under watch, since to make them may run the program's code
        (a ``Counter`` sorts what it holds), and then the lines of source around them, which are read from files."""
        try:
            ending = program_code.ending(error, names)
        except BaseException as another:
            self._left = self._left or type(another).__name__
            return {}
        self._watching = False
        try:
            return {"status": "error", "error": program_code.last_lines(ending)}
        finally:
            self._watching = True

    def _report(self, started: float, status: str = "ok", **fields: Any) -> dict:
        empty = {"status": status, "printed": "", "value": None, "error": None, "truncated": False}
        times = {"seconds": time.monotonic() - started, "peak_memory_mb": _peak_mb()}
        return empty | fields | times

    def sound(self) -> bool:
        """Whether everything that a program could have changed is what it was."""
        return tuple(vars(self)) == self._attributes and self._state.differences() == []


def _of_a_number(event: str, arguments: tuple) -> bool:
    """Whether sympy tells that it compiles or runs what a text that is a number becomes."""
    if event == "compile":
        source = arguments[0]
        return type(source) is bytes and (source == STAR.encode() or NUMBER_CODE.fullmatch(source) is not None)
    return event == "exec" and (arguments[0] == STAR_CODE or NUMBER_NAMES.issuperset(arguments[0].co_names))


def _peak_mb() -> float:
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak / (2**20 if sys.platform == "darwin" else 1024)


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
    while (batch := pipe_messages.read(incoming)) is not None:
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
        pipe_messages.write(outgoing, {"results": results, "sound": interpreter.sound(), "worn": worn})


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
