"""An evaluation from its description to its record: asked and run through one queue, or graded from a file."""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Callable, Sequence
from contextlib import ExitStack
from dataclasses import asdict

from mammoth_utils import records
from mammoth_utils.base_models import dequantised_folder, fetch_model, find_cached, is_gguf
from mammoth_utils.evaluation import benchmarks as sets
from mammoth_utils.evaluation.attempts import PROGRAM_TIMEOUT_S, answering_kind
from mammoth_utils.evaluation.completion_store import CompletionStore
from mammoth_utils.evaluation.completions_file import grade_completions_file
from mammoth_utils.evaluation.description import Evaluation
from mammoth_utils.evaluation.engines.decoders import ServedDecoder, load_decoder
from mammoth_utils.evaluation.engines.endpoint import is_endpoint
from mammoth_utils.evaluation.engines.requests import Decoder
from mammoth_utils.evaluation.engines.servers import CONTEXT, choose_engine, serve
from mammoth_utils.evaluation.hybrid import PromptSettings
from mammoth_utils.evaluation.own_benchmarks import read_problems
from mammoth_utils.evaluation.progress import Progress
from mammoth_utils.evaluation.run_folder import attempt_row, claim, inputs_of, write_record
from mammoth_utils.evaluation.scheduler import AttemptsByDecoding, Failure, Schedule
from mammoth_utils.evaluation.scoring import BenchmarkScore, grade_attempts
from mammoth_utils.programs import Sandbox
from mammoth_utils.rationale import Problem
from mammoth_utils.records import Record

PROMPT_ROOM = 2048  # tokens of the longest prompt, eight worked examples included
MISSING = "missing.json"  # in the run's folder: the requests without a completion


class MissingCompletionsError(RuntimeError):
    """Some requests have no completion; the message says how many, why, and what to do."""


def evaluate(
    description: Evaluation,
    decoder: Decoder | None = None,
    device: str = "auto",
    concurrency: int = 0,
    threads: int = 0,
    isolation: str = "auto",
    say: Callable[[str], None] = print,
    show: Callable[[str], None] | None = None,
    usd_per_hour: float = 0.0,
) -> Record:
    """Return the record of an evaluation: read if it is finished, gone on with if it was cut off, else made.

    Every completion is on disk as it arrives, so that nothing is asked twice. A finished record is moved aside and made
    again where the weights, the problems or a version of what decides a verdict is another than when it was made; the
    completions of the same weights are then graded again, and only prompts that were never asked are decoded.

    Args:
        description: From ``describe_evaluation``.
        decoder: In place of the one that the description names, which is loaded only if something is left to decode.
        device, threads: As ``load_decoder`` takes them.
        concurrency: Prompts decoded together, or requests at once at a server; 0 chooses.
        isolation: How programs are confined: ``"full"`` refuses to run where it cannot hold.
        say: Called with a line for the reader: what is fetched, why a finished evaluation is made again, what the rest
            will take.
        show: Called with the line of progress whenever it changes, such as a ``StatusLine``.
        usd_per_hour: Price of the machine, for the cost that is foretold.

    Raises:
        RunMismatchError: If the folder holds another run.
        MissingCompletionsError: If requests failed that others did not share their fate with; nothing is filled in.
        EndpointError: If the server cannot be asked.
    """
    inputs = inputs_of(description, say)
    if (finished := claim(description, inputs, say)) is not None:
        return finished
    if description.completions:
        return grade_completions_file(description, inputs, isolation, say)
    started = time.perf_counter()
    problems = {name: _problems(description, name) for name in description.benchmarks}
    progress = Progress(show, say, usd_per_hour)
    every = [problem for listed in problems.values() for problem in listed]
    attempts, failures, decoders = ask_problems(
        description, every, inputs["weights"], decoder, device, concurrency, threads, isolation, say, progress
    )
    missing = description.folder / MISSING
    if failures:
        records.write_json(missing, [_missing_row(failure) for failure in failures])
        raise MissingCompletionsError(_missing_words(failures, progress, missing))
    missing.unlink(missing_ok=True)
    rows, scores = _grade(description, problems, attempts)
    records.write_jsonl(description.folder / "attempts.jsonl", rows)
    fields = _fields(description, inputs, decoders, scores, time.perf_counter() - started)
    completions = {"completions": sum(len(row["attempts"]) for row in rows), "decoded": progress.new}
    return write_record(description, isolation, {**fields, **completions})


def ask_problems(
    description: Evaluation,
    problems: Sequence[Problem],
    weights: str,
    decoder: Decoder | None = None,
    device: str = "auto",
    concurrency: int = 0,
    threads: int = 0,
    isolation: str = "auto",
    say: Callable[[str], None] = print,
    progress: Progress | None = None,
) -> tuple[list[AttemptsByDecoding | None], list[Failure], list[Record]]:
    """Ask the model of a description some problems, by its ways of decoding, and run the programs that it writes.

    Args:
        weights: The model's hash, as ``run_folder.model_identity`` returns it; its stored completions are read.
        decoder, device, concurrency, threads, isolation, say: As ``evaluate`` takes them.

    Returns:
        What ``Schedule.run`` returns, and the decoders whose completions were read or made.
    """
    engine = "" if description.engine == "auto" else description.engine
    store = CompletionStore(weights, engine)
    decodings = (description.decoding, *description.also)
    settings = PromptSettings(description.max_new_tokens, description.styles, description.shots)
    with ExitStack() as servers, Sandbox(timeout_s=PROGRAM_TIMEOUT_S, isolation=isolation) as sandbox:

        def load() -> Decoder:
            return decoder or _load(description, device, concurrency, threads, servers, say)

        attempts, failures = Schedule(problems, decodings, settings, store, load, sandbox, progress).run()
    return attempts, failures, store.used()


