from __future__ import annotations

from collections import Counter
from dataclasses import replace

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from flowedge.planner.model.checker import violations
from flowedge.planner.model.cluster import Cluster, Link, Node
from flowedge.planner.model.prediction import predict
from flowedge.planner.model.problem import Application, CameraClass, Problem, Stage
from flowedge.planner.model.profiles import Accuracy, OutputSize, Profiles, Service, setting
from flowedge.planner.papers.continuum.models import (
    Estimate,
    algorithm_1,
    distributions,
    highest_utility,
    rotated,
)
from flowedge.planner.papers.continuum.reservation import MINIMUM, Reservation, Reserved, Task, adjust, reserve
from flowedge.planner.papers.continuum.strategy import categories, continuum, discover
from tools.planner_instances import instance

SMALL, LARGE = setting(size=416), setting(size=512)
SORTS = {"Draw": "storage"}


def problem(cameras: int = 1, fps: float = 5, accuracy: float = 0.5) -> Problem:
    """The paper's pipeline: Resize on the edge, YOLOv4-416 for the fog, YOLOv4-512 and Draw for the cloud."""
    cluster = Cluster(
        ("edge", "fog", "cloud"),
        (Node("e", "edge", "pi", 1), Node("f", "fog", "nova", 4), Node("c", "cloud", "nova", 8)),
        (Link("e", "f", 30e6, 0.004), Link("f", "c", 10e9, 0.005)),
    )
    stages = (
        Stage("video", source=True),
        Stage("Resize", ("video",)),
        Stage("Yolo", ("Resize",)),
        Stage("Draw", ("Yolo",)),
    )
    services = (
        Service("Resize", "pi", 1, 0.002),
        Service("Yolo", "nova", 4, 0.050, setting=SMALL),
        Service("Yolo", "nova", 4, 0.080, setting=LARGE),
        Service("Draw", "nova", 4, 0.001),
    )
    outputs = (OutputSize("Resize", 20_000, setting=SMALL), OutputSize("Resize", 30_000, setting=LARGE))
    accuracies = (Accuracy(0.628, SMALL), Accuracy(0.649, LARGE))
    application = Application("yolo", stages, (("size", (416, 512)),), accuracy=accuracy)
    return Problem(
        cluster,
        (application,),
        (CameraClass("cameras", "yolo", "e", fps, cameras),),
        Profiles(services, outputs, accuracies),
    )


def nodes_of(plan):
    return {placement.stage: placement.node for route in plan.routes for placement in route.placements}


def test_slips_add_up_only_in_the_literal_algorithm_1():
    some = [Estimate(0.100, 0.5), Estimate(0.109, 0.7), Estimate(0.118, 0.9)]
    assert algorithm_1(some, 0.5) == 1
    assert algorithm_1(some, 0.5, literal=True) == 2
    assert algorithm_1(some, 0.6) == 2  # the fastest that is left is the second
    assert algorithm_1([Estimate(0.1, 0.5), Estimate(0.1101, 0.9)], 0.5) == 0
    assert algorithm_1([Estimate(0.1, 0.5), Estimate(0.101, 0.69)], 0.5) == 0  # 19 points
    assert highest_utility(some, 0.5, theta=30) == 0
    assert highest_utility(some, 0.5, theta=1) == 2


@given(
    st.lists(st.builds(Estimate, st.floats(0, 0.05), st.floats(0, 1)), max_size=12),
    st.floats(0, 1),
)
def test_algorithm_1_loses_less_than_10_ms_and_holds_the_floor(estimates, floor):
    best = algorithm_1(estimates, floor)
    able = [each for each in estimates if each.accuracy >= floor]
    if best is None:
        assert not able
    else:
        assert estimates[best].accuracy >= floor
        assert estimates[best].latency - min(each.latency for each in able) < 0.010


@given(st.integers(1, 12), st.integers(1, 4))
def test_distributions_share_out_all_cameras_and_are_all_there_where_they_are_few(cameras, resolutions):
    found = list(distributions(cameras, resolutions))
    assert all(sum(counts) == cameras and len(counts) == resolutions for counts in found)
    assert len(set(found)) == len(found)
    if resolutions == 2:
        assert len(found) == cameras + 1


@given(st.integers(0, 8), st.integers(0, 8), st.integers(0, 5))
def test_every_camera_is_reduced_as_often_as_any_other(kept, reduced, seed):
    cameras = kept + reduced
    if not cameras:
        return
    slots = [rotated([("512", kept), ("416", reduced)], slot, seed) for slot in range(cameras)]
    assert all(Counter(slot)["416"] == reduced for slot in slots)
    for camera in range(cameras):
        assert sum(slot[camera] == "416" for slot in slots) == reduced


def test_categories_are_those_of_the_paper():
    some = problem()
    application = some.applications[0]
    assert categories(some, application, SORTS) == {
        ("Resize", SMALL): "NI",
        ("Resize", LARGE): "NI",
        ("Yolo", SMALL): "LI",
        ("Yolo", LARGE): "HI",
        ("Draw", SMALL): "HI",
        ("Draw", LARGE): "HI",
    }
    assert categories(some, application)["Draw", LARGE] == "NI"  # nothing says that it keeps a store


