"""Offers, settings and hosts, and the options that are in time."""

from __future__ import annotations

from dataclasses import replace

from hypothesis import given
from hypothesis import strategies as st

from flowedge.planner.model.profiles import Accuracy, OutputSize, Profiles, Service, setting
from flowedge.planner.options import offers as offer_module
from flowedge.planner.options.delays import path_delays
from flowedge.planner.options.offers import hosts, offers, options_in_time
from tests.planner.crossing import CLOUD_DETECT, CLOUD_TRACK, EDGE_DETECT, SIZE, crossing

loads = st.floats(0.1, 500.0)


@given(st.floats(1e-3, 0.5), st.floats(0, 2), loads, st.integers(1, 40), st.sampled_from([0.5, 0.8, 0.95]))
def test_nobody_waits_longer_than_an_offer_says(
    seconds: float, variation: float, load: float, streams: int, most: float
) -> None:
    service = Service("Detect", "pi", 1, seconds, deviation=variation * seconds)
    for offer in offers(crossing(utilisation=most), service):
        replicas = offer.replicas(load, streams)
        used = load / (replicas * service.rate)
        assert used <= most * (1 + 1e-6)
        assert service.mean_wait(used, replicas, streams) <= offer.wait * (1 + 1e-6) + 1e-12


def test_offers_trade_load_for_waiting() -> None:
    full, half, single = offers(crossing(), CLOUD_DETECT)
    assert full.load > half.load
    assert full.wait > half.wait > single.wait == 0.0
    assert (full.replicas(41.0, 9), half.replicas(41.0, 9), single.replicas(41.0, 9)) == (2, 3, 9)


def test_settings_below_the_accuracy_or_without_service_are_left_out() -> None:
    problem = crossing()
    assert offer_module.settings(problem, problem.applications[0]) == [SIZE]
    unserved = replace(problem, profiles=replace(problem.profiles, services=(CLOUD_TRACK,)))
    assert offer_module.settings(unserved, unserved.applications[0]) == [
        SIZE,
    ]  # Detect then costs nothing
    (only,) = [each for each in problem.profiles.services if each.setting == setting(size=416)]
    without = replace(problem, profiles=replace(problem.profiles, services=(only, CLOUD_TRACK)))
    assert offer_module.settings(without, without.applications[0]) == []


def test_a_setting_that_is_beaten_in_every_respect_is_left_out() -> None:
    slow = replace(EDGE_DETECT, seconds=0.2, setting=setting(size=416))
    profiles = Profiles((EDGE_DETECT, slow), (), (Accuracy(0.4),))
    problem = crossing(profiles=profiles)
    application = problem.applications[0]
    assert offer_module.settings(problem, application) == [SIZE]
    larger = replace(profiles, outputs=(OutputSize("Detect", 10.0, setting=SIZE),))
    assert len(offer_module.settings(replace(problem, profiles=larger), application)) == 2
    better_known = replace(profiles, accuracies=(Accuracy(0.4), Accuracy(0.5, setting(size=416))))
    assert offer_module.settings(replace(problem, profiles=better_known), application) == [SIZE]
    utility = replace(problem, profiles=better_known, minimize="utility")
    assert len(offer_module.settings(utility, application)) == 2


def test_hosts_are_the_nodes_that_may_have_a_stage() -> None:
    problem = crossing()
    (camera,) = problem.classes
    stages = {stage.name: stage for stage in problem.applications[0].stages}
    assert hosts(problem, camera, stages["video"], SIZE) == [(0, None)]
    assert hosts(problem, camera, stages["Detect"], SIZE) == [
        (0, EDGE_DETECT),
        (1, CLOUD_DETECT),
        (2, CLOUD_DETECT),
    ]
    pinned = replace(stages["Detect"], tier="edge")
    assert hosts(problem, camera, pinned, SIZE) == [(0, EDGE_DETECT)]
    fast = replace(camera, fps=30.0)
    keyed = replace(stages["Detect"], keyed=True)
    assert [node for node, _ in hosts(replace(problem, classes=(fast,)), fast, keyed, SIZE)] == [1, 2]


def test_ways_that_would_be_too_late_are_left_out() -> None:
    problem = crossing()
    (camera,) = problem.classes
    delays = path_delays(problem.cluster, problem.certainty)

    def nodes(limit: float) -> set[int] | None:
        goal = replace(problem.applications[0], latency=limit)
        found = options_in_time(replace(problem, applications=(goal,)), camera, SIZE, delays)
        return None if found is None else {node for node, _ in found.options["Detect"]}

    assert nodes(float("inf")) == {0, 1, 2}
    assert nodes(0.12) == {0, 1}  # 100 ms at the edge, 40 + 20 ms and two links to the server
    assert nodes(0.10) == {1}
    assert nodes(0.05) is None
