"""The planner against measurement: runs on random weights of many shapes, each in a process of its own.

The committed record holds what was measured and nothing that was predicted; :func:`compare` sets the formulas of today
beside it. Made again, in about an hour on one core and within 4 GB, by::

    python -m mammoth_utils.training.plan.measurements
"""

from __future__ import annotations

import argparse
import datetime
import json
import os
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import Any

from mammoth_utils import paths, records
from mammoth_utils.base_models.architectures import Architecture
from mammoth_utils.training.plan.memory import BYTES, METHODS, activations, head, memory

COMMITTED = Path("real") / "hardware.json"
COMMAND = "python -m mammoth_utils.training.plan.measurements"
KEYS = ("shape", "size", "method", "checkpointing", "compute", "max_length")
EXACT = ("weights", "gradients", "optimiser")
SAVED_WITHIN = 0.05
PEAK_WITHIN = 0.15
# The allocator gives blocks of 128 KiB and more back at once. By default it keeps freed blocks of up to 32 MiB, which
# weigh at these sizes and differ from run to run; the record has what they weigh in one case.
ALLOCATOR = {"MALLOC_MMAP_THRESHOLD_": "131072", "MALLOC_TRIM_THRESHOLD_": "131072"}
MINIATURE = "llama-1m"


def _llama(hidden: int, layers: int, heads: int, kv: int, inner: int, words: int, tied: bool, **more: Any) -> dict:
    return {"hidden_size": hidden, "num_hidden_layers": layers, "num_attention_heads": heads,
            "num_key_value_heads": kv, "intermediate_size": inner, "vocab_size": words, "tie_word_embeddings": tied,
            **more}  # fmt: skip


# Depth, width, shared keys, tied embeddings, vocabulary and family all vary; the name says the millions of weights.
SHAPES: dict[str, dict[str, Any]] = {
    "llama-14m": _llama(384, 6, 6, 6, 1024, 4096, False),
    "llama-21m-deep": _llama(256, 24, 4, 2, 768, 8192, True),
    "qwen-37m": _llama(448, 8, 7, 1, 2432, 16_000, True, model_type="qwen2"),
    "llama-61m-wide": _llama(1024, 4, 16, 4, 2816, 8000, False),
    "qwen-90m-words": _llama(512, 8, 8, 2, 1408, 65_536, False, model_type="qwen2"),
    "llama-124m": _llama(768, 14, 12, 12, 2048, 32_000, True),
    "llama-154m": _llama(1024, 12, 16, 8, 2816, 12_000, True),
}
WHOLE = ("llama-14m",)  # measured in every combination; of the others each is measured in three that take turns
FP32 = ("llama-14m",)  # measured without 16-bit arithmetic too


def cases() -> list[dict[str, Any]]:
    """Every run of the record, small ones first."""
    found = [_case(MINIATURE, method, False, size="1m", max_length=1280) for method in METHODS]
    for number, name in enumerate(SHAPES):
        for place, method in enumerate(METHODS):
            turns = (True, False) if name in WHOLE else ((number + place) % 2 == 1,)
            found += [_case(name, method, checkpointing) for checkpointing in turns]
        if name in FP32:
            found += [_case(name, method, False, compute="fp32") for method in ("full", "lora")]
    return found


def _case(shape: str, method: str, checkpointing: bool, **more: Any) -> dict[str, Any]:
    return {"shape": shape, "size": "7b", "method": method, "checkpointing": checkpointing, "compute": "bf16",
            "max_length": 512, **more}  # fmt: skip


def architecture(shape: str) -> Architecture:
    """The planner's numbers of a shape of ``SHAPES``, or of the miniature."""
    if shape == MINIATURE:
        return Architecture.from_config(records.read_json(paths.miniature_models() / MINIATURE / "config.json"))
    if shape not in SHAPES:
        raise ValueError(f"unknown shape {shape!r}; known: {MINIATURE}, {', '.join(SHAPES)}")
    return Architecture.from_config(SHAPES[shape])


def measure(case: dict[str, Any], folder: Path, allocator: Mapping[str, str] = ALLOCATOR) -> dict[str, Any]:
    """What a case's run held and grew by, seen in a process of its own.

    Args:
        case: One of :func:`cases`.
        folder: Scratch; the base model of a shape is made there once.
        allocator: What the process's allocator is told, as environment variables.

    Raises:
        RuntimeError: If a run fails, with the end of what it said.
    """
    from mammoth_utils.training import measuring

    base = ""
    if case["shape"] != MINIATURE:
        base = folder / case["shape"]
        if not base.is_dir():
            measuring.write_base(base, SHAPES[case["shape"]])
    described = {key: value for key, value in case.items() if key != "shape"} | {"base": str(base)}
    seen = _child(described, folder, allocator)
    return {
        **case,
        **{key: seen[key] for key in ("tokens", "labels", "rank", "dropout")},
        "held": {key: seen["held"][key] for key in EXACT},
        **{key: seen["most"][key] for key in ("saved", "copies")},
        "growth": max(seen["growth"]),
    }


