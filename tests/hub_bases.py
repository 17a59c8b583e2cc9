"""Base models of the real scales at small width, in the form and under the file names in which their hub has them.

The architecture is the published one in everything but width and depth: Llama 2's shape with its vocabulary of 32,000,
one key for eight queries at 34b and 70b, Code Llama's rope_theta, weights in 16 bit cut into files with an index, and
a tokenizer that works as SentencePiece's does: ``▁`` for a space, bytes where a piece is missing, no padding token.
"""

from __future__ import annotations

import json
import struct
from pathlib import Path
from typing import Any

import _synthetic_release
import tiny_base

from mammoth_utils.curation.sources import release

VOCABULARY = 32_000
# As published, but for width and depth: layers, heads, keys, rope_theta, positions.
SHAPES: dict[str, tuple[int, int, int, float, int]] = {
    "7b": (2, 4, 4, 1e4, 4096),
    "13b": (3, 4, 4, 1e4, 4096),
    "34b": (2, 8, 1, 1e6, 16384),
    "70b": (4, 8, 1, 1e4, 4096),
}
WIDTH = 64


def vocabulary() -> tuple[dict[str, int], list[tuple[str, str]]]:
    """Pieces of a vocabulary of Llama 2's size, and the merges of those that the tests' texts and releases need."""
    from tokenizers import Tokenizer, models, normalizers, trainers

    specials = ["<unk>", "<s>", "</s>", *(f"<0x{byte:02X}>" for byte in range(256))]
    made = Tokenizer(models.BPE(unk_token="<unk>", byte_fallback=True, fuse_unk=True))
    made.normalizer = normalizers.Sequence([normalizers.Prepend("▁"), normalizers.Replace(" ", "▁")])
    trainer = trainers.BpeTrainer(vocab_size=1500, special_tokens=specials, show_progress=False)
    texts = tiny_base.TEXTS * 20 + [row["instruction"] + " " + row["output"] for row, _ in _synthetic_release.rows(300)]
    made.train_from_iterator([word for text in texts for word in text.split(" ")], trainer)
    held = json.loads(made.to_str())["model"]
    pieces, merges = dict(held["vocab"]), [tuple(pair) for pair in held["merges"]]
    for number in range(VOCABULARY - len(pieces)):  # pieces that no merge makes: rows of the embedding, never used
        pieces[f"▁unused{number}"] = len(pieces)
    return pieces, merges


def write_tokenizer(folder: Path, padding: bool = False) -> None:
    """``tokenizer.json``, ``tokenizer.model`` and their two companions, as the hub has them for Llama 2."""
    pieces, merges = vocabulary()
    special = [
        {"id": number, "content": name, "single_word": False, "lstrip": False, "rstrip": False, "normalized": False,
         "special": True} for number, name in enumerate(("<unk>", "<s>", "</s>"))
    ]  # fmt: skip
    template = {"type": "TemplateProcessing", "single": [{"SpecialToken": {"id": "<s>", "type_id": 0}},
                {"Sequence": {"id": "A", "type_id": 0}}], "pair": [{"Sequence": {"id": "A", "type_id": 0}},
                {"Sequence": {"id": "B", "type_id": 1}}],
                "special_tokens": {"<s>": {"id": "<s>", "ids": [1], "tokens": ["<s>"]}}}  # fmt: skip
    whole = {
        "version": "1.0", "truncation": None, "padding": None, "added_tokens": special,
        "normalizer": {"type": "Sequence", "normalizers": [{"type": "Prepend", "prepend": "▁"},
                       {"type": "Replace", "pattern": {"String": " "}, "content": "▁"}]},
        "pre_tokenizer": None, "post_processor": template,
        "decoder": {"type": "Sequence", "decoders": [
            {"type": "Replace", "pattern": {"String": "▁"}, "content": " "}, {"type": "ByteFallback"},
            {"type": "Fuse"}, {"type": "Strip", "content": " ", "start": 1, "stop": 0}]},
        "model": {"type": "BPE", "dropout": None, "unk_token": "<unk>", "continuing_subword_prefix": None,
                  "end_of_word_suffix": None, "fuse_unk": True, "byte_fallback": True, "vocab": pieces,
                  "merges": [" ".join(pair) for pair in merges]},
    }  # fmt: skip
    names = {"bos_token": "<s>", "eos_token": "</s>", "unk_token": "<unk>"} | (
        {"pad_token": "<unk>"} if padding else {}
    )
    settings = {
        "add_bos_token": True, "add_eos_token": False, "clean_up_tokenization_spaces": False, "legacy": False,
        "model_max_length": 10**30, "sp_model_kwargs": {}, "tokenizer_class": "LlamaTokenizer", **names,
    }  # fmt: skip
    _json(folder / "tokenizer.json", whole)
    _json(folder / "tokenizer_config.json", settings)
    _json(folder / "special_tokens_map.json", names)
    (folder / "tokenizer.model").write_bytes(b"".join(_piece(name, number) for name, number in pieces.items()))


