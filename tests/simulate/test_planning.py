"""A planner in the loop."""

from __future__ import annotations

import tomllib
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from flowedge.errors import ConfigError
from flowedge.planner.files import inputs
from flowedge.planner.model.cluster import Cluster, Link, Node
from flowedge.planner.model.prediction import predict
from flowedge.planner.model.problem import Problem
from flowedge.planner.strategies import STRATEGIES
from flowedge.simulate.planning import Planning
from flowedge.simulate.results import Results, as_csv
from flowedge.simulate.scenario import Failure, PlanningLoop, Rate, Scenario
from tests.simulate.small import found, scenario, traced

CROSSING = Path(__file__).parents[2] / "tools" / "scenarios" / "crossing.toml"


def problem(**changes: Any) -> Problem:
    """Four cameras at a box, a server behind a link; Detect and Track cost something, Draw takes two inputs."""
    return replace(inputs.problem(tomllib.loads(CROSSING.read_text())), **changes)


def planned(given: Problem | None = None, loop: dict[str, Any] | None = None, **changes: Any) -> Scenario:
    given = given or problem()
    return Scenario(
        "planned",
        given.cluster,
        **({"duration": 60.0, "planned": PlanningLoop(given, **(loop or {}))} | changes),
    )


def run(given: Scenario, strategy: str) -> Results:
    simulation = Planning(given, strategy)
    simulation.advance()
    assert not simulation.core.heap
    assert not simulation.core.waiting.any()
    assert not simulation.core.in_flight.any()
    return simulation.results()


@pytest.mark.parametrize("strategy", ["edge-only", "cloud-only"])
def test_a_lone_camera_takes_the_time_that_the_plan_predicts(strategy: str) -> None:
    alone = problem(classes=(replace(problem().classes[0], count=1),), certainty=0.0)
    predicted = predict(alone, STRATEGIES[strategy](alone, None)).latencies[0]
    assert predicted.total > 0.03
    results = run(planned(alone, duration=200.0), strategy)
    assert results.counts()["success"] == results.total > 1900
    assert results.latency.mean() == pytest.approx(predicted.total, rel=0.01)


def test_four_cameras_wait_no_longer_than_the_plan_predicts() -> None:
    given = problem(certainty=0.0)
    predicted = predict(given, STRATEGIES["edge-only"](given, None)).latencies[0]
    mean = run(planned(given, duration=200.0), "edge-only").latency.mean()
    assert predicted.service <= mean <= predicted.total


def test_a_new_plan_leaves_a_failed_node() -> None:
    fails = planned(failures=(Failure("box", 20.0),), detection=0.5, loop={"switch": 1.0})
    results = run(fails, "exact")
    lost = results.born[results.outcome != 0]
    assert len(results.notes) == 2
    assert found(results)["dropped: node down"] == len(lost) > 40
    # Frames that were in the box, and those of the 1.5 s until the new plan is in force.
    assert lost.min() > 19.8
    assert lost.max() < 21.5


def test_without_replanning_frames_go_on_to_the_failed_node() -> None:
    results = run(planned(failures=(Failure("box", 20.0),), loop={"on_failure": False}), "exact")
    assert results.share("dropped: node down") == pytest.approx(2 / 3, rel=0.02)


def test_where_there_is_no_plan_the_old_one_stays_and_the_reason_is_told() -> None:
    results = run(planned(failures=(Failure("box", 20.0, 40.0),)), "edge-only")
    assert [note.split(":")[1] for note in results.notes][1] == " no plan"
    assert results.share("success") == pytest.approx(2 / 3, rel=0.02)


def test_the_load_swings() -> None:
    loop = {"load": Rate(((0.0, 0.5), (30.0, 1.0)))}
    born = run(planned(loop=loop), "cloud-only").born
    assert (born < 30).sum() == pytest.approx(4 * 10 * 0.5 * 30, abs=8)
    assert (born >= 30).sum() == pytest.approx(4 * 10 * 30, abs=8)


