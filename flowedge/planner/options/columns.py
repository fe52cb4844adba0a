"""What strategies are built from: ways to serve, settings worth a look, columns, and plans made of columns.

A column is one way for the frames of a camera class through its graph: a setting, and a node and an offer for
each stage. An `Offer` bounds the load of its replicas, so that the wait in front of them, and with it the
latency of the column, is a number that does not depend on the rest of the plan. It errs on the safe side: what
is within its latency by these numbers is within it by `flowedge.planner.model.prediction`.
"""

from __future__ import annotations

import math
from collections.abc import Iterable
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from flowedge.planner.model.checker import violations
from flowedge.planner.model.cluster import Cluster
from flowedge.planner.model.plan import Deployment, Placement, Plan, Route
from flowedge.planner.model.prediction import fits, predict
from flowedge.planner.model.problem import Application, CameraClass, Problem, Stage
from flowedge.planner.model.profiles import Service, Setting, holds
from flowedge.planner.model.queueing import wait


@dataclass(frozen=True, slots=True)
class Offer:
    """Replicas of a service, each with at most `load` frames a second of at most `streams` cameras.

    A frame then waits `wait` seconds at most (the mean of the queue).
    """

    service: Service
    load: float
    streams: float
    wait: float

    @property
    def seconds(self) -> float:
        """What a frame spends here, with its wait."""
        return self.service.seconds + self.wait

    def replicas(self, load: float, streams: int) -> int:
        """The fewest replicas for so many frames a second of so many cameras; at least one."""
        return max(1, math.ceil(load / self.load - 1e-9), math.ceil(streams / self.streams - 1e-9))


@dataclass(frozen=True, slots=True)
class Place:
    """Where a column has a stage, and by which offer; by none where the stage costs nothing."""

    stage: str
    node: str
    offer: Offer | None = None


@dataclass(frozen=True, slots=True)
class Column:
    """One way through the graph for frames of a camera class; its places are in the order of the stages."""

    camera_class: str
    setting: Setting
    places: tuple[Place, ...]


def offers(problem: Problem, service: Service) -> tuple[Offer, ...]:
    """How a service can be loaded: fully, by half for a short wait, or with one camera a replica for none.

    >>> from flowedge.planner.model import cluster, problem, profiles
    >>> machine = cluster.Cluster(("edge",), (cluster.Node("a", "edge", "xeon", 4),))
    >>> empty = problem.Problem(machine, (), (), profiles.Profiles(), utilisation=0.8)
    >>> ways = offers(empty, Service("Detect", "xeon", cores=1, seconds=0.03))
    >>> [(round(way.load, 1), way.streams, round(way.wait, 3)) for way in ways]
    [(26.7, inf, 0.06), (13.3, inf, 0.01), (26.7, 1, 0.0)]
    """
    full = problem.utilisation * service.rate
    levels = ((full, problem.utilisation), (full / 2, problem.utilisation / 2))
    waits = [wait(used, service.seconds, service.deviation) for _, used in levels]
    pooled = tuple(Offer(service, load, math.inf, each) for (load, _), each in zip(levels, waits, strict=True))
    return (*pooled, Offer(service, full, 1, 0.0))


def settings(problem: Problem, application: Application) -> list[Setting]:
    """Settings that reach the accuracy and can be served, without those that another beats in every respect.

    Unless utility is maximised, accuracy above the goal counts for nothing.
    """
    profiles, free = problem.profiles, problem.profiles.free
    able = [
        (chosen, profiles.accuracy(chosen) or 0.0)
        for chosen in application.settings()
        if (profiles.accuracy(chosen) or 0.0) >= application.accuracy
        and all(free(stage.name) or profiles.services_of(stage.name, chosen) for stage in application.stages)
    ]
    kept: list[tuple[Setting, float]] = []
    for chosen, accuracy in able:
        gain = accuracy if problem.minimize == "utility" else 0.0
        if any(_beats(problem, application, (other, best), (chosen, gain)) for other, best in kept):
            continue
        kept = [each for each in kept if not _beats(problem, application, (chosen, gain), each)]
        kept.append((chosen, gain))
    return [chosen for chosen, _ in kept]


def _beats(
    problem: Problem, application: Application, one: tuple[Setting, float], other: tuple[Setting, float]
) -> bool:
    """Whether every way to serve the other setting can be replaced by one of this setting without harm.

    A replica that cameras under a third setting, or of another application, may use as well is only replaced
    by itself: it may be cheaper to share it.
    """
    profiles = problem.profiles
    elsewhere = {
        stage.name for each in problem.applications if each is not application for stage in each.stages
    }

    def replaced(stage: Stage, service: Service) -> bool:
        known = profiles.services_of(stage.name, one[0])
        own = stage.name not in elsewhere and service.setting == other[0]
        return service in known or (own and any(_replaces(better, service) for better in known))

    return one[1] >= other[1] and all(
        profiles.bytes_of(stage.name, one[0]) <= profiles.bytes_of(stage.name, other[0])
        and all(replaced(stage, service) for service in profiles.services_of(stage.name, other[0]))
        for stage in application.stages
    )


def services(problem: Problem, stage: Stage, chosen: Setting) -> list[Service]:
    """The ways to serve a stage under a setting, without those that another one can replace."""
    kept: list[Service] = []
    for service in problem.profiles.services_of(stage.name, chosen):
        if any(_serves_all(other, service) for other in kept):
            continue
        kept = [other for other in kept if not _serves_all(service, other)]
        kept.append(service)
    return kept


def _serves_all(one: Service, other: Service) -> bool:
    """Whether a service replaces another for all who may use that."""
    return holds(one.setting, other.setting) and _replaces(one, other)


