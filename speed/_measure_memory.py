"""The memory of training runs on random weights of many shapes, seen from inside.

``python speed/_measure_memory.py`` makes ``records/real/hardware.json`` again, in about an hour on one core and within
4 GB. Each run is ``finetune`` itself, observed through torch's public hooks, in a process of its own, since the peak of
a process can be read once. The page ``hardware`` compares the record with the planner.
"""

from __future__ import annotations

import argparse
import contextlib
import ctypes
import dataclasses
import datetime
import gc
import json
import os
import re
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parent.parent / "src"))

from mammoth_utils import paths, records
from mammoth_utils.records import Record
from mammoth_utils.training import (
    EXACT_PARTS,
    MEASURE_COMMAND,
    MEASURED_SHAPES,
    METHODS,
    choose_precision,
    compare_measurement,
    describe,
    encode_rows,
    finetune,
)

MINIATURE = "llama-1m"
KEYS = ("shape", "size", "method", "checkpointing", "compute", "max_length")
# The allocator gives blocks of 128 KiB and more back at once. By default it keeps freed blocks of up to 32 MiB, which
# weigh at these sizes and differ from run to run; the record has what they weigh in one case.
ALLOCATOR = {"MALLOC_MMAP_THRESHOLD_": "131072", "MALLOC_TRIM_THRESHOLD_": "131072"}
PASSES = 2  # device passes a step: from the second on a pass begins beside gradients, as in every real run
STEPS = 2  # from the second on a step begins beside the optimiser's states
WIDTH = 32  # of the tiny model that is trained first, so that imports and workspaces are no part of the growth


WHOLE = ("llama-14m",)  # measured in every combination; of the others each is measured in three that take turns
FP32 = ("llama-14m",)  # measured without 16-bit arithmetic too


def cases() -> list[Record]:
    """List every run of the record, small ones first."""
    runs = [_case(MINIATURE, method, False, size="1m", max_length=1280) for method in METHODS]
    for number, name in enumerate(MEASURED_SHAPES):
        for place, method in enumerate(METHODS):
            turns = (True, False) if name in WHOLE else ((number + place) % 2 == 1,)
            runs += [_case(name, method, checkpointing) for checkpointing in turns]
        if name in FP32:
            runs += [_case(name, method, False, compute="fp32") for method in ("full", "lora")]
    return runs


def _case(shape: str, method: str, checkpointing: bool, **more: Any) -> Record:
    return {"shape": shape, "size": "7b", "method": method, "checkpointing": checkpointing, "compute": "bf16",
            "max_length": 512, **more}  # fmt: skip


def measure(case: Record, folder: Path, allocator: Mapping[str, str] = ALLOCATOR) -> Record:
    """Measure what a case's run held and grew by, in a process of its own.

    Args:
        case: One of :func:`cases`.
        folder: Scratch; the base model of a shape is made there once.
        allocator: Environment variables that set up the process's allocator.

    Raises:
        RuntimeError: If a run fails, with the end of its errors.
    """
    base = ""
    if case["shape"] != MINIATURE:
        base = folder / case["shape"]
        if not base.is_dir():
            write_base(base, MEASURED_SHAPES[case["shape"]])
    parameters = {key: value for key, value in case.items() if key != "shape"} | {"base": str(base)}
    seen = _child(parameters, folder, allocator)
    return {
        **case,
        **{key: seen[key] for key in ("tokens", "labels", "rank", "dropout")},
        "held": {key: seen["held"][key] for key in EXACT_PARTS},
        **{key: seen["most"][key] for key in ("saved", "copies")},
        "growth": max(seen["growth"]),
    }


def _child(parameters: Record, folder: Path, allocator: Mapping[str, str] = ALLOCATOR) -> Record:
    with tempfile.TemporaryDirectory(dir=folder) as own:
        file = records.write_json(Path(own) / "case.json", parameters)
        environment = {**os.environ, **allocator, "OMP_NUM_THREADS": "1", "TOKENIZERS_PARALLELISM": "false",
                       "MAMMOTH_RUNS_DIR": str(Path(own) / "runs"), "MAMMOTH_ROOT": str(paths.root())}  # fmt: skip
        command = [sys.executable, __file__, "--case", str(file)]
        done = subprocess.run(command, capture_output=True, text=True, env=environment, check=False)
    lines = [line for line in done.stdout.splitlines() if line.startswith("MEASURED ")]
    if done.returncode or not lines:
        raise RuntimeError(f"the run {parameters} failed ({done.returncode}):\n{done.stderr[-3000:]}")
    return json.loads(lines[-1].removeprefix("MEASURED "))


def rows(count: int) -> list[dict[str, Any]]:
    """Return rationales of one length, so that all packed rows have the same number of tokens."""
    rationales = []
    for number in range(count):
        first, second = 100 + (37 * number) % 300, 100 + (53 * number) % 300
        rationales.append({
            "instruction": f"What is {first} plus {second}?", "kind": "cot", "source": "measured", "key": str(number),
            "output": f"{first} and {second} make {first + second}. The answer is {first + second}.",
        })  # fmt: skip
    return rationales


