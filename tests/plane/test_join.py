"""The join: pairs by frame, the `Absent` of either half, both ends; under threads."""

from __future__ import annotations

import threading
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from flowedge.plane.item import End, Item
from flowedge.plane.join import Join
from flowedge.values import Event, FrameId, Origin, Outcome

SECONDS = 60.0


def frame_id(index: int, session: int = 0) -> FrameId:
    return FrameId("north", session, index)


def item(of: FrameId, kind: str, part: int = 0) -> Item:
    return Item(of, Event(Origin(of.camera, of.session, of.index), kind), False, part, 4)


def join() -> tuple[Join, list[Any]]:
    """A join and what it passed on."""
    came: list[Any] = []
    return Join(came.append), came


def kinds(pair: Item) -> tuple[str, str]:
    return pair.value[0].kind, pair.value[1].kind


@pytest.mark.parametrize("first", ["left", "right"])
def test_halves_are_paired_left_then_right_whichever_comes_first(first):
    meeting, came = join()
    frame = frame_id(0)
    sides = [(meeting.left, "left"), (meeting.right, "right")]
    for receive, kind in sides if first == "left" else reversed(sides):
        receive(item(frame, kind))
    assert [kinds(pair) for pair in came] == [("left", "right")]


@pytest.mark.parametrize("left_lost", [True, False])
@pytest.mark.parametrize("right_lost", [True, False])
def test_a_pair_without_a_half_is_absent_for_the_reason_of_that_half(left_lost, right_lost):
    meeting, came = join()
    frame = frame_id(0)
    left, right = item(frame, "left"), item(frame, "right")
    meeting.left(left.absent(Outcome.FILTERED, "filtered", "A") if left_lost else left)
    meeting.right(right.absent(Outcome.FAILED, "ValueError", "B") if right_lost else right)
    (pair,) = came
    assert pair.is_value is not (left_lost or right_lost)
    if not pair.is_value:
        assert pair.value.place == ("A" if left_lost else "B")


def test_parts_are_paired_by_frame_and_part():
    meeting, came = join()
    frames = [frame_id(0), frame_id(1)]
    for frame in frames:
        for part in range(3):
            meeting.left(item(frame, f"l{frame.index}{part}", part))
    for frame in frames:
        for part in (2, 0, 1):
            meeting.right(item(frame, f"r{frame.index}{part}", part))
    wanted = {(f"l{n}{part}", f"r{n}{part}") for n in (0, 1) for part in range(3)}
    assert {kinds(pair) for pair in came} == wanted
    assert len(came) == len(wanted)


def test_frames_of_one_index_and_two_sessions_do_not_meet():
    """As when a camera was removed and attached again."""
    meeting, came = join()
    meeting.left(item(frame_id(0), "old"))
    meeting.right(item(frame_id(0, session=1), "new"))
    assert came == []


def test_the_end_passes_once_when_both_sides_have_ended():
    meeting, came = join()
    meeting.left(End("north"))
    meeting.left(End("south"))
    assert came == []
    meeting.right(End("north"))
    assert came == [End("north")]


def test_a_camera_can_end_and_come_again():
    meeting, came = join()
    for _ in range(2):
        meeting.left(End("north"))
        meeting.right(End("north"))
    assert came == [End("north")] * 2


@settings(max_examples=50, deadline=None)
@given(st.data())
def test_pairs_leave_in_order_however_the_sides_interleave(data):
    count = data.draw(st.integers(0, 10))
    frames = [frame_id(n) for n in range(count)]
    meeting, came = join()
    at = [0, 0]
    while at != [count, count]:
        side = data.draw(st.sampled_from([n for n in (0, 1) if at[n] < count]))
        half = item(frames[at[side]], str(side))
        if data.draw(st.booleans()):
            half = half.absent(Outcome.FILTERED, "filtered", "A")
        (meeting.left, meeting.right)[side](half)
        at[side] += 1
    assert [pair.frame.index for pair in came] == list(range(count))


def test_nothing_is_kept_once_both_halves_came():
    meeting, _ = join()
    for n in range(50):
        frame = frame_id(n)
        meeting.left(item(frame, "left").absent(Outcome.DROPPED, "newer frame", "A"))
        meeting.right(item(frame, "right"))
    assert not meeting._first


def test_two_threads_meet_in_order():
    count = 4000
    frames = [frame_id(n) for n in range(count)]
    meeting, came = join()

    def send(receive: Any) -> None:
        for frame in frames:
            receive(item(frame, "half"))
        receive(End("north"))

    sides = meeting.left, meeting.right
    threads = [threading.Thread(target=send, args=[side], daemon=True) for side in sides]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(SECONDS)
    assert [pair.frame.index for pair in came[:-1]] == list(range(count))
    assert came[-1] == End("north")
