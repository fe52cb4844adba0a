"""ROMA's programme over a cluster: placement and allocation together against a given placement, on many sites.

Each site has six cameras at two weak edge nodes and a cloud behind a narrow link; cores and bandwidths differ.
Compared is the objective of [P] at the plans that result, and not at what a programme promises: for each camera
eta (Mbit/s sent + shares of nodes reserved) - (1 - eta) accuracy, both resources normalised by what the largest
setting needs. Less is better. `exact` minimises resources alone; it says which sites have any plan at all.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from itertools import product

import numpy as np

from flowedge.planner.exact.exact import exact
from flowedge.planner.model.checker import violations
from flowedge.planner.model.cluster import Cluster, Link, Node
from flowedge.planner.model.plan import Plan
from flowedge.planner.model.prediction import predict
from flowedge.planner.model.problem import Application, CameraClass, Problem, Stage
from flowedge.planner.model.profiles import Accuracy, OutputSize, Profiles, Service, setting
from flowedge.planner.papers.baselines import cloud_only, edge_only
from flowedge.planner.papers.roma.allocation import ETA
from flowedge.planner.papers.roma.strategy import demand, roma, roma_linear, roma_static
from tools.papers import roma_grid

EDGES = ((1, 2), (2, 4), (4, 8))  # cores of the two edge nodes
UPLINKS = (1.0, 3.0, 6.0, 12.0, 30.0)  # Mbit/s
FLOORS = (0.0, 0.6, 0.75)
CAMERAS = 6

SCHEMES: Mapping[str, Callable[[Problem], Plan]] = {
    "roma (joint, surface)": roma,
    "joint, linear": partial(roma, coupling="linear"),
    "at the edge, surface": lambda problem: roma_linear(problem, edge_only(problem), coupling="surface"),
    "in the cloud, surface": lambda problem: roma_linear(problem, cloud_only(problem), coupling="surface"),
    "roma-linear, at the edge": lambda problem: roma_linear(problem, edge_only(problem)),
    "roma-linear, in the cloud": lambda problem: roma_linear(problem, cloud_only(problem)),
    "roma-static": roma_static,
    "exact, least resources": partial(exact, time_limit=20),
}


@dataclass(frozen=True)
class SchemeResult:
    """What a scheme's plan for a site reaches (mean accuracy, 0..1) and takes; None where it has no plan."""

    site: str
    scheme: str
    objective: float | None
    accuracy: float | None
    cores: float | None
    mbit: float | None

    def cells(self) -> list[str]:
        """As a line of a table."""
        numbers = (self.objective, self.accuracy, self.cores, self.mbit)
        return [self.site, self.scheme, *("-" if number is None else f"{number:.4g}" for number in numbers)]


def outcomes(measured: Sequence[roma_grid.Point]) -> Iterator[SchemeResult]:
    """Every scheme on every site."""
    for edge, uplink, floor in product(EDGES, UPLINKS, FLOORS):
        problem = site(measured, edge, uplink, floor)
        name = f"{edge[0]} + {edge[1]} cores, {uplink:g} Mbit/s, accuracy {floor:g}"
        for scheme, strategy in SCHEMES.items():
            plan = strategy(problem)
            broken = violations(problem, plan)
            if broken:
                raise ArithmeticError(f"{scheme}: {broken[0]}")
            yield _outcome(problem, name, scheme, plan)


