"""Copies finished evaluations from ``runs/evaluate`` into ``records``, to be committed, one line of JSON each.

Of the miniature whole runs on the test split; what was measured on the development split is kept as one file, with the
widths that it foretells. Of ``make real`` the cells that are finished: the evaluation's record, the training's, the
completions without the benchmarks' questions, and the choice of the base's prompt. A finished rebuild of the real
sources goes into ``records/real/curate.json``; `python -m mammoth_utils.curation.rebuild_record` makes and keeps it in
one command. Run it after ``make book``, ``make book-full`` and ``make real``, then ``workflow/keep_shown.py`` and
``workflow/generated_text.py all``.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import measure_models
from stages import REAL_GRID, ROOT

from mammoth_utils import paths, records
from mammoth_utils.curation import describe, rebuild_record
from mammoth_utils.report import development, measured_models
from mammoth_utils.vocabulary import PROMPT_CHOICE

REAL = ROOT / "records" / "real"
REAL_CELLS = tuple({measure_models.run_name(model) for model in measure_models.read_grid(REAL_GRID)})


def keep_real(folder: Path, record: dict[str, Any]) -> None:
    """Keep a cell of ``make real``: its record, its training's, and its completions without questions and golds."""
    records.write_text(REAL / "models" / f"{folder.name}.json", _line(record))
    name = next(name for name in REAL_CELLS if folder.name.startswith(name))
    training = paths.run_dir("train", name) / "record.json"
    if training.is_file():
        trained = records.read_json(training)
        for part, key in (("parameters", "base"), ("base", "name")):  # where this machine keeps the file is its own
            trained[part][key] = paths.public_name(trained[part][key])
        records.write_text(REAL / "training" / f"{name}.json", _line(trained))
    target = REAL / "completions" / f"{folder.name}.jsonl.gz"
    records.write_jsonl(target, map(_without_question, records.read_jsonl(folder / "attempts.jsonl")))
    print(f"kept {folder.name}, {target.stat().st_size / 1000:.0f} kB of completions")


def _without_question(row: dict[str, Any]) -> dict[str, Any]:
    """Return an item's completions, what their programs printed, and the verdicts."""
    attempts = []
    for attempt in row["attempts"]:
        ran = attempt.get("execution") or {}
        printed = {key: ran[key] for key in ("status", "printed", "error") if ran.get(key) is not None}
        attempts.append({"kind": attempt["kind"], "completion": attempt["completion"], **printed})
    return {"id": row["id"], "attempts": attempts, "decodings": row["decodings"]}


def _line(value: Any) -> str:
    return json.dumps(value, ensure_ascii=False, separators=(",", ":")) + "\n"


def main() -> None:
    """Write one file a record and say which."""
    on_development = []
    for folder, record in records.finished_runs("evaluate"):
        evaluation = measured_models.EvaluationRecord(record)
        if evaluation.world == "miniature" and evaluation.covers("dev"):
            on_development.append(evaluation)
        if evaluation.world == "real" and folder.name.startswith(REAL_CELLS):
            keep_real(folder, record)
        if evaluation.world != "miniature" or not evaluation.is_complete or not evaluation.model.size:
            continue
        target = ROOT / "records" / "miniature" / f"{folder.name}.json"
        records.write_text(target, _line(record))
        print(f"kept {target.relative_to(ROOT)}, {target.stat().st_size / 1000:.0f} kB")
    if on_development:
        target = ROOT / "records" / development.FILE
        records.write_json(target, development.measure_development(on_development))
        print(f"kept {target.relative_to(ROOT)}, of {len(on_development)} evaluations")
    choice = paths.run_dir("evaluate", PROMPT_CHOICE)
    if choice.is_file():
        records.write_json(REAL / "prompts.json", records.read_json(choice))
    rebuild = describe("rebuild")
    record = rebuild.folder / "record.json"
    if paths.data() is not None and record.is_file() and records.read_json(record)["parameters"] == rebuild.as_dict():
        target = records.write_items(ROOT / "records" / rebuild_record.COMMITTED,
                                     rebuild_record.distill_rebuild(records.read_json(record), rebuild))  # fmt: skip
        print(f"kept {target.relative_to(ROOT)}, {target.stat().st_size / 1000:.0f} kB")


if __name__ == "__main__":
    main()
