"""The tensors of a model on disk, by name and one at a time, whatever the form of its files."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import torch

BYTES = {"F64": 8, "F32": 4, "F16": 2, "BF16": 2}
NOT_LEARNT = "rotary_emb.inv_freq"  # stored by old versions of transformers, computed by new ones


class Stored:
    """The tensors of a model on disk by name, read one at a time: safetensors, or torch's own files, mapped."""

    def __init__(self, folder: Path) -> None:
        self.folder, self._files = Path(folder), {}
        self.shapes: dict[str, tuple[int, ...]] = {}
        self.item_bytes = 0
        names = sorted(self.folder.glob("*.safetensors")) or sorted(self.folder.glob("pytorch_model*.bin"))
        if not names:
            raise FileNotFoundError(f"{folder} holds neither *.safetensors nor pytorch_model*.bin")
        for file in names:
            for name, shape, item in _headers(file):
                if not name.endswith(NOT_LEARNT):
                    self._files[name], self.shapes[name] = file, shape
                    self.item_bytes = max(self.item_bytes, item)

    def tensor(self, name: str) -> torch.Tensor:
        """One tensor; what it maps is let go with it."""
        file = self._files[name]
        if file.suffix == ".safetensors":
            from safetensors import safe_open

            with safe_open(file, "pt") as opened:
                return opened.get_tensor(name)
        import torch

        return torch.load(file, map_location="cpu", mmap=True, weights_only=True)[name]


def _headers(file: Path) -> Iterator[tuple[str, tuple[int, ...], int]]:
    """Name, shape and bytes per weight of a file's tensors, without reading them."""
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