def _child(described: dict[str, Any], folder: Path, allocator: Mapping[str, str] = ALLOCATOR) -> dict[str, Any]:
    with tempfile.TemporaryDirectory(dir=folder) as own:
        file = records.write_json(Path(own) / "case.json", described)
        environment = {**os.environ, **allocator, "OMP_NUM_THREADS": "1", "TOKENIZERS_PARALLELISM": "false",
                       "MAMMOTH_RUNS_DIR": str(Path(own) / "runs"), "MAMMOTH_ROOT": str(paths.root())}  # fmt: skip
        command = [sys.executable, "-m", "mammoth_utils.training.measuring", str(file)]
        done = subprocess.run(command, capture_output=True, text=True, env=environment, check=False)
    lines = [line for line in done.stdout.splitlines() if line.startswith("MEASURED ")]
    if done.returncode or not lines:
        raise RuntimeError(f"the run {described} failed ({done.returncode}):\n{done.stderr[-3000:]}")
    return json.loads(lines[-1].removeprefix("MEASURED "))


def predicted(case: dict[str, Any]) -> dict[str, float]:
    """The planner's bytes of a measured case, by part."""
    return memory(
        architecture(case["shape"]), case["method"], case["tokens"], rank=case["rank"] or 1,
        checkpointing=case["checkpointing"], compute=case["compute"], dropout=case["dropout"], device="cpu",
        labels=case["labels"] / case["tokens"],
    )  # fmt: skip


def predicted_saved(case: dict[str, Any]) -> float:
    """The bytes that a forward pass saves by the planner: all activations, or the layers' inputs, and the head's."""
    a, method, width, tokens = architecture(case["shape"]), case["method"], BYTES[case["compute"]], case["tokens"]
    stream = 4 if method == "full" else width
    kept_by_head, _ = head(a, method, tokens, width, stream, "cpu", case["labels"] / tokens)
    if not case["checkpointing"]:
        return predicted(case)["activations"] + kept_by_head
    _, inputs, outside = activations(a, method, case["rank"], width, stream, case["dropout"] > 0, "cpu")
    rotation = 2 * stream * (a.queries // a.heads)  # saved inside the layers alone, and made again with them
    return (a.layers * inputs + outside - rotation) * tokens + kept_by_head


def compare(case: dict[str, Any]) -> dict[str, Any]:
    """A measured case beside the planner: whether each exact part is, and how far the others are off.

    Returns:
        ``exact``: whether weights, gradients and optimiser states agree to the byte. ``saved`` and ``peak``: the
        planner's figure over the measured one, less one.
    """
    parts, a = predicted(case), architecture(case["shape"])
    return {
        "shape": case["shape"],
        "parameters": a.parameters,
        "method": case["method"],
        "checkpointing": case["checkpointing"],
        "compute": case["compute"],
        "tokens": case["tokens"],
        "exact": {key: parts[key] for key in EXACT} == case["held"],
        "saved": predicted_saved(case) / case["saved"] - 1,
        "planned": sum(parts.values()),
        "measured": case["growth"],
        "peak": sum(parts.values()) / case["growth"] - 1,
    }


def record(
    wanted: Iterable[dict[str, Any]],
    file: Path,
    kept: Iterable[dict[str, Any]] = (),
    say: Callable[[str], None] = print,
) -> dict[str, Any]:
    """The record of so many cases, measured one after the other and written after each.

    Args:
        wanted: Cases as :func:`cases` has them.
        file: The record.
        kept: Cases that were measured before; those are not measured again.
        say: Takes a line a case.
    """
    before = {json.dumps({key: one[key] for key in KEYS}): one for one in kept}
    made = {
        "schema": records.SCHEMA,
        "page": "hardware",
        "world": "real",
        "made": datetime.datetime.now(datetime.UTC).date().isoformat(),
        "command": COMMAND,
        "allocator": ALLOCATOR,
        "environment": records.environment(threads=1, device="cpu"),
        "cases": [],
    }
    with tempfile.TemporaryDirectory(prefix="mammoth-measured-") as scratch:
        for case in wanted:
            found = before.get(json.dumps(case)) or measure(case, Path(scratch))
            made["cases"].append(found)
            beside = compare(found)
            say(f"{case['shape']:<16} {case['method']:<6} {case['compute']} "
                f"{'recomputed' if case['checkpointing'] else 'kept':<10} exact: {beside['exact']}, saved: "
                f"{100 * beside['saved']:+.1f} %, peak: {100 * beside['peak']:+.1f} % "
                f"of {found['growth'] / 1e6:.0f} MB")  # fmt: skip
            records.write_json(file, made)
        small = [case for case in made["cases"] if case["shape"] in (MINIATURE, *WHOLE)]
        if small:
            largest = max(small, key=lambda case: case["growth"])
            told = {key: largest[key] for key in KEYS}
            say(f"{told['shape']} {told['method']} with the allocator's defaults")
            made["allocator_default"] = {**told, "growth": measure(told, Path(scratch), {})["growth"]}
            records.write_json(file, made)
    return made


def main() -> None:
    """Measure every case and write the committed record."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--out", type=Path, default=paths.records() / COMMITTED, help="the record")
    parser.add_argument("--shapes", default="", help="only these shapes, comma-separated")
    parser.add_argument("--go-on", action="store_true", help="keep the cases that the record has and measure the rest")
    asked = parser.parse_args()
    names = [name for name in asked.shapes.split(",") if name]
    unknown = [name for name in names if name != MINIATURE and name not in SHAPES]
    if unknown:
        parser.error(f"unknown shape {unknown[0]!r}; known: {MINIATURE}, {', '.join(SHAPES)}")
    kept = records.read_json(asked.out)["cases"] if asked.go_on and asked.out.is_file() else ()
    record([case for case in cases() if not names or case["shape"] in names], asked.out, kept)


if __name__ == "__main__":
    main()
