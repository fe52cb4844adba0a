"""CARE: its own example by hand, mended against literal and exhaustive, every plan through the checker."""

from __future__ import annotations

import itertools
from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from flowedge.planner.model.checker import violations
from flowedge.planner.model.cluster import Cluster, Link, Node, Power
from flowedge.planner.model.plan import Plan
from flowedge.planner.model.prediction import predict
from flowedge.planner.model.problem import Application, CameraClass, Problem, Stage
from flowedge.planner.model.profiles import Accuracy, Profiles, Service, setting
from flowedge.planner.papers.care import care, care_exhaustive, care_literal, care_shared
from tests.planner.crossing import crossing

QUALITY = {1: 0.72, 2: 0.79, 4: 0.85}  # Table I at (150, 1080p)
POWER = Power(idle=4.0, core=4.0, gpu=10.0, shared=True)
SERVERS = (Node("big", "edge", "xeon", 4, gpu=1, power=POWER), Node("wide", "edge", "xeon", 8, power=POWER))


def composite(
    latency: float,
    quality: float,
    *,
    servers: tuple[Node, ...] = SERVERS,
    halves: bool = False,
    **seconds: float,
) -> Problem:
    """Tiles 1 to 4, each on an instance of 1, 2 or 4 cores (1, 0.6, 0.4 s) or of 1 core and a GPU (0.1 s)."""
    cost = {1: 1.0, 2: 0.6, 4: 0.4}
    services: list[Service] = []
    for number in range(1, 5):
        name = f"tile {number}"
        for tiles in QUALITY:
            chosen = setting(tiles=tiles)
            if number > tiles:
                services.append(Service(name, "xeon", 0, 1e-9, setting=chosen))
                continue
            services += [Service(name, "xeon", cores, time, setting=chosen) for cores, time in cost.items()]
            services.append(Service(name, "xeon", 1, 0.1, gpu=1, setting=chosen))
            if halves:
                services.append(Service(name, "xeon", 1, 0.2, gpu=0.5, setting=chosen))
    slots = [f"tile {number}" for number in range(1, 5)]
    stages = (Stage("video", source=True), *(Stage(each, ("video",), tier="edge") for each in slots))
    nodes = (Node("camera", "device", "camera", 0), *servers)
    links = tuple(Link("camera", server.name, 1e9) for server in servers)
    return Problem(
        Cluster(("device", "edge"), nodes, links),
        (Application("mot", stages, (("tiles", tuple(QUALITY)),), latency=latency, accuracy=quality),),
        (CameraClass("street", "mot", "camera", 0.5),),
        Profiles(tuple(services), accuracies=tuple(Accuracy(q, setting(tiles=x)) for x, q in QUALITY.items())),
    )


def chosen(plan: Plan) -> tuple[Any, set[tuple[float, float]]]:
    """x and the set of (c, g)."""
    active = {(each.service.cores, each.service.gpu) for each in plan.deployments if each.service.cores}
    return dict(plan.routes[0].setting)["tiles"], active


@pytest.mark.parametrize(
    ("latency", "quality", "expected", "tried"),
    [
        (1.0, 0.70, (1, {(1, 0)}), 1),
        (1.0, 0.79, (2, {(1, 0)}), 2),  # one deployment finds out that x = 1 is too few
        (0.6, 0.79, (2, {(2, 0)}), 3),  # and one that a core is too few
        (0.4, 0.79, (2, {(4, 0)}), 4),
        (0.6, 0.85, (4, {(2, 0)}), 4),  # 4 x 2 cores over both servers
        (0.2, 0.70, (1, {(1, 1)}), 4),  # 1, 2, 4 cores, then the GPU
    ],
)
def test_the_greedy_by_hand(latency: float, quality: float, expected: object, tried: int) -> None:
    problem = composite(latency, quality)
    plan = care(problem)
    assert violations(problem, plan) == ()
    assert chosen(plan) == expected
    assert plan.tried == tried


def test_constraint_4_gives_each_instance_a_gpu_of_its_own_and_the_text_shares_it() -> None:
    problem = composite(0.2, 0.79, halves=True)
    alone, together = care(problem), care(problem, shared=True)
    assert alone.reason is not None
    assert not alone.reason.proven
    assert violations(problem, together) == ()
    assert chosen(together) == (2, {(1, 0.5)})
    assert together.deployments[0].node == "big"
    assert care_shared(problem).deployments == together.deployments


def test_pruning_loses_what_more_cores_save_where_they_more_than_pay() -> None:
    # 2 cores are four times as quick as 1: 2 x 0.25 s of work instead of 1 s, which pruning never sees.
    problem = composite(1.0, 0.72, servers=(replace(SERVERS[0], gpu=0, power=replace(POWER, idle=0.0)),))
    quick = tuple(
        replace(each, seconds=0.25) if each.cores == 2 else each for each in problem.profiles.services
    )
    odd = replace(problem, profiles=replace(problem.profiles, services=quick))
    pruned, every = care_exhaustive(odd), care_exhaustive(odd, pruned=False)
    assert (chosen(pruned), chosen(every)) == ((1, {(1, 0)}), (1, {(2, 0)}))
    assert violations(odd, every) == ()
    assert every.value < pruned.value
    assert every.tried > pruned.tried


