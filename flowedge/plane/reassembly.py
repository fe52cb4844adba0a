"""The inbox of a gather: the parts of split frames come in, whole frames go out, in the order of their camera.

On a live stream a frame is let go without the parts that are overdue, since newer ones wait behind it.
"""

from __future__ import annotations

import itertools
import time
from collections import OrderedDict
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any

from flowedge.plane.clock import Clock
from flowedge.plane.inbox import MeetingInbox
from flowedge.plane.item import End, Item, first_origin
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
class _OpenFrame:
    """A frame some of whose parts have come, the first of them at `since` on the clock."""

    first: Item
    since: float
    parts: dict[int, Item] = field(default_factory=dict)

    @property
    def complete(self) -> bool:
        return len(self.parts) == self.first.parts


class Reassembly(MeetingInbox):
    """Parts of frames are put, whole frames are taken, whose items carry an `Assembled`.

    A frame of which every part is absent stays absent. A live frame waits at most `deadline` seconds from its
    first part, a frame of a file for every part. `on_complete` is called once for every frame when its last
    part has come, be it late: until then, some of it is still on its way here. `deadlines` has the routes whose
    frames have another deadline.
    """

    def __init__(
        self,
        place: str,
        *,
        deadline: float,
        on_complete: Callable[[FrameId], None],
        clock: Clock = time.monotonic,
    ) -> None:
        super().__init__(place, clock)
        self.deadlines: dict[int, float] = {}
        self._deadline = deadline
        self._on_complete = on_complete
        self._open: dict[str, OrderedDict[FrameId, _OpenFrame]] = {}
        self._overdue: dict[FrameId, int] = {}  # frames let go, and how many parts have yet to come
        self._behind: dict[str, list[End]] = {}  # ends that wait for the open frames of another camera

    def _receive(self, item: Item | End, since: float) -> None:
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
                frames[item.frame] = _OpenFrame(item, since)
            frames[item.frame].parts[item.part] = item

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
                self._overdue[frame_id] = frame.first.parts - len(frame.parts)
            self._let_go(frame)
        del self._open[camera]
        self._ready.extend((end, 0.0) for end in self._behind.pop(camera, ()))

    def _settle(self) -> None:
        for camera in list(self._open):
            self._release(camera)

    def _next_due(self) -> float:
        oldest = (next(iter(frames.values())) for frames in self._open.values())
        return min((self._due(frame) for frame in oldest), default=float("inf"))

    def _due(self, frame: _OpenFrame) -> float:
        if not frame.first.live:
            return float("inf")
        return frame.since + self.deadlines.get(frame.first.route, self._deadline)

    def _let_go(self, frame: _OpenFrame) -> None:
        self._ready.append((_assembled(frame), self._clock() - frame.since))


def _assembled(frame: _OpenFrame) -> Item:
    whole = frame.first._replace(part=0, parts=1, regions=())
    items = [frame.parts[part] for part in sorted(frame.parts)]
    present = [item for item in items if item.is_value]
    if not present:
        return whole.with_value(items[0].value)
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
