"""Training: tokens per second that are no padding, ours against the usual ways to batch the same rationales.

``python speed/training.py`` prints two tables, the miniature's ``1m`` on its own rationales and a random net of a few
million weights on examples as long as MathInstruct's; ``--json`` prints one object a row with the ratio against each
peer. Contestants:

- ours: the trainer that ``finetune`` builds, over the packed rows of ``batches.lay_out``;
- padded: the plain transformers Trainer, eight examples a pass in random order, padded to their longest, as in Alpaca's
  script;
- group_by_length: the same, eight of about one length a pass;
- TRL bfd: TRL's own packing with SDPA, in rows of 2,048 tokens, and of 1,024, which cut the longest examples.

The same examples a step, net, AdamW, schedule, clipping and precision for all (bf16 autocast where the processor has
it, fp32 weights; ``--compute fp32`` for the other). Beside the ratio stands what padding alone would give, if every
slot took as long: more is not to be had by packing. Each is run in turn, several times, and the median counts, without
start and first steps. On a CPU one thread computes, and its own clock counts: other work on the machine lengthens the
minutes and not the seconds of that clock. The last column says how far the runs lay apart.

On a card (``--device cuda --size 7b``) the weights are random, made on the card, and the cases are those of a full and
a QLoRA run, with the share of the card's peak that the model's own arithmetic reaches and the peak of memory.
``--rehearse`` runs these cases on a CPU at a small width.

``--base FILE`` measures LoRA of a real base instead, a folder or a GGUF file, on the rows of the data set ``rebuild``:
ours against the plain Trainer with PEFT's adapters over two padded sequences a pass, which keeps all activations in
memory too.
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any

os.environ.setdefault("OMP_NUM_THREADS", "1")
sys.path.insert(0, str(Path(__file__).resolve().parent.parent / "src"))

import torch
from _nets import config_of, mathinstruct_like, miniature_rationales
from _trainers import BATCH, GROUPED, OURS, PADDED, TRL, Case, Ran, Setting, model_of, run

from mammoth_utils import paths
from mammoth_utils.base_models import Architecture
from mammoth_utils.silence_libraries import silent_import, silent_training
from mammoth_utils.training import (
    LOSS_TOLERANCE,
    check_packing,
    choose_precision,
    encode_rows,
    has_varlen_kernel,
    prepare_tokenizer,
    torch_dtype,
)

CPU_CASES = (
    Case("ours", OURS),
    Case("padded", PADDED, BATCH),
    Case("group_by_length", GROUPED, BATCH),
    Case("TRL bfd 2048", TRL),
    Case("TRL bfd 1024", TRL, max_length=1024),
)
# On a card, in 16-bit weights first, since those fit 80 GB at 7B; fp32 master weights need 141.
GPU_CASES = (
    Case("ours x4", OURS, 4, weights="bf16"),
    Case("padded", PADDED, BATCH, weights="bf16"),
    Case("group_by_length", GROUPED, BATCH, weights="bf16"),
    Case("TRL bfd 2048", TRL, weights="bf16"),
    Case("TRL bfd 2048 x4", TRL, 4, weights="bf16"),
    Case("ours x2, kept activations", OURS, 2, weights="bf16", checkpointing=False),
    Case("ours x4, fp32 weights", OURS, 4),
    Case("ours x4, 8-bit Adam", OURS, 4, weights="bf16", optimiser="adamw_8bit"),
    Case("qlora: padded", PADDED, BATCH, method="qlora"),
    Case("qlora: ours x4", OURS, 4, method="qlora"),
    Case("qlora: ours, paged 8-bit Adam", OURS, 1, method="qlora", optimiser="paged_adamw_8bit"),
)
BASE_CASES = (
    Case("ours", OURS, method="lora", checkpointing=False),
    Case("padded", PADDED, 2, method="lora", checkpointing=False),
)
# Dense 16-bit TFLOP/s without sparsity, from the makers' data sheets.
PEAKS = {"H100": 989.0, "H200": 989.0, "A100": 312.0, "L40S": 362.0, "4090": 165.2, "A10": 125.0, "T4": 65.0}
GOALS = {"padded": 2.5, "best": 1.15}
SMALL_WIDTH = {"hidden_size": 64, "intermediate_size": 176, "num_hidden_layers": 2, "num_attention_heads": 4,
               "num_key_value_heads": 4, "vocab_size": 2048}  # fmt: skip


def setting_of(size: str, arguments: argparse.Namespace, scratch: Path) -> Setting:
    """Return what the contestants of one table share."""
    with silent_import():
        from transformers import AutoTokenizer

    config, folder = config_of(size, arguments.parameters)
    if arguments.rehearse:
        config.update(SMALL_WIDTH)
    tokenizer = prepare_tokenizer(AutoTokenizer.from_pretrained(paths.miniature_models() / "llama-1m"))
    miniature = folder is not None
    examples = miniature_rationales(tokenizer) if miniature else mathinstruct_like(arguments.pool, config.vocab_size)
    weights = Architecture.from_config(config.to_dict()).parameters
    return Setting(
        name=f"{size} ({weights / 1e6:.1f}M)",
        size=size,
        config=config,
        folder=folder,
        tokenizer=tokenizer,
        examples=examples,
        step=arguments.examples or (16 if miniature else 32 if arguments.device == "cpu" else 128),
        # As many tokens for either: an example of the miniature is a third as long, and its step half as many.
        steps=arguments.steps * (8 if miniature else 1),
        warming=arguments.warming * (2 if miniature else 1),
        device=arguments.device,
        compute=arguments.compute or choose_precision(arguments.device).compute,
        scratch=scratch,
    )


def setting_of_base(base: str, arguments: argparse.Namespace, scratch: Path) -> Setting:
    """Return the setting of a real base on real rows."""
    from transformers import AutoConfig, AutoTokenizer

    from mammoth_utils.base_models import find_folder
    from mammoth_utils.curation import ensure_dataset, read_mixture

    folder = find_folder(base)
    if folder is None:
        raise SystemExit(f"--base {base}: expected a folder or a GGUF file on this machine")
    tokenizer = prepare_tokenizer(AutoTokenizer.from_pretrained(folder))
    rows = read_mixture(ensure_dataset("rebuild"), "hybrid", 0, 400)
    config = AutoConfig.from_pretrained(folder)
    return Setting(
        name=f"{Path(base).stem}, LoRA", size="0.5b", config=config, folder=folder, tokenizer=tokenizer,
        examples=encode_rows(rows, tokenizer, 2048)[0], step=arguments.examples or BATCH, steps=arguments.steps,
        warming=arguments.warming, device="cpu", compute=choose_precision("cpu").compute, scratch=scratch,
    )  # fmt: skip


def measure(setting: Setting, cases: Sequence[Case], repeats: int) -> dict[str, list[Ran]]:
    """Run every contestant in turn, then again on other examples, so that a busy minute falls on all of them.

    A case for which the card's memory is too small is left out, and said.
    """
    runs: dict[str, list[Ran]] = {case.name: [] for case in cases}
    for repeat in range(repeats):
        for case in cases[repeat % len(cases) :] + cases[: repeat % len(cases)]:
            try:
                runs[case.name].append(run(setting, case, repeat))
            except torch.cuda.OutOfMemoryError as error:
                print(f"without {case.name}: {str(error).splitlines()[0]}", file=sys.stderr)
    return {name: done for name, done in runs.items() if done}


def packed_drift(setting: Setting, case: Case) -> dict[str, Any]:
    """Return by how many nats a token a packed row's loss differs from that of its documents, one at a time.

    Raises:
        ValueError: If that is more than rounding: there is nothing to compare then.
    """
    model = model_of(setting, case)
    kernel = has_varlen_kernel(model.device) and setting.compute != "fp32"
    autocast = torch.autocast(setting.device, torch_dtype(setting.compute), enabled=setting.compute != "fp32")
    with autocast:
        drift = check_packing(model, setting.examples[:6], LOSS_TOLERANCE[setting.compute])
    return {"name": "training", "scale": setting.name, "contestant": "packed minus unpacked", "nats": round(drift, 7),
            "kernel": "varlen" if kernel else "by document", "device": setting.device, "peers": {}}  # fmt: skip


def model_flops(config: Any, ran: Ran, method: str) -> float:
    """Return the operations that the net needs for the tokens of a run: no padding, nothing computed twice.

    A weight costs two forward and four backward, of which adapters spare the two for its own gradient; causal attention
    costs a document half the square of its length.
    """
    shape = Architecture.from_config(config.to_dict())
    weights = shape.layers * shape.layer_matrices + shape.vocabulary * shape.hidden
    passes = 3 if method == "full" else 2
    return passes * 2 * weights * ran.tokens + 3 * 2 * shape.layers * shape.queries * ran.squares


def rows_of(setting: Setting, cases: Sequence[Case], runs: dict[str, list[Ran]], peak: float) -> list[dict[str, Any]]:
    """Return a row a contestant: the medians of its runs, how far they lay apart, and ours as a multiple of it.

    Raises:
        ValueError: If no run of ours is among them.
    """
    clock = "processor_s" if setting.device == "cpu" else "wall_s"
    speeds = {name: [ran.tokens / getattr(ran, clock) for ran in each] for name, each in runs.items()}
    middle = {name: statistics.median(each) for name, each in speeds.items()}
    mine = next((case.name for case in cases if case.way == OURS and case.name in runs), None)
    if mine is None:
        raise ValueError(f"expected ours among the contestants, got {', '.join(runs) or 'none'}")
    rows = []
    for case in cases:
        if case.name not in runs:
            continue
        each, speed = runs[case.name], middle[case.name]
        flops = sum(model_flops(setting.config, ran, case.method) for ran in each)
        peaks = [ran.peak_gib for ran in each if ran.peak_gib is not None]
        rows.append({
            "name": "training",
            "scale": setting.name,
            "contestant": case.name,
            "way": case.way,
            "tokens_per_s": round(speed, 1),
            "wall_tokens_per_s": round(statistics.median(ran.tokens / ran.wall_s for ran in each), 1),
            "ours_over_it": round(middle[mine] / speed, 2),
            "padding_alone": round(_filled(runs[mine]) / _filled(each), 2),
            "padding": round(1 - _filled(each), 3),
            "examples_per_step": round(sum(ran.documents for ran in each) / (len(each) * setting.steps), 1),
            "apart": round((max(speeds[case.name]) - min(speeds[case.name])) / speed, 3),
            "mfu": round(flops / sum(ran.wall_s for ran in each) / (peak * 1e12), 3) if peak else None,
            "peak_gib": round(max(peaks), 2) if peaks else None,
            "loss": round(each[0].loss, 4),
            "runs": len(each),
            "device": setting.device,
            "compute": setting.compute,
            "peers": {},
        })  # fmt: skip
        if case.name == mine:
            rows[-1]["peers"] = {name: round(speed / other, 2) for name, other in middle.items() if name != mine}
    return rows


def _filled(runs: Sequence[Ran]) -> float:
    return sum(ran.tokens for ran in runs) / sum(ran.slots for ran in runs)


def show(rows: list[dict[str, Any]], setting: Setting) -> None:
    """Print the table for people."""
    lengths = sorted(map(len, setting.examples))
    spread = "/".join(str(lengths[len(lengths) * part // 100]) for part in (5, 50, 95))
    print(f"\n{setting.name}: {setting.step} examples a step, {statistics.mean(lengths):.0f} tokens each "
          f"({spread}, at most {lengths[-1]}); {setting.compute}, medians of {rows[0]['runs']} runs")  # fmt: skip
    card = setting.device == "cuda"
    extra = f"{'MFU':>7}{'GiB':>8}" if card else ""
    print(f"{'':<30}{'tokens/s':>10}{'ours / it':>11}{'padding alone':>15}{'padding':>9}{extra}{'apart':>8}")
    for row in rows:
        share = f"{row['mfu']:.3f}" if row["mfu"] is not None else "-"
        extra = f"{share:>7}{row['peak_gib']:>8.1f}" if card else ""
        print(f"{row['contestant']:<30}{row['tokens_per_s']:>10,.0f}{row['ours_over_it']:>11.2f}"
              f"{row['padding_alone']:>15.2f}{100 * row['padding']:>7.0f} %{extra}"
              f"{100 * row['apart']:>6.0f} %")  # fmt: skip
    ours = rows[[row["way"] for row in rows].index(OURS)]
    others = {row["contestant"]: row["ours_over_it"] for row in rows if row["way"] in (GROUPED, TRL)}
    if others and "padded" in ours["peers"]:
        best = min(others, key=others.get)
        print(f"{ours['peers']['padded']:.2f} times the padded one (goal {GOALS['padded']}), {others[best]:.2f} times "
              f"the best of the others, {best} (goal {GOALS['best']}; padding alone gives "
              f"{next(row['padding_alone'] for row in rows if row['contestant'] == best):.2f})")  # fmt: skip


def peak_tflops() -> float:
    """Return the card's dense 16-bit TFLOP/s, or 0 for one that is not in ``PEAKS``."""
    name = torch.cuda.get_device_name()
    return next((peak for key, peak in PEAKS.items() if key in name), 0.0)


