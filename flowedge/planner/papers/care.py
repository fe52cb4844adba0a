"""CARE: the least instances, cores and GPUs that reach quality and latency, found by deploying and measuring.

Calagna, Ravera and Chiasserini 2026, "Orchestrating Composite Applications at the Edge" (NOMS), section III.
For each camera it looks for one (x, c, g): x is the setting, and settings are tried in order of their knob
`tiles`; every instance of an operator gets c cores, and a GPU if g. An operator without a profile for c cores
gets the next fewer that it has a profile for, or the fewest of all. Where CARE deploys and measures, `measure`
looks the figures up in the profiles; every call of it counts as a deployment tried, which is the price of the
search.

`care` is the listing of the paper with its indentation mended (an instance may go to every server, the
application is deployed when all its instances are placed) and with an end, where x or c have none.
`care_literal` is the listing as printed. `care_exhaustive` looks for the least energy among all (x, c, g).
None of them shares an instance between cameras. `shared` chooses what a GPU is: whole for each instance, as in
the paper's constraint (4), or shared as in its text, by the largest profiled share of which there are enough;
`care_shared` is `care` with the latter.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field, replace
from typing import TypeAlias

from flowedge.planner.model.checker import violations
from flowedge.planner.model.cluster import Node
from flowedge.planner.model.plan import Plan, Reason
from flowedge.planner.model.problem import Application, CameraClass, Problem, Stage
from flowedge.planner.model.profiles import Service, Setting
from flowedge.planner.options.delays import Delays, path_delays
from flowedge.planner.options.offers import Offer
from flowedge.planner.options.routes import Place, RouteOption, assemble, latency
from flowedge.values import Scalar


def care(problem: Problem, start: Plan | None = None, *, shared: bool = False) -> Plan:  # noqa: ARG001
    """The first (x, c, g) that holds, by the mended greedy."""
    return _planned(problem, "care", shared, _greedy)


def care_shared(problem: Problem, start: Plan | None = None) -> Plan:  # noqa: ARG001
    """The mended greedy with GPUs that instances share."""
    return _planned(problem, "care-shared", True, _greedy)


def care_literal(problem: Problem, start: Plan | None = None, *, shared: bool = False) -> Plan:  # noqa: ARG001
    """What the printed listing returns, and no plan where it does not end or its instances do not all fit.

    It looks at no server but the first, gives up where no server has a GPU, and deploys as soon as one of the
    x instances is placed.
    """
    return _planned(problem, "care-literal", shared, _literal)


def care_exhaustive(
    problem: Problem,
    start: Plan | None = None,  # noqa: ARG001
    *,
    shared: bool = False,
    pruned: bool = True,
) -> Plan:
    """The (x, c, g) of the least value for each camera.

    The quality of an x is measured once. `pruned`: with x and g fixed, cores are added only until the latency
    is reached, because more of them take more energy (and resources, and cost), as the paper says; that is so
    wherever they do not speed an instance up by more than their number. Else every c is tried.
    """
    return _planned(problem, "care-exhaustive", shared, _pruned if pruned else _every)


def measure(problem: Problem, column: RouteOption, delays: Delays) -> tuple[float, float]:
    """Quality (0..1) and latency (seconds) of a camera's application, deployed as the column says.

    The latency is infinite where an instance with state cannot keep up with the camera.
    """
    camera = next(camera_class for camera_class in problem.classes if camera_class.name == column.camera_class)
    application = problem.application(camera.application)
    keyed = {stage.name for stage in application.stages if stage.keyed}
    slow = any(
        place.offer and place.stage in keyed and problem.rates[camera.name] > place.offer.load * (1 + 1e-9)
        for place in column.places
    )
    quality = problem.profiles.accuracy(column.setting) or 0.0
    return quality, math.inf if slow else latency(problem, application, column, delays)


@dataclass(frozen=True, slots=True)
class _Choice:
    """One (x, c, g)."""

    setting: Setting
    cores: float
    gpu: bool


_NONE = "no number of tiles, cores and GPUs that fits reaches quality and latency"

_Search: TypeAlias = "Callable[[_Testbed, CameraClass], RouteOption | str]"
"""Finds the column of one more camera, or says why there is none."""


def _planned(problem: Problem, name: str, shared: bool, search: _Search) -> Plan:
    testbed = _Testbed(problem, shared)
    chosen: list[tuple[RouteOption, int]] = []
    for camera in problem.classes:
        testbed.failed.clear()
        testbed.poor.clear()
        for _ in range(camera.count):
            column = search(testbed, camera)
            if isinstance(column, str):
                return Plan(
                    name, tried=testbed.tried, reason=Reason((f"{camera.name}: {column}",), proven=False)
                )
            testbed.commit(camera, column)
            chosen.append((column, 1))
    plan = replace(assemble(problem, name, chosen), tried=testbed.tried)
    broken = violations(problem, plan)
    return Plan(name, tried=testbed.tried, reason=Reason(broken, proven=False)) if broken else plan


def _literal(testbed: _Testbed, camera: CameraClass) -> RouteOption | str:
    goal = testbed.problem.application(camera.application)
    for setting in testbed.settings_by_tiles(goal):
        good = True
        for gpu in (False, True):
            if not good:
                break
            if not any(cores >= 1 and gpus >= gpu for cores, gpus, _ in testbed.left.values()):
                return f"the listing ends, since no server has a {'GPU' if gpu else 'core'} left"
            for choice in testbed.escalation(goal, setting, rows=(gpu,)):
                column = testbed.place(camera, choice, literal=True)
                if column is None:
                    break
                quality, seconds = testbed.measure(column)
                good = quality >= goal.accuracy
                if not good:
                    break
                if seconds <= goal.latency:
                    whole = testbed.place(camera, choice)
                    return whole or "the listing ends when one instance is placed, but they do not all fit"
    return "the listing does not end: it goes on with ever more tiles"


def _pruned(testbed: _Testbed, camera: CameraClass) -> RouteOption | str:
    goal = testbed.problem.application(camera.application)
    rows = (
        testbed.escalation(goal, setting, rows=(gpu,))
        for setting in testbed.settings_by_tiles(goal)
        for gpu in (False, True)
    )
    return _least(testbed, (_fewest_cores(testbed, camera, row) for row in rows))


def _every(testbed: _Testbed, camera: CameraClass) -> RouteOption | str:
    goal = testbed.problem.application(camera.application)
    choices = (
        choice for setting in testbed.settings_by_tiles(goal) for choice in testbed.escalation(goal, setting)
    )
    return _least(testbed, (_fewest_cores(testbed, camera, [choice]) for choice in choices))


def _least(testbed: _Testbed, columns: Iterator[RouteOption | None]) -> RouteOption | str:
    """The column of the least value."""
    deployable = [column for column in columns if column is not None]
    return min(deployable, key=lambda column: assemble(testbed.problem, "", [(column, 1)]).value, default=_NONE)


def _greedy(testbed: _Testbed, camera: CameraClass) -> RouteOption | str:
    goal = testbed.problem.application(camera.application)
    for setting in testbed.settings_by_tiles(goal):
        column = _fewest_cores(testbed, camera, testbed.escalation(goal, setting))
        if column is not None:
            return column
    return _NONE


def _fewest_cores(testbed: _Testbed, camera: CameraClass, escalation: list[_Choice]) -> RouteOption | None:
    """The first of one setting's choices that can be placed and, deployed, reaches quality and latency."""
    goal = testbed.problem.application(camera.application)
    for choice in escalation:
        if choice in testbed.failed or choice.setting in testbed.poor:
            continue
        column = testbed.place(camera, choice)
        if column is None:
            continue
        quality, seconds = testbed.measure(column)
        if quality < goal.accuracy:
            testbed.poor.add(choice.setting)
            return None
        if seconds <= goal.latency:
            return column
        testbed.failed.add(choice)
    return None


