"""Putting a planning problem together from a graph: what is checked and what becomes a knob."""

from __future__ import annotations

from typing import Any

import pytest

from flowedge import ConfigError, Goal, Graph, choose
from flowedge.operators import MotionDetect, Null, Resize, video
from flowedge.planner.model.assemble import problem
from flowedge.planner.model.cluster import Cluster, Node, Power
from flowedge.planner.model.problem import CameraClass, Problem
from flowedge.planner.model.profiles import Profiles, Service, setting

CAMERAS = (CameraClass("north", "watch", "pi", fps=5),)


def watch(goal: Goal | None = None) -> Graph:
    graph = Graph("watch", goal or Goal())
    video(graph, "street://") >> Resize(choose("width", 320, 640)) >> MotionDetect() >> Null()
    return graph


def cluster(**changes: Any) -> Cluster:
    return Cluster(("edge",), (Node("pi", "edge", "pi", cores=4, **changes),))


def profiles(*more: Service) -> Profiles:
    names = ("Decode", "Resize", "MotionDetect", "Null")
    return Profiles((*(Service(name, "pi", 1, 0.01) for name in names), *more))


def made(graph: Graph | None = None, **changes: Any) -> Problem:
    given = {"cluster": cluster(), "profiles": profiles(), "cameras": CAMERAS} | changes
    return problem(graph or watch(), given.pop("cluster"), given.pop("profiles"), **given)


def test_the_profiles_alone_make_no_knob() -> None:
    measured = profiles(Service("MotionDetect", "pi", 1, 0.02, setting=setting(area=20)))
    with pytest.raises(ConfigError, match=r"MotionDetect: its profiles are for values of area, .* choose"):
        made(profiles=measured)


def test_values_of_which_none_was_measured_are_refused() -> None:
    measured = profiles(Service("MotionDetect", "pi", 1, 0.02, setting=setting(area=20)))
    graph = Graph("watch")
    video(graph, "street://") >> Resize(320) >> MotionDetect(min_area=choose("area", 30, 40)) >> Null()
    with pytest.raises(ConfigError, match="area=30, 40: was not measured; the profiles have 20"):
        made(graph, profiles=measured)


def test_every_operator_but_sources_needs_a_profile() -> None:
    few = Profiles((Service("Decode", "pi", 1, 0.01), Service("Resise", "pi", 1, 0.01)))
    with pytest.raises(ConfigError) as caught:
        made(profiles=few)
    assert str(caught.value).startswith(
        'Resize (did you mean "Resise"?), MotionDetect, Null: not in the profiles, which have Resise besides; '
    )
    assert made(profiles=few, assume_free=("Resize", "MotionDetect", "Null")).profiles.free("Resize")


def test_an_operator_measured_to_take_no_time_is_free() -> None:
    quick = Profiles((Service("Null", "pi", 1, 4e-6), Service("Null", "pi", 0.1, 4e-5)))
    assert quick.free("Null")
    assert quick.services_of("Null", ()) == ()
    slow = Service("Null", "xeon", 1, 4e-4)
    assert not Profiles((*quick.services, slow)).free("Null")


def test_without_cameras_there_is_nothing_to_plan() -> None:
    with pytest.raises(ConfigError, match="cameras: there are none"):
        made(cameras=())


def test_the_goal_is_minimized_where_nodes_say_what_it_needs() -> None:
    assert made().minimize == "resources"
    assert made(cluster=cluster(power=Power(4.0, 1.0))).minimize == "energy"
    assert made(watch(Goal(minimize="cost")), cluster=cluster(price=2.0)).minimize == "cost"


def test_theta_of_the_goal_reaches_the_problem() -> None:
    whole = made(watch(Goal(minimize="utility", theta=0.5)))
    assert (whole.minimize, whole.theta) == ("utility", 0.5)
    assert made(watch(Goal(minimize="utility"))).theta == 0.1
