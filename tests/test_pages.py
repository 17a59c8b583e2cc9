"""Parameters that cannot be mistyped."""

from __future__ import annotations

import json
import math

import pytest

from mammoth_utils import pages

CELL = """# what a reader may change
size: str = "1m"  # model scale
family: str = "auto"  # base models
method: str = "auto"  # "auto", "full", "lora" or "qlora"
mixture: str = "hybrid"  # which rationales
benchmarks: str = "all"  # "all", or names with commas
seed: int = 0  # orders the data
learning_rate: float = 0.0  # 0 takes the recipe's
resume: bool = True  # go on where it was
"""


@pytest.fixture
def project(tmp_path, monkeypatch):
    """A project with one page, in which paths resolve."""
    (tmp_path / "_config.yml").write_text("title: t\n")
    (tmp_path / "src" / "mammoth_utils").mkdir(parents=True)
    (tmp_path / "notebooks").mkdir()
    cells = [
        {"cell_type": "markdown", "metadata": {}, "source": ["# Train"]},
        {"cell_type": "code", "metadata": {"tags": ["parameters"]}, "source": CELL.splitlines(True), "outputs": []},
    ]
    (tmp_path / "notebooks" / "train.ipynb").write_text(json.dumps({"cells": cells, "metadata": {}}))
    monkeypatch.chdir(tmp_path)
    return tmp_path


def defaults(**changed):
    """A namespace as the parameters cell leaves it."""
    namespace = {}
    exec(CELL, namespace)
    return {**namespace, **changed}


def test_a_run_without_parameters_has_the_defaults_of_the_file(project):
    run = pages.resolve("train", defaults())
    assert run.as_dict() == {
        "size": "1m", "family": "auto", "method": "auto", "mixture": "hybrid", "benchmarks": "all", "seed": 0,
        "learning_rate": 0.0, "resume": True,
    }  # fmt: skip
    assert run.size == run["size"] == "1m"


def test_help_texts_are_the_comments_and_a_changed_value_stands_out(project):
    shown = pages.resolve("train", defaults(seed=7))._repr_html_()
    assert "orders the data" in shown
    assert "<strong>7</strong>" in shown
    assert "<strong>0.0</strong>" not in shown


@pytest.mark.parametrize(("name", "came", "value", "because"), [
    ("seed", 3, 3, "papermill makes 3 an integer"),
    ("seed", 1e3, 1000, "papermill makes 1e3 a float"),
    ("seed", "12", 12, "-r passes a string"),
    ("learning_rate", 1, 1.0, "an integer is a rate too"),
    ("resume", "true", True, "papermill leaves true a string"),
    ("resume", "False", False, "as Python writes it"),
    ("benchmarks", "mini-gsm8k, mini-math", "mini-gsm8k,mini-math", "blanks after a comma are no part of a name"),
    ("benchmarks", ["mini-gsm8k", "mini-math"], "mini-gsm8k,mini-math", "-y passes a list"),
])  # fmt: skip
def test_values_come_in_the_type_that_the_page_declares(project, name, came, value, because):
    got = pages.resolve("train", defaults(**{name: came}))[name]
    assert got == value, because
    assert type(got) is type(value), because


@pytest.mark.parametrize(("changed", "words"), [
    ({"siez": "13b"}, ["unknown parameter 'siez'", "did you mean 'size'", "known: size, family"]),
    ({"size": "2m"}, ["'size' cannot be '2m'", "known: 1m, 3m"]),
    ({"size": "13B"}, ["did you mean '13b'"]),
    ({"size": "34b", "family": "llama"}, ["'llama' has no size '34b'", "7b, 13b, 70b", "coder"]),
    ({"method": "lorra"}, ["did you mean 'lora'", "auto, full, lora, qlora"]),
    ({"mixture": "all"}, ["'mixture' cannot be 'all'", "hybrid, cot, pot"]),
    ({"seed": 1.5}, ["'seed' is of type int", "1.5", "orders the data"]),
    ({"seed": "one"}, ["'seed' is of type int", "'one'"]),
    ({"seed": -1}, ["'seed' is not negative"]),
    ({"seed": True}, ["'seed' is of type int", "True"]),
    ({"learning_rate": math.nan}, ["'learning_rate' is of type float", "nan"]),
    ({"resume": "yes please"}, ["'resume' is of type bool"]),
    ({"size": None}, ["'size' is of type str", "None"]),
    ({"size": ["1m", "3m"]}, ["'size' is of type str"]),
])  # fmt: skip
def test_a_mistake_is_refused_with_its_name_and_the_choices(project, changed, words):
    with pytest.raises(pages.ParameterError) as error:
        pages.resolve("train", defaults(**changed))
    for word in words:
        assert word in str(error.value)


