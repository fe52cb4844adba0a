"""What no dispatcher can exceed, in hindsight: a Lagrangian bound with the prices of a linear programme.

With everything known (arrivals, network delays and service times of all queries) a query q can succeed
at worker w only if it would be in time without any waiting, and then takes s_qw seconds of one of w's slots
between its arrival and its deadline. For any prices y >= 0 of a slot-second, by worker and window of time,

    successes <= sum_streams max(0, max_w sum_q (1 - y_w(q) s_qw)+) + sum_w,k y_wk slots_w seconds_k,

where y_w(q) is the least price between arrival and deadline; the first sum is by stream because a stream is
bound to one worker for its life. It holds for every choice of y (weak duality); good ones are the duals of a
linear programme per window that assigns kinds of queries, alike in where they can succeed, to workers.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from flowedge.simulate.arrivals import CHUNK, Arrivals
from flowedge.simulate.core import Station
from flowedge.simulate.dispatching import Dispatcher, Dispatching
from flowedge.simulate.scenario import Floats, Scenario

WINDOW = 10.0
FACTORS = 0.9, 1.0, 1.05, 1.1, 1.2, 1.35
_ROUNDING = 1e-9
"""Seconds by which the simulation's own sums may differ from those here."""


@dataclass(frozen=True)
class Queries:
    """Q queries, with what becomes of them at each of W workers if they need not wait."""

    client: NDArray[np.intp]
    first: NDArray[np.intp]
    """(Q,) the window in which the query reaches its dispatcher."""
    last: NDArray[np.intp]
    """(Q,) the window of its deadline: two windows at most are touched."""
    due: Floats
    """(Q,) the deadlines."""
    seconds: Floats
    """(Q, W) of service."""
    timely: NDArray[np.bool_]
    """(Q, W) whether the answer is in time and the model accurate enough."""


def bound(scenario: Scenario, arrivals: Arrivals) -> float:
    """The share of the counted queries that succeed at most.

    For streams over workers that serve one query per slot at a time and never fail: raises `ValueError` for
    other scenarios.
    """
    single = any(source.arrivals not in ("streams", "cameras") for source in scenario.sources)
    if scenario.failures or single or any(worker.variant.batch > 1 for worker in scenario.workers):
        raise ValueError("the bound is for streams, workers without batches, and no failures")
    deadlines = [request.deadline for request in arrivals.requests]
    if deadlines and max(deadlines) > WINDOW:
        raise ValueError(f"the bound is for deadlines up to {WINDOW:g} s")
    simulation = Dispatching(scenario, "closest", arrivals)
    queries = _queries(simulation)
    if not len(queries.client):
        return 1.0
    slots = np.array([station.slots for station in simulation.core.stations], float)
    prices = np.zeros((int(queries.last.max()) + 1, len(slots)))
    asked = np.unique(queries.first)
    for window in asked:
        prices[window] = _prices(queries, queries.first == window, slots)
    prices[asked[-1] + 1 :] = prices[asked[-1]]  # while the last deadlines are to come
    length = np.clip(queries.due.max() - WINDOW * np.arange(len(prices)), 0.0, WINDOW)
    length[: asked[0]] = 0.0
    # The programme knows the kinds' mean service only; dearer prices do better where single ones are picked.
    return min(_successes(queries, factor * prices, slots, length) for factor in FACTORS) / len(queries.client)


def _successes(queries: Queries, prices: Floats, slots: Floats, length: Floats) -> float:
    """The bound at these prices (windows, W); `length` is how many seconds each window has."""
    least = np.minimum(prices[queries.first], prices[queries.last])
    gain = np.where(queries.timely, np.maximum(1 - least * queries.seconds, 0.0), 0.0)
    streams = [np.bincount(queries.client, column) for column in gain.T]
    total = float(np.max(streams, axis=0).sum() + length @ prices @ slots)
    return min(total, float(len(queries.client)))


