"""The contestants of ``speed/training.py``: trainers that read rationales of the same lengths, each in its own way."""

from __future__ import annotations

import dataclasses
import random
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch

from mammoth_utils.training import (
    CPU_ROW_TOKENS,
    IGNORE_INDEX,
    Example,
    RunDescription,
    build_trainer,
    cast_trained_to_fp32,
    describe,
    keep_four_bit,
    lay_out,
    lora_config,
    quantisation_config,
    register_packed_attention,
    torch_dtype,
    trainer_arguments,
)

OURS, PADDED, GROUPED, TRL = "ours", "padded", "grouped", "trl"
BATCH = 8  # sequences of a padded device pass


@dataclass(frozen=True)
class Case:
    """One contestant.

    Attributes:
        name: As the table calls it.
        way: ``ours``, ``padded`` (the plain Trainer in random order), ``grouped`` (the same with ``group_by_length``)
            or ``trl`` (TRL's own packing, ``bfd``, with SDPA).
        micro_batch: Sequences of a device pass: packed rows for ``ours`` and ``trl``.
        max_length: Tokens of a packed row.
        method: ``full``, ``lora`` or ``qlora``.
        weights: In what ``full`` keeps its weights.
        checkpointing: Whether activations are computed twice, to save memory; None as the scale's recipe has it.
        optimiser: transformers' name, or empty for the device's usual AdamW.
    """

    name: str
    way: str
    micro_batch: int = 1
    max_length: int = 2048
    method: str = "full"
    weights: str = "fp32"
    checkpointing: bool | None = None
    optimiser: str = ""


@dataclass(frozen=True)
class Setting:
    """What all contestants of a table share.

    Attributes:
        name: The scale as the table calls it.
        size: A size of ``scales.SIZES`` whose recipe is used.
        config: The net.
        folder: Its weights in Hugging Face form, or None: then they are random, made on the device.
        tokenizer: For the padding token.
        examples: The rationales.
        step: Examples of an optimiser step.
        steps: Steps that are timed.
        warming: Steps before them.
        device: ``cpu`` or ``cuda``.
        compute: ``bf16``, ``fp16`` or ``fp32``.
        scratch: An existing folder.
    """

    name: str
    size: str
    config: Any
    folder: Path | None
    tokenizer: Any
    examples: list[Example]
    step: int
    steps: int
    warming: int
    device: str
    compute: str
    scratch: Path


def model_of(setting: Setting, case: Case) -> Any:
    """Load or make the net as a contestant starts with it."""
    from transformers import AutoModelForCausalLM

    attention = register_packed_attention() if case.way == OURS else "sdpa"
    dtype = torch_dtype(case.weights if case.method == "full" else setting.compute)
    torch.manual_seed(0)
    folder = setting.folder
    if case.method == "qlora":  # only a loader quantises
        folder = folder or saved_weights(setting)
        options = {"quantization_config": quantisation_config(setting.compute, sharded=False)}
        if setting.device == "cuda":
            options["device_map"] = {"": 0}
        model = AutoModelForCausalLM.from_pretrained(folder, dtype=dtype, attn_implementation=attention, **options)
        keep_four_bit(model)
        return model
    if folder is not None:
        model = AutoModelForCausalLM.from_pretrained(folder, dtype=dtype, attn_implementation=attention)
        return model.to(setting.device)
    with torch.device(setting.device):
        return AutoModelForCausalLM.from_config(setting.config, dtype=dtype, attn_implementation=attention)


def saved_weights(setting: Setting) -> Path:
    """Write random weights in 16 bit once, and return their folder."""
    from transformers import AutoModelForCausalLM

    folder = setting.scratch / f"{setting.name.replace(' ', '-')}"
    if not (folder / "config.json").is_file():
        with torch.device(setting.device):
            model = AutoModelForCausalLM.from_config(setting.config, dtype=torch.bfloat16)
        model.save_pretrained(folder)
    return folder


def trainer_of(setting: Setting, case: Case, seed: int) -> Any:
    """Return a contestant's trainer, ready for ``train()``, over examples that the seed draws."""
    torch.manual_seed(seed)
    model = model_of(setting, case)
    drawn = random.Random(seed).sample(range(len(setting.examples)), len(setting.examples))
    if case.way == OURS:
        return _ours(setting, case, model, [setting.examples[index] for index in drawn], seed)
    return (_trl if case.way == TRL else _plain)(setting, case, model, drawn, seed)


