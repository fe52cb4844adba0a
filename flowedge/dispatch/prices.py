"""Dual prices: what a worker's capacity is worth to the streams that are still to come."""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from typing import TypeAlias

import numpy as np

from flowedge.dispatch.demand import Asked, Demand
from flowedge.dispatch.policy import Policy, least
from flowedge.dispatch.workers import Floats, Request, Workers, wait

_NEGLIGIBLE = 1e-6
"""Queries per second below which a class is not in the window's programme."""

Class: TypeAlias = tuple[int, int, int]


@dataclass
class DualPrice(Policy):
    """The worker with the greatest P(success) - price; rejected where no worker's is above 0.

    P(success) is the share of a stream's queries that the worker would answer in time: with `slack` seconds
    left after the network, the service and the queue that is there now, x = capacity slack, c slots, n streams
    there already at a utilisation r, and rho with this one,

        P = 1 - r^(sqrt(2 (c + 1)) - 1) exp(-(1 - rho) x / v - 2 x^2 / n),

    the chance to wait at all (Sakasegawa) times the tail of the wait in heavy traffic (Kingman, with
    v = (ca^2 + cs^2) / 2 = `variability`) for n periodic streams (the Brownian bridge of the nD/D/1 queue: they
    never all come at once for long); for single queries the last term is left out.

    The prices are the duals of the workers' capacities in a linear programme over classes of streams, solved by
    HiGHS every `interval` seconds: maximise sum P_kw x_kw subject to sum_w x_kw <= demand_k and
    sum_k x_kw <= `fill` capacity_w, where P_kw is P on a worker as full as that of streams of the class. They
    are averaged over windows with weight `smoothing`.
    """

    interval: float = 10.0
    variability: float = 0.5
    fill: float = 0.95
    smoothing: float = 0.5
    prices: Floats = field(default_factory=lambda: np.zeros(0), init=False, repr=False)
    _demand: Demand[Class] = field(default_factory=lambda: Demand(_class_of), init=False, repr=False)

    @property
    def period(self) -> float:
        """The interval between two programmes."""
        return self.interval

    def choose(self, request: Request, workers: Workers, rng: np.random.Generator) -> int | None:
        """The index of a worker, or None."""
        if len(self.prices) != len(workers):
            self.prices = np.zeros(len(workers))
        slack = wait(workers)
        slack += workers.reach[request.application]
        np.subtract(request.budget, slack, out=slack)
        mask = slack >= 0
        mask &= self.feasible(request, workers)
        loss = workers.load + request.weight * request.rate
        loss *= workers.per_capacity
        loss -= 1
        slack *= workers.capacity
        loss *= slack
        loss *= 1 / self.variability
        if request.rate > 0:
            slack *= slack
            slack *= -2 / np.maximum(workers.streams, 1.0)
            loss += slack
        np.minimum(loss, 0.0, out=loss)
        np.exp(loss, out=loss)
        loss *= (np.maximum(workers.load, 0.0) * workers.per_capacity) ** workers.crowding
        loss += request.weight * self.prices
        worker = least(loss, mask)
        if worker is not None and loss[worker] >= 1:
            worker = None
        self._demand.arrived(request, worker is not None)
        return worker

    def ended(self, request: Request, worker: int) -> None:
        """Learns how long streams last."""
        self._demand.ended(request)

    def window(self, workers: Workers, rng: np.random.Generator) -> None:
        """Sets the prices for the demand as it is now."""
        self._demand.window(self.interval)
        fresh = self._solve(list(self._demand.classes.values()), workers)
        if len(self.prices) != len(workers):
            self.prices = fresh
        else:
            self.prices += self.smoothing * (fresh - self.prices)

    def _solve(self, asked: list[Asked], workers: Workers) -> Floats:
        from scipy.optimize import linprog
        from scipy.sparse import csr_array

        asked = [each for each in asked if each.rate > _NEGLIGIBLE]
        success = np.array([self._success(each.example, workers) for each in asked]).reshape(-1, len(workers))
        of_class, of_worker = success.nonzero()
        if not len(of_class):
            return np.zeros(len(workers))
        rows = np.concatenate([of_worker, len(workers) + of_class])
        columns = np.tile(np.arange(len(of_class)), 2)
        shape = len(workers) + len(asked), len(of_class)
        weights = np.array([each.example.weight for each in asked])
        found = linprog(
            -(success / weights[:, None])[of_class, of_worker],
            A_ub=csr_array((np.ones(len(rows)), (rows, columns)), shape=shape),
            b_ub=np.concatenate([self.fill * workers.capacity, [each.rate for each in asked]]),
            method="highs",
        )
        if found.status != 0:
            raise ArithmeticError(f"HiGHS: {found.message}")
        duals: Floats = -found.ineqlin.marginals[: len(workers)]
        return np.maximum(duals, 0.0)

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


def _class_of(request: Request) -> Class:
    """Requests alike: application, budget in steps of a factor sqrt(2), accuracy floor in steps of 0.05."""
    budget = round(2 * math.log2(max(request.budget, 1e-3)))
    return request.application, budget, math.ceil(20 * request.accuracy - 1e-9)