def _replaces(one: Service, other: Service) -> bool:
    """Whether a service needs no more than another, is no slower and makes nobody wait longer."""
    return (
        one.kind == other.kind
        and one.rate >= other.rate
        and all(getattr(one, name) <= getattr(other, name) for name in ("cores", "gpu", "memory", "seconds"))
        and wait(0.5, one.seconds, one.deviation) <= wait(0.5, other.seconds, other.deviation)
    )


def hosts(
    problem: Problem, camera: CameraClass, stage: Stage, chosen: Setting
) -> list[tuple[int, Service | None]]:
    """Where a stage of a camera class may run, as positions of nodes, and by which service there.

    The service is None where the stage costs nothing; unless pinned, it then has every node here, but must run
    where its first input does.
    """
    cluster = problem.cluster
    if stage.source:
        nodes = [cluster.index[camera.node]]
    else:
        nodes = [at for at, node in enumerate(cluster.nodes) if stage.tier in (None, node.tier)]
    if problem.profiles.free(stage.name):
        return [(node, None) for node in nodes]
    least = problem.rate(camera) / problem.utilisation if stage.keyed else 0.0
    able = [each for each in services(problem, stage, chosen) if each.rate * (1 + 1e-9) >= least]
    return [(at, each) for at in nodes for each in able if fits(cluster, cluster.nodes[at].name, each)]


@dataclass(frozen=True)
class Network:
    """Seconds from each node (rows) to each node: `fixed` (infinite without a way) plus bytes x `per_byte`."""

    fixed: NDArray[np.float64]
    per_byte: NDArray[np.float64]

    def seconds(self, size: float) -> NDArray[np.float64]:
        """Seconds that so many bytes take from every node to every node."""
        return np.asarray(self.fixed + size * self.per_byte)


def network(cluster: Cluster, certainty: float) -> Network:
    """The network of a cluster, along the paths that `Cluster.path` gives.

    >>> from flowedge.planner.model.cluster import Link, Node
    >>> nodes = Node("a", "edge", "pi", 1), Node("b", "edge", "pi", 1)
    >>> pair = Cluster(("edge",), nodes, (Link("a", "b", 8e6, 0.01),))
    >>> float(network(pair, 2.0).seconds(1000)[0, 1])
    0.011
    """
    count = len(cluster.nodes)
    hop = np.zeros((2, count, count))
    for (start, end), position in cluster.between.items():
        arc = cluster.arcs[position]
        hop[:, start, end] = arc.delay + certainty * arc.deviation, 8 / arc.bandwidth
    trees = [cluster.tree(origin) for origin in range(count)]
    before = np.array([tree[1] for tree in trees], np.int64).reshape(count, count)
    costs = np.zeros((2, count, count))
    rows, here = np.arange(count)[:, None], np.broadcast_to(np.arange(count), (count, count))
    while True:
        previous = before[rows, here]  # negative at the origin and where no way leads
        if (previous < 0).all():
            break
        previous = np.where(previous < 0, here, previous)  # staying costs nothing
        costs += hop[:, previous, here]
        here = previous
    costs[0, np.isinf([tree[0] for tree in trees])] = np.inf
    return Network(costs[0], costs[1])


def latency(problem: Problem, application: Application, column: Column, net: Network) -> float:
    """Seconds along the slowest way of a column, with the waits of its offers."""
    index = problem.cluster.index
    at = {place.stage: index[place.node] for place in column.places}
    done: dict[str, float] = {}
    for stage, place in zip(application.stages, column.places, strict=True):
        ready = 0.0
        for name in stage.inputs:
            size = problem.profiles.bytes_of(name, column.setting)
            sent = net.fixed[at[name], at[stage.name]] + size * net.per_byte[at[name], at[stage.name]]
            ready = max(ready, done[name] + sent)
        done[stage.name] = float(ready + (place.offer.seconds if place.offer else 0.0))
    return max(done.values())


def assemble(problem: Problem, strategy: str, chosen: Iterable[tuple[Column, int]]) -> Plan:
    """The plan in which so many cameras take each column, with the fewest replicas that keep the offers.

    Its value is that of `flowedge.planner.model.prediction.predict`; nothing else is checked here.
    """
    classes = {each.name: each for each in problem.classes}
    together: dict[Column, int] = {}
    for column, cameras in chosen:
        together[column] = together.get(column, 0) + cameras
    keys: dict[tuple[str, Offer], int] = {}
    needs: list[tuple[float, int]] = []
    routes = []
    for column, cameras in together.items():
        rate = problem.rate(classes[column.camera_class])
        placements = []
        for place in column.places:
            position = None
            if place.offer is not None:
                position = keys.setdefault((place.node, place.offer), len(keys))
                needs += [(0.0, 0)] * (len(keys) - len(needs))
                load, streams = needs[position]
                needs[position] = load + rate * cameras, streams + cameras
            placements.append(Placement(place.stage, place.node, position))
        routes.append(Route(column.camera_class, cameras, column.setting, tuple(placements)))
    deployments = tuple(
        Deployment(offer.service.operator, node, offer.service, offer.replicas(*need))
        for (node, offer), need in zip(keys, needs, strict=True)
    )
    plan = Plan(strategy, deployments, tuple(routes))
    return replace(plan, value=predict(problem, plan).value)


def better(problem: Problem, found: Plan, start: Plan | None) -> Plan:
    """The plan in force, in the strategy's name, where it still holds and is better than what was found."""
    if start is None or not start.found:
        return found
    again = replace(found, deployments=start.deployments, routes=start.routes, reason=None, value=math.nan)
    try:
        again = replace(again, value=predict(problem, again).value)
    except (LookupError, StopIteration, ZeroDivisionError):  # it is of other nodes or cameras
        return found
    if (found.found and again.value >= found.value) or violations(problem, again):
        return found
    return again
