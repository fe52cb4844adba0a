"""Waiting in front of replicas."""

from __future__ import annotations

import math


def wait(
    utilisation: float, seconds: float, deviation: float = 0.0, servers: int = 1, streams: int | None = None
) -> float:
    """Mean seconds that a frame waits for one of `servers` replicas, each busy for a share `utilisation`.

    The Allen-Cunneen approximation of a G/G/c queue with Sakasegawa's form for c servers,

        W = (ca^2 + cs^2) / 2  *  rho^(sqrt(2 (c + 1)) - 1) / (c (1 - rho))  *  s,

    with ca = 1: periodic cameras that are not synchronised arrive more evenly than Poisson, so it errs on the
    safe side. `streams` periodic cameras can never wait longer than for one frame of each other: with S streams
    over c servers at most (ceil(S / c) - 1) services.

    >>> round(wait(0.8, 0.010), 4), wait(0.8, 0.010, streams=1)
    (0.02, 0.0)
    """
    if utilisation >= 1:
        return math.inf
    variability = (1 + (deviation / seconds) ** 2) / 2
    together = math.pow(utilisation, math.sqrt(2 * (servers + 1)) - 1)
    mean = variability * together / (servers * (1 - utilisation)) * seconds
    if streams is None:
        return mean
    return min(mean, (math.ceil(streams / servers) - 1) * seconds)
