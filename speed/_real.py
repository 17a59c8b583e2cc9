"""Real programs of the data directory: what models and annotators wrote, for speed runs and tests."""

from __future__ import annotations

import gzip
import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

FENCED = re.compile(r"```python\n(.*?)(?:```|\Z)", re.S)
TRAIN = (
    "htl_llama_my_numglue.jsonl.gz", "htl_mistral_numglue.jsonl.gz", "numglue_pot_from_htl.jsonl.gz",
    "lila_mathqa_gain.jsonl.gz", "tora_corpus_examples.jsonl", "mathinstruct_rows.jsonl",
)  # fmt: skip
OUTPUTS = (
    "pot_aqua_zeroshot.jsonl.gz", "pot_gsm8k_fewshot.jsonl.gz", "mathcoder_l_7b_deepmind.jsonl.gz",
    "mathcoder_l_7b_gsm8k.jsonl.gz", "mathcoder_l_7b_simuleq.jsonl.gz", "mathcoder_l_7b_svamp.jsonl.gz",
)  # fmt: skip


def rows(path: Path) -> Iterator[dict[str, Any]]:
    """The rows of a file of JSON Lines, packed or not."""
    with (gzip.open if path.suffix == ".gz" else open)(path, "rt", encoding="utf-8") as lines:
        yield from map(json.loads, lines)


def _programs_of(row: dict[str, Any]) -> Iterator[str | list[str]]:
    if "programs" in row:  # cells of a notebook
        yield row["programs"]
    elif "messages" in row:
        cells = FENCED.findall(row["messages"][-1]["content"])
        if cells:
            yield cells
    elif row.get("kind") == "pot":
        yield row["response"]
    elif "program" in row:
        yield row["program"]
    elif "Output Program" in row:
        yield from row["Output Program"]
    elif "output" in row:
        yield from row["output"].split("\n****\n")


def real_programs(data: Path) -> list[str | list[str]]:
    """All distinct programs of ``train/`` and ``outputs/``, in the order of the files; a list is the cells of one.

    Annotations of two models stand beside each other in some files, and some of those are prose: programs all the
    same, as a model's completion is one until it is run.
    """
    found: dict[str, str | list[str]] = {}
    for folder, names in (("train", TRAIN), ("outputs", OUTPUTS)):
        for name in names:
            for row in rows(data / folder / name):
                for program in _programs_of(row):
                    if program and (isinstance(program, list) or program.strip()):
                        found.setdefault(json.dumps(program), program)
    return list(found.values())
