"""Prediction of what a plan does: load, latency with its parts, throughput, accuracy, energy.

The latency of a route is the longest path through its graph,

    sum(service + wait)  +  sum over arcs(delay + certainty x deviation + bits / bandwidth),

with the wait of `flowedge.planner.model.profiles.Service.mean_wait`.
"""

from __future__ import annotations

import itertools
from collections import defaultdict
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace

from flowedge.planner.model.cluster import Node
from flowedge.planner.model.plan import Plan, Route
from flowedge.planner.model.problem import Application, Problem
from flowedge.planner.model.profiles import Service, Setting


@dataclass(frozen=True, slots=True)
class Latency:
    """Seconds from capture to result along the slowest way, and where they go."""

    service: float = 0.0
    waiting: float = 0.0
    network: float = 0.0

    @property
    def total(self) -> float:
        return self.service + self.waiting + self.network

    def __add__(self, other: Latency) -> Latency:
        return Latency(self.service + other.service, self.waiting + other.waiting, self.network + other.network)


@dataclass(frozen=True, slots=True)
class Prediction:
    """Figures of a whole plan.

    `latencies` and `accuracies` belong to its routes. To its deployments belong `loads` (frames a second),
    `streams` (cameras), `utilisations` (0..1) and `waits` (mean seconds that a frame waits for a replica).
    `arcs` is the traffic on each arc that carries any, in bit/s by position in the cluster. `watts` is the
    energy per second, `shares` the sum of the reserved shares of nodes, `price` their cost for an hour.
    """

    latencies: tuple[Latency, ...]
    accuracies: tuple[float | None, ...]
    loads: tuple[float, ...]
    streams: tuple[int, ...]
    utilisations: tuple[float, ...]
    waits: tuple[float, ...]
    arcs: Mapping[int, float]
    throughput: float
    watts: float
    shares: float
    price: float
    value: float


def predict(problem: Problem, plan: Plan) -> Prediction:
    """The figures of a plan, whose names and counts are those of the problem (as the checker verifies)."""
    loads, streams = _loads(problem, plan)
    used = [
        load / (deployment.replicas * deployment.service.rate)
        for load, deployment in zip(loads, plan.deployments, strict=True)
    ]
    waits = [
        deployment.service.mean_wait(utilisation, deployment.replicas, cameras)
        for utilisation, cameras, deployment in zip(used, streams, plan.deployments, strict=True)
    ]
    latencies = tuple(_latency(problem, plan, route, waits) for route in plan.routes)
    accuracies = tuple(problem.profiles.accuracy(route.setting) for route in plan.routes)
    nodes = [problem.cluster[deployment.node] for deployment in plan.deployments]
    shares = [
        deployment.service.share_of(node) * deployment.replicas
        for node, deployment in zip(nodes, plan.deployments, strict=True)
    ]
    watts = sum(fixed_watts(node) for node in dict.fromkeys(nodes)) + sum(
        deployment.replicas * reserved_watts(node, deployment.service)
        + loads[index] * frame_joules(node, deployment.service)
        for index, (node, deployment) in enumerate(zip(nodes, plan.deployments, strict=True))
    )
    price = sum(node.price * share for node, share in zip(nodes, shares, strict=True))
    utility = sum(
        route.cameras * (problem.theta * latency.total - (accuracy or 0.0))
        for route, latency, accuracy in zip(plan.routes, latencies, accuracies, strict=True)
    )
    values = {"energy": watts, "resources": sum(shares), "cost": price, "utility": utility}
    return Prediction(
        latencies,
        accuracies,
        tuple(loads),
        tuple(streams),
        tuple(used),
        tuple(waits),
        _traffic(problem, plan),
        sum(route.cameras * problem.rates[route.camera_class] for route in plan.routes),
        watts,
        sum(shares),
        price,
        values[problem.minimize],
    )


def valued(problem: Problem, plan: Plan) -> Plan:
    """The plan with its `value` as predicted."""
    return replace(plan, value=predict(problem, plan).value)


def _loads(problem: Problem, plan: Plan) -> tuple[list[float], list[int]]:
    """Frames a second, and cameras, that each deployment serves."""
    loads, streams = [0.0] * len(plan.deployments), [0] * len(plan.deployments)
    for route in plan.routes:
        for placement in route.placements:
            if placement.deployment is not None:
                loads[placement.deployment] += route.cameras * problem.rates[route.camera_class]
                streams[placement.deployment] += route.cameras
    return loads, streams


