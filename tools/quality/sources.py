"""Sources with ground truth: pictures, and the true objects in them."""

from __future__ import annotations

import threading
from collections.abc import Iterator, Mapping, Sequence
from contextlib import closing
from dataclasses import dataclass, field
from pathlib import Path

import cv2
import numpy as np
from numpy.typing import NDArray

from flowedge import Frame, Graph, Operator, Stream, Tracks, UserError
from flowedge.inference.yolo import COCO_NAMES
from flowedge.operators import street, video
from flowedge.operators.decode import Decode
from flowedge.operators.street import StreetView, read_street
from flowedge.operators.video import Video
from flowedge.outputs import PICTURE_SUFFIXES
from flowedge.video.folder import _natural
from flowedge.video.synthetic.scene import CLASSES
from flowedge.vision.evaluation import NOTHING, Classes, Ignore

CAMERA = "camera"

VISDRONE_NAMES = (
    *("ignored", "pedestrian", "people", "bicycle", "car", "van", "truck"),
    *("tricycle", "awning-tricycle", "bus", "motor", "others"),
)
VISDRONE_CLASSES = {"person": ("person", "pedestrian", "people"), "vehicle": ("car", "van", "truck", "bus")}
STREET_CLASSES = {"person": ("person",), "vehicle": ("car", "bus", "truck")}

_KNOWN = {"TownCentre": Ignore(above=150)}  # nobody marked the people in the strip at its top

Rows = Mapping[int, NDArray[np.float64]]
"""Frame index -> a row x1, y1, x2, y2, score, class, identity for each true object."""


@dataclass
class Truth(Operator[Frame, Tracks]):
    """The true objects of each frame, by its index; a frame without rows has none."""

    rows: Mapping[int, object] = field(repr=False)
    names: Sequence[str] = ()

    def process(self, frame: Frame, /) -> Tracks:
        columns = np.asarray(self.rows.get(frame.origin.index, ()), np.float64).reshape(-1, 7)
        boxes, scores, classes, ids = columns[:, :4], columns[:, 4], columns[:, 5], columns[:, 6]
        return Tracks(frame.origin, boxes, scores, classes, tuple(self.names), ids=ids)  # type: ignore[arg-type]


@dataclass
class Only(Operator[Frame, Frame]):
    """The frames of these indices."""

    indices: frozenset[int]

    def process(self, frame: Frame, /) -> Frame | None:
        return frame if frame.origin.index in self.indices else None


@dataclass(frozen=True)
class Annotated:
    """A source with truth.

    `address` is what `video` takes, with the rows and class names of its truth, or a street, which draws its
    own. `classes` and `ignore` say what counts; `tracked` whether the truth's identities mean something; `only`
    are the indices of the frames to look at, None for all.
    """

    name: str
    address: str
    classes: Classes | None = None
    ignore: Ignore = NOTHING
    tracked: bool = False
    names: tuple[str, ...] = ()
    rows: Rows = field(default_factory=dict, repr=False)
    only: frozenset[int] | None = field(default=None, repr=False)

    def begin(self, graph: Graph) -> tuple[Stream[Frame], Stream[Tracks]]:
        """Begin a graph at this source: its frames and the truth about them."""
        if self.is_street:
            return street(graph, {CAMERA: self.address})
        frames = video(graph, {CAMERA: self.address})
        if self.only is not None:
            frames = frames >> Only(self.only)
        return frames, frames >> Truth(self.rows, self.names)

    def frames(self) -> Iterator[tuple[Frame, Tracks]]:
        """The frames and their truth, one after the other, without a graph."""
        if self.is_street:
            yield from read_street(CAMERA, StreetView.parse(self.address), threading.Event(), live=False)
        else:
            truth = Truth(self.rows, self.names)
            for frame in self._pictures():
                if self.only is None or frame.origin.index in self.only:
                    yield frame, truth.process(frame)

    @property
    def wanted(self) -> tuple[str, ...]:
        """The names that count, of objects found or true."""
        names = (
            self.names if self.classes is None else [name for group in self.classes.values() for name in group]
        )
        return tuple(names)

    @property
    def groups(self) -> tuple[str, ...]:
        """One name for each class that counts, which an object of it may have."""
        return self.names if self.classes is None else tuple(group[0] for group in self.classes.values())

    @property
    def is_street(self) -> bool:
        return self.address.startswith("street://")

    def _pictures(self) -> Iterator[Frame]:
        decode = Decode()
        try:
            with closing(Video({CAMERA: self.address}).read(CAMERA, threading.Event())) as packets:  # type: ignore[type-var]
                for packet in packets:
                    if (frame := decode.process(packet)) is not None:
                        yield frame
                yield from decode.flush(CAMERA)
        finally:
            decode.close()


def annotated(source: str, truth: Path | None = None) -> Annotated:
    """The source and its truth, recognised by what is there.

    - "street://...": it knows its own truth
    - a folder with `images` and `annotations`: VisDrone
    - a folder with `images` and `labels`: YOLO labels of COCO's classes
    - a video or a folder of pictures with a MOT file: `truth`, `gt/gt.txt` in it, or NAME.gt.txt beside it

    Raises `UserError` for a source without truth and for a truth that cannot be read.
    """
    if source.startswith("street://"):
        if truth is not None:
            raise UserError(f"--truth {truth}: a street knows its own truth; leave it out")
        if StreetView.parse(source).live:
            raise UserError(f"{source}: a live street has no end; leave out live=1")
        return Annotated("street", source, tracked=True, names=CLASSES)
    path = Path(source)
    if "://" in source or not path.exists():
        raise UserError(
            f"{source}: is no file, folder or street:// address; cameras have no truth to measure by"
        )
    if (path / "images").is_dir() and (path / "annotations").is_dir():
        return _visdrone(path)
    if (path / "images").is_dir() and (path / "labels").is_dir():
        return _yolo(path)
    return _mot(path, truth)


