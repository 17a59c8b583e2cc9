"""Checks that a model cut over processes is the one that was loaded, and what each process holds of it."""

from __future__ import annotations

import os
from typing import Any

import torch
import torch.distributed as distributed
from transformers import TrainerCallback

from mammoth_utils.training.loop import guards, losses
from mammoth_utils.training.loop.encoding import Example

PACKED = 6  # examples that are read in one row and apart


class ShardLossCheck(TrainerCallback):
    """Compares the loss of one short example before and after the model was cut over the processes.

    The whole model is on the first process only before that, so it alone reads the example; afterwards all do. All
    also read a few short examples in one packed row and apart, as the run computes: the kernel that trains is not the
    one in which the first process read.

    Args:
        model: The whole model, where this process has it.
        examples: The run's; the shortest are taken.
        tolerance: Nats a token by which the cut may change the loss.
        packing: Nats a token by which packing may change it.
    """

    def __init__(self, model: Any, examples: list[Example], tolerance: float, packing: float) -> None:
        self.examples, self.tolerance, self.packing = sorted(examples, key=len)[:PACKED], tolerance, packing
        self.before = losses.mean_loss(model, self.examples[:1]) if int(os.environ.get("RANK", 0)) == 0 else None
        self.after: float | None = None
        self.packing_nats: float | None = None  # by which packing changed the loss
        self.trainer: Any = None

    def on_train_begin(self, args: Any, state: Any, control: Any, **rest: Any) -> None:
        model = self.trainer.model_wrapped
        with self.trainer.accelerator.autocast():
            self.packing_nats = guards.check_packing(model, self.examples, self.packing)
            if state.global_step:
                return  # a resumed run has other weights than the base
            self.after = losses.mean_loss(model, self.examples[:1])
        if self.before is not None:
            guards.check_sharded_loss(self.before, self.after, self.tolerance)

    @property
    def difference(self) -> float | None:
        """Return the nats by which cutting the model changed the loss; None where the run was resumed."""
        return None if self.after is None or self.before is None else abs(self.after - self.before)


class FirstLossCheck(TrainerCallback):
    """Compares the trainer's loss of its first step, which is taken before any update, with the base model's own.

    Args:
        rows: The packed rows of that step, of all processes.
        tolerance: Nats a token by which the two may differ.
        model: The base, which reads them at once. None where it will be cut: no process could read them in good time
            before that (a step of 70B takes a processor hours), so the shards do, each process its part of the rows,
            once :class:`ShardLossCheck` found that they are the base.
    """

    def __init__(self, rows: list[list[Example]], tolerance: float, model: Any = None) -> None:
        self.rows, self.tolerance = rows, tolerance
        self.difference: float | None = None  # nats a token, once the first step was taken
        self.expected = None if model is None else self._mean(sum(losses.row_loss(model, row) for row in rows))
        self.trainer: Any = None

    def _mean(self, nats: float) -> float:
        return nats / sum(len(example.answer) for row in self.rows for example in row)

    def on_train_begin(self, args: Any, state: Any, control: Any, **rest: Any) -> None:
        if self.expected is not None:
            return
        mine = self.rows[args.process_index :: args.world_size]  # as many in each process, which wait for each other
        with self.trainer.accelerator.autocast():
            nats = sum(losses.row_loss(self.trainer.model_wrapped, row) for row in mine)
        self.expected = self._mean(sum(part["nats"] for part in gather({"nats": nats})))

    def on_log(self, args: Any, state: Any, control: Any, logs: dict | None = None, **rest: Any) -> None:
        if state.global_step == 1 and logs and "loss" in logs:
            self.difference = guards.check_first_loss(float(logs["loss"]), self.expected, self.tolerance)


def shard_sizes(trainer: Any) -> dict[str, int]:
    """Return the bytes of weights and of optimiser states that this process holds, and that it would hold uncut."""

    def held(value: Any) -> int:
        local = value.to_local() if hasattr(value, "to_local") else value
        return local.numel() * local.element_size()

    weights = list(trainer.model.parameters())
    values = (value for state in trainer.optimizer.state.values() for value in state.values())
    states = [value for value in values if isinstance(value, torch.Tensor) and value.dim()]
    return {
        "weights": sum(map(held, weights)),
        "weights_whole": sum(p.numel() * p.element_size() for p in weights),
        "optimiser": sum(map(held, states)),
        "optimiser_whole": sum(s.numel() * s.element_size() for s in states),
    }


def gather(value: dict[str, Any]) -> list[dict[str, Any]]:
    """Return each process's value, by rank."""
    if not (distributed.is_available() and distributed.is_initialized()):
        return [value]
    values: list[Any] = [None] * distributed.get_world_size()
    distributed.all_gather_object(values, value)
    return values
