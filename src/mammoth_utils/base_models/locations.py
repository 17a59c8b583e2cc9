"""Base models on this machine: where one lies and what identifies it.

A base is a folder, a hub's name, or a hub's name that ``MAMMOTH_BASES`` holds as ``owner/name`` or ``owner--name``.
"""

from __future__ import annotations

import hashlib
import re
from pathlib import Path
from typing import TYPE_CHECKING, Any

from mammoth_utils import paths, records
from mammoth_utils.silence_libraries import silent_import

if TYPE_CHECKING:
    from mammoth_utils.training.description import RunDescription

WEIGHT_FILES = ("*.safetensors", "pytorch_model*.bin")
NAME = re.compile(r"[\w.-]+/[\w.-]+")
_COMMIT = re.compile(r"[0-9a-f]{40}")


def folder(base: str) -> Path | None:
    """The folder of a base on this machine, or None: the path itself, else its hub name below ``MAMMOTH_BASES``.

    Raises:
        FileNotFoundError: If ``MAMMOTH_BASES`` names no folder.
    """
    path = Path(base).expanduser()
    if base and path.is_dir():
        return path.resolve()
    return paths.base_folder(base)


def cached(name: str, revision: str = "") -> Path | None:
    """The snapshot of a hub's model in the cache on this machine, or None where its configuration is not there."""
    if not NAME.fullmatch(name):
        return None
    with silent_import():
        from huggingface_hub import try_to_load_from_cache

    found = try_to_load_from_cache(name, "config.json", revision=revision or None)
    return Path(found).parent if isinstance(found, str) else None


def base_at_revision(base: str, revision: str) -> str:
    """Return the snapshot of a base in the hub's cache at the revision that a run was trained on, else its name.

    By its name alone the hub would give the newest, which may have become another than the one that the run names.
    """
    snapshot = cached(base, revision) if revision and folder(base) is None else None
    return base if snapshot is None else str(snapshot)


def config(base: str, revision: str = "") -> dict[str, Any] | None:
    """The ``config.json`` of a base that lies here, in a folder or in the hub's cache; None else. Asks no network."""
    place = folder(base) or cached(base, revision)
    if place is None or not (place / "config.json").is_file():
        return None
    return records.read_json(place / "config.json")


def lacking(place: Path) -> list[str]:
    """What a folder lacks of a model: its configuration, its tokenizer, its weights, or files that an index names."""
    found = []
    if not (place / "config.json").is_file():
        found.append("config.json")
    if not any((place / name).is_file() for name in ("tokenizer.json", "tokenizer.model")):
        found.append("tokenizer.json or tokenizer.model")
    for index in ("model.safetensors.index.json", "pytorch_model.bin.index.json"):
        if (place / index).is_file():
            named = set(records.read_json(place / index).get("weight_map", {}).values())
            return found + sorted(name for name in named if not (place / name).is_file())
    if not any(file for pattern in WEIGHT_FILES for file in place.glob(pattern)):
        found.append(" or ".join(WEIGHT_FILES))
    return found


def base_identity(description: RunDescription) -> dict[str, Any]:
    """What identifies the base: its commit on the hub, else the hash of its files (of their headers beyond 1 GB).

    The commit is None where no commit is asked for and nothing was fetched yet.
    """
    place = folder(description.base_path)
    if place is None:
        snapshot = cached(description.base, description.revision)
        pinned = description.revision if _COMMIT.fullmatch(description.revision) else None
        return {"name": description.base, "revision": snapshot.name if snapshot else pinned}
    files = sorted(file for pattern in WEIGHT_FILES for file in place.glob(pattern))
    whole = sum(file.stat().st_size for file in files) <= 1e9
    digest = hashlib.sha256()
    for name in ("config.json", "tokenizer.json", "tokenizer.model"):
        if (place / name).is_file():
            digest.update(name.encode() + (place / name).read_bytes())
    for file in files:
        digest.update(f"{file.name} {file.stat().st_size}".encode())
        if whole:
            digest.update(records.sha256(file).encode())
        else:
            with open(file, "rb") as opened:
                digest.update(opened.read(1 << 20))
    return {"name": description.base, "sha256" if whole else "sha256 of headers": digest.hexdigest()}
