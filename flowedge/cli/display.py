"""How a run looks: a live table in a terminal, plain lines elsewhere, a summary at the end."""

from __future__ import annotations

import logging
import sys
import time
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress

from rich.console import Console, Group
from rich.live import Live
from rich.table import Table

from flowedge.monitor.report import (
    CameraReport,
    CountsReport,
    Decision,
    GoalReport,
    Quantiles,
    Report,
    WorkerReport,
    placed,
)

TABLE_SECONDS = 0.25
LINE_SECONDS = 5.0

NAMED = 4
"""Cameras with the same setting that are named; more are counted."""

Show = Callable[[Callable[[], Sequence[Report]]], None]
"""Takes the means to the reports of the graphs that run, which are made only when they will be shown."""


@contextmanager
def display(*, named: bool = False) -> Iterator[Show]:
    """A function to call again and again with the means to reports; lines begin with a name if `named`."""
    console = Console(stderr=True)
    if not console.is_terminal:
        yield _paced(lambda reports: _print_lines(reports, named=named), LINE_SECONDS)
        return
    live = Live(console=console, auto_refresh=False, transient=True)
    with _logs_above(live):
        console.show_cursor(True)  # a crash would leave a terminal without one
        yield _paced(lambda reports: live.update(Group(*map(tables, reports)), refresh=True), TABLE_SECONDS)


def _print_lines(reports: Sequence[Report], *, named: bool) -> None:
    for report in reports:
        name = f"{report.graph}: " if named else ""
        print(f"{name}{progress(report)}", file=sys.stderr, flush=True)


@contextmanager
def _logs_above(live: Live) -> Iterator[None]:
    """Show the table, with log lines above it through its own `sys.stderr`: else it would wipe them out."""
    handlers = [
        handler for handler in logging.getLogger().handlers if isinstance(handler, logging.StreamHandler)
    ]
    live.start()
    before = [handler.setStream(sys.stderr) for handler in handlers]
    try:
        yield
    finally:
        for handler, stream in zip(handlers, before, strict=True):
            handler.setStream(stream or sys.__stderr__)
        with suppress(OSError):  # the terminal has been closed
            live.stop()


def tables(report: Report, name: str | None = None) -> Group:
    """The run so far: per camera, operator and worker, then its goal, its knobs and what was decided last.

    Its title is the `name`, that of the graph by default.
    """
    workers = [_workers(report)] if report.workers else []
    return Group(_cameras(report, name or report.graph), _operators(report), *workers, *lines(report))


def _cameras(report: Report, name: str) -> Table:
    cameras = report.cameras.values()
    table = Table(title=f"{name}, {report.seconds:.0f} s", title_justify="left")
    table.add_column("camera")
    table.add_column("state")
    shown = [
        (heading, field)
        for heading, field in (("filtered", "filtered"), ("failed", "failed"), ("in flight", "in_flight"))
        if any(getattr(camera, field) for camera in cameras)
    ]
    for heading in ("frames/s", "latency ms p50/p95/p99", "produced", "delivered", *dict(shown)):
        table.add_column(heading, justify="right")
    table.add_column("dropped")
    for name, camera in report.cameras.items():
        state = f"{camera.state}: {camera.reason}" if camera.reason else camera.state
        counts = (camera.produced, camera.delivered, *(getattr(camera, field) for _, field in shown))
        rate, latency = f"{camera.fps:.1f}", quantiles(camera.latency_ms)
        table.add_row(name, state, rate, latency, *map(str, counts), dropped(camera) or "0")
    return table


def _operators(report: Report) -> Table:
    table = Table()
    table.add_column("operator")
    if report.workers:
        table.add_column("on")
    for heading in ("values/s", "values", "failed", "service ms p50/p95/p99", "wait ms p50/p95/p99"):
        table.add_column(heading, justify="right")
    for name, operator in report.operators.items():
        times = (quantiles(operator.service_ms), quantiles(operator.wait_ms))
        busy = f"{name} (busy with {operator.stuck})" if operator.stuck else name
        where = [", ".join(operator.workers) or "here"] if report.workers else []
        counts = (f"{operator.rate:.1f}", str(operator.count), str(operator.failed))
        table.add_row(busy, *where, *counts, *times)
    return table


