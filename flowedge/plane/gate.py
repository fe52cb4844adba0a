"""The entrance to a region of the graph whose results must meet again, which sheds live frames.

Between a split and its gather, or a fork and its join, a frame is useful only whole: if every operator inside
kept its own newest piece, pieces of different frames would survive and none would ever match. So live frames
are shed before such a region, and those inside are let through.
"""

from __future__ import annotations

import threading

from flowedge.plane.deadline import Deadline
from flowedge.plane.item import End, Item, Receiver
from flowedge.plane.mailbox import Mailbox
from flowedge.values import FrameId


class Gate:
    """Lets at most `room` live frames into a region at a time, the newest of each camera in turn.

    A frame has left the region when `done` was called for it as often as there are `exits`. Receivers added by
    `lead_to` get what is let in.
    """

    def __init__(self, place: str, room: int, exits: int, deadline: Deadline | None = None) -> None:
        self._waiting = Mailbox(place, shed=self._let_in, deadline=deadline)
        self._room = room
        self._exits = exits
        self._inside: dict[FrameId, int] = {}
        self._heads: list[Receiver] = []
        self._lock = threading.Lock()
        self._passing = False

    def lead_to(self, head: Receiver) -> None:
        self._heads.append(head)

    def put(self, item: Item | End) -> None:
        self._waiting.put(item)
        self._pass_on()

    def done(self, frame: FrameId) -> None:
        """The frame has left by one exit."""
        with self._lock:
            if frame not in self._inside:  # it never took room: absent, or a frame of a file
                return
            self._inside[frame] -= 1
            if self._inside[frame]:
                return
            del self._inside[frame]
        self._pass_on()

    def _pass_on(self) -> None:
        """Let in what there is room for: one thread at a time, for the order, but without holding the lock."""
        with self._lock:
            if self._passing:
                return
            self._passing = True
        while items := self._admitted():
            for item in items:
                self._let_in(item)

    def _let_in(self, item: Item | End) -> None:
        for head in self._heads:
            head(item)

    def _admitted(self) -> list[Item | End]:
        with self._lock:
            items = [item for item, _ in self._waiting.poll(1)] if len(self._inside) < self._room else []
            for item in items:
                if isinstance(item, Item) and item.is_value and item.live:
                    self._inside[item.frame] = self._exits
            self._passing = bool(items)
            return items
