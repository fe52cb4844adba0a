"""Where two streams of a camera meet: frames are paired by their identity."""

from __future__ import annotations

import threading

from flowedge.plane.item import End, Item, Receiver
from flowedge.values import FrameId


class Join:
    """Pairs the items of two streams and passes each pair on, or the `Absent` of either half.

    Every frame comes on both sides, as a value or as `Absent`, so nothing waits for ever.
    """

    def __init__(self, receiver: Receiver) -> None:
        self._receiver = receiver
        self._first: dict[tuple[FrameId, int], tuple[int, Item]] = {}
        self._ended: set[str] = set()
        self._lock = threading.Lock()

    def left(self, item: Item | End) -> None:
        self._receive(0, item)

    def right(self, item: Item | End) -> None:
        self._receive(1, item)

    def _receive(self, side: int, item: Item | End) -> None:
        with self._lock:  # held while passing on, so that pairs leave in order
            if isinstance(item, End):
                if item.camera in self._ended:
                    self._ended.discard(item.camera)
                    self._receiver(item)
                else:
                    self._ended.add(item.camera)
                return
            key = (item.frame, item.part)
            if key not in self._first:
                self._first[key] = (side, item)
                return
            other_side, other = self._first.pop(key)
            left, right = (item, other) if side < other_side else (other, item)
            self._receiver(_paired(left, right))


def _paired(left: Item, right: Item) -> Item:
    if not left.is_value:
        return left
    return left.with_value((left.value, right.value)) if right.is_value else right
