"""Local search: some lots are taken back and put on their way anew, in another order; what is better stays.

What is taken back is one lot (a move), lots of several groups (a swap), all lots of a pool (which closes it),
or a group, whose cameras are split up or brought together again. Putting back counts replicas anew.
"""

from __future__ import annotations

import math
import random
from collections.abc import Callable, Sequence

import numpy as np
from numpy.typing import NDArray

from flowedge.planner.solver.column_generation import Master
from flowedge.planner.solver.insertion import Guide
from flowedge.planner.solver.partial_plan import Lot, Pools
from flowedge.planner.solver.replica_sizing import dimension
from flowedge.planner.solver.rounding import place
from flowedge.planner.solver.shifting import shift

_MOST_LOTS = 8  # taken back at once
_BETTER = 1e-9
_CLOSE = 1e-5  # to the bound, as a share
_FAR = 0.5  # share of the value by which it may be worse before it settles
_WORSE = 0.05  # and after
_RETURN = 20  # attempts without a better plan after which the search returns to the best


def settle(pools: Pools) -> None:
    """Shifts, and deals promises out anew, until neither makes the pools better."""
    shift(pools)
    while dimension(pools) and not pools.budget.over:
        shift(pools)


def wander(
    pools: Pools,
    master: Master,
    steer: Guide,
    rng: random.Random,
    *,
    bound: float,
    rounds: int,
    near: Sequence[NDArray[np.bool_]],
) -> int:
    """Improves few groups until the bound is reached, `rounds` attempts in a row failed or the budget is spent.

    Iterated local search: every attempt settles again. What is a little worse is kept at times too, to get out
    of local optima (threshold accepting, Dueck and Scheuer 1990); the best remains. Returns the attempts.
    """
    settle(pools)
    free = Guide(np.zeros_like(steer.nodes), {})
    best, lots = pools.value, pools.all()
    now, here = best, lots
    failed = tried = 0
    while failed < rounds and not pools.budget.over and best > bound + _CLOSE * abs(bound):
        tried += 1
        failed += 1
        taken = rng.choice(_TAKERS)(pools, rng)
        for lot in taken:
            pools.remove(lot)
        blend, steered = rng.choice(((0.0, free), (0.0, free), (0.0, steer), (0.5, steer), (1.0, free)))
        worst = now + _FAR * abs(now)
        lost = place(pools, master, _dealt(taken, rng), steered, blend=blend, near=near)
        if not lost and pools.value < worst:
            settle(pools)
        if not lost and pools.value < best - _BETTER * max(1.0, abs(best)):
            best, lots, failed = pools.value, pools.all(), 0
        if not lost and pools.value <= now + _WORSE * rng.random() ** 3 * abs(now):
            now, here = pools.value, pools.all()
        else:
            pools.become(here)
        if failed % _RETURN == _RETURN - 1:
            pools.become(lots)
            now, here = best, lots
    pools.become(lots)
    return tried


def improve(
    pools: Pools,
    master: Master,
    steer: Guide,
    rng: random.Random,
    *,
    rounds: int,
    near: Sequence[NDArray[np.bool_]],
) -> int:
    """Improves the pools until `rounds` attempts in a row failed or their budget is spent; the attempts."""
    failed = tried = 0
    free = Guide(np.zeros_like(steer.nodes), {})
    while failed < rounds and not pools.budget.over:
        tried += 1
        taken = rng.choice(_TAKERS)(pools, rng)
        limit = pools.value - _BETTER * max(1.0, abs(pools.value))
        touched = {lot.group for lot in taken}
        kept = {group: set(pools.lots[group]) for group in touched}
        for lot in taken:
            pools.remove(lot)
        # Marginal costs are true without a guide and a blend: what comes to no less can then be left out early.
        blend, steered = rng.choice(((0.0, free), (0.0, free), (0.0, steer), (0.5, steer), (1.0, free)))
        most = limit if steered is free and not blend else math.inf
        lost = place(pools, master, _dealt(taken, rng), steered, blend=blend, near=near, ceiling=most)
        failed += 1
        if not lost and pools.value <= limit:
            failed = 0
            continue
        for group in touched:
            for lot in [each for each in pools.lots[group] if each not in kept[group]]:
                pools.remove(lot)
        for lot in taken:
            pools.add(lot)
    return tried


def _dealt(taken: list[Lot], rng: random.Random) -> list[tuple[int, int]]:
    """The cameras of lots, by group and in any order, at times together and at times in two parts."""
    together = rng.random() < 0.5
    counts: dict[tuple[int, int], int] = {}
    for position, lot in enumerate(taken):
        key = lot.group, 0 if together else position
        counts[key] = counts.get(key, 0) + lot.cameras
    dealt = []
    for (group, _), cameras in counts.items():
        if cameras > 1 and rng.random() < 0.25:
            part = rng.randint(1, cameras - 1)
            dealt += [(group, part), (group, cameras - part)]
        else:
            dealt.append((group, cameras))
    rng.shuffle(dealt)
    return dealt


def _single(pools: Pools, rng: random.Random) -> list[Lot]:
    return [_random_lot(pools, rng)]


def _several(pools: Pools, rng: random.Random) -> list[Lot]:
    return list({_random_lot(pools, rng): None for _ in range(rng.randint(2, 4))})


def _group(pools: Pools, rng: random.Random) -> list[Lot]:
    return list(pools.lots[_random_lot(pools, rng).group])[:_MOST_LOTS]


def _pool(pools: Pools, rng: random.Random) -> list[Lot]:
    served = list(pools.served(_random_lot(pools, rng)))
    if not served:
        return _single(pools, rng)
    name, node, service = rng.choice(served)[1]
    return list(pools.pools[name][node, service].promised)[:_MOST_LOTS]


def _random_lot(pools: Pools, rng: random.Random) -> Lot:
    return rng.choice(list(pools.lots[rng.randrange(len(pools.groups))]))


_TAKERS: tuple[Callable[[Pools, random.Random], list[Lot]], ...] = (_single, _several, _group, _pool)


def repair(
    pools: Pools,
    master: Master,
    lost: list[tuple[int, int]],
    steer: Guide,
    rng: random.Random,
    *,
    rounds: int,
    near: Sequence[NDArray[np.bool_]],
) -> list[tuple[int, int]]:
    """Finds room for cameras by taking others beside them back first; what is left."""
    for _ in range(rounds):
        if not lost or pools.budget.over:
            break
        beside = _beside(pools, near[rng.choice(lost)[0]])
        mine = [each for each in lost if each[0] in beside]
        before = pools.all()
        held = [lot for group in beside for lot in pools.lots[group]]
        taken = rng.sample(held, min(len(held), rng.randint(1, 4)))
        for lot in taken:
            pools.remove(lot)
        rng.shuffle(mine)
        left = [*mine, *((lot.group, lot.cameras) for lot in taken)]
        still = place(pools, master, left, steer, near=near)
        if sum(cameras for _, cameras in still) <= sum(cameras for _, cameras in mine):
            lost = [each for each in lost if each[0] not in beside] + still
        else:
            pools.become(before)
    return lost


def _beside(pools: Pools, near: NDArray[np.bool_]) -> dict[int, None]:
    """The groups of cameras at nodes that are near, or all if there are few."""
    return dict.fromkeys(at for at, each in enumerate(pools.groups) if pools.few or near[each.node])
