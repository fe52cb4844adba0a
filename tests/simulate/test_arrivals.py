"""Who asks when."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from flowedge.simulate.arrivals import CHUNK, draw, poisson
from flowedge.simulate.scenario import Range, Rate, RequestKind, RequestSource, Scenario, TraceRow
from tests.simulate.small import fixed, scenario, traced
from tests.simulate.small import poisson as singles


def times_of(given: Scenario) -> list[float]:
    arrivals = draw(given)
    chunks = range(int(np.ceil(given.duration / CHUNK)))
    times = [time for number in chunks for time in arrivals.chunk(number).times]
    assert times == sorted(times)
    return times


def test_poisson_follows_its_rate() -> None:
    rate = Rate(((0.0, 20.0), (500.0, 60.0)), amplitude=0.5, period=1000.0)
    times = poisson(np.random.default_rng(0), rate, 0.0, 1000.0)
    counts = np.histogram(times, 20, (0, 1000))[0]
    middles = np.arange(25.0, 1000.0, 50.0)
    expected = 50 * rate.at(middles)
    assert (np.abs(counts - expected) < 5 * np.sqrt(expected)).all()


def test_a_camera_sends_every_frame_once_whatever_the_chunks() -> None:
    kind = RequestKind("people", fixed(1.0), rate=fixed(7.0))
    cameras = RequestSource("c", "here", "cameras", (("people", 1.0),), count=1)
    times = times_of(scenario(cameras, duration=95.0, kinds=(kind,)))
    assert np.diff(times) == pytest.approx(1 / 7)
    assert len(times) in (664, 665)  # 95 s at 7 Hz, from a random phase on


def test_streams_come_and_go() -> None:
    kind = RequestKind("people", fixed(1.0), rate=Range(5.0, 15.0))
    source = RequestSource("s", "here", "streams", (("people", 1.0),), Rate(((0.0, 2.0),)), 10.0)
    times = np.array(times_of(scenario(source, duration=400.0, kinds=(kind,))))
    # In a steady state 2/s x 10 s x 10/s = 200 queries a second, within 5 %.
    assert 190 < (times > 50).sum() / 350 < 210


def test_access_and_transmission_delay_a_request() -> None:
    kind = RequestKind("people", fixed(1.0), size=fixed(1e6))
    source = traced(1.0, 3.0, access=fixed(0.25), bitrate=16e6)
    assert times_of(scenario(source, kinds=(kind,))) == pytest.approx([1.75, 3.75])


def test_a_trace_has_queries_and_streams_and_its_own_demands() -> None:
    rows = (
        TraceRow(2.0, "people"),
        TraceRow(0.5, "people", deadline=0.3, size=7.0, accuracy=0.2, rate=4.0, duration=1.0),
    )
    given = scenario(traced(rows=rows))
    assert times_of(given) == pytest.approx([0.5, 0.75, 1.0, 1.25, 2.0])
    query, stream = draw(given).requests
    assert (query.deadline, query.rate) == (1.0, 0.0)
    assert (stream.deadline, stream.bytes, stream.accuracy, stream.rate) == (0.3, 7.0, 0.2, 4.0)


def test_the_seed_alone_decides() -> None:
    given = scenario(singles(20.0))
    assert times_of(given) == times_of(given)
    assert times_of(given) != times_of(replace(given, seed=1))


def test_applications_come_by_their_shares() -> None:
    kinds = RequestKind("people", fixed(1.0)), RequestKind("cars", fixed(1.0))
    source = RequestSource("c", "here", "cameras", (("people", 1.0), ("cars", 3.0)), count=4000)
    numbers = [request.application for request in draw(scenario(source, kinds=kinds)).requests]
    assert 2900 < sum(numbers) < 3100
