"""TRL's trainer as this book uses it: rows in our order, checkpoints whole or not at all, a stop at divergence."""

from __future__ import annotations

import math
import os
import shutil
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
import torch.distributed as distributed
from transformers import PrinterCallback, Trainer, TrainerCallback
from trl import SFTConfig, SFTTrainer

from mammoth_utils import records
from mammoth_utils.status_line import duration
from mammoth_utils.training.description import RunDescription
from mammoth_utils.training.loop import batches, checkpoints, guards, losses
from mammoth_utils.training.loop import model as models
from mammoth_utils.training.loop.encoding import Example
from mammoth_utils.training.loop.packed_attention import NAME
from mammoth_utils.training.loop.trackers import PROJECT
from mammoth_utils.training.plan.memory import scores_whole_head


class PassClock:
    """Times three passes of a run on a CPU, after a first one that fills memory, and says how long the run will take.

    Args:
        say: Called once, with the line.
    """

    PASSES = 3

    def __init__(self, layout: batches.Layout, say: Callable[[str], None]) -> None:
        self._layout, self._say = layout, say
        self._begun, self._tokens, self._since = 0, 0, 0.0

    def begin_pass(self, tokens: int, steps_done: int) -> None:
        """Note that a pass of so many tokens begins, after so many whole steps."""
        self._begun += 1
        if self._begun == 2:
            self._since = time.monotonic()
        if self._begun == 2 + self.PASSES:
            rate = self._tokens / max(time.monotonic() - self._since, 1e-9)
            left = self._layout.tokens * (1 - steps_done / self._layout.steps)
            self._say(f"{self.PASSES} passes of {self._tokens:,} tokens: {rate:.0f} tokens a second on this processor; "
                      f"the {left:,.0f} that are left will take about {duration(left / rate)}")  # fmt: skip
        if 2 <= self._begun < 2 + self.PASSES:
            self._tokens += tokens


class PackedTrainer(SFTTrainer):
    """TRL's trainer whose checkpoints appear complete, by a rename, or do not appear.

    A disk without room costs that checkpoint alone: the run says so and goes on, and the last good one stays.
    """

    say: Callable[[str], None] = staticmethod(print)
    clock: PassClock | None = None

    def compute_loss(
        self, model: Any, inputs: dict[str, Any], return_outputs: bool = False, num_items_in_batch: Any = None
    ) -> Any:
        """Return TRL's loss; on a CPU without the scores of positions that have no label (see ``losses``)."""
        if self.clock is not None:
            self.clock.begin_pass(inputs["input_ids"].numel(), self.state.global_step)
        row = self.args.per_device_train_batch_size * self.args.max_length
        whole = scores_whole_head(self.model.config.vocab_size, row, self.args.device.type)
        if return_outputs or num_items_in_batch is None or not (whole and self.model.training):
            return super().compute_loss(model, inputs, return_outputs, num_items_in_batch)
        loss = losses.summed_loss(model, inputs) / torch.as_tensor(num_items_in_batch).clamp(min=1)
        # The count is that of all processes, and their gradients are averaged.
        if self.args.average_tokens_across_devices:
            loss = loss * self.accelerator.num_processes
        tokens = torch.tensor(inputs["input_ids"].numel())
        self._total_train_tokens += int(self.accelerator.gather_for_metrics(tokens).sum())
        self._metrics["train"]["num_tokens"] = [self._total_train_tokens]
        return loss

    def _clip_grad_norm(self, model: Any) -> Any:
        """Return the gradient's norm before it was clipped; called once a step, before the update."""
        norm = super()._clip_grad_norm(model)
        whole = norm.full_tensor() if hasattr(norm, "full_tensor") else norm
        self._stop_if_diverged(float(self._tr_loss), float(whole))
        return norm

    def _stop_if_diverged(self, loss: float, norm: float) -> None:
        """Raise FloatingPointError in every process unless losses and gradient are finite in all of them.

        Weights and checkpoints are then still those of the step before. With loss scaling an infinite gradient is part
        of the search for the scale, and its step is left out.
        """
        wrong = {"loss": loss} if self.args.fp16 else {"loss": loss, "gradient's norm": norm}
        wrong = {what: value for what, value in wrong.items() if not math.isfinite(value)}
        if everywhere(not wrong):
            return
        last = checkpoints.find_checkpoint(Path(self.args.output_dir))
        values = ", ".join(f"its {what} is {value}" for what, value in wrong.items()) or "in another process of the run"
        advice = [f"with a learning_rate below {self.args.learning_rate:g}"]
        if self.args.fp16:
            advice.append("on a card that computes in bf16 (this one takes fp16)")
        raise FloatingPointError(
            f"step {self.state.global_step + 1} has no finite loss or gradient ({values}): the run has diverged and "
            "stops before this update, so no weights or checkpoint hold it. Train " + " or ".join(advice)
            + (f". The last good checkpoint is {last.name}: started again as it is, the run goes on from there and "
            "most likely ends here again" if last else "; there is no checkpoint yet")
        )  # fmt: skip

    def _save_checkpoint(self, model: Any, trial: Any) -> None:
        place = Path(self.args.output_dir)
        part = place / checkpoints.PART
        if self.args.should_save:
            shutil.rmtree(part, ignore_errors=True)
            part.mkdir(parents=True)
        self.accelerator.wait_for_everyone()
        self.args.output_dir, failure = str(part), None
        try:
            # Past TRL's own method, which writes a model card into the folder that is about to be renamed.
            Trainer._save_checkpoint(self, model, trial)
        except Exception as error:
            failure = error
        finally:
            self.args.output_dir = str(place)
        written = everywhere(failure is None)
        if written and self.args.should_save:
            try:
                checkpoints.commit(part / f"checkpoint-{self.state.global_step}", place, self.args.world_size)
            except OSError as error:
                failure = error
        if not (written and everywhere(failure is None)):
            if self.args.should_save:
                shutil.rmtree(part, ignore_errors=True)
            if failure is not None and not records.is_disk_full(failure):
                raise failure
            last = next(iter(checkpoints.list_checkpoints(place)), None)
            self.say(
                f"the checkpoint of step {self.state.global_step} was not written, the disk has no room "
                f"({type(failure).__name__}: {failure}); the run goes on, "
                + (f"the last good one is {last.name}" if last else "and there is none to go on from")
            )
            return
        self.accelerator.wait_for_everyone()


