"""Switching between static policies from window to window: ASET, and random switching beside it.

ASET (Castellano et al., "Scheduling Inference Workloads in the Computing Continuum with Reinforcement
Learning", ICDCSW 2025): every T seconds a deep Q-network chooses one of seven static policies from what it saw
in the last windows. The paper's state has features per worker; here they are sums per tier, so that one network
faces any topology.
"""

from __future__ import annotations

import math
from bisect import bisect
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path

import numpy as np

from flowedge.dispatch import aset_constants as constants
from flowedge.dispatch.dense import DenseNetwork
from flowedge.dispatch.policy import DispatchPolicy
from flowedge.dispatch.static import STATIC
from flowedge.dispatch.workers import Floats, Request, Workers
from flowedge.errors import ConfigError

ACTIONS = tuple(STATIC)
"""The names of the policies that an agent can switch to, by number."""

_GROUPS = (len(constants.DEADLINES) + 1) * (len(constants.RATES) + 1)
_PER_TIER = 7
FEATURES = _PER_TIER * constants.TIERS + _GROUPS + 2
"""Numbers in what is seen of one window."""

WEIGHTS = Path(__file__).with_name("aset.npz")
"""The weights that come with FlowEdge; `DenseNetwork.load(WEIGHTS).note` says how they were trained."""


@dataclass
class Switching(DispatchPolicy):
    """Uses one static policy at a time; a subclass says in `window` which one is next."""

    interval: float = constants.WINDOW
    action: int = len(ACTIONS) - 1
    """The policy in use, by number; the first window has least-impedance, which is best at low load."""
    _policies: tuple[DispatchPolicy, ...] = field(init=False, repr=False)

    def __post_init__(self) -> None:
        self._policies = tuple(policy(self.feasible) for policy in STATIC.values())

    @property
    def period(self) -> float:
        """T."""
        return self.interval

    def choose(self, request: Request, workers: Workers, rng: np.random.Generator) -> int | None:
        """The index of a worker, or None."""
        return self._policies[self.action].choose(request, workers, rng)


@dataclass
class RandomSwitch(Switching):
    """Another static policy at random in every window."""

    def window(self, workers: Workers, rng: np.random.Generator) -> None:
        """Draw the next policy."""
        self.action = int(rng.random() * len(ACTIONS))


@dataclass
class Observer:
    """What ASET sees: counts within the present window, and the last windows' features."""

    interval: float = constants.WINDOW
    groups: Floats = field(default_factory=lambda: np.zeros(_GROUPS))
    """Queries per second of the streams now bound, by group of deadline and rate."""
    answers: Floats = field(default_factory=lambda: np.zeros(0))
    """(W,) queries answered by each worker within the window."""
    asked: float = 0.0
    rejected: float = 0.0
    history: Floats = field(default_factory=lambda: np.zeros((constants.HISTORY, FEATURES)))

    def arrived(self, request: Request, taken: bool) -> None:
        """A request came, and was bound to a worker or not."""
        queries = request.rate if request.rate > 0 else 1.0
        self.asked += queries
        if taken:
            self.groups[group_of(request)] += queries
        else:
            self.rejected += queries

    def ended(self, request: Request) -> None:
        """A stream is over."""
        self.groups[group_of(request)] -= request.rate if request.rate > 0 else 1.0

    def answered(self, worker: int, workers: Workers, queries: float = 1.0) -> None:
        """The worker has answered queries."""
        if len(self.answers) != len(workers):
            self.answers = np.zeros(len(workers))
        self.answers[worker] += queries

    def window(self, workers: Workers) -> Floats:
        """The state at the end of a window, (HISTORY * FEATURES,), the latest window first; counting starts
        anew."""
        if len(self.answers) != len(workers):
            self.answers = np.zeros(len(workers))
        total = float(workers.capacity.sum())
        share = self.rejected / self.asked if self.asked else 0.0
        seen = [
            _tiers(workers, self.answers / self.interval).ravel(),
            self.groups / total,
            np.array([self.asked / self.interval / total, share]),
        ]
        self.history = np.vstack([np.concatenate(seen), self.history[:-1]])
        self.answers[:] = 0.0
        self.asked = self.rejected = 0.0
        return self.history.ravel()


@cache
def shipped() -> DenseNetwork:
    """The weights that come with FlowEdge."""
    return DenseNetwork.load(WEIGHTS)


@dataclass
class Aset(Switching):
    """The agent, with the weights that come with FlowEdge or with others. Raises `ConfigError` where they do
    not fit its state and actions."""

    network: DenseNetwork = field(default_factory=shipped)
    observer: Observer = field(default_factory=Observer, init=False, repr=False)

    def __post_init__(self) -> None:
        super().__post_init__()
        needed = constants.HISTORY * FEATURES, len(ACTIONS)
        if self.network.shape != needed:
            raise ConfigError(f"ASET's network has {self.network.shape} inputs and outputs, and needs {needed}")
        self.observer.interval = self.interval

    def choose(self, request: Request, workers: Workers, rng: np.random.Generator) -> int | None:
        """The index of a worker, or None."""
        worker = super().choose(request, workers, rng)
        self.observer.arrived(request, worker is not None)
        return worker

    def answered(self, request: Request, workers: Workers, worker: int, seconds: float, ahead: float) -> None:
        """Count towards the worker's throughput."""
        self.observer.answered(worker, workers)

    def ended(self, request: Request, worker: int) -> None:
        """Take the stream out of the demand."""
        self.observer.ended(request)

    def window(self, workers: Workers, rng: np.random.Generator) -> None:
        """Switch to the policy with the greatest Q-value."""
        self.action = int(self.network(self.observer.window(workers)).argmax())


def group_of(request: Request) -> int:
    """The group of a request by deadline and rate.

    >>> group_of(Request(0, deadline=0.1, rate=15.0))
    3
    """
    deadline = bisect(constants.DEADLINES, request.deadline)
    return deadline * (len(constants.RATES) + 1) + bisect(constants.RATES, request.rate)


def _tiers(workers: Workers, throughput: Floats) -> Floats:
    """(TIERS, _PER_TIER): what is seen of each tier; a tier without workers is all zeros."""
    tier = np.minimum(workers.tier, constants.TIERS - 1)

    def total(values: Floats) -> Floats:
        sums: Floats = np.bincount(tier, values, constants.TIERS).astype(float)
        return sums

    capacity = total(workers.capacity)
    inverse = np.divide(1.0, capacity, out=np.zeros(constants.TIERS), where=capacity > 0)
    nearest = np.full(constants.TIERS, math.inf)
    np.minimum.at(nearest, tier, workers.round_trip)
    full = workers.load > 0.9 * workers.capacity
    return np.column_stack(
        [
            capacity / capacity.sum(),
            total(workers.load) * inverse,
            10 * total(workers.streams) * inverse,
            total(throughput) * inverse,
            np.minimum(total(workers.waiting) * inverse, 2.0),
            total(full * workers.capacity) * inverse,
            np.where(np.isinf(nearest), 0.0, 10 * nearest),
        ]
    )
