"""The account of every frame: which sinks wait for it and how it ended at the others.

Always, per camera and sink: produced = delivered + filtered + dropped + failed + in flight.
"""

from __future__ import annotations

import threading
import time
from collections import Counter
from collections.abc import Collection, Sequence
from dataclasses import dataclass, field, replace
from typing import NamedTuple

from flowedge.errors import RunError
from flowedge.monitor.histogram import Histogram
from flowedge.plane.clock import Clock
from flowedge.plane.deadline import Deadline
from flowedge.runtime.limits import Limits
from flowedge.values import Absent, FrameId, Origin, Outcome

AWAITED = 600
"""Frames of encoded video in which a key frame is waited for: a stream may have none that is marked."""


@dataclass
class Counts:
    """How the frames of a camera ended at one sink, or over all of them."""

    produced: int = 0
    delivered: int = 0
    filtered: int = 0
    failed: int = 0
    in_flight: int = 0
    dropped: Counter[str] = field(default_factory=Counter)
    failures: Counter[str] = field(default_factory=Counter)

    def add(self, absent: Absent | None) -> None:
        """Count one ending: a value (None) or an `Absent`."""
        match absent:
            case None:
                self.delivered += 1
            case Absent(outcome=Outcome.FILTERED):
                self.filtered += 1
            case Absent(outcome=Outcome.DROPPED):
                self.dropped[_place(absent)] += 1
            case Absent():
                self.failed += 1
                self.failures[_place(absent)] += 1


@dataclass
class CameraAccount:
    """One camera's counts, over all sinks and at each.

    From now on its frames go by `route` and end in the sinks `ends_in`, while it `is_open`. The last one was
    `captured` then, by the clock of the run. `gap` is how many more frames may be dropped while one is waited
    for that can be decoded without those before it.
    """

    total: Counts
    sinks: dict[str, Counts]
    live: bool
    ends_in: tuple[str, ...] = ()
    route: int = 0
    is_open: bool = True
    in_window: int = 0
    gap: int = 0
    first: float = 0.0
    last: float = 0.0
    captured: float = 0.0


@dataclass(slots=True)
class _Frame:
    """What is known of a frame in the graph: the sinks that wait for it, and how it ended at others so far."""

    captured: float
    waiting_for: set[str]
    route: int
    worst: Absent | None = None
    delivered: bool = False


class Admitted(NamedTuple):
    """A frame that may go into the graph, and the number of the route by which it goes."""

    frame: FrameId
    route: int


