"""Policies that data centres use, each with the deadline in view."""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np

from flowedge.dispatch.feasibility import Feasible, timely
from flowedge.dispatch.policy import DispatchPolicy, least
from flowedge.dispatch.workers import Floats, Request, Workers, pressure


@dataclass
class RoundRobin(DispatchPolicy):
    """The feasible workers in turn, each application by itself."""

    _last: dict[int, int] = field(default_factory=dict, init=False, repr=False)

    def choose(self, request: Request, workers: Workers, rng: np.random.Generator) -> int | None:
        """The index of a worker, or None."""
        mask = self.feasible(request, workers)
        first = self._last.get(request.application, -1) + 1
        later = int(mask[first:].argmax()) + first if first < len(mask) else 0
        worker = later if mask[later] else int(mask.argmax())
        if not mask[worker]:
            return None
        self._last[request.application] = worker
        return worker


@dataclass
class LeastLoaded(DispatchPolicy):
    """The worker under the least pressure: share of its capacity bound + queries present per slot."""

    def choose(self, request: Request, workers: Workers, rng: np.random.Generator) -> int | None:
        """The index of a worker, or None."""
        return least(pressure(workers), self.feasible(request, workers))


@dataclass
class PowerOfTwo(DispatchPolicy):
    """Of two workers drawn from those that can answer in time, the one under less pressure.

    Mitzenmacher, "The power of two choices in randomized load balancing", 2001.
    """

    feasible: Feasible = timely

    def choose(self, request: Request, workers: Workers, rng: np.random.Generator) -> int | None:
        """The index of a worker, or None."""
        candidates = self.feasible(request, workers).nonzero()[0]
        count = len(candidates)
        if count < 2:
            return int(candidates[0]) if count else None
        first = int(rng.random() * count)
        second = (first + 1 + int(rng.random() * (count - 1))) % count
        one, other = int(candidates[first]), int(candidates[second])
        return one if _pressure_of(one, workers) <= _pressure_of(other, workers) else other


@dataclass
class Prequal(DispatchPolicy):
    """Hot and cold workers by queries present, then the least latency among the cold.

    The rule of Wydrowski et al., "Load is not what you should balance: introducing Prequal", NSDI 2024: a
    worker is hot where its queries present (per slot) are above the quantile `hot` of all workers; where every
    feasible worker is hot the one with the fewest wins, else the cold one with the least estimated latency. The
    table of workers stands in for the pool of probes. Latency at the present number of queries is the nominal
    one times a slow-down, learned per worker from its answers with weight `learning`.
    """

    hot: float = 0.84
    learning: float = 0.2
    _slowdown: Floats = field(default_factory=lambda: np.ones(0), init=False, repr=False)

    def choose(self, request: Request, workers: Workers, rng: np.random.Generator) -> int | None:
        """The index of a worker, or None."""
        mask = self.feasible(request, workers)
        present = workers.waiting + workers.in_flight
        present *= workers.per_slot
        rank = int(self.hot * (len(present) - 1))
        cold = present <= np.partition(present, rank)[rank]
        cold &= mask
        if not cold.any():
            return least(present, mask)
        present += workers.per_slot
        np.maximum(present, 1.0, out=present)
        present *= workers.service[request.application]
        present *= self._slowdowns(len(workers))
        present += workers.round_trip
        return least(present, cold)

    def answered(self, request: Request, workers: Workers, worker: int, seconds: float, ahead: float) -> None:
        """Learn how much slower the worker is than its profile says."""
        crowd = max(1.0, (ahead + 1) * float(workers.per_slot[worker]))
        ratio = seconds / (crowd * float(workers.service[request.application, worker]))
        slowdown = self._slowdowns(len(workers))
        slowdown[worker] += self.learning * (ratio - slowdown[worker])

    def _slowdowns(self, count: int) -> Floats:
        if len(self._slowdown) != count:
            self._slowdown = np.ones(count)
        return self._slowdown


def _pressure_of(worker: int, workers: Workers) -> float:
    present = workers.waiting[worker] + workers.in_flight[worker]
    return float(present * workers.per_slot[worker] + workers.load[worker] * workers.per_capacity[worker])
