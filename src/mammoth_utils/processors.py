"""The processors that this process may use."""

from __future__ import annotations

import os
import time


def count_cores() -> int:
    """Return how many cores this process may use; all of the machine's where the system does not say."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def measure_product_rate(threads: int, seconds: float = 0.5) -> float:
    """Measure the operations a second of a large matrix product in fp32 on so many threads."""
    import torch

    before = torch.get_num_threads()
    torch.set_num_threads(threads)
    try:
        left, right = torch.randn(512, 2048), torch.randn(2048, 2048)
        left @ right
        count, begin = 0, time.perf_counter()
        while (passed := time.perf_counter() - begin) < seconds:
            left @ right
            count += 1
        return count * 2 * 512 * 2048 * 2048 / passed
    finally:
        torch.set_num_threads(before)
