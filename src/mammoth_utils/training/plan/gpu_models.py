"""NVIDIA's cards as data: memory, what they compute in, their peak, and what an hour costs where that was seen."""

from __future__ import annotations

from dataclasses import dataclass

from mammoth_utils.training.plan.memory import GIB

# Dollars an hour on demand, as one provider's list (RunPod, single cards) stood on this day, read on
# https://deploybase.ai/articles/best-gpu-for-llm-training and .../runpod-gpu-pricing, which agree. Providers differ by
# a factor of two and more (https://www.mercatus-ai.com/blog/cloud-gpu-pricing, May 2026: an H100 from 1.99 to 5.00),
# so that `price` of the page, or of `costs.cost`, is the figure to use. A card without a line has no price here.
PRICES_SEEN = "2026-03-21"
PRICES = {
    "RTX 3090": 0.22, "RTX 4090": 0.34, "L4": 0.44, "L40S": 0.79, "A100 80GB": 1.39, "H100": 2.69, "H200": 3.59,
    "B200": 5.98,
}  # fmt: skip


@dataclass(frozen=True)
class Card:
    """A card as its maker describes it.

    Attributes:
        name: As ``gpu`` of the page takes it.
        gb: Memory in 1e9 bytes, by the maker's count. A driver lists a little more or less (an "80 GB" H100 has
            79.6 GiB, which are 85.5 GB); the plan of a machine at hand uses what the driver lists.
        peak_flops: Operations a second in 16 bit with 32-bit sums, without sparsity.
        bf16: Whether it computes in bf16; without, runs use fp16 with loss scaling.
    """

    name: str
    gb: float
    peak_flops: float
    bf16: bool = True

    @property
    def gib(self) -> float:
        """Memory in GiB."""
        return self.gb * 1e9 / GIB

    @property
    def price(self) -> float | None:
        """Dollars an hour on the day of ``PRICES_SEEN``; None where none was seen."""
        return PRICES.get(self.name)


# NVIDIA's data sheets, dense figures (a sheet's starred figure is with sparsity, twice as much): T4, V100 SXM2, A100,
# L4 (242 starred), L40S (733 starred), H100 and H200 SXM (1,979 starred), B200 (4,500 starred). RTX 3090 and 4090: the
# white papers of GA102 and AD102, with 32-bit sums (with 16-bit sums twice as much). A10G: the sheet of that AWS card,
# 70; lists that have 125 name the A10.
_ALL = (
    Card("T4", 16, 65e12, bf16=False),
    Card("V100", 16, 125e12, bf16=False),
    Card("V100 32GB", 32, 125e12, bf16=False),
    Card("RTX 3090", 24, 71e12),
    Card("RTX 4090", 24, 165.2e12),
    Card("A10G", 24, 70e12),
    Card("L4", 24, 121e12),
    Card("L40S", 48, 362e12),
    Card("A100 40GB", 40, 312e12),
    Card("A100 80GB", 80, 312e12),
    Card("H100", 80, 989e12),
    Card("H200", 141, 989e12),
    Card("B200", 180, 2250e12),
)
CARDS: dict[str, Card] = {card.name: card for card in _ALL}
ALIASES = {"A100": "A100 80GB", "3090": "RTX 3090", "4090": "RTX 4090"}


def card(name: str) -> Card:
    """The card of that name.

    Raises:
        ValueError: If it is unknown, naming the choices.
    """
    found = CARDS.get(ALIASES.get(name, name))
    if found is None:
        raise ValueError(f"unknown gpu {name!r}; known: {', '.join([*CARDS, *ALIASES])}")
    return found
