"""Small scenarios that can be followed by hand."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np

from flowedge.planner.model.cluster import Cluster, Link, Node
from flowedge.simulate.dispatching import Dispatching
from flowedge.simulate.results import Results
from flowedge.simulate.scenario import (
    Range,
    Rate,
    RequestKind,
    RequestSource,
    Scenario,
    ServedModel,
    SimulatedWorker,
    TraceRow,
)

VARIANT = ServedModel("one", 0.1, {"people": 0.5}, 0.1)


def fixed(value: float) -> Range:
    return Range(value, value)


def cluster(*delays: float, bandwidth: float = 1e12, deviation: float = 0.0) -> Cluster:
    """A dispatcher's node "here", and nodes "n0", "n1", ... at these delays from it."""
    names = [f"n{number}" for number in range(len(delays))]
    nodes = [Node("here", "edge", "site", 0.0), *(Node(name, "cloud", "site", 0.0) for name in names)]
    links = [Link("here", name, bandwidth, delay, deviation) for name, delay in zip(names, delays, strict=True)]
    return Cluster(("edge", "cloud"), tuple(nodes), tuple(links))


def traced(*times: float, **changes: Any) -> RequestSource:
    """Single queries at these times."""
    return replace(
        RequestSource("trace", "here", "trace", rows=tuple(TraceRow(time, "people") for time in times)),
        **changes,
    )


def poisson(rate: float, **changes: Any) -> RequestSource:
    """Single queries of a Poisson process."""
    return replace(
        RequestSource("load", "here", "queries", (("people", 1.0),), Rate(((0.0, rate),)), count=20), **changes
    )


def streams(rate: float, lifetime: float) -> RequestSource:
    """Streams that come and go."""
    return RequestSource("streams", "here", "streams", (("people", 1.0),), Rate(((0.0, rate),)), lifetime)


def scenario(source: RequestSource, **changes: Any) -> Scenario:
    """One worker on one node, 100 ms a query, nothing in the way; `changes` replace the scenario's fields."""
    fields: dict[str, Any] = {
        "cluster": cluster(0.0),
        "duration": 10.0,
        "kinds": (RequestKind("people", fixed(1.0)),),
        "workers": (SimulatedWorker("w", "n0", VARIANT),),
        "sources": (source,),
        "feasible": "compatible",
    }
    return Scenario("small", **(fields | changes))


def run(given: Scenario, policy: str = "least-impedance") -> Results:
    simulation = Dispatching(given, policy)
    simulation.advance()
    return simulation.results()


def latencies(results: Results) -> list[float]:
    """Seconds to each answer, in order."""
    return np.sort(results.latency[~np.isnan(results.latency)]).round(6).tolist()


def found(results: Results) -> dict[str, int]:
    """The outcomes that there are."""
    return {name: count for name, count in results.counts().items() if count}
