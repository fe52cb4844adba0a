"""Requests that a policy dispatches over workers, one policy object for each dispatcher.

>>> from flowedge.planner.model.cluster import Cluster, Link, Node
>>> from flowedge.simulate.scenario import Range, Rate, RequestKind, RequestSource, Scenario
>>> from flowedge.simulate.scenario import ServedModel, SimulatedWorker
>>> near = ServedModel("small", 0.02, {"people": 0.3}, 0.02)
>>> scenario = Scenario(
...     "tiny",
...     Cluster(("edge",), (Node("antenna", "edge", "box", 0), Node("box", "edge", "box", 8)),
...             (Link("antenna", "box", 1e9, 0.001),)),
...     duration=20.0,
...     kinds=(RequestKind("people", Range(0.1, 0.1)),),
...     workers=(SimulatedWorker("box-1", "box", near),),
...     sources=(RequestSource("cameras", "antenna", "queries", (("people", 1.0),), Rate(((0.0, 10.0),))),),
... )
>>> simulation = Dispatching(scenario, "least-impedance")
>>> simulation.advance()
>>> results = simulation.results()
>>> results.total > 150, results.share("success") > 0.9
(True, True)
"""

from __future__ import annotations

import copy
import math
from time import thread_time

import numpy as np

from flowedge.dispatch import FEASIBILITIES, DispatchPolicy, Request, Workers, make
from flowedge.simulate.arrivals import LOST, NEW, REJECTED, Arrivals, Client, draw
from flowedge.simulate.choosing import MEMORY
from flowedge.simulate.core import LATE, LINK, SUCCESS, Core, Path, QueuedJob, Station
from flowedge.simulate.core import REJECTED as REFUSED
from flowedge.simulate.failures import FailureProcess
from flowedge.simulate.feed import RequestFeed
from flowedge.simulate.paths import Routing
from flowedge.simulate.results import Results, collect
from flowedge.simulate.scenario import Scenario, ServedModel, SimulatedWorker


class Dispatcher:
    """What stands at a node where requests come in: its policy, and the workers as seen from there."""

    def __init__(self, node: int, policy: DispatchPolicy, rng: np.random.Generator, workers: Workers) -> None:
        self.node = node
        self.policy = policy
        self.rng = rng
        self.workers = workers
        self.paths: list[Path | None] = []
        self.tells = type(policy).answered is not DispatchPolicy.answered


