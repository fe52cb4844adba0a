"""Runs two contenders in turn, several times, and compares their medians.

A contender is a command that ends by printing one line of JSON: `frames`, `seconds`, `cpu_seconds` and
`peak_rss_bytes` of its own steady work. Pairs make the ratios hold while the machine's speed drifts.
"""

from __future__ import annotations

import json
import statistics
import subprocess
import sys
from collections.abc import Sequence
from dataclasses import dataclass


@dataclass(frozen=True)
class Figures:
    """What one run of a contender measured."""

    frames: int
    seconds: float
    cpu_seconds: float
    peak_rss_bytes: int

    @property
    def fps(self) -> float:
        return self.frames / self.seconds

    @property
    def cpu_ms(self) -> float:
        """Processor time per frame in milliseconds."""
        return 1e3 * self.cpu_seconds / self.frames

    @property
    def mib(self) -> float:
        return self.peak_rss_bytes / 2**20


@dataclass(frozen=True)
class Contender:
    """A name and the command lines that run at the same time; their figures are added up."""

    name: str
    commands: tuple[tuple[str, ...], ...]


def python(*arguments: str) -> tuple[str, ...]:
    """A command line for this interpreter."""
    return (sys.executable, *arguments)


def compare(ours: Contender, theirs: Contender, rounds: int) -> list[str]:
    """Run both in turn and give lines of text: medians, ranges, and the median of the ratios of each pair."""
    pairs = [(measured(ours), measured(theirs)) for _ in range(rounds)]
    lines = []
    for name, column in ((ours.name, 0), (theirs.name, 1)):
        runs = [pair[column] for pair in pairs]
        use = statistics.median(run.cpu_seconds / run.seconds for run in runs)
        figures = (
            f"{_spread([run.fps for run in runs])} frames/s, {_spread([run.cpu_ms for run in runs])} ms of "
            f"processor a frame, {_spread([run.mib for run in runs])} MiB, {use:.2f} cores in use"
        )
        lines.append(f"{name}: {figures}")
    for what, ratios in (
        ("frames/s", [a.fps / b.fps for a, b in pairs]),
        ("processor per frame", [a.cpu_ms / b.cpu_ms for a, b in pairs]),
        ("memory", [a.mib / b.mib for a, b in pairs]),
    ):
        lines.append(f"{ours.name} / {theirs.name}, {what}: {_spread(ratios)}")
    return lines


def measured(contender: Contender) -> Figures:
    """One run of a contender."""
    running = [subprocess.Popen(command, stdout=subprocess.PIPE, text=True) for command in contender.commands]
    rows = [_figures(process) for process in running]
    return Figures(
        sum(row.frames for row in rows),
        max(row.seconds for row in rows),
        sum(row.cpu_seconds for row in rows),
        sum(row.peak_rss_bytes for row in rows),
    )


def _figures(process: subprocess.Popen[str]) -> Figures:
    output, _ = process.communicate()
    if process.returncode:
        raise SystemExit(f"{process.args}: ended with {process.returncode}")
    return Figures(**json.loads(output.splitlines()[-1]))


def _spread(values: Sequence[float]) -> str:
    return f"{statistics.median(values):.3g} ({min(values):.3g}..{max(values):.3g})"
