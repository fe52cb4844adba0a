"""flowedge plan: where a graph's operators should run in a cluster, and what would come of it."""

from __future__ import annotations

import json
import logging
import sys
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from flowedge.cli.arguments import Debug, Given, GraphFile, assignments
from flowedge.errors import ConfigError, UserError

if TYPE_CHECKING:
    from flowedge.planner.model.cluster import Cluster
    from flowedge.planner.model.plan import Plan
    from flowedge.planner.model.problem import Problem
    from flowedge.planner.model.profiles import Profiles
    from flowedge.planner.planning import Planned

log = logging.getLogger("flowedge.cli")

ClusterFile = Annotated[
    Path, typer.Option("--cluster", metavar="FILE", help="Machines, network and cameras (TOML or JSON).")
]
ProfileFiles = Annotated[
    list[Path] | None,
    typer.Option(
        "--profiles",
        metavar="FILE",
        help="What operators cost (TOML or JSON as `flowedge profile` writes, or CSV); repeatable.",
    ),
]
FreeOperators = Annotated[
    list[str] | None,
    typer.Option(
        "--assume-free", metavar="NAME", help="An operator without profile that costs nothing; repeatable."
    ),
]


def plan(
    graph: GraphFile,
    given: Given = None,
    cluster: ClusterFile = ...,  # type: ignore[assignment]
    profiles: ProfileFiles = None,
    profile_here: Annotated[
        bool, typer.Option("--profile-here", help="Measure on this machine first, as `flowedge profile` does.")
    ] = False,
    assume_free: FreeOperators = None,
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

    Knobs are chosen too; a parameter with choices is one, unless you give its value. Every operator but
    sources needs a profile: one that is missing or wrongly named is refused. Ends with 1 when there is no plan,
    and says why. The formats of files are in flowedge/planner/FORMATS.md.
    """
    from flowedge.planner.planning import solved

    if picture is not None and picture.suffix not in (".svg", ".png"):
        raise ConfigError(f"--picture {picture}: write a name that ends in .svg or .png")
    if compare and picture is not None:
        raise ConfigError("--picture: draws one plan; leave out --compare")
    problem = _problem(
        graph, assignments(given), cluster, profiles or (), profile_here, tuple(assume_free or ())
    )
    if compare:
        _compare(problem, as_json)
        return
    planned = solved(problem, strategy)
    _print(problem, planned.plan, as_json)
    if planned.violations:
        raise UserError(f"{strategy} gave a plan that does not hold: {'; '.join(planned.violations)}")
    if not planned.found:
        raise typer.Exit(1)
    if picture is not None:
        _draw(problem, planned.plan, picture)


def _problem(
    path: str,
    given: Mapping[str, str],
    cluster: Path,
    files: Sequence[Path],
    profile_here: bool,
    assume_free: Sequence[str],
) -> Problem:
    """What is to be planned, from the graph and the files."""
    from flowedge.cli.files import read
    from flowedge.graph.loading import load
    from flowedge.planner.files import documents
    from flowedge.planner.model.applications import applications
    from flowedge.planner.model.assemble import problem

    if not (files or profile_here):
        raise ConfigError(
            "--profiles: without them nobody knows what an operator costs; write them with "
            f"`flowedge profile {path}`, or add --profile-here to measure on this machine now"
        )
    graph, _ = load(path, given)
    tables = [documents.profiles(str(file), read(file)) for file in files]
    name, text = str(cluster), read(cluster)
    machines = documents.cluster(name, text, lambda other: read(cluster.parent / other))
    cameras = documents.cameras(name, text, [application.name for application in applications(graph)])
    if not cameras:
        raise ConfigError(
            f"{cluster}: there are no cameras; {_into(cluster)}add [[cameras]] with "
            f'name = "north", node = "{machines.nodes[0].name}", fps = 25'
        )
    if profile_here:
        tables.append(_profiled_here(path, given, _kind_of_this_machine(machines, cluster)))
    made = problem(graph, machines, documents.joined(tables), cameras=cameras, assume_free=assume_free)
    if made.minimize != (wanted := graph.goal.minimize):
        lacking = {"energy": "power", "cost": "price"}[wanted]
        said = "no node of the cluster has a %s, so there is no %s to minimize: resources are instead"
        log.info(said, lacking, wanted)
    return made


def _profiled_here(path: str, given: Mapping[str, str], kind: str) -> Profiles:
    """What the graph's operators take on this machine, measured as `flowedge profile` does."""
    from flowedge.cli.profile import FRAMES, cores_of, measured_here
    from flowedge.profiling.fitting import profiles_of
    from flowedge.profiling.trials import trials

    whole, shares = cores_of()
    settings = list(trials(path, given, {}))
    log.info("measuring %d settings on this machine, as nodes of kind %r", len(settings), kind)
    return profiles_of(measured_here(settings, whole, FRAMES), kind, shares)


def _kind_of_this_machine(machines: Cluster, cluster: Path) -> str:
    """What this machine is called in a cluster: the only kind that there is, or "this-machine"."""
    from flowedge.planner.model.profiles import THIS_MACHINE

    kinds = sorted({node.kind for node in machines.nodes})
    if THIS_MACHINE in kinds:
        return THIS_MACHINE
    if len(kinds) > 1:
        raise ConfigError(
            f'--profile-here: {cluster} has the kinds {", ".join(kinds)} and none called "{THIS_MACHINE}"; '
            "measure with `flowedge profile --kind NAME` on each"
        )
    return kinds[0]


def _into(cluster: Path) -> str:
    """What to do first with a cluster file that cannot have cameras."""
    if cluster.suffix.lower() != ".graphml":
        return ""
    return f'write a cluster file in TOML with [topology] graphml = "{cluster.name}" and cores = 4, and '


def _print(problem: Problem, plan: Plan, as_json: bool) -> None:
    from flowedge.planner.display.text import as_data, text

    if as_json:
        print(json.dumps(as_data(problem, plan), indent=2, allow_nan=False))
    else:
        print(text(problem, plan))


def _timed(problem: Problem, strategy: str) -> tuple[Planned, float]:
    """What a strategy plans, and the seconds it took."""
    from flowedge.planner.planning import solved

    begun = time.perf_counter()
    planned = solved(problem, strategy)
    return planned, time.perf_counter() - begun


def _compare(problem: Problem, as_json: bool) -> None:
    """A row for each strategy, whichever of them find a plan; exit code 1 where none does."""
    from flowedge.planner.display.text import aligned, as_data
    from flowedge.planner.strategies import STRATEGIES

    plans = {name: _timed(problem, name) for name in STRATEGIES}
    if as_json:
        rows = [
            as_data(problem, planned.plan)
            | {"strategy": name, "seconds": spent, "violations": planned.violations}
            for name, (planned, spent) in plans.items()
        ]
        print(json.dumps(rows, indent=2, allow_nan=False))
    else:
        valid = [
            planned.plan.value for planned, _ in plans.values() if planned.found and not planned.violations
        ]
        least = min(valid, default=0.0)
        lines = [_row(name, planned, spent, least) for name, (planned, spent) in plans.items()]
        print(aligned([_HEAD, *lines], right=(1, 2, 3, 4, 5, 6, 7)))
    if not any(planned.found for planned, _ in plans.values()):
        raise typer.Exit(1)


_HEAD = (
    "strategy", "value", "above least", "worst latency ms", "accuracy", "gap %", "tried", "seconds", "checked",
)  # fmt: skip


def _row(name: str, planned: Planned, spent: float, least: float) -> tuple[str, ...]:
    """A strategy's row; `least` is the least value of all strategies."""
    from flowedge.planner.display.text import UNITS

    plan = planned.plan
    took = (str(plan.tried), f"{spent:.3f}")
    if plan.reason is not None:
        shown = "; ".join(plan.reason.conflict)
        return name, *["-"] * 5, *took, f"{'no plan exists' if plan.reason.proven else 'found none'}: {shown}"
    if planned.violations:
        return name, *["-"] * 5, *took, f"does not hold: {planned.violations[0]}"
    prediction = planned.prediction
    latency = max(latency.total for latency in prediction.latencies)
    accuracies = [accuracy for accuracy in prediction.accuracies if accuracy is not None]
    return (
        name,
        f"{plan.value:.4g}{UNITS[planned.problem.minimize]}",
        f"{100 * (plan.value - least) / abs(least):.1f} %" if least else f"{plan.value - least:.4g}",
        f"{1e3 * latency:.1f}",
        f"{min(accuracies):.3f}" if accuracies else "-",
        "-" if plan.gap is None else f"{100 * plan.gap:.2f}",
        *took,
        "holds",
    )


def _draw(problem: Problem, plan: Plan, path: Path) -> None:
    from flowedge.cli.files import write
    from flowedge.planner.display.picture import picture, svg

    drawn = picture(problem, plan)
    if path.suffix == ".svg":
        write(path, svg(drawn), "--picture")
    else:
        from flowedge.planner.display.raster import png

        write(path, png(drawn), "--picture")
    print(f"wrote {path}", file=sys.stderr)
