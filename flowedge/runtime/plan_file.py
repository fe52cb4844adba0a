"""A plan that `flowedge plan --json` wrote, as what a run on this machine can be given."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from flowedge.errors import ConfigError
from flowedge.graph.contract import Source
from flowedge.graph.graph import Graph
from flowedge.graph.knobs import suggestion
from flowedge.planner.files.documents import named
from flowedge.planner.model.applications import scalar
from flowedge.runtime.routes import Configuration, first_setting, movable
from flowedge.values import Scalar


@dataclass(frozen=True)
class _Route:
    """So many cameras of a class, all of one source, and how their frames go."""

    source: str
    cameras: str
    count: int
    configuration: Configuration


def configurations(graph: Graph, name: str, text: str) -> list[tuple[Configuration, tuple[str, ...] | None]]:
    """How the cameras of a graph are to run by a plan, as `Run` takes it; the first is for those to come, too.

    The cameras are read on this machine. An operator of which the plan has n replicas here, more than one,
    works on the workers w1 to wn; one that is placed on another node works there, on workers named after it. A
    class of cameras whose name is that of a camera of the graph is meant for that one; others are for the
    cameras that remain, in order, and their number does not matter where all go one way. Raises `ConfigError`,
    beginning with the `name` of the file, where the plan is none, reads cameras on several nodes, or does not
    fit the graph.
    """
    with named(name):
        data = _parsed(text)
        home = _home(graph, data)
        routes = [_route(graph, data, route, home, f"routes[{at}]") for at, route in enumerate(data["routes"])]
        _check_whole(graph, data)
        groups: list[tuple[Configuration, list[str]]] = []
        for source in graph.sources():
            assert isinstance(source.step, Source)
            of_source = [route for route in routes if route.source == source.name]
            for camera, configuration in _assigned(list(source.step.cameras), of_source).items():
                alike = next((cameras for known, cameras in groups if known == configuration), None)
                if alike is None:
                    groups.append((configuration, [camera]))
                else:
                    alike.append(camera)
    if not groups:
        return [(routes[0].configuration, None)]
    groups.sort(key=lambda group: -len(group[1]))
    (usual, _), *others = groups
    return [(usual, None), *((configuration, tuple(cameras)) for configuration, cameras in others)]


def _parsed(text: str) -> dict[str, Any]:
    """The fields of the file, of which those that are read have the form that they need."""
    try:
        data = json.loads(text)
    except json.JSONDecodeError as error:
        raise ConfigError(f"is not JSON: {error}; write it with `flowedge plan --json`") from error
    if not isinstance(data, dict):
        raise ConfigError(f"{data!s:.40} is not a plan; write one with `flowedge plan --json`")
    if data.get("found") is False:
        raise ConfigError(f"there is no plan in it: {'; '.join(map(str, data.get('conflict', ())))}")
    for field in ("routes", "deployments"):
        if not isinstance(data.get(field), list):
            raise ConfigError(f"{field}: is missing; write the plan with `flowedge plan --json`")
    if not data["routes"]:
        raise ConfigError("routes: the plan serves no cameras")
    for at, route in enumerate(data["routes"]):
        _get(route, "cameras", str, f"routes[{at}]")
        _get(route, "setting", dict, f"routes[{at}]")
        for stage, placement in _get(route, "placements", dict, f"routes[{at}]").items():
            _get(placement, "node", str, f"routes[{at}].placements.{stage}")
    return data


def _get(table: Any, field: str, kind: type, where: str) -> Any:
    if not isinstance(table, dict) or type(table.get(field)) is not kind:
        given = table.get(field) if isinstance(table, dict) else table
        raise ConfigError(f"{where}.{field}: {given!r:.60} is no {kind.__name__}")
    return table[field]


def _home(graph: Graph, data: Mapping[str, Any]) -> str:
    """The node on which the cameras are read, which stands for this machine."""
    sources = {node.name for node in graph.sources()}
    homes = {
        placement["node"]
        for route in data["routes"]
        for stage, placement in route["placements"].items()
        if stage in sources
    }
    if len(homes) > 1:
        raise ConfigError(
            f"reads cameras on {len(homes)} nodes ({', '.join(sorted(homes))}), and a run reads all of them on "
            f"its own machine; give it the cameras of one node, and start a run on each"
        )
    return next(iter(homes), "")


def _check_whole(graph: Graph, data: Mapping[str, Any]) -> None:
    placed = {stage for route in data["routes"] for stage in route["placements"]}
    for node in graph.nodes:
        if node.name not in placed:
            raise ConfigError(f"says nothing of {node.name}; it was made for another graph")


def _route(graph: Graph, data: Mapping[str, Any], route: Mapping[str, Any], home: str, where: str) -> _Route:
    names = [node.name for node in graph.nodes]
    for stage in route["placements"]:
        if stage not in names:
            raise ConfigError(f"{where}: the graph has no operator {stage}{suggestion(stage, names)}")
    sources = [stage for stage in route["placements"] if isinstance(graph.node(stage).step, Source)]
    if len(sources) != 1:
        raise ConfigError(f"{where}.placements: one source is needed, it has {', '.join(sources) or 'none'}")
    workers = {}
    for stage, placement in route["placements"].items():
        count, node = _replicas(graph, data, stage, placement), placement["node"]
        if node != home:
            _check_movable(graph, stage, f"{where}.placements.{stage}: is on {node}")
        if node != home or count > 1:
            prefix = "w" if node == home else f"{node}/"
            workers[stage] = tuple(f"{prefix}{number}" for number in range(1, count + 1))
    count = _get(route, "count", int, where)
    return _Route(sources[0], route["cameras"], count, Configuration(_setting(graph, route, where), workers))


def _setting(graph: Graph, route: Mapping[str, Any], where: str) -> tuple[tuple[str, Scalar], ...]:
    """The values of all knobs; those of steps that the route does not go by keep their first."""
    given = route["setting"]
    choices = {choice.name: choice for node in graph.nodes for choice in node.step.knobs.values()}
    for name, value in given.items():
        if name not in choices:
            raise ConfigError(f"{where}.setting: the graph has no knob {name}{suggestion(name, choices)}")
        values = [scalar(choice) for choice in choices[name].values]
        if not any(value == known and type(value) is type(known) for known in values):
            raise ConfigError(
                f"{where}.setting.{name}: {value!r:.60} is none of its choices {', '.join(map(str, values))}"
            )
    for stage in route["placements"]:
        for choice in graph.node(stage).step.knobs.values():
            if choice.name not in given:
                raise ConfigError(f"{where}.setting: has no value for the knob {choice.name} of {stage}")
    return tuple(sorted((dict(first_setting(graph)) | given).items()))


def _replicas(graph: Graph, data: Mapping[str, Any], stage: str, placement: Mapping[str, Any]) -> int:
    """How many replicas a stage has; one where it costs nothing and so has no deployment."""
    position = placement.get("deployment")
    if position is None:
        return 1
    if type(position) is not int or not 0 <= position < len(data["deployments"]):
        raise ConfigError(f"{stage}: there is no deployment {position!r:.60}")
    where = f"deployments[{position}]"
    deployment = data["deployments"][position]
    if _get(deployment, "operator", str, where) != stage:
        raise ConfigError(f"{where}.operator: is {deployment['operator']}, but {stage} is placed there")
    count: int = _get(deployment, "replicas", int, where)
    if count < 1:
        raise ConfigError(f"{where}.replicas: {count} is not a whole number from 1")
    if count > 1:
        _check_movable(graph, stage, f"{where}: {stage} has {count} replicas")
    return count


def _check_movable(graph: Graph, stage: str, what: str) -> None:
    if not movable(graph.node(stage).step):
        raise ConfigError(f"{what}, but it can work only in the process that reads the cameras")


def _assigned(cameras: Sequence[str], routes: Sequence[_Route]) -> dict[str, Configuration]:
    """The configuration of every camera of a source."""
    if all(route.configuration == routes[0].configuration for route in routes):
        return dict.fromkeys(cameras, routes[0].configuration)
    chosen = {
        route.cameras: route.configuration for route in routes if route.cameras in cameras and route.count == 1
    }
    others = [camera for camera in cameras if camera not in chosen]
    spread = [route for route in routes if route.cameras not in chosen for _ in range(route.count)]
    if len(others) != len(spread):
        classes = ", ".join(dict.fromkeys(route.cameras for route in routes))
        raise ConfigError(
            f"has different settings for {sum(route.count for route in routes)} cameras ({classes}), but the "
            f"graph has {len(cameras)} ({', '.join(cameras)})"
        )
    return chosen | {camera: route.configuration for camera, route in zip(others, spread, strict=True)}
