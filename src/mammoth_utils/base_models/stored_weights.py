"""The tensors of a model on disk, read one at a time, from safetensors or from torch's own files."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

from mammoth_utils.base_models.locations import WEIGHT_FILES

if TYPE_CHECKING:
    import torch

BYTES = {"F64": 8, "F32": 4, "F16": 2, "BF16": 2}
NOT_LEARNT = "rotary_emb.inv_freq"  # stored by old versions of transformers, computed by new ones


class StoredWeights:
    """The tensors of a model's folder by name; each is read when it is asked for."""

    def __init__(self, folder: Path) -> None:
        self.folder, self._files = Path(folder), {}
        self.shapes: dict[str, tuple[int, ...]] = {}
        self.item_bytes = 0
        files = next(filter(None, (sorted(self.folder.glob(pattern)) for pattern in WEIGHT_FILES)), None)
        if files is None:
            raise FileNotFoundError(f"{folder} holds neither {' nor '.join(WEIGHT_FILES)}")
        for file in files:
            for name, shape, item in _headers(file):
                if not name.endswith(NOT_LEARNT):
                    self._files[name], self.shapes[name] = file, shape
                    self.item_bytes = max(self.item_bytes, item)

    def tensor(self, name: str) -> torch.Tensor:
        """Read one tensor; the memory that its file is mapped to is freed with it."""
        file = self._files[name]
        if file.suffix == ".safetensors":
            from safetensors import safe_open

            with safe_open(file, "pt") as opened:
                return opened.get_tensor(name)
        import torch

        return torch.load(file, map_location="cpu", mmap=True, weights_only=True)[name]


def _headers(file: Path) -> Iterator[tuple[str, tuple[int, ...], int]]:
    """Yield name, shape and bytes per weight of a file's tensors without reading them."""
    if file.suffix == ".safetensors":
        from safetensors import safe_open

        with safe_open(file, "pt") as opened:
            for name in opened.keys():  # noqa: SIM118
                part = opened.get_slice(name)
                yield name, tuple(part.get_shape()), BYTES.get(part.get_dtype(), 1)
        return
    import torch

    for name, tensor in torch.load(file, map_location="cpu", mmap=True, weights_only=True).items():
        yield name, tuple(tensor.shape), tensor.element_size()
