"""Errors and progress of workers on other nodes, which a page reads from the disk that they share."""

from __future__ import annotations

import contextlib
import os
import platform
import secrets
import time
import traceback
from collections.abc import Callable, Iterator
from pathlib import Path

from mammoth_utils import records
from mammoth_utils.records import Record
from mammoth_utils.training.cluster.page_progress import duration

KILLED = "(SIGKILL) received by PID"  # torchrun's words
FOLDER = "nodes"  # in the run's folder
QUIET_S = 600.0  # without a change of the run's files, after which the page reports it; every tenth step is a point
CHECK_S = 5.0  # between two checks of all of a run's files
GATHER_S = 5.0  # wait for the errors of other workers after the first


def begin_attempt(folder: Path) -> str:
    """Return the name of the attempt that workers belong to: the folder's unless it failed, else a new one.

    Workers read it when they start and write it into the name of their error file. So an error of a failed attempt,
    also of a worker that gives up minutes later, is not taken for one of the next attempt; and a page that was closed
    and opened again still sees an error of the workers that it left running.
    """
    attempt = _attempt(folder)
    if attempt is None or failures(folder, attempt):
        if not (folder / "checkpoints").is_dir():  # nothing to go on from: old points would be shown as this run's
            (folder / "curve.jsonl").unlink(missing_ok=True)
        attempt = secrets.token_hex(4)
        records.write_text(folder / FOLDER / "attempt", attempt + "\n")
    return attempt


def _attempt(folder: Path) -> str | None:
    file = folder / FOLDER / "attempt"
    return file.read_text(encoding="utf8").strip() if file.is_file() else None


@contextlib.contextmanager
def store_errors(folder: Path, who: str = "") -> Iterator[None]:
    """Store the exception that ends a process of a node in the run's folder, where a page elsewhere reads it.

    Args:
        folder: The run's.
        who: Name of the process; empty takes the rank that torchrun gave it.
    """
    attempt = _attempt(folder)
    try:
        yield
    except BaseException:
        if attempt is not None:
            who = who or f"rank{os.environ.get('RANK', 0)}"
            error = {"who": who, "host": platform.node(), "unix_time": time.time(), "traceback": traceback.format_exc()}
            records.write_json(folder / FOLDER / f"{attempt}-{who}.json", error)
        raise


def failures(folder: Path, attempt: str) -> list[Record]:
    """Return the stored errors of an attempt, the cause first: other processes fail because they miss that one.

    The cause is the first error, except for a worker that was killed: it stores nothing, and its torchrun notices that
    a tenth of a second after its peers.
    """
    errors = [records.read_json(file) for file in (folder / FOLDER).glob(f"{attempt}-*.json")]
    return sorted(errors, key=lambda error: (KILLED not in error["traceback"], error["unix_time"]))


def raise_errors(folder: Path, attempt: str) -> None:
    """Raise RuntimeError if a process of the attempt failed, with the cause's traceback and which others failed."""
    if not failures(folder, attempt):
        return
    time.sleep(GATHER_S)
    first, *others = failures(folder, attempt)
    after = f"; after it failed {', '.join(error['who'] for error in others)}" if others else ""
    raise RuntimeError(f"training failed on {first['host']}, {first['who']}{after}:\n{first['traceback']}")


class ProgressWatch:
    """Reports when nothing in a run's folder has changed for a while, and when it changes again; it ends nothing."""

    def __init__(self, folder: Path, say: Callable[[str], None]) -> None:
        self.folder, self.say = folder, say
        self._state, self._moved, self._reports = _file_state(folder), time.monotonic(), 0
        self._checked = self._moved

    def check(self) -> None:
        """Compare the folder with its last state; more often than every few seconds does nothing."""
        now = time.monotonic()
        if now - self._checked < min(CHECK_S, QUIET_S):
            return
        self._checked, state = now, _file_state(self.folder)
        if state != self._state:
            if self._reports:
                self.say("the run moves again")
            self._state, self._moved, self._reports = state, now, 0
        elif now - self._moved >= QUIET_S * (self._reports + 1):
            self._reports += 1
            self.say(
                f"nothing has moved for {duration(now - self._moved)}: no point of the curve, no checkpoint, no error. "
                "Look at the nodes; the page waits on"
            )


def _file_state(folder: Path) -> list[tuple[str, int, int]]:
    """Return name, size and time of each of a run's files except the log, which the page writes."""
    files = []
    for place, _, names in os.walk(folder):
        for name in names:
            if name == "train.log":
                continue
            with contextlib.suppress(FileNotFoundError):  # renamed or removed meanwhile
                stat = os.stat(os.path.join(place, name))
                files.append((os.path.join(place, name), stat.st_size, stat.st_mtime_ns))
    return sorted(files)
