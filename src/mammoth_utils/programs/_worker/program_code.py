"""Program: from a program's text to what its author meant by an answer, in a process that is there to run it.

Only this room runs model-written code. ``run`` does so in a process made for one program; ``shared`` calls the same
functions for programs that a static check has cleared.
"""

from __future__ import annotations

import _sitebuiltins
import ast
import builtins
import inspect
import io
import linecache
import random
import re
import sys
import textwrap
import threading
import traceback
import types
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass

NAME = "<program>"
VALUE_CHARS = 64 * 1024
ERROR_LINES, ERROR_CHARS = 4, 2000
# Read from an import line; deeper tricks only cost the time of an import in the program's own process.
SCIENTIFIC = re.compile(
    r"^[ \t]*(?:from|import)\b[^\n]*\b(?:sympy|numpy|scipy|mpmath|pandas|matplotlib|networkx|sklearn)\b", re.M
)


def parent_for(cells: Sequence[str]) -> str:
    """Which warm parent suits a program, by its import lines: ``bare`` or ``scientific``."""
    return "scientific" if any(map(SCIENTIFIC.search, cells)) else "bare"


class Printed(io.FileIO):
    """Standard output that knows whether anything but white space was printed."""

    said = False

    def write(self, data) -> int:
        if not self.said and bytes(data).strip():
            self.said = True
        return super().write(data)


def parsed(source: str, name: str = NAME) -> tuple[str, ast.Module]:
    """A program with the line ends and the indentation of one system, otherwise as written, and its syntax tree.

    Line ends become line feeds and a byte order mark goes. Only a program that Python refuses for its indentation is
    changed further: tabs become eight spaces, or four, and a margin common to all lines goes.

    Raises:
        SyntaxError: If the text is no Python: the error that it has as written.
        ValueError, RecursionError, MemoryError: As ``ast.parse`` raises them.
    """
    source = source.removeprefix("\ufeff").replace("\r\n", "\n").replace("\r", "\n")
    first = None
    for attempt in _indentations(source):
        try:
            return attempt, ast.parse(attempt, name)
        except IndentationError as error:
            first = first or error
        except SyntaxError:
            if first is None:
                raise
            break
    raise first


def _indentations(source: str) -> Iterator[str]:
    yield source
    for width in (8, 4):
        tabs = re.sub(r"^[ \t]+", lambda margin, width=width: margin[0].expandtabs(width), source, flags=re.M)
        yield tabs
        yield textwrap.dedent(tabs)


def cell_names(cells: Sequence[str]) -> list[str]:
    """What tracebacks call the cells of a program."""
    return [NAME] if len(cells) == 1 else [f"<cell {number}>" for number in range(1, len(cells) + 1)]


def seed_everything() -> None:
    """Start every generator of random numbers that is loaded from the same point."""
    random.seed(0)
    if (numpy_random := sys.modules.get("numpy.random")) is not None:
        numpy_random.seed(0)
    if (sympy_random := sys.modules.get("sympy.core.random")) is not None:
        sympy_random.seed(0)


