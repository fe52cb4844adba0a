"""A plan file is run as it is, or refused in one sentence that names what does not fit."""

from __future__ import annotations

import copy
import json
from collections.abc import Callable
from typing import Any

import pytest

from flowedge import ConfigError, Event, Graph, choose
from flowedge.runtime.plan_file import LocalPlan, local_plan
from flowedge.runtime.routes import Configuration
from flowedge.runtime.run import Run
from tests.runtime.fake_steps import SECONDS, Collect, Play, event
from tests.runtime.test_routes import Mark


def graph_of(*cameras: str) -> tuple[Graph, list[Event]]:
    graph, came = Graph("g"), []

    def play(camera: str, _: Any) -> Any:
        return (event(camera, index) for index in range(3))

    stream = graph.source(Play(dict.fromkeys(cameras, ""), play=play)) >> Mark(choose("number", 1, 2, 3))
    stream >> Collect(came.append)
    return graph, came


def route(cameras: str, count: int = 1, number: Any = 2, deployment: int | None = 0) -> dict[str, Any]:
    placements = {name: {"node": "here", "deployment": None} for name in ("Play", "Mark", "Collect")}
    placements["Mark"]["deployment"] = deployment
    return {"cameras": cameras, "count": count, "setting": {"number": number}, "placements": placements}


def plan(*routes: dict[str, Any], replicas: int = 1) -> dict[str, Any]:
    deployments = [{"operator": "Mark", "node": "here", "replicas": replicas, "cores": 1.0}]
    return {"strategy": "flowedge", "found": True, "deployments": deployments, "routes": list(routes)}


def whole(data: Any, *cameras: str) -> LocalPlan:
    return local_plan(graph_of(*(cameras or ("north",)))[0], "plan.json", json.dumps(data))


def read(data: Any, *cameras: str) -> list[tuple[Configuration, tuple[str, ...] | None]]:
    return whole(data, *cameras).configurations


def at(number: int, **workers: tuple[str, ...]) -> Configuration:
    return Configuration((("number", number),), workers)


def test_one_setting_is_for_all_cameras_however_many() -> None:
    assert read(plan(route("street", count=7, number=3)), "north", "south") == [(at(3), None)]


def test_replicas_are_workers() -> None:
    assert read(plan(route("street"), replicas=2)) == [(at(2, Mark=("w1", "w2")), None)]


@pytest.mark.parametrize(
    ("replicas", "cores", "work", "shares", "threads"),
    [
        (2, 0.5, 0.0, {"w1": 0.5, "w2": 0.5}, None),
        (2, 2, 0.0, {"w1": 2, "w2": 2}, None),
        (2, 0.5, 0.01, {}, None),  # it may use what others leave idle
        (1, 0.5, 0.0, {"w1": 0.5}, None),
        (1, 0.5, 0.01, {}, None),
        (1, 2, 0.0, {}, 2),
        (1, 0, 0.0, {}, None),
    ],
)
def test_what_replicas_have_for_themselves_is_kept_for_them(
    replicas: int, cores: float, work: float, shares: dict[str, float], threads: int | None
) -> None:
    data = other("deployments.0", cores=cores, work=work)(plan(route("street"), replicas=replicas))
    planned = whole(data)
    assert (planned.shares, planned.threads, planned.not_kept) == (shares, threads, ())
    workers = ("w1", "w2")[:replicas] if shares or replicas > 1 else ()
    assert planned.configurations[0][0].workers == ({"Mark": workers} if workers else {})


def test_a_worker_has_the_cores_of_all_that_works_on_it() -> None:
    data = plan(route("north", number=1), route("south", number=2, deployment=1), replicas=2)
    data["deployments"].append({"operator": "Mark", "node": "here", "replicas": 3, "cores": 0.25})
    assert whole(data, "north", "south").shares == {"w1": 1.25, "w2": 1.25, "w3": 0.25}


def test_a_part_of_a_core_that_nobody_can_keep_is_named() -> None:
    data = plan(route("street"))
    data["deployments"].append({"operator": "Collect", "node": "here", "replicas": 1, "cores": 0.1})
    data["routes"][0]["placements"]["Collect"]["deployment"] = 1
    assert whole(data).not_kept == ("Collect",)


def test_a_class_with_the_name_of_a_camera_is_that_camera() -> None:
    data = plan(route("east", number=1), route("south", number=3), route("street", count=2, number=1))
    assert read(data, "south", "north", "west", "east") == [(at(1), None), (at(3), ("south",))]


def test_cameras_without_a_class_of_their_name_are_taken_in_order() -> None:
    data = plan(route("street", count=1, number=1), route("street", count=2, number=3))
    assert read(data, "a", "b", "c") == [(at(3), None), (at(1), ("a",))]


def elsewhere(stage: str, data: dict[str, Any]) -> dict[str, Any]:
    """The route, with a stage on another machine."""
    data["placements"][stage]["node"] = "cloud"
    return data