def _description(setting: Setting, case: Case, seed: int) -> RunDescription:
    size = "1m" if setting.size == "random" else setting.size
    # One card or the CPU: what is compared is a trainer, not how it is spread.
    described = describe(size, method=case.method, micro_batch=case.micro_batch, max_length=case.max_length,
                                  seed=seed, devices="cpu" if setting.device == "cpu" else "1")  # fmt: skip
    weights = case.weights if case.method == "full" else described.master_weights
    return dataclasses.replace(described, global_batch=setting.step, master_weights=weights)


def _ours(setting: Setting, case: Case, model: Any, examples: list[Example], seed: int) -> Any:
    """Return the trainer as ``finetune`` builds it."""
    description = _description(setting, case, seed)
    steps = setting.warming + setting.steps
    layout = lay_out(
        [len(example) for example in examples], case.max_length, setting.step, max_steps=steps,
        micro_batch=case.micro_batch, seed=seed,
        row_tokens=0 if setting.device == "cuda" or description.miniature else CPU_ROW_TOKENS,
    )  # fmt: skip
    recompute = not description.miniature if case.checkpointing is None else case.checkpointing
    options = trainer_arguments(description, setting.device, setting.compute, layout, recompute)
    options.output_dir = str(setting.scratch)
    if case.optimiser:
        options.optim = case.optimiser
    return build_trainer(description, model, setting.tokenizer, examples, layout, options, [], lambda line: None)


def _shared(setting: Setting, case: Case, seed: int, accumulation: int) -> dict[str, Any]:
    """Return the arguments that all contestants share: AdamW, schedule, clipping, precision."""
    recipe = _description(setting, case, seed)
    checkpointing = not recipe.miniature if case.checkpointing is None else case.checkpointing
    return {
        "output_dir": str(setting.scratch),
        "per_device_train_batch_size": case.micro_batch,
        "gradient_accumulation_steps": accumulation,
        "max_steps": setting.warming + setting.steps,
        "learning_rate": recipe.learning_rate,
        "lr_scheduler_type": "cosine",
        "warmup_steps": recipe.warmup,
        "weight_decay": recipe.weight_decay,
        "max_grad_norm": 1.0,
        "optim": case.optimiser or "adamw_torch_fused",
        "logging_steps": recipe.logging_steps,
        "save_strategy": "no",
        "bf16": setting.compute == "bf16",
        "fp16": setting.compute == "fp16",
        "use_cpu": setting.device == "cpu",
        "activation_checkpointing": checkpointing,
        "seed": seed,
        "report_to": "none",
        "disable_tqdm": True,
        "remove_unused_columns": False,
        "dataloader_pin_memory": setting.device == "cuda",
    }


