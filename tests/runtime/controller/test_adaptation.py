"""Which settings cameras should have, from what was measured in one of them."""

from __future__ import annotations

from dataclasses import replace

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from flowedge import ConfigError, Goal, Graph, choose
from flowedge.operators import Null, Resize, video
from flowedge.planner.model.profiles import Setting
from flowedge.runtime.controller.adaptation import Cost, Situation, proposal

SIZES = (320, 416, 640)


def at(size: int) -> Setting:
    return (("width", size),)


def graph(latency: str, accuracy: float | None = None) -> Graph:
    made = Graph("door", Goal(latency=latency, accuracy=accuracy))
    video(made, "street://?live=1") >> Resize(choose("width", *SIZES)) >> Null()
    return made


def costs(known: bool = True) -> dict[Setting, Cost]:
    """10, 20 and 50 ms of a core, and the accuracy that they buy."""
    return {
        at(size): Cost({"Resize": work}, accuracy if known else None)
        for size, work, accuracy in zip(SIZES, (0.01, 0.02, 0.05), (0.5, 0.7, 0.9), strict=True)
    }


def situation(cameras: int = 1, *, size: int = 416, latency: float = 0.04, fps: float = 5.0) -> Situation:
    """An operator that takes as long as its work, and frames that are twice as long on their way."""
    service = costs()[at(size)].work["Resize"]
    return Situation(at(size), {"Resize": service}, {"door": [fps] * cameras}, latency)


def chosen(made: object) -> dict[int, int]:
    return {setting[0][1]: count for setting, count in made.cameras["door"]}  # type: ignore[attr-defined]


@pytest.mark.parametrize(("goal", "size"), [("25 ms", 320), ("50 ms", 416), ("120 ms", 640)])
def test_the_most_accurate_setting_within_the_goal_is_chosen(goal: str, size: int):
    made = proposal(graph(goal), situation(), costs(), cores=2)
    assert made.reached
    assert chosen(made) == {size: 1}
    assert made.latency == pytest.approx(2 * costs()[at(size)].work["Resize"])


def test_the_setting_that_takes_least_is_chosen_where_accuracy_is_unknown():
    assert chosen(proposal(graph("1 s"), situation(), costs(known=False), cores=2)) == {320: 1}


def test_an_accuracy_that_is_asked_for_is_kept_and_no_more_is_paid_for():
    assert chosen(proposal(graph("1 s", 0.6), situation(), costs(), cores=2)) == {416: 1}


def test_cameras_share_the_cores():
    made = proposal(graph("1 s"), situation(8), costs(), cores=1)
    counts = chosen(made)
    used = sum(count * 5 * costs()[at(size)].work["Resize"] for size, count in counts.items())
    assert sum(counts.values()) == 8
    assert used <= 0.8 + 1e-6


def test_a_goal_that_nothing_reaches_gets_the_least():
    made = proposal(graph("1 ms"), situation(), costs(), cores=2)
    assert not made.reached
    assert chosen(made) == {320: 1}


def test_where_not_all_frames_can_be_served_some_are():
    made = proposal(graph("1 s"), situation(fps=200.0), costs(), cores=1)
    assert made.reached
    assert made.served < 1
    assert chosen(made) == {320: 1}


def test_headroom_is_left():
    assert chosen(proposal(graph("110 ms"), situation(), costs(), cores=2)) == {640: 1}
    assert chosen(proposal(graph("110 ms"), situation(), costs(), cores=2, headroom=0.2)) == {416: 1}


def test_an_unknown_strategy_is_refused():
    with pytest.raises(ConfigError, match="there is no 'flowedg'"):
        proposal(graph("1 s"), situation(), costs(), cores=2, strategy="flowedg")


@settings(deadline=None, max_examples=20)
@given(
    slowdown=st.floats(1.0, 20.0),
    cameras=st.integers(1, 6),
    fps=st.floats(1.0, 30.0),
    cores=st.sampled_from([1, 2]),
)
def test_every_camera_gets_a_setting_and_cores_are_not_planned_twice(
    slowdown: float, cameras: int, fps: float, cores: int
):
    now = situation(cameras, latency=0.02 * slowdown, fps=fps)
    made = proposal(graph("300 ms"), now, costs(), cores=cores)
    counts = chosen(made)
    assert sum(counts.values()) == cameras
    work = sum(count * fps * made.served * costs()[at(size)].work["Resize"] for size, count in counts.items())
    assert not made.reached or work <= 0.8 * cores * 1.001


def test_work_is_no_more_than_the_cores_that_were_busy():
    now = replace(situation(8), phases={"door": [0.025 * number for number in range(8)]})
    rehearsed = chosen(proposal(graph("1 s"), now, costs(), cores=1))
    measured = chosen(proposal(graph("1 s"), replace(now, cores=0.4), costs(), cores=1))
    assert measured[640] > rehearsed.get(640, 0)
