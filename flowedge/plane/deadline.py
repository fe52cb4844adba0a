"""Which live frames can still come in time: those that cannot give way to frames that can.

A machine with more frames than it can serve makes all of them late, although it could serve some in time: of
eight cameras whose frames come together and take 50 ms each, five keep 300 ms. So a frame that has waited for a
step is dropped, "too late", where it would miss the latency goal of its graph even if it went on at once. How
long that takes is what it took the frames before it, from the same place, taken together with as many others.

A frame that did not have to wait is never dropped, however late it will be: so steps are never idle for a goal
that cannot be kept, and what is expected never rests on old times alone.
"""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Sequence

from flowedge.plane.item import Item, first_origin
from flowedge.values import FrameId

REMEMBERED = 32
"""Frames by which the time from a place to the end is judged; the slowest but one counts, so about 95 %."""

FEW = 4
"""Of so few frames the slowest counts."""

FORGOTTEN_SECONDS = 4.0
"""How long a frame counts: an operator that was set up meanwhile, or another program, may have made it slow."""

MARGIN = 0.1
"""The share of the goal that is left: the next frame may take longer than those before it."""

WAITED = 0.1
"""The share of the goal that a frame must have waited before it gives way: less is no queue."""


class Deadline:
    """Judges the frames of a graph whose goal is a latency of so many seconds. Thread-safe.

    >>> from flowedge import Event, Origin
    >>> deadline = Deadline(0.3)
    >>> first = Item(FrameId("door", 0, 0), Event(Origin("door", monotonic=10.0), "fact"), live=True)
    >>> deadline.taken("Detect", [first], 10.0)
    >>> deadline.ended(first.frame, 10.25, delivered=True)
    >>> [deadline.misses("Detect", [first], now) for now in (10.01, 10.03)]
    [False, True]
    """

    def __init__(self, seconds: float) -> None:
        self._seconds = seconds
        self._taken: dict[FrameId, list[tuple[str, int, float]]] = {}
        self._times: dict[
            tuple[str, int], deque[tuple[float, float]]
        ] = {}  # when it ended, and how long it took
        self._lock = threading.Lock()

    @property
    def patience(self) -> float:
        """How many seconds a frame must have waited for a step before it gives way."""
        return WAITED * self._seconds

    def misses(self, place: str, items: Sequence[Item], now: float) -> bool:
        """Whether one of these frames would miss the goal if the step took them now, together."""
        captured = [moment for item in items if (moment := first_origin(item.value).monotonic)]
        return (
            bool(captured)
            and now + self._rest(place, len(items), now) > min(captured) + (1 - MARGIN) * self._seconds
        )

    def taken(self, place: str, items: Sequence[Item], now: float) -> None:
        """A step has taken these live frames, together."""
        with self._lock:
            for item in items:
                self._taken.setdefault(item.frame, []).append((place, len(items), now))

    def ended(self, frame: FrameId, now: float, *, delivered: bool) -> None:
        """A frame is no longer in the graph."""
        with self._lock:
            for place, together, begun in self._taken.pop(frame, ()):
                if delivered:
                    times = self._times.setdefault((place, together), deque(maxlen=REMEMBERED))
                    times.append((now, now - begun))

    def _rest(self, place: str, together: int, now: float) -> float:
        """How long frames that are taken there in such a number need until they have ended: 0 where none have.

        More frames than ever ended take longer in proportion.
        """
        with self._lock:
            for count in range(together, 0, -1):
                recent = self._times.get((place, count), ())
                times = sorted(took for ended, took in recent if now - ended <= FORGOTTEN_SECONDS)
                if times:
                    return times[-2 if len(times) > FEW else -1] * together / count
        return 0.0
