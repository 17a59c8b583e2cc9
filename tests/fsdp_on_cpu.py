"""``python -m fsdp_on_cpu RUN.json``: a worker of torchrun that shards by FSDP2 on a CPU, in tests alone.

accelerate shards on GPUs only: on a CPU it takes ``fsdp`` for plain data parallelism, without a word. Told that its
processes have GPUs it shards by torch's own FSDP2, over gloo, and everything behind that is what runs on cards.
"""

from __future__ import annotations

import os
import runpy
import signal

from accelerate import state
from accelerate.utils import DistributedType

_original = state.PartialState.__init__


def _with_gpus(self, *arguments, **options):
    _original(self, *arguments, **options)
    if self.distributed_type == DistributedType.MULTI_CPU:
        self.distributed_type = DistributedType.MULTI_GPU


state.PartialState.__init__ = _with_gpus

if os.environ.get("MAMMOTH_TEST_FP32") or os.environ.get("MAMMOTH_TEST_BF16"):
    from mammoth_utils.training.loop import guards

    _compute = "fp32" if os.environ.get("MAMMOTH_TEST_FP32") else "bf16"
    guards.choose_precision = lambda device: guards.Precision(_compute, "asked for by a test")

if os.environ.get("MAMMOTH_TEST_DIES_AFTER"):
    from mammoth_utils.training.loop import curve

    _add = curve.Curve.add

    def _last(self, step, *arguments):
        point = _add(self, step, *arguments)
        if step == int(os.environ["MAMMOTH_TEST_DIES_AFTER"]):
            os.kill(os.getpid(), signal.SIGKILL)
        return point

    curve.Curve.add = _last

if os.environ.get("MAMMOTH_TEST_NAN_IN_RANK") == os.environ.get("RANK"):
    from mammoth_utils.training.loop import losses

    _summed, _passes = losses.summed_loss, [0]

    def _lost(model, inputs):
        _passes[0] += 1
        return _summed(model, inputs) * (float("nan") if _passes[0] >= 3 else 1)

    losses.summed_loss = _lost

if os.environ.get("MAMMOTH_TEST_LOSS_TIMES"):
    from mammoth_utils.training.loop import losses

    _true = losses.summed_loss
    losses.summed_loss = lambda model, inputs: _true(model, inputs) * float(os.environ["MAMMOTH_TEST_LOSS_TIMES"])

if os.environ.get("MAMMOTH_TEST_KEEPS_ACTIVATIONS"):
    from mammoth_utils.training.loop import trainer

    _config = trainer.SFTConfig

    def _keeping(**options):
        options["fsdp_config"]["activation_checkpointing"] = False
        return _config(**options | {"activation_checkpointing": False})

    trainer.SFTConfig = _keeping

if os.environ.get("MAMMOTH_TEST_WATCHES"):
    import live_tensors

    from mammoth_utils.training.loop import trainer

    trainer.build_trainer = live_tensors.watch(trainer.build_trainer)

if os.environ.get("MAMMOTH_TEST_TYPES"):
    import live_tensors

    from mammoth_utils.training.loop import trainer

    trainer.build_trainer = live_tensors.note_types(trainer.build_trainer)

if __name__ == "__main__":
    runpy.run_module("mammoth_utils.training", run_name="__main__")
