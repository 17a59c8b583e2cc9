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


@pytest.fixture
def build(tmp_path, monkeypatch):
    """Builds a book of one page whose run is given; the HTML of that page and the warnings."""
    from sphinx.application import Sphinx

    monkeypatch.setenv("MAMMOTH_RUNS_DIR", str(tmp_path / "src" / "runs"))

    def run(executed: dict | str | None) -> tuple[str, str]:
        source = tmp_path / "src"
        (source / "notebooks").mkdir(parents=True)
        (source / "conf.py").write_text(CONF)
        (source / "index.md").write_text("# Book\n\n```{toctree}\nnotebooks/train\n```\n")
        (source / "notebooks" / "train.ipynb").write_text(json.dumps(notebook(code("print(6 * 7)", None))))
        if executed is not None:
            (source / "runs" / "book").mkdir(parents=True)
            text = executed if isinstance(executed, str) else json.dumps(executed)
            (source / "runs" / "book" / "train.ipynb").write_text(text)
        warnings = io.StringIO()
        out = tmp_path / "out"
        app = Sphinx(str(source), str(source), str(out), str(tmp_path / "trees"), "html", status=None, warning=warnings)
        app.build(force_all=True)
        downloads = list((out / "_sources" / "notebooks").iterdir())
        assert [file for file in downloads if "forty-two" in file.read_text()] == []
        assert len(downloads) == 1
        return (out / "notebooks" / "train.html").read_text(), warnings.getvalue()

    return run


def test_a_page_is_shown_as_it_was_executed_and_downloads_clean(build):
    html, warnings = build(notebook(code("print(6 * 7)", 1, printed("forty-two\n"))))
    assert "forty-two" in html
    assert warnings == ""


@pytest.mark.parametrize(
    ("executed", "says"),
    [
        (None, "was not executed"),
        (notebook(code("print(6 * 7)", None)), "did not finish"),
        (notebook(code("print(6 * 7)", 1, ERROR)), "did not finish"),
        ('{"cells": [', "did not finish"),
    ],
)
def test_a_run_that_is_missing_or_unfinished_is_a_warning(build, executed, says):
    _, warnings = build(executed)
    assert f"WARNING: {'page' if executed is None else 'the run shown on'} " in warnings
    assert says in warnings
