"""What a run is like, as windows tell it."""

from __future__ import annotations

from collections.abc import Mapping
from types import SimpleNamespace
from typing import Any

import pytest

from flowedge import Graph
from flowedge.monitor.histogram import Histogram
from flowedge.operators import Null, Resize, video
from flowedge.runtime.controller.observation import Observation, spread_of
from flowedge.runtime.measuring import CameraRate, Window
from flowedge.runtime.routes import Configuration


def observation(*names: str) -> Observation:
    graph = Graph("door")
    video(graph, "street://?live=1") >> Resize(320) >> Null()
    run: Any = SimpleNamespace(
        graph=graph,
        routes=SimpleNamespace(of=lambda _: Configuration(())),
        cameras=lambda: [("video", name) for name in names],
        is_live=lambda _: True,
    )
    return Observation(run, 0.3)


def window(cameras: Mapping[str, CameraRate]) -> Window:
    latency = Histogram()
    for milliseconds in (50, 100, 150):
        latency.add(milliseconds / 1e3)
    return Window(1.0, {"Resize": 0.01}, {"Resize": 3.0}, cameras, latency, 1.0)


def test_a_rate_is_that_of_the_captures_however_many_frames_fall_into_a_window():
    watched = observation("north")
    for count, captured in ((2, 10.9), (3, 12.0), (3, 13.1)):
        watched.note(window({"north": CameraRate(count, count, 0.0, 0.366, captured)}))
    situation = watched.situation(window({"north": CameraRate(3.0, 3.0, 0.0, 0.366, 13.1)}))
    assert situation is not None
    assert situation.rates == {"door": [pytest.approx(1 / 0.366)]}
    assert situation.phases == {"door": [13.1]}


def test_a_slow_camera_that_gives_nothing_in_a_window_is_no_slower():
    watched = observation("north")
    watched.note(window({"north": CameraRate(1.0, 1.0, 0.0, 1.0, 10.0)}))
    watched.note(window({"north": CameraRate(0.0, 0.0, 0.0, 0.0, 10.0)}))
    situation = watched.situation(window({"north": CameraRate(0.0, 0.0, 0.0, 0.0, 10.0)}))
    assert situation is not None
    assert situation.rates == {"door": [1.0]}


def test_cameras_of_nearly_the_same_rate_stay_in_step():
    watched = observation("north", "south", "east")
    rates = dict(zip(("north", "south", "east"), (0.199, 0.2, 0.5), strict=True))
    watched.note(window({name: CameraRate(5.0, 5.0, 0.0, interval, 10.0) for name, interval in rates.items()}))
    situation = watched.situation(window({}))
    assert situation is not None
    assert situation.rates == {"door": [pytest.approx(5.0), pytest.approx(5.0), pytest.approx(2.0)]}


def test_lost_frames_are_a_share_of_those_produced():
    watched = observation("north", "south")
    now = window(
        {"north": CameraRate(4.0, 3.0, 1.0, 0.25, 10.0), "south": CameraRate(4.0, 4.0, 0.0, 0.25, 10.0)}
    )
    watched.note(now)
    situation = watched.situation(now)
    assert situation is not None
    assert situation.lost == pytest.approx(1 / 8)
    assert situation.mean == pytest.approx(0.1, rel=0.02)


def test_the_spread_of_times_has_a_mean_of_one():
    times = Histogram()
    for milliseconds in range(10, 110):
        times.add(milliseconds / 1e3)
    spread = spread_of(times)
    assert sum(spread) / len(spread) == pytest.approx(1.0)
    assert spread[0] == pytest.approx(0.25, abs=0.05)
    assert spread[-1] == pytest.approx(1.75, abs=0.05)


def test_a_few_times_have_no_spread():
    times = Histogram()
    times.add(0.1)
    assert spread_of(times) == []