def test_modules_functions_and_what_ipython_leaves_are_no_parameters(project):
    namespace = defaults(
        json=json, In=["", CELL], Out={}, _oh={}, get_ipython=print, exit=print, ParameterError=ValueError
    )
    assert pages.resolve("train", namespace).size == "1m"


def test_an_injected_name_is_found_in_the_history_although_the_page_made_others(project):
    history = ["", CELL, "# Parameters\nsiez = '13b'\n", "run = pages.resolve('train', globals())"]
    with pytest.raises(pages.ParameterError, match="did you mean 'size'"):
        pages.resolve("train", defaults(In=history, siez="13b", rows=5))


def test_the_second_cell_may_run_again_after_the_page_made_names_of_its_own(project):
    history = [
        "",
        CELL,
        "run = pages.resolve('train', globals())",
        "rows = 5\nseed = 3",
        "run = pages.resolve('train', globals())",
    ]
    assert pages.resolve("train", defaults(In=history, rows=5)).size == "1m"


def test_a_name_written_into_the_parameters_cell_in_jupyter_is_refused_too(project):
    history = ["", CELL + "sede: int = 3\n", "run = pages.resolve('train', globals())"]
    with pytest.raises(pages.ParameterError, match="did you mean 'seed'"):
        pages.resolve("train", defaults(In=history, sede=3))


def test_a_page_that_is_not_there_is_named_with_those_that_are(project):
    with pytest.raises(FileNotFoundError, match="known: train"):
        pages.declared("trian")


def test_the_command_of_a_run_names_real_parameters_and_both_paths(project):
    line = pages.show_command("train", size="3m", mixture="G+M")
    assert line == "papermill notebooks/train.ipynb runs/train-3m-G+M.ipynb -p size 3m -p mixture G+M"
    with pytest.raises(pages.ParameterError, match="siez"):
        pages.show_command("train", siez="3m")


@pytest.mark.parametrize(("line", "words"), [
    ("x = 1 + 1", "not a plain literal"),
    ("import os", "expected `name: type = literal"),
    ("x: list = []", "has type list"),
    ("x: int | None = None", "has type int | None"),
])  # fmt: skip
def test_a_parameters_cell_holds_plain_literals_only(line, words):
    with pytest.raises(ValueError, match="cell") as error:
        pages.read_cell(line)
    assert words in str(error.value)


def shown(code: str) -> tuple[str, str, bool]:
    """What IPython prints for a cell of a page, what `%tb` prints after it, and whether the cell failed."""
    from IPython.core.interactiveshell import InteractiveShell
    from IPython.utils.capture import capture_output

    shell = InteractiveShell()
    with capture_output() as resolved:
        shell.run_cell("from mammoth_utils import pages; import IPython; IPython.get_ipython = lambda: get_ipython()")
        shell.run_cell("pages._shorten_errors()")
    assert not resolved.stderr
    with capture_output() as first:
        result = shell.run_cell(code)
    with capture_output() as second:
        shell.run_line_magic("tb", "")
    return first.stdout, second.stdout, result.error_in_exec is not None


def test_a_page_shows_an_error_of_this_library_as_one_message_and_keeps_its_frames_for_tb():
    first, second, failed = shown("from mammoth_utils import scales\nscales.scale('9b')")
    lines = first.strip().splitlines()
    assert failed
    assert lines[0].endswith("scales.scale('9b')")
    assert "9b" in lines[1]
    assert "known" in first
    assert len(lines) <= 3
    assert "scales.py" in second  # the frames inside the library


@pytest.mark.parametrize(
    "code",
    ["{}['no key']", "import json; json.loads('no')", "from mammoth_utils import records\nrecords.differences(1)"],
)
def test_an_error_that_this_library_did_not_raise_keeps_its_traceback(code):
    first, _, failed = shown(code)
    assert failed
    assert "Traceback" in first
