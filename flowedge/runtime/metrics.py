"""What is counted of a step of a running graph."""

from __future__ import annotations

import threading
from collections import defaultdict
from dataclasses import dataclass, field

from flowedge.monitor.histogram import Histogram
from flowedge.runtime.failures import Tally


@dataclass
class Metrics:
    """What one step has done: values of every camera, the time each waited and took, results in part.

    Who counts a value has the `lock`: what workers did is counted in another thread. All may read.
    """

    tallies: defaultdict[str, Tally] = field(default_factory=lambda: defaultdict(Tally))
    partial: int = 0
    service: Histogram = field(default_factory=Histogram)
    wait: Histogram = field(default_factory=Histogram)
    lock: threading.Lock = field(default_factory=threading.Lock)

    @property
    def count(self) -> int:
        """Values taken, of all cameras."""
        return sum(tally.count for tally in list(self.tallies.values()))

    @property
    def failed(self) -> int:
        """Values on which the step failed, of all cameras."""
        return sum(tally.failed for tally in list(self.tallies.values()))
