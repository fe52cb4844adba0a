"""What a run has done so far, put together from its parts as a `Report`."""

from __future__ import annotations

import resource
import time
from collections import deque
from collections.abc import Mapping
from dataclasses import dataclass

from flowedge.graph.contract import Sink
from flowedge.graph.graph import Graph
from flowedge.monitor.histogram import Histogram
from flowedge.monitor.report import (
    CameraReport,
    CountsReport,
    Decision,
    GoalReport,
    OperatorReport,
    Report,
    WorkerReport,
)
from flowedge.plane.clock import Clock
from flowedge.planner.model import units
from flowedge.runtime.cameras import Cameras
from flowedge.runtime.decisions import Decisions
from flowedge.runtime.failures import Failures
from flowedge.runtime.ledger import CameraAccount, Counts, Ledger
from flowedge.runtime.limits import Limits
from flowedge.runtime.routes import Routes
from flowedge.runtime.runner import Runner
from flowedge.runtime.workers.usage import Usage, WorkerUse

NEARLY_ALL = 0.95
"""The share of frames that must be within a goal of latency."""

SAMPLE_SECONDS = 1.0


@dataclass(frozen=True)
class _Sample:
    """What had been counted at a time: frames by camera, values by step, CPU seconds by worker ("": here)."""

    at: float
    delivered: Mapping[str, int]
    latency: Mapping[str, Histogram]
    counts: Mapping[str, int]
    service: Mapping[str, Histogram]
    wait: Mapping[str, Histogram]
    cpu: Mapping[str, float]


class Preemptions:
    """The time in which a run was preempted; one thread writes, others may read."""

    def __init__(self) -> None:
        self.since: float | None = None
        """When it was preempted, None while it is not."""
        self._before = 0.0

    def begin(self, now: float) -> None:
        self.since = now

    def end(self, now: float) -> None:
        self._before, self.since = self.seconds(now), None

    def seconds(self, now: float) -> float:
        """All of it up to now."""
        since = self.since
        return self._before + (0.0 if since is None else now - since)


