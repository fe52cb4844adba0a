"""The inbox of an operator: everything in order, or the newest frame of each camera.

A queue in front of a step that is too slow for a live camera only makes every frame late: measured, 60 frames/s
into a 100 ms step delivered 2 frames in 30 s under a latency budget, latest-only 301 at 120 ms. So a live frame
gives way to the next one of its camera, and an `Absent` goes on in its place at once: were it to wait behind a
step that is stuck, so would everybody who waits for it. Encoded packets depend on one another and give way only
by whole groups of pictures. Where the graph has a latency goal, a frame that waited and cannot keep it any more
gives way too (`flowedge.plane.deadline`), and its camera has the next turn.
"""

from __future__ import annotations

import threading
import time
from collections import OrderedDict, deque
from collections.abc import Callable, Iterable
from dataclasses import dataclass

from flowedge.plane.clock import Clock
from flowedge.plane.deadline import Deadline
from flowedge.plane.item import End, Item
from flowedge.values import Outcome, Packet

PACKETS_KEPT = 30
"""Live packets that may wait: about a second. Only a decoder that cannot keep up has more."""


@dataclass(slots=True, eq=False)
class _Cell:
    item: Item | End
    since: float


class Mailbox:
    """A thread-safe inbox with one reader; `place` names that reader in what it drops.

    With `shed`, values of live cameras give way to newer ones, and what is absent, then or before, does not
    wait here but goes to `shed`, in the thread that put it or what it gave way to. Values of a camera stay in
    order and before its `End`. Cameras take turns. With a `deadline` the reader gets an `Absent` in the place
    of a live value that would come too late.
    """

    def __init__(
        self,
        place: str,
        *,
        shed: Callable[[Item], None] | None,
        deadline: Deadline | None = None,
        clock: Clock = time.monotonic,
    ) -> None:
        self._place = place
        self._shed = shed
        self._deadline = deadline
        self._passed_over: set[str] = set()  # cameras whose last frame came too late: theirs is the next turn
        self._clock = clock
        self._cells: OrderedDict[str, deque[_Cell]] = OrderedDict()
        self._newest: dict[str, _Cell] = {}
        self._awaiting_key: set[str] = set()
        self._lock = threading.Lock()
        self._bell = threading.Lock()  # a bare lock wakes the reader in half the time of a Condition
        self._bell.acquire()
        self._waiting = False
        self._closed = False

    def put(self, item: Item | End) -> None:
        """Leave an item; never blocks."""
        if self._shed is None or isinstance(item, End):
            with self._lock:
                self._keep(item)
            return
        gone = [] if item.is_value else [item]
        with self._lock:
            if isinstance(item.value, Packet) and item.live:
                gone += self._make_room_for_packet(item, item.value)
            elif item.is_value:
                cell = self._keep(item)
                if item.live:
                    gone += self._replace_newest(item.camera, cell)
        for absent in gone:
            self._shed(absent)

    def take(self, most: int, timeout: float | None = None) -> list[tuple[Item | End, float]]:
        """Up to `most` values with whatever lies before them, and how long each has waited in seconds.

        Waits for the first; an empty list means that the time is up or the mailbox closed.
        """
        while True:
            with self._lock:
                if self._cells and (taken := self._taken(most)):
                    return taken
                if self._closed:
                    return []
                self._waiting = True
            if self._bell.acquire(timeout=-1 if timeout is None else timeout):
                continue
            with self._lock:
                if self._waiting:
                    self._waiting = False
                    return []
            self._bell.acquire()  # a put came between the time-out and the lock: take its ring

    def poll(self, most: int) -> list[tuple[Item | End, float]]:
        """What `take` would give now, without waiting."""
        with self._lock:
            return self._taken(most)

    def close(self) -> None:
        """Let the reader go once the mailbox is empty."""
        with self._lock:
            self._closed = True
            if self._waiting:
                self._waiting = False
                self._bell.release()

    @property
    def finished(self) -> bool:
        """Closed, and nothing is left to take."""
        with self._lock:
            return self._closed and not any(self._cells.values())

    def _taken(self, most: int) -> list[tuple[Item | End, float]]:
        taken: list[tuple[Item | End, float]] = []
        values: list[Item] = []
        now = self._clock()
        while self._cells and len(values) < most:
            camera, cells = next(iter(self._cells.items()))
            while cells and len(values) < most:
                item, waited = cells[0].item, now - cells[0].since
                if self._deadline is not None and isinstance(item, Item) and _may_be_shed(item):
                    if values and self._deadline.misses(self._place, [*values, item], now):
                        return self._noted(taken, values, now)  # alone both may be in time
                    if waited >= self._deadline.patience and self._deadline.misses(self._place, [item], now):
                        item = item.absent(Outcome.DROPPED, "too late", self._place)
                        self._passed_over.add(camera)
                cell = cells.popleft()
                if self._newest.get(camera) is cell:
                    del self._newest[camera]
                taken.append((item, waited))
                if isinstance(item, Item) and item.is_value:
                    values.append(item)
                    break
            if cells:
                self._cells.move_to_end(camera)
            else:
                del self._cells[camera]
        return self._noted(taken, values, now)

    def _noted(
        self, taken: list[tuple[Item | End, float]], values: list[Item], now: float
    ) -> list[tuple[Item | End, float]]:
        if self._deadline is not None:
            self._deadline.taken(self._place, [item for item in values if item.live], now)
        return taken

    def _keep(self, item: Item | End) -> _Cell:
        cell = _Cell(item, self._clock())
        lane = item.behind or item.camera if isinstance(item, End) else item.frame.camera
        self._cells.setdefault(lane, deque()).append(cell)
        if lane in self._passed_over:
            self._passed_over.discard(lane)
            self._cells.move_to_end(lane, last=False)
        if self._waiting:
            self._waiting = False
            self._bell.release()
        return cell

    def _replace_newest(self, camera: str, cell: _Cell) -> list[Item]:
        """What gives way to a live value just kept."""
        older, self._newest[camera] = self._newest.get(camera), cell
        if older is None:
            return []
        self._cells[camera].remove(older)
        return self._dropped([older.item], "newer frame")

    def _make_room_for_packet(self, item: Item, packet: Packet) -> list[Item]:
        """Keep a live packet if it can be decoded; what gives way, which may be itself."""
        cells, gone = self._cells.get(item.camera, deque()), []
        if item.camera not in self._awaiting_key and len(cells) >= PACKETS_KEPT:
            self._awaiting_key.add(item.camera)
            gone = self._dropped([cell.item for cell in cells], "decoder behind")
            self._cells[item.camera] = deque(cell for cell in cells if isinstance(cell.item, End))
            self._newest.pop(item.camera, None)
        if packet.keyframe:
            self._awaiting_key.discard(item.camera)
        if item.camera in self._awaiting_key:
            return gone + self._dropped([item], "decoder behind")
        self._keep(item)
        return gone

    def _dropped(self, items: Iterable[Item | End], cause: str) -> list[Item]:
        return [item.absent(Outcome.DROPPED, cause, self._place) for item in items if isinstance(item, Item)]


def _may_be_shed(item: Item) -> bool:
    """Whether others can do without this value: pictures coded after a packet cannot."""
    return item.live and item.is_value and not isinstance(item.value, Packet)
