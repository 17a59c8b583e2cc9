"""Program: what happens inside the process of one program, from its text to the report on it.

Only this room runs model-written code, and only in a process made for it.
"""

from __future__ import annotations

import _sitebuiltins
import ast
import builtins
import io
import linecache
import random
import re
import sys
import threading
import traceback
import types

NAME = "<program>"
VALUE_CHARS = 64 * 1024
ERROR_LINES, ERROR_CHARS = 4, 2000
# Read from an import line; deeper tricks only cost the time of an import in the program's own process.
SCIENTIFIC = re.compile(
    r"^[ \t]*(?:from|import)\b[^\n]*\b(?:sympy|numpy|scipy|mpmath|pandas|matplotlib|networkx|sklearn)\b", re.M
)


def parent_for(source: str) -> str:
    """Which warm parent suits a program, by its import lines: ``bare`` or ``scientific``."""
    return "scientific" if SCIENTIFIC.search(source) else "bare"


class Printed(io.FileIO):
    """Standard output that knows whether anything but white space was printed."""

    said = False

    def write(self, data) -> int:
        if not self.said and bytes(data).strip():
            self.said = True
        return super().write(data)


def normalised(source: str) -> str:
    """A program with the line ends and the indentation of one system, otherwise as written.

    Line ends become line feeds and a byte order mark goes. Only a program that Python refuses for its indentation is
    changed further: tabs become eight spaces, or four, and a margin common to all lines goes.
    """
    source = source.removeprefix("\ufeff").replace("\r\n", "\n").replace("\r", "\n")
    for attempt in _indentations(source):
        try:
            ast.parse(attempt, NAME)
        except IndentationError:
            continue
        except (SyntaxError, ValueError, RecursionError, MemoryError):
            return source
        return attempt
    return source


def _indentations(source: str):
    import textwrap

    yield source
    for width in (8, 4):
        tabs = re.sub(r"^[ \t]+", lambda margin, width=width: margin[0].expandtabs(width), source, flags=re.M)
        yield tabs
        yield textwrap.dedent(tabs)


def seed_everything() -> None:
    """Start every generator of random numbers that is loaded from the same point."""
    random.seed(0)
    if (numpy_random := sys.modules.get("numpy.random")) is not None:
        numpy_random.seed(0)
    if (sympy_random := sys.modules.get("sympy.core.random")) is not None:
        sympy_random.seed(0)


def run(source: str, stdout: int) -> dict:
    """The report on a program run in this process, which is not fit for anything else afterwards.

    The value is, in this order: ``ans``; what ``solution()`` or ``solver()`` returns, where nothing was printed and the
    last line does not call it already; the last expression.

    Args:
        source: The text of the program.
        stdout: Descriptor that takes what it prints.

    Returns:
        ``status`` (``ok``, ``error`` or ``memory``), ``value``, ``error`` and ``truncated``.
    """
    # Output leaves with every line, so that a program that is killed has still said what it said.
    printed = Printed(stdout, "wb", closefd=False)
    sys.stdout = io.TextIOWrapper(io.BufferedWriter(printed), encoding="utf-8", newline="\n", line_buffering=True)
    builtins.exit, builtins.quit = _sitebuiltins.Quitter("exit", "EOF"), _sitebuiltins.Quitter("quit", "EOF")
    stream, report = sys.stdout, {"status": "ok", "value": None, "error": None, "truncated": False}
    try:
        try:
            value = _execute(normalised(source), printed, stream)
        finally:
            for thread in threading.enumerate():
                if thread is not threading.main_thread() and not thread.daemon:
                    thread.join()  # as the interpreter does at its end
            if not stream.closed:
                stream.flush()
        if value is not None:
            text = value if isinstance(value, str) else str(value)
            report["value"], report["truncated"] = text[:VALUE_CHARS], len(text) > VALUE_CHARS
    except SystemExit as leaving:
        if leaving.code not in (None, 0):
            report.update(status="error", error=f"SystemExit: {leaving.code}"[:ERROR_CHARS])
    except MemoryError:
        vars(sys.modules["__main__"]).clear()  # room for the report
        report.update(status="memory", error="MemoryError: the program asked for more than its limit")
    except BaseException as error:  # a program may raise anything, and all of it is data
        report.update(status="error", error=_last_lines(error))
    return report


def _execute(source: str, printed: Printed, stream: io.TextIOWrapper) -> object:
    """The value of a program, or None."""
    linecache.cache[NAME] = (len(source), None, source.splitlines(keepends=True), NAME)
    tree = ast.parse(source, NAME)
    last = None
    if tree.body and isinstance(tree.body[-1], ast.Expr):
        last = ast.Expression(tree.body.pop().value)
    main = types.ModuleType("__main__")  # dataclasses and pickles look their module up
    sys.modules["__main__"] = main
    space = main.__dict__
    exec(compile(tree, NAME, "exec"), space)
    value = eval(compile(last, NAME, "eval"), space) if last is not None else None
    if space.get("ans") is not None:
        return space["ans"]
    if not stream.closed:
        stream.flush()
    if printed.said:
        return value
    called = last.body.func.id if _calls_a_name(last) else None
    for name in ("solution", "solver"):
        if callable(space.get(name)) and not (called == name and value is not None):
            returned = space[name]()
            answer = space.get("ans") if returned is None else returned
            return value if answer is None else answer
    return value


def _calls_a_name(last: ast.Expression | None) -> bool:
    return last is not None and isinstance(last.body, ast.Call) and isinstance(last.body.func, ast.Name)


def _last_lines(error: BaseException) -> str:
    """The end of a traceback, without the frames that are ours."""
    trace = error.__traceback__
    while trace is not None and trace.tb_frame.f_code.co_filename != NAME:
        trace = trace.tb_next
    lines = "".join(traceback.format_exception(type(error), error, trace, limit=-2, chain=False)).strip().splitlines()
    return "\n".join(lines[-ERROR_LINES:])[-ERROR_CHARS:]
