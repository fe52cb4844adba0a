"""How many replicas each pool needs so that no lot is late, decided for all of them together.

Promised waits are dealt out lot by lot, before it is known where time is dear. Here every pool begins with the
fewest replicas that carry its load, and as long as a lot is late, one more goes where it saves the latest lot
the most time for its cost. The promises are then dealt out anew around the waits that there are.
"""

from __future__ import annotations

import math

import numpy as np

from flowedge.planner.solver.instance import RESOURCES, Floats
from flowedge.planner.solver.partial_plan import Lot, Pools, wait_in
from flowedge.planner.solver.ways import Key

_LATE = 1e-9  # share of the goal
_BETTER = 1e-9
_FULL = 1e-6  # share of a node by which floating point may go beyond it
_WORK = 400.0  # of a lot's latency, in pairs of a label and an offer
_MOST = 60  # replicas added


def dimension(pools: Pools) -> bool:
    """Deals promises out anew; whether there is room now where none was, or else the pools became better.

    If not, they stay as they were.
    """
    before, value, room = pools.all(), pools.value, pools.room()
    counts = {
        (name, node, service): pools.replicas(service, pool.load, pool.streams, math.inf)[0]
        for name, there in pools.pools.items()
        for (node, service), pool in there.items()
    }
    waits = {key: _wait(pools, key, count) for key, count in counts.items()}
    if not _in_time(pools, counts, waits) or (_free(pools, counts) < -_FULL * pools.limits).any():
        return False
    if pools.hasty:
        _hurry(pools, counts, waits)
    made = [
        pools.lot(lot.group, lot.cameras, lot.variant, lot.rows, lot.nodes, _waits(pools, lot, waits))
        for lot in before
    ]
    lots = [lot for lot in made if lot is not None]
    if len(lots) == len(made):
        pools.become(lots)
        if pools.room() and (not room or pools.value < value - _BETTER * max(1.0, abs(value))):
            return True
        pools.become(before)
    return False


def _in_time(pools: Pools, counts: dict[Key, int], waits: dict[Key, float]) -> bool:
    """Adds replicas until no lot is late; whether that can be."""
    lots = pools.all()
    for _ in range(_MOST):
        late = [
            (_latency(pools, lot, waits) - lot.variant.application.latency, at) for at, lot in enumerate(lots)
        ]
        excess, at = max(late)
        if excess <= _LATE * lots[at].variant.application.latency:
            return True
        key = _worthwhile(pools, lots[at], counts, waits)
        if key is None:
            return False
        counts[key] += 1
        waits[key] = _wait(pools, key, counts[key])
    return False


def _free(pools: Pools, counts: dict[Key, int]) -> Floats:
    """What so many replicas leave of the nodes."""
    free = pools.limits.copy()
    for key, count in counts.items():
        free[key[1]] -= count * _needs(key)
    return free


def _hurry(pools: Pools, counts: dict[Key, int], waits: dict[Key, float]) -> None:
    """More replicas, where a share of a node saves the cameras the most time, as long as there is room.

    For an objective in which latency counts and replicas cost nothing.
    """
    free = _free(pools, counts)
    for _ in range(_MOST):
        worths = {each: _worth(pools, each, count, waits, free) for each, count in counts.items()}
        key = max(worths, key=worths.__getitem__, default=None)
        if key is None or worths[key] <= 0:
            return
        counts[key] += 1
        waits[key] = _wait(pools, key, counts[key])
        free[key[1]] -= _needs(key)


def _worth(pools: Pools, key: Key, count: int, waits: dict[Key, float], free: Floats) -> float:
    """Camera seconds that another replica of a pool saves, for a node's share of it; 0 where it has no room."""
    name, node, service = key
    needs = _needs(key)
    if waits[key] <= 0 or name in pools.singletons or (needs > free[node]).any():
        return 0.0
    shorter = {**waits, key: _wait(pools, key, count + 1)}
    saved = sum(
        lot.cameras * (_latency(pools, lot, waits) - _latency(pools, lot, shorter))
        for lot in pools.pools[name][node, service].promised
    )
    used = needs > 0
    return saved / float((needs[used] / pools.limits[node][used]).max()) if used.any() else math.inf


def _needs(key: Key) -> Floats:
    return np.array([getattr(key[2], what) for what in RESOURCES])


def _worthwhile(pools: Pools, lot: Lot, counts: dict[Key, int], waits: dict[Key, float]) -> Key | None:
    """The pool of a lot where another replica saves it the most time for its cost."""
    now = _latency(pools, lot, waits)
    best, found = 0.0, None
    for at, key in pools.served(lot):
        if key[0] in pools.singletons:
            continue
        saved = now - _latency(pools, lot, {**waits, key: _wait(pools, key, counts[key] + 1)})
        worth = saved / (float(lot.variant.choices[at].reserve[lot.rows[at]]) + 1e-12)
        if worth > best:
            best, found = worth, key
    return found


def _wait(pools: Pools, key: Key, count: int) -> float:
    name, node, service = key
    if name in pools.singletons:
        return pools.longest(service)
    pool = pools.pools[name][node, service]
    return wait_in(service, pool.load, pool.streams, count)


def _waits(pools: Pools, lot: Lot, waits: dict[Key, float]) -> list[float]:
    found = [0.0] * len(lot.nodes)
    for at, key in pools.served(lot):
        found[at] = waits[key]
    return found


def _latency(pools: Pools, lot: Lot, waits: dict[Key, float]) -> float:
    pools.budget.spend(_WORK)
    return pools.latency(lot.variant, lot.rows, lot.nodes, _waits(pools, lot, waits))
