"""Splits and gathers, batches, and operators whose results come late."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pytest

from flowedge import Detections, Event, Frame, Graph, Origin, choose, join
from flowedge.errors import RunError
from flowedge.plane.reassembly import Reassembly
from flowedge.runtime.limits import Limits
from flowedge.runtime.routes import Configuration
from flowedge.runtime.run import Run
from tests.runtime.fake_steps import (
    FILE_WINDOW,
    SECONDS,
    Apply,
    ApplyAll,
    Collect,
    DelayedApply,
    Feed,
    Late,
    Tiles,
    Together,
    Turnstile,
    assert_balanced,
    by_camera,
    event,
    file,
    finish,
    index_of,
    passed,
    wait_until,
)


def frame(index: int, camera: str = "north") -> Frame:
    return Frame(Origin(camera, index=index, width=8, height=2), np.zeros((2, 8, 3), np.uint8))


def pictures(graph: Graph, count: int) -> Any:
    """Lossless frames, whose type the steps of a split ask for."""
    return file(graph, count) >> as_frame()


def as_frame() -> Apply:
    return Apply(lambda value: frame(value.origin.index), name="frames")


def one_object(tile: Frame) -> Detections:
    return Detections(tile.origin, [tile.region], [0.5], [0])


def merged(parts: Sequence[Detections]) -> Detections:
    return Detections(
        parts[0].origin,
        np.concatenate([part.boxes for part in parts]),
        np.concatenate([part.scores for part in parts]),
        np.concatenate([part.classes for part in parts]),
    )


def unless_tile(*lost: int) -> Any:
    """One object a tile; the `lost` tiles fail."""

    def detect(tile: Frame) -> Detections:
        if tile.origin.tile in lost:
            raise ValueError("lost")
        return one_object(tile)

    return detect


def test_parts_come_together_in_the_order_of_the_split():
    graph, came = Graph("test"), []
    pictures(graph, 30) >> Tiles(4) >> Apply(passed) >> Together(Marks) >> Collect(came.append)
    with Run(graph) as run:
        finish(run)
    assert by_camera(came) == {"north": list(range(30))}
    assert {marks.tiles for marks in came} == {(0, 1, 2, 3)}


class Marks:
    """Which tiles came together."""

    def __init__(self, parts: Sequence[Any]) -> None:
        self.origin, self.tiles = parts[0].origin, tuple(part.origin.tile for part in parts)


def test_a_lost_part_leaves_a_result_that_says_what_is_missing():
    graph, came = Graph("test"), []
    detect = Apply(unless_tile(1), name="detect")
    pictures(graph, 10) >> Tiles(4) >> detect >> Together(merged) >> Collect(came.append)
    with Run(graph) as run:
        report = finish(run)
    assert len(came) == 10
    assert {found.missing for found in came} == {((2, 0, 4, 2),)}
    assert {len(found) for found in came} == {3}
    assert report.operators["Together"].partial == 10


@dataclass
class TilesAndWhole(Tiles):
    """Two tiles of four pixels each, and the frame itself."""

    def split(self, frame: Frame, /) -> Sequence[Frame]:
        tiles = [frame.crop((x, 0, x + 4, 2), tile=n, tiles=3) for n, x in enumerate((0, 4))]
        return [*tiles, frame.crop(frame.region, tile=2, tiles=3)]


@pytest.mark.parametrize(
    ("lost", "missing"), [((2,), ()), ((1,), ((4, 0, 8, 2),)), ((1, 2), ((4, 0, 8, 2),)), ((), ())]
)
def test_what_another_part_showed_as_closely_is_not_missing(lost, missing):
    graph, came = Graph("test"), []
    detect = Apply(unless_tile(*lost), name="detect")
    pictures(graph, 3) >> TilesAndWhole(3) >> detect >> Together(merged) >> Collect(came.append)
    with Run(graph, max_failures=1.0) as run:
        finish(run)
    assert [found.missing for found in came] == [missing] * 3


def test_a_frame_all_of_whose_parts_are_lost_has_failed():
    graph, came = Graph("test"), []
    detect = Apply(unless_tile(0, 1, 2, 3), name="detect")
    pictures(graph, 4) >> Tiles(4) >> detect >> Together(merged) >> Collect(came.append)
    with Run(graph, max_failures=1.0) as run:
        counts = finish(run).cameras["north"]
    assert came == []
    assert counts.failures == {"ValueError at detect": 4}


def test_a_gather_that_raises_fails_its_frame():
    graph, came = Graph("test"), []

    def gather(parts: Sequence[Any]) -> Any:
        if index_of(parts[0]) == 2:
            raise ValueError("no")
        return parts[0]

    pictures(graph, 5) >> Tiles(2) >> Together(gather) >> Collect(came.append)
    with Run(graph) as run:
        assert finish(run).cameras["north"].failures == {"ValueError at Together": 1}
    assert by_camera(came) == {"north": [0, 1, 3, 4]}


def test_a_split_without_parts_fails_its_frame():
    graph = Graph("test")
    pictures(graph, 3) >> Tiles(0, name="none") >> Apply(passed) >> Together(merged) >> Collect()
    with Run(graph, max_failures=1.0) as run:
        assert finish(run).cameras["north"].failed == 3


def test_a_live_gather_past_its_deadline_gives_what_it_has():
    """The last tile of the first frame is stuck; the next frame waits outside until it is done."""
    graph, feed, gate, came, now = Graph("test"), Feed(), Turnstile(), [], [100.0]

    def detect(tile: Frame) -> Detections:
        if tile.origin.tile == 3 and tile.origin.index == 0:
            gate.pass_through(tile)
        return one_object(tile)

    stream = graph.source(feed.source("north", live=True)) >> as_frame()
    gather = Together(merged, deadline=0.05)
    stream >> Tiles(4) >> Apply(detect, name="detect") >> gather >> Collect(came.append)
    with Run(graph, clock=lambda: now[0]) as run:
        feed.push("north", 0)
        gate.await_entry()
        now[0] += 0.06
        wait_until(lambda: came)
        (partial,) = came
        assert (len(partial), partial.missing) == (3, ((6, 0, 8, 2),))
        gate.open()
        feed.push("north", 1)
        wait_until(lambda: len(came) == 2)
        feed.end("north")
        report = finish(run)
        parts = run._wiring.runners["Together"].inbox
        assert isinstance(parts, Reassembly)
        assert not parts._open
    assert came[1].missing == ()
    assert report.operators["Together"].partial == 1
    assert report.cameras["north"].delivered == 2


def test_the_deadline_of_a_gather_changes_while_it_runs():
    graph, feed, gate, came = Graph("test"), Feed(), Turnstile(), []

    def detect(tile: Frame) -> Detections:
        return one_object(gate.pass_through(tile) if tile.origin.tile == 3 else tile)

    stream = graph.source(feed.source("north", live=True)) >> as_frame()
    gather = Together(merged, deadline=choose("deadline", 1000.0, 0.05))
    stream >> Tiles(4) >> Apply(detect, name="detect") >> gather >> Collect(came.append)
    with Run(graph) as run:
        run.routes.switch(Configuration((("deadline", 0.05),)))
        feed.push("north", 0)
        gate.await_entry()
        wait_until(lambda: came)
        gate.open()
        feed.end("north")
        finish(run)
    assert [len(partial) for partial in came] == [3]


def test_a_region_behind_a_stuck_tile_takes_no_more_frames():
    graph, feed, gate, came, now = Graph("test"), Feed(), Turnstile(), [], [100.0]
    stream = graph.source(feed.source("north", live=True)) >> as_frame()
    tiles = stream >> Tiles(2) >> gate.step("detect")
    tiles >> Together(lambda parts: parts[0], deadline=0.02) >> Collect(came.append)
    with Run(graph, clock=lambda: now[0]) as run:
        feed.push("north", 0)
        gate.await_entry()
        gate.let_pass()
        gate.await_entry()
        now[0] += 0.03
        wait_until(lambda: came)
        for n in range(1, 6):
            feed.push("north", n)
            wait_until(lambda n=n: run.report().operators["frames"].count == n + 1)
        assert run.report().operators["Tiles"].count <= 2
        gate.open()
        feed.end("north")
        report = finish(run)
    assert by_camera(came)["north"][-1] == 5
    assert report.cameras["north"].dropped


def test_a_gather_of_a_file_waits_past_its_deadline():
    graph, gate, came, now = Graph("test"), Turnstile(), [], [100.0]
    tiles = pictures(graph, 2) >> Tiles(2) >> gate.step("detect")
    tiles >> Together(Marks, deadline=0.01) >> Collect(came.append)
    with Run(graph, clock=lambda: now[0]) as run:
        gate.await_entry()
        gate.let_pass()
        gate.await_entry()
        now[0] += 0.02
        run.wait(0.05)
        assert came == []
        gate.open()
        finish(run)
    assert {marks.tiles for marks in came} == {(0, 1)}


def test_two_branches_of_tiles_meet_part_by_part():
    graph, came = Graph("test"), []
    tiles = pictures(graph, 12) >> Tiles(3)
    left, right = tiles >> Apply(passed, name="left"), tiles >> Apply(passed, name="right")
    join(left, right) >> Together(lambda pairs: pairs) >> Collect(came.append)
    with Run(graph) as run:
        finish(run)
    assert len(came) == 12
    assert all(one.origin == other.origin for pairs in came for one, other in pairs)


def test_a_batch_with_one_bad_value_loses_only_that_one():
    graph, came, sizes = Graph("test"), [], []

    def work(values: Sequence[Any]) -> Sequence[Any]:
        sizes.append(len(values))
        if any(index_of(value) == 5 for value in values):
            raise ValueError("bad")
        return values

    first = Turnstile()
    cameras = ["a", "b", "c", "d"]
    stream = file(graph, 8, cameras) >> first.step("hold")
    stream >> ApplyAll(work) >> Collect(came.append)
    with Run(graph) as run:
        first.open()
        report = finish(run)
    assert by_camera(came) == {camera: [0, 1, 2, 3, 4, 6, 7] for camera in cameras}
    assert report.operators["ApplyAll"].failed == 4
    assert report.cameras["a"].failures == {"ValueError at ApplyAll": 1}


def test_a_batch_takes_what_waits_at_once():
    graph, feed, gate, sizes = Graph("test"), Feed(), Turnstile(), []

    def work(values: Sequence[Any]) -> Sequence[Any]:
        sizes.append(len(values))
        gate.pass_through(values)
        return values

    cameras = ["a", "b", "c", "d", "e"]
    graph.source(feed.source(*cameras, live=True)) >> ApplyAll(work) >> Collect()
    with Run(graph) as run:
        feed.push("a", 0)
        gate.await_entry()
        feed.push_all(cameras, 1)
        feed.settle()
        gate.open()
        feed.end(*cameras)
        finish(run)
    assert sizes == [1, 4, 1]


def test_a_batch_of_the_wrong_length_is_done_one_by_one():
    graph, feed, gate, came, cameras = Graph("test"), Feed(), Turnstile(), [], ["a", "b", "c"]

    def work(values: Sequence[Any]) -> Sequence[Any]:
        gate.pass_through(values)
        return values[:1]

    graph.source(feed.source(*cameras, live=False)) >> ApplyAll(work) >> Collect(came.append)
    with Run(graph) as run:
        feed.push("a", 0)
        gate.await_entry()
        feed.push_all(cameras, 1)
        feed.settle()
        gate.open()
        feed.end(*cameras)
        finish(run)
    assert by_camera(came) == {"a": [0, 1], "b": [1], "c": [1]}


@pytest.mark.parametrize("by", [0, 1, 5, FILE_WINDOW, 5 * FILE_WINDOW])
def test_results_that_come_late_are_those_of_their_frames(by):
    """However many are held back, also more than the window holds."""
    graph, came = Graph("test"), []
    stream = file(graph, 60, ["a", "b"])
    join(stream, stream >> Late(by)) >> Collect(came.append)
    with Run(graph) as run:
        report = finish(run)
    assert by_camera(came) == {"a": list(range(60)), "b": list(range(60))}
    assert all(one.origin == other.origin for one, other in came)
    assert report.cameras["a"].delivered == 60


def test_two_late_operators_one_after_the_other():
    graph, came = Graph("test"), []
    file(graph, 50) >> Late(12, name="one") >> Late(12, name="two") >> Collect(came.append)
    with Run(graph) as run:
        finish(run)
    assert by_camera(came) == {"north": list(range(50))}


def test_two_late_operators_side_by_side():
    graph, came = Graph("test"), []
    stream = file(graph, 50)
    join(stream >> Late(3, name="one"), stream >> Late(20, name="two")) >> Collect(came.append)
    with Run(graph) as run:
        finish(run)
        assert run._ledger.accounts()["north"].in_window == 0
    assert by_camera(came) == {"north": list(range(50))}


def test_a_result_that_never_comes_has_failed():
    graph, came = Graph("test"), []
    file(graph, 30) >> Late(3, lost=(4, 29)) >> Collect(came.append)
    with Run(graph) as run:
        report = finish(run)
    assert by_camera(came) == {"north": [n for n in range(30) if n not in (4, 29)]}
    assert report.cameras["north"].failures == {"no result at Late": 2}


def test_a_late_operator_that_raises_fails_that_frame():
    graph, came = Graph("test"), []

    def work(value: Event) -> Event:
        if index_of(value) == 3:
            raise ValueError("damaged")
        return value

    file(graph, 6) >> DelayedApply(work) >> Collect(came.append)
    with Run(graph) as run:
        assert finish(run).cameras["north"].failures == {"ValueError at DelayedApply": 1}
    assert by_camera(came) == {"north": [0, 1, 2, 4, 5]}


def test_a_result_for_a_frame_it_was_not_given_ends_the_run():
    graph = Graph("test")
    file(graph, 30) >> DelayedApply(lambda value: event("north", index_of(value) + 100)) >> Collect()
    with Run(graph) as run, pytest.raises(RunError, match="which it was not given"):
        run.wait(SECONDS)
    assert run.finished
    assert_balanced(run.report())


def test_live_frames_through_a_late_operator():
    graph, feed, came = Graph("test"), Feed(), []
    graph.source(feed.source("north", live=True)) >> Late(2) >> Collect(came.append)
    with Run(graph) as run:
        for n in range(10):
            feed.push("north", n)
            wait_until(lambda n=n: run.report().operators["Late"].count == n + 1)
            wait_until(lambda n=n: len(came) == max(0, n - 1))
        feed.end("north")
        finish(run)
    assert by_camera(came)["north"][-1] == 9


def test_frames_whose_result_never_comes_do_not_pile_up() -> None:
    count, lost, most = 300, range(0, 300, 2), 16
    in_flight: list[int] = []
    graph = Graph("lossy")
    late = Late(1, lost=tuple(lost))
    file(graph, count) >> late >> Collect(lambda _: in_flight.append(run.report().cameras["north"].in_flight))
    run = Run(graph, max_failures=1.0, limits=Limits(held_back=most))
    with run:
        report = finish(run)
    assert_balanced(report)
    assert report.cameras["north"].failed == len(lost)
    assert max(in_flight) <= most + FILE_WINDOW + 1


def test_a_result_that_comes_after_its_frame_was_given_up_is_ignored() -> None:
    """The operator answers every frame, but later than the run waits for it."""
    count, most = 40, 4
    graph, came = Graph("slow"), []
    file(graph, count) >> Late(10) >> Collect(came.append)
    with Run(graph, max_failures=1.0, limits=Limits(held_back=most)) as run:
        report = finish(run)
    assert_balanced(report)
    assert report.cameras["north"].delivered == len(came) == most
    assert report.cameras["north"].failures == {"no result at Late": count - most}


def test_frames_that_a_late_operator_cannot_tell_apart_end_the_run():
    graph = Graph("test")
    file(graph, 3) >> Apply(lambda _: event("north", 0), name="same") >> Late(2) >> Collect()
    with Run(graph) as run, pytest.raises(RunError, match=r"Late was given frame \d of north twice"):
        run.wait(SECONDS)
    assert_balanced(run.report())
