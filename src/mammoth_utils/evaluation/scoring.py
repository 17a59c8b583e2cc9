"""Scores: an evaluation description to verdicts under both rules, and the record that keeps them."""

from __future__ import annotations

import dataclasses
import shutil
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from mammoth_utils import grading, records
from mammoth_utils.base_models.weights import weights_hash
from mammoth_utils.evaluation import benchmarks as sets
from mammoth_utils.evaluation import hybrid
from mammoth_utils.evaluation.attempts import TIMEOUT_S, Attempt, final, giver
from mammoth_utils.evaluation.benchmarks import Benchmark
from mammoth_utils.evaluation.description import Evaluation, describe
from mammoth_utils.evaluation.engines.decoders import Decoder, load_decoder
from mammoth_utils.evaluation.engines.endpoint import is_endpoint
from mammoth_utils.programs import Sandbox
from mammoth_utils.programs import isolation as confinement
from mammoth_utils.rationale import Problem
from mammoth_utils.vocabulary import MARKS, RULES

__all__ = ["Evaluation", "describe", "evaluate", "load_model", "score", "verdict_marks"]

COUNTED = ("correct", "no_answer", "ungradable_gold")  # the outcomes that a record counts; the rest is incorrect
# The packages that decide a verdict: a record that another version of one made is made again.
DECIDING = ("evaluation", "grading", "programs", "prompts")
Progress = Callable[[str, int, int], None]


def load_model(description: Evaluation, device: str = "auto", batch: int = 0, threads: int = 1) -> Decoder:
    """The decoder that a description asks for."""
    return load_decoder(
        description.model, description.adapter or None, device, batch, threads, dequantise=description.dequantise
    )


def evaluate(
    description: Evaluation,
    on_progress: Progress | None = None,
    decoder: Decoder | None = None,
    device: str = "auto",
    batch: int = 0,
    threads: int = 1,
    isolation: str = "auto",
) -> dict[str, Any]:
    """The record of an evaluation: read if it is finished, gone on with if it was cut off, else made.

    Each benchmark is kept as soon as it is scored, so that a killed run loses one at most. A finished record whose
    model has other weights by now, or whose data changed, is moved aside and made again.

    Args:
        description: From ``describe``.
        on_progress: Called with a benchmark's name, its number and how many there are, before each and once after
            the last.
        decoder: In place of the one that the description names; loaded only if something is left to decode.
        device, batch, threads: As in ``decoding.load_decoder``.
        isolation: How programs are confined: ``"full"`` refuses to run where it cannot hold.

    Raises:
        RunMismatchError: If the folder holds another run.
    """
    if description.completions:
        from mammoth_utils.evaluation.stored_completions import grade_stored  # it builds on this room

        return grade_stored(description, isolation)
    inputs = inputs_of(description)
    if (finished := claim(description, inputs)) is not None:
        return finished
    started, parts, sandbox = time.perf_counter(), [], None
    for number, name in enumerate(description.benchmarks):
        if on_progress:
            on_progress(name, number, len(description.benchmarks))
        part = _kept(description.folder, name, inputs)
        if part is None:
            decoder = decoder or load_model(description, device, batch, threads)
            sandbox = sandbox or Sandbox(timeout_s=TIMEOUT_S, isolation=isolation)
            part = _scored(description, name, decoder, sandbox, inputs)
        parts.append(part)
    if sandbox:
        sandbox.close()
    if on_progress:
        on_progress("", len(description.benchmarks), len(description.benchmarks))
    record = _record(description, inputs, parts, time.perf_counter() - started)
    _join_attempts(description)
    records.write_record(description.folder, record)
    shutil.rmtree(description.folder / "parts")
    return records.read_json(description.folder / "record.json")


def inputs_of(description: Evaluation) -> dict[str, Any]:
    """What an evaluation's outcome depends on besides its description: weights, data, and in the miniature the versions."""
    if is_endpoint(description.model):  # its weights cannot be seen from here: address and name stand for them
        weights = records.fingerprint({"endpoint": description.model})
    else:
        weights = weights_hash(description.model, description.adapter or None)
    found: dict[str, Any] = {"weights": weights}
    if description.world == "miniature":
        from mammoth_utils.miniature.problems import WORLD

        return {**found, "world": dict(WORLD), "versions": records.versions(*DECIDING, "miniature")}
    return {**found, "data": {name: records.sha256(sets.file(name)) for name in description.benchmarks}}


def claim(description: Evaluation, inputs: dict[str, Any]) -> dict[str, Any] | None:
    """The finished record if it still holds; else None, and the folder is claimed, a stale one moved aside."""
    finished = records.open_run(description.folder, description.as_dict())
    if finished is None or finished["inputs"] == inputs:
        return finished
    records.move_aside(description.folder)
    return records.open_run(description.folder, description.as_dict())


# --- one benchmark ---------------------------------------------------------------------------------------------------


def _kept(folder: Path, name: str, inputs: dict[str, Any]) -> dict[str, Any] | None:
    """A benchmark that an earlier start scored with the same inputs."""
    file = folder / "parts" / f"{name}.json"
    part = records.read_json(file) if file.is_file() else None
    return part if part and part["inputs"] == inputs else None


