"""Copies the miniature's finished evaluations from ``runs/evaluate`` into ``records/miniature``, to be committed.

What was measured on the development split is kept as one file, with the widths that it foretells. Run it after ``make
book`` and ``make book-full``, then ``python workflow/generated_text.py README``: whole runs on the
test split only, one line of JSON each, so that a commit stays small. A finished rebuild of the real sources goes into
``records/real/curate.json``; `python -m mammoth_utils.curation.rebuild_record` makes and keeps it in one command.
"""

from __future__ import annotations

import json

from stages import ROOT

from mammoth_utils import paths, records
from mammoth_utils.curation import describe, rebuild_record
from mammoth_utils.report import development, measured_models


def main() -> None:
    """Write one file a record and say which."""
    on_development = []
    for folder, record in records.finished_runs("evaluate"):
        evaluation = measured_models.EvaluationRecord(record)
        if evaluation.world == "miniature" and evaluation.covers("dev"):
            on_development.append(evaluation)
        if evaluation.world != "miniature" or not evaluation.is_complete or not evaluation.model.size:
            continue
        target = ROOT / "records" / "miniature" / f"{folder.name}.json"
        records.write_text(target, json.dumps(record, ensure_ascii=False, separators=(",", ":")) + "\n")
        print(f"kept {target.relative_to(ROOT)}, {target.stat().st_size / 1000:.0f} kB")
    if on_development:
        target = ROOT / "records" / development.FILE
        records.write_json(target, development.measure_development(on_development))
        print(f"kept {target.relative_to(ROOT)}, of {len(on_development)} evaluations")
    rebuild = describe("rebuild")
    record = rebuild.folder / "record.json"
    if paths.data() is not None and record.is_file() and records.read_json(record)["parameters"] == rebuild.as_dict():
        target = records.write_items(ROOT / "records" / rebuild_record.COMMITTED,
                                     rebuild_record.distill_rebuild(records.read_json(record), rebuild))  # fmt: skip
        print(f"kept {target.relative_to(ROOT)}, {target.stat().st_size / 1000:.0f} kB")


if __name__ == "__main__":
    main()