def main() -> None:
    """Print the tables, or with ``--json`` the rows."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--json", action="store_true", help="one JSON object a row")
    parser.add_argument("--size", default="", help="scales, separated by commas: 1m, 3m, 7b and so on, or random; "
                        "1m,random on a CPU, 7b on a card")  # fmt: skip
    parser.add_argument("--parameters", type=int, default=5_000_000, help="about as many weights has the random net")
    parser.add_argument("--device", default="cpu", choices=("cpu", "cuda"))
    parser.add_argument("--compute", default="", choices=("", "bf16", "fp16", "fp32"), help="the device's own if empty")
    parser.add_argument("--cases", default="", help="contestants by name, separated by semicolons; all if empty")
    parser.add_argument("--rehearse", action="store_true", help="the card's cases on a CPU, at a small width")
    parser.add_argument("--repeats", type=int, default=0, help="runs of each, of which the median counts; 5, or 3")
    parser.add_argument("--steps", type=int, default=4, help="steps that are timed; eight times as many of the 1m")
    parser.add_argument("--warming", type=int, default=1, help="steps before them")
    parser.add_argument("--examples", type=int, default=0, help=f"examples a step, a multiple of {BATCH}")
    parser.add_argument("--pool", type=int, default=20_000, help="examples that are drawn from")
    parser.add_argument("--base", default="", help="LoRA of a real base on real rows: a folder or a GGUF file")
    parser.add_argument("--threads", type=int, default=1, help="threads of the CPU; beyond one, its clock counts all")
    arguments = parser.parse_args()
    if arguments.examples % BATCH or min(arguments.steps, arguments.warming, arguments.threads) < 1:
        parser.error(f"expected a multiple of {BATCH} for --examples and at least 1 for --steps, --warming, --threads")
    if arguments.device == "cuda" and not torch.cuda.is_available():
        parser.error("--device cuda: torch sees no card here; --rehearse runs its cases on a CPU")
    torch.set_num_threads(arguments.threads)
    card = arguments.device == "cuda" or arguments.rehearse
    known = BASE_CASES if arguments.base else GPU_CASES if card else CPU_CASES
    named = [name.strip() for name in arguments.cases.split(";") if name.strip()]
    unknown = [name for name in named if name not in [case.name for case in known]]
    if unknown:
        parser.error(f"unknown case {unknown[0]!r}; known: {'; '.join(case.name for case in known)}")
    cases = [case for case in known if not named or case.name in named]
    if OURS not in [case.way for case in cases]:
        parser.error("--cases names none of ours, which the others are compared with")
    peak = peak_tflops() if arguments.device == "cuda" else 0.0
    for size in (arguments.base or arguments.size or ("7b" if card else "1m,random")).split(","):
        with tempfile.TemporaryDirectory() as folder:
            make = setting_of_base if arguments.base else setting_of
            setting = make(size.strip(), arguments, Path(folder))
            with silent_training():
                drift = packed_drift(setting, next(case for case in cases if case.way == OURS))
                runs = measure(setting, cases, arguments.repeats or (1 if arguments.base else 3 if card else 5))
        rows = rows_of(setting, cases, runs, peak)
        if arguments.json:
            print("\n".join(json.dumps(row) for row in [*rows, drift]), flush=True)
        else:
            show(rows, setting)
            print(f"packed minus unpacked: {drift['nats']:.1e} nats a token, {drift['kernel']}", flush=True)


if __name__ == "__main__":
    main()
