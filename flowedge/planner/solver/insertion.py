"""Insertion: the cheapest assignment for more cameras, given all others, by label setting on marginal costs.

A choice of a node and a service costs the replicas that it adds to the pool there (none, where the present ones
have room) and its frames; it takes the service time and the wait that these cameras would have then. More
replicas for less wait are another choice. `blend` (0..1) weighs two ways to count replicas: at 0 the cameras
pay for those that they add, at 1 for their own share of those that they use. The latter lets several
assignments gather at a pool that the first of them would have to pay for alone.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from flowedge.planner.model.profiles import Service
from flowedge.planner.options.delays import prices_along_paths
from flowedge.planner.solver.column_generation import ColumnGeneration
from flowedge.planner.solver.instance import Choices, Configuration, Floats, arcs_used
from flowedge.planner.solver.label_setting import CompleteLabels, LabelSetting, PricedChoices, potentials
from flowedge.planner.solver.partial_plan import Assignment, PartialPlan, Pool
from flowedge.planner.solver.replica_sizing import size_replicas


@dataclass
class Prices:
    """What a search pays beside the objective: for a node's resources (nodes x 3), and for a byte/s by arc."""

    nodes: Floats
    arcs: dict[int, float]


def insert(
    partial: PartialPlan,
    configurations: tuple[Configuration, ...],
    group: int,
    cameras: int,
    *,
    blend: float = 0.0,
    prices: Prices | None = None,
    near: NDArray[np.bool_] | None = None,
    ceiling: float = math.inf,
) -> bool:
    """Add the best assignment that there is room for; return whether one was found.

    `near` are the nodes to look at (all if None). Nothing is added that costs `ceiling` or more.
    """
    prices = prices or Prices(np.zeros_like(partial.free), {})
    prices = Prices(prices.nodes.copy(), dict(prices.arcs))
    for _ in range(partial.tuning.insertion_tries):
        candidates: list[tuple[float, int, Configuration, CompleteLabels]] = []
        for configuration in configurations:
            constant = -cameras * configuration.accuracy if partial.problem.minimize == "utility" else 0.0
            least = min((candidate[0] for candidate in candidates), default=ceiling) - constant
            labels = _complete_labels(partial, configuration, group, cameras, blend, prices, near, least)
            candidates += [
                (float(cost) + constant, at, configuration, labels) for at, cost in enumerate(labels.costs)
            ]
        candidates.sort(key=lambda candidate: candidate[0])
        for _, at, configuration, labels in candidates[: partial.tuning.insertion_candidates]:
            assignment = _assignment(partial, group, cameras, configuration, labels, at)
            if assignment is None:
                continue
            partial.add(assignment)
            if partial.feasible() or (
                partial.tuning.few and not partial.latency_counts and size_replicas(partial)
            ):
                return True
            overloaded_nodes, overloaded_arcs = partial.overloaded_nodes(), partial.overloaded_arcs()
            partial.remove(assignment)
        if not candidates or assignment is None:
            return False
        _raise(partial, prices, overloaded_nodes, overloaded_arcs, assignment)
    return False


def _raise(
    partial: PartialPlan,
    prices: Prices,
    overloaded_nodes: list[int],
    overloaded_arcs: list[int],
    assignment: Assignment,
) -> None:
    """Make what had no room dearer, until other choices are cheaper."""
    rate = partial.groups[assignment.group].rate * assignment.cameras
    dearest = max(float(choices.reserve.max(initial=0.0)) for choices in assignment.configuration.choices)
    dearest = max(dearest, float(partial.fixed_costs.max()))
    scale = dearest or partial.tuning.free_node * assignment.cameras
    for node in overloaded_nodes:
        limits = np.where(
            np.isfinite(partial.limits[node]) & (partial.limits[node] > 0), partial.limits[node], np.inf
        )
        prices.nodes[node] = partial.tuning.dearer * prices.nodes[node] + scale / limits
    for arc in overloaded_arcs:
        size = sum(
            output_size
            for other, output_size in arcs_used(partial.problem, assignment.configuration, assignment.nodes)
            if other == arc
        )
        prices.arcs[arc] = partial.tuning.dearer * prices.arcs.get(arc, 0.0) + scale / max(1.0, size * rate)


