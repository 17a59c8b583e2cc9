"""The planner against measurement: the committed record of measured runs, compared with what the formulas say now.

The record holds measured figures only; ``speed/_measure_memory.py`` makes it again.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from mammoth_utils import paths, records
from mammoth_utils.base_models import Architecture
from mammoth_utils.records import Record
from mammoth_utils.training.plan.memory import BYTES, head_bytes, memory_by_part, saved_activations
from mammoth_utils.vocabulary import check_known

COMMITTED = "real/hardware.json"
MEASURE_COMMAND = "python speed/_measure_memory.py"
EXACT_PARTS = ("weights", "gradients", "optimiser")
SAVED_WITHIN = 0.05
PEAK_WITHIN = 0.15
MINIATURE = "llama-1m"


@dataclass(frozen=True)
class Comparison:
    """A measured run beside the planner.

    Attributes:
        shape: Name of the net.
        parameters: Its weights.
        checkpointing: Whether activations were recomputed.
        compute: ``bf16`` or ``fp32``.
        exact: Whether weights, gradients and optimiser states agree to the byte.
        saved: The planner's bytes that a forward pass saves, over the measured ones, less one.
        planned: The planner's bytes in all.
        measured: Bytes by which the process grew.
        peak: ``planned`` over ``measured``, less one.
    """

    shape: str
    parameters: int
    method: str
    checkpointing: bool
    compute: str
    exact: bool
    saved: float
    planned: float
    measured: int
    peak: float


def _llama(hidden: int, layers: int, heads: int, kv: int, inner: int, words: int, tied: bool, **more: Any) -> Record:
    return {"hidden_size": hidden, "num_hidden_layers": layers, "num_attention_heads": heads,
            "num_key_value_heads": kv, "intermediate_size": inner, "vocab_size": words, "tie_word_embeddings": tied,
            **more}  # fmt: skip


# Depth, width, shared keys, tied embeddings, vocabulary and family all vary; the name says the millions of weights.
MEASURED_SHAPES: dict[str, dict[str, Any]] = {
    "llama-14m": _llama(384, 6, 6, 6, 1024, 4096, False),
    "llama-21m-deep": _llama(256, 24, 4, 2, 768, 8192, True),
    "qwen-37m": _llama(448, 8, 7, 1, 2432, 16_000, True, model_type="qwen2"),
    "llama-61m-wide": _llama(1024, 4, 16, 4, 2816, 8000, False),
    "qwen-90m-words": _llama(512, 8, 8, 2, 1408, 65_536, False, model_type="qwen2"),
    "llama-124m": _llama(768, 14, 12, 12, 2048, 32_000, True),
    "llama-154m": _llama(1024, 12, 16, 8, 2816, 12_000, True),
}


def architecture_of_shape(shape: str) -> Architecture:
    """Return the planner's numbers of a measured shape or of the miniature, or raise ValueError with the choices."""
    if shape == MINIATURE:
        return Architecture.from_config(records.read_json(paths.miniature_models() / MINIATURE / "config.json"))
    check_known("shape", shape, (MINIATURE, *MEASURED_SHAPES))
    return Architecture.from_config(MEASURED_SHAPES[shape])


def predict_memory(case: Record) -> dict[str, float]:
    """Return the planner's bytes of a measured case, by part."""
    return memory_by_part(
        architecture_of_shape(case["shape"]), case["method"], case["tokens"], rank=case["rank"] or 1,
        checkpointing=case["checkpointing"], compute=case["compute"], dropout=case["dropout"], device="cpu",
        labels=case["labels"] / case["tokens"],
    )  # fmt: skip


def predict_saved(case: Record) -> float:
    """Return the planner's bytes that a forward pass saves: all activations or the layers' inputs, and the head's."""
    a, method, tokens = architecture_of_shape(case["shape"]), case["method"], case["tokens"]
    width = BYTES[case["compute"]]
    stream = 4 if method == "full" else width
    by_head, _ = head_bytes(a, method, tokens, width, stream, "cpu", case["labels"] / tokens)
    if not case["checkpointing"]:
        return predict_memory(case)["activations"] + by_head
    _, inputs, outside = saved_activations(a, method, case["rank"], width, stream, case["dropout"] > 0, "cpu")
    rotation = 2 * stream * (a.queries // a.heads)  # saved inside the layers alone, and recomputed with them
    return (a.layers * inputs + outside - rotation) * tokens + by_head


def compare_measurement(case: Record) -> Comparison:
    """Compare a measured case with the planner."""
    parts = predict_memory(case)
    planned = sum(parts.values())
    return Comparison(
        shape=case["shape"],
        parameters=architecture_of_shape(case["shape"]).parameters,
        method=case["method"],
        checkpointing=case["checkpointing"],
        compute=case["compute"],
        exact={key: parts[key] for key in EXACT_PARTS} == case["held"],
        saved=predict_saved(case) / case["saved"] - 1,
        planned=planned,
        measured=case["growth"],
        peak=planned / case["growth"] - 1,
    )


def committed_measurements() -> Record:
    """Return the committed record of measured runs; without one the error names the command that makes it."""
    return records.committed(COMMITTED, MEASURE_COMMAND)


def allocator_excess(record: Record) -> float:
    """Return the share of memory that a run took more with the allocator's defaults, which keep freed blocks."""
    default = record["allocator_default"]
    keys = default.keys() - {"growth"}
    trimmed = next(case for case in record["cases"] if all(case[key] == default[key] for key in keys))
    return default["growth"] / trimmed["growth"] - 1
