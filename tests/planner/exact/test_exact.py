"""The exact strategy: optima counted by hand, bounds, proofs that there is no plan, and sizes of replicas."""

from __future__ import annotations

import functools
import itertools
import math
from dataclasses import replace
from operator import itemgetter
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from flowedge.planner.exact.exact import _waiting, exact, polished
from flowedge.planner.model.checker import violations
from flowedge.planner.model.cluster import Cluster
from flowedge.planner.model.plan import Deployment, Plan, Route
from flowedge.planner.model.prediction import predict, valued
from flowedge.planner.model.problem import Problem, Stage
from flowedge.planner.model.profiles import Service
from flowedge.planner.options.delays import path_delays
from flowedge.planner.options.offers import hosts, offers
from flowedge.planner.options.offers import settings as choices
from flowedge.planner.options.routes import Place, RouteOption, assemble
from tests.planner.crossing import CLOUD_DETECT, CLOUD_TRACK, EDGE_DETECT, SIZE, crossing, placements, plan
from tools.planner_instances import instance

Combination = tuple[RouteOption, ...]


@functools.cache
def combinations(minimize: str, accuracy: float | None) -> list[tuple[float, Combination]]:
    """Every way of every camera, the least value first; a goal of latency changes none of the values."""
    problem = crossing(minimize=minimize, goals={} if accuracy is None else {"accuracy": accuracy})
    (camera,) = problem.classes
    application = problem.applications[0]
    ways = []
    for chosen in choices(problem, application):
        able: list[list[Place]] = []
        for stage in application.stages:
            if problem.profiles.free(stage.name):
                able.append([Place(stage.name, camera.node)])
                continue
            able.append(
                [
                    Place(stage.name, problem.cluster.nodes[node].name, offer)
                    for node, service in hosts(problem, camera, stage, chosen)
                    if service
                    for offer in offers(problem, service)
                ]
            )
        ways += [RouteOption(camera.name, chosen, places) for places in itertools.product(*able)]
    combined = itertools.combinations_with_replacement(ways, camera.count)
    return sorted(((assembled(problem, each).value, each) for each in combined), key=itemgetter(0))


def assembled(problem: Problem, combination: Combination) -> Plan:
    return assemble(problem, "all", [(column, 1) for column in combination])


def least_value(minimize: str, goals: dict[str, float]) -> float:
    """The least value of all plans, by trying every way of every camera; infinite where none is valid."""
    problem = crossing(minimize=minimize, goals=goals)
    for value, combination in combinations(minimize, goals.get("accuracy")):
        made = assembled(problem, combination)
        assert made.value == value
        if not violations(problem, made):
            return value
    return math.inf


@pytest.mark.parametrize("minimize", ["energy", "resources", "cost"])
@pytest.mark.parametrize(
    "goals", [{}, {"accuracy": 0.2}, {"latency": 0.15}, {"accuracy": 0.2, "latency": 0.12}]
)
def test_the_optimum_is_that_of_trying_everything(minimize: str, goals: dict[str, float]) -> None:
    problem = crossing(minimize=minimize, goals=goals)
    found = exact(problem)
    assert violations(problem, found) == ()
    assert found.value == pytest.approx(least_value(minimize, goals), rel=1e-3, abs=1e-6)
    assert found.bound is not None
    assert found.bound <= found.value + 1e-6


def test_cameras_of_one_class_are_divided_where_one_node_is_too_small() -> None:
    problem = crossing()
    narrow = tuple(replace(node, cores=5) if node.tier == "cloud" else node for node in problem.cluster.nodes)
    crowd = replace(
        problem,
        cluster=Cluster(
            problem.cluster.tiers, narrow, tuple(replace(each, bandwidth=1e9) for each in problem.cluster.links)
        ),
        classes=(replace(problem.classes[0], count=14),),
    )
    found = exact(crowd)
    assert violations(crowd, found) == ()
    assert len({each.node for each in found.deployments if each.operator == "Detect"}) > 1
    assert found.gap is not None
    assert found.gap < 1e-3


def test_a_start_that_is_valid_is_never_lost() -> None:
    problem = crossing()
    found = exact(problem, plan())
    assert found.value <= plan().value
    assert found.strategy == "exact"


