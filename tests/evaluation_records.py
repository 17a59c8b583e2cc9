"""Evaluation records made by hand, in the form that `evaluate` writes, for the tests of the report."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from mammoth_utils.report.measured_models import MINI_BENCHMARKS
from mammoth_utils.vocabulary import RunName

IN_DOMAIN, CHOICE = MINI_BENCHMARKS[:4], ("mini-aqua", "mini-sat", "mini-mmlu")
PER_FAMILY = 10
NUMERIC = [(f"family{number}", "arithmetic") for number in range(10)]
LOGIC = [
    *((f"logic{number}", "logic") for number in range(5)),
    *((f"cyclic{number}", "abstract algebra") for number in range(3)),
]
Rate = float | Callable[[str, str, str], float]


def benchmarks(rate: Rate, looser: float = 0.0, wrong: str = "0") -> dict[str, Any]:
    """The nine benchmarks with a share of correct items per family; the published rule accepts `looser` more.

    `wrong` is what the other items are marked with: ``"n"`` where no answer could be read.
    """
    found = {}
    for name in MINI_BENCHMARKS:
        families = [*NUMERIC[:2], *LOGIC] if name in ("mini-aqua", "mini-mmlu") else NUMERIC
        ids, owners, fields, marks = [], [], [], {"corrected": "", "published": ""}
        for family, kind in families:
            share = rate(name, family, kind) if callable(rate) else rate
            for rule, extra in (("corrected", 0.0), ("published", looser)):
                right = min(PER_FAMILY, round((share + extra) * PER_FAMILY))
                marks[rule] += "1" * right + wrong * (PER_FAMILY - right)
            ids += [f"{name}/test/{family}/{number}" for number in range(PER_FAMILY)]
            owners += [family] * PER_FAMILY
            fields += [kind] * PER_FAMILY
        items = {"ids": ids, "families": owners, "fields": fields, **marks, "kinds": "p" * len(ids)}
        counts = {rule: {"correct": marks[rule].count("1"), "no_answer": 0, "ungradable_gold": 0} for rule in marks}
        found[name] = {
            "n": len(ids),
            "in_domain": name in IN_DOMAIN,
            "choice": name in CHOICE,
            **counts,
            "items": items,
        }
    return found


def record(
    mixture: str = "hybrid",
    rate: Rate = 0.6,
    decoding: str = "hybrid",
    *,
    family: str = "llama",
    size: str = "1m",
    seed: int = 0,
    suffix: str = "",
    looser: float = 0.0,
    also: Mapping[str, Rate] | None = None,
    wrong: str = "0",
    **changes: Any,
) -> dict[str, Any]:
    """One record; `suffix` is what a run with settings of its own has behind its name."""
    method = "base" if mixture == "none" else "full"
    name = RunName(family, size, mixture, method, seed)
    model = {"name": f"{name}{suffix}-{decoding}", "size": size, "family": family, "mixture": mixture}
    return {
        "schema": 1,
        "page": "evaluate",
        "world": "miniature",
        "parameters": {"limit": 0},
        "model": {**model, "method": method, "seed": seed, "base": f"{family}-{size}", "hash": "0" * 16},
        "decoding": decoding,
        "split": "test",
        "benchmarks": benchmarks(rate, looser, wrong),
        "decodings": {way: benchmarks(share, looser, wrong) for way, share in (also or {}).items()},
        "environment": {},
        "seconds": 1.0,
        **changes,
    }
