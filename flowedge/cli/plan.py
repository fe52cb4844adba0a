"""flowedge plan: where a graph's operators should run in a cluster, and what would come of it."""

from __future__ import annotations

import json
import logging
import sys
import time
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from flowedge.cli.arguments import Debug, Given, GraphFile, assignments
from flowedge.errors import ConfigError, UserError

if TYPE_CHECKING:
    from flowedge.planner.model.cluster import Cluster
    from flowedge.planner.model.plan import Plan
    from flowedge.planner.model.problem import Application, Objective, Problem
    from flowedge.planner.model.profiles import Profiles
    from flowedge.values import Scalar

log = logging.getLogger("flowedge.cli")


def plan(
    graph: GraphFile,
    given: Given = None,
    cluster: Annotated[
        Path, typer.Option("--cluster", metavar="FILE", help="Machines, network and cameras (TOML or JSON).")
    ] = ...,  # type: ignore[assignment]
    profiles: Annotated[
        list[Path] | None,
        typer.Option(
            "--profiles",
            metavar="FILE",
            help="What operators cost (TOML or JSON as `flowedge profile` writes, or CSV); repeatable.",
        ),
    ] = None,
    strategy: Annotated[
        str, typer.Option("--strategy", metavar="NAME", help="Who plans; --compare lists the names.")
    ] = "flowedge",
    compare: Annotated[
        bool, typer.Option("--compare", help="Let all strategies plan, and print a row for each.")
    ] = False,
    as_json: Annotated[bool, typer.Option("--json", help="Print the plan as JSON.")] = False,
    picture: Annotated[
        Path | None, typer.Option("--picture", metavar="FILE", help="Draw the plan (.svg or .png).")
    ] = None,
    debug: Debug = False,
) -> None:
    """Plan where a graph's operators run in a cluster, and predict what comes of it.

    Example: flowedge plan graphs/quickstart.py --cluster graphs/cluster.toml --profiles p.toml --picture p.svg

    Knobs are chosen too, and so are the parameters that the profiles were measured over (`flowedge profile
    --knob`), unless you give their value. Ends with 1 when there is no plan, and says why. The formats of files
    are in flowedge/planner/FORMATS.md.
    """
    from flowedge.planner.display.text import as_data, text

    if picture is not None and picture.suffix not in (".svg", ".png"):
        raise ConfigError(f"--picture {picture}: write a name that ends in .svg or .png")
    if compare and picture is not None:
        raise ConfigError("--picture: draws one plan; leave out --compare")
    problem = _problem(graph, assignments(given), cluster, profiles or ())
    if compare:
        _compare(problem, as_json)
        return
    made, _ = _planned(problem, strategy)
    wrong = _wrong(problem, made)
    print(json.dumps(as_data(problem, made), indent=2) if as_json else text(problem, made))
    if wrong:
        raise UserError(f"{strategy} gave a plan that does not hold: {'; '.join(wrong)}")
    if not made.found:
        raise typer.Exit(1)
    if picture is not None:
        _draw(problem, made, picture)


def _problem(path: str, given: Mapping[str, str], cluster: Path, files: Sequence[Path]) -> Problem:
    """What is to be planned, from the graph and the files."""
    from flowedge.cli.files import read
    from flowedge.graph.loading import load
    from flowedge.planner.files import documents
    from flowedge.planner.model.applications import applications
    from flowedge.planner.model.problem import Problem

    graph, parameters = load(path, given)
    if not files:
        log.info("without --profiles no operator costs anything: measure them with `flowedge profile`")
    known = documents.joined(documents.profiles(str(file), read(file)) for file in files)
    wanted = tuple(_with_parameters(each, known, parameters, given) for each in applications(graph))
    name, text = str(cluster), read(cluster)
    machines = documents.cluster(name, text, lambda other: read(cluster.parent / other))
    cameras = documents.cameras(name, text, [each.name for each in wanted])
    if not cameras:
        raise ConfigError(
            f"{cluster}: there are no cameras; {_into(cluster)}add [[cameras]] with "
            f'name = "north", node = "{machines.nodes[0].name}", fps = 25'
        )
    return Problem(machines, wanted, cameras, known, minimize=_objective(graph.goal.minimize, machines))


def _objective(wanted: str, machines: Cluster) -> Objective:
    """What to minimize: resources, where all plans would be alike because no node states a power or a price."""
    from flowedge.planner.model.cluster import Power

    stated = {
        "energy": any(node.power != Power() for node in machines.nodes),
        "cost": any(node.price for node in machines.nodes),
    }
    if stated.get(wanted, True):
        return wanted  # type: ignore[return-value]
    field = {"energy": "power", "cost": "price"}[wanted]
    log.info(
        "no node of the cluster has a %s, so there is no %s to minimize: resources are instead", field, wanted
    )
    return "resources"


