"""A plan in words and as data."""

from __future__ import annotations

import json
import re

import pytest

from flowedge.planner.display.text import as_data, headline, node_loads, reason, text
from flowedge.planner.model.plan import Plan, Reason
from flowedge.planner.model.prediction import predict
from flowedge.planner.model.problem import CameraClass
from flowedge.planner.model.profiles import Profiles
from tests.planner.crossing import crossing, plan


def test_the_tables_name_what_runs_where() -> None:
    said = text(crossing(), plan(bound=60.0))
    for words in (
        "by hand: 66.75 W, at most 11.2 % above the best (which is at least 60 W)",
        "pi: video, Draw; server: Detect, Track",
        "size=640",
        "energy 66.8 W",
        "throughput 10 frames/s",
        "accuracy at least 0.380",
        "5 of 8",
    ):
        assert words in said, said


def test_the_parts_of_the_latency_make_the_whole() -> None:
    problem = crossing()
    line = next(line for line in text(problem, plan()).splitlines() if line.startswith("latency"))
    whole, *parts = (float(number) for number in re.findall(r"(?:most|service|waiting|network) ([\d.]+)", line))
    (latency,) = predict(problem, plan()).latencies
    assert whole == pytest.approx(1e3 * latency.total, rel=0.01)
    assert sum(parts) == pytest.approx(whole, rel=0.01)


def test_links_are_shown_with_their_load() -> None:
    row = next(line for line in text(crossing(), plan()).splitlines() if line.startswith("pi  "))
    assert row.split() == ["pi", "server", "4", "10", "40"]


def test_energy_adds_up_over_the_nodes() -> None:
    problem = crossing()
    watts = sum(load.watts for load in node_loads(problem, plan()).values())
    assert abs(watts - predict(problem, plan()).watts) < 1e-9


def test_a_plan_without_a_bound_says_so() -> None:
    assert "is not known" in headline(crossing(), plan())
    assert headline(crossing(), plan(bound=66.75)).endswith("the best there is")


def test_why_not_has_a_line_for_each_limit() -> None:
    none = Plan(
        "exact", reason=Reason(("people: latency at most 0.1 s", "link pi - server: 1 Mbit/s"), proven=True)
    )
    assert text(crossing(), none).splitlines() == [
        "there is no plan: these cannot hold together (without any one of them there may be one):",
        "- people: latency at most 0.1 s",
        "- link pi - server: 1 Mbit/s",
    ]


def test_what_is_not_proven_is_not_said() -> None:
    assert "does not prove" in reason(Plan("random", reason=Reason(("no room",), proven=False)))


def test_data_is_plain_and_has_every_figure() -> None:
    data = json.loads(json.dumps(as_data(crossing(), plan(bound=60.0))))
    (route,) = data["routes"]
    assert route["placements"]["Detect"] == {"node": "server", "deployment": 0}
    assert route["placements"]["Draw"] == {"node": "pi", "deployment": None}
    assert data["deployments"][0]["frames_per_second"] == 10
    assert data["bound"] == 60.0
    assert {(link["from"], link["to"]) for link in data["links"]} == {("pi", "server"), ("server", "pi")}
    latency = route["latency"]
    assert abs(latency["total"] - latency["service"] - latency["waiting"] - latency["network"]) < 1e-12


def test_data_of_no_plan_says_why() -> None:
    data = as_data(crossing(), Plan("exact", reason=Reason(("too slow",), proven=True)))
    assert (data["found"], data["conflict"], data["proven"]) == (False, ["too slow"], True)


def test_json_holds_no_infinity_and_says_why() -> None:
    """The small detector cannot keep up with 2 x 30 frames/s, so its queue grows without end."""
    problem = crossing(classes=(CameraClass("north", "people", "pi", fps=30.0, count=2),))
    data = as_data(problem, plan(value=float("inf")))
    json.dumps(data, allow_nan=False)
    assert data["value"] is None
    assert data["routes"][0]["latency"]["waiting"] is None
    assert "routes[0].latency.waiting is inf, which JSON cannot say: it is null" in data["notes"]


def test_kinds_without_profiles_are_named() -> None:
    none = Plan("exact", reason=Reason(("no room",), proven=True))
    services = tuple(each for each in crossing().profiles.services if each.kind != "xeon")
    problem = crossing(profiles=Profiles(services))
    assert text(problem, none).splitlines()[-1].startswith("nodes of kind xeon cannot run Detect, Track: ")
    assert as_data(problem, none)["unprofiled"] == {"xeon": ["Detect", "Track"]}
    assert as_data(crossing(), none)["unprofiled"] == {}
