"""What a run has done so far, put together from its parts as a `Report`."""

from __future__ import annotations

import resource
import time
from collections import deque
from collections.abc import Mapping

from flowedge.graph.contract import Sink
from flowedge.monitor.histogram import Histogram
from flowedge.monitor.report import CameraReport, CountsReport, OperatorReport, Report
from flowedge.plane.clock import Clock
from flowedge.runtime.cameras import Cameras
from flowedge.runtime.failures import Failures
from flowedge.runtime.ledger import CameraAccount, Counts, Ledger
from flowedge.runtime.limits import Limits
from flowedge.runtime.runner import Runner


class Reporter:
    """Reports on the parts of one run; seconds count from when it was made or `restart` was called.

    Rates of a running graph are those since the oldest `sample` that is not older than `limits` say.
    """

    def __init__(
        self,
        graph: str,
        *,
        ledger: Ledger,
        runners: Mapping[str, Runner],
        cameras: Cameras,
        failures: Failures,
        limits: Limits,
        clock: Clock,
    ) -> None:
        self._graph = graph
        self._ledger = ledger
        self._runners = runners
        self._cameras = cameras
        self._failures = failures
        self._limits = limits
        self._clock = clock
        self._samples: deque[tuple[float, dict[str, int]]] = deque()
        self._begun = clock()
        self._cpu_begun = time.process_time()

    def restart(self) -> None:
        """Count seconds from now on: the operators are ready, and the cameras open."""
        self._begun = self._clock()

    def sample(self) -> None:
        """Note how far every camera has come; to be called about once a second."""
        now = self._clock()
        self._samples.append((now, self._ledger.delivered()))
        oldest = max(now - self._limits.rate_seconds, self._begun)
        while len(self._samples) > 1 and self._samples[0][0] < oldest:
            self._samples.popleft()

    def report(self, *, finished: bool) -> Report:
        """The run so far; with what its sinks found out, and the rates of all of it, once it has `finished`."""
        accounts = self._ledger.accounts()
        cameras = {name: self._camera(name, account, finished) for name, account in accounts.items()}
        sinks = [runner.step for runner in self._runners.values() if isinstance(runner.step, Sink)]
        error = self._failures.error
        if finished:
            fps = _rate(list(accounts.values()), sum(camera.delivered for camera in cameras.values()))
        else:
            fps = round(sum(camera.fps for camera in cameras.values()), 3)
        return Report(
            graph=self._graph,
            seconds=round(self._clock() - self._begun, 3),
            fps=fps,
            latency_ms=Histogram.merged(self._ledger.latency.values()).summary_ms(),
            cpu_seconds=round(time.process_time() - self._cpu_begun, 3),
            peak_rss_bytes=resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024,
            cameras=cameras,
            operators={name: self._operator(runner) for name, runner in self._runners.items()},
            files=tuple(path for sink in sinks for path in sink.written()),
            findings=tuple(line for sink in sinks for line in sink.summary()) if finished else (),
            notes=self._notes(),
            error=str(error) if error else None,
        )

    def _notes(self) -> dict[str, dict[str, int]]:
        steps = [*self._cameras.sources, *(runner.step for runner in self._runners.values())]
        return {step.name: dict(notes) for step in steps if (notes := step.notes())}

    def _camera(self, name: str, account: CameraAccount, finished: bool) -> CameraReport:
        state, reason = self._cameras.state(name)
        error = self._failures.of_camera(name)
        busy = account.last - account.first if account.first else 0.0
        whole = account.total.delivered / busy if busy > 0 else 0.0
        return CameraReport(
            **vars(_counts(account.total)),
            state="ended" if finished else state,
            reason=reason,
            live=account.live,
            fps=round(whole if finished else self._recent_rate(name, account), 3),
            sinks={sink: _counts(counts) for sink, counts in account.sinks.items()},
            error=str(error) if error else None,
        )

    def _recent_rate(self, name: str, account: CameraAccount) -> float:
        """Frames per second of a camera since the oldest sample, or since its first frame."""
        since, before = next(((at, counts.get(name, 0)) for at, counts in self._samples), (self._begun, 0))
        passed = self._clock() - max(since, account.first)
        return (account.total.delivered - before) / passed if account.first and passed > 0 else 0.0

    def _operator(self, runner: Runner) -> OperatorReport:
        metrics = runner.metrics
        seconds, work = runner.busy_for()
        return OperatorReport(
            count=metrics.count,
            failed=metrics.failed,
            partial=metrics.partial,
            service_ms=metrics.service.summary_ms(),
            wait_ms=metrics.wait.summary_ms(),
            stuck=f"{work} for {seconds:.0f} s" if seconds >= self._limits.stalled_after else None,
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
