"""What a plan may choose from: settings worth a look, services, hosts, and how heavily replicas are loaded.

An `Offer` bounds the load of its replicas, so that the wait in front of them is a number that does not depend
on the rest of the plan. It errs on the safe side: what is in time by these numbers is in time by
`flowedge.planner.model.prediction`.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

from flowedge.planner.model.prediction import fits
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


def offers(problem: Problem, service: Service) -> tuple[Offer, ...]:
    """How a service can be loaded: fully, by half for a short wait, or with one camera a replica for none.

    >>> from flowedge.planner.model import cluster, problem, profiles
    >>> machine = cluster.Cluster(("edge",), (cluster.Node("a", "edge", "xeon", 4),))
    >>> empty = problem.Problem(machine, (), (), profiles.Profiles(), utilisation=0.8)
    >>> made = offers(empty, Service("Detect", "xeon", cores=1, seconds=0.03))
    >>> [(round(each.load, 1), each.streams, round(each.wait, 3)) for each in made]
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
    """Whether every service of the other setting can be replaced by one of this setting without harm.

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
    """The services of a stage under a setting, without those that another one can replace."""
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
