"""Verification of plans from scratch, trusting nothing that a strategy computed."""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Iterator
from dataclasses import replace

from flowedge.planner.model.plan import Plan, Route
from flowedge.planner.model.prediction import Prediction, predict, valued
from flowedge.planner.model.problem import Problem
from flowedge.planner.model.profiles import holds

_SLACK = 1e-6  # share of a limit by which floating point may miss it


def violations(problem: Problem, plan: Plan) -> tuple[str, ...]:
    """Everything that is wrong with a plan, each in one sentence; nothing for one that was not found.

    Checked are: every camera on a route, every stage placed, variants that the profiles have, capacity of
    nodes and links, load of replicas, latency, accuracy, tier pins, keyed stages and singletons.
    """
    if not plan.found:
        return ("a plan that was not found deploys something",) if plan.routes or plan.deployments else ()
    broken = tuple(_structure(problem, plan))
    if broken:
        return broken
    prediction = predict(problem, plan)
    return (*_capacity(problem, plan, prediction), *_goals(problem, plan, prediction))


def better(problem: Problem, plan: Plan, other: Plan | None) -> Plan:
    """The plan, with the deployments and routes of the other one where that is valid and of less value."""
    if other is None or not other.found:
        return plan
    changed = replace(plan, deployments=other.deployments, routes=other.routes, reason=None, value=math.nan)
    try:
        changed = valued(problem, changed)
    except (LookupError, StopIteration, ZeroDivisionError):  # it is of other nodes or cameras
        return plan
    if (plan.found and changed.value >= plan.value) or violations(problem, changed):
        return plan
    return changed


def _structure(problem: Problem, plan: Plan) -> Iterator[str]:
    """Whether the plan is one at all: names, positions, counts."""
    stages = {stage.name for application in problem.applications for stage in application.stages}
    profiled = set(problem.profiles.services)
    for index, deployment in enumerate(plan.deployments):
        if deployment.node not in problem.cluster.index:
            yield f"deployment {index}: there is no node {deployment.node}"
        elif not deployment.service.fits_on(problem.cluster[deployment.node]):
            yield f"deployment {index}: {deployment.service} does not fit on {deployment.node}"
        if deployment.service not in profiled:
            yield f"deployment {index}: {deployment.service} is a variant without profile"
        if deployment.operator not in stages or deployment.operator != deployment.service.operator:
            yield f"deployment {index}: {deployment.operator} is served as {deployment.service.operator}"
        if not _is_count(deployment.replicas):
            yield f"deployment {index}: {deployment.replicas} replicas"
    served: dict[str, int] = defaultdict(int)
    for index, route in enumerate(plan.routes):
        if route.camera_class not in problem.camera_classes or not _is_count(route.cameras):
            yield f"route {index}: {route.cameras} cameras of {route.camera_class}"
            continue
        served[route.camera_class] += route.cameras
        for fault in _route(problem, plan, route):
            yield f"{_name(index, route)}: {fault}"
    for camera in problem.classes:
        if served[camera.name] != camera.count:
            yield f"{camera.name}: {served[camera.name]} of {camera.count} cameras have a route"


def _route(problem: Problem, plan: Plan, route: Route) -> Iterator[str]:
    camera = problem.camera_classes[route.camera_class]
    application = problem.application(camera.application)
    if route.setting not in set(application.settings()):
        yield f"the knobs have no values {route.setting}"
        return
    if [placement.stage for placement in route.placements] != [stage.name for stage in application.stages]:
        yield "its placements are not one for each stage, in order"
        return
    placed = {placement.stage: placement.node for placement in route.placements}
    unknown = [placement for placement in route.placements if placement.node not in problem.cluster.index]
    if unknown:
        yield from (f"{placement.stage}: there is no node {placement.node}" for placement in unknown)
        return
    for stage, placement in zip(application.stages, route.placements, strict=True):
        if stage.source and placement.node != camera.node:
            yield f"{stage.name}: is on {placement.node}, its cameras are at {camera.node}"
        if stage.tier and not stage.source and problem.cluster[placement.node].tier != stage.tier:
            yield f"{stage.name}: is on {placement.node}, which is not in tier {stage.tier}"
        for name in stage.inputs:
            if problem.cluster.path(placed[name], placement.node) is None:
                yield f"{stage.name}: no path leads from {placed[name]} to {placement.node}"
        if placement.deployment is None:
            if not problem.profiles.free(stage.name):
                yield f"{stage.name}: is served by no deployment"
            elif problem.follows_input(stage) and placement.node != placed[stage.inputs[0]]:
                yield f"{stage.name}: costs nothing, but is not on {placed[stage.inputs[0]]} with its input"
            continue
        if placement.deployment not in range(len(plan.deployments)):
            yield f"{stage.name}: there is no deployment {placement.deployment}"
            continue
        deployment = plan.deployments[placement.deployment]
        if deployment.operator != stage.name or deployment.node != placement.node:
            yield f"{stage.name}: is served by {deployment.operator} on {deployment.node}"
        most = problem.utilisation * deployment.service.rate
        rate = problem.rates[camera.name]
        if stage.keyed and _above(rate, most):
            yield f"{stage.name}: a camera sends {rate:g} frames/s, a replica takes {most:g}"
        if deployment.service.operator != stage.name or not holds(deployment.service.setting, route.setting):
            yield f"{stage.name}: its deployment serves {deployment.service.setting}, not {route.setting}"


