"""A plan for people and programs: tables of what runs where and what is predicted, the same as plain data."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

from flowedge.planner.model.assemble import unprofiled_kinds
from flowedge.planner.model.plan import Plan, Route
from flowedge.planner.model.prediction import (
    Prediction,
    fixed_watts,
    frame_joules,
    predict,
    reserved_watts,
)
from flowedge.planner.model.problem import Problem
from flowedge.planner.model.profiles import Setting

UNITS = {"energy": " W", "resources": " nodes", "cost": " an hour", "utility": ""}
"""What the value of a plan counts, by what is minimized."""

_ROWS = 40  # of a table that a person reads


@dataclass(frozen=True, slots=True)
class NodeLoad:
    """What a plan reserves on a node, and the watts that it takes there."""

    node: str
    cores: float
    gpu: float
    memory: float
    watts: float


def text(problem: Problem, plan: Plan) -> str:
    """The plan and what it will do, as tables; why there is none, where none was found."""
    if plan.reason is not None:
        return "\n".join([reason(plan), *_unprofiled(problem)])
    prediction = predict(problem, plan)
    parts = [
        headline(problem, plan),
        _figures(prediction),
        _shortened(_routes(problem, plan, prediction), right=(2, 4, 5, 6, 7, 8)),
        _shortened(_deployments(problem, plan, prediction), right=(2, 3, 4, 5, 6, 7)),
        _shortened(_nodes(problem, plan), right=(2, 3, 4, 5)),
        _shortened(_links(problem, prediction), right=(2, 3, 4)),
        *plan.notes,
        *_unprofiled(problem),
    ]
    return "\n\n".join(part for part in parts if part)


def headline(problem: Problem, plan: Plan) -> str:
    """Its value and how far from the best it may be, in one line.

    >>> from flowedge.planner.model.cluster import Cluster, Node
    >>> from flowedge.planner.model.profiles import Profiles
    >>> empty = Problem(Cluster(("edge",), (Node("pi", "edge", "pi", 4),)), (), (), Profiles())
    >>> headline(empty, Plan("exact", value=11.0, bound=10.0))
    'exact: 11 W, at most 10.0 % above the best (which is at least 10 W)'
    """
    unit = UNITS[problem.minimize]
    if plan.gap is None or plan.bound is None:
        bound = "how far from the best is not known"
    elif plan.gap < 5e-5:
        bound = "the best there is"
    else:
        bound = f"at most {100 * plan.gap:.1f} % above the best (which is at least {plan.bound:.4g}{unit})"
    tried = f"; {plan.tried} candidates tried" if plan.tried else ""
    return f"{plan.strategy}: {plan.value:.4g}{unit}, {bound}{tried}"


def reason(plan: Plan) -> str:
    """Why there is no plan, a line for each limit."""
    assert plan.reason is not None
    conflict = plan.reason.conflict
    if not plan.reason.proven:
        head = f"{plan.strategy} found no plan, which does not prove that there is none:"
    elif len(conflict) > 1:
        head = "there is no plan: these cannot hold together (without any one of them there may be one):"
    else:
        head = "there is no plan, and this is why:"
    return "\n".join([head, *(f"- {limit}" for limit in conflict)])


def _unprofiled(problem: Problem) -> list[str]:
    """What kinds of machines cannot run for want of a profile, a sentence each."""
    return [
        f"nodes of kind {kind} cannot run {', '.join(operators)}: there is no profile for this kind; measure "
        f"on one of them with `flowedge profile --kind {kind}`"
        for kind, operators in unprofiled_kinds(problem).items()
    ]


def as_data(problem: Problem, plan: Plan) -> dict[str, Any]:
    """The plan and its prediction as plain data: seconds, bytes, watts, bit/s.

    JSON has no infinity and no NaN: such a figure (the wait before an overloaded replica, say) is null, and a
    note names it. `unprofiled` has the operators that a kind of node cannot run for want of a profile.
    """
    data = _figures_as_data(problem, plan)
    data["notes"] += [f"{name} is {value}, which JSON cannot say: it is null" for name, value in _nulled(data)]
    return data


def _nulled(data: Any, where: str = "") -> Iterator[tuple[str, float]]:
    """Replace every number that is not finite by None, and yield where it was and what."""
    for key, value in list(data.items() if isinstance(data, dict) else enumerate(data)):
        name = f"{where}[{key}]" if isinstance(data, list) else f"{where}.{key}".lstrip(".")
        if isinstance(value, (dict, list)):
            yield from _nulled(value, name)
        elif isinstance(value, float) and not math.isfinite(value):
            data[key] = None
            yield name, value


def _figures_as_data(problem: Problem, plan: Plan) -> dict[str, Any]:
    data: dict[str, Any] = {
        "strategy": plan.strategy,
        "found": plan.found,
        "minimize": problem.minimize,
        "tried": plan.tried,
        "notes": list(plan.notes),
        "unprofiled": {kind: list(names) for kind, names in unprofiled_kinds(problem).items()},
    }
    if plan.reason is not None:
        return data | {"conflict": list(plan.reason.conflict), "proven": plan.reason.proven}
    prediction = predict(problem, plan)
    return data | {
        "value": plan.value,
        "bound": plan.bound,
        "gap": plan.gap,
        "throughput": prediction.throughput,
        "watts": prediction.watts,
        "reserved_nodes": prediction.shares,
        "price": prediction.price,
        "deployments": _deployments_as_data(plan, prediction),
        "routes": _routes_as_data(plan, prediction),
        "links": _links_as_data(problem, prediction),
    }


def _deployments_as_data(plan: Plan, prediction: Prediction) -> list[dict[str, Any]]:
    return [
        {
            "operator": deployment.operator, "node": deployment.node, "replicas": deployment.replicas,
            "cores": service.cores, "gpu": service.gpu, "memory": service.memory,
            "batch": service.batch, "service": service.seconds, "work": service.work,
            "setting": dict(service.setting), "source": service.source,
            "frames_per_second": load, "utilisation": used,
        }
        for deployment, load, used in zip(
            plan.deployments, prediction.loads, prediction.utilisations, strict=True
        )
        for service in (deployment.service,)
    ]  # fmt: skip


def _routes_as_data(plan: Plan, prediction: Prediction) -> list[dict[str, Any]]:
    return [
        {
            "cameras": route.camera_class, "count": route.cameras, "setting": dict(route.setting),
            "placements": {
                placement.stage: {"node": placement.node, "deployment": placement.deployment}
                for placement in route.placements
            },
            "latency": {
                "total": latency.total, "service": latency.service, "waiting": latency.waiting,
                "network": latency.network,
            },
            "accuracy": accuracy,
        }
        for route, latency, accuracy in zip(
            plan.routes, prediction.latencies, prediction.accuracies, strict=True
        )
    ]  # fmt: skip


def _links_as_data(problem: Problem, prediction: Prediction) -> list[dict[str, Any]]:
    arcs = problem.cluster.arcs
    return [
        {
            "from": arcs[index].start, "to": arcs[index].end, "bits_per_second": flow,
            "utilisation": flow / arcs[index].bandwidth,
        }
        for index, flow in sorted(prediction.arcs.items())
    ]  # fmt: skip


def node_loads(problem: Problem, plan: Plan) -> dict[str, NodeLoad]:
    """What the plan reserves on each node that it uses, in the cluster's order."""
    sums: dict[str, list[float]] = {}
    for deployment, load in zip(plan.deployments, predict(problem, plan).loads, strict=True):
        service, node = deployment.service, problem.cluster[deployment.node]
        sums.setdefault(deployment.node, [0.0, 0.0, 0.0, fixed_watts(node)])
        watts = deployment.replicas * reserved_watts(node, service) + load * frame_joules(node, service)
        for position, amount in enumerate((service.cores, service.gpu, service.memory)):
            sums[deployment.node][position] += amount * deployment.replicas
        sums[deployment.node][3] += watts
    return {
        node.name: NodeLoad(node.name, *sums[node.name]) for node in problem.cluster.nodes if node.name in sums
    }


