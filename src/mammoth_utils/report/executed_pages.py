"""Executed pages: whether one finished, and the Sphinx extension that shows it in the book.

As an extension (``mammoth_utils.report.executed_pages``) it puts ``runs/book/<page>.ipynb`` in place of
``notebooks/<page>`` while Sphinx reads, so that contents, downloads and launch buttons keep the clean source. A page
that was never executed, or whose run did not finish, is a warning, and with ``-W`` an error. What a page wrote for its
readers into ``runs/book/static`` joins the static files of the built book. The links that follow from the project's
address are set by ``book/_ext/project_address.py``.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from mammoth_utils import paths

FOLDER = "notebooks/"


def is_finished(notebook: Mapping[str, Any]) -> bool:
    """Return whether every cell with code ran and none left an error.

    Read from the cells: after a timeout or a killed kernel papermill's metadata says ``completed`` for cells that never
    ran, and no exception.
    """
    code = [cell for cell in notebook["cells"] if cell["cell_type"] == "code" and "".join(cell["source"]).strip()]
    return bool(code) and all(
        cell.get("execution_count") and not any(output["output_type"] == "error" for output in cell["outputs"])
        for cell in code
    )


def is_finished_file(file: Path) -> bool:
    """Return whether a file holds a finished notebook; a missing or incomplete file does not."""
    try:
        return is_finished(json.loads(Path(file).read_text(encoding="utf8")))
    except (FileNotFoundError, json.JSONDecodeError, KeyError):
        return False


def first_error(notebook: Mapping[str, Any]) -> str:
    """Return the first error in a notebook, without terminal colours, or that the kernel died."""
    for cell in notebook["cells"]:
        for output in cell.get("outputs", ()):
            if output["output_type"] == "error":
                return re.sub(r"\x1b\[[0-9;]*m", "", f"{output['ename']}: {output['evalue']}")
    return "not every cell ran: the kernel died or was killed"


def executed_file(docname: str, overrides: Mapping[str, str] | None = None) -> Path | None:
    """Return the path of a page's executed notebook; None for a page that is no notebook.

    Args:
        docname: Sphinx's name, such as ``notebooks/train``.
        overrides: Docname to a path below the folder of runs, for pages shown at another scale.
    """
    if not docname.startswith(FOLDER):
        return None
    return paths.runs() / (overrides or {}).get(docname, f"book/{docname.removeprefix(FOLDER)}.ipynb")


def static_folder() -> Path:
    """Return the folder whose files the built book has below ``_static``: what pages load when a reader asks for it."""
    return paths.runs() / "book" / "static"


def add_static_files(app: Any, config: Any) -> None:
    """Have Sphinx copy what the pages wrote (``config-inited``); nothing where no page wrote any."""
    if static_folder().is_dir():
        config.html_static_path = [*config.html_static_path, str(static_folder())]


def show_executed(app: Any, docname: str, source: list[str]) -> None:
    """Put the executed notebook in place of the source (Sphinx's ``source-read``)."""
    from sphinx.util import logging

    log = logging.getLogger(__name__)
    run = executed_file(docname, app.config.executed_notebooks)
    if run is None:
        return
    if not run.is_file():
        log.warning(
            "page %s was not executed: no %s; `make book` runs it", docname, run, type="executed", subtype="missing"
        )
        return
    app.env.note_dependency(str(run))
    text = run.read_text(encoding="utf8")
    if not is_finished_file(run):
        log.warning("the run shown on %s did not finish: %s", docname, run, type="executed", subtype="unfinished")
    try:
        json.loads(text)
    except json.JSONDecodeError:
        return  # half a file would stop the reader; the page keeps its source, and the warning stands
    source[0] = text


def remove_thebe(app: Any, pagename: str, templatename: str, context: dict[str, Any], doctree: Any) -> None:
    """Leave Thebe's scripts out of a page: no button starts it, and it loads from outside."""
    context["script_files"] = [
        script
        for script in context.get("script_files", [])
        if "thebe" not in f"{getattr(script, 'filename', script)} {getattr(script, 'attributes', '')}".lower()
    ]


def setup(app: Any) -> dict[str, Any]:
    """Register the extension with Sphinx."""
    app.add_config_value("executed_notebooks", {}, "env", dict)
    app.connect("config-inited", add_static_files)
    app.connect("source-read", show_executed)
    app.connect("html-page-context", remove_thebe, priority=900)  # after the extensions that add them
    return {"parallel_read_safe": True, "parallel_write_safe": True, "version": "1"}
