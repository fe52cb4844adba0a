"""The inbox of a gather: the parts of split frames come in, whole frames go out, in the order of their camera.

On a live stream a frame is let go without the parts that are overdue, since newer ones wait behind it.
"""

from __future__ import annotations

import itertools
import sys
import time
from collections import OrderedDict, deque
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any

from flowedge.plane.clock import Clock
from flowedge.plane.item import End, Item, first_origin
from flowedge.plane.mailbox import Mailbox
from flowedge.values import FrameId, Origin, Rect


@dataclass(frozen=True, slots=True)
class Assembled:
    """The parts of a frame that came, in the order of the split.

    `complete`: none was lost; `missing` are the regions that no part showed as closely as a lost one.
    """

    parts: tuple[Any, ...]
    complete: bool
    missing: tuple[Rect, ...]

    @property
    def origin(self) -> Origin:
        return first_origin(self.parts[0])


@dataclass(slots=True)
class _Frame:
    """A frame some of whose parts have come, the first of them at `since` on the clock."""

    first: Item
    since: float
    came: dict[int, Item] = field(default_factory=dict)

    @property
    def complete(self) -> bool:
        return len(self.came) == self.first.parts


class Reassembly:
    """A thread-safe inbox with one reader, as a mailbox is; its items carry an `Assembled`.

    A frame of which every part is absent stays absent. A live frame waits at most `deadline` seconds from its
    first part, a frame of a file for every part. `on_complete` is called once for every frame when its last
    part has come, be it late: until then, some of it is still on its way here.
    """

    def __init__(
        self,
        place: str,
        *,
        deadline: float,
        on_complete: Callable[[FrameId], None],
        clock: Clock = time.monotonic,
    ) -> None:
        self._inbox = Mailbox(place, shed=None, clock=clock)
        self._deadline = deadline
        self._on_complete = on_complete
        self._clock = clock
        self._open: dict[str, OrderedDict[FrameId, _Frame]] = {}
        self._overdue: dict[FrameId, int] = {}  # frames let go, and how many parts have yet to come
        self._behind: dict[str, list[End]] = {}  # ends that wait for the open frames of another camera
        self._ready: deque[tuple[Item | End, float]] = deque()

    def put(self, item: Item | End) -> None:
        """Leave a part, or the end of a camera; never blocks."""
        self._inbox.put(item)

    def take(self, most: int) -> list[tuple[Item | End, float]]:
        """Up to `most` frames or ends, and the seconds that each frame has waited since its first part.

        Waits for the first; an empty list means that the inbox is closed and nothing more can become ready.
        """
        while not self._ready:
            # All that has come, before anything is called overdue: a slow gather is no reason to lose parts.
            self._assemble(self._inbox.take(sys.maxsize, self._until_deadline()))
            if not self._ready and self._inbox.finished:
                return []
        return self._taken(most)

    def poll(self, most: int) -> list[tuple[Item | End, float]]:
        """What `take` would give now, without waiting."""
        self._assemble(self._inbox.poll(sys.maxsize))
        return self._taken(most)

    def close(self) -> None:
        """Let the reader go once nothing more can become ready."""
        self._inbox.close()

    @property
    def unsettled(self) -> int:
        """Frames of which some parts have yet to come."""
        return len(self._overdue) + sum(map(len, self._open.values()))

    def _assemble(self, parts: list[tuple[Item | End, float]]) -> None:
        for item, waited in parts:
            self._receive(item, waited)
        for camera in list(self._open):
            self._release(camera)

    def _taken(self, most: int) -> list[tuple[Item | End, float]]:
        return [self._ready.popleft() for _ in range(min(most, len(self._ready)))]

    def _receive(self, item: Item | End, waited: float) -> None:
        if isinstance(item, End):
            self._finish(item)
        elif item.frame in self._overdue:
            self._overdue[item.frame] -= 1
            if not self._overdue[item.frame]:
                del self._overdue[item.frame]
                self._on_complete(item.frame)
        else:
            frames = self._open.setdefault(item.camera, OrderedDict())
            if item.frame not in frames:
                frames[item.frame] = _Frame(item, self._clock() - waited)
            frames[item.frame].came[item.part] = item

    def _finish(self, end: End) -> None:
        """Let go of every frame of a camera that has ended: nothing follows its end."""
        if end.behind in self._open:
            self._behind.setdefault(end.behind, []).append(end)
            return
        for frame_id, frame in self._open.pop(end.camera, {}).items():
            self._on_complete(frame_id)
            self._let_go(frame)
        for frame_id in [frame_id for frame_id in self._overdue if frame_id.camera == end.camera]:
            del self._overdue[frame_id]
            self._on_complete(frame_id)
        self._ready.extend((waiting, 0.0) for waiting in (*self._behind.pop(end.camera, ()), end))

    def _release(self, camera: str) -> None:
        """Let go of the camera's oldest frames as long as they are complete or overdue."""
        frames, now = self._open[camera], self._clock()
        while frames:
            frame_id, frame = next(iter(frames.items()))
            if not frame.complete and self._due(frame) > now:
                return
            del frames[frame_id]
            if frame.complete:
                self._on_complete(frame_id)
            else:
                self._overdue[frame_id] = frame.first.parts - len(frame.came)
            self._let_go(frame)
        del self._open[camera]
        self._ready.extend((end, 0.0) for end in self._behind.pop(camera, ()))

    def _until_deadline(self) -> float | None:
        """Seconds until the next frame is overdue; None where none can be."""
        oldest = (next(iter(frames.values())) for frames in self._open.values())
        due = min((self._due(frame) for frame in oldest), default=float("inf"))
        return None if due == float("inf") else max(0.0, due - self._clock())

    def _due(self, frame: _Frame) -> float:
        return frame.since + self._deadline if frame.first.live else float("inf")

    def _let_go(self, frame: _Frame) -> None:
        self._ready.append((_assembled(frame), self._clock() - frame.since))


