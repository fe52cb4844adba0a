"""The default strategy: its plans hold, are near the optimum, and say what cannot be."""

from __future__ import annotations

import itertools
from dataclasses import replace

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from flowedge.planner.exact.exact import exact
from flowedge.planner.model.checker import violations
from flowedge.planner.model.cluster import Cluster, Link, Node, Power
from flowedge.planner.model.prediction import predict
from flowedge.planner.model.problem import Application, CameraClass, Objective, Problem, Stage
from flowedge.planner.model.profiles import Accuracy, OutputSize, Profiles, Service, setting
from flowedge.planner.options.delays import path_delays
from flowedge.planner.solver.column_generation import ColumnGeneration
from flowedge.planner.solver.instance import configurations, group_cameras
from flowedge.planner.solver.solve import flowedge
from flowedge.planner.solver.tuning import Budget
from tests.planner.small import small
from tools.bench.planner import instance as city
from tools.planner_instances import instance

LITTLE = 0.15  # effort that keeps the tests quick


def where(problem: Problem) -> set[str]:
    """The nodes that detect."""
    return {each.node for each in flowedge(problem, effort=LITTLE).deployments}


def test_takes_the_cheapest_node() -> None:
    plan = flowedge(small(), effort=LITTLE)
    assert [(each.node, each.replicas) for each in plan.deployments] == [("near", 1)]
    assert plan.value == pytest.approx(1.0)


def test_latency_sends_it_away() -> None:
    # 50 ms beside the camera are too late; 20 ms + 1 ms + 10 ms are not.
    assert where(small(latency=0.04)) == {"far"}


def test_whole_replicas_are_counted() -> None:
    # Near, a replica takes 16 frames/s for 1 W and there are four; far, it takes 80 for 10 W.
    assert where(small(fps=10, count=6)) == {"near"}
    assert where(small(fps=10, count=7)) == {"far"}
    assert where(small(fps=10, count=9)) == {"near", "far"}


def test_a_full_link_keeps_it_near() -> None:
    problem = replace(small(latency=0.2), minimize="resources")
    narrow = Cluster(problem.cluster.tiers, problem.cluster.nodes, (Link("near", "far", 7.9e4, 0.02),))
    assert where(problem) == {"far"}
    assert where(replace(problem, cluster=narrow)) == {"near"}


def test_too_late_everywhere_is_proven() -> None:
    plan = flowedge(small(latency=0.02), effort=LITTLE)
    assert plan.reason is not None
    assert plan.reason.proven
    assert any("latency" in each for each in plan.reason.conflict)


def test_too_many_cameras_is_proven() -> None:
    plan = flowedge(small(count=700), effort=LITTLE)
    assert plan.reason is not None
    assert plan.reason.proven
    assert any("near" in each or "link" in each for each in plan.reason.conflict)


def test_same_seed_same_plan() -> None:
    problem, _ = instance(22)
    assert flowedge(problem, effort=LITTLE) == flowedge(problem, effort=LITTLE)


def test_classes_of_one_group_share_a_plan() -> None:
    problem = small(count=3)
    camera = problem.classes[0]
    twins = replace(problem, classes=(replace(camera, name="a", count=1), replace(camera, name="b", count=2)))
    plan = flowedge(twins, effort=LITTLE)
    assert not violations(twins, plan)
    assert plan.value == pytest.approx(flowedge(problem, effort=LITTLE).value)


@pytest.mark.parametrize("cores", [4, 1])
def test_a_replica_is_shared_by_applications_of_other_goals(cores: float) -> None:
    # The better model does for both; alone, the application of the lower goal would take the cheaper one.
    stages = Stage("video", source=True), Stage("Detect", ("video",))
    low, high = setting(size=416), setting(size=640)
    problem = Problem(
        Cluster(("edge",), (Node("box", "edge", "pi", cores),)),
        tuple(
            Application(name, stages, (("size", (416, 640)),), accuracy=accuracy)
            for name, accuracy in (("low", 0.5), ("high", 0.9))
        ),
        (CameraClass("a", "low", "box", 5), CameraClass("b", "high", "box", 5)),
        Profiles(
            (Service("Detect", "pi", 1, 0.05, setting=high), Service("Detect", "pi", 1, 0.02, setting=low)),
            accuracies=(Accuracy(0.95, high), Accuracy(0.6, low)),
        ),
        "resources",
    )
    plan = flowedge(problem, effort=LITTLE)
    assert plan.value == pytest.approx(1 / cores)
    assert plan.bound == pytest.approx(1 / cores, rel=1e-4)
    assert exact(problem).value == pytest.approx(1 / cores)


