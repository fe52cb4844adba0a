"""Our tracker and its peers on the same detections: MOTA, IDF1, HOTA, switches, and time per frame.

    python -m tools.bench.trackers PETS09-S2L1.mp4 TownCentre.mp4 --model yolo11n --size 640
    python -m tools.bench.trackers TownCentre.mp4 --tiles 4 --ours-only

A source is a street or a video with its truth, NAME.gt.txt, beside it; all rows of that count, whatever their
score. `tools.quality` says what is to be ignored. Detections of people are computed once for each source and
kept in --cache. Peers run with their own defaults and, with --same-scores, with the score from which ours
begins a track; --no-pictures leaves out trackers that look at pictures. Time is processor time of the tracker
alone, the median over --rounds of the mean per frame (looking at pictures counts, decoding them does not).
Needs `pip install trackeval trackers ultralytics`.
"""

from __future__ import annotations

import argparse
import statistics
import tempfile
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from flowedge import Detections, Frame, Origin, Tracks
from flowedge.operators.decode import Decode
from flowedge.operators.detect import Detect
from flowedge.operators.non_max_merge import NonMaxMerge
from flowedge.operators.slice import Slice
from flowedge.operators.street import Street
from flowedge.operators.track import Track
from flowedge.operators.track_with_picture import TrackWithPicture
from flowedge.operators.video import Video
from flowedge.vision.evaluation import Ignore
from tools.quality.sources import annotated
from tools.quality.tracking import tracking_quality

LOWEST = 0.1  # score of the weakest detection: second stages need them
PERSON = ("person",)
CAMERA = "camera"

Step = Callable[[Detections, "Frame | None"], Tracks]


@dataclass(frozen=True)
class TrackerClip:
    """A source, its detections of people by frame, and the true people."""

    name: str
    source: str
    detections: list[Detections]
    truth: list[Tracks]
    ignore: Ignore

    @property
    def fps(self) -> float:
        """Frames a second, from the time between the first and the last."""
        first, last = self.detections[0].origin, self.detections[-1].origin
        return (len(self.detections) - 1) / (last.media - first.media)


@dataclass(frozen=True)
class TrackerEntry:
    """A tracker by name, how to begin one for a clip, and whether it looks at pictures."""

    name: str
    begin: Callable[[TrackerClip], Step]
    pictures: bool = False


def measure(
    sources: Sequence[str],
    model: str,
    size: int | None = None,
    tiles: int = 1,
    rounds: int = 3,
    cache: Path | None = None,
    contenders: Sequence[TrackerEntry] | None = None,
) -> Iterator[str]:
    """One line of text for each source and tracker."""
    folder = cache or Path(tempfile.gettempdir()) / "flowedge-trackers"
    yield f"{'':30} {'MOTA':>6} {'IDF1':>6} {'HOTA':>6} {'switches':>8} {'FP':>5} {'FN':>5} {'cpu ms':>8}"
    for source in sources:
        clip = load(source, model, size, tiles, folder)
        count = sum(map(len, clip.detections))
        yield f"{clip.name}: {len(clip.detections)} frames, {count} detections, {tiles} tile(s)"
        for contender in contenders or (*ours(), *roboflow(), *ultralytics()):
            yield line(contender, clip, 1 if contender.pictures else rounds)


def line(contender: TrackerEntry, clip: TrackerClip, rounds: int) -> str:
    """Quality and time of one tracker on one clip."""
    times = []
    for _ in range(rounds):
        tracks, seconds = run(contender, clip)
        times.append(1e3 * seconds / len(tracks))
    quality = tracking_quality(tracks, clip.truth, {"person": PERSON}, clip.ignore)
    return (
        f"{contender.name:30} {quality.mota:6.3f} {quality.idf1:6.3f} {quality.hota:6.3f} "
        f"{quality.switches:8d} {quality.fp:5d} {quality.fn:5d} {statistics.median(times):8.2f}"
    )


def run(contender: TrackerEntry, clip: TrackerClip) -> tuple[list[Tracks], float]:
    """The tracks of every frame, and the seconds of processor that the tracker took for all of them."""
    step, tracks, seconds = contender.begin(clip), [], 0.0
    pictures = frames(clip.source) if contender.pictures else iter([None] * len(clip.detections))
    for detections, frame in zip(clip.detections, pictures, strict=False):
        if frame is not None:
            frame = Frame(detections.origin, frame.image)
        began = time.process_time()
        tracks.append(step(detections, frame))
        seconds += time.process_time() - began
    return tracks, seconds


