"""What a running graph did within a short time, for whoever decides how it goes on."""

from __future__ import annotations

import time
from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from flowedge.monitor.histogram import Histogram
from flowedge.plane.clock import Clock
from flowedge.runtime.ledger import Ledger
from flowedge.runtime.runner import Runner


@dataclass(frozen=True)
class CameraRate:
    """Frames a second of one camera: produced, delivered to every sink, and lost on the way."""

    produced: float
    delivered: float
    lost: float


@dataclass(frozen=True)
class Window:
    """Means over the last `seconds`.

    `service` are the mean seconds that each step took for a value, without those that took none, and `rates`
    the values a second that it took: a step that sees tiles takes several values of a frame. `latency` has the
    seconds from capture to sink; `cores` is how many cores the process kept busy.
    """

    seconds: float
    service: Mapping[str, float]
    rates: Mapping[str, float]
    cameras: Mapping[str, CameraRate]
    latency: Histogram
    cores: float


def together(windows: Sequence[Window]) -> Window:
    """Windows that follow one another, as one. Raises `ValueError` where there is none."""
    if not windows:
        raise ValueError("there is no window")
    seconds = sum(window.seconds for window in windows)
    values: dict[str, float] = defaultdict(float)
    busy: dict[str, float] = defaultdict(float)
    for window in windows:
        for name, seconds_each in window.service.items():
            count = window.rates[name] * window.seconds
            values[name] += count
            busy[name] += count * seconds_each

    def mean(camera: str, rate: str) -> float:
        known = (window for window in windows if camera in window.cameras)
        return float(sum(getattr(window.cameras[camera], rate) * window.seconds for window in known)) / seconds

    return Window(
        seconds,
        {name: busy[name] / count for name, count in values.items()},
        {name: count / seconds for name, count in values.items()},
        {
            camera: CameraRate(mean(camera, "produced"), mean(camera, "delivered"), mean(camera, "lost"))
            for camera in windows[-1].cameras
        },
        Histogram.merged(window.latency for window in windows),
        sum(window.cores * window.seconds for window in windows) / seconds,
    )


@dataclass(frozen=True)
class _Sums:
    """All that was counted up to a time."""

    at: float
    service: Mapping[str, Histogram]
    frames: Mapping[str, tuple[int, int, int]]
    latency: Histogram
    processor: float


class Measuring:
    """Measures a run from one call of `window` to the next."""

    def __init__(self, runners: Mapping[str, Runner], ledger: Ledger, clock: Clock) -> None:
        self._runners = runners
        self._ledger = ledger
        self._clock = clock
        self._before = self._sums()

    def window(self) -> Window:
        """What happened since the last call, or since this was made."""
        before, now = self._before, self._sums()
        self._before = now
        seconds = max(now.at - before.at, 1e-9)
        times = {name: times.since(before.service[name]) for name, times in now.service.items()}
        service = {name: histogram.mean() for name, histogram in times.items()}
        cameras = {
            name: CameraRate(
                *(
                    (count - then) / seconds
                    for count, then in zip(counts, before.frames.get(name, (0, 0, 0)), strict=True)
                )
            )
            for name, counts in now.frames.items()
        }
        return Window(
            seconds,
            {name: mean for name, mean in service.items() if mean is not None},
            {name: len(histogram) / seconds for name, histogram in times.items() if len(histogram)},
            cameras,
            now.latency.since(before.latency),
            (now.processor - before.processor) / seconds,
        )

    def _sums(self) -> _Sums:
        frames = {}
        for name, account in self._ledger.accounts().items():
            total = account.total
            frames[name] = (
                total.produced,
                total.delivered + total.filtered,
                total.dropped.total() + total.failed,
            )
        return _Sums(
            self._clock(),
            {name: runner.metrics.service.copy() for name, runner in self._runners.items()},
            frames,
            Histogram.merged(self._ledger.latency.values()),
            time.process_time(),
        )
