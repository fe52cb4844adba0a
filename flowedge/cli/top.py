"""flowedge top: watch the graphs on this machine."""

from __future__ import annotations

import signal
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

from flowedge.cli.arguments import Debug
from flowedge.errors import UserError

if TYPE_CHECKING:
    from rich.console import Group

    from flowedge.plane.state import Watched

TICK_SECONDS = 0.25
LINE_SECONDS = 5.0

SILENT_SECONDS = 5.0
"""How long a graph may say nothing before that is shown."""

AGAIN_SECONDS = 5.0
"""After which it is tried again to reach a graph that could not be reached."""


def top(debug: Debug = False) -> None:
    """Watch the graphs that run on this machine, until q or Ctrl-C, or until none runs any more.

    Example: flowedge top

    Shows what `flowedge status` says, once a second; where there is no terminal, a line per graph every five
    seconds. Ends with 1 when no graph runs at the beginning.
    """
    graphs = Graphs()
    for number in (signal.SIGTERM, signal.SIGHUP):  # the terminal has to be given back as it was
        signal.signal(number, lambda number, _: sys.exit(128 + number))
    try:
        if not graphs.follow():
            raise UserError("no graph runs on this machine")
        with _screen() as show, _quitting() as quits_within:
            while graphs.follow():
                show(graphs)
                if quits_within(TICK_SECONDS):
                    return
    except KeyboardInterrupt:
        return
    finally:
        graphs.close()
    print("no graph runs any more", file=sys.stderr)


class Graphs:
    """The graphs that run on this machine, as they come and go."""

    def __init__(self) -> None:
        self._watched: dict[tuple[int, str], Watched] = {}

    def follow(self) -> bool:
        """Listen to graphs that have come, no longer to those that have ended; whether any runs."""
        from flowedge.monitor.report import Report
        from flowedge.plane.state import Watched
        from flowedge.plane.topics import running

        targets = {(target.pid, target.graph): target for target in running()}
        for key, graph in list(self._watched.items()):
            if key not in targets or (graph.unreachable and graph.silent_for > AGAIN_SECONDS):
                self._watched.pop(key).close()
        for key, target in targets.items():
            if key not in self._watched:
                self._watched[key] = Watched(target, Report.from_json)
        return bool(targets)

    def tables(self) -> Group:
        """All that they have told."""
        from rich.console import Group

        from flowedge.cli.display import tables

        parts: list[Group | str] = []
        for graph in self._watched.values():
            if graph.newest is not None:
                parts.append(tables(graph.newest, graph.name))
            if problem := _problem(graph):
                parts.append(problem)
        return Group(*parts)

    def lines(self) -> Iterator[str]:
        """The same in a line for each."""
        from flowedge.cli.display import progress

        for graph in self._watched.values():
            problem = _problem(graph)
            if graph.newest is not None and not problem:
                yield f"{graph.target.graph}: {progress(graph.newest).strip()}"
            elif problem:
                yield problem

    def close(self) -> None:
        """Listen to none."""
        for graph in self._watched.values():
            graph.close()


def _problem(graph: Watched) -> str | None:
    """Why nothing new is known of a graph."""
    if graph.problem is None and graph.silent_for > SILENT_SECONDS:
        return f"{graph.name} has said nothing for {graph.silent_for:.0f} s"
    return graph.problem


@contextmanager
def _screen() -> Iterator[Callable[[Graphs], None]]:
    """A function that shows the graphs: as tables on a terminal, else as lines every few seconds."""
    from rich.console import Console
    from rich.live import Live

    console = Console()
    if console.is_terminal:
        with Live(console=console, auto_refresh=False, screen=True) as live:
            yield lambda graphs: live.update(graphs.tables(), refresh=True)
        return
    due = time.monotonic() + 2 * TICK_SECONDS  # when the first news have come

    def show(graphs: Graphs) -> None:
        nonlocal due
        if time.monotonic() >= due:
            due = time.monotonic() + LINE_SECONDS
            for line in graphs.lines():
                print(line, flush=True)

    yield show


@contextmanager
def _quitting() -> Iterator[Callable[[float], bool]]:
    """A function that waits for so many seconds, or until q is typed; whether it was."""
    import select
    import termios
    import tty

    if not sys.stdin.isatty():

        def sleeps(seconds: float) -> bool:
            time.sleep(seconds)
            return False

        yield sleeps
        return
    before = termios.tcgetattr(sys.stdin)
    tty.setcbreak(sys.stdin)

    def typed(seconds: float) -> bool:
        return bool(select.select([sys.stdin], [], [], seconds)[0]) and sys.stdin.read(1) in ("q", "Q", "")

    try:
        yield typed
    finally:
        termios.tcsetattr(sys.stdin, termios.TCSADRAIN, before)
