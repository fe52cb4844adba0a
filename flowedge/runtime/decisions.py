"""What the controller of a run has decided, each decision with what was measured after it."""

from __future__ import annotations

import threading
from collections.abc import Callable
from dataclasses import replace

from flowedge.monitor.report import Decision, Measured
from flowedge.plane.clock import Clock
from flowedge.runtime.measuring import Measuring

SETTLING_SECONDS = 1.0
"""How long after a change frames may still be those of before."""

SECONDS = 5.0
"""How long is measured after that; less, to `LEAST_SECONDS`, where the next change or the end is sooner."""

LEAST_SECONDS = 1.0


class Decisions:
    """Takes a decision when it is at work, and measures what comes of it. Thread-safe."""

    def __init__(self, measuring: Callable[[], Measuring], clock: Clock) -> None:
        self._measuring = measuring
        self._clock = clock
        self._decisions: list[Decision] = []
        self._since = 0.0
        self._settling = False
        self._after: Measuring | None = None
        self._lock = threading.RLock()

    def add(self, decision: Decision) -> None:
        """Note a decision that is at work from now on."""
        with self._lock:
            self.conclude()
            self._decisions.append(decision)
            self._since, self._settling = self._clock(), True

    def look(self) -> None:
        """Measure for as long as it takes; to be called about once a second."""
        with self._lock:
            passed = self._clock() - self._since
            if self._settling and passed >= SETTLING_SECONDS:
                self._settling, self._after, self._since = False, self._measuring(), self._clock()
            elif self._after is not None and passed >= SECONDS:
                self.conclude()

    def conclude(self) -> None:
        """Measure no longer; what there is counts if it is enough."""
        with self._lock:
            after, self._after, self._settling = self._after, None, False
            if after is None or self._clock() - self._since < LEAST_SECONDS:
                return
            window = after.window()
            fps = sum(camera.delivered for camera in window.cameras.values())
            measured = Measured(round(window.seconds, 3), round(fps, 3), window.latency.summary_ms())
            self._decisions[-1] = replace(self._decisions[-1], measured=measured)

    def so_far(self) -> tuple[Decision, ...]:
        """All decisions, the latest last."""
        with self._lock:
            return tuple(self._decisions)
