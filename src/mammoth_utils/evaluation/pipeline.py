"""An evaluation from its description to its record: decoded benchmark by benchmark, or graded from a file."""

from __future__ import annotations

import shutil
import time
from collections.abc import Callable
from dataclasses import asdict
from pathlib import Path

from mammoth_utils import records
from mammoth_utils.base_models import fetch_model, find_cached
from mammoth_utils.evaluation import benchmarks as sets
from mammoth_utils.evaluation.attempts import PROGRAM_TIMEOUT_S, answering_kind
from mammoth_utils.evaluation.completion_store import ARRIVED, CompletionStore
from mammoth_utils.evaluation.completions_file import grade_completions_file
from mammoth_utils.evaluation.description import Evaluation
from mammoth_utils.evaluation.engines.decoders import Decoder, load_decoder
from mammoth_utils.evaluation.engines.endpoint import is_endpoint
from mammoth_utils.evaluation.hybrid import decode
from mammoth_utils.evaluation.own_benchmarks import read_problems
from mammoth_utils.evaluation.run_folder import attempt_row, claim, inputs_of, write_record
from mammoth_utils.evaluation.scoring import BenchmarkScore, grade_attempts
from mammoth_utils.programs import Sandbox
from mammoth_utils.records import Record


def evaluate(
    description: Evaluation,
    on_progress: Callable[[str, int, int], None] | None = None,
    decoder: Decoder | None = None,
    device: str = "auto",
    batch: int = 0,
    threads: int = 1,
    isolation: str = "auto",
    say: Callable[[str], None] = print,
) -> Record:
    """Return the record of an evaluation: read if it is finished, gone on with if it was cut off, else made.

    Each benchmark is kept as soon as it is scored, so that a killed run loses one at most. A finished record is moved
    aside and made again where its model has other weights by now, its data changed, or a version of what decides its
    verdicts did; completions of the same weights are then taken from it, and only prompts that it does not hold are
    decoded.

    Args:
        on_progress: Called with a benchmark's name, its number and how many there are, before each and once after
            the last.
        decoder: In place of the one that the description names, which is loaded only if something is left to decode.
        device, batch, threads: As ``load_decoder`` takes them.
        isolation: How programs are confined: ``"full"`` refuses to run where it cannot hold.
        say: Called with a line for the reader: what is fetched, and why a finished evaluation is made again.

    Raises:
        RunMismatchError: If the folder holds another run.
    """
    inputs = inputs_of(description, say)
    if (finished := claim(description, inputs, say)) is not None:
        return finished
    if description.completions:
        return grade_completions_file(description, inputs, isolation, say)

    def load() -> Decoder:
        adapter, dequantise = description.adapter or None, description.dequantise
        if decoder is not None or is_endpoint(description.model):
            return decoder or load_decoder(description.model, adapter, device, batch, threads, dequantise)
        # By its folder: by its name a newer commit of the hub might be loaded than the one that the record names.
        loaded = load_decoder(fetch_model(description.model, say), adapter, device, batch, threads, dequantise)
        loaded.name = description.model
        return loaded

    started, parts, store = time.perf_counter(), [], None
    total = len(description.benchmarks)
    with Sandbox(timeout_s=PROGRAM_TIMEOUT_S, isolation=isolation) as sandbox:
        for number, name in enumerate(description.benchmarks):
            if on_progress:
                on_progress(name, number, total)
            file = _part_file(description, name, "json")
            part = records.read_json(file) if file.is_file() else None
            if part is None or part["inputs"] != inputs:
                store = store or CompletionStore(description, inputs["weights"], load)
                part = _scored_part(description, name, store, sandbox, inputs)
            parts.append(part)
    if on_progress:
        on_progress("", total, total)
    texts = [_part_file(description, name, "attempts.jsonl").read_text("utf8") for name in description.benchmarks]
    records.write_text(description.folder / "attempts.jsonl", "".join(texts))
    record = write_record(description, isolation, _fields(description, inputs, parts, time.perf_counter() - started))
    shutil.rmtree(description.folder / "parts")
    (description.folder / ARRIVED).unlink(missing_ok=True)
    return record


def _part_file(description: Evaluation, name: str, suffix: str) -> Path:
    return description.folder / "parts" / f"{name}.{suffix}"


def _scored_part(
    description: Evaluation, name: str, store: CompletionStore, sandbox: Sandbox, inputs: Record
) -> Record:
    """Decode and grade one benchmark, keep its attempts, and return its part of the record."""
    started, decoded_before = time.perf_counter(), store.decoded
    benchmark = description.benchmark(name)
    if benchmark.world == sets.OWN:
        problems = read_problems(benchmark, description.limit)
    else:
        problems = sets.load(name, description.split, description.limit)
    decodings = (description.decoding, *description.also)
    attempts = decode(problems, store, decodings, description.max_new_tokens, sandbox.run_all)
    scores = {decoding: BenchmarkScore() for decoding in decodings}
    rows = []
    for place, problem in enumerate(problems):
        fields, by_decoding, verdicts = asdict(problem), {}, {}
        for decoding, score in scores.items():
            by_decoding[decoding] = attempts[decoding][place]
            verdicts[decoding] = grade_attempts(problem, by_decoding[decoding], benchmark.rules)
            score.add(fields, answering_kind(by_decoding[decoding]), verdicts[decoding])
        rows.append(attempt_row(name, fields, by_decoding, verdicts))
    part = {
        "inputs": inputs,
        "entries": {decoding: score.entry(benchmark) for decoding, score in scores.items()},
        "completions": sum(len(row["attempts"]) for row in rows),
        "decoded": store.decoded - decoded_before,
        "decoder": store.describe(),
        "seconds": round(time.perf_counter() - started, 2),
    }
    records.write_jsonl(_part_file(description, name, "attempts.jsonl"), rows)
    records.write_json(_part_file(description, name, "json"), part)
    return part


def _fields(description: Evaluation, inputs: Record, parts: list[Record], seconds: float) -> Record:
    """Return what the record holds besides the description, joined from the parts."""
    by_name = dict(zip(description.benchmarks, parts, strict=True))
    entries = {
        decoding: {name: part["entries"][decoding] for name, part in by_name.items()}
        for decoding in (description.decoding, *description.also)
    }
    shown, decoder = description.as_dict(), parts[-1]["decoder"]
    model = {key: shown[key] for key in ("size", "family", "mixture", "method", "seed", "model", "adapter", "base")}
    return {
        "model": {"name": description.name, **model, "hash": inputs["weights"], **_commit(description.model)},
        "benchmarks": entries.pop(description.decoding),
        "decodings": entries,
        "inputs": inputs,
        "completions": sum(part["completions"] for part in parts),
        "decoded": sum(part["decoded"] for part in parts),
        "decoder": decoder,
        "environment": records.environment(decoder["threads"], decoder["device"], decoder["dtype"]),
        "benchmark_seconds": {name: part["seconds"] for name, part in by_name.items()},
        "seconds": round(seconds, 2),
    }


def _commit(model: str) -> Record:
    """Return the commit of a model of the hub, for its record; nothing for any other."""
    snapshot = None if is_endpoint(model) else find_cached(model)
    return {"revision": snapshot.name} if snapshot is not None else {}