def originals(source: str) -> frozenset[int]:
    """The indices, from 0, of the frames that repeat no earlier one: NAME.unique_frames.txt beside a video."""
    table = _table(Path(source).with_suffix(".unique_frames.txt"), least=1)
    return frozenset(table[:, 0].astype(int).tolist())


def read_mot(file: Path) -> Rows:
    """Rows of a MOT file, `frame,id,x,y,width,height,score,...`, with frames from 1.

    In truth with a class (MOT16 and later, 9 columns) a score of 0 marks what does not count, and is left out;
    in that with a place in the world (MOT15, 10 columns) it marks people who are hard to see, and who count.
    """
    table = _table(file, least=6)
    scores = table[:, 6] if table.shape[1] > 6 else np.ones(len(table))
    counts = np.full(len(table), True) if table.shape[1] != 9 else scores != 0
    numbers, corners = table[:, 0].astype(int) - 1, table[:, 2:4]
    columns = [corners, corners + table[:, 4:6], scores, np.zeros(len(table)), table[:, 1]]
    rows = np.column_stack(columns)
    return {int(number): rows[(numbers == number) & counts] for number in np.unique(numbers)}


def _mot(path: Path, truth: Path | None) -> Annotated:
    pictures = path / "img1" if (path / "img1").is_dir() else path
    file = truth or next(
        (f for f in (path / "gt" / "gt.txt", path.with_suffix(".gt.txt")) if f.is_file()), None
    )
    if file is None:
        raise UserError(f"{path}: there is no truth beside it; name a MOT file with --truth")
    rows = {index: np.where(np.arange(7) == 4, 1.0, found) for index, found in read_mot(file).items()}
    return Annotated(
        path.stem,
        str(pictures),
        ignore=_KNOWN.get(path.stem, NOTHING),
        tracked=True,
        names=("person",),
        rows=rows,
    )


def _visdrone(path: Path) -> Annotated:
    rows = {}
    for index, picture in enumerate(_pictures_of(path / "images")):
        table = _table(path / "annotations" / f"{picture.stem}.txt", least=8)
        corners = table[:, :2]
        none = np.full(len(table), -1.0)
        columns = [corners, corners + table[:, 2:4], np.ones(len(table)), table[:, 5], none]
        rows[index] = np.column_stack(columns)
        if len(table) and table[:, 5].max() >= len(VISDRONE_NAMES):
            raise UserError(
                f"{path}: {picture.stem}.txt has the class {table[:, 5].max():.0f}; VisDrone's end at 11"
            )
    ignore = Ignore(regions=("ignored", "others"))
    return Annotated(path.name, str(path / "images"), VISDRONE_CLASSES, ignore, names=VISDRONE_NAMES, rows=rows)


def _yolo(path: Path) -> Annotated:
    folders = sorted(
        {file.parent for file in (path / "images").rglob("*") if file.suffix.lower() in PICTURE_SUFFIXES}
    )
    if len(folders) != 1:
        raise UserError(
            f"{path / 'images'}: pictures are wanted in one folder below it, they are in {len(folders)}"
        )
    labels = path / "labels" / folders[0].relative_to(path / "images")
    rows = {}
    for index, picture in enumerate(_pictures_of(folders[0])):
        file = labels / f"{picture.stem}.txt"
        table = _table(file, least=5) if file.exists() else np.empty((0, 5))
        height, width = _size(picture)
        centres, sides = table[:, 1:3] * (width, height), table[:, 3:5] * (width, height)
        ones = np.ones(len(table))
        rows[index] = np.column_stack([centres - sides / 2, centres + sides / 2, ones, table[:, 0], -ones])
        if len(table) and table[:, 0].max() >= len(COCO_NAMES):
            raise UserError(
                f"{file}: has the class {table[:, 0].max():.0f}; COCO's end at {len(COCO_NAMES) - 1}"
            )
    return Annotated(path.name, str(folders[0]), names=tuple(COCO_NAMES), rows=rows)


def _pictures_of(folder: Path) -> list[Path]:
    """The pictures in the order in which `video` shows them."""
    return sorted((file for file in folder.iterdir() if file.suffix.lower() in PICTURE_SUFFIXES), key=_natural)


def _size(picture: Path) -> tuple[int, int]:
    image = cv2.imread(str(picture))
    if image is None:
        raise UserError(f"{picture}: is not a picture that OpenCV can read")
    return image.shape[0], image.shape[1]


def _table(file: Path, least: int) -> NDArray[np.float64]:
    """The numbers of a text file, separated by commas or blanks, at least so many a line."""
    try:
        lines = file.read_text().replace(",", " ").splitlines()
        rows = [[float(word) for word in line.split()] for line in lines if line.strip()]
    except OSError as error:
        raise UserError(f"{file}: cannot be read: {error.strerror}") from error
    except ValueError as error:
        raise UserError(f"{file}: is not a table of numbers: {error}") from error
    if not rows:
        return np.empty((0, least))
    if min(map(len, rows)) < least:
        line = next(i for i, row in enumerate(rows, start=1) if len(row) < least)
        raise UserError(f"{file}: line {line} has fewer than {least} numbers")
    wide = min(map(len, rows))
    return np.array([row[:wide] for row in rows])