def _workers(report: Report) -> Table:
    table = Table()
    table.add_column("worker")
    for heading in ("process", "cores", "CPU s", "MiB", "deaths", "sent again"):
        table.add_column(heading, justify="right")
    has_shares = any(worker.share is not None for worker in report.workers.values())
    if has_shares:
        table.add_column("kept to")
    for name, worker in report.workers.items():
        use = (f"{worker.cores:.2f}", f"{worker.cpu_seconds:.1f}", f"{worker.rss_bytes / 2**20:.0f}")
        pid = "-" if worker.pid is None else str(worker.pid)
        kept = [_share(worker)] if has_shares else []
        table.add_row(name, pid, *use, str(worker.deaths), str(worker.sent_again), *kept)
    return table


def _share(worker: WorkerReport) -> str:
    return "" if worker.share is None else f"{worker.share:g} cores by {worker.kept_by}"


def lines(report: Report) -> Iterator[str]:
    """Latency and use of the whole run, its goal, its knobs and its last decision, a line each."""
    yield (
        f"latency ms p50/p95/p99: {quantiles(report.latency_ms)}; {report.cores:.1f} cores, "
        f"at most {report.peak_rss_bytes / 2**20:.0f} MiB"
    )
    if report.goal is not None:
        yield f"goal: {_goal(report.goal)}"
    if any(camera.knobs for camera in report.cameras.values()):
        yield f"knobs: {_knobs(report.cameras)}"
    if report.decisions:
        last = report.decisions[-1]
        yield f"last decision, at {last.at:.0f} s: {last}{_measured(last)}"


def _goal(goal: GoalReport) -> str:
    """
    >>> _goal(GoalReport(latency_ms=250.0, accuracy=0.6, throughput=None, met=False))
    'latency 250 ms, accuracy 0.6: missed'
    """
    parts = [
        *([f"latency {goal.latency_ms:g} ms"] if goal.latency_ms is not None else []),
        *([f"accuracy {goal.accuracy:g}"] if goal.accuracy is not None else []),
        *([f"{goal.throughput:g} frames/s of every camera"] if goal.throughput is not None else []),
    ]
    met = {True: "met", False: "missed", None: "not measured yet"}[goal.met]
    return f"{', '.join(parts)}: {met}"


def _knobs(cameras: Mapping[str, CameraReport]) -> str:
    """The value of every knob, and the number of the route that has it, for all the cameras that go by it."""
    groups: dict[tuple[int, str], list[str]] = {}
    for name, camera in cameras.items():
        groups.setdefault((camera.route, setting(camera)), []).append(name)
    return "; ".join(
        f"{words} for {', '.join(names) if len(names) <= NAMED else f'{len(names)} cameras'} (route {route})"
        for (route, words), names in groups.items()
    )


def setting(camera: CameraReport) -> str:
    """The value of every knob, in words."""
    return " ".join(f"{name}={value}" for name, value in camera.knobs.items())


def _measured(decision: Decision) -> str:
    if decision.measured is None:
        return ""
    return f", {quantiles(decision.measured.latency_ms)} ms (p50/p95/p99) measured"


def progress(report: Report) -> str:
    """The run so far in one line."""
    parts = [f"{name} {camera.state}, {_counts(camera)}" for name, camera in report.cameras.items()]
    parts += [f"{name} is busy with {step.stuck}" for name, step in report.operators.items() if step.stuck]
    if any(camera.knobs for camera in report.cameras.values()):
        parts.append(_knobs(report.cameras))
    if report.goal is not None:
        parts.append(f"goal {_goal(report.goal)}")
    return (
        f"{report.seconds:6.1f} s  {report.fps:6.1f} frames/s  {quantiles(report.latency_ms)} ms  "
        f"{'; '.join(parts)}"
    )


