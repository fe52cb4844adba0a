"""A real graph on real RTSP servers with every fault a camera has: what it notices, when, and what it says.

    python -m tools.rtsp_faults [--video FILE.mp4]

The servers are our own and GStreamer's (skipped where it is missing); time limits and pauses are the real ones.
In the table, *after* counts from the fault, or from its end (the server listens again), to what happened.
"""

from __future__ import annotations

import argparse
import logging
import re
import select
import signal
import subprocess
import tempfile
import threading
import time
import traceback
from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from itertools import product
from pathlib import Path
from queue import Empty, SimpleQueue
from typing import Literal, Self, get_args
from urllib.parse import quote, urlsplit

import av
import numpy as np

from flowedge import Frame, Graph, UserError
from flowedge.operators import Null
from flowedge.operators.decode import Decode
from flowedge.operators.video import Video
from flowedge.runtime.run import Run
from tools.rtsp_server import RtspServer

PATIENCE = 20.0  # seconds after which something that should happen has not
STREAM, USER, PASSWORD, WRONG = "stream", "viewer", "hunter2@/", "letmein3"
DELIVERED, PLAYING = "first frame delivered", "playing"
PYTHON, SCRIPT = "/usr/bin/python3", str(Path(__file__).with_name("gst_rtsp_server.py"))
Transport = Literal["tcp", "udp"]

log = logging.getLogger("rtsp_faults")
now = time.monotonic


@dataclass
class Delivered(Null):
    """Null that says when a session, or a frame size, has delivered its first frame and its 25th."""

    _frames: Counter[tuple[int, int]] = field(default_factory=Counter, init=False, repr=False)

    def write(self, value: object, /) -> None:
        assert isinstance(value, Frame)
        kind = (value.origin.session, value.width)
        self._frames[kind] += 1
        if said := {1: DELIVERED, 25: PLAYING}.get(self._frames[kind]):
            log.info(said)


class Said(logging.Handler):
    """What is logged during one run: `until` reads on to what is waited for."""

    def __init__(self) -> None:
        super().__init__()
        self.setFormatter(logging.Formatter("%(levelname)s %(message)s"))
        self.lines: list[str] = []
        self._unread: SimpleQueue[tuple[float, str]] = SimpleQueue()

    def emit(self, record: logging.LogRecord) -> None:
        line = self.format(record)
        self.lines.append(line)
        self._unread.put((now(), line))

    def until(self, pattern: str) -> tuple[float, str]:
        """The next line that the pattern is found in, with its time; raises `TimeoutError`."""
        deadline = now() + PATIENCE
        while now() < deadline:
            with suppress(Empty):
                when, line = self._unread.get(timeout=max(0.0, deadline - now()))
                if re.search(pattern, line):
                    return when, line
        raise TimeoutError(f'nobody said "{pattern}" for {PATIENCE:g} s')


class GstServer:
    """The independent server, a process: with the methods of `RtspServer`, by way of signals."""

    _process: subprocess.Popen[str]

    def __init__(self, file: Path) -> None:
        self._file, self._port = file, 0

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.stop()

    def url(self, name: str) -> str:
        return f"rtsp://127.0.0.1:{self._port}/{name}"

    def start(self) -> None:
        words = ("--path", STREAM, "--user", USER, "--password", PASSWORD, "--port", str(self._port))
        command = [PYTHON, SCRIPT, "--file", str(self._file), *words]
        self._process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True)
        assert self._process.stdout
        ready, _, _ = select.select([self._process.stdout], [], [], PATIENCE)
        if not (ready and (address := self._process.stdout.readline())):
            self.stop()
            raise OSError(f"{SCRIPT} does not start")
        self._port = urlsplit(address.strip()).port or 0

    def stop(self) -> None:
        with self._process as process:  # which waits for its end
            process.kill()

    def freeze(self) -> None:
        self._process.send_signal(signal.SIGSTOP)

    def thaw(self) -> None:
        self._process.send_signal(signal.SIGCONT)

    def serve(self, _name: str, path: Path) -> None:
        self.stop()
        self._file = path
        self.start()


