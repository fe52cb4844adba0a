"""Random planning problems that are known to have a plan, by seed.

Each is built around a plan: cameras are put somewhere first, and then machines, links and goals are made so
that this holds. Machines are in three tiers; applications are chains with joins.
"""

from __future__ import annotations

import random
from collections import defaultdict
from dataclasses import dataclass, replace

from flowedge.planner.model.cluster import Cluster, Link, Node, Power
from flowedge.planner.model.plan import Plan
from flowedge.planner.model.prediction import predict
from flowedge.planner.model.problem import Application, CameraClass, Objective, Problem, Stage
from flowedge.planner.model.profiles import Accuracy, OutputSize, Profiles, Service, Setting
from flowedge.planner.options.delays import Delays, path_delays
from flowedge.planner.options.offers import Offer, hosts, offers
from flowedge.planner.options.routes import Place, RouteOption, assemble, latency

TIERS = ("edge", "fog", "cloud")


@dataclass(frozen=True, slots=True)
class MachineKind:
    """A sort of machine: its tier, seconds per unit of work on one core, cores, GPUs and memory."""

    tier: str
    slowness: float
    cores: float
    gpu: float
    memory: float
    power: Power
    price: float


KINDS = {
    "pi": MachineKind("edge", 3.0, 4, 0, 4e9, Power(2.5, 1.0), 0.02),
    "jetson": MachineKind("edge", 2.0, 6, 1, 8e9, Power(5, 1.5, 15), 0.08),
    "box": MachineKind("fog", 1.2, 16, 0, 32e9, Power(35, 5), 0.4),
    "station": MachineKind("fog", 1.0, 16, 1, 64e9, Power(60, 6, 120), 0.9),
    "xeon": MachineKind("cloud", 0.8, 64, 0, 256e9, Power(120, 5), 1.5),
    "accelerated": MachineKind("cloud", 0.8, 32, 4, 256e9, Power(200, 5, 250), 4.0),
}


def instance(
    seed: int, *, operators: int | None = None, nodes: int | None = None, shared: bool = True
) -> tuple[Problem, Plan]:
    """A problem of 3-12 operators and 3-50 nodes (or as many as are given), and a plan that solves it.

    The idle power of machines that are not `shared` is paid whole.
    """
    rng = random.Random(seed)
    count = operators or rng.randint(3, 12)
    machines, links = _machines(rng, nodes or rng.randint(3, 50))
    machines = tuple(replace(machine, power=replace(machine.power, shared=shared)) for machine in machines)
    cluster = Cluster(TIERS, machines, links)
    application = _application(rng, count)
    problem = Problem(
        cluster,
        (application,),
        _classes(rng, cluster),
        _profiles(rng, application),
        _objective(rng),
        theta=rng.choice((0.0, 0.2, 1.0)),
    )
    return _around(rng, problem, _planted(rng, problem))


def _machines(rng: random.Random, count: int) -> tuple[tuple[Node, ...], tuple[Link, ...]]:
    """Trees of edges under fogs under a chain of clouds, sometimes with links between fogs."""
    clouds = max(1, round(count * 0.08))
    fogs = max(1, round(count * 0.2))
    numbers = {"cloud": clouds, "fog": fogs, "edge": max(1, count - clouds - fogs)}
    names = {tier: [f"{tier}-{position}" for position in range(number)] for tier, number in numbers.items()}
    nodes = []
    for tier in TIERS:
        kinds = [name for name, kind in KINDS.items() if kind.tier == tier]
        for name in names[tier]:
            kind = rng.choice(kinds)
            host = KINDS[kind]
            nodes.append(Node(name, tier, kind, host.cores, host.gpu, host.memory, host.power, host.price))
    links = []
    for below, above, bandwidth, delay in (("edge", "fog", 1e8, 0.004), ("fog", "cloud", 1e9, 0.02)):
        for name in names[below]:
            scale = rng.uniform(0.5, 2)
            end = rng.choice(names[above])
            links.append(Link(name, end, bandwidth * scale, delay * rng.uniform(0.5, 2), delay * 0.1))
    for one, other in zip(names["cloud"], names["cloud"][1:], strict=False):
        links.append(Link(one, other, 1e10, 0.03, 0.002))
    if rng.random() < 0.3:
        links += [Link(*pair, 1e9, 0.003) for pair in zip(names["fog"], names["fog"][1:], strict=False)]
    return tuple(nodes), tuple(links)


def _application(rng: random.Random, count: int) -> Application:
    stages = [Stage("video", source=True)]
    for position in range(1, count):
        inputs = [stages[-1].name]
        if position > 1 and rng.random() < 0.2:
            inputs.append(rng.choice(stages[:-1]).name)
        stages.append(
            Stage(
                f"op{position}",
                tuple(inputs),
                keyed=rng.random() < 0.2,
                singleton=position == count - 1 and rng.random() < 0.1,
                tier=rng.choice(TIERS) if rng.random() < 0.1 else None,
            )
        )
    knobs = [("size", (320, 640, 960)[: rng.randint(1, 3)])]
    if rng.random() < 0.4:
        knobs.append(("model", ("n", "s")))
    return Application("app", tuple(stages), tuple(knobs))


def _classes(rng: random.Random, cluster: Cluster) -> tuple[CameraClass, ...]:
    edges = [node.name for node in cluster.nodes if node.tier == "edge"]
    return tuple(
        CameraClass(f"c{position}", "app", rng.choice(edges), rng.choice((5, 10, 15, 25)), rng.randint(1, 6))
        for position in range(rng.randint(1, 4))
    )


