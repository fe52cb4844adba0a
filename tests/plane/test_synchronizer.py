"""Synchronisation: which frames are pairs, what has no partner, deadlines, ends, and the order of all that."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from flowedge.plane.item import End, Item
from flowedge.plane.synchronizer import Matcher, Synchronizer
from flowedge.values import Event, Origin, Outcome

MS = 0.001


def matched(
    left: Sequence[float], right: Sequence[float], tolerance: float, order: Sequence[int] = ()
) -> list[tuple[Any, Any, str]]:
    """What becomes of two files' frames, as indices; `order` says which side is read next while it lasts."""
    matcher = Matcher[int](tolerance)
    frames = [list(enumerate(left)), list(enumerate(right))]
    settled: list[tuple[Any, Any, str]] = []
    for side in (*order, *[0] * len(left), *[1] * len(right)):
        if frames[side]:
            index, time = frames[side].pop(0)
            matcher.add(side, index, time=time)
            settled += matcher.settle(0.0)
    for side in (0, 1):
        matcher.end(side)
        settled += matcher.settle(0.0)
    assert not any(map(matcher.waits, (0, 1)))
    return settled


def pairs(settled: Sequence[tuple[Any, Any, str]]) -> list[tuple[int, int]]:
    return [(left, right) for left, right, _ in settled if left is not None and right is not None]


def test_cameras_of_one_rate_are_paired_frame_by_frame():
    settled = matched([0, 40, 80, 120], [10, 50, 90, 130], 40)
    assert settled == [(i, i, "") for i in range(4)]


def test_a_slower_camera_gets_the_nearest_frame_of_the_faster():
    settled = matched([i * 40 for i in range(10)], [i * 100 for i in range(4)], 40)
    assert pairs(settled) == [(0, 0), (2, 1), (5, 2), (7, 3)]
    assert [left for left, _, cause in settled if cause == "no partner"] == [1, 3, 4, 6, 8, 9]


def test_frames_further_apart_than_the_tolerance_are_no_pair():
    settled = matched([0, 100], [50, 150], 40)
    assert pairs(settled) == []
    assert [cause for *_, cause in settled] == ["no partner"] * 4


def test_the_longer_file_has_no_partner_at_its_end():
    settled = matched([0, 40, 80, 120], [0, 40], 10)
    assert settled == [(0, 0, ""), (1, 1, ""), (2, None, "no partner"), (3, None, "no partner")]


def test_between_frames_as_near_the_earlier_is_taken_and_none_is_lost():
    settled = matched([0, 40, 80], [20.5, 59.5, 100.5], 40)
    assert pairs(settled) == [(0, 0), (1, 1), (2, 2)]


def test_a_stamp_that_goes_back_counts_as_the_one_before():
    assert pairs(matched([0, 40, 30, 80], [0, 40, 80], 5)) == [(0, 0), (1, 1), (3, 2)]


times = st.lists(st.integers(0, 400), max_size=20).map(sorted)


@given(times, times, st.integers(0, 60), st.lists(st.integers(0, 1), max_size=40))
def test_every_frame_ends_once_in_order_and_pairs_are_near(left, right, tolerance, order):
    settled = matched(left, right, tolerance, order)
    assert [a for a, _, _ in settled if a is not None] == list(range(len(left)))
    assert [b for _, b, _ in settled if b is not None] == list(range(len(right)))
    assert all(abs(left[a] - right[b]) <= tolerance for a, b in pairs(settled))
    assert all((a is None or b is None) == bool(cause) for a, b, cause in settled)


@given(times, times, st.integers(0, 60), st.lists(st.integers(0, 1), max_size=40))
def test_pairs_of_files_do_not_depend_on_which_is_read_faster(left, right, tolerance, order):
    assert pairs(matched(left, right, tolerance, order)) == pairs(matched(left, right, tolerance))


@given(st.lists(st.tuples(st.integers(-3, 3), st.integers(-3, 3)), min_size=2, max_size=20), st.integers(0, 39))
def test_cameras_of_one_rate_lose_nothing_but_at_the_ends(trembling, phase):
    left = [i * 40 + a for i, (a, _) in enumerate(trembling)]
    right = [i * 40 + phase + b for i, (_, b) in enumerate(trembling)]
    assert len(pairs(matched(left, right, 40))) >= len(trembling) - 2


@given(times, times, st.integers(0, 60), st.lists(st.integers(0, 1), max_size=60))
def test_with_a_window_of_eight_one_side_can_always_be_read(left, right, tolerance, order):
    """As a file's window has it: who has eight frames here is not read until one is settled."""
    matcher = Matcher[int](tolerance)
    frames, waiting = [list(left), list(right)], [0, 0]
    choices = list(order)
    for side in (0, 1):
        if not frames[side]:
            matcher.end(side)
    while frames[0] or frames[1]:
        free = [side for side in (0, 1) if frames[side] and waiting[side] < 8]
        if not free:
            raise AssertionError("deadlock")
        wanted = choices.pop(0) if choices else 0
        side = wanted if wanted in free else free[0]
        matcher.add(side, 0, time=frames[side].pop(0))
        if not frames[side]:
            matcher.end(side)
        waiting[side] += 1
        for a, b, _ in matcher.settle(0.0):
            waiting[0] -= a is not None
            waiting[1] -= b is not None


def test_a_live_pair_goes_at_once_when_no_nearer_frame_can_come():
    matcher = Matcher[int](0.04)
    for index in range(3):
        matcher.add(0, index, time=index * 0.04, due=index + 10.0)
        assert not list(matcher.settle(0.0)) or index < 2
    matcher.add(1, 0, time=0.09, due=20.0)
    assert pairs(list(matcher.settle(0.0))) == [(2, 0)]  # 0.12, the next one, would be further away


