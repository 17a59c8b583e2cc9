"""The curve of a run: its points as they come, on disk and to the page, across resumes."""

from __future__ import annotations

import contextlib
import json
import math
import os
import sys
import time
from collections.abc import Callable
from itertools import pairwise
from pathlib import Path
from typing import Any

from mammoth_utils import records


class Curve:
    """The points of a run: ``{"step", "loss", "lr", "tokens", "seconds", "memory_gib"}``, loss in nats a token.

    Where rows are held out, about ten points have their ``validation_loss``, after the point's step; the first point's
    was read before the first update, as its ``loss`` was. A point's loss is the mean since the point before. Tokens and
    seconds count from the run's start, over resumes; memory is the most that this process held so far, on its card or,
    without one, of the machine.
    """

    def __init__(self, file: Path, on_step: Callable[[dict[str, float]], None], write: bool = True) -> None:
        self.file, self.on_step, self.write = Path(file), on_step, write
        self.rows: list[dict[str, float]] = []
        self._tokens, self._seconds, self._began = 0.0, 0.0, time.monotonic()
        self._behind = False  # whether a full disk lost points, which are still in memory

    def start(self, step: int) -> None:
        """Keep the points up to the step that the run goes on from, and drop what a killed run did beyond it."""
        written = records.read_jsonl(self.file) if step and self.file.is_file() else ()
        self.rows = []
        with contextlib.suppress(ValueError):  # the row that a kill left half written ends them
            for row in written:
                if row["step"] <= step:
                    self.rows.append(row)
        if self.rows:
            self._tokens, self._seconds = self.rows[-1]["tokens"], self.rows[-1]["seconds"]
        self._began = time.monotonic()
        if self.write:
            records.write_jsonl(self.file, self.rows)
            for row in self.rows:
                self.on_step(row)

    def add(self, step: int, loss: float, lr: float, tokens: float, **more: float) -> dict[str, float]:
        """Add a point and return it; ``tokens`` are those since this process began, ``more`` are its further values.

        Raises:
            FloatingPointError: If the loss is no finite number: the weights are lost, and going on would hide it.
        """
        if not math.isfinite(loss):
            raise FloatingPointError(f"the loss at step {step} is {loss}: the run has diverged; lower learning_rate")
        row = {
            "step": step,
            "loss": loss,
            "lr": lr,
            "tokens": self._tokens + tokens,
            "seconds": round(self._seconds + time.monotonic() - self._began, 3),
            "memory_gib": round(peak_memory_gib(), 3),
            **more,
        }
        self.rows.append(row)
        if self.write:
            try:
                if self._behind:
                    records.write_jsonl(self.file, self.rows)
                else:
                    with open(self.file, "a", encoding="utf8") as file:
                        file.write(json.dumps(row) + "\n")
                self._behind = False
            except OSError as error:  # the next point writes them all
                if not records.is_disk_full(error):
                    raise
                self._behind = True
            self.on_step(row)
        return row


def peak_memory_gib() -> float:
    """Return the most memory that this process held: what torch allocated on its card, else its resident set."""
    import torch

    if torch.cuda.is_available() and torch.cuda.is_initialized():
        return torch.cuda.max_memory_allocated() / 2**30
    import resource

    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak / (2**30 if sys.platform == "darwin" else 2**20)  # bytes there, kibibytes elsewhere


def mean(points: list[dict[str, float]]) -> float:
    """Return the mean loss over all steps, each point weighted by the steps it stands for."""
    steps = [points[0]["step"], *(b["step"] - a["step"] for a, b in pairwise(points))]
    return sum(p["loss"] * n for p, n in zip(points, steps, strict=True)) / sum(steps)


def tail(points: list[dict[str, float]]) -> float:
    """Return the mean loss over the last tenth of the steps, at least one point."""
    last = points[-1]["step"]
    end = [point for point in points if point["step"] > 0.9 * last] or points[-1:]
    return sum(point["loss"] for point in end) / len(end)


def recorder(curve: Curve, checkpoint_minutes: float, held_out: Any = None) -> Any:
    """Return a callback of the trainer that feeds the curve, reads held-out rows and asks for checkpoints by the clock.

    Each checkpoint is also a point of the curve, so that a resumed run counts tokens and seconds from there.
    """
    from transformers import TrainerCallback

    class Recorder(TrainerCallback):
        def on_train_begin(self, args: Any, state: Any, control: Any, **rest: Any) -> None:
            self.saved, self.more = time.monotonic(), {}
            if held_out is not None and state.global_step == 0:
                self.more = {"validation_loss": held_out.loss()}

        def on_step_end(self, args: Any, state: Any, control: Any, **rest: Any) -> Any:
            done = state.global_step >= state.max_steps
            due = checkpoint_minutes > 0 and time.monotonic() - self.saved >= 60 * checkpoint_minutes
            if _together(due) and not done:
                self.saved = time.monotonic()
                control.should_save = control.should_log = True
            if done:
                control.should_log = True
            if held_out is not None and held_out.is_due(state.global_step):
                self.more, control.should_log = {"validation_loss": held_out.loss()}, True
            return control

        def on_log(self, args: Any, state: Any, control: Any, logs: dict | None = None, **rest: Any) -> None:
            if logs and "loss" in logs:
                rate, tokens = float(logs["learning_rate"]), logs["num_tokens"]
                point = curve.add(state.global_step, float(logs["loss"]), rate, tokens, **self.more)
                # For the trackers.
                logs.update({key: point[key] for key in ("tokens", "seconds", "memory_gib", *self.more)})
                self.more = {}

    return Recorder()


def _together(due: bool) -> bool:
    """Return the first process's answer in every process: clocks differ, and a checkpoint needs all of them."""
    if int(os.environ.get("WORLD_SIZE", 1)) == 1:
        return due
    import torch
    import torch.distributed as distributed

    place = "cuda" if distributed.get_backend() == "nccl" else "cpu"
    flag = torch.tensor([int(due)], device=place)
    distributed.broadcast(flag, src=0)
    return bool(flag.item())
