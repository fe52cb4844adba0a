"""What a running graph should do about its goal: pure functions over what was measured.

Times in a running graph contain the contention of all its operators, and of other programs. So a setting that
does not run is predicted from one that does (`expected`): an operator will take as much longer as its work
(core-seconds a frame) is more, and frames wait for it as a queue of that service time lets expect. That bounds
the work that can be planned; the plan itself is `flowedge.planner`'s, for a cluster of this one machine.
"""

from __future__ import annotations

import math
from collections import Counter, defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace

from flowedge.graph.graph import Graph
from flowedge.planner.model import units
from flowedge.planner.model.applications import applications
from flowedge.planner.model.assemble import problem
from flowedge.planner.model.cluster import Cluster, Node
from flowedge.planner.model.problem import CameraClass, Problem
from flowedge.planner.model.profiles import FREE_SECONDS, Accuracy, Profiles, Service, Setting
from flowedge.planner.planning import Planned, solved

HERE = "here"
"""The name, kind and tier of the machine that a graph runs on, in its plans."""

RATES = (1.0, 0.75, 0.5, 0.25, 0.1)
"""Shares of the cameras' frames that a plan may be made for: live cameras give the newest frame, and a machine
that cannot serve all of them serves some."""

MARGIN = 0.8
"""The utilisation up to which cores are planned to be used; the planner's default."""

FULL = 0.95
"""The share of the time that the slowest operator may be planned to work: it works on one frame at a time."""

TAIL = math.log(20)
"""How many times the mean an exponential waiting time is that 95 % do not exceed."""


@dataclass(frozen=True)
class Cost:
    """What a setting takes: core-seconds a frame by operator, and its accuracy (0..1) if that is known."""

    work: Mapping[str, float]
    accuracy: float | None = None


@dataclass(frozen=True)
class Situation:
    """What was measured of a graph while it ran in one setting.

    `service` are seconds a frame by operator; `rates` the frames a second that every camera of an application
    produces; `latency` the seconds within which nearly all frames went from capture to sink. Where cameras
    differ in their settings, `setting` is the commonest and `mix` has the shares (0..1) of all. Where cameras
    have come or gone since, `measured_rates` are those with which service and latency were measured.
    """

    setting: Setting
    service: Mapping[str, float]
    rates: Mapping[str, Sequence[float]]
    latency: float
    mix: Mapping[Setting, float] = field(default_factory=dict)
    measured_rates: Mapping[str, Sequence[float]] | None = None


@dataclass(frozen=True)
class Proposal:
    """How many cameras of each application are to run in which setting, and what is expected of that.

    `served` is the share of the cameras' frames that can be served; `latency` is in seconds, for the slowest
    camera, and `accuracy` for the worst. Without `reached` nothing that is known reaches the goal, and this
    takes least.
    """

    cameras: Mapping[str, Sequence[tuple[Setting, int]]]
    served: float
    latency: float
    accuracy: float | None
    reached: bool = True


def proposal(
    graph: Graph,
    situation: Situation,
    costs: Mapping[Setting, Cost],
    *,
    cores: float,
    headroom: float = 0.0,
    strategy: str = "flowedge",
) -> Proposal:
    """How the cameras of a graph should run with so many cores, by the goal of the graph.

    `costs` are the settings to choose from, that of the situation among them. The share `headroom` (0..1) of
    the latency goal is not planned with. Where the goal names no accuracy and settings differ in it, the best
    accuracy within the latency is sought; else what takes least. Raises `ConfigError` for an unknown strategy.
    """
    limit = (
        units.seconds(graph.goal.latency, "Goal.latency") * (1 - headroom) if graph.goal.latency else math.inf
    )
    stretch = _Queue.of(situation, costs).stretch
    for served in RATES:
        work = _most_work(situation, costs, limit, served)
        if work is None:
            continue
        rate = served * sum(sum(rates) for rates in situation.rates.values())
        given = _problem(
            graph,
            situation,
            costs,
            _services(situation, costs, served),
            min(cores, 1.001 * rate * work / MARGIN),
            served,
        )
        limits = (
            replace(application, latency=application.latency * (1 - headroom) / stretch)
            for application in given.applications
        )
        done = solved(replace(given, applications=tuple(limits)), strategy)
        if done.found:
            return _proposed(done, situation, costs, served)
    return _least(situation, costs)


