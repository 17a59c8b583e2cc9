"""Architectures: the numbers that decide a model's size, as published (``architectures.csv``) or from its folder."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from mammoth_utils import paths, records, scales
from mammoth_utils.base_models import locations


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
    def norms(self) -> int:
        """Count the weights of all norms and biases."""
        bias = self.layers * (self.queries + 2 * self.kv) if self.qkv_bias else 0
        return (2 * self.layers + 1) * self.hidden + bias

    @property
    def parameters(self) -> int:
        """Count all weights."""
        return self.linear + self.embeddings + self.norms

    @property
    def tensors(self) -> int:
        """Count the tensors that hold the weights: matrices, norms, biases, embedding and head."""
        return self.layers * (9 + (3 if self.qkv_bias else 0)) + 1 + (1 if self.tied else 2)

    def lora_parameters(self, rank: int) -> int:
        """Count the weights of adapters of that rank on all seven matrices of every layer."""
        return self.layers * rank * sum(inputs + outputs for inputs, outputs in self.matrices)

    @classmethod
    def from_config(cls, config: dict[str, Any]) -> Architecture:
        """Return the architecture that a ``config.json`` describes, or raise ValueError with what it lacks."""
        required = ("hidden_size", "num_hidden_layers", "num_attention_heads", "intermediate_size", "vocab_size")
        missing = [key for key in required if not isinstance(config.get(key), int)]
        if missing:
            raise ValueError(f"config.json of a Llama-shaped model needs {', '.join(required)}; missing: {missing}")
        return cls(
            hidden=config["hidden_size"],
            layers=config["num_hidden_layers"],
            heads=config["num_attention_heads"],
            kv_heads=config.get("num_key_value_heads") or config["num_attention_heads"],
            intermediate=config["intermediate_size"],
            vocabulary=config["vocab_size"],
            head_dim=config.get("head_dim") or 0,
            tied=bool(config.get("tie_word_embeddings", False)),
            qkv_bias=config.get("model_type") == "qwen2" or bool(config.get("attention_bias", False)),
        )


def _read_architectures() -> dict[tuple[str, str], Architecture]:
    numbers = dict.fromkeys(("hidden", "layers", "heads", "kv_heads", "intermediate", "vocabulary"), int)
    columns = {"size": str, "family": str, **numbers, "tied": records.flag, "qkv_bias": records.flag, "source": str}
    rows = records.read_facts(Path(__file__).with_suffix(".csv"), columns)
    for row in rows:
        del row["source"]
    return {(row.pop("size"), row.pop("family")): Architecture(**row) for row in rows}


ARCHITECTURES = _read_architectures()  # of each real scale, by size and family


def architecture_of(scale: scales.Scale, base: str = "", revision: str = "") -> Architecture:
    """Return the architecture of a scale's base model: from its ``config.json`` on this machine, else as published.

    Folders, ``MAMMOTH_BASES`` and the hub's cache are searched; the network is not.

    Args:
        base: A folder or hub name in place of the scale's.
        revision: Revision of the hub's base; empty takes the one that the scale pins.

    Raises:
        FileNotFoundError: If the miniature's base is missing.
    """
    folder = Path(base).expanduser() if base else None
    if scale.miniature and (folder is None or not folder.is_dir()):
        folder = paths.miniature_models() / (base or scale.base)
        if not (folder / "config.json").is_file():
            raise FileNotFoundError(
                f"no base model in {folder}; it is shipped with the project and made again by "
                "`python -m mammoth_utils.miniature.pretraining`, or give `base` a folder of your own"
            )
    name = base or scale.base
    pinned = scale.revision if name == scale.base else ""
    config = locations.read_config(str(folder) if scale.miniature else name, revision or pinned)
    if config is not None:
        return Architecture.from_config(config)
    return ARCHITECTURES[scale.size, scale.family]
