"""Which frames can still come in time, by how long frames took before them."""

from __future__ import annotations

import pytest

from flowedge.plane.deadline import FORGOTTEN_SECONDS, REMEMBERED, Deadline
from flowedge.plane.item import Item
from flowedge.plane.mailbox import Mailbox
from flowedge.values import Absent, Event, FrameId, Origin, Outcome

GOAL = 0.3


def frame(captured: float, camera: str = "door", *, live: bool = True) -> Item:
    origin = Origin(camera, index=round(1000 * captured), monotonic=captured)
    return Item(origin.frame_id, Event(origin, "fact"), live)


def passed(deadline: Deadline, took: float, *, at: float, together: int = 1) -> None:
    """Frames that were taken together and took so long."""
    items = [frame(at, f"camera{number}") for number in range(together)]
    deadline.taken("Detect", items, at)
    for item in items:
        deadline.ended(item.frame, at + took, delivered=True)


def misses(deadline: Deadline, age: float, *, at: float, together: int = 1) -> bool:
    return deadline.misses("Detect", [frame(at - age)] * together, at)


def test_nothing_is_late_before_anything_is_known():
    assert not misses(Deadline(GOAL), 0.26, at=100.0)
    assert misses(Deadline(GOAL), 0.28, at=100.0)


def test_a_frame_is_late_that_is_older_than_its_way_allows():
    deadline = Deadline(GOAL)
    passed(deadline, 0.1, at=100.0)
    assert [misses(deadline, age, at=101.0) for age in (0.16, 0.18)] == [False, True]


def test_frames_together_take_as_long_as_such_frames_did_or_longer_in_proportion():
    deadline = Deadline(GOAL)
    passed(deadline, 0.1, at=100.0)
    assert [misses(deadline, age, at=101.0, together=2) for age in (0.06, 0.08)] == [False, True]
    passed(deadline, 0.15, at=101.0, together=2)
    assert [misses(deadline, age, at=102.0, together=2) for age in (0.11, 0.13)] == [False, True]


def test_one_slow_frame_among_many_does_not_count():
    deadline = Deadline(GOAL)
    for number in range(REMEMBERED):
        passed(deadline, 0.25 if number == 3 else 0.05, at=100 + 0.1 * number)
    assert not misses(deadline, 0.2, at=103.5)


def test_what_was_slow_is_forgotten():
    deadline = Deadline(GOAL)
    passed(deadline, 5.0, at=100.0)
    assert misses(deadline, 0.1, at=106.0)
    assert not misses(deadline, 0.1, at=105.1 + FORGOTTEN_SECONDS)


def test_a_frame_that_was_not_delivered_tells_nothing():
    deadline = Deadline(GOAL)
    deadline.taken("Detect", [frame(100.0)], 100.0)
    deadline.ended(frame(100.0).frame, 105.0, delivered=False)
    assert not misses(deadline, 0.2, at=106.0)


class Door:
    """A mailbox with a deadline, at a time that the test sets; frames take 0.1 s from there."""

    def __init__(self) -> None:
        self.now = 100.0
        self.deadline = Deadline(GOAL)
        passed(self.deadline, 0.1, at=99.0)
        self.gone: list[Item] = []
        self.mailbox = Mailbox("Detect", shed=self.gone.append, deadline=self.deadline, clock=lambda: self.now)

    def come(self, *cameras: str, live: bool = True) -> None:
        for camera in cameras:
            self.mailbox.put(frame(self.now, camera, live=live))

    def taken(self, most: int = 1) -> list[str]:
        """The cameras of what is taken; a frame that came too late in brackets."""
        return [f"({item.camera})" if isinstance(item.value, Absent) else item.camera
                for item, _ in self.mailbox.poll(most) if isinstance(item, Item)]  # fmt: skip


def test_frames_that_waited_too_long_give_way():
    door = Door()
    door.come("north", "south")
    door.now += 0.15
    assert door.taken() == ["north"]
    door.now += 0.1
    door.come("north")
    assert door.taken() == ["(south)", "north"]


def test_the_reader_gets_an_absent_in_the_place_of_a_late_frame():
    door = Door()
    door.come("north")
    door.now += 0.25
    [(item, _)] = door.mailbox.poll(1)
    assert item == frame(100.0, "north").absent(Outcome.DROPPED, "too late", "Detect")


def test_a_camera_whose_frame_was_late_has_the_next_turn():
    door = Door()
    door.come("south")
    door.now += 0.25
    assert door.taken() == ["(south)"]
    door.come("north", "south", "east")
    assert [door.taken() for _ in range(3)] == [["south"], ["north"], ["east"]]


def test_a_frame_that_did_not_wait_is_never_late():
    door = Door()
    passed(door.deadline, 5.0, at=94.0)
    door.come("north")
    door.now += 0.1 * GOAL - 0.001
    assert door.taken() == ["north"]


@pytest.mark.parametrize(("age", "count"), [(0.05, 2), (0.15, 1)])
def test_no_more_frames_are_taken_together_than_come_in_time(age: float, count: int):
    door = Door()
    door.come("north", "south", "east")
    door.now += age
    assert len(door.taken(3)) == count


def test_frames_of_files_are_never_late():
    door = Door()
    door.come("film", live=False)
    door.now += 100.0
    assert door.taken() == ["film"]


def test_frames_are_not_remembered_for_ever():
    deadline = Deadline(GOAL)
    for number in range(1000):
        passed(deadline, 0.1, at=float(number))
    assert not deadline._taken
    assert len(deadline._times["Detect", 1]) <= REMEMBERED


def test_a_frame_that_nobody_took_may_end():
    Deadline(GOAL).ended(FrameId("door", 0, 0), 1.0, delivered=False)
