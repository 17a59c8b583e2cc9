"""Math-Verify behind limits of our own: asked in a process that is killed where an input hangs, and never asked twice.

It is an optional package (``pip install "mammoth_utils[test]"``); `installed` says whether it is here.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
import queue
import subprocess
import sys
import tempfile
import threading
from importlib import metadata
from pathlib import Path

from mammoth_utils.grading.benchmarks import Benchmark

NAME = "math-verify"
WRAPPER = 2  # raised when `mathverify_child` asks in another way, so that stored verdicts are not those of this one
LIMIT_S = 10.0
START_S = 120.0
LONGEST = 20_000  # characters of a completion that are handed over, from its end
MARKS = {"1": "right", "0": "wrong", "n": "no answer read", "g": "gold not read", "t": "killed after the time limit",
         "e": "raised"}  # fmt: skip


def installed() -> str | None:
    """The version of Math-Verify in this environment; None without it."""
    try:
        return metadata.version("math-verify")
    except metadata.PackageNotFoundError:
        return None


def form_of(benchmark: Benchmark, gold: str) -> str:
    """How answers are handed over: as options, as expressions between dollar signs, or as bare numbers."""
    if benchmark.choice or (benchmark.letters_too and gold.strip() in tuple("ABCDE")):
        return "option"
    return "expression" if benchmark.expression else "number"


class MathVerify:
    """Math-Verify's verdicts. Use it as a context, so that its process ends with it.

    Args:
        store: A JSON Lines file of verdicts given before, read and added to; None remembers nothing.
        limit_s: Seconds for one question, after which the process is killed and the mark is ``t``.

    Raises:
        ModuleNotFoundError: If the package is not installed.
    """

    def __init__(self, store: Path | None = None, limit_s: float = LIMIT_S) -> None:
        version = installed()
        if version is None:
            raise ModuleNotFoundError("math-verify is not installed; `pip install 'math-verify>=0.9,<0.10'` adds it")
        self.version, self.limit_s = version, limit_s
        self.asked = self.killed = 0
        self._child: subprocess.Popen | None = None
        self._replies: queue.Queue[str] = queue.Queue()
        self._known: dict[str, list[str]] = {}
        self._file = None
        if store is not None:
            self._known = dict(_stored(store))
            store.parent.mkdir(parents=True, exist_ok=True)
            self._file = open(store, "a", encoding="utf8")  # noqa: SIM115 (closed by `close`)

    def __enter__(self) -> MathVerify:
        return self

    def __exit__(self, *unused: object) -> None:
        self.close()

    def verdict(self, form: str, gold: str, text: str, whole: bool = False) -> tuple[str, str]:
        """A mark of ``MARKS`` and what was read, for an answer or a whole completion."""
        question = [form, gold, text[-LONGEST:], whole]
        asked = json.dumps([self.version, WRAPPER, *question], ensure_ascii=False)
        key = hashlib.sha256(asked.encode(errors="surrogatepass")).hexdigest()[:24]
        if key not in self._known:
            self._known[key] = self._ask(json.dumps(question))
            if self._file is not None:
                self._file.write(json.dumps([key, *self._known[key]], ensure_ascii=False) + "\n")
                self._file.flush()
        mark, read = self._known[key]
        return mark, read

    def close(self) -> None:
        """End the process and close the store."""
        self._stop()
        if self._file is not None:
            self._file.close()
            self._file = None

    def _ask(self, question: str) -> list[str]:
        child = self._child or self._start()
        self.asked += 1
        try:
            child.stdin.write(question + "\n")
            child.stdin.flush()
            return json.loads(self._replies.get(timeout=self.limit_s))
        except (queue.Empty, OSError, ValueError) as error:
            # Hung, or died (of memory, say): an empty line marks the end of what a child that is gone has written.
            # Whether it still runs is no sign, since its end is seen here before the system has it among the ended.
            self._stop()
            self.killed += 1
            return ["t", ""] if isinstance(error, queue.Empty) else ["e", "the process ended"]

    def _start(self) -> subprocess.Popen:
        kept = {name: os.environ[name] for name in ("PATH", "SYSTEMROOT", "LANG") if name in os.environ}
        source = str(Path(__file__).resolve().parents[2])
        child = subprocess.Popen(
            [sys.executable, "-m", "mammoth_utils.audit.math_verify_process"],
            stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True, encoding="utf8",
            env={**kept, "PYTHONPATH": source, "OMP_NUM_THREADS": "1", "PYTHONHASHSEED": "0"},
            cwd=tempfile.gettempdir(),
        )  # fmt: skip
        self._child, self._replies = child, queue.Queue()
        threading.Thread(target=_forward, args=(child.stdout, self._replies), daemon=True).start()
        try:
            json.loads(self._replies.get(timeout=START_S))
        except (queue.Empty, ValueError) as error:
            self._stop()
            raise RuntimeError(f"math-verify's process did not start within {START_S:g} s") from error
        return child

    def _stop(self) -> None:
        if self._child is not None:
            self._child.kill()
            self._child.wait()
            with contextlib.suppress(OSError):  # a question that it never took is still in the pipe
                self._child.stdin.close()
            self._child = None


def _forward(lines: object, replies: queue.Queue[str]) -> None:
    for line in lines:
        replies.put(line)
    replies.put("")


def _stored(store: Path) -> list[tuple[str, list[str]]]:
    """The verdicts of a store; a last line that a kill cut off is left out."""
    if not store.is_file():
        return []
    found = []
    for line in store.read_text(encoding="utf8").split("\n"):  # a verdict's text may hold Unicode's other line ends
        try:
            key, mark, read = json.loads(line)
        except ValueError:
            continue
        found.append((key, [mark, read]))
    return found
