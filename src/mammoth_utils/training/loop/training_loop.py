"""The training loop: a run description and its rows to a trained model in memory and a curve on disk."""

from __future__ import annotations

import os
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from mammoth_utils import records
from mammoth_utils.base_models import architecture_of
from mammoth_utils.scales import scale
from mammoth_utils.training.description import RunDescription
from mammoth_utils.training.loop import batches, checkpoints, curve, encoding, guards, validation
from mammoth_utils.training.loop import model as models
from mammoth_utils.training.loop.encoded_rows import encode_once
from mammoth_utils.training.loop.run_folder import log_line
from mammoth_utils.training.loop.tokenizer import load_tokenizer
from mammoth_utils.training.loop.trackers import Trackers
from mammoth_utils.training.plan import this_machine
from mammoth_utils.training.plan.memory import GIB, memory_by_part

CHECKED_EXAMPLES = 6
SHARDING_TOLERANCE = 5e-2  # nats a token of one example: fp32 on the processor against 16 bit on the cards


@dataclass(frozen=True)
class TrainedRun:
    """A run after its last step, in this process.

    Attributes:
        trainer: Holds the trained model, or this process's share of it.
        examples: What was trained on.
        encoding: What became of the rows.
        layout: Which examples each step read.
        device: ``cpu`` or ``cuda``.
        compute: ``bf16``, ``fp16`` or ``fp32``.
        rank: This process.
        processes: How many share the run.
        sharded: Whether the model is cut over them.
        packing_nats: By how much packing changed the loss before the first step.
        first_nats: By how much the loss of the first step differed from the base's own; None where the run was resumed.
        sharding_nats: By how much cutting the model changed it; None where it was not cut, or the run was resumed.
        trained: Weights that were trained.
        held_out: The rows that were held out, or None.
        shards: Bytes that each process held, by rank.
        seconds: From the load of the tokenizer to the last step.
    """

    trainer: Any
    tokenizer: Any
    examples: list[encoding.Example]
    encoding: encoding.EncodingReport
    layout: batches.Layout
    points: list[dict[str, float]]
    device: str
    compute: str
    rank: int
    processes: int
    sharded: bool
    packing_nats: float
    first_nats: float | None
    sharding_nats: float | None
    trained: int
    total: int
    held_out: validation.HeldOut | None
    shards: list[dict[str, int]]
    seconds: float


def choose_device(description: RunDescription) -> str:
    """Return ``cuda`` where this process has a card that the run may use, else ``cpu``."""
    return "cuda" if not description.on_cpu and this_machine.find_gpus() else "cpu"


def training_autocast(device: str, compute: str) -> Any:
    """Return the autocast in which a run's model is read for a check, so that a card takes the kernel that will train.

    Beside fp32 weights the attention of a card in fp32 is another one. A processor has one for both, which computes in
    fp32, and is checked to more digits without.
    """
    import torch

    return torch.autocast(device, models.torch_dtype(compute), enabled=device == "cuda" and compute != "fp32")


def recomputes(description: RunDescription, tokens: int, device: str, compute: str) -> bool:
    """Return whether a run's activations are made again in the backward pass instead of kept.

    Never for the miniature, always on a card; on a CPU where kept they would take over half of the memory that is free,
    or nobody can say how much that is.
    """
    if description.miniature:
        return False
    free = this_machine.free_memory()
    if device == "cuda" or free is None:
        return True
    architecture = architecture_of(scale(description.size, description.family), description.base_path,
                                   description.revision)  # fmt: skip
    parts = memory_by_part(
        architecture, description.method, tokens, rank=description.lora_rank or 1,
        checkpointing=False, compute=compute, master=description.master_weights, dropout=description.lora_dropout,
        device="cpu", targets=description.lora_targets,
    )  # fmt: skip
    return sum(parts.values()) / GIB > free / 2


