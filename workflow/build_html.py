"""Builds ``_build/html`` from the prose and the executed pages, and checks what came out; a warning is a failure."""

from __future__ import annotations

import shutil
import subprocess
import sys
import time

import check_book
from stages import ROOT

from mammoth_utils import parent_watch

BUILD = ROOT / "_build"


def main() -> None:
    """Build from nothing, since an incremental build keeps old numbers on other pages.

    Raises:
        SystemExit: If Jupyter Book warned or failed, or the check found a fault.
    """
    parent_watch.end_with_parent(parent_watch.BOOK)
    begin = time.monotonic()
    print("[html] started, about half a minute", flush=True)
    for old in ("html", "jupyter_execute", ".doctrees"):
        shutil.rmtree(BUILD / old, ignore_errors=True)
    BUILD.mkdir(exist_ok=True)
    log = BUILD / "build.log"
    # The package has no __main__, and a script's first line may name the Python of a folder that has moved.
    jupyter_book = [sys.executable, "-c", "from jupyter_book.cli.main import main; main()"]
    command = [*jupyter_book, "build", ".", "--all", "-W", "--keep-going", "-q"]
    with open(log, "w", encoding="utf8") as file:
        status = subprocess.run(
            command, cwd=ROOT, stdin=subprocess.DEVNULL, stdout=file, stderr=subprocess.STDOUT
        ).returncode
    if status:
        lines = log.read_text(encoding="utf8", errors="replace").splitlines()
        messages = [line for line in lines if "WARNING" in line or "ERROR" in line] or lines[-30:]
        raise SystemExit("\n".join([*messages[:40], f"[html] Jupyter Book warned or failed; all of it is in {log}"]))
    if faults := check_book.faults():
        raise SystemExit("\n".join([*faults, "[html] the book is built, but faulty"]))
    print(f"[html] finished in {time.monotonic() - begin:.0f} s, no warning, every page checked", flush=True)


if __name__ == "__main__":
    main()
