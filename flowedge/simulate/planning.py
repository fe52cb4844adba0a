"""Simulation of cameras whose frames follow the routes of a plan, which a strategy makes again when needed.

Replicas of a deployment are the slots of one station with one queue. Replicas of a keyed operator are stations
of their own, each with its own cameras: cameras are assigned in order of their frame rates, the fastest first,
each to the replica with the least load. A station that a new plan has no more is sent no new frames, and serves
those that it has to the end.
"""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np

from flowedge.errors import ConfigError
from flowedge.planner.model.plan import Deployment, Plan, Route
from flowedge.planner.model.problem import CameraClass, Problem, Stage
from flowedge.planner.model.profiles import Service, Setting
from flowedge.simulate.arrivals import Arrivals
from flowedge.simulate.choosing import Chooser
from flowedge.simulate.core import LATE, LINK, NODE, REJECTED, SUCCESS, Core, Path, QueuedJob, Station
from flowedge.simulate.failures import FailureProcess
from flowedge.simulate.feed import RequestFeed
from flowedge.simulate.paths import Routing
from flowedge.simulate.results import Results, collect
from flowedge.simulate.scenario import PlanningLoop, Scenario


@dataclass(frozen=True, eq=False, slots=True)
class RouteStep:
    """One stage of a route: its node, its station (None where it costs nothing), how many inputs it waits for,
    the bytes of its output and the positions of the stages that take it. Where a policy dispatches its frames,
    `row` is its number there, and `before` the stage that they come from."""

    node: int
    station: Station | None
    inputs: int
    bytes: float
    takers: tuple[int, ...]
    row: int | None
    before: int


class CameraStream:
    """One camera: its class, and the steps that its frames take now; it sends one at a `credit` of 1."""

    __slots__ = ("application", "credit", "deadline", "of", "steps")

    def __init__(self, of: CameraClass, application: int, deadline: float) -> None:
        self.of = of
        self.application = application
        self.deadline = deadline
        self.credit = 0.0
        self.steps: tuple[RouteStep, ...] = ()


class FrameInFlight:
    """One frame on its way: nodes and stations of its steps, inputs that each still `lacks`, steps `left`."""

    __slots__ = ("born", "camera", "lacks", "left", "lost", "nodes", "number", "stations", "steps")

    def __init__(self, camera: CameraStream, born: float, number: int) -> None:
        self.camera = camera
        self.born = born
        self.number = number
        self.steps = camera.steps
        self.nodes = [step.node for step in camera.steps]
        self.stations = [step.station for step in camera.steps]
        self.lacks = [step.inputs for step in camera.steps]
        self.left = len(camera.steps)
        self.lost = False


