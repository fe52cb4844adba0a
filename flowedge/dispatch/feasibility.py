"""Which workers a policy may choose from.

Every policy takes one of these functions as its `feasible`. A comparison gives the same one to all policies, so
that it does not credit a policy with the gain of its filter.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TypeAlias

from flowedge.dispatch.workers import Mask, Request, Workers, wait

Feasible: TypeAlias = Callable[[Request, Workers], Mask]


def compatible(request: Request, workers: Workers) -> Mask:
    """(W,) workers that are up and serve the application well enough: ASET's constraints (1) and (4).

    Nothing holds a policy back from overloading a worker or missing the deadline.
    """
    mask: Mask = workers.accuracy[request.application] >= request.accuracy
    mask &= workers.service[request.application] >= 0
    mask &= workers.up
    return mask


def nominal(request: Request, workers: Workers) -> Mask:
    """(W,) ASET's constraints (1) to (4), as its definition 1 demands of every policy.

    The worker serves the application, has capacity left for the stream (load + weight * rate <= capacity),
    answers in time when nobody waits (2 (access + delay + 2 deviation) + size / bitrate + service <= deadline)
    and is accurate enough.
    """
    mask: Mask = workers.reach[request.application] <= request.budget
    mask &= workers.accuracy[request.application] >= request.accuracy
    mask &= workers.load <= workers.capacity - request.weight * request.rate
    mask &= workers.up
    return mask


def timely(request: Request, workers: Workers) -> Mask:
    """(W,) as `nominal`, but with the wait behind the queries that are at the worker now."""
    answer = wait(workers)
    answer += workers.reach[request.application]
    mask = answer <= request.budget
    mask &= workers.accuracy[request.application] >= request.accuracy
    mask &= workers.load <= workers.capacity - request.weight * request.rate
    mask &= workers.up
    return mask


FEASIBILITIES: dict[str, Feasible] = {function.__name__: function for function in (compatible, nominal, timely)}
