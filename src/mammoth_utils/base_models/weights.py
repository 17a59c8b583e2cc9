"""The weights that decode: which files of a model's folder hold them, and one hash over them."""

from __future__ import annotations

from pathlib import Path

from mammoth_utils import paths, records
from mammoth_utils.base_models import locations
from mammoth_utils.base_models.gguf_files import dequantised_folder, find_gguf, gguf_hash, is_gguf

PATTERNS = ("*.safetensors", "*.bin", "*.gguf")


def weight_files(folder: str | Path) -> list[Path]:
    """Return the weight files of a folder, by name."""
    return sorted(file for pattern in PATTERNS for file in Path(folder).glob(pattern))


def require_weights(folder: str | Path) -> Path:
    """Return the folder, or raise FileNotFoundError if it is not there or holds no weights."""
    if not weight_files(folder):
        raise FileNotFoundError(f"expected weights ({', '.join(PATTERNS)}) in {folder}, found none")
    return Path(folder)


def find_model(name: str | Path) -> str:
    """Return a model's folder (here, in the project, shipped, or below ``MAMMOTH_BASES``), else its hub name.

    Of a GGUF file it is the folder of its dequantised weights, which is made the first time.

    Raises:
        FileNotFoundError: If the name looks like a path and nothing is there, or the folder holds no weights.
    """
    name = str(name)
    if is_gguf(name):
        return str(dequantised_folder(name))
    given = Path(name).expanduser()
    here = () if given.is_absolute() else (paths.root() / name, paths.miniature_models() / name)
    folder = next((place for place in (given, *here) if place.is_dir()), None) or paths.base_folder(name)
    if folder is not None:
        return str(require_weights(folder))
    if name.startswith((".", "/", "~", "runs/", "models/")) or name.count("/") != 1:
        raise FileNotFoundError(
            f"expected a model's folder, a hub name such as meta-llama/Llama-2-7b-hf or an endpoint such as "
            f"http://localhost:8000/v1, got {name!r}, and no such folder is here"
        )
    return name


def weights_hash(model: str | Path, adapter: str | Path | None = None) -> str:
    """Return one SHA-256 over the weights of a model and an adapter; the commit stands for a snapshot of the hub's.

    Of a GGUF file it is the file's own, so that it is not read into a folder for it.
    """
    place = Path(find_gguf(model) if is_gguf(model) else find_model(model))
    if place.is_file():
        parts = [("", gguf_hash(place))]
    elif place.parent.name == "snapshots":  # the hub's cache, which names a folder by its commit
        parts = [(place.parent.parent.name, place.name)]
    elif place.is_dir():
        parts = [(file.name, records.sha256(file)) for file in weight_files(place)]
    else:
        snapshot = locations.find_cached(str(place))
        parts = [(str(place), snapshot.name if snapshot else "not in the cache")]
    if adapter is not None:
        parts += [("adapter/" + file.name, records.sha256(file)) for file in weight_files(require_weights(adapter))]
    one_file = len(parts) == 1 and (place / parts[0][0]).is_file()
    return parts[0][1] if one_file else records.fingerprint(parts)
