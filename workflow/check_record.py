"""``make check-record RECORD=records/...``: makes one committed evaluation again and prints the difference.

A cell of the real model takes hours, and takes its base from ``BASE=...`` as ``make real`` does. The model is trained
and evaluated in a folder of its own, so that nothing of an earlier run is read. Equal numbers are promised on the same
kind of processor only; the two processors are printed beside each other.
"""

from __future__ import annotations

import os
import sys
import tempfile
from pathlib import Path
from typing import Any

from stages import REAL_GRID, ROOT

from mammoth_utils.vocabulary import RULES

GRIDS = sorted((ROOT / "workflow" / "grids").glob("*.yaml"))
COMMANDS = {
    "audit": "python -m mammoth_utils.audit --data DIR --out records/real/audit.json",
    "curate": "python -m mammoth_utils.curation.rebuild_record --data DIR --out records/real/curate.json",
    "hardware": "python speed/_measure_memory.py",
    "train": "make real",
    "prompts": "make real",
    "shown": "python workflow/keep_shown.py",
    "optimizers": "python workflow/measure_optimizers.py",
    "development": "python workflow/measure_models.py workflow/grids/development.yaml runs/development.json",
}


def compare(old: dict[str, Any], new: dict[str, Any]) -> list[str]:
    """Return one line a benchmark and rule: both shares correct and the number of verdicts that differ.

    Raises:
        ValueError: If the two records do not hold the same benchmarks and problems.
    """
    lines = []
    if set(old["benchmarks"]) != set(new["benchmarks"]):
        raise ValueError(f"benchmarks differ: {sorted(old['benchmarks'])} against {sorted(new['benchmarks'])}")
    for name, there in old["benchmarks"].items():
        here = new["benchmarks"][name]
        if there["items"]["ids"] != here["items"]["ids"]:
            raise ValueError(f"{name}: the two records hold other problems; the world's version has changed")
        for rule in RULES:
            then, now = there["items"][rule], here["items"][rule]
            changed = sum(a != b for a, b in zip(then, now, strict=True))
            shares = f"{100 * then.count('1') / len(then):5.1f} % then, {100 * now.count('1') / len(now):5.1f} % now"
            lines.append(f"{name:18} {rule:10} {shares}, {changed} of {len(then)} verdicts differ")
    return lines


def find_plan(old: dict[str, Any]) -> dict[str, Any] | str:
    """Return the model of a grid that makes a record again, or a sentence that says what makes it instead."""
    if old.get("page") != "evaluate":
        return f"this record is of the page {old.get('page')!r} and is made again by `{COMMANDS[old['page']]}`"
    import measure_models

    asked, model = old["parameters"], old["model"]
    if old.get("world") == "real":
        for planned in measure_models.read_grid(REAL_GRID):
            if asked["name"].startswith(f"{measure_models.run_name(planned)}-"):
                return {**planned, "base": os.environ.get("BASE", "")} if os.environ.get("BASE") else planned
        return f"its model {model['name']} is in no cell of {REAL_GRID.name}, so that nothing says how it was made"
    settings = {key: asked[key] for key in ("decoding", "split", "limit", "also")}
    settings["benchmarks"] = ",".join(asked["benchmarks"])
    if model["size"]:
        return {**{key: model[key] for key in measure_models.MODEL if model.get(key) not in (None, "")},
                "evaluate": settings}  # fmt: skip
    name = Path(model["model"]).parent.name  # a run with settings of its own, which only its grid knows
    for grid in GRIDS:
        for planned in measure_models.read_grid(grid):
            if planned.get("name") == name:
                return {**planned, "evaluate": settings}
    return f"its training run {name} is in none of {', '.join(grid.name for grid in GRIDS)} in workflow/grids"


def main(arguments: list[str]) -> int:
    """Print the comparison; return 0 if no verdict differs, 1 if any does, 2 if it cannot be made again."""
    committed = sorted(str(file.relative_to(ROOT)) for file in (ROOT / "records").rglob("*.json"))
    if len(arguments) != 1 or not (ROOT / arguments[0]).is_file():
        known = "\n  ".join(committed) or "(none committed)"
        print(f"check-record: expected RECORD=FILE, got {' '.join(arguments) or 'nothing'}; known:\n  {known}")
        return 2
    from mammoth_utils import records

    old = records.read_json(ROOT / arguments[0])
    plan = find_plan(old)
    if isinstance(plan, str):
        print(f"check-record: {plan}")
        return 2
    with tempfile.TemporaryDirectory(prefix="check-record-") as folder:
        os.environ["MAMMOTH_RUNS_DIR"] = folder
        import measure_models

        print(f"check-record: training and evaluating {plan} again", flush=True)
        names = measure_models.train_and_evaluate(plan)
        if names["evaluate"] != old["parameters"]["name"]:
            print(f"check-record: that made {names['evaluate']}, the record is of {old['parameters']['name']}:")
            print("check-record: its settings have changed since, so the two cannot be compared")
            return 2
        new = records.read_json(Path(folder) / "evaluate" / names["evaluate"] / "record.json")
    lines = compare(old, new)
    print("\n".join(lines))
    print(f"then: {old['environment']['processor']}\nnow:  {new['environment']['processor']}")
    return int(any(", 0 of " not in line for line in lines))


if __name__ == "__main__":
    raise SystemExit(main(sys.argv[1:]))
