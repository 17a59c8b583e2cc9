"""Rows that were encoded once, on disk: the processes of a run and its next starts read them instead."""

from __future__ import annotations

import hashlib
import json
import os
from array import array
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

from mammoth_utils import prompts
from mammoth_utils.training.loop.encoding import _IDS, EncodingReport, Example, encode_rows
from mammoth_utils.training.loop.run_folder import lock_folder, rows_hash


def encode_once(
    rows: list[dict[str, Any]], tokenizer: Any, max_length: int, folder: Path, say: Callable[[str], None]
) -> tuple[list[Example], EncodingReport]:
    """Return what ``encode_rows`` does, from the folder if the same rows were encoded there by the same tokenizer.

    Processes that come meanwhile wait for the first one.

    Args:
        folder: Made if it is missing; what it holds of other rows or another tokenizer is replaced.
        say: Called with a line where the rows were read instead of encoded.

    Raises:
        ValueError: As ``encode_rows``.
    """
    import numpy

    key = encoding_key(rows, tokenizer, max_length)
    file = folder / f"encoded-{key[:16]}.npz"
    with lock_folder(folder / "encoded"):
        if file.is_file():
            with numpy.load(file) as held:
                stored = {name: held[name] for name in held.files}
            say(f"{len(rows)} rows were encoded before, by the same tokenizer: read from {file.name}")
            return _read(stored)
        examples, report = encode_rows(rows, tokenizer, max_length)
        for old in folder.glob("encoded-*.npz"):
            old.unlink()
        part = folder / ".encoded.npz"
        numpy.savez(part, **_arrays(examples, report))
        os.replace(part, file)
    return examples, report


def encoding_key(rows: list[dict[str, Any]], tokenizer: Any, max_length: int) -> str:
    """Return a hash of all that decides the token ids of rows: their text, template, tokenizer and longest length."""
    parts = (rows_hash(rows), prompts.ALPACA, tokenizer.backend_tokenizer.to_str(), tokenizer.all_special_tokens,
             tokenizer.eos_token, max_length)  # fmt: skip
    return hashlib.sha256(json.dumps(parts).encode()).hexdigest()


def _arrays(examples: list[Example], report: EncodingReport) -> dict[str, Any]:
    """Return all ids in one array, where prompts and answers end in it, and the rest as text."""
    import numpy

    parts = [part for example in examples for part in (example.prompt, example.answer)]
    ids = numpy.frombuffer(b"".join(array(_IDS, part).tobytes() for part in parts), dtype=numpy.int32)
    text = {
        "kinds": [[example.kind, example.source] for example in examples],
        "report": report.as_dict() | {"named": report.named},
    }
    return {"ids": ids, "lengths": numpy.array([len(part) for part in parts]), "text": numpy.array(json.dumps(text))}


def _read(stored: dict[str, Any]) -> tuple[list[Example], EncodingReport]:
    text, parts, end = json.loads(str(stored["text"])), [], 0
    for length in stored["lengths"].tolist():
        parts.append(array(_IDS, stored["ids"][end : end + length].tobytes()))
        end += length
    pairs = zip(parts[::2], parts[1::2], text["kinds"], strict=True)
    counters = {key: Counter(text["report"][key]) for key in ("kinds", "sources")}
    return [Example(*pair[:2], *pair[2]) for pair in pairs], EncodingReport(**text["report"] | counters)
