"""Shifts: one stage of some lots goes to another node or service. What is better stays.

Where replicas are whole, much is gained by small moves that finding whole ways anew does not see, since the
first lot that comes to an empty pool would pay for all of it: a pool moves as a whole, or just so many cameras
leave it that it needs one replica less.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import TypeAlias

import numpy as np

from flowedge.planner.model.profiles import Service
from flowedge.planner.solver.insertion import anew
from flowedge.planner.solver.instance import Choices
from flowedge.planner.solver.partial_plan import Lot, Pool, Pools
from flowedge.planner.solver.ways import Key

Part: TypeAlias = tuple[Lot, int]
"""So many cameras of a lot."""

_WORK = 6000.0  # of a shift that is tried, in pairs of a label and an offer
_BETTER = 1e-9
_REPLICAS = 5  # that may become superfluous at once
_SUMS = 300  # loads that are told apart to find the least
_LOTS = 4  # that cameras are taken of then
_TRIES = 12  # for some lots, the most promising ones


def shift(pools: Pools) -> None:
    """Shifts until none makes the pools better, or their budget is spent."""
    while not pools.budget.over:
        keys = [(name, node, service) for name, there in pools.pools.items() for node, service in there]
        if not sum(_better(pools, key) for key in keys):
            return


def _better(pools: Pools, key: Key) -> bool:
    """Whether a shift away from a pool was made."""
    name, node, service = key
    for parts in _parts(pools, key):
        pool = pools.pools[name][node, service]
        lot = parts[0][0]
        at = next(at for at, other in pools.served(lot) if other == key)
        for row in _targets(pools, key, pool, parts, lot.variant.choices[at]):
            if pools.budget.over:
                return False
            pools.budget.spend(_WORK)
            if _tried(pools, key, parts, lot.variant.choices[at], row):
                return True
    return False


def _parts(pools: Pools, key: Key) -> list[list[Part]]:
    """What could leave a pool: all, one lot, or as many cameras as make some replicas superfluous."""
    name, node, service = key
    pool = pools.pools[name].get((node, service))
    if pool is None:  # it has left as a part of another shift
        return []
    lots = list(pool.promised)
    found = [[(lot, lot.cameras) for lot in lots]]
    if name in pools.singletons:
        return found
    if len(lots) > 1:
        found += [[(lot, lot.cameras)] for lot in lots]
    for kept in range(pool.replicas - 1, max(0, pool.replicas - _REPLICAS), -1):
        surplus = pool.load - kept * pools.problem.utilisation * service.rate
        found.append(_least(pools, lots[:_LOTS], surplus))
    return [parts for parts in found if parts]


def _least(pools: Pools, lots: Sequence[Lot], surplus: float) -> list[Part]:
    """The cameras of lots that send the least load which is no less than the surplus; none if all send less."""
    sums: dict[float, list[Part]] = {0.0: []}
    for lot in lots:
        rate = pools.groups[lot.group].rate
        for load, parts in list(sums.items()):
            for cameras in range(1, lot.cameras + 1):
                if load >= surplus or len(sums) >= _SUMS:
                    break
                load = round(load + rate, 6)
                sums.setdefault(load, [*parts, (lot, cameras)])
    return sums[min((load for load in sums if load >= surplus), default=0.0)]


def _targets(pools: Pools, key: Key, pool: Pool, parts: Sequence[Part], choices: Choices) -> list[int]:
    """Rows of choices where the parts would be cheaper, the cheapest first; latency and room not looked at."""
    name, node, service = key
    frames = sum(pools.groups[lot.group].rate * cameras for lot, cameras in parts)
    cameras = sum(cameras for _, cameras in parts)
    stay = [pool.promised[lot] for lot in pool.promised if (lot, lot.cameras) not in parts]
    here = choices.row[node, service]
    left = 0
    if stay:
        left, _ = pools.replicas(service, pool.load - frames, pool.streams - cameras, min(stay))
    saved = (pool.replicas - left) * choices.reserve[here] + frames * choices.frame[here]
    added, _ = anew(pools, name, choices, frames, cameras)
    cost = added[choices.kinds[1], 0] * choices.reserve + frames * choices.frame
    for (target, other), have in pools.pools[name].items():
        row = choices.row.get((target, other))
        if row is not None:
            kept = min(have.promised.values())
            needed, _ = pools.replicas(other, have.load + frames, have.streams + cameras, kept)
            cost[row] = (needed - have.replicas) * choices.reserve[row] + frames * choices.frame[row]
    if name in pools.singletons:
        cost[added[choices.kinds[1], 0] > 1] = math.inf
    cost[here] = math.inf
    pools.budget.spend(len(choices))
    order = np.argsort(cost, kind="stable")[:_TRIES]
    return [int(row) for row in order if cost[row] < (math.inf if pools.hasty else saved)]


def _tried(pools: Pools, key: Key, parts: Sequence[Part], choices: Choices, row: int) -> bool:
    """Makes the shift if the pools are better with it."""
    before = pools.value
    name, target, service = key[0], int(choices.nodes[row]), choices.services[row]
    new: list[Lot | None] = []
    for lot, cameras in parts:
        new.append(_moved(pools, lot, cameras, name, target, service))
        if cameras < lot.cameras:
            rest = Lot(
                lot.group, lot.cameras - cameras, lot.variant, lot.rows, lot.nodes, lot.promises, lot.latency
            )
            new.append(rest)
    if not all(new):
        return False
    made = [lot for lot in new if lot is not None]
    for lot, _ in parts:
        pools.remove(lot)
    for lot in made:
        pools.add(lot)
    if pools.value < before - _BETTER * max(1.0, abs(before)) and pools.room():
        return True
    for lot in made:
        pools.remove(lot)
    for lot, _ in parts:
        pools.add(lot)
    return False


def _moved(pools: Pools, lot: Lot, cameras: int, name: str, target: int, service: Service | None) -> Lot | None:
    """Cameras of a lot with one stage, and those that stay with it, somewhere else; None where that is late."""
    variant = lot.variant
    rows, nodes, waits = list(lot.rows), list(lot.nodes), pools.waits(lot)
    rate = pools.groups[lot.group].rate
    for at, stage in enumerate(variant.application.stages):
        if stage.name == name:
            row = variant.choices[at].row.get((target, service))
            mask = variant.admits(rate)[at]
            if row is None or service is None or not (mask is None or mask[row]):
                return None
            rows[at], nodes[at] = row, target
            pool = pools.pools[name].get((target, service), Pool())
            promise = min(pool.promised.values(), default=math.inf)
            load, streams = pool.load + rate * cameras, pool.streams + cameras
            waits[at] = pools.replicas(service, load, streams, promise)[1]
            if name in pools.singletons:
                waits[at] = pools.longest(service)
        elif variant.stays[at]:
            nodes[at] = rows[at] = nodes[variant.inputs[at][0]]
    return pools.lot(lot.group, cameras, variant, rows, nodes, waits)
