"""flowedge run: attach a graph to its video and show how it goes."""

from __future__ import annotations

import faulthandler
import logging
import os
import signal
import sys
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from flowedge.cli import files
from flowedge.cli.arguments import (
    Certs,
    Debug,
    GraphFile,
    GraphsAndGiven,
    Insecure,
    graphs_and_assignments,
    seconds,
)
from flowedge.cli.running import TICK_SECONDS, Signals, noted_signals, print_summary, write_report
from flowedge.errors import ConfigError, UserError

if TYPE_CHECKING:
    from flowedge.cli.display import Show
    from flowedge.graph.graph import Graph
    from flowedge.planner.model.profiles import Setting
    from flowedge.runtime.controller.adaptation import Cost
    from flowedge.runtime.plan_file import LocalPlan
    from flowedge.runtime.run import Run
    from flowedge.runtime.workers.network import Network

log = logging.getLogger("flowedge.cli")

SWITCH_SECONDS = 0.0005
"""How long a thread may keep the interpreter while others wait: a tenth of Python's default, since a frame
changes threads at every hop."""


def run(
    graph: GraphFile,
    given: GraphsAndGiven = None,
    duration: Annotated[
        str | None, typer.Option("--for", metavar="TIME", help="Stop after this time, e.g. 30s or 5min.")
    ] = None,
    frames: Annotated[
        int | None, typer.Option("--frames", min=1, metavar="N", help="Stop each camera after N frames.")
    ] = None,
    report: Annotated[
        Path | None, typer.Option("--report", metavar="FILE", help="Write the report as JSON, also on failure.")
    ] = None,
    max_failures: Annotated[
        float,
        typer.Option("--max-failures", min=0, max=1, help="Share of an operator's frames that may fail."),
    ] = 0.5,
    fixed: Annotated[
        bool,
        typer.Option("--fixed", help="Stay in one process, with the first value of every knob."),
    ] = False,
    plan: Annotated[
        Path | None,
        typer.Option(
            "--plan",
            metavar="FILE",
            help="Run this plan, as `flowedge plan --json` wrote it.",
        ),
    ] = None,
    profiles: Annotated[
        list[Path] | None,
        typer.Option(
            "--profiles",
            metavar="FILE",
            help="What settings take and yield until that is measured, as for `flowedge plan`; repeatable.",
        ),
    ] = None,
    strategy: Annotated[
        str, typer.Option("--strategy", metavar="NAME", help="Who plans, see `flowedge plan --compare`.")
    ] = "flowedge",
    listen: Annotated[
        str | None,
        typer.Option(
            "--listen", metavar="ENDPOINT", help="Where nodes of the plan dial in, e.g. tls/10.0.0.5:7447."
        ),
    ] = None,
    certs: Certs = None,
    insecure: Insecure = False,
    debug: Debug = False,
) -> None:
    """Run a graph, or several, until their video ends, their time is up or Ctrl-C.

    Example: flowedge run graphs/detect.py source=rtsp://10.0.0.5/street model=yolo11n output=street.mp4

    Several graphs run in processes of their own and take turns where the machine has too few cores for all.
    Ends with 0 when all went well, 1 when something failed, 129 after SIGHUP, 130 after Ctrl-C and 143 after
    SIGTERM.
    """
    from flowedge.graph.loading import load
    from flowedge.runtime.home import HomeSettings
    from flowedge.runtime.plan_file import NO_PLAN, local_plan
    from flowedge.runtime.run import Run

    faulthandler.enable(sys.stderr)  # a crash in a library says in which operator it happened
    limit = seconds(duration) if duration else None
    others, values = graphs_and_assignments(given)
    _check(report, plan, profiles, fixed, strategy, 1 + len(others))
    if others:
        from flowedge.cli.run_several import run_several

        common = HomeSettings("", {}, frames, max_failures, fixed, strategy, debug)
        run_several([graph, *others], values, common, limit, report)
        return
    loaded, _ = load(graph, values)
    planned = local_plan(loaded, str(plan), files.read(plan)) if plan is not None else NO_PLAN
    _keep_to(planned)
    costs = _costs(loaded, profiles) if profiles else {}
    sys.setswitchinterval(SWITCH_SECONDS)  # the process is ours, which an embedded run could not say
    with _network(planned, listen, certs, insecure, values) as network, noted_signals() as signals:
        running = Run(
            loaded,
            frames=frames,
            plan=planned.configurations,
            shares=planned.shares,
            max_failures=max_failures,
            network=network,
        )
        try:
            _attend(running, loaded, signals, limit, fixed or plan is not None, strategy, costs)
        except KeyboardInterrupt:
            log.info("stopped before it began")
        finally:
            print_summary(running.report())
            reported = report is None or write_report(report, running.report().as_json())
    if signals.caught:
        raise typer.Exit(128 + signals.caught[0])
    if not reported or any(camera.error for camera in running.report().cameras.values()):
        raise typer.Exit(1)


