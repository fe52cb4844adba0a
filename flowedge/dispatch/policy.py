"""The interface of a dispatch policy, and what several policies need to choose by."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np

from flowedge.dispatch.feasibility import Feasible, nominal
from flowedge.dispatch.workers import Floats, Mask, Request, Workers


@dataclass
class DispatchPolicy:
    """Chooses a worker for each request. It reads `Workers` and never changes them.

    Its owner calls `choose` when a stream (or single query) arrives and, where it wants the policy to learn,
    the three hooks, which do nothing unless a policy says so. One object serves one dispatcher.
    """

    feasible: Feasible = nominal

    @property
    def period(self) -> float:
        """Seconds between calls of `window` that the policy wants; infinite where it wants none."""
        return math.inf

    def choose(self, request: Request, workers: Workers, rng: np.random.Generator) -> int | None:
        """The index of a worker, or None: rejected."""
        raise NotImplementedError

    def answered(self, request: Request, workers: Workers, worker: int, seconds: float, ahead: float) -> None:
        """A query was answered `seconds` after it reached the worker, which had `ahead` others then."""

    def ended(self, request: Request, worker: int) -> None:
        """A stream bound to `worker` is over (or was taken from it)."""

    def window(self, workers: Workers, rng: np.random.Generator) -> None:
        """`period` seconds have passed."""


def least(key: Floats, mask: Mask) -> int | None:
    """The index of the smallest key within the mask, the first of equals.

    >>> least(np.array([1.0, 3.0, 2.0]), np.array([False, True, True]))
    2
    """
    index = int(np.where(mask, key, math.inf).argmin())
    return index if mask[index] else None


def drawn(weights: Floats, rng: np.random.Generator) -> int | None:
    """An index drawn with a probability proportional to its weight; None where all weights are 0.

    >>> drawn(np.array([0.0, 2.0, 0.0]), np.random.default_rng(0))
    1
    """
    sums = weights.cumsum()
    total = sums[-1]
    if not total > 0:
        return None
    index = int(sums.searchsorted(rng.random() * total, side="right"))
    return min(index, len(weights) - 1)
