"""``make real``: trains and asks the cells of ``workflow/grids/real.yaml`` on this machine, and may be stopped.

It says first how long it will take. On a machine without a GPU as many processes as cores and memory allow work through
the grid side by side, each on cores of its own: two of one thread read a fifth more tokens than one of two. Each cell
is trained and evaluated by itself, and a cell that was stopped goes on where it was.
"""

from __future__ import annotations

import argparse
import os
import signal
import subprocess
import sys

import measure_models
from stages import REAL_GRID, ROOT

from mammoth_utils import paths
from mammoth_utils.processors import count_cores, measure_product_rate
from mammoth_utils.training import find_gpus, free_memory

CELL_GIB = 10  # of memory: a base of half a billion weights in fp32, its activations, the libraries
ROW_TOKENS, PROMPT_TOKENS, WRITTEN_TOKENS = 240, 150, 200  # means of the rebuilt rows and of what such models write
PASSES = {"train": 4, "read": 2}  # operations a weight and token: forward and back to the activations; forward alone
REACHED = {"train": 0.7, "read": 0.6}  # of the rate of a large product, measured at 0.5B on two AVX2 cores


def count_processes(cores: int, free_gib: float | None, gpus: int) -> int:
    """Return how many processes work side by side: one on GPUs, else one a core for which there is memory."""
    return 1 if gpus else max(1, min(cores, int((free_gib or CELL_GIB) // CELL_GIB)))


def estimate_hours(models: list[dict], rate: float) -> float:
    """Return the hours that cells take at so many operations a second, from the means that are written down above."""
    from mammoth_utils.scales import scale

    work = 0.0
    for model in models:
        weights = scale(model["size"], model["family"]).parameters
        asked = model.get("evaluate", {})
        kinds = 1 if asked.get("decoding") in ("cot", "pot") else 2
        problems = 9 * asked.get("limit", 0) * kinds
        tokens = model.get("max_rows", 0) * model.get("epochs", 1) * ROW_TOKENS
        work += weights * PASSES["train"] * tokens / REACHED["train"]
        work += weights * PASSES["read"] * problems * (PROMPT_TOKENS + WRITTEN_TOKENS) / REACHED["read"]
    return work / rate / 3600


def main() -> int:
    """Start the processes, wait for them, and return the first exit status that is not 0."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--base", default="", help="a GGUF file, a folder or a hub name; empty takes the scale's own")
    options = parser.parse_args()
    os.chdir(ROOT)
    models, gpus, cores = measure_models.read_grid(REAL_GRID), find_gpus(), count_cores()
    count = count_processes(cores, free_memory(), len(gpus))
    if gpus:
        print(f"real: {len(models)} cells on {gpus[0].name}, about half an hour", flush=True)
    else:
        hours = estimate_hours(models, count * measure_product_rate(max(1, cores // count)))
        print(f"real: {len(models)} cells on {cores} cores, {count} at once: about {hours:.1f} hours in all, less what "
              "is done already. Stop it when you like, it goes on there; each cell's log is in its folder below "
              f"{paths.relative_to_root(paths.runs() / 'train')}", flush=True)  # fmt: skip
    available = sorted(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else []
    workers = []
    for number in range(count):
        out = paths.writable_runs() / f"real-{number}.json"
        command = [sys.executable, "workflow/measure_models.py", str(REAL_GRID), str(out), "--base", options.base]
        mine = available[number::count]
        pin = (lambda own=mine: os.sched_setaffinity(0, own)) if available and count > 1 else None
        environment = {**os.environ, "OMP_NUM_THREADS": str(max(1, cores // count))}
        workers.append(subprocess.Popen(command, env=environment, preexec_fn=pin))
    try:
        return next(filter(None, [worker.wait() for worker in workers]), 0)
    except KeyboardInterrupt:
        for worker in workers:
            worker.send_signal(signal.SIGINT)
        for worker in workers:
            worker.wait()
        print("real: stopped; `make real` goes on", flush=True)
        return 130


if __name__ == "__main__":
    raise SystemExit(main())
