"""Bytes of the tensors that live in a process while it trains, and of the gradients that it holds after a pass."""

from __future__ import annotations

import gc
import os
import weakref
from pathlib import Path
from typing import Any

import torch
from torch.distributed.fsdp import FSDPModule
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves
from transformers import TrainerCallback

from mammoth_utils import records

SEEN = 2**20  # bytes; an operation that makes less moves the sum too little to be counted again


def local(tensor: torch.Tensor) -> torch.Tensor:
    """A tensor, or this process's share of one that is cut."""
    return getattr(tensor, "_local_tensor", tensor)


class LiveTensors(TorchDispatchMode):
    """Keeps the most bytes that storages held at once; those that a library empties in place count what is left."""

    def __init__(self) -> None:
        super().__init__()
        self.storages: weakref.WeakValueDictionary[int, Any] = weakref.WeakValueDictionary()
        self.most = 0
        for each in gc.get_objects():
            if isinstance(each, torch.Tensor):
                self.note(each)

    def note(self, tensor: torch.Tensor) -> int:
        storage = local(tensor).untyped_storage()
        if storage.device.type != "cpu":
            return 0
        self.storages[storage._cdata] = storage
        return storage.nbytes()

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        made = func(*args, **(kwargs or {}))
        if sum(self.note(leaf) for leaf in tree_leaves(made) if isinstance(leaf, torch.Tensor)) >= SEEN:
            self.most = max(self.most, sum(storage.nbytes() for storage in list(self.storages.values())))
        return made


class Watch(TrainerCallback):
    """Writes, after the last step, the most bytes that lived from the second step on and the gradients of a pass."""

    def __init__(self, place: Path) -> None:
        self.place, self.live, self.gradients = place, None, 0
        self.trainer: Any = None

    def on_step_begin(self, args: Any, state: Any, control: Any, **rest: Any) -> None:
        if state.global_step == 1:  # from here on a pass begins beside the optimiser's states
            self.live = LiveTensors()
            self.live.__enter__()

    def on_substep_end(self, args: Any, state: Any, control: Any, **rest: Any) -> None:
        held = [p.grad for p in self.trainer.model.parameters() if p.grad is not None]
        for module in self.trainer.model_wrapped.modules():
            for group in module._get_fsdp_state()._fsdp_param_groups if isinstance(module, FSDPModule) else ():
                for one in group.fsdp_params:
                    whole = getattr(one, "_unsharded_param", None)
                    held += [one.unsharded_accumulated_grad, None if whole is None else whole.grad]
        held = [gradient for gradient in held if gradient is not None]
        storages = {(s := local(gradient).untyped_storage())._cdata: s.nbytes() for gradient in held}
        self.gradients = max(self.gradients, sum(storages.values()))

    def on_step_end(self, args: Any, state: Any, control: Any, **rest: Any) -> None:
        if state.global_step < state.max_steps:
            return
        self.live.__exit__(None, None, None)
        arguments = self.trainer.args
        records.write_json(self.place / f"{args.process_index}.json", {
            "live": self.live.most, "gradients": self.gradients,
            "passes": arguments.gradient_accumulation_steps,
            "tokens": arguments.per_device_train_batch_size * arguments.max_length,
            "trained": sum(p.numel() for p in self.trainer.model.parameters() if p.requires_grad),
        })  # fmt: skip
        torch.distributed.is_initialized() and torch.distributed.barrier()
        os._exit(0)  # the export is no part of what is measured


class Types(TrainerCallback):
    """Writes in which types layers hand on, weights and averages are kept, and gradients are summed."""

    trainer: Any = None

    def on_train_begin(self, args: Any, state: Any, control: Any, **rest: Any) -> None:
        self.seen: dict[str, set[str]] = {"layers": set()}

        def note(module: Any, given: Any, made: Any) -> None:
            if module.training:
                self.seen["layers"].add(str(made[0].dtype if isinstance(made, tuple) else made.dtype))

        for module in self.trainer.model_wrapped.modules():
            if type(module).__name__.endswith("DecoderLayer"):
                module.register_forward_hook(note)

    def on_step_end(self, args: Any, state: Any, control: Any, **rest: Any) -> None:
        trained = [p for p in self.trainer.model.parameters() if p.requires_grad]
        states = [v for values in self.trainer.optimizer.state.values() for v in values.values() if v.dim()]
        self.seen |= {"trained": {str(p.dtype) for p in trained}, "averages": {str(v.dtype) for v in states}}
        if args.process_index == 0:
            seen = {key: sorted(value) for key, value in self.seen.items()}
            records.write_json(Path(os.environ["MAMMOTH_TEST_TYPES"]), seen)


def note_types(build: Any) -> Any:
    """The function that builds a run's trainer, with an eye on the types in which it computes."""

    def building(*arguments: Any, **options: Any) -> Any:
        trainer = build(*arguments, **options)
        types = Types()
        types.trainer = trainer
        trainer.add_callback(types)
        return trainer

    return building


def watch(build: Any) -> Any:
    """The function that builds a run's trainer, with a watch on what it builds."""

    def building(*arguments: Any, **options: Any) -> Any:
        trainer = build(*arguments, **options)
        watching = Watch(Path(os.environ["MAMMOTH_TEST_WATCHES"]))
        watching.trainer = trainer
        trainer.add_callback(watching)
        return trainer

    return building
