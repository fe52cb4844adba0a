"""Planning a graph: the one function that the command line, a notebook and a controller call."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass
from functools import cached_property

from flowedge.errors import ConfigError
from flowedge.graph.graph import Graph
from flowedge.graph.knobs import suggestion
from flowedge.planner.model.assemble import problem
from flowedge.planner.model.checker import violations
from flowedge.planner.model.cluster import Cluster
from flowedge.planner.model.plan import Plan
from flowedge.planner.model.prediction import Prediction, predict
from flowedge.planner.model.problem import CameraClass, Problem
from flowedge.planner.model.profiles import Profiles
from flowedge.planner.strategies import STRATEGIES


@dataclass(frozen=True)
class Planned:
    """A planning problem and the plan that a strategy made for it."""

    problem: Problem
    plan: Plan

    @property
    def found(self) -> bool:
        """Whether there is a plan; `plan.reason` says why not."""
        return self.plan.found

    @cached_property
    def violations(self) -> tuple[str, ...]:
        """What is wrong with the plan, a sentence each; checked without trusting the strategy."""
        return violations(self.problem, self.plan)

    @cached_property
    def prediction(self) -> Prediction:
        """Latency (s), throughput (frames/s), accuracy (0..1), power (W) and load that the plan will have.

        Raises `ValueError` where no plan was found.
        """
        if not self.found:
            raise ValueError("no plan was found, so there is nothing to predict")
        return predict(self.problem, self.plan)


def plan(
    graph: Graph,
    cluster: Cluster,
    profiles: Profiles,
    *,
    cameras: Sequence[CameraClass],
    strategy: str = "flowedge",
    start: Plan | None = None,
    assume_free: Collection[str] = (),
) -> Planned:
    """Plan where the operators of a graph run in a cluster, in how many replicas and with which knob values.

    `cameras` are classes of equal cameras; each names the graph as its application ("GRAPH.SOURCE" where the
    graph has several sources) and the node where its video arrives. `strategy` is a name in
    `flowedge.planner.strategies.STRATEGIES`. `start` is the plan in force, from which a strategy that can do so
    begins. Every operator but sources needs a profile, unless `assume_free` names it. Files are read by
    `flowedge.planner.files.documents`.

    A goal that cannot be reached is no error: `plan.reason` of what is returned names the limits in conflict.
    Raises `ConfigError` for an unknown strategy, an operator without a profile, and other wrong input;
    `GraphError` for a graph that is not complete.

    >>> from flowedge import Goal, Graph
    >>> from flowedge.operators import Detect, Null, video
    >>> from flowedge.planner import plan
    >>> from flowedge.planner.model.cluster import Link, Node, Power
    >>> from flowedge.planner.model.profiles import OutputSize, Service
    >>> graph = Graph("door", Goal(latency="250 ms"))
    >>> video(graph, "rtsp://127.0.0.1/door") >> Detect("street") >> Null()
    >>> cluster = Cluster(
    ...     ("edge", "cloud"),
    ...     (
    ...         Node("pi", "edge", "pi", cores=4, power=Power(idle=3.0, core=1.0)),
    ...         Node("server", "cloud", "xeon", cores=32, power=Power(idle=100.0, core=5.0)),
    ...     ),
    ...     (Link("pi", "server", bandwidth=20e6, delay=0.01),),
    ... )
    >>> profiles = Profiles(
    ...     (Service("Detect", "pi", 1, 0.3), Service("Detect", "xeon", 1, 0.02)), (OutputSize("Decode", 60e3),)
    ... )
    >>> done = plan(
    ...     graph, cluster, profiles, cameras=[CameraClass("doors", "door", "pi", fps=5, count=2)],
    ...     assume_free=("Decode", "Null"),
    ... )
    >>> [(each.operator, each.node, each.replicas) for each in done.plan.deployments]
    [('Detect', 'server', 1)]
    >>> round(done.prediction.latencies[0].total, 3), done.violations
    (0.057, ())
    """
    planned_problem = problem(graph, cluster, profiles, cameras=cameras, assume_free=assume_free)
    return solved(planned_problem, strategy, start)


def solved(problem: Problem, strategy: str = "flowedge", start: Plan | None = None) -> Planned:
    """The plan that the strategy of this name makes for a problem. Raises `ConfigError` for an unknown name."""
    if strategy not in STRATEGIES:
        raise ConfigError(f"strategy: there is no {strategy!r}{suggestion(strategy, STRATEGIES)}")
    return Planned(problem, STRATEGIES[strategy](problem, start))
