"""Idle power: whole for a node that is used at all, by the reserved share where others use the node too."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from flowedge.planner.display.text import node_loads
from flowedge.planner.exact.exact import exact
from flowedge.planner.model.checker import violations
from flowedge.planner.model.cluster import Cluster, Link, Node, Power
from flowedge.planner.model.plan import Deployment, Placement, Plan, Route
from flowedge.planner.model.prediction import predict
from flowedge.planner.model.problem import Application, CameraClass, Problem, Stage
from flowedge.planner.model.profiles import Profiles, Service
from flowedge.planner.solver.insertion import insert_all
from flowedge.planner.solver.local_search import shift_stages
from flowedge.planner.solver.rounding import resource_prices
from flowedge.planner.solver.solve import flowedge
from tests.planner.solver.partial_plans import empty, held, put, solved
from tools.planner_instances import instance

DETECT, TRACK = Service("Detect", "pi", 1, 0.01), Service("Track", "pi", 1, 0.01)


def pair(*, shared: bool = False, cores: float = 4, idle: float = 5.0) -> Problem:
    """Two equal machines beside each other, and a detector and a tracker that take a core each."""
    power = Power(idle=idle, shared=shared)
    nodes = tuple(Node(name, "edge", "pi", cores, power=power) for name in ("left", "right"))
    stages = (Stage("video", source=True), Stage("Detect", ("video",)), Stage("Track", ("Detect",)))
    return Problem(
        Cluster(("edge",), nodes, (Link("left", "right", 1e9, 0.001),)),
        (Application("app", stages, latency=1.0),),
        (CameraClass("l", "app", "left", 5), CameraClass("r", "app", "right", 5)),
        Profiles((DETECT, TRACK)),
        "energy",
    )


def spread(problem: Problem) -> Plan:
    """Detection on one machine and tracking on the other."""
    places = (Placement("video", "left"), Placement("Detect", "left", 0), Placement("Track", "right", 1))
    right = (replace(places[0], node="right"), *places[1:])
    return Plan(
        "by hand",
        (Deployment("Detect", "left", DETECT), Deployment("Track", "right", TRACK)),
        (Route("l", 1, (), places), Route("r", 1, (), right)),
    )


def test_two_cheap_replicas_on_two_machines_cost_two_idle_powers() -> None:
    problem = pair()
    prediction = predict(problem, spread(problem))
    assert prediction.watts == prediction.value == 10.0
    assert [each.watts for each in node_loads(problem, spread(problem)).values()] == [5.0, 5.0]


def test_on_machines_that_others_share_they_cost_their_shares() -> None:
    problem = pair(shared=True)
    assert predict(problem, spread(problem)).value == pytest.approx(2 * 5.0 / 4)


def test_other_objectives_count_shares_all_the_same() -> None:
    problem = replace(pair(), minimize="resources")
    assert predict(problem, spread(problem)).value == pytest.approx(2 / 4)


@pytest.mark.parametrize("planned", [flowedge, exact])
def test_all_is_packed_on_one_machine(planned: Callable[[Problem], Plan]) -> None:
    problem = pair()
    plan = planned(problem)
    assert violations(problem, plan) == ()
    assert len({each.node for each in plan.deployments}) == 1
    assert plan.value == pytest.approx(5.0)
    assert plan.bound == pytest.approx(5.0, rel=1e-3)


def test_a_machine_that_is_too_small_needs_another() -> None:
    plan = flowedge(pair(cores=1))
    assert plan.value == pytest.approx(10.0)
    assert plan.bound == pytest.approx(10.0, rel=1e-3)


def test_the_relaxation_counts_whole_machines_where_groups_are_few() -> None:
    _, relaxed = solved(pair())
    assert relaxed.bound == pytest.approx(5.0, rel=1e-4)


def test_memory_and_cores_together_are_not_counted_twice() -> None:
    # The shares of the scarcest resource add up to 1.8, but the machine's idle power is paid once.
    problem = pair()
    nodes = tuple(replace(node, cores=10, memory=10.0) for node in problem.cluster.nodes)
    services = (replace(DETECT, cores=9, memory=1.0), replace(TRACK, cores=1, memory=9.0))
    problem = replace(
        problem, cluster=replace(problem.cluster, nodes=nodes), profiles=Profiles(services), theta=0.0
    )
    _, relaxed = solved(problem)
    plan = flowedge(problem)
    assert plan.value == pytest.approx(5.0)
    assert relaxed.bound <= 5.0 + 1e-6


def test_a_shift_closes_a_machine() -> None:
    master, _ = solved(pair())
    partial = empty(master)
    put(partial, master, 1, {"Detect": "left", "Track": "right"})
    assert partial.value == pytest.approx(10.0)
    shift_stages(partial)
    assert partial.value == pytest.approx(5.0)
    assert len({node for _, node in held(partial)}) == 1
    for assignment in partial.all():
        partial.remove(assignment)
    assert partial.value == pytest.approx(0.0)


def test_insertion_opens_a_machine_once_for_all_stages() -> None:
    # Each stage beside its camera would open a machine; the second group comes to the one that is used.
    master, relaxed = solved(pair())
    partial = empty(master)
    assert not insert_all(partial, master, [(0, 1), (1, 1)], resource_prices(master, relaxed))
    assert partial.value == pytest.approx(5.0)


@settings(max_examples=6, deadline=None)
@given(seed=st.integers(1000, 10**6))
def test_bounds_are_below_plans_on_random_problems(seed: int) -> None:
    problem, planted = instance(seed, nodes=3 + seed % 4, operators=3 + seed % 3, shared=False)
    problem = replace(problem, minimize="energy")
    planted = replace(planted, value=predict(problem, planted).value)
    plan, best = flowedge(problem, effort=0.15), exact(problem, planted, time_limit=1)
    _, relaxed = solved(problem)
    assert violations(problem, plan) == violations(problem, best) == ()
    least = min(plan.value, best.value, planted.value)
    for bound in (plan.bound, best.bound, relaxed.bound):
        assert bound is not None
        assert bound <= least * (1 + 1e-6)
