"""A plan that `flowedge plan --json` wrote, as what a run on this machine can be given."""

from __future__ import annotations

import json
from collections import Counter
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
from flowedge.runtime.workers.shares import threads_for
from flowedge.values import Scalar


@dataclass(frozen=True)
class LocalPlan:
    """How a graph is to run on this machine: `configurations` and `shares` as `Run` takes them.

    The first of the `configurations` is for the cameras to come, too. `shares` are the cores of every worker
    that is kept to some. `threads` is how many the engines of what works in the process of the command take,
    None for as many as there are cores. `not_kept` names the operators there that the plan has in a part of a
    core and that no worker can take: nobody keeps them to it. `machines` are the others that have workers.
    `recalled` names the operators that it places on other machines and that can work only here.
    """

    configurations: list[tuple[Configuration, tuple[str, ...] | None]]
    shares: Mapping[str, float]
    threads: int | None
    not_kept: tuple[str, ...]
    machines: tuple[str, ...] = ()
    recalled: tuple[str, ...] = ()


NO_PLAN = LocalPlan([], {}, None, ())
"""Everything works in the process of the command."""


@dataclass(frozen=True)
class _Deployment:
    """What the plan reserves for an operator: `cores` for each of its `replicas`, here or on another `machine`.

    `kept`: the plan takes it that a replica has these cores and no others; else that it may use what others
    leave idle, as the operators of one process do.
    """

    operator: str
    machine: str
    replicas: int
    cores: float
    kept: bool

    @property
    def workers(self) -> tuple[str, ...]:
        """Where it works: cores are kept from processes only, so a part of a core needs one, too."""
        if self.machine:
            return tuple(f"{self.machine}/{number}" for number in range(1, self.replicas + 1))
        count = self.replicas if self.replicas > 1 or (self.kept and 0 < self.cores < 1) else 0
        return tuple(f"w{number}" for number in range(1, count + 1))


@dataclass(frozen=True)
class _Route:
    """So many cameras of a class, all of one source, and how their frames go."""

    source: str
    cameras: str
    count: int
    configuration: Configuration


def local_plan(graph: Graph, name: str, text: str) -> LocalPlan:
    """How a graph is to run by a plan.

    The cameras are read on this machine. An operator of which the plan has n replicas here, more than one,
    works on the workers w1 to wn; so does one that the plan has in a part of a core which it is to be kept to.
    One that is placed on another node works there, on workers named after it. A worker has the cores of all
    that works on it. A class of cameras whose name is that of a camera of the graph is meant for that one;
    others are for the cameras that remain, in order, and their number does not matter where all go one way.
    Raises `ConfigError`, beginning with the `name` of the file, where the plan is none, reads cameras on
    several nodes, or does not fit the graph.
    """
    with named(name):
        data = _parsed(text)
        deployed = _deployed(graph, data, _home(graph, data))
        routes = [_route(graph, deployed, route, f"routes[{at}]") for at, route in enumerate(data["routes"])]
        _check_whole(graph, data)
        shares, here = _shares(graph, deployed)
        return LocalPlan(
            _configurations(graph, routes),
            shares,
            max((threads_for(each.cores) for each in here), default=None),
            tuple(dict.fromkeys(each.operator for each in here if each.cores < 1)),
            tuple(sorted({each.machine for each in deployed.values() if _workers(graph, each)} - {""})),
            tuple(
                dict.fromkeys(
                    each.operator for each in deployed.values() if each.machine and not _workers(graph, each)
                )
            ),
        )


def _shares(graph: Graph, deployed: Mapping[int, _Deployment]) -> tuple[dict[str, float], list[_Deployment]]:
    """The cores of every worker that is kept to some, and what is to be kept to cores in this process."""
    shares: Counter[str] = Counter()
    unlimited: set[str] = set()
    here: list[_Deployment] = []
    for deployment in deployed.values():
        workers = _workers(graph, deployment)
        if not deployment.kept:
            unlimited.update(workers)
        elif workers:
            shares.update(dict.fromkeys(workers, deployment.cores))
        else:
            here.append(deployment)
    return {name: cores for name, cores in shares.items() if name not in unlimited}, here


def _configurations(
    graph: Graph, routes: Sequence[_Route]
) -> list[tuple[Configuration, tuple[str, ...] | None]]:
    """The configurations and their cameras; that of most cameras is the first, and for those to come."""
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


def _route(graph: Graph, deployed: Mapping[int, _Deployment], route: Mapping[str, Any], where: str) -> _Route:
    sources = [stage for stage in route["placements"] if isinstance(graph.node(stage).step, Source)]
    if len(sources) != 1:
        raise ConfigError(f"{where}.placements: one source is needed, it has {', '.join(sources) or 'none'}")
    workers = {
        stage: names
        for stage, placement in route["placements"].items()
        if placement.get("deployment") is not None
        and (names := _workers(graph, deployed[placement["deployment"]]))
    }
    count = _get(route, "count", int, where)
    return _Route(sources[0], route["cameras"], count, Configuration(_setting(graph, route, where), workers))


def _workers(graph: Graph, deployment: _Deployment) -> tuple[str, ...]:
    """The workers of an operator; none where it works in the process of the command."""
    return deployment.workers if movable(graph.node(deployment.operator).step) else ()


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


def _deployed(graph: Graph, data: Mapping[str, Any], home: str) -> dict[int, _Deployment]:
    """The deployments that the routes go by, by their position in the plan."""
    names = [node.name for node in graph.nodes]
    deployed: dict[int, _Deployment] = {}
    for at, route in enumerate(data["routes"]):
        for stage, placement in route["placements"].items():
            if stage not in names:
                raise ConfigError(f"routes[{at}]: the graph has no operator {stage}{suggestion(stage, names)}")
            position = placement.get("deployment")
            if position is None:
                continue
            if type(position) is not int or not 0 <= position < len(data["deployments"]):
                raise ConfigError(f"{stage}: there is no deployment {position!r:.60}")
            machine = "" if placement["node"] == home else placement["node"]
            deployed[position] = _deployment(graph, data["deployments"][position], stage, machine, position)
    return deployed


def _deployment(graph: Graph, data: Any, stage: str, machine: str, position: int) -> _Deployment:
    where = f"deployments[{position}]"
    if _get(data, "operator", str, where) != stage:
        raise ConfigError(f"{where}.operator: is {data['operator']}, but {stage} is placed there")
    count: int = _get(data, "replicas", int, where)
    if count < 1:
        raise ConfigError(f"{where}.replicas: {count} is not a whole number from 1")
    if count > 1 and not movable(graph.node(stage).step):
        raise ConfigError(
            f"{where}: {stage} has {count} replicas, but it can work only in the process that reads the cameras"
        )
    cores, work = (data.get(field, 0) for field in ("cores", "work"))
    for field, value in (("cores", cores), ("work", work)):
        if type(value) not in (int, float) or not 0 <= value < float("inf"):
            raise ConfigError(f"{where}.{field}: {value!r:.60} is not a number from 0")
    return _Deployment(stage, machine, count, cores, kept=cores > 0 and not work)


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
