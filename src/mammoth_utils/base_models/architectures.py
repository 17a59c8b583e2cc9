"""Architectures: the numbers that decide a model's size, as published (``architectures.csv``) or from its folder."""

from __future__ import annotations

import math
import re
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from mammoth_utils import paths, records, scales
from mammoth_utils.base_models import gguf_files, locations
from mammoth_utils.base_models.errors import BaseModelError

# What is planned, checked and trained, by `model_type`, with the keys that transformers assumes where a file has none.
MODEL_TYPES: dict[str, dict[str, Any]] = {
    "llama": {},
    "mistral": {"num_key_value_heads": 8, "sliding_window": 4096},
    "qwen2": {"num_key_value_heads": 32, "sliding_window": 4096, "max_window_layers": 28},
    "qwen3": {"num_key_value_heads": 32, "sliding_window": 4096, "max_window_layers": 28, "head_dim": 128},
}
ROPE_TYPES = ("default", "linear", "dynamic", "yarn", "longrope", "llama3")
CODE_LLAMA_VOCABULARY = 32016  # of its 7B and 13B alone
MATRICES = (*(f"self_attn.{part}_proj" for part in "qkvo"), *(f"mlp.{part}_proj" for part in ("gate", "up", "down")))
PROJECTIONS = tuple(name.split(".")[1] for name in MATRICES)  # as PEFT names those that have adapters


