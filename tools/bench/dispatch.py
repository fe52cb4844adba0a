"""What one decision of each dispatch policy costs."""

from __future__ import annotations

import time
from collections.abc import Iterator

import numpy as np

from flowedge.dispatch import POLICIES, DispatchPolicy, Request, Workers, make

APPLICATIONS = 3


def workers_of(count: int, seed: int = 0) -> Workers:
    """Workers over four tiers that serve most applications, half loaded."""
    rng = np.random.default_rng(seed)
    tier = np.arange(count) * 4 // count
    service = rng.uniform(0.005, 0.05, (APPLICATIONS, count))
    service[rng.random(service.shape) < 0.2] = np.nan
    capacity = rng.uniform(20, 200, count)
    workers = Workers.idle(
        tier,
        np.array([0.001, 0.003, 0.008, 0.022])[tier],
        service,
        rng.uniform(0.2, 0.5, service.shape),
        capacity,
        cluster=np.arange(count) // 4,
        deviation=0.0005,
        slots=rng.integers(1, 5, count),
    )
    workers.load[:] = capacity * rng.uniform(0.2, 0.9, count)
    workers.in_flight[:] = rng.integers(0, 4, count)
    workers.waiting[:] = rng.integers(0, 3, count)
    return workers


def requests_of(count: int, seed: int = 0) -> list[Request]:
    """Streams with mixed deadlines, rates and accuracies."""
    rng = np.random.default_rng(seed)
    return [
        Request(
            application=int(rng.integers(APPLICATIONS)),
            deadline=float(rng.uniform(0.04, 0.4)),
            bytes=50e3,
            stream=number,
            rate=float(rng.uniform(2, 30)),
            accuracy=float(rng.uniform(0.1, 0.4)),
            access=0.002,
            bitrate=100e6,
        )
        for number in range(count)
    ]


def decision_seconds(policy: DispatchPolicy, workers: Workers, batches: int = 30, batch: int = 100) -> float:
    """Seconds of processor time per decision, in the median batch."""
    rng = np.random.default_rng(0)
    requests = requests_of(batch)
    took = []
    for _ in range(batches):
        start = time.thread_time()
        for request in requests:
            policy.choose(request, workers, rng)
        took.append((time.thread_time() - start) / batch)
    return float(np.median(took))


def measure(count: int = 60) -> Iterator[str]:
    """Lines of text: what a decision of each policy costs among so many workers, and what its window does."""
    workers = workers_of(count)
    for name in POLICIES:
        policy = make(name)
        seconds = decision_seconds(policy, workers)
        policy.window(workers, np.random.default_rng(0))  # the first one imports what it needs
        decision_seconds(policy, workers, batches=1)
        start = time.thread_time()
        policy.window(workers, np.random.default_rng(0))
        yield f"{name:28} {seconds * 1e6:6.1f} us   window {(time.thread_time() - start) * 1e3:7.2f} ms"
