"""Evaluation records by model: which model, decoded how, answered which items correctly.

Records come from this run (``runs/evaluate/``) and from the committed ones (``records/``). Tables and figures take a
model's committed records, as the claims do, and this run's where it has none. Only complete runs on the test split
count. In the miniature a record with a ``limit``, of the development split, or of a run with settings of its own (a
``name`` that its parameters do not give) stands for no model of a table. A real model may be asked a part of each
benchmark: the order is fixed, and the number of problems stands beside every figure.
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
from mammoth_utils.scales import SCALES
from mammoth_utils.vocabulary import NAMESAKES, RULES, UNTUNED, RunName, check_known, evaluated_run

MINI_BENCHMARKS = tuple(NAMESAKES)
THIS_RUN, COMMITTED, GIVEN = "this run", "committed", "given"
# How the paper's third version reads a model's completions: a program first on multiple choice too, and prose where no
# answer was read from it. No page decodes so; both completions of every problem are at hand.
PROGRAM_FIRST = "program first"
OPTIONS = {"aqua": 5, "sat": 4, "mmlu_math": 4}  # of a question, where these are multiple choice
MINI_OPTIONS = 5
Benchmarks = Mapping[str, Any]  # a record's scores and items by benchmark, under one decoding


@dataclass(frozen=True)
class DecodedModel:
    """A model, by what it was trained on, under one decoding; all its training seeds together."""

    size: str
    family: str
    mixture: str
    decoding: str = "hybrid"
    variant: str = ""
    method: str = "full"

    @property
    def training(self) -> tuple[str, ...]:
        """Size, family, mixture, variant and method: the model without its decoding; an untuned base has no method."""
        return (self.size, self.family, self.mixture, self.variant, "" if self.mixture == UNTUNED else self.method)

    @property
    def world(self) -> str:
        """``"miniature"`` or ``"real"``, by its scale."""
        known = SCALES.get((self.size, self.family))
        return "" if known is None else "miniature" if known.miniature else "real"

    @property
    def label(self) -> str:
        """A readable name, such as ``llama-1m, hybrid mixture, pot decoding``."""
        trained = "untuned" if self.mixture == UNTUNED else f"{self.mixture} mixture"
        variant = f", {self.variant.replace('-', ' ')}" if self.variant else ""
        return f"{self.family}-{self.size}, {trained}{variant}, {self.decoding} decoding"


@dataclass(frozen=True)
class EvaluationRecord:
    """One record of the page ``evaluate`` and where it was read.

    Attributes:
        origin: ``"this run"``, ``"committed"`` or ``"given"``.
        path: The file, below the project or the folder of runs; empty where the record was given.
    """

    record: Mapping[str, Any] = field(repr=False)
    origin: str = GIVEN
    path: str = ""

    @property
    def world(self) -> str:
        """``"miniature"`` or ``"real"``."""
        return str(self.record.get("world", ""))

    @property
    def training_run(self) -> RunName | None:
        """The training run that was evaluated; None for a model from elsewhere, or a name of the reader's own."""
        model, limit = self.record["model"], 0
        if self.world == "real":  # a part of the problems or an engine of one's own leaves the model what it is
            parameters = self.record.get("parameters", {})
            model = {**model, "name": str(model.get("name") or "").removesuffix(f"-{parameters.get('engine')}")}
            limit = parameters.get("limit") or 0
        return evaluated_run(model, str(self.record["decoding"]), str(self.record.get("split") or "test"), limit)

    @property
    def model(self) -> DecodedModel:
        """The model under the record's own decoding."""
        decoding, run = str(self.record["decoding"]), self.training_run
        if run is None:
            return DecodedModel("", "", "", decoding, str(self.record["model"].get("name") or "unnamed"), "")
        method = "" if run.mixture == UNTUNED else run.method
        return DecodedModel(run.size, run.family, run.mixture, decoding, run.variant, method)

    @property
    def seed(self) -> int:
        """The training's seed; 0 for an untuned base."""
        return self.training_run.seed if self.training_run else int(self.record["model"].get("seed") or 0)

    @property
    def is_complete(self) -> bool:
        """Whether it covers the test split: in the miniature all of all nine benchmarks."""
        return self.covers("test")

    def covers(self, split: str) -> bool:
        """Return whether it covers a split: in the miniature all of all nine benchmarks."""
        limited = self.record.get("parameters", {}).get("limit")
        every = not limited and set(self.record["benchmarks"]) == set(MINI_BENCHMARKS)
        return self.record.get("split", "test") == split and (every or self.world != "miniature")

    @property
    def problems(self) -> int:
        """The number of problems that were asked."""
        return sum(score["n"] for score in self.record["benchmarks"].values())

    def benchmarks(self, decoding: str) -> Benchmarks | None:
        """Return the scores under a decoding; None if the record was not scored so."""
        if self.record["decoding"] == decoding:
            return self.record["benchmarks"]
        if decoding == PROGRAM_FIRST:
            program, prose = self.benchmarks("pot"), self.benchmarks("cot")
            return program and prose and _program_first(program, prose)
        other = self.record.get("decodings", {}).get(decoding)
        return None if other is None else other.get("benchmarks", other)


