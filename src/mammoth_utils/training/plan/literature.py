"""What others published of memory and speed, beside what the planner says of the same runs, and why they differ."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

from mammoth_utils.base_models.architectures import ARCHITECTURES, Architecture
from mammoth_utils.training.plan.cost import flops_per_token
from mammoth_utils.training.plan.fit import fits, needed
from mammoth_utils.training.plan.gpu_models import card
from mammoth_utils.training.plan.memory import GIB, memory

LLAMA_2_7B, LLAMA_2_13B = ARCHITECTURES["7b", "llama"], ARCHITECTURES["13b", "llama"]
LLAMA_2_70B = ARCHITECTURES["70b", "llama"]
# From the configurations that were published with the weights; no scale of this book.
LLAMA_65B = Architecture(8192, 80, 64, 64, 22_016, 32_000)
LLAMA_3_8B = Architecture(4096, 32, 32, 8, 14_336, 128_256)
YI_34B = Architecture(7168, 60, 56, 8, 20_480, 64_000)

QLORA = "Dettmers et al. 2023, arXiv 2305.14314"
ANSWER = "Answer.AI, fsdp_qlora, benchmarks of March 2024"
GALORE = "Zhao et al. 2024, arXiv 2403.03507, introduction"
ZERO = "Rajbhandari et al. 2020, arXiv 1910.02054, section 3.1"
FACTORY = "LLaMA-Factory, README, hardware requirement (its own estimates)"
TUNE = "torchtune, README, memory and training speed, autumn 2024"
HUB = "Hugging Face, Fine-tuning Llama 2 70B using PyTorch FSDP, September 2023"


@dataclass(frozen=True)
class Published:
    """One published figure of memory.

    Attributes:
        run: Model, method and cards.
        source: Where it stands.
        gib: GiB a card as published; None where only "it fits", or "it does not", was published.
        limit: GiB that the card has, where the claim is that the run fits; None otherwise.
        fits: Whether it was said to fit ``limit``.
        why: Why the planner's figure differs.
        architecture: The model's numbers.
        method: ``full``, ``lora`` or ``qlora``.
        tokens: Tokens of a pass.
        gpus: Cards that share it.
        how: Further arguments of :func:`memory`.
        parts: Which parts the figure is of; empty for all.
    """

    run: str
    source: str
    gib: float | None
    limit: float | None
    fits: bool
    why: str
    architecture: Architecture
    method: str
    tokens: int = 2048
    gpus: int = 1
    how: dict[str, Any] = field(default_factory=dict)
    parts: tuple[str, ...] = ()

    @property
    def planned(self) -> float:
        """The planner's GiB a card."""
        parts = memory(self.architecture, self.method, self.tokens, self.gpus, **self.how)
        return sum(value for key, value in parts.items() if not self.parts or key in self.parts) / GIB

    @property
    def agrees(self) -> bool | None:
        """Whether the planner says the same of a claim that the run fits, or not; None where it is no such claim.

        The claim is of a run that was done, if need be to the card's edge, and loaded in its authors' way.
        """
        return None if self.limit is None else (self.planned <= self.limit) == self.fits

    @property
    def here(self) -> bool | None:
        """Whether this book would start the run: loaded in its own way, within ``FIT`` of the card."""
        if self.limit is None:
            return None
        need = needed(self.architecture, self.method, self.tokens, self.gpus, **{"rank": 64, **self.how, **OURS})
        return fits(need, self.limit)


def _gb(value: float) -> float:
    return value * 1e9 / GIB