def setting_text(chosen: Setting) -> str:
    """
    >>> setting_text((("size", 640), ("tiles", 4))), setting_text(())
    ('size=640 tiles=4', '-')
    """
    return " ".join(f"{name}={value}" for name, value in chosen) or "-"


def aligned(rows: Sequence[Sequence[str]], right: Sequence[int] = ()) -> str:
    """Rows of cells as columns; those at `right` are aligned to the right.

    >>> print(aligned([("node", "cores"), ("pi", "4")], right=(1,)))
    node  cores
    pi        4
    """
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    return "\n".join(
        "  ".join(
            cell.rjust(width) if position in right else cell.ljust(width)
            for position, (cell, width) in enumerate(zip(row, widths, strict=True))
        ).rstrip()
        for row in rows
    )


def _shortened(rows: Iterator[tuple[str, ...]], right: Sequence[int]) -> str:
    """A table of which a person can read the whole; nothing where it has a head only."""
    lines = list(rows)
    if len(lines) < 2:
        return ""
    table = aligned(lines[: _ROWS + 1], right)
    omitted = len(lines) - 1 - _ROWS
    return table if omitted <= 0 else f"{table}\n... and {omitted} more (--json has all)"


def _figures(prediction: Prediction) -> str:
    """The figures of the whole plan, in one line."""
    if not prediction.latencies:
        return "no cameras"
    worst = max(prediction.latencies, key=lambda latency: latency.total)
    parts = (("service", worst.service), ("waiting", worst.waiting), ("network", worst.network))
    words = " + ".join(f"{name} {_ms(seconds)}" for name, seconds in parts)
    accuracies = [accuracy for accuracy in prediction.accuracies if accuracy is not None]
    accuracy = f"; accuracy at least {min(accuracies):.3f}" if accuracies else ""
    return (
        f"latency at most {_ms(worst.total)} ms = {words}{accuracy}; throughput {prediction.throughput:g} "
        f"frames/s; energy {prediction.watts:.3g} W; reserved {prediction.shares:.3g} nodes; "
        f"cost {prediction.price:.3g} an hour"
    )


