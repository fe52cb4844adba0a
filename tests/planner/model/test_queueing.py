"""Waiting: known queues, bounds, and the order that planning relies on."""

from __future__ import annotations

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from flowedge.planner.model.queueing import wait

shares = st.floats(0.0, 0.95)
times = st.floats(1e-4, 1.0)


@given(shares, times)
def test_exponential_service_of_one_server_waits_as_in_m_m_1(used: float, seconds: float) -> None:
    assert wait(used, seconds, deviation=seconds) == pytest.approx(used / (1 - used) * seconds)


def test_constant_service_waits_half_as_long() -> None:
    assert wait(0.8, 0.01) == pytest.approx(0.02)
    assert wait(0.8, 0.01, deviation=0.01) == pytest.approx(0.04)


def test_three_servers_wait_about_as_in_m_m_3() -> None:
    # Erlang C for three servers at 80 %: a wait of 1.079 services.
    assert wait(0.8, 1.0, deviation=1.0, servers=3) == pytest.approx(1.079, rel=0.03)


@given(shares, shares, times, st.integers(1, 8), st.integers(1, 30))
def test_less_load_and_more_servers_never_wait_longer(
    used: float, other: float, seconds: float, servers: int, streams: int
) -> None:
    low, high = sorted((used, other))
    assert wait(low, seconds, 0.0, servers, streams) <= wait(high, seconds, 0.0, servers, streams)
    assert wait(used, seconds, 0.0, servers + 1, streams) <= wait(used, seconds, 0.0, servers, streams)
    assert wait(used, seconds, 0.0, servers, streams) <= wait(used, seconds, 0.0, servers)


def test_a_replica_for_each_camera_never_waits_and_an_overloaded_one_for_ever() -> None:
    assert wait(0.9, 0.01, deviation=0.05, servers=4, streams=4) == 0.0
    assert wait(0.9, 0.01, deviation=0.05, servers=4, streams=5) == 0.01
    assert wait(1.0, 0.01) == math.inf