def show(results: Sequence[SchemeResult]) -> None:
    """For every scheme its means, and how it compares with the joint programme where both have a plan."""
    first, *others = SCHEMES
    by = {(result.site, result.scheme): result for result in results}
    sites = list(dict.fromkeys(result.site for result in results))
    print(f"\n[P] on {len(sites)} sites, {CAMERAS} cameras each, eta {ETA:g}; means over those with a plan")
    print(f"{'scheme':<28}{'plans':>6}{'objective':>11}{'accuracy':>10}{'cores':>7}{'Mbit/s':>8}   {first} is")
    for scheme in (first, *others):
        mine = [by[name, scheme] for name in sites if by[name, scheme].objective is not None]
        gains = [
            (theirs.objective or 0.0) - (ours.objective or 0.0)
            for theirs in mine
            if (ours := by[theirs.site, first]).objective is not None
        ]
        means = [
            np.mean([getattr(result, name) for result in mine])
            for name in ("objective", "accuracy", "cores", "mbit")
        ]
        comparison = (
            f"better {sum(gain > 1e-6 for gain in gains)}, equal {sum(abs(gain) <= 1e-6 for gain in gains)}, "
            f"worse {sum(gain < -1e-6 for gain in gains)}; by {np.mean(gains):.3f} in the mean"
        )
        print(
            f"{scheme:<28}{len(mine):>6}{means[0]:>11.3f}{means[1]:>10.3f}{means[2]:>7.1f}{means[3]:>8.2f}   "
            + (comparison if scheme != first else "")
        )


def site(measured: Sequence[roma_grid.Point], edge: tuple[int, int], uplink: float, floor: float) -> Problem:
    """Six cameras at two edge nodes, a cloud behind a link of `uplink` Mbit/s; accuracy `floor` at least."""
    kept = [point for point in measured if point.skip == 0]
    names = {point: f"{point.width}/{point.quality}/{point.tiles}" for point in kept}
    services, outputs, accuracies = [], [], []
    for point, name in names.items():
        chosen, seconds = setting(form=name), point.com / roma_grid.FPS
        services += [
            Service("Detect", kind, 1, seconds / speed, setting=chosen)
            for kind, speed in (("edge", 0.5), ("xeon", 1))
        ]
        outputs.append(OutputSize("video", point.net * 1e6 / 8 / roma_grid.FPS, "jpeg", chosen))
        accuracies.append(Accuracy(point.score, chosen))
    nodes = (
        Node("edge 1", "edge", "edge", edge[0]),
        Node("edge 2", "edge", "edge", edge[1]),
        Node("cloud", "cloud", "xeon", 16),
    )
    links = (Link("edge 1", "edge 2", 20e6, 0.002), Link("edge 2", "cloud", uplink * 1e6, 0.01))
    stages = (Stage("video", source=True), Stage("Detect", ("video",)))
    knobs = (("form", tuple(names.values())),)
    return Problem(
        Cluster(("edge", "cloud"), nodes, links),
        (Application("street", stages, knobs, latency=1.0, accuracy=floor),),
        (
            CameraClass("north", "street", "edge 1", roma_grid.FPS, CAMERAS // 2),
            CameraClass("south", "street", "edge 2", roma_grid.FPS, CAMERAS // 2),
        ),
        Profiles(tuple(services), tuple(outputs), tuple(accuracies)),
        minimize="resources",
    )


def _outcome(problem: Problem, name: str, scheme: str, plan: Plan) -> SchemeResult:
    if not plan.found:
        return SchemeResult(name, scheme, None, None, None, None)
    prediction = predict(problem, plan)
    accuracy = sum(
        route.cameras * (value or 0.0) for route, value in zip(plan.routes, prediction.accuracies, strict=True)
    )
    cores = sum(deployment.replicas * deployment.service.cores for deployment in plan.deployments)
    # What leaves a node counts once, however many links it goes over.
    mbit = sum(
        8e-6 * problem.profiles.bytes_of("video", route.setting) * route.cameras * roma_grid.FPS
        for route in plan.routes
        if len({placement.node for placement in route.placements}) > 1
    )
    needs = demand(problem, problem.classes[0])
    assert needs is not None
    used = prediction.shares / needs.com.max() + mbit / needs.net.max()
    objective = float(ETA * used - (1 - ETA) * accuracy) / CAMERAS
    return SchemeResult(name, scheme, objective, accuracy / CAMERAS, cores, mbit)
