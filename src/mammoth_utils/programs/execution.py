"""A program, and the execution that says what happened when it ran."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass

MAX_PROGRAM_CHARS = 1_000_000
Program = str | Sequence[str]  # a text, or the cells of a notebook, which run one after another in one namespace


@dataclass(frozen=True)
class Execution:
    """The outcome of a program's run.

    Attributes:
        status: ``ok``; ``error`` (it raised, or left with an exit code); ``timeout``; ``memory``; ``output`` (it
            printed without end); ``refused`` (it was not run); ``crashed`` (its process was ended by a signal).
        printed: What it printed, at most 64 KiB, also where it did not end well.
        value: Text of ``ans``, of what ``solution()`` returned, or of the last expression; None without.
        error: Last lines of its error, or None.
        seconds: Elapsed time from the start to the end of the program, or of the process that was made for it.
        peak_memory_mb: Most resident memory of its process in MiB, the interpreter and its libraries included.
        truncated: Whether ``printed`` or ``value`` was longer than what is kept.
        isolation: The level that held: ``namespaces``, ``landlock`` or ``process``.
        process: ``own``, or ``shared`` where the program passed the static check and ran in an interpreter that runs
            others too; its ``peak_memory_mb`` is then that of the interpreter. Empty where it was not run.
    """

    status: str
    printed: str = ""
    value: str | None = None
    error: str | None = None
    seconds: float = 0.0
    peak_memory_mb: float = 0.0
    truncated: bool = False
    isolation: str = ""
    process: str = ""

    @property
    def output(self) -> str:
        """Return what a benchmark grades: the printed text, or else the value; empty if there is neither."""
        return self.printed if self.printed.strip() else self.value or ""


def program_cells(program: Program) -> list[str]:
    """Return the cells of a program; raise TypeError if it is neither a text nor a list of texts."""
    if isinstance(program, str):
        return [program]
    if isinstance(program, Sequence) and program and all(isinstance(cell, str) for cell in program):
        return list(program)
    raise TypeError(
        f"a program is text, or a list of cells that are text, got {type(program).__name__}: {program!r:.80}"
    )


def each_program(programs: Iterable[Program]) -> Iterator[Program]:
    """Return an iterator over programs; raise TypeError for one text, whose letters would each be a program."""
    if isinstance(programs, (str, bytes)):
        raise TypeError(f"expected programs, got one text; use run_program: {programs!r:.80}")
    return iter(programs)


def refusal_reason(cells: list[str]) -> str | None:
    """Return why a program is not run, or None."""
    if not any(cell.strip() for cell in cells):
        return "there is no program: the text is empty"
    if any("\0" in cell for cell in cells):
        return "the text holds a null character, which no Python program may"
    if (chars := sum(map(len, cells))) > MAX_PROGRAM_CHARS:
        return f"the text has {chars} characters; at most {MAX_PROGRAM_CHARS} are run"
    return None
