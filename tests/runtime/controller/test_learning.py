"""What is learnt of settings, from rehearsals that a fake one makes."""

from __future__ import annotations

import threading
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import pytest

from flowedge import Detections, Event, Frame, Graph, Origin, choose
from flowedge.errors import RunError
from flowedge.operators import Null, Resize, video
from flowedge.plane.item import Item
from flowedge.planner.model.profiles import Setting
from flowedge.profiling.fitting import Measurement, StepTime
from flowedge.profiling.rehearsal import Rehearsed
from flowedge.runtime.controller import cost_cache
from flowedge.runtime.controller import learning as module
from flowedge.runtime.controller.adaptation import Cost
from flowedge.runtime.controller.agreements import Agreements
from flowedge.runtime.controller.learning import FRAMES, Learning, Samples
from flowedge.runtime.runner import Outlet
from flowedge.testing import frames
from tests.runtime.fake_steps import SECONDS

SIZES = (416, 320, 640)


def at(size: int) -> Setting:
    return (("width", size),)


def graph() -> Graph:
    made = Graph("door")
    video(made, "street://?live=1") >> Resize(choose("width", *SIZES)) >> Null()
    return made


def rehearsed(size: int, values: Sequence[Frame]) -> Rehearsed:
    """The largest finds two objects, others one of them; each takes its size in ms."""
    boxes = [[0, 0, 9, 9], [20, 0, 29, 9]][: 1 + (size == max(SIZES))]
    found = tuple(
        Detections(value.origin, boxes, [0.9] * len(boxes), [0] * len(boxes), ("person",)) for value in values
    )
    return Rehearsed(
        Measurement(at(size), 1, (StepTime("Resize", size / 1e3, 0, 3, work=size / 1e3),), ()), found
    )


class Fake:
    """Stands in for a `Rehearsal`; `gate` lets one setting after the other be tried."""

    def __init__(self, _: Graph) -> None:
        self.tried: list[int] = []
        self.failing: set[int] = set()
        self.gate = threading.Semaphore(0)
        self.hasty = True
        Fake.latest = self

    latest: Fake

    def try_setting(self, setting: Setting, values: Mapping[str, Sequence[Any]]) -> Rehearsed:
        assert self.gate.acquire(timeout=SECONDS)
        [(_, size)] = setting
        assert isinstance(size, int)
        self.tried.append(size)
        if size in self.failing:
            raise RunError("no such model")
        return rehearsed(size, values["video"])

    def take_time(self) -> None:
        self.hasty = False

    def close(self) -> None:
        self.gate.release(1000)


