"""CONTINUUM's experiment as a model: 19 sources whose frames overload a network and two tiers.

Frames flow as a fluid. A source sends at its rate for 20 minutes over the uplink of its edge node (or of all
edge nodes), then 512 x 512 frames queue for YOLOv4-512 on the cloud and 416 x 416 frames for YOLOv4-416 on the
fog, each first come, first served. With arrivals A(t) whose rate only falls and a server of rate m, the backlog
is max(0, A(t) - m t).

Source: Houmani et al., SBAC-PAD 2021, equations 1 - 4, Tables I and II, section VII.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from flowedge.planner.papers.continuum.models import Estimate
from flowedge.profiling.models import AccuracyModel

SOURCES, FPS, SECONDS = 19, 25.0, 1200.0
FRAMES = FPS * SECONDS  # of each source
EDGES = 11
UPLINK = 30e6  # bit/s, edge to fog; fog to cloud has 10 Gbit/s and never is the limit
DELAYS = {512: 0.004 + 0.005, 416: 0.004 + 0.005}  # seconds: the results of the fog go on to Draw on the cloud
SMALL_STEPS = 0.005 + 0.020  # seconds of Resize and Draw: assumed, and nothing beside the rest
JPEG = 8e9 / 5000 / (640 * 480)  # bits a pixel: "1 GB" for the 5000 pictures of COCO val2017
RAW = 24.0


@dataclass(frozen=True, slots=True)
class Reading:
    """What the paper leaves open: bits of a pixel, whose the uplink is, and frames a second of each model."""

    bits: float
    shared: bool
    rates: str

    @property
    def network(self) -> str:
        pixel = "raw" if self.bits == RAW else "JPEG"
        return f"{pixel}, {'one uplink' if self.shared else 'uplink per node'}"

    @property
    def name(self) -> str:
        return f"{self.network}, {self.rates}"

    def rate(self, size: int) -> float:
        """Frames a second on four cores."""
        return RATES[self.rates][size]

    def frame(self, size: int) -> float:
        """Bits of a frame: S = gamma r^2."""
        return self.bits * size**2


RATES = {
    # experiments 3 and 4: the 30 000 frames of one source in 1 h on the cloud, in 1.3 h on the fog
    "rates of exp. 3, 4": {512: FRAMES / 3600, 416: FRAMES / (1.3 * 3600)},
    # 91.1 and 60.1 GFLOP a frame, 4 cores x 2.1 GHz x 32 flop, of which half is reached
    "rates from FLOPs": {512: 134.4 / 91.1, 416: 134.4 / 60.1},
}
READINGS = tuple(
    Reading(bits, shared, rates) for rates in RATES for bits in (JPEG, RAW) for shared in (False, True)
)


@dataclass(frozen=True, slots=True)
class ModelResult:
    """Seconds until a source is done, in the mean and for the last; seconds of a frame; accuracy (0..1)."""

    makespan: float
    last: float
    latency: float
    accuracy: float
    worst: float

    @property
    def estimate(self) -> Estimate:
        return Estimate(self.latency, self.accuracy)


def outcome(reading: Reading, reduced: Sequence[float], accuracy: AccuracyModel) -> ModelResult:
    """What happens when of each source so large a part (0..1) of the frames is reduced to 416 x 416."""
    parts = np.asarray(reduced, np.float64)
    sent = _sent(reading, parts)
    done = np.zeros(len(parts))
    latency = 0.0
    for size, shares in ((512, 1 - parts), (416, parts)):
        rate = reading.rate(size)
        frames = FRAMES * shares
        for at in np.flatnonzero(shares):
            times = np.linspace(0, sent[at], 400)
            arrived = (frames * np.minimum(times[:, None], sent) / sent).sum(axis=1)
            waits = np.maximum(0.0, arrived / rate - times)
            fixed = 1 / rate + DELAYS[size] + SMALL_STEPS
            done[at] = max(done[at], sent[at] + waits[-1] + fixed)
            latency += shares[at] * ((sent[at] - SECONDS) / 2 + waits.mean() + fixed)
    accuracies = (1 - parts) * accuracy(512) + parts * accuracy(416)
    return ModelResult(
        float(done.mean()),
        float(done.max()),
        latency / len(parts),
        float(accuracies.mean()),
        float(accuracies.min()),
    )


def _sent(reading: Reading, parts: np.ndarray) -> np.ndarray:
    """Seconds until the last frame of each source is over the uplink."""
    bits = FRAMES * ((1 - parts) * reading.frame(512) + parts * reading.frame(416))
    at = np.zeros(len(parts), int) if reading.shared else np.arange(len(parts)) % EDGES
    total = np.bincount(at, bits)
    return np.asarray(np.maximum(SECONDS, total[at] / UPLINK))