@dataclass(frozen=True)
class Expected:
    """What is expected of a mix of settings: nearly all frames take `latency` seconds at most, and the operator
    that takes longest works for `busy` of every second, above 1 where it cannot serve all frames."""

    latency: float
    busy: float


def expected(situation: Situation, costs: Mapping[Setting, Cost], mix: Mapping[Setting, float]) -> Expected:
    """What is to be expected if the shares `mix` (0..1, by setting) of the cameras had these settings.

    The measured latency is taken apart into work, `stretch` times what operators take, and waiting, a `share`
    of what the queue in front of the slowest operator lets expect; both are kept.
    """
    now = _Queue.of(situation, costs)
    work, before = _mixed(costs, mix), _mixed(costs, situation.mix or {situation.setting: 1.0})
    service = _scaled(situation.service, work, before)
    total, slowest = sum(service.values()), max(service.values(), default=0.0)
    return Expected(
        now.stretch * total + now.share * _wait(slowest, situation.rates),
        slowest * sum(sum(rates) for rates in situation.rates.values()),
    )


@dataclass(frozen=True)
class _Queue:
    """What a measured latency consists of, see `expected`."""

    stretch: float
    share: float

    @classmethod
    def of(cls, situation: Situation, costs: Mapping[Setting, Cost]) -> _Queue:
        now = _mixed(costs, situation.mix or {situation.setting: 1.0})
        service = _scaled(situation.service, now, now)
        rates = situation.rates if situation.measured_rates is None else situation.measured_rates
        total, wait = sum(service.values()), _wait(max(service.values(), default=0.0), rates)
        if not total or situation.latency <= total:
            return cls(1.0, 0.0)
        if situation.latency < total + wait:
            return cls(1.0, (situation.latency - total) / wait)
        return cls((situation.latency - wait) / total, 1.0)


def _wait(service: float, rates: Mapping[str, Sequence[float]]) -> float:
    """The seconds that nearly all frames (95 %) wait at most for an operator of this service time.

    The tail of an M/D/1 queue falls exponentially, so that 95 % wait at most ln 20 times its mean,
    s rho / (2 (1 - rho)) (Pollaczek-Khinchine). But periodic cameras wait for one frame of each other at most,
    and no longer than until their own next frame, which takes their place.
    """
    every = [rate for camera in rates.values() for rate in camera]
    busy = service * sum(every)
    longest = min((len(every) - 1) * service, 1 / max(min(every), 1e-9)) if every else 0.0
    return longest if busy >= 1 else min(longest, TAIL * service * busy / (2 * (1 - busy)))


def _mixed(costs: Mapping[Setting, Cost], mix: Mapping[Setting, float]) -> dict[str, float]:
    """Core-seconds a frame by operator, in the mean of a mix of settings."""
    work: dict[str, float] = defaultdict(float)
    for setting, share in mix.items():
        for name, seconds in costs[setting].work.items():
            work[name] += share * seconds
    return dict(work)


def _scaled(
    service: Mapping[str, float], work: Mapping[str, float], before: Mapping[str, float]
) -> dict[str, float]:
    """Seconds a frame by operator: those measured, in proportion to the work, and the work where none were."""
    return {
        name: service[name] * (work.get(name, 0.0) / before[name] if before.get(name) else 1.0)
        if name in service
        else work[name]
        for name in service.keys() | work.keys()
    }


