"""Base models on this machine: where a base model's files are and what identifies it.

A base model is named by a folder, by a hub name, or by a hub name that ``MAMMOTH_BASES`` holds as ``owner/name`` or
``owner--name``.
"""

from __future__ import annotations

import hashlib
import re
from pathlib import Path
from typing import Any

from mammoth_utils import paths, records
from mammoth_utils.silence_libraries import silent_import

WEIGHT_FILES = ("*.safetensors", "pytorch_model*.bin")
HUB_NAME = re.compile(r"[\w.-]+/[\w.-]+")
_COMMIT = re.compile(r"[0-9a-f]{40}")


def find_folder(base: str) -> Path | None:
    """Return the folder of a base model, or None: the path itself, else its hub name below ``MAMMOTH_BASES``.

    Raises:
        FileNotFoundError: If ``MAMMOTH_BASES`` names no folder.
    """
    path = Path(base).expanduser()
    if base and path.is_dir():
        return path.resolve()
    return paths.base_folder(base)


def find_cached(name: str, revision: str = "") -> Path | None:
    """Return the snapshot of a hub's model in the cache, or None if the cache lacks its configuration."""
    if not HUB_NAME.fullmatch(name):
        return None
    with silent_import():
        from huggingface_hub import try_to_load_from_cache

    config = try_to_load_from_cache(name, "config.json", revision=revision or None)
    return Path(config).parent if isinstance(config, str) else None


def base_at_revision(base: str, revision: str) -> str:
    """Return the snapshot of a base in the hub's cache at the revision that a run was trained on, else its name.

    By its name alone the hub would give the newest, which may have become another than the one that the run names.
    """
    snapshot = find_cached(base, revision) if revision and find_folder(base) is None else None
    return base if snapshot is None else str(snapshot)


def read_config(base: str, revision: str = "") -> dict[str, Any] | None:
    """Read the ``config.json`` of a base model in a folder or in the hub's cache, else return None; use no network."""
    place = find_folder(base) or find_cached(base, revision)
    if place is None or not (place / "config.json").is_file():
        return None
    return records.read_json(place / "config.json")


def _weights_in(place: Path) -> list[Path]:
    return sorted(file for pattern in WEIGHT_FILES for file in place.glob(pattern))


def missing_files(place: Path) -> list[str]:
    """List what a model's folder lacks: configuration, tokenizer, weights, or files that its index names."""
    missing = []
    if not (place / "config.json").is_file():
        missing.append("config.json")
    if not any((place / name).is_file() for name in ("tokenizer.json", "tokenizer.model")):
        missing.append("tokenizer.json or tokenizer.model")
    for index in ("model.safetensors.index.json", "pytorch_model.bin.index.json"):
        if (place / index).is_file():
            names = set(records.read_json(place / index).get("weight_map", {}).values())
            return missing + sorted(name for name in names if not (place / name).is_file())
    if not _weights_in(place):
        missing.append(" or ".join(WEIGHT_FILES))
    return missing


def identify_base(name: str, revision: str = "", path: str = "") -> dict[str, str | None]:
    """Return what identifies a base model: its commit on the hub, or the hash of its files.

    Weights of more than 1 GB are identified by the first megabyte and the size of each file. Where ``revision`` is no
    commit, the result has None before a download. The arguments are those of ``download.fetch_base``.
    """
    place = find_folder(path or name)
    if place is None:
        snapshot = find_cached(name, revision)
        pinned = revision if _COMMIT.fullmatch(revision) else None
        return {"name": name, "revision": snapshot.name if snapshot else pinned}
    files = _weights_in(place)
    whole = sum(file.stat().st_size for file in files) <= 1e9
    digest = hashlib.sha256()
    for beside in ("config.json", "tokenizer.json", "tokenizer.model"):
        if (place / beside).is_file():
            digest.update(beside.encode() + (place / beside).read_bytes())
    for file in files:
        digest.update(f"{file.name} {file.stat().st_size}".encode())
        if whole:
            digest.update(records.sha256(file).encode())
        else:
            with open(file, "rb") as opened:
                digest.update(opened.read(1 << 20))
    return {"name": name, "sha256" if whole else "sha256 of headers": digest.hexdigest()}
