"""A client of Math-Verify: it asks a child process, kills it where an input hangs, and stores every verdict.

Math-Verify is an optional package (``pip install "mammoth_utils[test]"``).
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
from collections.abc import Iterator
from importlib import metadata
from pathlib import Path

from mammoth_utils import paths
from mammoth_utils.grading import Benchmark

WRAPPER = 2  # raised when `math_verify_process` asks in another way, so that older stored verdicts are not reused
LIMIT_S = 10.0
START_S = 120.0
LONGEST = 20_000  # characters of a completion that are handed over, from its end


def installed_version() -> str | None:
    """Return the version of Math-Verify in this environment; None without it."""
    try:
        return metadata.version("math-verify")
    except metadata.PackageNotFoundError:
        return None


def answer_form(benchmark: Benchmark, gold: str) -> str:
    """Return how answers are handed over: as an ``option``, an ``expression`` in dollar signs, or a bare ``number``."""
    if benchmark.choice or (benchmark.letters_too and gold.strip() in tuple("ABCDE")):
        return "option"
    return "expression" if benchmark.expression else "number"


@contextlib.contextmanager
def open_math_verify(store: Path | None = None) -> Iterator[MathVerify | None]:
    """Open Math-Verify with its verdicts stored in a file, by default below ``runs/audit``; None if not installed."""
    version = installed_version()
    if version is None:
        yield None
        return
    with MathVerify(store or paths.runs() / "audit" / f"math-verify-{version}-{WRAPPER}.jsonl") as verifier:
        yield verifier


@contextlib.contextmanager
def open_fresh_math_verify() -> Iterator[MathVerify | None]:
    """Open Math-Verify without stored verdicts, its package loaded; None if not installed."""
    if installed_version() is None:
        yield None
        return
    with MathVerify() as verifier:
        verifier.judge("number", "1", "1")
        yield verifier


class MathVerify:
    """Math-Verify in a child process. Use it as a context manager, which ends the process.

    Args:
        store: A JSON Lines file of earlier verdicts, read and added to; None stores nothing.
        limit_s: Seconds for one question, after which the process is killed and the mark is ``t``.

    Raises:
        ModuleNotFoundError: If the package is not installed.
    """

    def __init__(self, store: Path | None = None, limit_s: float = LIMIT_S) -> None:
        version = installed_version()
        if version is None:
            raise ModuleNotFoundError("math-verify is not installed; `pip install 'math-verify>=0.9,<0.10'` adds it")
        self.version, self.limit_s = version, limit_s
        self.questions = self.killed = 0
        self._child: subprocess.Popen | None = None
        self._replies: queue.Queue[str] = queue.Queue()
        self._verdicts: dict[str, list[str]] = {}
        self._file = None
        if store is not None:
            self._verdicts = _read_store(store)
            store.parent.mkdir(parents=True, exist_ok=True)
            self._file = open(store, "a", encoding="utf8")  # noqa: SIM115 (closed by `__exit__`)

    def __enter__(self) -> MathVerify:
        return self

    def __exit__(self, *unused: object) -> None:
        self._stop()
        if self._file is not None:
            self._file.close()

    def judge(self, form: str, gold: str, text: str, whole: bool = False) -> tuple[str, str]:
        """Return the mark of an answer, or of a whole completion, and the answer that Math-Verify read.

        The mark is ``1`` right, ``0`` wrong, ``n`` no answer read, ``g`` gold not read, ``t`` killed after the time
        limit, or ``e`` for an error.
        """
        question = [form, gold, text[-LONGEST:], whole]
        versioned = json.dumps([self.version, WRAPPER, *question], ensure_ascii=False)
        key = hashlib.sha256(versioned.encode(errors="surrogatepass")).hexdigest()[:24]
        if key not in self._verdicts:
            self._verdicts[key] = self._ask(json.dumps(question))
            if self._file is not None:
                print(json.dumps([key, *self._verdicts[key]], ensure_ascii=False), file=self._file, flush=True)
        mark, read = self._verdicts[key]
        return mark, read

    def _ask(self, question: str) -> list[str]:
        child = self._child or self._start()
        self.questions += 1
        try:
            print(question, file=child.stdin, flush=True)
            return json.loads(self._replies.get(timeout=self.limit_s))
        except (queue.Empty, OSError, ValueError) as error:
            # It hung, or died (of memory, say): an empty line marks the end of what a dead child has written. Asking
            # whether it still runs would not do: its end is seen here before the system counts it as ended.
            self._stop()
            self.killed += 1
            return ["t", ""] if isinstance(error, queue.Empty) else ["e", "the process ended"]

    def _start(self) -> subprocess.Popen:
        environment = {name: os.environ[name] for name in ("PATH", "SYSTEMROOT", "LANG") if name in os.environ}
        source = str(Path(__file__).resolve().parents[2])
        child = subprocess.Popen(
            [sys.executable, "-m", "mammoth_utils.audit.math_verify_process"],
            stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True, encoding="utf8",
            env={**environment, "PYTHONPATH": source, "OMP_NUM_THREADS": "1", "PYTHONHASHSEED": "0"},
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


def _read_store(store: Path) -> dict[str, list[str]]:
    """Return the verdicts of a store; a last line that a killed run cut off is left out."""
    verdicts = {}
    if store.is_file():
        for line in store.read_text(encoding="utf8").split("\n"):  # splitlines would break at Unicode's line ends too
            with contextlib.suppress(ValueError):
                key, mark, answer = json.loads(line)
                verdicts[key] = [mark, answer]
    return verdicts