def _program_first(program: Benchmarks, prose: Benchmarks) -> Benchmarks:
    """Return scores that take each problem's program, and its prose where no answer was read from the program."""
    scores = {}
    for name, score in program.items():
        items, other = score["items"], prose[name]["items"]
        verdicts = {
            rule: "".join(
                second if first == "n" else first for first, second in zip(items[rule], other[rule], strict=True)
            )
            for rule in RULES
        }
        scores[name] = {**score, "items": {**items, **verdicts}}
    return scores


Seeds = Sequence[tuple[EvaluationRecord, Benchmarks]]  # one entry a training seed


def read(world: str | None = None, runs: Path | None = None, committed: Path | None = None) -> list[EvaluationRecord]:
    """Return every evaluation record of this run, then the committed ones.

    Args:
        world: Only ``"miniature"`` or only ``"real"``.
        runs, committed: Folders, by default the project's.
    """
    runs, committed = runs or paths.runs(), committed or paths.records()
    evaluations = []
    for folder, top, pattern, origin in (
        (runs / "evaluate", runs, "*/record.json", THIS_RUN), (committed, committed, "**/*.json", COMMITTED),
    ):  # fmt: skip
        for file in sorted(folder.glob(pattern)):
            record = records.read_json(file) if ".old-" not in file.parent.name else None
            if isinstance(record, dict) and record.get("page") == "evaluate" and record.get("benchmarks"):
                # Shown to readers, so never with the folder that this machine keeps the project in.
                path = f"{top.name}/{file.relative_to(top).as_posix()}"
                evaluations.append(EvaluationRecord(record, origin, path))
    return [evaluation for evaluation in evaluations if world is None or evaluation.world == world]


def as_evaluations(given: Iterable[EvaluationRecord | Mapping[str, Any]]) -> list[EvaluationRecord]:
    """Return plain records as :class:`EvaluationRecord`; those that are one already stay as they are."""
    return [one if isinstance(one, EvaluationRecord) else EvaluationRecord(one) for one in given]


def deciding(evaluations: Sequence[EvaluationRecord]) -> list[EvaluationRecord]:
    """Return the records without those of this run whose model has others: committed ones decide, as in the claims."""
    before = {one.model.training for one in evaluations if one.origin != THIS_RUN and one.is_complete}
    return [one for one in evaluations if one.origin != THIS_RUN or one.model.training not in before]


def guessing(benchmark: str) -> float | None:
    """Return the share that guessing an option gets right; None for a benchmark of open questions."""
    options = OPTIONS.get(NAMESAKES.get(benchmark, benchmark))
    return options and 1 / (MINI_OPTIONS if benchmark in NAMESAKES else options)


def seeds_of(model: DecodedModel, evaluations: Iterable[EvaluationRecord], split: str = "test") -> Seeds:
    """Return the records of a model on a split, one a training seed in order, with that decoding's scores.

    Where a seed was measured in this run and is committed too, this run's record is taken; a record of that very
    decoding is preferred to one that was scored under it besides its own, and of a real model the one of most problems
    to any other.
    """
    best: dict[int, tuple[tuple[int, ...], EvaluationRecord, Benchmarks]] = {}
    origins = (THIS_RUN, GIVEN, COMMITTED)
    for evaluation in evaluations:
        if evaluation.world != model.world or evaluation.model.training != model.training:
            continue
        if not evaluation.covers(split):
            continue
        benchmarks = evaluation.benchmarks(model.decoding)
        if benchmarks is None:
            continue
        rank = (
            -evaluation.problems, origins.index(evaluation.origin), int(evaluation.model.decoding != model.decoding)
        )  # fmt: skip
        if evaluation.seed not in best or rank < best[evaluation.seed][0]:
            best[evaluation.seed] = (rank, evaluation, benchmarks)
    return [best[seed][1:] for seed in sorted(best)]


def seeds_by_model(
    models: Iterable[DecodedModel], evaluations: Sequence[EvaluationRecord], split: str = "test"
) -> dict[DecodedModel, Seeds]:
    """Return `seeds_of` each model, empty where it was not measured."""
    return {model: seeds_of(model, evaluations, split) for model in models}


