"""Local search: assignments are removed and inserted anew, or one stage of them moves; what is better stays.

`iterated_local_search` (few groups) and `ruin_and_recreate` (many) remove one assignment, some of several
groups, all of a pool, which closes it, all of a group, whose cameras are then split or merged, or all on a
node, where that saves a fixed cost.

`descend` moves single stages to another node or service (`shift_stages`). Where replicas are whole, much is
gained by these small moves which inserting whole assignments does not see, since the first assignment that
comes to an empty pool would pay for all of it: a pool moves as a whole, or just so many cameras leave it that
it needs one replica less.
"""

from __future__ import annotations

import math
import random
from collections.abc import Callable, Sequence
from typing import TypeAlias

import numpy as np
from numpy.typing import NDArray

from flowedge.planner.model.profiles import Service
from flowedge.planner.solver.column_generation import ColumnGeneration
from flowedge.planner.solver.insertion import Prices, insert_all, new_pool_levels
from flowedge.planner.solver.instance import Choices, PoolKey
from flowedge.planner.solver.partial_plan import Assignment, PartialPlan, Pool
from flowedge.planner.solver.replica_sizing import size_replicas
from flowedge.planner.solver.tuning import TOLERANCE


def descend(partial: PartialPlan) -> None:
    """Shift stages and size replicas, until neither makes the plan better."""
    shift_stages(partial)
    while size_replicas(partial) and not partial.budget.over:
        shift_stages(partial)


def iterated_local_search(
    partial: PartialPlan,
    master: ColumnGeneration,
    prices: Prices,
    rng: random.Random,
    *,
    bound: float,
    near: Sequence[NDArray[np.bool_]],
) -> int:
    """Improve until the bound is reached, too many attempts in a row failed or the budget is spent.

    Iterated local search: every attempt descends again. What is a little worse is kept at times too, to get out
    of local optima (threshold accepting, Dueck and Scheuer 1990); the best remains. Returns the attempts.
    """
    descend(partial)
    free = Prices(np.zeros_like(prices.nodes), {})
    best, assignments = partial.value, partial.all()
    now, here = best, assignments
    failed = tried = 0
    while failed < partial.tuning.failures and not partial.budget.over and not _at_bound(best, partial, bound):
        tried += 1
        failed += 1
        removed = rng.choice(_neighbourhoods(partial))(partial, rng)
        for assignment in removed:
            partial.remove(assignment)
        blend, chosen = rng.choice(((0.0, free), (0.0, free), (0.0, prices), (0.5, prices), (1.0, free)))
        worst = now + partial.tuning.descend_within * abs(now)
        lost = insert_all(partial, master, _shuffled(removed, rng), chosen, blend=blend, near=near)
        if not lost and partial.value < worst:
            descend(partial)
        if not lost and partial.value < best - TOLERANCE * max(1.0, abs(best)):
            best, assignments, failed = partial.value, partial.all(), 0
        if not lost and partial.value <= now + partial.tuning.accept_within * rng.random() ** 3 * abs(now):
            now, here = partial.value, partial.all()
        else:
            partial.restore(here)
        if failed % partial.tuning.return_after == partial.tuning.return_after - 1:
            partial.restore(assignments)
            now, here = best, assignments
    partial.restore(assignments)
    return tried


def ruin_and_recreate(
    partial: PartialPlan,
    master: ColumnGeneration,
    prices: Prices,
    rng: random.Random,
    *,
    bound: float,
    near: Sequence[NDArray[np.bool_]],
) -> int:
    """Improve until the bound is reached, too many attempts in a row failed or the budget is spent.

    An attempt that is not better is undone (Schrimpf et al., Journal of Computational Physics 159, 2000).
    Returns the attempts."""
    failed = tried = 0
    free = Prices(np.zeros_like(prices.nodes), {})
    while (
        failed < partial.tuning.failures
        and not partial.budget.over
        and not _at_bound(partial.value, partial, bound)
    ):
        tried += 1
        removed = rng.choice(_neighbourhoods(partial))(partial, rng)
        limit = partial.value - TOLERANCE * max(1.0, abs(partial.value))
        touched = {assignment.group for assignment in removed}
        kept = {group: set(partial.assignments[group]) for group in touched}
        for assignment in removed:
            partial.remove(assignment)
        # Without prices and blend marginal costs are true: what comes to no less can then be left out early.
        blend, chosen = rng.choice(((0.0, free), (0.0, free), (0.0, prices), (0.5, prices), (1.0, free)))
        most = limit if chosen is free and not blend else math.inf
        lost = insert_all(
            partial, master, _shuffled(removed, rng), chosen, blend=blend, near=near, ceiling=most
        )
        failed += 1
        if not lost and partial.value <= limit:
            failed = 0
            continue
        for group in touched:
            for assignment in [new for new in partial.assignments[group] if new not in kept[group]]:
                partial.remove(assignment)
        for assignment in removed:
            partial.add(assignment)
    return tried


