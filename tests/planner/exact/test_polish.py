"""Replicas set to what waits really need."""

from __future__ import annotations

from dataclasses import replace

from hypothesis import given, settings
from hypothesis import strategies as st

from flowedge.planner.exact.polish import polished
from flowedge.planner.model.checker import violations
from flowedge.planner.model.plan import Deployment, Plan, Route
from flowedge.planner.model.prediction import predict
from tests.planner.crossing import CLOUD_DETECT, CLOUD_TRACK, SIZE, crossing, placements, plan
from tools.planner_instances import instance


def valued(made: Plan, **goals: float) -> Plan:
    return replace(made, value=predict(crossing(goals=goals), made).value)


def test_replicas_that_nobody_would_miss_go() -> None:
    heavy = valued(
        plan(deployments=(replace(plan().deployments[0]), replace(plan().deployments[1], replicas=2)))
    )
    assert violations(crossing(), heavy) == ()
    assert polished(crossing(), heavy) == plan()


def test_equal_deployments_become_one() -> None:
    apart = valued(
        Plan(
            "by hand",
            (
                *[Deployment("Detect", "server", CLOUD_DETECT)] * 1,
                Deployment("Track", "server", CLOUD_TRACK),
                Deployment("Track", "server", CLOUD_TRACK),
            ),
            (
                Route("north", 1, SIZE, placements(("server", 0), ("server", 1))),
                Route("north", 1, SIZE, placements(("server", 0), ("server", 2))),
            ),
        )
    )
    assert violations(crossing(), apart) == ()
    found = polished(crossing(), apart)
    assert violations(crossing(), found) == ()
    assert found.deployments == plan().deployments
    assert [[each.deployment for each in route.placements] for route in found.routes] == [
        [None, 0, 1, None]
    ] * 2


def test_replicas_come_where_frames_wait_too_long() -> None:
    alone = predict(crossing(), plan()).latencies[0]
    goal = alone.service + alone.network + alone.waiting / 2
    problem = crossing(goals={"latency": goal})
    roomy = tuple(replace(node, cores=2 * node.cores) for node in problem.cluster.nodes)
    cluster = replace(problem.cluster, nodes=roomy)
    problem = replace(problem, cluster=cluster)
    assert violations(problem, plan(value=predict(problem, plan()).value)) != ()
    found = polished(problem, plan())
    assert violations(problem, found) == ()
    assert [each.replicas for each in found.deployments] == [2, 1]


def test_what_replicas_cannot_mend_stays_invalid() -> None:
    problem = crossing(goals={"latency": 0.01})
    assert violations(problem, polished(problem, plan())) != ()


@settings(max_examples=30, deadline=None)
@given(st.integers(0, 10_000))
def test_a_valid_plan_stays_valid_and_is_never_worse(seed: int) -> None:
    problem, planted = instance(seed)
    found = polished(problem, planted)
    assert violations(problem, found) == ()
    assert found.value <= planted.value
