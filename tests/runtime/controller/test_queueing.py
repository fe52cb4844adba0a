"""Frames of periodic cameras on their way through the steps of a graph."""

from __future__ import annotations

import math

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from flowedge import Graph, join
from flowedge.operators import Detect, Draw, Null, Resize, video
from flowedge.runtime.controller.queueing import Camera, Station, passed, stations

DETECT = (Station(("Detect",)),)


def cameras(count: int, service: float, *, rate: float = 2.0, apart: float = 0.0) -> list[Camera]:
    return [Camera(rate, apart * number, (service,)) for number in range(count)]


def test_cameras_in_step_wait_for_one_another_at_any_load():
    come = passed(cameras(4, 0.01), DETECT)
    assert come.quantile(0.95) == pytest.approx(0.04)
    assert sum(come.latencies) / len(come.latencies) == pytest.approx(0.025)


def test_cameras_out_of_step_do_not_wait():
    assert passed(cameras(4, 0.1, apart=0.11), DETECT).quantile(1.0) == pytest.approx(0.1)


def test_a_step_that_takes_frames_together_gives_them_together():
    assert passed(cameras(4, 0.01), (Station(("Detect",), batch=4),)).quantile(0.05) == pytest.approx(0.04)


def test_cameras_of_different_rates_all_count():
    both = [Camera(30.0, 0.0, (0.01,)), Camera(0.1, 0.003, (0.02,))]
    come = passed(both, DETECT)
    assert come.delivered == 1.0
    assert {round(latency, 3) for latency in come.latencies} >= {0.01}


def test_steps_follow_one_another_and_branches_meet():
    chain = (Station(("A",)), Station(("B",), (0,)), Station(("C",), (0,)), Station(("D",), (1, 2)))
    alone = [Camera(2.0, 0.0, (0.05, 0.1, 0.02, 0.03))]
    assert passed(alone, chain).quantile(0.5) == pytest.approx(0.18)


def test_more_frames_than_can_be_served_give_way_to_newer_ones():
    come = passed(cameras(8, 0.1), DETECT)
    assert come.delivered == pytest.approx(5 / 8, abs=0.06)
    assert come.quantile(1.0) <= 0.5 + 8 * 0.1


def test_with_a_goal_those_give_way_that_would_miss_it_and_every_camera_has_its_turn():
    come = passed(cameras(8, 0.1), DETECT, goal=0.35)
    assert come.quantile(1.0) <= 0.35
    assert come.delivered == pytest.approx(3 / 8, abs=0.05)


def test_service_times_that_vary_make_a_tail():
    steady, varied = (
        passed(cameras(4, 0.05), DETECT, spread=spread) for spread in ([], [(0.5, 0.8, 1.0, 1.7)])
    )
    assert varied.quantile(0.95) > 1.1 * steady.quantile(0.95)


@settings(deadline=None, max_examples=30)
@given(
    count=st.integers(1, 9),
    rate=st.floats(0.2, 60),
    service=st.floats(0, 0.5),
    apart=st.floats(0, 1),
    batch=st.integers(1, 4),
    goal=st.sampled_from([0.1, 0.5, math.inf]),
)
def test_no_frame_is_faster_than_its_service_and_shares_are_shares(
    count: int, rate: float, service: float, apart: float, batch: int, goal: float
):
    come = passed(cameras(count, service, rate=rate, apart=apart), (Station(("A",), batch=batch),), goal=goal)
    assert 0 <= come.delivered <= 1
    assert all(latency >= service - 1e-9 for latency in come.latencies)
    assert list(come.latencies) == sorted(come.latencies)


def test_stations_of_a_graph_with_a_join():
    graph = Graph("door")
    resized = video(graph, "street://") >> Resize(320)
    join(resized, resized >> Detect("street")) >> Draw() >> Null()
    assert stations(graph) == (
        Station(("Decode",)),
        Station(("Resize",), (0,)),
        Station(("Detect",), (1,), Detect.batch),
        Station(("Draw",), (1, 2)),
        Station(("Null",), (3,)),
    )


def test_cameras_of_different_sources_meet_only_where_their_frames_do():
    graph = Graph("door")
    front = video(graph, "street://", name="front")
    side = video(graph, {"side": "street://"}, name="side")
    front >> Resize(320) >> Null()
    side >> Resize(640, name="Other") >> Null(name="End")
    sources = {station.steps[0]: station.sources for station in stations(graph)}
    assert sources["Resize"] == {"front"}
    assert sources["Other"] == sources["End"] == {"side"}
    chain = (Station(("A",)), Station(("B",)))
    come = passed([Camera(2.0, 0.0, (0.1, 0.0)), Camera(2.0, 0.0, (0.0, 0.2))], chain)
    assert {round(latency, 6) for latency in come.latencies} == {0.1, 0.2}
