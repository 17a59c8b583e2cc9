"""One training run seen from inside: the bytes that it holds and the memory that its process grows by.

The run is :func:`mammoth_utils.training.loop.finetune.finetune` itself on random weights, watched through torch's public
hooks; nothing of it is replaced. Started by :mod:`mammoth_utils.training.plan.measurements` in a process of its own, since
the peak of a process can be read once::

    python -m mammoth_utils.training.measuring CASE.json
"""

from __future__ import annotations

import contextlib
import ctypes
import dataclasses
import gc
import json
import re
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from mammoth_utils import paths, records

PASSES = 2  # device passes a step: from the second on a pass begins beside gradients, as in every real run
STEPS = 2  # from the second on a step begins beside the optimiser's states
WIDTH = 32  # of the tiny model that is trained first, so that imports and workspaces are no part of the growth


def rows(count: int) -> list[dict[str, Any]]:
    """Rationales of one length, so that every packed row has as many tokens as the next."""
    made = []
    for number in range(count):
        first, second = 100 + (37 * number) % 300, 100 + (53 * number) % 300
        made.append({
            "instruction": f"What is {first} plus {second}?", "kind": "cot", "source": "measured", "key": str(number),
            "output": f"{first} and {second} make {first + second}. The answer is {first + second}.",
        })  # fmt: skip
    return made


def write_base(folder: Path, shape: dict[str, Any], seed: int = 0) -> Path:
    """A folder with random weights in bf16 and the miniature's tokenizer, in the form in which bases are published.

    Args:
        folder: Where; made if it is not there.
        shape: Fields of a Llama or, with ``model_type: qwen2``, Qwen2 configuration.
        seed: Draws the weights.
    """
    import torch
    from transformers import AutoConfig, AutoModelForCausalLM, AutoTokenizer

    tokenizer = AutoTokenizer.from_pretrained(paths.miniature_models() / "llama-1m")
    fixed = {"max_position_embeddings": 2048, "bos_token_id": 1, "eos_token_id": 2, "pad_token_id": 0}
    config = AutoConfig.for_model(**{"model_type": "llama", **fixed, **shape})
    torch.manual_seed(seed)
    AutoModelForCausalLM.from_config(config, dtype=torch.bfloat16).save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    return Path(folder)


@dataclasses.dataclass(frozen=True)
class Case:
    """One run to measure.

    Attributes:
        size: The scale whose recipe is taken: ``1m``, or a real one for a base of any shape.
        base: Folder of the base model; empty for the scale's own.
        method: ``full``, ``lora`` or ``qlora``.
        checkpointing: Whether activations are recomputed, as at every real scale, or kept, as in the miniature.
        compute: ``bf16`` or ``fp32``.
        max_length: Tokens of a packed row.
    """

    size: str
    base: str
    method: str
    checkpointing: bool
    compute: str
    max_length: int


class Done(Exception):
    """The last step was taken: what a run leaves behind is no part of what it needs."""


def status() -> dict[str, int]:
    """Bytes that this process holds now and held at most, as Linux counts them."""
    text = Path("/proc/self/status").read_text()
    return {key: 1024 * int(re.search(rf"{name}:\s+(\d+)", text)[1]) for key, name in
            (("now", "VmRSS"), ("most", "VmHWM"))}  # fmt: skip


def forget_peak() -> int:
    """Give freed memory back, set the peak to what is held now, and say how much that is, in bytes."""
    gc.collect()
    ctypes.CDLL(None).malloc_trim(0)
    Path("/proc/self/clear_refs").write_text("5")
    return status()["now"]


