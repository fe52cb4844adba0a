"""Dispatch: which worker serves a stream, decided when it arrives.

Pure objects over data, without clock or I/O: the same policy object serves a live dispatcher and the simulator.
`POLICIES` has them by name.

>>> import numpy as np
>>> workers = Workers.idle([0, 1], [0.001, 0.010], [[0.05, 0.02]], [[0.3, 0.5]], [20, 100])
>>> policy = make("least-impedance")
>>> policy.choose(Request(application=0, deadline=0.1), workers, np.random.default_rng(0))
1
"""

from __future__ import annotations

from flowedge.dispatch.aset import Aset, RandomSwitch
from flowedge.dispatch.classic import LeastLoaded, PowerOfTwo, Prequal, RoundRobin
from flowedge.dispatch.feasibility import FEASIBILITIES, Feasible, compatible, nominal, timely
from flowedge.dispatch.policy import DispatchPolicy
from flowedge.dispatch.prices import DualPrice
from flowedge.dispatch.static import STATIC
from flowedge.dispatch.workers import Request, Workers
from flowedge.errors import ConfigError

__all__ = [
    "FEASIBILITIES",
    "POLICIES",
    "STATIC",
    "DispatchPolicy",
    "Feasible",
    "Request",
    "Workers",
    "compatible",
    "make",
    "nominal",
    "timely",
]

POLICIES: dict[str, type[DispatchPolicy]] = STATIC | {
    "round-robin": RoundRobin,
    "least-loaded": LeastLoaded,
    "power-of-two": PowerOfTwo,
    "prequal": Prequal,
    "dual-price": DualPrice,
    "random-switch": RandomSwitch,
    "aset": Aset,
}
"""Every policy under the name that people choose it by."""


def make(name: str, feasible: Feasible | None = None) -> DispatchPolicy:
    """A new policy; `feasible` replaces its own filter, the same for all in a comparison.

    Raises `ConfigError` where there is no policy of this name.
    """
    if name not in POLICIES:
        raise ConfigError(f"dispatch policy {name!r} does not exist; there are {', '.join(POLICIES)}")
    return POLICIES[name]() if feasible is None else POLICIES[name](feasible)
