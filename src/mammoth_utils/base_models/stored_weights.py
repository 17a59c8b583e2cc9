"""The tensors of a model on disk: their headers, without torch, and each tensor, one at a time."""

from __future__ import annotations

import collections
import json
import pickle
import zipfile
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from mammoth_utils.base_models.errors import BaseModelError
from mammoth_utils.base_models.locations import WEIGHT_FILES, check_content, loaded_files

if TYPE_CHECKING:
    import torch

BYTES = {"F64": 8, "F32": 4, "F16": 2, "BF16": 2}
NOT_LEARNT = "rotary_emb.inv_freq"  # stored by old versions of transformers, computed by new ones
_STORAGES = {"DoubleStorage": "F64", "FloatStorage": "F32", "HalfStorage": "F16", "BFloat16Storage": "BF16"}


@dataclass(frozen=True)
class Header:
    """One tensor as its file describes it.

    Attributes:
        dtype: ``F32``, ``BF16`` ..., as safetensors names it, or a torch storage's name.
        span: Where its bytes begin and end in a safetensors file; both 0 in torch's own.
    """

    shape: tuple[int, ...]
    dtype: str
    span: tuple[int, int] = (0, 0)


class StoredWeights:
    """The tensors of a model's folder by name; each is read when it is asked for."""

    def __init__(self, folder: Path) -> None:
        self.folder, self._files = Path(folder), {}
        self.shapes: dict[str, tuple[int, ...]] = {}
        self.item_bytes = 0
        # An adapter's folder has none of the names that a model's has.
        others = (sorted(self.folder.glob(pattern)) for pattern in WEIGHT_FILES)
        whole = [file for file in loaded_files(self.folder) if file.is_file()]
        files = next(filter(None, (whole, *others)), None)
        if files is None:
            raise FileNotFoundError(f"{folder} holds neither {' nor '.join(WEIGHT_FILES)}")
        for file in files:
            for name, header in tensor_headers(file).items():
                if not name.endswith(NOT_LEARNT):
                    self._files[name], self.shapes[name] = file, header.shape
                    self.item_bytes = max(self.item_bytes, BYTES.get(header.dtype, 1))

    def tensor(self, name: str) -> torch.Tensor:
        """Read one tensor; the memory that its file is mapped to is freed with it."""
        file = self._files[name]
        if file.suffix == ".safetensors":
            from safetensors import safe_open

            with safe_open(file, "pt") as opened:
                return opened.get_tensor(name)
        import torch

        return torch.load(file, map_location="cpu", mmap=True, weights_only=True)[name]


def tensor_headers(file: Path) -> dict[str, Header]:
    """Return the tensors of a file by name, without reading them and without torch.

    Raises:
        BaseModelError: If the file is empty, cut or no such file; the message names it.
    """
    check_content(file)
    return _safetensors_headers(file) if file.suffix == ".safetensors" else _torch_headers(file)


def _safetensors_headers(file: Path) -> dict[str, Header]:
    """Read the header of a safetensors file: 8 bytes with its length, then JSON with offsets behind it."""
    size = file.stat().st_size
    with open(file, "rb") as opened:
        begin = 8 + int.from_bytes(opened.read(8), "little")
        text = opened.read(begin - 8) if begin <= size else b""
    try:
        held = json.loads(text)
        held.pop("__metadata__", None)
        headers = {
            name: Header(tuple(one["shape"]), one["dtype"], tuple(begin + at for at in one["data_offsets"]))
            for name, one in held.items()
        }
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise BaseModelError(f"{file} is cut or no safetensors file: its {size:,} bytes do not begin with a whole "
                             "header; fetch it again") from error  # fmt: skip
    end = max((header.span[1] for header in headers.values()), default=begin)
    if end != size:
        raise BaseModelError(f"{file} has {size:,} bytes, its header describes {end:,}: it is cut or damaged; fetch "
                             "it again")  # fmt: skip
    return headers


class _ShapeReader(pickle.Unpickler):
    """Read names, shapes and types of a torch file; nothing that the file names is imported or called."""

    def find_class(self, module: str, name: str) -> Any:
        if name in ("_rebuild_tensor_v2", "_rebuild_parameter"):
            return lambda first, *rest: Header(tuple(rest[1]), first) if isinstance(first, str) else first
        return collections.OrderedDict if name == "OrderedDict" else type(name, (), {"__init__": lambda self, *a: None})

    def persistent_load(self, pid: Any) -> str:
        name = getattr(pid[1], "__name__", str(pid[1]))
        return _STORAGES.get(name, name)


def _torch_headers(file: Path) -> dict[str, Header]:
    """Read the headers of a file that torch saved: a zip archive, or a pickle of versions before 1.6."""
    try:
        with zipfile.ZipFile(file) as archive:
            name = next(name for name in archive.namelist() if name.endswith("data.pkl"))
            with archive.open(name) as opened:
                held = _ShapeReader(opened).load()
    except (zipfile.BadZipFile, StopIteration, pickle.UnpicklingError, EOFError) as error:
        raise BaseModelError(f"{file} is cut, or no file that torch saves since 1.6; fetch it again, or save the model "
                             "as safetensors") from error  # fmt: skip
    return {name: header for name, header in held.items() if isinstance(header, Header)}
