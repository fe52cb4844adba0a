"""What a plan may choose from: settings worth a look, hosts, loads of replicas, and which of it is in time.

An `Offer` bounds the load of its replicas, so that the wait in front of them is a number that does not depend
on the rest of the plan. It errs on the safe side: what is in time by these numbers is in time by
`flowedge.planner.model.prediction`.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import TypeAlias

import numpy as np
from numpy.typing import NDArray

from flowedge.planner.model.problem import Application, CameraClass, Problem, Stage
from flowedge.planner.model.profiles import Service, Setting
from flowedge.planner.options.delays import Delays


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
    >>> levels = offers(empty, Service("Detect", "xeon", cores=1, seconds=0.03))
    >>> [(round(offer.load, 1), offer.streams, round(offer.wait, 3)) for offer in levels]
    [(26.7, inf, 0.06), (13.3, inf, 0.01), (26.7, 1, 0.0)]
    """
    full = problem.utilisation * service.rate
    half = problem.utilisation / 2
    return (
        Offer(service, full, math.inf, service.mean_wait(problem.utilisation)),
        Offer(service, full / 2, math.inf, service.mean_wait(half)),
        Offer(service, full, 1, 0.0),
    )


def settings(problem: Problem, application: Application) -> list[Setting]:
    """Settings that reach the accuracy and can be served, without those that another beats in every respect.

    Unless utility is maximised, accuracy above the goal counts for nothing.
    """
    profiles, counts = problem.profiles, problem.minimize == "utility"
    kept: list[tuple[Setting, float]] = []
    for chosen in application.settings():
        accuracy = profiles.accuracy(chosen) or 0.0
        served = all(
            profiles.free(stage.name) or profiles.services_of(stage.name, chosen)
            for stage in application.stages
        )
        if accuracy < application.accuracy or not served:
            continue
        candidate = chosen, accuracy if counts else 0.0
        if any(_beats(problem, application, other, candidate) for other in kept):
            continue
        kept = [other for other in kept if not _beats(problem, application, candidate, other)]
        kept.append(candidate)
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
        stage.name for another in problem.applications if another is not application for stage in another.stages
    }

    def replaced(stage: Stage, service: Service) -> bool:
        services = profiles.services_of(stage.name, one[0])
        alone = stage.name not in elsewhere and service.setting == other[0]
        return service in services or (alone and any(better.replaces(service) for better in services))

    return one[1] >= other[1] and all(
        profiles.bytes_of(stage.name, one[0]) <= profiles.bytes_of(stage.name, other[0])
        and all(replaced(stage, service) for service in profiles.services_of(stage.name, other[0]))
        for stage in application.stages
    )


def hosts(
    problem: Problem, camera: CameraClass, stage: Stage, chosen: Setting
) -> list[tuple[int, Service | None]]:
    """Where a stage of a camera class may run, as positions of nodes, and by which service there.

    The service is None where the stage costs nothing; unless pinned, it then has every node here, but must run
    where its first input does.
    """
    nodes = problem.cluster.nodes
    if stage.source:
        able = [problem.cluster.index[camera.node]]
    else:
        able = [at for at, node in enumerate(nodes) if stage.tier in (None, node.tier)]
    if problem.profiles.free(stage.name):
        return [(at, None) for at in able]
    least = problem.rates[camera.name] / problem.utilisation if stage.keyed else 0.0
    services = [
        service
        for service in problem.profiles.undominated(stage.name, chosen)
        if service.rate * (1 + 1e-9) >= least
    ]
    return [(at, service) for at in able for service in services if service.fits_on(nodes[at])]


StageOptions: TypeAlias = dict[str, list[tuple[int, Offer | None]]]
"""By stage, the nodes (as positions) and offers that it may have; without stages that follow their input."""

Seconds: TypeAlias = NDArray[np.float64]
"""One for each node."""


@dataclass(frozen=True)
class TimedOptions:
    """`options` that are in time, and seconds by stage and node.

    `earliest` is when the stage can be done there, `remaining` the least time from its inputs' arrival there to
    the end of the graph.
    """

    options: StageOptions
    earliest: dict[str, Seconds]
    remaining: dict[str, Seconds]


_ROUNDING = 1e-9  # share of a goal


def latency_matters(problem: Problem, application: Application) -> bool:
    """Whether latency matters at all."""
    return application.latency < math.inf or problem.latency_counts


