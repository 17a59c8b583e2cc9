"""A GGUF file of a Qwen2 of random weights, with the tokenizer of ``tiny_base``, made on the spot."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import tiny_base

LAYERS, WIDTH, HEADS, KV_HEADS, INNER, CONTEXT = 2, 64, 4, 2, 96, 2048
CHAT = "{% for message in messages %}<s>{{ message['content'] }}{% endfor %}"


def write(file: Path, tied: bool = False, codes: str = "Q8_0") -> dict[str, np.ndarray]:
    """Write the file and return its matrices as they were before they were put into codes."""
    import gguf

    words = json.loads(tiny_base.tokenizer().backend_tokenizer.to_str())["model"]
    # Whoever reads a Qwen2's tokenizer adds the last of these tokens if it is not there.
    vocabulary = [*sorted(words["vocab"], key=words["vocab"].get), "<|endoftext|>"]
    writer = gguf.GGUFWriter(str(file), "qwen2")
    writer.add_name("Tiny Qwen2")
    writer.add_context_length(CONTEXT)
    writer.add_embedding_length(WIDTH)
    writer.add_block_count(LAYERS)
    writer.add_feed_forward_length(INNER)
    writer.add_head_count(HEADS)
    writer.add_head_count_kv(KV_HEADS)
    writer.add_rope_freq_base(1e6)
    writer.add_layer_norm_rms_eps(1e-6)
    writer.add_tokenizer_model("gpt2")
    writer.add_tokenizer_pre("qwen2")
    writer.add_token_list(vocabulary)
    writer.add_token_types([3 if word.startswith("<") and word.endswith(">") else 1 for word in vocabulary])
    writer.add_token_merges([" ".join(pair) if isinstance(pair, list) else pair for pair in words["merges"]])
    for name, word in (("bos", "<s>"), ("eos", "</s>"), ("pad", "<pad>")):
        getattr(writer, f"add_{name}_token_id")(words["vocab"][word])
    writer.add_chat_template(CHAT)
    made: dict[str, np.ndarray] = {}
    code = gguf.GGMLQuantizationType[codes]
    for name, shape in _shapes(len(vocabulary), tied).items():
        values = _values(name, shape)
        made[name] = values
        if len(shape) == 2:
            packed = gguf.quants.quantize(values, code)
            writer.add_tensor(name, packed, raw_dtype=code)
        else:
            writer.add_tensor(name, values)
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()
    return made


def _values(name: str, shape: tuple[int, ...]) -> np.ndarray:
    generator = np.random.default_rng(len(name) * 1000 + sum(map(ord, name)))
    values = generator.normal(scale=0.1, size=shape).astype(np.float32)
    return values + 1 if "norm" in name else values


def _shapes(words: int, tied: bool) -> dict[str, Any]:
    shapes: dict[str, Any] = {"token_embd.weight": (words, WIDTH), "output_norm.weight": (WIDTH,)}
    if not tied:
        shapes["output.weight"] = (words, WIDTH)
    narrow = WIDTH * KV_HEADS // HEADS
    for layer in range(LAYERS):
        for name, out, into in (
            ("attn_q", WIDTH, WIDTH), ("attn_k", narrow, WIDTH), ("attn_v", narrow, WIDTH),
            ("attn_output", WIDTH, WIDTH), ("ffn_gate", INNER, WIDTH), ("ffn_up", INNER, WIDTH),
            ("ffn_down", WIDTH, INNER),
        ):  # fmt: skip
            shapes[f"blk.{layer}.{name}.weight"] = (out, into)
        for name, out in (("attn_q", WIDTH), ("attn_k", narrow), ("attn_v", narrow)):
            shapes[f"blk.{layer}.{name}.bias"] = (out,)
        for name in ("attn_norm", "ffn_norm"):
            shapes[f"blk.{layer}.{name}.weight"] = (WIDTH,)
    return shapes