def _profiles(rng: random.Random, application: Application) -> Profiles:
    chosen = list(application.settings())
    services: list[Service] = []
    outputs = [OutputSize("video", rng.uniform(3e4, 1.2e5))]
    for stage in application.stages[1:]:
        if rng.random() < 0.15 and not stage.singleton:
            continue  # costs nothing
        work = 1e-4 if stage.singleton else 10 ** rng.uniform(-3, -1.7)
        scaled = rng.random() < 0.5 and not stage.singleton
        outputs.append(OutputSize(stage.name, 10 ** rng.uniform(2, 4.8)))
        for setting in chosen if scaled else [()]:
            services += _services(rng, stage.name, work * _scale(setting), setting)
    accuracies = [Accuracy(0.3 + 0.12 * _scale(setting) ** 0.5, setting) for setting in chosen]
    return Profiles(tuple(services), tuple(outputs), tuple(accuracies))


def _scale(chosen: Setting) -> float:
    knobs = dict(chosen)
    return (float(knobs.get("size") or 320) / 320) ** 1.5 * (2.0 if knobs.get("model") == "s" else 1.0)


def _services(rng: random.Random, operator: str, work: float, chosen: Setting) -> list[Service]:
    services = []
    memory = rng.uniform(1e8, 8e8)
    for kind, machine in KINDS.items():
        for cores in (1, 2, 4):
            seconds = work * machine.slowness * (0.2 + 0.8 / cores)
            services.append(
                Service(operator, kind, cores, seconds, deviation=0.2 * seconds, memory=memory, setting=chosen)
            )
        if machine.gpu and work > 5e-3:
            seconds = work * machine.slowness / 8
            services.append(Service(operator, kind, 1, seconds, gpu=0.5, memory=memory, setting=chosen))
    return [replace(service, source="random") for service in services]


def _objective(rng: random.Random) -> Objective:
    return rng.choice(("energy", "energy", "resources", "cost", "utility"))


def _planted(rng: random.Random, problem: Problem) -> list[tuple[RouteOption, int]]:
    """Cameras of each class in one or two lots, each put on random machines further and further from it."""
    application = problem.applications[0]
    delays = path_delays(problem.cluster, problem.certainty)
    alone: dict[str, tuple[int, Offer | None]] = {}
    chosen: list[tuple[RouteOption, int]] = []
    for camera in problem.classes:
        lots = [camera.count]
        if camera.count > 1 and rng.random() < 0.3:
            first = rng.randint(1, camera.count - 1)
            lots = [first, camera.count - first]
        for lot in lots:
            setting = rng.choice(list(application.settings()))
            places = _places(rng, problem, camera, setting, delays, alone)
            chosen.append((RouteOption(camera.name, setting, places), lot))
    return chosen


def _places(
    rng: random.Random,
    problem: Problem,
    camera: CameraClass,
    chosen: Setting,
    delays: Delays,
    alone: dict[str, tuple[int, Offer | None]],
) -> tuple[Place, ...]:
    index, nodes = problem.cluster.index, problem.cluster.nodes
    at: dict[str, int] = {}
    places = []
    for stage in problem.application(camera.application).stages:
        candidates = hosts(problem, camera, stage, chosen)
        before = at[stage.inputs[0]] if stage.inputs else index[camera.node]
        if candidates[0][1] is None and stage.tier is None:
            node, offer = before, None
        else:
            near = sorted({node for node, _ in candidates}, key=lambda other: delays.fixed[before, other])[:3]
            node = before if before in near and rng.random() < 0.6 else rng.choice(near)
            service = rng.choice([candidate for other, candidate in candidates if other == node])
            ways = (
                []
                if service is None
                else [way for way in offers(problem, service) if _carries(problem, camera, stage, way)]
            )
            offer = None if not ways else ways[0] if stage.singleton else rng.choice(ways)
        if stage.singleton:
            node, offer = alone.setdefault(stage.name, (node, offer))
        at[stage.name] = node
        places.append(Place(stage.name, nodes[node].name, offer))
    return tuple(places)


def _carries(problem: Problem, camera: CameraClass, stage: Stage, offer: Offer) -> bool:
    return not stage.keyed or problem.rates[camera.name] <= offer.load


def _around(
    rng: random.Random, problem: Problem, chosen: list[tuple[RouteOption, int]]
) -> tuple[Problem, Plan]:
    """The problem with machines, links and goals that let the chosen columns be."""
    plan = assemble(problem, "planted", chosen)
    need: dict[str, list[float]] = defaultdict(lambda: [0.0, 0.0, 0.0])
    for deployment in plan.deployments:
        for position, amount in enumerate(
            (deployment.service.cores, deployment.service.gpu, deployment.service.memory)
        ):
            need[deployment.node][position] += amount * deployment.replicas
    nodes = tuple(
        replace(
            node,
            cores=max(node.cores, need[node.name][0]),
            gpu=max(node.gpu, need[node.name][1]),
            memory=max(node.memory, need[node.name][2]),
        )
        for node in problem.cluster.nodes
    )
    flows = predict(problem, plan).arcs
    links = tuple(
        replace(link, bandwidth=max(link.bandwidth, 1.1 * max(flows.get(2 * at, 0), flows.get(2 * at + 1, 0))))
        for at, link in enumerate(problem.cluster.links)
    )
    problem = replace(problem, cluster=Cluster(problem.cluster.tiers, nodes, links))
    delays = path_delays(problem.cluster, problem.certainty)
    slowest = max(latency(problem, problem.applications[0], column, delays) for column, _ in chosen)
    accuracy = min(problem.profiles.accuracy(column.setting) or 0.0 for column, _ in chosen)
    goal = replace(
        problem.applications[0],
        latency=slowest * rng.uniform(1.02, 1.5),
        accuracy=accuracy if rng.random() < 0.7 else 0.0,
    )
    problem = replace(problem, applications=(goal,))
    return problem, assemble(problem, "planted", chosen)
