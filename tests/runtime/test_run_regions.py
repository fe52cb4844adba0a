"""A step that hangs in a region holds nobody for ever: live frames there are given up, and the rest goes on."""

from __future__ import annotations

import threading
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

from flowedge import Frame, Graph, Origin, join, synchronize
from flowedge.plane.item import Receiver
from flowedge.plane.join import Join
from flowedge.plane.reassembly import Reassembly
from flowedge.runtime import wiring
from flowedge.runtime.limits import Limits
from flowedge.runtime.run import Run
from tests.runtime.fake_steps import (
    SECONDS,
    Apply,
    ApplyAll,
    Collect,
    Feed,
    Play,
    Tiles,
    Together,
    by_camera,
    finish,
    index_of,
    passed,
    wait_until,
)

LIMITS = Limits(live_window=20)
FRAMES = 100
CAMERAS = ("north", "south")


class Hang:
    """Blocks the step that calls it for frame 1 of north, until it is released."""

    def __init__(self) -> None:
        self._begun, self._released = threading.Event(), threading.Event()

    def __call__(self, value: Any) -> Any:
        origin = value.origin
        if (origin.camera, origin.index) == ("north", 1) and not self._begun.is_set():
            self._begun.set()
            assert self._released.wait(SECONDS)
        return value

    def await_begin(self) -> None:
        assert self._begun.wait(SECONDS)

    def release(self) -> None:
        self._released.set()


def first(parts: Any) -> Any:
    return parts[0]


def hung_on_tiles(frames: Any, hang: Hang) -> Any:
    return frames >> Tiles(4) >> Apply(lambda value: hang(value), name="hung") >> Together(first)


def hung_on_batches(frames: Any, hang: Hang) -> Any:
    def work(values: Any) -> Any:
        return [hang(value) for value in values]

    return frames >> Tiles(4) >> ApplyAll(work, name="hung") >> Together(first)


def hung_in_split(frames: Any, hang: Hang) -> Any:
    hung = Apply(lambda value: hang(value), name="hung")
    left = frames >> hung >> Tiles(4) >> Apply(passed, name="tiled") >> Together(first)
    return join(left, frames >> Apply(passed, name="right")) >> Apply(first, name="halves")


def hung_in_gather(frames: Any, hang: Hang) -> Any:
    return frames >> Tiles(4) >> Apply(passed, name="work") >> Together(lambda p: hang(p[0]), name="hung")


def hung_in_branch(frames: Any, hang: Hang) -> Any:
    left, right = frames >> Apply(lambda value: hang(value), name="hung"), frames >> Apply(passed, name="right")
    return join(left, right) >> Apply(first, name="halves")


def hung_before_other_join(frames: Any, hang: Hang) -> Any:
    """The exit of a region meets the stream that it came from."""
    return join(hung_on_tiles(frames, hang), frames) >> Apply(first, name="halves")


def hung_before_synchronize(frames: Any, hang: Hang) -> Any:
    return synchronize(hung_on_tiles(frames, hang), cameras=CAMERAS) >> Apply(first, name="left")


SHAPES: dict[str, Callable[[Any, Hang], Any]] = {
    "tiles": hung_on_tiles,
    "batches of tiles": hung_on_batches,
    "a branch with a split": hung_in_split,
    "a gather": hung_in_gather,
    "a branch": hung_in_branch,
    "a join with the fork": hung_before_other_join,
    "a synchronizer behind": hung_before_synchronize,
}


def as_frame() -> Apply:
    def picture(value: Any) -> Frame:
        camera, index = value.origin.camera, value.origin.index
        origin = Origin(camera, index=index, monotonic=1.0 + index, width=8, height=2)
        return Frame(origin, np.zeros((2, 8, 3), np.uint8))

    return Apply(picture, name="frames")


class LiveAndFile(Play):
    """The live camera north and a file, played by hand."""

    def __init__(self, feed: Feed) -> None:
        super().__init__(
            dict.fromkeys(("north", "file"), "test://"), lambda camera, stop: feed._play(camera, stop)
        )

    def live(self, camera: str) -> bool:
        return camera == "north"


class Hanging:
    """A run of two live cameras whose frames end in the sinks "behind" and "beside" the step that hangs."""

    def __init__(self, shape: Callable[[Any, Hang], Any], monkeypatch: pytest.MonkeyPatch) -> None:
        self.feed, self.hang, self.now = Feed(), Hang(), [100.0]
        self.behind: list[Any] = []
        self.beside: list[Any] = []
        graph = Graph("test")
        frames = graph.source(self.feed.source(*CAMERAS, live=True)) >> as_frame()
        shape(frames, self.hang) >> Collect(self.behind.append, name="behind")
        frames >> Collect(self.beside.append, name="beside")
        self.joins: list[Join] = []

        def meeting(receiver: Receiver) -> Join:
            self.joins.append(Join(receiver))
            return self.joins[-1]

        monkeypatch.setattr(wiring, "Join", meeting)
        self.run = Run(graph, limits=LIMITS, clock=lambda: self.now[0])

    def push(self, index: int) -> None:
        """One frame of every camera, which the sink beside must get."""
        for camera in CAMERAS:
            came = len(self.beside)
            self.feed.push(camera, index)
            wait_until(lambda came=came: len(self.beside) == came + 1)

    def hang_up(self) -> None:
        self.push(0)
        wait_until(lambda: not self.in_flight())
        self.push(1)
        self.hang.await_begin()

    def watch(self) -> None:
        self.now[0] += 0.5
        self.run._watch.look()

    def in_flight(self) -> int:
        return sum(camera.in_flight for camera in self.run.report().cameras.values())

    def nothing_is_kept(self) -> bool:
        """Whether no gather and no join waits for a part."""
        inboxes = [runner.inbox for runner in self.run._wiring.runners.values()]
        unsettled = [inbox._open or inbox._overdue for inbox in inboxes if isinstance(inbox, Reassembly)]
        return not any(unsettled) and not any(meeting._first for meeting in self.joins)