@pytest.fixture
def outlet(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Iterator[Outlet]:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    monkeypatch.setattr(module, "Rehearsal", Fake)
    monkeypatch.setattr(module, "PAUSE_SECONDS", 0.01)
    ended = threading.Event()
    made = Outlet()

    def play() -> None:
        pictures = [picture for name in ("north", "south") for picture in frames(FRAMES, 32, 24, name)]
        while not ended.wait(0.001):
            for picture in pictures:
                made.emit(Item(picture.origin.frame_id, picture, True))

    thread = threading.Thread(target=play)
    thread.start()
    yield made
    ended.set()
    thread.join()


def learning(outlet: Outlet) -> Learning:
    return Learning(graph(), list(map(at, SIZES)), {"video": outlet}, lambda: [("video", "north")])


def wait_for(condition: Any) -> None:
    end = threading.Event()
    for _ in range(int(SECONDS / 0.005)):
        if condition():
            return
        end.wait(0.005)
    raise AssertionError("it never came")


def test_two_settings_are_enough_to_begin_with_and_the_one_in_force_is_first(outlet: Outlet):
    learnt = learning(outlet)
    learnt.start()
    try:
        Fake.latest.gate.release(1)
        wait_for(lambda: Fake.latest.tried == [416])
        assert not learnt.costs
        Fake.latest.gate.release(1)
        wait_for(lambda: learnt.costs)
        assert learnt.costs.keys() == {at(416), at(320)}
        assert Fake.latest.hasty
        Fake.latest.gate.release(1)
        wait_for(lambda: len(learnt.costs) == 3)
        assert learnt.costs[at(640)].accuracy == 1.0
        assert learnt.costs[at(320)].accuracy == pytest.approx(2 / 3)
        assert learnt.costs[at(320)].work == {"Resize": 0.32}
        wait_for(lambda: not Fake.latest.hasty)
    finally:
        learnt.close()
    assert cost_cache.load(graph(), list(map(at, SIZES)))[0] == learnt.costs


def test_a_setting_that_fails_is_left_out_and_not_tried_again(outlet: Outlet):
    learnt = learning(outlet)
    Fake.latest.failing = {320}
    learnt.start()
    try:
        Fake.latest.gate.release(30)
        wait_for(lambda: len(Fake.latest.tried) >= 9)
    finally:
        learnt.close()
    assert learnt.costs.keys() == {at(416), at(640)}
    assert Fake.latest.tried.count(320) == 1


def test_what_an_earlier_run_learnt_is_known_at_once_and_only_checked(outlet: Outlet):
    first = learning(outlet)
    first.start()
    Fake.latest.gate.release(3)
    wait_for(lambda: len(first.costs) == 3)
    wait_for(lambda: cost_cache.load(graph(), list(map(at, SIZES)))[0])
    first.close()
    second = learning(outlet)
    assert second.costs == first.costs
    second.start()
    try:
        Fake.latest.gate.release(4)
        wait_for(lambda: len(Fake.latest.tried) == 4)
    finally:
        second.close()
    assert not Fake.latest.hasty
    assert Fake.latest.tried[0] == Fake.latest.tried[2] == 640  # the reference, with another beside it
    assert set(Fake.latest.tried[1::2]) == {320, 416}


def test_every_setting_is_checked_on_every_camera_and_its_accuracy_is_their_mean(
    outlet: Outlet, monkeypatch: pytest.MonkeyPatch
):
    cameras = ["north", "south"]
    learnt = Learning(
        graph(), list(map(at, SIZES)), {"video": outlet}, lambda: [("video", name) for name in cameras]
    )
    agree = {("north", 320): 0.5, ("south", 320): 0.7, ("north", 416): 0.8, ("south", 416): 1.0}

    def accuracy(known: Rehearsed, _: Rehearsed) -> float:
        [(_, size)] = known.measurement.setting
        return agree.get((known.results[0].origin.camera, size), 1.0)  # type: ignore[arg-type]

    monkeypatch.setattr(module, "_accuracy", accuracy)
    learnt.start()
    try:
        Fake.latest.gate.release(3 + 2 * 8)
        wait_for(lambda: len(Fake.latest.tried) == 3 + 2 * 8)
        wait_for(lambda: learnt.costs[at(320)].accuracy == pytest.approx(0.6))
        wait_for(lambda: learnt.costs[at(416)].accuracy == pytest.approx(0.9))
    finally:
        learnt.close()


def test_an_end_while_it_waits_for_frames_is_no_wait():
    learnt = Learning(graph(), [at(320), at(640)], {"video": Outlet()}, lambda: [("video", "north")])
    learnt.start()
    learnt.close()
    assert not any(thread.name == "flowedge-rehearsal" for thread in threading.enumerate())


def test_samples_are_of_one_camera_and_of_one_source():
    one, other = Outlet(), Outlet()
    samples = Samples({"video": one, "other": other})
    taken: list[Any] = []
    thread = threading.Thread(target=lambda: taken.extend(samples.take("video", "north", SECONDS)))
    thread.start()
    wait_for(lambda: samples._wanted)
    for picture in frames(FRAMES, 16, 16, "north"):
        other.emit(Item(picture.origin.frame_id, Event(picture.origin, "no"), True))
        one.emit(Item(Origin("south").frame_id, Event(Origin("south"), "no"), True))
        one.emit(Item(picture.origin.frame_id, picture, True))
    thread.join()
    assert [value.origin.index for value in taken] == list(range(FRAMES))


def test_nobody_waits_for_samples_after_they_were_cancelled():
    samples = Samples({"video": Outlet()})
    samples.cancel()
    assert samples.take("video", "north", SECONDS) == []


def test_given_costs_are_believed_until_every_setting_has_been_rehearsed(outlet: Outlet):
    given = {at(size): Cost({"Resize": 9.0 * size}, 0.1) for size in SIZES}
    learnt = Learning(
        graph(), list(map(at, SIZES)), {"video": outlet}, lambda: [("video", "north")], costs=given
    )
    assert learnt.costs == given
    learnt.start()
    try:
        Fake.latest.gate.release(2)  # the reference, and one more
        wait_for(lambda: len(Fake.latest.tried) == 2)
        assert learnt.costs == given
        Fake.latest.gate.release(2)
        wait_for(lambda: learnt.costs != given)
    finally:
        learnt.close()
    assert learnt.costs[at(640)] == Cost({"Resize": 0.64}, 1.0)
    assert learnt.costs[at(320)].work == {"Resize": 0.32}
    assert learnt.costs[at(320)].accuracy == pytest.approx(2 / 3)


def test_what_was_seen_at_an_hour_counts_at_that_hour_and_for_the_cameras_that_run(outlet: Outlet):
    sizes = list(map(at, SIZES))
    agreements = Agreements()
    for hour, value in [*[(2, 0.4)] * 3, *[(12, 0.9)] * 9]:
        agreements.note(at(320), "north", hour, value)
    agreements.note(at(320), "south", 12, 0.5)
    cost_cache.save(graph(), {size: Cost({"Resize": 1.0}, 0.7) for size in sizes}, agreements)

    def begun(hour: int, *cameras: str) -> float | None:
        learnt = Learning(
            graph(), sizes, {"video": outlet}, lambda: [("video", name) for name in cameras], hour=lambda: hour
        )
        learnt.start()
        learnt.close()
        assert learnt.costs[at(416)].accuracy == 0.7  # of which nothing is known by camera
        return learnt.costs[at(320)].accuracy

    assert begun(2, "north") == pytest.approx(0.4)
    assert begun(12, "north") == pytest.approx(0.9, abs=0.01)
    assert begun(17, "north") == pytest.approx(0.9, abs=0.01)
    assert begun(2, "north", "south") == pytest.approx(0.45)
    assert begun(2, "west") == 0.7
