"""The mailbox: order, shedding, turns, wake-ups; against a model, and under threads."""

from __future__ import annotations

import threading
import time
from collections import defaultdict
from fractions import Fraction
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, rule

from flowedge.plane.item import End, Item
from flowedge.plane.mailbox import PACKETS_KEPT, Mailbox
from flowedge.values import Absent, CodecParameters, Event, FrameId, Origin, Outcome, Packet

SECONDS = 60.0  # no test gets near it unless it hangs
DATA = np.zeros(1, np.uint8)
CODEC = CodecParameters("h264")


def item(camera: str, index: int, *, live: bool = False, value: Any = None) -> Item:
    return Item(FrameId(camera, 0, index), value or Event(Origin(camera, index=index), "fact"), live)


def packet(camera: str, index: int, *, key: bool, live: bool = True) -> Item:
    origin = Origin(camera, index=index)
    return item(camera, index, live=live, value=Packet(origin, DATA, CODEC, key, Fraction(1, 25)))


def absent(camera: str, index: int) -> Item:
    return item(camera, index).absent(Outcome.FILTERED, "filtered", "before")


def filled(items: list[Item | End], *, shed: bool = True) -> tuple[Mailbox, list[Item]]:
    """A mailbox in which the items were put, and what it did not keep."""
    gone: list[Item] = []
    mailbox = Mailbox("reader", shed=gone.append if shed else None)
    for each in items:
        mailbox.put(each)
    return mailbox, gone


def drained(mailbox: Mailbox) -> list[Any]:
    """Everything in the mailbox, taken value by value."""
    came = []
    while taken := mailbox.poll(1):
        came += [each for each, _ in taken]
    return came


def left(items: list[Item | End], *, shed: bool = True) -> list[int]:
    """The indices of what the reader gets of these items."""
    return [each.frame.index for each in drained(filled(items, shed=shed)[0])]


class MailboxMachine(RuleBasedStateMachine):
    """Random puts and takes: all that went in comes out once, itself to the reader or as `Absent` at once."""

    def __init__(self) -> None:
        super().__init__()
        self.gone: list[Item] = []
        self.mailbox = Mailbox("reader", shed=self.gone.append)
        self.went_in: dict[str, list[Item | End]] = defaultdict(list)
        self.came_out: list[Item | End] = []

    def put(self, each: Item | End) -> None:
        self.went_in[each.camera].append(each)
        self.mailbox.put(each)

    def next_index(self, camera: str) -> int:
        return len(self.went_in[camera])

    @rule(camera=st.sampled_from(["file", "film"]))
    def put_of_a_file(self, camera: str) -> None:
        self.put(item(camera, self.next_index(camera)))

    @rule(camera=st.sampled_from(["north", "south", "coded"]))
    def put_live(self, camera: str) -> None:
        self.put(item(camera, self.next_index(camera), live=True))

    @rule(key=st.booleans(), count=st.integers(1, 2 * PACKETS_KEPT))
    def put_packets(self, key: bool, count: int) -> None:
        for n in range(count):
            self.put(packet("coded", self.next_index("coded"), key=key and n == 0))

    @rule(camera=st.sampled_from(["file", "north", "coded"]))
    def put_absent(self, camera: str) -> None:
        self.put(absent(camera, self.next_index(camera)))

    @rule(camera=st.sampled_from(["file", "north", "coded"]))
    def put_end(self, camera: str) -> None:
        self.put(End(camera))

    @rule(most=st.integers(1, 4))
    def take(self, most: int) -> None:
        waiting = sum(map(len, self.went_in.values())) - len(self.gone) - len(self.came_out)
        taken = [each for each, _ in self.mailbox.take(most, 0.0)]
        assert bool(taken) == bool(waiting)
        assert sum(each.is_value for each in taken) <= most
        self.came_out += taken

    def teardown(self) -> None:
        rest = drained(self.mailbox)
        for camera in ("north", "south"):
            assert sum(each.is_value for each in rest if each.camera == camera) <= 1
        self.came_out += rest
        for camera, items in self.went_in.items():
            gone = {each.frame: each for each in self.gone if each.camera == camera}
            kept = [each for each in items if isinstance(each, End) or each.frame not in gone]
            assert [each for each in self.came_out if each.camera == camera] == kept
            ended = [each if isinstance(each, End) else gone.get(each.frame, each) for each in items]
            for before, after in zip(items, ended, strict=True):
                self.check(before, after)
            self.check_decodable(ended)
        assert len(self.gone) + len(self.came_out) == sum(map(len, self.went_in.values()))

    @staticmethod
    def check(before: Item | End, after: Item | End) -> None:
        if before is not after:
            assert before.is_value
            assert before.live
            assert (after.value.outcome, after.value.place) == (Outcome.DROPPED, "reader")
            assert after.value.origin == before.value.origin

    @staticmethod
    def check_decodable(items: list[Item | End]) -> None:
        """After a dropped packet, none comes before the next key frame."""
        broken = False
        for each in items:
            if isinstance(each, Item) and isinstance(each.value, Packet):
                broken = broken and not each.value.keyframe
                assert not broken
            elif isinstance(each, Item) and not each.is_value and each.value.cause == "decoder behind":
                broken = True