def _assembled(frame: _Frame) -> Item:
    whole = frame.first._replace(part=0, parts=1, regions=())
    came = [frame.came[part] for part in sorted(frame.came)]
    present = [item for item in came if item.is_value]
    if not present:
        return whole.with_value(came[0].value)
    complete = len(present) == frame.first.parts
    missing = () if complete else _missing(frame.first.regions, {item.part for item in present})
    return whole.with_value(Assembled(tuple(item.value for item in present), complete, missing))


def _missing(regions: Sequence[Rect | None], present: set[int]) -> tuple[Rect, ...]:
    """What was lost with the parts that are not present: the regions that nobody looked at as closely.

    A whole frame that was lost beside its tiles hides nothing; a lost tile hides what it shows though the whole
    frame came, at a coarser scale.
    """
    lost = [region for part, region in enumerate(regions) if region and part not in present]
    seen = [region for part, region in enumerate(regions) if region and part in present]
    return tuple(region for region in lost if not _covered(region, _no_coarser(region, seen, lost)))


def _no_coarser(region: Rect, seen: list[Rect], lost: list[Rect]) -> Iterator[Rect]:
    """What may answer for a region: as fine parts that came, and finer ones, which are missing themselves."""
    yield from (other for other in seen if _area(other) <= _area(region))
    yield from (other for other in lost if _area(other) < _area(region))


def _covered(region: Rect, others: Iterator[Rect]) -> bool:
    """Whether rectangles together cover a region: each cell between their edges lies in one of them."""
    left, top, right, bottom = region
    rectangles = list(others)
    xs = {left, *(x for other in rectangles for x in other[::2] if left < x < right)}
    ys = {top, *(y for other in rectangles for y in other[1::2] if top < y < bottom)}
    return all(
        any(a <= x < c and b <= y < d for a, b, c, d in rectangles) for x, y in itertools.product(xs, ys)
    )


def _area(region: Rect) -> int:
    return (region[2] - region[0]) * (region[3] - region[1])
