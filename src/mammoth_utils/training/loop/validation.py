"""The loss on rows that are held out: drawn by the seed, never trained on, read along the curve of a run."""

from __future__ import annotations

import random
from collections.abc import Sequence
from typing import Any

from mammoth_utils import prompts
from mammoth_utils.training.loop import batches, losses
from mammoth_utils.training.loop.encoding import Example

POINTS = 10  # readings along a run, besides the one before its first update


def hold_out(rows: list[dict[str, Any]], share: float, seed: int) -> tuple[list[dict[str, Any]], list[dict[str, Any]]]:
    """Return the rows that are trained on and those that are held out, both in their order.

    Rationales of one question stay on one side, in prose or as a program: else the loss would be on known questions.

    Raises:
        ValueError: If nothing is left to train on.
    """
    if not share:
        return rows, []
    questions: dict[str, list[int]] = {}
    for number, row in enumerate(rows):
        questions.setdefault(_question(row), []).append(number)
    order = sorted(questions)
    random.Random(f"validation {seed}").shuffle(order)
    wanted, held = max(1, round(share * len(rows))), set()
    for question in order:
        if len(held) >= wanted:
            break
        held.update(questions[question])
    if len(held) == len(rows):
        raise ValueError(f"validation is {share:g}: {len(rows)} rows of {len(questions)} questions leave none to train "
                         "on; take a smaller share or more rows")  # fmt: skip
    return ([row for number, row in enumerate(rows) if number not in held],
            [row for number, row in enumerate(rows) if number in held])  # fmt: skip


def _question(row: dict[str, Any]) -> str:
    text = str(row.get("instruction", ""))
    for trigger in prompts.POT_TRIGGERS.values():
        text = text.removesuffix(trigger)
    return " ".join(text.split())


class HeldOut:
    """The held-out examples of a run, and when they are read.

    Args:
        examples: Never trained on.
        steps: Optimiser steps of the run.
    """

    def __init__(self, examples: Sequence[Example], steps: int) -> None:
        lengths = [len(example) for example in examples]
        # Rows no longer than the longest example: scores of the whole vocabulary are held for each of their tokens.
        packed = batches.first_fit(range(len(examples)), lengths, max(lengths))
        self.rows = [[examples[index] for index in row] for row in packed]
        self.tokens = sum(len(example.answer) for example in examples)
        self.examples, self.steps, self.every = len(examples), steps, -(-steps // POINTS)
        self.trainer: Any = None

    def is_due(self, step: int) -> bool:
        """Return whether they are read after a step; the first step's point has the loss before its update."""
        return step > 1 and (step % self.every == 0 or step == self.steps)

    def loss(self) -> float:
        """Return the mean loss of their rationales' tokens in nats; every process calls, and each reads its part."""
        from mammoth_utils.training.loop.shard_checks import gather

        arguments, accelerator = self.trainer.args, self.trainer.accelerator
        model = self.trainer.model_wrapped if arguments.fsdp else self.trainer.model
        rank, size, nats = arguments.process_index, arguments.world_size, 0.0
        with accelerator.autocast():
            for first in range(0, len(self.rows), size):  # as many rows in each process, which wait for each other
                row = self.rows[(first + rank) % len(self.rows)]
                value = losses.row_loss(model, row)
                nats += value if first + rank < len(self.rows) else 0.0
        return sum(part["nats"] for part in gather({"nats": nats})) / self.tokens


def summarise(points: list[dict[str, float]], held: HeldOut, share: float) -> dict[str, Any]:
    """Return what a record keeps of the held-out rows: their number, and their loss at first, last and lowest."""
    read = [point for point in points if "validation_loss" in point]
    lowest = min(read, key=lambda point: point["validation_loss"])
    return {
        "share": share,
        "rows": held.examples,
        "tokens": held.tokens,
        "first": read[0]["validation_loss"],
        "last": read[-1]["validation_loss"],
        "lowest": lowest["validation_loss"],
        "lowest_step": lowest["step"],
    }
