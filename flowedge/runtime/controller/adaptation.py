"""What a running graph should do about its goal: pure functions over what was measured.

Times in a running graph contain the contention of all its operators, and of other programs. So a setting that
does not run is predicted from one that does: an operator will take as much longer as its work (core-seconds a
frame) is more, and so will what waits in front of it. The plan itself is `flowedge.planner`'s, for a cluster
of this one machine.
"""

from __future__ import annotations

import itertools
from collections import Counter, defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

from flowedge.graph.graph import Graph
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


@dataclass(frozen=True)
class Cost:
    """What a setting takes: core-seconds a frame by operator, and its accuracy (0..1) if that is known."""

    work: Mapping[str, float]
    accuracy: float | None = None


@dataclass(frozen=True)
class Situation:
    """What was measured of a graph while it ran in one setting.

    `service` are seconds a frame by operator; `rates` the frames a second that every camera of an application
    produces; `latency` the seconds within which nearly all frames went from capture to sink.
    """

    setting: Setting
    service: Mapping[str, float]
    rates: Mapping[str, Sequence[float]]
    latency: float


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
    slowdown = _slowdown(situation, costs[situation.setting])
    for served in RATES:
        given = _problem(graph, situation, costs, _services(situation, costs, served), cores, served)
        limits = (
            replace(application, latency=application.latency * (1 - headroom) / slowdown)
            for application in given.applications
        )
        done = solved(replace(given, applications=tuple(limits)), strategy)
        if done.found:
            return _proposed(done, served, slowdown)
    return _least(situation, costs)


def _slowdown(situation: Situation, cost: Cost) -> float:
    """How much longer frames are on their way than operators work on them: they wait, and are held back."""
    service = sum(situation.service.get(name, 0.0) for name in cost.work)
    return max(1.0, situation.latency / service) if service else 1.0


def _services(situation: Situation, costs: Mapping[Setting, Cost], served: float) -> tuple[Service, ...]:
    """What operators take in every setting: the seconds measured, in proportion to their work.

    The services of an operator differ in their share of the cores: for one camera, for two, up to all.
    """
    now = costs[situation.setting].work
    rates = sorted((served * rate for rate in itertools.chain(*situation.rates.values())), reverse=True)
    services = []
    for setting, cost in costs.items():
        for name in situation.service.keys() | cost.work.keys():
            measured = situation.service.get(name)
            work = cost.work.get(name, measured) or 0.0
            longer = work / now[name] if now.get(name) else 1.0
            seconds = max(measured * longer if measured is not None else work, 1e-6)
            shares = [sum(rates[: count + 1]) * work / MARGIN for count in range(len(rates))]
            if work > FREE_SECONDS:
                services += [
                    Service(name, HERE, share, seconds, setting=setting, work=work) for share in shares
                ]
    return tuple(services)


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


def _proposed(done: Planned, served: float, slowdown: float) -> Proposal:
    applied = {camera.name: camera.application for camera in done.problem.classes}
    counts: dict[str, Counter[Setting]] = defaultdict(Counter)
    for route in done.plan.routes:
        counts[applied[route.camera_class]][route.setting] += route.cameras
    cameras = {application: sorted(shares.items()) for application, shares in counts.items()}
    accuracies = [accuracy for accuracy in done.prediction.accuracies if accuracy is not None]
    service = max(latency.service for latency in done.prediction.latencies)
    return Proposal(cameras, served, service * slowdown, min(accuracies, default=None))


def _least(situation: Situation, costs: Mapping[Setting, Cost]) -> Proposal:
    setting = min(costs, key=lambda known: sum(costs[known].work.values()))
    ratio = sum(costs[setting].work.values()) / max(sum(costs[situation.setting].work.values()), 1e-9)
    cameras = {name: [(setting, len(rates))] for name, rates in situation.rates.items() if rates}
    return Proposal(cameras, RATES[-1], situation.latency * ratio, costs[setting].accuracy, reached=False)
