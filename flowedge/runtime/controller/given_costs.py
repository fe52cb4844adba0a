"""Planner profiles as what the settings of a running graph take, until that has been measured while it runs."""

from __future__ import annotations

from flowedge.errors import ConfigError
from flowedge.graph.graph import Graph
from flowedge.planner.model.applications import applications
from flowedge.planner.model.assemble import problem
from flowedge.planner.model.cluster import Cluster, Node
from flowedge.planner.model.problem import CameraClass
from flowedge.planner.model.profiles import THIS_MACHINE, Profiles, Setting
from flowedge.profiling.measure import cores_here
from flowedge.runtime.controller.adaptation import Cost
from flowedge.runtime.routes import settings


def costs_of(graph: Graph, profiles: Profiles) -> dict[Setting, Cost]:
    """What every setting of a graph takes on this machine, by profiles for "this-machine" or for a single kind.

    Of several ways to serve an operator, that with the fewest core-seconds a frame counts. Raises `ConfigError`
    for profiles of several other kinds, those that `flowedge plan` refuses, and where a setting is missing.

    >>> from flowedge.operators import Null, Resize, video
    >>> from flowedge.planner.model.profiles import Accuracy, Service, setting
    >>> from flowedge import choose
    >>> graph = Graph("tiny")
    >>> video(graph, "street://") >> Resize(choose("size", 320, 640)) >> Null()
    >>> resize = [Service("Resize", "nuc", 1, size / 64e3, setting=setting(size=size)) for size in (320, 640)]
    >>> others = [Service(name, "nuc", 1, 1e-6) for name in ("Decode", "Null")]
    >>> costs_of(graph, Profiles((*resize, *others), (), (Accuracy(0.5, setting(size=320)),)))[("size", 320),]
    Cost(work={'Resize': 0.005}, accuracy=0.5)
    """
    kind = _kind(profiles)
    machine = Cluster((kind,), (Node(kind, kind, kind, cores_here()),))
    cameras = [CameraClass(made.name, made.name, kind, 1.0) for made in applications(graph)]
    problem(graph, machine, profiles, cameras=cameras)  # refuses what `flowedge plan` does
    operators = [node.name for node in graph.nodes if node.feeders and not profiles.free(node.name)]
    return {
        setting: Cost(
            {name: _work(profiles, name, kind, setting) for name in operators}, profiles.accuracy(setting)
        )
        for setting in settings(graph)
    }


def _kind(profiles: Profiles) -> str:
    kinds = sorted({service.kind for service in profiles.services})
    if THIS_MACHINE in kinds:
        return THIS_MACHINE
    if len(kinds) != 1:
        raise ConfigError(
            f"there are profiles for the kinds {', '.join(kinds) or 'of no machine'}, and none for "
            f'"{THIS_MACHINE}"; measure with `flowedge profile` on this machine'
        )
    return kinds[0]


def _work(profiles: Profiles, operator: str, kind: str, setting: Setting) -> float:
    """Core-seconds of a frame."""
    works = [
        (service.work or service.cores * service.seconds) / service.batch
        for service in profiles.services_of(operator, setting)
        if service.kind == kind
    ]
    if not works:
        words = " ".join(f"{name}={value}" for name, value in setting)
        raise ConfigError(f"{operator}: there is no profile for {words}; measure it with `flowedge profile`")
    return min(works)
