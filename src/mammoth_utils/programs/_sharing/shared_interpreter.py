"""The interpreter in which programs that pass the static check run one after another, in a process for them.

The process is forked from the fork server and confined as that of a single program is. It takes programs in batches and
answers with their results, or that a program needs a process of its own: because it does not pass the static check, or
because of something that happened while it ran (an audit event, the end of memory, a lone surrogate, too much output).
A program that does not end is ended with the process by a timer of the kernel, and the fork server knows which one.

After each batch, and before its results count, the process compares the state that programs could have changed with a
snapshot. The check should make a difference impossible; if there is one, no result of the batch is used.
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
from mammoth_utils.programs._sharing.state_snapshot import StateSnapshot
from mammoth_utils.programs._sharing.static_check import reason_for_own_process
from mammoth_utils.programs._worker import pipe_messages, program_code

POSITION = struct.Struct("=i")  # in memory shared with the fork server: the program that runs, or NO_PROGRAM
NO_PROGRAM = -1
SLICE_S = 0.03  # of a batch, after which results are sent
PRINTED_CHARS = 64 * 1024  # of output; a program that prints more gets a process of its own, where it is cut
NUMBER = re.compile(r"[-+*/() .\d]{1,400}")  # a text that can only be a number
# The code that sympy makes of such a text and evaluates, and the import that it runs first.
NUMBER_CODE = re.compile(rb"(?:Integer|Float|Rational|'[.\d]*'|[-+*/() .\d])*")
NUMBER_NAMES = frozenset({"Integer", "Float", "Rational"})
STAR = "from sympy import *"
STAR_CODE = compile(STAR, "<string>", "exec")
ADDRESS = " at 0x"  # an object's address, different in each process
FAILED = " str() failed>"  # an error without text, as at the recursion limit
GROWTH_MB, PROGRAMS = 64, 20_000  # after which a new interpreter is started
OWN_DEPTH = 9  # frames below a program in a process of its own, and here: the recursion limit is raised by the rest
HERE_DEPTH = 11


class NeedsOwnProcess(BaseException):
    """Raised inside a program that does what no shared program may, and recorded in case the program catches it."""


class Printed(io.StringIO):
    """The output of a shared program, up to ``PRINTED_CHARS``."""

    flooded = False

    def write(self, text: str) -> int:
        if self.tell() + len(text) > PRINTED_CHARS:
            self.flooded = True
            raise NeedsOwnProcess("output")
        return super().write(text)


class SharedInterpreter:
    """Runs programs that pass the static check in this process, one after another."""

    def __init__(self, clear_caches: Callable[[], None]) -> None:
        self._clear_caches = clear_caches
        self._builtins = {name: getattr(builtins, name) for name in BUILTINS} | {"__import__": builtins.__import__}
        self._auditing = self._reading_a_number = False
        self._reason_to_leave = ""
        self.interrupted = False  # a library may be half-way through a change: no other program may run here
        self._own_code: tuple[CodeType, ...] = ()
        self._allow_sympy_numbers()
        sys.setrecursionlimit(sys.getrecursionlimit() + HERE_DEPTH - OWN_DEPTH)
        self._state = StateSnapshot(SharedInterpreter)
        self._attributes = ()
        self._attributes = tuple(vars(self))
        sys.addaudithook(self._audit)

    def _audit(self, event: str, arguments: tuple) -> None:
        if self._auditing and event not in HARMLESS_EVENTS:
            if event == "exec" and any(arguments[0] is code for code in self._own_code):
                return
            if self._reading_a_number and _of_a_number(event, arguments):
                return
            self._reason_to_leave = event
            raise NeedsOwnProcess(event)

    def _allow_sympy_numbers(self) -> None:
        """Let sympy read a number from a text, as it does by itself for decimals; it reads by evaluating code.

        The audit goes on meanwhile and allows only the code that such a text becomes. It allows none where the program
        passes names of its own, which would be called, or within such a call for another text.
        """
        parser = sys.modules.get("sympy.parsing.sympy_parser")
        if parser is None:
            return
        parse_expr = parser.parse_expr

        def parse_number(text: Any, *arguments: Any, **named: Any) -> Any:
            before, names = self._reading_a_number, named.get("local_dict")
            plain = not arguments and (names is None or (type(names) is dict and not names))
            self._reading_a_number = plain and type(text) is str and NUMBER.fullmatch(text) is not None
            try:
                return parse_expr(text, *arguments, **named)
            finally:
                self._reading_a_number = before

        parser.parse_expr = parse_number

    def run(self, cells: Sequence[str], limit_s: float) -> dict | None:
        """Run a program; return the fields of its ``Execution``, or None if it needs a process of its own.

        A program that runs for longer than ``limit_s`` seconds of processor time ends this process.
        """
        started = time.monotonic()
        names = program_code.cell_names(cells)
        try:
            trees = [program_code.parse_cell(cell, name) for cell, name in zip(cells, names, strict=True)]
            if reason_for_own_process(tree for _, tree in trees) is not None:
                return None
            ready = [program_code.compile_cell(*pair, name) for pair, name in zip(trees, names, strict=True)]
        except (SyntaxError, ValueError) as error:
            # In a notebook the cells before the one that is not Python would have run.
            message = program_code.error_text(program_code.summarize_error(error, names))
            return self._report(started, "error", error=message) if len(cells) == 1 else None
        except (RecursionError, MemoryError):
            return None
        self._own_code = tuple(code for cell in ready for code in (cell.statements, cell.last) if code is not None)
        if any("import" in cell for cell in cells):  # without an import there are no random numbers
            program_code.seed_everything()
        self._state.restart_counters()
        stream = Printed(newline="\n")
        space = {"__name__": "__main__", "__builtins__": self._builtins}
        fields: dict[str, Any] = {}
        sys.stdout, self._reason_to_leave = stream, ""
        signal.setitimer(signal.ITIMER_PROF, limit_s)
        self._reading_a_number, self._auditing = False, True
        try:
            value = program_code.execute_cells(ready, space, lambda: bool(stream.getvalue().strip()))
            fields = program_code.value_fields(value)
        except (MemoryError, RecursionError, NeedsOwnProcess) as error:
            # A library may be half-way through a change. Where depth and memory end, a process of its own shows.
            self._reason_to_leave = self._reason_to_leave or type(error).__name__
        except BaseException as error:
            fields = self._error(error, names)  # making the text of an error takes time too
        finally:
            value = None
            space.clear()
            self._auditing = False
            signal.setitimer(signal.ITIMER_PROF, 0)
            sys.stdout = sys.__stdout__
        self.interrupted = self.interrupted or bool(self._reason_to_leave)
        self._clear_caches()
        self._state.restore_patterns()
        printed = stream.getvalue()
        texts = (printed, fields.get("value") or "", fields.get("error") or "")
        if self._reason_to_leave or stream.flooded or any(ADDRESS in text or FAILED in text for text in texts):
            return None
        try:
            if sum(len(text.encode()) for text in texts) > PRINTED_CHARS:
                return None
        except UnicodeEncodeError:
            return None
        return self._report(started, printed=printed, **fields)

    def _error(self, error: BaseException, names: Sequence[str]) -> dict:
        """Return the fields of a program that raised.

        The error's text is made under audit, since that may run the program's code (a ``Counter`` sorts what it
        holds); the lines of source around it, which are read from files, are not.
        """
        try:
            summary = program_code.summarize_error(error, names)
        except BaseException as another:
            self._reason_to_leave = self._reason_to_leave or type(another).__name__
            return {}
        self._auditing = False
        try:
            return {"status": "error", "error": program_code.error_text(summary)}
        finally:
            self._auditing = True

    def _report(self, started: float, status: str = "ok", **fields: Any) -> dict:
        empty = {"status": status, "printed": "", "value": None, "error": None, "truncated": False}
        times = {"seconds": time.monotonic() - started, "peak_memory_mb": _peak_mb()}
        return empty | fields | times

    def is_unchanged(self) -> bool:
        """Return whether the state that a program could have changed is what it was."""
        return tuple(vars(self)) == self._attributes and self._state.differences() == []


def _of_a_number(event: str, arguments: tuple) -> bool:
    """Return whether an audit event is sympy compiling or running the code of a number."""
    if event == "compile":
        source = arguments[0]
        return type(source) is bytes and (source == STAR.encode() or NUMBER_CODE.fullmatch(source) is not None)
    return event == "exec" and (arguments[0] == STAR_CODE or NUMBER_NAMES.issuperset(arguments[0].co_names))


def _peak_mb() -> float:
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak / (2**20 if sys.platform == "darwin" else 1024)


def serve(incoming: int, outgoing: int, position: Any, clear_caches: Callable[[], None]) -> None:
    """Answer batches until the fork server closes the pipe; called in the process made for it.

    Args:
        incoming: Descriptor of messages ``{"programs": [[index, cells], ...], "limit_s": seconds}``.
        outgoing: Descriptor of answers with ``results``, a list of ``[index, fields or None]`` for as many programs,
            from the first, as a time slice holds; ``unchanged``, whether no state was changed; ``retire``, whether
            the process is to be replaced.
        position: A buffer shared with the fork server.
        clear_caches: Empties the upper layer of sympy's caches.
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
            except MemoryError:  # not even enough memory to say so: the fork server knows the program
                return
            if interpreter.interrupted or time.monotonic() > until:
                break
        POSITION.pack_into(position, 0, NO_PROGRAM)
        count += len(results)
        retire = interpreter.interrupted or count > PROGRAMS or _peak_mb() - first_mb > GROWTH_MB
        pipe_messages.write(outgoing, {"results": results, "unchanged": interpreter.is_unchanged(), "retire": retire})


FIELDS = {
    "status": str, "printed": str, "value": str | None, "error": str | None, "truncated": bool, "seconds": float,
    "peak_memory_mb": float,
}  # fmt: skip


def well_formed(answer: object) -> bool:
    """Return whether an answer has the form that ``serve`` gives it; the fork server does not trust the process."""
    try:
        reports = [fields for _, fields in answer["results"] if fields is not None]
        typed = all(isinstance(fields[name], of) for fields in reports for name, of in FIELDS.items())
        exact = all(len(fields) == len(FIELDS) and fields["status"] in ("ok", "error") for fields in reports)
        return typed and exact and isinstance(answer["unchanged"], bool) and isinstance(answer["retire"], bool)
    except (KeyError, TypeError, ValueError):
        return False