def _most_work(
    situation: Situation, costs: Mapping[Setting, Cost], limit: float, served: float
) -> float | None:
    """The most core-seconds a frame that keep a latency (s) with this share of the frames; None where none do.

    Looked for among mixes of two settings that follow one another in what they take.
    """
    cameras = sum(map(len, situation.rates.values()))
    order = sorted(costs, key=lambda setting: sum(costs[setting].work.values()))

    def keeps(mix: Mapping[Setting, float]) -> bool:
        come = expected(situation, costs, mix)
        return come.latency <= limit and come.busy * served <= FULL

    most = None
    for place, setting in enumerate(order):
        if keeps({setting: 1.0}):
            most = place
    if most is None:
        return None
    best = {order[most]: 1.0}
    for count in range(1, cameras if most + 1 < len(order) else 1):
        mix = {order[most]: 1 - count / cameras, order[most + 1]: count / cameras}
        if keeps(mix):
            best = mix
    return sum(_mixed(costs, best).values())


def _services(situation: Situation, costs: Mapping[Setting, Cost], served: float) -> tuple[Service, ...]:
    """What operators take in every setting: the seconds measured, in proportion to their work.

    An operator has the share of the cores that one camera needs: the plan has as many of them as cameras.
    """
    now = _mixed(costs, situation.mix or {situation.setting: 1.0})
    rate = served * max(max(rates) for rates in situation.rates.values() if rates)
    return tuple(
        Service(name, HERE, rate * work / MARGIN, max(seconds, 1e-6), setting=setting, work=work)
        for setting, cost in costs.items()
        for name, seconds in _scaled(situation.service, cost.work, now).items()
        if (work := cost.work.get(name, seconds)) > FREE_SECONDS
    )


def _problem(
    graph: Graph,
    situation: Situation,
    costs: Mapping[Setting, Cost],
    services: Sequence[Service],
    cores: float,
    served: float,
) -> Problem:
    """The planning problem of a graph on this machine alone."""
    accuracies = tuple(
        Accuracy(cost.accuracy, setting) for setting, cost in costs.items() if cost.accuracy is not None
    )
    cluster = Cluster((HERE,), (Node(HERE, HERE, HERE, cores),))
    cameras = [
        CameraClass(name, name, HERE, max(rates) * served, len(rates))
        for name, rates in situation.rates.items()
        if rates and max(rates) > 0
    ]
    profiled = {service.operator for service in services}
    free = [
        stage.name
        for application in applications(graph)
        for stage in application.stages
        if not stage.source and stage.name not in profiled
    ]
    made = problem(graph, cluster, Profiles(tuple(services), (), accuracies), cameras=cameras, assume_free=free)
    differ = len({accuracy.value for accuracy in accuracies}) > 1
    return replace(made, minimize="utility") if differ and graph.goal.accuracy is None else made


def _proposed(done: Planned, situation: Situation, costs: Mapping[Setting, Cost], served: float) -> Proposal:
    applied = {camera.name: camera.application for camera in done.problem.classes}
    counts: dict[str, Counter[Setting]] = defaultdict(Counter)
    total: Counter[Setting] = Counter()
    for route in done.plan.routes:
        counts[applied[route.camera_class]][route.setting] += route.cameras
        total[route.setting] += route.cameras
    cameras = {application: sorted(shares.items()) for application, shares in counts.items()}
    accuracies = [accuracy for accuracy in done.prediction.accuracies if accuracy is not None]
    come = expected(situation, costs, {setting: count / total.total() for setting, count in total.items()})
    return Proposal(cameras, served, come.latency, min(accuracies, default=None))


def _least(situation: Situation, costs: Mapping[Setting, Cost]) -> Proposal:
    setting = min(costs, key=lambda known: sum(costs[known].work.values()))
    cameras = {name: [(setting, len(rates))] for name, rates in situation.rates.items() if rates}
    come = expected(situation, costs, {setting: 1.0})
    return Proposal(cameras, RATES[-1], come.latency, costs[setting].accuracy, reached=False)
