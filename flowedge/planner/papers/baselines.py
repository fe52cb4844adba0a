"""What one would do without a planner: `cloud-only`, `edge-only`, `monolithic` and `random`.

All of them put one camera after the other on the first machines that have room, take the first setting that
reaches the accuracy and is in time, and know nothing of what a plan costs.
"""

from __future__ import annotations

import random
from collections import defaultdict
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TypeAlias

from flowedge.planner.model.checker import violations
from flowedge.planner.model.plan import Plan, Reason
from flowedge.planner.model.problem import CameraClass, Problem, Stage
from flowedge.planner.model.profiles import Service, Setting
from flowedge.planner.options.delays import Delays, path_delays
from flowedge.planner.options.offers import Offer, hosts, offers
from flowedge.planner.options.routes import Place, RouteOption, assemble, latency

Order: TypeAlias = Callable[[Stage, int | None, Sequence[int]], Sequence[int]]
"""The nodes to try for a stage, in order, by the stage, the node of its first input and the able nodes."""

Attempts: TypeAlias = Callable[[CameraClass], Iterator[Order]]
"""For a camera, the orders to try one after the other until it has a place."""

_DRAWS = 10
_LEVELS = 3  # of `offers`, from the fullest


def cloud_only(problem: Problem, start: Plan | None = None) -> Plan:  # noqa: ARG001
    """Everything but the sources in the last tier, as far as pins allow."""
    return _Filler(problem, "cloud-only").plan(_in_tier(problem, problem.cluster.tiers[-1]))


def edge_only(problem: Problem, start: Plan | None = None) -> Plan:  # noqa: ARG001
    """Everything in the first tier, as near to the camera as there is room, as far as pins allow."""
    return _Filler(problem, "edge-only").plan(_in_tier(problem, problem.cluster.tiers[0]))


def monolithic(problem: Problem, start: Plan | None = None) -> Plan:  # noqa: ARG001
    """All stages of a camera on the nearest node that has room for them all; sources and pins stay."""

    def attempts(camera: CameraClass) -> Iterator[Order]:
        for node in _nearest(problem, camera, range(len(problem.cluster.nodes))):
            yield lambda stage, _, able, node=node: (  # type: ignore[misc]
                able if stage.source else _nearest(problem, camera, able) if stage.tier else {node} & set(able)
            )

    return _Filler(problem, "monolithic").plan(attempts)


def random_placement(problem: Problem, start: Plan | None = None, *, seed: int = 0) -> Plan:  # noqa: ARG001
    """Every stage of a camera on any machine with room, drawn again some times where that is too late."""
    rng = random.Random(seed)

    def attempts(camera: CameraClass) -> Iterator[Order]:  # noqa: ARG001
        for _ in range(_DRAWS):
            yield lambda _, __, able: rng.sample(able, len(able))

    return _Filler(problem, "random").plan(attempts)


def _in_tier(problem: Problem, tier: str) -> Attempts:
    def attempts(camera: CameraClass) -> Iterator[Order]:
        def order(stage: Stage, before: int | None, able: Sequence[int]) -> Sequence[int]:
            in_tier = [node for node in able if stage.tier or problem.cluster.nodes[node].tier == tier]
            if stage.source:
                return able
            near = _nearest(problem, camera, in_tier)
            return [before, *near] if before in in_tier else near

        yield order

    return attempts


def _nearest(problem: Problem, camera: CameraClass, able: Sequence[int]) -> list[int]:
    delays = problem.cluster.delays(camera.node)
    return sorted(able, key=lambda node: float(delays[node]))


