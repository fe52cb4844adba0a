"""How many replicas each pool needs so that no assignment is late, decided for all of them together.

Limits to waits are set assignment by assignment, before it is known where time is scarce. Here every pool
begins with the fewest replicas that carry its load, and as long as an assignment is late, one more goes where
it saves the latest assignment the most time for its cost. The limits are then set anew around the waits that
result.
"""

from __future__ import annotations

import math

import numpy as np

from flowedge.planner.solver.instance import RESOURCES, Floats, PoolKey
from flowedge.planner.solver.partial_plan import Assignment, PartialPlan, wait_in
from flowedge.planner.solver.tuning import TOLERANCE


def size_replicas(partial: PartialPlan) -> bool:
    """Size all pools anew and set the wait limits after them, unless that gains nothing; return whether it did.

    It gains something where the plan then has room and had none, or else is better.
    """
    before, value, room = partial.all(), partial.value, partial.feasible()
    counts = {
        (name, node, service): partial.replicas(service, pool.load, pool.streams, math.inf)[0]
        for name, pools in partial.pools.items()
        for (node, service), pool in pools.items()
    }
    waits = {key: _wait(partial, key, count) for key, count in counts.items()}
    if (
        not _in_time(partial, counts, waits)
        or (_free(partial, counts) < -partial.tuning.full * partial.limits).any()
    ):
        return False
    if partial.latency_counts:
        _hurry(partial, counts, waits)
    resized = [
        partial.assignment(
            assignment.group,
            assignment.cameras,
            assignment.configuration,
            assignment.rows,
            assignment.nodes,
            _waits(partial, assignment, waits),
        )
        for assignment in before
    ]
    assignments = [assignment for assignment in resized if assignment is not None]
    if len(assignments) == len(resized):
        partial.restore(assignments)
        if partial.feasible() and (not room or partial.value < value - TOLERANCE * max(1.0, abs(value))):
            return True
        partial.restore(before)
    return False


def _in_time(partial: PartialPlan, counts: dict[PoolKey, int], waits: dict[PoolKey, float]) -> bool:
    """Add replicas until no assignment is late; return whether that succeeded."""
    assignments = partial.all()
    for _ in range(partial.tuning.replicas_added):
        late = [
            (_latency(partial, assignment, waits) - assignment.configuration.application.latency, at)
            for at, assignment in enumerate(assignments)
        ]
        excess, at = max(late)
        if excess <= TOLERANCE * assignments[at].configuration.application.latency:
            return True
        key = _worthwhile(partial, assignments[at], counts, waits)
        if key is None:
            return False
        counts[key] += 1
        waits[key] = _wait(partial, key, counts[key])
    return False


def _free(partial: PartialPlan, counts: dict[PoolKey, int]) -> Floats:
    """What so many replicas leave of the nodes."""
    free = partial.limits.copy()
    for key, count in counts.items():
        free[key[1]] -= count * _needs(key)
    return free


def _hurry(partial: PartialPlan, counts: dict[PoolKey, int], waits: dict[PoolKey, float]) -> None:
    """More replicas, where a share of a node saves the cameras the most time, as long as there is room.

    For an objective in which latency counts and replicas cost nothing.
    """
    free = _free(partial, counts)
    for _ in range(partial.tuning.replicas_added):
        worths = {pool: _worth(partial, pool, count, waits, free) for pool, count in counts.items()}
        key = max(worths, key=worths.__getitem__, default=None)
        if key is None or worths[key] <= 0:
            return
        counts[key] += 1
        waits[key] = _wait(partial, key, counts[key])
        free[key[1]] -= _needs(key)


def _worth(partial: PartialPlan, key: PoolKey, count: int, waits: dict[PoolKey, float], free: Floats) -> float:
    """Camera seconds that another replica of a pool saves, for a node's share of it; 0 where it has no room."""
    name, node, service = key
    needs = _needs(key)
    if waits[key] <= 0 or name in partial.singletons or (needs > free[node]).any():
        return 0.0
    shorter = {**waits, key: _wait(partial, key, count + 1)}
    saved = sum(
        assignment.cameras * (_latency(partial, assignment, waits) - _latency(partial, assignment, shorter))
        for assignment in partial.pools[name][node, service].wait_limits
    )
    used = needs > 0
    return saved / float((needs[used] / partial.limits[node][used]).max()) if used.any() else math.inf


def _needs(key: PoolKey) -> Floats:
    return np.array([getattr(key[2], what) for what in RESOURCES])


def _worthwhile(
    partial: PartialPlan, assignment: Assignment, counts: dict[PoolKey, int], waits: dict[PoolKey, float]
) -> PoolKey | None:
    """The pool of an assignment where another replica saves it the most time for its cost."""
    now = _latency(partial, assignment, waits)
    best, best_key = 0.0, None
    for at, key in partial.served(assignment):
        if key[0] in partial.singletons:
            continue
        saved = now - _latency(partial, assignment, {**waits, key: _wait(partial, key, counts[key] + 1)})
        worth = saved / (float(assignment.configuration.choices[at].reserve[assignment.rows[at]]) + 1e-12)
        if worth > best:
            best, best_key = worth, key
    return best_key


def _wait(partial: PartialPlan, key: PoolKey, count: int) -> float:
    name, node, service = key
    if name in partial.singletons:
        return partial.longest(service)
    pool = partial.pools[name][node, service]
    return wait_in(service, pool.load, pool.streams, count)


def _waits(partial: PartialPlan, assignment: Assignment, waits: dict[PoolKey, float]) -> list[float]:
    seconds = [0.0] * len(assignment.nodes)
    for at, key in partial.served(assignment):
        seconds[at] = waits[key]
    return seconds


def _latency(partial: PartialPlan, assignment: Assignment, waits: dict[PoolKey, float]) -> float:
    partial.budget.spend(partial.tuning.work_latency)
    return partial.latency(
        assignment.configuration, assignment.rows, assignment.nodes, _waits(partial, assignment, waits)
    )
