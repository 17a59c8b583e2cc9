"""Check of a base model's folder in seconds, before torch is loaded: files, tensors, tokenizer, and an adapter on it.

What this finds would else train or decode with random weights: transformers fills in what a file lacks, and says so in
a log alone.
"""

from __future__ import annotations

import importlib.util
import re
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import numpy as np

from mammoth_utils.base_models.architectures import MODEL_TYPES, Architecture, quantisation
from mammoth_utils.base_models.errors import BaseModelError
from mammoth_utils.base_models.locations import (
    check_content,
    explain_folder,
    loaded_files,
    missing_files,
    read_json,
)
from mammoth_utils.base_models.stored_weights import BYTES, NOT_LEARNT, Header, tensor_headers

SHOWN = 3  # names that a message gives of each fault
SCANNED_BYTES = 1e9  # of weights that are read for numbers that are not finite; larger ones once they are loaded
EMBEDDING, HEAD = "model.embed_tokens.weight", "lm_head.weight"
_WRAPPERS = re.compile(r"(_orig_mod|_fsdp_wrapped_module|_checkpoint_wrapped_module|module|base_model\.model)\.")
_QUANTISED = (".quant_state", ".qweight", ".absmax", ".weight_scale", ".SCB")
_EXPONENT = {"F64": ("<u8", 0x7FF << 52), "F32": ("<u4", 0x7F8 << 20), "F16": ("<u2", 0x7C00), "BF16": ("<u2", 0x7F80)}
_LORA = re.compile(r"base_model\.model\.(.+)\.lora_([AB])\.weight")


def check_weights(
    folder: str | Path, training: bool = True, finite: bool = False, limit: float = SCANNED_BYTES
) -> None:
    """Raise BaseModelError unless a folder holds a whole model: its files, its tensors and its tokenizer.

    Args:
        training: Whether it is to be trained or merged: it must then be one of ``MODEL_TYPES``, and not quantised.
            Otherwise the tensors of another type are left to ``load_causal_model``.
        finite: Whether weights of up to ``limit`` bytes are also read for numbers that are not finite.
    """
    folder = Path(folder)
    if not (folder / "config.json").is_file():
        raise BaseModelError(explain_folder(folder))
    for file in folder.glob("*.json"):
        check_content(file)
    config = read_json(folder / "config.json")
    if not isinstance(config.get("model_type"), str):
        raise BaseModelError(f"{folder / 'config.json'} names no model_type: it is not a model's; fetch it again")
    if missing := missing_files(folder):
        raise BaseModelError(f"{folder} holds no {', no '.join(missing)}{_lost_shards(missing)}")
    files = {file: tensor_headers(file) for file in loaded_files(folder)}
    stored = {name: header for headers in files.values() for name, header in headers.items()}
    method = quantisation(config) or _quantised_tensors(stored)
    if training and method:
        raise BaseModelError(
            f"{folder} holds quantised weights ({method}), expected 16 or 32 bit: take the base that they were made "
            "from, which -p method qlora quantises, or save model.dequantize()"
        )
    if training or (config.get("model_type") in MODEL_TYPES and not method):
        try:
            architecture = Architecture.from_config(config)
        except ValueError as error:
            raise BaseModelError(f"{folder}: {error}") from error
        _check_tensors(folder, architecture, stored)
    _check_tokenizer(folder, config.get("vocab_size"))
    if finite and sum(file.stat().st_size for file in files) <= limit:
        wrong = [name for file, headers in files.items() for name in _not_finite(file, headers)]
        if wrong:
            raise BaseModelError(not_finite(folder, wrong))


def not_finite(name: str | Path, tensors: list[str]) -> str:
    """Say which tensors of a model hold numbers that are not finite."""
    return f"{name}: {_some(tensors)} hold{'s' * (len(tensors) == 1)} NaN or infinite weights; fetch the model again"


