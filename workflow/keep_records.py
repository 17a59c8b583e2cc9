"""Copies the miniature's finished evaluations from ``runs/evaluate`` into ``records/miniature``, to be committed.

Run it after ``make book`` and ``make book-full``, then ``python -m mammoth_utils.report README``: whole runs on the
test split only, one line of JSON each, so that a commit stays small.
"""

from __future__ import annotations

import json

from rooms import ROOT

from mammoth_utils import records
from mammoth_utils.report.cells import Measured


def main() -> None:
    """Write one file a record and say which."""
    for folder, record in records.find("evaluate"):
        if record["world"] != "miniature" or not Measured(record).whole or not Measured(record).cell.size:
            continue
        target = ROOT / "records" / "miniature" / f"{folder.name}.json"
        records.write_text(target, json.dumps(record, ensure_ascii=False, separators=(",", ":")) + "\n")
        print(f"kept {target.relative_to(ROOT)}, {target.stat().st_size / 1000:.0f} kB")


if __name__ == "__main__":
    main()
