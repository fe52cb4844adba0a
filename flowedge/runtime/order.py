"""Lets what several copies of an operator finish out of order go on in the order in which it came."""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass


@dataclass(slots=True, eq=False)
class Place:
    """The place of one item in the order of its camera; `leave` is set once it is done with."""

    camera: str
    leave: Callable[[], None] | None = None


class Order:
    """Keeps the order of each camera; cameras do not wait for one another. Thread-safe.

    >>> order, gone = Order(), []
    >>> first, second = order.enter("north"), order.enter("north")
    >>> order.done(second, lambda: gone.append("second"))
    >>> order.done(first, lambda: gone.append("first"))
    >>> gone
    ['first', 'second']
    """

    def __init__(self) -> None:
        self._waiting: dict[str, deque[Place]] = {}
        # Leaving may end in something else that enters and leaves here.
        self._lock = threading.Condition(threading.RLock())

    def enter(self, camera: str) -> Place:
        """Take the last place of a camera."""
        place = Place(camera)
        with self._lock:
            self._waiting.setdefault(camera, deque()).append(place)
        return place

    def done(self, place: Place, leave: Callable[[], None]) -> None:
        """Call `leave` as soon as all that came before has left; each place once."""
        with self._lock:  # held while leaving, for the order
            place.leave = leave
            waiting = self._waiting[place.camera]
            while waiting and (leaves := waiting[0].leave) is not None:
                waiting.popleft()
                leaves()
            if not waiting and self._waiting.get(place.camera) is waiting:
                del self._waiting[place.camera]
                self._lock.notify_all()

    def wait_until_empty(self, camera: str) -> None:
        """Return when all that has entered for a camera has left."""
        with self._lock:
            self._lock.wait_for(lambda: camera not in self._waiting)
