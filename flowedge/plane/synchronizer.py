"""Where streams of two cameras meet: frames are paired by when they were taken.

This is approximate-time synchronisation as `message_filters` of ROS has it: every frame is in at most one pair,
pairs leave in order, and a frame gives way to the next of its camera only where that is clearly nearer.

Frames of live cameras are compared by `Origin.monotonic`: both cameras were stamped by this machine's clock,
which never leaps, as the wall clock may between two frames. Files are read faster than they were filmed, so
their frames are compared by `Origin.media`: files that are paired begin together.
"""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Generic, NamedTuple, TypeVar

from flowedge.plane.clock import Clock
from flowedge.plane.inbox import MeetingInbox
from flowedge.plane.item import End, Item, first_origin
from flowedge.values import Outcome

T = TypeVar("T")

NO_PARTNER = "no partner"
OVERDUE = "partner overdue"

_NEARER = 2.0
"""How many times nearer the next frame of a camera must be for a frame to give way to it; the age penalty of
ROS, plus one. With 1, two cameras of one rate, half a frame apart, lose a frame whenever their stamps
tremble."""


_INTERVALS = 16
"""Intervals of a live camera, the shortest of which says when its next frame can come at the earliest. A few:
one frame that was late makes one short interval, and pairs would wait for a nearer frame for ever after."""


class Match(NamedTuple, Generic[T]):
    """What is settled: a pair, or one frame that stays alone because of `cause`."""

    left: T | None
    right: T | None
    cause: str = ""


@dataclass(slots=True)
class _Waiting(Generic[T]):
    item: T
    time: float
    due: float


@dataclass(slots=True)
class _Side(Generic[T]):
    """The frames of one camera that wait, oldest first; nothing that comes is older than `latest`.

    `intervals` are the last few times between two frames.
    """

    waiting: deque[_Waiting[T]] = field(default_factory=deque)
    latest: float = float("-inf")
    intervals: deque[float] = field(default_factory=lambda: deque(maxlen=_INTERVALS))
    ended: bool = False


class Matcher(Generic[T]):
    """Decides which frames of two cameras are pairs; has no clock, no threads and no idea what a frame is.

    Sides are 0 (left) and 1 (right); frames of a side come in order. Two frames are a pair where their times
    differ by at most `tolerance` seconds.

    >>> matcher = Matcher[str](0.04)
    >>> matcher.add(0, "north 0", time=0.00)
    >>> matcher.add(1, "south 0", time=0.01)
    >>> matcher.add(0, "north 1", time=0.04)
    >>> list(matcher.settle(now=0.0))
    [Match(left='north 0', right='south 0', cause='')]
    """

    def __init__(self, tolerance: float) -> None:
        self._tolerance = tolerance
        self._sides: tuple[_Side[T], _Side[T]] = (_Side(), _Side())

    def add(self, side: int, item: T, *, time: float, due: float = float("inf")) -> None:
        """A frame has come; from `due` on it waits no longer, neither for a partner nor for a nearer one.

        A frame that is stamped before the one that came before it counts as taken with it.
        """
        own = self._begun(side)
        if own.latest > float("-inf") and time > own.latest:
            own.intervals.append(time - own.latest)
        own.latest = max(own.latest, time)
        own.waiting.append(_Waiting(item, own.latest, due))

    def advance(self, side: int, time: float) -> None:
        """No frame before this time will come any more. A side that had ended begins anew."""
        own = self._begun(side)
        own.latest = max(own.latest, time)

    def end(self, side: int) -> None:
        """No frame will come any more."""
        self._sides[side].ended = True

    def waits(self, side: int) -> bool:
        """Whether frames of this side are not settled."""
        return bool(self._sides[side].waiting)

    def next_due(self) -> float:
        """When `settle` has something to say though nothing comes; infinity where that is never."""
        return min((side.waiting[0].due for side in self._sides if side.waiting), default=float("inf"))

    def settle(self, now: float) -> Iterator[Match[T]]:
        """What can be told by now, in the order of time."""
        while (match := self._settled(now)) is not None:
            yield match

    def _begun(self, side: int) -> _Side[T]:
        own = self._sides[side]
        if own.ended:
            own.ended, own.latest = False, float("-inf")
            own.intervals.clear()
        return own

    def _settled(self, now: float) -> Match[T] | None:
        left, right = self._sides
        if left.waiting and right.waiting:
            early = 0 if left.waiting[0].time <= right.waiting[0].time else 1
            return self._compared(early, now)
        if not left.waiting and not right.waiting:
            return None
        side = 0 if left.waiting else 1
        head, other = self._sides[side].waiting[0], self._sides[1 - side]
        if other.ended or other.latest > head.time + self._tolerance:
            return self._alone(side, NO_PARTNER)
        return self._alone(side, OVERDUE) if head.due <= now else None

    def _compared(self, early: int, now: float) -> Match[T] | None:
        """Settle the oldest frames of both sides, of which that of the side `early` is the older."""
        own, other = self._sides[early], self._sides[1 - early]
        head, partner = own.waiting[0], other.waiting[0]
        gap = partner.time - head.time
        if gap > self._tolerance:
            return self._alone(early, NO_PARTNER)
        if len(own.waiting) > 1:
            nearer = _NEARER * abs(partner.time - own.waiting[1].time) < gap
            return self._alone(early, NO_PARTNER) if nearer else self._paired()
        due = min(head.due, partner.due)
        # A guess at the next frame would depend on which thread was faster; a file has time to wait for it.
        spacing = min(own.intervals, default=0.0) if due < float("inf") else 0.0
        earliest = max(own.latest, head.time + spacing)
        decided = own.ended or gap == 0 or earliest >= partner.time + gap or due <= now
        return self._paired() if decided else None

    def _paired(self) -> Match[T]:
        left, right = self._sides
        return Match(left.waiting.popleft().item, right.waiting.popleft().item)

    def _alone(self, side: int, cause: str) -> Match[T]:
        item = self._sides[side].waiting.popleft().item
        return Match(None, item, cause) if side else Match(item, None, cause)


