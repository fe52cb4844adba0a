"""What a running graph did within a short time, for whoever decides how it goes on."""

from __future__ import annotations

import time
from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from flowedge.monitor.histogram import Histogram
from flowedge.plane.clock import Clock
from flowedge.runtime.ledger import Ledger
from flowedge.runtime.runner import Runner


@dataclass(frozen=True)
class CameraRate:
    """Frames a second of one camera: produced, delivered to every sink, and lost on the way.

    `interval` is the mean time (s) from the capture of one to the next, 0 where none came, and `captured` that
    of the last.
    """

    produced: float
    delivered: float
    lost: float
    interval: float = 0.0
    captured: float = 0.0


@dataclass(frozen=True)
class Window:
    """Means over the last `seconds`.

    `service` are the mean seconds that each step took for a value, without those that took none, and `rates`
    the values a second that it took: a step that sees tiles takes several values of a frame. `latency` has the
    seconds from capture to sink; `cores` is how many cores the process kept busy. `times` are the distributions
    of which `service` has the means.
    """

    seconds: float
    service: Mapping[str, float]
    rates: Mapping[str, float]
    cameras: Mapping[str, CameraRate]
    latency: Histogram
    cores: float
    times: Mapping[str, Histogram] = field(default_factory=dict)


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

    def interval(camera: str) -> float:
        known = [window.cameras[camera] for window in windows if camera in window.cameras]
        count = sum(rate.produced for rate in known if rate.interval)
        return sum(rate.produced * rate.interval for rate in known) / count if count else 0.0

    return Window(
        seconds,
        {name: busy[name] / count for name, count in values.items()},
        {name: count / seconds for name, count in values.items()},
        {
            camera: CameraRate(
                mean(camera, "produced"),
                mean(camera, "delivered"),
                mean(camera, "lost"),
                interval(camera),
                last.captured,
            )
            for camera, last in windows[-1].cameras.items()
        },
        Histogram.merged(window.latency for window in windows),
        sum(window.cores * window.seconds for window in windows) / seconds,
        {
            name: Histogram.merged(window.times[name] for window in windows if name in window.times)
            for name in {name for window in windows for name in window.times}
        },
    )


@dataclass(frozen=True)
class _Frames:
    """How many frames of a camera were counted, and when the last was captured."""

    produced: int = 0
    delivered: int = 0
    lost: int = 0
    captured: float = 0.0

    def rate(self, before: _Frames, seconds: float) -> CameraRate:
        """What came since, in so many seconds."""
        produced = self.produced - before.produced
        return CameraRate(
            produced / seconds,
            (self.delivered - before.delivered) / seconds,
            (self.lost - before.lost) / seconds,
            (self.captured - before.captured) / produced if produced and before.captured else 0.0,
            self.captured,
        )


@dataclass(frozen=True)
class _Sums:
    """All that was counted up to a time."""

    at: float
    service: Mapping[str, Histogram]
    frames: Mapping[str, _Frames]
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
            name: frames.rate(before.frames.get(name, _Frames()), seconds)
            for name, frames in now.frames.items()
        }
        return Window(
            seconds,
            {name: mean for name, mean in service.items() if mean is not None},
            {name: len(histogram) / seconds for name, histogram in times.items() if len(histogram)},
            cameras,
            now.latency.since(before.latency),
            (now.processor - before.processor) / seconds,
            {name: histogram for name, histogram in times.items() if len(histogram)},
        )

    def _sums(self) -> _Sums:
        frames = {}
        for name, account in self._ledger.accounts().items():
            total = account.total
            frames[name] = _Frames(
                total.produced,
                total.delivered + total.filtered,
                total.dropped.total() + total.failed,
                account.captured,
            )
        return _Sums(
            self._clock(),
            {name: runner.metrics.service.copy() for name, runner in self._runners.items()},
            frames,
            Histogram.merged(self._ledger.latency.values()),
            time.process_time(),
        )
