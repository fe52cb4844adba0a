"""What a run did, as data: counts per camera, times per operator, latency, resources.

Always, per camera and sink: produced = delivered + filtered + failed + in flight + the sum of dropped.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

Quantiles = dict[str, float | None]
"""p50, p95, p99 in milliseconds; None where nothing was measured."""

State = Literal["connecting", "live", "reading", "stalled", "failing", "ended"]
"""What a camera does: `reading` is what a file does in place of `live`."""


@dataclass(frozen=True)
class CountsReport:
    """How many frames ended in what way.

    `dropped` counts those that were lost by cause and place ("newer frame at Detect"), `failures` those that
    `failed` likewise. `in_flight` are those that have not ended.
    """

    produced: int
    delivered: int
    filtered: int
    failed: int
    in_flight: int
    dropped: dict[str, int]
    failures: dict[str, int]


@dataclass(frozen=True)
class CameraReport(CountsReport):
    """One camera, over all sinks and at each of them.

    Over all sinks, a frame counts as failed or dropped where one of them lost it. `fps` are the frames
    delivered per second: over the last seconds while it runs, and in the end since its first one. `reason` says
    why it is in its `state`, where that is no matter of course; `error` why its frames cannot be used, or why
    its stream broke off or never began.
    """

    state: State
    reason: str
    live: bool
    fps: float
    sinks: dict[str, CountsReport]
    error: str | None


@dataclass(frozen=True)
class OperatorReport:
    """One step: the values that it took, those on which it failed, and times in milliseconds.

    `partial` counts the frames that a gather put together without some of their parts. `wait_ms` is the time in
    the inbox before it, for a gather since the first part of the frame. `stuck` says with what it has been busy
    for longer than a run takes for usual.
    """

    count: int
    failed: int
    partial: int
    service_ms: Quantiles
    wait_ms: Quantiles
    stuck: str | None = None


@dataclass(frozen=True)
class Report:
    """A whole run, or a run so far.

    `seconds` count from when the cameras were opened; `fps` is over all cameras, between the first frame and
    the last one delivered, or over the last seconds while the graph runs. `latency_ms` is from capture to sink,
    over all sinks. `cpu_seconds` and `peak_rss_bytes` are those of the process. `files` were written, and
    `findings` are lines that sinks have to say, at the end; `notes` counts what a user should know of, by step
    and by what it is; `error` says what ended the run before its time.
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
    notes: Mapping[str, Mapping[str, int]] = field(default_factory=dict)
    error: str | None = None

    def as_json(self) -> dict[str, Any]:
        """The report as plain data for `json.dump`."""
        data = dataclasses.asdict(self)
        data["files"] = [str(path) for path in self.files]
        return data