def test_many_give_way_to_one_that_needs_their_whole_node() -> None:
    mine = Stage("video", source=True), Stage("A", ("video",))
    other = Stage("other", source=True), Stage("B", ("other",))
    nodes = (
        Node("cheap", "edge", "pi", 20, power=Power(core=1)),
        Node("dear", "edge", "xeon", 100, power=Power(core=100)),
    )
    problem = Problem(
        Cluster(("edge",), nodes, (Link("cheap", "dear", 1e9, 0.001),)),
        (Application("a", mine), Application("b", other)),
        (CameraClass("many", "a", "cheap", 8, 20), CameraClass("one", "b", "cheap", 8)),
        Profiles((Service("A", "pi", 1, 0.1), Service("A", "xeon", 1, 0.1), Service("B", "pi", 20, 0.1))),
        "energy",
    )
    assert flowedge(problem).value == pytest.approx(1616.0)


def test_the_only_machine_is_far_away_in_a_large_network() -> None:
    nodes = (*(Node(f"s{at}", "network", "site", 0) for at in range(69)), Node("dc", "cloud", "xeon", 64))
    links = [Link(a.name, b.name, 1e9, 0.001) for a, b in itertools.pairwise(nodes)]
    problem = Problem(
        Cluster(("network", "cloud"), nodes, tuple(links)),
        (Application("app", (Stage("video", source=True), Stage("A", ("video",)))),),
        (CameraClass("c", "app", "s0", 5, 2),),
        Profiles((Service("A", "xeon", 1, 0.01),)),
        "resources",
    )
    assert flowedge(problem, effort=LITTLE).value == pytest.approx(1 / 64)


def test_a_singleton_is_one_for_many_sites() -> None:
    stages = (
        Stage("video", source=True),
        Stage("Detect", ("video",)),
        Stage("Count", ("Detect",), singleton=True),
    )
    nodes = tuple(Node(f"n{at}", "edge", "pi", 4, power=Power(idle=4, core=1, shared=True)) for at in range(55))
    links = tuple(Link("n0", node.name, 1e7, 0.005) for node in nodes[1:])
    problem = Problem(
        Cluster(("edge",), nodes, links),
        (Application("app", stages, latency=0.5),),
        tuple(CameraClass(f"c{at}", "app", node.name, 5 + at % 3) for at, node in enumerate(nodes)),
        Profiles(
            (Service("Detect", "pi", 1, 0.03), Service("Count", "pi", 0.5, 0.002)),
            (OutputSize("video", 8000), OutputSize("Detect", 1000)),
        ),
    )
    plan = flowedge(problem)
    assert plan.found
    assert not violations(problem, plan)


def test_two_sources_are_bounded_as_one_is() -> None:
    stages = (Stage("a", source=True), Stage("b", source=True), Stage("Pair", ("a", "b")))
    problem = replace(
        small(),
        applications=(Application("app", stages),),
        profiles=Profiles((Service("Pair", "pi", 1, 0.01), Service("Pair", "xeon", 1, 0.01))),
    )
    plan = flowedge(problem, effort=LITTLE)
    assert plan.gap == pytest.approx(0.0, abs=1e-4)