class Planning:
    """A simulation with a strategy in the loop, given by its name. Raises `ConfigError`."""

    def __init__(self, scenario: Scenario, strategy: str) -> None:
        from flowedge.planner.strategies import STRATEGIES

        if strategy not in STRATEGIES:
            raise ConfigError(f"strategy {strategy!r} does not exist; there are {', '.join(STRATEGIES)}")
        if scenario.planned is None:
            raise ConfigError(f"{scenario.name}: has no [plan] for the strategy {strategy!r}")
        self.scenario = scenario
        self.name = strategy
        self.planned: PlanningLoop = scenario.planned
        self.notes: list[str] = []
        self.plan: Plan | None = None
        self.core = core = Core(scenario.cluster, scenario.duration, scenario.link_queue)
        core.served, core.lost, core.landed = self._served, self._lost, self._landed
        self._strategy = STRATEGIES[strategy]
        self._network = Routing(scenario.cluster, core.directions)
        self._chooser = None
        if self.planned.dispatch is not None:
            self._chooser = Chooser(core, self._network, scenario.cluster, self.planned.dispatch, scenario.seed)
        self._stations: dict[tuple[str, str, Service, int], Station] = {}
        self._keyed = {
            stage.name
            for application in self.planned.problem.applications
            for stage in application.stages
            if stage.keyed
        }
        self._cameras = _cameras(self.planned.problem, scenario.applications)
        self._arrivals = _arrivals(scenario, self.planned, self._cameras)
        self._feed = RequestFeed(core, self._arrivals, self._capture)
        self._frames = 0
        self._noise = np.random.default_rng([scenario.seed, 4]).standard_normal(_LUCK).tolist()
        self._failures = FailureProcess(scenario, core, self._learn)
        self._adopt(self._decide())
        if self.planned.every < scenario.duration:
            core.at(self.planned.every, self._again)

    def advance(self, until: float = math.inf) -> None:
        """Simulates up to a time; without one, until every frame has come to an end."""
        self._feed.advance(until)

    def results(self) -> Results:
        """What became of the frames."""
        chooser = self._chooser
        spent = (chooser.decisions, chooser.deciding) if chooser else (0, 0.0)
        return collect(self.scenario, self.name, self.core, *spent, tuple(self.notes))

    def _capture(self, number: int, *_: float) -> None:
        camera = self._cameras[number]
        load = self.planned.load
        camera.credit += float(load.at(np.array([self.core.now]))[0]) / load.peak
        if camera.credit < 1:
            return
        camera.credit -= 1
        if not camera.steps:
            self.core.tally.add(self.core.now, camera.application, NODE)
            return
        self._frames += 1
        frame = FrameInFlight(camera, self.core.now, self._frames)
        for position, step in enumerate(frame.steps):
            if not step.inputs:
                self._begin(frame, position)

    def _begin(self, frame: FrameInFlight, position: int) -> None:
        """A step has all of its inputs."""
        station = frame.stations[position]
        if station is None:
            self._after(frame, position)
        else:
            self.core.send(self._job(frame, position, 0.0), _HERE, station)

    def _job(self, frame: FrameInFlight, position: int, size: float) -> QueuedJob:
        camera = frame.camera
        luck = 2 * (frame.number * len(frame.steps) + position)
        return QueuedJob(
            (frame, position),
            camera.application,
            frame.born,
            frame.born + camera.deadline,
            size,
            1.0,
            self._noise[luck % _LUCK],
            self._noise[(luck + 1) % _LUCK],
            0.0,
        )

    def _after(self, frame: FrameInFlight, position: int) -> None:
        """A step has given its output, which goes on."""
        step = frame.steps[position]
        frame.left -= 1
        if not frame.left:
            latency = self.core.now - frame.born
            outcome = SUCCESS if latency <= frame.camera.deadline else LATE
            self.core.tally.add(frame.born, frame.camera.application, outcome, latency)
        here = frame.nodes[position]
        for node, positions in self._onward(frame, step, here).items():
            if node == here:
                self._arrive(frame, positions)
                continue
            job = self._job(frame, position, step.bytes)
            job.of = frame, positions
            path = self._network.path(here, node)
            if path is None:
                self._lost(job, LINK)
            else:
                self.core.transfer(job, path)

    def _onward(self, frame: FrameInFlight, step: RouteStep, here: int) -> dict[int, list[int]]:
        """Who takes a step's output, by node: each node is sent it once."""
        takers: dict[int, list[int]] = {}
        for taker in step.takers:
            row = frame.steps[taker].row
            if row is not None and self._chooser is not None:
                remaining = frame.born + frame.camera.deadline - self.core.now
                station = self._chooser.choose(here, row, remaining, step.bytes)
                if station is None:
                    self._lose(frame, REJECTED)
                    return {}
                frame.stations[taker], frame.nodes[taker] = station, station.node
            takers.setdefault(frame.nodes[taker], []).append(taker)
        return takers

    def _arrive(self, frame: FrameInFlight, positions: Sequence[int]) -> None:
        for position in positions:
            frame.lacks[position] -= 1
            if not frame.lacks[position]:
                self._begin(frame, position)

    def _landed(self, job: QueuedJob) -> None:
        frame, positions = job.of
        if not frame.lost:
            self._arrive(frame, positions)

    def _served(self, job: QueuedJob) -> None:
        frame, position = job.of
        step, station = frame.steps[position], job.station
        if self._chooser is not None and step.row is not None and station is not None:
            took = self.core.now - job.entered
            self._chooser.answered(frame.nodes[step.before], step.row, station, took, job.found)
        if not frame.lost:
            self._after(frame, position)

    def _lost(self, job: QueuedJob, outcome: int) -> None:
        self._lose(job.of[0], outcome)

    def _lose(self, frame: FrameInFlight, outcome: int) -> None:
        if not frame.lost:
            frame.lost = True
            self.core.tally.add(frame.born, frame.camera.application, outcome)

    def _learn(self) -> None:
        """Nodes or links have failed or recovered."""
        self._network.learn()
        if self._chooser is not None:
            self._chooser.learn()
        if self.planned.on_failure:
            self._replan()

    def _again(self, _: object) -> None:
        self._replan()
        due = self.core.now + self.planned.every
        if due < self.scenario.duration:
            self.core.at(due, self._again)

    def _replan(self) -> None:
        self.core.at(self.core.now + self.planned.switch, self._adopt, self._decide())

    def _decide(self) -> Plan:
        """A plan for what there is now: what has failed is left out, the load is that of the moment."""
        problem, failed = self.planned.problem, self._failures.nodes
        nodes = tuple(
            replace(node, kind=_FAILED) if failed[number] else node
            for number, node in enumerate(problem.cluster.nodes)
        )
        load = float(self.planned.load.at(np.array([self.core.now]))[0])
        now = replace(
            problem,
            cluster=replace(self._network.cluster, nodes=nodes),
            classes=tuple(
                replace(camera_class, fps=problem.rates[camera_class.name] * max(load, 1e-3))
                for camera_class in problem.classes
            ),
        )
        return self._strategy(now, self.plan)

    def _adopt(self, plan: Plan) -> None:
        """Puts a plan in force; where none was found, the old one stays."""
        when = f"{self.core.now:g} s"
        if plan.reason is not None:
            self.notes.append(f"{when}: no plan: {'; '.join(plan.reason.conflict)}")
            return
        self.notes.append(f"{when}: {len(plan.deployments)} deployments, value {plan.value:.4g}")
        self.plan = plan
        stations = [self._replicas(deployment) for deployment in plan.deployments]
        if self._chooser is not None:
            self._chooser.adopt(plan, [group[0] for group in stations])
        cameras = sorted(self._cameras, key=lambda camera: camera.of.name)
        routes = [
            route
            for route in sorted(plan.routes, key=lambda route: route.camera_class)
            for _ in range(route.cameras)
        ]
        rates = self.planned.problem.rates
        loads: dict[int, float] = defaultdict(float)
        steps_by_key: dict[tuple[int, ...], tuple[RouteStep, ...]] = {}
        pairs = sorted(zip(cameras, routes, strict=True), key=lambda pair: -rates[pair[0].of.name])
        for camera, route in pairs:
            chosen = {
                placement.deployment: min(
                    stations[placement.deployment], key=lambda station: loads[station.number]
                )
                for placement in route.placements
                if placement.deployment is not None
            }
            for station in chosen.values():
                loads[station.number] += rates[camera.of.name]
            key = id(route), *(station.number for station in chosen.values())
            if key not in steps_by_key:
                steps_by_key[key] = self._steps(route, chosen)
            camera.steps = steps_by_key[key]

    def _replicas(self, deployment: Deployment) -> list[Station]:
        """One station for all replicas, or one for each where cameras are bound to them."""
        if deployment.operator in self._keyed:
            return [self._station(deployment, number, 1) for number in range(deployment.replicas)]
        return [self._station(deployment, 0, deployment.replicas)]

    def _station(self, deployment: Deployment, replica: int, slots: int) -> Station:
        key = deployment.operator, deployment.node, deployment.service, replica
        if key not in self._stations:
            service = deployment.service
            node = self.scenario.cluster.index[deployment.node]
            number = len(self.core.stations)
            seconds = [service.seconds] * len(self.scenario.applications)
            name = f"{deployment.operator} on {deployment.node} #{number}"
            station = self._stations[key] = Station(name, node, number, seconds, service.deviation)
            station.batch = service.batch
            station.broken = self._failures.nodes[node]
            station.share = service.share_of(self.scenario.cluster.nodes[node])
            self.core.add(station)
        station = self._stations[key]
        self.core.widen(station, slots)
        return station

    def _row(self, stage: Stage, chosen: Setting) -> int | None:
        """The number of a stage whose frames a policy dispatches: one without state, with one input."""
        if self._chooser is None or stage.keyed or stage.singleton or len(stage.inputs) != 1:
            return None
        return self._chooser.row(stage.name, chosen)

    def _steps(self, route: Route, stations: Mapping[int, Station]) -> tuple[RouteStep, ...]:
        problem = self.planned.problem
        camera = next(
            camera_class for camera_class in problem.classes if camera_class.name == route.camera_class
        )
        application = problem.application(camera.application)
        placed = {placement.stage: placement for placement in route.placements}
        index = self.scenario.cluster.index
        nodes = {name: index[placement.node] for name, placement in placed.items()}
        names = [stage.name for stage in application.stages]
        steps = []
        for stage in application.stages:
            deployment = placed[stage.name].deployment
            steps.append(
                RouteStep(
                    nodes[stage.name],
                    None if deployment is None else stations[deployment],
                    len(stage.inputs),
                    problem.profiles.bytes_of(stage.name, route.setting),
                    tuple(
                        number
                        for number, consumer in enumerate(application.stages)
                        if stage.name in consumer.inputs
                    ),
                    self._row(stage, route.setting) if deployment is not None else None,
                    names.index(stage.inputs[0]) if stage.inputs else -1,
                )
            )
        return tuple(steps)


_LUCK = 99_991
"""Numbers drawn at first and used again and again; a prime, so that no camera meets the same ones each time."""
_HERE = Path((), 0.0, 0.0)
_FAILED = "failed"
"""A kind of node that no profile knows: nothing can be placed there."""


def _cameras(problem: Problem, applications: dict[str, int]) -> list[CameraStream]:
    cameras = []
    for camera_class in problem.classes:
        application = problem.application(camera_class.application)
        number = applications[application.name]
        cameras += [CameraStream(camera_class, number, application.latency) for _ in range(camera_class.count)]
    return cameras


def _arrivals(scenario: Scenario, planned: PlanningLoop, cameras: list[CameraStream]) -> Arrivals:
    """When cameras could send a frame at the greatest load, each with a phase of its own."""
    rng = np.random.default_rng([scenario.seed, 0])
    rates = np.array([planned.problem.rates[camera.of.name] * planned.load.peak for camera in cameras])
    nodes = tuple(scenario.cluster.index[camera.of.node] for camera in cameras)
    end = np.full(len(cameras), np.inf)
    first = rng.random(len(cameras)) / rates
    return Arrivals((), nodes, first, 1 / rates, end, (), scenario.duration, scenario.seed)