TestMailbox = MailboxMachine.TestCase
TestMailbox.settings = settings(max_examples=60, stateful_step_count=30, deadline=None)


def test_a_live_value_gives_way_to_the_next():
    mailbox, gone = filled([item("north", n, live=True) for n in range(4)])
    assert [each.frame.index for each in gone] == [0, 1, 2]
    assert {each.value for each in gone} == {
        Absent(Origin("north", index=n), Outcome.DROPPED, "newer frame", "reader") for n in range(3)
    }
    assert [each.frame.index for each in drained(mailbox)] == [3]


@given(st.lists(st.tuples(st.sampled_from("abc"), st.booleans()), max_size=60))
def test_one_live_value_of_each_camera_waits(puts):
    mailbox, _ = filled([])
    newest: dict[str, int] = {}
    for index, (camera, live) in enumerate(puts):
        mailbox.put(item(camera, index, live=live))
        if live:
            newest[camera] = index
    live_left = [each for each in drained(mailbox) if each.live]
    assert {each.camera: each.frame.index for each in live_left} == newest
    assert len(live_left) == len(newest)


def test_a_value_already_taken_gives_way_to_nobody():
    mailbox, gone = filled([item("north", 0, live=True)])
    assert len(mailbox.poll(1)) == 1
    mailbox.put(item("north", 1, live=True))
    assert gone == []
    assert len(drained(mailbox)) == 1


@given(st.lists(st.sampled_from("ab"), max_size=80))
def test_without_shedding_nothing_is_dropped(cameras):
    items = [item(camera, n, live=True) for n, camera in enumerate(cameras)]
    assert len(left(items, shed=False)) == len(items)


def test_frames_of_files_are_never_dropped():
    assert left([item("file", n) for n in range(500)]) == list(range(500))


def test_packets_of_files_are_never_dropped():
    items = [packet("file", n, key=n == 0, live=False) for n in range(5 * PACKETS_KEPT)]
    assert len(left(items)) == len(items)


def test_packets_wait_while_they_are_few():
    items = [packet("north", n, key=n == 0) for n in range(PACKETS_KEPT)]
    assert len(left(items)) == PACKETS_KEPT


def test_too_many_packets_are_dropped_up_to_the_next_key_frame():
    items = [packet("north", n, key=n in (0, 40)) for n in range(50)]
    assert left(items) == list(range(40, 50))


def test_a_key_frame_restarts_the_picture_though_the_reader_is_still_away():
    """What was dropped no longer counts as waiting."""
    keys = (0, 35, 70)
    items = [packet("north", n, key=n in keys) for n in range(99)]
    assert left(items) == list(range(70, 99))


def test_dropping_packets_of_one_camera_spares_the_others():
    items = [packet("north", n, key=n == 0) for n in range(100)]
    mailbox, _ = filled([packet("south", 0, key=True), *items, packet("south", 1, key=False)])
    assert [each.frame.index for each in drained(mailbox) if each.camera == "south"] == [0, 1]


@given(st.lists(st.sampled_from("abcd"), max_size=60))
def test_cameras_take_turns(cameras):
    to_come = {camera: cameras.count(camera) for camera in cameras}
    since_turn: dict[str, set[str]] = {}
    for each in drained(filled([item(camera, n) for n, camera in enumerate(cameras)])[0]):
        if each.camera in since_turn:
            others = {camera for camera, count in to_come.items() if count and camera != each.camera}
            assert others <= since_turn[each.camera]
        to_come[each.camera] -= 1
        for seen in since_turn.values():
            seen.add(each.camera)
        since_turn[each.camera] = set()


