"""Fine-tuning: a run description and its rows to weights, a curve and a record."""

from __future__ import annotations

import contextlib
import os
import shutil
import time
from collections.abc import Callable
from typing import Any

from mammoth_utils import paths, records
from mammoth_utils.base_models import fetch_base, identify_base
from mammoth_utils.silence_libraries import silent_training
from mammoth_utils.training.description import RunDescription
from mammoth_utils.training.export import model_card, verify_losses
from mammoth_utils.training.loop import batches, checkpoints, curve, encoding, guards, trackers
from mammoth_utils.training.loop import model as adapters
from mammoth_utils.training.loop.run_folder import alone, claim, rows_hash, say
from mammoth_utils.training.plan.this_machine import find_gpus
from mammoth_utils.training.readiness import check_readiness

CHECKED_EXAMPLES = 6
SHARDING_TOLERANCE = 5e-2  # nats a token of one example: fp32 on the processor against 16 bit on the cards


def finetune(
    description: RunDescription,
    rows: list[dict[str, Any]],
    on_step: Callable[[dict[str, float]], None] | None = None,
    resume: bool = True,
) -> dict[str, Any]:
    """The record of a run, which leaves ``runs/train/<name>/`` with its weights, curve and record.

    In the folder: ``run.json`` first, ``rows.jsonl`` (what was trained on), ``curve.jsonl``, ``train.log``,
    ``model/`` (full) or ``adapter/`` (LoRA, QLoRA; with ``model/`` folded together for small bases), and last
    ``record.json``. A finished run is read. An unfinished one goes on from its last complete checkpoint, with the
    losses that it would have had undisturbed; killed before the first one, it starts again.

    Args:
        description: The run.
        rows: The mixture in its order, each with ``instruction``, ``output``, ``kind`` and ``source``.
        on_step: Called with each point of the curve: step, loss, lr, tokens, seconds, memory_gib.
        resume: Whether what stands in the folder is used; otherwise it is moved aside.

    Raises:
        RunMismatchError: If the folder holds a run of another description.
        NotReadyError: If weights, a GPU or disk are missing.
        ValueError: If a row or the base model fails a guard.
    """
    folder, inside = description.folder, "RANK" in os.environ
    with contextlib.nullcontext() if inside else alone(folder):
        if not inside:
            finished = claim(description, rows, resume)
            if finished is not None:
                return finished
        guards.template()
        trackers.check(description)
        for line in check_readiness(description):
            say(folder, line)
        if not inside:
            fetch_base(*description.base_source, say=lambda line: say(folder, line))
        return _run(description, rows, on_step or (lambda row: None))


def device_of(description: RunDescription) -> str:
    """``cuda`` where this process has a card that the run may use, else ``cpu``."""
    if description.devices == "cpu" or (description.miniature and description.devices == "auto"):
        return "cpu"
    return "cuda" if find_gpus() else "cpu"


def as_it_trains(device: str, compute: str) -> Any:
    """The autocast in which a run's net is read for a check, so that a card takes the kernel that will train.

    Beside fp32 weights the attention of a card in fp32 is another one. A processor has one for both, which computes in
    fp32, and is checked to more digits without.
    """
    import torch

    return torch.autocast(device, adapters.dtype_of(compute), enabled=device == "cuda" and compute != "fp32")


def _run(description: RunDescription, rows: list[dict], on_step: Callable[[dict], None]) -> dict[str, Any]:
    import torch

    device = device_of(description)
    precision = guards.precision(device)
    threads = torch.get_num_threads()
    if description.miniature and device == "cpu":
        torch.set_num_threads(1)  # one run on two threads is slower than on one, at times twenty times slower
    try:
        with silent_training(), trackers.open(description) as tracked:

            def told(point: dict[str, float]) -> None:
                on_step(point)
                tracked(point)

            record = _train(description, rows, told, device, precision)
            tracked.summary(record)
            return record
    finally:
        torch.set_num_threads(threads)