class Synchronizer(MeetingInbox):
    """Frames of two cameras are put, pairs of them are taken, whose items carry the two values.

    `cameras` names the left and the right one. A pair is an item of the left camera's frame, with the right
    one's among its `partners`. What has no partner is dropped with that cause; live frames wait at most
    `deadline` seconds, frames of files until it is certain. Frames of other cameras are filtered out.
    """

    def __init__(
        self,
        place: str,
        cameras: tuple[str, str],
        *,
        tolerance: float,
        deadline: float,
        clock: Clock = time.monotonic,
    ) -> None:
        super().__init__(place, clock)
        self._place = place
        self._cameras = cameras
        self._deadline = deadline
        self._matcher: Matcher[tuple[Item, float]] = Matcher(tolerance)
        self._ends: dict[int, End] = {}

    def _receive(self, item: Item | End, since: float) -> None:
        if item.camera not in self._cameras:
            if isinstance(item, Item) and item.is_value:
                item = self._absent(item, Outcome.FILTERED, "not synchronized")
            self._ready.append((item, 0.0))
            return
        side = self._cameras.index(item.camera)
        if isinstance(item, End):
            self._matcher.end(side)
            # Pairs travel as frames of the left camera: no end may overtake them.
            self._ends[side] = item._replace(behind=self._cameras[0]) if side else item
        elif item.is_value:
            taken = _taken(item, since)
            due = since + self._deadline if item.live else float("inf")
            self._matcher.add(side, (item, since), time=taken, due=due)
        else:
            if not item.live:  # of a live camera, what was shed may overtake what is still being worked on
                self._matcher.advance(side, first_origin(item.value).media)
            self._ready.append((item, 0.0))

    def _settle(self) -> None:
        now = self._clock()
        for left, right, cause in self._matcher.settle(now):
            if left and right:
                pair = left[0].paired_with(right[0])
                self._ready.append((pair, now - min(left[1], right[1])))
            elif alone := left or right:
                self._ready.append((self._absent(alone[0], Outcome.DROPPED, cause), now - alone[1]))
        for side in [side for side in sorted(self._ends, reverse=True) if not self._matcher.waits(side)]:
            self._ready.append((self._ends.pop(side), 0.0))

    def _absent(self, item: Item, outcome: Outcome, cause: str) -> Item:
        return item.absent(outcome, cause, self._place)

    def _next_due(self) -> float:
        return self._matcher.next_due()


def _taken(item: Item, since: float) -> float:
    """When a frame was taken, in seconds that can be compared with those of the other camera."""
    origin = first_origin(item.value)
    return origin.monotonic or since if item.live else origin.media
