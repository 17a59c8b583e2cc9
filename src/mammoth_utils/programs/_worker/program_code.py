"""Running a program's text in this process, and reading its answer.

Model-written code runs nowhere else. ``run_cells`` runs it in a process made for one program; ``shared_interpreter``
calls the same functions for programs that passed the static check.
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
# Read from import lines. A program that imports in another way pays for the import in its own process.
SCIENTIFIC = re.compile(
    r"^[ \t]*(?:from|import)\b[^\n]*\b(?:sympy|numpy|scipy|mpmath|pandas|matplotlib|networkx|sklearn)\b", re.M
)


def worker_kind(cells: Sequence[str]) -> str:
    """Return which kind of worker suits a program, by its import lines: ``bare`` or ``scientific``."""
    return "scientific" if any(map(SCIENTIFIC.search, cells)) else "bare"


class Printed(io.FileIO):
    """Standard output that records whether anything but white space was printed."""

    visible = False

    def write(self, data) -> int:
        if not self.visible and bytes(data).strip():
            self.visible = True
        return super().write(data)


def parse_cell(source: str, name: str = NAME) -> tuple[str, ast.Module]:
    """Return a cell's source, with uniform line ends and indentation, and its syntax tree.

    Line ends become line feeds and a byte order mark is removed. Only a cell that Python refuses for its indentation is
    changed further: tabs become eight spaces, or four, and a margin common to all lines is removed.

    Raises:
        SyntaxError: If the source is not Python: the error of the source as written.
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
    """Return the names of a program's cells in tracebacks."""
    return [NAME] if len(cells) == 1 else [f"<cell {number}>" for number in range(1, len(cells) + 1)]


def seed_everything() -> None:
    """Seed every random number generator that is loaded."""
    random.seed(0)
    if (numpy_random := sys.modules.get("numpy.random")) is not None:
        numpy_random.seed(0)
    if (sympy_random := sys.modules.get("sympy.core.random")) is not None:
        sympy_random.seed(0)


def run_cells(cells: Sequence[str], stdout: int) -> dict:
    """Run a program in this process, which can be used for nothing else afterwards, and return its report.

    The value is, in this order: ``ans``; what ``solution()`` or ``solver()`` returns, where nothing was printed and the
    last line does not call it already; the last expression of the last cell.

    Returns:
        ``status`` (``ok``, ``error`` or ``memory``), ``value``, ``error`` and ``truncated``.
    """
    # Flushed after every line, so that the output of a program that is killed is kept.
    printed = Printed(stdout, "wb", closefd=False)
    sys.stdout = io.TextIOWrapper(io.BufferedWriter(printed), encoding="utf-8", newline="\n", line_buffering=True)
    builtins.exit, builtins.quit = _sitebuiltins.Quitter("exit", "EOF"), _sitebuiltins.Quitter("quit", "EOF")
    stream, report = sys.stdout, {"status": "ok", "value": None, "error": None, "truncated": False}

    def has_printed() -> bool:
        if not stream.closed:
            stream.flush()
        return printed.visible

    main = types.ModuleType("__main__")  # dataclasses and pickles look up their module
    sys.modules["__main__"] = main
    names = cell_names(cells)
    ready = (compile_cell(*parse_cell(cell, name), name) for cell, name in zip(cells, names, strict=True))
    try:
        try:
            value = execute_cells(ready, main.__dict__, has_printed)
        except SystemExit as leaving:
            if leaving.code not in (None, 0):
                raise
            value = main.__dict__.get("ans")
        finally:
            for thread in threading.enumerate():
                if thread is not threading.main_thread() and not thread.daemon:
                    thread.join()  # as the interpreter does when it exits
            if not stream.closed:
                stream.flush()
        report.update(value_fields(value))
    except SystemExit as leaving:
        report.update(status="error", error=f"SystemExit: {leaving.code}"[:ERROR_CHARS])
    except MemoryError:
        vars(sys.modules["__main__"]).clear()  # room for the report
        report.update(status="memory", error="MemoryError: the program asked for more than its limit")
    except BaseException as error:  # a program may raise anything, and that is its result
        report.update(status="error", error=error_text(summarize_error(error, names)))
    return report


@dataclass(frozen=True)
class CompiledCell:
    """A compiled cell: its statements, its last expression if it ends with one, and the name which that calls."""

    statements: types.CodeType
    last: types.CodeType | None
    calls: str | None


def compile_cell(source: str, tree: ast.Module, name: str) -> CompiledCell:
    """Compile a cell from its source and tree; the tree is changed."""
    linecache.cache[name] = (len(source), None, source.splitlines(keepends=True), name)
    last = None
    if tree.body and isinstance(tree.body[-1], ast.Expr):
        last = ast.Expression(tree.body.pop().value)
    calls = last.body.func if last is not None and isinstance(last.body, ast.Call) else None
    return CompiledCell(
        compile(tree, name, "exec"),
        compile(last, name, "eval") if last is not None else None,
        calls.id if isinstance(calls, ast.Name) else None,
    )


def execute_cells(cells: Iterable[CompiledCell], space: dict, has_printed: Callable[[], bool]) -> object:
    """Run cells and return the value of the program, or None.

    Args:
        cells: May be compiled one by one: cells before one that is not Python have run by then, as in a notebook.
        has_printed: Returns whether anything but white space has been printed.
    """
    value = calls = None
    for cell in cells:
        # The star keeps the interpreter from specialising the call, which would change the recursion depth by a level.
        exec(*(cell.statements, space))
        value = eval(*(cell.last, space)) if cell.last is not None else None
        calls = cell.calls
    if space.get("ans") is not None:
        return space["ans"]
    if has_printed():
        return value
    for name in ("solution", "solver"):
        if _takes_nothing(space.get(name)) and not (calls == name and value is not None):
            returned = space[name]()
            answer = space.get("ans") if returned is None else returned
            return value if answer is None else answer
    return value


def _takes_nothing(function: object) -> bool:
    """Return whether something can be called without arguments, unlike a helper that is named ``solution``."""
    if not callable(function):
        return False
    try:
        inspect.signature(function).bind()
    except (TypeError, ValueError):  # it needs arguments, or has no signature
        return False
    return True


def value_fields(value: object) -> dict:
    """Return the fields of a report for a value: its text, and whether that was cut."""
    if value is None:
        return {}
    text = value if isinstance(value, str) else str(value)
    return {"value": text[:VALUE_CHARS], "truncated": len(text) > VALUE_CHARS}


def summarize_error(error: BaseException, names: Sequence[str]) -> traceback.TracebackException:
    """Return an error's message and place, without the frames of this library; objects of the program may run code."""
    trace = error.__traceback__
    while trace is not None and trace.tb_frame.f_code.co_filename not in names:
        trace = trace.tb_next
    return traceback.TracebackException(type(error), error, trace, limit=-2, lookup_lines=False, compact=True)


def error_text(summary: traceback.TracebackException) -> str:
    """Return the last lines of a traceback; source lines are read for it, and no code of the program runs."""
    lines = "".join(summary.format(chain=False)).strip().splitlines()
    return "\n".join(lines[-ERROR_LINES:])[-ERROR_CHARS:]
