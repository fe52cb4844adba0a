"""What a dispatcher knows when it decides: the request and the workers that could serve it."""

from __future__ import annotations

from dataclasses import dataclass, field, fields, replace
from typing import NamedTuple, TypeAlias

import numpy as np
from numpy.typing import ArrayLike, NDArray

from flowedge.errors import ConfigError

Floats: TypeAlias = NDArray[np.float64]
Mask: TypeAlias = NDArray[np.bool_]


class Request(NamedTuple):
    """A stream to be bound to a worker, or (with `rate` 0) one query by itself.

    `application` is a row of the workers' tables. Times are in seconds: `deadline` is the longest tolerated
    time from end to end, `access` the one-way delay between the source and the dispatcher. `bytes` is the size
    of one query and `bitrate` (bit/s) what the access link carries; `rate` is in queries per second, and
    `weight` how much more of a worker one query takes than a query of nominal size.

    >>> Request(application=0, deadline=0.1, bytes=50_000, bitrate=20e6, access=0.005).budget
    0.07
    """

    application: int
    deadline: float
    bytes: float = 0.0
    stream: int = 0
    arrival: float = 0.0
    rate: float = 0.0
    accuracy: float = 0.0
    access: float = 0.0
    bitrate: float = float("inf")
    weight: float = 1.0

    @property
    def budget(self) -> float:
        """Seconds left for the network beyond the dispatcher, for waiting and for service.

        ASET's constraint (3) has a transmission time of b * zeta, which is no time; it is size / bitrate.
        """
        return self.deadline - 2 * self.access - 8 * self.bytes / self.bitrate


@dataclass(eq=False, slots=True)
class Workers:
    """W workers (a model variant on a cluster each) as columns of numbers, for A applications.

    Their owner (the live dispatcher, or the simulator) updates the arrays in place. `load`, `waiting`,
    `in_flight`, `streams` and `up` may change at any time; after a change of `delay`, `deviation`, `service`,
    `capacity` or `slots` call `refresh`. Raises `ConfigError` where shapes or values cannot be right.

    >>> workers = Workers.idle(
    ...     tier=[0, 1],
    ...     delay=[0.001, 0.010],
    ...     service=[[0.050, 0.020]],
    ...     accuracy=[[0.3, 0.5]],
    ...     capacity=[20, 100],
    ... )
    >>> workers.reach.round(3).tolist()
    [[0.052, 0.04]]
    """

    tier: NDArray[np.int64]
    """(W,) 0 at the sources, growing towards the cloud."""
    cluster: NDArray[np.int64]
    """(W,) which cluster a worker stands in."""
    delay: Floats
    """(W,) mean one-way network delay between the dispatcher and the worker, seconds."""
    service: Floats
    """(A, W) mean seconds to serve one query, batching included; nan where a worker does not serve."""
    accuracy: Floats
    """(A, W) accuracy of the worker's model for the application, 0..1."""
    capacity: Floats
    """(W,) the most queries of nominal size per second."""
    deviation: Floats
    """(W,) standard deviation of the one-way delay, seconds."""
    slots: Floats
    """(W,) queries served at one time."""
    load: Floats
    """(W,) nominal queries per second now bound to the worker, or measured at it."""
    waiting: Floats
    """(W,) queries in the worker's queue."""
    in_flight: Floats
    """(W,) queries in service, or sent and not in the queue yet."""
    streams: Floats
    """(W,) streams bound to the worker."""
    up: Mask
    """(W,) whether the worker can be reached and works."""
    round_trip: Floats = field(init=False)
    """(W,) 2 (delay + 2 deviation), kept by `refresh`."""
    reach: Floats = field(init=False)
    """(A, W) round trip + service: the time to an answer without waiting, kept by `refresh`."""
    per_capacity: Floats = field(init=False)
    """(W,) 1 / capacity, kept by `refresh`."""
    per_slot: Floats = field(init=False)
    """(W,) 1 / slots, kept by `refresh`."""
    crowding: Floats = field(init=False)
    """(W,) sqrt(2 (slots + 1)) - 1, kept by `refresh`: the utilisation to this power is the chance to wait."""

    def __post_init__(self) -> None:
        count = len(self.tier)
        for name in (entry.name for entry in fields(self) if entry.init):
            shape = getattr(self, name).shape
            table = name in ("service", "accuracy")
            expected = (len(self.service), count) if table else (count,)
            if shape != expected:
                raise ConfigError(f"workers.{name} has shape {shape}; with {count} workers it needs {expected}")
        for name in ("capacity", "slots"):
            if not (getattr(self, name) > 0).all():
                raise ConfigError(f"workers.{name} must be above 0 for every worker: {getattr(self, name)}")
        self.refresh()

    @classmethod
    def idle(
        cls,
        tier: ArrayLike,
        delay: ArrayLike,
        service: ArrayLike,
        accuracy: ArrayLike,
        capacity: ArrayLike,
        *,
        cluster: ArrayLike | None = None,
        deviation: ArrayLike = 0.0,
        slots: ArrayLike = 1.0,
    ) -> Workers:
        """Workers without load, all up; without `cluster` each stands alone, scalars count for every worker."""
        tiers = np.array(tier, np.int64)
        count = len(tiers)
        return cls(
            tier=tiers,
            cluster=np.arange(count) if cluster is None else np.array(cluster, np.int64),
            delay=np.array(delay, float),
            service=np.array(service, float),
            accuracy=np.array(accuracy, float),
            capacity=np.array(capacity, float),
            deviation=np.broadcast_to(np.asarray(deviation, float), count).copy(),
            slots=np.broadcast_to(np.asarray(slots, float), count).copy(),
            load=np.zeros(count),
            waiting=np.zeros(count),
            in_flight=np.zeros(count),
            streams=np.zeros(count),
            up=np.ones(count, bool),
        )

    def __len__(self) -> int:
        return len(self.tier)

    def refresh(self) -> None:
        """Recomputes what is derived from the network, service times, capacities and slots."""
        self.round_trip = 2 * (self.delay + 2 * self.deviation)
        self.reach = self.round_trip + self.service
        self.per_capacity = 1 / self.capacity
        self.per_slot = 1 / self.slots
        self.crowding = np.sqrt(2 * (self.slots + 1)) - 1

    def seen_from(self, delay: Floats, deviation: Floats) -> Workers:
        """The same workers from another dispatcher's place: all but the network is shared, not copied."""
        return replace(self, delay=delay, deviation=deviation)


def pressure(workers: Workers) -> Floats:
    """(W,) how busy workers are: share of the capacity bound + queries present per slot.

    The first term is what counts where streams are bound for long, the second where single queries are sent;
    in a steady state they are alike, so that their sum serves both.
    """
    present = workers.waiting + workers.in_flight
    present *= workers.per_slot
    present += workers.load * workers.per_capacity
    return present


def wait(workers: Workers) -> Floats:
    """(W,) seconds that a query sent now waits: (waiting + in flight - slots + 1)+ / capacity (G/M/c)."""
    ahead = workers.waiting + workers.in_flight
    ahead -= workers.slots
    ahead += 1.0
    np.maximum(ahead, 0.0, out=ahead)
    ahead *= workers.per_capacity
    return ahead
