"""The folder of an evaluation: what its verdicts follow from, the rows of ``attempts.jsonl``, and the record."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from mammoth_utils import prompts, records
from mammoth_utils.base_models import BaseModelError, fetch_model, is_gguf, weights_hash
from mammoth_utils.evaluation import benchmarks as sets
from mammoth_utils.evaluation.attempts import Attempt, answering_kind, counting_attempt
from mammoth_utils.evaluation.description import Evaluation
from mammoth_utils.evaluation.engines.endpoint import EndpointDecoder, EndpointError, is_endpoint
from mammoth_utils.grading import Verdict
from mammoth_utils.programs import isolation as isolations
from mammoth_utils.records import Record
from mammoth_utils.vocabulary import RULES

# The packages that decide a verdict: completions are graded again where another version of one did it.
DECIDING = ("evaluation", "grading", "programs", "prompts")


def inputs_of(description: Evaluation, say: Callable[[str], None]) -> Record:
    """Return what verdicts follow from besides the description: weights, problems, and versions of what decides.

    Completions follow from the weights and the prompts alone: where ``versions`` moved and ``weights`` did not, they
    are graded again and not decoded again. A model of the hub is fetched first, so that its commit is known. A server's
    weights cannot be seen from here: what it says of its model stands for them. Where a finished evaluation's model is
    away, the weights of its record stand.
    """
    if description.completions:
        return {"completions": records.sha256(description.completions), "versions": records.versions(*DECIDING)}
    identity = model_identity(description, say)
    if description.prompt != prompts.MAMMOTH:
        identity["styles"] = prompts.STYLE_VERSION
    if description.world == "miniature":
        from mammoth_utils.miniature import WORLD

        return {**identity, "world": dict(WORLD), "versions": records.versions(*DECIDING, "miniature")}
    own = {benchmark.name: Path(benchmark.file) for benchmark in description.own}
    data = {name: records.sha256(own.get(name) or sets.file(name)) for name in description.benchmarks}
    return {**identity, "data": data, "versions": records.versions(*DECIDING)}


def model_identity(description: Evaluation, say: Callable[[str], None]) -> Record:
    """Return ``weights`` and, of a server, what it says of its model."""
    record = description.folder / "record.json"
    known = records.read_json(record).get("inputs", {}) if record.is_file() else {}
    try:
        if is_endpoint(description.model):
            server = EndpointDecoder(description.model).identity
            return {"weights": records.fingerprint({"endpoint": server}), "server": server}
        if is_gguf(description.model):
            return {"weights": weights_hash(description.model, description.adapter or None)}
        fetch_model(description.model, say)
        return {"weights": weights_hash(description.model, description.adapter or None)}
    except (EndpointError, BaseModelError) as error:
        if not known:
            raise
        say(f"the finished evaluation in {description.folder.name} is shown; its model was not asked: {error}")
        return {key: known[key] for key in ("weights", "server") if key in known}


def claim(description: Evaluation, inputs: Record, say: Callable[[str], None]) -> Record | None:
    """Return the finished record if it still holds; else None, with the folder claimed and a stale one moved aside.

    Raises:
        RunMismatchError: If the folder holds another run.
    """
    finished = records.open_run(description.folder, description.as_dict())
    if finished is None or finished.get("inputs") == inputs:
        return finished
    differing = "; ".join(records.differences(finished.get("inputs") or {}, inputs))
    aside = records.move_aside(description.folder)
    say(f"evaluated again, since {differing}; what was there is kept in {aside.name}")
    return records.open_run(description.folder, description.as_dict())


def attempt_row(
    benchmark: str,
    problem: Mapping[str, Any],
    attempts: Mapping[str, Sequence[Attempt]],
    verdicts: Mapping[str, Mapping[str, Verdict]],
) -> Record:
    """Return a problem's row of ``attempts.jsonl``: every attempt once, and what each way of decoding took of them.

    Args:
        attempts: By way of decoding, in the order made.
        verdicts: By way of decoding and rule.
    """
    different: list[Attempt] = []
    decodings = {}
    for decoding, made in attempts.items():
        different += [attempt for attempt in made if attempt not in different]
        row: Record = {"order": [different.index(attempt) for attempt in made], "kind": answering_kind(made)}
        for rule in RULES:
            verdict = verdicts[decoding][rule]
            answer = counting_attempt(made, rule).answers[rule]
            row[rule] = {"answer": answer, "outcome": verdict.outcome, "reason": verdict.reason}
        decodings[decoding] = row
    stored = [attempt.as_dict() for attempt in different]
    return {"benchmark": benchmark, **problem, "attempts": stored, "decodings": decodings}


def write_record(description: Evaluation, isolation: str, fields: Record) -> Record:
    """Write the record of an evaluation, which finishes it, and return it as it lies on disk.

    A ``world`` among the fields takes the place of the description's.
    """
    report = isolations.describe(isolation)
    record = {
        "page": "evaluate",
        "world": description.world,
        "parameters": description.as_dict(),
        "decoding": description.decoding,
        "split": description.split,
        **fields,
        "sandbox": {"level": report.level, "full": report.full, "summary": report.summary},
    }
    records.write_record(description.folder, record)
    return records.read_json(description.folder / "record.json")