def test_plans_are_made_again_with_the_load_of_the_moment() -> None:
    loop = {"load": Rate(((0.0, 0.2), (15.0, 1.0))), "every": 20.0}
    results = run(planned(loop=loop), "edge-only")
    values = [float(note.rpartition(" ")[2]) for note in results.notes]
    assert len(values) == 3
    assert values[1] == values[2] > values[0]


def boxes() -> Problem:
    """Two boxes at the cameras' switch, neither large enough for all."""
    nodes = tuple(Node(name, "edge", "jetson", cores) for name, cores in (("switch", 0), ("b1", 2), ("b2", 2)))
    links = tuple(Link("switch", name, 1e9, 0.0005) for name in ("b1", "b2"))
    cameras = (replace(problem().classes[0], node="switch"),)
    return problem(cluster=Cluster(("edge",), nodes, links), classes=cameras)


def test_a_policy_sends_frames_to_the_replicas_of_a_plan() -> None:
    results = run(planned(boxes(), loop={"dispatch": "least-loaded"}), "exact")
    assert results.counts()["success"] == results.total
    assert results.decisions == results.total
    busy = [share for name, share in results.workers.items() if name.startswith("Detect")]
    assert len(busy) == 2
    assert min(busy) > 0.1


def test_a_policy_avoids_a_failed_node_before_there_is_a_new_plan() -> None:
    def successes(dispatch: str | None) -> list[int]:
        loop = {"dispatch": dispatch, "on_failure": False}
        failures = [(Failure(name, 10.0),) for name in ("b1", "b2")]
        return [run(planned(boxes(), loop, failures=each), "exact").counts()["success"] for each in failures]

    # The box that has Track is missed by all, whoever dispatches. Of the other, the one replica of Detect left
    # can do 22 frames a second of 40; by the routes, it goes on with one camera of four.
    by_policy, by_routes = max(successes("power-of-two")), max(successes(None))
    assert by_policy == pytest.approx(10 * 40 + 50 * 22.2, rel=0.03)
    assert by_routes == pytest.approx(10 * 40 + 50 * 10, rel=0.03)


@pytest.mark.parametrize("strategy", sorted(STRATEGIES))
def test_every_frame_is_counted_once(strategy: str) -> None:
    given = planned(
        failures=(Failure("box", 20.0, 30.0), Failure(("box", "server"), 40.0, 42.0)),
        loop={"every": 25.0},
        detection=0.3,
    )
    results = run(given, strategy)
    assert results.total == pytest.approx(4 * 10 * 60, abs=8)
    assert as_csv([results]) == as_csv([run(given, strategy)])
    assert np.isnan(results.latency[results.outcome > 1]).all()


def test_an_unknown_strategy_is_refused() -> None:
    with pytest.raises(ConfigError, match="cleverest"):
        Planning(planned(), "cleverest")
    with pytest.raises(ConfigError, match="no \\[plan\\]"):
        Planning(scenario(traced(1.0)), "exact")


def test_cameras_of_a_keyed_operator_stay_with_one_replica_each_where_the_load_is_least() -> None:
    given = problem()
    fast, slow = (
        replace(given.classes[0], name="fast", fps=20, count=1),
        replace(given.classes[0], count=4, fps=5),
    )
    services = tuple(
        replace(each, seconds=0.03) if each.operator == "Track" else each for each in given.profiles.services
    )
    mixed = problem(
        classes=(slow, fast),
        profiles=replace(given.profiles, services=services),
        applications=(replace(given.applications[0], latency=1.0),),
    )
    results = run(planned(mixed, duration=100.0), "edge-only")
    busy = [share for name, share in results.workers.items() if name.startswith("Track")]
    assert busy == pytest.approx([0.6, 0.6], rel=0.03)
    assert results.counts()["success"] == results.total
