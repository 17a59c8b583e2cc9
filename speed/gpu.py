"""What only a GPU can show: ``python speed/gpu.py``, one entry, at most eight minutes, no network.

It takes 7B weights of random numbers, made on the device in Llama-2's exact architecture, and rows as long as
MathInstruct's. Each part is written to ``records/<device>/gpu.json`` as it ends, so that minutes that run out cost the
later parts alone:

1. attention: loss and gradient of packed rows against their documents one at a time, by the kernel that trains;
2. a matrix product, timed: the rate of which a run's share is told;
3. steps of LoRA, QLoRA and full fine-tuning with the first optimiser that fits, each beside the plan: tokens a second
   that are no padding, their share of that rate, and the peak of memory;
4. the plain padded Trainer on the same rows;
5. an adapter saved, merged and loaded again, and ten completions;
6. the user's own line, ``papermill notebooks/train.ipynb``, for two steps of 13B by QLoRA, on random weights.

Without a GPU the same script runs at a small width on the CPU, in about a minute, and says so; the record is then
``runs/speed/gpu.json``, since it shows nothing but that the script runs.
"""

from __future__ import annotations

import argparse
import contextlib
import dataclasses
import gc
import os
import re
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

os.environ.setdefault("OMP_NUM_THREADS", "1")
os.environ["HF_HUB_OFFLINE"] = "1"
sys.path.insert(0, str(Path(__file__).resolve().parent.parent / "src"))

import torch
from _nets import config_of, mathinstruct_like
from _trainers import BATCH, OURS, PADDED, Case, Setting, model_of, run, saved_weights
from torch.nn.functional import cross_entropy
from training import SMALL_WIDTH, model_flops

from mammoth_utils import paths, records
from mammoth_utils.base_models import Architecture
from mammoth_utils.records import Record
from mammoth_utils.silence_libraries import silent_import, silent_training
from mammoth_utils.training import (
    IGNORE_INDEX,
    LOSS_TOLERANCE,
    OPTIMIZERS,
    Example,
    choose_precision,
    describe,
    has_varlen_kernel,
    largest_micro_batch,
    lora_config,
    plan_memory,
    prepare_tokenizer,
    row_inputs,
    torch_dtype,
)

MINUTES = 8.0
LEAST_S = 60  # seconds that must be left for a part to begin
ROW = 2048
GRADIENT_WITHIN = {"fp32": 1e-3, "bf16": 5e-2, "fp16": 2e-2}  # of the gradient's own length


@dataclasses.dataclass
class Machine:
    """Where and how large the parts run.

    Attributes:
        device: ``cuda`` or ``cpu``.
        gib: Free memory of the GPU.
        steps: Timed steps of a run, after one to warm.
        examples: Examples of a step.
        size: Scale of the random weights, at a small width on a CPU.
        page_size: Scale of the user's line.
    """

    device: str
    gib: float
    steps: int
    examples: int
    size: str = "7b"
    page_size: str = "13b"
    rate: float = 0.0  # operations a second of a matrix product, once it was timed
    until: float = 0.0  # when the minutes are over, by the monotonic clock

    @classmethod
    def here(cls) -> Machine:
        """Return this machine's, small on a CPU."""
        if torch.cuda.is_available():
            return cls("cuda", torch.cuda.mem_get_info()[0] / 2**30, 8, 128)
        return cls("cpu", 80.0, 2, 16, page_size="7b")

    @property
    def name(self) -> str:
        """Return the device's name as a folder has it."""
        name = torch.cuda.get_device_name() if self.device == "cuda" else "cpu"
        return re.sub(r"[^a-z0-9]+", "-", name.lower().removeprefix("nvidia ")).strip("-")


def setting_of(machine: Machine, scratch: Path) -> Setting:
    """Return the net, the rows and the step that all parts share."""
    with silent_import():
        from transformers import AutoTokenizer

    config, _ = config_of(machine.size, 0)
    if machine.device == "cpu":
        config.update(SMALL_WIDTH)
    return Setting(
        name=machine.size, size=machine.size, config=config, folder=None, scratch=scratch,
        tokenizer=prepare_tokenizer(AutoTokenizer.from_pretrained(paths.miniature_models() / "llama-1m")),
        examples=mathinstruct_like(4000 if machine.device == "cuda" else 200, config.vocab_size),
        step=machine.examples, steps=machine.steps, warming=1, device=machine.device,
        compute=choose_precision(machine.device).compute,
    )  # fmt: skip