@pytest.mark.parametrize("shape", SHAPES.values(), ids=SHAPES)
def test_others_go_on_while_a_step_hangs_and_it_works_again_afterwards(shape, monkeypatch):
    test = Hanging(shape, monkeypatch)
    with test.run as run:
        test.hang_up()
        test.now[0] += LIMITS.region_seconds
        for index in range(2, FRAMES):
            test.push(index)
            test.watch()
        assert test.in_flight() <= LIMITS.live_window
        test.hang.release()
        wait_until(lambda: run.report().operators["hung"].stuck is None)
        before = len(test.behind)
        test.push(FRAMES)
        wait_until(lambda: index_of(test.behind[-1]) == FRAMES and len(test.behind) > before)
        test.feed.end(*CAMERAS)
        report = finish(run)
        assert test.nothing_is_kept()
    assert by_camera(test.beside) == {camera: list(range(FRAMES + 1)) for camera in CAMERAS}
    north = report.cameras["north"].sinks
    assert north["beside"].delivered == FRAMES + 1
    assert north["behind"].dropped["stuck at hung"] >= 1
    for counts in report.cameras.values():
        assert not any("graph stuck" in place for place in counts.dropped)
    for indices in by_camera(test.behind).values():
        assert indices == sorted(set(indices))
    assert 1 not in by_camera(test.behind)["north"]


def test_a_step_that_is_slow_within_the_limit_loses_nothing(monkeypatch):
    test = Hanging(hung_on_tiles, monkeypatch)
    with test.run as run:
        test.hang_up()
        test.now[0] += LIMITS.region_seconds - 1
        test.watch()
        test.hang.release()
        wait_until(lambda: len(test.behind) == 2 * len(CAMERAS))
        test.feed.end(*CAMERAS)
        report = finish(run)
    assert report.cameras["north"].delivered == report.cameras["south"].delivered == 2


def test_the_end_of_a_camera_waits_for_the_step_that_hangs(monkeypatch):
    test = Hanging(hung_on_tiles, monkeypatch)
    with test.run as run:
        test.hang_up()
        test.now[0] += LIMITS.region_seconds
        test.feed.end(*CAMERAS)
        wait_until(lambda: (test.watch(), test.in_flight() == 0)[1])
        assert not run.finished
        test.hang.release()
        finish(run)


def test_frames_of_a_file_wait_for_a_step_that_hangs_on_a_live_one():
    graph, feed, hang, now, came = Graph("test"), Feed(), Hang(), [100.0], []
    frames = graph.source(LiveAndFile(feed)) >> as_frame()
    hung_on_tiles(frames, hang) >> Collect(came.append)
    with Run(graph, limits=LIMITS, clock=lambda: now[0]) as run:
        feed.push("north", 1)
        hang.await_begin()
        feed.push("file", 0, 1, 2)
        feed.settle()
        now[0] += LIMITS.region_seconds
        wait_until(lambda: (run._watch.look(), run.report().cameras["north"].in_flight == 0)[1])
        assert run.report().cameras["file"].in_flight == 3
        hang.release()
        feed.end("north", "file")
        report = finish(run)
    assert by_camera(came) == {"file": [0, 1, 2]}
    assert report.cameras["north"].dropped == {"stuck at hung": 1}


@pytest.mark.parametrize("shape", SHAPES.values(), ids=SHAPES)
def test_a_step_that_comes_back_while_it_is_relieved_passes_each_frame_on_once(shape, monkeypatch):
    """Every step is relieved again and again, whatever it does; a frame that ended twice would end the run."""
    test = Hanging(shape, monkeypatch)
    test.hang.release()
    over = threading.Event()

    def relieve() -> None:
        while not over.is_set():
            for runner in test.run._wiring.runners.values():
                runner.relieve(0.0)

    relieving = threading.Thread(target=relieve, daemon=True)
    with test.run as run:
        relieving.start()
        try:
            for index in range(FRAMES // 2):
                test.push(index)
            test.feed.end(*CAMERAS)
            finish(run)
        finally:
            over.set()
            relieving.join(SECONDS)
        assert test.nothing_is_kept()
    for indices in by_camera(test.behind).values():
        assert indices == sorted(set(indices))