def summary(report: Report) -> Iterator[str]:
    """What the run did, in a few lines; the last ones say what it found and name the files it wrote.

    Nothing of a run that failed before its first frame: a table of zeros would hide the error below it.
    """
    produced = any(camera.produced for camera in report.cameras.values())
    if not report.cameras or (not produced and report.error):
        return
    milliseconds = quantiles(report.latency_ms)
    waits = sum(decision.preempted is True for decision in report.decisions)
    waited = f" (preempted {_number(waits, 'time')}, {report.preempted_seconds:.1f} s)" if waits else ""
    yield (
        f"{report.graph}: {report.seconds:.1f} s{waited}, {report.fps:.1f} frames/s, "
        f"latency {milliseconds} ms (p50/p95/p99), {report.cpu_seconds:.1f} s of processor, "
        f"{report.peak_rss_bytes / 2**20:.0f} MiB"
    )
    for name, camera in report.cameras.items():
        yield f"  {name}: {_counts(camera)}"
        if camera.error:
            yield f"  {camera.error}"
    for name, operator in report.operators.items():
        yield (
            f"  {name}: {operator.count} frames, service {quantiles(operator.service_ms)} ms, "
            f"wait {quantiles(operator.wait_ms)} ms"
        )
    for name, worker in report.workers.items():
        again = f", {worker.sent_again} frames sent again" if worker.sent_again else ""
        deaths = f", died {_number(worker.deaths, 'time')}{again}" if worker.deaths else ""
        use = f"{worker.cpu_seconds:.1f} s of processor, {worker.peak_rss_bytes / 2**20:.0f} MiB"
        kept = f", kept to {_share(worker)}" if worker.share is not None else ""
        yield f"  {name}: {use}{kept}{deaths}"
    if any(decision.preempted is None for decision in report.decisions):
        yield _plans(report)
    for name, notes in report.notes.items():
        yield from (f"  {name}: {count} {what}" for what, count in notes.items())
    yield from report.findings
    for path in report.files:
        yield f"wrote {path}"


def _plans(report: Report) -> str:
    """How often it was planned anew, and what that came to."""
    parts = [_number(sum(decision.preempted is None for decision in report.decisions), "re-plan")]
    if any(camera.knobs for camera in report.cameras.values()):
        cameras = Counter(setting(camera) for camera in report.cameras.values())
        ends = ", ".join(f"{words} for {_number(count, 'camera')}" for words, count in cameras.items())
        parts.append(f"settings at the end: {ends}")
    if any(decision.workers is not None for decision in report.decisions):
        where = placed({name: operator.workers for name, operator in report.operators.items()})
        parts.append(", ".join(where) or "all in one process")
    return "; ".join(parts)


def _number(count: int, noun: str) -> str:
    """
    >>> _number(1, "camera"), _number(3, "camera")
    ('1 camera', '3 cameras')
    """
    return f"{count} {noun}{'' if count == 1 else 's'}"


def quantiles(times: Quantiles) -> str:
    """p50/p95/p99 in three digits, or as many as stand before the point.

    >>> quantiles({"p50": 12.345, "p95": 1320.4, "p99": None})
    '12.3/1320/-'
    """
    texts = (
        "-" if value is None else f"{value:{'.0f' if value >= 100 else '.3g'}}" for value in times.values()
    )
    return "/".join(texts)


def dropped(counts: CountsReport) -> str:
    """Why frames were dropped, most frequent first."""
    causes = sorted(counts.dropped.items(), key=lambda row: -row[1])
    return ", ".join(f"{count} {cause}" for cause, count in causes)


def _counts(camera: CameraReport) -> str:
    counts = [f"{camera.produced} produced, {camera.delivered} delivered"]
    if camera.filtered:
        counts.append(f"{camera.filtered} filtered")
    if camera.dropped:
        counts.append(f"dropped {dropped(camera)}")
    if camera.failed:
        causes = ", ".join(f"{count} {cause}" for cause, count in camera.failures.items())
        counts.append(f"{camera.failed} failed ({causes})")
    if camera.in_flight:
        counts.append(f"{camera.in_flight} in flight")
    return ", ".join(counts)


def _paced(show: Callable[[Sequence[Report]], None], interval: float) -> Show:
    """Call `show` at most once per `interval` seconds."""
    due = time.monotonic() + interval

    def paced(reports: Callable[[], Sequence[Report]]) -> None:
        nonlocal due
        if time.monotonic() >= due:
            due = time.monotonic() + interval
            with suppress(OSError):  # the terminal has been closed
                show(reports())

    return paced