def attention(machine: Machine, setting: Setting) -> Record:
    """Compare loss and gradient of one packed row with those of its documents, each read alone."""
    model = model_of(setting, Case("ours", OURS, weights="bf16" if machine.device == "cuda" else "fp32"))
    row = setting.examples[:6]
    count = sum(len(example.answer) for example in row)
    model.requires_grad_(False)
    watched = model.model.layers[-2].self_attn.q_proj.weight.requires_grad_(True)
    nats, gradients = [], []
    for documents in ([row], [[example] for example in row]):
        watched.grad = None
        with torch.autocast(machine.device, torch_dtype(setting.compute), enabled=setting.compute != "fp32"):
            nats.append(sum(_learn(model, document) for document in documents) / count)
        gradients.append(watched.grad.float())
    away = (torch.linalg.norm(gradients[0] - gradients[1]) / torch.linalg.norm(gradients[1])).item()
    difference = abs(nats[0] - nats[1])
    kernel = has_varlen_kernel(model.device) and setting.compute != "fp32"
    return {
        "documents": len(row), "tokens": sum(map(len, row)), "kernel": "varlen" if kernel else "by document",
        "packed_nats": nats[0], "apart_nats": nats[1], "gradient_away": away,
        "agrees": difference <= LOSS_TOLERANCE[setting.compute] and away <= GRADIENT_WITHIN[setting.compute],
    }  # fmt: skip


def _learn(model: Any, row: Sequence[Example]) -> float:
    """Add the gradient of a packed row to the model's, and return its summed loss in nats."""
    ids, labels = ([token for example in row for token in getattr(example, key)] for key in ("input_ids", "labels"))
    given = {"input_ids": torch.tensor([ids], device=model.device), **row_inputs([*map(len, row)], model.device)}
    target = torch.tensor(labels[1:], device=model.device)
    loss = cross_entropy(model(**given).logits[0, :-1].float(), target, ignore_index=IGNORE_INDEX, reduction="sum")
    loss.backward()
    return loss.item()


def matrix_product(machine: Machine, setting: Setting) -> Record:
    """Time a square product in the compute type, and keep its rate as that of which shares are told."""
    side, repeats = (8192, 30) if machine.device == "cuda" else (512, 4)
    left, right = (torch.randn(side, side, device=machine.device).to(torch_dtype(setting.compute)) for _ in range(2))
    left @ right
    _wait(machine)
    began = time.perf_counter()
    for _ in range(repeats):
        left @ right
    _wait(machine)
    machine.rate = 2 * side**3 * repeats / (time.perf_counter() - began)
    return {"side": side, "tflops": machine.rate / 1e12}


def _wait(machine: Machine) -> None:
    if machine.device == "cuda":
        torch.cuda.synchronize()


def trained(machine: Machine, setting: Setting, method: str, way: str = OURS) -> Record:
    """Take steps as the plan allows them, and say what they took beside what was planned."""
    architecture, rank = Architecture.from_config(setting.config.to_dict()), describe(machine.size).lora_rank or 64
    plans = {
        optimizer: plan_memory(architecture, method, ROW, 1, machine.gib, rank, optimizer=optimizer)
        for optimizer in OPTIMIZERS
    }
    optimizer = next((name for name, plan in plans.items() if plan.fits), None)
    if optimizer is None:
        least = min(plan.total for plan in plans.values())
        return {"method": method, "left_out": f"{method} needs {least:.0f} GiB, {machine.gib:.0f} are free"}
    rows = BATCH
    if way == OURS:
        rows = max(1, largest_micro_batch(architecture, method, ROW, 1, machine.gib, rank, machine.examples,
                                          optimizer=optimizer))  # fmt: skip
    case = Case(method, way, rows, ROW, method, optimiser="" if optimizer == "adamw" else optimizer)
    ran = run(setting, case, 0)
    tokens = round(ran.slots / ran.passes)
    planned = plan_memory(architecture, method, tokens, 1, machine.gib, rank, optimizer=optimizer)
    return {
        "method": method, "way": way, "optimizer": optimizer,
        "passes": ran.passes // machine.steps, "tokens_a_pass": tokens,
        "steps": machine.steps, "examples_a_step": ran.documents / machine.steps, "loss": ran.loss,
        "tokens_a_second": ran.tokens / ran.wall_s, "padding": 1 - ran.tokens / ran.slots,
        "share_of_the_rate": model_flops(setting.config, ran, method) / ran.wall_s / machine.rate,
        "peak_gib": ran.peak_gib, "planned_gib": planned.total if machine.device == "cuda" else None,
    }  # fmt: skip


