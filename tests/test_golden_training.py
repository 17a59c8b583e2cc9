"""Decisions of training that its VERSION stands for: which rows a step reads, and what the loss sees of a row."""

from __future__ import annotations

import hashlib
import json
import random

import golden
import pytest
import tiny_base

from mammoth_utils import paths, prompts
from mammoth_utils.training.loop import batches, encoding

pytest.importorskip("transformers")

LENGTHS = [min(1100, max(40, int(random.Random(number).lognormvariate(5.3, 0.6)))) for number in range(1000)]
LAYOUTS = {
    "one process": {"epochs": 2, "seed": 1},
    "four processes, two rows a pass": {"epochs": 1, "micro_batch": 2, "processes": 4, "seed": 1},
    "steps beyond the epochs": {"max_steps": 20, "seed": 2},
    "rows of 1,100": {"max_length": 1100, "seed": 1},
}
HARD_ROWS = [
    {"instruction": "What is 3 + 4?", "output": "#: a colon\nprint(3 + 4)", "kind": "pot", "source": "x"},
    {"instruction": " 7 ", "output": " The answer is 7.", "kind": "cot", "source": "x"},
    {"instruction": "¿Cuánto es ½ + √2?", "output": "≈ 1.914\n\nThe answer is 1.914.", "kind": "cot", "source": "x"},
    {"instruction": "An end: </s>", "output": "x", "kind": "cot", "source": "x"},
    {"instruction": "Too long", "output": "word " * 400, "kind": "cot", "source": "x"},
    {"instruction": "", "output": "x", "kind": "cot", "source": "x"},
]  # fmt: skip


def digest(value) -> str:
    return hashlib.sha256(json.dumps(value).encode()).hexdigest()[:16]


def test_batches_are_laid_out_as_this_version_does(write_golden):
    decisions = {}
    for name, options in LAYOUTS.items():
        layout = batches.lay_out(LENGTHS, **{"max_length": 2048, "global_batch": 32, **options})
        decisions[name] = f"{layout.steps} steps of {layout.rows_per_step} rows: {digest(layout.rows)}"
    golden.check("training", "batches", decisions, write_golden)


def test_rows_become_the_token_ids_and_labels_of_this_version(write_golden):
    from transformers import AutoTokenizer

    tokenizer = AutoTokenizer.from_pretrained(paths.miniature_models() / "llama-1m")
    decisions = {"template": hashlib.sha256(prompts.ALPACA.encode()).hexdigest()}
    examples, report = encoding.encode_rows([*tiny_base.rows(8), *HARD_ROWS], tokenizer, 512)
    for number, example in enumerate(examples):
        decisions[f"example {number}"] = f"{len(example)} tokens: {digest([example.input_ids, example.labels])}"
    decisions["left out"] = f"{report.too_long} too long, {report.special} special, {report.empty} empty"
    decisions["packed"] = digest(encoding.columns([examples[:3], examples[3:]]))
    golden.check("training", "encoding", decisions, write_golden)
