"""Executes one page through papermill; the declared notebook exists only if every cell of it finished.

A page that failed leaves ``<page>.failed.ipynb`` with its error beside it, which no rule and no book reads.
"""

from __future__ import annotations

import argparse
import json
import os
import sys
import time
from pathlib import Path
from typing import Any

from stages import ROOT

from mammoth_utils import parent_watch
from mammoth_utils.report import first_error, is_finished

KERNEL_STARTS = 3
"""How often a page's kernel is started. Jupyter picks the ports of a kernel before it binds them, so that of two pages
that start in the same moment one can lose a port to the other; its kernel then dies before the first cell."""


def _has_begun_a_cell(notebook: dict[str, Any]) -> bool:
    # Papermill calls a cell that it never reached "completed", so its state does not tell.
    return any(cell["metadata"].get("papermill", {}).get("start_time") for cell in notebook["cells"])


def execute(source: Path, out: Path, parameters: dict[str, Any]) -> None:
    """Run a page into ``out``; start it again, and say so, where its kernel died before the first cell.

    Raises:
        SystemExit: If it did not finish, naming the notebook that shows where.
    """
    import papermill

    out.parent.mkdir(parents=True, exist_ok=True)
    running = out.with_name(f".{out.stem}.running.ipynb")
    failed = out.with_name(f"{out.stem}.failed.ipynb")
    failed.unlink(missing_ok=True)
    for start in range(1, KERNEL_STARTS + 1):
        problem = ""
        try:
            papermill.execute_notebook(
                source, running, parameters=parameters, cwd=ROOT, kernel_name="python3", progress_bar=False,
                log_output=False, autosave_cell_every=5,
            )  # fmt: skip
        except Exception as error:  # whatever was raised, the notebook is looked at and the page fails
            problem = f"{type(error).__name__}: {error}".strip()
        if not running.is_file():
            raise SystemExit(f"[{source.stem}] papermill could not start: {problem}")
        notebook = json.loads(running.read_text(encoding="utf8"))
        if not problem or _has_begun_a_cell(notebook) or start == KERNEL_STARTS:
            break
        again = f"its kernel did not start, so it is started again ({start + 1} of {KERNEL_STARTS})"
        print(f"[{source.stem}] {again}: {problem}", flush=True)
    if problem or not is_finished(notebook):
        os.replace(running, failed)
        if problem:
            print("\n".join(problem.splitlines()[-25:]), file=sys.stderr)
        raise SystemExit(f"[{source.stem}] failed: {first_error(notebook)}\n[{source.stem}] its cells are in {failed}")
    os.replace(running, out)


def main() -> None:
    """Run the page that the command line names."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("source", type=Path, help="notebooks/<page>.ipynb")
    parser.add_argument("out", type=Path, help="where the executed notebook goes")
    parser.add_argument("--minutes", type=float, default=0.0, help="how long it usually takes, for the message")
    parser.add_argument("-p", dest="parameters", nargs=2, action="append", default=[], metavar=("NAME", "VALUE"))
    options = parser.parse_args()
    parent_watch.end_with_parent(parent_watch.BOOK)
    source, out = options.source.resolve(), options.out.resolve()
    about = f", about {options.minutes:g} min on two free cores" if options.minutes else ""
    print(f"[{source.stem}] started{about}", flush=True)
    begin = time.monotonic()
    execute(source, out, dict(options.parameters))
    print(f"[{source.stem}] finished in {time.monotonic() - begin:.0f} s: {os.path.relpath(out, ROOT)}", flush=True)


if __name__ == "__main__":
    main()