def test_one_frame_that_was_late_does_not_make_pairs_wait_for_ever():
    matcher = Matcher[int](0.04)
    for index in range(40):
        late = 0.03 if index == 2 else 0.0
        matcher.add(0, index, time=index * 0.04 + late, due=1e6)
        matcher.add(1, index, time=index * 0.04 + 0.015, due=1e6)
        settled = pairs(list(matcher.settle(0.0)))
    assert settled == [(39, 39)]  # at once, not with the next frame


def test_a_live_pair_that_may_get_nearer_waits_until_it_is_due():
    matcher = Matcher[int](0.04)
    matcher.add(0, 0, time=0.0, due=1.0)
    matcher.add(1, 0, time=0.03, due=2.0)
    assert not list(matcher.settle(0.99))
    assert matcher.next_due() == 1.0
    assert pairs(list(matcher.settle(1.0))) == [(0, 0)]


class Clock:
    def __init__(self) -> None:
        self.now = 100.0

    def __call__(self) -> float:
        return self.now


class Meeting:
    """A synchronizer of north and south, and what came out of it."""

    def __init__(self, **settings: float) -> None:
        self.clock = Clock()
        given = {"tolerance": 20 * MS, "deadline": 0.2, **settings}
        self.inbox = Synchronizer("Pairs", ("north", "south"), clock=self.clock, **given)

    def put(self, camera: str, index: int, *, live: bool = True, at: float | None = None) -> None:
        at = self.clock.now if at is None else at
        origin = Origin(camera, index=index, media=at - 100, monotonic=at)
        self.inbox.put(Item(origin.frame_id, Event(origin, "frame"), live))

    def taken(self) -> list[Any]:
        """All that is ready now, without waiting for what is not."""
        self.inbox._inbox.close()
        return [item for item, _ in self.inbox.take(1000)]


def shown(item: Item | End) -> str:
    if isinstance(item, End):
        return f"end of {item.camera}"
    if not item.is_value:
        return f"{item.camera} {item.frame.index}: {item.value.outcome.value}, {item.value.cause}"
    return " + ".join(f"{frame.camera} {frame.index}" for frame in item.frames)


def test_a_pair_is_a_frame_of_the_left_camera_with_the_right_ones_as_partner():
    meeting = Meeting()
    meeting.put("south", 7)
    meeting.put("north", 3)
    (item,) = meeting.taken()
    assert shown(item) == "north 3 + south 7"
    assert [value.origin.camera for value in item.value] == ["north", "south"]


def test_a_live_frame_waits_no_longer_than_the_deadline():
    meeting = Meeting()
    meeting.put("north", 0)
    meeting.clock.now += 0.2
    assert [shown(item) for item in meeting.taken()] == ["north 0: dropped, partner overdue"]


def test_frames_of_files_are_compared_by_their_own_time_and_wait_for_each_other():
    meeting = Meeting()
    meeting.put("north", 0, live=False, at=100.0)
    meeting.clock.now += 1000
    meeting.put("south", 0, live=False, at=100.0)
    assert [shown(item) for item in meeting.taken()] == ["north 0 + south 0"]


def test_what_is_absent_goes_on_at_once_and_says_how_far_a_file_is():
    meeting = Meeting()
    meeting.put("north", 0, live=False, at=100.0)
    origin = Origin("south", index=4, media=0.5)
    item = Item(origin.frame_id, Event(origin, "frame"), False)
    meeting.inbox.put(item.absent(Outcome.FILTERED, "filtered", "Sample"))
    assert [shown(item) for item in meeting.taken()] == [
        "south 4: filtered, filtered",
        "north 0: dropped, no partner",
    ]


def test_a_frame_of_a_third_camera_is_filtered_out():
    meeting = Meeting()
    meeting.put("east", 0)
    meeting.inbox.put(End("east"))
    assert [shown(item) for item in meeting.taken()] == ["east 0: filtered, not synchronized", "end of east"]


def test_ends_come_after_the_last_pair_and_the_right_one_travels_behind_the_left_camera():
    meeting = Meeting()
    for index in range(2):
        meeting.put("north", index, at=100 + index)
    meeting.inbox.put(End("north"))
    meeting.put("south", 1, at=101)
    meeting.inbox.put(End("south"))
    taken = meeting.taken()
    assert [shown(item) for item in taken] == [
        "north 0: dropped, no partner",
        "north 1 + south 1",
        "end of south",
        "end of north",
    ]
    assert [item.behind for item in taken if isinstance(item, End)] == ["north", ""]


def test_a_camera_that_has_ended_keeps_nobody_waiting_and_may_come_back():
    meeting = Meeting()
    meeting.inbox.put(End("south"))
    meeting.put("north", 0)
    assert [shown(item) for item in meeting.taken()] == ["north 0: dropped, no partner", "end of south"]
    meeting.put("north", 1)
    meeting.put("south", 0)
    assert [shown(item) for item in meeting.taken()] == ["north 1 + south 0"]


@pytest.mark.parametrize("camera", ["north", "south"])
def test_the_last_frames_of_one_camera_do_not_hold_up_its_end_for_ever(camera):
    meeting = Meeting()
    meeting.put(camera, 0)
    meeting.inbox.put(End(camera))
    meeting.clock.now += 0.2
    assert [shown(item) for item in meeting.taken()] == [
        f"{camera} 0: dropped, partner overdue",
        f"end of {camera}",
    ]


def test_polling_gives_what_is_settled_and_waits_for_nothing():
    meeting = Meeting()
    meeting.put("north", 0)
    assert meeting.inbox.poll(4) == []
    meeting.put("south", 0)
    assert [shown(item) for item, _ in meeting.inbox.poll(4)] == ["north 0 + south 0"]