def _piece(name: str, number: int) -> bytes:
    """One piece of a SentencePiece model: field 1 of the file, with its text, score and kind."""
    kind = 2 if number == 0 else 3 if number < 3 else 6 if number < 259 else 1
    text = name.encode()
    inside = b"\x0a" + bytes([len(text)]) + text + b"\x15" + struct.pack("<f", -float(number)) + b"\x18" + bytes([kind])
    return b"\x0a" + bytes([len(inside)]) + inside


def write(folder: Path, size: str, seed: int = 0, width: int = WIDTH) -> Path:
    """A folder with a base model of that size at small width, as a clone of its hub's repository holds it."""
    import torch
    from transformers import LlamaConfig, LlamaForCausalLM

    layers, heads, keys, theta, positions = SHAPES[size]
    config = LlamaConfig(
        vocab_size=VOCABULARY, hidden_size=width, intermediate_size=11 * width // 4, num_hidden_layers=layers,
        num_attention_heads=heads, num_key_value_heads=keys, max_position_embeddings=positions, rms_norm_eps=1e-5,
        bos_token_id=1, eos_token_id=2, tie_word_embeddings=False, rope_theta=theta,
    )  # fmt: skip
    torch.manual_seed(seed)
    model = LlamaForCausalLM(config).to(torch.float16)
    whole = sum(parameter.numel() * 2 for parameter in model.parameters())
    model.save_pretrained(folder, max_shard_size=whole // 3)
    stored = json.loads((folder / "config.json").read_text())
    # As the hub's files have it, which older versions of transformers wrote.
    stored.pop("rope_parameters", None)
    stored |= {"rope_theta": theta, "torch_dtype": "float16", "transformers_version": "4.31.0"}
    stored.pop("dtype", None)
    _json(folder / "config.json", stored)
    write_tokenizer(folder)
    return folder


def files(folder: Path) -> dict[str, bytes]:
    """The folder as a hub's commit, with what a real repository holds besides and nobody needs."""
    held = {file.name: file.read_bytes() for file in sorted(folder.iterdir()) if file.is_file()}
    return held | {"README.md": b"# a base model\n", "pytorch_model.bin.index.json": b"{}", "LICENSE.txt": b"...\n",
                   "pytorch_model-00001-of-00002.bin": b"the same weights once more" * 1000}  # fmt: skip


def small_release(file: Path, rows_a_source: int = 6) -> None:
    """A release of the shortest rows of a synthetic one, some of every source."""
    held: dict[str, list[dict]] = {}
    for row in sorted(
        (row for row, _ in _synthetic_release.rows(3000)), key=lambda row: len(row["instruction"] + row["output"])
    ):
        held.setdefault(row["source"], []).append({key: row[key] for key in release.KEYS})
    file.parent.mkdir(parents=True)
    file.write_text(json.dumps([row for rows in held.values() for row in rows[:rows_a_source]]))


def _json(file: Path, value: Any) -> None:
    file.write_text(json.dumps(value, ensure_ascii=False, indent=2))
