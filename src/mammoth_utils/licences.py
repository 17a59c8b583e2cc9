"""Licences: of the sources as Table 1 lists them, of base models, and what each asks of who passes things on."""

from __future__ import annotations

from collections.abc import Mapping

UNSTATED = "not stated"
OURS = "MIT"  # the project's own, under which the miniature's generated text and its base models stand
# licence as it is listed: (the hub's tag, what it asks of who passes rows on, what of a model trained on them)
TERMS: dict[str, tuple[str, str, str]] = {
    "MIT": ("mit", "keep its notice", "no condition"),
    "Apache-2.0": ("apache-2.0", "keep its notice and say what was changed", "no condition"),
    "CC-BY-NC-4.0": ("cc-by-nc-4.0", "name the authors, say what was changed, no commercial use",
                     "no commercial use, where a model counts as adapted material"),
    "none listed": ("unknown", "nobody has given permission", "nobody has given permission"),
    UNSTATED: ("unknown", "nobody has given permission", "nobody has given permission"),
}  # fmt: skip
# Table 1, and the release's fourteenth `source` value, which no table of the paper mentions.
SOURCES: dict[str, str] = {
    "GSM8K (CoT)": "MIT", "GSM8K-RFT (CoT)": "none listed", "AQuA-RAT (CoT)": "Apache-2.0", "MATH (CoT)": "MIT",
    "TheoremQA (CoT)": "MIT", "Camel-Math (CoT)": "CC-BY-NC-4.0", "College-Math (CoT)": "MIT",
    "GSM8K (PoT)": "MIT", "AQuA-RAT (PoT)": "Apache-2.0", "MATH (PoT)": "MIT", "TheoremQA (PoT)": "MIT",
    "MathQA (PoT)": "Apache-2.0", "NumGLUE (PoT)": "Apache-2.0", "number_comparison (CoT)": UNSTATED,
}  # fmt: skip
_LLAMA2 = (
    "llama2",
    "the Llama 2 Community License: its text and its notice go with the model, its use policy binds, and what the "
    "model writes may not improve other language models",
)
_APACHE = ("apache-2.0", "Apache-2.0: keep its notice and say what was changed")
# Owners of base models on the hub: the licence's tag there, and what it asks of who passes a tuned model on.
BASES: dict[str, tuple[str, str]] = {
    "meta-llama/": _LLAMA2, "codellama/": _LLAMA2, "mistralai/": _APACHE, "Qwen/": _APACHE,
}  # fmt: skip


def of_source(name: str) -> str:
    """The licence of a source's original; that of a source outside Table 1 is not stated.

    ``mini-MATH (PoT)`` has the name of ``MATH (PoT)`` and none of its text.
    """
    return SOURCES.get(name.removeprefix("mini-"), UNSTATED)


def of_rows(sources: Mapping[str, int]) -> dict[str, int]:
    """Rows under each licence, the most frequent first, from the rows of each source."""
    found: dict[str, int] = {}
    for name, count in sources.items():
        found[of_source(name)] = found.get(of_source(name), 0) + count
    return dict(sorted(found.items(), key=lambda item: -item[1]))


def of_base(name: str) -> tuple[str, str]:
    """The hub's tag of a base model's licence and what it asks, by the owner of its hub name; unknown for others."""
    return next((terms for owner, terms in BASES.items() if name.startswith(owner)),
                ("unknown", "not known here: look at the base's own page"))  # fmt: skip