def test_a_busy_camera_does_not_starve_another():
    mailbox, _ = filled([*(item("busy", n) for n in range(100)), item("calm", 0)])
    assert "calm" in [each.camera for each in drained(mailbox)[:2]]


def test_a_batch_takes_values_of_several_cameras():
    mailbox, _ = filled([item("a", 0), item("a", 1), item("b", 0), item("c", 0)])
    assert [each.camera for each, _ in mailbox.poll(3)] == ["a", "b", "c"]


def test_an_absent_does_not_wait():
    already = absent("a", 1)
    mailbox, gone = filled([item("a", 0), already, item("a", 2)])
    assert gone == [already]
    assert [each.frame.index for each in drained(mailbox)] == [0, 2]


def test_without_shedding_absents_come_with_the_value_behind_them():
    mailbox, _ = filled([absent("a", 0), absent("a", 1), item("a", 2), absent("a", 3)], shed=False)
    assert [each.frame.index for each, _ in mailbox.poll(1)] == [0, 1, 2]


def test_take_tells_how_long_each_item_waited():
    mailbox, _ = filled([item("a", 0)])
    time.sleep(0.02)
    ((_, waited),) = mailbox.take(1)
    assert 0.02 <= waited < SECONDS


@pytest.mark.parametrize("timeout", [0.0, 0.01])
def test_take_gives_up_after_its_timeout(timeout):
    mailbox, _ = filled([])
    begun = time.monotonic()
    assert mailbox.take(1, timeout) == []
    assert timeout <= time.monotonic() - begun < SECONDS
    assert not mailbox.finished


def test_a_mailbox_is_finished_when_it_is_closed_and_empty():
    mailbox, _ = filled([item("a", 0)])
    mailbox.close()
    assert not mailbox.finished
    assert len(mailbox.take(1)) == 1
    assert mailbox.finished
    assert mailbox.take(1) == []


def test_closing_wakes_a_waiting_reader():
    mailbox, _ = filled([])
    came: list[Any] = []
    reader = threading.Thread(target=lambda: came.append(mailbox.take(1)))
    reader.start()
    mailbox.close()
    reader.join(SECONDS)
    assert came == [[]]


@pytest.mark.parametrize("timeout", [None, 1e-5, 1e-3, SECONDS])
def test_no_wake_up_is_lost(timeout):
    """Two threads throw a ball back and forth: one lost ring and both wait for ever."""
    there, back = Mailbox("there", shed=None), Mailbox("back", shed=None)
    rounds = 400

    def catch(mailbox: Mailbox) -> Item | End:
        while True:
            for each, _ in mailbox.take(1, timeout):
                return each

    def return_all() -> None:
        for _ in range(rounds):
            back.put(catch(there))

    opponent = threading.Thread(target=return_all, daemon=True)
    opponent.start()
    caught = []

    def serve() -> None:
        for n in range(rounds):
            there.put(item("ball", n))
            caught.append(catch(back).frame.index)

    server = threading.Thread(target=serve, daemon=True)
    server.start()
    server.join(SECONDS)
    assert caught == list(range(rounds))


def test_many_writers_and_a_reader_lose_and_reorder_nothing():
    mailbox, gone = filled([])
    count, cameras = 800, ["live-a", "live-b", "file-a", "file-b"]
    came: dict[str, list[Item]] = {camera: [] for camera in cameras}

    def write(camera: str) -> None:
        for n in range(count):
            mailbox.put(item(camera, n, live=camera.startswith("live")))

    def read() -> None:
        most = 1
        while not mailbox.finished:
            most = most % 3 + 1
            for each, _ in mailbox.take(most, 1e-4 if most == 2 else None):
                came[each.camera].append(each)

    reader = threading.Thread(target=read, daemon=True)
    writers = [threading.Thread(target=write, args=[camera], daemon=True) for camera in cameras]
    for thread in (reader, *writers):
        thread.start()
    for thread in writers:
        thread.join(SECONDS)
    mailbox.close()
    reader.join(SECONDS)
    for camera in cameras:
        kept = [each.frame.index for each in came[camera]]
        dropped = [each.frame.index for each in gone if each.camera == camera]
        assert kept == sorted(kept)
        assert sorted(kept + dropped) == list(range(count))
        assert kept[-1] == count - 1
        assert camera.startswith("live") or not dropped
