"""Architectures: the numbers that a model's weights and memory follow from, published or read from its folder."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from mammoth_utils import paths, scales
from mammoth_utils.base_models import locations


@dataclass(frozen=True)
class Architecture:
    """The numbers of a Llama-shaped decoder that its memory follows from."""

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
        """Width of the keys of one layer."""
        return self.kv_heads * (self.head_dim or self.hidden // self.heads)

    @property
    def queries(self) -> int:
        """Width of the queries of one layer."""
        return self.heads * (self.head_dim or self.hidden // self.heads)

    @property
    def matrices(self) -> tuple[tuple[int, int], ...]:
        """Inputs and outputs of the seven matrices of one layer: queries, keys, values, output, gate, up, down."""
        h, q, kv, i = self.hidden, self.queries, self.kv, self.intermediate
        return (h, q), (h, kv), (h, kv), (q, h), (h, i), (h, i), (i, h)

    @property
    def layer_matrices(self) -> int:
        """Weights of the seven matrices of one layer."""
        return sum(inputs * outputs for inputs, outputs in self.matrices)

    @property
    def linear(self) -> int:
        """Weights of the matrices of all layers: what 4 bits quantise and what adapters stand on."""
        return self.layers * self.layer_matrices

    @property
    def embeddings(self) -> int:
        """Weights of the input embedding and the output head, one matrix where they are tied."""
        return self.vocabulary * self.hidden * (1 if self.tied else 2)

    @property
    def norms(self) -> int:
        """Weights of all norms and biases."""
        bias = self.layers * (self.queries + 2 * self.kv) if self.qkv_bias else 0
        return (2 * self.layers + 1) * self.hidden + bias

    @property
    def parameters(self) -> int:
        """All weights."""
        return self.linear + self.embeddings + self.norms

    @property
    def tensors(self) -> int:
        """Tensors that hold the weights: matrices, norms, biases, embedding and head."""
        return self.layers * (9 + (3 if self.qkv_bias else 0)) + 1 + (1 if self.tied else 2)

    def lora_parameters(self, rank: int) -> int:
        """Weights of adapters of that rank on all seven matrices of every layer."""
        return self.layers * rank * sum(inputs + outputs for inputs, outputs in self.matrices)

    @classmethod
    def from_config(cls, config: dict[str, Any]) -> Architecture:
        """The architecture that a ``config.json`` describes.

        Raises:
            ValueError: If a number is missing, naming it.
        """
        wanted = ("hidden_size", "num_hidden_layers", "num_attention_heads", "intermediate_size", "vocab_size")
        missing = [key for key in wanted if not isinstance(config.get(key), int)]
        if missing:
            raise ValueError(f"config.json of a Llama-shaped model needs {', '.join(wanted)}; missing: {missing}")
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


# From the configurations that were published with the weights.
ARCHITECTURES: dict[tuple[str, str], Architecture] = {
    ("0.5b", "qwen"): Architecture(896, 24, 14, 2, 4864, 151_936, tied=True, qkv_bias=True),
    ("1.5b", "qwen"): Architecture(1536, 28, 12, 2, 8960, 151_936, tied=True, qkv_bias=True),
    ("7b", "llama"): Architecture(4096, 32, 32, 32, 11_008, 32_000),
    ("13b", "llama"): Architecture(5120, 40, 40, 40, 13_824, 32_000),
    ("70b", "llama"): Architecture(8192, 80, 64, 8, 28_672, 32_000),
    ("7b", "coder"): Architecture(4096, 32, 32, 32, 11_008, 32_016),
    ("13b", "coder"): Architecture(5120, 40, 40, 40, 13_824, 32_016),
    ("34b", "coder"): Architecture(8192, 48, 64, 8, 22_016, 32_000),
    ("7b", "mistral"): Architecture(4096, 32, 32, 8, 14_336, 32_000),
}


def architecture_of(scale: scales.Scale, base: str = "", revision: str = "") -> Architecture:
    """The architecture behind a scale: the base's own where it lies here, else the published numbers.

    Args:
        scale: The scale.
        base: A folder or hub name in place of the scale's; a folder below ``MAMMOTH_BASES`` and the hub's cache are
            looked at, the network is not.
        revision: Of the hub's base; empty takes the one that the scale pins.

    Raises:
        FileNotFoundError: If the miniature's base is not there.
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
    stored = locations.config(str(folder) if scale.miniature else name, revision or pinned)
    if stored is not None:
        return Architecture.from_config(stored)
    return ARCHITECTURES[scale.size, scale.family]
