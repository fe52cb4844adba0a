"""Which copy of a step serves a frame, and when a copy is closed: once, and never while it is in use."""

from __future__ import annotations

import copy
from dataclasses import dataclass
from typing import Any

import pytest

from flowedge import Event, Operator, State
from flowedge.plane.item import Item
from flowedge.runtime.copies import Copies, Copy
from tests.runtime.fake_steps import SECONDS, event
from tests.runtime.test_runner import runner_of

CLOSED: list[int] = []


@pytest.fixture(autouse=True)
def none_closed():
    CLOSED.clear()


@dataclass
class Numbered(Operator[Event, Event]):
    """Says when it is closed."""

    state = State.PER_CAMERA
    number: int

    def setup(self) -> None:
        if self.number < 0:
            raise OSError("no such device")

    def process(self, value: Event, /) -> Event:
        return value

    def close(self) -> None:
        CLOSED.append(self.number)


@dataclass
class Plain(Numbered):
    state = State.NONE


def set_up(step: Any) -> Copy:
    return Copy(step, (), copy.deepcopy(step))


def close_unused(of: Any) -> None:
    for gone in of.take_unused():
        gone.close()


def item_on(route: int) -> Item:
    value = event("north", route)
    return Item(value.origin.frame_id, value, live=False, route=route)


def test_a_copy_that_ends_a_camera_is_not_closed_meanwhile():
    copies = Copies(Numbered(0))
    copies.add(1, set_up(Numbered(1)))
    old = copies.turn_to(item_on(0))
    copies.remove(0)
    assert copies.end("north") is old
    close_unused(copies)
    assert not CLOSED
    copies.turn_to(item_on(1))
    close_unused(copies)
    assert CLOSED == [0]


def test_a_retired_copy_is_closed_once():
    runner, _ = runner_of(Plain(0))
    runner.start()
    runner.prepare(1, Plain(1))
    runner.retire(0)
    runner.inbox.close()
    runner.thread.join(SECONDS)
    close_unused(runner)
    assert sorted(CLOSED) == [0, 1]


def test_a_copy_that_cannot_be_set_up_is_closed():
    runner, _ = runner_of(Plain(0))
    with pytest.raises(OSError, match="no such device"):
        runner.prepare(1, Plain(-1))
    assert CLOSED == [-1]


def test_a_route_that_passes_by_needs_no_retired_copy():
    copies = Copies(Plain(0))
    copies.add(1, set_up(Plain(1)))
    copies.turn_to(item_on(0))
    copies.remove(0)
    copies.pass_by(2)
    copies.turn_to(item_on(1))
    close_unused(copies)
    copies.close()
    assert CLOSED == [0, 1]
