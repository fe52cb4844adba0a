"""Small fleets whose best workers can be told by hand."""

from __future__ import annotations

import numpy as np

from flowedge.dispatch import Request, Workers

NAN = np.nan


def fleet() -> Workers:
    """Two workers in a near cluster, one in the middle, one far. The times to
    an answer are 42, 62, 30 and 60 ms."""
    return Workers.idle(
        tier=[0, 0, 1, 2],
        cluster=[0, 0, 1, 2],
        delay=[0.001, 0.001, 0.005, 0.020],
        service=[[0.040, 0.060, 0.020, 0.020]],
        accuracy=[[0.2, 0.3, 0.3, 0.5]],
        capacity=[25.0, 16.0, 50.0, 200.0],
    )


def twins(count: int, capacity: float = 10.0, applications: int = 1) -> Workers:
    """Equal workers, each 0.1 s from an answer."""
    return Workers.idle(
        tier=np.zeros(count),
        delay=np.zeros(count),
        service=np.full((applications, count), 0.1),
        accuracy=np.full((applications, count), 0.5),
        capacity=np.full(count, capacity),
    )


def stream(rate: float = 5.0, deadline: float = 1.0, accuracy: float = 0.0, application: int = 0) -> Request:
    """A stream with easy requirements unless said otherwise."""
    return Request(application, deadline, rate=rate, accuracy=accuracy)
