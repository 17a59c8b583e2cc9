"""Model scales, families and their recipes as data, each value with its origin."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

ADAPTERS = ("lora", "qlora")


@dataclass(frozen=True)
class Recipe:
    """How a scale is fine-tuned; :func:`recipe_table` gives the origin of each value.

    Attributes:
        learning_rate: Peak rate of full fine-tuning.
        adapter_learning_rate: Peak rate for LoRA and QLoRA.
        global_batch: Examples per optimiser step of full fine-tuning.
        adapter_batch: Examples per optimiser step for LoRA and QLoRA.
        epochs: Passes over the mixture.
        max_length: Tokens of a packed row.
        warmup: Share of the steps.
        origin: ``paper``, ``script`` (the authors' released one), ``ours`` or ``miniature``.
    """

    learning_rate: float
    adapter_learning_rate: float
    global_batch: int
    adapter_batch: int = 32
    epochs: int = 3
    max_length: int = 2048
    warmup: float = 0.03
    weight_decay: float = 0.0
    lora_rank: int = 64
    lora_alpha: float = 128.0
    lora_dropout: float = 0.05
    origin: str = "paper"

    def rate(self, method: str) -> float:
        """Return the peak learning rate of ``full``, ``lora`` or ``qlora``."""
        return self.adapter_learning_rate if method in ADAPTERS else self.learning_rate

    def batch(self, method: str) -> int:
        """Return the examples per optimiser step of ``full``, ``lora`` or ``qlora``."""
        return self.adapter_batch if method in ADAPTERS else self.global_batch


@dataclass(frozen=True)
class Scale:
    """One base model: a size of a family.

    Attributes:
        size: ``"7b"`` ...
        family: ``llama``, ``coder``, ``qwen``, ``qwen-coder``, ``qwen-coder-instruct`` or ``mistral``.
        base: Hub name, or the folder below ``models/miniature`` for the miniature.
        parameters: Parameter count, exact where the architecture is public.
        rope_theta: Value that the configuration must have, where a missing one costs points.
        miniature: Whether it ships with the project.
        revision: The hub's commit, as public code pins it; empty if none was seen: the newest is then resolved at the
            download, and recorded.
        gated: Whether the hub asks for consent first.
        copies: Hub names of ungated copies of the same weights.
    """

    size: str
    family: str
    base: str
    parameters: int
    recipe: Recipe
    rope_theta: float | None = None
    miniature: bool = False
    revision: str = ""
    gated: bool = False
    copies: tuple[str, ...] = ()


@dataclass(frozen=True)
class Released:
    """A checkpoint that the authors released, with the row of their tables that it stands in.

    Attributes:
        hub: Its name on the hub.
        model: The row's model, as ``report.published`` has it.
        size: The row's size, such as ``"7b"``.
        version: The version of the paper that prints the row.
    """

    hub: str
    model: str
    size: str
    version: str = "v3"


RELEASED = {
    "mammoth-7b": Released("TIGER-Lab/MAmmoTH-7B", "MAmmoTH", "7b"),
    "mammoth-13b": Released("TIGER-Lab/MAmmoTH-13B", "MAmmoTH", "13b"),
    "mammoth-70b": Released("TIGER-Lab/MAmmoTH-70B", "MAmmoTH", "70b"),
    "mammoth-coder-7b": Released("TIGER-Lab/MAmmoTH-Coder-7B", "MAmmoTH-Coder", "7b"),
    "mammoth-coder-13b": Released("TIGER-Lab/MAmmoTH-Coder-13B", "MAmmoTH-Coder", "13b"),
    "mammoth-coder-34b": Released("TIGER-Lab/MAmmoTH-Coder-34B", "MAmmoTH-Coder", "34b"),
    "mammoth-7b-mistral": Released("TIGER-Lab/MAmmoTH-7B-Mistral", "MAmmoTH-Mistral", "7b", "github-2023-12"),
}


def released(model: str) -> Released | None:
    """Return the released checkpoint that a short name or a hub name means, or None."""
    return RELEASED.get(model.lower()) or next((one for one in RELEASED.values() if one.hub == model), None)


# The miniature's recipe was chosen on the development split (book/miniature.md): thirteen examples a step, about 1,280
# tokens, one epoch. A row holds the longest such step, so that a step is one pass.
_MINI = Recipe(
    2e-3, 4e-3, 13, 13, 1, max_length=2048, warmup=0.05, weight_decay=0.01, lora_rank=16, lora_alpha=32.0,
    lora_dropout=0.0, origin="miniature",
)  # fmt: skip
_MINI_3M = replace(_MINI, learning_rate=1.5e-3, adapter_learning_rate=3e-3)
_PAPER = Recipe(2e-5, 2e-4, global_batch=128)
_PAPER_LARGE = Recipe(1e-5, 1e-4, global_batch=128)
_SMALL = replace(_PAPER, origin="ours")
# The authors' run_mistral.sh; the paper has no such model.
_MISTRAL = Recipe(5e-6, 5e-5, global_batch=256, adapter_batch=64, epochs=2, origin="script")

# Commits as public code pins them: the three of Llama 2 as a table of the hub's own answers lists them with their
# weights' count (October 2026; the 7B's also in embeddings-benchmark/mteb), the others as code that downloads by them.
_LLAMA_7B, _LLAMA_13B = "01c7f73d771dfac7d292323805ebc428287df4f9", "5c31dfb671ce7cfe2d7bb7c04375e44c55e815b1"
_LLAMA_70B, _CODER_7B = "3aba440b59558f995867ba6e1f58f21d0336b5bb", "6c284d1468fe6c413cf56183e69b194dcfa27fe6"
_QWEN_05B, _QWEN_15B = "060db6499f32faf8b98477b0a26969ef7d8b9987", "8faed761d45a263340a0528343f099c05c9a4323"
_MISTRAL_7B = "27d67f1b5f57dc0953326b2601d68371d40ea8da"


def _llama(size: str, parameters: int, recipe: Recipe, revision: str) -> Scale:
    name = f"Llama-2-{size}-hf"
    return Scale(size, "llama", f"meta-llama/{name}", parameters, recipe, revision=revision, gated=True,
                 copies=(f"NousResearch/{name}",))  # fmt: skip


def _qwen_coder(size: str, parameters: int, instruct: bool) -> Scale:
    family = "qwen-coder-instruct" if instruct else "qwen-coder"
    name = f"Qwen2.5-Coder-{size.upper()}" + ("-Instruct" if instruct else "")
    return Scale(size, family, f"Qwen/{name}", parameters, _SMALL)


def _coder(size: str, parameters: int, recipe: Recipe, revision: str = "") -> Scale:
    base = f"codellama/CodeLlama-{size}-hf"
    return Scale(size, "coder", base, parameters, recipe, rope_theta=1e6, revision=revision)


_ALL = (
    Scale("1m", "llama", "llama-1m", 0, _MINI, miniature=True),
    Scale("1m", "coder", "coder-1m", 0, _MINI, miniature=True),
    Scale("3m", "llama", "llama-3m", 0, _MINI_3M, miniature=True),
    Scale("0.5b", "qwen", "Qwen/Qwen2.5-0.5B", 494_032_768, _SMALL, revision=_QWEN_05B),
    Scale("1.5b", "qwen", "Qwen/Qwen2.5-1.5B", 1_543_714_304, _SMALL, revision=_QWEN_15B),
    _qwen_coder("0.5b", 494_032_768, instruct=False),
    _qwen_coder("1.5b", 1_543_714_304, instruct=False),
    _qwen_coder("0.5b", 494_032_768, instruct=True),
    _qwen_coder("1.5b", 1_543_714_304, instruct=True),
    _llama("7b", 6_738_415_616, _PAPER, _LLAMA_7B),
    _llama("13b", 13_015_864_320, _PAPER, _LLAMA_13B),
    _llama("70b", 68_976_648_192, _PAPER_LARGE, _LLAMA_70B),
    _coder("7b", 6_738_546_688, _PAPER, _CODER_7B),
    _coder("13b", 13_016_028_160, _PAPER),
    _coder("34b", 33_743_970_304, _PAPER_LARGE),
    Scale("7b", "mistral", "mistralai/Mistral-7B-v0.1", 7_241_732_096, _MISTRAL, revision=_MISTRAL_7B),
)
SCALES: dict[tuple[str, str], Scale] = {(scale.size, scale.family): scale for scale in _ALL}
SIZES: tuple[str, ...] = tuple(dict.fromkeys(scale.size for scale in _ALL))
FAMILIES: tuple[str, ...] = tuple(dict.fromkeys(scale.family for scale in _ALL))
METHODS = ("auto", "full", "lora", "qlora")
MIXTURES = ("hybrid", "cot", "pot", "G", "G+M", "G+M+C", "G+M+C+A", "G-cot", "G+M-cot", "existing", "unfiltered")


def scale(size: str, family: str = "auto") -> Scale:
    """Return the scale of a size and family; raise ValueError for unknown ones or an unknown pair, naming the choices.

    ``family="auto"`` is ``llama`` if that has the size, else the first family that does: ``qwen`` for the small ones.
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


def known_copies(base: str) -> tuple[str, ...]:
    """Return the hub names of ungated copies of a base model's weights; none for a base that no scale has."""
    return next((scale.copies for scale in _ALL if scale.base == base), ())


PAPER, SCRIPT, OURS = "the paper's", "the authors' code", "ours"
_SECTION = "section 2.3"
_REGRET = "LoRA Without Regret (Thinking Machines, 2025)"
_MINIATURE = "chosen on the miniature's development split"
# Origin and source of peak rate, batch and epochs, by the recipe's origin.
_STATED = {
    "paper": (PAPER, _SECTION),
    "script": (SCRIPT, "run_mistral.sh; the paper has no such model"),
    "ours": (OURS, "as the paper's 7B and 13B; the paper has no model of this size"),
    "miniature": (OURS, _MINIATURE),
}
# Settings of adapters, which the paper does not use: name, field, reason.
_ADAPTER_ROWS = (
    ("LoRA rank", "lora_rank", "the QLoRA paper's (Dettmers et al., 2023); its weights outnumber the tokens of all "
     "rationales, the rule of thumb in Tinker's LoRA primer"),
    ("LoRA alpha", "lora_alpha", "twice the rank, as in LoRA Learns Less and Forgets Less (Biderman et al., 2024)"),
    ("LoRA dropout", "lora_dropout", "the QLoRA paper's for its larger models"),
)  # fmt: skip


def recipe_table(size: str, family: str = "auto", method: str = "full") -> list[dict[str, Any]]:
    """Return a row per setting of a scale's recipe; raise ValueError for an unknown argument, naming the choices.

    Columns: ``setting``, ``field`` (of a run description), ``value``, ``whose``, ``why`` (the reason or the source).
    The method is ``full``, ``lora`` or ``qlora``.
    """
    if method not in ("full", *ADAPTERS):
        raise ValueError(f"unknown method {method!r}; known: full, {', '.join(ADAPTERS)}")
    chosen = scale(size, family)
    recipe = chosen.recipe
    rows = [*_base_rows(chosen), *_shared_rows(chosen, method), *(_adapter_rows(recipe) if method in ADAPTERS else [])]
    return [dict(zip(("setting", "field", "value", "whose", "why"), row, strict=True)) for row in rows]


def _base_rows(scale: Scale) -> list[tuple[str, str, Any, str, str]]:
    """Return the rows of the base model and its commit."""
    whose = {"paper": (PAPER, "section 2.3"), "script": (SCRIPT, "run_mistral.sh")}.get(scale.recipe.origin)
    base = ("base model", "base", scale.base, *(whose or (OURS, "small enough for a laptop or one small GPU")))
    if scale.miniature:
        return [base]
    pinned = "as public code pins it" if scale.revision else "none was seen pinned: resolved at the download, recorded"
    return [base, ("base revision", "revision", scale.revision, OURS, pinned)]


def _shared_rows(scale: Scale, method: str) -> list[tuple[str, str, Any, str, str]]:
    """Return the rows of settings that every method has."""
    recipe, adapter, small = scale.recipe, method in ADAPTERS, scale.miniature
    stated = _STATED[recipe.origin]
    schedule = stated if small else (PAPER, _SECTION)
    rate, batch = stated, stated
    if adapter and not small:
        rate = (OURS, f"about ten times the full rate, as {_REGRET} finds at every rank")
        why = f"a quarter of the full batch: adapters bear large batches less well at any rank, as {_REGRET} finds"
        batch = (OURS, why)
    decay = (SCRIPT, "the README's commands")
    length = (OURS, "the paper says none; copies of train.py have 512, 1,500 and 2,048, and cut what is longer")
    return [
        ("peak rate", "learning_rate", recipe.rate(method), *rate),
        ("examples a step", "global_batch", recipe.batch(method), *batch),
        ("epochs", "epochs", recipe.epochs, *stated),
        ("schedule", "", "cosine", *schedule),
        ("warm-up, share of the steps", "warmup", recipe.warmup, *schedule),
        ("optimiser", "", "AdamW", SCRIPT, "train.py; the paper names none"),
        ("weight decay", "weight_decay", recipe.weight_decay, *(stated if small else decay)),
        ("tokens of a row", "max_length", recipe.max_length, *(stated if small else length)),
        ("precision", "", "bf16, trained weights in fp32", OURS, "bf16 is the README's; kept in bf16, most updates of "
         "the weights are lost at these rates (measured: 84 % of them stay as they were)"),
    ]  # fmt: skip


def _adapter_rows(recipe: Recipe) -> list[tuple[str, str, Any, str, str]]:
    """Return the rows of settings of adapters; all are ours, since the paper trains none."""
    small = recipe.origin == "miniature"
    rows = [(name, key, getattr(recipe, key), OURS, _MINIATURE if small else why) for name, key, why in _ADAPTER_ROWS]
    why = f"every matrix but embeddings and head: the QLoRA paper and {_REGRET} find fewer to be worse"
    return [*rows, ("LoRA on", "lora_targets", "all-linear", OURS, why)]