def sample(
    seeds: Seeds,
    benchmarks: Sequence[str] | None = None,
    in_domain: bool | None = None,
    choice: bool | None = None,
    fields: Sequence[str] | None = None,
    not_fields: Sequence[str] = (),
    rule: str = "corrected",
) -> Sample | None:
    """Return the verdicts of a model on a choice of items; None if no item is left.

    A real problem is of no family that others share: it is a cluster of its own.

    Args:
        seeds: As :func:`seeds_of` returns them.
        benchmarks: Only these.
        in_domain: Only benchmarks in, or out of, domain.
        choice: Only multiple choice, or only open questions.
        fields, not_fields: Only problems of these fields, and none of those.

    Raises:
        ValueError: If the rule is unknown, or two seeds did not answer the same items.
    """
    check_known("rule", rule, RULES)
    chosen = [_choose(scores, rule, benchmarks, in_domain, choice, fields, not_fields) for _, scores in seeds]
    keys = chosen[0][0] if chosen else []
    for (evaluation, _), (own, _) in zip(seeds, chosen, strict=True):
        if own != keys:
            source = evaluation.path or "a record"
            raise ValueError(f"{source} holds other items than the other seeds of {evaluation.model.label}")
    if not keys:
        return None
    names, ids, families = zip(*keys, strict=True)
    if seeds[0][0].world == "real":
        families = ids
    verdicts = np.array([of_seed for _, of_seed in chosen])
    model = seeds[0][0].model
    return Sample(
        verdicts == "1", names, families, ids, "/".join(model.training), float(np.mean(verdicts != "n")),
        trained=model.mixture != UNTUNED,
    )  # fmt: skip


def _choose(
    scores: Benchmarks, rule: str, benchmarks: Sequence[str] | None, in_domain: bool | None, choice: bool | None,
    fields: Sequence[str] | None, not_fields: Sequence[str],
) -> tuple[list[tuple[str, str, str]], list[str]]:  # fmt: skip
    """Return the benchmark, id and family of one seed's chosen items, and their verdicts."""
    keys, verdicts = [], []
    for name, score in scores.items():
        left_out = benchmarks is not None and name not in benchmarks
        left_out |= in_domain is not None and score["in_domain"] != in_domain
        if left_out or (choice is not None and score["choice"] != choice):
            continue
        items = score["items"]
        columns = zip(items["ids"], items["families"], items["fields"], items[rule], strict=True)
        for item, family, kind, verdict in columns:
            if (fields is None or kind in fields) and kind not in not_fields:
                keys.append((name, item, family))
                verdicts.append(verdict)
    return keys, verdicts


def accuracy_table(given: Iterable[EvaluationRecord | Mapping[str, Any]], world: str = "miniature") -> pd.DataFrame:
    """Return one row a model, decoding and benchmark: accuracy under both rules as fractions, items, seeds, where read.

    ``differ`` counts the items on which the two rules disagree; ``n`` the items of one seed.
    """
    groups: dict[tuple, list[EvaluationRecord]] = {}
    for evaluation in deciding(as_evaluations(given)):
        if evaluation.world == world and evaluation.is_complete:
            for decoding in dict.fromkeys([evaluation.record["decoding"], *evaluation.record.get("decodings", {})]):
                groups.setdefault((*evaluation.model.training, decoding), []).append(evaluation)
    rows = []
    for (size, family, mixture, variant, method, decoding), evaluations in groups.items():
        seeds: dict[int, EvaluationRecord] = {}
        for evaluation in sorted(evaluations, key=lambda one: -one.problems):
            # This run's records come first, and one of that very decoding before one scored under it besides its own.
            other = seeds.get(evaluation.seed)
            if other is None or (other.origin == evaluation.origin and evaluation.record["decoding"] == decoding):
                seeds[evaluation.seed] = evaluation
        by_seed = [(evaluation, evaluation.benchmarks(decoding)) for evaluation in seeds.values()]
        for name in dict.fromkeys(name for _, benchmarks in by_seed for name in benchmarks):
            measured = [(evaluation, benchmarks[name]) for evaluation, benchmarks in by_seed if name in benchmarks]
            scores = [score for _, score in measured]
            row = {"size": size, "family": family, "mixture": mixture, "variant": variant, "method": method}
            row |= {"decoding": decoding, "benchmark": name, "in_domain": scores[0]["in_domain"]}
            row |= {"choice": scores[0]["choice"], "n": scores[0]["n"], "seeds": len(scores)}
            for each in RULES:
                row[each] = float(np.mean([score[each]["correct"] / score["n"] for score in scores]))
            pairs = [zip(score["items"]["published"], score["items"]["corrected"], strict=True) for score in scores]
            row["differ"] = sum((a == "1") != (b == "1") for of_seed in pairs for a, b in of_seed)
            row["origin"] = "; ".join(dict.fromkeys(evaluation.origin for evaluation, _ in measured))
            row["read_in"] = "; ".join(dict.fromkeys(evaluation.path for evaluation, _ in measured))
            rows.append(row)
    return pd.DataFrame(rows)
