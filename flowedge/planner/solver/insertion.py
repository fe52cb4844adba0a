"""Finds the cheapest way for one more lot of cameras, given all others: label setting on marginal costs.

A choice of a node and a service costs the replicas that it adds to the pool there (none, where there is room in
those at hand) and its frames; it takes the service and the wait that the lot would have then. More replicas for
less wait are another choice. `blend` (0..1) is how much of a lot's own share of the replicas is counted instead
of what it adds: at 1 a lot pays for replicas in part even if it opens them, which lets several lots meet.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from flowedge.planner.model.profiles import Service
from flowedge.planner.solver.instance import Choices, Floats, Variant
from flowedge.planner.solver.label_setting import Offered, Search, Ways, potentials
from flowedge.planner.solver.partial_plan import Lot, Pool, Pools
from flowedge.planner.solver.replica_sizing import dimension
from flowedge.planner.solver.ways import along_paths, shipped

_LEVELS = 4  # numbers of replicas that are tried for one load
_TRIES = 6
_LABELS = 60
_OVERHEAD = 6000.0  # work to prepare the search of a stage
_DEARER = 4.0
_FREE = 0.03  # what a node that costs nothing is worth at first, for each camera
_LEAST = 1e-6  # share of a node's price by which idle resources are better than used ones, if both are free


@dataclass
class Guide:
    """What steers the search beside the objective: prices of a node's resources (nodes x 3) and of arcs."""

    nodes: Floats
    arcs: dict[int, float]


def insert(
    pools: Pools,
    variants: tuple[Variant, ...],
    group: int,
    cameras: int,
    *,
    blend: float = 0.0,
    guide: Guide | None = None,
    near: NDArray[np.bool_] | None = None,
    ceiling: float = math.inf,
) -> bool:
    """Adds the best lot there is room for; whether one was found.

    `near` are the nodes to look at (all if None). Nothing is added that costs `ceiling` or more.
    """
    guide = guide or Guide(np.zeros_like(pools.free), {})
    guide = Guide(guide.nodes.copy(), dict(guide.arcs))
    for _ in range(_TRIES):
        found: list[tuple[float, int, Variant, Ways]] = []
        for variant in variants:
            constant = -cameras * variant.accuracy if pools.problem.minimize == "utility" else 0.0
            least = min((each[0] for each in found), default=ceiling) - constant
            ways = _ways(pools, variant, group, cameras, blend, guide, near, least)
            found += [(float(cost) + constant, at, variant, ways) for at, cost in enumerate(ways.costs)]
        found.sort(key=lambda each: each[0])
        for _, at, variant, ways in found[:8]:
            lot = _lot(pools, group, cameras, variant, ways, at)
            if lot is None:
                continue
            pools.add(lot)
            if pools.room() or (pools.few and not pools.hasty and dimension(pools)):
                return True
            crowded, congested = pools.crowded(), pools.congested()
            pools.remove(lot)
        if not found or lot is None:
            return False
        _raise(pools, guide, crowded, congested, lot)
    return False


def _raise(pools: Pools, guide: Guide, crowded: list[int], congested: list[int], lot: Lot) -> None:
    """Makes what had no room dearer, until other ways are cheaper."""
    rate = pools.groups[lot.group].rate * lot.cameras
    dearest = max(float(choices.reserve.max(initial=0.0)) for choices in lot.variant.choices)
    scale = dearest or _FREE * lot.cameras
    for node in crowded:
        limits = np.where(
            np.isfinite(pools.limits[node]) & (pools.limits[node] > 0), pools.limits[node], np.inf
        )
        guide.nodes[node] = _DEARER * guide.nodes[node] + scale / limits
    for arc in congested:
        size = sum(each for other, each in shipped(pools.problem, lot.variant, lot.nodes) if other == arc)
        guide.arcs[arc] = _DEARER * guide.arcs.get(arc, 0.0) + scale / max(1.0, size * rate)


def _ways(
    pools: Pools,
    variant: Variant,
    group: int,
    cameras: int,
    blend: float,
    guide: Guide,
    near: NDArray[np.bool_] | None,
    ceiling: float,
) -> Ways:
    offered = []
    rate = pools.groups[group].rate
    for at, (choices, mask) in enumerate(zip(variant.choices, variant.admits(rate), strict=True)):
        if variant.stays[at]:
            offered.append(Offered(choices.nodes, choices.frame, choices.seconds, choices.nodes))
            continue
        kept = np.ones(len(choices), bool) if mask is None else mask
        if near is not None:
            kept = kept & near[choices.nodes]
        name = variant.application.stages[at].name
        offered.append(_offered(pools, name, choices, np.nonzero(kept)[0], rate, cameras, blend, guide))
    tolls = _tolls(pools, guide, near) * (rate * cameras) if guide.arcs else None
    worth = pools.problem.theta * cameras if pools.problem.minimize == "utility" else 0.0
    rest = potentials(variant, offered, None, len(pools.net.fixed))
    search = Search(variant, pools.net, offered, rest, tolls, worth, _LABELS)
    found = search.ways(pools.groups[group].node, ceiling)
    pools.budget.spend(found.work + _OVERHEAD * len(offered))
    return found


