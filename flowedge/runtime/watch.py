"""Looks after a running graph: which step is stuck, what is needed no more, and the samples of rates."""

from __future__ import annotations

import logging
import threading
from collections.abc import Iterable

from flowedge.runtime.limits import Limits
from flowedge.runtime.reporting import Reporter
from flowedge.runtime.routes import Routes
from flowedge.runtime.runner import Runner

log = logging.getLogger("flowedge.run")

TICK_SECONDS = 0.5


class Watch:
    """Watches the `runners` from a thread of its own, between `start` and `stop`."""

    def __init__(self, runners: Iterable[Runner], reporter: Reporter, limits: Limits, routes: Routes) -> None:
        self._runners = tuple(runners)
        self._reporter = reporter
        self._limits = limits
        self._routes = routes
        self._lock = threading.Lock()
        self._stuck: set[str] = set()
        self._slow: set[str] = set()
        self._closed = threading.Event()
        self._thread = threading.Thread(target=self._watch, name="flowedge-watch", daemon=True)

    def start(self) -> None:
        self._thread.start()

    def stop(self) -> None:
        """End the thread; it may have ended, or never begun."""
        self._closed.set()
        if self._thread.ident is not None:
            self._thread.join()

    def look(self) -> None:
        """Say which steps have become stuck, and which of these work again; relieve those in regions."""
        with self._lock:
            self._reporter.sample()
            self._routes.close_unused()
            for runner in self._runners:
                self._look_at(runner)
                runner.relieve(self._limits.region_seconds)

    def _look_at(self, runner: Runner) -> None:
        seconds, work = runner.busy_for()
        name, stuck = runner.name, seconds >= self._limits.stalled_after
        if stuck and name not in self._stuck:
            # A step that is always that slow is told of once.
            level = logging.DEBUG if name in self._slow else logging.WARNING
            log.log(level, "%s has been busy with %s for %.0f s", name, work, seconds)
            self._stuck.add(name)
            self._slow.add(name)
        elif not stuck and name in self._stuck:
            self._stuck.discard(name)
            log.warning("%s works again", name)

    def _watch(self) -> None:
        while not self._closed.wait(TICK_SECONDS):
            self.look()
