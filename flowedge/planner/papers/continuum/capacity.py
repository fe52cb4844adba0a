"""The free capacity of machines and links while cameras join by CONTINUUM's rules (Algorithm 3)."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field

from flowedge.planner.model.problem import Application, CameraClass, Problem, Stage
from flowedge.planner.model.profiles import Service, Setting
from flowedge.planner.options.offers import Offer, hosts, offers
from flowedge.planner.options.routes import Place, RouteOption
from flowedge.planner.papers.continuum.reservation import Category, Reservation, Task, reserve

_SLACK = 1e-9
InstanceKey = tuple[str, Offer]
"""A node and how instances there serve."""


@dataclass
class ServingRules:
    """How the stages of an application are served: which services, how loaded, on which nodes first."""

    problem: Problem
    application: Application
    categories: Mapping[tuple[str, Setting], Category]
    fastest: bool
    level: int
    _able: dict[tuple[str, str, Setting], dict[str, tuple[Offer, ...]]] = field(default_factory=dict)

    def able(self, camera: CameraClass, stage: Stage, chosen: Setting) -> dict[str, tuple[Offer, ...]]:
        """By node, how an instance may serve there, as wanted first; none at all for a stage without cost."""
        key = camera.name, stage.name, chosen
        if key not in self._able:
            by_node: dict[str, list[Service]] = {}
            for node, service in hosts(self.problem, camera, stage, chosen):
                services = by_node.setdefault(self.problem.cluster.nodes[node].name, [])
                services += [service] if service is not None else []
            self._able[key] = {
                node: self._offers(camera, stage, node, services) for node, services in by_node.items()
            }
        return self._able[key]

    def _offers(
        self, camera: CameraClass, stage: Stage, node: str, services: Sequence[Service]
    ) -> tuple[Offer, ...]:
        rate, host = self.problem.rates[camera.name], self.problem.cluster[node]
        candidates = [offers(self.problem, service)[self.level] for service in services]
        able = [offer for offer in candidates if not stage.keyed or offer.load >= rate]

        def worth(offer: Offer) -> float:
            size = offer.service.share_of(host)
            return 1 / offer.service.seconds if self.fastest else carried(offer, rate) / max(size, _SLACK)

        return tuple(sorted(able, key=worth, reverse=True))

    def preferred(self, camera: CameraClass, stage: Stage, category: Category) -> dict[str, tuple[int, float]]:
        """The nodes that an intensive stage may be on and their rank: by tier, then near to the cameras."""
        cluster = self.problem.cluster
        last, between = cluster.tiers[-1], cluster.tiers[1:-1]
        if stage.tier is not None:
            tiers: tuple[str, ...] = (stage.tier,)
        elif category == "HI":
            tiers = (last, *reversed(between))
        else:
            tiers = (*between, last)
        delays = cluster.delays(camera.node)
        rank = {tier: position for position, tier in enumerate(tiers)}
        return {
            node.name: (rank[node.tier], float(delays[at]))
            for at, node in enumerate(cluster.nodes)
            if node.tier in rank
        }


def carried(offer: Offer, rate: float) -> float:
    """Frames a second that one replica takes of cameras of this rate."""
    return min(offer.load, offer.streams * rate)


@dataclass
class CapacityLedger:
    """What is free (shares of nodes), how many replicas there are, what they serve, and what links carry.

    As printed (`literal`), Algorithm 3 takes nothing off what is free for tasks that are not intensive.
    """

    problem: Problem
    free: dict[str, float]
    literal: bool = False
    replicas: dict[InstanceKey, int] = field(default_factory=dict)
    served: dict[InstanceKey, tuple[float, int]] = field(default_factory=dict)
    flows: dict[int, float] = field(default_factory=dict)
    single: dict[str, InstanceKey] = field(default_factory=dict)

    @classmethod
    def empty(cls, problem: Problem, *, literal: bool = False) -> CapacityLedger:
        """Nothing is on any machine yet."""
        return cls(problem, {node.name: 1.0 for node in problem.cluster.nodes}, literal)

    def copy(self) -> CapacityLedger:
        """Another ledger that says the same."""
        parts = self.replicas, self.served, self.flows, self.single
        return CapacityLedger(self.problem, dict(self.free), self.literal, *(dict(part) for part in parts))  # type: ignore[arg-type]

    def joined(
        self, camera: CameraClass, shares: Sequence[tuple[Setting, int]], rules: ServingRules
    ) -> tuple[CapacityLedger, list[tuple[RouteOption, int]]] | None:
        """The ledger after so many cameras of a class have joined with each setting, and their columns."""
        after = self.copy()
        if not after._reserve(camera, shares, rules):
            return None
        columns: list[tuple[RouteOption, int]] = []
        for chosen, count in shares:
            remaining = count
            while remaining:
                column = after._column(camera, chosen, rules)
                if column is None:
                    return None
                cameras = after._most(column, camera, remaining, rules)
                after._take(column, camera, cameras, rules)
                columns.append((column, cameras))
                remaining -= cameras
        return after, columns

    def _reserve(self, camera: CameraClass, shares: Sequence[tuple[Setting, int]], rules: ServingRules) -> bool:
        """Reserves for the intensive stages what their load needs beyond what is there; False if rejected."""
        rate = self.problem.rates[camera.name]
        tasks: list[Task] = []
        able: dict[str, dict[str, tuple[Offer, ...]]] = {}
        for stage in rules.application.stages:
            if stage.singleton and stage.name in self.single:
                continue
            variants: dict[tuple[Category, tuple[Service, ...]], tuple[Setting, float]] = {}
            for chosen, count in shares:
                category = rules.categories.get((stage.name, chosen), "NI")
                if category != "NI":
                    key = category, self.problem.profiles.services_of(stage.name, chosen)
                    variants[key] = chosen, variants.get(key, (chosen, 0.0))[1] + rate * count
            for (category, _), (chosen, load) in variants.items():
                task = self._task(camera, stage, chosen, category, load, rules)
                tasks.append(task)
                able[task.name] = rules.able(camera, stage, chosen)
        reserved = reserve(tasks, self.free, literal=self.literal)
        if reserved is None:
            return False
        self.free = reserved.free
        for reservation in reserved.reservations:
            self._instance(reservation, able[reservation.task][reservation.node], rate)
        return True

    def _task(
        self,
        camera: CameraClass,
        stage: Stage,
        chosen: Setting,
        category: Category,
        load: float,
        rules: ServingRules,
    ) -> Task:
        """What a stage needs for so many frames a second, beyond what its replicas can still take."""
        rate, able = self.problem.rates[camera.name], rules.able(camera, stage, chosen)
        rank = rules.preferred(camera, stage, category)
        least = self._whole(stage) if stage.singleton else 0.0
        options = tuple(
            (node, self._share(node, able[node][0]), carried(able[node][0], rate))
            for node in sorted((node for node in able if node in rank), key=lambda node: rank[node])
            if able[node] and carried(able[node][0], rate) >= least
        )
        return Task(f"{stage.name} {chosen}", category, max(0.0, load - self._spare(able, rate)), options)

    def _whole(self, stage: Stage) -> float:
        """Frames a second of all cameras that come to a singleton."""
        return sum(
            self.problem.rates[camera_class.name] * camera_class.count
            for camera_class in self.problem.classes
            if any(
                other.name == stage.name for other in self.problem.application(camera_class.application).stages
            )
        )

    def _instance(self, reservation: Reservation, able: Sequence[Offer], rate: float) -> None:
        """Makes replicas of a reservation: as wanted, or what carries most within a reduced share."""
        if reservation.share >= reservation.need - _SLACK:
            key, count = (reservation.node, able[0]), 1
        else:
            fitting = [
                (offer, int((reservation.share + _SLACK) / self._share(reservation.node, offer)))
                for offer in able
            ]
            offer, count = max(fitting, key=lambda one: one[1] * carried(one[0], rate))
            key = reservation.node, offer
        if count:
            self.replicas[key] = self.replicas.get(key, 0) + count

    def _spare(self, able: Mapping[str, Sequence[Offer]], rate: float) -> float:
        """Frames a second of cameras of this rate that replicas which are there already can still take."""
        total = 0.0
        for node, node_offers in able.items():
            for offer in node_offers:
                have = self.replicas.get((node, offer), 0)
                load, streams = self.served.get((node, offer), (0.0, 0))
                if have:
                    total += min(have * offer.load - load, rate * (have * offer.streams - streams))
        return total

    def _share(self, node: str, offer: Offer) -> float:
        return max(offer.service.share_of(self.problem.cluster[node]), _SLACK)

    def _column(self, camera: CameraClass, chosen: Setting, rules: ServingRules) -> RouteOption | None:
        """Algorithm 3: where one more camera's stages go, each as near to the stage before as there is room."""
        trial = self.copy()
        at: dict[str, str] = {}
        places: list[Place] = []
        for stage in rules.application.stages:
            category = rules.categories.get((stage.name, chosen), "NI")
            before = at[stage.inputs[0]] if stage.inputs else camera.node
            for node, offer in trial._candidates(camera, stage, chosen, rules, category, before):
                place = Place(stage.name, node, offer)
                if trial._carry(camera, chosen, stage, place, at, 1, grow=category == "NI"):
                    at[stage.name] = node
                    places.append(place)
                    break
            else:
                return None
        return RouteOption(camera.name, chosen, tuple(places))

    def _candidates(
        self,
        camera: CameraClass,
        stage: Stage,
        chosen: Setting,
        rules: ServingRules,
        category: Category,
        before: str,
    ) -> Iterator[tuple[str, Offer | None]]:
        if self.problem.follows_input(stage):
            yield before, None
            return
        able = rules.able(camera, stage, chosen)
        delays, index = self.problem.cluster.delays(before), self.problem.cluster.index
        if stage.singleton and stage.name in self.single:
            node, only = self.single[stage.name]
            if only in able.get(node, ()):
                yield node, only
            return
        for node in sorted(able, key=lambda name: float(delays[index[name]])):
            if self.problem.profiles.free(stage.name):
                yield node, None
            elif category == "NI":
                yield from ((node, offer) for offer in able[node][:1])
            else:
                yield from ((node, offer) for offer in able[node] if (node, offer) in self.replicas)

    def _most(self, column: RouteOption, camera: CameraClass, wanted: int, rules: ServingRules) -> int:
        """The most cameras, up to so many, that can go the way of a column; it has room for one."""
        if self.copy()._take(column, camera, wanted, rules):
            return wanted
        low, high = 1, wanted
        while high - low > 1:
            middle = (low + high) // 2
            if self.copy()._take(column, camera, middle, rules):
                low = middle
            else:
                high = middle
        return low

    def _take(self, column: RouteOption, camera: CameraClass, cameras: int, rules: ServingRules) -> bool:
        """Sends so many cameras the way of a column; False, and a ledger of no use, where there is no room."""
        at: dict[str, str] = {}
        for stage, place in zip(rules.application.stages, column.places, strict=True):
            grow = rules.categories.get((stage.name, column.setting), "NI") == "NI"
            if not self._carry(camera, column.setting, stage, place, at, cameras, grow=grow):
                return False
            at[stage.name] = place.node
        return True

    def _carry(
        self,
        camera: CameraClass,
        chosen: Setting,
        stage: Stage,
        place: Place,
        at: Mapping[str, str],
        cameras: int,
        *,
        grow: bool,
    ) -> bool:
        """Whether a place takes the frames of so many cameras, which then count; it may `grow` by replicas."""
        rate = self.problem.rates[camera.name]
        for name in set(stage.inputs):
            if not self._send(at[name], place.node, 8 * rate * cameras * self._bytes(name, chosen)):
                return False
        if place.offer is None:
            return True
        key = place.node, place.offer
        load, streams = self.served.get(key, (0.0, 0))
        have, need = self.replicas.get(key, 0), place.offer.replicas(load + rate * cameras, streams + cameras)
        if need > have:
            size = self._share(place.node, place.offer) * (need - have)
            full = size > self.free[place.node] + _SLACK and not self.literal
            if not grow or (stage.singleton and need > 1) or full:
                return False
            self.free[place.node] -= size
            self.replicas[key] = need
        self.served[key] = load + rate * cameras, streams + cameras
        if stage.singleton:
            self.single[stage.name] = key
        return True

    def _send(self, start: str, end: str, bits: float) -> bool:
        path = self.problem.cluster.path(start, end)
        if path is None:
            return False
        for arc in path if bits else ():
            self.flows[arc] = self.flows.get(arc, 0.0) + bits
            if self.flows[arc] > self.problem.cluster.arcs[arc].bandwidth:
                return False
        return True

    def _bytes(self, name: str, chosen: Setting) -> float:
        return self.problem.profiles.bytes_of(name, chosen)
