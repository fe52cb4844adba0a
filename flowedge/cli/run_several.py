"""flowedge run with several graphs: one table, one report, and one end for all of them."""

from __future__ import annotations

import logging
import signal
import time
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

import typer

from flowedge.cli.running import TICK_SECONDS, Signals, noted_signals, print_summary, write_report

if TYPE_CHECKING:
    from flowedge.cli.display import Show
    from flowedge.runtime.home import HomeSettings
    from flowedge.runtime.homes import Homes

log = logging.getLogger("flowedge.cli")


def run_several(
    paths: Sequence[str],
    given: Mapping[str, str],
    common: HomeSettings,
    limit: float | None,
    report: Path | None,
) -> None:
    """Run graphs, each in a process of its own, until all have ended or `limit` seconds have passed.

    `common` has the options for all of them. The file of the `report` has one of each, in `graphs`.
    """
    from flowedge.cli.display import display
    from flowedge.graph.loading import load_several
    from flowedge.runtime.homes import Homes

    graphs = load_several(paths, given)
    for loaded in graphs:
        loaded.graph.check()
    homes = Homes(
        {
            loaded.graph.name: replace(common, path=str(loaded.path), given=dict(loaded.given))
            for loaded in graphs
        }
    )
    with noted_signals() as signals:
        try:
            with display(named=True) as show, homes:
                signals.only_noted = True
                _follow(homes, signals, limit, show)
        except KeyboardInterrupt:
            log.info("stopped before it began")
        finally:
            for done in homes.reports():
                print_summary(done)
            data = {"graphs": [done.as_json() for done in homes.reports()]}
            reported = report is None or write_report(report, data)
    failed = [home.name for home in homes.homes if home.failed]
    if failed:
        log.error("%d of %d graphs failed: %s", len(failed), len(graphs), ", ".join(failed))
    if signals.caught:
        raise typer.Exit(128 + signals.caught[0])
    if failed or not reported:
        raise typer.Exit(1)


def _follow(homes: Homes, signals: Signals, limit: float | None, show: Show) -> None:
    """Show the graphs until all have ended, time is up, or a signal asks them to end; a second one aborts."""
    begun: float | None = None
    aborted = False
    while not homes.look():
        time.sleep(TICK_SECONDS)
        show(lambda: homes.reports(running=True))
        if begun is None and all(home.begun or home.ended for home in homes.homes):
            begun = time.monotonic()
        due = limit is not None and begun is not None and time.monotonic() - begun >= limit
        if (due or signals.caught) and not homes.stopping:
            if signals.caught:
                log.info("%s: ending all graphs", signal.Signals(signals.caught[0]).name)
            homes.stop()
        if len(signals.caught) > 1 and not aborted:
            aborted = True
            homes.abort()
