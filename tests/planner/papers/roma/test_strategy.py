"""ROMA: allocations by hand, joint against fixed placement, every plan through the checker."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from flowedge.planner.model.checker import violations
from flowedge.planner.model.cluster import Cluster, Link, Node
from flowedge.planner.model.prediction import predict
from flowedge.planner.model.problem import Application, CameraClass, Problem, Stage
from flowedge.planner.model.profiles import Accuracy, OutputSize, Profiles, Service, setting
from flowedge.planner.papers.baselines import cloud_only, edge_only
from flowedge.planner.papers.roma.allocation import Allocation, allocate
from flowedge.planner.papers.roma.couplings import Floats, Linear, Points, Surface
from flowedge.planner.papers.roma.strategy import _FITS, Kind, demand, roma, roma_linear, roma_static
from tests.planner.crossing import crossing

# Bytes of a frame, seconds on one core, and accuracy by width.
WIDTHS = {320: (5_000.0, 0.02, 0.5), 640: (20_000.0, 0.05, 0.7), 1280: (80_000.0, 0.15, 0.8)}


def watch(*, cameras: int = 2, accuracy: float = 0.0, edge_cores: float = 4, uplink: float = 10e6) -> Problem:
    """Faces found in streams of 5 frames a second, at an edge node or in the cloud behind an uplink."""
    services = [
        Service("Detect", kind, 1, factor * seconds, setting=setting(width=width))
        for width, (_, seconds, _) in WIDTHS.items()
        for kind, factor in (("edge", 2.0), ("xeon", 1.0))
    ]
    return Problem(
        Cluster(
            ("edge", "cloud"),
            (Node("gate", "edge", "edge", edge_cores), Node("server", "cloud", "xeon", 16)),
            (Link("gate", "server", uplink, 0.01),),
        ),
        (
            Application(
                "watch",
                (Stage("video", source=True), Stage("Detect", ("video",))),
                (("width", tuple(WIDTHS)),),
                latency=2.0,
                accuracy=accuracy,
            ),
        ),
        (CameraClass("north", "watch", "gate", 5.0, cameras),),
        Profiles(
            tuple(services),
            tuple(OutputSize("video", size, "jpeg", setting(width=w)) for w, (size, _, _) in WIDTHS.items()),
            tuple(Accuracy(value, setting(width=w)) for w, (_, _, value) in WIDTHS.items()),
        ),
        minimize="resources",
    )


def test_what_a_setting_needs() -> None:
    needs = demand(watch(), watch().classes[0])
    assert needs is not None
    assert needs.net.tolist() == pytest.approx([0.2, 0.8, 3.2])  # 5 frames of 5, 20, 80 kB
    # 5 frames of 20 ms at a load of 0.8 are 0.125 cores of 16; at the edge twice that, of 4.
    assert needs.com[0] == pytest.approx((0.125 / 16 + 0.25 / 4) / 2)
    assert needs.part["Detect", 0] == pytest.approx(8 * needs.part["Detect", 1])


def test_the_papers_programme_by_hand() -> None:
    # com >= 4 p - 0.1 net and net >= 10 p - com: at p = 1 both are tight where a core costs more than a Mbit/s.
    lines = Linear(-0.1, 4.0, 0.0), Linear(-1.0, 10.0, 0.0)
    found = allocate(lines, 10.0, 16.0, eta=0.1, scale=(10.0, 4.0))
    assert found is not None
    assert found.performance == pytest.approx(1)
    assert (found.net, found.com) == pytest.approx((20 / 3, 10 / 3))
    assert allocate((Linear(0, 0, 17.0), lines[1]), 10.0, 16.0, scale=(10.0, 16.0)) is None


def test_performance_is_given_up_where_it_costs_more_than_it_is_worth() -> None:
    # The second plane gives 0.1 for all the network there is.
    plane = Surface(np.array([[1.0, 0.0, 0.0], [0.01, 0.0, 0.8]]))
    dear, cheap = (allocate(plane, 10.0, 16.0, eta=eta, scale=(10.0, 16.0)) for eta in (0.5, 0.05))
    assert dear is not None
    assert cheap is not None
    assert dear.net == pytest.approx(0.8 / 0.99)
    assert (cheap.net, cheap.performance) == pytest.approx((10, 0.9))


def test_the_programme_joins_what_a_fixed_placement_cannot() -> None:
    # At the edge there is room for the small pictures of two cameras only; the uplink takes more.
    problem = watch(edge_cores=1)
    fixed = roma_linear(problem, edge_only(problem))
    joint = roma(problem)
    assert violations(problem, fixed) == violations(problem, joint) == ()
    assert {each.node for each in fixed.deployments} == {"gate"}
    assert {each.node for each in joint.deployments} == {"server"}
    assert set(predict(problem, fixed).accuracies) == {0.5}
    assert set(predict(problem, joint).accuracies) == {0.8}


def test_where_resources_weigh_most_the_joint_programme_takes_the_fewest() -> None:
    problem = watch(accuracy=0.7, edge_cores=1)
    joint, fixed = roma(problem, eta=0.9), roma_linear(problem, cloud_only(problem), eta=0.9)
    assert violations(problem, joint) == violations(problem, fixed) == ()
    assert joint.value <= fixed.value + 1e-9


def test_either_coupling_goes_with_either_placement() -> None:
    problem = watch()
    plans = roma(problem, coupling="linear"), roma_linear(problem, coupling="surface")
    assert all(plan.found and violations(problem, plan) == () for plan in plans)


def test_a_narrow_uplink_keeps_the_work_at_the_edge() -> None:
    problem = watch(accuracy=0.7, uplink=1e5)
    plan = roma(problem)
    assert violations(problem, plan) == ()
    assert {each.node for each in plan.deployments} == {"gate"}


def test_static_takes_compute_for_the_largest_setting() -> None:
    problem = watch(cameras=4, edge_cores=16)
    static = roma_static(problem)
    assert violations(problem, static) == ()
    assert min(each or 0.0 for each in predict(problem, static).accuracies) == 0.8
    narrow = replace(problem, cluster=watch(cameras=4, edge_cores=2, uplink=1e5).cluster)
    fewer = roma_static(narrow)
    assert violations(narrow, fewer) == ()
    assert sum(each.replicas for each in fewer.deployments) == 2  # all there is, though 0.5 would do


def test_eta_weighs_resources_against_accuracy() -> None:
    problem = watch()
    rich, poor = (roma(problem, eta=eta) for eta in (0.01, 0.9))
    assert violations(problem, rich) == violations(problem, poor) == ()
    means = [np.mean([each or 0.0 for each in predict(problem, plan).accuracies]) for plan in (rich, poor)]
    assert means[0] > means[1] == 0.5


@pytest.mark.parametrize("coupling", ["svr", "mlp"])
def test_regressors_go_by_a_surface_over_what_they_allow(coupling: Kind) -> None:
    pytest.importorskip("sklearn", reason='needs the extra "papers"')
    problem = watch(accuracy=0.5)
    plan = roma(problem, coupling=coupling)
    assert plan.found
    assert violations(problem, plan) == ()


def test_couplings_that_contradict_each_other_are_said(monkeypatch: pytest.MonkeyPatch) -> None:
    def dear(*_: object) -> Callable[..., Floats]:
        return lambda other, performance: np.full(np.shape(other), 1e9)

    monkeypatch.setitem(_FITS, "mlp", dear)
    plan = roma(watch(), coupling="mlp")
    assert plan.reason is not None
    assert "contradict each other" in plan.reason.conflict[0]


def test_of_points_the_best_within_what_there_is_is_taken() -> None:
    settings_known = Points([1.0, 2.0, 8.0], [1.0, 1.0, 4.0], [0.5, 0.7, 0.8])
    scale = (10.0, 10.0)
    assert allocate(settings_known, 10.0, 10.0, eta=0.01, scale=scale) == Allocation(8.0, 4.0, 0.8)
    assert allocate(settings_known, 10.0, 10.0, eta=0.3, scale=scale) == Allocation(2.0, 1.0, 0.7)
    assert allocate(settings_known, 1.5, 10.0, eta=0.01, scale=scale) == Allocation(1.0, 1.0, 0.5)
    assert allocate(settings_known, 0.5, 10.0, scale=scale) is None


def test_where_little_fits_the_programme_is_asked_for_less() -> None:
    # One core at the edge and 0.4 Mbit/s: two cameras fit only with the smallest pictures, and the programme
    # at first has more in mind for them.
    problem = watch(cameras=2, edge_cores=1, uplink=0.42e6)
    plan = roma(problem)
    assert plan.found
    assert violations(problem, plan) == ()


def test_what_cannot_be_served_anywhere_is_said() -> None:
    problem = watch()
    odd = replace(problem, profiles=Profiles((Service("Detect", "tpu", 1, 0.1),)))
    for strategy in (roma, roma_linear, roma_static):
        plan = strategy(odd)
        assert plan.reason is not None
        assert not plan.reason.proven
        assert violations(odd, plan) == ()


@given(
    cameras=st.integers(1, 8),
    accuracy=st.sampled_from([0.0, 0.5, 0.7, 0.8]),
    edge_cores=st.integers(1, 8),
    uplink=st.sampled_from([1e5, 1e6, 1e7, 1e8]),
)
@settings(max_examples=25, deadline=None)
def test_no_plan_ever_fails_the_checker(cameras: int, accuracy: float, edge_cores: int, uplink: float) -> None:
    problem = watch(cameras=cameras, accuracy=accuracy, edge_cores=edge_cores, uplink=uplink)
    for strategy in (roma, roma_linear, roma_static):
        assert violations(problem, strategy(problem)) == ()


def test_any_application() -> None:
    problem = crossing()
    for strategy in (roma, roma_linear, roma_static):
        plan = strategy(problem)
        assert plan.found
        assert violations(problem, plan) == ()