def saved(machine: Machine, setting: Setting) -> Record:
    """Save an adapter that was not left as it began, merge it, load the merged net, and let it complete ten prompts."""
    from peft import PeftModel, get_peft_model
    from transformers import AutoModelForCausalLM

    base, folder = saved_weights(setting), setting.scratch / "adapter"
    dtype = torch_dtype("bf16" if machine.device == "cuda" else "fp32")
    place = {"dtype": dtype, "device_map": {"": 0} if machine.device == "cuda" else None}
    lora = lora_config(describe(machine.size, method="lora"))
    model = get_peft_model(AutoModelForCausalLM.from_pretrained(base, **place), lora)
    with torch.no_grad():
        for name, weight in model.named_parameters():
            if "lora_B" in name:
                weight.normal_(std=0.01)
    model.save_pretrained(folder)
    example = setting.examples[0]
    ids = torch.tensor([example.input_ids], device=machine.device)
    with torch.no_grad():
        before = model.eval()(ids).logits.float()
    del model
    _empty(machine)
    again = PeftModel.from_pretrained(AutoModelForCausalLM.from_pretrained(base, **place), folder).merge_and_unload()
    again.save_pretrained(setting.scratch / "merged")
    del again
    _empty(machine)
    merged = AutoModelForCausalLM.from_pretrained(setting.scratch / "merged", **place).eval()
    with torch.no_grad():
        after = merged(ids).logits.float()
    prompts = [list(one.prompt)[:64] for one in setting.examples if len(one.prompt) >= 64][:10]
    began = time.perf_counter()
    made = merged.generate(torch.tensor(prompts, device=machine.device), max_new_tokens=32, min_new_tokens=32,
                           do_sample=False, pad_token_id=0)  # fmt: skip
    _wait(machine)
    seconds, new = time.perf_counter() - began, made.shape[1] - 64
    spread = (before - before.mean()).abs().mean().item()
    return {"completions": len(made), "new_tokens": new, "seconds": seconds,
            "merged_away": ((after - before).abs().mean() / spread).item()}  # fmt: skip


def page(machine: Machine, setting: Setting) -> Record:
    """Run the page `train` as a user does, by QLoRA on random weights, for two steps."""
    size = machine.page_size
    for folder in setting.scratch.iterdir():  # 40 GB of 7B, in place of which come 26 of 13B
        shutil.rmtree(folder)
    config, _ = config_of(size, 0)
    if machine.device == "cpu":
        config.update(SMALL_WIDTH)
    other = dataclasses.replace(setting, name=f"page-{size}", size=size, config=config)
    base = saved_weights(other)
    setting.tokenizer.save_pretrained(base)
    file, out = setting.scratch / "rows.jsonl", setting.scratch / "train.ipynb"
    records.write_jsonl(file, [
        {"instruction": f"What is {number} plus {number + 7}?", "output": f"The answer is {2 * number + 7}."}
        for number in range(200)
    ])  # fmt: skip
    command = [sys.executable, "-m", "papermill", str(paths.root() / "notebooks" / "train.ipynb"), str(out)]
    for key, value in {"size": size, "method": "qlora", "base": base, "dataset": file, "max_steps": 2, "name": "gpu",
                       "devices": "1" if machine.device == "cuda" else "cpu"}.items():  # fmt: skip
        command += ["-p", key, str(value)]
    environment = os.environ | {"MAMMOTH_RUNS_DIR": str(setting.scratch / "runs"), "MAMMOTH_ROOT": str(paths.root())}
    began = time.perf_counter()
    left = max(1.0, machine.until - time.monotonic())
    done = subprocess.run(
        command, env=environment, capture_output=True, text=True, cwd=paths.root(), check=False, timeout=left
    )
    if done.returncode:
        raise RuntimeError(f"{' '.join(command[1:])} failed:\n{done.stderr[-2000:]}")
    record = records.read_json(setting.scratch / "runs" / "train" / "gpu" / "record.json")
    return {"size": size, "method": "qlora", "steps": record["steps"], "seconds": time.perf_counter() - began,
            "loss": record["losses"]["last"], "peak_gib": record["peak_memory_gib"],
            "device": record["environment"]["device"]}  # fmt: skip


