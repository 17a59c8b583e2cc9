"""A command line's errors: a user's mistake ends in one line and exit status 1, never in a traceback."""

from __future__ import annotations

import functools
import sys
from collections.abc import Callable, Sequence

Main = Callable[[Sequence[str] | None], int]


def in_one_line(what: str) -> Callable[[Main], Main]:
    """Return a decorator of a ``main`` that prints an error behind ``what``, such as ``not exported``, and returns 1.

    It catches what files, names and a network can cause; a fault of the code still shows itself whole.
    """

    def decorate(main: Main) -> Main:
        @functools.wraps(main)
        def run(arguments: Sequence[str] | None = None) -> int:
            try:
                return main(arguments)
            except (OSError, ValueError, RuntimeError, ModuleNotFoundError) as error:
                from_system = isinstance(error, OSError) and error.filename and error.strerror
                print(f"{what}: {f'{error.filename}: {error.strerror}' if from_system else error}", file=sys.stderr)
                return 1

        return run

    return decorate
