"""Problems: settings, rates, and what is refused."""

from __future__ import annotations

import re
from typing import Any

import pytest

from flowedge.errors import ConfigError
from flowedge.planner.model.problem import Application, CameraClass, Stage
from tests.planner.crossing import crossing

VIDEO = Stage("video", source=True)


def test_settings_are_all_combinations_of_knobs_by_name() -> None:
    application = Application("a", (VIDEO,), (("tiles", (1, 4)), ("size", (416, 640))))
    assert list(application.settings()) == [
        (("size", 416), ("tiles", 1)),
        (("size", 416), ("tiles", 4)),
        (("size", 640), ("tiles", 1)),
        (("size", 640), ("tiles", 4)),
    ]
    assert list(Application("a", (VIDEO,)).settings()) == [()]


def test_a_camera_sends_what_the_goal_wants_but_no_more_than_it_has() -> None:
    camera = CameraClass("north", "people", "pi", fps=15.0)
    assert crossing(classes=(camera,)).rates[camera.name] == 15.0
    assert crossing(classes=(camera,), goals={"throughput": 10.0}).rates[camera.name] == 10.0
    assert crossing(classes=(camera,), goals={"throughput": 30.0}).rates[camera.name] == 15.0


@pytest.mark.parametrize(
    ("stages", "sentence"),
    [
        ((VIDEO, Stage("Detect", ("Vide",))), "a.Detect: its input 'Vide' is no stage before it"),
        ((Stage("Detect", ("video",)), VIDEO), "a.Detect: its input 'video' is no stage before it"),
        ((VIDEO, VIDEO), "a: two stages are named 'video'"),
        ((Stage("Detect"),), "a.Detect: a source has no inputs, every other stage has some"),
        ((VIDEO, Stage("Detect", ("video",), source=True)), "a.Detect: a source has no inputs"),
    ],
)
def test_stages_that_cannot_be_are_refused(stages: tuple[Stage, ...], sentence: str) -> None:
    with pytest.raises(ConfigError, match=re.escape(sentence)):
        Application("a", stages)


@pytest.mark.parametrize(
    ("parts", "sentence"),
    [
        ({"classes": (CameraClass("n", "cars", "pi", 5),)}, "cameras n: there is no application 'cars'"),
        ({"classes": (CameraClass("n", "people", "pie", 5),)}, "cameras n: there is no node 'pie'"),
        ({"classes": (CameraClass("n", "people", "pi", 0),)}, "cameras n: at least 1 camera with a frame rate"),
        ({"classes": (CameraClass("n", "people", "pi", 5, 0),)}, "cameras n: at least 1 camera"),
        ({"classes": (CameraClass("n", "people", "pi", 5),) * 2}, "cameras: two are named 'n'"),
        ({"applications": (Application("people", (VIDEO,)),) * 2}, "applications: two are named 'people'"),
        ({"utilisation": 1.0}, "utilisation: 1.0 is not a share above 0 and below 1"),
        (
            {"applications": (Application("people", (VIDEO, Stage("Draw", ("video",), tier="fog"))),)},
            "people.Draw: tier 'fog' is none of edge, cloud",
        ),
    ],
)
def test_problems_that_cannot_be_are_refused(parts: dict[str, Any], sentence: str) -> None:
    with pytest.raises(ConfigError, match=re.escape(sentence)):
        crossing(**parts)


def test_operators_of_one_name_are_one() -> None:
    people = Application("people", (VIDEO, Stage("Track", ("video",), keyed=True)))
    cars = Application("cars", (VIDEO, Stage("Track", ("video",))))
    with pytest.raises(
        ConfigError, match=re.escape("cars.Track: is keyed or a singleton otherwise than in people")
    ):
        crossing(applications=(people, cars))