def test_the_first_that_holds_need_not_be_the_least_energy() -> None:
    # Four cores for 0.4 s cost more than one core and a GPU for 0.1 s.
    free = replace(POWER, idle=0.0)
    problem = composite(0.4, 0.72, servers=tuple(replace(each, power=free) for each in SERVERS))
    greedy, best = care(problem), care_exhaustive(problem)
    assert chosen(greedy) == (1, {(4, 0)})
    assert chosen(best) == (1, {(1, 1)})
    assert greedy.value == pytest.approx(0.5 * 4 * 4 * 0.4)
    assert best.value == pytest.approx(0.5 * (4 + 10) * 0.1)
    assert best.tried > greedy.tried


def test_the_listing_looks_at_one_server_only() -> None:
    # "big" has the GPU and so comes first, but has no 4 cores left for it; "wide" has.
    small = (replace(SERVERS[0], cores=2), SERVERS[1])
    problem = composite(0.4, 0.72, servers=small)
    assert chosen(care(problem)) == (1, {(4, 0)})
    assert chosen(care_literal(problem)) == (1, {(1, 1)})
    assert violations(problem, care_literal(problem)) == ()


def test_the_listing_commits_one_instance_although_they_do_not_all_fit() -> None:
    problem = composite(0.1, 0.79)
    plan = care_literal(problem)
    assert plan.reason is not None
    assert "they do not all fit" in plan.reason.conflict[0]


def test_the_listing_does_not_end_where_the_mended_one_says_so() -> None:
    problem = composite(1.0, 0.99)
    plans = care(problem), care_literal(problem)
    assert all(plan.reason is not None and violations(problem, plan) == () for plan in plans)
    assert "does not end" in plans[1].reason.conflict[0]  # type: ignore[union-attr]
    assert plans[0].tried == len(QUALITY)


def test_the_listing_gives_up_where_no_server_has_a_gpu() -> None:
    problem = composite(0.5, 0.72, servers=(replace(SERVERS[0], cores=2, gpu=0), replace(SERVERS[1], cores=2)))
    plan = care_literal(problem)
    assert plan.reason is not None
    assert "no server has a GPU" in plan.reason.conflict[0]


def test_any_application_and_several_cameras() -> None:
    problem = crossing()
    for strategy in (care, care_literal, care_exhaustive):
        plan = strategy(problem)
        assert plan.found
        assert violations(problem, plan) == ()
        assert (
            sum(each.replicas for each in plan.deployments if each.operator == "Track") == 2
        )  # none is shared


@given(
    latency=st.sampled_from([0.1, 0.2, 0.4, 0.6, 1.0]),
    quality=st.sampled_from([0.5, 0.72, 0.79, 0.85]),
    shapes=st.lists(st.tuples(st.integers(1, 9), st.integers(0, 2)), min_size=1, max_size=3),
    idle=st.floats(0, 20),
    gpu=st.floats(0, 50),
    shared=st.booleans(),
)
@settings(max_examples=60, deadline=None)
def test_exhaustive_is_the_best_of_all_and_never_above_the_greedy(
    latency: float, quality: float, shapes: list[tuple[int, int]], idle: float, gpu: float, shared: bool
) -> None:
    power = Power(idle, 4.0, gpu, shared=True)
    servers = tuple(Node(f"s{at}", "edge", "xeon", c, gpu=g, power=power) for at, (c, g) in enumerate(shapes))
    problem = composite(latency, quality, servers=servers, halves=shared)
    greedy, best = care(problem, shared=shared), care_exhaustive(problem, shared=shared)
    assert violations(problem, greedy) == violations(problem, best) == ()
    assert violations(problem, care_literal(problem, shared=shared)) == ()
    assert greedy.found == best.found
    if best.found:
        every = care_exhaustive(problem, shared=shared, pruned=False)
        assert every.value <= best.value * (1 + 1e-9)  # pruning rests on a monotony that need not hold
        assert every.tried >= best.tried
        assert best.value <= greedy.value + 1e-9
        assert predict(problem, best).value == pytest.approx(best.value)
        if len(servers) == 1 and not shared:
            assert best.value == pytest.approx(_least(servers[0], power, latency, quality))


def _least(server: Node, power: Power, latency: float, quality: float) -> float:
    """By trying every (x, c, g) on one server."""
    ways = [(1, 0, 1.0), (2, 0, 0.6), (4, 0, 0.4), (1, 1, 0.1)]
    values = []
    for (tiles, reached), (cores, gpus, seconds) in itertools.product(QUALITY.items(), ways):
        room = tiles * cores <= server.cores and tiles * gpus <= server.gpu
        if room and reached >= quality and seconds <= latency:
            part = max(cores / server.cores, gpus / server.gpu if gpus else 0.0)
            busy = (cores * power.core + gpus * power.gpu) * seconds * 0.5
            values.append(tiles * (part * power.idle + busy))
    return min(values)