def test_discovery_finds_pipelines_for_the_data():
    some = problem()
    assert discover(some, some.applications[0]) == (SMALL, LARGE)
    assert discover(some, some.applications[0], LARGE) == (LARGE,)
    unserved = replace(some.profiles, services=some.profiles.services[:2] + some.profiles.services[3:])
    assert discover(replace(some, profiles=unserved), some.applications[0]) == (SMALL,)


def test_one_camera_gets_the_fastest_resolution_on_the_fog():
    some = problem()
    plan = continuum(some, sorts=SORTS)
    assert violations(some, plan) == ()
    assert nodes_of(plan) == {"video": "e", "Resize": "e", "Yolo": "f", "Draw": "c"}
    # 2 ms, then 4 ms and 160 kbit at 30 Mbit/s, 50 ms, 5 ms, 1 ms
    assert predict(some, plan).latencies[0].total == pytest.approx(0.002 + 0.004 + 160 / 30_000 + 0.056)


def test_accuracy_floor_and_utility_send_it_to_the_cloud():
    for plan, some in (
        (continuum(problem(accuracy=0.64), sorts=SORTS), problem(accuracy=0.64)),
        (continuum(problem(), utility=True, sorts=SORTS), problem()),  # theta is 0: accuracy alone
    ):
        assert violations(some, plan) == ()
        assert plan.routes[0].setting == LARGE
        assert nodes_of(plan)["Yolo"] == "c"


def test_cameras_share_resolutions_where_neither_alone_can_serve_all():
    some = problem(cameras=4, fps=6)  # YOLOv4-416 takes 16 frames/s, YOLOv4-512 takes 10: 24 come
    plan = continuum(some, sorts=SORTS)
    assert violations(some, plan) == ()
    counts = Counter()
    for route in plan.routes:
        counts[route.setting] += route.cameras
    assert counts == {SMALL: 3, LARGE: 1} or counts == {SMALL: 4}


def test_no_place_is_said_and_deploys_nothing():
    plan = continuum(problem(cameras=19, fps=25), sorts=SORTS)
    assert not plan.found
    assert not plan.reason.proven
    assert "cameras" in plan.reason.conflict[0]
    assert not continuum(problem(accuracy=0.9)).found


def test_high_intensive_tasks_overflow_from_cloud_to_fog():
    task = Task("Yolo", "HI", 3, (("c", 0.5, 1), ("f", 0.8, 1)))
    held = reserve([task], {"c": 1.0, "f": 1.0})
    assert Counter(each.node for each in held.reservations) == {"c": 2, "f": 1}
    literal = reserve([task], {"c": 1.0, "f": 1.0}, literal=True)
    assert Counter(each.node for each in literal.reservations) == {"c": 3, "f": 1}  # step 11: all of them
    assert literal.free["c"] < 0


def test_high_intensive_tasks_come_first():
    low = Task("Small", "LI", 1, (("c", 0.6, 1),))
    high = Task("Large", "HI", 1, (("c", 0.6, 1),))
    held = reserve([low, high], {"c": 1.0})
    assert [(each.task, each.share) for each in held.reservations] == [
        ("Large", 0.6),
        ("Small", pytest.approx(0.4)),
    ]


def test_adjustment_spares_the_minimum_of_every_donor():
    small, large = Reservation("a", "HI", "c", 0.25, 0.4), Reservation("b", "HI", "c", 0.7, 0.8)
    full = Reserved((small, large), {"c": 0.05})
    task = Task("new", "LI", 1, (("c", 0.5, 1),))
    mended = adjust(full, task)
    # 0.2 are missing: evenly 0.1 each, but `a` has only 0.05 to give
    assert [each.share for each in mended.reservations] == pytest.approx([0.2, 0.55, 0.25])
    literal = adjust(full, task, literal=True)
    assert literal.reservations[0].share == pytest.approx(0.15)  # below its minimum of 0.2
    assert adjust(Reserved((replace(large, share=0.4),), {"c": 0.05}), task) is None


@given(
    st.lists(
        st.tuples(st.sampled_from(("HI", "LI")), st.integers(1, 3), st.floats(0.05, 1), st.floats(0.05, 1)),
        max_size=6,
    )
)
def test_mended_reservations_keep_capacity_and_minimum(wanted):
    tasks = [
        Task(f"t{at}", category, load, (("c", cloud, 1.0), ("f", fog, 1.0)))
        for at, (category, load, cloud, fog) in enumerate(wanted)
    ]
    held = reserve(tasks, {"c": 1.0, "f": 1.0})
    if held is None:
        return
    for node in ("c", "f"):
        taken = sum(each.share for each in held.on(node))
        assert taken == pytest.approx(1 - held.free[node])
        assert held.free[node] >= -1e-6
    assert all(each.share >= MINIMUM * each.need - 1e-6 for each in held.reservations)


@settings(max_examples=12, deadline=None)
@given(st.integers(0, 10_000), st.booleans())
def test_no_plan_fails_the_checker(seed, literal):
    some, _ = instance(seed, operators=4, nodes=8)
    plan = continuum(some, literal=literal)
    assert violations(some, plan) == ()
    assert plan.found or plan.reason.conflict