def test_what_is_placed_on_another_node_works_on_workers_there() -> None:
    planned = local_plan(
        graph_of("a")[0], "plan.json", json.dumps(plan(elsewhere("Mark", route("a")), replicas=2))
    )
    assert planned.configurations == [(at(2, Mark=("cloud/1", "cloud/2")), None)]
    assert planned.machines == ("cloud",)


def test_what_can_work_only_where_the_cameras_are_read_is_named() -> None:
    data = plan(elsewhere("Collect", route("a", deployment=None)))
    data["deployments"][0]["operator"] = "Collect"
    data["routes"][0]["placements"]["Collect"]["deployment"] = 0
    planned = local_plan(graph_of("a")[0], "plan.json", json.dumps(data))
    assert (planned.recalled, planned.machines) == (("Collect",), ())


def change(**fields: Any) -> Callable[[dict[str, Any]], Any]:
    return lambda data: data | fields


def other(where: str, **fields: Any) -> Callable[[dict[str, Any]], Any]:
    """Change a part of the first route or deployment, named by its path."""

    def changed(data: dict[str, Any]) -> dict[str, Any]:
        data = copy.deepcopy(data)
        part: Any = data
        for key in where.split("."):
            part = part[int(key) if key.isdigit() else key]
        part.update(fields)
        return data

    return changed


PLACED = {"node": "here", "deployment": None}


@pytest.mark.parametrize(
    ("spoilt", "said"),
    [
        (lambda _: [], "[] is not a plan"),
        (change(found=False, conflict=["latency 1 ms"]), "there is no plan in it: latency 1 ms"),
        (change(routes=[]), "the plan serves no cameras"),
        (change(routes=None), "routes: is missing"),
        (change(routes=[3]), "routes[0].cameras: 3 is no str"),
        (other("routes.0", setting={"number": 4}), "setting.number: 4 is none of its choices 1, 2, 3"),
        (other("routes.0", setting={"number": True}), "setting.number: True is none of its choices 1, 2, 3"),
        (other("routes.0", setting={"numbre": 1}), 'the graph has no knob numbre; did you mean "number"?'),
        (other("routes.0", setting={}), "has no value for the knob number of Mark"),
        (other("routes.0", count="2"), "routes[0].count: '2' is no int"),
        (other("routes.0.placements", Marc=PLACED), 'the graph has no operator Marc; did you mean "Mark"?'),
        (
            lambda data: plan(route("a"), elsewhere("Play", route("b"))),
            "reads cameras on 2 nodes (cloud, here)",
        ),
        (other("routes.0.placements.Mark", deployment=5), "Mark: there is no deployment 5"),
        (other("routes.0.placements.Collect", deployment=0), "operator: is Mark, but Collect is placed there"),
        (other("routes.0", placements={"Play": PLACED}), "has no value for the knob"),
        (other("deployments.0", cores="2"), "deployments[0].cores: '2' is not a number from 0"),
        (other("deployments.0", cores=float("inf")), "deployments[0].cores: inf is not a number from 0"),
        (other("deployments.0", replicas=0), "deployments[0].replicas: 0 is not a whole number from 1"),
    ],
)
def test_what_does_not_fit_is_one_sentence(spoilt: Callable[[Any], Any], said: str) -> None:
    if said == "has no value for the knob":
        said = "says nothing of Mark; it was made for another graph"
    with pytest.raises(ConfigError) as refused:
        read(spoilt(plan(route("street"))))
    assert str(refused.value).startswith("plan.json: ")
    assert said in str(refused.value)
    assert "\n" not in str(refused.value)


def test_a_sink_cannot_have_replicas() -> None:
    data = plan(route("street"))
    data["deployments"].append({"operator": "Collect", "node": "here", "replicas": 2})
    data["routes"][0]["placements"]["Collect"]["deployment"] = 1
    with pytest.raises(ConfigError, match="Collect has 2 replicas, but it can work only in the process that"):
        read(data)


def test_different_settings_need_as_many_cameras() -> None:
    data = plan(route("street", count=2, number=1), route("yard", count=2, number=3))
    with pytest.raises(ConfigError, match=r"for 4 cameras \(street, yard\), but the graph has 3 \(a, b, c\)"):
        read(data, "a", "b", "c")


def test_not_json() -> None:
    with pytest.raises(ConfigError, match=r"^plan\.json: is not JSON: "):
        local_plan(graph_of("north")[0], "plan.json", "strategy = 3")


def test_every_frame_goes_by_the_plan_from_the_first_on() -> None:
    graph, came = graph_of("north", "south")
    data = plan(route("north", number=3), route("south", number=2))
    with Run(graph, plan=local_plan(graph, "plan.json", json.dumps(data)).configurations) as run:
        report = run.wait(SECONDS)
    assert {(value.origin.camera, value.data["Mark"]) for value in came} == {("north", 3), ("south", 2)}
    assert len(came) == 6
    assert {name: camera.knobs for name, camera in report.cameras.items()} == {
        "north": {"number": 3},
        "south": {"number": 2},
    }
    assert report.cameras["north"].route != report.cameras["south"].route
