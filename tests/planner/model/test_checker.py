"""The checker: nothing against valid plans, and something against each way to break one."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from flowedge.planner.model.checker import better, violations
from flowedge.planner.model.cluster import Cluster
from flowedge.planner.model.plan import Deployment, Placement, Plan, Reason, Route
from flowedge.planner.model.prediction import predict
from flowedge.planner.model.problem import Problem, Stage
from flowedge.planner.model.profiles import setting
from tests.planner.crossing import (
    CLOUD_DETECT,
    EDGE_DETECT,
    EDGE_TRACK,
    SIZE,
    SMALL_DETECT,
    crossing,
    placements,
    plan,
)
from tools.planner_instances import instance


def detects(**changes: Any) -> tuple[Deployment, ...]:
    return replace(plan().deployments[0], **changes), plan().deployments[1]


def tracks(**changes: Any) -> tuple[Deployment, ...]:
    return plan().deployments[0], replace(plan().deployments[1], **changes)


def routed(**changes: Any) -> tuple[Route, ...]:
    return (replace(plan().routes[0], **changes),)


def test_a_valid_plan_has_nothing_against_it() -> None:
    assert violations(crossing(), plan()) == ()
    assert violations(crossing(), plan(bound=60.0)) == ()


BROKEN: list[tuple[dict[str, Any], str]] = [
    ({"deployments": detects(node="moon")}, "deployment 0: there is no node moon"),
    ({"deployments": detects(node="pi")}, "does not fit on pi"),
    ({"deployments": detects(service=replace(CLOUD_DETECT, seconds=0.001))}, "is a variant without profile"),
    ({"deployments": detects(operator="Null")}, "Null is served as Detect"),
    ({"deployments": detects(replicas=0)}, "deployment 0: 0 replicas"),
    ({"deployments": detects(replicas=1.5)}, "deployment 0: 1.5 replicas"),
    ({"deployments": detects(replicas=3)}, "server: 13 cores are taken, it has 8"),
    ({"deployments": tracks(replicas=3)}, "keyed by camera, but 3 replicas are more than its 2 cameras"),
    ({"deployments": (*plan().deployments, Deployment("Nul", "pi", EDGE_TRACK))}, "Nul is served as Track"),
    ({"routes": ()}, "north: 0 of 2 cameras have a route"),
    ({"routes": routed(cameras=1)}, "north: 1 of 2 cameras have a route"),
    ({"routes": routed() * 2}, "north: 4 of 2 cameras have a route"),
    ({"routes": routed(cameras=0) + routed()}, "route 0: 0 cameras of north"),
    ({"routes": routed(cameras=-1) + routed(cameras=3)}, "route 0: -1 cameras of north"),
    ({"routes": routed(camera_class="south")}, "route 0: 2 cameras of south"),
    ({"routes": routed(setting=setting(size=960))}, "the knobs have no values"),
    ({"routes": routed(setting=())}, "the knobs have no values"),
    ({"routes": routed(setting=setting(size=416))}, "its deployment serves"),
    ({"routes": routed(placements=())}, "its placements are not one for each stage, in order"),
    ({"routes": routed(placements=placements(("server", 0), ("server", 1))[::-1])}, "not one for each stage"),
    ({"routes": routed(placements=placements(("moon", 0), ("server", 1)))}, "Detect: there is no node moon"),
    ({"routes": routed(placements=placements(("far", 0), ("server", 1)))}, "is served by Detect on server"),
    ({"routes": routed(placements=placements(("server", 1), ("server", 0)))}, "is served by Track on server"),
    (
        {"routes": routed(placements=placements(("server", None), ("server", 1)))},
        "Detect: is served by no deploy",
    ),
    ({"routes": routed(placements=placements(("server", 7), ("server", 1)))}, "there is no deployment 7"),
    ({"routes": routed(placements=placements(("server", -2), ("server", 1)))}, "there is no deployment -2"),
    ({"value": 60.0}, "the plan says its value is 60, it is 66.75"),
    ({"value": float("nan")}, "the plan says its value is nan"),
    ({"bound": 80.0}, "none is below 80, but its own value is 66.75"),
    ({"reason": Reason(("no time",), proven=False)}, "a plan that was not found deploys something"),
]


@pytest.mark.parametrize(("changes", "sentence"), BROKEN)
def test_a_broken_plan_is_told_what_is_wrong(changes: dict[str, Any], sentence: str) -> None:
    found = violations(crossing(), plan(**changes))
    assert any(sentence in each for each in found), found


def test_sources_and_what_is_free_run_where_they_must() -> None:
    source = placements(("server", 0), ("server", 1))
    moved = (Placement("video", "server"), *source[1:3], Placement("Draw", "server"))
    assert any(
        "its cameras are at pi" in each
        for each in violations(crossing(), plan(routes=routed(placements=moved)))
    )
    strayed = (*source[:3], Placement("Draw", "server"))
    found = violations(crossing(), plan(routes=routed(placements=strayed)))
    assert found == ("route 0 (north): Draw: costs nothing, but is not on pi with its input",)


def changed(change: Callable[[Stage], Stage], **goals: Any) -> Problem:
    problem = crossing()
    application = replace(
        problem.applications[0], stages=tuple(map(change, problem.applications[0].stages)), **goals
    )
    return replace(problem, applications=(application,))


def only(name: str, **changes: Any) -> Callable[[Stage], Stage]:
    return lambda stage: replace(stage, **changes) if stage.name == name else stage


def scaled(**changes: Any) -> Problem:
    """The problem with one machine or link changed."""
    problem = crossing()
    nodes = tuple(replace(each, **changes) if each.name == "server" else each for each in problem.cluster.nodes)
    return replace(problem, cluster=Cluster(problem.cluster.tiers, nodes, problem.cluster.links))


def with_link(**changes: Any) -> Problem:
    problem = crossing()
    links = replace(problem.cluster.links[0], **changes), problem.cluster.links[1]
    return replace(problem, cluster=Cluster(problem.cluster.tiers, problem.cluster.nodes, links))


@pytest.mark.parametrize(
    ("problem", "sentence"),
    [
        (crossing(goals={"latency": 0.05}), "at most 0.05 wanted"),
        (crossing(goals={"accuracy": 0.5}), "accuracy 0.38, 0.5 wanted"),
        (crossing(profiles=replace(crossing().profiles, accuracies=())), "accuracy None, 0.3 wanted"),
        (changed(only("Detect", tier="edge")), "Detect: is on server, which is not in tier edge"),
        (changed(only("Draw", tier="cloud")), "Draw: is on pi, which is not in tier cloud"),
        (scaled(cores=4.5), "server: 5 cores are taken, it has 4.5"),
        (scaled(memory=0.9e9), "does not fit on server"),
        (with_link(bandwidth=3.9e6), "link pi - server: 4e+06 bit/s are sent, it carries 3.9e+06"),
        (crossing(utilisation=0.1), "Detect on server: 10 frames/s come, 5 may"),
        (
            replace(crossing(), cluster=Cluster(("edge", "cloud"), crossing().cluster.nodes)),
            "no path leads from pi",
        ),
    ],
)
def test_a_plan_is_invalid_where_the_problem_is_harder(problem: Problem, sentence: str) -> None:
    found = violations(problem, plan(value=predict(problem, plan()).value))
    assert any(sentence in each for each in found), found


def test_memory_of_all_replicas_counts() -> None:
    problem = scaled(memory=1.5e9)
    deployed = (*detects(), Deployment("Detect", "server", CLOUD_DETECT))
    routes = (
        Route("north", 1, SIZE, placements(("server", 0), ("server", 1))),
        Route("north", 1, SIZE, placements(("server", 2), ("server", 1))),
    )
    assert any(
        "2e+09 bytes of memory" in each
        for each in violations(problem, plan(deployments=deployed, routes=routes))
    )


def test_a_singleton_runs_once_in_the_whole_cluster() -> None:
    problem = changed(only("Detect", singleton=True))
    assert violations(problem, plan()) == ()
    deployed = (*detects(), Deployment("Detect", "pi", EDGE_DETECT))
    value = predict(problem, plan(deployments=deployed)).value
    found = violations(problem, plan(deployments=deployed, value=value))
    assert found == ("Detect: runs 2 times, but may only once",)


def test_one_camera_of_a_keyed_stage_is_within_one_replica() -> None:
    problem = replace(changed(only("Detect", keyed=True)), utilisation=0.8)
    fast = replace(problem, classes=(replace(problem.classes[0], fps=45.0),))
    assert any("a camera sends 45 frames/s, a replica takes 40" in each for each in violations(fast, plan()))


def test_another_setting_with_its_own_services() -> None:
    problem = crossing(goals={"accuracy": 0.2})
    deployed = Deployment("Detect", "pi", SMALL_DETECT), Deployment("Track", "pi", EDGE_TRACK)
    routes = (Route("north", 2, setting(size=416), placements(("pi", 0), ("pi", 1))),)
    found = Plan("by hand", deployed, routes)
    found = replace(found, value=predict(problem, found).value)
    assert violations(problem, found) == ()


@settings(max_examples=40, deadline=None)
@given(st.integers(0, 10_000), st.data())
def test_any_valid_plan_with_one_thing_spoilt_is_invalid(seed: int, data: st.DataObject) -> None:
    problem, valid = instance(seed)
    assert violations(problem, valid) == ()
    spoilt = data.draw(st.sampled_from(SPOIL))(problem, valid, data)
    assert violations(problem, spoilt) != ()


def _first(items: tuple[Any, ...], position: int, **changes: Any) -> tuple[Any, ...]:
    return tuple(replace(each, **changes) if at == position else each for at, each in enumerate(items))


def _camera_lost(problem: Problem, valid: Plan, data: st.DataObject) -> Plan:
    at = data.draw(st.integers(0, len(valid.routes) - 1))
    return replace(valid, routes=_first(valid.routes, at, cameras=valid.routes[at].cameras + 1))


def _route_lost(problem: Problem, valid: Plan, data: st.DataObject) -> Plan:
    return replace(valid, routes=valid.routes[1:])


def _replicas_without_end(problem: Problem, valid: Plan, data: st.DataObject) -> Plan:
    at = data.draw(st.integers(0, len(valid.deployments) - 1))
    return replace(valid, deployments=_first(valid.deployments, at, replicas=10**6))


def _value_wrong(problem: Problem, valid: Plan, data: st.DataObject) -> Plan:
    return replace(valid, value=valid.value - 0.01 * abs(valid.value) - 1e-3)


def _stage_moved(problem: Problem, valid: Plan, data: st.DataObject) -> Plan:
    route = valid.routes[0]
    at = data.draw(st.integers(0, len(route.placements) - 1))
    others = [node.name for node in problem.cluster.nodes if node.name != route.placements[at].node]
    moved = _first(route.placements, at, node=data.draw(st.sampled_from(others)))
    return replace(valid, routes=_first(valid.routes, 0, placements=moved))


def _deployment_lost(problem: Problem, valid: Plan, data: st.DataObject) -> Plan:
    return replace(valid, deployments=valid.deployments[:-1])


SPOIL = (_camera_lost, _route_lost, _replicas_without_end, _value_wrong, _stage_moved, _deployment_lost)


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
