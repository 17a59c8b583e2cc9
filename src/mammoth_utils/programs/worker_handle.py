"""The caller's handle on a worker, an interpreter that forks a process for each program."""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import sys
import sysconfig
import tempfile
from pathlib import Path

from mammoth_utils.programs._worker import cleanup, pipe_messages

# Imports what a worker needs from this folder. Packages without content stand in for the two above it: their own files
# import packages from the environment, which a worker has on its path only after the isolation is built.
START = """
import sys, types
for name in ("mammoth_utils", "mammoth_utils.programs"):
    sys.modules[name] = types.ModuleType(name)
sys.modules["mammoth_utils.programs"].__path__ = [sys.argv[1]]
from mammoth_utils.programs.worker_main import main
main()
"""
# Not -I, which would ignore the hash seed: -P, -s, -S and an environment of ours leave out the same.
FLAGS = ("-P", "-s", "-S", "-B", "-X", "utf8", "-W", "ignore")
ENVIRONMENT = {"PYTHONHASHSEED": "0", "OMP_NUM_THREADS": "1", "OPENBLAS_NUM_THREADS": "1", "MKL_NUM_THREADS": "1"}
STARTS = 20  # workers in a row that may be killed while they start, before that is an error
NEEDED_TO_START = ("LD_LIBRARY_PATH", "DYLD_LIBRARY_PATH")  # some installations of Python find libpython by these


class SandboxError(RuntimeError):
    """The sandbox itself failed. What a program does wrong is never raised: its execution says it."""


def package_folders() -> list[str]:
    """Return the folders of installed packages, in the order of this interpreter's search path."""
    named = [place for place in sys.path if Path(place).name in ("site-packages", "dist-packages")]
    named += [sysconfig.get_path("purelib"), sysconfig.get_path("platlib")]
    return [place for place in dict.fromkeys(map(os.path.abspath, named)) if os.path.isdir(place)]


class Worker:
    """A worker, which starts at once; its answers are read when they come.

    Attributes:
        kind: What it has imported, ``bare`` or ``scientific``.
        hello: Its first message, sent when it was ready; None until then.
        words: The last line of its standard error, once it is closed.
    """

    def __init__(self, kind: str, level: str) -> None:
        self.kind, self.level, self.hello = kind, level, None
        self._inbox = pipe_messages.MessageReader()
        self.words = ""
        environment = ENVIRONMENT | {name: os.environ[name] for name in NEEDED_TO_START if name in os.environ}
        self._process = subprocess.Popen(
            [sys.executable, *FLAGS, "-c", START, str(Path(__file__).parent)],
            stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE, bufsize=0,
            env=environment, cwd="/", start_new_session=True,
        )  # fmt: skip
        # Under namespaces the scratch folder is in memory, and nobody else can see it.
        self._scratch = "" if level == "namespaces" else tempfile.mkdtemp(prefix="mammoth-program-")
        self.send({"kind": kind, "level": level, "packages": package_folders(), "scratch": self._scratch})

    def fileno(self) -> int:
        """Return the descriptor on which answers come, for a selector."""
        return self._process.stdout.fileno()

    def send(self, message: dict) -> None:
        """Send settings or programs. A worker that has ended is noticed when its answer is read."""
        with contextlib.suppress(BrokenPipeError):
            pipe_messages.write(self._process.stdin.fileno(), message)

    def receive(self) -> list[dict] | None:
        """Wait for bytes and return the answers that they complete, or None if the worker has ended.

        Raise SandboxError if it reports that it could not start.
        """
        piece = os.read(self.fileno(), 1 << 18)
        if not piece:
            return None
        answers = self._inbox.feed(piece)
        if answers and self.hello is None:
            self.hello = answers.pop(0)
            if not self.hello["ok"]:
                raise SandboxError(self.hello["reason"])
        return answers

    def wait_until_ready(self) -> dict:
        """Wait until the worker is ready and return its first message; raise SandboxError if it could not start."""
        while self.hello is None:
            if self.receive() is None:
                raise SandboxError(self.last_words())
        return self.hello

    @property
    def killed(self) -> bool:
        """Return whether SIGKILL ended the worker, which comes from outside, and it wrote no error of its own."""
        return self._process.poll() == -signal.SIGKILL and not self.words

    def last_words(self) -> str:
        """Return why a worker has ended, as far as is known."""
        self.close()
        return self.words or f"the worker ended with exit code {self._process.returncode} without a message"

    def close(self) -> None:
        """End the worker and all that it started; harmless when repeated."""
        if self._process.stdin.closed:
            return
        self._process.stdin.close()  # a healthy worker ends by itself and removes its scratch folder
        try:
            self._process.wait(timeout=5)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()
        cleanup.remove_folder(self._scratch)  # the worker has done so, unless it was killed
        lines = self._process.stderr.read().decode("utf-8", errors="replace").strip().splitlines()
        self.words = lines[-1] if lines else ""
        self._process.stdout.close()
        self._process.stderr.close()
