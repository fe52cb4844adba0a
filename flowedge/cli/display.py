"""How a run looks: a live table in a terminal, plain lines elsewhere, a summary at the end."""

from __future__ import annotations

import logging
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress

from rich.console import Console, Group
from rich.live import Live
from rich.table import Table

from flowedge.monitor.report import CameraReport, CountsReport, Quantiles, Report

TABLE_SECONDS = 0.25
LINE_SECONDS = 5.0

Show = Callable[[Callable[[], Report]], None]
"""Takes the means to a report, which is made only when it will be shown."""


@contextmanager
def display() -> Iterator[Show]:
    """A function to call again and again with the means to a report."""
    console = Console(stderr=True)
    if not console.is_terminal:
        yield _paced(lambda report: print(progress(report), file=sys.stderr, flush=True), LINE_SECONDS)
        return
    live = Live(console=console, auto_refresh=False, transient=True)
    with _logs_above(live):
        console.show_cursor(True)  # a crash would leave a terminal without one
        yield _paced(lambda report: live.update(tables(report), refresh=True), TABLE_SECONDS)


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


def tables(report: Report) -> Group:
    """The run so far, per camera and per operator."""
    cameras = Table(title=f"{report.graph}, {report.seconds:.0f} s", title_justify="left")
    cameras.add_column("camera")
    cameras.add_column("state")
    for heading in ("frames/s", "produced", "delivered", "filtered", "failed", "in flight"):
        cameras.add_column(heading, justify="right")
    cameras.add_column("dropped")
    for name, camera in report.cameras.items():
        counts = (camera.produced, camera.delivered, camera.filtered, camera.failed, camera.in_flight)
        state = f"{camera.state}: {camera.reason}" if camera.reason else camera.state
        cameras.add_row(name, state, f"{camera.fps:.1f}", *map(str, counts), dropped(camera) or "0")
    operators = Table()
    operators.add_column("operator")
    for heading in ("frames", "failed", "service ms p50/p95/p99", "wait ms p50/p95/p99"):
        operators.add_column(heading, justify="right")
    for name, operator in report.operators.items():
        times = (quantiles(operator.service_ms), quantiles(operator.wait_ms))
        busy = f"{name} (busy with {operator.stuck})" if operator.stuck else name
        operators.add_row(busy, str(operator.count), str(operator.failed), *times)
    return Group(cameras, operators, f"latency ms p50/p95/p99: {quantiles(report.latency_ms)}")


def progress(report: Report) -> str:
    """The run so far in one line."""
    parts = [f"{name} {camera.state}, {_counts(camera)}" for name, camera in report.cameras.items()]
    parts += [f"{name} is busy with {step.stuck}" for name, step in report.operators.items() if step.stuck]
    return f"{report.seconds:6.1f} s  {report.fps:6.1f} frames/s  {'; '.join(parts)}"


def summary(report: Report) -> Iterator[str]:
    """What the run did, in a few lines; the last ones say what it found and name the files it wrote.

    Nothing of a run that failed before its first frame: a table of zeros would hide the error below it.
    """
    produced = any(camera.produced for camera in report.cameras.values())
    if not report.cameras or (not produced and report.error):
        return
    milliseconds = quantiles(report.latency_ms)
    yield (
        f"{report.graph}: {report.seconds:.1f} s, {report.fps:.1f} frames/s, "
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
    for name, notes in report.notes.items():
        yield from (f"  {name}: {count} {what}" for what, count in notes.items())
    yield from report.findings
    for path in report.files:
        yield f"wrote {path}"


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


def _paced(show: Callable[[Report], None], interval: float) -> Show:
    """Call `show` at most once per `interval` seconds."""
    due = time.monotonic() + interval

    def paced(report: Callable[[], Report]) -> None:
        nonlocal due
        if time.monotonic() >= due:
            due = time.monotonic() + interval
            with suppress(OSError):  # the terminal has been closed
                show(report())

    return paced
