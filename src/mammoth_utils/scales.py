"""Model scales, families and their recipes, as data."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Recipe:
    """How a scale is fine-tuned, per method.

    Attributes:
        learning_rate: Peak rate of full fine-tuning; the paper's for its own scales.
        adapter_learning_rate: Peak rate for LoRA and QLoRA.
        global_batch: Examples per optimiser step (the paper: 128).
        epochs: Passes over the mixture.
        max_length: Tokens of a packed row.
        warmup: Share of the steps.
        weight_decay: AdamW's.
        lora_rank: Rank of the adapters.
    """

    learning_rate: float
    adapter_learning_rate: float
    global_batch: int
    epochs: int = 3
    max_length: int = 2048
    warmup: float = 0.03
    weight_decay: float = 0.0
    lora_rank: int = 64


@dataclass(frozen=True)
class Scale:
    """One base model: a size of a family.

    Attributes:
        size: ``"7b"`` ...
        family: ``llama``, ``coder``, ``qwen`` or ``mistral``.
        base: Hub name, or the folder below ``models/miniature`` for the miniature.
        parameters: Parameter count, exact where the architecture is public.
        recipe: How it is fine-tuned.
        rope_theta: What the configuration must say, where forgetting it costs points.
        miniature: Whether it ships with the project.
    """

    size: str
    family: str
    base: str
    parameters: int
    recipe: Recipe
    rope_theta: float | None = None
    miniature: bool = False


# The miniature's recipe was chosen on the development split (notes in book/miniature.md): 8 x 160 = 1,280
# tokens a step hold about thirteen examples, one epoch.
_MINI = Recipe(2e-3, 4e-3, global_batch=13, epochs=1, max_length=1280, warmup=0.05, weight_decay=0.01, lora_rank=16)
_MINI_3M = Recipe(
    1.5e-3, 3e-3, global_batch=13, epochs=1, max_length=1280, warmup=0.05, weight_decay=0.01, lora_rank=16
)
_SMALL = Recipe(2e-5, 2e-4, global_batch=128)
_PAPER = Recipe(2e-5, 2e-4, global_batch=128)  # the paper, section 2.3: 7B and 13B
_PAPER_LARGE = Recipe(1e-5, 1e-4, global_batch=128)  # 34B and 70B

_ALL = (
    Scale("1m", "llama", "llama-1m", 0, _MINI, miniature=True),
    Scale("1m", "coder", "coder-1m", 0, _MINI, miniature=True),
    Scale("3m", "llama", "llama-3m", 0, _MINI_3M, miniature=True),
    Scale("0.5b", "qwen", "Qwen/Qwen2.5-0.5B", 494_032_768, _SMALL),
    Scale("1.5b", "qwen", "Qwen/Qwen2.5-1.5B", 1_543_714_304, _SMALL),
    Scale("7b", "llama", "meta-llama/Llama-2-7b-hf", 6_738_415_616, _PAPER),
    Scale("13b", "llama", "meta-llama/Llama-2-13b-hf", 13_015_864_320, _PAPER),
    Scale("70b", "llama", "meta-llama/Llama-2-70b-hf", 68_976_648_192, _PAPER_LARGE),
    Scale("7b", "coder", "codellama/CodeLlama-7b-hf", 6_738_546_688, _PAPER, rope_theta=1e6),
    Scale("13b", "coder", "codellama/CodeLlama-13b-hf", 13_016_028_160, _PAPER, rope_theta=1e6),
    Scale("34b", "coder", "codellama/CodeLlama-34b-hf", 33_743_970_304, _PAPER_LARGE, rope_theta=1e6),
    Scale("7b", "mistral", "mistralai/Mistral-7B-v0.1", 7_241_732_096, _PAPER),
)
SCALES: dict[tuple[str, str], Scale] = {(scale.size, scale.family): scale for scale in _ALL}
SIZES: tuple[str, ...] = tuple(dict.fromkeys(scale.size for scale in _ALL))
FAMILIES: tuple[str, ...] = tuple(dict.fromkeys(scale.family for scale in _ALL))
METHODS = ("auto", "full", "lora", "qlora")
MIXTURES = ("hybrid", "cot", "pot", "G", "G+M", "G+M+C", "G+M+C+A", "existing", "unfiltered")


def scale(size: str, family: str = "auto") -> Scale:
    """The base model of a size and family.

    ``family="auto"`` is ``llama`` where that has the size, else the one family that does.

    Raises:
        ValueError: If the size, the family or their pair is unknown, naming the choices.
    """
    if size not in SIZES:
        raise ValueError(f"unknown scale {size!r}; known: {', '.join(SIZES)}")
    families = [f for s, f in SCALES if s == size]
    if family == "auto":
        return SCALES[size, "llama" if "llama" in families else families[0]]
    if family not in FAMILIES:
        raise ValueError(f"unknown family {family!r}; known: auto, {', '.join(FAMILIES)}")
    if family not in families:
        sizes = [s for s, f in SCALES if f == family]
        raise ValueError(
            f"family {family!r} has no size {size!r}; its sizes: {', '.join(sizes)}; "
            f"families with {size}: {', '.join(families)}"
        )
    return SCALES[size, family]
