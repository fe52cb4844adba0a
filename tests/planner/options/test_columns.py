"""What strategies are built from: offers, settings, the network, columns and their plans."""

from __future__ import annotations

from dataclasses import replace

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from flowedge.planner.model.plan import Plan, Reason
from flowedge.planner.model.prediction import path_seconds, predict
from flowedge.planner.model.problem import Stage
from flowedge.planner.model.profiles import Accuracy, Output, Profiles, Service, setting
from flowedge.planner.model.queueing import wait
from flowedge.planner.options import columns
from flowedge.planner.options.columns import (
    Column,
    Offer,
    Place,
    assemble,
    better,
    hosts,
    latency,
    network,
    offers,
)
from flowedge.planner.options.deadlines import reach
from tests.planner.crossing import CLOUD_DETECT, CLOUD_TRACK, EDGE_DETECT, SIZE, crossing, plan
from tools.planner_instances import instance

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
        found = wait(used, seconds, service.deviation, replicas, streams)
        assert found <= offer.wait * (1 + 1e-6) + 1e-12


def test_offers_trade_load_for_waiting() -> None:
    full, half, single = offers(crossing(), CLOUD_DETECT)
    assert full.load > half.load
    assert full.wait > half.wait > single.wait == 0.0
    assert (full.replicas(41.0, 9), half.replicas(41.0, 9), single.replicas(41.0, 9)) == (2, 3, 9)


def test_settings_below_the_accuracy_or_without_service_are_left_out() -> None:
    problem = crossing()
    assert columns.settings(problem, problem.applications[0]) == [SIZE]
    unserved = replace(problem, profiles=replace(problem.profiles, services=(CLOUD_TRACK,)))
    assert columns.settings(unserved, unserved.applications[0]) == [
        SIZE,
    ]  # Detect then costs nothing
    (only,) = [each for each in problem.profiles.services if each.setting == setting(size=416)]
    without = replace(problem, profiles=replace(problem.profiles, services=(only, CLOUD_TRACK)))
    assert columns.settings(without, without.applications[0]) == []


def test_a_setting_that_is_beaten_in_every_respect_is_left_out() -> None:
    slow = replace(EDGE_DETECT, seconds=0.2, setting=setting(size=416))
    profiles = Profiles((EDGE_DETECT, slow), (), (Accuracy(0.4),))
    problem = crossing(profiles=profiles)
    application = problem.applications[0]
    assert columns.settings(problem, application) == [SIZE]
    larger = replace(profiles, outputs=(Output("Detect", 10.0, setting=SIZE),))
    assert len(columns.settings(replace(problem, profiles=larger), application)) == 2
    better_known = replace(profiles, accuracies=(Accuracy(0.4), Accuracy(0.5, setting(size=416))))
    assert columns.settings(replace(problem, profiles=better_known), application) == [SIZE]
    utility = replace(problem, profiles=better_known, minimize="utility")
    assert len(columns.settings(utility, application)) == 2


def test_a_service_that_another_replaces_is_left_out() -> None:
    stage = Stage("Detect", ("video",))
    greedy = replace(EDGE_DETECT, cores=3)
    quick = replace(EDGE_DETECT, cores=3, seconds=0.05)
    problem = crossing(profiles=Profiles((greedy, EDGE_DETECT, quick)))
    assert columns.services(problem, stage, SIZE) == [EDGE_DETECT, quick]


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


@settings(max_examples=20, deadline=None)
@given(st.integers(0, 10_000))
def test_the_network_is_what_paths_take(seed: int) -> None:
    problem, _ = instance(seed)
    net = network(problem.cluster, problem.certainty)
    names = [node.name for node in problem.cluster.nodes]
    seconds = net.seconds(1e4)
    for a in range(0, len(names), 3):
        for b in range(0, len(names), 4):
            assert seconds[a, b] == pytest.approx(path_seconds(problem, names[a], names[b], 1e4))


def test_where_no_way_leads_the_network_is_infinite() -> None:
    problem = crossing()
    net = network(replace(problem.cluster, links=()), 2.0)
    assert net.seconds(0.0)[0, 1] == float("inf")
    assert net.seconds(10.0)[1, 1] == 0.0


def column(offer: Offer) -> Column:
    places = (Place("video", "pi"), Place("Detect", "server", offer), Place("Track", "server", TRACK))
    return Column("north", SIZE, (*places, Place("Draw", "pi")))


TRACK = offers(crossing(), CLOUD_TRACK)[0]


@settings(max_examples=60, deadline=None)
@given(st.integers(0, 10_000))
def test_a_plan_of_columns_is_never_slower_than_they_are(seed: int) -> None:
    problem, planted = instance(seed)
    assert predict(problem, planted).latencies
    assert max(each.total for each in predict(problem, planted).latencies) <= problem.applications[0].latency


def test_a_plan_has_the_fewest_replicas_that_keep_the_offers() -> None:
    problem = crossing()
    full, _, single = offers(problem, CLOUD_DETECT)
    net = network(problem.cluster, problem.certainty)
    together = assemble(problem, "test", [(column(full), 1), (column(full), 1)])
    assert [(each.operator, each.replicas) for each in together.deployments] == [("Detect", 1), ("Track", 1)]
    assert [route.cameras for route in together.routes] == [2]
    assert together.value == plan().value
    apart = assemble(problem, "test", [(column(single), 2)])
    assert [each.replicas for each in apart.deployments] == [2, 1]
    for chosen, made in ((full, together), (single, apart)):
        (predicted,) = predict(problem, made).latencies
        assert predicted.total <= latency(problem, problem.applications[0], column(chosen), net)
    mixed = assemble(problem, "test", [(column(full), 1), (column(single), 1)])
    assert len(mixed.deployments) == 3


def test_the_plan_in_force_stays_where_it_is_valid_and_better() -> None:
    problem = crossing()
    worse = replace(plan(), deployments=(replace(plan().deployments[0], replicas=1), plan().deployments[1]))
    wasteful = replace(plan(), value=80.0)
    assert better(problem, wasteful, worse).value == plan().value
    assert better(problem, wasteful, worse).strategy == wasteful.strategy
    nothing = Plan("test", reason=Reason(("no time",), proven=False))
    assert better(problem, nothing, plan()).routes == plan().routes
    assert better(problem, nothing, None) is nothing
    assert better(problem, nothing, nothing) is nothing
    assert better(crossing(goals={"latency": 0.01}), nothing, plan()) is nothing
    assert better(problem, replace(wasteful, value=1.0), plan()).value == 1.0
    elsewhere = replace(plan(), routes=(replace(plan().routes[0], camera_class="gone"),))
    assert better(problem, nothing, elsewhere) is nothing


def test_ways_that_would_be_too_late_are_left_out() -> None:
    problem = crossing()
    (camera,) = problem.classes
    net = network(problem.cluster, problem.certainty)

    def nodes(limit: float) -> set[int] | None:
        goal = replace(problem.applications[0], latency=limit)
        found = reach(replace(problem, applications=(goal,)), camera, SIZE, net)
        return None if found is None else {node for node, _ in found.ways["Detect"]}

    assert nodes(float("inf")) == {0, 1, 2}
    assert nodes(0.12) == {0, 1}  # 100 ms at the edge, 40 + 20 ms and two links to the server
    assert nodes(0.10) == {1}
    assert nodes(0.05) is None
