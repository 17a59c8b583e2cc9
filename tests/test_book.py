"""The Sphinx side: a page is shown as it was executed, and one that did not finish is a warning."""

from __future__ import annotations

import io
import json

import pytest

from mammoth_utils.report import executed_pages

CONF = """
project = "A small book"
extensions = ["myst_nb", "mammoth_utils.report.executed_pages"]
nb_execution_mode = "off"
exclude_patterns = ["runs"]
"""


def code(source: str, count: int | None = 1, outputs: list | None = None) -> dict:
    return {
        "id": f"cell-{source.encode().hex()}", "cell_type": "code", "metadata": {}, "source": source,
        "execution_count": count, "outputs": outputs or [],
    }  # fmt: skip


def printed(text: str) -> list[dict]:
    return [{"output_type": "stream", "name": "stdout", "text": text}]


ERROR = [{"output_type": "error", "ename": "ValueError", "evalue": "no", "traceback": ["ValueError: no"]}]


def notebook(*cells: dict) -> dict:
    title = {"id": "title", "cell_type": "markdown", "metadata": {}, "source": "# A page"}
    kernel = {"kernelspec": {"name": "python3", "display_name": "Python 3", "language": "python"}}
    return {"nbformat": 4, "nbformat_minor": 5, "metadata": kernel, "cells": [title, *cells]}


@pytest.mark.parametrize(
    ("cells", "expected", "because"),
    [
        ([code("1", 1), code("2", 2)], True, "every cell ran"),
        ([code("1", 1), code("2", None)], False, "a killed kernel leaves cells without a count"),
        ([code("1", 1, ERROR)], False, "a cell raised"),
        ([code("1", 1), code("  \n", None)], True, "an empty cell has nothing to run"),
        ([], False, "a page without code measured nothing"),
    ],
)
def test_a_run_finished_if_every_cell_with_code_ran(cells, expected, because):
    made = notebook(*cells)
    made["metadata"]["papermill"] = {"exception": None, "status": "completed"}
    assert executed_pages.is_finished(made) is expected, because


def test_half_a_file_did_not_finish(tmp_path):
    file = tmp_path / "x.ipynb"
    assert not executed_pages.is_finished_file(file)
    file.write_text('{"cells": [')
    assert not executed_pages.is_finished_file(file)
    file.write_text(json.dumps(notebook(code("1"))))
    assert executed_pages.is_finished_file(file)


def test_only_notebooks_have_a_run(tmp_path, monkeypatch):
    monkeypatch.setenv("MAMMOTH_RUNS_DIR", str(tmp_path))
    file, elsewhere = executed_pages.executed_file, {"notebooks/train": "13b/train.ipynb"}
    assert file("book/index") is None
    assert file("notebooks/train") == tmp_path / "book" / "train.ipynb"
    assert file("notebooks/train", elsewhere) == tmp_path / "13b" / "train.ipynb"


RUNS = {
    "whole": notebook(code("print(6 * 7)", 1, printed("forty-two\n"))),
    "missing": None,
    "unrun": notebook(code("print(6 * 7)", None)),
    "failed": notebook(code("print(6 * 7)", 1, ERROR)),
    "half": '{"cells": [',
}


@pytest.fixture(scope="module")
def built(tmp_path_factory):
    """The folder of a built book with one page for each of `RUNS`, and the warnings."""
    from sphinx.application import Sphinx

    folder = tmp_path_factory.mktemp("book")
    source, out, warnings = folder / "src", folder / "out", io.StringIO()
    (source / "notebooks").mkdir(parents=True)
    (source / "runs" / "book").mkdir(parents=True)
    (source / "conf.py").write_text(CONF)
    pages = "\n".join(f"notebooks/{name}" for name in RUNS)
    (source / "index.md").write_text(f"# Book\n\n```{{toctree}}\n{pages}\n```\n")
    for name, run in RUNS.items():
        (source / "notebooks" / f"{name}.ipynb").write_text(json.dumps(notebook(code("print(6 * 7)", None))))
        if run is not None:
            text = run if isinstance(run, str) else json.dumps(run)
            (source / "runs" / "book" / f"{name}.ipynb").write_text(text)
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("MAMMOTH_RUNS_DIR", str(source / "runs"))
        app = Sphinx(str(source), str(source), str(out), str(folder / "trees"), "html", status=None, warning=warnings)
        app.build(force_all=True)
    return out, warnings.getvalue()


def test_a_page_is_shown_as_it_was_executed_and_downloads_clean(built):
    out, warnings = built
    assert "forty-two" in (out / "notebooks" / "whole.html").read_text()
    assert "notebooks/whole" not in warnings
    downloads = list((out / "_sources" / "notebooks").iterdir())
    assert len(downloads) == len(RUNS)
    assert [file for file in downloads if "forty-two" in file.read_text()] == []


@pytest.mark.parametrize(
    ("name", "says"),
    [
        ("missing", "page notebooks/missing was not executed"),
        ("unrun", "the run shown on notebooks/unrun did not finish"),
        ("failed", "the run shown on notebooks/failed did not finish"),
        ("half", "the run shown on notebooks/half did not finish"),
    ],
)
def test_a_run_that_is_missing_or_unfinished_is_a_warning(built, name, says):
    assert f"WARNING: {says}" in built[1]
    assert (built[0] / "notebooks" / f"{name}.html").is_file()
