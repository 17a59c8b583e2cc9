"""Intervals: wide where problems or seeds stand or fall together, narrow where a difference is paired."""

from __future__ import annotations

import numpy as np
import pytest

from mammoth_utils.intervals import wilson
from mammoth_utils.report.statistics import Sample, accuracy, contrast


def sample(correct, families=None, benchmark="one", ids=None, model="m") -> Sample:
    correct = np.atleast_2d(correct)
    n = correct.shape[1]
    names = tuple(families) if families is not None else tuple(f"f{i}" for i in range(n))
    keys = tuple(ids) if ids is not None else tuple(str(i) for i in range(n))
    return Sample(correct, (benchmark,) * n, names, keys, model)


def difference(first: Sample, second: Sample):
    return contrast([(1.0, first), (-1.0, second)])


def width(interval) -> float:
    return interval.high - interval.low


def test_families_that_stand_or_fall_together_widen_the_interval():
    verdicts = [1.0] * 100 + [0.0] * 100
    apart = accuracy(sample(verdicts))
    together = accuracy(sample(verdicts, families=[f"f{i // 20}" for i in range(200)]))
    assert together.estimate == apart.estimate == 0.5
    assert width(together) > 2 * width(apart)
    assert together.families == 10


def test_an_interval_of_independent_items_is_close_to_wilsons():
    verdicts = np.arange(400) % 10 < 7
    low, high = wilson(280, 400)
    found = accuracy(sample(verdicts))
    assert (found.low, found.high) == pytest.approx((low, high), abs=0.012)


def test_one_family_tells_nothing_of_the_spread():
    found = accuracy(sample([1, 0, 1, 1], families=["only"] * 4))
    assert (found.estimate, found.low, found.high) == (0.75, 0, 1)


def test_a_difference_is_paired_by_item():
    rng = np.random.default_rng(1)
    hard = rng.random(300) < 0.5
    better = hard | (np.arange(300) % 7 == 0)
    families = [f"f{i % 30}" for i in range(300)]
    paired = difference(sample(better, families, model="a"), sample(hard, families, model="b"))
    other = difference(sample(better, families, model="a"), sample(hard, [f"g{i % 30}" for i in range(300)],
                       ids=[f"x{i}" for i in range(300)], model="b"))  # fmt: skip
    assert paired.paired
    assert not other.paired
    assert width(paired) < 0.6 * width(other)
    assert paired.low > 0


def test_a_model_less_itself_is_exactly_nothing():
    one = sample([1, 0, 1, 1, 0, 0, 1, 0])
    found = difference(one, one)
    assert (found.estimate, found.low, found.high) == (0, 0, 0)


def test_one_seed_speaks_for_that_model_only():
    assert accuracy(sample([1, 0, 1])).scope == "one training seed: about this model only"
    assert accuracy(sample([[1, 0, 1], [1, 1, 1]])).scope == "2 training seeds"


def test_seeds_that_differ_widen_the_interval():
    steady = np.tile(np.arange(200) % 2, (3, 1)).astype(float)
    uneven = steady.copy()
    uneven[0], uneven[2] = 1.0, 0.0
    assert accuracy(sample(uneven)).estimate == accuracy(sample(steady)).estimate
    assert width(accuracy(sample(uneven))) > 3 * width(accuracy(sample(steady)))


def test_two_decodings_of_one_run_share_its_seeds_and_two_models_do_not():
    rng = np.random.default_rng(0)
    level = np.array([[0.2], [0.5], [0.8]])
    draws = rng.random((3, 400))
    first, second = (draws < level).astype(float), (draws < level + 0.1).astype(float)
    same = difference(sample(second, model="m"), sample(first, model="m"))
    apart = difference(sample(second, model="a"), sample(first, model="b"))
    assert width(same) < 0.5 * width(apart)


def test_the_average_counts_benchmarks_and_not_items():
    one = Sample(np.array([1.0] * 90 + [0.0] * 10), ("big",) * 90 + ("small",) * 10, ("f",) * 100,
                 tuple(map(str, range(100))))  # fmt: skip
    assert one.accuracy == 0.5
    assert accuracy(one).estimate == 0.5


def test_a_contrast_adds_its_terms():
    high, low = sample([1, 1, 1, 0]), sample([1, 0, 0, 0])
    found = contrast([(1, high), (-1, low), (-1, high), (1, low)])
    assert found.estimate == pytest.approx(0)
    assert contrast([(2, high)]).estimate == pytest.approx(1.5)


def test_the_same_records_give_the_same_interval():
    one = sample(np.arange(50) % 3 == 0, [f"f{i % 5}" for i in range(50)])
    assert accuracy(one) == accuracy(one)


def drawn(rng, families, middle, spread, shared):
    """Five training runs of one model on items of families that differ, in two benchmarks that share some of them."""
    family = np.repeat(np.arange(families), 8 + 4 * (np.arange(families) % 2))
    rates = middle + spread * (shared + 0.7 * rng.normal(size=families))
    logits = rates[family] + rng.normal(0, 0.1, (5, 1)) + rng.normal(0, 0.3, (5, families))[:, family]
    correct = rng.random(logits.shape) < 1 / (1 + np.exp(-logits))
    benchmarks = tuple(f"b{number % 2}" for number in family)
    return Sample(correct, benchmarks, tuple(f"f{n}" for n in family), tuple(map(str, range(len(family)))), str(middle))


def expected(middle, spread):
    """The accuracy that `drawn` has over all families and runs there could be."""
    z = np.random.default_rng(1).normal(size=200_000) * np.sqrt(1.49 * spread**2 + 0.1**2 + 0.3**2)
    return float((1 / (1 + np.exp(-middle - z))).mean())


@pytest.mark.parametrize("families", [8, 25, 60])
def test_a_95_per_cent_interval_covers_what_it_promises(families):
    rng, runs = np.random.default_rng(families), 600
    aim = expected(0.3, 1.0) - expected(-0.2, 1.0)
    hits = 0
    for _ in range(runs):
        shared = rng.normal(size=families)
        found = contrast([(1, drawn(rng, families, 0.3, 1.0, shared)), (-1, drawn(rng, families, -0.2, 1.0, shared))])
        hits += found.low <= aim <= found.high
    assert 0.93 <= hits / runs <= 0.97


@pytest.mark.parametrize(
    ("correct", "n", "low", "high"),
    [(0, 10, 0.0, 0.2775), (5, 10, 0.2366, 0.7634), (10, 10, 0.7225, 1.0), (81, 100, 0.7222, 0.8749)],
)
def test_wilson_against_published_values(correct, n, low, high):
    assert wilson(correct, n) == pytest.approx((low, high), abs=2e-4)


@pytest.mark.parametrize(
    ("call", "says"),
    [
        (lambda: contrast([]), "at least one accuracy"),
        (lambda: wilson(3, 2), "0 <= correct <= n"),
        (lambda: Sample(np.ones((1, 2)), ("b",), ("f", "f"), ("1", "2")), "of one length"),
        (lambda: sample(np.ones((1, 0))), "above 0"),
    ],
)
def test_bad_input_is_refused(call, says):
    with pytest.raises(ValueError, match=says):
        call()
