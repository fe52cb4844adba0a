"""The planning problem of a graph: what `flowedge.planner.plan` hands to a strategy.

>>> from flowedge import Graph, choose
>>> from flowedge.operators import Null, Resize, video
>>> from flowedge.planner.model.cluster import Cluster, Node
>>> from flowedge.planner.model.profiles import Service
>>> graph = Graph("door")
>>> video(graph, "street://") >> Resize(choose("width", 320, 640)) >> Null()
>>> cluster = Cluster(("edge",), (Node("pi", "edge", "pi", cores=4),))
>>> cameras = (CameraClass("north", "door", "pi", fps=5),)
>>> profiles = Profiles((Service("Resize", "pi", cores=1, seconds=0.01),))
>>> made = problem(graph, cluster, profiles, cameras=cameras, assume_free=("Decode", "Null"))
>>> made.applications[0].knobs, made.minimize
((('width', (320, 640)),), 'resources')
"""

from __future__ import annotations

from collections.abc import Collection, Sequence
from typing import cast

from flowedge.errors import ConfigError
from flowedge.graph.graph import Graph
from flowedge.graph.knobs import suggestion
from flowedge.planner.model.applications import applications
from flowedge.planner.model.cluster import Cluster, Power
from flowedge.planner.model.problem import Application, CameraClass, Objective, Problem
from flowedge.planner.model.profiles import Profiles
from flowedge.values import Scalar


def problem(
    graph: Graph,
    cluster: Cluster,
    profiles: Profiles,
    *,
    cameras: Sequence[CameraClass],
    assume_free: Collection[str] = (),
) -> Problem:
    """Put together what is to be planned: a graph's applications and goal, machines, cameras, profiles.

    Every operator that is no source needs a profile, or its name in `assume_free`. Where the goal is to
    minimize energy or cost and no node states a power or a price, all plans would be alike; resources are
    minimized then.

    Raises `ConfigError` without cameras, for an operator without a profile, for a name in `assume_free` that is
    no such operator, and for profiles of knob values that the graph cannot choose; `GraphError` for a graph
    that is not complete.
    """
    if not cameras:
        raise ConfigError("cameras: there are none; at least one class of cameras is needed")
    wanted = applications(graph)
    _check_profiled(wanted, profiles, assume_free)
    for application in wanted:
        _check_settings(application, profiles)
    minimize = _objective(graph.goal.minimize, cluster)
    return Problem(cluster, wanted, tuple(cameras), profiles, minimize=minimize, theta=graph.goal.theta)


def unprofiled_kinds(problem: Problem) -> dict[str, tuple[str, ...]]:
    """The operators that each kind of machine cannot run for want of a profile, by kind.

    Operators that cost nothing run on any kind. Kinds without cores and GPUs are left out.

    >>> from flowedge.planner.model.cluster import Node
    >>> from flowedge.planner.model.problem import Stage
    >>> from flowedge.planner.model.profiles import Service
    >>> nodes = (Node("counter", "edge", "nuc", cores=4), Node("rented", "cloud", "vm", cores=16))
    >>> shop = Application("shop", (Stage("video", source=True), Stage("Detect", ("video",))))
    >>> measured = Profiles((Service("Detect", "nuc", 1, 0.1),))
    >>> unprofiled_kinds(Problem(Cluster(("edge", "cloud"), nodes), (shop,), (), measured))
    {'vm': ('Detect',)}
    """
    names = dict.fromkeys(stage.name for application in problem.applications for stage in application.stages)
    costly = [name for name in names if not problem.profiles.free(name)]
    profiled = {(service.operator, service.kind) for service in problem.profiles.services}
    kinds = dict.fromkeys(node.kind for node in problem.cluster.nodes if node.cores or node.gpu)
    lacking = {kind: tuple(name for name in costly if (name, kind) not in profiled) for kind in kinds}
    return {kind: operators for kind, operators in lacking.items() if operators}


def _check_profiled(wanted: Sequence[Application], profiles: Profiles, assume_free: Collection[str]) -> None:
    """Refuse an operator that would cost nothing only because nobody measured it, or wrote its name wrongly."""
    operators = dict.fromkeys(
        stage.name for application in wanted for stage in application.stages if not stage.source
    )
    profiled = dict.fromkeys(service.operator for service in profiles.services)
    if isinstance(assume_free, str):
        raise ConfigError(f'assume_free="{assume_free}": several names are needed, e.g. ("{assume_free}",)')
    for name in assume_free:
        if name not in operators:
            raise ConfigError(
                f"{name} cannot be assumed free: the graph has no such operator{suggestion(name, operators)}"
            )
        if name in profiled:
            raise ConfigError(
                f"{name} cannot be assumed free: the profiles say what it costs; leave one of them out"
            )
    missing = [name for name in operators if name not in profiled and name not in assume_free]
    if not missing:
        return
    besides = [name for name in profiled if name not in operators]
    shown = ", ".join(name + _near(name, besides) for name in missing)
    which = f", which have {', '.join(besides)} besides" if besides else ""
    raise ConfigError(
        f"{shown}: not in the profiles{which}; measure with `flowedge profile`, or name in assume_free "
        "(--assume-free NAME) an operator that costs nothing"
    )


def _near(name: str, names: Sequence[str]) -> str:
    """' (did you mean "Detect"?)' where one of the names is near."""
    words = suggestion(name, names).removeprefix("; ")
    return f" ({words})" if words.startswith("did you mean") else ""


def _check_settings(application: Application, profiles: Profiles) -> None:
    """Refuse profiles that depend on a knob which the graph does not have, or on none of its values."""
    knobs = dict(application.knobs)
    stages = {stage.name for stage in application.stages}
    measured: dict[str, dict[Scalar, str]] = {}  # an ordered set of values, and an operator, by knob
    for service in profiles.services:
        for name, value in service.setting if service.operator in stages else ():
            measured.setdefault(name, {}).setdefault(value, service.operator)
    for name, values in measured.items():
        if name not in knobs:
            operator = next(iter(values.values()))
            raise ConfigError(
                f"{operator}: its profiles are for values of {name}, which the graph cannot choose; declare "
                f'them with choose("{name}", ...) or param("{name}", ..., choices=...)'
            )
        if not set(knobs[name]) & values.keys():
            wanted = ", ".join(map(str, knobs[name]))
            raise ConfigError(
                f"{name}={wanted}: was not measured; the profiles have {', '.join(map(str, values))}"
            )


def _objective(wanted: str, machines: Cluster) -> Objective:
    """What to minimize: resources, where no node states the power or the price that the goal is about."""
    stated = {
        "energy": any(node.power != Power() for node in machines.nodes),
        "cost": any(node.price for node in machines.nodes),
    }
    if stated.get(wanted, True):
        return cast(Objective, wanted)
    return "resources"
