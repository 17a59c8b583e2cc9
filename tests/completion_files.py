"""Files of completions of any length, for tests of what grading one takes."""

from __future__ import annotations

import gzip
import json
from pathlib import Path


def generated(path: Path, count: int) -> Path:
    """A file of different completions, a few kilobytes a thousand rows when packed."""
    with gzip.open(path, "wt", encoding="utf8", compresslevel=1) as file:
        for at in range(count):
            completion = f"There are {at} apples and {at % 7} pears. " * 8 + f"The answer is {at}."
            row = {"benchmark": "gsm8k", "id": f"g/{at}", "kind": "cot", "question": "How many apples?",
                   "completion": completion, "gold": str(at + at % 2)}  # fmt: skip
            file.write(json.dumps(row) + "\n")
    return path