def everywhere(fact: bool) -> bool:
    """Return whether something holds in every process of the run."""
    if not (distributed.is_available() and distributed.is_initialized()):
        return fact
    flag = torch.tensor([int(fact)], device="cuda" if distributed.get_backend() == "nccl" else "cpu")
    distributed.all_reduce(flag, op=distributed.ReduceOp.MIN)
    return bool(flag.item())


def trainer_arguments(
    description: RunDescription, device: str, compute: str, layout: batches.Layout, recompute: bool
) -> SFTConfig:
    """Return TRL's arguments for a layout whose rows are read in order; one epoch of them is the whole run.

    With ``recompute`` a layer's activations are made again in the backward pass instead of kept.
    """
    sharded = description.sharding == "fsdp2" and int(os.environ.get("WORLD_SIZE", 1)) > 1
    fsdp_config = {
        "version": 2,
        "reshard_after_forward": True,
        # The trainer's instead, in every case. accelerate's puts a wrapper into the modules' names, by which PEFT picks
        # the adapters out of the weights: it then saves none, in checkpoints and at the end. It also forgets the random
        # state, so that a layer made again draws another dropout. FSDP2 keeps what it gathered for the backward pass
        # while a layer is made again, so the trainer's gathers nothing twice.
        "activation_checkpointing": False,
        "cpu_ram_efficient_loading": True,
        "state_dict_type": "SHARDED_STATE_DICT",
    }
    options: dict[str, Any] = {}
    if sharded:
        # Gradients are summed over the cards, and each keeps its share, in every pass. By default only the last pass of
        # a step does so, and until then each card keeps all gradients whole and in fp32: 48 GiB at 13B.
        options = {"fsdp": True, "fsdp_config": fsdp_config,
                   "accelerator_config": {"gradient_accumulation_kwargs": {"sync_each_batch": True}}}  # fmt: skip
    return SFTConfig(
        output_dir=str(description.folder / "checkpoints"),
        per_device_train_batch_size=layout.micro_batch,
        gradient_accumulation_steps=layout.passes,
        num_train_epochs=1,
        max_steps=layout.steps,
        train_sampling_strategy="sequential",
        learning_rate=description.learning_rate,
        lr_scheduler_type="cosine",
        warmup_steps=description.warmup,  # below 1 it is a share of the steps
        weight_decay=description.weight_decay,
        max_grad_norm=1.0,
        # Fused takes a third of the time of the other one, on a CPU too.
        optim="adamw_torch_fused" if description.optimizer == "adamw" else description.optimizer,
        logging_strategy="steps",
        logging_steps=description.logging_steps,
        logging_first_step=True,
        # Else a loss that is no number is logged as if it were that of the steps before, and the run goes on: see
        # PackedTrainer, which stops.
        logging_nan_inf_filter=False,
        # The first process alone reads a sharded base, while the others wait for their shares: 140 GB of 70B take over
        # half an hour, torch's own limit, from a disk below 80 MB/s, and three hours only from one below 13.
        ddp_timeout=3 * 3600,
        save_strategy="no",  # by the clock instead: see curve.recorder
        save_total_limit=2,
        eval_strategy="no",
        bf16=compute == "bf16",
        fp16=compute == "fp16",
        use_cpu=device == "cpu",
        activation_checkpointing=recompute,
        # A layer that is made again draws the dropout that it drew: else gradients are those of another net.
        activation_checkpointing_kwargs={"use_reentrant": False, "preserve_rng_state": True},
        seed=description.seed,
        data_seed=description.seed,
        report_to="none",
        project=PROJECT,
        disable_tqdm=True,
        remove_unused_columns=False,
        dataloader_pin_memory=device == "cuda",
        ddp_find_unused_parameters=False,
        packing=True,
        packing_strategy="bfd",
        max_length=description.max_length,
        dataset_kwargs={"skip_prepare_dataset": True},
        **options,
    )