@dataclass(frozen=True)
class Architecture:
    """The numbers of a Llama-shaped decoder that decide its memory."""

    hidden: int
    layers: int
    heads: int
    kv_heads: int
    intermediate: int
    vocabulary: int
    head_dim: int = 0
    tied: bool = False
    qkv_bias: bool = False
    output_bias: bool = False
    mlp_bias: bool = False
    qk_norm: bool = False

    @property
    def kv(self) -> int:
        """Return the width of one layer's keys."""
        return self.kv_heads * (self.head_dim or self.hidden // self.heads)

    @property
    def queries(self) -> int:
        """Return the width of one layer's queries."""
        return self.heads * (self.head_dim or self.hidden // self.heads)

    @property
    def matrices(self) -> tuple[tuple[int, int], ...]:
        """Return inputs and outputs of a layer's seven matrices: queries, keys, values, output, gate, up, down."""
        h, q, kv, i = self.hidden, self.queries, self.kv, self.intermediate
        return (h, q), (h, kv), (h, kv), (q, h), (h, i), (h, i), (i, h)

    @property
    def layer_matrices(self) -> int:
        """Count the weights of one layer's seven matrices."""
        return sum(inputs * outputs for inputs, outputs in self.matrices)

    @property
    def linear(self) -> int:
        """Count the weights of all layers' matrices: those that 4 bits quantise and that have adapters."""
        return self.layers * self.layer_matrices

    @property
    def embeddings(self) -> int:
        """Count the weights of the input embedding and the output head, which are one matrix if tied."""
        return self.vocabulary * self.hidden * (1 if self.tied else 2)

    @property
    def layer_tensors(self) -> dict[str, tuple[int, ...]]:
        """Return the shape of each tensor of one layer by its name in a file, without the layer's own prefix."""
        biased = (self.qkv_bias,) * 3 + (self.output_bias,) + (self.mlp_bias,) * 3
        shapes: dict[str, tuple[int, ...]] = {}
        for name, (inputs, outputs), bias in zip(MATRICES, self.matrices, biased, strict=True):
            shapes |= {f"{name}.weight": (outputs, inputs)} | ({f"{name}.bias": (outputs,)} if bias else {})
        if self.qk_norm:
            shapes |= {f"self_attn.{part}_norm.weight": (self.queries // self.heads,) for part in "qk"}
        return shapes | {f"{name}_layernorm.weight": (self.hidden,) for name in ("input", "post_attention")}

    def tensor_shapes(self) -> dict[str, tuple[int, ...]]:
        """Return the shape of every tensor by its name in a file; a tied head is none of them."""
        layer = self.layer_tensors.items()
        shapes = {f"model.layers.{n}.{name}": shape for n in range(self.layers) for name, shape in layer}
        shapes |= {"model.embed_tokens.weight": (self.vocabulary, self.hidden), "model.norm.weight": (self.hidden,)}
        return shapes if self.tied else shapes | {"lm_head.weight": (self.vocabulary, self.hidden)}

    @property
    def parameters(self) -> int:
        """Count all weights."""
        return self.layers * sum(map(math.prod, self.layer_tensors.values())) + self.embeddings + self.hidden

    @property
    def tensors(self) -> int:
        """Count the tensors that hold the weights: matrices, norms, biases, embedding and head."""
        return self.layers * len(self.layer_tensors) + (2 if self.tied else 3)

    def lora_parameters(self, rank: int, targets: str = "") -> int:
        """Count the weights of adapters of that rank on every layer's matrices: all seven, or those that are named."""
        return self.layers * rank * sum(map(sum, adapted(self.matrices, targets)))

    @classmethod
    def from_config(cls, config: dict[str, Any]) -> Architecture:
        """Return the architecture that a ``config.json`` describes.

        Raises:
            ValueError: If it is none of ``MODEL_TYPES``, or lacks a number; the message says which.
        """
        kind = config.get("model_type", "llama")
        if kind not in MODEL_TYPES:
            raise ValueError(
                f"config.json describes a model of type {kind!r}; those that are planned, checked and trained here are "
                f"{', '.join(MODEL_TYPES)}"
            )
        required = ("hidden_size", "num_hidden_layers", "num_attention_heads", "intermediate_size", "vocab_size")
        missing = [key for key in required if not isinstance(config.get(key), int) or config[key] < 1]
        if missing:
            raise ValueError(f"config.json of a Llama-shaped model needs {', '.join(required)}; missing: {missing}")
        config = MODEL_TYPES[kind] | config
        bias = bool(config.get("attention_bias")) and kind in ("llama", "qwen3")
        width = config.get("head_dim") or 0
        return cls(
            hidden=config["hidden_size"],
            layers=config["num_hidden_layers"],
            heads=config["num_attention_heads"],
            kv_heads=config.get("num_key_value_heads") or config["num_attention_heads"],
            intermediate=config["intermediate_size"],
            vocabulary=config["vocab_size"],
            head_dim=0 if width * config["num_attention_heads"] == config["hidden_size"] else width,
            tied=bool(config.get("tie_word_embeddings", False)),
            qkv_bias=kind == "qwen2" or bias,
            output_bias=bias,
            mlp_bias=kind == "llama" and bool(config.get("mlp_bias")),
            qk_norm=kind == "qwen3",
        )


def training_problems(config: dict[str, Any], max_length: int) -> list[str]:
    """List why a model with this ``config.json`` is not trained here in rows of ``max_length`` tokens; empty if it is.

    Attention that looks back over fewer tokens than a document has is another one than this book's, and so are
    positions beyond those that the base has learnt.
    """
    try:
        Architecture.from_config(config)
    except ValueError as error:
        return [str(error)]
    problems = []
    if method := quantisation(config):
        problems.append(f"its weights are quantised ({method}): take the base that they were made from, which -p "
                        "method qlora quantises, or save model.dequantize()")  # fmt: skip
    window = _sliding_window(config)
    if window is not None and window < max_length:
        problems.append(f"its attention sees {window} tokens back (sliding_window), and a document may have max_length "
                        f"{max_length}: -p max_length {window}")  # fmt: skip
    if config.get("attention_dropout"):
        problems.append(f"its attention_dropout is {config['attention_dropout']}, and the packed attention drops "
                        'nothing: put "attention_dropout": 0.0 into its config.json')  # fmt: skip
    if (kind := _rope(config)[1]) not in ROPE_TYPES:
        problems.append(f"its rope_type is {kind!r}; known: {', '.join(ROPE_TYPES)}")
    context = context_tokens(config)
    if context is not None and context < max_length:
        problems.append(f"its context is {context} tokens (max_position_embeddings), and a document may have "
                        f"max_length {max_length}: -p max_length {context}")  # fmt: skip
    return problems


def quantisation(config: dict[str, Any]) -> str:
    """Return by which method a ``config.json`` says that its weights are quantised, or an empty text."""
    settings = config.get("quantization_config")
    return str(settings.get("quant_method") or "quantization_config") if settings else ""


def _sliding_window(config: dict[str, Any]) -> int | None:
    """Return how many tokens back some layer's attention sees, or None for all."""
    config = MODEL_TYPES[config.get("model_type", "llama")] | config
    if config.get("model_type") == "mistral":
        return config["sliding_window"]
    if not config.get("use_sliding_window") or config.get("model_type", "llama") == "llama":
        return None
    some = config["max_window_layers"] < config["num_hidden_layers"]
    some = "sliding_attention" in config["layer_types"] if config.get("layer_types") else some
    return config["sliding_window"] if some else None


def context_tokens(config: dict[str, Any]) -> int | None:
    """Return how many tokens a model has learnt to read, with its rope scaling, or None if its file does not say."""
    scaling, kind = _rope(config)
    context, original = config.get("max_position_embeddings"), scaling.get("original_max_position_embeddings")
    if not context or not original:
        return context
    if kind in ("dynamic", "longrope"):
        return min(context, original)  # beyond it a document's positions turn with the longest one of its row
    return max(context, int(original * scaling.get("factor", 1)))


def _rope(config: dict[str, Any]) -> tuple[dict[str, Any], str]:
    """Return the settings and the type of the rotary embedding, wherever a version of transformers keeps them."""
    settings = config.get("rope_scaling") or config.get("rope_parameters") or {}
    return settings, settings.get("rope_type") or settings.get("type") or "default"


def required_rope_theta(scale: scales.Scale, base: str = "", revision: str = "") -> float | None:
    """Return the rotary base that a run's base model must have, or None where any is right.

    A scale's own base has the scale's. Any other has its own, but for Code Llama, which is known by its name, by its
    vocabulary of 32,016 or by the 34B's shape: 1e6 is missing in some copies' configuration, and costs half the points.
    """
    if not base or base in (scale.base, *scale.copies):
        return scale.rope_theta
    config = locations.read_config(base, revision) or {}
    folder = locations.find_folder(base)
    name = folder.name if folder is not None else base
    try:
        shape = Architecture.from_config(config)
    except ValueError:
        shape = None
    coder = {key: value for key, value in ARCHITECTURES.items() if key[1] == "coder"}
    known = shape is not None and (shape in coder.values() or shape.vocabulary == CODE_LLAMA_VOCABULARY)
    if "codellama" in re.sub(r"[^a-z]", "", name.lower()) or known:
        return scales.scale(next(iter(coder))[0], "coder").rope_theta
    return None


def adapted(values: Sequence[Any], targets: str) -> list[Any]:
    """Return those of seven values, one a matrix, whose matrices ``lora_targets`` names; all seven for no list."""
    names = targets.split(",")
    return [value for name, value in zip(PROJECTIONS, values, strict=True)
            if name in names or names[0] not in PROJECTIONS]  # fmt: skip


def _read_architectures() -> dict[tuple[str, str], Architecture]:
    numbers = dict.fromkeys(("hidden", "layers", "heads", "kv_heads", "intermediate", "vocabulary"), int)
    columns = {"size": str, "family": str, **numbers, "tied": records.flag, "qkv_bias": records.flag, "source": str}
    rows = records.read_facts(Path(__file__).with_suffix(".csv"), columns)
    for row in rows:
        del row["source"]
    return {(row.pop("size"), row.pop("family")): Architecture(**row) for row in rows}


ARCHITECTURES = _read_architectures()  # of each real scale, by size and family


def scale_of(base: str) -> tuple[str, str]:
    """Return size and family of the real scale that a base model on this machine is, or else is nearest to in size.

    Whether embedding and head are tied makes no difference: converters write them apart. Of several scales with one
    shape it is the one whose hub name has most words in common with the file's and the model's name.

    Raises:
        BaseModelError: If there is no ``config.json``.
        ValueError: If the model is none of ``MODEL_TYPES``.
    """
    config = locations.read_config(base)
    if config is None:
        raise BaseModelError(
            f"{base} has no config.json here, so that its scale is not known; give -p size and -p family"
        )
    shape = Architecture.from_config(config)
    called = gguf_files.gguf_origin(locations.find_folder(base) or Path(base)).get("called") or ""
    given = _words(f"{Path(base).name} {called}")

    def distance(key: tuple[str, str]) -> tuple[bool, int, int]:
        known = replace(ARCHITECTURES[key], tied=shape.tied)
        own = _words(scales.scale(*key).base.split("/")[-1])
        return known != shape, abs(known.parameters - shape.parameters), len(own ^ given)

    return min(ARCHITECTURES, key=distance)


def _words(name: str) -> set[str]:
    return set(re.findall(r"[a-z]+|[0-9.]+[mb]?", name.lower()))


def architecture_of(scale: scales.Scale, base: str = "", revision: str = "") -> Architecture:
    """Return the architecture of a scale's base model: from its ``config.json`` on this machine, else as published.

    Folders, ``MAMMOTH_BASES`` and the hub's cache are searched; the network is not.

    Args:
        base: A folder or hub name in place of the scale's.
        revision: Revision of the hub's base; empty takes the one that the scale pins.

    Raises:
        FileNotFoundError: If the miniature's base is missing.
        BaseModelError: If a folder in its place holds no ``config.json``, or none that can be read.
        ValueError: If the model is none of ``MODEL_TYPES``.
    """
    folder = Path(base).expanduser() if base else None
    if scale.miniature and (folder is None or not folder.is_dir()):
        folder = paths.miniature_models() / (base or scale.base)
        if not (folder / "config.json").is_file():
            if base and base != scale.base:
                shipped = sorted(place.parent.name for place in paths.miniature_models().glob("*/config.json"))
                raise FileNotFoundError(
                    f"no base model in a folder {base!r}; known: {', '.join(shipped)}, or a folder with a config.json"
                )
            raise FileNotFoundError(
                f"no base model in {folder}; it is shipped with the project and made again by "
                "`python -m mammoth_utils.miniature.pretraining`, or give `base` a folder of your own"
            )
    name = base or scale.base
    pinned = scale.revision if name == scale.base else ""
    config = locations.read_config(str(folder) if scale.miniature else name, revision or pinned)
    if config is not None:
        return Architecture.from_config(config)
    if scale.miniature:  # its shape is no published one
        raise locations.BaseModelError(locations.explain_folder(folder))
    return ARCHITECTURES[scale.size, scale.family]