def _scored(
    description: Evaluation, name: str, decoder: Decoder, sandbox: Sandbox, inputs: dict[str, Any]
) -> dict[str, Any]:
    started = time.perf_counter()
    benchmark, problems = sets.info(name), sets.load(name, description.split, description.limit)
    ways = (description.decoding, *description.also)
    attempts = hybrid.decode_all(problems, decoder, ways, description.max_new_tokens, sandbox.run_all)
    scored = {way: score(problems, attempts[way], benchmark) for way in ways}
    rows = _attempt_rows(problems, attempts, {way: verdicts for way, (_, verdicts) in scored.items()}, benchmark)
    part = {
        "inputs": inputs,
        "entries": {way: entry for way, (entry, _) in scored.items()},
        "completions": sum(len(row["attempts"]) for row in rows),
        "decoder": decoder.describe(),
        "seconds": round(time.perf_counter() - started, 2),
    }
    records.write_jsonl(description.folder / "parts" / f"{name}.attempts.jsonl", rows)
    records.write_json(description.folder / "parts" / f"{name}.json", part)
    return part


def score(
    problems: Sequence[Problem], attempts: Sequence[Sequence[Attempt]], benchmark: Benchmark
) -> tuple[dict[str, Any], list[dict[str, dict[str, Any]]]]:
    """A benchmark's part of a record, and each problem's verdicts.

    Returns:
        The entry, with ``n``, counts under each rule and ``items`` (one character a problem), and for each problem
        under each rule ``answer``, ``outcome`` and ``reason``.
    """
    verdicts: list[dict[str, dict[str, Any]]] = []
    for problem, made in zip(problems, attempts, strict=True):
        found = {}
        for rule in RULES:
            answer = final(made, rule).answers[rule]
            verdict = grading.grade(answer, problem.gold, benchmark=benchmark.rules, rule=rule, options=problem.options)
            found[rule] = {"answer": answer, "outcome": verdict.outcome, "reason": verdict.reason}
        verdicts.append(found)
    entry = {
        "n": len(problems),
        "in_domain": benchmark.in_domain,
        "choice": benchmark.choice,
        **{rule: counts([found[rule]["outcome"] for found in verdicts]) for rule in RULES},
        "items": {
            "ids": [problem.id for problem in problems],
            "families": [problem.family for problem in problems],
            "fields": [problem.field for problem in problems],
            **{rule: verdict_marks([found[rule]["outcome"] for found in verdicts]) for rule in RULES},
            "kinds": "".join(giver(made) for made in attempts),
        },
    }
    return entry, verdicts


def counts(outcomes: Sequence[str]) -> dict[str, int]:
    """How often each outcome that a record counts came."""
    return {name: list(outcomes).count(name) for name in COUNTED}


def verdict_marks(outcomes: Sequence[str]) -> str:
    """Outcomes as one character each: ``1`` correct, ``0`` incorrect, ``n`` no answer, ``u`` ungradable gold."""
    return "".join(MARKS[outcome] for outcome in outcomes)


def _attempt_rows(problems, attempts, verdicts, benchmark) -> list[dict[str, Any]]:
    """One row a problem: every attempt once, and for each way of decoding which ones it took and what they earned."""
    rows = []
    for place, problem in enumerate(problems):
        stored: list[Attempt] = []
        ways = {}
        for way, made in attempts.items():
            stored += [attempt for attempt in made[place] if attempt not in stored]
            order = [stored.index(attempt) for attempt in made[place]]
            ways[way] = {"order": order, "kind": giver(made[place]), **verdicts[way][place]}
        row = dataclasses.asdict(problem)
        row["options"] = list(problem.options) if problem.options is not None else None
        rows.append(
            {"benchmark": benchmark.name, **row, "attempts": [one.as_dict() for one in stored], "decodings": ways}
        )
    return rows


# --- the record ------------------------------------------------------------------------------------------------------


def _join_attempts(description: Evaluation) -> None:
    files = [description.folder / "parts" / f"{name}.attempts.jsonl" for name in description.benchmarks]
    records.write_text(
        description.folder / "attempts.jsonl", "".join(file.read_text(encoding="utf8") for file in files)
    )


def _record(
    description: Evaluation, inputs: dict[str, Any], parts: list[dict[str, Any]], seconds: float
) -> dict[str, Any]:
    held = confinement.describe()
    ways, settings = (description.decoding, *description.also), parts[-1]["decoder"]
    entries = {
        way: {name: part["entries"][way] for name, part in zip(description.benchmarks, parts, strict=True)}
        for way in ways
    }
    asked = description.as_dict()
    model = {key: asked[key] for key in ("size", "family", "mixture", "method", "seed", "model", "adapter", "base")}
    return {
        "page": "evaluate",
        "world": description.world,
        "parameters": asked,
        "model": {"name": description.name, **model, "hash": inputs["weights"]},
        "decoding": description.decoding,
        "split": description.split,
        "benchmarks": entries[description.decoding],
        "decodings": {way: entries[way] for way in description.also},
        "inputs": inputs,
        "completions": sum(part["completions"] for part in parts),
        "decoder": settings,
        "sandbox": {"level": held.level, "full": held.full, "summary": held.summary},
        "environment": records.environment(
            threads=settings["threads"], device=settings["device"], dtype=settings["dtype"]
        ),
        "benchmark_seconds": {name: part["seconds"] for name, part in zip(description.benchmarks, parts, strict=True)},
        "seconds": round(seconds, 2),
    }
