"""Licences: of the sources as Table 1 lists them, of base models, and what each asks of who passes things on."""

from __future__ import annotations

from collections.abc import Mapping

from mammoth_utils import scales

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
# Of the base models of the scales, by family: the licence's tag on the hub, and what it asks of who passes a model on.
FAMILIES: dict[str, tuple[str, str]] = {"llama": _LLAMA2, "coder": _LLAMA2, "qwen": _APACHE, "mistral": _APACHE}


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
    """The hub's tag of a base model's licence and what it asks; unknown for a base that no scale has.

    An owner's other models may stand under other terms, so that the whole name decides. A copy has the original's.
    """
    for one in scales.SCALES.values():
        if not one.miniature and name in (one.base, *one.copies):
            return FAMILIES[one.family]
    return "unknown", "not known here: look at the base's own page"
