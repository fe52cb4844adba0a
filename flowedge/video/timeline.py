"""One continuous timeline for the packets of a stream, whatever its time stamps do.

Cameras stamp a stray picture ten hours ahead, set their clock back, or count at another rate than they film;
HLS playlists and joined recordings begin anew in the midst; MJPEG over HTTP has no stamps at all, so that
FFmpeg makes some up. What comes later (rates, motion, recordings, sampling) trusts `Origin.media`, so it is
made here, once, where packets are read.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum

LONGEST_STEP = 5.0  # seconds between two pictures that a recording is believed
LARGEST_REORDER = 1.0  # seconds that a picture without decoding time may lie before the one that came before
DISAGREEMENT = 1.0  # seconds that a live stamp and the arrival of its picture may differ over one step
WINDOW = 1.0  # seconds over which the rate of the stamps is compared with the arrivals
WINDOW_PACKETS = 5  # the fewest pictures that such a comparison needs
RATES = (0.75, 1.33)  # seconds by the stamps in a second of arrivals that are believed
WRONG_WINDOWS = 2  # after so many in a row the arrivals count: one may be a network that stands still
UNTIMED_FPS = 25.0  # frames per second of a video that carries neither times nor a rate


class TimeSource(Enum):
    """Where a stream's time comes from."""

    STAMPS = "stamps"  # recordings, and live streams that come in segments: arrival says nothing
    CHECKED = "checked"  # live streams: the stamps, as long as they agree with the arrivals
    ARRIVAL = "arrival"  # streams without real stamps


@dataclass(frozen=True, slots=True)
class Moment:
    """When a picture is shown, in seconds from the first one, and why its stamp was not believed, if so."""

    media: float
    correction: str = ""