def _at_bound(value: float, partial: PartialPlan, bound: float) -> bool:
    return value <= bound + partial.tuning.close * abs(bound)


def _shuffled(removed: list[Assignment], rng: random.Random) -> list[tuple[int, int]]:
    """The cameras of assignments, by group and in any order, at times together and at times in two parts."""
    together = rng.random() < 0.5
    counts: dict[tuple[int, int], int] = {}
    for position, assignment in enumerate(removed):
        key = assignment.group, 0 if together else position
        counts[key] = counts.get(key, 0) + assignment.cameras
    dealt = []
    for (group, _), cameras in counts.items():
        if cameras > 1 and rng.random() < 0.25:
            part = rng.randint(1, cameras - 1)
            dealt += [(group, part), (group, cameras - part)]
        else:
            dealt.append((group, cameras))
    rng.shuffle(dealt)
    return dealt


_Neighbourhood: TypeAlias = Callable[[PartialPlan, random.Random], list[Assignment]]


def _single(partial: PartialPlan, rng: random.Random) -> list[Assignment]:
    return [_random_assignment(partial, rng)]


def _several(partial: PartialPlan, rng: random.Random) -> list[Assignment]:
    return list({_random_assignment(partial, rng): None for _ in range(rng.randint(2, 4))})


def _group(partial: PartialPlan, rng: random.Random) -> list[Assignment]:
    return list(partial.assignments[_random_assignment(partial, rng).group])[: partial.tuning.removed]


def _pool(partial: PartialPlan, rng: random.Random) -> list[Assignment]:
    served = list(partial.served(_random_assignment(partial, rng)))
    if not served:
        return _single(partial, rng)
    name, node, service = rng.choice(served)[1]
    return list(partial.pools[name][node, service].wait_limits)[: partial.tuning.removed]


def _machine(partial: PartialPlan, rng: random.Random) -> list[Assignment]:
    """All on one node, whose fixed cost is saved where they find room on others."""
    served = list(partial.served(_random_assignment(partial, rng)))
    if not served:
        return _single(partial, rng)
    node = rng.choice(served)[1][1]
    on_node = (pool for pools in partial.pools.values() for (at, _), pool in pools.items() if at == node)
    return list(dict.fromkeys(assignment for pool in on_node for assignment in pool.wait_limits))[
        : partial.tuning.removed
    ]


def _neighbourhoods(partial: PartialPlan) -> tuple[_Neighbourhood, ...]:
    return (*_NEIGHBOURHOODS, _machine) if partial.fixed_costs.any() else _NEIGHBOURHOODS


def _random_assignment(partial: PartialPlan, rng: random.Random) -> Assignment:
    return rng.choice(list(partial.assignments[rng.randrange(len(partial.groups))]))


_NEIGHBOURHOODS: tuple[_Neighbourhood, ...] = (
    _single,
    _several,
    _group,
    _pool,
)


Part: TypeAlias = tuple[Assignment, int]
"""So many cameras of an assignment."""


def shift_stages(partial: PartialPlan) -> None:
    """Shift stages until no shift makes the plan better, or the budget is spent."""
    while not partial.budget.over:
        keys = [(name, node, service) for name, pools in partial.pools.items() for node, service in pools]
        if not sum(_shifted(partial, key) for key in keys):
            return


def _shifted(partial: PartialPlan, key: PoolKey) -> bool:
    """Whether a shift away from a pool was made."""
    name, node, service = key
    for parts in _parts(partial, key):
        pool = partial.pools[name][node, service]
        assignment = parts[0][0]
        at = next(at for at, other in partial.served(assignment) if other == key)
        for row in _targets(partial, key, pool, parts, assignment.configuration.choices[at]):
            if partial.budget.over:
                return False
            partial.budget.spend(partial.tuning.work_shift)
            if _tried(partial, key, parts, assignment.configuration.choices[at], row):
                return True
    return False


def _parts(partial: PartialPlan, key: PoolKey) -> list[list[Part]]:
    """What could leave a pool: all, one assignment, or as many cameras as make some replicas superfluous."""
    name, node, service = key
    pool = partial.pools[name].get((node, service))
    if pool is None:  # it has left as a part of another shift
        return []
    assignments = list(pool.wait_limits)
    departures = [[(assignment, assignment.cameras) for assignment in assignments]]
    if name in partial.singletons:
        return departures
    if len(assignments) > 1:
        departures += [[(assignment, assignment.cameras)] for assignment in assignments]
    for kept in range(pool.replicas - 1, max(0, pool.replicas - partial.tuning.freed), -1):
        surplus = pool.load - kept * partial.problem.utilisation * service.rate
        departures.append(_least(partial, assignments[: partial.tuning.shifted], surplus))
    return [parts for parts in departures if parts]