@dataclass
class _Filler:
    """Puts cameras on machines, and knows what these have left: a node is full when its shares add up to 1."""

    problem: Problem
    name: str
    used: dict[int, float] = field(default_factory=lambda: defaultdict(float))
    served: dict[tuple[int, Offer], tuple[float, int]] = field(default_factory=dict)
    able: dict[tuple[str, str, Setting], dict[int, list[Service]]] = field(default_factory=dict)

    def plan(self, attempts: Attempts) -> Plan:
        problem = self.problem
        delays = path_delays(problem.cluster, problem.certainty)
        chosen: list[tuple[RouteOption, int]] = []
        for camera in problem.classes:
            for _ in range(camera.count):
                column = self._camera(camera, attempts, delays)
                if column is None:
                    why = f"{self.name} finds no place for every camera of {camera.name} within its goals"
                    return Plan(self.name, reason=Reason((why,), proven=False))
                chosen.append((column, 1))
        plan = assemble(problem, self.name, chosen)
        broken = violations(problem, plan)
        return Plan(self.name, reason=Reason(broken, proven=False)) if broken else plan

    def _camera(self, camera: CameraClass, attempts: Attempts, delays: Delays) -> RouteOption | None:
        problem = self.problem
        application = problem.application(camera.application)
        settings = [
            chosen
            for chosen in application.settings()
            if (problem.profiles.accuracy(chosen) or 0.0) >= application.accuracy
        ]
        for order in attempts(camera):
            for chosen in settings:
                for level in range(_LEVELS):
                    column = self._column(camera, chosen, order, level)
                    if column and latency(problem, application, column, delays) <= application.latency:
                        return column
                    if column:
                        self._change(camera, column, -1)
        return None

    def _column(self, camera: CameraClass, chosen: Setting, order: Order, level: int) -> RouteOption | None:
        """The way of one more camera, which then has its room; None where there is none."""
        problem, nodes = self.problem, self.problem.cluster.nodes
        at: dict[str, int] = {}
        places: list[Place] = []
        for stage in problem.application(camera.application).stages:
            before = at[stage.inputs[0]] if stage.inputs else None
            if before is not None and problem.follows_input(stage):
                place: Place | None = Place(stage.name, nodes[before].name)
            else:
                able = self._able(camera, stage, chosen)
                ordered = order(stage, before, list(able))
                place = self._place(camera, stage, {node: able[node] for node in ordered}, level)
            if place is None:
                self._change(camera, RouteOption(camera.name, chosen, tuple(places)), -1)
                return None
            self._change(camera, RouteOption(camera.name, chosen, (place,)), 1)
            at[stage.name] = problem.cluster.index[place.node]
            places.append(place)
        return RouteOption(camera.name, chosen, tuple(places))

    def _able(self, camera: CameraClass, stage: Stage, chosen: Setting) -> dict[int, list[Service]]:
        key = camera.name, stage.name, chosen
        if key not in self.able:
            services: dict[int, list[Service]] = defaultdict(list)
            for node, service in hosts(self.problem, camera, stage, chosen):
                services[node] += [service] if service else []
            self.able[key] = dict(services)
        return self.able[key]

    def _place(
        self, camera: CameraClass, stage: Stage, able: Mapping[int, Sequence[Service]], level: int
    ) -> Place | None:
        nodes, rate = self.problem.cluster.nodes, self.problem.rates[camera.name]
        if stage.singleton:  # where it runs already
            level = 0
            running = [key for key, (_, streams) in self.served.items() if streams]
            once = [(node, offer.service) for node, offer in running if offer.service.operator == stage.name]
            able = {node: [service] for node, service in once} or able
        for node, services in able.items():
            if self.problem.profiles.free(stage.name):
                return Place(stage.name, nodes[node].name)
            for service in services:
                offer = offers(self.problem, service)[level]
                late = stage.keyed and rate > offer.load
                if not late and self.used[node] + self._more(node, offer, rate, 1) <= 1 + 1e-9:
                    return Place(stage.name, nodes[node].name, offer)
        return None

    def _change(self, camera: CameraClass, column: RouteOption, cameras: int) -> None:
        rate = self.problem.rates[camera.name] * cameras
        for place in column.places:
            if place.offer is not None:
                node = self.problem.cluster.index[place.node]
                self.used[node] += self._more(node, place.offer, rate, cameras)
                load, streams = self.served.get((node, place.offer), (0.0, 0))
                self.served[node, place.offer] = load + rate, streams + cameras

    def _more(self, node: int, offer: Offer, rate: float, cameras: int) -> float:
        """The share of a node that so much more load takes there."""
        load, streams = self.served.get((node, offer), (0.0, 0))
        before = offer.replicas(load, streams) if streams else 0
        after = offer.replicas(load + rate, streams + cameras) if streams + cameras else 0
        return (after - before) * offer.service.share_of(self.problem.cluster.nodes[node])
