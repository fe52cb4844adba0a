"""Why there is no plan: an irreducible set of goals and capacities that cannot hold together."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace

from flowedge.planner.exact.formulation import Formulation
from flowedge.planner.model.cluster import Cluster, Node
from flowedge.planner.model.problem import Application, Problem, Stage
from flowedge.planner.options.delays import path_delays

_PLENTY = 1e15
_SECONDS = 10.0  # for one question; what is not answered by then is kept


@dataclass(frozen=True)
class _Limit:
    """Something that could be given up, in words, and the problem without it."""

    words: str
    without: Callable[[Problem], Problem]


def conflict(problem: Problem) -> tuple[str, ...]:
    """Limits in conflict, in a few words each, of a problem whose relaxation has no solution.

    A deletion filter: machines, links, pins, latency and accuracy are given up in this order, first all of a
    kind and then by halves, as long as there is no solution without them either.
    """
    kept: list[_Limit] = []
    for limits in _limits(problem):
        problem, needed = _filtered(problem, limits)
        kept += needed
    if not kept:
        return tuple(_hopeless(problem)) or ("no goal or capacity is the cause: no path may lead there",)
    return tuple(limit.words for limit in kept)


def _filtered(problem: Problem, limits: Sequence[_Limit]) -> tuple[Problem, list[_Limit]]:
    """The problem without what is superfluous among the limits, and what is not."""
    without = problem
    for limit in limits:
        without = limit.without(without)
    if not limits or _impossible(without):
        return without, []
    if len(limits) == 1:
        return problem, list(limits)
    half = len(limits) // 2
    problem, first = _filtered(problem, limits[:half])
    problem, right = _filtered(problem, limits[half:])
    return problem, first + right


def _impossible(problem: Problem) -> bool:
    model = Formulation(problem, path_delays(problem.cluster, problem.certainty), waits=False).model
    if model.solve(relaxed=True, time_limit=_SECONDS).state == "infeasible":
        return True
    return model.solve(time_limit=_SECONDS, gap=_PLENTY).state == "infeasible"


def _limits(problem: Problem) -> Iterator[list[_Limit]]:
    yield [_Limit(_described(node), _without_node(node.name)) for node in problem.cluster.nodes]
    yield [
        _Limit(f"link {link.a} - {link.b}: {link.bandwidth / 1e6:g} Mbit/s", _without_link(position))
        for position, link in enumerate(problem.cluster.links)
    ]
    pins = [
        (application, stage)
        for application in problem.applications
        for stage in application.stages
        if stage.tier
    ]
    yield [
        _Limit(
            f"{application.name}: {stage.name} is pinned to {stage.tier}",
            _without_pin(application.name, stage.name),
        )
        for application, stage in pins
        if not stage.source
    ]
    yield [
        _Limit(
            f"{application.name}: latency at most {application.latency:g} s",
            _relaxed(application.name, latency=float("inf")),
        )
        for application in problem.applications
        if application.latency < float("inf")
    ]
    yield [
        _Limit(
            f"{application.name}: accuracy at least {application.accuracy:g}",
            _relaxed(application.name, accuracy=0.0),
        )
        for application in problem.applications
        if application.accuracy > 0
    ]


def _described(node: Node) -> str:
    memory = f", {node.memory / 2**30:.3g} GiB" if node.memory < float("inf") else ""
    return f"{node.name}: {node.cores:g} cores, {node.gpu:g} GPUs{memory}"


def _without_node(name: str) -> Callable[[Problem], Problem]:
    def free(node: Node) -> Node:
        return replace(node, cores=_PLENTY, gpu=_PLENTY, memory=float("inf")) if node.name == name else node

    def without(problem: Problem) -> Problem:
        old = problem.cluster
        return replace(problem, cluster=Cluster(old.tiers, tuple(map(free, old.nodes)), old.links))

    return without


def _without_link(position: int) -> Callable[[Problem], Problem]:
    def without(problem: Problem) -> Problem:
        old = problem.cluster
        wide = replace(old.links[position], bandwidth=_PLENTY)
        links = (*old.links[:position], wide, *old.links[position + 1 :])
        return replace(problem, cluster=Cluster(old.tiers, old.nodes, links))

    return without


def _without_pin(name: str, pinned: str) -> Callable[[Problem], Problem]:
    def free(stage: Stage) -> Stage:
        return replace(stage, tier=None) if stage.name == pinned else stage

    return _changed(name, lambda application: replace(application, stages=tuple(map(free, application.stages))))


def _relaxed(name: str, **goals: float) -> Callable[[Problem], Problem]:
    return _changed(name, lambda application: replace(application, **goals))  # type: ignore[arg-type]


def _changed(name: str, change: Callable[[Application], Application]) -> Callable[[Problem], Problem]:
    def without(problem: Problem) -> Problem:
        applications = (
            change(application) if application.name == name else application
            for application in problem.applications
        )
        return replace(problem, applications=tuple(applications))

    return without


def _hopeless(problem: Problem) -> Iterator[str]:
    """Stages that can be served nowhere, whatever is given up."""
    kinds = {node.kind for node in problem.cluster.nodes}
    for application in problem.applications:
        for stage in application.stages:
            if problem.profiles.free(stage.name):
                continue
            profiled = {service.kind for service in problem.profiles.services if service.operator == stage.name}
            if not profiled & kinds:
                yield f"{application.name}: {stage.name} has no profile for any kind of node that is there"
