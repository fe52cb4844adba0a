"""The account of every frame: admitted, bounded, ended once at every sink."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from queue import Queue
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from flowedge.errors import RunError
from flowedge.runtime.ledger import Admitted, Counts, Ledger
from flowedge.runtime.limits import Limits
from flowedge.values import Absent, FrameId, Origin, Outcome

SECONDS = 10.0
NEVER = threading.Event()
FILE_WINDOW, LIVE_WINDOW = 4, 10
LIMITS = Limits(file_window=FILE_WINDOW, live_window=LIVE_WINDOW)
ENDINGS = [None, Outcome.FILTERED, Outcome.DROPPED, Outcome.FAILED]


def ledger(*sinks: str, live: bool = False) -> Ledger:
    made = Ledger(LIMITS)
    made.open("north", list(sinks) or ["sink"], live=live)
    return made


def admitted(book: Ledger, index: int = 0, session: int = 0) -> FrameId:
    admitted = book.admit(Origin("north", session, index), NEVER)
    assert admitted is not None
    return admitted.frame


def absent(outcome: Outcome | None) -> Absent | None:
    return outcome and Absent(Origin("north"), outcome, "cause", "Step")


def total(book: Ledger) -> Counts:
    return book.accounts()["north"].total


def assert_all_balanced(book: Ledger) -> None:
    for account in book.accounts().values():
        for counts in (account.total, *account.sinks.values()):
            ended = counts.delivered + counts.filtered + counts.dropped.total() + counts.failed
            assert counts.produced == ended + counts.in_flight


@pytest.fixture
def waiting_source() -> Iterator[Any]:
    """`start(book, stop)` admits one more file frame in a thread and gives what came of it, when joined."""
    threads = []

    def start(book: Ledger, stop: threading.Event) -> Any:
        came: list[Admitted | None] = []
        origin = Origin("north", index=FILE_WINDOW)
        thread = threading.Thread(target=lambda: came.append(book.admit(origin, stop)))
        threads.append(thread)
        thread.start()

        def joined() -> FrameId | None:
            thread.join(SECONDS)
            return came[0] and came[0].frame

        return joined

    yield start
    for thread in threads:
        thread.join(SECONDS)


def test_a_frame_is_in_flight_until_it_ended():
    book = ledger()
    frame = admitted(book)
    assert (total(book).produced, total(book).in_flight) == (1, 1)
    book.end(frame, "sink", None)
    assert (total(book).delivered, total(book).in_flight) == (1, 0)


def test_latency_is_counted_from_capture():
    book = Ledger(LIMITS, clock=lambda: 10.0)
    book.open("north", ["sink"], live=False)
    admitted = book.admit(Origin("north", monotonic=7.0), NEVER)
    assert admitted is not None
    book.end(admitted.frame, "sink", None)
    assert book.latency["north"].quantile(0.5) == pytest.approx(3.0, rel=0.02)


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
    frame = admitted(book)
    book.end(frame, "left", absent(left))
    book.end(frame, "right", absent(right))
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
        frame = admitted(book, index)
        for sink, outcome in zip(["one", "two"], endings, strict=False):
            book.end(frame, sink, absent(outcome))
        assert_all_balanced(book)
    book.abandon("run stopped")
    assert_all_balanced(book)
    assert total(book).in_flight == 0


def test_ending_twice_at_a_sink_is_a_mistake():
    book = ledger("one", "two")
    frame = admitted(book)
    book.end(frame, "one", None)
    with pytest.raises(AssertionError, match="ended twice at one"):
        book.end(frame, "one", None)


def test_an_abandoned_frame_may_still_arrive_and_counts_once():
    book = ledger()
    frame = admitted(book)
    book.abandon("run stopped")
    book.end(frame, "sink", None)
    assert total(book).dropped == {"run stopped at graph": 1}
    assert total(book).delivered == 0


def test_a_file_waits_for_room_in_the_window(waiting_source):
    book = ledger()
    frames = [admitted(book, n) for n in range(FILE_WINDOW)]
    joined = waiting_source(book, NEVER)
    assert total(book).produced == FILE_WINDOW
    book.end(frames[0], "sink", None)
    assert joined() is not None
    assert total(book).produced == FILE_WINDOW + 1


def test_a_frame_needs_the_window_until_its_last_sink(waiting_source):
    book = ledger("fast", "slow")
    frames = [admitted(book, n) for n in range(FILE_WINDOW)]
    for frame in frames:
        book.end(frame, "fast", None)
    joined = waiting_source(book, NEVER)
    assert total(book).produced == FILE_WINDOW
    book.end(frames[0], "slow", None)
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
    frames = [admitted(book, n) for n in range(FILE_WINDOW)]
    joined = waiting_source(book, NEVER)
    book.hold(frames[0])
    assert joined() is not None
    book.unhold(frames[0])
    assert book.accounts()["north"].in_window == FILE_WINDOW + 1


def test_a_live_camera_never_waits_and_a_stuck_graph_drops_it():
    book = ledger(live=True)
    for n in range(LIVE_WINDOW):
        admitted(book, n)
    assert book.admit(Origin("north", index=LIVE_WINDOW), NEVER) is None
    assert total(book).dropped == {"graph stuck at source": 1}
    assert_all_balanced(book)


def test_cameras_have_their_own_windows():
    book = ledger()
    book.open("south", ["sink"], live=False)
    for n in range(FILE_WINDOW):
        admitted(book, n)
    assert book.admit(Origin("south"), NEVER) is not None


def test_a_snapshot_does_not_change():
    book = ledger()
    before = book.accounts()["north"]
    book.end(admitted(book), "sink", None)
    assert before.total.produced == 0
    assert before.sinks["sink"].delivered == 0


def test_a_camera_that_comes_again_goes_on_counting():
    book = ledger()
    book.end(admitted(book), "sink", None)
    book.open("north", ["sink"], live=False)
    book.end(admitted(book), "sink", None)
    assert total(book).delivered == 2


def test_a_camera_that_comes_again_may_be_live_and_end_elsewhere():
    book = ledger("old")
    book.end(admitted(book), "old", None)
    book.open("north", ["new"], live=True)
    book.end(admitted(book), "new", None)
    account = book.accounts()["north"]
    assert account.live
    assert {name: counts.delivered for name, counts in account.sinks.items()} == {"old": 1, "new": 1}
    assert account.total.delivered == 2
    assert_all_balanced(book)


def test_many_threads_end_frames():
    book, count = ledger("one", "two"), 1000
    frames: dict[str, Queue[FrameId]] = {"one": Queue(), "two": Queue()}

    def source() -> None:
        for n in range(count):
            frame = admitted(book, n)
            for waiting in frames.values():
                waiting.put(frame)

    def sink(name: str) -> None:
        for done in range(count):
            frame = frames[name].get(timeout=SECONDS)
            book.end(frame, name, absent(ENDINGS[done % 4]))

    threads = [threading.Thread(target=source, daemon=True)]
    threads += [threading.Thread(target=sink, args=[name], daemon=True) for name in frames]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(SECONDS)
    assert total(book).produced == count
    assert total(book).in_flight == 0
    assert book.accounts()["north"].in_window == 0
    assert_all_balanced(book)


def test_a_frame_is_admitted_once_while_it_is_in_the_graph():
    book = ledger()
    admitted(book, 3)
    with pytest.raises(RunError, match="north: frame 3 came twice"):
        admitted(book, 3)
    admitted(book, 3, session=1)
    assert_all_balanced(book)


def test_latency_is_measured_by_the_clock_given():
    now = [10.0]
    book = Ledger(LIMITS, clock=lambda: now[0])
    book.open("north", ["sink"], live=False)
    frame = admitted(book)
    now[0] = 12.0
    book.end(frame, "sink", None)
    assert book.latency["north"].quantile(0.5) == pytest.approx(2.0, rel=0.02)


def test_what_a_sink_says_in_another_process_ends_the_frame():
    """It has the identity, and no object of the source's."""
    book = ledger()
    admitted(book, 3)
    book.end(FrameId("north", 0, 3), "sink", None)
    assert total(book).delivered == 1
