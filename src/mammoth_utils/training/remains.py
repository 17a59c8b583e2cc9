"""What a finished run shows on a machine that could not train it, where neither its base nor a card has to be."""

from __future__ import annotations

from typing import Any

from mammoth_utils.training import adapters, bases
from mammoth_utils.training.describe import RunDescription
from mammoth_utils.training.quiet import importing

_TOKENIZER = ("tokenizer.json", "tokenizer.model")


def tokenizer_here(description: RunDescription) -> Any:
    """The base's tokenizer, else the copy of it that the run left beside its weights; None where neither is here."""
    base = bases.folder(description.base_path) or bases.cached(description.base, description.revision)
    if base is not None and any((base / name).is_file() for name in _TOKENIZER):
        return adapters.load_tokenizer(description)
    for place in (description.folder / "model", description.folder / "adapter"):
        if any((place / name).is_file() for name in _TOKENIZER):
            with importing():
                from transformers import AutoTokenizer

            return adapters.prepare_tokenizer(AutoTokenizer.from_pretrained(place))
    return None
