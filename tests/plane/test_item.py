"""Items: equal wherever they are made, and in a session that the run gives them."""

from __future__ import annotations

import pickle

import numpy as np
import pytest

from flowedge.plane.item import Item, first_origin, in_session
from flowedge.values import Absent, Event, Frame, FrameId, Origin, Outcome


def event(index: int, session: int = 0) -> Event:
    return Event(Origin("north", session, index, media=0.5), "fact")


def test_the_identity_of_a_frame_is_that_of_its_origin_in_any_process():
    frame_id = event(7, session=2).origin.frame_id
    assert pickle.loads(pickle.dumps(frame_id)) == frame_id  # as another process would get it
    assert {frame_id: "held"}[FrameId("north", 2, 7)] == "held"


def test_a_part_stays_that_part_whatever_becomes_of_its_value():
    part = Item(FrameId("north", 0, 1), event(1), True, 2, 4, ((0, 0, 1, 1),) * 4)
    assert part.with_value("other") == part._replace(value="other")
    absent = part.absent(Outcome.FAILED, "ValueError", "Detect")
    assert not absent.is_value
    assert absent == part._replace(value=Absent(event(1).origin, Outcome.FAILED, "ValueError", "Detect"))


@pytest.mark.parametrize("value", [event(3), (event(3), event(3)), ((event(3), event(3)), event(3))])
def test_a_value_or_pair_moves_to_another_session_whole(value):
    def origins(value: object) -> list[Origin]:
        if isinstance(value, tuple):
            return [origin for half in value for origin in origins(half)]
        return [first_origin(value)]

    assert {origin.session for origin in origins(in_session(value, 5))} == {5}
    assert {origin.media for origin in origins(in_session(value, 5))} == {0.5}


def test_a_frame_in_another_session_shows_the_same_picture():
    frame = Frame(Origin("north", width=8, height=4), np.zeros((2, 4, 3), np.uint8), (0, 0, 8, 2))
    moved = in_session(frame, 1)
    assert np.shares_memory(moved.image, frame.image)
    assert moved.region == frame.region
