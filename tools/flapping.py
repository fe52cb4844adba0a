"""A camera that goes away and comes back for hours, with time compressed: is anything kept that should not be?

    python -m tools.flapping [--sessions 480] [--video FILE.mp4]

An RTSP server in a process of its own is closed and opened again about once a second, while one run reads from
it. 480 sessions stand for eight hours of a camera that drops out once a minute; pauses between attempts to
attach are shortened for it, all else is the real thing. Memory, descriptors and threads of the run are printed
on the way. Ends with 1 where they grew after the first quarter, or where a frame is unaccounted for.
"""

from __future__ import annotations

import argparse
import logging
import multiprocessing
import os
import sys
import tempfile
import threading
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from multiprocessing.connection import Connection
from pathlib import Path

from flowedge import Frame, Graph
from flowedge.operators import Null, Resize, VideoFile, video
from flowedge.runtime.run import Run
from flowedge.video import camera
from tools.rtsp_server import RtspServer

OPEN_SECONDS, CLOSED_SECONDS = 0.7, 0.15
PAUSES = 0.05, 0.2  # seconds between attempts to attach, in place of a quarter of a second to ten
PAGE = os.sysconf("SC_PAGE_SIZE")
GROWTH = 16 * 2**20  # bytes of memory by which a run may grow after its first quarter: arenas of the allocator


@dataclass
class Sessions(Null):
    """Null that knows the session of the newest frame."""

    newest: list[int] = field(default_factory=lambda: [-1], init=False, repr=False)

    def __deepcopy__(self, _: object) -> Sessions:
        return self  # the copy that runs is looked at from outside

    def write(self, value: object, /) -> None:
        assert isinstance(value, Frame)
        self.newest[0] = value.origin.session


@dataclass(frozen=True)
class Usage:
    """What a process holds: resident memory in bytes, open descriptors, threads."""

    memory: int
    descriptors: int
    threads: int

    @classmethod
    def now(cls) -> Usage:
        pages = int(Path("/proc/self/statm").read_text().split()[1])
        return cls(pages * PAGE, len(os.listdir("/proc/self/fd")), threading.active_count())


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--sessions", type=int, default=480)
    parser.add_argument("--video", type=Path, help="an H.264 file (default: a synthetic street)")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        clip = options.video or street(Path(folder) / "street.mp4")
        ours, theirs = multiprocessing.Pipe()
        server = multiprocessing.get_context("spawn").Process(target=flap, args=(clip, theirs), daemon=True)
        server.start()
        try:
            sys.exit(0 if flat(list(watch(ours.recv(), options.sessions))) else 1)
        finally:
            server.terminate()
            server.join()


def street(path: Path) -> Path:
    graph = Graph("clip")
    video(graph, "street://?seconds=4&width=320&height=240&fps=25") >> VideoFile(str(path))
    with Run(graph) as run:
        run.wait()
    return path


def flap(clip: Path, parent: Connection) -> None:
    """Serve the clip, in the server's process: on and off, until the process is ended."""
    with RtspServer({"stream": clip}) as server:
        parent.send(server.url("stream"))
        while True:
            time.sleep(OPEN_SECONDS)
            server.stop()
            time.sleep(CLOSED_SECONDS)
            server.start()


def watch(url: str, sessions: int) -> Iterator[Usage]:
    """Run a graph on the camera; a row for each sixteenth of the sessions."""
    logging.getLogger("flowedge.camera").setLevel(logging.ERROR)  # every loss and return would be a line
    camera.FIRST_PAUSE, camera.LONGEST_PAUSE = PAUSES
    graph, sink = Graph("flapping"), Sessions()
    video(graph, {"north": url}) >> Resize(160) >> sink
    begun, due = time.monotonic(), max(1, sessions // 16)
    print(f"{'session':>8}{'seconds':>9}{'MiB':>8}{'descriptors':>13}{'threads':>9}")
    with Run(graph) as run:
        while sink.newest[0] < sessions:
            if run.finished_within(0.1):
                run.wait()  # raises what ended it
            if sink.newest[0] >= due:
                due += max(1, sessions // 16)
                usage = Usage.now()
                memory = usage.memory / 2**20
                print(
                    f"{sink.newest[0]:>8}{time.monotonic() - begun:>9.0f}{memory:>8.1f}"
                    f"{usage.descriptors:>13}{usage.threads:>9}",
                    flush=True,
                )
                yield usage
        run.stop()
        counts = run.wait().cameras["north"]
    ended = counts.delivered + counts.filtered + counts.failed + sum(counts.dropped.values())
    print(f"produced {counts.produced}, delivered {counts.delivered}, dropped {counts.dropped}")
    if counts.produced != ended or counts.in_flight:
        sys.exit(f"{counts.produced} frames were produced and {ended} ended")


def flat(rows: list[Usage]) -> bool:
    """Whether nothing grew after the first quarter; a session may be under way when a row is taken."""
    settled, last = rows[len(rows) // 4 : len(rows) // 2] or rows, rows[-1]
    return (
        last.memory <= max(row.memory for row in settled) + GROWTH
        and last.descriptors <= max(row.descriptors for row in settled)
        and last.threads <= max(row.threads for row in settled)
    )


if __name__ == "__main__":
    main()