def build_trainer(
    description: RunDescription,
    model: Any,
    tokenizer: Any,
    examples: list[Example],
    layout: batches.Layout,
    options: SFTConfig,
    callbacks: list[TrainerCallback],
    say: Callable[[str], None] = print,
) -> PackedTrainer:
    """Return the trainer of a run, asserted to be what the description says.

    Raises:
        RuntimeError: If the attention is another one, or FSDP2 is asked for and accelerate runs something else: on a
            CPU, for one, it would train by plain data parallelism without a word.
    """
    trainer = PackedTrainer(
        model=model,
        args=options,
        train_dataset=batches.make_dataset(layout, examples),
        processing_class=tokenizer,
        peft_config=models.lora_config(description),
        callbacks=callbacks,
    )
    compute = "bf16" if options.bf16 else "fp16" if options.fp16 else "fp32"
    trainer.say = say
    if options.use_cpu and not description.miniature:
        models.use_fast_dropout(trainer.model)
        trainer.clock = PassClock(layout, say)
    trainer.remove_callback(PrinterCallback)
    attention = trainer.model.config._attn_implementation
    if attention != NAME:
        raise RuntimeError(f"expected attention {NAME!r} in the trainer, got {attention!r}")
    if options.fsdp and not trainer.accelerator.is_fsdp2:
        raise RuntimeError(
            f"the run is to be sharded by FSDP2 over {options.world_size} processes, accelerate runs "
            f"{trainer.accelerator.distributed_type}; FSDP2 needs GPUs here, or sharding=none"
        )
    if options.fsdp and (options.bf16 or options.fp16):
        from torch.distributed.fsdp import MixedPrecisionPolicy

        # accelerate's own policy also sums gradients over the cards in 16 bit, and casts what the model returns: the
        # log-probabilities, and with them the loss, become multiples of 1/256 of themselves (measured: full, LoRA and
        # QLoRA then print the same loss to the last digit). Outputs are not cast to fp32 either: the policy is every
        # layer's, so that what goes from one to the next would be fp32, and the head's products with it.
        trainer.accelerator.state.fsdp_plugin.mixed_precision_policy = MixedPrecisionPolicy(
            param_dtype=models.torch_dtype(compute), reduce_dtype=torch.float32
        )
    if description.master_weights == "fp32":
        models.cast_trained_to_fp32(trainer.model)
    guards.check_dtypes(trainer.model, description.method, compute, description.master_weights)
    guards.check_padding(trainer.data_collator([trainer.train_dataset[0]]))
    return trainer
