"""flowedge status: what the graphs on this machine do now."""

from __future__ import annotations

import json
import logging
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING, Annotated

import typer

from flowedge.cli.arguments import Debug
from flowedge.errors import UserError

if TYPE_CHECKING:
    from flowedge.plane.state import Watched
    from flowedge.plane.topics import RunningGraph

log = logging.getLogger("flowedge.cli")

PATIENCE_SECONDS = 5.0
"""How long a run may take to say how it goes."""

WIDE = 160
"""Columns of text for a reader that is no terminal."""


def status(
    as_json: Annotated[
        bool,
        typer.Option("--json", help="Print JSON: of every graph what --report has, its process and endpoint."),
    ] = False,
    debug: Debug = False,
) -> None:
    """Say what the graphs that run on this machine do: cameras, operators, workers, knobs, goal, last decision.

    Example: flowedge status --json

    Rates and times are those of the last seconds. Ends with 0 when every graph has answered, and with 1 when no
    graph runs or one does not answer.
    """
    from flowedge.plane.topics import running

    targets = running()
    if not targets and not as_json:
        raise UserError("no graph runs on this machine")
    with watching(targets) as graphs:
        for graph in graphs:
            if not graph.wait(PATIENCE_SECONDS):
                graph.problem = f"{graph.name} does not answer"
        told = [graph for graph in graphs if graph.newest is not None]
        if as_json:
            _print_json(told)
        else:
            _print_tables(told)
        for graph in graphs:
            if graph.newest is None:
                log.error("%s", graph.problem)
    if len(told) < len(targets) or not targets:
        raise typer.Exit(1)


@contextmanager
def watching(targets: Sequence[RunningGraph]) -> Iterator[list[Watched]]:
    """Listen to these graphs; their `newest` are reports."""
    from flowedge.monitor.report import Report
    from flowedge.plane.state import Watched

    graphs = [Watched(target, Report.from_json) for target in targets]
    try:
        yield graphs
    finally:
        for graph in graphs:
            graph.close()


def _print_json(graphs: Sequence[Watched]) -> None:
    data = [
        {"pid": graph.target.pid, "endpoint": graph.target.endpoint, **graph.newest.as_json()}
        for graph in graphs
    ]
    print(json.dumps({"graphs": data}, indent=2))


def _print_tables(graphs: Sequence[Watched]) -> None:
    from rich.console import Console

    from flowedge.cli.display import tables

    console = Console()
    if not console.is_terminal:
        console = Console(width=WIDE)
    for graph in graphs:
        console.print(tables(graph.newest, graph.name), highlight=False, markup=False)
