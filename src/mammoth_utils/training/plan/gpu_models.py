"""NVIDIA's GPUs: memory and peak speed (``gpu_models.csv``), and what an hour costs (``gpu_prices.csv``)."""

from __future__ import annotations

import math
from dataclasses import dataclass
from pathlib import Path

from mammoth_utils import records
from mammoth_utils.training.plan.memory import GIB
from mammoth_utils.vocabulary import check_known


@dataclass(frozen=True)
class Price:
    """The price of one GPU.

    Attributes:
        dollars_an_hour: On demand.
        seen: Day on which the price was read.
    """

    dollars_an_hour: float
    seen: str


@dataclass(frozen=True)
class GpuModel:
    """A GPU as its maker describes it.

    Attributes:
        name: As ``gpu`` of the page takes it.
        gb: Memory in 1e9 bytes, by the maker's count. A driver lists a little more or less (an "80 GB" H100 has
            79.6 GiB, which are 85.5 GB); the plan of a machine at hand uses what the driver lists.
        peak_flops: Operations a second in 16 bit with 32-bit sums, without sparsity.
        bf16: Whether it computes in bf16; without, runs use fp16 with loss scaling.
        price: None where no price was seen.
    """

    name: str
    gb: float
    peak_flops: float
    bf16: bool = True
    price: Price | None = None

    @property
    def gib(self) -> float:
        """Return the memory in GiB."""
        return self.gb * 1e9 / GIB


def _positive(text: str) -> float:
    if not (number := float(text)) > 0 or not math.isfinite(number):
        raise ValueError(f"expected a number above 0, got {text}")
    return number


def _read_gpu_models() -> tuple[dict[str, GpuModel], dict[str, str]]:
    folder = Path(__file__).parent
    listed = records.read_facts(
        folder / "gpu_prices.csv", {"gpu": str, "dollars_an_hour": _positive, "seen": str, "source": str}
    )
    prices = {row["gpu"]: Price(row["dollars_an_hour"], row["seen"]) for row in listed}
    columns = {"name": str, "alias": str, "gb": _positive, "peak_tflops": _positive, "bf16": records.flag}
    rows = records.read_facts(folder / "gpu_models.csv", {**columns, "source": str})
    models = {
        row["name"]: GpuModel(row["name"], row["gb"], row["peak_tflops"] * 1e12, row["bf16"], prices.get(row["name"]))
        for row in rows
    }
    if unknown := set(prices) - set(models):
        raise ValueError(f"gpu_prices.csv prices what gpu_models.csv does not list: {sorted(unknown)}")
    return models, {row["alias"]: row["name"] for row in rows if row["alias"]}


GPU_MODELS, ALIASES = _read_gpu_models()
GPU_NAMES = (*GPU_MODELS, *ALIASES)


def gpu_model(name: str) -> GpuModel:
    """Return the GPU of that name or alias, or raise ValueError with the choices."""
    check_known("gpu", name, GPU_NAMES)
    return GPU_MODELS[ALIASES.get(name, name)]
