"""RTSP -> decoded pictures, against GStreamer (Debian: gstreamer1.0-tools, -plugins-good, -libav)."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import time
from pathlib import Path

from tools.bench.pairs import Contender, compare, python
from tools.rtsp_server import RtspServer

GRAPH = Path(__file__).parent / "graphs" / "ingest.py"
AT_ONCE = 2000.0
"""Frames per second that the server may send: more than anybody can take."""


def measure(video: str, frames: int, rounds: int) -> list[str]:
    """Ingest of the same stream by either, as fast as it can be taken and at its own pace."""
    if shutil.which("gst-launch-1.0") is None:
        return ["skipped: gst-launch-1.0 is not installed (Debian: gstreamer1.0-tools)"]
    lines = []
    for pace, fps in (("as fast as it can be taken", AT_ONCE), ("at its own pace", None)):
        with RtspServer({"stream": video}, fps=fps) as server:
            url = server.url("stream")
            ours = python("-m", "tools.bench.ours", str(GRAPH), str(frames), f"source={url}")
            theirs = python("-m", "tools.bench.ingest", url, str(frames))
            pair = Contender("flowedge", (ours,)), Contender("gstreamer", (theirs,))
            lines += [f"{pace}:", *compare(*pair, rounds)]
    return lines


def gstreamer(url: str, frames: int) -> None:
    """Let gst-launch take so many frames, and print what it needed."""
    pipeline = (
        f"rtspsrc location={url} protocols=tcp latency=0 ! rtph264depay ! h264parse ! avdec_h264 ! "
        f"identity eos-after={frames + 1} ! fakesink sync=false"
    )
    begun = time.monotonic()
    process = subprocess.Popen(["gst-launch-1.0", *pipeline.split()], stdout=subprocess.PIPE, text=True)
    assert process.stdout is not None
    if not any("Got EOS" in line for line in process.stdout):
        raise SystemExit(f"gst-launch-1.0 ended before {frames} frames had come")
    seconds = time.monotonic() - begun
    process.kill()  # taking leave of the server is no part of the work, and may take long
    _, _, used = os.wait4(process.pid, 0)
    figures = {
        "frames": frames,
        "seconds": seconds,
        "cpu_seconds": used.ru_utime + used.ru_stime,
        "peak_rss_bytes": used.ru_maxrss * 1024,
    }
    print(json.dumps(figures))


if __name__ == "__main__":
    gstreamer(sys.argv[1], int(sys.argv[2]))