@dataclass
class _Testbed:
    """The cluster with what is left of it, and the count of deployments tried.

    `failed` and `poor` (in quality) is what further cameras of a class need not try again.
    """

    problem: Problem
    shared: bool
    tried: int = 0
    failed: set[_Choice] = field(default_factory=set)
    poor: set[Setting] = field(default_factory=set)

    def __post_init__(self) -> None:
        cluster = self.problem.cluster
        self.delays = path_delays(cluster, self.problem.certainty)
        self.left = {node.name: (node.cores, node.gpu, node.memory) for node in cluster.nodes}
        self._once: dict[str, Place] = {}

    def settings_by_tiles(self, application: Application) -> list[Setting]:
        """All settings, in order of their tiles."""
        return sorted(application.settings(), key=lambda chosen: _number(dict(chosen).get("tiles")))

    def escalation(
        self, application: Application, setting: Setting, rows: tuple[bool, ...] = (False, True)
    ) -> list[_Choice]:
        """Without a GPU and then with one, the numbers of cores that there are profiles for."""
        return [
            _Choice(setting, cores, gpu) for gpu in rows for cores in self._levels(application, setting, gpu)
        ]

    def measure(self, column: RouteOption) -> tuple[float, float]:
        """Quality and latency, for the price of a deployment."""
        self.tried += 1
        return measure(self.problem, column, self.delays)

    def place(self, camera: CameraClass, choice: _Choice, *, literal: bool = False) -> RouteOption | None:
        """Every instance on the first server with room, most GPUs and then most cores first.

        Literal: on the first server, whether it has room or not for more than the first instance.
        """
        for share in self._shares(camera, choice):
            column = self._placed(camera, choice, share, literal)
            if column is not None:
                return column
        return None

    def commit(self, camera: CameraClass, column: RouteOption) -> None:
        """Take what the column needs for one camera."""
        for place in column.places:
            if place.offer is not None and place.stage not in self._once:
                self.left[place.node] = self._after(self.left[place.node], camera, place.offer)
        singletons = {stage.name for stage in self._application(camera).stages if stage.singleton}
        self._once |= {place.stage: place for place in column.places if place.stage in singletons}

    def _placed(self, camera: CameraClass, choice: _Choice, share: float, literal: bool) -> RouteOption | None:
        remaining = dict(self.left)
        order = sorted(
            self.problem.cluster.nodes, key=lambda node: (-remaining[node.name][1], -remaining[node.name][0])
        )
        at: dict[str, Place] = {}
        placed = False
        for stage in self._application(camera).stages:
            if stage.source:
                able = [self.problem.cluster[camera.node]]
            elif self.problem.follows_input(stage):
                able = [self.problem.cluster[at[stage.inputs[0]].node]]
            else:
                able = [node for node in order if stage.tier in (None, node.tier)]
            for place in self._places(stage, choice, share, able):
                if place.offer is None or stage.name in self._once:
                    break
                after = self._after(remaining[place.node], camera, place.offer)
                if min(after) >= -1e-9 or (literal and placed):
                    remaining[place.node] = after
                    placed = True
                    break
                if literal:
                    return None
            else:
                return None
            at[stage.name] = place
        return RouteOption(camera.name, choice.setting, tuple(at.values()))

    def _places(self, stage: Stage, choice: _Choice, share: float, able: list[Node]) -> Iterator[Place]:
        if stage.name in self._once:
            yield self._once[stage.name]
            return
        for node in able:
            if self.problem.profiles.free(stage.name):
                yield Place(stage.name, node.name)
                continue
            service = self._variant(stage, node, choice, share)
            if service is not None:
                load = self.problem.utilisation * service.rate
                yield Place(
                    stage.name, node.name, Offer(service, load, math.inf if stage.singleton else 1, 0.0)
                )

    def _variant(self, stage: Stage, node: Node, choice: _Choice, share: float) -> Service | None:
        """How a stage is served with so many cores, and this share of a GPU, on this kind of node."""
        services = self._known(stage, choice.setting, choice.gpu)
        return _closest(
            [service for service in services if service.kind == node.kind and service.gpu in (0.0, share)],
            choice.cores,
        )

    def _known(self, stage: Stage, setting: Setting, gpu: bool) -> list[Service]:
        """The services of a stage with or without a GPU; without one too where it knows none."""
        services = self.problem.profiles.services_of(stage.name, setting)
        return [service for service in services if gpu and service.gpu] or [
            service for service in services if not service.gpu
        ]

    def _levels(self, application: Application, setting: Setting, gpu: bool) -> list[float]:
        """Numbers of cores of which each makes a difference to some stage."""
        by_stage = [self._known(stage, setting, gpu) for stage in application.stages]
        if gpu and not any(service.gpu for services in by_stage for service in services):
            return []
        levels: dict[tuple[float, ...], float] = {}
        for cores in sorted({service.cores for services in by_stage for service in services}) or [0.0]:
            got = tuple(closest.cores for services in by_stage if (closest := _closest(services, cores)))
            levels.setdefault(got, cores)
        return list(levels.values())

    def _shares(self, camera: CameraClass, choice: _Choice) -> list[float]:
        """The profiled shares of a GPU that may be tried, from the largest; 0 without GPU."""
        if not choice.gpu:
            return [0.0]
        stages = self._application(camera).stages
        gpus = [service.gpu for stage in stages for service in self._known(stage, choice.setting, gpu=True)]
        shares = sorted({gpu for gpu in gpus if gpu}, reverse=True)
        return shares if self.shared else shares[:1]

    def _after(
        self, remaining: tuple[float, float, float], camera: CameraClass, offer: Offer
    ) -> tuple[float, float, float]:
        service = offer.service
        replicas = offer.replicas(self.problem.rates[camera.name], 1)
        gpu = service.gpu if self.shared else math.ceil(service.gpu)
        return (
            remaining[0] - replicas * service.cores,
            remaining[1] - replicas * gpu,
            remaining[2] - replicas * service.memory,
        )

    def _application(self, camera: CameraClass) -> Application:
        return self.problem.application(camera.application)


def _closest(able: list[Service], cores: float) -> Service | None:
    """The service with the most cores up to a number, else with the fewest."""
    enough = [service for service in able if service.cores <= cores]
    if enough:
        return max(enough, key=lambda service: (service.cores, -service.seconds))
    return min(able, key=lambda service: (service.cores, service.seconds), default=None)


def _number(value: Scalar) -> float:
    return float(value) if isinstance(value, (int, float)) else 0.0