@settings(max_examples=8, deadline=None)
@given(st.integers(0, 10_000))
def test_small_random_problems_are_solved_and_more_room_is_never_worse(seed: int) -> None:
    problem, planted = instance(seed, operators=4, nodes=4)
    found = exact(problem, planted, time_limit=5.0)
    assert violations(problem, found) == ()
    assert found.value <= planted.value
    roomy = tuple(replace(node, cores=2 * node.cores, memory=2 * node.memory) for node in problem.cluster.nodes)
    if problem.minimize == "utility":  # else a share of a larger node is another one
        larger = replace(problem, cluster=Cluster(problem.cluster.tiers, roomy, problem.cluster.links))
        assert exact(larger, found, time_limit=5.0).value <= found.value + 1e-9


def pinned(tier: str) -> Problem:
    problem = crossing()
    stages = tuple(
        replace(each, tier=tier if each.name == "Detect" else None) for each in problem.applications[0].stages
    )
    return replace(problem, applications=(replace(problem.applications[0], stages=stages),))


def machines(**changes: Any) -> Cluster:
    cluster = crossing().cluster
    return Cluster(cluster.tiers, tuple(replace(node, **changes) for node in cluster.nodes), cluster.links)


@pytest.mark.parametrize(
    ("problem", "conflict"),
    [
        (
            crossing(goals={"latency": 0.05}),
            ("link pi - server: 10 Mbit/s", "people: latency at most 0.05 s"),
        ),
        (crossing(goals={"accuracy": 0.9}), ("people: accuracy at least 0.9",)),
        (
            replace(pinned("edge"), classes=(replace(crossing().classes[0], count=8),)),
            (
                "pi: 4 cores, 0 GPUs, 3.73 GiB",
                "people: Detect is pinned to edge",
                "people: accuracy at least 0.3",
            ),
        ),
    ],
)
def test_the_conflict_is_named_and_minimal(problem: Problem, conflict: tuple[str, ...]) -> None:
    found = exact(problem)
    assert not found.found
    assert found.reason is not None
    assert found.reason.proven
    assert found.reason.conflict == conflict


def test_an_operator_that_no_machine_can_run_is_named() -> None:
    found = exact(replace(crossing(), cluster=machines(kind="abacus")))
    assert found.reason is not None
    assert found.reason.proven
    assert "people: Detect has no profile for any kind of node that is there" in found.reason.conflict


def test_an_operator_that_costs_nothing_is_no_cause() -> None:
    problem = replace(crossing(), cluster=machines(kind="abacus"))
    draw = Service("Draw", "pi", 1, 1e-6)
    profiles = replace(problem.profiles, services=(*problem.profiles.services, draw))
    found = exact(replace(problem, profiles=profiles))
    assert found.reason is not None
    assert not any("Draw" in each for each in found.reason.conflict)


def test_no_programme_is_begun_when_the_time_is_over() -> None:
    problem, delays = crossing(), path_delays(crossing().cluster, crossing().certainty)
    assert list(_waiting(problem, delays, 10.0, math.inf))
    assert not list(_waiting(problem, delays, 10.0, -math.inf))


def test_links_carry_no_more_than_they_can() -> None:
    problem = crossing(classes=(replace(crossing().classes[0], count=3),))
    links = replace(problem.cluster.links[0], bandwidth=4.5e6), problem.cluster.links[1]
    thin = replace(problem, cluster=Cluster(problem.cluster.tiers, problem.cluster.nodes, links))
    found = exact(thin)
    assert violations(thin, found) == ()
    assert {each.service for each in found.deployments if each.operator == "Detect"} >= {EDGE_DETECT}
    assert CLOUD_DETECT.setting == SIZE


def test_a_singleton_is_one() -> None:
    problem = crossing(classes=(replace(crossing().classes[0], count=4),))
    stages = tuple(replace(each, singleton=each.name == "Track") for each in problem.applications[0].stages)
    single = replace(problem, applications=(replace(problem.applications[0], stages=stages),))
    found = exact(single)
    assert violations(single, found) == ()
    assert sum(each.replicas for each in found.deployments if each.operator == "Track") == 1
    assert Stage("Track", ("Detect",), keyed=True, singleton=True) in stages


def test_replicas_that_nobody_would_miss_go() -> None:
    heavy = valued(
        crossing(),
        plan(deployments=(replace(plan().deployments[0]), replace(plan().deployments[1], replicas=2))),
    )
    assert violations(crossing(), heavy) == ()
    assert polished(crossing(), heavy) == plan()


def test_equal_deployments_become_one() -> None:
    apart = valued(
        crossing(),
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
        ),
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
    assert violations(problem, valued(problem, plan())) != ()
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