def run(cells: Sequence[str], stdout: int) -> dict:
    """The report on a program run in this process, which is not fit for anything else afterwards.

    The value is, in this order: ``ans``; what ``solution()`` or ``solver()`` returns, where nothing was printed and the
    last line does not call it already; the last expression of the last cell.

    Args:
        cells: The text of the program, in one piece or in cells that run one after another in one namespace.
        stdout: Descriptor that takes what it prints.

    Returns:
        ``status`` (``ok``, ``error`` or ``memory``), ``value``, ``error`` and ``truncated``.
    """
    # Output leaves with every line, so that a program that is killed has still said what it said.
    printed = Printed(stdout, "wb", closefd=False)
    sys.stdout = io.TextIOWrapper(io.BufferedWriter(printed), encoding="utf-8", newline="\n", line_buffering=True)
    builtins.exit, builtins.quit = _sitebuiltins.Quitter("exit", "EOF"), _sitebuiltins.Quitter("quit", "EOF")
    stream, report = sys.stdout, {"status": "ok", "value": None, "error": None, "truncated": False}

    def said() -> bool:
        if not stream.closed:
            stream.flush()
        return printed.said

    main = types.ModuleType("__main__")  # dataclasses and pickles look their module up
    sys.modules["__main__"] = main
    names = cell_names(cells)
    ready = (compiled(*parsed(cell, name), name) for cell, name in zip(cells, names, strict=True))
    try:
        try:
            value = execute(ready, main.__dict__, said)
        except SystemExit as leaving:
            if leaving.code not in (None, 0):
                raise
            value = main.__dict__.get("ans")
        finally:
            for thread in threading.enumerate():
                if thread is not threading.main_thread() and not thread.daemon:
                    thread.join()  # as the interpreter does at its end
            if not stream.closed:
                stream.flush()
        report.update(valued(value))
    except SystemExit as leaving:
        report.update(status="error", error=f"SystemExit: {leaving.code}"[:ERROR_CHARS])
    except MemoryError:
        vars(sys.modules["__main__"]).clear()  # room for the report
        report.update(status="memory", error="MemoryError: the program asked for more than its limit")
    except BaseException as error:  # a program may raise anything, and all of it is data
        report.update(status="error", error=last_lines(ending(error, names)))
    return report


@dataclass(frozen=True)
class Compiled:
    """A cell, ready to run: its statements, its last expression if it ends with one, and whom that calls by name."""

    statements: types.CodeType
    last: types.CodeType | None
    calls: str | None


def compiled(source: str, tree: ast.Module, name: str) -> Compiled:
    """A cell compiled from its text and tree; the tree is changed."""
    linecache.cache[name] = (len(source), None, source.splitlines(keepends=True), name)
    last = None
    if tree.body and isinstance(tree.body[-1], ast.Expr):
        last = ast.Expression(tree.body.pop().value)
    calls = last.body.func if last is not None and isinstance(last.body, ast.Call) else None
    return Compiled(
        compile(tree, name, "exec"),
        compile(last, name, "eval") if last is not None else None,
        calls.id if isinstance(calls, ast.Name) else None,
    )


def execute(cells: Iterable[Compiled], space: dict, said: Callable[[], bool]) -> object:
    """The value of a program, or None.

    Args:
        cells: May be made one by one: what stands before a cell that is no Python has run by then, as in a notebook.
        space: The namespace in which all of them run.
        said: Whether anything but white space has been printed.
    """
    value = calls = None
    for cell in cells:
        # Called with a star, which the interpreter never specialises: after some calls it would save a level of depth.
        exec(*(cell.statements, space))
        value = eval(*(cell.last, space)) if cell.last is not None else None
        calls = cell.calls
    if space.get("ans") is not None:
        return space["ans"]
    if said():
        return value
    for name in ("solution", "solver"):
        if _takes_nothing(space.get(name)) and not (calls == name and value is not None):
            returned = space[name]()
            answer = space.get("ans") if returned is None else returned
            return value if answer is None else answer
    return value


def _takes_nothing(function: object) -> bool:
    """Whether something can be called without arguments; a helper that happens to be named ``solution`` cannot."""
    if not callable(function):
        return False
    try:
        inspect.signature(function).bind()
    except (TypeError, ValueError):  # it needs arguments, or does not say what it takes
        return False
    return True


def valued(value: object) -> dict:
    """The fields of a report that a value fills: its text, and whether that was cut."""
    if value is None:
        return {}
    text = value if isinstance(value, str) else str(value)
    return {"value": text[:VALUE_CHARS], "truncated": len(text) > VALUE_CHARS}


def ending(error: BaseException, names: Sequence[str]) -> traceback.TracebackException:
    """What an error says and where, without the frames that are ours; objects of the program may run code for it."""
    trace = error.__traceback__
    while trace is not None and trace.tb_frame.f_code.co_filename not in names:
        trace = trace.tb_next
    return traceback.TracebackException(type(error), error, trace, limit=-2, lookup_lines=False, compact=True)


def last_lines(ending: traceback.TracebackException) -> str:
    """The end of a traceback; lines of source are read for it, and nothing of the program runs."""
    lines = "".join(ending.format(chain=False)).strip().splitlines()
    return "\n".join(lines[-ERROR_LINES:])[-ERROR_CHARS:]
