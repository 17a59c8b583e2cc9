"""Evaluation records as cells: which model, decoded how, got which items right.

A cell is looked up among the records of this run (``runs/evaluate/``) and those that are committed (``records/``); the
run's own come first. Only whole runs on the test split count: a record with a ``limit``, of the development split, or
of a run with settings of its own (another ``name`` than its parameters give) is never taken for a cell.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from mammoth_utils import paths, records
from mammoth_utils.report.statistics import Sample
from mammoth_utils.vocabulary import RULES, UNTUNED, RunName, evaluated_run

MINIATURE = (
    "mini-gsm8k", "mini-math", "mini-aqua", "mini-numglue",
    "mini-svamp", "mini-mathematics", "mini-simuleq", "mini-sat", "mini-mmlu",
)  # fmt: skip
THIS_RUN, COMMITTED, GIVEN = "this run", "committed", "given"


@dataclass(frozen=True)
class Measured:
    """One evaluation record and where it was read.

    Attributes:
        record: The record, as ``evaluate`` wrote it.
        origin: ``"this run"``, ``"committed"`` or ``"given"``.
        path: The file, below the project or the folder of runs; empty where it was given.
    """

    record: Mapping[str, Any] = field(repr=False)
    origin: str = GIVEN
    path: str = ""

    @property
    def world(self) -> str:
        """``"miniature"`` or ``"real"``."""
        return str(self.record.get("world", ""))

    @property
    def trained(self) -> RunName | None:
        """The training run that was evaluated; None for a model from elsewhere, or a name of the reader's own."""
        return evaluated_run(self.record["model"], str(self.record["decoding"]))

    @property
    def cell(self) -> Cell:
        """The cell that the record fills by its own decoding."""
        decoding, run = str(self.record["decoding"]), self.trained
        if run is None:
            return Cell("", "", "", decoding, str(self.record["model"].get("name") or "unnamed"), "")
        method = "" if run.mixture == UNTUNED else run.method
        return Cell(run.size, run.family, run.mixture, decoding, run.variant, method)

    @property
    def seed(self) -> int:
        """The training's seed; 0 for an untuned base."""
        return self.trained.seed if self.trained else int(self.record["model"].get("seed") or 0)

    @property
    def whole(self) -> bool:
        """Whether it covers the test split without a limit; in the miniature, all nine benchmarks."""
        limited = self.record.get("parameters", {}).get("limit")
        every = self.world != "miniature" or set(self.record["benchmarks"]) == set(MINIATURE)
        return self.record.get("split", "test") == "test" and not limited and every


@dataclass(frozen=True)
class Cell:
    """One entry of a table: a model, by what it was trained on, under one decoding; all its seeds together."""

    size: str
    family: str
    mixture: str
    decoding: str = "hybrid"
    variant: str = ""
    method: str = "full"

    @property
    def run(self) -> tuple[str, ...]:
        """What it was trained as, whatever the decoding and the seed; an untuned base has no method."""
        return (self.size, self.family, self.mixture, self.variant, "" if self.mixture == UNTUNED else self.method)

    @property
    def label(self) -> str:
        """A readable name, such as ``llama-1m, hybrid mixture, pot decoding``."""
        trained = "untuned" if self.mixture == UNTUNED else f"{self.mixture} mixture"
        variant = f", {self.variant.replace('-', ' ')}" if self.variant else ""
        return f"{self.family}-{self.size}, {trained}{variant}, {self.decoding} decoding"


def read(world: str | None = None, runs: Path | None = None, committed: Path | None = None) -> list[Measured]:
    """Every evaluation record of this run, then the committed ones.

    Args:
        world: Only ``"miniature"`` or only ``"real"``.
        runs: The folder of runs, by default the project's.
        committed: The folder of committed records, by default the project's.
    """
    runs, committed = runs or paths.runs(), committed or paths.records()
    found = []
    for folder, origin in ((runs / "evaluate", THIS_RUN), (committed, COMMITTED)):
        pattern = "*/record.json" if origin == THIS_RUN else "**/*.json"
        for file in sorted(folder.glob(pattern)):
            record = records.read_json(file) if ".old-" not in file.parent.name else None
            if isinstance(record, dict) and record.get("page") == "evaluate" and record.get("benchmarks"):
                # Shown to readers, so never with the folder that this machine keeps the project in.
                top = folder.parent if origin == THIS_RUN else folder
                path = f"{top.name}/{file.relative_to(top).as_posix()}"
                found.append(Measured(record, origin, path))
    return [one for one in found if world is None or one.world == world]


def measured(given: Iterable[Measured | Mapping[str, Any]]) -> list[Measured]:
    """Records as :class:`Measured`, whether they were read or made by hand."""
    return [one if isinstance(one, Measured) else Measured(one) for one in given]


