"""Base models on this machine: where a base model's files are and what identifies it.

A base model is named by a folder, by a hub name, or by a hub name that ``MAMMOTH_BASES`` holds as ``owner/name`` or
``owner--name``.
"""

from __future__ import annotations

import hashlib
import json
import re
from pathlib import Path
from typing import Any

from mammoth_utils import paths, records
from mammoth_utils.base_models.errors import BaseModelError
from mammoth_utils.base_models.gguf_files import dequantised_folder, gguf_origin, is_gguf
from mammoth_utils.silence_libraries import silent_import

WEIGHT_FILES = ("*.safetensors", "pytorch_model*.bin")
HUB_NAME = re.compile(r"[\w.-]+/[\w.-]+")
_COMMIT = re.compile(r"[0-9a-f]{40}")
_LFS = b"version https://git-lfs"
# In the order of transformers, which reads the first of them that is there and nothing else.
_LOADED = ("model.safetensors", "model.safetensors.index.json", "pytorch_model.bin", "pytorch_model.bin.index.json")


def is_adapter(folder: Path) -> bool:
    """Return whether a folder holds a PEFT adapter alone, which needs its base model beside it."""
    return (folder / "adapter_config.json").is_file() and not (folder / "config.json").is_file()


def explain_folder(folder: Path) -> str:
    """Say what a folder without a ``config.json`` is instead of a base model's, and what to give."""
    inside = sorted(place.parent.name for place in folder.glob("*/config.json"))
    if is_adapter(folder):
        base = read_json(folder / "adapter_config.json").get("base_model_name_or_path")
        kind = f"it is an adapter alone, trained on {base}: merge it into that base first"
    elif (folder / "run.json").is_file():
        kind = f"it is a training run; its weights are in {folder / ('model' if 'model' in inside else 'adapter')}"
    elif inside:
        kind = f"there is one in {', '.join(inside)}: name that folder"
    elif any(folder.glob("*.gguf")):
        kind = "it has GGUF files, made for llama.cpp: give the folder that they were made from"
    else:
        kind = "it is no model in Hugging Face's form"
    return f"{folder} holds no config.json; {kind}"


def check_content(file: Path) -> None:
    """Raise BaseModelError if a file is empty or is what Git leaves in place of a large one."""
    with open(file, "rb") as opened:
        head = opened.read(len(_LFS))
    if head == _LFS:
        raise BaseModelError(f"{file} is a Git-LFS pointer in place of the file: run `git lfs pull` in its folder")
    if not head:
        raise BaseModelError(f"{file} is empty; fetch it again")


def read_json(file: Path) -> dict[str, Any]:
    """Read a JSON object of a model's folder, or raise BaseModelError that names the file."""
    check_content(file)
    try:
        value = json.loads(file.read_bytes())
    except ValueError as error:
        raise BaseModelError(f"{file} is no JSON ({error}); fetch it again") from error
    if not isinstance(value, dict):
        raise BaseModelError(f"{file} holds a {type(value).__name__}, expected a JSON object")
    return value


def loaded_files(place: Path) -> list[Path]:
    """Return the weight files of a folder that transformers reads; what else lies there is not the model."""
    name = next((name for name in _LOADED if (place / name).is_file()), None)
    if name is None or not name.endswith(".json"):
        return [place / name] if name else []
    names = read_json(place / name).get("weight_map")
    if not isinstance(names, dict) or not names:
        raise BaseModelError(f"{place / name} names no files: expected a `weight_map`; fetch it again")
    return [place / file for file in sorted(set(names.values()))]


def find_folder(base: str) -> Path | None:
    """Return the folder of a base model, or None: the path itself, else its hub name below ``MAMMOTH_BASES``.

    Of a GGUF file it is the folder of its dequantised weights, which is made the first time.

    Raises:
        FileNotFoundError: If ``MAMMOTH_BASES`` names no folder, or there is no such GGUF file.
        BaseModelError: If a GGUF file cannot be read.
    """
    if is_gguf(base):
        return dequantised_folder(base)
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
    return read_json(place / "config.json")


def _weights_in(place: Path) -> list[Path]:
    return sorted(file for pattern in WEIGHT_FILES for file in place.glob(pattern))


def missing_files(place: Path) -> list[str]:
    """List what a model's folder lacks: configuration, tokenizer, weights, or files that its index names."""
    missing = []
    if not (place / "config.json").is_file():
        missing.append("config.json")
    if not any((place / name).is_file() for name in ("tokenizer.json", "tokenizer.model")):
        missing.append("tokenizer.json or tokenizer.model")
    files = loaded_files(place)
    if not files:
        others = [file.name for file in _weights_in(place) if file.is_file()]
        beside = f" ({', '.join(others[:3])} without its index or under another name)" if others else ""
        missing.append((" or ".join(WEIGHT_FILES) if not others else " or ".join(_LOADED[:2])) + beside)
    return missing + [file.name for file in files if not file.is_file()]


def identify_base(name: str, revision: str = "", path: str = "") -> dict[str, str | None]:
    """Return what identifies a base model: its commit on the hub, the hash of its files, or a GGUF file's own.

    Weights of more than 1 GB are identified by the first megabyte and the size of each file. Where ``revision`` is no
    commit, the result has None before a download. The arguments are those of ``download.fetch_base``.
    """
    place = find_folder(path or name)
    if place is None:
        snapshot = find_cached(name, revision)
        pinned = revision if _COMMIT.fullmatch(revision) else None
        return {"name": name, "revision": snapshot.name if snapshot else pinned}
    if origin := gguf_origin(place):
        return {"name": name, **origin}
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


def require_same_base(known: dict[str, str | None], name: str, revision: str = "", path: str = "") -> None:
    """Raise BaseModelError if a base model is another than the one that a run's ``inputs.base`` identifies.

    A base that is known by a commit there and by a hash here, or the other way round, passes: nothing tells whether
    they differ.
    """
    now = identify_base(name, revision, path)
    for key in ("revision", "sha256", "sha256 of headers"):
        if known.get(key) and now.get(key) and known[key] != now[key]:
            raise BaseModelError(
                f"the base model {path or name} is not the one that the adapter was trained on: its {key} is "
                f"{now[key][:16]}, the run's is {known[key][:16]}. Put the run's base back, or train again on this one"
            )
