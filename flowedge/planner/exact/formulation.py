"""The planning problem as one mixed-integer linear programme.

Of each camera class and setting, integer flows say how many of its cameras have a stage on a node by an offer;
integer replicas serve them. A node with a fixed cost (its idle power) has a binary variable, which is 1 where
cameras have a replica there. Between two stages that may both be in several places, flows over the network say
from where to where; it is one way for each link where the network is a tree, else one for each pair of nodes.
Latency is counted in camera seconds: summed over the cameras of a flow, it is at most their number x the goal.

One flow for each class and setting is a relaxation, since its cameras mix. With `lots` the cameras of a class
are divided beforehand, and each lot takes one route and one setting; the sums then say the same as the single
latencies.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from flowedge.planner.exact.milp import IntegerProgramme, Term
from flowedge.planner.model.cluster import Cluster
from flowedge.planner.model.prediction import fixed_cost, service_costs
from flowedge.planner.model.problem import Application, CameraClass, Problem, Stage
from flowedge.planner.model.profiles import Setting
from flowedge.planner.options.delays import Delays
from flowedge.planner.options.offers import Offer, TimedOptions, latency_matters, options_in_time, settings
from flowedge.planner.options.routes import Place, RouteOption


@dataclass
class _Flow:
    """Cameras under one setting: variables of how many, and where they have each stage, in units of `size`."""

    camera: CameraClass
    application: Application
    setting: Setting
    size: int
    most: int
    cameras: int
    picks: dict[str, list[tuple[int, Offer | None, int]]] = field(default_factory=dict)
    at: dict[str, dict[int, list[int]]] = field(default_factory=dict)


class Formulation:
    """The programme of a problem; `lots` by class name, `waits` as of the offers (False: nobody waits).

    With `shared`, an output that goes the same way to two stages counts once. It is really sent once only where
    both are on one node; so this may count too little where the network is a tree, and stays a relaxation.
    """

    def __init__(
        self,
        problem: Problem,
        delays: Delays,
        *,
        lots: Mapping[str, Sequence[int]] | None = None,
        waits: bool = True,
        shared: bool = True,
    ) -> None:
        self.problem, self.delays, self.shared, self.waits = problem, delays, shared, waits
        self.model = IntegerProgramme()
        self.flows: list[_Flow] = []
        self._replicas: dict[tuple[str, int, Offer], int] = {}
        self._used: dict[int, int] = {}
        self._loads: dict[int, list[Term]] = defaultdict(list)
        self._streams: dict[int, list[Term]] = defaultdict(list)
        self._arcs: dict[int, list[Term]] = defaultdict(list)
        self._hops = _tree_hops(problem.cluster)
        for camera in problem.classes:
            self._class(camera, None if lots is None else lots[camera.name])
        self._capacities()

    def columns(self, values: NDArray[np.float64]) -> list[tuple[RouteOption, int]]:
        """The columns of a solution; cameras of one flow that mix are told apart by the nearest nodes."""
        return [(column, flow.size) for flow in self.flows for column in self._routes(flow, values)]

    def _class(self, camera: CameraClass, lots: Sequence[int] | None) -> None:
        application = self.problem.application(camera.application)
        able = [
            (chosen, options)
            for chosen in settings(self.problem, application)
            if (options := options_in_time(self.problem, camera, chosen, self.delays, waits=self.waits))
            is not None
        ]
        # A lot moves as one, by switches; without lots every camera may go another way.
        for size, most in [(1, camera.count)] if lots is None else [(lot, 1) for lot in lots]:
            flows = [self._flow(camera, application, chosen, options, size, most) for chosen, options in able]
            self.model.row([(flow.cameras, 1.0) for flow in flows], lower=most, upper=most)
            self.flows += flows

    def _flow(
        self,
        camera: CameraClass,
        application: Application,
        chosen: Setting,
        able: TimedOptions,
        size: int,
        most: int,
    ) -> _Flow:
        accuracy = self.problem.profiles.accuracy(chosen) or 0.0
        gain = -accuracy * size if self.problem.minimize == "utility" else 0.0
        units = self.model.variable(cost=gain, upper=most, integer=True)
        flow = _Flow(camera, application, chosen, size, most, units)
        for stage in application.stages:
            if self.problem.follows_input(stage):
                flow.at[stage.name] = flow.at[stage.inputs[0]]
                continue
            picks = [
                (node, offer, self._pick(flow, stage, node, offer)) for node, offer in able.options[stage.name]
            ]
            terms = [*((pick, 1.0) for *_, pick in picks), (flow.cameras, -1.0)]
            self.model.row(terms, lower=0.0, upper=0.0)
            flow.picks[stage.name] = picks
            at: dict[int, list[int]] = defaultdict(list)
            flow.at[stage.name] = at
            for node, _, pick in picks:
                at[node].append(pick)
            self._use(flow, picks)
        self._transport(flow, able)
        return flow

    def _pick(self, flow: _Flow, stage: Stage, node: int, offer: Offer | None) -> int:
        """The part of a flow that has a stage on a node by an offer."""
        problem = self.problem
        host = problem.cluster.nodes[node]
        rate = problem.rates[flow.camera.name] * flow.size
        cost = rate * service_costs(problem, host, offer.service)[1] if offer else 0.0
        pick = self.model.variable(cost=cost, upper=flow.most, integer=True)
        if offer is not None:
            replicas = self._replica(stage.name, node, offer)
            self._loads[replicas].append((pick, rate))
            if offer.streams < np.inf:
                self._streams[replicas].append((pick, float(flow.size)))
            if (
                rate * flow.most < offer.load and flow.size * flow.most < offer.streams
            ):  # stronger than the load
                self.model.row([(pick, 1.0), (replicas, -float(flow.most))], upper=0.0)
        return pick

    def _use(self, flow: _Flow, picks: Sequence[tuple[int, Offer | None, int]]) -> None:
        """Cameras of a flow have a replica only on nodes that are used."""
        served: dict[int, list[Term]] = defaultdict(list)
        for node, offer, pick in picks:
            if offer is not None and fixed_cost(self.problem, self.problem.cluster.nodes[node]):
                served[node].append((pick, 1.0))
        for node, terms in served.items():
            self.model.row([*terms, (self._node_used(node), -float(flow.most))], upper=0.0)

    def _node_used(self, node: int) -> int:
        """The variable, 0 or 1, of whether a node is used, which has a fixed cost."""
        if node not in self._used:
            cost = fixed_cost(self.problem, self.problem.cluster.nodes[node])
            self._used[node] = self.model.variable(cost=cost, upper=1.0, integer=True)
        return self._used[node]

    def _replica(self, name: str, node: int, offer: Offer) -> int:
        key = name, node, offer
        if key not in self._replicas:
            host, service = self.problem.cluster.nodes[node], offer.service
            share = service.share_of(host)
            most = 1e6 if share == 0 else np.floor(1 / share + 1e-9)
            cost, _ = service_costs(self.problem, host, service)
            self._replicas[key] = self.model.variable(cost=cost, upper=float(most), integer=True)
        return self._replicas[key]

    def _transport(self, flow: _Flow, able: TimedOptions) -> None:
        """Joins the places of consecutive stages, with their delay and their load on links."""
        goal, problem = flow.application.latency, self.problem
        counts = latency_matters(problem, flow.application)
        consumed = {name for stage in flow.application.stages for name in stage.inputs}
        worth = problem.theta if problem.minimize == "utility" else 0.0
        last = self.model.variable(cost=worth * flow.size) if counts else -1  # until all is done
        done: dict[str, int] = {}
        shipped: dict[str, dict[tuple[int, int], list[list[Term]]]] = defaultdict(lambda: defaultdict(list))
        for stage in flow.application.stages:
            own = [(pick, -offer.seconds) for _, offer, pick in flow.picks.get(stage.name, ()) if offer]
            done[stage.name] = self.model.variable() if counts else -1
            if counts and stage.source:
                self.model.row([(done[stage.name], 1.0), *own], lower=0.0)
            for position, name in enumerate(stage.inputs):
                stays = position == 0 and problem.follows_input(stage)
                size = problem.profiles.bytes_of(name, flow.setting)
                ends_at = able.earliest[name][:, None] + self.delays.seconds(size) + able.remaining[stage.name]
                useful = (ends_at <= goal * (1 + 1e-9)) & (ends_at < np.inf)
                legs = {} if stays else self._legs(flow.at[name], flow.at[stage.name], useful)
                seconds = self.delays.fixed, self.delays.per_byte
                for leg, terms in legs.items():
                    if size and leg[0] != leg[1]:
                        shipped[name][leg].append(terms)
                if counts:
                    sent = [
                        (flow_variable, -value * (seconds[0][leg] + size * seconds[1][leg]))
                        for leg, terms in legs.items()
                        for flow_variable, value in terms
                    ]
                    ends = [(done[stage.name], 1.0), (done[name], -1.0)]
                    self.model.row([*ends, *own, *sent], lower=0.0)
            if counts and stage.name not in consumed:
                self.model.row([(last, 1.0), (done[stage.name], -1.0)], lower=0.0)
        if goal < np.inf:
            self.model.row([(last, 1.0), (flow.cameras, -goal)], upper=0.0)
        bits = 8 * problem.rates[flow.camera.name] * flow.size
        for name, sent_legs in shipped.items():
            self._ship(bits * problem.profiles.bytes_of(name, flow.setting), sent_legs)

    def _legs(
        self, start: Mapping[int, list[int]], end: Mapping[int, list[int]], useful: NDArray[np.bool_]
    ) -> dict[tuple[int, int], list[Term]]:
        """From where to where cameras of a flow go between two stages in time, as terms that count them."""
        if len(start) == 1:
            return {(next(iter(start)), node): [(pick, 1.0) for pick in picks] for node, picks in end.items()}
        if len(end) == 1:
            return {(node, next(iter(end))): [(pick, 1.0) for pick in picks] for node, picks in start.items()}
        pairs = self._hops or [(a, b) for a in start for b in end if useful[a, b]]
        flows = self.model.variables(len(pairs))
        # Over links what comes to a node and is not used there goes on; between pairs of nodes it does not.
        out: dict[int, list[Term]] = defaultdict(list)
        into = out if self._hops else defaultdict(list)
        for (a, b), flow in zip(pairs, flows, strict=True):
            out[a].append((flow, -1.0))
            into[b].append((flow, 1.0))
        for node, picks in start.items():
            out[node] += [(pick, 1.0) for pick in picks]
        for node, picks in end.items():
            into[node] += [(pick, -1.0) for pick in picks]
        for terms in (*out.values(), *(() if into is out else into.values())):
            self.model.row(terms, lower=0.0, upper=0.0)
        return {pair: [(flow, 1.0)] for pair, flow in zip(pairs, flows, strict=True)}

    def _ship(self, bits: float, legs: Mapping[tuple[int, int], list[list[Term]]]) -> None:
        cluster = self.problem.cluster
        for (a, b), consumers in legs.items():
            if len(consumers) == 1 or not self.shared:
                terms = [term for consumer in consumers for term in consumer]
            else:
                most = self.model.variable()
                for consumer in consumers:
                    self.model.row([(most, 1.0), *((pick, -value) for pick, value in consumer)], lower=0.0)
                terms = [(most, 1.0)]
            for arc in cluster.path(cluster.nodes[a].name, cluster.nodes[b].name) or ():
                self._arcs[arc] += [(pick, value * bits) for pick, value in terms]

    def _capacities(self) -> None:
        model, cluster = self.model, self.problem.cluster
        needs: dict[tuple[int, str], list[Term]] = defaultdict(list)
        once: dict[str, list[Term]] = defaultdict(list)
        singletons = {
            stage.name for app in self.problem.applications for stage in app.stages if stage.singleton
        }
        for (name, node, offer), replicas in self._replicas.items():
            model.row([*self._loads[replicas], (replicas, -offer.load)], upper=0.0)
            if offer.streams < np.inf:
                model.row([*self._streams[replicas], (replicas, -offer.streams)], upper=0.0)
            for what in ("cores", "gpu", "memory"):
                if getattr(offer.service, what):
                    needs[node, what].append((replicas, getattr(offer.service, what)))
            if name in singletons:
                once[name].append((replicas, 1.0))
        for (node, what), terms in needs.items():
            have = getattr(cluster.nodes[node], what)
            if have < np.inf:
                # Not "<= used" on a node with a fixed cost: with such rows the presolve of HiGHS (scipy 1.17)
                # called 313 W the optimum where 273 W is a solution. Rows of cameras imply it anyway.
                model.row([(replicas, value / have) for replicas, value in terms], upper=1.0)
        for terms in once.values():
            model.row(terms, upper=1.0)
        for arc, terms in self._arcs.items():
            most = cluster.arcs[arc].bandwidth
            model.row([(pick, value / most) for pick, value in terms], upper=1.0)

    def _routes(self, flow: _Flow, values: NDArray[np.float64]) -> Iterator[RouteOption]:
        remaining = {
            name: {(node, offer): round(values[pick]) for node, offer, pick in picks if values[pick] > 0.5}
            for name, picks in flow.picks.items()
        }
        nodes = self.problem.cluster.nodes
        for _ in range(round(values[flow.cameras])):
            at: dict[str, int] = {}
            places = []
            for stage in flow.application.stages:
                offer = None
                near = [self.delays.fixed[at[name]] for name in stage.inputs]
                if stage.name in remaining:
                    able = remaining[stage.name]
                    node, offer = min(
                        able, key=lambda option: max((row[option[0]] for row in near), default=0.0)
                    )
                    able[node, offer] -= 1
                    if not able[node, offer]:
                        del able[node, offer]
                else:
                    node = at[stage.inputs[0]]
                at[stage.name] = node
                places.append(Place(stage.name, nodes[node].name, offer))
            yield RouteOption(flow.camera.name, flow.setting, tuple(places))


def _tree_hops(cluster: Cluster) -> list[tuple[int, int]]:
    """Both directions of all links where between any two nodes there is one way, else nothing."""
    from scipy.sparse import csr_array
    from scipy.sparse.csgraph import connected_components

    hops = list(cluster.between)
    if not hops:
        return []
    rows, columns = zip(*hops, strict=True)
    shape = len(cluster.nodes), len(cluster.nodes)
    parts, _ = connected_components(
        csr_array((np.ones(len(hops)), (rows, columns)), shape=shape), directed=False
    )
    return hops if len(hops) == 2 * (len(cluster.nodes) - parts) else []