STATES = ("weights", "gradients", "optimiser")
_16 = {"adapter_bytes": 2, "dropout": 0.0}
# Answer.AI's own loader (`low_memory` of their train.py) quantises a tensor at a time; the first process keeps them in
# the CPU's memory, the others nothing, and each card is handed its share.
THEIRS, OURS = {**_16, "whole_first": False}, {"whole_first": True}
MEMORY = (
    Published("LLaMA 65B, QLoRA, 1 card of 48 GB", f"{QLORA}, Figure 6", _gb(45.0), _gb(48), True,
              "Theirs is reckoned too: weights, adapters, states and gradients of inputs, 512 tokens. Ours adds CUDA's "
              "context and a dequantised matrix, and has no paged optimiser, which they use for the peaks.",
              LLAMA_65B, "qlora", 512, how=_16),
    Published("Llama-2 7B, QLoRA, 2 cards, 2,048 tokens", ANSWER, 5.21, None, True,
              "Theirs is what torch reserved. They score all logits of a pass at once, we in tiles; ours adds CUDA's "
              "context of 1.5 GiB, which torch does not count.",
              LLAMA_2_7B, "qlora", 2048, 2, THEIRS),
    Published("Llama-2 7B, QLoRA, 2 cards, 10 x 2,048 tokens", ANSWER, 20.97, None, True,
              "20,480 positions times 32,000 logits in fp32 are 2.4 GiB, and their softmax and gradients as much again "
              "each; in tiles they are 0.25 GiB in all. Without that the two would agree.",
              LLAMA_2_7B, "qlora", 20_480, 2, THEIRS),
    Published("Llama-2 7B, LoRA, 2 cards, 2,048 tokens", ANSWER, 9.16, None, True,
              "Theirs is what torch allocated (10.22 were reserved), without CUDA's context.",
              LLAMA_2_7B, "lora", 2048, 2, _16),
    Published("Yi 34B, QLoRA, 2 cards of 24 GB, 2 x 2,048 tokens", ANSWER, 23.05, 24.0, True,
              "The card was full: what torch reserves there includes blocks that it keeps. Not so in this book, where "
              "each card holds the whole 4-bit net before it is cut.",
              YI_34B, "qlora", 4096, 2, THEIRS),
    Published("Llama-2 70B, QLoRA, 2 cards of 24 GB, weights on the cards", ANSWER, None, 24.0, False,
              "They needed the CPU's memory for the weights here (14.92 GiB a card at 2 x 2,048 tokens), a way that "
              "this book does not take.",
              LLAMA_2_70B, "qlora", 2048, 2, THEIRS),
    Published("Llama-2 70B, QLoRA, 4 cards of 24 GB", ANSWER, None, 24.0, True,
              "They trained it so on four A5000 without offloading, by a loader of their own that never has the whole "
              "net on a card. The libraries of this book do while they load (34 GiB), so that it plans larger cards.",
              LLAMA_2_70B, "qlora", 2048, 4, THEIRS),
    Published("Llama-2 70B, QLoRA, 2 cards of 40 GB", ANSWER, None, 40.0, True,
              "They trained it so on two A100 without offloading, by the same loader; this book plans larger cards.",
              LLAMA_2_70B, "qlora", 2048, 2, THEIRS),
    Published("Llama-2 70B, full, 16 cards of 80 GB", HUB, None, 80.0, True,
              "It fits by the 80 GiB that an A100 lists, and not by the maker's 80e9 bytes, which this book reckons "
              "with and of which it plans with 95 %: the page plans 32.",
              LLAMA_2_70B, "full", 2048, 16),
    Published("Llama-2 7B, full, weights and states alone", ZERO, _gb(16 * 7), None, True,
              "Sixteen bytes a weight, taken times 7 billion; the model has 6.74 billion.",
              LLAMA_2_7B, "full", parts=STATES),
    Published("LLaMA 7B, full in pure bf16", GALORE, _gb(58), None, True,
              "14 GB of weights, 42 of gradients and states, 2 of activations. Ours adds CUDA's context, and the "
              "gradient of the head, which is made in fp32.",
              LLAMA_2_7B, "full", 2048, how={"master": "bf16"}),
    Published("7B, full with fp32 weights", FACTORY, _gb(120), None, True,
              "Their rule is 18 bytes a weight, which are ours without activations.", LLAMA_2_7B, "full"),
    Published("70B, full with fp32 weights", FACTORY, _gb(1200), None, True,
              "The same rule, rounded down for 70B.", LLAMA_2_70B, "full"),
    Published("7B, LoRA", FACTORY, _gb(16), None, True,
              "Their rule is two bytes a weight and little more; ours has adapters of rank 64 on every matrix with "
              "states in fp32 (2.4 GiB) and CUDA's context.", LLAMA_2_7B, "lora"),
    Published("7B, QLoRA", FACTORY, _gb(6), None, True,
              "As above: the adapters of rank 64 are 2.4 GiB, and the context 1.5.", LLAMA_2_7B, "qlora"),
    Published("70B, QLoRA", FACTORY, _gb(48), None, True,
              "As above; with adapters in bf16, as in QLoRA's paper, ours is 6 GiB less.", LLAMA_2_70B, "qlora"),
    Published("Llama 3.1 8B, LoRA, 1 card of 24 GB, 2 x 2,048 tokens", TUNE, 16.2, 24.0, True,
              "Theirs is what torch allocated, with adapters of low rank in bf16, compiled. Ours adds the context.",
              LLAMA_3_8B, "lora", 4096, how={"rank": 8, **_16}),
    Published("Llama 3.1 8B, QLoRA, 1 card of 24 GB, 2 x 2,048 tokens", TUNE, 7.4, 24.0, True,
              "As above; embedding and head of 128,256 words stay in 16 bit in both.",
              LLAMA_3_8B, "qlora", 4096, how={"rank": 8, **_16}),
)  # fmt: skip


