"""Batches of exactly so many examples: which example is in which packed row of which step, over the whole run.

The paper's batch is 128 *examples*. Packed first and batched afterwards, 128 rows would hold eight times as many, and
sixteen rows hold 118 one time and 140 the next. Here the examples are dealt to the steps first, and each step's own are
packed into its rows. Rows need not be full: in a flattened pass nothing is padded, so a shorter row costs less.
"""

from __future__ import annotations

import heapq
import random
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import islice, pairwise
from typing import Any

from mammoth_utils.training.loop.encoding import Example, columns

# Tokens of a row on a CPU, which reads and writes a row's activations in every layer: rows of 1,024 are a quarter
# slower than rows of 300 to 500 (two AVX2 cores, LoRA on Qwen2.5-Coder-0.5B: 30 against 40 to 44 tokens a second).
CPU_ROW_TOKENS = 384


@dataclass(frozen=True)
class Layout:
    """What each optimiser step reads.

    Attributes:
        rows: All packed rows of the run in the order they are read, each the numbers of its examples; step ``k`` reads
            ``rows_per_step`` of them. A pass takes ``micro_batch`` rows for each process in turn.
        rows_per_step: Packed rows of one step, over all processes; the same in every step.
        passes: Device passes of one process in a step.
        micro_batch: Rows of one of them, at most as many as were allowed.
        examples: Examples that the run reads, an example once for each time.
        tokens: Their tokens.
        longest_row: Tokens of the longest row.
    """

    rows: list[list[int]]
    steps: int
    rows_per_step: int
    passes: int
    micro_batch: int
    examples: int
    tokens: int
    longest_row: int

    @property
    def examples_per_step(self) -> float:
        """Return the mean number of examples of a step."""
        return self.examples / self.steps

    def fill(self, max_length: int) -> float:
        """Return the share of ``rows * max_length`` that is used; what is not used is not computed either."""
        return self.tokens / (len(self.rows) * max_length)

    def batch(self, step: int) -> list[int]:
        """Return the examples of a step, counted from 0, in the order of its rows."""
        first = step * self.rows_per_step
        return [index for row in self.rows[first : first + self.rows_per_step] for index in row]


def lay_out(
    lengths: Sequence[int],
    max_length: int,
    global_batch: int,
    epochs: int = 1,
    max_steps: int = 0,
    micro_batch: int = 1,
    processes: int = 1,
    seed: int = 0,
    row_tokens: int = 0,
) -> Layout:
    """Return the layout of a run. The same examples meet in the same step whatever the devices and the rows' length.

    Every epoch has an order of its own; an epoch's rest shares a step with the next one's first, and only a run's
    total is dealt evenly: without ``max_steps`` each example is read ``epochs`` times and step sizes differ by one at
    most, with it each step has exactly ``global_batch``.

    Args:
        lengths: Tokens of each example.
        max_length: Tokens that a row may hold.
        global_batch: Examples of a step.
        epochs: Passes over the examples.
        max_steps: Steps; 0 runs all epochs, more than they give go on with further ones.
        micro_batch: Rows at most of one device pass, flattened into one. The passes are the fewest, of as few rows as
            give no more of them.
        processes: Processes that share a step.
        row_tokens: Tokens of a mean row to aim at, by more rows than the fewest; 0 takes the fewest.

    Raises:
        ValueError: If there is no example, one is longer than a row, or a step has fewer examples than its rows.
    """
    if not lengths:
        raise ValueError("expected examples to lay out, got none")
    if max(lengths) > max_length:
        raise ValueError(f"an example has {max(lengths)} tokens, a row holds {max_length}; encode_rows leaves it out")
    total = max_steps * global_batch if max_steps else epochs * len(lengths)
    steps = max_steps or max(1, round(total / global_batch))
    stream = _order(len(lengths), seed)
    edges = [total * step // steps for step in range(steps + 1)]
    dealt = [list(islice(stream, end - start)) for start, end in pairwise(edges)]
    most = max(len(first_fit(members, lengths, max_length)) for members in dealt)
    fewest = min(map(len, dealt))
    if row_tokens:
        mean, unit = sum(lengths[index] for members in dealt for index in members) / steps, micro_batch * processes
        most = max(most, min(fewest // unit * unit, round(mean / row_tokens)))
    passes = -(-most // (micro_batch * processes))
    micro_batch = -(-most // (passes * processes))
    per_step = passes * micro_batch * processes
    if fewest < per_step:
        raise ValueError(
            f"a step has {fewest} examples and {per_step} rows to fill ({processes} processes, {most} rows needed); "
            "use fewer processes"
        )
    rows = [row for members in dealt for row in _spread(members, lengths, max_length, per_step)]
    used = [sum(lengths[index] for index in row) for row in rows]
    return Layout(rows, steps, per_step, passes, micro_batch, total, sum(used), max(used))


def make_dataset(layout: Layout, examples: Sequence[Example]) -> Any:
    """Return the layout as a data set that the trainer reads in order; a row's tokens are joined when it is read."""
    import datasets

    def read(batch: dict[str, list[list[int]]]) -> dict[str, list[list[int]]]:
        return columns([[examples[index] for index in members] for members in batch["members"]])

    return datasets.Dataset.from_dict({"members": layout.rows}).with_transform(read)


def _order(count: int, seed: int) -> Iterator[int]:
    """Yield the examples' numbers, epoch after epoch, each in its own order."""
    draw = random.Random(seed)
    while True:
        order = list(range(count))
        draw.shuffle(order)
        yield from order


def first_fit(members: Sequence[int], lengths: Sequence[int], capacity: int) -> list[list[int]]:
    """Return rows by first fit, longest example first: within a fifth of the fewest that can be."""
    rows: list[list[int]] = []
    free: list[int] = []
    for index in sorted(members, key=lambda number: -lengths[number]):
        for place, space in enumerate(free):
            if lengths[index] <= space:
                rows[place].append(index)
                free[place] -= lengths[index]
                break
        else:
            rows.append([index])
            free.append(capacity - lengths[index])
    return rows


def _spread(members: Sequence[int], lengths: Sequence[int], capacity: int, count: int) -> list[list[int]]:
    """Return exactly ``count`` rows, about equally long, so that no process waits for another; longest row first."""
    rows: list[list[int]] = [[] for _ in range(count)]
    heap = [(0, place) for place in range(count)]
    for index in sorted(members, key=lambda number: -lengths[number]):
        used, place = heapq.heappop(heap)
        rows[place].append(index)
        heapq.heappush(heap, (used + lengths[index], place))
    if max(used for used, _ in heap) > capacity:  # even rows overflow where first fit still finds room
        rows = first_fit(members, lengths, capacity)
        while len(rows) < count:
            rows.append([max(rows, key=len).pop()])
    return sorted(rows, key=lambda row: -sum(lengths[index] for index in row))
