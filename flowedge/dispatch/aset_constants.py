"""What ASET's paper leaves unstated, chosen once, here.

The paper gives lambda in clients per minute and says that 60 makes almost 1000 queries per second on one
antenna and 100 more than 1600; at 15 frames/s on average that means streams of 66 s. It names its
models, its topologies and their layers, but no sizes, delays, profiles or learning constants: those below are
ours. Profiles are of the right order for the models it names, and are not measurements.
"""

from __future__ import annotations

from dataclasses import dataclass

WINDOW = 10.0
"""T, seconds between two decisions of the agent."""
HISTORY = 3
"""Windows that the agent sees at once."""
DISCOUNT = 0.9
EXPLORATION = 1.0, 0.05
"""Epsilon at the start and at the end of training; it falls linearly over the first 60 % of the episodes."""
LEARNING_RATE = 5e-4
"""At the start; it falls linearly to a twentieth."""
BATCH = 64
REPLAY = 20_000
TARGET_EVERY = 250
"""Steps between two copies of the network into the target network."""
HIDDEN = 64, 64
EPISODES = 1000
HORIZON = 600.0
"""H, the seconds of an episode."""
THRESHOLD = 0.2
"""theta, the share of successes below which an episode ends (after `PATIENCE` windows)."""
PATIENCE = 6
LAMBDA = 60.0
"""Clients per minute in training."""

TIERS = 4
"""Access network, central office, operator's data centre, remote cloud."""
DEADLINES = 0.08, 0.15
"""Seconds: bounds between the groups of deadlines in the agent's state."""
RATES = (12.0,)
"""Queries per second: bounds between the groups of rates in the agent's state."""

LIFETIME = 66.0
"""Mean seconds that a stream lasts (exponential)."""
ACCESS = 0.002
"""Mean one-way delay of the radio access, seconds."""
BITRATE = 100e6
"""What the access link carries, bit/s (5G uplink)."""


@dataclass(frozen=True, slots=True)
class AsetApplication:
    """Streams of one kind: ranges of frame rate (1/s), deadline (s) and bytes per query, and a floor of mAP."""

    name: str
    share: float
    rate: tuple[float, float]
    deadline: tuple[float, float]
    bytes: tuple[float, float]
    accuracy: float


APPLICATIONS = (
    AsetApplication("augmented-reality", 0.3, (20.0, 30.0), (0.04, 0.08), (20e3, 60e3), 0.15),
    AsetApplication("cognitive-assistance", 0.3, (8.0, 15.0), (0.08, 0.20), (40e3, 120e3), 0.20),
    AsetApplication("video-surveillance", 0.4, (5.0, 16.0), (0.20, 0.60), (60e3, 200e3), 0.28),
)


@dataclass(frozen=True, slots=True)
class AsetModel:
    """A model on some hardware: seconds per query, its most queries per second, queries at one time, mAP."""

    name: str
    seconds: float
    capacity: float
    slots: float
    accuracy: float


VARIANTS = {
    model.name: model
    for model in (
        AsetModel("mobilenet-ssd/cpu", 0.035, 28.0, 1, 0.21),
        AsetModel("mobilenet-ssd/gpu", 0.012, 160.0, 2, 0.21),
        AsetModel("tinyyolo-v2/cpu", 0.045, 22.0, 1, 0.24),
        AsetModel("tinyyolo-v2/gpu", 0.010, 180.0, 2, 0.24),
        AsetModel("yolo-v3/cpu", 0.350, 2.8, 1, 0.33),
        AsetModel("yolo-v3/gpu", 0.040, 90.0, 4, 0.33),
    )
}


@dataclass(frozen=True, slots=True)
class Site:
    """A cluster: tier, one-way delay and deviation from the antenna's scheduler (s), replicas by variant."""

    name: str
    tier: int
    delay: float
    deviation: float
    workers: tuple[tuple[str, int], ...]


_EDGE = (("mobilenet-ssd/cpu", 2), ("tinyyolo-v2/cpu", 1), ("tinyyolo-v2/gpu", 1))
_OFFICE = (("mobilenet-ssd/gpu", 1), ("yolo-v3/cpu", 1), ("yolo-v3/gpu", 1))

TOPOLOGIES: dict[str, tuple[Site, ...]] = {
    "dc-cloud": (
        Site(
            "centre", 2, 0.008, 0.0010, (("mobilenet-ssd/gpu", 2), ("tinyyolo-v2/gpu", 1), ("yolo-v3/gpu", 2))
        ),
        Site("cloud", 3, 0.022, 0.0025, (("mobilenet-ssd/gpu", 1), ("tinyyolo-v2/gpu", 2), ("yolo-v3/gpu", 2))),
    ),
    "co-dc-cloud": (
        Site("office-1", 1, 0.003, 0.0005, (("tinyyolo-v2/gpu", 1), *_OFFICE)),
        Site(
            "centre", 2, 0.008, 0.0010, (("mobilenet-ssd/gpu", 1), ("tinyyolo-v2/gpu", 1), ("yolo-v3/gpu", 2))
        ),
        Site("cloud", 3, 0.022, 0.0025, (("mobilenet-ssd/gpu", 1), ("tinyyolo-v2/gpu", 1), ("yolo-v3/gpu", 1))),
    ),
    "full-edge": (
        Site("antenna-1", 0, 0.0005, 0.0002, _EDGE),
        Site("antenna-2", 0, 0.0020, 0.0004, _EDGE),
        Site("office-1", 1, 0.003, 0.0005, _OFFICE),
        Site("office-2", 1, 0.005, 0.0007, _OFFICE),
        Site("centre", 2, 0.008, 0.0010, (("tinyyolo-v2/gpu", 1), ("yolo-v3/gpu", 1))),
        Site("cloud", 3, 0.022, 0.0025, (("yolo-v3/gpu", 1),)),
    ),
}
"""Each has about 1380 queries/s, 360 of them on yolo-v3: lambda = 60 fills it to 0.73, 100 is too much."""
