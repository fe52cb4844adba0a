"""A problem that can be solved by hand."""

from __future__ import annotations

from flowedge.planner.model.cluster import Cluster, Link, Node, Power
from flowedge.planner.model.problem import Application, CameraClass, Problem, Stage
from flowedge.planner.model.profiles import Accuracy, OutputSize, Profiles, Service, setting


def small(*, latency: float = 1.0, cores: float = 4, fps: float = 10, count: int = 1) -> Problem:
    """One detector: 50 ms beside the camera, or 10 ms behind a link of 20 ms for ten times the power."""
    nodes = (
        Node("near", "edge", "pi", cores, power=Power(idle=4.0, shared=True)),
        Node("far", "cloud", "xeon", 40, power=Power(idle=400.0, shared=True)),
    )
    stages = (Stage("video", source=True), Stage("Detect", ("video",)))
    services = (
        Service("Detect", "pi", 1, 0.05, setting=setting(size=640)),
        Service("Detect", "xeon", 1, 0.01, setting=setting(size=640)),
        Service("Detect", "pi", 1, 0.02, setting=setting(size=320)),
        Service("Detect", "xeon", 1, 0.004, setting=setting(size=320)),
    )
    accuracies = Accuracy(0.4, setting(size=640)), Accuracy(0.3, setting(size=320))
    return Problem(
        Cluster(("edge", "cloud"), nodes, (Link("near", "far", 8e6, 0.02),)),
        (Application("app", stages, (("size", (320, 640)),), latency=latency, accuracy=0.35),),
        (CameraClass("c", "app", "near", fps, count),),
        Profiles(services, (OutputSize("video", 1000),), accuracies),
    )
