"""What a plan will do, against figures counted by hand."""

from __future__ import annotations

from dataclasses import replace

import pytest

from flowedge.planner.model.plan import Deployment, Placement
from flowedge.planner.model.prediction import (
    Latency,
    frame_joules,
    predict,
    reserved_watts,
    shipments,
)
from tests.planner.crossing import CLOUD_DETECT, CLOUD_TRACK, EDGE_DETECT, SIZE, crossing, placements, plan


def test_latency_has_its_parts_along_the_slowest_way() -> None:
    figures = predict(crossing(), plan())
    (latency,) = figures.latencies
    link = 0.004 + 2 * 0.001
    assert latency.service == pytest.approx(0.02 + 0.005)
    assert latency.network == pytest.approx(link + 50_000 * 8 / 10e6 + link + 250 * 8 / 10e6)
    waits = CLOUD_DETECT.mean_wait(10 / 50, streams=2), CLOUD_TRACK.mean_wait(10 / 200, streams=2)
    assert figures.waits == pytest.approx(waits)
    assert latency.waiting == pytest.approx(sum(waits))
    assert latency.total == latency.service + latency.waiting + latency.network


def test_load_throughput_accuracy_and_traffic() -> None:
    figures = predict(crossing(), plan())
    assert figures.utilisations == (pytest.approx(10 / 50), pytest.approx(10 / 200))
    assert (figures.loads, figures.streams) == ((10.0, 10.0), (2, 2))
    assert figures.throughput == 10.0
    assert figures.accuracies == (0.38,)
    assert figures.arcs == {0: pytest.approx(10 * 50_000 * 8), 1: pytest.approx(10 * 250 * 8)}


def test_energy_resources_and_cost() -> None:
    figures = predict(crossing(), plan())
    # Shares of the server: half its cores for Detect, an eighth for Track.
    assert figures.shares == pytest.approx(0.5 + 0.125)
    assert figures.price == pytest.approx(2.0 * 0.625)
    assert figures.watts == pytest.approx(62.5 + 10 * (4 * 5.0 * 0.02) + 10 * (1 * 5.0 * 0.005))


@pytest.mark.parametrize(
    ("minimize", "name"), [("energy", "watts"), ("resources", "shares"), ("cost", "price")]
)
def test_the_value_is_what_is_minimized(minimize: str, name: str) -> None:
    figures = predict(crossing(minimize=minimize), plan())
    assert figures.value == getattr(figures, name)


def test_utility_weighs_latency_against_accuracy_for_each_camera() -> None:
    figures = predict(crossing(minimize="utility", theta=0.5), plan())
    assert figures.value == pytest.approx(2 * (0.5 * figures.latencies[0].total - 0.38))


def test_an_output_for_two_stages_on_one_node_is_sent_once() -> None:
    problem = crossing()
    application = problem.applications[0]
    placed = {"video": "pi", "Detect": "server", "Track": "server", "Draw": "server"}
    assert shipments(problem, application, placed, SIZE) == [("pi", "server", 50_000.0)]
    placed["Draw"] = "far"
    assert ("pi", "far", 50_000.0) in shipments(problem, application, placed, SIZE)


def test_a_stage_on_its_inputs_node_costs_no_network() -> None:
    problem = crossing()
    deployed = (Deployment("Detect", "pi", EDGE_DETECT, 2), Deployment("Track", "server", CLOUD_TRACK))
    route = replace(plan().routes[0], placements=placements(("pi", 0), ("server", 1)))
    (latency,) = predict(problem, plan(deployments=deployed, routes=(route,))).latencies
    assert latency.network == pytest.approx(2 * 0.006 + (500 + 250) * 8 / 10e6)


def test_frames_a_second_are_at_most_what_the_goal_wants() -> None:
    assert predict(crossing(goals={"throughput": 2.0}), plan()).throughput == 4.0
    assert predict(crossing(goals={"throughput": 25.0}), plan()).throughput == 10.0


def test_no_path_is_an_infinite_latency() -> None:
    problem = crossing()
    alone = replace(problem, cluster=replace(problem.cluster, links=()))
    assert predict(alone, plan()).latencies[0].total == float("inf")


def test_power_is_idle_power_by_share_and_joules_by_frame() -> None:
    cluster = crossing().cluster
    assert reserved_watts(cluster["pi"], EDGE_DETECT) == 2.0
    assert frame_joules(cluster["server"], replace(CLOUD_DETECT, batch=4)) == pytest.approx(4 * 5.0 * 0.02 / 4)


def test_latencies_add_up_by_part() -> None:
    assert Latency(1, 2, 3) + Latency(10, 20, 30) == Latency(11, 22, 33)


def test_placements_are_data() -> None:
    assert Placement("Draw", "pi").deployment is None