@dataclass
class FaultTrial:
    """One server over one transport: the graphs that run on it, and the rows that tell of them."""

    name: str
    server: RtspServer | GstServer
    transport: Transport
    said: Said = field(default_factory=Said)
    sums: Counter[str] = field(default_factory=Counter)
    wrong: list[str] = field(default_factory=list)

    def go_through(self, clips: Sequence[Path]) -> None:
        """Every scene, until one comes to nothing, and what they leave behind."""
        try:
            self.lost()
            self.frozen()
            self.resized(clips)
            if self.transport == "tcp":  # what follows comes before any transport is agreed on
                self.closed()
                self.refused("wrong password", password=WRONG)
                self.refused("wrong path", stream="nothing")
        except TimeoutError as error:
            self.wrong.append(str(error))
        good = "counts balanced, in flight 0, no password said, no thread left"
        sums = ", ".join(f"{total} {name}" for name, total in self.sums.items())
        self.row("after each run", "; ".join(self.wrong) or good, None, f"together {sums}")

    def lost(self) -> None:
        began = now()
        with self.running():
            self.saw("none", "first frame", began, "attached", DELIVERED)
            began = now()
            self.server.stop()
            self.saw("server killed", "noticed", began, "next try")
            self.saw("server still off", "noticed", began, "refused")
            self.server.start()
            self.saw("server brought back", "first frame", now(), "back after", DELIVERED)

    def frozen(self) -> None:
        with self.running():
            self.said.until(PLAYING)
            began = now()
            self.server.freeze()
            self.saw("server frozen", "noticed", began, "next try")
            self.saw("server still frozen", "noticed", began, "no answer")
            began = now()
            self.server.thaw()
            self.saw("server thawed", "first frame", began, "back after", DELIVERED)

    def resized(self, clips: Sequence[Path]) -> None:
        lines = ("frame size is now", DELIVERED)
        with self.running():
            self.said.until(PLAYING)
            self.server.serve(STREAM, clips[1])
            self.saw("frame size changed across a reconnect", "first frame", now(), "back after", *lines)
            if isinstance(self.server, RtspServer):
                began = now()
                self.server.switch(STREAM, clips[0])
                self.saw("frame size changed in the session", "first frame", began, *lines)

    def closed(self) -> None:
        self.server.stop()
        began = now()
        with self.running():
            self.saw("closed port", "noticed", began, "refused")
            self.server.start()
            self.saw("port opened", "first frame", now(), "attached", DELIVERED)

    def refused(self, fault: str, *, stream: str = STREAM, password: str = PASSWORD) -> None:
        """What no retry can mend: the run ends by itself."""
        began = now()
        with self.running(stream, password) as run:
            try:
                run.wait(PATIENCE)
                self.row(fault, "run NOT ended", None, f"nothing for {PATIENCE:g} s")
            except UserError as error:
                self.row(fault, "run ended", now() - began, f"error: {error}")

    @contextmanager
    def running(self, stream: str = STREAM, password: str = PASSWORD) -> Iterator[Run]:
        """Run a graph, with the password in plain text in its address, and look at what it leaves behind."""
        url = self.server.url(stream).replace("://", f"://{USER}:{quote(password, safe='')}@")
        graph = Graph("faults")  # begun as `video(graph, url)` does it, which has no transport
        graph.source(Video({"camera": url}, transport=self.transport)) >> Decode() >> Delivered()
        run, self.said = Run(graph), Said()
        logging.getLogger().addHandler(self.said)
        try:
            with run:
                yield run
        finally:
            logging.getLogger().removeHandler(self.said)
            self.audit(run)

    def audit(self, run: Run) -> None:
        report = run.report()
        for camera in report.cameras.values():
            for counts in (*camera.sinks.values(), camera):
                ends = {"delivered": counts.delivered, "filtered": counts.filtered, "failed": counts.failed}
                ends["dropped"] = sum(counts.dropped.values())
                if counts.in_flight or counts.produced != sum(ends.values()):
                    self.wrong.append(f"counts do not balance: {counts}")
            self.sums.update(ends, produced=camera.produced, runs=1)
        spoken = "\n".join((*self.said.lines, repr(report), *traceback.format_exception(run.error)))
        if any(secret in spoken for secret in (PASSWORD, quote(PASSWORD, safe=""), WRONG)):
            self.wrong.append("a password was said")
        threads = [thread.name for thread in threading.enumerate() if thread.name.startswith("flowedge-")]
        self.wrong += [f"{name} is alive" for name in threads]

    def saw(self, fault: str, happened: str, began: float, *patterns: str) -> None:
        """A row on what is said next: each of these in turn, the last of them when it happened."""
        try:
            heard = [self.said.until(pattern) for pattern in patterns]
            if patterns[-1] == DELIVERED:
                self.said.until(PLAYING)  # so that it lasts
        except TimeoutError:
            self.row(fault, f"NOT {happened}", None, "")
            raise
        sentences = "; ".join(line for _, line in heard if DELIVERED not in line)
        self.row(fault, happened, heard[-1][0] - began, sentences)

    def row(self, fault: str, happened: str, after: float | None, said: str) -> None:
        seconds = "" if after is None else f"{after:.3f}"
        print("|", " | ".join((self.name, self.transport, fault, happened, seconds, said)), "|", flush=True)


def write_clip(path: Path, width: int, height: int) -> Path:
    """Two seconds at 25 pictures a second, a key frame in each second."""
    with av.open(str(path), "w") as container:
        stream = container.add_stream("libx264", rate=25, options={"tune": "zerolatency", "g": "25"})
        stream.width, stream.height, stream.pix_fmt = width, height, "yuv420p"
        for index in range(50):
            picture = np.full((height, width, 3), 5 * index, np.uint8)
            container.mux(stream.encode(av.VideoFrame.from_ndarray(picture, format="rgb24")))
        container.mux(stream.encode())
    return path


def gst_missing() -> str:
    """Why the independent server cannot run here; nothing where it can."""
    command = ["/usr/bin/env", PYTHON, SCRIPT, "--help"]  # env says so where there is no such Python
    tried = subprocess.run(command, capture_output=True, text=True, timeout=PATIENCE)
    return "" if tried.returncode == 0 else tried.stderr.strip().rpartition("\n")[2]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--video", type=Path, help="an MP4 file with H.264 video (default: one made for this)")
    options = parser.parse_args()
    logging.getLogger().setLevel(logging.DEBUG)
    print("| server | transport | fault | what happened | after (s) | what was said |\n" + "|---" * 6 + "|")
    with tempfile.TemporaryDirectory() as folder:
        first = options.video or write_clip(Path(folder, "first.mp4"), 640, 360)
        clips = (first, write_clip(Path(folder, "second.mp4"), 424, 240))
        for name, transport in product(("ours", "GStreamer"), get_args(Transport)):
            if name == "GStreamer" and (missing := gst_missing()):
                print(f"| {name} | {transport} | | skipped | | {missing} |")
                continue
            ours = name == "ours"
            server = RtspServer({STREAM: first}, credentials=(USER, PASSWORD)) if ours else GstServer(first)
            with server:
                FaultTrial(name, server, transport).go_through(clips)


if __name__ == "__main__":
    main()
