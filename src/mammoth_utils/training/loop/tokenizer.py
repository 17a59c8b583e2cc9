"""The base model's tokenizer, ready for training, also on a machine that has neither the base model nor a GPU."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from mammoth_utils.base_models import find_cached, find_folder
from mammoth_utils.silence_libraries import silent_import
from mammoth_utils.training.description import RunDescription

_FILES = ("tokenizer.json", "tokenizer.model")


def load_tokenizer(description: RunDescription) -> Any:
    """Load the base's tokenizer with a padding token."""
    return _load(description.base_path, revision=description.revision or "main")


def _load(place: str | Path, **options: Any) -> Any:
    with silent_import():
        from transformers import AutoTokenizer

    return prepare_tokenizer(AutoTokenizer.from_pretrained(place, **options))


def prepare_tokenizer(tokenizer: Any) -> Any:
    """Return the tokenizer with a padding token: its own, else the unknown token, else the end of sequence.

    No row is added to the vocabulary as the authors did: labels are set by position, so padding is never learnt.
    """
    if tokenizer.pad_token_id is None:
        tokenizer.pad_token = tokenizer.unk_token or tokenizer.eos_token
    return tokenizer


def find_tokenizer(description: RunDescription) -> Any:
    """Load the base's tokenizer, else the copy that the run saved with its weights; None if neither is here."""
    base = find_folder(description.base_path) or find_cached(description.base, description.revision)
    if base is not None and any((base / name).is_file() for name in _FILES):
        return load_tokenizer(description)
    for folder in (description.folder / "model", description.folder / "adapter"):
        if any((folder / name).is_file() for name in _FILES):
            return _load(folder)
    return None