def fill(cell: Cell, given: Sequence[Measured]) -> list[tuple[Measured, Mapping[str, Any]]]:
    """The records that fill a cell, one a seed in their order, each with its benchmarks under the cell's decoding.

    Where a seed was measured in this run and committed too, this run's is taken; a record of that very decoding is
    preferred to one that holds it beside its own.
    """
    best: dict[int, tuple[tuple[int, int], Measured, Mapping[str, Any]]] = {}
    origins = (THIS_RUN, GIVEN, COMMITTED)
    for one in given:
        found = one.cell
        if one.world != "miniature" or not one.whole or found.run != cell.run:
            continue
        benchmarks = benchmarks_of(one.record, cell.decoding)
        if benchmarks is None:
            continue
        rank = (origins.index(one.origin), int(found.decoding != cell.decoding))
        if one.seed not in best or rank < best[one.seed][0]:
            best[one.seed] = (rank, one, benchmarks)
    return [best[seed][1:] for seed in sorted(best)]


def benchmarks_of(record: Mapping[str, Any], decoding: str) -> Mapping[str, Any] | None:
    """A record's benchmarks under a decoding; None if it was not scored so."""
    if record["decoding"] == decoding:
        return record["benchmarks"]
    other = record.get("decodings", {}).get(decoding)
    return None if other is None else other.get("benchmarks", other)


def sample(
    filled: Sequence[tuple[Measured, Mapping[str, Any]]],
    benchmarks: Sequence[str] | None = None,
    in_domain: bool | None = None,
    choice: bool | None = None,
    fields: Sequence[str] | None = None,
    not_fields: Sequence[str] = (),
    rule: str = "corrected",
) -> Sample | None:
    """The verdicts of a filled cell on a choice of items; None if the choice is empty.

    Args:
        filled: What :func:`fill` found.
        benchmarks: Only these.
        in_domain: Only benchmarks in, or out of, domain.
        choice: Only multiple choice, or only open questions.
        fields: Only problems of these fields.
        not_fields: No problems of these fields.
        rule: The rule that judged them.

    Raises:
        ValueError: If the rule is unknown, or two seeds did not answer the same items.
    """
    if rule not in RULES:
        raise ValueError(f"unknown rule {rule!r}; known: {', '.join(RULES)}")
    rows, keys = [], None
    for one, held in filled:
        here: list[tuple[str, str, str]] = []
        verdicts: list[float] = []
        for name, scored in held.items():
            wanted = benchmarks is None or name in benchmarks
            wanted &= in_domain is None or scored["in_domain"] == in_domain
            wanted &= choice is None or scored["choice"] == choice
            if not wanted:
                continue
            items = scored["items"]
            columns = zip(items["ids"], items["families"], items["fields"], items[rule], strict=True)
            for item, family, kind, verdict in columns:
                if (fields is None or kind in fields) and kind not in not_fields:
                    here.append((name, item, family))
                    verdicts.append(float(verdict == "1"))
        if keys is not None and here != keys:
            raise ValueError(f"{one.path or 'a record'} holds other items than the other seeds of {one.cell.label}")
        keys = here
        rows.append(verdicts)
    if not keys:
        return None
    names, ids, families = zip(*keys, strict=True)
    return Sample(np.array(rows), names, families, ids, "/".join(filled[0][0].cell.run))


def table(
    given: Iterable[Measured | Mapping[str, Any]], world: str = "miniature", rule: str = "corrected"
) -> pd.DataFrame:
    """One row a model, decoding and benchmark: accuracy under both rules as fractions, items, seeds, where read.

    ``differ`` counts the items on which the two rules disagree; ``n`` the items of one seed.
    """
    groups: dict[tuple, list[tuple[Measured, Mapping[str, Any]]]] = {}
    for one in measured(given):
        if one.world != world or not one.whole:
            continue
        for decoding in dict.fromkeys([one.record["decoding"], *one.record.get("decodings", {})]):
            held = benchmarks_of(one.record, decoding)
            key = (*one.cell.run, decoding)
            groups.setdefault(key, []).append((one, held))
    rows = []
    for (size, family, mixture, variant, method, decoding), found in groups.items():
        seeds: dict[Any, tuple[Measured, Mapping[str, Any]]] = {}
        for one, held in found:  # this run's records come first, and one that decoded so itself before one that did too
            kept = seeds.get(one.seed)
            if kept is None or (kept[0].origin == one.origin and one.record["decoding"] == decoding):
                seeds[one.seed] = (one, held)
        for name in dict.fromkeys(name for _, held in seeds.values() for name in held):
            scored = [held[name] for _, held in seeds.values() if name in held]
            row = {"size": size, "family": family, "mixture": mixture, "variant": variant, "method": method}
            row |= {"decoding": decoding, "benchmark": name, "in_domain": scored[0]["in_domain"]}
            row |= {"choice": scored[0]["choice"], "n": scored[0]["n"], "seeds": len(scored)}
            for each in RULES:
                row[each] = float(np.mean([one[each]["correct"] / one["n"] for one in scored]))
            row["accuracy"] = row[rule]
            row["differ"] = sum(_differing(one["items"]) for one in scored)
            row["origin"] = "; ".join(dict.fromkeys(one.origin for one, held in seeds.values() if name in held))
            row["read_in"] = "; ".join(dict.fromkeys(one.path for one, held in seeds.values() if name in held))
            rows.append(row)
    return pd.DataFrame(rows)


def _differing(items: Mapping[str, Any]) -> int:
    return sum((a == "1") != (b == "1") for a, b in zip(items["published"], items["corrected"], strict=True))
