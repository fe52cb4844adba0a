"""Profiles that a user gives, as what the settings of a graph take."""

from __future__ import annotations

import pytest

from flowedge import ConfigError, Graph, choose
from flowedge.operators import Null, Resize, video
from flowedge.planner.model.profiles import Accuracy, Profiles, Service, Setting, setting
from flowedge.runtime.controller.given_costs import costs_of


def graph() -> Graph:
    made = Graph("door")
    video(made, "street://") >> Resize(choose("size", 320, 640)) >> Null()
    return made


def profiles(*more: Service, kind: str = "this-machine") -> Profiles:
    free = [Service(name, kind, 1, 1e-6) for name in ("Decode", "Null")]
    return Profiles((*free, *more), (), (Accuracy(0.3, setting(size=320)), Accuracy(0.4, setting(size=640))))


def resize(size: int, cores: float, seconds: float, kind: str = "this-machine", **more: float) -> Service:
    return Service("Resize", kind, cores, seconds, setting=setting(size=size), **more)  # type: ignore[arg-type]


def test_the_cheapest_way_to_serve_a_setting_on_this_machine_counts() -> None:
    known = profiles(
        resize(320, 1, 0.010), resize(640, 1, 0.040), resize(640, 2, 0.025), resize(640, 1, 0.05, work=0.03),
        resize(320, 1, 0.001, kind="cloud"),
    )  # fmt: skip
    costs = costs_of(graph(), known)
    works: dict[Setting, float] = {size: cost.work["Resize"] for size, cost in costs.items()}
    assert works == {setting(size=320): 0.010, setting(size=640): 0.03}
    assert [cost.accuracy for cost in costs.values()] == [0.3, 0.4]


def test_a_batch_is_shared_by_its_frames() -> None:
    known = profiles(resize(320, 1, 0.010), resize(640, 1, 0.040, batch=4))
    assert costs_of(graph(), known)[setting(size=640)].work == {"Resize": 0.01}


@pytest.mark.parametrize(
    ("known", "said"),
    [
        (Profiles((Service("Resize", "a", 1, 1.0), Service("Resize", "b", 1, 1.0))), "for the kinds a, b"),
        (Profiles(), "for the kinds of no machine"),
        (profiles(Service("Rezise", "this-machine", 1, 1.0)), 'Resize .did you mean "Rezise"?'),
        (profiles(resize(320, 1, 1.0)), "Resize: there is no profile for size=640"),
    ],
)
def test_what_does_not_fit_is_refused(known: Profiles, said: str) -> None:
    with pytest.raises(ConfigError, match=said):
        costs_of(graph(), known)