class Watch:
    """What a run's forward passes save and its optimiser holds, by torch's own hooks."""

    def __init__(self) -> None:
        self.model: Any = None
        self.known: set[int] = set()
        self.shapes: set[tuple[int, ...]] = set()
        self.saved: dict[int, int] = {}
        self.copies: dict[int, int] = {}
        self.most: dict[str, int] = {}
        self.held: dict[str, int] = {}

    @contextlib.contextmanager
    def watching(self) -> Iterator[Watch]:
        """Count while the context is open."""
        import torch
        from torch.nn.modules.module import register_module_forward_pre_hook
        from torch.optim.optimizer import register_optimizer_step_post_hook

        handles = [register_module_forward_pre_hook(self._enter), register_optimizer_step_post_hook(self._stepped)]
        try:
            with torch.autograd.graph.saved_tensors_hooks(self._pack, lambda tensor: tensor):
                yield self
        finally:
            for handle in handles:
                handle.remove()

    def _enter(self, module: Any, args: tuple) -> None:
        import torch

        if not torch.is_grad_enabled():
            return
        if hasattr(module, "get_input_embeddings") and hasattr(module, "config") and self._outermost(module):
            self._keep()
            self.saved, self.copies = {}, {}

    def _outermost(self, module: Any) -> bool:
        if self.model is None or any(one is self.model for one in module.modules()):
            self.model = module
            self.known = {p.untyped_storage().data_ptr() for p in module.parameters()}
            self.known |= {b.untyped_storage().data_ptr() for b in module.buffers()}
            self.shapes = {tuple(sorted(p.shape)) for p in module.parameters() if p.dim() == 2}
        return module is self.model

    def _pack(self, tensor: Any) -> Any:
        storage = tensor.untyped_storage()
        key = storage.data_ptr()
        if key in self.known or tensor.device.type == "meta":
            return tensor
        weight = tensor.dim() == 2 and tuple(sorted(tensor.shape)) in self.shapes
        (self.copies if weight else self.saved)[key] = storage.nbytes()
        return tensor

    def _keep(self) -> None:
        """Hold on to the counts of the pass before, if they are the largest so far."""
        for name in ("saved", "copies"):
            self.most[name] = max(self.most.get(name, 0), sum(getattr(self, name).values()))

    def _stepped(self, optimiser: Any, args: tuple, kwargs: dict) -> None:
        import torch

        self._keep()
        trained = [p for group in optimiser.param_groups for p in group["params"]]
        gradients = [p.grad for p in trained if p.grad is not None]
        states = [v for state in optimiser.state.values() for v in state.values() if torch.is_tensor(v)]
        weights = list(self.model.parameters())
        for parameter in list(weights):
            state = getattr(parameter, "quant_state", None)
            if state is not None:
                weights += [state.absmax, state.code, state.offset, state.state2.absmax, state.state2.code]
        self.held = {"trained": sum(p.numel() for p in trained), "weights": _bytes(weights),
                     "gradients": _bytes(gradients), "optimiser": _bytes(states)}  # fmt: skip


def _bytes(tensors: list[Any]) -> int:
    """Bytes of the tensors' storages, each counted once."""
    return sum({(s := tensor.untyped_storage()).data_ptr(): s.nbytes() for tensor in tensors}.values())


def run(case: Case, name: str, watch: Watch | None = None) -> dict[str, Any]:
    """What a run of two steps grew by at the steps' ends; given a watch, which costs a little memory, what it held."""
    from mammoth_utils.training import describe, finetune

    description = describe(case.size, method=case.method, base=case.base, max_length=case.max_length, max_steps=STEPS,
                           devices="cpu", name=name)  # fmt: skip
    tokens, labels = lengths(description.base_path)
    per_row = case.max_length // tokens
    description = dataclasses.replace(
        description,
        # The world decides on checkpointing: the miniature keeps what larger models recompute.
        world="real" if case.checkpointing else "miniature",
        global_batch=per_row * PASSES,
        checkpoint_minutes=0.0,
        logging_steps=1,
    )
    peaks: list[int] = []
    seen: list[float] = []

    def on_step(point: dict[str, float]) -> None:
        peaks.append(status()["most"])
        seen.append(point["tokens"])
        if len(peaks) == STEPS:
            raise Done

    before = forget_peak()
    with watch.watching() if watch else contextlib.nullcontext(), contextlib.suppress(Done):
        finetune(description, rows(per_row * PASSES * STEPS), on_step=on_step)
    if len(peaks) != STEPS:
        raise RuntimeError(f"expected a point of the curve after each of {STEPS} steps, got {len(peaks)}")
    return {
        "tokens": int(seen[-1]) // (PASSES * STEPS),
        "labels": per_row * labels,
        "rank": description.lora_rank,
        "dropout": description.lora_dropout,
        "growth": [peak - before for peak in peaks],
        **({"held": watch.held, "most": watch.most} if watch else {}),
    }


def lengths(base: str) -> tuple[int, int]:
    """Tokens of one of :func:`rows`, and how many of them the loss sees."""
    from transformers import AutoTokenizer

    from mammoth_utils.training.loop import encoding

    examples, _ = encoding.encode_rows(rows(1), AutoTokenizer.from_pretrained(base), 2048)
    return len(examples[0]), len(examples[0].answer)


def main() -> None:
    """Measure the case that a JSON file describes and print what was seen as one line of JSON."""
    from mammoth_utils.training.loop import guards

    file = Path(sys.argv[1])
    case = Case(**records.read_json(file))
    # In what a run computes follows from the processor; here both are measured on one.
    guards.precision = lambda device: guards.Precision(case.compute, "as the measurement asks")
    tiny = write_base(file.parent / "tiny", {
        "vocab_size": 768, "hidden_size": WIDTH, "intermediate_size": 2 * WIDTH, "num_hidden_layers": 2,
        "num_attention_heads": 2, "num_key_value_heads": 1, "tie_word_embeddings": True,
    })  # fmt: skip
    run(dataclasses.replace(case, size="7b", base=str(tiny)), "tiny")
    alone = run(case, "alone")  # first, in a process as fresh as can be
    print("MEASURED " + json.dumps({**run(case, "watched", Watch()), **alone}))


if __name__ == "__main__":
    main()