def _offered(
    pools: Pools,
    name: str,
    choices: Choices,
    rows: NDArray[np.int64],
    rate: float,
    cameras: int,
    blend: float,
    guide: Guide,
) -> Offered:
    """The choices of a stage at marginal cost; a row is named row x levels + level."""
    frames = rate * cameras
    there = pools.pools.get(name, {})
    single = name in pools.singletons
    kind = choices.kinds[1][rows]
    added, waits = anew(pools, name, choices, frames, cameras)
    more, wait = added[kind], waits[kind]
    if single:
        more[more > 1] = np.inf
        if there:
            more[:] = np.inf
    for (node, service), pool in there.items():
        row = choices.row.get((node, service), -1)
        at = int(np.searchsorted(rows, row))
        if row < 0 or at == len(rows) or rows[at] != row:
            continue
        more[at], wait[at] = np.inf, np.inf
        for level, (count, seconds) in enumerate(levels(pools, name, service, pool, frames, cameras)):
            if not (single and count > 1):
                more[at, level], wait[at, level] = count - pool.replicas, seconds
    needs, free = choices.needs[rows], pools.free[choices.nodes[rows]]
    with np.errstate(invalid="ignore", divide="ignore"):
        most = np.where(needs > 0, free / np.where(needs > 0, needs, 1.0), np.inf).min(axis=1)
    able = (more < np.inf) & ((more <= most[:, None] * (1 + 1e-7) + 1e-9) | (more <= 0))
    reserve = choices.reserve[rows]
    own = np.divide(frames, choices.capacity[rows])
    share = needs * (guide.nodes[choices.nodes[rows]] + _idle(pools, choices.nodes[rows]))
    unit = (reserve + share.sum(axis=1))[:, None]
    kept, which = np.nonzero(able)
    counted = (1 - blend) * more[kept, which] + blend * own[kept]
    cost = counted * unit[kept, 0] + frames * choices.frame[rows[kept]]
    taken = choices.seconds[rows[kept]] + wait[kept, which]
    return Offered(choices.nodes[rows[kept]], cost, taken, rows[kept] * _LEVELS + which).best()


def anew(pools: Pools, name: str, choices: Choices, frames: float, cameras: int) -> tuple[Floats, Floats]:
    """Replicas and waits of pools that do not exist yet, by kind and level; kept, as they are always alike."""
    key = id(choices), frames, cameras
    if key not in pools.anew:
        kinds, _ = choices.kinds
        added = np.full((len(kinds), _LEVELS), np.inf)
        waits = np.full((len(kinds), _LEVELS), np.inf)
        for at, service in enumerate(kinds):
            if service is None:
                added[at, 0], waits[at, 0] = 0.0, 0.0
                continue
            for level, (count, seconds) in enumerate(levels(pools, name, service, None, frames, cameras)):
                added[at, level], waits[at, level] = count, seconds
        pools.anew[key] = added, waits
    return pools.anew[key]


def _tolls(pools: Pools, guide: Guide, near: NDArray[np.bool_] | None) -> Floats:
    """The price of a byte/s from node to node; most searches ask for the same as the one before."""
    key = tuple(guide.arcs.items()), id(near)
    if key not in pools.tolls:
        pools.tolls = {key: along_paths(pools.problem, guide.arcs, near)}
    return pools.tolls[key]


def _idle(pools: Pools, nodes: NDArray[np.int64]) -> Floats:
    limits = pools.limits[nodes]
    return np.where(np.isfinite(limits) & (limits > 0), _LEAST / np.maximum(limits, 1e-300), 0.0)


def levels(
    pools: Pools, name: str, service: Service, pool: Pool | None, frames: float, cameras: int
) -> list[tuple[int, float]]:
    """Numbers of replicas for a pool that is to serve more, and the waits there; the last is nobody's wait."""
    load = frames + (pool.load if pool else 0.0)
    streams = cameras + (pool.streams if pool else 0)
    if name in pools.singletons:
        longest = pools.longest(service)
        return [(pools.replicas(service, load, streams, longest)[0], longest)]
    promise = min(pool.promised.values()) if pool else math.inf
    found: list[tuple[int, float]] = []
    for _ in range(_LEVELS):
        count, seconds = pools.replicas(service, load, streams, promise)
        found.append((count, seconds))
        if seconds <= 0:
            break
        promise = seconds / 2 if len(found) < _LEVELS - 1 else 0.0
    return found


def _lot(pools: Pools, group: int, cameras: int, variant: Variant, ways: Ways, at: int) -> Lot | None:
    rate = pools.groups[group].rate
    rows, waits = [], []
    for stage, name in enumerate(variant.application.stages):
        code = int(ways.rows[at, stage])
        if variant.stays[stage]:
            rows.append(code)
            waits.append(0.0)
            continue
        row, level = divmod(code, _LEVELS)
        service = variant.choices[stage].services[row]
        rows.append(row)
        if service is None:
            waits.append(0.0)
            continue
        pool = pools.pools.get(name.name, {}).get((int(ways.nodes[at, stage]), service))
        waits.append(levels(pools, name.name, service, pool, rate * cameras, cameras)[level][1])
    nodes = tuple(map(int, ways.nodes[at]))
    return pools.lot(group, cameras, variant, rows, nodes, waits)
