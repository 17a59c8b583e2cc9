"""What a page sees of workers on other nodes, by the disk that they share: their errors, and whether anything moves."""

from __future__ import annotations

import contextlib
import os
import platform
import secrets
import time
import traceback
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from mammoth_utils import records
from mammoth_utils.training.cluster.page_progress import duration

KILLED = "(SIGKILL) received by PID"  # how torchrun says it
PLACE = "nodes"  # in the run's folder
QUIET_S = 600.0  # without a change of the run's files, after which the page says so; every ten steps is a point
LOOK_S = 5.0  # between two looks at all of a run's files
GATHER_S = 5.0  # for the errors of other workers, once there is one


def begin(folder: Path) -> str:
    """The name of the attempt that workers belong to: the one that stands in the folder unless it failed, else new.

    Workers read it when they start and write it into their error's name. So what is left of an attempt that failed,
    a worker that gives up minutes later among it, is not taken for an error of the next one; and a page that was
    closed and opened again still sees an error of the workers that it left running.
    """
    attempt = _attempt(folder)
    if attempt is None or failures(folder, attempt):
        if not (folder / "checkpoints").is_dir():  # nothing to go on from: old points would be shown as this run's
            (folder / "curve.jsonl").unlink(missing_ok=True)
        attempt = secrets.token_hex(4)
        records.write_text(folder / PLACE / "attempt", attempt + "\n")
    return attempt


def _attempt(folder: Path) -> str | None:
    file = folder / PLACE / "attempt"
    return file.read_text(encoding="utf8").strip() if file.is_file() else None


@contextlib.contextmanager
def leaving_errors(folder: Path, who: str = "") -> Iterator[None]:
    """On a node: what ends a process by an exception is left in the run's folder too, where a page elsewhere waits.

    Args:
        folder: The run's.
        who: A name for the process; without one it is the rank that torchrun gave it.
    """
    attempt = _attempt(folder)
    try:
        yield
    except BaseException:
        if attempt is not None:
            who = who or f"rank{os.environ.get('RANK', 0)}"
            said = {"who": who, "host": platform.node(), "unix_time": time.time(), "traceback": traceback.format_exc()}
            records.write_json(folder / PLACE / f"{attempt}-{who}.json", said)
        raise


def failures(folder: Path, attempt: str) -> list[dict[str, Any]]:
    """What the processes of an attempt left of their errors, the cause first: others fail since they miss that one.

    It is the first to fail, but for a worker that was killed: that leaves nothing, and its torchrun notices it a tenth
    of a second after its peers.
    """
    found = [records.read_json(file) for file in (folder / PLACE).glob(f"{attempt}-*.json")]
    return sorted(found, key=lambda one: (KILLED not in one["traceback"], one["unix_time"]))


def look_for_errors(folder: Path, attempt: str) -> None:
    """Nothing, as long as no process of the attempt failed.

    Raises:
        RuntimeError: With the traceback of the one that is the cause, and which others failed.
    """
    if not failures(folder, attempt):
        return
    time.sleep(GATHER_S)
    first, *others = failures(folder, attempt)
    after = f"; after it failed {', '.join(one['who'] for one in others)}" if others else ""
    raise RuntimeError(f"training failed on {first['host']}, {first['who']}{after}:\n{first['traceback']}")


class Watch:
    """Says aloud when nothing in a run's folder has changed for a while, and when it moves again; it ends nothing.

    Args:
        folder: The run's.
        say: Called with each line.
    """

    def __init__(self, folder: Path, say: Callable[[str], None]) -> None:
        self.folder, self.say = folder, say
        self._sign, self._moved, self._said = _sign(folder), time.monotonic(), 0
        self._looked = self._moved

    def look(self) -> None:
        """Compare the folder with what it was; every few seconds is often enough."""
        now = time.monotonic()
        if now - self._looked < min(LOOK_S, QUIET_S):
            return
        self._looked, sign = now, _sign(self.folder)
        if sign != self._sign:
            if self._said:
                self.say("the run moves again")
            self._sign, self._moved, self._said = sign, now, 0
        elif now - self._moved >= QUIET_S * (self._said + 1):
            self._said += 1
            self.say(
                f"nothing has moved for {duration(now - self._moved)}: no point of the curve, no checkpoint, no error. "
                "Look at the nodes; the page waits on"
            )


def _sign(folder: Path) -> list[tuple[str, int, int]]:
    """Name, size and time of each of a run's files; the log is the page's own."""
    found = []
    for place, _, names in os.walk(folder):
        for name in names:
            if name == "train.log":
                continue
            with contextlib.suppress(FileNotFoundError):  # renamed or removed between the list and the look
                stat = os.stat(os.path.join(place, name))
                found.append((os.path.join(place, name), stat.st_size, stat.st_mtime_ns))
    return sorted(found)
