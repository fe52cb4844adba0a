"""Dual prices: what a worker's capacity is worth to the streams that are still to come."""

from __future__ import annotations

import logging
from bisect import bisect, bisect_left
from dataclasses import dataclass, field
from typing import TypeAlias

import numpy as np

from flowedge.dispatch.demand import Asked, Demand
from flowedge.dispatch.feasibility import Feasible
from flowedge.dispatch.policy import DispatchPolicy, least
from flowedge.dispatch.workers import Floats, Mask, Request, Workers, wait

log = logging.getLogger("flowedge.dispatch")

_NEGLIGIBLE = 1e-6
"""Queries per second below which a class is not in the window's programme."""

_IDLE = 1e-9
"""The utilisation of an idle worker: as good as none, and with a logarithm."""

Class: TypeAlias = tuple[int, int, int]
"""Application, and how many borders of reach and of accuracy a request is above: those of one class can be
served by the same workers."""


def _up(request: Request, workers: Workers) -> Mask:  # noqa: ARG001
    """(W,) workers that can be reached and work: the policy itself sees to the rest of ASET's constraints."""
    return workers.up


class Borders:
    """Where requests begin or cease to be served by a worker in time, and well enough."""

    def __init__(self, workers: Workers) -> None:
        self.reach = workers.reach
        """That of the workers, which is another array after each `Workers.refresh`."""
        self._accuracy = workers.accuracy
        self._reaches = [np.unique(row[row >= 0]).tolist() for row in workers.reach]
        self._accuracies = [np.unique(row).tolist() for row in workers.accuracy]
        self._able: dict[Class, Mask] = {}

    def class_of(self, request: Request, budget: float) -> Class:
        """The class of a request with so many seconds of budget."""
        row = request.application
        return row, bisect(self._reaches[row], budget), bisect_left(self._accuracies[row], request.accuracy)

    def able(self, key: Class, request: Request, budget: float) -> Mask:
        """(W,) the workers that can serve a class, of which this is a request; kept."""
        mask = self._able.get(key)
        if mask is None:
            mask = self.reach[request.application] <= budget
            mask &= self._accuracy[request.application] >= request.accuracy
            self._able[key] = mask
        return mask


