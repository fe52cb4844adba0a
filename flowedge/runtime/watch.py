"""Looks after a running graph: which step is stuck, what is needed no more, and the samples of rates."""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable, Iterable

from flowedge.runtime.limits import Limits
from flowedge.runtime.reporting import Reporter
from flowedge.runtime.runner import Runner

log = logging.getLogger("flowedge.run")

TICK_SECONDS = 0.5


class Watch:
    """Watches the `runners` from a thread of its own, between `start` and `stop`.

    `on_hung` is called as often as it sees that nothing moves but for steps that hang, `on_look` whenever it
    looks.
    """

    def __init__(
        self,
        runners: Iterable[Runner],
        reporter: Reporter,
        limits: Limits,
        *,
        on_hung: Callable[[], None],
        on_look: Callable[[], None],
    ) -> None:
        self._runners = tuple(runners)
        self._reporter = reporter
        self._limits = limits
        self._on_hung = on_hung
        self._on_look = on_look
        self._count = 0  # values that all steps had taken when they were looked at last
        self._lock = threading.Lock()
        self._stuck: set[str] = set()
        self._slow: set[str] = set()
        self._closed = threading.Event()
        self._thread = threading.Thread(target=self._watch, name="flowedge-watch", daemon=True)

    def start(self) -> None:
        self._thread.start()

    def stop(self) -> None:
        """End the thread; it may have ended, or never begun. One that hangs, closing a copy, is left behind."""
        self._closed.set()
        if self._thread.ident is None:
            return
        self._thread.join(self._limits.drain_seconds)
        if self._thread.is_alive():
            seconds = self._limits.drain_seconds
            log.error("%s has not stopped after %.0f s and is left behind", self._thread.name, seconds)

    def look(self) -> None:
        """Say which steps have become stuck, and which of these work again; relieve those in regions."""
        with self._lock:
            self._reporter.sample()
            self._on_look()
            for runner in self._runners:
                self._look_at(runner)
                runner.relieve(self._limits.region_seconds)
            if self._nothing_moves():
                self._on_hung()

    def _nothing_moves(self) -> bool:
        before, self._count = self._count, sum(runner.metrics.count for runner in self._runners)
        busy = [runner for runner in self._runners if runner.busy_for()[0] > 0]
        hung = bool(busy) and all(runner.hangs(self._limits.stalled_after) for runner in busy)
        return hung and self._count == before

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
