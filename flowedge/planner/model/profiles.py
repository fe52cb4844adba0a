"""Profiles: what operators cost and yield, measured or from tables. The planner knows nothing else about them.

>>> profiles = Profiles(
...     services=(Service("Detect", "xeon", cores=1, seconds=0.04, setting=setting(size=640)),),
...     accuracies=(Accuracy(0.38, setting(size=640)), Accuracy(0.31, setting(size=416))),
... )
>>> profiles.accuracy(setting(size=416, codec="jpeg"))
0.31
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from functools import cached_property
from typing import TypeAlias, TypeVar

from flowedge.planner.model.cluster import Node
from flowedge.values import Scalar

Setting: TypeAlias = tuple[tuple[str, Scalar], ...]
"""Values of knobs by name, in the order of the names: one variant of a graph or of an operator."""


THIS_MACHINE = "this-machine"
"""The kind of the machine on which profiles are measured, unless it is given a name."""


def setting(**knobs: Scalar) -> Setting:
    """A setting of these knobs.

    >>> setting(tiles=4, size=640)
    (('size', 640), ('tiles', 4))
    """
    return tuple(sorted(knobs.items()))


@dataclass(frozen=True, slots=True)
class Service:
    """How one replica of an operator serves, with these resources on this kind of node.

    `seconds` is the mean time for a batch of `batch` frames (all tiles of each) and `deviation` its standard
    deviation; `cores` and `gpu` are what the replica holds for itself, `memory` (bytes) too. It holds for all
    settings that contain `setting`. `source` says where the figures are from: "measured", "table ...", "model".

    Where nobody keeps a replica to its cores, `work` says how many core-seconds a batch takes: a replica whose
    `cores` are a share of a machine then serves as many frames as that share of it can, but each in `seconds`,
    with the cores that others leave idle.
    """

    operator: str
    kind: str
    cores: float
    seconds: float
    gpu: float = 0.0
    batch: int = 1
    deviation: float = 0.0
    memory: float = 0.0
    setting: Setting = ()
    source: str = "measured"
    work: float = 0.0

    @property
    def rate(self) -> float:
        """The most frames a second of one replica."""
        alone = self.batch / self.seconds
        return min(alone, self.batch * self.cores / self.work) if self.work else alone

    @property
    def core_seconds(self) -> float:
        """How long a batch keeps cores busy, all of them together."""
        return self.work or self.cores * self.seconds

    def fits_on(self, node: Node) -> bool:
        """Whether one replica fits on the empty node."""
        return (
            self.kind == node.kind
            and self.cores <= node.cores
            and self.gpu <= node.gpu
            and self.memory <= node.memory
        )

    def share_of(self, node: Node) -> float:
        """The share of a node (0..1) that a replica reserves: of its scarcest resource."""
        parts = ((self.cores, node.cores), (self.gpu, node.gpu), (self.memory, node.memory))
        return max(need / have for need, have in parts if need) if any(need for need, _ in parts) else 0.0

    def mean_wait(self, utilisation: float, replicas: int = 1, streams: int | None = None) -> float:
        """Mean seconds that a frame waits for one of the replicas, each busy for a share `utilisation`.

        The Allen-Cunneen approximation of a G/G/c queue with Sakasegawa's form for c servers,

            W = (ca^2 + cs^2) / 2  *  rho^(sqrt(2 (c + 1)) - 1) / (c (1 - rho))  *  s,

        with ca = 1: periodic cameras that are not synchronised arrive more evenly than Poisson, so it errs on
        the safe side. `streams` periodic cameras can never wait longer than for one frame of each other: with S
        streams over c servers at most (ceil(S / c) - 1) services.

        >>> detect = Service("Detect", "xeon", cores=1, seconds=0.010)
        >>> round(detect.mean_wait(0.8), 4), detect.mean_wait(0.8, streams=1)
        (0.02, 0.0)
        """
        if utilisation >= 1:
            return math.inf
        variability = (1 + (self.deviation / self.seconds) ** 2) / 2
        together = math.pow(utilisation, math.sqrt(2 * (replicas + 1)) - 1)
        mean = variability * together / (replicas * (1 - utilisation)) * self.seconds
        if streams is None:
            return mean
        return min(mean, (math.ceil(streams / replicas) - 1) * self.seconds)

    def replaces(self, other: Service) -> bool:
        """Whether it needs no more than another, is no slower and makes nobody wait longer."""
        return (
            self.kind == other.kind
            and self.rate >= other.rate
            and all(
                getattr(self, name) <= getattr(other, name) for name in ("cores", "gpu", "memory", "seconds")
            )
            and self.mean_wait(0.5) <= other.mean_wait(0.5)
        )


@dataclass(frozen=True, slots=True)
class OutputSize:
    """Bytes that an operator gives for one frame, as encoded for the network by `codec`."""

    operator: str
    bytes: float
    codec: str = "raw"
    setting: Setting = ()
    source: str = "measured"


@dataclass(frozen=True, slots=True)
class Accuracy:
    """The accuracy (0..1) of the results under a setting."""

    value: float
    setting: Setting = ()
    source: str = "measured"


FREE_SECONDS = 1e-5
"""An operator that takes no longer than this for a frame, on a core of its own, is not worth a reservation."""


@dataclass(frozen=True)
class Profiles:
    """All that is known about the operators of one application.

    An operator costs nothing where it has no service, or where no kind of node takes longer than `FREE_SECONDS`
    for a frame of it: nothing is reserved for it, and it runs beside its first input.
    """

    services: tuple[Service, ...] = ()
    outputs: tuple[OutputSize, ...] = ()
    accuracies: tuple[Accuracy, ...] = ()
    _of: dict[tuple[str, Setting], tuple[Service, ...]] = field(
        default_factory=dict, init=False, repr=False, compare=False, hash=False
    )

    def free(self, operator: str) -> bool:
        """Whether an operator costs nothing."""
        return operator not in self._services

    def services_of(self, operator: str, chosen: Setting) -> tuple[Service, ...]:
        """The ways in which an operator can be served under a setting, on any kind of node."""
        key = operator, chosen
        if key not in self._of:
            candidates = self._services.get(operator, ())
            self._of[key] = tuple(service for service in candidates if holds(service.setting, chosen))
        return self._of[key]

    def undominated(self, operator: str, chosen: Setting) -> list[Service]:
        """As `services_of`, without those that another one replaces under every setting that they serve."""
        kept: list[Service] = []
        for service in self.services_of(operator, chosen):
            if any(holds(other.setting, service.setting) and other.replaces(service) for other in kept):
                continue
            kept = [
                other
                for other in kept
                if not (holds(service.setting, other.setting) and service.replaces(other))
            ]
            kept.append(service)
        return kept

    def bytes_of(self, operator: str, chosen: Setting) -> float:
        """Bytes a frame under a setting, by the smallest codec; 0 for what was not measured (small events)."""
        return min((out.bytes for out in self.outputs_of(operator, chosen)), default=0.0)

    def outputs_of(self, operator: str, chosen: Setting) -> Iterator[OutputSize]:
        """The encodings of an operator's output under a setting."""
        return (out for out in self._outputs.get(operator, ()) if holds(out.setting, chosen))

    def accuracy(self, chosen: Setting) -> float | None:
        """The accuracy under a setting, by the most specific entry; None where nobody knows."""
        entries = [entry for entry in self.accuracies if holds(entry.setting, chosen)]
        return max(entries, key=lambda entry: len(entry.setting)).value if entries else None

    @cached_property
    def _services(self) -> dict[str, list[Service]]:
        by_operator = _by_operator(self.services)
        return {name: entries for name, entries in by_operator.items() if not all(map(_negligible, entries))}

    @cached_property
    def _outputs(self) -> dict[str, list[OutputSize]]:
        return _by_operator(self.outputs)


Entry = TypeVar("Entry", Service, OutputSize)


def holds(part: Setting, chosen: Setting) -> bool:
    """Whether everything that a setting says is chosen.

    >>> holds(setting(size=640), setting(size=640, tiles=4)), holds(setting(size=640), setting(tiles=4))
    (True, False)
    """
    return set(part) <= set(chosen)


def _negligible(service: Service) -> bool:
    """Whether it is done in no time worth counting; a part of a core takes longer in proportion."""
    on_a_core = (service.work or min(service.cores, 1.0) * service.seconds) / service.batch
    return service.cores > 0 and not service.gpu and on_a_core <= FREE_SECONDS


def _by_operator(entries: Iterable[Entry]) -> dict[str, list[Entry]]:
    grouped: dict[str, list[Entry]] = {}
    for entry in entries:
        grouped.setdefault(entry.operator, []).append(entry)
    return grouped
