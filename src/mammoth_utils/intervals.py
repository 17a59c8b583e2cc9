"""The 95 % interval of a share of independent items."""

from __future__ import annotations

import math
from statistics import NormalDist

LEVEL = 0.95


def wilson(correct: int, n: int) -> tuple[float, float]:
    """Return Wilson's interval of a share, for items that can be taken as independent.

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