def _examples(
    description: RunDescription, rows: list[dict], tokenizer: Any
) -> tuple[list[encoding.Example], encoding.EncodingReport]:
    """The rows as token ids; refused if too large a share of them has to be left out.

    Raises:
        ValueError: If more than ``max_left_out`` of the rows are too long, empty or hold special tokens.
    """
    examples, report = encoding.encode_rows(rows, tokenizer, description.max_length)
    guards.labels([[example] for example in examples], tokenizer.eos_token_id)
    say(description.folder, f"{report.rows} rows, {report.kept} kept, {report.too_long} over {description.max_length} "
        f"tokens, {report.special} with special tokens, {report.empty} empty")  # fmt: skip
    if report.dropped > description.max_left_out * report.rows:
        raise ValueError(
            f"{report.dropped} of {report.rows} rows would be left out ({report.too_long} over max_length "
            f"{description.max_length}, the longest has {report.longest}; {report.special} with special tokens; "
            f"{report.empty} empty), more than max_left_out = {description.max_left_out:.0%}; take a larger max_length"
        )
    return examples, report


def _train(
    description: RunDescription,
    rows: list[dict],
    on_step: Callable[[dict], None],
    device: str,
    precision: guards.Precision,
) -> dict[str, Any]:
    import torch

    from mammoth_utils.training.loop import shard_checks
    from mammoth_utils.training.loop import trainer as trainers

    started, folder, compute = time.monotonic(), description.folder, precision.compute
    rank, world = int(os.environ.get("RANK", 0)), int(os.environ.get("WORLD_SIZE", 1))
    sharded = world > 1 and description.sharding == "fsdp2"
    say(folder, f"{description.name}: {description.method} ({description.method_reason}); {precision.reason}")
    if description.master_weights != "fp32":
        say(folder, f"warning: weights are kept in {description.master_weights}; at these rates most updates are "
            "smaller than its steps and are lost (measured: 84 % of the weights unchanged after 60 steps)")  # fmt: skip

    tokenizer = adapters.load_tokenizer(description)
    examples, report = _examples(description, rows, tokenizer)
    layout = batches.lay_out(
        [len(example) for example in examples], description.max_length, description.global_batch, description.epochs,
        description.max_steps, description.micro_batch, world, description.seed,
    )  # fmt: skip
    say(folder, f"{layout.steps} steps of {layout.examples_per_step:.2f} examples where {description.global_batch} are "
        f"asked, in {layout.rows_per_step} rows of at most {layout.longest_row} tokens; {world} processes, "
        f"{layout.passes} passes each")  # fmt: skip

    # Before the model: the arguments tell transformers that FSDP will cut it, so that one rank alone loads it whole.
    options = trainers.arguments(description, device, compute, layout)
    torch.manual_seed(description.seed)
    model = adapters.load_model(description, compute, device, sharded)
    guards.tokenizer_fits(tokenizer, model.get_input_embeddings().num_embeddings)
    drift, agree, starts = None, None, None
    last = checkpoints.last_complete(folder / "checkpoints", lambda line: say(folder, line))
    log = curve.Curve(folder / "curve.jsonl", on_step, write=rank == 0)
    callbacks = [curve.recorder(log, description.checkpoint_minutes)]
    if sharded:
        agree = shard_checks.ShardsAgree(model, examples[:1000], SHARDING_TOLERANCE, guards.TOLERANCE[compute])
        callbacks.append(agree)
    else:
        with as_it_trains(device, compute):
            drift = guards.packed_equals_unpacked(model, examples[:CHECKED_EXAMPLES], guards.TOLERANCE[compute])
    if last is None:
        first = [[examples[index] for index in row] for row in layout.rows[: layout.rows_per_step]]
        starts = shard_checks.StartsAsTheBase(first, guards.TOLERANCE[compute], None if sharded else model)
        callbacks.append(starts)
    trainer = trainers.build(
        description, model, tokenizer, examples, layout, options, callbacks, lambda line: say(folder, line)
    )
    for callback in filter(None, (agree, starts)):
        callback.trainer = trainer
    trained, total = adapters.count(trainer.model)

    log.start(0 if last is None else int(last.name.split("-")[1]))
    if last is not None:
        before = checkpoints.processes(last)
        other = f", which {before} processes wrote where {world} go on" if before != world else ""
        say(folder, f"goes on from {last.name}{other}")
    trainer.train(resume_from_checkpoint=str(last) if last else None)
    training_seconds = time.monotonic() - started

    held = shard_checks.gathered(shard_checks.shard_sizes(trainer))
    left = verify_losses.finish(description, trainer, tokenizer, sharded, rank, total, compute, examples, device)
    if rank != 0:
        return {}
    record = {
        **_inputs(description, rows, report),
        **_outputs(log.rows, left),
        "tokens": {
            "mixture": report.tokens,
            "supervised": report.supervised,
            "seen": int(log.rows[-1]["tokens"]),
        },
        "model": {
            "folder": left.folders[0],
            "folders": left.folders,
            "hash": checkpoints.weights_hash(folder / left.folders[0]),
            "parameters": total,
            "trained": trained,
            "trainable_share": trained / total,
        },
        "environment": records.environment(
            threads=torch.get_num_threads(), device=f"{world} x {device}", dtype=compute
        ),
        "packing": {
            "rows": len(layout.rows),
            "fill": layout.fill(description.max_length),
            "longest_row": layout.longest_row,
            "rows_per_step": layout.rows_per_step,
            "passes": layout.passes,
            "global_batch": description.global_batch,
            "examples_per_step": layout.examples_per_step,
            "packed_minus_unpacked_nats": agree.drift if agree else drift,
            "sharded_minus_whole_nats": agree.difference if agree else None,
        },
        "shards": held,
        "steps": trainer.state.global_step,
        "training_seconds": training_seconds,
        "seconds": time.monotonic() - started,
    }
    model_card.write(folder, record)
    records.write_record(folder, record)
    shutil.rmtree(folder / "checkpoints", ignore_errors=True)
    say(folder, f"finished: {record['steps']} steps, {record['seconds']:.0f} s")
    return records.read_json(folder / "record.json")


