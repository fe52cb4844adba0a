"""Lets what several copies of an operator finish out of order go on in the order in which it came."""

from __future__ import annotations

import threading
from collections import defaultdict, deque
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
        self._waiting: defaultdict[str, deque[Place]] = defaultdict(deque)
        self._left = threading.Condition()  # re-entrant: leaving may end in entering and leaving here

    def enter(self, camera: str) -> Place:
        """Take the last place of a camera."""
        place = Place(camera)
        with self._left:
            self._waiting[camera].append(place)
        return place

    def done(self, place: Place, leave: Callable[[], None]) -> None:
        """Call `leave` as soon as all that came before has left; each place once.

        It must not wait for what another thread does here. Raises what the last raises of those that leave
        now; the others leave all the same.
        """
        error: BaseException | None = None
        with self._left:  # held while leaving, for the order
            place.leave = leave
            waiting = self._waiting[place.camera]
            while waiting and (leaves := waiting[0].leave) is not None:
                waiting.popleft()
                try:
                    leaves()
                except BaseException as raised:
                    error = raised
            if not waiting:
                self._left.notify_all()
        if error is not None:
            raise error

    def finish(self, camera: str) -> None:
        """Wait until all of a camera have left, and forget it."""
        with self._left:
            self._left.wait_for(lambda: not self._waiting.get(camera))
            self._waiting.pop(camera, None)
