"""What a running graph should do about its goal: pure functions over what was measured.

Times in a running graph contain the contention of all its operators, and of other programs. So a setting that
does not run is predicted from one that does (`expected`): an operator will take as much longer as its work
(core-seconds a frame) is more, the frames of the cameras go through such operators in a simulation
(`queueing`), and what that says is corrected by as much as it is wrong about the setting that runs. That
bounds the work that can be planned; the plan itself is `flowedge.planner`'s, for a cluster of this one machine.
"""

from __future__ import annotations

import bisect
import itertools
import math
from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace

from flowedge.graph.graph import Graph
from flowedge.planner.model import units
from flowedge.planner.model.applications import applications
from flowedge.planner.model.assemble import problem
from flowedge.planner.model.cluster import Cluster, Node
from flowedge.planner.model.problem import CameraClass, Problem
from flowedge.planner.model.profiles import FREE_SECONDS, Accuracy, Profiles, Service, Setting
from flowedge.planner.planning import Planned, solved
from flowedge.runtime.controller.queueing import Camera, Passed, Station, passed

HERE = "here"
"""The name, kind and tier of the machine that a graph runs on, in its plans."""

MARGIN = 0.8
"""The utilisation up to which cores are planned to be used; the planner's default."""

FULL = 0.95
"""The share of the time that the slowest operator may be planned to work: it works on one frame at a time."""

NEARLY_ALL = 0.95
"""The share of the frames whose latency is compared with the goal."""

LEAST_DELIVERED = 0.98
"""The share of the frames sent of which a plan expects that they are delivered."""

CORRECTION = (0.5, 3.0)
"""The least and most by which a simulated latency is corrected: a window with more than that is no queue."""


@dataclass(frozen=True)
class Cost:
    """What a setting takes: core-seconds a frame by operator, and its accuracy (0..1) if that is known."""

    work: Mapping[str, float]
    accuracy: float | None = None


@dataclass(frozen=True)
class Load:
    """The rates and phases of cameras, see `Situation`."""

    rates: Mapping[str, Sequence[float]]
    phases: Mapping[str, Sequence[float]]

    @classmethod
    def of(cls, cameras: Iterable[tuple[str, float, float]]) -> Load:
        """Of cameras with the application, the rate and the phase of each."""
        rates: dict[str, list[float]] = {}
        phases: dict[str, list[float]] = {}
        for application, rate, phase in cameras:
            rates.setdefault(application, []).append(rate)
            phases.setdefault(application, []).append(phase)
        return cls(rates, phases)


@dataclass(frozen=True)
class Situation:
    """What was measured of a graph while it ran in one setting.

    `service` are seconds a frame by operator, and `spread` equally likely factors of them; `rates` the frames a
    second that every camera of an application produces, and `phases` moments (s) at which frames of these were
    captured; `latency` the seconds within which nearly all frames went from capture to sink, `mean` those that
    they took in the mean (0 where that is not known), and `lost` the share (0..1) of the frames that did not
    come there. `cores` is how many cores all that kept busy, 0 where that is not known. Where cameras differ in
    their settings, `setting` is the commonest and `mix` has the shares (0..1) of all. Where cameras have come
    or gone since, `measured` are those with which the rest was measured.

    `stations` are those of the graph, by default one for each operator that took time; `goal` is the latency
    that its frames must keep or give way.
    """

    setting: Setting
    service: Mapping[str, float]
    rates: Mapping[str, Sequence[float]]
    latency: float
    mix: Mapping[Setting, float] = field(default_factory=dict)
    phases: Mapping[str, Sequence[float]] = field(default_factory=dict)
    spread: Mapping[str, Sequence[float]] = field(default_factory=dict)
    lost: float = 0.0
    mean: float = 0.0
    cores: float = 0.0
    stations: Sequence[Station] = ()
    goal: float = math.inf
    measured: Load | None = None

    @property
    def load(self) -> Load:
        """The cameras that there are now."""
        return Load(self.rates, self.phases)

    def with_load(self, load: Load) -> Situation:
        """The same measurements, where there are other cameras now."""
        return replace(self, rates=load.rates, phases=load.phases, measured=self.measured or self.load)


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
    costs = _calibrated(situation, costs)
    correction = _Correction.of(situation, costs)
    most = _most(situation, costs, limit, correction)
    if most is None:
        return _part(situation, costs, cores, limit)
    longest = max(_total(costs[setting]) for setting in most)
    usable = {setting: cost for setting, cost in costs.items() if _total(cost) <= longest}
    work = sum(_mixed(costs, most).values())
    rate = sum(map(sum, situation.rates.values()))
    services = [service for service in _services(situation, costs) if service.setting in usable]
    given = _problem(graph, situation, usable, services, min(cores, 1.001 * rate * work / MARGIN))
    # The latency has bounded the work: the planner's own waits know nothing of the phases of the cameras.
    free = tuple(replace(application, latency=math.inf) for application in given.applications)
    done = solved(replace(given, applications=free), strategy)
    return _proposed(done, situation, costs) if done.found else _part(situation, costs, cores, limit)