def write_base(folder: Path, shape: dict[str, Any], seed: int = 0) -> Path:
    """Write a base model of random weights in bf16 with the miniature's tokenizer, in the form of published bases.

    Args:
        folder: Made if it is missing.
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
    """Ends a run after its last step: the export is no part of what is measured."""


def status() -> dict[str, int]:
    """Return the bytes that this process holds now and held at most, as Linux counts them."""
    text = Path("/proc/self/status").read_text()
    return {key: 1024 * int(re.search(rf"{name}:\s+(\d+)", text)[1]) for key, name in
            (("now", "VmRSS"), ("most", "VmHWM"))}  # fmt: skip


def forget_peak() -> int:
    """Give freed memory back, set the peak to what is held now, and return that in bytes."""
    gc.collect()
    ctypes.CDLL(None).malloc_trim(0)
    Path("/proc/self/clear_refs").write_text("5")
    return status()["now"]


class Watch:
    """Counts what a run's forward passes save and its optimiser holds, by torch's own hooks."""

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
        if self.model is None or any(part is self.model for part in module.modules()):
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
        """Keep the counts of the previous pass if they are the largest so far."""
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
    """Return the bytes of the tensors' storages, each counted once."""
    return sum({(s := tensor.untyped_storage()).data_ptr(): s.nbytes() for tensor in tensors}.values())


def run(case: Case, name: str, watch: Watch | None = None) -> dict[str, Any]:
    """Return by how much a run of two steps grew and, with a watch (which takes some memory), what it held."""
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
    """Return the tokens of one of :func:`rows`, and how many of them the loss sees."""
    from transformers import AutoTokenizer

    examples, _ = encode_rows(rows(1), AutoTokenizer.from_pretrained(base), 2048)
    return len(examples[0]), len(examples[0].answer)


def measure_case(file: Path) -> None:
    """Measure the case that a JSON file describes and print the result as one line of JSON."""
    case = Case(**records.read_json(file))
    # The precision of a run follows from the processor; here both are measured on one.
    guards = sys.modules[choose_precision.__module__]
    guards.choose_precision = lambda device: guards.Precision(case.compute, "as the measurement asks")
    tiny = write_base(file.parent / "tiny", {
        "vocab_size": 1024, "hidden_size": WIDTH, "intermediate_size": 2 * WIDTH, "num_hidden_layers": 2,
        "num_attention_heads": 2, "num_key_value_heads": 1, "tie_word_embeddings": True,
    })  # fmt: skip
    run(dataclasses.replace(case, size="7b", base=str(tiny)), "tiny")
    alone = run(case, "alone")  # first, in a process as fresh as can be
    print("MEASURED " + json.dumps({**run(case, "watched", Watch()), **alone}))


def record(
    wanted: Iterable[Record],
    file: Path,
    kept: Iterable[Record] = (),
    say: Callable[[str], None] = print,
) -> Record:
    """Measure cases one after the other and return the record, which is written after each.

    Args:
        wanted: Cases as :func:`cases` has them.
        file: The record.
        kept: Cases that were measured before; those are not measured again.
        say: Takes a line a case.
    """
    before = {json.dumps({key: case[key] for key in KEYS}): case for case in kept}
    result = {
        "schema": records.SCHEMA,
        "page": "hardware",
        "world": "real",
        "made": datetime.datetime.now(datetime.UTC).date().isoformat(),
        "command": MEASURE_COMMAND,
        "allocator": ALLOCATOR,
        "environment": records.environment(threads=1, device="cpu"),
        "cases": [],
    }
    with tempfile.TemporaryDirectory(prefix="mammoth-measured-") as scratch:
        for case in wanted:
            measured = before.get(json.dumps(case)) or measure(case, Path(scratch))
            result["cases"].append(measured)
            beside = compare_measurement(measured)
            say(f"{case['shape']:<16} {case['method']:<6} {case['compute']} "
                f"{'recomputed' if case['checkpointing'] else 'kept':<10} exact: {beside.exact}, saved: "
                f"{100 * beside.saved:+.1f} %, peak: {100 * beside.peak:+.1f} % "
                f"of {measured['growth'] / 1e6:.0f} MB")  # fmt: skip
            records.write_json(file, result)
        small = [case for case in result["cases"] if case["shape"] in (MINIATURE, *WHOLE)]
        if small:
            largest = max(small, key=lambda case: case["growth"])
            case = {key: largest[key] for key in KEYS}
            say(f"{case['shape']} {case['method']} with the allocator's defaults")
            result["allocator_default"] = {**case, "growth": measure(case, Path(scratch), {})["growth"]}
            records.write_json(file, result)
    return result


def main() -> None:
    """Measure every case and write the committed record."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    default = paths.records() / "real" / "hardware.json"
    parser.add_argument("--out", type=Path, default=default, help="the record")
    parser.add_argument("--shapes", default="", help="only these shapes, comma-separated")
    parser.add_argument("--go-on", action="store_true", help="keep the cases that the record has and measure the rest")
    parser.add_argument("--case", type=Path, help="measure this case alone, in this process")
    arguments = parser.parse_args()
    if arguments.case:
        return measure_case(arguments.case)
    names = [name for name in arguments.shapes.split(",") if name]
    unknown = [name for name in names if name != MINIATURE and name not in MEASURED_SHAPES]
    if unknown:
        parser.error(f"unknown shape {unknown[0]!r}; known: {MINIATURE}, {', '.join(MEASURED_SHAPES)}")
    kept = records.read_json(arguments.out)["cases"] if arguments.go_on and arguments.out.is_file() else ()
    record([case for case in cases() if not names or case["shape"] in names], arguments.out, kept)


if __name__ == "__main__":
    main()
