"""A page is shown as it was executed, one that did not finish is a warning, and two builds show the same."""

from __future__ import annotations

import io
import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from mammoth_utils.report import executed_pages

ROOT = Path(__file__).resolve().parent.parent
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


# --- two builds -----------------------------------------------------------------------------------------------------

# What a reader of main_results sees, as lines: tables, figures, and the numbers of the text.
SHOWN = """
import ast, json, sys, types
import matplotlib
matplotlib.use("Agg")
import matplotlib.pyplot as plt

def html(value):
    draw = getattr(value, "_repr_html_", None)
    return draw() if draw else repr(value)

shown, names = [], {}
sys.modules["myst_nb"] = types.SimpleNamespace(glue=lambda name, value, display: shown.append(f"{name} = {value}"))
for cell in json.load(open(sys.argv[1], encoding="utf8"))["cells"]:
    text = "".join(cell["source"])
    if cell["cell_type"] == "code" and "google.colab" not in text:
        tree = ast.parse(text)
        last = tree.body.pop() if isinstance(tree.body[-1], ast.Expr) else None
        exec(compile(tree, "cell", "exec"), names)
        if last:
            shown.append(html(eval(compile(ast.Expression(last.value), "cell", "eval"), names)))
        shown += [html(plt.figure(number)) for number in plt.get_fignums()]
        plt.close("all")
sys.stdout.write("\\n".join(map(str, shown)))
"""


def test_two_builds_from_the_same_records_show_the_same_text_and_figures(tmp_path):
    processes = [
        subprocess.Popen(
            [sys.executable, "-c", SHOWN, str(ROOT / "notebooks" / "main_results.ipynb")], stdout=subprocess.PIPE,
            env={**os.environ, "PYTHONHASHSEED": seed, "MAMMOTH_RUNS_DIR": str(tmp_path)},
        )
        for seed in ("1", "2")
    ]  # fmt: skip
    first, second = (process.communicate()[0].decode().splitlines() for process in processes)
    assert [process.returncode for process in processes] == [0, 0]
    assert sum("<svg" in line for line in first) >= 4
    assert "main_claims = Of 9 claims" in "\n".join(first)
    assert [pair for pair in zip(first, second, strict=True) if pair[0] != pair[1]] == []