def _problems(description: Evaluation, name: str) -> list[Problem]:
    benchmark = description.benchmark(name)
    if benchmark.world == sets.OWN:
        return read_problems(benchmark, description.limit)
    return sets.load(name, description.split, description.limit)


def _load(
    description: Evaluation,
    device: str,
    concurrency: int,
    threads: int,
    servers: ExitStack,
    say: Callable[[str], None],
) -> Decoder:
    """Load the decoder of a description, or start the server that it names; ``servers`` stops it."""
    model, adapter = description.model, description.adapter
    mini, dequantise = description.world == "miniature", description.dequantise
    engine = choose_engine(description.engine, model, adapter, mini, dequantise)
    if engine == "endpoint":
        return load_decoder(model, batch=concurrency)
    # By its folder: by its name a newer commit of the hub might be loaded than the one that the record names.
    place = model if is_gguf(model) else fetch_model(model, say)
    if engine == "transformers":
        place = str(dequantised_folder(place, say)) if is_gguf(place) else place
        loaded = load_decoder(place, adapter or None, device, concurrency, threads, dequantise)
        loaded.name = model
        return loaded
    context = max(CONTEXT, description.max_new_tokens + PROMPT_ROOM)
    started = serve(
        engine, place, description.folder, adapter, name=description.name, context=context, parallel=concurrency,
        threads=threads, say=say,
    )  # fmt: skip
    return ServedDecoder(servers.enter_context(started), engine, model, adapter, concurrency)


def _missing_row(failure: Failure) -> Record:
    problem, step = failure.problem, failure.step
    about = {"benchmark": problem.set.split("/")[0], "id": problem.id, "kind": step.kind, "reason": failure.reason}
    return {**about, "prompt": step.request.prompt}


def _missing_words(failures: list[Failure], progress: Progress, file: object) -> str:
    """Return how many completions are missing, of what, why, and how they are asked again."""
    reasons = Counter(failure.reason for failure in failures)
    most, count = reasons.most_common(1)[0]
    others = f" and {len(reasons) - 1} other reasons" if len(reasons) > 1 else ""
    ids = ", ".join(failure.problem.id for failure in failures[:5]) + (", ..." if len(failures) > 5 else "")
    return (
        f"{len(failures)} requests have no completion ({ids}): {most} ({count} of them){others}. The other "
        f"{progress.stored + progress.new:,} completions are kept, and there is no record with gaps: repeat the "
        f"command to ask for the missing ones alone. They are listed in {file}"
    )


def _grade(
    description: Evaluation, problems: dict[str, list[Problem]], attempts: list[AttemptsByDecoding | None]
) -> tuple[list[Record], dict[str, dict[str, BenchmarkScore]]]:
    """Return the rows of ``attempts.jsonl`` and the scores by way of decoding and benchmark."""
    decodings = (description.decoding, *description.also)
    rows: list[Record] = []
    scores = {decoding: {name: BenchmarkScore() for name in problems} for decoding in decodings}
    by_problem = iter(attempts)
    for name, listed in problems.items():
        rules = description.benchmark(name).rules
        for problem in listed:
            fields, made, verdicts = asdict(problem), next(by_problem), {}
            for decoding in decodings:
                verdicts[decoding] = grade_attempts(problem, made[decoding], rules)
                scores[decoding][name].add(fields, answering_kind(made[decoding]), verdicts[decoding])
            rows.append(attempt_row(name, fields, made, verdicts))
    return rows, scores


def _fields(
    description: Evaluation,
    inputs: Record,
    decoders: list[Record],
    scores: dict[str, dict[str, BenchmarkScore]],
    seconds: float,
) -> Record:
    """Return what the record holds besides the description."""
    entries = {
        decoding: {name: score.entry(description.benchmark(name)) for name, score in by_name.items()}
        for decoding, by_name in scores.items()
    }
    shown = description.as_dict()
    model = {key: shown[key] for key in ("size", "family", "mixture", "method", "seed", "model", "adapter", "base")}
    decoder = {key: value for key, value in decoders[0].items() if key != "completions"}
    return {
        "model": {"name": description.name, **model, "hash": inputs["weights"], **_commit(description.model)},
        "benchmarks": entries.pop(description.decoding),
        "decodings": entries,
        "inputs": inputs,
        "decoder": decoder,
        **({"decoders": decoders} if len(decoders) > 1 else {}),
        "environment": records.environment(decoder["threads"], decoder["device"], decoder["dtype"]),
        "seconds": round(seconds, 2),
    }


def _commit(model: str) -> Record:
    """Return the commit of a model of the hub, for its record; nothing for any other."""
    snapshot = None if is_endpoint(model) else find_cached(model)
    return {"revision": snapshot.name} if snapshot is not None else {}