def _inputs(description: RunDescription, rows: list[dict], report: encoding.EncodingReport) -> dict[str, Any]:
    """The part of the record that says what went into the run."""
    return {
        "world": description.world,
        "page": "train",
        "name": description.name,
        "parameters": description.as_dict(),
        "dataset": {
            "name": description.dataset,
            "mixture": description.mixture,
            "rows": report.rows,
            "sha256": rows_hash(rows),
            "encoding": report.as_dict(),
            "files": _files(description.dataset),
        },
        "base": identify_base(*description.base_source),
    }


def _files(dataset: str) -> dict[str, list[str]]:
    """The public files that each source of a rebuilt data set was read from, as its curation recorded them.

    Their licences bind a model that was trained on them. Empty for a set whose sources name none: those of the release
    and the miniature, and one that was curated elsewhere.
    """
    record = paths.runs() / "curate" / dataset / "record.json"
    sources = records.read_json(record).get("sources") or [] if record.is_file() else []
    return {one["name"]: list(one["files"]) for one in sources if one.get("files")}


def _outputs(points: list[dict[str, float]], left: verify_losses.Left) -> dict[str, Any]:
    """The part of the record that says what came of the run, from its curve and from what it left."""
    end = points[-1]
    return {
        "losses": {"first": points[0]["loss"], "last": curve.tail(points), "mean": curve.mean(points)},
        "drift": left.drift,
        "merging": left.merging,
        "peak_memory_gib": end["memory_gib"],
        "tokens_per_second": end["tokens"] / max(end["seconds"], 1e-9),
    }
