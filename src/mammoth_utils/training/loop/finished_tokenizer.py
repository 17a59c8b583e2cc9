"""What a finished run shows on a machine that could not train it, where neither its base nor a card has to be."""

from __future__ import annotations

from typing import Any

from mammoth_utils.base_models import find_cached, find_folder
from mammoth_utils.silence_libraries import silent_import
from mammoth_utils.training.description import RunDescription
from mammoth_utils.training.loop import model

_TOKENIZER = ("tokenizer.json", "tokenizer.model")


def tokenizer_here(description: RunDescription) -> Any:
    """The base's tokenizer, else the copy of it that the run left beside its weights; None where neither is here."""
    base = find_folder(description.base_path) or find_cached(description.base, description.revision)
    if base is not None and any((base / name).is_file() for name in _TOKENIZER):
        return model.load_tokenizer(description)
    for place in (description.folder / "model", description.folder / "adapter"):
        if any((place / name).is_file() for name in _TOKENIZER):
            with silent_import():
                from transformers import AutoTokenizer

            return model.prepare_tokenizer(AutoTokenizer.from_pretrained(place))
    return None
