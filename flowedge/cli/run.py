"""flowedge run: attach a graph to its video and show how it goes."""

from __future__ import annotations

import faulthandler
import json
import logging
import os
import signal
import sys
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from types import FrameType
from typing import TYPE_CHECKING, Annotated, Any

import typer

from flowedge.cli import files
from flowedge.cli.arguments import Certs, Debug, Given, GraphFile, Insecure, assignments, seconds
from flowedge.errors import ConfigError, UserError

if TYPE_CHECKING:
    from flowedge.cli.display import Show
    from flowedge.graph.graph import Graph
    from flowedge.monitor.report import Report
    from flowedge.runtime.network import Network
    from flowedge.runtime.routes import Configuration
    from flowedge.runtime.run import Run

log = logging.getLogger("flowedge.cli")

TICK_SECONDS = 0.1

SWITCH_SECONDS = 0.0005
"""How long a thread may keep the interpreter while others wait: a tenth of Python's default, since a frame
changes threads at every hop."""


def run(
    graph: GraphFile,
    given: Given = None,
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
    """Run a graph until its video ends, its time is up or Ctrl-C.

    Example: flowedge run graphs/detect.py source=rtsp://10.0.0.5/street model=yolo11n output=street.mp4

    Ends with 0 when all went well, 1 when something failed, 129 after SIGHUP, 130 after Ctrl-C and 143 after
    SIGTERM.
    """
    from flowedge.graph.loading import load
    from flowedge.runtime.plan_file import configurations
    from flowedge.runtime.run import Run

    faulthandler.enable(sys.stderr)  # a crash in a library says in which operator it happened
    limit = seconds(duration) if duration else None
    if report is not None and not os.access(report.parent, os.W_OK):
        raise UserError(f"--report {report}: its folder does not exist or may not be written to")
    if report is not None and report.is_dir():
        raise UserError(f"--report {report}: is a folder; name a file in it")
    if plan is not None and strategy != "flowedge":
        raise ConfigError(f"--strategy {strategy}: --plan gives the plan already; leave one of them out")
    loaded, _ = load(graph, assignments(given))
    planned = configurations(loaded, str(plan), files.read(plan)) if plan is not None else ()
    sys.setswitchinterval(SWITCH_SECONDS)  # the process is ours, which an embedded run could not say
    with _network(planned, listen, certs, insecure, assignments(given)) as network, _signals() as signals:
        running = Run(loaded, frames=frames, plan=planned, max_failures=max_failures, network=network)
        try:
            _attend(running, loaded, signals, limit, fixed or plan is not None, strategy)
        except KeyboardInterrupt:
            log.info("stopped before it began")
        finally:
            reported = _conclude(running.report(), report)
    if signals.caught:
        raise typer.Exit(128 + signals.caught[0])
    if not reported or any(camera.error for camera in running.report().cameras.values()):
        raise typer.Exit(1)


@contextmanager
def _network(
    planned: Sequence[tuple[Configuration, Any]],
    endpoint: str | None,
    certs: Path | None,
    insecure: bool,
    given: Mapping[str, str],
) -> Iterator[Network | None]:
    """Where the other machines of a plan dial in; None for a plan that needs no other."""
    from flowedge.runtime.hosting import machine_of

    nodes = {
        machine
        for configuration, _ in planned
        for workers in configuration.workers.values()
        for worker in workers
        if (machine := machine_of(worker))
    }
    if endpoint is None:
        if nodes:
            raise ConfigError(
                f"the plan needs other machines ({', '.join(sorted(nodes))}): say where they dial in, e.g. "
                f"--listen tls/10.0.0.5:7447 --certs certs"
            )
        yield None
        return
    from flowedge.plane.access import HOME
    from flowedge.plane.credentials import Credentials
    from flowedge.plane.remote import listen
    from flowedge.runtime.network import Network

    credentials = Credentials.of(certs, HOME) if certs else None
    with Network(listen(endpoint, credentials, nodes=sorted(nodes), insecure=insecure), given) as network:
        yield network


@contextmanager
def _adapting(running: Run, fixed: bool, strategy: str) -> Iterator[None]:
    """Let operators have the processes that they need, and the knobs of the graph follow its goal."""
    from flowedge.runtime.routes import settings

    count = len(settings(running.graph))
    goal = running.graph.goal
    if fixed:
        yield
        return
    if count < 2 or (goal.latency is None and goal.accuracy is None):
        from flowedge.runtime.controller.offloading import Offloading

        if count > 1:
            log.info("the graph has no goal, so its knobs keep their first values")
        with Offloading(running):
            yield
        return
    from flowedge.runtime.controller.controller import Controller

    with Controller(running, strategy=strategy):
        yield


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
    running: Run, graph: Graph, signals: Signals, limit: float | None, fixed: bool, strategy: str
) -> None:
    """Start the run, show it, and return when it has ended or has been asked to."""
    from flowedge.cli.display import display

    with display() as show, running:
        signals.only_noted = True
        log.info("running %s; tap it at %s", graph.name, running.endpoint)
        with _adapting(running, fixed, strategy), _failover(running):
            _follow(running, signals, limit, show)
        if not signals.caught:
            running.wait()


def _follow(running: Run, signals: Signals, limit: float | None, show: Show) -> None:
    """Show the run until it has finished, its time is up, or a signal asks it to stop; a second one aborts."""
    begun = time.monotonic()
    stopping = False
    while not running.finished_within(TICK_SECONDS):
        show(running.report)
        due = limit is not None and time.monotonic() - begun >= limit
        if (due or signals.caught) and not stopping:
            stopping = True
            if signals.caught:
                log.info("%s: ending the run", signal.Signals(signals.caught[0]).name)
            running.stop()
        if len(signals.caught) > 1:
            running.abort()


@dataclass
class Signals:
    """The numbers of the signals that asked the run to end, in order.

    Until they are `only_noted`, they interrupt: while operators load, nobody looks here.
    """

    caught: list[int] = field(default_factory=list)
    only_noted: bool = False

    def note(self, number: int, _: FrameType | None) -> None:
        self.caught.append(number)
        if not self.only_noted:
            raise KeyboardInterrupt


@contextmanager
def _signals() -> Iterator[Signals]:
    """Take SIGINT, SIGTERM and SIGHUP, unless `nohup` has it ignored, as wishes to end."""
    signals = Signals()
    numbers = [signal.SIGINT, signal.SIGTERM]
    if signal.getsignal(signal.SIGHUP) is not signal.SIG_IGN:
        numbers.append(signal.SIGHUP)
    before = {number: signal.signal(number, signals.note) for number in numbers}
    try:
        yield signals
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


def _conclude(report: Report, path: Path | None) -> bool:
    """The summary on the terminal, and the report in its file; whether the file could be written."""
    from flowedge.cli.display import summary

    with suppress(OSError):  # the terminal has been closed
        for line in summary(report):
            print(line, file=sys.stderr)
    if path is not None:
        try:
            files.write(path, json.dumps(report.as_json(), indent=2) + "\n", "--report")
        except UserError as error:
            log.error("%s", error)
            return False
    return True