@dataclass
class DualPrice(DispatchPolicy):
    """The worker with the greatest P(success) - price; rejected where no worker's is above 0.

    P(success) is the share of a stream's queries that the worker will answer in time while it lasts: with
    `slack` seconds left after the network and the service, x = capacity slack, c slots, n streams there already
    and a utilisation rho <= 1 with this one,

        P = 1 - rho^(sqrt(2 (c + 1)) - 1) exp(-(1 - rho) x / v - 2 x^2 / n),

    the chance to wait at all (Sakasegawa) times the tail of the wait in heavy traffic (Kingman, with
    v = (ca^2 + cs^2) / 2 = `variability`) for n periodic streams (the Brownian bridge of the nD/D/1 queue: they
    never all come at once for long). A single query has no last term, and its slack is what the queries that
    are at the worker now leave of it; a stream outlives these by far. Of equal workers where P is less by at
    most `tolerance` times the price the fullest is taken: what is scarce is of most use in one piece.

    The price of a worker is what a unit of its capacity will be worth to others while a stream lasts: the mean
    over futures of its dual in a linear programme (Talluri and van Ryzin, "A randomized linear programming
    method for computing network bid prices", Transportation Science 1999). When a share u of the streams that
    are bound now is left, which is uniform over the lifetime of one of them where that is exponential, those to
    come have grown to 1 - u of the demand. Maximise sum P_kw x_kw over classes k of requests, subject to
    sum_w x_kw <= (1 - u) demand_k and sum_k x_kw <= `fill` capacity_w - u load_w, where P_kw is P on a worker
    as full as that and demand_k is drawn. HiGHS solves `samples` futures at once, every `interval` seconds; the
    prices are averaged over windows, the latest with weight `smoothing`, but for the first ones, each of which
    has seen twice as much as the one before. Where HiGHS fails they stay as they are.
    """

    feasible: Feasible = _up
    interval: float = 10.0
    variability: float = 0.5
    tolerance: float = 0.1
    fill: float = 0.95
    samples: int = 16
    smoothing: float = 0.5
    prices: Floats = field(default_factory=lambda: np.zeros(0), init=False, repr=False)
    _age: float = field(default=0.0, init=False, repr=False)
    _demand: Demand[Class] = field(default_factory=Demand, init=False, repr=False)
    _borders: Borders | None = field(default=None, init=False, repr=False)
    _warned: bool = field(default=False, init=False, repr=False)

    @property
    def period(self) -> float:
        """Seconds to the next programme: `interval`, but in the beginning as long as it has been going on."""
        return min(self.interval, max(self.interval / 10, self._age))

    def choose(self, request: Request, workers: Workers, rng: np.random.Generator) -> int | None:
        """The index of a worker, or None."""
        borders = self._borders
        if borders is None or borders.reach is not workers.reach:
            borders = self._adopt(workers)
        budget, rate, weight = request.budget, request.rate, request.weight
        reach = workers.reach[request.application]
        key = borders.class_of(request, budget)
        mask = borders.able(key, request, budget) & self.feasible(request, workers)
        slack = budget - reach
        busy = workers.load + weight * rate
        busy *= workers.per_capacity
        mask &= busy <= 1
        if rate == 0:
            slack -= wait(workers)
            mask &= slack >= 0
            np.maximum(busy, _IDLE, out=busy)
        slack *= workers.capacity
        loss = busy - 1
        loss *= 1 / self.variability
        if rate > 0:
            others = np.maximum(workers.streams, 1.0)
            others *= -0.5
            loss += slack / others
        loss *= slack
        waits = np.log(busy)
        waits *= workers.crowding
        loss += waits
        np.minimum(loss, 0.0, out=loss)
        np.exp(loss, out=loss)
        loss += self.prices if weight == 1 else weight * self.prices
        worker = least(loss, mask)
        if worker is not None and loss[worker] >= 1:
            worker = None
        if worker is not None and rate > 0:
            mask &= reach == reach[worker]
            mask &= loss <= loss[worker] + self.tolerance * self.prices[worker]
            worker = least(-busy, mask)
        self._demand.arrived(key, request, worker is not None)
        return worker

    def _adopt(self, workers: Workers) -> Borders:
        """Replace the borders between classes, and sort the demand so far by the new ones."""
        borders = self._borders = Borders(workers)
        self._demand.rekey(lambda example: borders.class_of(example, example.budget))
        if len(self.prices) != len(workers):
            self.prices = np.zeros(len(workers))
        return borders

    def ended(self, request: Request, worker: int) -> None:
        """Learns how long streams last."""
        self._demand.ended(request)

    def window(self, workers: Workers, rng: np.random.Generator) -> None:
        """Sets the prices for the demand as it is now."""
        period = self.period
        self._age += period
        self._demand.window(period)
        fresh = self._duals(workers, rng)
        if fresh is None:
            return
        if len(self.prices) != len(workers) or period < self.interval:
            self.prices = fresh
        else:
            self.prices += self.smoothing * (fresh - self.prices)

    def _duals(self, workers: Workers, rng: np.random.Generator) -> Floats | None:
        """(W,) means over the futures, the diagonal blocks of one programme; None where HiGHS fails."""
        from scipy.optimize import linprog
        from scipy.sparse import block_diag, csr_array

        asked = [
            group for group in self._demand.classes.values() if group.streams + group.singles > _NEGLIGIBLE
        ]
        success = np.array([self._success(group.example, workers) for group in asked]).reshape(-1, len(workers))
        of_class, of_worker = success.nonzero()
        if not len(of_class):
            return np.zeros(len(workers))
        columns = np.arange(len(of_class))
        rows = np.concatenate([of_worker, len(workers) + of_class])
        shape = len(workers) + len(asked), len(columns)
        future = csr_array((np.ones(len(rows)), (rows, np.tile(columns, 2))), shape=shape)
        weights = np.array([group.example.weight for group in asked])
        demand = self._expected(asked, float(workers.capacity.sum()))
        stay = ((np.arange(self.samples) + 0.5) / self.samples)[:, None]
        free = np.maximum(self.fill * workers.capacity - stay * workers.load, 0.0)
        solution = linprog(
            np.tile(-(success / weights[:, None])[of_class, of_worker], self.samples),
            A_ub=block_diag([future] * self.samples, format="csr"),
            b_ub=np.hstack([free, _futures(asked, (1 - stay) * demand, rng)]).ravel(),
            method="highs",
        )
        if solution.status != 0:
            if not self._warned:
                log.warning("no new prices of workers, the last ones hold: HiGHS: %s", solution.message)
            self._warned = True
            return None
        duals: Floats = -solution.ineqlin.marginals.reshape(self.samples, -1)[:, : len(workers)].mean(0)
        return np.maximum(duals, 0.0)

    def _expected(self, asked: list[Asked], capacity: float) -> Floats:
        """(K,) queries per second of each class in the steady state.

        Streams that have not had the time to reach their steady-state number are scaled up to it, all together
        to no more than `capacity`.
        """
        streams = np.array([group.streams for group in asked])
        singles = np.array([group.singles for group in asked])
        present = float(streams.sum())
        share = max(self._demand.grown, present / max(capacity, present)) or 1.0
        expected: Floats = singles + streams / share
        return expected

    def _success(self, request: Request, workers: Workers) -> Floats:
        """(W,) P(success) per query of a class on workers as full as they may be; 0 where they cannot serve."""
        slack = request.budget - workers.reach[request.application]
        ahead = np.maximum(slack, 0.0) * workers.capacity
        decay = (1 - self.fill) * ahead / self.variability
        if request.rate > 0:
            decay += 2 * ahead**2 * request.rate * request.weight / (self.fill * workers.capacity)
        success: Floats = 1 - self.fill**workers.crowding * np.exp(-decay)
        accurate = workers.accuracy[request.application] >= request.accuracy
        success[~((slack >= 0) & accurate & workers.up)] = 0.0
        return success


def _futures(asked: list[Asked], demand: Floats, rng: np.random.Generator) -> Floats:
    """(samples, K) demand drawn around what is expected: whole streams, of Poisson numbers, whose mean is known
    from those that are there now (a gamma posterior)."""
    rate = np.array([group.example.weight * group.example.rate for group in asked])
    unit = np.where(rate > 0, rate, 1.0)
    seen = np.maximum(np.array([group.streams for group in asked]) / unit, 0.5)
    drawn: Floats = unit * rng.poisson(demand / unit * rng.gamma(seen, 1 / seen, demand.shape))
    return np.where(rate > 0, drawn, demand)
