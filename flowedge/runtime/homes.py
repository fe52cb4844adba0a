"""Several graphs on one machine: a process for each, and ST-LAS's queue where they do not fit together.

A process of its own keeps the others whole when one fails or crashes, gives each graph a global lock (GIL) of
its own, and tells exactly what it uses. `home` is what runs in it.
"""

from __future__ import annotations

import json
import logging
import os
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import asdict, replace
from pathlib import Path
from typing import Self

from flowedge.monitor.plain import from_plain
from flowedge.monitor.report import Report
from flowedge.profiling.measure import cores_here
from flowedge.runtime.controller.sharing import Sharing
from flowedge.runtime.demand import Demand, FreeCores
from flowedge.runtime.home import HomeSettings, News, Order, Wish

log = logging.getLogger("flowedge.run")

LOOK_SECONDS = 1.0

END_SECONDS = 30.0
"""How long a graph that is told to end may take before its process is killed; it gives up sooner by itself."""


class Home:
    """The process that runs one graph, as the command sees it. `name` is the graph's, for people.

    `begun`: its cameras have been opened. `resumed`: it has gone on since that was last cleared.
    """

    def __init__(self, name: str, settings: HomeSettings) -> None:
        self.name = name
        self.report: Report | None = None
        self.demand: Demand | None = None
        self.error: str | None = None
        self.begun = self.resumed = False
        ours, theirs = socket.socketpair()
        self._connection = ours
        with theirs:
            self._process = subprocess.Popen(
                # -P: what lies in the folder of today must not be taken for a module of Python.
                [sys.executable, "-P", "-m", "flowedge.runtime.home"],
                stdin=theirs.fileno(),
                env={**os.environ, "PYTHONPATH": _path()},
            )
        self._send(asdict(settings))
        self._thread = threading.Thread(target=self._listen, name=f"flowedge-home-{name}", daemon=True)
        self._thread.start()

    def order(self, wish: Wish, reason: str = "") -> None:
        """Ask for something; a process that has ended does not hear it."""
        self._send(asdict(Order(wish, reason)))

    @property
    def ended(self) -> bool:
        """Whether the process has ended and all that it had to say has come."""
        return not self._thread.is_alive()

    @property
    def failed(self) -> bool:
        """Whether something went wrong in it; known when it has `ended`."""
        return self.ended and self._process.poll() != 0

    def wait(self, timeout: float) -> None:
        """Wait at most `timeout` seconds for its end."""
        self._thread.join(timeout)

    def close(self) -> None:
        """End the process, at once where it does not end when asked."""
        self.order("stop")
        self.wait(END_SECONDS)
        if not self.ended:
            log.error("%s did not end within %.0f s and is killed", self.name, END_SECONDS)
            self._process.kill()
            self.wait(END_SECONDS)
        self._connection.close()

    def _send(self, data: Mapping[str, object]) -> None:
        with suppress(OSError):
            self._connection.sendall(json.dumps(data).encode() + b"\n")

    def _listen(self) -> None:
        """Take news until the process has ended."""
        try:
            with suppress(OSError), self._connection.makefile("r") as lines:
                for line in lines:
                    self._hear(from_plain(News, json.loads(line)))
        except Exception as error:  # nobody would read what it says from now on
            log.exception("%s is ended", self.name)
            self.error = f"what its process said cannot be read: {error}"
            self._process.kill()
        status = self._process.wait()
        if status < 0:
            with suppress(ValueError):
                self.error = self.error or f"its process was killed by {signal.Signals(-status).name}"
        if self.error and self.report is not None and self.report.error is None:
            self.report = replace(self.report, error=self.error)

    def _hear(self, news: News) -> None:
        if news.line is not None:
            log.log(news.level, "%s: %s", self.name, news.line)
        if news.report is not None:
            self.report = news.report
        if news.endpoint is not None:
            self.begun = self.resumed = True
            log.info("running %s; tap it at %s", self.name, news.endpoint)
        self.resumed |= news.resumed
        self.demand = news.demand or self.demand
        self.error = news.error or self.error


class Homes:
    """Runs several graphs until all have ended; use it as a context manager. Not thread-safe.

    `graphs` are their names, all different, with what they run, the most important first. `look` is to be
    called about ten times a second.
    """

    def __init__(self, graphs: Mapping[str, HomeSettings]) -> None:
        self._graphs = dict(graphs)
        self._sharing = Sharing(list(graphs), cores_here(), time.monotonic())
        self._looked = time.monotonic()
        self._free = FreeCores()
        self._over: set[str] = set()
        self.homes: list[Home] = []
        self.stopping = False

    def __enter__(self) -> Self:
        try:
            for name, settings in self._graphs.items():
                self.homes.append(Home(name, settings))
        except BaseException:
            self.close()
            raise
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """End all graphs that run, all at the same time."""
        self.stop()
        for home in self.homes:
            home.close()

    def stop(self) -> None:
        """Let all graphs end; what is in them is still delivered."""
        if not self.stopping:
            self.stopping = True
            for home in self.homes:
                home.order("stop")

    def abort(self) -> None:
        """End all graphs at once."""
        for home in self.homes:
            home.order("abort")

    def reports(self, *, running: bool = False) -> Sequence[Report]:
        """The last reports of all graphs that have begun, or of those only that have not ended."""
        asked = [home for home in self.homes if not (running and home.ended)]
        return [home.report for home in asked if home.report is not None]

    def look(self) -> bool:
        """Let those run whose turn it is; whether all have ended."""
        now = time.monotonic()
        for home in self.homes:
            if home.ended and home.name not in self._over:
                self._over.add(home.name)
                self._sharing.ended(home.name)
                if home.error:
                    log.error("%s has failed: %s", home.name, home.error)
            elif home.resumed:
                home.resumed = False
                self._sharing.began(home.name, now)
        if now - self._looked >= LOOK_SECONDS and not self.stopping:
            self._looked = now
            self._share(now)
        return len(self._over) == len(self.homes)

    def _share(self, now: float) -> None:
        by_name = {home.name: home for home in self.homes}
        measured = {}
        for home in self.homes:
            if home.demand is not None:
                measured[home.name], home.demand = home.demand, None
        free = self._free.look(sum(demand.used for demand in measured.values()))
        for switch in self._sharing.look(now, measured, free):
            log.info("%s: %s: %s", switch.name, switch.reason, "goes on" if switch.runs else "preempted")
            by_name[switch.name].order("resume" if switch.runs else "preempt", switch.reason)


def _path() -> str:
    """Where Python finds FlowEdge, before what it is told already."""
    root = str(Path(__file__).parents[2])
    return os.pathsep.join(filter(None, (root, os.environ.get("PYTHONPATH"))))