@dataclass(frozen=True)
class Expected:
    """What is expected of a mix of settings: nearly all frames take `latency` seconds at most, their mean is
    `mean`, the share `delivered` (0..1) of all is delivered, `in_time` within the goal, and the operator that
    takes longest works for `busy` of every second, above 1 where it cannot serve all frames."""

    latency: float
    mean: float
    delivered: float
    in_time: float
    busy: float


def expected(situation: Situation, costs: Mapping[Setting, Cost], mix: Mapping[Setting, float]) -> Expected:
    """What is to be expected if the shares `mix` (0..1, by setting) of the cameras had these settings."""
    return _expected(situation, costs, mix, _Correction.of(situation, costs), situation.goal)


def _expected(
    situation: Situation,
    costs: Mapping[Setting, Cost],
    mix: Mapping[Setting, float],
    correction: _Correction,
    goal: float,
) -> Expected:
    limit = goal / correction.most
    come = _simulated(situation, costs, mix, situation.load, limit)
    service = _service(situation, costs, _mixed(costs, mix))
    return Expected(
        correction.most * come.quantile(NEARLY_ALL),
        correction.mean * come.mean,
        come.delivered,
        come.delivered
        * bisect.bisect_right(come.latencies, goal / correction.most)
        / max(1, len(come.latencies)),
        max(service, default=0.0) * sum(map(sum, situation.rates.values())),
    )


@dataclass(frozen=True)
class _Correction:
    """By how much latencies are longer than simulated: the mean, and that which nearly all frames keep.

    The slowest of a few frames say little by themselves, so the latter is corrected by the geometric mean of
    what it and the mean say.
    """

    mean: float
    most: float

    @classmethod
    def of(cls, situation: Situation, costs: Mapping[Setting, Cost]) -> _Correction:
        """From what was measured."""
        mix = situation.mix or {situation.setting: 1.0}
        come = _simulated(situation, costs, mix, situation.measured or situation.load, situation.goal)
        most = _bounded(situation.latency / max(come.quantile(NEARLY_ALL), 1e-6))
        mean = _bounded(situation.mean / max(come.mean, 1e-6)) if situation.mean else most
        return cls(mean, math.sqrt(mean * most))


def _bounded(correction: float) -> float:
    least, most = CORRECTION
    return min(most, max(least, correction))


def _simulated(
    situation: Situation,
    costs: Mapping[Setting, Cost],
    mix: Mapping[Setting, float],
    load: Load,
    goal: float,
) -> Passed:
    services = [_service(situation, costs, costs[setting].work) for setting in mix]
    cameras: list[Camera] = []
    shares = list(itertools.accumulate(mix.values()))
    count = sum(map(len, load.rates.values()))
    for application, rates in load.rates.items():
        fed = [not station.sources or _source(application) in station.sources for station in _chain(situation)]
        for rate, phase in zip(rates, load.phases.get(application) or [0.0] * len(rates), strict=True):
            place = bisect.bisect_left(shares, (len(cameras) + 0.5) / count * shares[-1])
            service = services[min(place, len(services) - 1)]
            own = [seconds if comes else 0.0 for seconds, comes in zip(service, fed, strict=True)]
            cameras.append(Camera(rate, phase, own))
    chain = _chain(situation)
    spread = [_spread(situation, station) for station in chain]
    return passed(cameras, chain, spread=spread, goal=goal)


def _source(application: str) -> str:
    """The source in the name of an application of a graph with several."""
    return application.partition(".")[2]


def _chain(situation: Situation) -> Sequence[Station]:
    if situation.stations:
        return situation.stations
    return tuple(
        Station((name,), (index - 1,) if index else ()) for index, name in enumerate(sorted(situation.service))
    )


def _service(situation: Situation, costs: Mapping[Setting, Cost], work: Mapping[str, float]) -> list[float]:
    """Seconds a frame at each station."""
    now = _mixed(costs, situation.mix or {situation.setting: 1.0})
    service = _scaled(situation.service, work, now)
    return [sum(service.get(name, 0.0) for name in station.steps) for station in _chain(situation)]


def _spread(situation: Situation, station: Station) -> Sequence[float]:
    """The spread of the step that takes most of a station's time."""
    longest = max(station.steps, key=lambda name: situation.service.get(name, 0.0))
    return situation.spread.get(longest, ())


