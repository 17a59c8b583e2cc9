"""``make book``: runs the workflow, one at a time in a folder, and says where the book is.

A second one in the same folder waits for the first. One that was killed leaves nothing that stops the next.
"""

from __future__ import annotations

import argparse
import ctypes
import fcntl
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

from stages import MINUTES, ROOT

from mammoth_utils import parent_watch, paths

INDEX = ROOT / "_build" / "html" / "index.html"
# One thread a process: one process on two threads is slower than on one, and equal numbers need equal threads.
ENVIRONMENT = {
    "OMP_NUM_THREADS": "1",
    "MKL_NUM_THREADS": "1",
    "OPENBLAS_NUM_THREADS": "1",
    "TOKENIZERS_PARALLELISM": "false",
    "HF_HUB_OFFLINE": "1",
    "JUPYTER_PREFER_ENV_PATH": "1",
    "JUPYTER_PLATFORM_DIRS": "1",
    "PYDEVD_DISABLE_FILE_VALIDATION": "1",
    "PYTHONHASHSEED": "0",
}
MESSAGES = {
    "html": "the HTML",
    "models_0": "the models of the claims, first group",
    "models_1": "the models of the claims, second group",
}


def say(text: str) -> None:
    """Print one line of progress at once."""
    print(f"book: {text}", flush=True)


def runs() -> Path:
    """Return the folder of runs; make it where it is missing.

    Raises:
        SystemExit: If it cannot be written, or its path holds braces, which snakemake reads as its own.
    """
    try:
        folder = paths.writable_runs()
    except PermissionError as error:
        raise SystemExit(f"book: {error}") from None
    if set("{}") & set(str(folder)):
        raise SystemExit(f"book: the path {folder} holds a brace; name another folder in MAMMOTH_RUNS_DIR")
    (folder / "book").mkdir(exist_ok=True)
    return folder


def caches(folder: Path) -> dict[str, str]:
    """Return where snakemake keeps its caches: in the reader's own place, or in the runs where that is read-only."""
    usual = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache")
    nearest = next(place for place in (usual, *usual.parents) if place.exists())
    return {} if os.access(nearest, os.W_OK) else {"XDG_CACHE_HOME": str(folder / "book" / ".cache")}


def wait_for_turn(folder: Path) -> object:
    """Return the lock on this folder's workflow; wait, with a message, while another run holds it."""
    file = open(folder / ".book.lock", "a+")  # noqa: SIM115 (closing it gives the lock back)
    try:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        file.seek(0)
        say(f"another make book is at work in this folder (process {file.read().strip() or '?'}); waiting for it")
        fcntl.flock(file, fcntl.LOCK_EX)
    file.seek(0)
    file.truncate()
    file.write(str(os.getpid()))
    file.flush()
    return file


def die_with_parent() -> None:
    """Have Linux end the child that calls this when this process ends, also by SIGKILL."""
    if sys.platform == "linux":
        ctypes.CDLL(None, use_errno=True).prctl(1, signal.SIGKILL)  # 1 is PR_SET_PDEATHSIG


def command(target: str, cores: int, *more: str) -> list[str]:
    """Return the snakemake command."""
    profile = ["--workflow-profile", "workflow/profiles/local"]
    # The target goes first: behind `--quiet` it would be taken for one of its values.
    line = [sys.executable, "-m", "snakemake", target, "--snakefile", "workflow/Snakefile", "--directory", str(ROOT)]
    return [*line, *profile, "--cores", str(cores), *more]


def waiting(target: str, environment: dict[str, str]) -> list[str]:
    """Return the names of the stages that have to run for a target, in the order of the workflow.

    Raises:
        SystemExit: If the workflow itself is at fault, with snakemake's words.
    """
    plan = subprocess.run(
        [*command(target, 1, "--dry-run", "--quiet", "rules")],
        capture_output=True,
        text=True,
        cwd=ROOT,
        env=environment,
    )
    if plan.returncode:
        raise SystemExit(f"book: the workflow cannot start:\n{plan.stdout[-3000:]}{plan.stderr[-3000:]}")
    lines = [line.split() for line in (plan.stdout + plan.stderr).splitlines()]
    stages = [words[0] for words in lines if len(words) == 2 and words[1].isdigit() and words[0] != "total"]
    return list(dict.fromkeys(stages))  # snakemake prints its table before and after the plan


def main() -> int:
    """Run the workflow up to a target, by default the HTML, and return the exit status."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("target", nargs="?", default="html", help="a rule of the Snakefile")
    parser.add_argument("--cores", type=int, default=2)
    options = parser.parse_args()
    begin, folder = time.monotonic(), runs()
    lock = wait_for_turn(folder)
    environment = {**os.environ, **ENVIRONMENT, **caches(folder)}
    environment |= {parent_watch.BOOK: str(os.getpid()), "MAMMOTH_ROOT": str(ROOT)}
    stages = waiting(options.target, environment)
    if stages:
        minutes = sum(MINUTES[stage] for stage in stages) / min(options.cores, 2)
        named = ", ".join(MESSAGES.get(stage, f"page {stage}") for stage in stages)
        say(f"stages to run: {len(stages)}, about {max(1, round(minutes))} min on two cores: {named}")
        process = subprocess.Popen(
            command(options.target, options.cores, "--quiet", "all"), cwd=ROOT, env=environment,
            stdin=subprocess.DEVNULL, preexec_fn=die_with_parent,
        )  # fmt: skip
        try:
            status = process.wait()
        except KeyboardInterrupt:
            process.send_signal(signal.SIGINT)
            process.wait()
            say("interrupted; start again and it goes on from here")
            return 130
        if status:
            say("stopped by the error above; what finished is kept, and `make book` goes on from here")
            return 1
    else:
        say("nothing has changed since the last run")
    say(f"done in {(time.monotonic() - begin) / 60:.1f} minutes" + (f": {INDEX}" if options.target == "html" else ""))
    lock.close()
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
