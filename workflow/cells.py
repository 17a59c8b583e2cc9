"""Trains and evaluates the small models that the claims compare, in one process that keeps its imports.

Two such processes work side by side on the same grid: each takes the next cell that nobody has, so neither waits for
the other. A cell whose record stands is read, one that was cut off goes on.
"""

from __future__ import annotations

import argparse
import inspect
import os
import time
from pathlib import Path
from typing import Any

import lifeline
import yaml
from filelock import FileLock, Timeout

from mammoth_utils import pages, paths, records
from mammoth_utils.vocabulary import EQUAL_STEPS, UNTUNED, RunName

ROOT = Path(__file__).resolve().parent.parent
MODEL = ("size", "family", "mixture", "method", "seed")


def read_grid(file: Path) -> list[dict[str, Any]]:
    """The cells of a grid file: what ``training.describe`` takes, and under ``evaluate`` what scoring takes more.

    Raises:
        ValueError: If the file is no list of cells, or a cell lacks its size or has a key that nothing reads.
    """
    grid = yaml.safe_load(file.read_text(encoding="utf8"))
    cells = grid.get("cells") if isinstance(grid, dict) else grid
    if not isinstance(cells, list) or not cells or not all(isinstance(cell, dict) for cell in cells):
        raise ValueError(
            f"{file}: expected a list of cells such as {{size: 1m, mixture: hybrid}}, or `cells:` with one"
        )
    from mammoth_utils.training.description import describe

    known = {*inspect.signature(describe).parameters, "evaluate"}
    for number, cell in enumerate(cells, 1):
        if unknown := sorted(set(cell) - known):
            raise ValueError(f"{file}, cell {number}: unknown key {unknown[0]!r}; known: {', '.join(sorted(known))}")
        if "size" not in cell:
            raise ValueError(f"{file}, cell {number}: no size")
    return cells


def label(cell: dict[str, Any]) -> str:
    """The cell's name: its training run's, or the untuned base's; one lock and one line of progress go by it."""
    if cell.get("mixture") == UNTUNED:
        from mammoth_utils.scales import scale

        return str(RunName(scale(cell["size"], cell.get("family", "auto")).family, cell["size"], UNTUNED))
    return training_of(cell).name


def training_of(cell: dict[str, Any]) -> Any:
    """The cell's training description."""
    from mammoth_utils.training.description import describe

    return describe(**{key: value for key, value in cell.items() if key != "evaluate"})


def check_equal_steps(training: Any) -> None:
    """Nothing, if a control at equal steps takes as many as the hybrid run beside it, where that one's record stands.

    Raises:
        ValueError: If not: a change of the batches or of the data set moved the hybrid run's steps.
    """
    if not training.name.endswith(f"-{EQUAL_STEPS}"):
        return
    hybrid = str(RunName(training.family, training.size, "hybrid", training.method, training.seed))
    record = paths.run_dir("train", hybrid) / "record.json"
    if record.is_file() and (steps := records.read_json(record)["steps"]) != training.max_steps:
        raise ValueError(
            f"{training.name} would take {training.max_steps} steps where {hybrid} took {steps}: write {steps} as "
            "`steps` into the grid"
        )


def page_label() -> str:
    """The name of the model that the pages `train` and `evaluate` make with their defaults."""
    declared = pages.declared("train")
    return label({name: declared[name].default for name in MODEL if name in declared})


def measure(cell: dict[str, Any]) -> dict[str, str]:
    """Train and evaluate one cell, or read what stands; the names of its runs below ``runs/``."""
    from mammoth_utils.evaluation import scoring

    extra = cell.get("evaluate", {})
    if cell.get("mixture") == UNTUNED:
        evaluation = scoring.describe(size=cell["size"], family=cell.get("family", "auto"), mixture=UNTUNED, **extra)
        scoring.evaluate(evaluation)
        return {"evaluate": evaluation.name}
    from mammoth_utils.curation import mixtures
    from mammoth_utils.training.loop.finetune import finetune

    training = training_of(cell)
    check_equal_steps(training)
    finetune(training, mixtures.read(mixtures.ensure(training.dataset), training.mixture, training.seed))
    plain = training_of({key: cell[key] for key in MODEL if key in cell})
    if training.name == plain.name:
        # Asked for as the page asks, so that the page's record and this cell's are one.
        evaluation = scoring.describe(**{key: getattr(training, key) for key in MODEL}, **extra)
    else:
        of = {"size": training.size, "family": training.family, "model": str(training.folder)}
        evaluation = scoring.describe(**of, **extra)
    scoring.evaluate(evaluation)
    return {"train": training.name, "evaluate": evaluation.name}


def main() -> None:
    """Work through the grid and write this group's summary."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("grid", type=Path)
    parser.add_argument("out", type=Path, help="the summary, written when nothing of the grid is left for this group")
    parser.add_argument("--leave-page", action="store_true", help="leave the model of the page `train` to that page")
    asked = parser.parse_args()
    lifeline.hold()
    os.chdir(ROOT)
    cells = read_grid(asked.grid)
    left = page_label() if asked.leave_page else None
    locks = paths.runs() / ".locks"
    locks.mkdir(parents=True, exist_ok=True)
    measured = []
    for number, cell in enumerate(cells, 1):
        name = label(cell)
        if name == left:
            continue
        try:
            with FileLock(locks / f"{name}.lock", timeout=0):
                begin = time.monotonic()
                made = measure(cell)
        except Timeout:
            continue  # the other group has it; if that one fails, its rule fails and is run again
        seconds = time.monotonic() - begin
        measured.append({"cell": cell, **made})
        print(f"[cells] {number} of {len(cells)}: {name}, {seconds:.0f} s", flush=True)
    records.write_json(asked.out, {"schema": records.SCHEMA, "grid": asked.grid.name, "measured": measured})


if __name__ == "__main__":
    main()
