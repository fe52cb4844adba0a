"""The inbox of a gather: whole frames in order, overdue live ones in part, and what a lost part hides."""

from __future__ import annotations

from typing import Any

import pytest

from flowedge.plane.item import End, Item
from flowedge.plane.reassembly import Assembled, Reassembly
from flowedge.values import Event, FrameId, Origin, Outcome, Rect

HALVES: tuple[Rect, Rect] = ((0, 0, 4, 2), (4, 0, 8, 2))
WHOLE: Rect = (0, 0, 8, 2)


def part(
    index: int,
    number: int,
    regions: tuple[Rect | None, ...] = HALVES,
    *,
    camera: str = "north",
    live: bool = True,
) -> Item:
    value = Event(Origin(camera, index=index), str(number))
    return Item(FrameId(camera, 0, index), value, live, number, len(regions), regions)


def lost(item: Item) -> Item:
    return item.absent(Outcome.FAILED, "ValueError", "Detect")


class Bench:
    """A reassembly with a deadline of one second, what it called complete, and a clock that the test sets."""

    def __init__(self) -> None:
        self.now = 0.0
        self.complete: list[int] = []
        self.inbox = Reassembly(
            "Gather",
            deadline=1.0,
            on_complete=lambda frame: self.complete.append(frame.index),
            clock=lambda: self.now,
        )

    @property
    def unsettled(self) -> int:
        """Frames of which some parts have yet to come."""
        return len(self.inbox._overdue) + sum(map(len, self.inbox._open.values()))

    def put(self, *items: Item | End) -> None:
        for item in items:
            self.inbox.put(item)

    def taken(self) -> list[Item | End]:
        """Everything that becomes ready once nothing more comes."""
        self.inbox.close()
        came: list[Item | End] = []
        while taken := self.inbox.take(4):
            came += [item for item, _ in taken]
        return came


def kinds(item: Item | End) -> Any:
    """An end, or the frame's index with the parts that came."""
    if isinstance(item, End):
        return item
    return item.frame.index, [value.kind for value in item.value.parts] if item.is_value else None


@pytest.fixture
def bench() -> Bench:
    return Bench()


def test_parts_come_in_any_order_and_leave_in_that_of_the_split(bench):
    bench.put(part(0, 1), part(0, 0))
    (frame,) = bench.taken()
    assert kinds(frame) == (0, ["0", "1"])
    assert (frame.part, frame.parts, frame.regions) == (0, 1, ())
    assert bench.complete == [0]


def test_frames_leave_in_order_though_a_later_one_is_whole_first(bench):
    bench.put(part(0, 0), part(1, 0), part(1, 1), part(0, 1))
    assert [kinds(frame)[0] for frame in bench.taken()] == [0, 1]


def test_cameras_do_not_wait_for_each_other(bench):
    bench.put(part(0, 0), part(0, 0, camera="south"), part(0, 1, camera="south"))
    assert [frame.camera for frame in bench.taken()] == ["south"]


def test_parts_that_came_from_another_process_find_their_frame(bench):
    """No object is shared: equal identities are enough."""
    bench.put(part(0, 0)._replace(frame=FrameId("north", 0, 0)))
    bench.put(part(0, 1)._replace(frame=FrameId("nor" + "th", 0, 0)))
    assert [kinds(frame) for frame in bench.taken()] == [(0, ["0", "1"])]


def test_a_frame_of_another_session_is_another_frame(bench):
    bench.put(part(0, 0), part(0, 1)._replace(frame=FrameId("north", 1, 0)), End("north"))
    assert [kinds(frame) for frame in bench.taken()] == [(0, ["0"]), (0, ["1"]), End("north")]


def test_a_frame_without_any_value_stays_absent(bench):
    bench.put(lost(part(0, 1)), lost(part(0, 0)))
    (frame,) = bench.taken()
    assert not frame.is_value
    assert frame.value.place == "Detect"


