"""A training run in this process: the loop, the export of what was trained, and the record."""

from __future__ import annotations

import contextlib
import os
import shutil
import time
from collections.abc import Callable
from typing import Any

from mammoth_utils import paths, records
from mammoth_utils.base_models import check_weights, fetch_base, identify_base
from mammoth_utils.processors import count_cores
from mammoth_utils.records import Record
from mammoth_utils.silence_libraries import silent_training
from mammoth_utils.training.description import RunDescription
from mammoth_utils.training.export import model_card, model_folder, saved_run
from mammoth_utils.training.loop import curve, guards, training_loop, validation
from mammoth_utils.training.loop.run_folder import claim_folder, identify_adapter, lock_folder, log_line, rows_hash
from mammoth_utils.training.loop.trackers import Trackers, check
from mammoth_utils.training.readiness import check_readiness, result_bytes


def finetune(
    description: RunDescription,
    rows: list[dict[str, Any]],
    on_step: Callable[[dict[str, float]], None] | None = None,
    resume: bool = True,
) -> Record:
    """Train a run, leave its weights, curve and record in ``runs/train/<name>/``, and return the record.

    In the folder: ``run.json`` first, ``rows.jsonl`` (what was trained on), ``curve.jsonl``, ``train.log``,
    ``model/`` (full) or ``adapter/`` (LoRA, QLoRA; with a merged ``model/`` for small bases), and last
    ``record.json``. A finished run is read. An unfinished one goes on from its last complete checkpoint, with the
    losses that it would have had undisturbed; killed before the first one, it starts again.

    Args:
        rows: The mixture in its order, each with ``instruction``, ``output``, ``kind`` and ``source``.
        on_step: Called with each point of the curve: step, loss, lr, tokens, seconds, memory_gib.
        resume: Whether what stands in the folder is used; otherwise it is moved aside.

    Raises:
        RunMismatchError: If the folder holds a run of another description.
        NotReadyError: If weights, a GPU or disk are missing.
        ValueError: If a row or the base model fails a guard.
    """
    worker = "RANK" in os.environ  # of torchrun, which prepared the folder
    with contextlib.nullcontext() if worker else lock_folder(description.folder):
        if worker:
            check_start(description)
        elif (record := prepare_folder(description, rows, resume)) is not None:
            return record
        return _train_and_export(description, rows, on_step or (lambda point: None))


def prepare_folder(description: RunDescription, rows: list[dict[str, Any]], resume: bool = True) -> Record | None:
    """Claim a run's folder, check that the run can start, and fetch its base model; the caller holds the folder.

    Returns:
        The record of a run that has finished there; None where it is to be trained.

    Raises:
        RunMismatchError, NotReadyError: As in :func:`finetune`.
    """
    record = claim_folder(description, rows, resume)
    if record is None:
        check_start(description)
        base = fetch_base(*description.base_source, say=lambda line: log_line(description.folder, line))
        check_weights(base, finite=True)  # once more, of one that was only fetched now
    return record


def check_start(description: RunDescription) -> None:
    """Raise NotReadyError, MissingTrackerError or ValueError unless the run can start on this machine."""
    guards.check_template()
    check(description)
    for line in check_readiness(description):
        log_line(description.folder, line)


def _train_and_export(
    description: RunDescription, rows: list[dict[str, Any]], on_step: Callable[[dict], None]
) -> Record:
    """Run the loop, save and verify what was trained, and write the record; only the first process returns one."""
    import torch

    started, folder, threads = time.monotonic(), description.folder, torch.get_num_threads()
    if training_loop.choose_device(description) == "cpu":
        # A run of the miniature on two threads is slower than on one, at times twenty times slower.
        torch.set_num_threads(1 if description.miniature else count_cores())
    try:
        with silent_training(), Trackers(description) as tracked:
            run = training_loop.run_loop(description, rows, on_step, tracked)
            saved = saved_run.save_with_room(
                description, run, result_bytes(description), lambda line: log_line(folder, line)
            )
            if run.rank != 0:
                return {}
            record = _record(description, rows, run, saved) | {"seconds": time.monotonic() - started}
            try:
                model_card.write_card(folder, record)
                records.write_record(folder, record)
            except OSError as error:
                if not records.is_disk_full(error):
                    raise
                shutil.rmtree(folder / "checkpoints", ignore_errors=True)  # what was trained is saved and verified
                model_card.write_card(folder, record)
                records.write_record(folder, record)
            shutil.rmtree(folder / "checkpoints", ignore_errors=True)
            log_line(folder, f"finished: {record['steps']} steps, {record['seconds']:.0f} s")
            tracked.send_record(record)
            return records.read_json(folder / "record.json")
    finally:
        torch.set_num_threads(threads)


def _record(
    description: RunDescription, rows: list[dict[str, Any]], run: training_loop.TrainedRun, saved: saved_run.SavedRun
) -> Record:
    """Return the record: what went into the run, and what came of it."""
    import torch

    end, layout, report = run.points[-1], run.layout, run.encoding
    more: Record = {"adapter": identify_adapter(description)} if description.adapter else {}
    if run.held_out is not None:
        more["validation"] = validation.summarise(run.points, run.held_out, description.validation)
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
            **_provenance(description.dataset),
        },
        "base": identify_base(*description.base_source),
        "losses": {"first": run.points[0]["loss"], "last": curve.tail(run.points), "mean": curve.mean(run.points)},
        "drift": saved.checks,
        "merging": saved.merging,
        "peak_memory_gib": end["memory_gib"],
        "tokens_per_second": end["tokens"] / max(end["seconds"], 1e-9),
        "tokens": {"mixture": report.tokens, "supervised": report.supervised, "seen": int(end["tokens"])},
        "model": {
            "folder": saved.folders[0],
            "folders": saved.folders,
            "hash": model_folder.weights_hash(description.folder / saved.folders[0]),
            "parameters": run.total,
            "trained": run.trained,
            "trainable_share": run.trained / run.total,
        },
        "environment": records.environment(
            threads=torch.get_num_threads(), device=f"{run.processes} x {run.device}", dtype=run.compute
        ),
        "packing": {
            "rows": len(layout.rows),
            "fill": layout.fill(description.max_length),
            "longest_row": layout.longest_row,
            "rows_per_step": layout.rows_per_step,
            "passes": layout.passes,
            "global_batch": description.global_batch,
            "examples_per_step": layout.examples_per_step,
            "packed_minus_unpacked_nats": run.packing_nats,
            "first_minus_base_nats": run.first_nats,
            "sharded_minus_whole_nats": run.sharding_nats,
        },
        "shards": run.shards,
        "steps": run.trainer.state.global_step,
        "training_seconds": run.seconds,
        **more,
    }


def _provenance(dataset: str) -> Record:
    """Return what the data set's own record says of its origin.

    ``files`` are the public files that each source of a rebuilt data set was read from: their licences bind a model
    that was trained on them; sources of the release and the miniature name none. ``inputs`` has the SHA-256 of what the
    data set was made from: of the release, of the benchmarks that it was compared with, or of your own file (for one
    that went through the curation's checks, in ``own``).
    """
    file = paths.runs() / "curate" / dataset / "record.json"
    record = records.read_json(file) if file.is_file() else {}
    files = {source["name"]: list(source["files"]) for source in record.get("sources") or [] if source.get("files")}
    return {"files": files, **{key: record[key] for key in ("inputs", "own", "columns") if key in record}}
