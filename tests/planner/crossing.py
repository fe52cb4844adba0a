"""A small problem that every test of the planner can count by hand."""

from __future__ import annotations

from typing import Any

from flowedge.planner.model.cluster import Cluster, Link, Node, Power
from flowedge.planner.model.plan import Deployment, Placement, Plan, Route
from flowedge.planner.model.problem import Application, CameraClass, Problem, Stage
from flowedge.planner.model.profiles import Accuracy, OutputSize, Profiles, Service, setting

SIZE = setting(size=640)
EDGE_DETECT = Service("Detect", "pi", cores=2, seconds=0.1, memory=1e9, setting=SIZE)
CLOUD_DETECT = Service("Detect", "xeon", cores=4, seconds=0.02, deviation=0.01, memory=1e9, setting=SIZE)
SMALL_DETECT = Service("Detect", "pi", cores=1, seconds=0.05, setting=setting(size=416))
EDGE_TRACK = Service("Track", "pi", cores=1, seconds=0.01)
CLOUD_TRACK = Service("Track", "xeon", cores=1, seconds=0.005)


def crossing(**changes: Any) -> Problem:
    """Cameras at an edge node; detection in the cloud, tracking and drawing anywhere."""
    stages = (
        Stage("video", source=True),
        Stage("Detect", ("video",)),
        Stage("Track", ("Detect",), keyed=True),
        Stage("Draw", ("video", "Track")),
    )
    nodes = (
        Node("pi", "edge", "pi", cores=4, memory=4e9, power=Power(4.0, 1.0, shared=True)),
        Node(
            "server",
            "cloud",
            "xeon",
            cores=8,
            gpu=0,
            memory=16e9,
            power=Power(100.0, 5.0, shared=True),
            price=2.0,
        ),
        Node("far", "cloud", "xeon", cores=8, memory=16e9),
    )
    links = Link("pi", "server", 10e6, 0.004, 0.001), Link("server", "far", 1e9, 0.03)
    goals = {"latency": 0.5, "accuracy": 0.3} | changes.pop("goals", {})
    services = EDGE_DETECT, CLOUD_DETECT, SMALL_DETECT, EDGE_TRACK, CLOUD_TRACK
    outputs = OutputSize("video", 50_000.0), OutputSize("Detect", 500.0), OutputSize("Track", 250.0)
    accuracies = Accuracy(0.38, SIZE), Accuracy(0.28, setting(size=416))
    given = {
        "cluster": Cluster(("edge", "cloud"), nodes, links),
        "applications": (Application("people", stages, (("size", (416, 640)),), **goals),),
        "classes": (CameraClass("north", "people", "pi", fps=5.0, count=2),),
        "profiles": Profiles(services, outputs, accuracies),
    }
    return Problem(**given | changes)


def plan(**changes: Any) -> Plan:
    """Both cameras are detected and tracked on the server and drawn at the edge: valid for `crossing()`."""
    given: dict[str, Any] = {
        "deployments": (
            Deployment("Detect", "server", CLOUD_DETECT),
            Deployment("Track", "server", CLOUD_TRACK),
        ),
        "routes": (Route("north", 2, SIZE, placements(("server", 0), ("server", 1))),),
        "value": 66.75,
    }
    return Plan("by hand", **given | changes)


def placements(detect: tuple[str, int | None], track: tuple[str, int | None]) -> tuple[Placement, ...]:
    return (
        Placement("video", "pi"),
        Placement("Detect", *detect),
        Placement("Track", *track),
        Placement("Draw", "pi"),
    )
