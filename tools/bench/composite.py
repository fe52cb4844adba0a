"""Tracking in each tile and joining the tracks (CARE), against merging detections and tracking the whole frame.

Both get the same detections. Times are those of everything behind the detector, median over the frames.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field

import numpy as np

from flowedge import Detections, Tracks
from flowedge.operators import Detect
from flowedge.operators.non_max_merge import NonMaxMerge
from flowedge.operators.reconstruct import Reconstruct
from flowedge.operators.slice import Slice
from flowedge.operators.track_tile import TrackTile
from flowedge.vision.tracking import Tracker
from tools.quality.sources import Annotated, annotated
from tools.quality.tracking import tracking_quality

TILES = (2, 4, 6)
OVERLAP = 0.2
LEAST_SCORE = 0.1  # trackers use weak detections too


def measure(sources: Sequence[str], model: str, stores: Sequence[str] = ("memory://",)) -> Iterator[str]:
    """A line for each source with truth, number of tiles and form; the composite form once for each store."""
    yield f"{'source':12} tiles {'form':34}  MOTA  IDF1  HOTA switches    ms"
    for source in map(annotated, sources):
        for tiles in TILES:
            forms = [_merged(), *(_composite(store) for store in stores)]
            truth = _run(source, model, tiles, forms)
            for form in forms:
                quality = tracking_quality(form.tracks, truth, source.classes, source.ignore)
                yield (
                    f"{source.name:12} {tiles:5} {form.name:34} {quality.mota:5.3f} {quality.idf1:5.3f} "
                    f"{quality.hota:5.3f} {quality.switches:8} {np.median(form.seconds) * 1000:5.2f}"
                )


@dataclass
class _Form:
    """One way from the detections in a frame's tiles to the frame's tracks, and what came of it."""

    name: str
    track: Callable[[Sequence[Detections]], Tracks]
    close: Callable[[], None]
    tracks: list[Tracks] = field(default_factory=list)
    seconds: list[float] = field(default_factory=list)

    def take(self, parts: Sequence[Detections]) -> None:
        begun = time.perf_counter()
        self.tracks.append(self.track(parts))
        self.seconds.append(time.perf_counter() - begun)


def _merged() -> _Form:
    merge, tracker = NonMaxMerge(), Tracker()
    merge.setup()
    return _Form("NonMaxMerge, Track", lambda parts: tracker.update(merge.gather(parts)), merge.close)


def _composite(store: str) -> _Form:
    track, reconstruct = TrackTile(), Reconstruct(store=store)
    track.setup()
    reconstruct.setup()
    name = f"TrackTile, Reconstruct ({store.partition(':')[0]})"
    return _Form(name, lambda parts: reconstruct.gather([track.process(p) for p in parts]), reconstruct.close)


def _run(source: Annotated, model: str, tiles: int, forms: Sequence[_Form]) -> list[Tracks]:
    """Give all forms the same detections; returns the truth of each frame."""
    cut = Slice(tiles, overlap=OVERLAP, whole_frame=False)
    detect = Detect(model, classes=source.names, confidence=LEAST_SCORE)
    detect.setup()
    truth = []
    try:
        for frame, true in source.frames():
            pictures = cut.split(frame)
            batches = [pictures[n : n + detect.batch] for n in range(0, tiles, detect.batch)]
            parts = [found for batch in batches for found in detect.process_batch(batch)]
            for form in forms:
                form.take(parts)
            truth.append(true)
    finally:
        detect.close()
        for form in forms:
            form.close()
    return truth
