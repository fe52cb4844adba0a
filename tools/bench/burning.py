"""Work of pure Python, alike for all contenders."""

from __future__ import annotations

import time


def burn(loops: int) -> int:
    """A loop that has Python's global lock all the time."""
    number = 1
    for _ in range(loops):
        number = number * 31 % 1_000_003
    return number


def loops_of(seconds: float) -> int:
    """How many loops take so much time of a processor, by the fastest of some tries."""
    loops, best = 20_000, float("inf")
    for _ in range(30):
        begun = time.thread_time()
        burn(loops)
        best = min(best, time.thread_time() - begun)
    return round(loops * seconds / best)