def _least(partial: PartialPlan, assignments: Sequence[Assignment], surplus: float) -> list[Part]:
    """Cameras of assignments that send the least load of at least the surplus; none if all send less."""
    sums: dict[float, list[Part]] = {0.0: []}
    for assignment in assignments:
        rate = partial.groups[assignment.group].rate
        for load, parts in list(sums.items()):
            for cameras in range(1, assignment.cameras + 1):
                if load >= surplus or len(sums) >= partial.tuning.sums:
                    break
                load = round(load + rate, 6)
                sums.setdefault(load, [*parts, (assignment, cameras)])
    return sums[min((load for load in sums if load >= surplus), default=0.0)]


def _targets(
    partial: PartialPlan, key: PoolKey, pool: Pool, parts: Sequence[Part], choices: Choices
) -> list[int]:
    """Rows of choices where the parts would be cheaper, the cheapest first; latency and room not looked at."""
    name, node, service = key
    frames = sum(partial.groups[assignment.group].rate * cameras for assignment, cameras in parts)
    cameras = sum(cameras for _, cameras in parts)
    stay = [
        pool.wait_limits[assignment]
        for assignment in pool.wait_limits
        if (assignment, assignment.cameras) not in parts
    ]
    here = choices.row[node, service]
    kept_replicas = 0
    if stay:
        kept_replicas, _ = partial.replicas(service, pool.load - frames, pool.streams - cameras, min(stay))
    saved = (pool.replicas - kept_replicas) * choices.reserve[here] + frames * choices.frame[here]
    opening = partial.opening_costs()
    if not stay and partial.pool_counts[node] == 1:  # the node is left unused
        saved += partial.fixed_costs[node]
    added, _ = new_pool_levels(partial, name, choices, frames, cameras)
    cost = added[choices.kinds[1], 0] * choices.reserve + frames * choices.frame + opening[choices.nodes]
    for (target, other), have in partial.pools[name].items():
        row = choices.row.get((target, other))
        if row is not None:
            kept = min(have.wait_limits.values())
            needed, _ = partial.replicas(other, have.load + frames, have.streams + cameras, kept)
            cost[row] = (needed - have.replicas) * choices.reserve[row] + frames * choices.frame[row]
    if name in partial.singletons:
        cost[added[choices.kinds[1], 0] > 1] = math.inf
    cost[here] = math.inf
    partial.budget.spend(len(choices))
    order = np.argsort(cost, kind="stable")[: partial.tuning.targets]
    return [int(row) for row in order if cost[row] < (math.inf if partial.latency_counts else saved)]


def _tried(partial: PartialPlan, key: PoolKey, parts: Sequence[Part], choices: Choices, row: int) -> bool:
    """Make the shift if the plan is better with it; return whether it is."""
    before = partial.value
    name, target, service = key[0], int(choices.nodes[row]), choices.services[row]
    new: list[Assignment | None] = []
    for assignment, cameras in parts:
        new.append(_moved(partial, assignment, cameras, name, target, service))
        if cameras < assignment.cameras:
            rest = Assignment(
                assignment.group,
                assignment.cameras - cameras,
                assignment.configuration,
                assignment.rows,
                assignment.nodes,
                assignment.wait_limits,
                assignment.latency,
            )
            new.append(rest)
    if not all(new):
        return False
    assignments = [assignment for assignment in new if assignment is not None]
    for assignment, _ in parts:
        partial.remove(assignment)
    for assignment in assignments:
        partial.add(assignment)
    if partial.value < before - TOLERANCE * max(1.0, abs(before)) and partial.feasible():
        return True
    for assignment in assignments:
        partial.remove(assignment)
    for assignment, _ in parts:
        partial.add(assignment)
    return False


def _moved(
    partial: PartialPlan, assignment: Assignment, cameras: int, name: str, target: int, service: Service | None
) -> Assignment | None:
    """Cameras of an assignment with one stage, and those that follow it, elsewhere; None where that is late."""
    configuration = assignment.configuration
    rows, nodes, waits = list(assignment.rows), list(assignment.nodes), partial.waits(assignment)
    rate = partial.groups[assignment.group].rate
    for at, stage in enumerate(configuration.application.stages):
        if stage.name == name:
            row = configuration.choices[at].row.get((target, service))
            mask = configuration.admits(rate)[at]
            if row is None or service is None or not (mask is None or mask[row]):
                return None
            rows[at], nodes[at] = row, target
            pool = partial.pools[name].get((target, service), Pool())
            wait_limit = min(pool.wait_limits.values(), default=math.inf)
            load, streams = pool.load + rate * cameras, pool.streams + cameras
            waits[at] = partial.replicas(service, load, streams, wait_limit)[1]
            if name in partial.singletons:
                waits[at] = partial.longest(service)
        elif configuration.follows_input[at]:
            nodes[at] = rows[at] = nodes[configuration.inputs[at][0]]
    return partial.assignment(assignment.group, cameras, configuration, rows, nodes, waits)
