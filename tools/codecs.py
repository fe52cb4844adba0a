"""Decode samples of many codecs and pixel formats with FlowEdge and with ffmpeg, and compare the pictures.

    python -m tools.codecs              # all of them
    python -m tools.codecs png ffv1     # those whose name begins like this

The samples are made with the `ffmpeg` command (Debian: ffmpeg), which also says what is right: how many
pictures, of which size, in which order, and what they look like. Exits with 1 when one differs or failed.
"""

from __future__ import annotations

import subprocess
import sys
import tempfile
import threading
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from flowedge import Frame
from flowedge.operators.decode import Decode
from flowedge.operators.video import Video

COUNT = 20
WIDTH, HEIGHT = 352, 288
ALIKE = 3.0  # grey levels of mean difference: ffmpeg's and OpenCV's ways to make BGR differ by so much
SAMPLES = (  # encoder, pixel format, container, and further options
    "libx264 yuv420p mp4", "libx264 yuv420p mkv", "libx264 yuv420p avi -bf 3", "libx264 yuv420p h264 -bf 3",
    "libx264 yuv420p ts", "libx264 yuv420p flv", "libx264 yuvj420p mp4", "libx264 yuv422p mp4",
    "libx264 yuv444p mp4", "libx264 yuv420p10le mp4", "libx264 yuv422p10le mkv", "libx264rgb rgb24 mkv",
    "libx264 gray mp4", "libx265 yuv420p mp4", "libx265 yuv420p10le mkv", "libx265 yuv444p mp4",
    "libx265 yuv420p ts", "libvpx yuv420p webm -auto-alt-ref 1 -lag-in-frames 8", "libvpx-vp9 yuv420p webm",
    "libvpx-vp9 yuv444p webm", "libaom-av1 yuv420p mp4 -cpu-used 8", "libaom-av1 yuv420p webm -cpu-used 8",
    "mpeg1video yuv420p mpg", "mpeg2video yuv420p ts", "mpeg2video yuv422p mpg",
    "mpeg2video yuv420p mkv -bf 2", "mpeg4 yuv420p avi", "mpeg4 yuv420p mp4 -bf 2",
    "mpeg4 yuv420p avi -bf 2", "msmpeg4v2 yuv420p avi", "msmpeg4 yuv420p avi", "wmv1 yuv420p wmv",
    "wmv2 yuv420p wmv", "flv yuv420p flv", "h263 yuv420p 3gp", "h263p yuv420p avi", "h261 yuv420p avi",
    "rv10 yuv420p rm", "rv20 yuv420p rm", "svq1 yuv410p mov", "libtheora yuv420p ogv", "mjpeg yuvj420p avi",
    "mjpeg yuvj422p mov", "ljpeg bgr24 avi", "jpegls rgb24 avi", "jpeg2000 rgb24 mov", "png rgb24 mov",
    "png rgba avi", "png pal8 mov", "bmp bgr24 avi", "tiff rgb24 mov", "qtrle rgb24 mov", "qtrle pal8 mov",
    "cinepak rgb24 avi", "rpza rgb555be mov", "msvideo1 rgb555le avi", "smc pal8 mov", "ffv1 yuv420p avi",
    "ffv1 yuv444p16le mkv", "ffvhuff yuv420p avi", "huffyuv yuv422p avi", "huffyuv rgb24 avi",
    "utvideo yuv420p avi", "utvideo gbrp avi", "magicyuv yuv444p avi", "asv1 yuv420p avi",
    "asv2 yuv420p avi", "dnxhd yuv422p mov -b:v 36M -s 1280x720", "prores yuv422p10le mov",
    "prores_ks yuva444p10le mov", "dvvideo yuv420p avi -s 720x576",
    "dvvideo yuv411p mov -s 720x480 -r 30000/1001", "cfhd yuv422p10le mov", "v210 yuv422p10le mov",
    "v308 yuv444p mov", "v408 yuva444p mov", "v410 yuv444p10le mov", "r210 gbrp10le mov",
    "y41p yuv411p avi", "rawvideo bgr24 avi", "rawvideo yuyv422 mov", "rawvideo uyvy422 avi",
    "rawvideo gray avi", "rawvideo rgb555le avi", "rawvideo pal8 avi", "rawvideo yuv420p nut",
    "rawvideo nv12 nut", "snow yuv420p avi", "zlib bgr24 avi", "zmbv bgr0 avi", "flashsv bgr24 flv",
    "flashsv2 bgr24 flv", "amv yuvj420p amv -s 160x128 -r 16 -ac 1 -ar 22050",
    "roqvideo yuvj444p roq -s 256x256 -r 30", "speedhq yuv422p avi", "vbn rgb24 avi", "sunrast rgb24 mkv",
    "targa bgr24 mov", "gif pal8 gif", "apng rgb24 apng", "libwebp_anim bgra webp", "hap rgba mov",
    "xwd rgb24 avi",
)  # fmt: skip


