"""The account of every frame: admitted, bounded, ended once at every sink."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from queue import Queue
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from flowedge.plane.item import Ticket
from flowedge.runtime.ledger import FILE_WINDOW, LIVE_WINDOW, Counts, Ledger
from flowedge.values import Absent, Origin, Outcome

SECONDS = 10.0
NEVER = threading.Event()
ENDINGS = [None, Outcome.FILTERED, Outcome.DROPPED, Outcome.FAILED]


def ledger(*sinks: str, live: bool = False) -> Ledger:
    made = Ledger()
    made.open("north", list(sinks) or ["sink"], live=live)
    return made


def admitted(book: Ledger, index: int = 0, *, live: bool = False) -> Ticket:
    ticket = book.admit(Origin("north", index=index), live=live, stop=NEVER)
    assert ticket is not None
    return ticket


def absent(outcome: Outcome | None) -> Absent | None:
    return outcome and Absent(Origin("north"), outcome, "cause", "Step")


def total(book: Ledger) -> Counts:
    return book.accounts()["north"].total


def assert_all_balanced(book: Ledger) -> None:
    for account in book.accounts().values():
        assert account.total.balanced()
        assert all(counts.balanced() for counts in account.sinks.values())


@pytest.fixture
def waiting_source() -> Iterator[Any]:
    """`start(book, stop)` admits one more file frame in a thread and gives what came of it, when joined."""
    threads = []

    def start(book: Ledger, stop: threading.Event) -> Any:
        came: list[Ticket | None] = []
        origin = Origin("north", index=FILE_WINDOW)
        thread = threading.Thread(target=lambda: came.append(book.admit(origin, live=False, stop=stop)))
        threads.append(thread)
        thread.start()

        def joined() -> Ticket | None:
            thread.join(SECONDS)
            return came[0]

        return joined

    yield start
    for thread in threads:
        thread.join(SECONDS)


def test_a_frame_is_in_flight_until_it_ended():
    book = ledger()
    ticket = admitted(book)
    assert (total(book).produced, total(book).in_flight) == (1, 1)
    book.delivered(ticket, "sink")
    assert (total(book).delivered, total(book).in_flight) == (1, 0)


def test_latency_is_counted_from_capture():
    book = ledger()
    book.delivered(admitted(book), "sink")
    assert len(book.latency["sink"]) == 1


@pytest.mark.parametrize(
    ("left", "right", "counted_as"),
    [
        (None, None, "delivered"),
        (None, Outcome.FILTERED, "delivered"),
        (Outcome.FILTERED, Outcome.FILTERED, "filtered"),
        (None, Outcome.DROPPED, "dropped"),
        (Outcome.DROPPED, Outcome.FILTERED, "dropped"),
        (Outcome.DROPPED, Outcome.FAILED, "failed"),
        (Outcome.FAILED, None, "failed"),
    ],
)
def test_over_two_sinks_a_frame_is_lost_if_one_lost_it(left, right, counted_as):
    book = ledger("left", "right")
    ticket = admitted(book)
    book.end(ticket, "left", absent(left))
    book.end(ticket, "right", absent(right))
    counts = total(book)
    ended = {name: getattr(counts, name) for name in ("delivered", "filtered", "failed")}
    ended["dropped"] = counts.dropped.total()
    assert [name for name, count in ended.items() if count] == [counted_as]


def test_losses_are_counted_by_cause_and_place():
    book = ledger()
    book.end(admitted(book, 0), "sink", Absent(Origin("north"), Outcome.DROPPED, "newer frame", "Detect"))
    book.end(admitted(book, 1), "sink", Absent(Origin("north"), Outcome.FAILED, "ValueError", "Draw"))
    assert total(book).dropped == {"newer frame at Detect": 1}
    assert total(book).failures == {"ValueError at Draw": 1}


@given(st.lists(st.lists(st.sampled_from(ENDINGS), min_size=0, max_size=2), max_size=FILE_WINDOW))
def test_counts_balance_whatever_has_ended_so_far(frames):
    """Each frame has ended at none, one or both of two sinks."""
    book = ledger("one", "two")
    for index, endings in enumerate(frames):
        ticket = admitted(book, index)
        for sink, outcome in zip(["one", "two"], endings, strict=False):
            book.end(ticket, sink, absent(outcome))
        assert_all_balanced(book)
    book.abandon("run stopped")
    assert_all_balanced(book)
    assert total(book).in_flight == 0


def test_ending_twice_at_a_sink_is_a_mistake():
    book = ledger("one", "two")
    ticket = admitted(book)
    book.delivered(ticket, "one")
    with pytest.raises(AssertionError, match="ended twice at one"):
        book.delivered(ticket, "one")


def test_an_abandoned_frame_may_still_arrive_and_counts_once():
    book = ledger()
    ticket = admitted(book)
    book.abandon("run stopped")
    book.delivered(ticket, "sink")
    assert total(book).dropped == {"run stopped at graph": 1}
    assert total(book).delivered == 0


def test_a_file_waits_for_room_in_the_window(waiting_source):
    book = ledger()
    tickets = [admitted(book, n) for n in range(FILE_WINDOW)]
    joined = waiting_source(book, NEVER)
    assert total(book).produced == FILE_WINDOW
    book.delivered(tickets[0], "sink")
    assert joined() is not None
    assert total(book).produced == FILE_WINDOW + 1


def test_a_frame_needs_the_window_until_its_last_sink(waiting_source):
    book = ledger("fast", "slow")
    tickets = [admitted(book, n) for n in range(FILE_WINDOW)]
    for ticket in tickets:
        book.delivered(ticket, "fast")
    joined = waiting_source(book, NEVER)
    assert total(book).produced == FILE_WINDOW
    book.delivered(tickets[0], "slow")
    assert joined() is not None


def test_stopping_lets_a_waiting_file_go_uncounted(waiting_source):
    book, stop = ledger(), threading.Event()
    for n in range(FILE_WINDOW):
        admitted(book, n)
    joined = waiting_source(book, stop)
    stop.set()
    book.wake()
    assert joined() is None
    assert total(book).produced == FILE_WINDOW


def test_a_frame_held_back_gives_its_room_to_the_next(waiting_source):
    book = ledger()
    tickets = [admitted(book, n) for n in range(FILE_WINDOW)]
    joined = waiting_source(book, NEVER)
    book.hold(tickets[0])
    assert joined() is not None
    book.unhold(tickets[0])
    assert book.accounts()["north"].in_window == FILE_WINDOW + 1


def test_a_live_camera_never_waits_and_a_stuck_graph_drops_it():
    book = ledger(live=True)
    for n in range(LIVE_WINDOW):
        admitted(book, n, live=True)
    assert book.admit(Origin("north", index=LIVE_WINDOW), live=True, stop=NEVER) is None
    assert total(book).dropped == {"graph stuck at source": 1}
    assert_all_balanced(book)


def test_cameras_have_their_own_windows():
    book = ledger()
    book.open("south", ["sink"], live=False)
    for n in range(FILE_WINDOW):
        admitted(book, n)
    assert book.admit(Origin("south"), live=False, stop=NEVER) is not None


def test_a_snapshot_does_not_change():
    book = ledger()
    before = book.accounts()["north"]
    book.delivered(admitted(book), "sink")
    assert before.total.produced == 0
    assert before.sinks["sink"].delivered == 0


def test_a_camera_that_comes_again_goes_on_counting():
    book = ledger()
    book.delivered(admitted(book), "sink")
    book.open("north", ["sink"], live=False)
    book.delivered(admitted(book), "sink")
    assert total(book).delivered == 2


def test_a_camera_that_comes_again_may_be_live_and_end_elsewhere():
    book = ledger("old")
    book.delivered(admitted(book), "old")
    book.open("north", ["new"], live=True)
    book.delivered(admitted(book, live=True), "new")
    account = book.accounts()["north"]
    assert account.live
    assert {name: counts.delivered for name, counts in account.sinks.items()} == {"old": 1, "new": 1}
    assert account.total.delivered == 2
    assert_all_balanced(book)


def test_many_threads_end_frames():
    book, count = ledger("one", "two"), 1000
    tickets: dict[str, Queue[Ticket]] = {"one": Queue(), "two": Queue()}

    def source() -> None:
        for n in range(count):
            ticket = admitted(book, n)
            for waiting in tickets.values():
                waiting.put(ticket)

    def sink(name: str) -> None:
        for done in range(count):
            ticket = tickets[name].get(timeout=SECONDS)
            book.end(ticket, name, absent(ENDINGS[done % 4]))

    threads = [threading.Thread(target=source, daemon=True)]
    threads += [threading.Thread(target=sink, args=[name], daemon=True) for name in tickets]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(SECONDS)
    assert total(book).produced == count
    assert total(book).in_flight == 0
    assert book.accounts()["north"].in_window == 0
    assert_all_balanced(book)