# --- clips --------------------------------------------------------------------------------------------


def load(source: str, model: str, size: int | None, tiles: int, cache: Path) -> TrackerClip:
    """The source with its truth and its detections, which are computed where they are not in `cache` yet."""
    name = "".join(letter if letter.isalnum() else "-" for letter in Path(source).name)
    file = cache / f"{name}-{Path(model).stem}-{size}-{tiles}.npz"
    if not file.is_file():
        cache.mkdir(parents=True, exist_ok=True)
        _detect(source, model, size, tiles, file)
    kept = np.load(file)
    origins = [
        Origin(CAMERA, index=n, media=float(moment), width=int(kept["size"][0]), height=int(kept["size"][1]))
        for n, moment in enumerate(kept["times"])
    ]
    detections = [_people(origin, kept["rows"][kept["rows"][:, 0] == n]) for n, origin in enumerate(origins)]
    return TrackerClip(Path(source).name, source, detections, _truth(source, origins), annotated(source).ignore)


def frames(source: str) -> Iterator[Frame]:
    """The frames of a video or of a street."""
    decode = Decode()
    decode.setup()
    for part in Video({CAMERA: source}).read(CAMERA, threading.Event()):
        if isinstance(part, Frame):
            yield part
        elif (frame := decode.process(part)) is not None:
            yield frame
    yield from decode.flush(CAMERA)
    decode.close()


def _people(origin: Origin, rows: np.ndarray) -> Detections:
    return Detections(origin, rows[:, 1:5], rows[:, 5], np.zeros(len(rows)), names=PERSON)


def _detect(source: str, model: str, size: int | None, tiles: int, file: Path) -> None:
    detect = Detect(model, classes=PERSON, confidence=LOWEST, size=size)
    detect.setup()
    cut, merge = Slice(tiles), NonMaxMerge()
    rows, times, shape = [np.empty((0, 6))], [], (0, 0)
    for n, frame in enumerate(frames(source)):
        parts, detections = list(cut.split(frame)), []
        for first in range(0, len(parts), detect.batch):
            detections += detect.process_batch(parts[first : first + detect.batch])
        people = merge.gather(detections) if tiles > 1 else detections[0]
        rows.append(np.column_stack([np.full(len(people), n), people.boxes, people.scores]))
        times.append(frame.origin.media)
        shape = frame.origin.width, frame.origin.height
    np.savez(file, rows=np.concatenate(rows), times=times, size=shape)


def _truth(source: str, origins: Sequence[Origin]) -> list[Tracks]:
    if source.startswith("street://"):
        return [truth for _, truth in Street({CAMERA: source}).read(CAMERA, threading.Event())]
    table = np.loadtxt(Path(source).with_suffix(".gt.txt"), delimiter=",")
    truth = []
    for origin in origins:
        rows = table[table[:, 0] == origin.index + 1]
        boxes = np.hstack([rows[:, 2:4], rows[:, 2:4] + rows[:, 4:6]])
        truth.append(_tracks(origin, boxes, np.ones(len(rows)), rows[:, 1]))
    return truth


# --- contenders ---------------------------------------------------------------------------------------


def ours() -> list[TrackerEntry]:
    """Our tracker with and without pictures; every field at its default."""

    def track(_: TrackerClip) -> Step:
        operator = Track()
        return lambda detections, _: operator.process(detections)

    def look(appearance: str | None, camera_motion: bool) -> Callable[[TrackerClip], Step]:
        def begin(_: TrackerClip) -> Step:
            operator = TrackWithPicture(appearance=appearance, camera_motion=camera_motion)
            operator.setup()
            return lambda detections, frame: operator.process((frame, detections))

        return begin

    return [
        TrackerEntry("flowedge Track", track),
        TrackerEntry("flowedge camera motion", look(None, True), pictures=True),
        TrackerEntry("flowedge appearance", look("osnet_x0_25", False), pictures=True),
        TrackerEntry("flowedge both", look("osnet_x0_25", True), pictures=True),
    ]


