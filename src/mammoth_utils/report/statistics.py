"""Intervals of accuracies and of their differences, clustered by problem family and by seed.

Problems of one family stand or fall together, and so do those of one training run: an interval over items alone is far
too narrow. Here each resample weighs families, items and seeds at random (a Bayesian bootstrap: exponential weights in
place of counts, so that no benchmark is ever empty, however few families it has). An item's weight is its family's
times its own, which errs towards intervals that are a little wide. Two models on the same items share the weights of
these, so a difference is paired by item.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from statistics import NormalDist  # the standard library's module: imports here are absolute

import numpy as np

RESAMPLES = 2000
LEVEL = 0.95
SEED = 2309  # any fixed number: the same records give the same interval on every machine


@dataclass(frozen=True)
class Sample:
    """What one model got right, at one or several training seeds, on the items of one or several benchmarks.

    Attributes:
        correct: 1.0 for a correct item and 0.0 otherwise, shape (seeds, items).
        benchmarks: Benchmark of each item; the accuracy is the mean over benchmarks, not over items.
        ids: Identity of each item within its benchmark; equal ones in two samples are paired.
        model: What the seeds belong to; two samples of the same runs share the weights of these.
    """

    correct: np.ndarray
    benchmarks: tuple[str, ...]
    families: tuple[str, ...]
    ids: tuple[str, ...]
    model: str = ""

    def __post_init__(self) -> None:
        correct = np.atleast_2d(np.asarray(self.correct, dtype=float))
        object.__setattr__(self, "correct", correct)
        lengths = {correct.shape[1], len(self.benchmarks), len(self.families), len(self.ids)}
        if len(lengths) != 1 or 0 in lengths or not len(correct):
            raise ValueError(f"expected verdicts, benchmarks, families and ids of one length above 0, got {lengths}")

    @property
    def seeds(self) -> int:
        """Number of training runs."""
        return len(self.correct)

    @property
    def items(self) -> int:
        """Number of items that each run answered."""
        return self.correct.shape[1]

    @property
    def accuracy(self) -> float:
        """Mean over benchmarks of the share of correct items, averaged over seeds."""
        names = np.asarray(self.benchmarks)
        return float(np.mean([self.correct[:, names == name].mean() for name in dict.fromkeys(self.benchmarks)]))


@dataclass(frozen=True)
class Interval:
    """An estimate with its interval, as fractions.

    Attributes:
        items: Distinct items behind it.
        families: Clusters among these.
        seeds: Training runs of the model with the fewest; with one, the interval is for that model only.
        paired: Whether every model answered the same items.
    """

    estimate: float
    low: float
    high: float
    items: int
    families: int
    seeds: int
    paired: bool = True

    @property
    def scope(self) -> str:
        """The training seeds that the interval covers, in words."""
        return "one training seed: about this model only" if self.seeds == 1 else f"{self.seeds} training seeds"

    def points(self) -> str:
        """Return the estimate and its interval in percentage points, such as ``+6.9 [2.1, 11.8]``."""
        return f"{100 * self.estimate:+.1f} [{100 * self.low:.1f}, {100 * self.high:.1f}]"


def accuracy(sample: Sample) -> Interval:
    """Return a model's accuracy with its interval."""
    return contrast([(1.0, sample)])


def contrast(terms: Sequence[tuple[float, Sample]], resamples: int = RESAMPLES) -> Interval:
    """Return a weighted sum of accuracies, such as a gain out of domain less a gain in domain.

    Raises:
        ValueError: If there is no term, or too few resamples.
    """
    if not terms:
        raise ValueError("a contrast needs at least one accuracy, got none")
    if resamples < 100:
        raise ValueError(f"expected at least 100 resamples, got {resamples}")
    rng = np.random.default_rng(SEED)
    items = {key: n for n, key in enumerate(sorted({key for _, sample in terms for key in _keys(sample)}))}
    families = {name: n for n, name in enumerate(sorted({name for _, sample in terms for name in sample.families}))}
    family_weights = rng.standard_exponential((resamples, len(families)), dtype=np.float32)
    item_weights = rng.standard_exponential((resamples, len(items)), dtype=np.float32)
    seed_weights: dict[tuple[str, int], np.ndarray] = {}
    estimate, drawn = 0.0, np.zeros(resamples)
    for factor, sample in terms:
        # Seeds of two models are different trainings even where they carry the same number, hence weights of
        # their own; the two decodings of one model share them.
        key = (sample.model, sample.seeds)
        if sample.seeds > 1 and key not in seed_weights:
            weights = rng.standard_exponential((resamples, sample.seeds))
            seed_weights[key] = weights / weights.sum(axis=1, keepdims=True)
        columns = np.fromiter((items[key] for key in _keys(sample)), dtype=int)
        clusters = np.fromiter((families[name] for name in sample.families), dtype=int)
        weights = item_weights[:, columns] * family_weights[:, clusters]
        estimate += factor * sample.accuracy
        drawn += factor * _weighted(sample, weights, seed_weights.get(key))
    tail = 50 * (1 - LEVEL)
    low, high = np.percentile(drawn, [tail, 100 - tail])
    paired = all(sorted(_keys(sample)) == sorted(_keys(terms[0][1])) for _, sample in terms)
    least = min(sample.seeds for _, sample in terms)
    return Interval(estimate, float(low), float(high), len(items), len(families), least, paired)


def wilson(correct: int, n: int) -> tuple[float, float]:
    """Return Wilson's interval of a share, for few items that can be taken as independent.

    Raises:
        ValueError: Unless ``0 <= correct <= n`` and n is at least 1.
    """
    if n < 1 or not 0 <= correct <= n:
        raise ValueError(f"expected 0 <= correct <= n with n at least 1, got {correct} of {n}")
    z = NormalDist().inv_cdf(0.5 + LEVEL / 2)
    share, spread = correct / n, z * z / n
    middle = (share + spread / 2) / (1 + spread)
    half = z * math.sqrt(share * (1 - share) / n + spread / (4 * n)) / (1 + spread)
    # At the ends the algebra is exact and floating point is not: none correct starts at 0, all correct end at 1.
    return (0.0 if correct == 0 else middle - half), (1.0 if correct == n else middle + half)


def _keys(sample: Sample) -> list[tuple[str, str]]:
    return list(zip(sample.benchmarks, sample.ids, strict=True))


def _weighted(sample: Sample, weights: np.ndarray, seeds: np.ndarray | None) -> np.ndarray:
    """Return the accuracy under each weighting, shape (resamples,)."""
    names = np.asarray(sample.benchmarks)
    # With one seed a plain mean over the seed axis; with several, a weighted one.
    verdicts = sample.correct.T.astype(np.float32)
    total = np.zeros((len(weights), sample.seeds))
    distinct = tuple(dict.fromkeys(sample.benchmarks))
    for name in distinct:
        here = names == name
        total += (weights[:, here] @ verdicts[here]) / weights[:, here].sum(axis=1, keepdims=True)
    total /= len(distinct)
    return total[:, 0] if seeds is None else (total * seeds).sum(axis=1)
