"""What a simulated query costs, beside SimPy on the same queries.

    python -m tools.bench.simulate [--seconds S] [--policies NAME,...]

One dispatcher, 60 workers of two slots on 15 nodes behind links, 1600 single queries a second. The engines are
compared with each query's worker given by its client, so that no policy counts; both must find the same mean
latency. Then each policy decides about every query. Times are processor seconds of this process. SimPy:
`pip install simpy`.
"""

from __future__ import annotations

import argparse
import math
import statistics
import time
from collections.abc import Callable, Generator
from dataclasses import replace
from typing import Any

import numpy as np

from flowedge.dispatch import POLICIES, DispatchPolicy, Request, Workers
from flowedge.planner.model.cluster import Cluster, Link, Node
from flowedge.simulate.arrivals import CHUNK, draw
from flowedge.simulate.dispatching import Dispatching
from flowedge.simulate.scenario import (
    Range,
    Rate,
    RequestKind,
    RequestSource,
    Scenario,
    ServedModel,
    SimulatedWorker,
)

RATE = 1600.0
WORKERS = 60
NODES = 15
DELAYS = 0.001, 0.003, 0.010
GOAL = 600 * RATE
"""Queries of ten minutes, to be simulated within a minute."""


def scenario(seconds: float) -> Scenario:
    """The workload: two applications, each worker serves both."""
    names = [f"n{number}" for number in range(NODES)]
    tiers = "edge", "fog", "cloud"
    nodes = [Node("here", "edge", "site", 0.0)]
    nodes += [Node(name, tiers[number * 3 // NODES], "site", 0.0) for number, name in enumerate(names)]
    links = [Link("here", name, 10e9, DELAYS[number * 3 // NODES], 0.0005) for number, name in enumerate(names)]
    variant = ServedModel("v", 0.04, {"a": 0.3, "b": 0.4}, 0.04, deviation=0.005, slots=2)
    workers = [
        SimulatedWorker(f"w{number}", names[number * NODES // WORKERS], variant) for number in range(WORKERS)
    ]
    source = RequestSource("load", "here", "queries", (("a", 0.5), ("b", 0.5)), Rate(((0.0, RATE),)), count=600)
    source = replace(source, access=Range(0.001, 0.003), bitrate=1e8)
    sizes = Range(20e3, 100e3)
    kinds = RequestKind("a", Range(0.1, 0.2), sizes), RequestKind("b", Range(0.2, 0.5), sizes)
    return Scenario(
        "bench", Cluster(tiers, tuple(nodes), tuple(links)), seconds, kinds, tuple(workers), (source,)
    )


class Given(DispatchPolicy):
    """The worker of each client, whatever happens."""

    def choose(self, request: Request, workers: Workers, rng: np.random.Generator) -> int | None:  # noqa: ARG002
        """Its number, modulo the workers."""
        return request.stream % WORKERS


def ours(given: Scenario, policy: str | DispatchPolicy) -> tuple[int, float, float]:
    """Queries, processor seconds, mean latency."""
    begun = time.process_time()
    simulation = Dispatching(given, policy)
    simulation.advance()
    results = simulation.results()
    return results.total, time.process_time() - begun, float(results.latency.mean())


def simpys(given: Scenario) -> tuple[int, float, float]:
    """The same with SimPy: a process for each query, a resource for each link and each worker."""
    import simpy

    begun = time.process_time()
    arrivals = draw(given)
    clients = arrivals.clients()
    environment = simpy.Environment()
    links = [simpy.Resource(environment) for _ in given.cluster.links]
    workers = [simpy.Resource(environment, worker.variant.slots) for worker in given.workers]
    variant = given.workers[0].variant
    half = math.log1p((variant.deviation / variant.seconds) ** 2) / 2
    found: list[float] = []

    def query(number: int, noise: float, there: float, back: float) -> Generator[Any, Any, None]:
        client = clients[number]
        born = environment.now - client.lag
        worker = number % WORKERS
        position = worker * NODES // WORKERS
        link = given.cluster.links[position]
        with links[position].request() as sending:
            yield sending
            yield environment.timeout(8 * client.size / link.bandwidth)
        yield environment.timeout(max(0.0, link.delay + link.deviation * there))
        with workers[worker].request() as slot:
            yield slot
            yield environment.timeout(variant.seconds * math.exp(math.sqrt(2 * half) * noise - half))
        returned = max(0.0, link.delay + link.deviation * back)
        found.append(environment.now + returned + client.access - born)

    def source() -> Generator[Any, Any, None]:
        for chunk in range(math.ceil(given.duration / CHUNK)):
            requests = arrivals.chunk(chunk)
            for moment, *rest in zip(
                requests.times, requests.clients, requests.noise, requests.there, requests.back, strict=True
            ):
                yield environment.timeout(max(0.0, moment - environment.now))
                environment.process(query(*rest))

    environment.process(source())
    environment.run()
    return len(found), time.process_time() - begun, statistics.fmean(found)


def main() -> None:
    """Prints a line for each engine and each policy."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seconds", type=float, default=30.0, help="simulated time (default %(default)s)")
    parser.add_argument("--policies", default=",".join(POLICIES), help="to measure (default: all)")
    options = parser.parse_args()
    given = scenario(options.seconds)
    engines: dict[str, Callable[[], tuple[int, float, float]]] = {
        "flowedge": lambda: ours(given, Given()),
        "simpy": lambda: simpys(given),
    }
    engines |= {name: (lambda name=name: ours(given, name)) for name in options.policies.split(",") if name}
    print(f"{'':28}  queries  us/query   mean ms   {GOAL:.0f} queries in s")
    for name, measure in engines.items():
        count, seconds, latency = measure()
        per_query = seconds / count
        print(
            f"{name:28} {count:8d}  {1e6 * per_query:8.1f}  {1e3 * latency:8.3f}   {GOAL * per_query:8.1f}",
            flush=True,
        )


if __name__ == "__main__":
    main()
