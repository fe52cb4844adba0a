"""Work goes on without a machine that cannot be reached, and returns to it when it is back to stay."""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Collection
from dataclasses import replace
from typing import TYPE_CHECKING, Self

from flowedge.errors import UserError
from flowedge.plane.clock import Clock
from flowedge.runtime.routes import Configuration
from flowedge.runtime.workers.hosting import machine_of
from flowedge.runtime.workers.network import Network

if TYPE_CHECKING:
    from flowedge.runtime.run import Run

log = logging.getLogger("flowedge.run")

RETURN_SECONDS = 5.0
"""How long a machine must have been back before work returns to it: a link that fails once may fail again."""

_TICK_SECONDS = 0.5


class Failover:
    """Keeps the cameras of a run off machines that cannot be reached. Use it as a context manager.

    An operator that has workers elsewhere goes on with these; one that has none works in the process of the
    run, with the last state that was saved. What frames of files wait for on a machine that is gone they wait
    for until it is back.
    """

    def __init__(self, run: Run, network: Network, clock: Clock = time.monotonic) -> None:
        self._run = run
        self._network = network
        self._clock = clock
        self._planned: dict[str, Configuration] = {}  # of cameras that go another way now
        self._back_since: dict[str, float] = {}
        self._over = threading.Event()
        self._thread = threading.Thread(target=self._watch, name="flowedge-failover", daemon=True)

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._over.set()
        self._thread.join()

    def _watch(self) -> None:
        known: set[str] = set()
        while not self._over.is_set():
            there = self._network.wait(known, _TICK_SECONDS)
            now = self._clock()
            self._back_since = {name: self._back_since.get(name, now) for name in there}
            if there != known or self._planned:
                self._place(there)
            known = there

    def _place(self, there: Collection[str]) -> None:
        """Let the next frames of every camera go as planned, as far as machines are there."""
        settled = [name for name in there if self._clock() - self._back_since[name] >= RETURN_SECONDS]
        for _, camera in self._run.cameras():
            planned = self._planned.get(camera) or self._run.routes.of(camera)
            returns = camera in self._planned
            wanted = reduced(planned, settled if returns else there)
            try:
                self._run.routes.switch(wanted, [camera])
            except UserError as error:
                log.error("the work of %s cannot be moved: %s", camera, error)
                continue
            if wanted == planned:
                self._planned.pop(camera, None)
            else:
                self._planned[camera] = planned


def reduced(configuration: Configuration, there: Collection[str]) -> Configuration:
    """The configuration without workers on machines other than this one that are not `there`.

    >>> planned = Configuration((), {"Detect": ("cloud/1", "gate/1"), "Track": ("cloud/1",)})
    >>> reduced(planned, {"gate"}).workers
    {'Detect': ('gate/1',)}
    """
    kept = {
        operator: tuple(worker for worker in workers if machine_of(worker) in {"", *there})
        for operator, workers in configuration.workers.items()
    }
    return replace(configuration, workers={operator: workers for operator, workers in kept.items() if workers})
