"""What a gather's and a synchronizer's inbox have in common: items wait in it for others, up to a deadline.

The parts of a split frame meet in `flowedge.plane.reassembly`, the frames of two cameras in
`flowedge.plane.synchronizer`.
"""

from __future__ import annotations

import sys
from abc import ABC, abstractmethod
from collections import deque

from flowedge.plane.clock import Clock
from flowedge.plane.item import End, Item
from flowedge.plane.mailbox import Mailbox


class MeetingInbox(ABC):
    """A thread-safe inbox with one reader, as a mailbox is, which gives what becomes of the items put.

    Subclasses append to `_ready` what may go on, with the seconds that it has waited.
    """

    def __init__(self, place: str, clock: Clock) -> None:
        self._inbox = Mailbox(place, shed=None, clock=clock)
        self._clock = clock
        self._ready: deque[tuple[Item | End, float]] = deque()

    @abstractmethod
    def _receive(self, item: Item | End, since: float) -> None:
        """Take in an item that has been here `since` on the clock."""

    @abstractmethod
    def _settle(self) -> None:
        """Append to `_ready` whatever need not wait any longer."""

    @abstractmethod
    def _next_due(self) -> float:
        """When, on the clock, something need not wait any longer though nothing comes; infinity for never."""

    def put(self, item: Item | End) -> None:
        """Leave an item, or the end of a camera; never blocks."""
        self._inbox.put(item)

    def take(self, most: int) -> list[tuple[Item | End, float]]:
        """Up to `most` items that are ready, and the seconds that each has waited.

        Waits for the first; an empty list means that the inbox is closed and nothing more can become ready.
        """
        while not self._ready:
            # All that has come, before anything is called overdue: a slow reader is no reason to lose items.
            self._collect(self._inbox.take(sys.maxsize, self._until_due()))
            if not self._ready and self._inbox.finished:
                return []
        return self._taken(most)

    def poll(self, most: int) -> list[tuple[Item | End, float]]:
        """What `take` would give now, without waiting."""
        self._collect(self._inbox.poll(sys.maxsize))
        return self._taken(most)

    def close(self) -> None:
        """Let the reader go once nothing more can become ready."""
        self._inbox.close()

    def _collect(self, items: list[tuple[Item | End, float]]) -> None:
        for item, waited in items:
            self._receive(item, self._clock() - waited)
        self._settle()

    def _taken(self, most: int) -> list[tuple[Item | End, float]]:
        return [self._ready.popleft() for _ in range(min(most, len(self._ready)))]

    def _until_due(self) -> float | None:
        """Seconds until something has waited long enough; None where nothing waits for the clock."""
        due = self._next_due()
        return None if due == float("inf") else max(0.0, due - self._clock())