def roboflow(new: float | None = None) -> list[TrackerEntry]:
    """The trackers of Roboflow's `trackers`; `new` replaces the score from which a track begins."""
    import supervision
    import trackers

    def begin(kind: Any, clip: TrackerClip) -> Step:
        settings = {} if new is None else {"track_activation_threshold": new}
        if kind is trackers.OCSORTTracker and new is not None:
            settings = {"high_conf_det_threshold": new}
        tracker = kind(frame_rate=clip.fps, **settings)

        def step(detections: Detections, frame: Frame | None) -> Tracks:
            given = supervision.Detections(
                detections.boxes, confidence=detections.scores, class_id=detections.classes
            )
            result = tracker.update(given, *(() if frame is None else (frame.image,)))
            named = np.asarray(result.tracker_id) >= 0
            return _tracks(
                detections.origin, result.xyxy[named], result.confidence[named], result.tracker_id[named]
            )

        return step

    kinds = ("SORT", "ByteTrack", "BoTSORT", "OCSORT", "CBIoU")
    plain = [
        TrackerEntry(
            f"roboflow {name}", lambda clip, name=name: begin(getattr(trackers, f"{name}Tracker"), clip)
        )
        for name in kinds
    ]
    return [
        *plain,
        TrackerEntry("roboflow BoTSORT + CMC", lambda clip: begin(trackers.BoTSORTTracker, clip), True),
    ]


def ultralytics(new: float | None = None) -> list[TrackerEntry]:
    """The trackers of ultralytics; `new` replaces the score from which a track begins."""
    from ultralytics.engine.results import Boxes
    from ultralytics.trackers.track import TRACKER_MAP
    from ultralytics.utils import YAML, IterableSimpleNamespace
    from ultralytics.utils.checks import check_yaml

    def begin(name: str, pictures: bool) -> Step:
        settings = YAML.load(check_yaml(f"{name}.yaml"))
        settings |= {} if pictures else {"gmc_method": "none"}
        settings |= {} if new is None else {"new_track_thresh": new}
        tracker = TRACKER_MAP[name](args=IterableSimpleNamespace(**settings))

        def step(detections: Detections, frame: Frame | None) -> Tracks:
            columns = np.column_stack([detections.boxes, detections.scores, detections.classes]).astype(
                np.float32
            )
            given = Boxes(columns, (detections.origin.height, detections.origin.width))
            result = np.asarray(tracker.update(given, None if frame is None else frame.image)).reshape(-1, 8)
            return _tracks(detections.origin, result[:, :4], result[:, 5], result[:, 4])

        return step

    plain = [
        TrackerEntry(f"ultralytics {name}", lambda _, name=name: begin(name, False))
        for name in sorted(TRACKER_MAP)
    ]
    seeing = [
        TrackerEntry(f"ultralytics {name} + GMC", lambda _, name=name: begin(name, True), True)
        for name in ("botsort", "tracktrack")
    ]
    return plain + seeing


def _tracks(origin: Origin, boxes: Any, scores: Any, ids: Any) -> Tracks:
    return Tracks(origin, boxes, scores, np.zeros(len(boxes)), PERSON, ids=np.asarray(ids).astype(np.int64))


def main() -> None:
    parser = argparse.ArgumentParser(
        "python -m tools.bench.trackers",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("sources", nargs="+", metavar="SOURCE")
    parser.add_argument("--model", default="yolo11n", help="detector (default %(default)s)")
    parser.add_argument("--size", type=int, default=640, help="its input (default %(default)s)")
    parser.add_argument("--tiles", type=int, default=1, help="slices besides the whole frame; 1: none")
    parser.add_argument("--rounds", type=int, default=3, help="runs, of which the median time counts")
    parser.add_argument("--cache", type=Path, help="folder for detections (default: a temporary one)")
    parser.add_argument("--ours-only", action="store_true", help="no peers")
    parser.add_argument("--same-scores", action="store_true", help="peers begin tracks from our score on")
    parser.add_argument("--no-pictures", action="store_true", help="only trackers that work on boxes")
    options = parser.parse_args()
    new = Track().new if options.same_scores else None
    contenders = ours() if options.ours_only else [*ours(), *roboflow(new), *ultralytics(new)]
    if options.no_pictures:
        contenders = [contender for contender in contenders if not contender.pictures]
    for text in measure(
        options.sources,
        options.model,
        options.size,
        options.tiles,
        options.rounds,
        options.cache,
        contenders,
    ):
        print(text, flush=True)


if __name__ == "__main__":
    main()
