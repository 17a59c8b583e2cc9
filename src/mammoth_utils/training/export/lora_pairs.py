"""An adapter's pairs of matrices, and how far a merged matrix is from its base plus their product."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from mammoth_utils import records

if TYPE_CHECKING:
    import torch

PREFIX, SUFFIXES = "base_model.model.", (".lora_A.weight", ".lora_B.weight")
ROWS = 256  # of a matrix, compared at once in fp64


@dataclass(frozen=True)
class Pairs:
    """An adapter's two matrices for each weight that it changes, and the factor on their product."""

    a: dict[str, torch.Tensor]
    b: dict[str, torch.Tensor]
    scale: float

    def product(self, name: str, device: str) -> torch.Tensor:
        """Return what is added to a weight, in fp32."""
        return self.scale * (self.b[name].to(device).float() @ self.a[name].to(device).float())

    def rounding_error(self, name: str, base: torch.Tensor, merged: torch.Tensor) -> float:
        """Return how far a merged matrix is from base + scale · B A in fp64, in roundings; 1 is the most allowed.

        One rounding is half a step of the merged type, with what a sum of rank terms loses in fp32 on the way.

        Args:
            base: The matrix that the adapter was trained on; for QLoRA the dequantised one.
            merged: What was written.
        """
        import torch

        info, worst = torch.finfo(merged.dtype), 0.0
        a, b = self.a[name].double().cpu(), self.scale * self.b[name].double().cpu()
        in_fp32 = (len(a) + 2) * torch.finfo(torch.float32).eps
        for rows in (slice(start, start + ROWS) for start in range(0, len(merged), ROWS)):
            part = base[rows].cpu().double()
            exact = part + b[rows] @ a
            allowed = exact.abs() * (info.eps / 2) + info.smallest_normal * info.eps
            allowed += in_fp32 * (part.abs() + b[rows].abs() @ a.abs())
            off = (merged[rows].cpu().double() - exact).abs() / allowed
            worst = max(worst, off.nan_to_num(nan=float("inf")).max().item())  # max() passes over what is no number
        return worst

    @classmethod
    def read(cls, adapter: Path) -> Pairs:
        """Read the pairs of an adapter folder, by the name of the weight in the base.

        Raises:
            FileNotFoundError: If it is no adapter.
            ValueError: If it holds something that is not merged here, naming it.
        """
        from safetensors.torch import load_file

        if not (adapter / "adapter_config.json").is_file():
            raise FileNotFoundError(
                f"{adapter.parent} holds no adapter/ to merge; full fine-tuning leaves model/ itself"
            )
        config = records.read_json(adapter / "adapter_config.json")
        plain = {"peft_type": "LORA", "use_dora": False, "bias": "none", "fan_in_fan_out": False}
        other = [f"{key}={config.get(key)!r}" for key, value in plain.items() if config.get(key, value) != value]
        other += [f"{key}={config[key]!r}" for key in ("rank_pattern", "alpha_pattern") if config.get(key)]
        sides: tuple[dict, dict] = ({}, {})
        for key, tensor in load_file(adapter / "adapter_model.safetensors").items():
            side = next((n for n, suffix in enumerate(SUFFIXES) if key.endswith(suffix)), None)
            if side is None or not key.startswith(PREFIX):
                other.append(key)
            else:
                sides[side][key.removeprefix(PREFIX).removesuffix(SUFFIXES[side]) + ".weight"] = tensor
        if other or set(sides[0]) != set(sides[1]) or not sides[0]:
            raise ValueError(f"{adapter}: expected pairs of plain LoRA matrices, found {', '.join(other) or 'halves'}")
        root = config["r"] ** 0.5 if config.get("use_rslora") else config["r"]
        return cls(*sides, scale=config["lora_alpha"] / root)
