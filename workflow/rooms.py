"""Which library rooms each page's result follows from: the workflow's inputs, said once."""

from __future__ import annotations

from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
LIBRARY = ROOT / "src" / "mammoth_utils"

SHARED = (
    "vocabulary.py", "rationale.py", "prompts.py", "scales.py", "records.py", "paths.py", "pages.py",
    "silence_libraries.py",
)  # fmt: skip
WORLD = ("miniature",)
JUDGING = ("programs", "grading")
DRAWING = ("report/figures.py", "report/figure_style.py")
PUBLISHED = ("report/published.py", "report/published")
CURATION = (*SHARED, *WORLD, *JUDGING, "curation")
TRAINING = (*SHARED, *WORLD, "base_models", "training", "curation")
EVALUATION = (*SHARED, *WORLD, *JUDGING, "base_models", "evaluation")
ROOMS: dict[str, tuple[str, ...]] = {
    "curate": (*CURATION, *DRAWING, "report/source_funnel.py", "report/row_browser.py", *PUBLISHED),
    "train": (*TRAINING, *DRAWING),
    "evaluate": (*EVALUATION, *DRAWING),
    "audit": (*EVALUATION, "audit", "report"),
    "hardware": (*SHARED, "base_models", "training", "report"),
    "main_results": (*SHARED, *WORLD, "report"),
    "ablations": (*SHARED, *WORLD, "report"),
    # The groups of models draw nothing, so that a figure's colour looks at no model again.
    "cells": (*TRAINING, *EVALUATION),
}


def files(*rooms: str) -> list[str]:
    """Every source and data file of the rooms, relative to the project, sorted.

    Raises:
        FileNotFoundError: If a room is neither a folder nor a file of the library.
    """
    found: list[Path] = []
    for room in rooms:
        path = LIBRARY / room
        if path.is_file():
            found.append(path)
        elif path.is_dir():
            found += [file for file in path.rglob("*") if file.suffix in (".py", ".md", ".csv", ".yaml", ".json")]
        else:
            raise FileNotFoundError(f"expected the room {room} in {LIBRARY}, found none")
    # The workflow's own Sphinx side is an input of the HTML alone, so that a change of looks trains nothing.
    return sorted({str(file.relative_to(ROOT)) for file in found if file.name != "book.py"})


def models() -> list[str]:
    """The files of the shipped base models, relative to the project."""
    folder = ROOT / "models" / "miniature"
    return sorted(str(file.relative_to(ROOT)) for file in folder.rglob("*") if file.is_file())