def _calibrated(situation: Situation, costs: Mapping[Setting, Cost]) -> Mapping[Setting, Cost]:
    """The costs with no more work than the run can have done with the cores that it kept busy.

    What was rehearsed beside a busy run had caches and cores taken away from it: up to 1.5 times the work.
    """
    load = situation.measured or situation.load
    rate = sum(map(sum, load.rates.values())) * (1 - situation.lost)
    work = rate * sum(_mixed(costs, situation.mix or {situation.setting: 1.0}).values())
    if not situation.cores or situation.cores >= work:
        return costs
    share = situation.cores / work
    return {
        setting: replace(cost, work={name: share * seconds for name, seconds in cost.work.items()})
        for setting, cost in costs.items()
    }


def _total(cost: Cost) -> float:
    """Core-seconds a frame."""
    return sum(cost.work.values())


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


def _most(
    situation: Situation, costs: Mapping[Setting, Cost], limit: float, correction: _Correction
) -> Mapping[Setting, float] | None:
    """The mix of settings that takes most and keeps a latency (s) with all frames; None where none does.

    Looked for among mixes of two settings that follow one another in what they take.
    """
    cameras = sum(map(len, situation.rates.values()))
    order = sorted(costs, key=lambda setting: _total(costs[setting]))

    def keeps(mix: Mapping[Setting, float]) -> bool:
        come = _expected(situation, costs, mix, correction, math.inf)
        return come.latency <= limit and come.delivered >= LEAST_DELIVERED and come.busy <= FULL

    most = None
    for place, setting in enumerate(order):
        if keeps({setting: 1.0}):
            most = place
    if most is None:
        return None
    if most + 1 == len(order):
        return {order[most]: 1.0}

    def mix_of(count: int) -> Mapping[Setting, float]:
        """The next setting for so many cameras."""
        return {order[most]: 1 - count / cameras, order[most + 1]: count / cameras}

    keeping, too_many = 0, cameras
    while too_many - keeping > 1:
        count = (keeping + too_many) // 2
        keeping, too_many = (count, too_many) if keeps(mix_of(count)) else (keeping, count)
    return mix_of(keeping) if keeping else {order[most]: 1.0}


def _services(situation: Situation, costs: Mapping[Setting, Cost]) -> tuple[Service, ...]:
    """What operators take in every setting: the seconds measured, in proportion to their work.

    An operator has the share of the cores that one camera needs: the plan has as many of them as cameras.
    """
    now = _mixed(costs, situation.mix or {situation.setting: 1.0})
    rate = max(max(rates) for rates in situation.rates.values() if rates)
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
) -> Problem:
    """The planning problem of a graph on this machine alone."""
    accuracies = tuple(
        Accuracy(cost.accuracy, setting) for setting, cost in costs.items() if cost.accuracy is not None
    )
    cluster = Cluster((HERE,), (Node(HERE, HERE, HERE, cores),))
    cameras = [
        CameraClass(name, name, HERE, max(rates), len(rates))
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


def _proposed(done: Planned, situation: Situation, costs: Mapping[Setting, Cost]) -> Proposal:
    applied = {camera.name: camera.application for camera in done.problem.classes}
    counts: dict[str, Counter[Setting]] = defaultdict(Counter)
    total: Counter[Setting] = Counter()
    for route in done.plan.routes:
        counts[applied[route.camera_class]][route.setting] += route.cameras
        total[route.setting] += route.cameras
    cameras = {application: sorted(shares.items()) for application, shares in counts.items()}
    accuracies = [accuracy for accuracy in done.prediction.accuracies if accuracy is not None]
    come = expected(situation, costs, {setting: count / total.total() for setting, count in total.items()})
    return Proposal(cameras, 1.0, come.latency, min(accuracies, default=None))


def _part(situation: Situation, costs: Mapping[Setting, Cost], cores: float, limit: float) -> Proposal:
    """What is best where not all frames can keep a latency (s): the setting that sees most in those that do.

    That is its accuracy times the share of the frames that it serves in time; what takes less counts as better
    where the accuracies are not known, or none comes in time.
    """
    rate = max(sum(map(sum, situation.rates.values())), 1e-9)
    bounded = replace(situation, goal=limit)
    come = {
        setting: expected(bounded, costs, {setting: 1.0})
        for setting in sorted(costs, key=lambda setting: _total(costs[setting]))
    }
    served = {
        setting: min(seen.in_time, MARGIN * cores / max(rate * _total(costs[setting]), 1e-9))
        for setting, seen in come.items()
    }
    known = all(cost.accuracy is not None for cost in costs.values())
    best = max(served, key=lambda one: served[one] * ((costs[one].accuracy or 0.0) if known else 1.0))
    cameras = {name: [(best, len(rates))] for name, rates in situation.rates.items() if rates}
    return Proposal(cameras, served[best], come[best].latency, costs[best].accuracy, served[best] > 0)
