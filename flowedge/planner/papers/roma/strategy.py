"""ROMA: network, compute and performance allocated together, by a programme that knows how they are coupled.

Gholami et al. 2021, "ROMA: Resource Orchestration for Microservices-based 5G Applications", problem [P]:

    min  eta sum(y) - (1 - eta) p   subject to   f(y, p) <= y', capacities, one node for each function

There are three strategies. `roma` solves placement and allocation at once, with the coupling as a concave
surface. `roma_linear` is what the paper solves: a linear programme for a given placement, with two linear
couplings. `roma_static` is what the paper compares with.

Here y are the Mbit/s that a camera's stream is given and the shares of nodes that its stages are given, and p
is the accuracy. The couplings f are fitted to the settings in the profiles, each of which needs some network
and some compute and reaches an accuracy. Resources are normalised by the most that any setting needs; Mbit/s
cost something where they leave the camera's node.

From the amounts that the programme allocates, a plan is made with the setting of the best accuracy that needs
no more; where the coupling promised too much, with the next larger setting that reaches the accuracy wanted.

The paper does not define tau(y), the latency on resources y. Here it is work / y with y the cores of a replica,
which is the service time of its profile: the programme counts the quickest service of each stage, and the
checker judges the plan with the services that it really has.
"""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property
from itertools import islice, product
from typing import Literal, TypeAlias

import numpy as np

from flowedge.planner.exact.milp import IntegerProgramme, Term
from flowedge.planner.model.checker import violations
from flowedge.planner.model.cluster import Node
from flowedge.planner.model.plan import Plan, Reason
from flowedge.planner.model.prediction import path_seconds, valued
from flowedge.planner.model.problem import Application, CameraClass, Problem, Stage
from flowedge.planner.model.profiles import Service, Setting
from flowedge.planner.options.delays import path_delays
from flowedge.planner.options.offers import hosts, offers
from flowedge.planner.options.routes import Place, RouteOption, assemble, latency
from flowedge.planner.papers.baselines import cloud_only, edge_only
from flowedge.planner.papers.roma.allocation import ETA, Coupled, couple
from flowedge.planner.papers.roma.couplings import (
    Coupling,
    Floats,
    Linear,
    Points,
    Surface,
    linear,
    perceptron,
    support_vectors,
    surface,
    tabulated,
)

Kind: TypeAlias = Literal["surface", "linear", "svr", "mlp"]
"""Couplings: the last two, which need scikit-learn, by a surface over what the pair of them allows."""

_FITS: Mapping[str, Callable[..., Coupling]] = {"linear": linear, "svr": support_vectors, "mlp": perceptron}
_LOTS = 24  # cameras, or equal groups of them, that are allocated to one by one
_SHORT = 10.0  # price of accuracy that is missing
_SECONDS = 5.0
_MARGINS = (0.0, 0.05, 0.1, 0.2)  # more accuracy wanted where couplings promised too much to fit
_THRIFT = (0.3, 0.5, 0.7)  # then eta, so that the programme asks for less where whole replicas do not fit
_CANDIDATES = 30
_LEVELS = 10  # of each resource, at which a coupling is put into a table
_STEPS = 20  # in which the static allocation lowers its sights until all cameras fit


def roma(
    problem: Problem,
    start: Plan | None = None,  # noqa: ARG001
    *,
    eta: float = ETA,
    coupling: Kind = "surface",
) -> Plan:
    """Placement and allocation in one mixed-integer linear programme, with a concave surface."""
    lots = _lots(problem)
    return _allocated(problem, "roma", lots, coupling, eta)


def roma_linear(
    problem: Problem,
    start: Plan | None = None,
    *,
    eta: float = ETA,
    coupling: Kind = "linear",
) -> Plan:
    """The paper's linear programme: linear couplings, and the placement of `start`, else of a baseline."""
    lots = _lots_of(problem, _placement(problem, start))
    return _allocated(problem, "roma-linear", lots, coupling, eta)


