"""The clock of a recording: when each of its frames is due, and which time of day it gets."""

from __future__ import annotations

import threading
import time

from flowedge import Origin


class Playback:
    """A recording of one camera that begins to play now, at its own pace or as fast as it is read.

    A recording knows no time of day. Its first moment is given the time at which reading began, and the
    later ones follow at the recording's own intervals, however fast it is read, so that speeds and durations
    computed from `Origin.time` hold.
    """

    def __init__(self, camera: str, stop: threading.Event, *, paced: bool) -> None:
        self._camera, self._stop, self._paced = camera, stop, paced
        self._began, self._began_monotonic = time.time(), time.monotonic()

    @property
    def elapsed(self) -> float:
        """Seconds since the recording began to play."""
        return time.monotonic() - self._began_monotonic

    def reaches(self, moment: float) -> bool:
        """Wait, if the playback is paced, until `moment` (seconds from the first); False when stopped."""
        if self._paced and (early := moment - self.elapsed) > 0:
            self._stop.wait(early)
        return not self._stop.is_set()

    def origin(self, index: int, moment: float, width: int, height: int) -> Origin:
        """The origin of the frame of this moment, read now."""
        return Origin(
            self._camera,
            index=index,
            media=moment,
            time=self._began + moment,
            monotonic=time.monotonic(),
            width=width,
            height=height,
        )
