"""Routes that a plan may contain, of offers alone: their latency, and the plan that they make.

The exact programme and the papers' strategies choose among these; the default strategy has its own tables
(`flowedge.planner.solver.instance`).
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from flowedge.planner.model.plan import Deployment, Placement, Plan, Route
from flowedge.planner.model.prediction import longest_path, valued
from flowedge.planner.model.problem import Application, Problem
from flowedge.planner.model.profiles import Setting
from flowedge.planner.options.delays import Delays
from flowedge.planner.options.offers import Offer


@dataclass(frozen=True, slots=True)
class Place:
    """Where a route option has a stage, and by which offer; by none where the stage costs nothing."""

    stage: str
    node: str
    offer: Offer | None = None


@dataclass(frozen=True, slots=True)
class RouteOption:
    """A route that a plan may have: a setting, and a node and an offer for each stage in order."""

    camera_class: str
    setting: Setting
    places: tuple[Place, ...]


def latency(problem: Problem, application: Application, option: RouteOption, delays: Delays) -> float:
    """Seconds along the longest path of the graph, with the waits of the offers."""
    position = {stage.name: at for at, stage in enumerate(application.stages)}
    nodes = [problem.cluster.index[place.node] for place in option.places]
    sizes = [problem.profiles.bytes_of(stage.name, option.setting) for stage in application.stages]
    inputs = [[position[name] for name in stage.inputs] for stage in application.stages]
    own = [place.offer.seconds if place.offer else 0.0 for place in option.places]

    def sent(start: int, end: int) -> float:
        return delays.between(nodes[start], nodes[end], sizes[start])

    return longest_path(inputs, own, sent)[0]


def assemble(problem: Problem, strategy: str, chosen: Iterable[tuple[RouteOption, int]]) -> Plan:
    """The plan in which so many cameras take each option, with the fewest replicas that keep its offers.

    Its value is that of `flowedge.planner.model.prediction.predict`; nothing else is checked here.
    """
    together: dict[RouteOption, int] = {}
    for column, cameras in chosen:
        together[column] = together.get(column, 0) + cameras
    keys: dict[tuple[str, Offer], int] = {}
    needs: list[tuple[float, int]] = []
    routes = []
    for column, cameras in together.items():
        rate = problem.rates[column.camera_class]
        placements = []
        for place in column.places:
            position = None
            if place.offer is not None:
                position = keys.setdefault((place.node, place.offer), len(keys))
                needs += [(0.0, 0)] * (len(keys) - len(needs))
                load, streams = needs[position]
                needs[position] = load + rate * cameras, streams + cameras
            placements.append(Placement(place.stage, place.node, position))
        routes.append(Route(column.camera_class, cameras, column.setting, tuple(placements)))
    deployments = tuple(
        Deployment(offer.service.operator, node, offer.service, offer.replicas(*need))
        for (node, offer), need in zip(keys, needs, strict=True)
    )
    return valued(problem, Plan(strategy, deployments, tuple(routes)))
