"""Batches: every step has its examples, whatever the rows, the devices and the accumulation."""

from __future__ import annotations

import random
from collections import Counter

import pytest

from mammoth_utils.training.loop import batches, encoding


def lengths(count: int, seed: int = 0) -> list[int]:
    """Lengths of rationales as the release has them, about: 40 to 1,100 tokens, 240 on the average."""
    draw = random.Random(seed)
    return [min(1100, max(40, int(draw.lognormvariate(5.3, 0.6)))) for _ in range(count)]


@pytest.mark.parametrize(
    ("processes", "micro_batch", "max_length"), [(1, 1, 2048), (2, 1, 2048), (8, 1, 2048), (4, 2, 1200), (1, 4, 4096)]
)
def test_a_step_has_the_same_128_examples_whatever_the_devices_and_the_rows(processes, micro_batch, max_length):
    sizes = lengths(5_000)
    one = batches.lay_out(sizes, 2048, 128, epochs=2, seed=3)
    layout = batches.lay_out(sizes, max_length, 128, 2, 0, micro_batch, processes, seed=3)
    assert layout.steps == one.steps == 78
    assert layout.passes * layout.micro_batch * processes == layout.rows_per_step
    assert layout.micro_batch <= micro_batch
    for step in range(layout.steps):
        assert sorted(layout.batch(step)) == sorted(one.batch(step))
        assert abs(len(layout.batch(step)) - 128) <= 1


def test_every_example_is_read_once_an_epoch_and_no_row_overflows():
    sizes = lengths(1_003)
    layout = batches.lay_out(sizes, 2048, 128, epochs=3)
    seen = Counter(index for row in layout.rows for index in row)
    assert set(seen.values()) == {3}
    assert len(seen) == 1_003
    assert layout.longest_row == max(sum(sizes[index] for index in row) for row in layout.rows) <= 2048
    assert layout.tokens == 3 * sum(sizes)
    assert all(layout.rows), "an empty row would be a pass without a label"


def test_the_mean_batch_is_within_two_per_cent_of_the_papers_on_any_mixture_of_realistic_size():
    for count in (3_300, 7_473, 26_000):
        layout = batches.lay_out(lengths(count), 2048, 128, epochs=1)
        assert abs(layout.examples_per_step / 128 - 1) < 0.02


def test_max_steps_beyond_the_epochs_go_on_with_further_ones():
    layout = batches.lay_out([10, 20, 30], 100, 5, epochs=1, max_steps=7)
    assert layout.steps == 7
    assert [len(layout.batch(step)) for step in range(7)] == [5] * 7
    seen = Counter(index for row in layout.rows for index in row)
    assert max(seen.values()) - min(seen.values()) <= 1


@pytest.mark.parametrize(("micro_batch", "passes", "rows"), [(1, 16, 1), (7, 3, 6), (16, 1, 16), (100, 1, 16)])
def test_a_step_takes_the_fewest_passes_that_are_allowed_of_the_fewest_rows(micro_batch, passes, rows):
    sizes = [243] * 1280
    layout = batches.lay_out(sizes, 2048, 128, micro_batch=micro_batch, seed=1)
    assert (layout.passes, layout.micro_batch) == (passes, rows)
    one = batches.lay_out(sizes, 2048, 128, seed=1)
    assert all(sorted(layout.batch(step)) == sorted(one.batch(step)) for step in range(layout.steps))


def test_the_order_is_the_seeds_and_differs_between_epochs():
    sizes = lengths(300)
    one = batches.lay_out(sizes, 2048, 10, epochs=2, seed=1)
    assert one == batches.lay_out(sizes, 2048, 10, epochs=2, seed=1)
    assert one.batch(0) != batches.lay_out(sizes, 2048, 10, epochs=2, seed=2).batch(0)
    assert sorted(one.batch(0)) != sorted(one.batch(30)), "the second epoch has an order of its own"


def test_the_rows_of_a_pass_are_about_equally_long():
    sizes = lengths(4_000)
    layout = batches.lay_out(sizes, 2048, 128, processes=8)
    waits = []
    for start in range(0, len(layout.rows), 8):
        used = [sum(sizes[index] for index in row) for row in layout.rows[start : start + 8]]
        waits.append(1 - sum(used) / (8 * max(used)))
    assert sum(waits) / len(waits) < 0.02, "a process that waits for a longer row costs as much as padding"


def test_even_rows_give_way_to_first_fit_where_only_that_fits():
    # 6 + 6, 4 + 4 + 4 fill two rows of 12; dealt evenly one row gets 6 + 4 + 4 = 14.
    layout = batches.lay_out([6, 6, 4, 4, 4], 12, 5)
    assert layout.rows_per_step == 2
    assert layout.longest_row == 12


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({"lengths": []}, "got none"),
        ({"lengths": [10, 300]}, "300 tokens, a row holds 100"),
        ({"processes": 8}, "a step has 4 examples and 8 rows"),
        ({"processes": 5, "micro_batch": 5}, "use fewer processes"),
    ],
)
def test_a_layout_that_cannot_be_is_refused(options, said):
    values = {"lengths": [10] * 20, "max_length": 100, "global_batch": 4} | options
    with pytest.raises(ValueError, match=said):
        batches.lay_out(**values)


def test_the_data_set_gives_the_rows_in_order_with_their_borders():
    examples = [encoding.Example([1, 2, 3 + n], [7 + n, 9]) for n in range(6)]
    layout = batches.lay_out([5] * 6, 10, 3, epochs=1)
    data = batches.make_dataset(layout, examples)
    assert len(data) == len(layout.rows) == 4
    for row, members in zip(data, layout.rows, strict=True):
        assert row["input_ids"] == [token for index in members for token in examples[index].input_ids]
        assert row["labels"] == [label for index in members for label in examples[index].labels]
        assert row["seq_lengths"] == [5] * len(members)
