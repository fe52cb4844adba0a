"""What a run did, as data: counts per camera, times per operator, latency, resources."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

Quantiles = dict[str, float | None]
"""p50, p95, p99 in milliseconds; None where nothing was measured."""


@dataclass(frozen=True)
class CountsReport:
    """How frames ended: `dropped` and `failures` by cause and place."""

    produced: int
    delivered: int
    filtered: int
    failed: int
    in_flight: int
    dropped: dict[str, int]
    failures: dict[str, int]


@dataclass(frozen=True)
class CameraReport(CountsReport):
    """One camera, over all sinks and at each; `fps` are frames delivered per second."""

    live: bool
    fps: float
    sinks: dict[str, CountsReport]
    error: str | None


@dataclass(frozen=True)
class OperatorReport:
    """One step: values taken, failures, results gathered in part, and times in milliseconds."""

    count: int
    failed: int
    partial: int
    service_ms: Quantiles
    wait_ms: Quantiles


@dataclass(frozen=True)
class Report:
    """A whole run, or a run so far. `latency_ms` is from capture to sink, over all sinks.

    `findings` are lines that sinks have to say at the end.
    """

    graph: str
    seconds: float
    fps: float
    latency_ms: Quantiles
    cpu_seconds: float
    peak_rss_bytes: int
    cameras: dict[str, CameraReport]
    operators: dict[str, OperatorReport]
    files: Sequence[Path] = field(default=())
    findings: Sequence[str] = field(default=())
    error: str | None = None

    def as_json(self) -> dict[str, Any]:
        """The report as plain data for `json.dump`."""
        data = dataclasses.asdict(self)
        data["files"] = [str(path) for path in self.files]
        return data
