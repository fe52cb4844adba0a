"""Tiles that finish in any order give one and the same result."""

from __future__ import annotations

import random
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import pytest

from flowedge import Detections, Frame, Graph
from flowedge.operators.non_max_merge import NonMaxMerge
from flowedge.operators.slice import Slice
from flowedge.plane.item import Item
from flowedge.runtime.run import Run
from flowedge.runtime.runner import Receiver
from flowedge.testing import ListSource, frames
from tests.runtime.fake_steps import Apply, Collect, by_camera, finish

COUNT = 6
SLICE = Slice(6, overlap=0.2)
Order = Callable[[list[Item]], list[Item]]


def squares(part: Frame) -> Detections:
    """A square every 40 pixels of the frame, as far as the part shows it; many have equal scores."""
    left, top, right, bottom = part.region
    starts = np.mgrid[:320:40, :240:40].reshape(2, -1).T + part.origin.index
    boxes = np.concatenate([starts, starts + 30], axis=1).clip((left, top) * 2, (right, bottom) * 2)
    boxes = boxes[(boxes[:, 2] > boxes[:, 0]) & (boxes[:, 3] > boxes[:, 1])]
    scores = 0.5 + (boxes[:, 0] % 3) / 10
    return Detections(part.origin, boxes, scores, boxes[:, 1].astype(int) % 2, ("a", "b"), region=part.region)


class Pictures(ListSource[Frame]):
    """Says what it gives, which a split asks for."""


class Disorder:
    """Stands before a gather; keeps the parts of `frames` frames and lets them go in another order."""

    def __init__(self, receive: Receiver, order: Order, frames: int) -> None:
        self._receive, self._order, self._frames = receive, order, frames
        self._held: list[Item] = []

    def put(self, item: Any) -> None:
        if not isinstance(item, Item):
            self._let_go()
            self._receive(item)
            return
        self._held.append(item)
        if len(self._held) == self._frames * item.parts:
            self._let_go()

    def _let_go(self) -> None:
        for item in self._order(self._held):
            self._receive(item)
        self._held = []


def merged(order: Order, frames_at_once: int) -> Sequence[Detections]:
    """What the graph makes of the frames when their tiles finish in this order."""
    graph, came = Graph("slices"), []
    pictures = graph.source(Pictures(frames(COUNT, 320, 240)))
    pictures >> SLICE >> Apply(squares, name="detect") >> NonMaxMerge() >> Collect(came.append)
    run = Run(graph)
    outlet = run._wiring.runners["detect"].outlet
    outlet._receivers = [Disorder(receive, order, frames_at_once).put for receive in outlet._receivers]
    with run:
        finish(run)
    return came


def backwards(items: list[Item]) -> list[Item]:
    return items[::-1]


def shuffled(seed: int) -> Order:
    return lambda items: random.Random(seed).sample(items, len(items))


ORDERS = {"backwards": backwards, **{f"shuffled {seed}": shuffled(seed) for seed in range(4)}}


@pytest.mark.parametrize("frames_at_once", [1, 3])
@pytest.mark.parametrize("order", ORDERS.values(), ids=ORDERS)
def test_the_order_in_which_tiles_finish_changes_nothing(order: Order, frames_at_once: int) -> None:
    wanted = [
        NonMaxMerge().gather([squares(part) for part in SLICE.split(frame)])
        for frame in frames(COUNT, 320, 240)
    ]
    came = merged(order, frames_at_once)
    assert sorted(found.origin.index for found in came) == list(range(COUNT))
    for found in came:
        expected = wanted[found.origin.index]
        assert len(found) > 20
        for column in ("boxes", "scores", "classes"):
            assert np.array_equal(getattr(found, column), getattr(expected, column))
        assert (found.origin, found.region, found.missing) == (expected.origin, expected.region, ())


@pytest.mark.parametrize("order", ORDERS.values(), ids=ORDERS)
def test_frames_come_in_order_whatever_tile_finishes_first(order: Order) -> None:
    assert by_camera(merged(order, frames_at_once=1)) == {"camera": list(range(COUNT))}


def test_a_lost_tile_is_missing_and_its_objects_are_seen_in_the_whole_frame() -> None:
    def without_tile_2(part: Frame) -> Detections:
        if part.origin.tile == 2:
            raise ValueError("lost")
        return squares(part)

    graph, came = Graph("slices"), []
    pictures = graph.source(Pictures(frames(1, 320, 240)))
    pictures >> SLICE >> Apply(without_tile_2, name="detect") >> NonMaxMerge() >> Collect(came.append)
    with Run(graph, max_failures=1.0) as run:
        finish(run)
    [found] = came
    [frame] = frames(1, 320, 240)
    lost = SLICE.split(frame)[2].region
    assert found.missing == (lost,)
    assert ((found.boxes[:, 0] >= lost[0]) & (found.boxes[:, 3] <= lost[3])).any()