def _routes(problem: Problem, plan: Plan, prediction: Prediction) -> Iterator[tuple[str, ...]]:
    yield "cameras", "at", "count", "setting", "latency ms", "service", "waiting", "network", "accuracy", "way"
    for route, latency, accuracy in zip(plan.routes, prediction.latencies, prediction.accuracies, strict=True):
        times = (latency.total, latency.service, latency.waiting, latency.network)
        yield (
            route.camera_class,
            problem.camera_classes[route.camera_class].node,
            str(route.cameras),
            setting_text(route.setting),
            *map(_ms, times),
            "-" if accuracy is None else f"{accuracy:.3f}",
            way(route),
        )


def way(route: Route) -> str:
    """The nodes of a route and what each does, in the graph's order."""
    at: dict[str, list[str]] = {}
    for placement in route.placements:
        at.setdefault(placement.node, []).append(placement.stage)
    return "; ".join(f"{node}: {', '.join(stages)}" for node, stages in at.items())


def _deployments(problem: Problem, plan: Plan, prediction: Prediction) -> Iterator[tuple[str, ...]]:
    yield "operator", "on", "replicas", "cores", "GPUs", "MiB", "service ms", "load %", "variant", "known from"
    order = {node.name: position for position, node in enumerate(problem.cluster.nodes)}
    pairs = zip(plan.deployments, prediction.utilisations, strict=True)
    for deployment, used in sorted(pairs, key=lambda pair: order[pair[0].node]):
        service = deployment.service
        yield (
            deployment.operator,
            deployment.node,
            str(deployment.replicas),
            f"{service.cores:g}",
            f"{service.gpu:g}",
            f"{service.memory / 2**20:.3g}",
            _ms(service.seconds),
            f"{100 * used:.0f}",
            setting_text(service.setting),
            service.source,
        )


def _nodes(problem: Problem, plan: Plan) -> Iterator[tuple[str, ...]]:
    yield "node", "tier", "cores", "GPUs", "memory GiB", "W"
    for name, load in node_loads(problem, plan).items():
        node = problem.cluster[name]
        memory = f"{load.memory / 2**30:.2g}"
        if node.memory < float("inf"):
            memory += f" of {node.memory / 2**30:.3g}"
        cores, gpus = f"{load.cores:g} of {node.cores:g}", f"{load.gpu:g} of {node.gpu:g}"
        yield name, node.tier, cores, gpus, memory, f"{load.watts:.3g}"


def _links(problem: Problem, prediction: Prediction) -> Iterator[tuple[str, ...]]:
    yield "from", "to", "Mbit/s", "of", "load %"
    for index, flow in sorted(prediction.arcs.items()):
        arc = problem.cluster.arcs[index]
        share = 100 * flow / arc.bandwidth
        yield arc.start, arc.end, f"{flow / 1e6:.3g}", f"{arc.bandwidth / 1e6:g}", f"{share:.2g}"


def _ms(seconds: float) -> str:
    """Milliseconds in few digits.

    >>> _ms(0.01234), _ms(1.2345), _ms(0.0)
    ('12.3', '1234', '0')
    """
    ms = 1e3 * seconds
    return f"{ms:.0f}" if ms >= 100 else f"{ms:.3g}"