class Timeline:
    """Gives each packet of one session its place in time; `corrected` counts the stamps not believed.

    Stamps are offset by what keeps them continuous: a step of the decoding clock that is not believed counts
    as the nominal interval, and what follows goes on from there. Packets are given in decoding order; where
    they have no decoding time, the latest presentation time so far stands for it. `start` is when the stream
    says that its first picture is shown, which need not be the first one that is coded.

    >>> line = Timeline(TimeSource.STAMPS, fps=25)
    >>> [round(line.place(stamp, stamp, 0.0).media, 2) for stamp in (7.0, 7.04, 3607.0, 3607.04)]
    [0.0, 0.04, 0.08, 0.12]
    >>> line.corrected
    1
    """

    def __init__(self, clock: TimeSource, fps: float | None = None, start: float | None = None) -> None:
        self._clock = clock
        self._start = start
        self._interval = 1 / (fps or UNTIMED_FPS)
        self._offset = 0.0  # from the stamps to the timeline
        self._decoded: float | None = None  # the decoding clock at the last stamped packet
        self._last: float | None = None  # the decoding clock of the last packet, on the timeline
        self._guessed = self._unstamped = 0.0  # seconds by the timeline, by arrival, since the last stamp
        self._by_dts: bool | None = None  # whether that clock is the packets' own or their presentation time
        self._arrived = 0.0
        self._rate = _RateCheck()
        self.corrected = 0

    def place(self, pts: float | None, dts: float | None, arrival: float) -> Moment:
        """Place the next packet: its stamps and the monotonic clock at its arrival, all in seconds."""
        waited, self._arrived = arrival - self._arrived, arrival
        if self._clock is TimeSource.ARRIVAL:
            self._last = 0.0 if self._last is None else self._last + max(waited, 0.0)
            return Moment(self._last)
        clock = dts if dts is not None else pts
        if clock is None:  # the first packet of an RTSP stream; all of a bare H.264 file
            self._last = 0.0 if self._last is None else self._last + self._interval
            if self._decoded is not None:
                self._guessed += self._interval
                self._unstamped += waited
            return Moment(self._last)
        shown = _shown(pts, clock)
        if self._decoded is None:
            if self._last is None:
                is_near = self._start is not None and 0 <= shown - self._start <= LARGEST_REORDER
                self._offset = -self._start if is_near and self._start is not None else -shown
            elif not 0 < shown <= LARGEST_REORDER:  # else RTSP: it counts from the packet without a stamp
                self._offset = self._last + self._interval - clock
        other, self._by_dts = self._by_dts is not (dts is not None), dts is not None
        at = clock + self._offset
        if self._decoded is None or (other and abs(at - (self._last or 0.0)) < LONGEST_STEP):
            self._guessed = self._unstamped = 0.0
            self._decoded, self._last = clock, at  # the first one, or the stream's other clock: that is no step
            return Moment(max(0.0, shown + self._offset))
        return self._next(clock, pts, dts is None, waited)

    def _next(self, clock: float, pts: float | None, reordered: bool, waited: float) -> Moment:
        assert self._decoded is not None
        assert self._last is not None
        step, correction = clock - self._decoded, ""
        if reordered and -LARGEST_REORDER < step < 0:
            return Moment(max(0.0, clock + self._offset))
        earliest = self._last if self._guessed else 0.0  # a guess that went too far does not turn time back
        before, usual = self._last - self._guessed, self._guessed + self._interval
        waited += self._unstamped
        self._guessed = self._unstamped = 0.0
        stamped = step
        if not self._believed(step, waited):
            correction = f"a step of {step:.6g} s"
            step = waited if self._clock is TimeSource.CHECKED and waited > DISAGREEMENT else usual
        behind = self._rate.take(stamped, waited, step) if self._clock is TimeSource.CHECKED else 0.0
        if self._rate.wrong:
            correction = correction or "another rate than that at which pictures come"
            step = max(0.0, waited) + behind
        if correction:
            self.corrected += 1
            self._offset = before + step - clock
        self._decoded, self._last = clock, before + step
        shown = _shown(pts, clock)
        return Moment(max(earliest, shown + self._offset), correction)

    def _believed(self, step: float, waited: float) -> bool:
        if step <= 0:
            return False
        if self._clock is TimeSource.CHECKED:
            return step <= max(DISAGREEMENT, 3 * self._interval) or abs(step - waited) <= DISAGREEMENT
        return step <= max(LONGEST_STEP, 3 * self._interval)


def _shown(pts: float | None, clock: float) -> float:
    """The presentation time, unless it is too far from the decoding clock to be one."""
    return clock if pts is None or abs(pts - clock) > LONGEST_STEP else pts


class _RateCheck:
    """Compares over windows how fast stamps and arrivals advance; `wrong` says what the last ones showed."""

    def __init__(self) -> None:
        self.wrong = False
        self._stamped = self._passed = 0.0  # seconds in this window, by either clock
        self._count = 0
        self._streak = 0  # windows in a row in which the stamps were too fast, or below 0, too slow
        self._behind = self._behind_now = 0.0  # seconds that the timeline lost in these, and in this window

    def take(self, step: float, waited: float, placed: float) -> float:
        """Take the next step of both clocks; what the timeline has lost when a slow clock is found out.

        `placed` is the step that the timeline would make. A step that disagrees by itself does not count.
        """
        self._stamped += step if abs(step - waited) <= DISAGREEMENT else waited
        self._passed += waited
        self._behind_now += waited - placed
        self._count += 1
        if self._passed < WINDOW or self._count < WINDOW_PACKETS:
            return 0.0
        rate = self._stamped / self._passed
        direction = (rate > RATES[1]) - (rate < RATES[0])
        self._streak = self._streak + direction if direction * self._streak > 0 else direction
        self._behind = self._behind + self._behind_now if self._streak < 0 else 0.0
        was_wrong, self.wrong = self.wrong, abs(self._streak) >= WRONG_WINDOWS
        self._stamped = self._passed = self._behind_now = 0.0
        self._count = 0
        return max(0.0, self._behind) if self.wrong and not was_wrong else 0.0
