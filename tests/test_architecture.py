"""The page on the architecture: its drawing and its lists of files say what the code does."""

from __future__ import annotations

import re
import sys
from dataclasses import fields, is_dataclass
from pathlib import Path
from typing import Any

import pytest
from scripted_decoder import ScriptedDecoder

from mammoth_utils.evaluation import describe_evaluation, evaluate

ROOT = Path(__file__).resolve().parent.parent
LIBRARY = ROOT / "src" / "mammoth_utils"
PAGE = (ROOT / "book" / "architecture.md").read_text(encoding="utf8")
MARK = "Q7731"  # stands in a completion and nowhere else


def listed(part: str) -> list[str]:
    """The files of one of the page's two lists."""
    block = re.search(rf"<!-- {part}:begin -->\n(.*?)<!-- {part}:end -->", PAGE, re.DOTALL)[1]
    return re.findall(r"^\d+\. `([\w/]+\.py)`", block, re.MULTILINE)


def test_the_drawing_is_of_this_code():
    sys.path.insert(0, str(ROOT / "workflow"))
    try:
        import draw_architecture
    finally:
        sys.path.pop(0)
    drawn = draw_architecture.TARGET.read_text(encoding="utf8")
    assert drawn == draw_architecture.draw(), "run `python workflow/draw_architecture.py`"


def test_every_file_that_the_page_names_is_there():
    named = set(re.findall(r"`((?:\w+/)+\w+\.\w+|\w+\.(?:py|yaml))`", PAGE))
    assert len(named) > 25
    assert not [name for name in named if not (ROOT / name).exists() and not (LIBRARY / name).exists()]


@pytest.mark.parametrize("part", ["completion", "row"])
def test_a_completion_and_a_row_pass_through_at_most_eight_files(part):
    assert 4 <= len(listed(part)) <= 8


def holds(value: Any, depth: int = 0) -> bool:
    """Whether an argument holds the marked completion, itself or inside."""
    if isinstance(value, str):
        return MARK in value
    if depth == 4:
        return False
    if isinstance(value, dict):
        value = list(value.values())
    if isinstance(value, list | tuple):
        return any(holds(item, depth + 1) for item in value[:20])
    return is_dataclass(value) and any(holds(getattr(value, field.name, None), depth + 1) for field in fields(value))


@pytest.mark.parametrize(
    "completion", [f"# {MARK}\nx = 12 * 3\nprint(x)", f"Twelve times three, says {MARK}, is 36. The answer is 36."]
)
def test_a_completion_passes_through_the_files_that_the_page_lists(runs_dir, completion):
    description = describe_evaluation(size="1m", mixture="none", benchmarks="mini-gsm8k", limit=1)
    visited: list[str] = []

    def watch(frame: Any, event: str, argument: Any) -> None:
        code = frame.f_code
        if event == "call" and code.co_filename.startswith(str(LIBRARY)):
            names = code.co_varnames[: code.co_argcount + code.co_kwonlyargcount]
            if any(holds(frame.f_locals.get(name)) for name in names):
                visited.append(Path(code.co_filename).relative_to(LIBRARY).as_posix())

    sys.setprofile(watch)
    try:
        evaluate(description, decoder=ScriptedDecoder(lambda prompt: completion))
    finally:
        sys.setprofile(None)
    # The sandbox stands for what runs a program inside its package, and reading.py for what reads prose inside its own;
    # the pipeline holds it among all others; writing comes after the verdict.
    faces = ("programs/sandbox.py", "grading/corrected/reading.py")
    inside = {name for name in visited if name not in faces and name.startswith(("programs/", "grading/corrected/"))}
    beside = {"evaluation/hybrid.py", "evaluation/pipeline.py", "evaluation/run_folder.py", "records.py"}
    assert set(visited) - inside - beside <= set(listed("completion"))
    assert {"evaluation/attempts.py", "grading/programs_in_text.py", "grading/answers.py"} <= set(visited)
