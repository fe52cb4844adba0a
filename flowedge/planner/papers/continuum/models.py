"""CONTINUUM's models and choice of resolutions: accuracy, distributions over cameras, Algorithm 1, rotation.

Source: Houmani, Balouek-Thomert, Caron, Parashar, "Enabling microservices management for Deep Learning
applications across the Edge-Cloud Continuum", SBAC-PAD 2021, sections IV and V.
"""

from __future__ import annotations

import math
import random
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import TypeVar

Counts = tuple[int, ...]
"""How many cameras have each resolution, in the order in which resolutions are listed."""

SLIP = 0.010  # seconds; Algorithm 1 gives up less than this ...
GAIN = 0.20  # ... for at least so much accuracy (0..1)


@dataclass(frozen=True, slots=True)
class Estimate:
    """What a distribution of resolutions would give: mean latency in seconds and mean accuracy (0..1)."""

    latency: float
    accuracy: float

    def utility(self, theta: float) -> float:
        """Equation 5: U = a - theta T."""
        return self.accuracy - theta * self.latency


def algorithm_1(estimates: Sequence[Estimate], floor: float, *, literal: bool = False) -> int | None:
    """The position of the distribution to take, None where none reaches the accuracy `floor`.

    The fastest one, unless another loses less than 10 ms and gains at least 20 points of accuracy. As printed
    (`literal`), the best moves while the list is scanned, so that slips of 10 ms add up; the mended reading
    compares all with the fastest and takes the most accurate of those.

    >>> some = [Estimate(0.100, 0.5), Estimate(0.108, 0.7), Estimate(0.116, 0.9)]
    >>> algorithm_1(some, 0.5), algorithm_1(some, 0.5, literal=True), algorithm_1(some, 0.95)
    (1, 2, None)
    """
    able = [at for at, estimate in enumerate(estimates) if estimate.accuracy >= floor]
    if not able:
        return None
    best = min(able, key=lambda at: (estimates[at].latency, -estimates[at].accuracy))
    if literal:
        for at in able:
            if _worth(estimates[at], estimates[best]):
                best = at
        return best
    worth = [at for at in able if _worth(estimates[at], estimates[best])]
    return max(worth, key=lambda at: (estimates[at].accuracy, -estimates[at].latency), default=best)


def _worth(one: Estimate, best: Estimate) -> bool:
    return one.latency - best.latency < SLIP and one.accuracy - best.accuracy >= GAIN - 1e-12


def highest_utility(estimates: Sequence[Estimate], floor: float, theta: float) -> int | None:
    """The position of the distribution of the highest U = a - theta T that reaches the accuracy `floor`.

    >>> some = [Estimate(2.0, 0.6), Estimate(3.0, 0.7)]
    >>> highest_utility(some, 0.5, theta=0.05), highest_utility(some, 0.5, theta=0.2)
    (1, 0)
    """
    able = [at for at, estimate in enumerate(estimates) if estimate.accuracy >= floor]
    return max(able, key=lambda at: estimates[at].utility(theta), default=None)


def distributions(cameras: int, resolutions: int, most: int = 64) -> Iterator[Counts]:
    """The set B: every way to spread resolutions over cameras.

    Where these are more than `most`: all cameras alike, or two resolutions next to each other in quarters.

    >>> list(distributions(2, 2))
    [(2, 0), (1, 1), (0, 2)]
    """
    if math.comb(cameras + resolutions - 1, resolutions - 1) <= most:
        yield from _compositions(cameras, resolutions)
        return
    for at in range(resolutions):
        yield tuple(cameras if position == at else 0 for position in range(resolutions))
    for at in range(resolutions - 1):
        for part in sorted({round(cameras * quarters / 4) for quarters in (1, 2, 3)} - {0, cameras}):
            counts = [0] * resolutions
            counts[at], counts[at + 1] = part, cameras - part
            yield tuple(counts)


def _compositions(total: int, parts: int) -> Iterator[Counts]:
    if parts == 1:
        yield (total,)
        return
    for first in range(total, -1, -1):
        for rest in _compositions(total - first, parts - 1):
            yield first, *rest


_Label = TypeVar("_Label")


def rotated(counts: Sequence[tuple[_Label, int]], slot: int, seed: int = 0) -> tuple[_Label, ...]:
    """Which camera has which resolution in a time slot.

    They are mapped at random and moved on by one camera a slot, so that in as many slots as there are cameras
    each camera has had each resolution as often as any other.

    >>> [rotated([("512", 2), ("416", 1)], slot).index("416") for slot in range(3)]
    [1, 2, 0]
    """
    labels = [label for label, count in counts for _ in range(count)]
    random.Random(seed).shuffle(labels)
    shift = slot % len(labels)
    return tuple(labels[-shift:] + labels[:-shift]) if shift else tuple(labels)