def test_a_start_that_cannot_keep_up_any_more_does_no_harm() -> None:
    problem = small(fps=10, latency=10.0)
    stages = tuple(replace(each, keyed=not each.source) for each in problem.applications[0].stages)
    keyed = replace(problem, applications=(replace(problem.applications[0], stages=stages),))
    faster = replace(keyed, classes=(replace(keyed.classes[0], fps=40),))
    before = flowedge(keyed, effort=LITTLE)
    assert {each.node for each in before.deployments} == {"near"}
    assert {each.node for each in flowedge(faster, before, effort=LITTLE).deployments} == {"far"}


def test_without_cameras_there_is_nothing_to_do() -> None:
    plan = flowedge(replace(small(), classes=()))
    assert plan.found
    assert plan.value == 0


@settings(max_examples=12, deadline=None)
@given(seed=st.integers(1000, 10**6))
def test_no_plan_fails_the_checker(seed: int) -> None:
    problem, _ = instance(seed, nodes=3 + seed % 13, operators=3 + seed % 5)
    plan = flowedge(problem, effort=LITTLE)
    assert not violations(problem, plan)
    if plan.found:
        assert plan.value == pytest.approx(predict(problem, plan).value)
        assert plan.bound is not None
        assert plan.bound <= plan.value + 1e-6 * abs(plan.value)
    else:  # each of these has a plan
        assert plan.reason is not None
        assert not plan.reason.proven


@settings(max_examples=6, deadline=None)
@given(seed=st.integers(1000, 10**6), more=st.floats(1.0, 3.0))
def test_more_capacity_is_never_worse(seed: int, more: float) -> None:
    problem, _ = instance(seed, nodes=3 + seed % 9, operators=3 + seed % 4)
    problem = replace(problem, minimize="energy")
    before = flowedge(problem, effort=LITTLE)
    # Idle power is per share, so a larger machine has as much more of it.
    grown = tuple(
        replace(node, cores=node.cores * more, memory=node.memory * more, gpu=node.gpu * more)
        for node in problem.cluster.nodes
    )
    larger = replace(problem, cluster=Cluster(problem.cluster.tiers, grown, problem.cluster.links))
    after = flowedge(larger, before, effort=LITTLE)
    if before.found:
        assert after.found
        assert after.value <= before.value * (1 + 1e-9)
        assert not violations(larger, after)


@pytest.mark.parametrize("seed", [2, 7, 18, 20])
def test_is_near_the_exact_optimum(seed: int) -> None:
    problem, _ = instance(seed)
    best = exact(problem, time_limit=10)
    assert flowedge(problem).value <= best.value + 0.01 * abs(best.value)


@pytest.mark.parametrize("seed", [3, 5, 9])
def test_the_relaxation_is_below_every_plan(seed: int) -> None:
    problem, planted = instance(seed)
    delays = path_delays(problem.cluster, problem.certainty)
    groups, of = group_cameras(problem)
    found = ColumnGeneration(problem, delays, configurations(problem, delays), groups, of).solve(Budget(1e9))
    assert found.missing == pytest.approx(0, abs=1e-6)
    assert found.bound <= planted.value
    assert found.value == pytest.approx(found.bound, rel=2e-3)


def test_a_city_is_planned_within_its_bound() -> None:
    problem = city(60, 15, 600)
    plan = flowedge(problem)
    assert not violations(problem, plan)
    assert plan.gap is not None
    assert plan.gap < 0.05


@pytest.mark.parametrize("minimize", ["energy", "resources", "cost"])
@pytest.mark.parametrize("seed", [2, 4, 7])
def test_the_bound_holds_on_machines_of_any_size(seed: int, minimize: Objective) -> None:
    # A replica then is 1e-8 of a node: far below the solver's tolerances, which are absolute.
    problem, _ = instance(seed)
    large = tuple(
        replace(node, cores=node.cores * 1e8, gpu=node.gpu * 1e8, memory=node.memory * 1e8)
        for node in problem.cluster.nodes
    )
    problem = replace(problem, cluster=replace(problem.cluster, nodes=large), minimize=minimize)
    plan = flowedge(problem, effort=LITTLE)
    assert plan.bound is not None
    assert plan.bound <= plan.value * (1 + 1e-6)
    assert not violations(problem, plan)
