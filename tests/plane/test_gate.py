"""The gate before a region: whole frames, in order, as many as there is room for, and never stuck."""

from __future__ import annotations

import threading
from collections import defaultdict
from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from flowedge.plane.gate import Gate
from flowedge.plane.item import End, Item
from flowedge.plane.mailbox import Mailbox
from flowedge.values import Absent, Event, FrameId, Origin, Outcome

SECONDS = 60.0


def item(index: int, camera: str = "north", *, live: bool = True) -> Item:
    return Item(FrameId(camera, 0, index), Event(Origin(camera, index=index), "fact"), live)


def gate(room: int = 1, exits: int = 1) -> tuple[Gate, list[Any]]:
    """A gate and what it has let in."""
    made, inside = Gate("head", room, exits), []
    made.lead_to(inside.append)
    return made, inside


def values(items: list[Any]) -> list[int]:
    return [each.frame.index for each in items if each.is_value]


def test_live_frames_come_in_while_there_is_room():
    entry, inside = gate(room=2)
    for n in range(3):
        entry.put(item(n))
    assert values(inside) == [0, 1]


def test_the_newest_waiting_frame_is_next_and_the_others_pass_as_absent():
    entry, inside = gate(room=1)
    for n in range(5):
        entry.put(item(n))
    entry.done(inside[0].frame)
    assert [each.frame.index for each in inside] == [0, 1, 2, 3, 4]
    assert values(inside) == [0, 4]
    assert inside[1].value == Absent(Origin("north", index=1), Outcome.DROPPED, "newer frame", "head")


def test_every_head_gets_every_frame():
    entry, left = gate()
    right: list[Any] = []
    entry.lead_to(right.append)
    for n in range(3):
        entry.put(item(n))
    entry.done(left[0].frame)
    assert left == right
    assert values(left) == [0, 2]


def test_a_frame_keeps_its_room_until_it_has_left_by_every_exit():
    entry, inside = gate(room=1, exits=2)
    entry.put(item(0))
    entry.put(item(1))
    entry.done(inside[0].frame)
    assert values(inside) == [0]
    entry.done(inside[0].frame)
    assert values(inside) == [0, 1]


def test_frames_of_files_need_no_room():
    entry, inside = gate(room=1)
    for n in range(10):
        entry.put(item(n, live=False))
    assert values(inside) == list(range(10))


def test_absents_take_no_room():
    entry, inside = gate(room=1)
    for n in range(3):
        entry.put(item(n).absent(Outcome.FILTERED, "filtered", "before"))
    entry.put(item(3))
    assert values(inside) == [3]
    assert len(inside) == 4


def test_leaving_without_having_taken_room_changes_nothing():
    entry, inside = gate(room=1)
    entry.put(item(0))
    entry.put(item(1))
    entry.done(item(7).frame)
    assert values(inside) == [0]


def test_the_end_of_a_stream_comes_after_its_last_frame():
    entry, inside = gate(room=1)
    entry.put(item(0))
    entry.put(item(1))
    entry.put(End("north"))
    assert End("north") not in inside
    while (last := inside[-1]) != End("north"):
        entry.done(last.frame)
    assert values(inside) == [0, 1]


def test_cameras_take_turns():
    entry, inside = gate(room=1)
    entry.put(item(0, "busy"))
    for n in range(1, 10):
        entry.put(item(n, "busy"))
    entry.put(item(0, "calm"))
    for _ in range(2):
        entry.done([each for each in inside if each.is_value][-1].frame)
    assert {each.camera for each in inside if each.is_value} == {"busy", "calm"}


def test_a_frame_may_leave_while_it_is_let_in():
    """As where everything in the region is `Absent` at once; the room is free again, and nothing nests."""
    entry = Gate("head", 1, 1)
    seen = []

    def through(each: Any) -> None:
        seen.append(each.frame.index)
        entry.done(each.frame)

    entry.lead_to(through)
    for n in range(100):
        entry.put(item(n))
    assert seen == list(range(100))


@given(st.lists(st.one_of(st.sampled_from(["a", "b", "file"]), st.none()), max_size=60), st.integers(1, 3))
def test_never_more_inside_than_room_and_never_stuck(script, room):
    """Frames of cameras come and (None) the oldest inside leaves, in any order."""
    entry, inside = gate(room=room)
    left: set[FrameId] = set()

    def taking_room() -> list[FrameId]:
        live = [each.frame for each in inside if each.is_value and each.live]
        return [frame for frame in live if frame not in left]

    def leave() -> None:
        oldest = taking_room()[0]
        left.add(oldest)
        entry.done(oldest)

    put: dict[str, list[int]] = defaultdict(list)
    for n, camera in enumerate(script):
        if camera:
            entry.put(item(n, camera, live=camera != "file"))
            put[camera].append(n)
        elif taking_room():
            leave()
        assert len(taking_room()) <= room
    while taking_room():
        leave()
    for camera, indices in put.items():
        let_in = [each for each in inside if each.camera == camera]
        assert sorted(each.frame.index for each in let_in) == indices
        assert values(let_in) == sorted(values(let_in))


def test_many_threads_put_and_leave():
    """Two cameras, two workers in the region: all frames come through, whole and in order."""
    entry, work = Gate("head", 3, 2), [Mailbox("left", shed=None), Mailbox("right", shed=None)]
    count, cameras = 800, ("a", "b")
    seen: list[list[Item]] = [[], []]
    for mailbox in work:
        entry.lead_to(mailbox.put)

    def feed(camera: str) -> None:
        for n in range(count):
            entry.put(item(n, camera))
        entry.put(End(camera))

    def worker(side: int) -> None:
        ended = 0
        while ended < len(cameras):
            for each, _ in work[side].take(1, SECONDS):
                if isinstance(each, End):
                    ended += 1
                else:
                    seen[side].append(each)
                    entry.done(each.frame)

    threads = [threading.Thread(target=feed, args=[camera], daemon=True) for camera in cameras]
    threads += [threading.Thread(target=worker, args=[side], daemon=True) for side in (0, 1)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(SECONDS)
    assert not any(thread.is_alive() for thread in threads)
    for camera in cameras:
        left, right = ([each for each in items if each.camera == camera] for items in seen)
        assert sorted(each.frame.index for each in left) == list(range(count))
        assert values(left) == values(right) == sorted(values(left))
