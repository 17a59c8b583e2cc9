"""GGUF files as base models: dequantised once into a folder of 16-bit safetensors, which everything else reads.

transformers reads the file and gives back the numbers of its 2- to 8-bit codes, which are what llama.cpp computes with.
The folder is kept below ``runs/bases`` under the file's name and hash.
"""

from __future__ import annotations

import contextlib
import functools
import os
import shutil
import tempfile
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path

from mammoth_utils import paths, records
from mammoth_utils.base_models.errors import BaseModelError
from mammoth_utils.records import Record
from mammoth_utils.silence_libraries import import_transformers

ENDING = ".gguf"
ORIGIN = "gguf.json"  # in the folder: which file it was made from
SHARD = "2GB"


def is_gguf(model: str | Path) -> bool:
    """Return whether a model's name is that of a GGUF file."""
    return str(model).lower().endswith(ENDING)


def find_gguf(name: str | Path) -> Path:
    """Return a GGUF file that is named from here or from the project, or raise FileNotFoundError."""
    given = Path(name).expanduser()
    file = next((place for place in (given, paths.root() / given) if place.is_file()), None)
    if file is None:
        raise FileNotFoundError(f"expected a GGUF file, there is none at {given}")
    return file.resolve()


def gguf_hash(file: Path) -> str:
    """Return the SHA-256 of a file, read once while it stays as it is: a run asks for its base many times."""
    state = file.stat()
    return _hash_of(file, state.st_size, state.st_mtime_ns)


@functools.cache
def _hash_of(file: Path, size: int, changed_ns: int) -> str:
    return records.sha256(file)


def dequantised_folder(file: str | Path, say: Callable[[str], None] = print) -> Path:
    """Return the folder with a GGUF file's weights, made if it is not there: one that was cut off is made again.

    Embedding and head are tied where the file holds no head. Numbers are float16, which keeps three more bits than
    bfloat16; a file with a number beyond its range is stored as bfloat16.

    Args:
        file: The file.
        say: Called with a line before it is made.

    Raises:
        FileNotFoundError: If there is no such file.
        BaseModelError: If the package ``gguf`` is missing, or transformers does not read the file.
    """
    file = find_gguf(file)
    sha256 = gguf_hash(file)
    folder = paths.runs() / "bases" / f"{file.stem}-{sha256[:16]}"
    if (folder / ORIGIN).is_file():
        return folder
    say(f"{file.name} is dequantised into {paths.public_name(folder)}, once")
    folder.parent.mkdir(parents=True, exist_ok=True)
    about = describe_gguf(file)  # a missing package or a damaged file is named before anything is loaded
    made = Path(tempfile.mkdtemp(dir=folder.parent, prefix=".making-"))
    try:
        _dequantise(file, made)
        records.write_json(made / ORIGIN, {"file": file.name, "sha256": sha256, **about})
        made.chmod(0o755)
        os.replace(made, folder)
    except OSError:
        if not (folder / ORIGIN).is_file():  # unless another process made it meanwhile
            raise
    finally:
        shutil.rmtree(made, ignore_errors=True)
    return folder


def describe_gguf(file: str | Path) -> Record:
    """Return what a GGUF file says of itself: its model's name and licence, and the number of tensors by code.

    Raises:
        BaseModelError: If the package ``gguf`` is missing, or the file is none.
    """
    try:
        from gguf import GGUFReader
    except ImportError as error:
        raise BaseModelError(f"{file} needs the package gguf: pip install gguf") from error
    try:
        reader = GGUFReader(str(file))
    except (ValueError, IndexError, OSError) as error:
        raise BaseModelError(f"{file} is no GGUF file, or was cut: {error}; fetch it again") from error
    fields = {key: reader.fields[f"general.{key}"].contents() for key in ("name", "architecture", "license")
              if f"general.{key}" in reader.fields}  # fmt: skip
    codes = Counter(tensor.tensor_type.name for tensor in reader.tensors)
    return {**fields, "tensors": dict(codes.most_common())}


def gguf_origin(folder: Path) -> dict[str, str | None]:
    """Return which GGUF file a folder was made from, as a record keeps it; empty for any other folder."""
    if not (folder / ORIGIN).is_file():
        return {}
    origin = records.read_json(folder / ORIGIN)
    codes = ", ".join(f"{code} {count}" for code, count in origin["tensors"].items())
    return {"sha256": origin["sha256"], "file": origin["file"], "called": origin.get("name"), "tensors": codes}


def _dequantise(file: Path, folder: Path) -> None:
    """Write a file's weights, configuration and tokenizer into a folder."""
    import torch

    transformers = import_transformers()
    place = {"pretrained_model_name_or_path": str(file.parent), "gguf_file": file.name}
    try:
        with _without_progress_bar():
            net = transformers.AutoModelForCausalLM.from_pretrained(**place, dtype=torch.float16)
            if not all(bool(weight.isfinite().all()) for weight in net.parameters()):
                net = transformers.AutoModelForCausalLM.from_pretrained(**place, dtype=torch.bfloat16)
        tokenizer = transformers.AutoTokenizer.from_pretrained(**place)
    except (ImportError, KeyError, ValueError, RuntimeError) as error:
        raise BaseModelError(f"transformers does not read {file}: {type(error).__name__}: {error}") from error
    # What says that the weights are still in the file's codes, for which nothing could be saved.
    net.hf_quantizer = None
    for name in ("quantization_config", "_pre_quantization_dtype"):
        net.config.__dict__.pop(name, None)
    net.save_pretrained(folder, max_shard_size=SHARD)
    tokenizer.save_pretrained(folder)


@contextlib.contextmanager
def _without_progress_bar() -> Iterator[None]:
    """Switch off the progress bar of reading a GGUF file, which asks nobody's settings."""
    from transformers import modeling_gguf_pytorch_utils as reading

    shown = reading.tqdm
    reading.tqdm = lambda iterable, **_: iterable
    try:
        yield
    finally:
        reading.tqdm = shown
