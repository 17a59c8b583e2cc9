"""Measures what AdamW's moments in 8 bit cost in quality, at the miniature and at 100 million weights, on a CPU.

``python workflow/measure_optimizers.py`` writes ``records/miniature/optimizers.json``. At the miniature the hybrid
model is trained with 8-bit moments, seed by seed, and compared with the committed records of the same seeds and moments
in 32 bit. At 100 million weights, which start at random, both are trained on the same batches, and their losses on
held-out rows are compared. It takes about an hour on one core and may be stopped: each run goes on, or is read, from
``runs/optimizers``.
"""

from __future__ import annotations

import datetime
import os
from pathlib import Path
from typing import Any

import measure_models
from stages import ROOT

from mammoth_utils import paths, records
from mammoth_utils.records import Record
from mammoth_utils.report import claim_definitions, measured_models, statistics

ADAMW, EIGHT_BIT = "adamw", "adamw_8bit"
MINIATURE_SEEDS, SEEDS = range(5), range(1)
SHAPE = {"hidden_size": 768, "num_hidden_layers": 14, "num_attention_heads": 12, "num_key_value_heads": 12,
         "intermediate_size": 2048, "max_position_embeddings": 2048, "tie_word_embeddings": False}  # fmt: skip
STEPS, BATCH, LEARNING_RATE, HELD_OUT = 40, 8, 3e-4, 0.01


def measure_miniature() -> Record:
    """Return what the hybrid model of the miniature gains or loses by 8-bit moments, over the nine mini-benchmarks."""
    committed = [one for one in measured_models.read("miniature") if one.origin == measured_models.COMMITTED]
    usual = [
        (one, scores) for one, scores in measured_models.seeds_of(claim_definitions.HYBRID, committed)
        if one.seed in MINIATURE_SEEDS
    ]  # fmt: skip
    narrow = []
    for seed in MINIATURE_SEEDS:
        names = measure_models.train_and_evaluate(
            {"size": "1m", "mixture": "hybrid", "seed": seed, "optimizer": EIGHT_BIT}
        )
        record = records.read_json(paths.run_dir("evaluate", names["evaluate"]) / "record.json")
        narrow.append((measured_models.EvaluationRecord(record), record["benchmarks"]))
        print(f"optimizers: {names['train']} measured", flush=True)
    samples = [measured_models.sample(seeds) for seeds in (narrow, usual)]
    difference = statistics.contrast([(1.0, samples[0]), (-1.0, samples[1])])
    return {
        "seeds": len(MINIATURE_SEEDS), "problems": difference.items,
        "percent": {EIGHT_BIT: 100 * samples[0].accuracy, ADAMW: 100 * samples[1].accuracy},
        "difference": {key: 100 * getattr(difference, key) for key in ("estimate", "low", "high")},
    }  # fmt: skip


def measure_large(base: Path) -> Record:
    """Return by optimiser the held-out losses of the seeds that start from the weights of ``base``."""
    from mammoth_utils.curation import ensure_dataset, read_mixture
    from mammoth_utils.training import describe, finetune

    losses: dict[str, list[float]] = {ADAMW: [], EIGHT_BIT: []}
    for seed in SEEDS:
        rows = read_mixture(ensure_dataset("miniature"), "hybrid", seed)
        for optimizer, found in losses.items():
            description = describe(
                "1m", base=str(base), method="full", devices="cpu", seed=seed, max_steps=STEPS, global_batch=BATCH,
                learning_rate=LEARNING_RATE, validation=HELD_OUT, optimizer=optimizer, name=f"100m-{optimizer}-s{seed}",
            )  # fmt: skip
            record = finetune(description, rows)
            found.append(record["validation"]["last"])
            print(f"optimizers: {description.name}: held-out loss {found[-1]:.4f}", flush=True)
    return {"seeds": len(SEEDS), "steps": STEPS, "examples a step": BATCH, "parameters": record["model"]["parameters"],
            "held-out loss": losses}  # fmt: skip


def write_base(folder: Path) -> Path:
    """Write 100 million random weights with the miniature's tokenizer, once; return the folder."""
    if not (folder / "config.json").is_file():
        import torch
        from transformers import AutoTokenizer, LlamaConfig, LlamaForCausalLM

        tokenizer = AutoTokenizer.from_pretrained(paths.miniature_models() / "llama-1m")
        ends: dict[str, Any] = {
            f"{name}_token_id": getattr(tokenizer, f"{name}_token_id") for name in ("bos", "eos", "pad")
        }
        torch.manual_seed(0)
        tokenizer.save_pretrained(folder)
        LlamaForCausalLM(LlamaConfig(vocab_size=len(tokenizer), **SHAPE, **ends)).save_pretrained(folder)
    return folder


def main() -> None:
    """Measure both sizes and write the record."""
    os.chdir(ROOT)
    os.environ["MAMMOTH_RUNS_DIR"] = str(paths.writable_runs() / "optimizers")
    large = measure_large(write_base(paths.writable_runs() / "base-100m"))
    records.write_json(paths.records() / "miniature" / "optimizers.json", {
        "schema": records.SCHEMA, "world": "miniature", "page": "optimizers", "date": datetime.date.today().isoformat(),
        "miniature": measure_miniature(), "large": large, "environment": records.environment(),
    })  # fmt: skip


if __name__ == "__main__":
    main()
