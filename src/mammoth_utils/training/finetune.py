"""Fine-tuning: a run description and its rows to weights, a curve and a record."""

from __future__ import annotations

import contextlib
import os
import shutil
import time
from collections.abc import Callable
from typing import Any

from mammoth_utils import records
from mammoth_utils.training import adapters, checkpoints, curve, encoding, guards, planner, results
from mammoth_utils.training.describe import RunDescription
from mammoth_utils.training.folder import alone, claim, rows_hash, say
from mammoth_utils.training.quiet import quiet

CHECKED_EXAMPLES = 6


def finetune(
    description: RunDescription,
    rows: list[dict[str, Any]],
    on_step: Callable[[dict[str, float]], None] | None = None,
    resume: bool = True,
) -> dict[str, Any]:
    """The record of a run, which leaves ``runs/train/<name>/`` with its weights, curve and record.

    In the folder: ``run.json`` first, ``rows.jsonl`` (what was trained on), ``curve.jsonl``, ``train.log``,
    ``model/`` (full) or ``adapter/`` (LoRA, QLoRA; with ``model/`` folded together for small bases), and last
    ``record.json``. A finished run is read. An unfinished one goes on from its last complete checkpoint; where none
    is kept (the miniature) it starts again.

    Args:
        description: The run.
        rows: The mixture in its order, each with ``instruction``, ``output``, ``kind`` and ``source``.
        on_step: Called with each point of the curve: step, loss, lr, tokens, seconds.
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
        for line in guards.ready(description):
            say(folder, line)
        return _run(description, rows, on_step or (lambda row: None))


def device_of(description: RunDescription) -> str:
    """``cuda`` where this process has a card that the run may use, else ``cpu``."""
    if description.devices == "cpu" or (description.miniature and description.devices == "auto"):
        return "cpu"
    return "cuda" if planner.gpus() else "cpu"


def accumulation(description: RunDescription, examples: int, packed_rows: int, world: int) -> int:
    """Device passes per optimiser step, so that a step holds ``global_batch`` examples on the average.

    Under packing a row holds many examples: 128 rows would be eight times the paper's batch, with an eighth of its
    steps and of its schedule.
    """
    rows_per_step = description.global_batch * packed_rows / examples
    return max(1, round(rows_per_step / (description.micro_batch * world)))


def _run(description: RunDescription, rows: list[dict], on_step: Callable[[dict], None]) -> dict[str, Any]:
    import torch

    device = device_of(description)
    precision = guards.precision(device)
    threads = torch.get_num_threads()
    if description.miniature and device == "cpu":
        torch.set_num_threads(1)  # one run on two threads is slower than on one, at times twenty times slower
    try:
        with quiet():
            return _train(description, rows, on_step, device, precision)
    finally:
        torch.set_num_threads(threads)


def _train(
    description: RunDescription,
    rows: list[dict],
    on_step: Callable[[dict], None],
    device: str,
    precision: guards.Precision,
) -> dict[str, Any]:
    import datasets
    import torch
    from transformers import PrinterCallback
    from trl import SFTTrainer

    from mammoth_utils.training.attention import NAME

    started, folder = time.monotonic(), description.folder
    rank, world = int(os.environ.get("RANK", 0)), int(os.environ.get("WORLD_SIZE", 1))
    sharded = world > 1 and device == "cuda" and not description.miniature
    say(folder, f"{description.name}: {description.method} ({description.method_reason}); {precision.reason}")

    tokenizer = adapters.load_tokenizer(description)
    examples, report = encoding.encode_rows(rows, tokenizer, description.max_length)
    packed = encoding.pack(examples, description.max_length, description.seed)
    guards.labels(packed, tokenizer.eos_token_id)
    passes = accumulation(description, len(examples), len(packed), world)
    per_step = passes * description.micro_batch * world * len(examples) / len(packed)
    fill = report.tokens / (len(packed) * description.max_length)
    say(folder, f"{report.rows} rows, {report.kept} kept, {report.too_long} over {description.max_length} tokens, "
        f"{report.special} with special tokens, {report.empty} empty; {len(packed)} packed rows, {fill:.1%} full; "
        f"{per_step:.1f} examples a step where {description.global_batch} are asked")  # fmt: skip

    # Before the model: the arguments tell transformers that FSDP will cut it, so that one rank alone loads it whole.
    arguments = _arguments(description, device, precision.compute, passes, sharded)
    torch.manual_seed(description.seed)
    model = adapters.load_model(description, precision.compute, device, sharded)
    guards.tokenizer_fits(tokenizer, model.get_input_embeddings().num_embeddings)
    drift = None
    if not sharded:
        drift = guards.packed_equals_unpacked(model, examples[:CHECKED_EXAMPLES], guards.TOLERANCE[precision.compute])

    log = curve.Curve(folder / "curve.jsonl", on_step, write=rank == 0)
    trainer = SFTTrainer(
        model=model,
        args=arguments,
        train_dataset=datasets.Dataset.from_dict(encoding.columns(packed)),
        processing_class=tokenizer,
        peft_config=adapters.lora_config(description),
        callbacks=[curve.recorder(log, description.checkpoint_minutes)],
    )
    trainer.remove_callback(PrinterCallback)
    if trainer.model.config._attn_implementation != NAME:
        raise RuntimeError(
            f"expected attention {NAME!r} in the trainer, got {trainer.model.config._attn_implementation!r}"
        )
    if sharded and "FSDP" not in str(trainer.accelerator.distributed_type):
        raise RuntimeError(f"expected FSDP over {world} cards, accelerate runs {trainer.accelerator.distributed_type}")
    if not sharded:
        adapters.to_float(trainer.model)
    trained, total = adapters.count(trainer.model)

    last = checkpoints.last_complete(folder / "checkpoints", lambda line: say(folder, line))
    log.start(0 if last is None else int(last.name.split("-")[1]))
    if last is not None:
        say(folder, f"goes on from {last.name}")
    trainer.train(resume_from_checkpoint=str(last) if last else None)
    trained_seconds = time.monotonic() - started

    names = results.leave(description, trainer, tokenizer, sharded, rank, total, precision.compute)
    if rank != 0:
        return {}
    points = log.rows
    record = {
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
        },
        "base": guards.base_identity(description),
        "model": {
            "folder": names[0],
            "folders": names,
            "hash": checkpoints.weights_hash(folder / names[0]),
            "parameters": total,
            "trained": trained,
            "trainable_share": trained / total,
        },
        "environment": records.environment(
            threads=torch.get_num_threads(), device=f"{world} x {device}", dtype=precision.compute
        ),
        "tokens": {
            "mixture": report.tokens,
            "supervised": report.supervised,
            "seen": int(points[-1]["tokens"]),
        },
        "packing": {
            "rows": len(packed),
            "fill": fill,
            "examples_per_row": len(examples) / len(packed),
            "rows_per_step": passes * description.micro_batch * world,
            "examples_per_step": per_step,
            "packed_minus_unpacked_nats": drift,
        },
        "steps": trainer.state.global_step,
        "losses": {"first": points[0]["loss"], "last": curve.tail(points), "mean": curve.mean(points)},
        "training_seconds": trained_seconds,
        "tokens_per_second": points[-1]["tokens"] / max(points[-1]["seconds"], 1e-9),
        "seconds": time.monotonic() - started,
    }  # fmt: skip
    records.write_record(folder, record)
    shutil.rmtree(folder / "checkpoints", ignore_errors=True)
    say(folder, f"finished: {record['steps']} steps, {record['seconds']:.0f} s")
    return records.read_json(folder / "record.json")


def _arguments(description: RunDescription, device: str, compute: str, passes: int, sharded: bool) -> Any:
    """TRL's arguments for a run on rows that are packed already."""
    from trl import SFTConfig

    large = not description.miniature
    options: dict[str, Any] = {}
    if sharded:
        options = {
            "fsdp": True,
            "fsdp_config": {
                "version": 2,
                "reshard_after_forward": True,
                "activation_checkpointing": True,
                "cpu_ram_efficient_loading": True,
                "state_dict_type": "FULL_STATE_DICT",
            },
        }
    return SFTConfig(
        output_dir=str(description.folder / "checkpoints"),
        per_device_train_batch_size=description.micro_batch,
        gradient_accumulation_steps=passes,
        num_train_epochs=description.epochs,
        max_steps=description.max_steps or -1,
        learning_rate=description.learning_rate,
        lr_scheduler_type="cosine",
        warmup_steps=description.warmup,  # below 1 it is a share of the steps
        weight_decay=description.weight_decay,
        max_grad_norm=1.0,
        optim="adamw_torch_fused" if device == "cuda" else "adamw_torch",
        logging_strategy="steps",
        logging_steps=description.logging_steps,
        logging_first_step=True,
        save_strategy="no",  # by the clock instead: see curve.recorder
        save_total_limit=2,
        eval_strategy="no",
        bf16=compute == "bf16",
        fp16=compute == "fp16",
        use_cpu=device == "cpu",
        activation_checkpointing=large and not sharded,
        seed=description.seed,
        data_seed=description.seed,
        report_to="none",
        disable_tqdm=True,
        dataloader_pin_memory=device == "cuda",
        ddp_find_unused_parameters=False,
        packing=True,
        packing_strategy="bfd",
        max_length=description.max_length,
        dataset_kwargs={"skip_prepare_dataset": True},
        **options,
    )
