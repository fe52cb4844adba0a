"""The account of every frame: where it is and how it ended.

Always, per camera and sink: produced = delivered + filtered + dropped + failed + in flight.
"""

from __future__ import annotations

import threading
import time
from collections import Counter
from dataclasses import dataclass, field, replace

from flowedge.monitor.histogram import Histogram
from flowedge.plane.item import Ticket
from flowedge.values import Absent, Origin, Outcome

FILE_WINDOW = 8
"""Frames of a file that may be in the graph at a time: enough to keep every step of a pipeline busy."""

LIVE_WINDOW = 1000
"""Frames of a live camera that may be in the graph: only a stuck step has more, as others keep the newest."""


@dataclass
class Counts:
    """How the frames of a camera ended at one sink, or over all of them."""

    produced: int = 0
    delivered: int = 0
    filtered: int = 0
    failed: int = 0
    in_flight: int = 0
    dropped: Counter[str] = field(default_factory=Counter)
    failures: Counter[str] = field(default_factory=Counter)

    def add(self, absent: Absent | None) -> None:
        """Count one ending: a value (None) or an `Absent`."""
        match absent:
            case None:
                self.delivered += 1
            case Absent(outcome=Outcome.FILTERED):
                self.filtered += 1
            case Absent(outcome=Outcome.DROPPED):
                self.dropped[_place(absent)] += 1
            case Absent():
                self.failed += 1
                self.failures[_place(absent)] += 1

    def balanced(self) -> bool:
        """Whether every frame produced is accounted for."""
        ended = self.delivered + self.filtered + self.dropped.total() + self.failed
        return self.produced == ended + self.in_flight


@dataclass
class CameraAccount:
    """One camera's counts, over all sinks and at each; `ends_in` are the sinks of its frames from now on."""

    total: Counts
    sinks: dict[str, Counts]
    live: bool
    ends_in: tuple[str, ...] = ()
    in_window: int = 0
    first: float = 0.0
    last: float = 0.0


class Ledger:
    """Admits frames, bounds how many are in the graph, and counts how each ends at every sink."""

    def __init__(self) -> None:
        self._accounts: dict[str, CameraAccount] = {}
        self._outstanding: set[Ticket] = set()
        self._changed = threading.Condition()
        self.latency: dict[str, Histogram] = {}

    def open(self, camera: str, sinks: list[str], *, live: bool) -> None:
        """Begin, or go on with, a camera whose frames end in these sinks."""
        with self._changed:
            account = self._accounts.setdefault(camera, CameraAccount(Counts(), {}, live))
            account.live, account.ends_in = live, tuple(sinks)
            for sink in sinks:
                account.sinks.setdefault(sink, Counts())
                self.latency.setdefault(sink, Histogram())

    def admit(self, origin: Origin, *, live: bool, stop: threading.Event) -> Ticket | None:
        """The ticket of a frame just produced, or None where it goes no further.

        A file's frame waits until the window has room, and counts for nothing when `stop` is set before (call
        `wake` after setting it); a live one is dropped when the graph is stuck.
        """
        account = self._accounts[origin.camera]
        with self._changed:
            if not live:
                self._changed.wait_for(lambda: account.in_window < FILE_WINDOW or stop.is_set())
            if stop.is_set():
                return None
            captured = origin.monotonic or time.monotonic()
            ticket = Ticket(origin.camera, origin.index, live, captured, set(account.ends_in))
            account.first = account.first or time.monotonic()
            for counts in (account.total, *(account.sinks[sink] for sink in account.ends_in)):
                counts.produced += 1
                counts.in_flight += 1
            account.in_window += 1
            self._outstanding.add(ticket)
            if account.in_window > LIVE_WINDOW:
                self._abandon(ticket, Absent(origin, Outcome.DROPPED, "graph stuck", "source"))
                return None
            return ticket

    def end(self, ticket: Ticket, sink: str, absent: Absent | None) -> None:
        """The frame ended at a sink: in a value (None) or as an `Absent`."""
        with self._changed:
            self._end(ticket, sink, absent)

    def delivered(self, ticket: Ticket, sink: str) -> None:
        """A sink has taken the frame's value."""
        now = time.monotonic()
        self.latency[sink].add(now - ticket.captured)
        with self._changed:
            self._accounts[ticket.camera].last = now
            self._end(ticket, sink, None)

    def hold(self, ticket: Ticket) -> None:
        """A delayed operator keeps the frame back: give its place in the window to the next."""
        with self._changed:
            self._accounts[ticket.camera].in_window -= 1
            self._changed.notify_all()

    def unhold(self, ticket: Ticket) -> None:
        """The frame moves again; the window may be over-full by it for a while."""
        with self._changed:
            self._accounts[ticket.camera].in_window += 1

    def wake(self) -> None:
        """Let sources that wait for room look at their `stop` again."""
        with self._changed:
            self._changed.notify_all()

    def abandon(self, cause: str) -> None:
        """Count every frame still in the graph as dropped."""
        with self._changed:
            for ticket in list(self._outstanding):
                origin = Origin(ticket.camera, index=ticket.index)
                self._abandon(ticket, Absent(origin, Outcome.DROPPED, cause, "graph"))

    def accounts(self) -> dict[str, CameraAccount]:
        """A snapshot per camera."""
        with self._changed:
            return {camera: _copied(account) for camera, account in self._accounts.items()}

    def _abandon(self, ticket: Ticket, absent: Absent) -> None:
        for sink in list(ticket.waiting_for):
            self._end(ticket, sink, absent)

    def _end(self, ticket: Ticket, sink: str, absent: Absent | None) -> None:
        if sink not in ticket.waiting_for:
            if ticket in self._outstanding:
                raise AssertionError(f"frame {ticket.index} of {ticket.camera} ended twice at {sink}")
            return  # abandoned while a step still held it
        ticket.waiting_for.discard(sink)
        account = self._accounts[ticket.camera]
        account.sinks[sink].in_flight -= 1
        account.sinks[sink].add(absent)
        if absent is None:
            ticket.delivered = True
        elif ticket.worst is None or _rank(absent) > _rank(ticket.worst):
            ticket.worst = absent
        if not ticket.waiting_for:
            self._settle(ticket, account)

    def _settle(self, ticket: Ticket, account: CameraAccount) -> None:
        """Every sink has seen the frame: it is lost if any lost it, else delivered if any got it."""
        self._outstanding.discard(ticket)
        only_filtered = ticket.worst is None or ticket.worst.outcome is Outcome.FILTERED
        account.total.in_flight -= 1
        account.total.add(None if ticket.delivered and only_filtered else ticket.worst)
        account.in_window -= 1
        self._changed.notify_all()


def _rank(absent: Absent) -> int:
    return [Outcome.FILTERED, Outcome.DROPPED, Outcome.FAILED].index(absent.outcome)


def _place(absent: Absent) -> str:
    return f"{absent.cause} at {absent.place}"


def _copied(account: CameraAccount) -> CameraAccount:
    def copy(counts: Counts) -> Counts:
        return Counts(
            counts.produced, counts.delivered, counts.filtered, counts.failed, counts.in_flight,
            Counter(counts.dropped), Counter(counts.failures),
        )  # fmt: skip

    sinks = {name: copy(counts) for name, counts in account.sinks.items()}
    return replace(account, total=copy(account.total), sinks=sinks)