class Dispatching:
    """A simulation that can be advanced step by step, looked at, and copied (`copy.deepcopy`) at any time.

    `policy` is the name of one, or one ready for the first dispatcher, of which others get copies. The seed is
    the scenario's; `arrivals` may be given where several simulations of one scenario share them. Raises
    `ConfigError`.
    """

    def __init__(
        self, scenario: Scenario, policy: str | DispatchPolicy, arrivals: Arrivals | None = None
    ) -> None:
        self.scenario = scenario
        self.name = policy if isinstance(policy, str) else type(policy).__name__
        self.arrivals = draw(scenario) if arrivals is None else arrivals
        self.clients = self.arrivals.clients()
        self.core = Core(scenario.cluster, scenario.duration, scenario.link_queue, len(scenario.workers))
        self.core.served = self._served
        self.core.lost = self._lost
        self.network = Routing(scenario.cluster, self.core.directions)
        for number, worker in enumerate(scenario.workers):
            self.core.add(self._station(number, worker))
        self.bound: list[dict[Client, None]] = [{} for _ in scenario.workers]
        self.decisions = 0
        self.deciding = 0.0
        self._measured = 0.0
        self._feed = RequestFeed(self.core, self.arrivals, self._ask)
        self.table = workers_of(scenario, self.core)
        self.dispatchers = self._dispatchers(policy)
        self.failures = FailureProcess(scenario, self.core, self._learn)
        self._look()

    def advance(self, until: float = math.inf) -> None:
        """Simulates up to a time; without one, until everything that was asked has come to an end."""
        self._feed.advance(until)

    def results(self) -> Results:
        """What became of the requests so far."""
        return collect(self.scenario, self.name, self.core, self.decisions, self.deciding)

    def _ask(self, number: int, noise: float, there: float, back: float) -> None:
        """One query has reached its dispatcher."""
        core, client = self.core, self.clients[number]
        born = core.now - client.lag
        worker = client.worker
        if worker < 0:
            worker = self._choose(client)
            if worker < 0:
                core.tally.add(born, client.application, REFUSED)
                return
        path = self.dispatchers[client.node].paths[worker]
        job = QueuedJob(
            client, client.application, born, born + client.deadline, client.size, client.request.weight,
            noise, there, back,
        )  # fmt: skip
        if path is None:
            core.tally.add(born, client.application, LINK)
            return
        core.send(job, path, core.stations[worker])

    def _choose(self, client: Client) -> int:
        """Asks the policy, for a single query or a stream that has no worker; below 0: none."""
        if client.worker == REJECTED:
            return REJECTED
        dispatcher = self.dispatchers[client.node]
        request = client.request
        now = self.core.now
        load = self.table.load
        if client.single:
            request = Request(*request[:4], now, *request[5:])
            load *= math.exp((self._measured - now) / MEMORY)
            self._measured = now
        begun = thread_time()
        worker = dispatcher.policy.choose(request, dispatcher.workers, dispatcher.rng)
        self.deciding += thread_time() - begun
        self.decisions += 1
        if client.single:
            if worker is None:
                return REJECTED
            load[worker] += request.weight / MEMORY
            return worker
        if worker is None:
            # Whoever lost a worker asks again with the next query.
            client.worker = REJECTED if client.worker == NEW else LOST
            return REJECTED
        self._bind(client, worker)
        return worker

    def _bind(self, client: Client, worker: int) -> None:
        client.worker = worker
        self.bound[worker][client] = None
        self.table.load[worker] += client.request.weight * client.request.rate
        self.table.streams[worker] += 1
        if client.end < self.scenario.duration:
            self.core.at(client.end, self._end, client)

    def _end(self, client: Client) -> None:
        """A stream is over."""
        if client.worker >= 0:
            self._release(client)
        client.worker = REJECTED

    def _release(self, client: Client) -> None:
        worker = client.worker
        del self.bound[worker][client]
        load = self.table.load
        load[worker] = max(0.0, load[worker] - client.request.weight * client.request.rate)
        self.table.streams[worker] -= 1
        self.dispatchers[client.node].policy.ended(client.request, worker)

    def _served(self, job: QueuedJob) -> None:
        """An answer goes back."""
        core, client, path = self.core, job.of, job.path
        for direction in path.directions:
            if direction.link.broken:
                self._lost(job, LINK)
                return
        home = core.now + path.delay + client.access
        if path.deviation:
            home += max(path.deviation * job.back, -path.delay)
        core.tally.add(job.born, job.application, SUCCESS if home <= job.due else LATE, home - job.born)
        dispatcher = self.dispatchers[client.node]
        station = job.station
        if dispatcher.tells and station is not None:
            took = core.now - job.entered
            dispatcher.policy.answered(client.request, dispatcher.workers, station.number, took, job.found)

    def _lost(self, job: QueuedJob, outcome: int) -> None:
        self.core.tally.add(job.born, job.application, outcome)

    def _learn(self) -> None:
        """Dispatchers come to know what works: streams without a way to their worker lose it."""
        self.network.learn()
        self._look()
        for number, streams in enumerate(self.bound):
            for client in list(streams):
                if not self.dispatchers[client.node].workers.up[number]:
                    self._release(client)
                    client.worker = LOST

    def _look(self) -> None:
        """What every dispatcher knows of the network, now."""
        stations = self.core.stations
        for dispatcher in self.dispatchers.values():
            paths = [self.network.path(dispatcher.node, station.node) for station in stations]
            workers = dispatcher.workers
            dispatcher.paths = paths
            for number, path in enumerate(paths):
                if path is not None:  # what cannot be reached keeps the delay that it had
                    workers.delay[number], workers.deviation[number] = path.delay, path.deviation
            workers.up[:] = [
                path is not None and not station.broken for path, station in zip(paths, stations, strict=True)
            ]
            workers.refresh()

    def _dispatchers(self, policy: str | DispatchPolicy) -> dict[int, Dispatcher]:
        nodes = sorted(set(self.arrivals.nodes))
        feasible = None if self.scenario.feasible is None else FEASIBILITIES[self.scenario.feasible]
        dispatchers = {}
        for number, node in enumerate(nodes):
            if isinstance(policy, str):
                one = make(policy, feasible)
            else:
                one = copy.deepcopy(policy) if number else policy
            rng = np.random.default_rng([self.scenario.seed, 3, number])
            view = self.table.seen_from(np.zeros(len(self.table)), np.zeros(len(self.table)))
            view.up = view.up.copy()
            dispatchers[node] = Dispatcher(node, one, rng, view)
            if one.period < math.inf:
                self.core.at(one.period, self._window, dispatchers[node])
        return dispatchers

    def _window(self, dispatcher: Dispatcher) -> None:
        dispatcher.policy.window(dispatcher.workers, dispatcher.rng)
        due = self.core.now + dispatcher.policy.period
        if due < self.scenario.duration:
            self.core.at(due, self._window, dispatcher)

    def _station(self, number: int, worker: SimulatedWorker) -> Station:
        variant = worker.variant
        seconds = [
            variant.seconds if name in variant.accuracy else math.nan for name in self.scenario.applications
        ]
        node = self.scenario.cluster.index[worker.node]
        station = Station(worker.name, node, number, seconds, variant.deviation)
        if variant.batch > 1:
            station.grows = [(variant.batch_seconds - variant.seconds) / (variant.batch - 1)] * len(seconds)
        station.slots = variant.slots
        station.share = 1 / sum(
            other.variant.slots for other in self.scenario.workers if other.node == worker.node
        )
        station.batch = variant.batch
        station.limit = variant.queue
        station.oldest = variant.full == "oldest"
        station.drop_expired = variant.drop_expired
        return station


def workers_of(scenario: Scenario, core: Core) -> Workers:
    """The workers of a scenario as dispatchers see them, before anything has happened."""
    cluster = scenario.cluster
    variants = [worker.variant for worker in scenario.workers]

    def serving(variant: ServedModel, name: str) -> float:
        return variant.batch_seconds if name in variant.accuracy else math.nan

    workers = Workers.idle(
        [cluster.tiers.index(cluster[worker.node].tier) for worker in scenario.workers],
        np.zeros(len(variants)),
        [[serving(variant, name) for variant in variants] for name in scenario.applications],
        [[variant.accuracy.get(name, 0.0) for variant in variants] for name in scenario.applications],
        [variant.capacity or variant.limit for variant in variants],
        cluster=[cluster.index[worker.node] for worker in scenario.workers],
        slots=[float(variant.slots * variant.batch) for variant in variants],
    )
    workers.waiting = core.waiting
    workers.in_flight = core.in_flight
    return workers
