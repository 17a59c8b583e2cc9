"""Nets and rationales of speed runs: the miniature's, and random ones, as large as asked, as long as MathInstruct's."""

from __future__ import annotations

import random
from pathlib import Path
from typing import Any

from mammoth_utils import paths, scales
from mammoth_utils.base_models import ARCHITECTURES, Architecture
from mammoth_utils.miniature import sources as world
from mammoth_utils.prompts import POT_TRIGGER
from mammoth_utils.training import Example, encode_rows

# Of one Llama-shaped net for runs without a model at hand: hidden size and layers.
WIDTHS = ((64, 2), (128, 4), (192, 5), (256, 6), (320, 7), (384, 8), (512, 10), (640, 12))
VOCABULARY = 2048


def mathinstruct_like(count: int, vocabulary: int, seed: int = 0) -> list[Example]:
    """Return examples of random tokens as long as MathInstruct's.

    Their mean is 243 tokens, 5/50/95 % of them are below 99/205/511, and none is over 1,120. Between 30 and 60 % of an
    example are its prompt; 28 % are programs.
    """
    draw = random.Random(seed)
    examples = []
    for _ in range(count):
        length = min(1120, 43 + int(draw.lognormvariate(5.0876, 0.645)))  # 43 + 162 exp(0.645 z)
        prompt = int(length * draw.uniform(0.3, 0.6))
        tokens = [draw.randrange(3, vocabulary) for _ in range(length)]
        kind = "pot" if draw.random() < 0.28 else "cot"
        examples.append(Example(tuple(tokens[:prompt]), tuple(tokens[prompt:]), kind))
    return examples


def miniature_rationales(tokenizer: Any, seed: int = 0) -> list[Example]:
    """Encode the true rationales of all sources of the miniature, shuffled by the seed."""
    rows = []
    for name, source in world.SOURCES.items():
        for true in world.truths(name):
            asked = true.problem.instruction + (POT_TRIGGER if source.kind == "pot" else "")
            text = true.pot if source.kind == "pot" else true.cot
            rows.append({"instruction": asked, "output": text, "kind": source.kind, "source": name})
    random.Random(seed).shuffle(rows)
    return encode_rows(rows, tokenizer, 2048)[0]


def shape(parameters: int) -> tuple[int, int]:
    """Return hidden size and layers of the net of ``WIDTHS`` that comes nearest to that many parameters."""
    return min(WIDTHS, key=lambda shape: abs(_config(*shape)[1].parameters - parameters))


def _config(hidden: int, layers: int) -> tuple[Any, Architecture]:
    from transformers import LlamaConfig

    config = LlamaConfig(
        vocab_size=VOCABULARY, hidden_size=hidden, intermediate_size=8 * (hidden // 3 + 1), num_hidden_layers=layers,
        num_attention_heads=hidden // 32, num_key_value_heads=hidden // 32, max_position_embeddings=4096,
        pad_token_id=0, bos_token_id=1, eos_token_id=2,
    )  # fmt: skip
    return config, Architecture.from_config(config.to_dict())


def config_of(size: str, parameters: int) -> tuple[Any, Path | None]:
    """Return the net of a table and the folder of its weights, or None: ``random`` is one that is made here."""
    from transformers import AutoConfig, LlamaConfig

    if size == "random":
        return _config(*shape(parameters))[0], None
    scale = scales.scale(size)
    if scale.miniature:
        folder = paths.miniature_models() / scale.base
        return AutoConfig.from_pretrained(folder), folder
    one = ARCHITECTURES[scale.size, scale.family]
    if one.qkv_bias:
        raise ValueError(f"expected a Llama-shaped scale, got {size!r}")
    return LlamaConfig(
        vocab_size=one.vocabulary, hidden_size=one.hidden, intermediate_size=one.intermediate,
        num_hidden_layers=one.layers, num_attention_heads=one.heads, num_key_value_heads=one.kv_heads,
        max_position_embeddings=4096, rms_norm_eps=1e-5, pad_token_id=0, bos_token_id=1, eos_token_id=2,
    ), None  # fmt: skip
