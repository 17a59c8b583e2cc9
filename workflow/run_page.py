"""Executes one page through papermill; the declared notebook exists only if every cell of it finished.

A page that failed leaves ``<page>.failed.ipynb`` with its error beside it, which no rule and no book reads.
"""

from __future__ import annotations

import argparse
import json
import os
import re
import sys
import time
from pathlib import Path
from typing import Any

import lifeline

ROOT = Path(__file__).resolve().parent.parent


def finished(notebook: dict[str, Any]) -> bool:
    """Whether every code cell with text ran and none ended in an error.

    Papermill's own metadata says "completed" of cells that never ran, after a time limit or a killed kernel.
    """
    cells = [cell for cell in notebook["cells"] if cell["cell_type"] == "code" and "".join(cell["source"]).strip()]
    errors = any(output["output_type"] == "error" for cell in cells for output in cell["outputs"])
    return bool(cells) and not errors and all(cell.get("execution_count") for cell in cells)


def first_error(notebook: dict[str, Any]) -> str:
    """The last line of the first error in a notebook, or what else is known."""
    for cell in notebook["cells"]:
        for output in cell.get("outputs", ()):
            if output["output_type"] == "error":
                return re.sub(r"\x1b\[[0-9;]*m", "", f"{output['ename']}: {output['evalue']}")
    return "not every cell ran: the kernel died or was killed"


def execute(source: Path, out: Path, parameters: dict[str, Any]) -> None:
    """Run a page into ``out``.

    Raises:
        SystemExit: If it did not finish, naming the notebook that shows where.
    """
    import papermill

    out.parent.mkdir(parents=True, exist_ok=True)
    running = out.with_name(f".{out.stem}.running.ipynb")
    failed = out.with_name(f"{out.stem}.failed.ipynb")
    failed.unlink(missing_ok=True)
    problem = ""
    try:
        papermill.execute_notebook(
            source, running, parameters=parameters, cwd=ROOT, kernel_name="python3", progress_bar=False,
            log_output=False, autosave_cell_every=5,
        )  # fmt: skip
    except Exception as error:  # whatever papermill or the kernel raised, the notebook is looked at and the page fails
        problem = f"{type(error).__name__}: {error}".strip()
    if not running.is_file():
        raise SystemExit(f"[{source.stem}] papermill could not start: {problem}")
    notebook = json.loads(running.read_text(encoding="utf8"))
    if problem or not finished(notebook):
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
    asked = parser.parse_args()
    lifeline.hold()
    source, out = asked.source.resolve(), asked.out.resolve()
    about = f", about {asked.minutes:g} min on two free cores" if asked.minutes else ""
    print(f"[{source.stem}] started{about}", flush=True)
    begin = time.monotonic()
    execute(source, out, dict(asked.parameters))
    print(f"[{source.stem}] finished in {time.monotonic() - begin:.0f} s: {os.path.relpath(out, ROOT)}", flush=True)


if __name__ == "__main__":
    main()
