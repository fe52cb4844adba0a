"""What profiles say about settings, and services: resources, dominance, and known queues."""

from __future__ import annotations

import math
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from flowedge.planner.model.profiles import Accuracy, OutputSize, Profiles, Service, holds, setting
from tests.planner.crossing import EDGE_DETECT, SIZE, crossing

SMALL = Service("Detect", "pi", cores=1, seconds=0.1, batch=2, setting=setting(size=416))
LARGE = Service("Detect", "pi", cores=2, seconds=0.2, setting=setting(size=640))
ANY = Service("Track", "pi", cores=1, seconds=0.01)
PROFILES = Profiles(
    (SMALL, LARGE, ANY),
    (
        OutputSize("video", 9e4, "jpeg"),
        OutputSize("video", 4e4, "h264"),
        OutputSize("Detect", 100.0, setting=setting(size=416)),
    ),
    (Accuracy(0.5), Accuracy(0.3, setting(size=416)), Accuracy(0.35, setting(size=416, tiles=4))),
)


def test_services_are_those_whose_setting_is_chosen() -> None:
    assert PROFILES.services_of("Detect", setting(size=416, tiles=4)) == (SMALL,)
    assert PROFILES.services_of("Detect", setting(size=960)) == ()
    assert PROFILES.services_of("Track", setting(size=960)) == (ANY,)
    assert SMALL.rate == 20.0


def test_an_operator_without_any_service_is_free_but_one_without_this_setting_is_not() -> None:
    assert PROFILES.free("Null")
    assert not PROFILES.free("Detect")


def test_bytes_are_those_of_the_smallest_codec_and_none_where_not_measured() -> None:
    assert PROFILES.bytes_of("video", setting(size=416)) == 4e4
    assert PROFILES.bytes_of("Detect", setting(size=416)) == 100.0
    assert PROFILES.bytes_of("Detect", setting(size=640)) == 0.0


def test_the_most_specific_accuracy_counts() -> None:
    assert PROFILES.accuracy(setting(size=416, tiles=4)) == 0.35
    assert PROFILES.accuracy(setting(size=416, tiles=1)) == 0.3
    assert PROFILES.accuracy(setting(size=640)) == 0.5
    assert Profiles().accuracy(setting(size=640)) is None


def test_a_setting_holds_where_all_it_says_is_chosen() -> None:
    assert setting(b=1, a=2) == setting(a=2, b=1)
    assert holds((), setting(size=416))
    assert not holds(setting(size=416), ())


def test_a_service_that_another_replaces_is_dominated() -> None:
    greedy = replace(EDGE_DETECT, cores=3)
    quick = replace(EDGE_DETECT, cores=3, seconds=0.05)
    assert Profiles((greedy, EDGE_DETECT, quick)).undominated("Detect", SIZE) == [EDGE_DETECT, quick]


def test_shares_count_the_scarcest_resource() -> None:
    node = crossing().cluster["pi"]
    assert EDGE_DETECT.share_of(node) == 0.5
    assert replace(EDGE_DETECT, memory=3e9).share_of(node) == 0.75
    assert replace(EDGE_DETECT, cores=0, memory=0).share_of(node) == 0.0


def test_a_replica_fits_by_kind_and_every_capacity() -> None:
    cluster = crossing().cluster
    assert EDGE_DETECT.fits_on(cluster["pi"])
    assert not EDGE_DETECT.fits_on(cluster["server"])
    for name in ("cores", "gpu", "memory"):
        assert not replace(EDGE_DETECT, **{name: 5e9}).fits_on(cluster["pi"])


utilisations = st.floats(0.0, 0.95)
times = st.floats(1e-4, 1.0)


def wait(
    utilisation: float, seconds: float, deviation: float = 0.0, replicas: int = 1, streams: int | None = None
) -> float:
    service = Service("Detect", "pi", cores=1, seconds=seconds, deviation=deviation)
    return service.mean_wait(utilisation, replicas, streams)


@given(utilisations, times)
def test_exponential_service_of_one_server_waits_as_in_m_m_1(used: float, seconds: float) -> None:
    assert wait(used, seconds, deviation=seconds) == pytest.approx(used / (1 - used) * seconds)


def test_constant_service_waits_half_as_long() -> None:
    assert wait(0.8, 0.01) == pytest.approx(0.02)
    assert wait(0.8, 0.01, deviation=0.01) == pytest.approx(0.04)


def test_three_servers_wait_about_as_in_m_m_3() -> None:
    # Erlang C for three servers at 80 %: a wait of 1.079 services.
    assert wait(0.8, 1.0, deviation=1.0, replicas=3) == pytest.approx(1.079, rel=0.03)


@given(utilisations, utilisations, times, st.integers(1, 8), st.integers(1, 30))
def test_less_load_and_more_servers_never_wait_longer(
    used: float, other: float, seconds: float, servers: int, streams: int
) -> None:
    low, high = sorted((used, other))
    assert wait(low, seconds, 0.0, servers, streams) <= wait(high, seconds, 0.0, servers, streams)
    assert wait(used, seconds, 0.0, servers + 1, streams) <= wait(used, seconds, 0.0, servers, streams)
    assert wait(used, seconds, 0.0, servers, streams) <= wait(used, seconds, 0.0, servers)


def test_a_replica_for_each_camera_never_waits_and_an_overloaded_one_for_ever() -> None:
    assert wait(0.9, 0.01, deviation=0.05, replicas=4, streams=4) == 0.0
    assert wait(0.9, 0.01, deviation=0.05, replicas=4, streams=5) == 0.01
    assert wait(1.0, 0.01) == math.inf