def _capacity(problem: Problem, plan: Plan, prediction: Prediction) -> Iterator[str]:
    used: dict[str, list[float]] = defaultdict(lambda: [0.0, 0.0, 0.0])
    for deployment in plan.deployments:
        service = deployment.service
        for position, need in enumerate((service.cores, service.gpu, service.memory)):
            used[deployment.node][position] += need * deployment.replicas
    for name, needs in used.items():
        node = problem.cluster[name]
        for what, need, have in zip(
            ("cores", "GPUs", "bytes of memory"), needs, (node.cores, node.gpu, node.memory), strict=True
        ):
            if _above(need, have):
                yield f"{name}: {need:g} {what} are taken, it has {have:g}"
    for position, flow in prediction.arcs.items():
        arc = problem.cluster.arcs[position]
        if _above(flow, arc.bandwidth):
            yield f"link {arc.start} - {arc.end}: {flow:g} bit/s are sent, it carries {arc.bandwidth:g}"
    stages = {stage.name: stage for application in problem.applications for stage in application.stages}
    served = zip(plan.deployments, prediction.loads, prediction.streams, strict=True)
    for deployment, load, cameras in served:
        most = problem.utilisation * deployment.replicas * deployment.service.rate
        if _above(load, most):
            yield f"{deployment.operator} on {deployment.node}: {load:g} frames/s come, {most:g} may"
        if stages[deployment.operator].keyed and deployment.replicas > cameras:
            yield (
                f"{deployment.operator} on {deployment.node}: keyed by camera, but {deployment.replicas} "
                f"replicas are more than its {cameras} cameras"
            )
    for name, stage in stages.items():
        replicas = sum(deployment.replicas for deployment in plan.deployments if deployment.operator == name)
        if stage.singleton and replicas > 1:
            yield f"{name}: runs {replicas} times, but may only once"


def _goals(problem: Problem, plan: Plan, prediction: Prediction) -> Iterator[str]:
    rows = zip(plan.routes, prediction.latencies, prediction.accuracies, strict=True)
    for index, (route, latency, accuracy) in enumerate(rows):
        application = problem.application(problem.camera_classes[route.camera_class].application)
        if _above(latency.total, application.latency):
            yield f"{_name(index, route)}: {latency.total:g} s, at most {application.latency:g} wanted"
        if application.accuracy > 0 and (accuracy is None or accuracy < application.accuracy - _SLACK):
            yield f"{_name(index, route)}: accuracy {accuracy}, {application.accuracy:g} wanted"
    value = prediction.value
    if not abs(value - plan.value) <= abs(value) * 1e-3 + 1e-9:
        yield f"the plan says its value is {plan.value:g}, it is {value:g}"
    if plan.bound is not None and not plan.bound <= value + abs(value) * 1e-3 + 1e-9:
        yield f"the plan says that none is below {plan.bound:g}, but its own value is {value:g}"


def _name(index: int, route: Route) -> str:
    return f"route {index} ({route.camera_class})"


def _is_count(value: object) -> bool:
    return isinstance(value, int) and not isinstance(value, bool) and value >= 1


def _above(value: float, limit: float) -> bool:
    return value > limit * (1 + _SLACK) + 1e-12