def _plain(setting: Setting, case: Case, model: Any, drawn: list[int], seed: int) -> Any:
    """Return the plain Trainer over batches that are padded to their longest, as Alpaca's script pads them.

    Grouped, its passes are drawn from the order that transformers' sampler gives to all of the pool: a few steps of
    one chunk would be all of the longest.
    """
    from transformers import Trainer, TrainingArguments
    from transformers.trainer_pt_utils import LengthGroupedSampler

    passes = setting.step // case.micro_batch
    if case.way == GROUPED:
        lengths = [len(setting.examples[index]) for index in drawn]
        generator = torch.Generator().manual_seed(seed)
        order = [drawn[place] for place in LengthGroupedSampler(setting.step, lengths=lengths, generator=generator)]
        whole = len(order) // case.micro_batch * case.micro_batch
        each = [order[start : start + case.micro_batch] for start in range(0, whole, case.micro_batch)]
        random.Random(seed).shuffle(each)
        drawn = [index for members in each for index in members]
    count = (setting.warming + setting.steps) * setting.step
    drawn = (drawn * (1 + count // len(drawn)))[:count]
    rows = [{"input_ids": e.input_ids, "labels": e.labels} for e in map(setting.examples.__getitem__, drawn)]
    padding = setting.tokenizer.pad_token_id

    def collate(some: list[dict[str, list[int]]]) -> dict[str, torch.Tensor]:
        def padded(key: str, value: int) -> torch.Tensor:
            return torch.nn.utils.rnn.pad_sequence([torch.tensor(row[key]) for row in some], True, value)

        # By length: as `input_ids != pad` a padding token that is also the end of sequence would be hidden.
        lengths = torch.tensor([len(row["input_ids"]) for row in some])
        ids = padded("input_ids", padding)
        mask = (torch.arange(ids.shape[1]) < lengths[:, None]).long()
        return {"input_ids": ids, "labels": padded("labels", IGNORE_INDEX), "attention_mask": mask}

    arguments = TrainingArguments(train_sampling_strategy="sequential", **_shared(setting, case, seed, passes))
    if case.method != "full":
        from peft import get_peft_model

        if case.method == "qlora" or arguments.gradient_checkpointing:
            model.enable_input_require_grads()
        model = get_peft_model(model, lora_config(_description(setting, case, seed)))
        cast_trained_to_fp32(model)
    return Trainer(model=model, args=arguments, train_dataset=rows, data_collator=collate)


def _trl(setting: Setting, case: Case, model: Any, drawn: list[int], seed: int) -> Any:
    """Return TRL's trainer, which packs by itself."""
    import datasets
    from trl import SFTConfig, SFTTrainer

    count = (setting.warming + setting.steps) * setting.step
    drawn = (drawn * (1 + count // len(drawn)))[: round(1.1 * count)]
    some = [setting.examples[index] for index in drawn]
    tokens = sum(map(len, some)) / len(some)
    passes = max(1, round(setting.step * tokens / (0.98 * case.max_length * case.micro_batch)))
    data = datasets.Dataset.from_dict({"input_ids": [e.input_ids for e in some], "labels": [e.labels for e in some]})
    arguments = SFTConfig(packing=True, packing_strategy="bfd", max_length=case.max_length,
                          **_shared(setting, case, seed, passes))  # fmt: skip
    peft = lora_config(_description(setting, case, seed))
    return SFTTrainer(model=model, args=arguments, train_dataset=data, processing_class=setting.tokenizer,
                      peft_config=peft)  # fmt: skip


@dataclass(frozen=True)
class Ran:
    """What one contestant did in the timed steps.

    Attributes:
        tokens: Tokens that are no padding.
        slots: Tokens that were computed, padding among them.
        squares: Sum of the squares of the documents' lengths, which attention costs.
        documents: Documents.
        processor_s: Seconds of the processor's clock.
        wall_s: Seconds.
        loss: Mean loss of the run, in nats a token.
        peak_gib: Most that was allocated on the card; None on a CPU.
        passes: Device passes.
    """

    tokens: int
    slots: int
    squares: int
    documents: int
    processor_s: float
    wall_s: float
    loss: float
    peak_gib: float | None
    passes: int = 0


def run(setting: Setting, case: Case, seed: int) -> Ran:
    """Train a contestant and time all steps but the first ones."""
    from transformers import PrinterCallback, TrainerCallback

    if setting.device == "cuda":
        torch.cuda.empty_cache()
        torch.cuda.reset_peak_memory_stats()
    trainer = trainer_of(setting, case, seed)
    seen = [0, 0, 0, 0, 0]
    marks: list[tuple[float, ...]] = []
    step = trainer.training_step

    def counting(model: Any, inputs: dict[str, Any], *rest: Any) -> Any:
        padded = "attention_mask" in inputs
        lengths = inputs["attention_mask"].sum(1) if padded else inputs["cu_seq_lens_q"].diff()
        for place, value in enumerate(
            (lengths.sum(), inputs["input_ids"].numel(), (lengths**2).sum(), len(lengths), 1)
        ):
            seen[place] += int(value)
        return step(model, inputs, *rest)

    class Clock(TrainerCallback):
        def on_step_end(self, *args: Any, **rest: Any) -> None:
            if setting.device == "cuda":
                torch.cuda.synchronize()
            marks.append((*seen, time.process_time(), time.perf_counter()))

    trainer.training_step = counting
    trainer.add_callback(Clock())
    trainer.remove_callback(PrinterCallback)
    loss = trainer.train().training_loss
    first, last = marks[setting.warming - 1], marks[-1]
    peak = torch.cuda.max_memory_allocated() / 2**30 if setting.device == "cuda" else None
    *counts, passes = (int(b - a) for a, b in zip(first[:5], last[:5], strict=True))
    return Ran(*counts, last[5] - first[5], last[6] - first[6], loss, peak, passes)
