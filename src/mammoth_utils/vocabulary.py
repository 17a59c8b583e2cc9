"""Words that several packages share: rules, kinds, decodings, verdict marks, and the grammar of run names."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, Literal, get_args

from mammoth_utils import scales

Kind = Literal["cot", "pot"]
KINDS: tuple[str, ...] = get_args(Kind)
Rule = Literal["published", "corrected"]
RULES: tuple[str, ...] = get_args(Rule)
DECODINGS = ("hybrid", "paper", "cot", "pot")
STORED = "stored"  # the decoding of a completions file that somebody else made
UNTUNED = "none"  # the mixture of a base model that was not fine-tuned
EQUAL_STEPS = "equal-steps"  # the variant of a control that trains as many steps as the hybrid run
PROMPT_CHOICE = "prompt-choice.json"  # below runs/evaluate: a base's prompt, chosen on training questions
MINI = "mini-"  # begins the name of every source and benchmark of the miniature
# The paper's benchmarks in its order, their namesakes in the miniature, and other names that files and tables use.
NINE = ("gsm8k", "math", "aqua", "numglue", "svamp", "mathematics", "simuleq", "sat", "mmlu_math")
NAMESAKES = {MINI + name.removesuffix("_math"): name for name in NINE}
FILE_NAMES = {"deepmind": "mathematics", "mmlu_mathematics": "mmlu_math"}
# A record keeps a verdict as one character, in the order of the items.
MARKS = {"correct": "1", "incorrect": "0", "no_answer": "n", "ungradable_gold": "u"}

_BASE = "base"  # stands where a trained model's method does


def check_known(what: str, value: str, known: Sequence[str]) -> None:
    """Raise ValueError if a value is none of the known ones, naming them."""
    if value not in known:
        raise ValueError(f"unknown {what} {value!r}; known: {', '.join(known)}")


@dataclass(frozen=True)
class RunName:
    """The name of a training run, such as ``llama-1m-hybrid-full-s0``, or of a base: ``llama-1m-none-base``.

    Attributes:
        mixture: Which rationales were trained on; ``UNTUNED`` for the base as it came.
        method: ``full``, ``lora`` or ``qlora``; ``base`` for an untuned base.
        seed: Of the training; 0 for an untuned base.
        variant: Settings other than the recipe's, such as ``max_steps20`` or ``equal-steps``; empty for none.
    """

    family: str
    size: str
    mixture: str
    method: str = "full"
    seed: int = 0
    variant: str = ""

    def __post_init__(self) -> None:
        if self.mixture == UNTUNED:
            object.__setattr__(self, "method", _BASE)
            object.__setattr__(self, "seed", 0)

    def __str__(self) -> str:
        trained = self.method if self.mixture == UNTUNED else f"{self.method}-s{self.seed}"
        return "-".join(filter(None, (self.family, self.size, self.mixture, trained, self.variant)))

    @classmethod
    def parse(cls, name: str) -> RunName | None:
        """Return the run that a name spells, or None if it is no such name."""
        parts = _PATTERN.fullmatch(name)
        if parts is None:
            return None
        family, size, mixture, method, seed, variant = parts.groups()
        return cls(family, size, mixture or UNTUNED, method or _BASE, int(seed or 0), variant or "")


_PATTERN = re.compile(
    rf"(?P<family>{'|'.join(scales.FAMILIES)})-(?P<size>[\d.]+[mb])-"
    rf"(?:{UNTUNED}-{_BASE}|(?P<mixture>[A-Za-z].*?)-(?P<method>{'|'.join(scales.METHODS[1:])})-s(?P<seed>\d+))"
    r"(?:-(?P<variant>.+))?"
)


def evaluation_name(model: str, decoding: str, split: str, benchmarks: Sequence[str], limit: int) -> str:
    """Return the name of an evaluation.

    Args:
        model: The name of the training run, or another name of the model.
        decoding: One of ``DECODINGS``.
        split: ``"test"``, which the name leaves out, or ``"dev"``.
        benchmarks: Those that were chosen; empty for all of them.
        limit: Problems a benchmark at most; 0 for all.
    """
    split = "" if split == "test" else split
    return "-".join(filter(None, (model, decoding, split, "+".join(benchmarks), f"n{limit}" if limit else "")))


def evaluated_run(model: Mapping[str, Any], decoding: str, split: str = "test", limit: int = 0) -> RunName | None:
    """Return the training run that an evaluation record belongs to, or None for any other model.

    Args:
        model: ``record["model"]``. Its fields say what was trained; they are empty where the reader gave a folder,
            and then the name says it. What the name adds to them is the variant.
        decoding: ``record["decoding"]``.
        split: ``record["split"]``.
        limit: Of the record's parameters.
    """
    name = str(model.get("name") or "").removesuffix("-" + evaluation_name("", decoding, split, (), limit))
    if not all(model.get(key) for key in ("family", "size", "mixture")):
        return RunName.parse(name)
    plain = RunName(model["family"], model["size"], model["mixture"], model["method"], model["seed"])
    if name == str(plain):
        return plain
    return replace(plain, variant=name.removeprefix(f"{plain}-")) if name.startswith(f"{plain}-") else None