def _check(
    report: Path | None,
    plan: Path | None,
    profiles: Sequence[Path] | None,
    fixed: bool,
    strategy: str,
    graphs: int,
) -> None:
    """Raise `UserError` for a report that cannot be written and for options that do not go together."""
    if report is not None and not os.access(report.parent, os.W_OK):
        raise UserError(f"--report {report}: its folder does not exist or may not be written to")
    if report is not None and report.is_dir():
        raise UserError(f"--report {report}: is a folder; name a file in it")
    if plan is not None and strategy != "flowedge":
        raise ConfigError(f"--strategy {strategy}: --plan gives the plan already; leave one of them out")
    if profiles and (fixed or plan is not None):
        raise ConfigError(f"--profiles {profiles[0]}: with --fixed or --plan nothing is chosen; leave it out")
    if graphs > 1 and plan is not None:
        raise ConfigError(f"--plan {plan}: a plan is for one graph, and {graphs} are given")
    if graphs > 1 and profiles:
        raise ConfigError(f"--profiles {profiles[0]}: profiles are of one graph; run it alone")


@contextmanager
def _network(
    plan: LocalPlan,
    endpoint: str | None,
    certs: Path | None,
    insecure: bool,
    given: Mapping[str, str],
) -> Iterator[Network | None]:
    """Where the other machines of a plan dial in; None for a plan that needs no other."""
    if endpoint is None:
        if plan.machines:
            raise ConfigError(
                f"the plan needs other machines ({', '.join(plan.machines)}): say where they dial in, e.g. "
                f"--listen tls/10.0.0.5:7447 --certs certs"
            )
        yield None
        return
    if not plan.machines:
        raise ConfigError(
            f"--listen {endpoint}: no plan needs another machine; give one with --plan, or leave it out"
        )
    from flowedge.plane.access import HOME
    from flowedge.plane.credentials import Credentials
    from flowedge.plane.remote import listen
    from flowedge.runtime.workers.network import Network

    credentials = Credentials.of(certs, HOME) if certs else None
    with Network(listen(endpoint, credentials, nodes=plan.machines, insecure=insecure), given) as network:
        yield network


def _keep_to(plan: LocalPlan) -> None:
    """Let engines of this process take the cores that a plan has for them, and say what is not kept to its."""
    from flowedge.inference.engines import limit_threads

    if plan.threads is not None:
        limit_threads(plan.threads)
    if plan.recalled:
        log.info(
            "%s: the plan has it on another machine, but it can work only here, where the cameras are read",
            ", ".join(plan.recalled),
        )
    if plan.not_kept:
        log.info(
            "%s: the plan has a part of a core for it, but in the process of the command nothing is kept to "
            "that: it may be faster than planned, and take from others",
            ", ".join(plan.not_kept),
        )


def _costs(graph: Graph, profiles: Sequence[Path]) -> Mapping[Setting, Cost]:
    """What the settings of a graph take, by the files."""
    from flowedge.planner.files import documents
    from flowedge.runtime.controller.given_costs import costs_of

    with documents.named(str(profiles[0])):
        return costs_of(
            graph, documents.joined(documents.profiles(str(file), files.read(file)) for file in profiles)
        )


@contextmanager
def _failover(running: Run) -> Iterator[None]:
    """Go on without other machines when they cannot be reached."""
    if running.network is None:
        yield
        return
    from flowedge.runtime.failover import Failover

    with Failover(running, running.network):
        yield


def _attend(
    running: Run,
    graph: Graph,
    signals: Signals,
    limit: float | None,
    fixed: bool,
    strategy: str,
    costs: Mapping[Setting, Cost],
) -> None:
    """Start the run, show it, and return when it has ended or has been asked to."""
    from flowedge.cli.display import display
    from flowedge.runtime.controller.adapting import adapting

    with display() as show, running:
        signals.only_noted = True
        log.info("running %s; tap it at %s", graph.name, running.endpoint)
        with adapting(running, fixed=fixed, strategy=strategy, costs=costs), _failover(running):
            _follow(running, signals, limit, show)
        if not signals.caught:
            running.wait()


def _follow(running: Run, signals: Signals, limit: float | None, show: Show) -> None:
    """Show the run until it has finished, its time is up, or a signal asks it to stop; a second one aborts."""
    begun = time.monotonic()
    stopping = False
    while not running.finished_within(TICK_SECONDS):
        show(lambda: [running.report()])
        due = limit is not None and time.monotonic() - begun >= limit
        if (due or signals.caught) and not stopping:
            stopping = True
            if signals.caught:
                log.info("%s: ending the run", signal.Signals(signals.caught[0]).name)
            running.stop()
        if len(signals.caught) > 1:
            running.abort()
