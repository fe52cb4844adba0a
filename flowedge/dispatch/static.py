"""The seven static policies of ASET (Castellano et al., ICDCSW 2025, section III-C)."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np

from flowedge.dispatch.policy import DispatchPolicy, drawn, least
from flowedge.dispatch.workers import Floats, Mask, Request, Workers

_NO_LOAD = 1e-3
"""Queries per second added to a load, so that an idle worker has a finite weight: C / (L + e)."""


@dataclass
class Closest(DispatchPolicy):
    """Any feasible worker of the cluster nearest by delay + 2 deviations."""

    def choose(self, request: Request, workers: Workers, rng: np.random.Generator) -> int | None:
        """The index of a worker, or None."""
        mask = self.feasible(request, workers)
        near = least(workers.round_trip, mask)
        return None if near is None else _any_of_cluster(near, mask, workers, rng)


@dataclass
class LoadBalancing(DispatchPolicy):
    """The worker with the least load, in queries per second."""

    def choose(self, request: Request, workers: Workers, rng: np.random.Generator) -> int | None:
        """The index of a worker, or None."""
        return least(workers.load, self.feasible(request, workers))


@dataclass
class Farthest(DispatchPolicy):
    """Any feasible worker of the farthest cluster that is still feasible; the argmax runs over clusters."""

    def choose(self, request: Request, workers: Workers, rng: np.random.Generator) -> int | None:
        """The index of a worker, or None."""
        mask = self.feasible(request, workers)
        far = least(-workers.round_trip, mask)
        return None if far is None else _any_of_cluster(far, mask, workers, rng)


@dataclass
class Cheaper(DispatchPolicy):
    """The worker with the longest time to an answer that is still feasible."""

    def choose(self, request: Request, workers: Workers, rng: np.random.Generator) -> int | None:
        """The index of a worker, or None."""
        return least(-workers.reach[request.application], self.feasible(request, workers))


@dataclass
class RandomProportionalLatency(DispatchPolicy):
    """A worker drawn with a probability proportional to 1 / its time to an answer."""

    def choose(self, request: Request, workers: Workers, rng: np.random.Generator) -> int | None:
        """The index of a worker, or None."""
        mask = self.feasible(request, workers)
        return drawn(1 / np.where(mask, workers.reach[request.application], math.inf), rng)


@dataclass
class RandomProportionalLoad(DispatchPolicy):
    """A worker drawn with a probability proportional to capacity / (load + e)."""

    def choose(self, request: Request, workers: Workers, rng: np.random.Generator) -> int | None:
        """The index of a worker, or None."""
        weights: Floats = workers.capacity / (workers.load + _NO_LOAD)
        weights *= self.feasible(request, workers)
        return drawn(weights, rng)


@dataclass
class LeastImpedance(DispatchPolicy):
    """The worker with the shortest time to an answer."""

    def choose(self, request: Request, workers: Workers, rng: np.random.Generator) -> int | None:
        """The index of a worker, or None."""
        return least(workers.reach[request.application], self.feasible(request, workers))


def _any_of_cluster(worker: int, mask: Mask, workers: Workers, rng: np.random.Generator) -> int:
    """One of the feasible workers of the same cluster, each as likely as the others."""
    same = (mask & (workers.cluster == workers.cluster[worker])).nonzero()[0]
    return int(same[int(rng.random() * len(same))])


STATIC: dict[str, type[DispatchPolicy]] = {
    "closest": Closest,
    "load-balancing": LoadBalancing,
    "farthest": Farthest,
    "cheaper": Cheaper,
    "random-proportional-latency": RandomProportionalLatency,
    "random-proportional-load": RandomProportionalLoad,
    "least-impedance": LeastImpedance,
}
"""In the order of the paper, which is the order of ASET's actions."""