def _into(cluster: Path) -> str:
    """What to do first with a cluster file that cannot have cameras."""
    if cluster.suffix.lower() != ".graphml":
        return ""
    return f'write a cluster file in TOML with [topology] graphml = "{cluster.name}" and cores = 4, and '


def _with_parameters(
    application: Application, profiles: Profiles, parameters: Mapping[str, object], given: Mapping[str, str]
) -> Application:
    """The application with a knob for each parameter that its operators were measured over.

    A parameter that the user gave has this value only.
    """
    stages = {stage.name for stage in application.stages}
    values: dict[str, dict[str, Scalar]] = {}
    for service in profiles.services:
        if service.operator in stages:
            for name, value in service.setting:
                values.setdefault(name, {})[str(value)] = value
    own = {name for name, _ in application.knobs}
    knobs = dict(application.knobs)
    for name, known in values.items():
        if name in own or name not in parameters:
            continue
        if name in given and given[name] not in known:
            raise ConfigError(f"{name}={given[name]}: was not measured; the profiles have {', '.join(known)}")
        knobs[name] = (known[given[name]],) if name in given else tuple(known.values())
    for service in profiles.services:
        missing = [name for name, _ in service.setting if name not in knobs]
        if service.operator in stages and missing:
            raise ConfigError(
                f"{service.operator}: its profiles are for values of {missing[0]}, which the graph "
                "cannot choose"
            )
    return replace(application, knobs=tuple(sorted(knobs.items())))


def _planned(problem: Problem, strategy: str) -> tuple[Plan, float]:
    """The plan of a strategy, and the seconds it took."""
    from flowedge.graph.knobs import suggestion
    from flowedge.planner.strategies import STRATEGIES

    if strategy not in STRATEGIES:
        raise ConfigError(
            f"--strategy {strategy}: there is none of this name{suggestion(strategy, STRATEGIES)}"
        )
    begun = time.perf_counter()
    made = STRATEGIES[strategy](problem, None)
    return made, time.perf_counter() - begun


def _wrong(problem: Problem, made: Plan) -> tuple[str, ...]:
    from flowedge.planner.model.checker import violations

    return violations(problem, made)


def _compare(problem: Problem, as_json: bool) -> None:
    """A row for each strategy, whichever of them find a plan; exit code 1 where none does."""
    from flowedge.planner.display.text import aligned, as_data
    from flowedge.planner.strategies import STRATEGIES

    plans = {name: _planned(problem, name) for name in STRATEGIES}
    if as_json:
        rows = [
            as_data(problem, made) | {"strategy": name, "seconds": spent, "violations": _wrong(problem, made)}
            for name, (made, spent) in plans.items()
        ]
        print(json.dumps(rows, indent=2))
    else:
        valid = [made.value for made, _ in plans.values() if made.found and not _wrong(problem, made)]
        least = min(valid, default=0.0)
        lines = [_row(problem, name, made, spent, least) for name, (made, spent) in plans.items()]
        print(aligned([_HEAD, *lines], right=(1, 2, 3, 4, 5, 6, 7)))
    if not any(made.found for made, _ in plans.values()):
        raise typer.Exit(1)


_HEAD = (
    "strategy", "value", "above least", "worst latency ms", "accuracy", "gap %", "tried", "seconds", "checked",
)  # fmt: skip


def _row(problem: Problem, name: str, made: Plan, spent: float, least: float) -> tuple[str, ...]:
    """A strategy's row; `least` is the least value of all strategies."""
    from flowedge.planner.display.text import UNITS
    from flowedge.planner.model.prediction import predict

    took = (str(made.tried), f"{spent:.3f}")
    if made.reason is not None:
        shown = "; ".join(made.reason.conflict)
        return name, *["-"] * 5, *took, f"{'no plan exists' if made.reason.proven else 'found none'}: {shown}"
    wrong = _wrong(problem, made)
    if wrong:
        return name, *["-"] * 5, *took, f"does not hold: {wrong[0]}"
    prediction = predict(problem, made)
    latency = max(each.total for each in prediction.latencies)
    known = [each for each in prediction.accuracies if each is not None]
    return (
        name,
        f"{made.value:.4g}{UNITS[problem.minimize]}",
        f"{100 * (made.value - least) / abs(least):.1f} %" if least else f"{made.value - least:.4g}",
        f"{1e3 * latency:.1f}",
        f"{min(known):.3f}" if known else "-",
        "-" if made.gap is None else f"{100 * made.gap:.2f}",
        *took,
        "holds",
    )


def _draw(problem: Problem, made: Plan, path: Path) -> None:
    from flowedge.cli.files import write
    from flowedge.planner.display.picture import picture, svg

    drawn = picture(problem, made)
    if path.suffix == ".svg":
        write(path, svg(drawn), "--picture")
    else:
        from flowedge.planner.display.raster import png

        write(path, png(drawn), "--picture")
    print(f"wrote {path}", file=sys.stderr)
