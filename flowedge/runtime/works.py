"""What the copies of a step work on, here and on workers: it finishes in any order, and goes on in its own."""

from __future__ import annotations

import threading
from collections.abc import Callable
from typing import NamedTuple

from flowedge.plane.clock import Clock
from flowedge.plane.item import Item
from flowedge.runtime.copies import Copy
from flowedge.runtime.order import Order, Place
from flowedge.values import FrameId


class Work(NamedTuple):
    """An item that a copy works on since then, and its place among those of its camera."""

    item: Item
    place: Place
    copy: Copy
    since: float


class Works:
    """The items that are worked on; each is taken out once, by whoever ends the work on it. Thread-safe."""

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._order = Order()
        self._works: dict[tuple[FrameId, int], Work] = {}  # that which was begun first comes first
        self._over = threading.Condition()

    def begin(self, item: Item, copy: Copy) -> None:
        """Note that a copy works on an item from now on."""
        with self._over:
            work = Work(item, self._order.enter(item.camera), copy, self._clock())
            self._works[item.frame, item.part] = work

    def take(self, item: Item) -> Work | None:
        """Take out what has been done; None where it was given up before."""
        with self._over:
            work = self._works.pop((item.frame, item.part), None)
            self._over.notify_all()
        return work

    def take_overdue(self, before: float) -> list[Work]:
        """Take out the live items that were begun before then."""
        with self._over:
            overdue = [key for key, work in self._works.items() if work.item.live and work.since <= before]
            works = [self._works.pop(key) for key in overdue]
            self._over.notify_all()
        return works

    @property
    def longest(self) -> Work | None:
        """That which has been worked on longest."""
        with self._over:
            return next(iter(self._works.values()), None)

    def wait(self) -> None:
        """Wait until all have been taken out."""
        with self._over:
            self._over.wait_for(lambda: not self._works)

    def go_on(self, work: Work, leave: Callable[[], None]) -> None:
        """Call `leave` once all that came before has left, as `Order.done`."""
        self._order.done(work.place, leave)

    def pass_by(self, camera: str, leave: Callable[[], None]) -> None:
        """Call `leave` once all that came before has left, for what needs no work."""
        self._order.done(self._order.enter(camera), leave)

    def finish(self, camera: str) -> None:
        """Wait until all of a camera have left, and forget it."""
        self._order.finish(camera)
