"""The levels of isolation: which of them this machine allows, found by trying, and what each protects."""

from __future__ import annotations

import functools
import html
import os
import platform
import sys
from dataclasses import dataclass

from mammoth_utils.programs._worker.confinement import DISK_MB, PROCESSES
from mammoth_utils.programs.worker_handle import STARTS, SandboxError, Worker

LEVELS = ("namespaces", "landlock", "process")
FULL_LEVELS = ("namespaces", "landlock")  # levels that hold against a program that means harm
CHOICES = ("auto", "full", *LEVELS)


class IsolationError(SandboxError):
    """The isolation that was asked for cannot hold on this machine."""


@dataclass(frozen=True, repr=False)
class IsolationReport:
    """The protection of this machine from the programs that run on it, as a table.

    Attributes:
        full: Whether the level holds against a program that means harm.
        summary: One line for people.
        rows: One dictionary a property with ``property``, ``holds`` (``yes``, ``partly`` or ``no``) and ``how``.
    """

    level: str
    full: bool
    summary: str
    rows: tuple[dict[str, str], ...]

    def __str__(self) -> str:
        wide = max(len(row["property"]) for row in self.rows)
        lines = [f"{row['property']:<{wide}}  {row['holds']:<6}  {row['how']}" for row in self.rows]
        return "\n".join([self.summary, "", *lines])

    __repr__ = __str__  # a plain prompt shows the table too

    def _repr_html_(self) -> str:
        cells = (
            "".join(
                f"<td style='text-align:left'>{html.escape(row[name])}</td>" for name in ("property", "holds", "how")
            )
            for row in self.rows
        )
        body = "".join(f"<tr>{row}</tr>" for row in cells)
        head = "<tr><th>what a program meets</th><th>holds</th><th>how</th></tr>"
        caption = "<caption>Sandbox protection on this machine</caption>"
        return f"<p>{html.escape(self.summary)}</p><table>{caption}<thead>{head}</thead><tbody>{body}</tbody></table>"


@functools.cache
def try_level(level: str) -> tuple[dict | None, str]:
    """Start a worker at a level and close it again; return what it reports when it is ready, or None and the reason.

    Done once in the life of this process. A worker that was killed from outside or for want of memory says nothing
    about the level, so another one is started.
    """
    reason = ""
    for _ in range(STARTS):
        worker = None
        try:
            worker = Worker("bare", level)
            return worker.wait_until_ready(), ""
        except SandboxError as error:
            reason = str(error)
            if worker is None or not worker.killed:
                break
        finally:
            if worker is not None:
                worker.close()
    return None, reason


def resolve_level(isolation: str) -> str:
    """Return the level that a name stands for on this machine.

    Args:
        isolation: ``full`` (the first of ``FULL_LEVELS`` that works), ``auto`` (the first of ``LEVELS``), or a level.

    Raises:
        ValueError: If the name is unknown.
        IsolationError: If the level does not hold here, with the kernel's reasons.
    """
    if isolation not in CHOICES:
        raise ValueError(f"unknown isolation {isolation!r}; known: {', '.join(CHOICES)}")
    levels = {"auto": LEVELS, "full": FULL_LEVELS}.get(isolation, (isolation,))
    for level in levels:
        if try_level(level)[0] is not None:
            return level
    reasons = "; ".join(f"{level}: {try_level(level)[1]}" for level in levels)
    way_out = " isolation='auto' takes the best that this machine has." if isolation != "auto" else ""
    raise IsolationError(f"isolation {isolation!r} cannot hold here ({reasons}).{way_out}")


def describe(isolation: str = "auto") -> IsolationReport:
    """Return the protection that an isolation gives on this machine, or raise as :func:`resolve_level` does."""
    level = resolve_level(isolation)
    hello = try_level(level)[0]
    rows = [*_layers(level, hello), *_properties(level)]
    system = f"{platform.system()} {platform.release()}"
    summaries = {
        "namespaces": f"Programs run in full isolation on {system}: namespaces, call filter"
        f"{' and Landlock' if hello['landlock'] else ''}; no network, no files but Python's, user {hello['user']}.",
        "landlock": f"Programs run in full isolation on {system}: Landlock and call filter, without namespaces.",
        "process": f"Programs run with PROCESS LIMITS ONLY on {system}: they can read your files and use the network. "
        "Run programs that you do not trust on Linux.",
    }
    table = tuple(dict(zip(("property", "holds", "how"), row, strict=True)) for row in rows)
    return IsolationReport(level, level in FULL_LEVELS, summaries[level], table)


def _layers(level: str, hello: dict) -> list[tuple[str, str, str]]:
    refused = (try_level("namespaces")[1] if level == "landlock" else "") or "not asked for"
    if level == "process" and sys.platform != "linux":
        refused = f"{platform.system()} has none"
    landlock = hello["landlock"]
    no_landlock = hello["reasons"].get("landlock", refused)
    filtered = level != "process"
    return [
        ("layer: namespaces", "yes" if level == "namespaces" else "no",
         "user, mount, process, network, IPC and host name of its own" if level == "namespaces" else refused),
        ("layer: Landlock", "yes" if landlock else "no",
         "files, signals and connections" if landlock else no_landlock),
        ("layer: seccomp", "yes" if filtered else "no",
         "calls that reach beyond the process are refused" if filtered else refused),
        ("layer: limits", "yes", "a process, a session and resource limits for each program"),
    ]  # fmt: skip


def _properties(level: str) -> list[tuple[str, str, str]]:
    spaces, full, linux = level == "namespaces", level in FULL_LEVELS, sys.platform == "linux"
    if spaces:
        owner = "an unprivileged user that owns nothing" if os.geteuid() == 0 else "you, without privileges"
    else:
        owner = "you, without privileges" if full else "you, with all that you may do"
    disk = f"{DISK_MB} MiB in all, in memory" if spaces else f"{DISK_MB} MiB a file, in the temporary folder"
    return [
        ("reading files", "yes" if full else "no",
         "Python, its packages and system libraries only" if full else "whatever you may read"),
        ("writing files", "yes" if full else "no",
         f"a scratch folder only, wiped after each program; {disk}" if full else "whatever you may write"),
        ("network", "yes" if full else "no", "no interface and no sockets" if spaces else
         "sockets cannot be made" if full else "open"),
        ("other processes", "yes" if full else "no", "not visible" if spaces else
         "cannot be signalled, traced or read" if full else "yours can be signalled"),
        ("new processes", "yes" if full else "no",
         f"refused; at most {PROCESSES} threads" if spaces else "refused" if full else "allowed, and ended"),
        ("nothing outlives its program", "yes" if linux else "partly",
         "the whole process table ends" if spaces else "orphans are found and ended" if linux else
         "its process group is ended; a process that leaves the group is not found"),
        ("environment and input", "yes", "empty; standard input is the null device"),
        ("time", "yes" if linux else "partly",
         "processor seconds, elapsed time behind them" if linux else "elapsed time; processor time in whole seconds"),
        ("memory", "yes" if linux else "no", "address space beyond the interpreter's own" if linux else
         "this system does not enforce such a limit"),
        ("other programs", "yes", "a process each, or an interpreter shared by programs that pass a static check"),
        ("user", "yes" if full else "no", owner),
    ]  # fmt: skip
