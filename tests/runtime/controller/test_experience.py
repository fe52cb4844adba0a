"""What settings took when they ran."""

from __future__ import annotations

import pytest

from flowedge.planner.model.profiles import Setting
from flowedge.runtime.controller.adaptation import Cost, Situation
from flowedge.runtime.controller.experience import MOST, Experience


def at(size: int) -> Setting:
    return (("size", size),)


COSTS = {at(416): Cost({"Detect": 0.1, "Draw": 0.01}), at(512): Cost({"Detect": 0.2, "Draw": 0.01})}


def situation(size: int, **service: float) -> Situation:
    return Situation(at(size), service, {"door": [2.0]}, latency=0.1)


def learnt(times: int, detect: float) -> float:
    """The work at 512 pixels after some changes, where 416 pixels take 50 ms and 512 so long."""
    experience = Experience()
    for _ in range(times):
        before, after = situation(416, Detect=0.05, Draw=0.001), situation(512, Detect=detect, Draw=0.009)
        experience.note(before, after, COSTS)
    corrected = experience.corrected(COSTS)
    assert corrected[at(416)] == COSTS[at(416)]
    assert corrected[at(512)].work["Draw"] == 0.01  # too short to tell
    return corrected[at(512)].work["Detect"]


def test_work_comes_to_be_what_was_measured():
    assert learnt(10, 0.07) == pytest.approx(0.14, rel=0.01)
    assert learnt(10, 0.15) == pytest.approx(0.3, rel=0.01)


def test_one_wild_measurement_does_not_count_without_bound():
    assert learnt(1, 50.0) == pytest.approx(0.2 * MOST)


def test_what_is_not_known_is_left_alone():
    experience = Experience()
    experience.note(situation(416, Detect=0.05), situation(640, Detect=0.2), COSTS)
    experience.note(situation(416, Detect=0.05), situation(416, Detect=0.2), COSTS)
    assert experience.corrected(COSTS) == COSTS
