"""Samples of what a source gives, for rehearsals."""

from __future__ import annotations

import threading
import time

from flowedge.plane.item import Item
from flowedge.runtime.controller.learning import FRAMES, Samples
from flowedge.runtime.runner import Outlet
from tests.runtime.fake_steps import SECONDS, event, wait_until


def item_of(index: int, camera: str = "north") -> Item:
    value = event(camera, index)
    return Item(value.origin.frame_id, value, live=True)


def test_the_next_values_of_one_camera_are_taken():
    outlet, taken = Outlet(), []
    samples = Samples({"Play": outlet})
    outlet.emit(item_of(0))
    thread = threading.Thread(target=lambda: taken.extend(samples.take("Play", "north", SECONDS)))
    thread.start()
    wait_until(lambda: samples._wanted)
    for index in range(1, FRAMES + 2):
        outlet.emit(item_of(index, "south"))
        outlet.emit(item_of(index))
    thread.join(SECONDS)
    assert [value.origin.index for value in taken] == list(range(1, FRAMES + 1))


def test_nobody_waits_for_samples_after_they_were_cancelled():
    samples, begun = Samples({"Play": Outlet()}), time.monotonic()
    samples.cancel()
    assert samples.take("Play", "north", SECONDS) == []
    assert time.monotonic() - begun < SECONDS
