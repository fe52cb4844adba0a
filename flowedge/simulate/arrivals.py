"""Clients and their requests, drawn from the seed alone, so that every policy faces the same ones.

Everything random about a request is drawn here before anything is decided about it: its time, its client, the
noise of its service and of its way there and back through the network (common random numbers).
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from flowedge.dispatch import Request
from flowedge.simulate.scenario import Floats, Range, Rate, RequestKind, RequestSource, Scenario

CHUNK = 10.0
"""Seconds of requests that are drawn at once: what is kept in memory."""

NEW, REJECTED, LOST = -1, -2, -3
"""In place of a worker, where a client has none: not asked yet; refused; lost by a failure."""


class Client:
    """One stream, or one sender of single queries (then its request has rate 0)."""

    __slots__ = (
        "access",
        "application",
        "deadline",
        "end",
        "lag",
        "node",
        "request",
        "single",
        "size",
        "worker",
    )

    def __init__(self, request: Request, node: int, end: float) -> None:
        self.request = request
        self.node = node
        self.end = end
        self.single = request.rate == 0
        self.worker = NEW
        self.application = request.application
        self.deadline = request.deadline
        self.size = request.bytes
        self.access = request.access
        self.lag = lag(request)


@dataclass(frozen=True)
class Requests:
    """Requests in the order in which they reach their dispatchers, as lists alike in length.

    `noise` (of the service), `there` and `back` (of the ways through the network) are standard normal.
    """

    times: list[float]
    clients: list[int]
    noise: list[float]
    there: list[float]
    back: list[float]


@dataclass(frozen=True, eq=False)
class Arrivals:
    """All clients of a scenario, and their requests chunk by chunk; a simulation does not change them.

    All times are those at the dispatcher. Periodic clients send at `first`, `first` + `gap`, ... before `end`;
    the senders of each pool send single queries at the pool's rate.
    """

    requests: tuple[Request, ...]
    nodes: tuple[int, ...]
    first: Floats
    gap: Floats
    end: Floats
    pools: tuple[tuple[Rate, int, int], ...]
    """Rate of a pool, and its first client and number of clients."""
    duration: float
    seed: int

    def clients(self) -> list[Client]:
        """Fresh ones: a simulation writes to them."""
        rows = zip(self.requests, self.nodes, self.end.tolist(), strict=True)
        return [Client(request, node, end) for request, node, end in rows]

    def chunk(self, number: int) -> Requests:
        """The requests of one chunk of time, which is [number, number + 1) CHUNK."""
        rng = np.random.default_rng([self.seed, 1, number])
        begin, end = number * CHUNK, min((number + 1) * CHUNK, self.duration)
        parts = [self._periodic(begin, end)]
        parts += [_poisson(rng, rate, begin, end, first, count) for rate, first, count in self.pools]
        times = np.concatenate([moments for moments, _ in parts])
        clients = np.concatenate([owners for _, owners in parts])
        order = np.argsort(times, kind="stable")
        noise = rng.standard_normal((3, len(order)))
        return Requests(times[order].tolist(), clients[order].tolist(), *(row.tolist() for row in noise))

    def _periodic(self, begin: float, end: float) -> tuple[Floats, NDArray[np.intp]]:
        live = np.flatnonzero((self.first < end) & (self.end > begin))
        first, gap, stop = self.first[live], self.gap[live], np.minimum(self.end[live], end)
        earliest = np.maximum(np.ceil((begin - first) / gap), 0)
        counts = np.maximum(np.ceil((stop - first) / gap) - earliest, 0).astype(int)
        within = np.arange(counts.sum()) - np.repeat(counts.cumsum() - counts, counts)
        times = np.repeat(first, counts) + (np.repeat(earliest, counts) + within) * np.repeat(gap, counts)
        return times, np.repeat(live, counts)


def _poisson(
    rng: np.random.Generator, rate: Rate, begin: float, end: float, first: int, count: int
) -> tuple[Floats, NDArray[np.intp]]:
    times = poisson(rng, rate, begin, end)
    return times, first + rng.integers(0, count, len(times))


def poisson(rng: np.random.Generator, rate: Rate, begin: float, end: float) -> Floats:
    """Times of a Poisson process within [begin, end), in order: drawn at the peak rate, and thinned.

    Lewis and Shedler, "Simulation of nonhomogeneous Poisson processes by thinning", 1979.
    """
    times = np.sort(rng.uniform(begin, end, rng.poisson(rate.peak * (end - begin))))
    keep: Floats = times[rng.random(len(times)) * rate.peak < rate.at(times)]
    return keep


_ANY = Range(0.0, 1.0)


class _DrawnClients:
    """Clients while they are being drawn."""

    def __init__(self, scenario: Scenario) -> None:
        self.scenario = scenario
        self.kinds = {kind.name: kind for kind in scenario.kinds}
        self.requests: list[Request] = []
        self.nodes: list[int] = []
        self.first: list[float] = []
        self.end: list[float] = []
        self.pools: list[tuple[Rate, int, int]] = []

    def add(self, source: RequestSource, number: int) -> None:
        """The clients of one source."""
        rng = np.random.default_rng([self.scenario.seed, 0, number])
        if source.arrivals == "trace":
            self._trace(source, rng)
            return
        if source.arrivals == "streams":
            begin = poisson(rng, source.rate, 0.0, self.scenario.duration)
            end = begin + rng.exponential(source.lifetime, len(begin))
        else:
            begin = np.zeros(source.count)
            end = np.full(source.count, np.inf)
        names = [name for name, _ in source.mix]
        shares = np.cumsum([share for _, share in source.mix])
        chosen = np.searchsorted(shares, rng.random(len(begin)) * shares[-1], side="right")
        start = len(self.requests)
        single = source.arrivals == "queries"
        for position, name in enumerate(names):
            members = np.flatnonzero(chosen == position)
            self._members(source, self.kinds[name], begin[members], end[members], rng, single)
        if single and source.count:
            self.pools.append((source.rate, start, source.count))

    def _members(
        self,
        source: RequestSource,
        kind: RequestKind,
        begin: Floats,
        end: Floats,
        rng: np.random.Generator,
        single: bool,
    ) -> None:
        """Clients of one source that run one application."""
        count = len(begin)
        columns = [
            entry.draw(rng, count).tolist()
            for entry in (kind.deadline, kind.size, kind.rate, kind.accuracy, kind.work, source.access, _ANY)
        ]
        for deadline, size, rate, accuracy, work, access, phase, since, until in zip(
            *columns, begin.tolist(), end.tolist(), strict=True
        ):
            first = np.inf if single else since + phase / rate
            values = deadline, size, 0.0 if single else rate, accuracy, work, access
            self._client(source, kind.name, values, since, first, until)

    def _trace(self, source: RequestSource, rng: np.random.Generator) -> None:
        luck = rng.random((len(source.rows), 5)).tolist()
        for row, (one, two, three, four, five) in zip(source.rows, luck, strict=True):
            kind = self.kinds[row.application]
            deadline = kind.deadline.between(one) if row.deadline is None else row.deadline
            size = kind.size.between(two) if row.size is None else row.size
            accuracy = kind.accuracy.between(three) if row.accuracy is None else row.accuracy
            values = deadline, size, row.rate, accuracy, kind.work.between(four), source.access.between(five)
            # A single query is a client that sends once: its next one would be a second later.
            end = row.time + (row.duration if row.rate else 0.5)
            self._client(source, kind.name, values, row.time, row.time, end)

    def _client(
        self,
        source: RequestSource,
        application: str,
        values: tuple[float, float, float, float, float, float],
        arrival: float,
        first: float,
        end: float,
    ) -> None:
        deadline, size, rate, accuracy, work, access = values
        self.requests.append(
            Request(
                self.scenario.applications[application],
                deadline,
                size,
                len(self.requests),
                arrival,
                rate,
                accuracy,
                access,
                source.bitrate,
                work,
            )
        )
        self.nodes.append(self.scenario.cluster.index[source.node])
        self.first.append(first)
        self.end.append(end)


def draw(scenario: Scenario) -> Arrivals:
    """Everything that arrives in a scenario, by its seed."""
    drawn = _DrawnClients(scenario)
    for number, source in enumerate(scenario.sources):
        drawn.add(source, number)
    rates = np.array([request.rate for request in drawn.requests])
    lags = np.array([lag(request) for request in drawn.requests])
    return Arrivals(
        tuple(drawn.requests),
        tuple(drawn.nodes),
        np.array(drawn.first, float) + lags,
        np.divide(1.0, rates, out=np.ones(len(rates)), where=rates > 0),
        np.array(drawn.end, float) + lags,
        tuple(drawn.pools),
        scenario.duration,
        scenario.seed,
    )


def lag(request: Request) -> float:
    """Seconds from capture until a query has reached the dispatcher."""
    return request.access + 8 * request.bytes / request.bitrate