def _latency(problem: Problem, plan: Plan, route: Route, waits: Sequence[float]) -> Latency:
    """The latency along the longest path of one route's graph."""
    stages = problem.application(problem.camera_classes[route.camera_class].application).stages
    position = {stage.name: at for at, stage in enumerate(stages)}
    placed = {placement.stage: placement for placement in route.placements}
    places = [placed[stage.name] for stage in stages]
    busy = [
        0.0 if placement.deployment is None else plan.deployments[placement.deployment].service.seconds
        for placement in places
    ]
    waiting = [0.0 if placement.deployment is None else waits[placement.deployment] for placement in places]
    sizes = [problem.profiles.bytes_of(stage.name, route.setting) for stage in stages]

    def sent(start: int, end: int) -> float:
        return path_seconds(problem, places[start].node, places[end].node, sizes[start])

    inputs = [[position[name] for name in stage.inputs] for stage in stages]
    own = [service + wait for service, wait in zip(busy, waiting, strict=True)]
    _, path = longest_path(inputs, own, sent)
    return Latency(
        sum(busy[stage] for stage in path),
        sum(waiting[stage] for stage in path),
        sum(sent(*pair) for pair in itertools.pairwise(path)),
    )


def longest_path(
    inputs: Sequence[Sequence[int]], own: Sequence[float], sent: Callable[[int, int], float]
) -> tuple[float, list[int]]:
    """Seconds until every stage of a graph is done, and the stages on the path that takes longest.

    By stage, in topological order, `inputs` are the positions of the stages before it, `own` what a frame
    spends there; `sent` gives the seconds from one stage's node to another's.

    >>> longest_path([[], [0], [0], [1, 2]], [0.0, 0.05, 0.03, 0.01], lambda start, end: 0.03 * (end == 2))
    (0.06999999999999999, [0, 2, 3])
    """
    done: list[float] = []
    before: list[int] = []
    for stage, names in enumerate(inputs):
        ready, last = 0.0, -1
        for name in names:
            came = done[name] + sent(name, stage)
            if last < 0 or came > ready:
                ready, last = came, name
        done.append(ready + own[stage])
        before.append(last)
    path = [max(range(len(done)), key=done.__getitem__)]
    while before[path[-1]] >= 0:
        path.append(before[path[-1]])
    return done[path[0]], path[::-1]


def path_seconds(problem: Problem, start: str, end: str, size: float) -> float:
    """Seconds that `size` bytes take along the path between two nodes."""
    path = problem.cluster.path(start, end)
    if path is None:
        return float("inf")
    arcs = (problem.cluster.arcs[index] for index in path)
    return sum(arc.delay + problem.certainty * arc.deviation + 8 * size / arc.bandwidth for arc in arcs)


def _traffic(problem: Problem, plan: Plan) -> dict[int, float]:
    """Bit/s on each arc that carries any."""
    flows: dict[int, float] = defaultdict(float)
    for route in plan.routes:
        application = problem.application(problem.camera_classes[route.camera_class].application)
        placed = {placement.stage: placement.node for placement in route.placements}
        for start, end, size in shipments(problem, application, placed, route.setting):
            for arc in problem.cluster.path(start, end) or ():
                flows[arc] += 8 * size * route.cameras * problem.rates[route.camera_class]
    return dict(flows)


def shipments(
    problem: Problem, application: Application, placed: Mapping[str, str], chosen: Setting
) -> list[tuple[str, str, float]]:
    """From where to where a frame's values go over the network, and their bytes.

    Two stages on one node that take the same output are sent it once.
    """
    sizes: dict[tuple[str, str, str], float] = {}
    for stage in application.stages:
        for name in stage.inputs:
            start, end = placed[name], placed[stage.name]
            size = problem.profiles.bytes_of(name, chosen)
            if start != end and size:
                sizes[name, start, end] = size
    return [(start, end, size) for (_, start, end), size in sizes.items()]


def fixed_watts(node: Node) -> float:
    """Watts of a node as soon as it has a replica: its idle power, unless others share the node."""
    return 0.0 if node.power.shared else node.power.idle


def reserved_watts(node: Node, service: Service) -> float:
    """Watts of a replica that has nothing to do: on a node that others share, its share of the idle power."""
    return node.power.idle * service.share_of(node) if node.power.shared else 0.0


def frame_joules(node: Node, service: Service) -> float:
    """Joules that a frame takes beyond the idle power."""
    on_gpu = service.gpu * node.power.gpu * service.seconds
    return (service.core_seconds * node.power.core + on_gpu) / service.batch


def fixed_cost(problem: Problem, node: Node) -> float:
    """What a node adds to the objective as soon as it has a replica."""
    return fixed_watts(node) if problem.minimize == "energy" else 0.0


def service_costs(problem: Problem, node: Node, service: Service) -> tuple[float, float]:
    """What a replica, and a frame beyond that, adds to the objective; latency and accuracy aside."""
    match problem.minimize:
        case "energy":
            return reserved_watts(node, service), frame_joules(node, service)
        case "resources":
            return service.share_of(node), 0.0
        case "cost":
            return node.price * service.share_of(node), 0.0
        case "utility":
            return 0.0, 0.0
