"""The way into the planner: what `flowedge.planner.plan` returns, and how cheaply it is there."""

from __future__ import annotations

import subprocess
import sys

import pytest

from flowedge import ConfigError, Goal, Graph, choose
from flowedge.operators import Null, Resize, video
from flowedge.planner import plan, planning
from flowedge.planner.model.cluster import Cluster, Node, Power
from flowedge.planner.model.problem import CameraClass
from flowedge.planner.model.profiles import Accuracy, Profiles, Service, setting

CLUSTER = Cluster(("edge",), (Node("pi", "edge", "pi", cores=4, power=Power(2.0, 1.0)),))
CAMERAS = (CameraClass("north", "watch", "pi", fps=5),)
PROFILES = Profiles(
    (
        Service("Resize", "pi", 1, 0.01, setting=setting(width=320)),
        Service("Resize", "pi", 1, 0.10, setting=setting(width=640)),
    ),
    accuracies=(Accuracy(0.6, setting(width=320)), Accuracy(0.63, setting(width=640))),
)
FREE = ("Decode", "Null")


def watch(**goals: object) -> Graph:
    graph = Graph("watch", Goal(**goals))  # type: ignore[arg-type]
    video(graph, "street://") >> Resize(choose("width", 320, 640)) >> Null()
    return graph


@pytest.mark.parametrize("strategy", ["flowedge", "exact"])
def test_a_plan_with_its_problem_and_prediction(strategy: str) -> None:
    done = plan(watch(), CLUSTER, PROFILES, cameras=CAMERAS, strategy=strategy, assume_free=FREE)
    assert done.found
    assert done.plan.strategy == strategy
    assert done.violations == ()
    assert done.prediction.value == pytest.approx(done.plan.value)
    assert done.problem.classes == CAMERAS


def test_no_plan_is_no_error() -> None:
    done = plan(watch(latency="5 ms"), CLUSTER, PROFILES, cameras=CAMERAS, assume_free=FREE)
    assert not done.found
    assert done.plan.reason is not None
    assert done.plan.reason.conflict == ("watch: latency at most 0.005 s",)
    with pytest.raises(ValueError, match="no plan was found"):
        _ = done.prediction


@pytest.mark.parametrize(("theta", "width"), [(0.0, 640), (0.1, 640), (1.0, 320)])
def test_theta_weighs_latency_against_accuracy(theta: float, width: int) -> None:
    """The larger picture is 0.03 more accurate and 90 ms slower: worth it below 0.33 a second."""
    goals = {"minimize": "utility", "theta": theta}
    done = plan(watch(**goals), CLUSTER, PROFILES, cameras=CAMERAS, strategy="exact", assume_free=FREE)
    assert [dict(route.setting) for route in done.plan.routes] == [{"width": width}]


def test_the_strategy_begins_at_the_plan_in_force(monkeypatch: pytest.MonkeyPatch) -> None:
    first = plan(watch(), CLUSTER, PROFILES, cameras=CAMERAS, assume_free=FREE)
    monkeypatch.setattr(planning, "STRATEGIES", {"lazy": lambda _, start: start})
    again = plan(
        watch(), CLUSTER, PROFILES, cameras=CAMERAS, strategy="lazy", start=first.plan, assume_free=FREE
    )
    assert again.plan is first.plan


def test_an_unknown_strategy_is_named() -> None:
    with pytest.raises(ConfigError, match="there is no 'exct'; did you mean \"exact\""):
        plan(watch(), CLUSTER, PROFILES, cameras=CAMERAS, strategy="exct", assume_free=FREE)


def test_one_name_is_no_collection_of_names() -> None:
    with pytest.raises(ConfigError, match='assume_free="Null": several names are needed'):
        plan(watch(), CLUSTER, PROFILES, cameras=CAMERAS, assume_free="Null")


def test_importing_the_planner_loads_no_solver() -> None:
    code = "import sys, flowedge.planner.model.plan; print(*sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert not {"highspy", "scipy", "flowedge.planner.planning"} & set(done.stdout.split())


def test_assembling_needs_neither_command_line_nor_files() -> None:
    code = "import sys, flowedge.planner.model.assemble; print(*sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert not {"flowedge.cli", "flowedge.planner.files"} & set(done.stdout.split())