def check_adapter(adapter: str | Path, folder: str | Path) -> None:
    """Raise BaseModelError unless the matrices of a LoRA adapter fit those of a base model's folder."""
    adapter, folder = Path(adapter), Path(folder)
    trained_on = read_json(adapter / "adapter_config.json").get("base_model_name_or_path")
    stored = {name: header.shape for file in loaded_files(folder) for name, header in tensor_headers(file).items()}
    files = [file for kind in ("safetensors", "bin") if (file := adapter / f"adapter_model.{kind}").is_file()]
    changed: dict[str, dict[str, int]] = {}
    for name, header in tensor_headers(files[0]).items() if files else ():
        if match := _LORA.fullmatch(name):
            side, axis = (match[2], 1) if match[2] == "A" else (match[2], 0)
            changed.setdefault(f"{match[1]}.weight", {})[side] = header.shape[axis]
    wrong = [
        f"{name} {shape} here {stored.get(name, 'missing')}"
        for name, sides in changed.items()
        if stored.get(name) != (shape := (sides.get("B"), sides.get("A")))
    ]
    if wrong:
        raise BaseModelError(f"the adapter {adapter} was trained on {trained_on}, which is not {folder}: "
                             f"{_some(wrong)} of {len(changed)} matrices differ; give its own base")  # fmt: skip


def explain_tensors(
    missing: Iterable[str], unexpected: Iterable[str], mismatched: Iterable[str] = (), cause: str = ""
) -> str:
    """Say which tensors a model lacks, has besides or has in another shape; empty if none."""
    faults = {"missing": missing, "not of this model": unexpected, "of another shape": mismatched}
    held = {fault: sorted(names) for fault, names in faults.items()}
    found = "; ".join(f"{len(names)} {fault}: {_some(names)}" for fault, names in held.items() if names)
    return found and f"{found}. {cause}".strip()


def _some(names: list[str]) -> str:
    return ", ".join(names[:SHOWN]) + (f" and {len(names) - SHOWN} more" if len(names) > SHOWN else "")


def _check_tensors(folder: Path, architecture: Architecture, stored: dict[str, Header]) -> None:
    """Raise BaseModelError unless the tensors are those of the configuration, by name and shape."""
    expected = architecture.tensor_shapes()
    shapes = {name: header.shape for name, header in stored.items() if not name.endswith(NOT_LEARNT)}
    if architecture.tied:
        shapes.pop(HEAD, None)  # a copy of the embedding in some files; load_causal_model compares them
    missing, unexpected = expected.keys() - shapes.keys(), shapes.keys() - expected.keys()
    mismatched = [f"{name} {shapes[name]}, by config.json {shape}" for name, shape in expected.items()
                  if name in shapes and shapes[name] != shape]  # fmt: skip
    cause = _cause(missing, unexpected, architecture)
    if mismatched and not missing | unexpected:
        cause = "Configuration and weights are of two models, or rows were added to the vocabulary of one alone"
    if text := explain_tensors(missing, unexpected, mismatched, cause):
        raise BaseModelError(f"the weights in {folder} are not those of its config.json: {text}")


def _cause(missing: set[str], unexpected: set[str], architecture: Architecture) -> str:
    """Return the likely reason for tensors that are missing or not expected, or an empty text."""
    wrapped = {name for name in unexpected if _WRAPPERS.sub("", name) in missing}
    if wrapped:
        words = sorted({match for name in wrapped for match in _WRAPPERS.findall(name)})
        return f"Names with {' and '.join(words)} come from a wrapped model: save the model inside the wrapper"
    if any(".lora_" in name or ".base_layer." in name for name in unexpected):
        return "An adapter's matrices are among them: save merge_and_unload()"
    for prefix in {name.removesuffix(EMBEDDING) for name in unexpected if name.endswith(EMBEDDING)}:
        return f"Every name begins with {prefix!r}: rename the tensors without it"
    if "embed_tokens.weight" in unexpected:
        return "The names lack 'model.': save the model with its head (AutoModelForCausalLM)"
    if missing == {HEAD}:
        return 'The head is not stored; if it is the embedding, put "tie_word_embeddings": true into config.json'
    layers = [{int(match[1]) for name in names if (match := re.match(r"model\.layers\.(\d+)\.", name))}
              for names in (missing, unexpected)]  # fmt: skip
    lost = sorted(n for n in layers[0] if sum(f".{n}." in name for name in missing) == len(architecture.layer_tensors))
    if lost:
        return f"Layers {_some([str(n) for n in lost])} of {architecture.layers} are lost: a shard, or a wrong number"
    if layers[1] and max(layers[1]) >= architecture.layers:
        return f"config.json says num_hidden_layers {architecture.layers}, the files hold {max(layers[1]) + 1}"
    return "Fetch the model again"