@pytest.mark.parametrize(
    ("regions", "gone", "missing"),
    [
        (HALVES, {1}, (HALVES[1],)),
        ((*HALVES, WHOLE), {2}, ()),  # its tiles showed as much, closer
        ((*HALVES, WHOLE), {1}, (HALVES[1],)),  # the whole frame came, at a coarser scale
        ((*HALVES, WHOLE), {1, 2}, (HALVES[1],)),
        ((None, HALVES[1]), {0}, ()),  # a part that is no picture
        ((None, HALVES[1]), {1}, (HALVES[1],)),
    ],
)
def test_what_no_part_showed_as_closely_is_missing(bench, regions, gone, missing):
    parts = [part(0, number, regions) for number in range(len(regions))]
    bench.put(*(lost(one) if one.part in gone else one for one in parts))
    (frame,) = bench.taken()
    assert isinstance(frame.value, Assembled)
    assert (frame.value.complete, frame.value.missing) == (False, missing)


def test_an_overdue_live_frame_leaves_without_its_late_part_and_is_complete_when_that_came(bench):
    bench.put(part(0, 0))
    bench.now = 1.0
    ((frame, _),) = bench.inbox.take(1)
    assert kinds(frame) == (0, ["0"])
    assert isinstance(frame, Item)
    assert frame.value.missing == (HALVES[1],)
    assert (bench.complete, bench.unsettled) == ([], 1)
    bench.put(part(0, 1), part(1, 0), part(1, 1))
    assert [kinds(frame) for frame in bench.taken()] == [(1, ["0", "1"])]
    assert (bench.complete, bench.unsettled) == ([0, 1], 0)


def test_frames_of_a_route_may_have_a_deadline_of_their_own(bench):
    bench.inbox.deadlines[1] = 0.5
    bench.put(*(part(index, 0, live=True)._replace(route=index) for index in (1, 2)))
    bench.now = 0.6
    assert [kinds(item) for item, _ in bench.inbox.poll(4)] == [(1, ["0"])]


def test_a_frame_of_a_file_is_never_overdue(bench):
    bench.put(part(0, 0, live=False), part(1, 0, live=False), part(1, 1, live=False))
    bench.now = 100.0
    bench.put(part(2, 0, live=False), part(0, 1, live=False))
    assert [kinds(frame) for frame in bench.taken()] == [(0, ["0", "1"]), (1, ["0", "1"])]


def test_the_end_of_a_camera_comes_after_its_frames_and_leaves_nothing(bench):
    bench.put(part(0, 0), part(1, 0), part(0, 0, camera="south"), End("north"))
    assert [kinds(item) for item in bench.taken()] == [(0, ["0"]), (1, ["0"]), End("north")]
    assert bench.complete == [0, 1]
    assert bench.unsettled == 1  # that of the other camera


def test_a_slow_gather_loses_no_part_that_came_meanwhile(bench):
    """Its deadline is over when it looks, but everything is there."""
    bench.put(part(0, 0), part(0, 1))
    bench.now = 5.0
    assert [kinds(frame) for frame in bench.taken()] == [(0, ["0", "1"])]


def test_polling_gives_what_is_ready_and_waits_for_nothing(bench):
    bench.put(part(0, 0), part(1, 0))
    assert bench.inbox.poll(4) == []
    bench.put(part(0, 1), part(1, 1))
    assert [kinds(item) for item, _ in bench.inbox.poll(1)] == [(0, ["0", "1"])]
    assert [kinds(item) for item, _ in bench.inbox.poll(1)] == [(1, ["0", "1"])]
    assert bench.inbox.poll(1) == []


def test_how_long_a_frame_waited_counts_from_its_first_part(bench):
    bench.put(part(0, 0))
    bench.now = 0.25
    bench.put(part(0, 1))
    bench.now = 0.5
    ((_, waited),) = bench.inbox.take(1)
    assert waited == 0.5
