"""Licences: of the sources as Table 1 lists them, of base models, and what each asks of who passes things on."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from fnmatch import fnmatch

from mammoth_utils import scales
from mammoth_utils.vocabulary import MINI

UNSTATED = "not stated"
OURS = "MIT"  # the project's own, under which the miniature's generated text and its base models stand
# licence as it is listed: (the hub's tag, what it asks of who passes rows on, what of a model trained on them)
TERMS: dict[str, tuple[str, str, str]] = {
    "MIT": ("mit", "keep its notice", "no condition"),
    "Apache-2.0": ("apache-2.0", "keep its notice and say what was changed", "no condition"),
    "CC-BY-NC-4.0": ("cc-by-nc-4.0", "name the authors, say what was changed, no commercial use",
                     "no commercial use, where a model counts as adapted material"),
    "CC-BY-4.0": ("cc-by-4.0", "name the authors and say what was changed",
                  "name the authors, where a model counts as adapted material"),
    "ODC-By-1.0": ("odc-by", "name the database that they are from", "no condition"),
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
# Of the public files, by their place below the data folder: what their homes say, the set's own licence first. Where
# it is another than Table 1's, a rebuilt source stands under the file's; Lila's copies carry Lila's licence besides.
FILES: dict[str, tuple[str, ...]] = {
    "eval/gsm8k.jsonl": ("MIT",), "eval/aqua.jsonl": ("Apache-2.0",), "eval/numglue.jsonl": ("ODC-By-1.0",),
    "eval/svamp.jsonl": ("MIT",), "eval/deepmind.jsonl": ("Apache-2.0",), "eval/simuleq.jsonl": (UNSTATED,),
    "eval/sat.jsonl": ("MIT",), "eval/mmlu_mathematics.jsonl": ("MIT",), "eval/theoremqa.jsonl": ("MIT",),
    "eval/math.jsonl": ("MIT",), "train/gsm8k_train.jsonl*": ("MIT",), "train/aqua_*": ("Apache-2.0",),
    "train/lila_mathqa_*": ("Apache-2.0", "CC-BY-4.0"), "train/lila_numglue_*": ("ODC-By-1.0", "CC-BY-4.0"),
    "train/numglue_pot_from_htl.jsonl*": ("ODC-By-1.0", "CC-BY-4.0"),
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
    return SOURCES.get(name.removeprefix(MINI), UNSTATED)


def of_file(name: str) -> tuple[str, ...]:
    """The licences of a file of the data folder; none where its home is not known here."""
    return next((found for pattern, found in FILES.items() if fnmatch(name, pattern)), ())


def of_read(name: str, files: Iterable[str] = ()) -> tuple[str, ...]:
    """The licences of a source as it was read: its files', or, of files that are not known, Table 1's."""
    found = dict.fromkeys(licence for file in files for licence in of_file(file))
    return tuple(found) or (of_source(name),)


def of_rows(sources: Mapping[str, int], files: Mapping[str, Iterable[str]] | None = None) -> dict[str, int]:
    """Rows under each licence, the most frequent first; a row under two licences counts for each.

    Args:
        sources: Rows of each source.
        files: The files that each source was read from, where it was rebuilt.
    """
    found: dict[str, int] = {}
    for name, count in sources.items():
        for licence in of_read(name, (files or {}).get(name, ())):
            found[licence] = found.get(licence, 0) + count
    return dict(sorted(found.items(), key=lambda item: -item[1]))


def of_base(name: str) -> tuple[str, str]:
    """The hub's tag of a base model's licence and what it asks; unknown for a base that no scale has.

    An owner's other models may stand under other terms, so that the whole name decides. A copy has the original's.
    """
    for one in scales.SCALES.values():
        if not one.miniature and name in (one.base, *one.copies):
            return FAMILIES[one.family]
    return "unknown", "not known here: look at the base's own page"