@dataclass(frozen=True)
class Result:
    """How a sample was decoded; `verdict` is "alike" or says what is wrong."""

    sample: str
    pictures: int
    expected: int
    difference: float
    verdict: str


def make(sample: str, folder: Path) -> Path | None:
    """Write a sample; None where this ffmpeg cannot."""
    encoder, pixel_format, container, *options = sample.split()
    path = folder / f"sample.{container}"
    source = ["-f", "lavfi", "-i", f"testsrc=size={WIDTH}x{HEIGHT}:rate=25"]
    strict = ["-c:v", encoder, "-pix_fmt", pixel_format, "-strict", "-2", *options, "-frames:v", str(COUNT)]
    command = ["ffmpeg", "-v", "error", "-y", *source, *strict, str(path)]
    done = subprocess.run(command, capture_output=True, check=False)
    return path if done.returncode == 0 and path.stat().st_size else None


def by_ffmpeg(path: Path) -> list[NDArray[np.uint8]]:
    """The pictures as the ffmpeg command gives them, height x width x 3 BGR each."""
    probe = ["ffprobe", "-v", "error", "-select_streams", "v:0", "-of", "csv=p=0"]
    asked = [*probe, "-show_entries", "stream=width,height", str(path)]
    width, height = map(int, subprocess.check_output(asked, text=True).split()[0].strip(",").split(",")[:2])
    raw = ["-fps_mode", "passthrough", "-f", "rawvideo", "-pix_fmt", "bgr24", "-"]
    data = subprocess.check_output(["ffmpeg", "-v", "error", "-i", str(path), *raw])
    return list(np.frombuffer(data, np.uint8).reshape(-1, height, width, 3))


def by_flowedge(path: Path) -> tuple[list[Frame], str]:
    """The frames as FlowEdge gives them, and the first error."""
    decode, results, error = Decode(), [], ""
    try:
        for packet in Video({"sample": str(path)}).read("sample", threading.Event()):
            try:
                results.append(decode.process(packet))
            except Exception as failure:
                error = error or f"{type(failure).__name__}: {failure}"
        results += decode.flush("sample")
    except Exception as failure:
        error = error or f"{type(failure).__name__}: {failure}"
    return [result for result in results if isinstance(result, Frame)], error


def compare(sample: str, folder: Path) -> Result | None:
    """Make a sample and decode it both ways; None where ffmpeg cannot."""
    path = make(sample, folder)
    if path is None:
        return None
    try:
        expected = by_ffmpeg(path)
    except subprocess.CalledProcessError:
        return None
    frames, error = by_flowedge(path)
    counts = len(frames), len(expected)
    if error or counts[0] != counts[1]:
        return Result(sample, *counts, float("nan"), error or "another number of pictures")
    if [frame.origin.index for frame in frames] != list(range(len(frames))):
        return Result(sample, *counts, float("nan"), "numbered in another order")
    height, width = expected[0].shape[:2]
    squared = {(frame.height, frame.width) for frame in frames}
    if any(size[0] < height or size[1] < width for size in squared):
        return Result(sample, *counts, float("nan"), f"another size: {squared}")
    apart = [
        float(np.abs(frame.bgr(width, height).astype(np.int16) - image).mean())
        for frame, image in zip(frames, expected, strict=True)
    ]
    worst = max(apart)
    return Result(sample, *counts, worst, "alike" if worst <= ALIKE else "other pictures")


def main(names: list[str]) -> int:
    """Print a line for each sample and a summary."""
    chosen = [sample for sample in SAMPLES if not names or sample.startswith(tuple(names))]
    results: list[Result] = []
    with tempfile.TemporaryDirectory() as folder:
        for sample in chosen:
            result = compare(sample, Path(folder))
            if result is None:
                print(f"{sample:60} cannot be made or read by this ffmpeg", flush=True)
                continue
            results.append(result)
            counts = f"{result.pictures:3} of {result.expected:3}"
            print(f"{sample:60} {counts}  {result.difference:6.2f}  {result.verdict}", flush=True)
    alike = sum(result.verdict == "alike" for result in results)
    print(f"{alike} of {len(results)} samples are decoded alike")
    return 0 if alike == len(results) else 1


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
