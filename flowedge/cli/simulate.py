"""flowedge simulate: what would become of streams under each dispatch policy or strategy."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from flowedge.cli.arguments import Debug
from flowedge.errors import ConfigError

if TYPE_CHECKING:
    from rich.table import Table

    from flowedge.simulate.results import Results
    from flowedge.simulate.scenario import Scenario

WIDE = 200
"""Columns of text for a reader that is no terminal."""

ScenarioFile = Annotated[
    Path, typer.Argument(metavar="SCENARIO", help="A TOML file that describes a scenario.")
]


def simulate(
    scenario: ScenarioFile,
    csv: Annotated[Path | None, typer.Option("--csv", metavar="FILE", help="Write the figures as CSV.")] = None,
    plot: Annotated[
        Path | None, typer.Option("--plot", metavar="FILE", help="Draw them (PNG, SVG or PDF).")
    ] = None,
    policy: Annotated[
        str | None,
        typer.Option("--policy", metavar="NAME,...", help="Policies (or strategies) instead of the file's."),
    ] = None,
    seed: Annotated[
        int | None, typer.Option("--seed", min=0, metavar="N", help="Instead of the file's.")
    ] = None,
    debug: Debug = False,
) -> None:
    """Simulate streams over nodes and links, once for each policy or strategy.

    Example: flowedge simulate tools/scenarios/street.toml --policy power-of-two,closest --plot street.png

    Every policy meets the same requests; the same seed gives the same figures. The format of scenarios, and of
    the clusters, traces and problems that they name, is in flowedge/planner/FORMATS.md.
    """
    from flowedge.cli.files import write
    from flowedge.simulate.plots import drawn, kind_of
    from flowedge.simulate.results import as_csv

    for option, path in (("--csv", csv), ("--plot", plot)):
        if path is not None and not path.parent.is_dir():
            raise ConfigError(f"{option} {path}: there is no folder {str(path.parent)!r}; make it first")
    if plot is not None:
        kind_of(plot)
    chosen = _scenario(scenario, policy, seed)
    runs = list(_runs(chosen))
    _print(runs)
    if csv is not None:
        write(csv, as_csv(runs), "--csv")
    if plot is not None:
        write(plot, drawn(chosen, runs, kind_of(plot)), "--plot")


def _scenario(path: Path, policy: str | None, seed: int | None) -> Scenario:
    """The scenario of a file, with the policies and the seed that were given in place of the file's."""
    from dataclasses import replace

    from flowedge.simulate.reading import load

    scenario = load(path)
    if seed is not None:
        scenario = replace(scenario, seed=seed)
    if policy is not None:
        scenario = replace(scenario, choices=tuple(name.strip() for name in policy.split(",")))
    _check_choices(scenario)
    return scenario


def _check_choices(scenario: Scenario) -> None:
    """Refuse an unknown name before anything has run."""
    from flowedge.dispatch import POLICIES
    from flowedge.planner.strategies import STRATEGIES

    kind, choices = ("strategy", STRATEGIES) if scenario.planned else ("dispatch policy", POLICIES)
    for name in scenario.choices:
        if name not in choices:
            raise ConfigError(f"{kind} {name!r} does not exist; there are {', '.join(choices)}")


def _runs(scenario: Scenario) -> Iterator[Results]:
    from flowedge.simulate.running import simulate as run

    with _progress(scenario) as follow:
        for choice in scenario.choices:
            yield run(scenario, choice, follow(choice))


@contextmanager
def _progress(scenario: Scenario) -> Iterator[Callable[[str], Callable[[float], None] | None]]:
    """A bar for each run, on a terminal only."""
    from rich.console import Console
    from rich.progress import Progress

    console = Console(stderr=True)
    if not console.is_terminal:
        yield lambda _: None
        return
    with Progress(console=console, transient=True) as progress:

        def follow(choice: str) -> Callable[[float], None]:
            task = progress.add_task(choice, total=scenario.duration)
            return lambda now: progress.update(task, completed=now)

        yield follow


def _print(runs: Sequence[Results]) -> None:
    """The tables of all runs, and the notes that some have."""
    from rich.console import Console

    console = Console()
    if not console.is_terminal:
        console = Console(width=WIDE)
    for table in tables(runs):
        console.print(table)
    for run in runs:
        for note in run.notes:
            print(f"{run.choice}: {note}")


def tables(runs: Sequence[Results]) -> list[Table]:
    """The runs side by side; then each by application, and how busy nodes were."""
    from rich.table import Table

    head = f"{runs[0].scenario}, {runs[0].duration:g} s, seed {runs[0].seed}" if runs else "nothing"
    whole = Table(title=head, title_justify="left")
    parts = Table(title="by application", title_justify="left")
    whole.add_column("choice", no_wrap=True)
    parts.add_column("choice", no_wrap=True)
    parts.add_column("application", no_wrap=True)
    numbers = ("requests", "success %", "late %", "rejected %", "dropped %", "p50/p95/p99 ms")
    for table in (whole, parts):
        for name in numbers:
            table.add_column(name, justify="right")
    whole.add_column("dropped because")
    whole.add_column("decision us", justify="right")
    for run in runs:
        decision = f"{1e6 * run.seconds_per_decision:.1f}" if run.decisions else ""
        whole.add_row(run.choice, *_figures(run, None), causes(run), decision)
        for name in run.applications:
            parts.add_row(run.choice, name, *_figures(run, name))
    nodes = Table(title="utilisation of nodes, %", title_justify="left")
    nodes.add_column("node")
    for run in runs:
        nodes.add_column(run.choice, justify="right")
    for name in dict.fromkeys(name for run in runs for name in run.nodes):
        nodes.add_row(name, *(f"{100 * run.nodes.get(name, 0.0):.1f}" for run in runs))
    return [whole, parts, nodes] if len(runs[0].applications) > 1 else [whole, nodes]


def causes(run: Results) -> str:
    """Why requests were dropped, most frequent first."""
    from flowedge.simulate.results import lost

    return ", ".join(f"{count} {cause}" for cause, count in lost(run).items())


def _figures(run: Results, application: str | None) -> list[str]:
    """One row: how many, shares of outcomes in per cent, quantiles in milliseconds."""
    counts = run.counts(application)
    total = sum(counts.values())
    if not total:
        return ["0", *["-"] * 5]
    dropped = sum(count for name, count in counts.items() if ": " in name)
    shares = [counts["success"], counts["late"], counts["rejected"], dropped]
    quantiles = "/".join(
        "-" if value != value else f"{1e3 * value:.3g}" for value in run.quantiles(application)
    )
    return [str(total), *(f"{100 * count / total:.2f}" for count in shares), quantiles]