def options_in_time(
    problem: Problem, camera: CameraClass, chosen: Setting, delays: Delays, *, waits: bool = True
) -> TimedOptions | None:
    """The nodes and offers of each stage with which the quickest assignment of all others is in time.

    Without `waits` nobody waits for a replica, which no plan can better. None where no assignment is in time.
    """
    application = problem.application(camera.application)
    options: StageOptions = {}
    for stage in application.stages:
        if not problem.follows_input(stage):
            options[stage.name] = [
                (node, offer)
                for node, service in hosts(problem, camera, stage, chosen)
                for offer in _offers(problem, application, service, waits)
            ]
    timed = _in_time(problem, application, chosen, delays, options)
    return timed if all(timed.options.values()) else None


def _offers(
    problem: Problem, application: Application, service: Service | None, waits: bool
) -> Sequence[Offer | None]:
    if service is None:
        return (None,)
    full, *others = offers(problem, service)
    if not waits:
        return (replace(full, wait=0.0),)
    return (full, *others) if latency_matters(problem, application) else (full,)


def _in_time(
    problem: Problem, application: Application, chosen: Setting, delays: Delays, options: StageOptions
) -> TimedOptions:
    own: dict[str, Seconds] = {}
    for stage in application.stages:
        if stage.name in options:
            own[stage.name] = _quickest(len(problem.cluster.nodes), options[stage.name])
        else:
            own[stage.name] = np.where(np.isfinite(own[stage.inputs[0]]), 0.0, np.inf)
    sent = {
        stage.name: delays.seconds(problem.profiles.bytes_of(stage.name, chosen))
        for stage in application.stages
    }
    ready = _ready(problem, application, own, sent)
    names = [stage.name for stage in application.stages]
    remaining = least_remaining(
        [[names.index(name) for name in stage.inputs] for stage in application.stages],
        [problem.follows_input(stage) for stage in application.stages],
        [own[name] for name in names],
        lambda stage: sent[names[stage]],
    )
    after = dict(zip(names, remaining, strict=True))
    limit = application.latency * (1 + _ROUNDING)
    in_time = {
        name: [
            (node, offer)
            for node, offer in pairs
            if ready[name][node] + (offer.seconds if offer else 0.0) + after[name][node] <= limit
            and ready[name][node] + after[name][node] < math.inf
        ]
        for name, pairs in options.items()
    }
    earliest = {name: ready[name] + own[name] for name in own}
    return TimedOptions(in_time, earliest, {name: after[name] + own[name] for name in own})


def _quickest(count: int, options: Sequence[tuple[int, Offer | None]]) -> Seconds:
    """By node, of so many, the least time of an option there; infinite where there is none."""
    least = np.full(count, np.inf)
    for node, offer in options:
        least[node] = min(least[node], offer.seconds if offer else 0.0)
    return least


def _ready(
    problem: Problem, application: Application, own: Mapping[str, Seconds], sent: Mapping[str, Seconds]
) -> dict[str, Seconds]:
    """For each stage and node, the earliest time at which all inputs can be there."""
    ready: dict[str, Seconds] = {}
    done: dict[str, Seconds] = {}
    for stage in application.stages:
        latest = np.zeros(len(problem.cluster.nodes))
        for position, name in enumerate(stage.inputs):
            stays = position == 0 and problem.follows_input(stage)
            arrival = done[name] if stays else (done[name][:, None] + sent[name]).min(axis=0)
            latest = np.maximum(latest, arrival)
        ready[stage.name] = latest
        done[stage.name] = latest + own[stage.name]
    return ready


def least_remaining(
    inputs: Sequence[Sequence[int]],
    follows: Sequence[bool],
    own: Sequence[Seconds],
    sent: Callable[[int], NDArray[np.float64]],
) -> list[Seconds]:
    """By stage and node, the least seconds from the stage's result there to the last one that depends on it.

    By stage, in topological order, `inputs` are the positions of the stages before it, `follows` whether it
    runs where its first input does, `own` the least a frame spends on each node; `sent` gives the seconds that
    a stage's output takes from node to node.
    """
    after = [np.zeros(len(seconds)) for seconds in own]
    for stage in reversed(range(len(inputs))):
        rest = after[stage] + own[stage]
        for position, name in enumerate(inputs[stage]):
            stays = position == 0 and follows[stage]
            after[name] = np.maximum(after[name], rest if stays else (sent(name) + rest).min(axis=1))
    return after