class Ledger:
    """Admits frames, bounds how many are in the graph, and counts how each ends at every sink.

    It belongs to the process of the sources; sinks tell it by `FrameId` what became of a frame. `latency` has
    the seconds from capture to any sink, by camera. A `deadline` is told when frames have ended. All methods
    are thread-safe.
    """

    def __init__(
        self,
        limits: Limits | None = None,
        clock: Clock = time.monotonic,
        deadline: Deadline | None = None,
    ) -> None:
        self._limits = limits or Limits()
        self._deadline = deadline
        self._clock = clock
        self._accounts: dict[str, CameraAccount] = {}
        self._frames: dict[FrameId, _Frame] = {}
        self._on_route: Counter[int] = Counter()
        self._route = 0  # of the next camera
        self._routes_to_come: dict[str, int] = {}  # of cameras that have not been opened
        self._preempted = False
        self._changed = threading.Condition()
        self.latency: dict[str, Histogram] = {}

    def open(self, camera: str, sinks: Sequence[str], *, live: bool) -> None:
        """Begin, or go on with, a camera whose frames end in these sinks."""
        with self._changed:
            route = self._routes_to_come.pop(camera, self._route)
            account = self._accounts.setdefault(camera, CameraAccount(Counts(), {}, live, route=route))
            account.live, account.ends_in, account.is_open = live, tuple(sinks), True
            self.latency.setdefault(camera, Histogram())
            for sink in sinks:
                account.sinks.setdefault(sink, Counts())

    def close(self, camera: str) -> None:
        """The camera produces no more frames, unless it is opened again."""
        with self._changed:
            self._accounts[camera].is_open = False

    def redirect(self, route: int, cameras: Collection[str] | None = None) -> None:
        """Let the frames that these cameras produce from now on go by another route.

        Without `cameras`, all do so, and those that are opened later. Cameras may be named before they are.
        """
        with self._changed:
            if cameras is None:
                self._route = route
            for camera in self._accounts if cameras is None else cameras:
                if camera in self._accounts:
                    self._accounts[camera].route = route
                else:
                    self._routes_to_come[camera] = route

    def is_live(self, camera: str) -> bool:
        """Whether the newest frame of a camera matters more than every frame."""
        with self._changed:
            return self._accounts[camera].live

    def route_of(self, camera: str) -> int:
        """The route of a camera's next frame."""
        with self._changed:
            return self._accounts[camera].route

    def routes_in_use(self) -> set[int]:
        """The routes of the frames in the graph, and of those to come."""
        with self._changed:
            taken = {route for route, count in self._on_route.items() if count}
            coming = {account.route for account in self._accounts.values() if account.is_open}
            return taken | coming | {self._route, *self._routes_to_come.values()}

    def preempt(self) -> None:
        """Admit no frame until `resume`: those of files wait, live ones are dropped with the cause."""
        with self._changed:
            self._preempted = True

    def resume(self) -> None:
        """Admit frames again; of a camera that sends encoded video, from its next key frame on."""
        with self._changed:
            self._preempted = False
            self._changed.notify_all()

    def wait_while_preempted(self) -> None:
        """Return when frames are admitted."""
        with self._changed:
            self._changed.wait_for(lambda: not self._preempted)

    def wait_until_quiet(self, timeout: float) -> bool:
        """Whether within `timeout` seconds no frame moves: none is in the graph but those held back."""
        with self._changed:
            return self._changed.wait_for(
                lambda: not any(account.in_window for account in self._accounts.values()), timeout
            )

    def admit(self, origin: Origin, stop: threading.Event, *, begins: bool = True) -> Admitted | None:
        """Count a frame just produced; what it is and how it goes, or None where it goes no further.

        A file's frame waits until the window has room, and counts for nothing when `stop` is set before (call
        `wake` after setting it); a live one is dropped when the graph is stuck or preempted, and after that
        until one `begins`, which can be decoded without those before it. Raises `RunError` for a frame that is
        in the graph already.
        """
        account, frame_id = self._accounts[origin.camera], origin.frame_id
        with self._changed:
            if not account.live:
                window = self._limits.file_window
                self._changed.wait_for(
                    lambda: (account.in_window < window and not self._preempted) or stop.is_set()
                )
            if stop.is_set():
                return None
            if frame_id in self._frames:
                raise RunError(
                    f"{origin.camera}: frame {origin.index} came twice; Origin.index must count the frames"
                )
            now = self._clock()
            account.captured = origin.monotonic or now
            self._frames[frame_id] = _Frame(account.captured, set(account.ends_in), account.route)
            self._on_route[account.route] += 1
            account.first = account.first or now
            for counts in (account.total, *(account.sinks[sink] for sink in account.ends_in)):
                counts.produced += 1
                counts.in_flight += 1
            account.in_window += 1
            if account.live and account.in_window > self._limits.live_window:
                self._abandon(frame_id, Absent(origin, Outcome.DROPPED, "graph stuck", "source"))
                return None
            account.gap = AWAITED if self._preempted else 0 if begins else max(0, account.gap - 1)
            if account.live and account.gap:
                self._abandon(frame_id, Absent(origin, Outcome.DROPPED, "preempted", "source"))
                return None
            return Admitted(frame_id, account.route)

    def end(self, frame_id: FrameId, sink: str, absent: Absent | None) -> None:
        """The frame ended at a sink: it took the value (None), or an `Absent` came in its place."""
        with self._changed:
            self._end(frame_id, sink, absent)

    def hold(self, frame_id: FrameId) -> None:
        """A delayed operator keeps the frame back: give its place in the window to the next."""
        with self._changed:
            self._accounts[frame_id.camera].in_window -= 1
            self._changed.notify_all()

    def unhold(self, frame_id: FrameId) -> None:
        """The frame moves again; the window may be over-full by it for a while."""
        with self._changed:
            self._accounts[frame_id.camera].in_window += 1

    def wake(self) -> None:
        """Let sources that wait for room look at their `stop` again."""
        with self._changed:
            self._changed.notify_all()

    def abandon(self, cause: str) -> None:
        """Count every frame still in the graph as dropped."""
        with self._changed:
            for frame_id in list(self._frames):
                origin = Origin(frame_id.camera, frame_id.session, frame_id.index)
                self._abandon(frame_id, Absent(origin, Outcome.DROPPED, cause, "graph"))

    def delivered(self) -> dict[str, int]:
        """The frames delivered so far of each camera."""
        with self._changed:
            return {camera: account.total.delivered for camera, account in self._accounts.items()}

    def accounts(self) -> dict[str, CameraAccount]:
        """A snapshot per camera."""
        with self._changed:
            return {camera: _copied(account) for camera, account in self._accounts.items()}

    def _abandon(self, frame_id: FrameId, absent: Absent) -> None:
        for sink in list(self._frames[frame_id].waiting_for):
            self._end(frame_id, sink, absent)

    def _end(self, frame_id: FrameId, sink: str, absent: Absent | None) -> None:
        frame = self._frames.get(frame_id)
        if frame is None:
            return  # abandoned while a step still held it
        if sink not in frame.waiting_for:
            raise AssertionError(f"frame {frame_id.index} of {frame_id.camera} ended twice at {sink}")
        frame.waiting_for.discard(sink)
        account = self._accounts[frame_id.camera]
        account.sinks[sink].in_flight -= 1
        account.sinks[sink].add(absent)
        if absent is None:
            frame.delivered = True
            account.last = self._clock()
            self.latency[frame_id.camera].add(account.last - frame.captured)
        elif frame.worst is None or _rank(absent) > _rank(frame.worst):
            frame.worst = absent
        if not frame.waiting_for:
            del self._frames[frame_id]
            if self._deadline is not None:
                self._deadline.ended(frame_id, self._clock(), delivered=frame.delivered)
            self._on_route[frame.route] -= 1
            self._settle(frame, account)

    def _settle(self, frame: _Frame, account: CameraAccount) -> None:
        """Every sink has seen the frame: it is lost if any lost it, else delivered if any got it."""
        only_filtered = frame.worst is None or frame.worst.outcome is Outcome.FILTERED
        account.total.in_flight -= 1
        account.total.add(None if frame.delivered and only_filtered else frame.worst)
        account.in_window -= 1
        self._changed.notify_all()


def _rank(absent: Absent) -> int:
    return [Outcome.FILTERED, Outcome.DROPPED, Outcome.FAILED].index(absent.outcome)


def _place(absent: Absent) -> str:
    return f"{absent.cause} at {absent.place}"


def _copied(account: CameraAccount) -> CameraAccount:
    def copy(counts: Counts) -> Counts:
        return Counts(
            counts.produced, counts.delivered, counts.filtered, counts.failed, counts.in_flight,
            Counter(counts.dropped), Counter(counts.failures),
        )  # fmt: skip

    sinks = {name: copy(counts) for name, counts in account.sinks.items()}
    return replace(account, total=copy(account.total), sinks=sinks)