@dataclass(frozen=True)
class Speed:
    """One published run's time: 1,024 rows of 2,048 tokens, with checkpointing.

    Attributes:
        run: Model and method.
        gpu: A name of ``cards.CARDS``.
        gpus: How many.
        seconds: As published.
        architecture: The model's numbers.
        method: ``lora`` or ``qlora``.
    """

    run: str
    gpu: str
    gpus: int
    seconds: float
    architecture: Architecture
    method: str

    @property
    def tokens_per_second(self) -> float:
        """Over all cards."""
        return 1024 * 2048 / self.seconds

    @property
    def efficiency(self) -> float:
        """The share of the cards' peak that it reached, its operations counted as the planner counts them."""
        work = flops_per_token(self.architecture, self.method) * self.tokens_per_second
        return work / (self.gpus * card(self.gpu).peak_flops)


SPEED = (
    Speed("Llama-2 7B, LoRA, whole on each card", "RTX 3090", 2, 881, LLAMA_2_7B, "lora"),
    Speed("Llama-2 7B, QLoRA, whole on each card", "RTX 3090", 2, 875, LLAMA_2_7B, "qlora"),
    Speed("Llama-2 7B, LoRA, whole on each card", "RTX 4090", 2, 437, LLAMA_2_7B, "lora"),
    Speed("Llama-2 7B, QLoRA, sharded", "RTX 4090", 2, 466, LLAMA_2_7B, "qlora"),
    Speed("Yi 34B, QLoRA, weights on the CPU", "RTX 4090", 2, 2061, YI_34B, "qlora"),
    Speed("Llama-2 70B, QLoRA, weights on the CPU", "RTX 4090", 2, 4399, LLAMA_2_70B, "qlora"),
    Speed("Llama-2 70B, QLoRA, sharded", "A100 40GB", 2, 3277, LLAMA_2_70B, "qlora"),
    Speed("Llama-2 70B, QLoRA, sharded", "A100 40GB", 4, 1266, LLAMA_2_70B, "qlora"),
    Speed("Llama-2 70B, QLoRA, sharded", "A100 40GB", 8, 672, LLAMA_2_70B, "qlora"),
    Speed("Llama-2 70B, QLoRA, sharded", "H100", 4, 667, LLAMA_2_70B, "qlora"),
)


def memory_table() -> list[dict[str, Any]]:
    """A row per published figure: theirs, ours, the difference and why."""
    rows = []
    for one in MEMORY:
        claim = "" if one.limit is None else f"{'fits' if one.fits else 'does not fit'} {one.limit:.1f} GiB"
        verdict = "" if one.agrees is None else "agrees" if one.agrees else "disagrees"
        here = "" if one.here is None else "fits" if one.here else "does not fit"
        rows.append({
            "run": one.run, "published, GiB a card": one.gib, "claim": claim, "ours, GiB": one.planned,
            "difference, %": None if one.gib is None else 100 * (one.planned / one.gib - 1), "on the claim": verdict,
            "in this book": here,
            "why": one.why, "source": one.source,
        })  # fmt: skip
    return rows


def speed_table() -> list[dict[str, Any]]:
    """A row per published time: tokens a second and the share of the peak that they are."""
    return [
        {"run": one.run, "cards": f"{one.gpus} x {one.gpu}", "seconds": one.seconds,
         "tokens a second": one.tokens_per_second, "share of the peak, %": 100 * one.efficiency, "source": ANSWER}
        for one in SPEED
    ]  # fmt: skip