def _lost_shards(missing: list[str]) -> str:
    return ", which its index names; fetch the folder again" if any("-of-" in name for name in missing) else ""


def _quantised_tensors(stored: dict[str, Header]) -> str:
    """Return an example of a quantised tensor's name, or an empty text."""
    for name, header in stored.items():
        part = any(mark in name for mark in _QUANTISED)
        if part or (name.endswith("proj.weight") and header.dtype not in BYTES):
            return f"{name} in {header.dtype}"
    return ""


def _check_tokenizer(folder: Path, rows: Any) -> None:
    """Raise BaseModelError unless the tokenizer is of a form that is read here, with a row of the model for each id."""
    file = folder / "tokenizer.json"
    if not file.is_file():
        check_content(folder / "tokenizer.model")
        if importlib.util.find_spec("sentencepiece") is None:
            load = f"import transformers as t; t.AutoTokenizer.from_pretrained('{folder}').save_pretrained('{folder}')"
            raise BaseModelError(
                f"{folder} holds tokenizer.model without tokenizer.json, which is read here. Take the file from the "
                f'model\'s page, or make it: `pip install sentencepiece` and `python -c "{load}"`'
            )
        return
    if not isinstance(rows, int):
        return
    held, settings = read_json(file), folder / "tokenizer_config.json"
    words = (held.get("model") or {}).get("vocab") or {}
    if not words:
        raise BaseModelError(f"{file} holds no vocabulary; fetch it again")
    ids = dict(words) if isinstance(words, dict) else {piece[0]: number for number, piece in enumerate(words)}
    special = read_json(settings) if settings.is_file() else {}
    later = {int(number): token for number, token in (special.get("added_tokens_decoder") or {}).items()}
    added = [(token["id"], token) for token in held.get("added_tokens") or ()] + list(later.items())
    names = [special.get(key) for key in ("bos_token", "eos_token", "unk_token", "pad_token")]
    names = [name.get("content") if isinstance(name, dict) else name for name in names]
    for number, token in added:  # a special token that is none of the four never comes from a text
        if not token.get("special") or token["content"] in names:
            ids[token["content"]] = number
    for name in filter(None, names):  # transformers gives a new one the next number
        ids.setdefault(name, max(ids.values(), default=-1) + 1)
    beyond = sorted((number, token) for token, number in ids.items() if number >= rows)
    if beyond:
        raise BaseModelError(
            f"the tokenizer in {folder} has ids beyond the {rows:,} rows of the embedding: "
            f"{_some([f'{token!r} = {number}' for number, token in beyond])}. Take the model's own tokenizer, or give "
            "the model rows (model.resize_token_embeddings(len(tokenizer)))"
        )


def _not_finite(file: Path, headers: dict[str, Header]) -> list[str]:
    """Return the tensors of a safetensors file with a number whose exponent is all ones: NaN or infinite."""
    if file.suffix != ".safetensors":
        return []
    content, wrong = np.memmap(file, np.uint8, "r"), []
    for name, header in headers.items():
        if header.dtype in _EXPONENT and header.span[1] > header.span[0]:
            kind, mask = _EXPONENT[header.dtype]
            bits = content[slice(*header.span)].view(kind)
            if any(((part & mask) == mask).any() for part in np.array_split(bits, 1 + len(bits) // (1 << 24))):
                wrong.append(name)
    return wrong