def _empty(machine: Machine) -> None:
    gc.collect()
    if machine.device == "cuda":
        torch.cuda.empty_cache()


PARTS: dict[str, Callable[[Machine, Setting], Record]] = {
    "attention": attention,
    "matrix_product": matrix_product,
    "lora": lambda machine, setting: trained(machine, setting, "lora"),
    "qlora": lambda machine, setting: trained(machine, setting, "qlora"),
    "full": lambda machine, setting: trained(machine, setting, "full"),
    "padded": lambda machine, setting: trained(machine, setting, "qlora", PADDED),
    "saved": saved,
    "page": page,
}


def measure(machine: Machine, file: Path, minutes: float, wanted: list[str], say: Callable[[str], None]) -> Record:
    """Run the parts in their order, keep each as it ends, and begin none in the last of the minutes.

    A part that fails is kept with its error, and the next one begins.
    """
    machine.until, over = time.monotonic() + 60 * minutes, {"left_out": f"{minutes:g} minutes had passed"}
    record: Record = {
        "schema": records.SCHEMA, "page": "hardware", "world": "real", "command": "python speed/gpu.py",
        "device": machine.name, "shown": machine.device == "cuda", "size": machine.size,
        "environment": records.environment(threads=torch.get_num_threads(), device=machine.name), "parts": {},
    }  # fmt: skip
    with tempfile.TemporaryDirectory(prefix="mammoth-gpu-") as scratch:
        setting = setting_of(machine, Path(scratch))
        for name in wanted:
            since = time.monotonic()
            if since > machine.until - LEAST_S:
                record["parts"][name] = dict(over)
            else:
                try:
                    with silent_training() if name != "page" else contextlib.nullcontext():
                        record["parts"][name] = PARTS[name](machine, setting)
                except subprocess.TimeoutExpired:
                    record["parts"][name] = dict(over)
                except Exception as error:  # the next part may be the one that a card was lent for
                    record["parts"][name] = {"error": f"{type(error).__name__}: {str(error)[-1500:]}"}
            record["parts"][name]["part_seconds"] = round(time.monotonic() - since, 1)
            records.write_json(file, record)
            say(f"{name}: {record['parts'][name]}")
            _empty(machine)
    return record


def main() -> None:
    """Measure this machine's GPU, or show on its CPU that the script runs."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--minutes", type=float, default=MINUTES, help="in all; no part begins in the last of them")
    parser.add_argument("--parts", default=",".join(PARTS), help="by name, with commas")
    parser.add_argument("--out", type=Path, default=None, help="the record, in place of its usual file")
    arguments = parser.parse_args()
    wanted = [name.strip() for name in arguments.parts.split(",") if name.strip()]
    if unknown := [name for name in wanted if name not in PARTS]:
        parser.error(f"unknown part {unknown[0]!r}; known: {', '.join(PARTS)}")
    if "matrix_product" not in wanted and any(name in wanted for name in ("lora", "qlora", "full", "padded")):
        parser.error("--parts names a run without matrix_product, whose rate its share is told of")
    machine = Machine.here()
    if machine.device == "cpu":
        print("no GPU here: the parts run at a small width on the CPU, and their figures say nothing of a GPU")
    folder = paths.records() / machine.name if machine.device == "cuda" else paths.runs() / "speed"
    file = arguments.out or folder / "gpu.json"
    record = measure(machine, file, arguments.minutes, wanted, lambda line: print(line, flush=True))
    failed = [name for name, part in record["parts"].items() if "error" in part]
    print(f"kept in {file}")
    if failed:
        sys.exit(f"failed: {', '.join(failed)}")


if __name__ == "__main__":
    main()
