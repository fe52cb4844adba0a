"""How much time has passed between the values of one camera."""

from __future__ import annotations

from typing import Any

from flowedge import Origin
from flowedge.state.plain import from_origin, item, to_origin


class StreamClock:
    """Seconds since the first value of one camera, by the stream's own clock.

    A file is read faster than it was filmed, so the time of reading says nothing; `Origin.media` does. Where
    that clock starts anew (a reconnect) or does not advance (a source without one), the capture time fills
    in. Never runs backwards.

    >>> clock = StreamClock()
    >>> [clock.read(Origin("north", media=media)) for media in (7.0, 7.5, 8.5)]
    [0.0, 0.5, 1.5]
    """

    def __init__(self) -> None:
        self._last: Origin | None = None
        self._elapsed = 0.0

    def read(self, origin: Origin) -> float:
        """The time at which `origin` was captured."""
        if self._last is not None:
            step = origin.media - self._last.media
            if origin.session != self._last.session or step <= 0:
                step = max(0.0, origin.time - self._last.time)
            self._elapsed += step
        self._last = origin
        return self._elapsed

    def snapshot(self) -> dict[str, Any]:
        """Where the clock stands, as plain data."""
        return {"last": from_origin(self._last), "elapsed": self._elapsed}

    def restore(self, state: Any) -> None:
        """Go on from another clock's `snapshot`. Raises `StateError` for anything else."""
        last, elapsed = to_origin(item(state, "last", object)), item(state, "elapsed", float)
        self._last, self._elapsed = last, elapsed