def roma_static(problem: Problem, start: Plan | None = None) -> Plan:
    """The placement of `start`, else of a baseline; the best accuracy, and compute for the largest setting."""
    lots = _lots_of(problem, _placement(problem, start))
    if not lots:
        return _nothing("roma-static")
    orders = [np.argsort(-lot.demand.accuracy, kind="stable").tolist() for lot in lots]
    plan = _nothing("roma-static")
    for left_out in range(0, max(map(len, orders)), max(1, max(map(len, orders)) // _STEPS)):
        plan = _realised(problem, "roma-static", lots, [order[left_out:] or order[-1:] for order in orders])
        if plan.found:
            break
    return _padded(problem, plan, lots)


@dataclass(frozen=True)
class CameraDemand:
    """What each of S settings needs for one camera, and the accuracy that it reaches.

    `net` is in Mbit/s from the camera's node. `com` is the share of a node that all stages need together, as
    the mean over the nodes that can serve them; `part` is the share of one certain node that a stage takes for
    each unit of `com`, and `seconds` its quickest service there.
    """

    camera: CameraClass
    application: Application
    settings: list[Setting]
    net: Floats
    com: Floats
    accuracy: Floats
    part: dict[tuple[str, int], float]
    seconds: dict[tuple[str, int], float]

    @cached_property
    def history(self) -> Points:
        """The accuracy that is reached within some amounts of both resources."""
        return Points(self.net, self.com, self.accuracy).lattice()

    @cached_property
    def surface(self) -> Surface:
        """The concave coupling."""
        return surface(self.history)

    def coupled(self, kind: Kind) -> Coupled | None:
        """The coupling of this kind, of the points that waste nothing; None where it allows nothing."""
        if kind == "surface":
            return self.surface
        net, com, performance = self.history.efficient().columns
        fit = _FITS[kind]
        pair = fit(net, performance, com), fit(com, performance, net)
        if isinstance(pair[0], Linear) and isinstance(pair[1], Linear):
            return pair[0], pair[1]
        nets, coms = (np.linspace(amounts.min(), amounts.max(), _LEVELS) for amounts in (net, com))
        wanted = np.linspace(performance.min(), performance.max(), 4 * _LEVELS)
        allowed = tabulated(pair, nets, coms, wanted)
        return None if allowed is None else surface(allowed)


@dataclass(frozen=True)
class _Lot:
    """`cameras` of a class that are placed together, at given nodes by stage if any are given."""

    demand: CameraDemand
    cameras: int
    fixed: dict[str, int] = field(default_factory=dict)


@dataclass(frozen=True)
class _LotAllocation:
    """What the programme allocates to a lot: a node for each stage, Mbit/s, and a share of a node."""

    at: dict[str, int]
    net: float
    com: float


def demand(problem: Problem, camera: CameraClass) -> CameraDemand | None:
    """What a camera of a class needs; None where no setting can be served."""
    application = problem.application(camera.application)
    costly = [stage for stage in application.stages if not problem.profiles.free(stage.name)]
    rate = problem.rates[camera.name]
    kept: list[Setting] = []
    needs: list[dict[tuple[str, int], float]] = []
    seconds: dict[tuple[str, int], float] = {}
    for chosen in application.settings():
        need: dict[tuple[str, int], float] = {}
        for stage in costly:
            for at, service in hosts(problem, camera, stage, chosen):
                assert service is not None
                key = stage.name, at
                share = service.share_of(problem.cluster.nodes[at])
                taken = rate * share / (problem.utilisation * service.rate)
                need[key] = min(need.get(key, math.inf), taken)
                seconds[key] = min(seconds.get(key, math.inf), service.seconds)
        if all(any(key[0] == stage.name for key in need) for stage in costly):
            kept.append(chosen)
            needs.append(need)
    if not kept:
        return None
    com = np.array([sum(_mean(need, stage.name) for stage in costly) for need in needs])
    part = {}
    for key in sorted({key for need in needs for key in need}):
        able = [position for position, need in enumerate(needs) if key in need]
        part[key] = sum(needs[position][key] for position in able) / max(float(com[able].sum()), 1e-12)
    sent = {name for name, _ in _camera_edges(problem, application)}
    net = np.array([sum(problem.profiles.bytes_of(name, chosen) for name in sent) for chosen in kept])
    accuracy = np.array([problem.profiles.accuracy(chosen) or 0.0 for chosen in kept])
    return CameraDemand(camera, application, kept, 8e-6 * rate * net, com, accuracy, part, seconds)


def _mean(need: dict[tuple[str, int], float], stage: str) -> float:
    return float(np.mean([value for (name, _), value in need.items() if name == stage]))


def _camera_edges(problem: Problem, application: Application) -> Iterator[tuple[str, str]]:
    """Pairs of stages of which the first is where the camera is, and the second may be elsewhere."""
    at_camera: set[str] = set()
    for stage in application.stages:
        if stage.source or (problem.follows_input(stage) and stage.inputs[0] in at_camera):
            at_camera.add(stage.name)
        else:
            yield from ((name, stage.name) for name in stage.inputs if name in at_camera)


def _lots(problem: Problem) -> list[_Lot]:
    size = math.ceil(sum(camera.count for camera in problem.classes) / _LOTS)
    lots = []
    for camera in problem.classes:
        needs = demand(problem, camera)
        if needs is None:
            return []
        sizes = [size] * (camera.count // size) + ([camera.count % size] if camera.count % size else [])
        lots += [_Lot(needs, cameras) for cameras in sizes]
    return lots


def _lots_of(problem: Problem, plan: Plan) -> list[_Lot]:
    """A lot for each route of a plan, at the nodes of its stages."""
    demands = {camera.name: demand(problem, camera) for camera in problem.classes}
    lots = []
    for route in plan.routes:
        needs = demands[route.camera_class]
        assert needs is not None
        at = {placement.stage: problem.cluster.index[placement.node] for placement in route.placements}
        lots.append(_Lot(needs, route.cameras, at))
    return lots


def _placement(problem: Problem, start: Plan | None) -> Plan:
    plans = (start, edge_only(problem), cloud_only(problem))
    return next((plan for plan in plans if plan is not None and plan.found), Plan("none"))


def _nothing(name: str) -> Plan:
    return Plan(
        name, reason=Reason((f"{name} knows no placement in which every stage is served",), proven=False)
    )


def _allocated(problem: Problem, name: str, lots: list[_Lot], kind: Kind, eta: float) -> Plan:
    if not lots:
        return _nothing(name)
    demands = {lot.demand.camera.name: lot.demand for lot in lots}
    fitted = {camera: needs.coupled(kind) for camera, needs in demands.items()}
    coupled = [fit for lot in lots if (fit := fitted[lot.demand.camera.name]) is not None]
    if len(coupled) < len(lots):
        why = f"{name}: its two couplings contradict each other at every pair of resources"
        return Plan(name, reason=Reason((why,), proven=False))
    plan = Plan(
        name, reason=Reason((f"{name}: its programme has no solution in {_SECONDS:g} s",), proven=False)
    )
    thrifty = [(thrift, 0.0) for thrift in _THRIFT if thrift > eta]
    for weight, margin in [*((eta, margin) for margin in _MARGINS), *thrifty]:
        allocations = _Programme(problem, lots, coupled, weight, margin).solve()
        if allocations is None:
            break
        placed = [replace(lot, fixed=allocation.at) for lot, allocation in zip(lots, allocations, strict=True)]
        orders = [_order(lot.demand, allocation) for lot, allocation in zip(lots, allocations, strict=True)]
        plan = _realised(problem, name, placed, orders)
        if plan.found:
            break
    return plan


class _Programme:
    """[P] of all lots; it is linear where their placement is given, else mixed-integer."""

    def __init__(
        self, problem: Problem, lots: list[_Lot], coupled: Sequence[Coupled], eta: float, margin: float
    ) -> None:
        self.problem, self.eta, self.margin, self.model = problem, eta, margin, IntegerProgramme()
        self._used: dict[int, list[Term]] = defaultdict(list)
        self._sent: dict[int, list[Term]] = defaultdict(list)
        self._vars = [self._lot(lot, coupling) for lot, coupling in zip(lots, coupled, strict=True)]
        for terms in self._used.values():
            self.model.row(terms, upper=1.0)
        for arc, terms in self._sent.items():
            self.model.row(terms, upper=problem.cluster.arcs[arc].bandwidth / 1e6)

    def solve(self) -> list[_LotAllocation] | None:
        """What each lot is given."""
        values = self.model.solve(time_limit=_SECONDS, gap=1e-3).values
        if values is None:
            return None
        return [
            _LotAllocation(
                {stage: max(nodes, key=lambda node: values[nodes[node]]) for stage, nodes in at.items()},
                float(values[net]),
                float(values[com]),
            )
            for at, net, com in self._vars
        ]

    def _lot(self, lot: _Lot, coupled: Coupled) -> tuple[dict[str, dict[int, int]], int, int]:
        needs, model = lot.demand, self.model
        net = model.variable(upper=float(needs.net.max()))
        com = model.variable(upper=float(needs.com.max()))
        reached = model.variable(cost=(self.eta - 1) * lot.cameras, upper=float(needs.accuracy.max()))
        short = model.variable(cost=_SHORT * lot.cameras)
        wanted = needs.application.accuracy
        model.row([(reached, 1.0), (short, 1.0)], lower=wanted + self.margin if wanted else 0.0)
        loose = model.variable(cost=_SHORT * lot.cameras)  # fits are no reason to have no plan
        couple(model, coupled, net, com, reached, loose)
        if isinstance(coupled, Surface):  # no setting does with less; the paper's programme does not know
            for resource, least in ((net, needs.net.min()), (com, needs.com.min())):
                model.row([(resource, 1.0), (loose, 1.0)], lower=float(least))
        at: dict[str, dict[int, int]] = {}
        for stage in needs.application.stages:
            if self.problem.follows_input(stage):
                at[stage.name] = at[stage.inputs[0]]
            else:
                at[stage.name] = self._place(lot, stage, com)
        for _, name in _camera_edges(self.problem, needs.application):
            for node, chosen in at[name].items():
                self._stream(lot, node, chosen, net)
        self._late(lot, at)
        return at, net, com

    def _price(self, needs: Floats) -> float:
        return self.eta / (float(needs.max()) or 1.0)

    def _place(self, lot: _Lot, stage: Stage, com: int) -> dict[int, int]:
        """Which node has a stage, as switches, and what it takes there."""
        problem, model, needs = self.problem, self.model, lot.demand
        if stage.name in lot.fixed:
            able = [lot.fixed[stage.name]]
        elif stage.source:
            able = [problem.cluster.index[needs.camera.node]]
        elif problem.profiles.free(stage.name):
            able = [at for at, node in enumerate(problem.cluster.nodes) if stage.tier in (None, node.tier)]
        else:
            able = [node for name, node in needs.part if name == stage.name]
        switches = {node: model.variable(upper=1.0, integer=len(able) > 1) for node in able}
        model.row([(switch, 1.0) for switch in switches.values()], lower=1.0, upper=1.0)
        for node, chosen in switches.items():
            part = needs.part.get((stage.name, node), 0.0) * lot.cameras
            if part:
                taken = model.variable(cost=self._price(needs.com))
                most = part * float(needs.com.max())
                model.row([(taken, 1.0), (com, -part), (chosen, -most)], lower=-most)
                self._used[node].append((taken, 1.0))
        return switches

    def _stream(self, lot: _Lot, node: int, chosen: int, net: int) -> None:
        """What is sent from the camera to a stage, if that is on this node."""
        nodes, most = self.problem.cluster.nodes, lot.cameras * float(lot.demand.net.max())
        price = self._price(lot.demand.net)
        for hop, arc in enumerate(self.problem.cluster.path(lot.demand.camera.node, nodes[node].name) or ()):
            sent = self.model.variable(cost=0.0 if hop else price)
            self.model.row([(sent, 1.0), (net, -float(lot.cameras)), (chosen, -most)], lower=-most)
            self._sent[arc].append((sent, 1.0))

    def _late(self, lot: _Lot, at: dict[str, dict[int, int]]) -> None:
        """Rows by which the longest path is in time, with the quickest services and the smallest outputs."""
        problem, needs, model = self.problem, lot.demand, self.model
        goal, nodes = needs.application.latency, problem.cluster.nodes
        done: dict[str, int] = {}
        for stage in needs.application.stages:
            done[stage.name] = model.variable(upper=goal)
            own = [
                (switch, -needs.seconds.get((stage.name, node), 0.0)) for node, switch in at[stage.name].items()
            ]
            for name in stage.inputs:
                size = min(problem.profiles.bytes_of(name, chosen) for chosen in needs.settings)
                legs = []
                for (a, x), (b, y) in product(at[name].items(), at[stage.name].items()):
                    seconds = path_seconds(problem, nodes[a].name, nodes[b].name, size) if a != b else 0.0
                    if at[name] is at[stage.name] or not seconds:
                        continue
                    both = model.variable(upper=1.0)
                    model.row([(both, 1.0), (x, -1.0), (y, -1.0)], lower=-1.0)
                    if seconds == math.inf:
                        model.row([(both, 1.0)], upper=0.0)
                    else:
                        legs.append((both, -seconds))
                model.row([(done[stage.name], 1.0), (done[name], -1.0), *own, *legs], lower=0.0)


def _order(needs: CameraDemand, allocation: _LotAllocation) -> list[int]:
    """Settings that are within what is given, best accuracy first, and then the others, least excess first."""
    most_net, most_com = max(allocation.net, 1e-9), max(allocation.com, 1e-9)
    excess = np.maximum(needs.net / most_net, needs.com / most_com)
    within = excess <= 1 + 1e-3
    return sorted(
        range(len(excess)),
        key=lambda s: (not within[s], -needs.accuracy[s] if within[s] else excess[s], excess[s]),
    )


def _realised(problem: Problem, name: str, lots: list[_Lot], orders: list[list[int]]) -> Plan:
    """The plan in which every lot has its first setting that fits beside those before it."""
    net = path_delays(problem.cluster, problem.certainty)
    counts: dict[str, int] = defaultdict(int)
    chosen: list[tuple[RouteOption, int]] = []
    tried = 0
    for lot, order in zip(lots, orders, strict=True):
        counts[lot.demand.camera.name] += lot.cameras
        so_far = replace(
            problem,
            classes=tuple(
                replace(camera_class, count=counts[camera_class.name])
                for camera_class in problem.classes
                if counts[camera_class.name]
            ),
        )
        goal = lot.demand.application
        timely = (
            column
            for column in _columns(problem, lot, order)
            if latency(problem, goal, column, net) <= goal.latency
        )
        for column in islice(timely, _CANDIDATES):
            tried += 1
            if not violations(so_far, assemble(so_far, name, [*chosen, (column, lot.cameras)])):
                chosen.append((column, lot.cameras))
                break
        else:
            why = f"{name} finds no setting for {lot.demand.camera.name} that fits where it places it"
            return Plan(name, tried=tried, reason=Reason((why,), proven=False))
    return replace(assemble(problem, name, chosen), tried=tried)


def _columns(problem: Problem, lot: _Lot, order: list[int]) -> Iterator[RouteOption]:
    """Ways for a lot at its nodes: settings in order, by the cheapest services and then by the quickest."""
    needs, nodes = lot.demand, problem.cluster.nodes
    for position in order:
        if needs.accuracy[position] < needs.application.accuracy:
            continue
        chosen = needs.settings[position]
        for quick, level in product((False, True), range(3)):
            places = []
            for stage in needs.application.stages:
                node = nodes[lot.fixed[stage.name]]
                able = [
                    service
                    for at, service in hosts(problem, needs.camera, stage, chosen)
                    if service is not None and at == lot.fixed[stage.name]
                ]
                if problem.profiles.free(stage.name):
                    places.append(Place(stage.name, node.name))
                elif able:
                    cheap = min(able, key=lambda service, node=node: _cost(node, service, quick))  # type: ignore[misc]
                    places.append(Place(stage.name, node.name, offers(problem, cheap)[level]))
            if len(places) == len(needs.application.stages):
                yield RouteOption(needs.camera.name, chosen, tuple(places))


def _cost(node: Node, service: Service, quick: bool) -> tuple[float, float]:
    work, seconds = service.share_of(node) / service.rate, service.seconds
    return (seconds, work) if quick else (work, seconds)


def _padded(problem: Problem, plan: Plan, lots: list[_Lot]) -> Plan:
    """The plan with as many replicas as the largest setting would need, where there is room."""
    if not plan.found:
        return plan
    largest = {lot.demand.camera.name: lot.demand for lot in lots}
    ratio = [1.0] * len(plan.deployments)
    for route in plan.routes:
        needs = largest[route.camera_class]
        own = float(needs.com[needs.settings.index(route.setting)])
        for placement in route.placements:
            if placement.deployment is not None and own:
                ratio[placement.deployment] = max(ratio[placement.deployment], float(needs.com.max()) / own)
    for position, factor in enumerate(ratio):
        for replicas in range(math.ceil(plan.deployments[position].replicas * factor - 1e-9), 1, -1):
            deployments = list(plan.deployments)
            if replicas <= deployments[position].replicas:
                break
            deployments[position] = replace(deployments[position], replicas=replicas)
            more = replace(plan, deployments=tuple(deployments))
            more = valued(problem, more)
            if not violations(problem, more):
                plan = more
                break
    return plan