class Reporter:
    """Reports on the parts of one run; seconds count from when it was made or `restart` was called.

    Rates and times of a running graph are those since the oldest `sample` that is not older than `limits` say.
    """

    def __init__(
        self,
        graph: Graph,
        *,
        ledger: Ledger,
        runners: Mapping[str, Runner],
        cameras: Cameras,
        routes: Routes,
        decisions: Decisions,
        preemptions: Preemptions,
        usage: Usage,
        failures: Failures,
        limits: Limits,
        clock: Clock,
    ) -> None:
        self._graph = graph
        self._ledger = ledger
        self._runners = runners
        self._cameras = cameras
        self._routes = routes
        self._decisions = decisions
        self._preemptions = preemptions
        self._usage = usage
        self._failures = failures
        self._limits = limits
        self._clock = clock
        self._samples: deque[_Sample] = deque()
        self._begun = clock()
        self._cpu_begun = time.process_time()
        self._nothing = _Sample(self._begun, {}, {}, {}, {}, {}, {})

    @property
    def seconds(self) -> float:
        """Seconds since the cameras were opened."""
        return self._clock() - self._begun

    def restart(self) -> None:
        """Count seconds from now on: the operators are ready, and the cameras open."""
        self._begun = self._clock()
        self._nothing = _Sample(self._begun, {}, {}, {}, {}, {}, {"": time.process_time() - self._cpu_begun})

    def sample(self) -> None:
        """Note how far everything has come; to be called at least once a second."""
        now = self._clock()
        if self._samples and now - self._samples[-1].at < SAMPLE_SECONDS:
            return
        runners = self._runners.items()
        self._usage.look()
        self._samples.append(
            _Sample(
                now,
                self._ledger.delivered(),
                {name: times.copy() for name, times in list(self._ledger.latency.items())},
                {name: runner.metrics.count for name, runner in runners},
                {name: runner.metrics.service.copy() for name, runner in runners},
                {name: runner.metrics.wait.copy() for name, runner in runners},
                self._cpu(),
            )
        )
        oldest = max(now - self._limits.rate_seconds, self._begun)
        while len(self._samples) > 1 and self._samples[0].at < oldest:
            self._samples.popleft()

    def report(self, *, finished: bool) -> Report:
        """The run so far; with what its sinks found out, and the rates of all of it, once it has `finished`."""
        since = self._nothing if finished or not self._samples else self._samples[0]
        passed = self._clock() - since.at
        accounts = self._ledger.accounts()
        latency = {name: _since(times, since.latency.get(name)) for name, times in self._ledger.latency.items()}
        cameras = {
            name: self._camera(name, account, latency[name], since, finished)
            for name, account in accounts.items()
        }
        sinks = [runner.step for runner in self._runners.values() if isinstance(runner.step, Sink)]
        error = self._failures.error
        if finished:
            fps = _rate(list(accounts.values()), sum(camera.delivered for camera in cameras.values()))
        else:
            fps = round(sum(camera.fps for camera in cameras.values()), 3)
        whole = Histogram.merged(latency.values())
        cpu, uses = self._cpu(), self._usage.workers
        cores = {name: _per(seconds - since.cpu.get(name, 0.0), passed) for name, seconds in cpu.items()}
        workers = self._routes.workers({camera.route for camera in cameras.values()})
        decisions = self._decisions.so_far()
        return Report(
            graph=self._graph.name,
            seconds=round(self.seconds, 3),
            preempted_seconds=round(self._preemptions.seconds(self._clock()), 3),
            fps=fps,
            latency_ms=whole.summary_ms(),
            cpu_seconds=round(sum(cpu.values()), 3),
            peak_rss_bytes=resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024
            + sum(use.peak_rss for use in uses.values()),
            cores=round(sum(cores.values()), 3),
            cameras=cameras,
            operators={
                name: self._operator(runner, since, passed, workers.get(name, ()))
                for name, runner in self._runners.items()
            },
            workers={name: _worker(use, cores[name]) for name, use in uses.items()},
            goal=self._goal(whole, cameras, decisions),
            decisions=decisions,
            files=tuple(path for sink in sinks for path in sink.written()),
            findings=tuple(line for sink in sinks for line in sink.summary()) if finished else (),
            notes=self._notes(),
            error=str(error) if error else None,
        )

    def _cpu(self) -> dict[str, float]:
        """CPU seconds of the process, and of every worker as of the last look."""
        workers = {name: use.cpu_seconds for name, use in self._usage.workers.items()}
        return {"": time.process_time() - self._cpu_begun, **workers}

    def _notes(self) -> dict[str, dict[str, int]]:
        steps = [*self._cameras.sources, *(runner.step for runner in self._runners.values())]
        return {step.name: dict(notes) for step in steps if (notes := step.notes())}

    def _camera(
        self, name: str, account: CameraAccount, latency: Histogram, since: _Sample, finished: bool
    ) -> CameraReport:
        state, reason = self._cameras.state(name)
        error = self._failures.of_camera(name)
        if self._preemptions.since is not None and state not in ("ended", "connecting", "failing"):
            state, reason = "preempted", ""
        route, configuration = self._routes.in_force(name)
        busy = account.last - account.first if account.first else 0.0
        passed = self._clock() - max(since.at, account.first) if account.first else 0.0
        whole = _per(account.total.delivered, busy)
        recent = _per(account.total.delivered - since.delivered.get(name, 0), passed)
        return CameraReport(
            **vars(_counts(account.total)),
            state="ended" if finished else state,
            reason=reason,
            live=account.live,
            fps=round(whole if finished else recent, 3),
            latency_ms=latency.summary_ms(),
            knobs=dict(configuration.setting),
            route=route,
            sinks={sink: _counts(counts) for sink, counts in account.sinks.items()},
            error=str(error) if error else None,
        )

    def _operator(
        self, runner: Runner, since: _Sample, passed: float, workers: tuple[str, ...]
    ) -> OperatorReport:
        metrics, name = runner.metrics, runner.name
        seconds, work = runner.busy_for()
        return OperatorReport(
            count=metrics.count,
            failed=metrics.failed,
            partial=metrics.partial,
            rate=round(_per(metrics.count - since.counts.get(name, 0), passed), 3),
            service_ms=_since(metrics.service, since.service.get(name)).summary_ms(),
            wait_ms=_since(metrics.wait, since.wait.get(name)).summary_ms(),
            workers=workers,
            stuck=f"{work} for {seconds:.0f} s" if seconds >= self._limits.stalled_after else None,
        )

    def _goal(
        self, latency: Histogram, cameras: Mapping[str, CameraReport], decisions: tuple[Decision, ...]
    ) -> GoalReport | None:
        goal = self._graph.goal
        limit = units.seconds(goal.latency, "Goal.latency") if goal.latency else None
        if limit is None and goal.accuracy is None and goal.throughput is None:
            return None
        met: list[bool | None] = []
        if limit is not None:
            reached = latency.quantile(NEARLY_ALL)
            met.append(None if reached is None else reached <= limit)
        if goal.accuracy is not None:
            expected = decisions[-1].expected_accuracy if decisions else None
            met.append(None if expected is None else expected >= goal.accuracy)
        if goal.throughput is not None:
            rates = [camera.fps for camera in cameras.values() if camera.delivered]
            met.append(min(rates) >= NEARLY_ALL * goal.throughput if rates else None)
        told = False if False in met else None if None in met else True
        return GoalReport(None if limit is None else 1e3 * limit, goal.accuracy, goal.throughput, told)


def _since(times: Histogram, earlier: Histogram | None) -> Histogram:
    return times if earlier is None else times.since(earlier)


def _per(amount: float, seconds: float) -> float:
    return amount / seconds if seconds > 0 else 0.0


def _worker(use: WorkerUse, cores: float) -> WorkerReport:
    return WorkerReport(
        pid=use.pid,
        cpu_seconds=round(use.cpu_seconds, 3),
        cores=round(cores, 3),
        rss_bytes=use.rss,
        peak_rss_bytes=use.peak_rss,
        deaths=use.deaths,
        sent_again=use.sent_again,
        share=use.share.cores if use.share else None,
        kept_by=use.share.kept_by if use.share else None,
    )


def _rate(accounts: list[CameraAccount], delivered: int) -> float:
    """Frames per second of all cameras, between the first that one produced and the last delivered."""
    firsts = [account.first for account in accounts if account.first]
    lasts = [account.last for account in accounts if account.last]
    busy = max(lasts) - min(firsts) if lasts else 0.0
    return round(delivered / busy, 3) if busy else 0.0


def _counts(counts: Counts) -> CountsReport:
    return CountsReport(
        produced=counts.produced,
        delivered=counts.delivered,
        filtered=counts.filtered,
        failed=counts.failed,
        in_flight=counts.in_flight,
        dropped=dict(counts.dropped),
        failures=dict(counts.failures),
    )