def _queries(simulation: Dispatching) -> Queries:
    """Every query that counts, drawn as the simulation draws them."""
    scenario, arrivals = simulation.scenario, simulation.arrivals
    chunks = [arrivals.chunk(number) for number in range(int(np.ceil(scenario.duration / CHUNK)))]
    times, noise, there, back = (
        np.concatenate([getattr(chunk, name) for chunk in chunks])
        for name in ("times", "noise", "there", "back")
    )
    client = np.concatenate([np.array(chunk.clients, np.intp) for chunk in chunks])
    born = times - np.array([sender.lag for sender in simulation.clients])[client]
    counted = born >= scenario.warmup
    client, born, times = client[counted], born[counted], times[counted]
    luck = np.stack([noise, there, back])[:, counted]
    due = born + np.array([request.deadline for request in arrivals.requests])[client]
    seconds = np.empty((len(client), len(scenario.workers)))
    timely = np.zeros(seconds.shape, bool)
    nodes = np.array(arrivals.nodes)[client]
    for node, dispatcher in simulation.dispatchers.items():
        at = np.flatnonzero(nodes == node)
        for station in simulation.core.stations:
            took, home = _alone(simulation, dispatcher, station, client[at], times[at], luck[:, at])
            seconds[at, station.number] = took
            timely[at, station.number] = home <= due[at] + _ROUNDING
    first, last = (times // WINDOW).astype(int), (due // WINDOW).astype(int)
    return Queries(client, first, last, due, seconds, timely)


def _alone(
    simulation: Dispatching,
    dispatcher: Dispatcher,
    station: Station,
    client: NDArray[np.intp],
    times: Floats,
    luck: Floats,
) -> tuple[Floats, Floats]:
    """Seconds of service, and when the answer is at home, of queries that meet nobody at a worker.

    That is never (infinite) where there is no way, or where the worker does not serve the stream well enough.
    """
    requests = simulation.arrivals.requests
    path = dispatcher.paths[station.number]
    serves = np.array(
        [
            simulation.table.accuracy[request.application, station.number] >= request.accuracy
            and station.seconds[request.application] >= 0
            for request in requests
        ],
        bool,
    )[client]
    if path is None:
        return np.ones(len(client)), np.full(len(client), np.inf)
    work = np.array([station.seconds[request.application] * request.weight for request in requests])[client]
    size = np.array([request.bytes for request in requests])[client]
    access = np.array([request.access for request in requests])[client]
    noise, there, back = luck
    took = work * np.exp(station.sigma * noise - station.half)
    sending = size * sum(way.second_per_byte for way in path.directions)
    jitter = np.maximum(path.deviation * there, -path.delay) + np.maximum(path.deviation * back, -path.delay)
    home = times + sending + 2 * path.delay + jitter + took + access
    return np.where(serves, took, 1.0), np.where(serves, home, np.inf)


def _prices(queries: Queries, within: NDArray[np.bool_], slots: Floats) -> Floats:
    """(W,) successes per slot-second that a worker's capacity is worth in one window."""
    from scipy.optimize import linprog
    from scipy.sparse import csr_array

    timely, seconds = queries.timely[within], queries.seconds[within]
    patterns, member, counts = np.unique(timely, axis=0, return_inverse=True, return_counts=True)
    kind, worker = patterns.nonzero()
    if not len(kind):
        return np.zeros(len(slots))
    sums = [np.bincount(member.ravel(), column, len(patterns)) for column in seconds.T]
    mean = np.column_stack(sums) / counts[:, None]
    columns = np.arange(len(kind))
    solution = linprog(
        -np.ones(len(kind)),
        A_ub=csr_array(
            (
                np.concatenate([mean[kind, worker], np.ones(len(kind))]),
                (np.concatenate([worker, len(slots) + kind]), np.tile(columns, 2)),
            ),
            shape=(len(slots) + len(patterns), len(kind)),
        ),
        b_ub=np.concatenate([WINDOW * slots, counts]),
        method="highs",
    )
    if solution.status != 0:
        raise ArithmeticError(f"HiGHS: {solution.message}")
    duals: Floats = -solution.ineqlin.marginals[: len(slots)]
    return np.maximum(duals, 0.0)