def _complete_labels(
    partial: PartialPlan,
    configuration: Configuration,
    group: int,
    cameras: int,
    blend: float,
    prices: Prices,
    near: NDArray[np.bool_] | None,
    ceiling: float,
) -> CompleteLabels:
    offered = []
    rate = partial.groups[group].rate
    for at, (choices, mask) in enumerate(zip(configuration.choices, configuration.admits(rate), strict=True)):
        if configuration.follows_input[at]:
            offered.append(PricedChoices(choices.nodes, choices.frame, choices.seconds, choices.nodes))
            continue
        kept = np.ones(len(choices), bool) if mask is None else mask
        if near is not None:
            kept = kept & near[choices.nodes]
        name = configuration.application.stages[at].name
        offered.append(_offered(partial, name, choices, np.nonzero(kept)[0], rate, cameras, blend, prices))
    byte_prices = _byte_prices(partial, prices, near) * (rate * cameras) if prices.arcs else None
    worth = partial.problem.theta * cameras if partial.problem.minimize == "utility" else 0.0
    rest = potentials(configuration, offered, None, len(partial.delays.fixed))
    search = LabelSetting(
        configuration,
        partial.delays,
        offered,
        rest,
        partial.tuning,
        byte_prices,
        worth,
        partial.tuning.insertion_labels,
        opening=(1 - blend) * partial.opening_costs() if partial.fixed_costs.any() else None,
    )
    complete = search.extend(partial.groups[group].node, ceiling)
    partial.budget.spend(complete.work + partial.tuning.work_insertion * len(offered))
    return complete


def _offered(
    partial: PartialPlan,
    name: str,
    choices: Choices,
    rows: NDArray[np.int64],
    rate: float,
    cameras: int,
    blend: float,
    prices: Prices,
) -> PricedChoices:
    """The choices of a stage at marginal cost; a row is named row x levels + level."""
    frames = rate * cameras
    pools = partial.pools.get(name, {})
    single = name in partial.singletons
    kind = choices.kinds[1][rows]
    added, waits = new_pool_levels(partial, name, choices, frames, cameras)
    more, wait = added[kind], waits[kind]
    if single:
        more[more > 1] = np.inf
        if pools:
            more[:] = np.inf
    for (node, service), pool in pools.items():
        row = choices.row.get((node, service), -1)
        at = int(np.searchsorted(rows, row))
        if row < 0 or at == len(rows) or rows[at] != row:
            continue
        more[at], wait[at] = np.inf, np.inf
        for level, (count, seconds) in enumerate(levels(partial, name, service, pool, frames, cameras)):
            if not (single and count > 1):
                more[at, level], wait[at, level] = count - pool.replicas, seconds
    node_of = choices.nodes[rows]
    needs, free = choices.needs[rows], partial.free[node_of]
    with np.errstate(invalid="ignore", divide="ignore"):
        most = np.where(needs > 0, free / np.where(needs > 0, needs, 1.0), np.inf).min(axis=1)
    able = (more < np.inf) & ((more <= most[:, None] * (1 + 1e-7) + 1e-9) | (more <= 0))
    reserve = choices.reserve[rows]
    own = np.divide(frames, choices.capacity[rows])
    share = needs * (prices.nodes[choices.nodes[rows]] + _idle(partial, choices.nodes[rows]))
    unit = (reserve + share.sum(axis=1))[:, None]
    kept, which = np.nonzero(able)
    counted = (1 - blend) * more[kept, which] + blend * own[kept]
    cost = counted * unit[kept, 0] + frames * choices.frame[rows[kept]]
    if blend and any(choices.services):
        cost += blend * _own_share(partial, choices, rows, own)[kept] * partial.opening_costs()[node_of[kept]]
    removed = choices.seconds[rows[kept]] + wait[kept, which]
    return PricedChoices(
        choices.nodes[rows[kept]], cost, removed, rows[kept] * partial.tuning.levels + which
    ).best()


def _own_share(partial: PartialPlan, choices: Choices, rows: NDArray[np.int64], replicas: Floats) -> Floats:
    """The share (0..1) of a node that so many replicas of each choice take, which may be fractions."""
    limits = partial.limits[choices.nodes[rows]]
    shares = np.divide(choices.needs[rows], limits, out=np.zeros_like(limits), where=limits > 0)
    return np.asarray(np.minimum(1.0, replicas * shares.max(axis=1, initial=0.0)))


