"""Measures what ROMA's couplings are fitted to: network, cores and detection score, of many settings.

    python -m tools.papers.roma_grid --csv grid.csv

The application finds people and vehicles in a street at 10 frames a second. It is sent pictures of a width as
JPEG of a quality, cuts them into tiles, detects, and skips frames. Network is the bytes of the pictures it
takes; compute is the CPU time of decoding, detecting and merging, so that other work on the machine does not
count; the score is `flowedge.vision.evaluation.detection_score` over all frames, where a skipped one is given
what was found in the one before. All settings are measured on two streets: what is learnt of one is tried on
the other.
"""

from __future__ import annotations

import argparse
import csv
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from itertools import islice, product
from pathlib import Path

import cv2
import numpy as np

from flowedge import Detections, Frame, Tracks
from flowedge.operators import Detect, NonMaxMerge, Resize, Slice
from flowedge.vision.evaluation import detection_score
from tools.quality.sources import annotated

STREET = "street://?people=30&vehicles=10&width=1920&height=1080&fps=10&seed={street}"
STREETS = (5, 6)
FPS = 10
WIDTHS = (480, 854, 1920)
QUALITIES = (10, 40, 80)
TILES = (1, 2, 4)
SKIPS = (0, 1, 3, 7, 15)


@dataclass(frozen=True)
class Point:
    """A setting of the application on a street: Mbit/s, cores and score (0..1)."""

    street: int
    width: int
    quality: int
    tiles: int
    skip: int
    net: float
    com: float
    score: float


def main() -> None:
    """Measure, print and write."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--csv", type=Path, required=True)
    parser.add_argument("--frames", type=int, default=16, help="of each setting (default %(default)s)")
    options = parser.parse_args()
    points = []
    for point in measured(options.frames):
        points.append(point)
        if point.skip == 0:
            print(
                f"street {point.street}, {point.width} px, quality {point.quality}, {point.tiles} tiles: "
                f"{point.net:.2f} Mbit/s, {point.com:.2f} cores, score {point.score:.3f}",
                flush=True,
            )
    write(points, options.csv)


def measured(frames: int) -> Iterator[Point]:
    """The points of all settings, with so many frames of each street."""
    cv2.setNumThreads(1)
    detect = Detect("street")
    detect.setup()
    for street in STREETS:
        yield from _measured(street, detect, frames)


def _measured(street: int, detect: Detect, frames: int) -> Iterator[Point]:
    pictures, truth = zip(*islice(annotated(STREET.format(street=street)).frames(), frames), strict=True)
    for width, quality, tiles in product(WIDTHS, QUALITIES, TILES):
        sent = [_encoded(frame, width, quality) for frame in pictures]
        begun = time.process_time()
        detections = [_found(frame, data, tiles, detect) for frame, data in zip(pictures, sent, strict=True)]
        seconds = (time.process_time() - begun) / frames
        size = sum(map(len, sent)) / frames
        for skip in SKIPS:
            rate = FPS / (skip + 1)
            score = _score(detections, truth, skip)
            yield Point(street, width, quality, tiles, skip, 8e-6 * size * rate, seconds * rate, score)


def write(points: Sequence[Point], path: Path) -> None:
    """As CSV, which `read` reads."""
    with path.open("w", newline="") as file:
        table = csv.writer(file)
        table.writerow(["street", "width", "quality", "tiles", "skip", "mbit_s", "cores", "score"])
        table.writerows(
            [*(p.street, p.width, p.quality, p.tiles, p.skip), *(f"{n:.5f}" for n in (p.net, p.com, p.score))]
            for p in points
        )


def read(path: Path) -> list[Point]:
    """The rows of a CSV that `write` wrote."""
    with path.open(newline="") as file:
        return [
            Point(
                *(int(row[name]) for name in ("street", "width", "quality", "tiles", "skip")),
                *(float(row[name]) for name in ("mbit_s", "cores", "score")),
            )
            for row in csv.DictReader(file)
        ]


def _encoded(frame: Frame, width: int, quality: int) -> bytes:
    small = Resize(width).process(frame)
    return cv2.imencode(".jpg", small.image, [cv2.IMWRITE_JPEG_QUALITY, quality])[1].tobytes()


def _found(frame: Frame, data: bytes, tiles: int, detect: Detect) -> Detections:
    decoded = frame.replace(image=cv2.imdecode(np.frombuffer(data, np.uint8), cv2.IMREAD_COLOR))
    return NonMaxMerge().gather([detect.process(part) for part in Slice(tiles).split(decoded)])


def _score(detections: Sequence[Detections], truth: Sequence[Tracks], skip: int) -> float:
    shown = [
        replace(detections[index - index % (skip + 1)], origin=frame.origin)
        for index, frame in enumerate(truth)
    ]
    return detection_score(shown, truth)


if __name__ == "__main__":
    main()