def run_loop(
    description: RunDescription, rows: list[dict[str, Any]], on_step: Callable[[dict], None], tracked: Trackers
) -> TrainedRun:
    """Train a run from its last checkpoint, or from the start, to its last step; every process calls.

    Raises:
        ValueError: If a row or the base model fails a guard.
        FloatingPointError: If the run diverges.
    """
    import torch

    from mammoth_utils.training.loop import shard_checks
    from mammoth_utils.training.loop import trainer as trainers

    started, folder, device = time.monotonic(), description.folder, choose_device(description)
    precision = guards.choose_precision(device)
    compute, tolerance = precision.compute, guards.LOSS_TOLERANCE[precision.compute]
    rank, processes = int(os.environ.get("RANK", 0)), int(os.environ.get("WORLD_SIZE", 1))
    sharded = processes > 1 and description.sharding == "fsdp2"

    def log(line: str) -> None:
        log_line(folder, line)

    log(f"{description.name}: {description.method} ({description.method_reason}); {precision.reason}")
    if description.master_weights != "fp32":
        log(f"warning: weights are kept in {description.master_weights}; at these rates most updates are "
            "smaller than its steps and are lost (measured: 84 % of the weights unchanged after 60 steps)")  # fmt: skip
    if description.skip_checks:
        log(f"warning: skip_checks={description.skip_checks}: what these checks find is recorded and stops nothing")
    tokenizer = load_tokenizer(description)
    rows, held_rows = validation.hold_out(rows, description.validation, description.seed)
    examples, report = _examples(description, rows, tokenizer, log)
    layout = batches.lay_out(
        [len(example) for example in examples], description.max_length, description.global_batch, description.epochs,
        description.max_steps, description.micro_batch, processes, description.seed,
        0 if device == "cuda" or description.miniature else batches.CPU_ROW_TOKENS,
    )  # fmt: skip
    log(f"{layout.steps} steps of {layout.examples_per_step:.2f} examples where {description.global_batch} are "
        f"asked, in {layout.rows_per_step} rows of at most {layout.longest_row} tokens; {processes} processes, "
        f"{layout.passes} passes each of {layout.micro_batch} rows")  # fmt: skip
    held_out = None
    if held_rows:
        held, left = encoding.encode_rows(held_rows, tokenizer, description.max_length)
        held_out = validation.HeldOut(held, layout.steps)
        log(f"{left.kept} of {left.rows} held-out rows are read every {held_out.every} steps")

    last = checkpoints.find_checkpoint(folder / "checkpoints", log)
    if last is not None:
        checkpoints.check_sharding(last, sharded)
    # Before the model: the arguments tell transformers that FSDP will cut it, so that one rank alone loads it whole.
    recompute = recomputes(description, layout.longest_row * layout.micro_batch, device, compute)
    if device == "cpu" and recompute:
        log("activations are computed again in the backward pass: kept, they would take over half of the free memory")
    options = trainers.trainer_arguments(description, device, compute, layout, recompute)
    options.report_to, options.run_name = tracked.names, tracked.run_name
    torch.manual_seed(description.seed)
    model = models.load_model(description, compute, device, sharded)
    guards.check_tokenizer(tokenizer, model.get_input_embeddings().num_embeddings)
    points = curve.Curve(folder / "curve.jsonl", on_step, write=rank == 0)
    callbacks = [curve.recorder(points, description.checkpoint_minutes, held_out)]
    packing = description.tolerance("packing", tolerance)
    packing_nats, shard_check, first_check = 0.0, None, None
    if sharded:
        shard_check = shard_checks.ShardLossCheck(
            model, examples[:1000], description.tolerance("shards", SHARDING_TOLERANCE), packing
        )
        callbacks.append(shard_check)
    else:
        with training_autocast(device, compute):
            packing_nats = guards.check_packing(model, examples[:CHECKED_EXAMPLES], packing)
    if last is None:
        first = [[examples[index] for index in row] for row in layout.rows[: layout.rows_per_step]]
        first_check = shard_checks.FirstLossCheck(
            first, description.tolerance("first_loss", tolerance), None if sharded or description.adapter else model
        )
        callbacks.append(first_check)
    trainer = trainers.build_trainer(description, model, tokenizer, examples, layout, options, callbacks, log)
    tracked.attach(trainer)
    if description.adapter:
        models.load_adapter(trainer.model, description.adapter)
    for callback in filter(None, (shard_check, first_check, held_out)):
        callback.trainer = trainer
    trained, total = models.count_weights(trainer.model)

    points.start(0 if last is None else int(last.name.split("-")[1]))
    if last is not None:
        before = records.read_json(last / checkpoints.MANIFEST)["processes"]
        other = f", which {before} processes wrote where {processes} go on" if before != processes else ""
        log(f"goes on from {last.name}{other}")
    trainer.train(resume_from_checkpoint=str(last) if last else None)
    return TrainedRun(
        trainer=trainer,
        tokenizer=tokenizer,
        examples=examples,
        encoding=report,
        layout=layout,
        points=points.rows,
        device=device,
        compute=compute,
        rank=rank,
        processes=processes,
        sharded=sharded,
        packing_nats=shard_check.packing_nats if shard_check else packing_nats,
        first_nats=first_check.difference if first_check else None,
        sharding_nats=shard_check.difference if shard_check else None,
        trained=trained,
        total=total,
        held_out=held_out,
        shards=shard_checks.gather(shard_checks.shard_sizes(trainer)),
        seconds=time.monotonic() - started,
    )


def _examples(
    description: RunDescription, rows: list[dict], tokenizer: Any, log: Callable[[str], None]
) -> tuple[list[encoding.Example], encoding.EncodingReport]:
    """Encode the rows, or raise ValueError if more than one and ``max_left_out`` of them would be left out."""
    if description.miniature:
        examples, report = encoding.encode_rows(rows, tokenizer, description.max_length)
    else:  # minutes on the real data, in each process and at each start
        folder = description.folder / "checkpoints"
        examples, report = encode_once(rows, tokenizer, description.max_length, folder, log)
    guards.check_labels([[example] for example in examples], tokenizer.eos_token_id)
    log(f"{report.rows} rows, {report.kept} kept, {report.too_long} over {description.max_length} tokens, "
        f"{report.special} with special tokens, {report.empty} empty")  # fmt: skip
    if report.named:
        log(f"left out: {'; '.join(report.named)}{' ...' if report.dropped > len(report.named) else ''}")
    if report.dropped > max(1, description.max_left_out * report.rows):
        raise ValueError(
            f"{report.dropped} of {report.rows} rows would be left out ({report.too_long} over max_length "
            f"{description.max_length}, the longest has {report.longest}; {report.special} with special tokens; "
            f"{report.empty} empty), more than max_left_out = {description.max_left_out:.0%}: "
            f"{'; '.join(report.named)}; "
            + ("take a larger max_length" if report.too_long else "mend or remove these rows")
        )
    return examples, report