def new_pool_levels(
    partial: PartialPlan, name: str, choices: Choices, frames: float, cameras: int
) -> tuple[Floats, Floats]:
    """Replicas and waits of pools that do not exist yet, by kind and level; remembered."""
    key = id(choices), frames, cameras
    if key not in partial.new_pool_levels:
        kinds, _ = choices.kinds
        added = np.full((len(kinds), partial.tuning.levels), np.inf)
        waits = np.full((len(kinds), partial.tuning.levels), np.inf)
        for at, service in enumerate(kinds):
            if service is None:
                added[at, 0], waits[at, 0] = 0.0, 0.0
                continue
            for level, (count, seconds) in enumerate(levels(partial, name, service, None, frames, cameras)):
                added[at, level], waits[at, level] = count, seconds
        partial.new_pool_levels[key] = added, waits
    return partial.new_pool_levels[key]


def _byte_prices(partial: PartialPlan, prices: Prices, near: NDArray[np.bool_] | None) -> Floats:
    """The price of a byte/s from node to node; most searches ask for the same as the one before."""
    key = tuple(prices.arcs.items()), id(near)
    if key not in partial.byte_prices:
        partial.byte_prices = {key: prices_along_paths(partial.problem.cluster, prices.arcs, near)}
    return partial.byte_prices[key]


def _idle(partial: PartialPlan, nodes: NDArray[np.int64]) -> Floats:
    limits = partial.limits[nodes]
    return np.where(
        np.isfinite(limits) & (limits > 0), partial.tuning.idle_price / np.maximum(limits, 1e-300), 0.0
    )


def levels(
    partial: PartialPlan, name: str, service: Service, pool: Pool | None, frames: float, cameras: int
) -> list[tuple[int, float]]:
    """Numbers of replicas for a pool that is to serve more, and the wait with each: more until nobody waits."""
    load = frames + (pool.load if pool else 0.0)
    streams = cameras + (pool.streams if pool else 0)
    if name in partial.singletons:
        longest = partial.longest(service)
        return [(partial.replicas(service, load, streams, longest)[0], longest)]
    wait_limit = min(pool.wait_limits.values()) if pool else math.inf
    options: list[tuple[int, float]] = []
    for _ in range(partial.tuning.levels):
        count, seconds = partial.replicas(service, load, streams, wait_limit)
        options.append((count, seconds))
        if seconds <= 0:
            break
        wait_limit = seconds / 2 if len(options) < partial.tuning.levels - 1 else 0.0
    return options


def _assignment(
    partial: PartialPlan,
    group: int,
    cameras: int,
    configuration: Configuration,
    labels: CompleteLabels,
    at: int,
) -> Assignment | None:
    rate = partial.groups[group].rate
    rows, waits = [], []
    for stage, name in enumerate(configuration.application.stages):
        code = int(labels.rows[at, stage])
        if configuration.follows_input[stage]:
            rows.append(code)
            waits.append(0.0)
            continue
        row, level = divmod(code, partial.tuning.levels)
        service = configuration.choices[stage].services[row]
        rows.append(row)
        if service is None:
            waits.append(0.0)
            continue
        pool = partial.pools.get(name.name, {}).get((int(labels.nodes[at, stage]), service))
        waits.append(levels(partial, name.name, service, pool, rate * cameras, cameras)[level][1])
    nodes = tuple(map(int, labels.nodes[at]))
    return partial.assignment(group, cameras, configuration, rows, nodes, waits)


def insert_all(
    partial: PartialPlan,
    master: ColumnGeneration,
    unplaced: list[tuple[int, int]],
    prices: Prices,
    *,
    blend: float = 0.0,
    near: Sequence[NDArray[np.bool_]] | None = None,
    ceiling: float = math.inf,
) -> list[tuple[int, int]]:
    """Insert groups of cameras, if need be by halves; return those that found no room.

    It gives up where the value would come to `ceiling` or more, and when the budget is spent.
    """
    gains = master.gains()
    behind = sum(gains[group] * cameras for group, cameras in unplaced)
    waiting = list(reversed(unplaced))
    lost: list[tuple[int, int]] = []
    while waiting:
        group, cameras = waiting.pop()
        if partial.budget.over or (lost and ceiling < math.inf):
            lost.append((group, cameras))
            continue
        configurations = master.configurations[master.groups[group].application]
        here = near[group] if near else None
        behind -= gains[group] * cameras
        most = ceiling - partial.value + behind
        if insert(partial, configurations, group, cameras, blend=blend, prices=prices, near=here, ceiling=most):
            continue
        if cameras > 1 and ceiling == math.inf:
            waiting += [(group, cameras // 2), (group, cameras - cameras // 2)]
            behind += gains[group] * cameras
        else:
            lost.append((group, cameras))
    return lost
