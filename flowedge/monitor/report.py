"""What a run did, as data: counts per camera, times per operator, latency, resources, decisions.

Always, per camera and sink: produced = delivered + filtered + failed + in flight + the sum of dropped.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

from flowedge.monitor.plain import from_plain
from flowedge.values import Scalar

Quantiles = dict[str, float | None]
"""p50, p95, p99 in milliseconds; None where nothing was measured."""

State = Literal["connecting", "live", "reading", "stalled", "failing", "preempted", "ended"]
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
    delivered per second, and `latency_ms` is from capture to any sink: over the last seconds while it runs, and
    in the end since its first frame. `reason` says why it is in its `state`, where that is no matter of course;
    `error` why its frames cannot be used, or why its stream broke off or never began. `knobs` has the value of
    every knob for its next frame, which goes by the `route` of that number: they grow with every change.
    """

    state: State
    reason: str
    live: bool
    fps: float
    latency_ms: Quantiles
    knobs: Mapping[str, Scalar]
    route: int
    sinks: dict[str, CountsReport]
    error: str | None


@dataclass(frozen=True)
class OperatorReport:
    """One step: the values that it took, those on which it failed, and times in milliseconds.

    `rate` is in values per second; it and the times are over the last seconds while the graph runs, and over
    all of it in the end. `workers` names those on which it works, none where that is the process of the
    command. `partial` counts the frames that a gather put together without some of their parts. `wait_ms` is
    the time in the inbox before it, for a gather since the first part of the frame. `stuck` says with what it
    has been busy for longer than a run takes for usual.
    """

    count: int
    failed: int
    partial: int
    rate: float
    service_ms: Quantiles
    wait_ms: Quantiles
    workers: Sequence[str] = ()
    stuck: str | None = None


@dataclass(frozen=True)
class WorkerReport:
    """A worker: its process (None while there is none), and what it has used over all its lives.

    `cores` is how many it kept busy over the last seconds, `rss_bytes` what it holds now, and `peak_rss_bytes`
    the most that it has held. It has died `deaths` times, and so many frames were `sent_again` to others. Where
    the plan has a `share` of cores for it, `kept_by` says how it is kept to that: "cgroup v1", or "affinity to
    1 core", which enforces whole cores only.
    """

    pid: int | None
    cpu_seconds: float
    cores: float
    rss_bytes: int
    peak_rss_bytes: int
    deaths: int
    sent_again: int
    share: float | None = None
    kept_by: str | None = None


@dataclass(frozen=True)
class GoalReport:
    """The goal of the graph, and whether it is `met`: None while nothing has been measured.

    A goal of latency is met when 95 % of the frames are within it, one of accuracy when the last decision says
    so, one of throughput (frames per second of every camera) when every camera that runs delivers as many.
    """

    latency_ms: float | None
    accuracy: float | None
    throughput: float | None
    met: bool | None


@dataclass(frozen=True)
class Measured:
    """What the first `seconds` after a change were like, from when it had settled."""

    seconds: float
    fps: float
    latency_ms: Quantiles


@dataclass(frozen=True)
class Decision:
    """A change of settings, or of where operators work, `at` so many seconds after its maker began.

    `settings` counts the cameras in each, where settings were changed; `workers` names those of every operator
    that is not to work in the process of the command, None where that was not changed; `preempted` whether the
    graph was to wait for others (True) or to go on (False), None where it was neither. `measured_latency` (s)
    and `measured_fps` are those of before, the `expected` ones are what the plan says of after, as far as it
    was made for them, and `measured` is what came of it: None where that did not last long enough. It took
    `planning_seconds` to plan and `setup_seconds` to have it at work. Unless it is `reached`, nothing that was
    known reaches the goal.

    >>> print(Decision(9.0, "2 cameras instead of 1", {"size=416": 2}, expected_latency=0.12))
    2 cameras instead of 1: size=416 for 2; 120 ms expected
    """

    at: float
    reason: str
    settings: Mapping[str, int] = field(default_factory=dict)
    workers: Mapping[str, Sequence[str]] | None = None
    preempted: bool | None = None
    measured_latency: float | None = None
    measured_fps: float | None = None
    expected_latency: float | None = None
    expected_accuracy: float | None = None
    expected_fps: float | None = None
    reached: bool = True
    planning_seconds: float | None = None
    setup_seconds: float | None = None
    measured: Measured | None = None

    def __str__(self) -> str:
        settings = [f"{words} for {count}" for words, count in self.settings.items()]
        turn = {None: [], True: ["preempted"], False: ["goes on"]}[self.preempted]
        changes = ", ".join([*turn, *settings, *self._places()])
        expected = [
            *([] if self.expected_latency is None else [f"{1e3 * self.expected_latency:.0f} ms"]),
            *([] if self.expected_accuracy is None else [f"accuracy {self.expected_accuracy:.2f}"]),
            *([] if self.expected_fps is None else [f"{self.expected_fps:.1f} frames/s"]),
        ]
        forecast = f"; {' and '.join(expected)} expected" if expected else ""
        excuse = "" if self.reached else ", as nothing known reaches the goal"
        return f"{self.reason}: {changes}{forecast}{excuse}"

    def _places(self) -> list[str]:
        """Who goes where, in words."""
        return [] if self.workers is None else placed(self.workers) or ["all in one process"]


def placed(workers: Mapping[str, Sequence[str]]) -> list[str]:
    """Which operators are on which workers, in words.

    >>> placed({"Slice": ("w1", "w2"), "Detect": ("w1", "w2"), "Track": ("w1",), "Draw": ()})
    ['Slice and Detect on w1 and w2', 'Track on w1']
    """
    places: dict[tuple[str, ...], list[str]] = {}
    for name, on in workers.items():
        if on:
            places.setdefault(tuple(on), []).append(name)
    return [f"{' and '.join(names)} on {' and '.join(on)}" for on, names in places.items()]


@dataclass(frozen=True)
class Report:
    """A whole run, or a run so far.

    `seconds` count from when the cameras were opened, among them `preempted_seconds`, in which other graphs had
    the cores. `fps` is over all cameras, between the first frame and the last one delivered. `latency_ms` is
    from capture to sink, over all sinks. While the graph runs, both are over the last seconds. `cpu_seconds`
    and `peak_rss_bytes` are those of the process and of its `workers`, the peaks added up; `cores` is how many
    they keep busy. `decisions` are those of the controller, with what was measured after them. `files` were
    written, and `findings` are lines that sinks have to say, at the end; `notes` counts what a user should know
    of, by step and by what it is; `error` says what ended the run before its time.
    """

    graph: str
    seconds: float
    fps: float
    latency_ms: Quantiles
    cpu_seconds: float
    peak_rss_bytes: int
    cores: float
    cameras: Mapping[str, CameraReport]
    operators: Mapping[str, OperatorReport]
    workers: Mapping[str, WorkerReport] = field(default_factory=dict)
    goal: GoalReport | None = None
    decisions: Sequence[Decision] = ()
    preempted_seconds: float = 0.0
    files: Sequence[Path] = ()
    findings: Sequence[str] = ()
    notes: Mapping[str, Mapping[str, int]] = field(default_factory=dict)
    error: str | None = None

    def as_json(self) -> dict[str, Any]:
        """The report as plain data for `json.dump`."""
        data = dataclasses.asdict(self)
        data["files"] = [str(path) for path in self.files]
        return data

    @classmethod
    def from_json(cls, data: Any) -> Report:
        """The report that `as_json` made plain data of. Raises `ValueError` naming what does not fit."""
        return from_plain(cls, data)
