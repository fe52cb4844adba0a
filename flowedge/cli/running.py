"""What commands that run graphs have in common: how they are asked to end, and what they tell in the end."""

from __future__ import annotations

import json
import logging
import signal
import sys
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from types import FrameType
from typing import TYPE_CHECKING, Any

from flowedge.cli import files
from flowedge.errors import UserError

if TYPE_CHECKING:
    from flowedge.monitor.report import Report

log = logging.getLogger("flowedge.cli")

TICK_SECONDS = 0.1


@dataclass
class Signals:
    """The numbers of the signals that asked the run to end, in order.

    Until they are `only_noted`, they interrupt: while operators load, nobody looks here.
    """

    caught: list[int] = field(default_factory=list)
    only_noted: bool = False

    def note(self, number: int, _: FrameType | None) -> None:
        self.caught.append(number)
        if not self.only_noted:
            raise KeyboardInterrupt


@contextmanager
def noted_signals() -> Iterator[Signals]:
    """Take SIGINT, SIGTERM and SIGHUP, unless `nohup` has it ignored, as wishes to end."""
    signals = Signals()
    numbers = [signal.SIGINT, signal.SIGTERM]
    if signal.getsignal(signal.SIGHUP) is not signal.SIG_IGN:
        numbers.append(signal.SIGHUP)
    before = {number: signal.signal(number, signals.note) for number in numbers}
    try:
        yield signals
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


def print_summary(report: Report) -> None:
    """What a run did, on the terminal."""
    from flowedge.cli.display import summary

    with suppress(OSError):  # the terminal has been closed
        for line in summary(report):
            print(line, file=sys.stderr)


def write_report(path: Path, data: Any) -> bool:
    """Write a report to its file; whether that could be done."""
    try:
        files.write(path, json.dumps(data, indent=2) + "\n", "--report")
    except UserError as error:
        log.error("%s", error)
        return False
    return True
