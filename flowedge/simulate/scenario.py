"""Scenarios, as plain data: cluster, applications, workers or a plan, requests, failures."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Literal, TypeAlias

import numpy as np
from numpy.typing import NDArray

from flowedge.errors import ConfigError
from flowedge.planner.model.cluster import Cluster
from flowedge.planner.model.problem import Problem

Floats: TypeAlias = NDArray[np.float64]


@dataclass(frozen=True)
class Rate:
    """A rate (1/s) over time: steps of (from when on, how much), each multiplied by a daily wave

        1 + amplitude sin(2 pi (t - phase) / period).

    >>> busy = Rate(((0.0, 1.0), (60.0, 3.0)))
    >>> busy.at(np.array([0.0, 59.0, 60.0])).tolist(), busy.peak
    ([1.0, 1.0, 3.0], 3.0)
    """

    steps: tuple[tuple[float, float], ...]
    amplitude: float = 0.0
    period: float = 86_400.0
    phase: float = 0.0

    def __post_init__(self) -> None:
        starts = [start for start, _ in self.steps]
        if not starts or starts[0] != 0 or starts != sorted(set(starts)):
            raise ConfigError(
                f"rate: the steps begin at {starts}; the first begins at 0 s, each later than the last"
            )
        if not 0 <= self.amplitude <= 1:
            raise ConfigError(f"rate.amplitude: {self.amplitude!r} is not a share from 0 to 1")
        if not self.period > 0:
            raise ConfigError(f"rate.period: {self.period!r} is not above 0 s")

    @property
    def peak(self) -> float:
        """A bound that the rate never exceeds."""
        return (1 + self.amplitude) * max(value for _, value in self.steps)

    def at(self, times: Floats) -> Floats:
        """The rate at these times."""
        starts, values = np.array(self.steps).T
        rates: Floats = values[np.searchsorted(starts, times, side="right") - 1]
        if self.amplitude:
            rates = rates * (1 + self.amplitude * np.sin(2 * np.pi * (times - self.phase) / self.period))
        return rates

    def scaled(self, factor: float) -> Rate:
        """The same course, `factor` times as much."""
        return replace(self, steps=tuple((start, factor * value) for start, value in self.steps))


@dataclass(frozen=True, slots=True)
class Range:
    """Uniform between two numbers."""

    low: float
    high: float

    def draw(self, rng: np.random.Generator, count: int) -> Floats:
        """`count` values."""
        return rng.uniform(self.low, self.high, count)

    def between(self, share: float) -> float:
        """The value at a share (0..1) of the way."""
        return self.low + share * (self.high - self.low)


@dataclass(frozen=True, slots=True)
class RequestKind:
    """What one application asks for; each client draws its own values from the ranges.

    `deadline` in seconds from capture to answer, `size` in bytes of a query, `rate` in queries per second of a
    stream, `accuracy` (0..1) at least, `work` how much more of a worker a query takes than a nominal one.
    """

    name: str
    deadline: Range
    size: Range = Range(0.0, 0.0)
    rate: Range = Range(1.0, 1.0)
    accuracy: Range = Range(0.0, 0.0)
    work: Range = Range(1.0, 1.0)


@dataclass(frozen=True)
class ServedModel:
    """A model on some hardware, as a worker runs it.

    `seconds` is the mean time of a batch of one and `batch_seconds` that of a full `batch`, between them it
    grows evenly; `deviation` is the standard deviation for a batch of one (log-normal), and grows alike.
    `slots` batches run at one time. At most `queue` queries wait, then `full` says who goes: the "newest",
    which has just come, or the "oldest". A worker drops queries that are `expired` before it begins, or serves
    them. `capacity` is the rate that dispatchers are told; `accuracy` and what it serves are by application.
    """

    name: str
    seconds: float
    accuracy: Mapping[str, float]
    batch_seconds: float
    deviation: float = 0.0
    slots: int = 1
    batch: int = 1
    capacity: float = 0.0
    queue: float = float("inf")
    full: Literal["newest", "oldest"] = "newest"
    drop_expired: bool = False

    @property
    def limit(self) -> float:
        """Queries per second that it can serve at most."""
        return self.slots * self.batch / self.batch_seconds


@dataclass(frozen=True, slots=True)
class SimulatedWorker:
    """One replica of a variant on a node."""

    name: str
    node: str
    variant: ServedModel


@dataclass(frozen=True)
class RequestSource:
    """Where requests come from: clients of some applications, by share, that reach the dispatcher at `node`.

    "streams": clients come by a Poisson process of `rate`, stay for an exponential `lifetime` (s) and send
    queries periodically; each stream is bound to a worker once. "cameras": `count` streams that last.
    "queries": a Poisson process of single queries of `count` clients, each dispatched by itself. "trace":
    `rows`. `access` is a client's one-way delay (s) to the dispatcher, and `bitrate` (bit/s) what its link
    carries.
    """

    name: str
    node: str
    arrivals: Literal["streams", "cameras", "queries", "trace"]
    mix: tuple[tuple[str, float], ...] = ()
    rate: Rate = Rate(((0.0, 0.0),))
    lifetime: float = float("inf")
    count: int = 1
    access: Range = Range(0.0, 0.0)
    bitrate: float = float("inf")
    rows: tuple[TraceRow, ...] = ()


@dataclass(frozen=True, slots=True)
class TraceRow:
    """One line of a trace: a query at `time` (s), or, with a `rate`, a stream of some `duration` (s).

    What is None is drawn as its application says.
    """

    time: float
    application: str
    deadline: float | None = None
    size: float | None = None
    accuracy: float | None = None
    rate: float = 0.0
    duration: float = 0.0


@dataclass(frozen=True, slots=True)
class Failure:
    """A node whose workers stop, or a link that breaks: between two times, or at random.

    With `between` (mean seconds up) and `repair` (mean seconds down) both are exponential.
    """

    target: str | tuple[str, str]
    start: float = 0.0
    end: float = float("inf")
    between: float | None = None
    repair: float | None = None


@dataclass(frozen=True)
class PlanningLoop:
    """Planning in the loop: workers and routes are those of a plan for `problem`.

    The plan is made anew `every` so many seconds with the load of that moment, and, with `on_failure`, after a
    failure or recovery. A new plan is in force `switch` seconds after it was asked for. `load` multiplies the
    cameras' frame rates. With `dispatch`, a policy sends each frame to one of the plan's replicas, for
    operators without state and with one input; for other operators, and without `dispatch` for all, frames
    follow the plan's routes.
    """

    problem: Problem
    every: float = float("inf")
    on_failure: bool = True
    switch: float = 0.0
    load: Rate = Rate(((0.0, 1.0),))
    dispatch: str | None = None


@dataclass(frozen=True)
class Scenario:
    """Everything that a simulation is given, but for the seed and the policy.

    Times are in seconds. Requests from before `warmup` are simulated and not counted. A dispatcher learns of a
    failure or recovery after `detection`. `choices` are the policies (or, where a plan is in the loop,
    strategies) to compare. A link drops what would wait behind more than `link_queue` bytes.
    """

    name: str
    cluster: Cluster
    duration: float
    kinds: tuple[RequestKind, ...] = ()
    workers: tuple[SimulatedWorker, ...] = ()
    sources: tuple[RequestSource, ...] = ()
    failures: tuple[Failure, ...] = ()
    planned: PlanningLoop | None = None
    choices: tuple[str, ...] = ()
    feasible: str | None = None
    seed: int = 0
    warmup: float = 0.0
    window: float = 10.0
    detection: float = 0.0
    link_queue: float = float("inf")

    def __post_init__(self) -> None:
        nodes = self.cluster.index
        for where, node in (
            *((f"workers {worker.name}", worker.node) for worker in self.workers),
            *((f"sources {source.name}", source.node) for source in self.sources),
            *(("failures", failure.target) for failure in self.failures if isinstance(failure.target, str)),
        ):
            if node not in nodes:
                raise ConfigError(f"{where}: there is no node {node!r}")
        links = {frozenset((link.a, link.b)) for link in self.cluster.links}
        for failure in self.failures:
            if not isinstance(failure.target, str) and frozenset(failure.target) not in links:
                raise ConfigError(f"failures: there is no link {' - '.join(failure.target)}")
        if not self.duration > 0:
            raise ConfigError(f"duration: {self.duration:g} s is not above 0 s")
        for source in self.sources:
            first = min((row.time for row in source.rows), default=0.0)
            if first >= self.duration:
                raise ConfigError(
                    f"sources {source.name}: its trace begins at {first:g} s, after the scenario's end at "
                    f"{self.duration:g} s; subtract {first:g} from all times"
                )
        if not 0 <= self.warmup < self.duration:
            raise ConfigError(f"warmup: {self.warmup:g} s leaves nothing of the duration, {self.duration:g} s")
        if not self.window > 0:
            raise ConfigError(f"window: {self.window!r} is not above 0 s")

    @cached_property
    def applications(self) -> dict[str, int]:
        """The number of each application."""
        if self.planned is not None:
            return {
                application.name: number for number, application in enumerate(self.planned.problem.applications)
            }
        return {kind.name: number for number, kind in enumerate(self.kinds)}

    def scaled(self, factor: float) -> Scenario:
        """The same with the rate of every Poisson source multiplied: an ASET scenario at lambda 100 is the one
        at lambda 60 `scaled(100 / 60)`."""
        return replace(
            self, sources=tuple(replace(source, rate=source.rate.scaled(factor)) for source in self.sources)
        )
