"""The values that operators exchange: frozen columns over numpy, checked once when they are built.

Boxes are always in *source pixels*: the pixels of the picture that the camera sent. Every `Frame` carries
the rectangle of the source that it shows, so resizing, cropping and slicing compose without bookkeeping.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from enum import Enum
from fractions import Fraction
from types import MappingProxyType
from typing import TYPE_CHECKING, NamedTuple, Self, TypeAlias

import numpy as np
from numpy.typing import ArrayLike, NDArray

from flowedge.columns import (
    FLOAT32,
    INT32,
    INT64,
    UINT8,
    attribute,
    check_objects,
    plain_fact,
    read_only,
    require,
    set_column,
    set_open_column,
)
from flowedge.columns import InvalidValueError as InvalidValueError
from flowedge.conversion import to_bgr

if TYPE_CHECKING:
    import av

Rect: TypeAlias = tuple[int, int, int, int]
"""x1, y1, x2, y2 in source pixels; x2 and y2 lie just outside."""

Image: TypeAlias = NDArray[np.uint8]
"""Height x width x 3, blue green red, as OpenCV has it."""

Scalar: TypeAlias = str | int | float | bool | None

Fact: TypeAlias = Scalar | Sequence[Scalar]
"""What an event may say under a name; a list comes as a tuple from another process."""

Attributes: TypeAlias = Mapping[str, NDArray[np.generic]]
"""Columns that operators add to objects, by name: each bool, int64, float32 or text (fixed-width unicode)."""

_NO_ATTRIBUTES: Attributes = MappingProxyType({})


class FrameId(NamedTuple):
    """The identity of one frame within a run: equal wherever, and in whatever process, it is made.

    >>> Origin("north", session=2, index=7).frame_id == FrameId("north", 2, 7)
    True
    """

    camera: str
    session: int
    index: int  # type: ignore[assignment]  # over `tuple.index`, which nobody needs here


@dataclass(frozen=True, slots=True)
class Origin:
    """Where a value comes from.

    `index` counts the frames of a camera from 0 and never repeats in a session; `session` grows by one at each
    reconnect, and when a camera is attached to a run once more. `media` is the frame's time on the stream's own
    clock, in seconds from the session's first frame; `time` is the capture time in seconds since 1970 with its
    uncertainty `time_error`; `monotonic` is the same instant on this machine's monotonic clock, from which
    latency is measured. `tile` of `tiles` says which part of a split frame this is.

    >>> Origin("north", index=3, width=640, height=480).key
    ('north', 3)
    """

    camera: str
    session: int = 0
    index: int = 0
    media: float = 0.0
    time: float = 0.0
    time_error: float = 0.0
    monotonic: float = 0.0
    width: int = 0
    height: int = 0
    tile: int = 0
    tiles: int = 1

    @property
    def key(self) -> tuple[str, int]:
        """Camera and frame index: how results of different runs are compared, whatever was reconnected."""
        return self.camera, self.index

    @property
    def frame_id(self) -> FrameId:
        """What joins, gathers and delayed operators match, and the ledger of a run counts."""
        return FrameId(self.camera, self.session, self.index)


@dataclass(frozen=True, slots=True)
class CodecParameters:
    """What a container says about a video stream, without which some of its codecs cannot be decoded.

    `codec` is FFmpeg's name of it and `codec_tag` the container's, four bytes; `extradata` is the decoder's
    out-of-band configuration (parameter sets, palettes). `width` and `height` are those of the coded picture
    in pixels, before `sample_aspect_ratio` (width : height of a pixel; 0 : 1 where the container does not say)
    and `orientation` (1..8 as in EXIF: how the picture is to be turned and mirrored to stand upright) are
    applied. `reorder_depth` pictures may come after a picture that was coded later than them.

    >>> CodecParameters("h264", width=720, height=576, sample_aspect_ratio=Fraction(16, 15)).orientation
    1
    """

    codec: str
    codec_tag: bytes = b"\0\0\0\0"
    extradata: bytes = b""
    width: int = 0
    height: int = 0
    pixel_format: str | None = None
    bits_per_coded_sample: int = 0
    sample_aspect_ratio: Fraction = Fraction(0)
    orientation: int = 1
    reorder_depth: int = 0

    def __post_init__(self) -> None:
        if len(self.codec_tag) != 4:
            raise InvalidValueError(f"CodecParameters.codec_tag: 4 bytes are needed, not {self.codec_tag!r}")
        if not 1 <= self.orientation <= 8:
            raise InvalidValueError(f"CodecParameters.orientation: 1 to 8 is needed, not {self.orientation}")


@dataclass(frozen=True, slots=True, eq=False)
class Packet:
    """One access unit of encoded video as the camera sent it: `data` is N bytes, uint8.

    `pts` and `dts` count in units of `time_base` seconds. `corrupt`: the container or the network says that
    bytes are wrong. `side_data` maps FFmpeg's names, such as "palette", to what came beside the bytes.
    `preroll` are packets that are decoded before this one and not shown (what an edit list cut away, what VP8
    only refers to): no frames, so their origins mean nothing. Later packets need earlier ones, so packets are
    dropped by whole groups of pictures, each of which starts at a `keyframe`.
    """

    origin: Origin
    data: NDArray[np.uint8]
    parameters: CodecParameters
    keyframe: bool
    time_base: Fraction
    pts: int | None = None
    dts: int | None = None
    corrupt: bool = False
    side_data: Mapping[str, bytes] = field(default_factory=dict)
    preroll: tuple[Packet, ...] = ()

    def __post_init__(self) -> None:
        require("Packet", "data", self.data, UINT8, None)


@dataclass(frozen=True, slots=True, eq=False)
class Frame:
    """A picture and the rectangle of the source that it shows.

    `picture` is the decoder's own picture (YUV planes in an `av.VideoFrame`) or an array of
    height x width x 3 uint8 in BGR order. It is converted when somebody looks: `image` gives full-size BGR,
    cached; `bgr(width, height)` converts and scales in one step. All of them are read only, because other
    operators look at the same pixels: to change a picture, change `frame.image.copy()` and give
    `frame.replace(image=...)`.

    >>> frame = Frame(Origin("north", width=4, height=2), np.zeros((2, 4, 3), np.uint8))
    >>> frame.region, frame.bgr(2, 1).shape
    ((0, 0, 4, 2), (1, 2, 3))
    """

    origin: Origin
    picture: av.VideoFrame | Image
    region: Rect = (0, 0, 0, 0)
    _image: list[Image] = field(default_factory=list, init=False, repr=False)

    def __post_init__(self) -> None:
        if isinstance(self.picture, np.ndarray):
            require("Frame", "picture", self.picture, UINT8, None, None, 3)
            picture = read_only(self.picture)
            object.__setattr__(self, "picture", picture)
            self._image.append(picture)
        if self.region == (0, 0, 0, 0):
            whole = (0, 0, self.origin.width or self.width, self.origin.height or self.height)
            object.__setattr__(self, "region", whole)

    @property
    def width(self) -> int:
        """Width of the picture in its own pixels."""
        return self.picture.shape[1] if isinstance(self.picture, np.ndarray) else self.picture.width

    @property
    def height(self) -> int:
        """Height of the picture in its own pixels."""
        return self.picture.shape[0] if isinstance(self.picture, np.ndarray) else self.picture.height

    @property
    def image(self) -> Image:
        """The picture at its own size, height x width x 3 uint8 BGR, converted once. Read only."""
        if not self._image:
            self._image.append(self.bgr(self.width, self.height))
        return self._image[0]

    def bgr(self, width: int, height: int) -> Image:
        """The picture scaled to `width` x `height`, as height x width x 3 uint8 BGR. Read only."""
        if self._image and self._image[0].shape[:2] == (height, width):
            return self._image[0]
        if isinstance(self.picture, np.ndarray):
            import cv2

            return read_only(np.asarray(cv2.resize(self.picture, (width, height)), np.uint8))
        # Never from the cached image: what an operator sees must not depend on who looked before.
        return read_only(to_bgr(self.picture, width, height))

    def replace(self, *, image: Image) -> Frame:
        """The same region of the same source shown by another picture (blurred, resized, drawn on)."""
        return Frame(self.origin, image, self.region)

    def crop(self, rect: Rect, *, tile: int = 0, tiles: int = 1) -> Frame:
        """The part of the source in `rect`, as a view of this picture's pixels.

        Raises `InvalidValueError` when `rect` does not lie inside `region` or is empty.
        """
        x1, y1, x2, y2 = self.region
        if not (x1 <= rect[0] < rect[2] <= x2 and y1 <= rect[1] < rect[3] <= y2):
            raise InvalidValueError(
                f"crop: rectangle {rect} does not lie inside the frame's region {self.region}"
            )
        across, down = self.width / (x2 - x1), self.height / (y2 - y1)
        left, right = round((rect[0] - x1) * across), round((rect[2] - x1) * across)
        top, bottom = round((rect[1] - y1) * down), round((rect[3] - y1) * down)
        view = self.image[top : max(bottom, top + 1), left : max(right, left + 1)]
        return Frame(replace(self.origin, tile=tile, tiles=tiles), view, rect)

    def to_source(self, boxes: NDArray[np.float32]) -> NDArray[np.float32]:
        """Boxes (N x 4 xyxy) in this picture's pixels as boxes in source pixels."""
        return scaled(boxes, (0, 0, self.width, self.height), self.region)

    def from_source(self, boxes: NDArray[np.float32]) -> NDArray[np.float32]:
        """Boxes (N x 4 xyxy) in source pixels as boxes in this picture's pixels."""
        return scaled(boxes, self.region, (0, 0, self.width, self.height))


@dataclass(frozen=True, slots=True, eq=False)
class Detections:
    """Objects found in one frame, in columns of equal length N.

    `boxes`: N x 4 float32, xyxy in source pixels, finite, x1 <= x2 and y1 <= y2; `scores`: N float32 in 0..1;
    `classes`: N int32, indices into `names`. `region` is the part of the source that was looked at, None for
    all of it; `missing` are the regions that nobody looked at (a lost tile), so that a tracker does not age
    what was hidden there. Lists are converted; columns are read only. Wrong lengths and numbers out of range
    raise `InvalidValueError`.

    `attributes` are columns of any name, such as a colour or a plate: one text, number or truth value for each
    object, which go with it wherever it goes. `with_attributes` adds some.

    >>> objects = Detections(Origin("north"), [[0, 0, 9, 9]], [0.5], [1], names=("person", "car"))
    >>> len(objects), objects.labels
    (1, ['car'])
    >>> objects.with_attributes(plate=["B AB 123"]).select([0]).attributes["plate"].tolist()
    ['B AB 123']
    """

    origin: Origin
    boxes: NDArray[np.float32]
    scores: NDArray[np.float32]
    classes: NDArray[np.int32]
    names: tuple[str, ...] = ()
    missing: tuple[Rect, ...] = ()
    region: Rect | None = None
    attributes: Attributes = field(default_factory=dict, kw_only=True)

    if TYPE_CHECKING:  # columns read as arrays, but whatever makes an array is taken

        def __init__(
            self,
            origin: Origin,
            boxes: ArrayLike,
            scores: ArrayLike,
            classes: ArrayLike,
            names: tuple[str, ...] = (),
            missing: tuple[Rect, ...] = (),
            region: Rect | None = None,
            *,
            attributes: Mapping[str, ArrayLike] = ...,
        ) -> None: ...

    def __post_init__(self) -> None:
        count = len(set_column(self, "boxes", FLOAT32, None, 4))
        set_column(self, "scores", FLOAT32, count)
        set_column(self, "classes", INT32, count)
        if count:
            check_objects(type(self).__name__, self.boxes, self.scores, self.classes, self.names)
        columns = {name: attribute(self, name, given, count) for name, given in self.attributes.items()}
        object.__setattr__(self, "attributes", MappingProxyType(columns) if columns else _NO_ATTRIBUTES)

    def __len__(self) -> int:
        return len(self.boxes)

    @property
    def labels(self) -> list[str]:
        """The class name of each object."""
        return [self.names[c] if self.names else f"class {c}" for c in self.classes.tolist()]

    def select(self, which: ArrayLike) -> Self:
        """The rows that a boolean mask or an array of indices names, in that order.

        Raises `InvalidValueError` where `which` is not one-dimensional.
        """
        rows = np.asarray(which)
        if rows.ndim != 1:
            raise InvalidValueError(
                f"{type(self).__name__}.select: a list of rows is needed, shape {rows.shape} was given"
            )
        if rows.size == 0:
            rows = rows.astype(np.intp)
        columns = {name: read_only(getattr(self, name)[rows]) for name in self._columns()}
        attributes = {name: read_only(column[rows]) for name, column in self.attributes.items()}
        return self._unchecked(**columns, attributes=MappingProxyType(attributes))

    def with_attributes(self, **columns: ArrayLike) -> Self:
        """The same objects with these columns of length N as well, in place of those of the same names."""
        added = {name: attribute(self, name, column, len(self)) for name, column in columns.items()}
        return self._unchecked(attributes=MappingProxyType({**self.attributes, **added}))

    def _unchecked(self, **changes: object) -> Self:
        """The same value with other fields, which the caller knows to be valid: checking 50 boxes once more
        would take as long as building them (`select` of a mask: 31 us with the checks, 10 us without)."""
        copy = object.__new__(type(self))
        for name in self.__dataclass_fields__:
            object.__setattr__(copy, name, changes[name] if name in changes else getattr(self, name))
        return copy

    @classmethod
    def _columns(cls) -> tuple[str, ...]:
        return ("boxes", "scores", "classes")


@dataclass(frozen=True, slots=True, eq=False)
class Tracks(Detections):
    """Detections with identities: `ids` is N int64, the same for one object over the frames of a camera."""

    ids: NDArray[np.int64] = field(default_factory=lambda: np.empty(0, np.int64))

    if TYPE_CHECKING:

        def __init__(
            self,
            origin: Origin,
            boxes: ArrayLike,
            scores: ArrayLike,
            classes: ArrayLike,
            names: tuple[str, ...] = (),
            missing: tuple[Rect, ...] = (),
            region: Rect | None = None,
            ids: ArrayLike = (),
            *,
            attributes: Mapping[str, ArrayLike] = ...,
        ) -> None: ...

    def __post_init__(self) -> None:
        Detections.__post_init__(self)
        set_column(self, "ids", INT64, len(self.boxes))

    @classmethod
    def _columns(cls) -> tuple[str, ...]:
        return (*Detections._columns(), "ids")


@dataclass(frozen=True, slots=True, eq=False)
class Faces(Detections):
    """Detections of faces.

    `embeddings`: N x D float32 of unit length, D = 0 before somebody has made them. `landmarks`: N x P x 2
    float32, x and y in source pixels, P = 0 where nobody has looked for them. `DetectFaces` gives five: the
    eye that is left in the picture, the other, the tip of the nose, the left and the right corner of the mouth.

    >>> faces = Faces(Origin("north"), [[0, 0, 9, 9]], [0.9], [0], names=("face",))
    >>> faces.embeddings.shape, faces.landmarks.shape
    ((1, 0), (1, 0, 2))
    """

    embeddings: NDArray[np.float32] = field(default_factory=lambda: np.empty((0, 0), np.float32))
    landmarks: NDArray[np.float32] = field(default_factory=lambda: np.empty((0, 0, 2), np.float32))

    if TYPE_CHECKING:

        def __init__(
            self,
            origin: Origin,
            boxes: ArrayLike,
            scores: ArrayLike,
            classes: ArrayLike,
            names: tuple[str, ...] = (),
            missing: tuple[Rect, ...] = (),
            region: Rect | None = None,
            embeddings: ArrayLike = (),
            landmarks: ArrayLike = (),
            *,
            attributes: Mapping[str, ArrayLike] = ...,
        ) -> None: ...

    def __post_init__(self) -> None:
        Detections.__post_init__(self)
        set_open_column(self, "embeddings", len(self.boxes))
        set_open_column(self, "landmarks", len(self.boxes), 2)

    @classmethod
    def _columns(cls) -> tuple[str, ...]:
        return (*Detections._columns(), "embeddings", "landmarks")


@dataclass(frozen=True, slots=True, eq=False)
class Event:
    """A small fact about a frame: what `kind` of thing happened and its `data`.

    Numbers and arrays of NumPy become Python's, lists become tuples. Anything but texts, truth values, floats,
    integers of 64 bits, None, and lists of them raises `InvalidValueError`.

    >>> Event(Origin("north"), "queue", {"people": np.int64(7), "ids": [3, 5]}).data
    {'people': 7, 'ids': (3, 5)}
    """

    origin: Origin
    kind: str
    data: Mapping[str, Fact] = field(default_factory=dict)

    def __post_init__(self) -> None:
        object.__setattr__(self, "data", {name: plain_fact(name, fact) for name, fact in self.data.items()})


class Outcome(Enum):
    """How a frame ends that does not end in a value."""

    FILTERED = "filtered"
    DROPPED = "dropped"
    FAILED = "failed"


@dataclass(frozen=True, slots=True)
class Absent:
    """Travels in place of a value that will not come, so that nobody waits for it.

    `cause` says why in a few words and `place` names the operator, e.g. ("newer frame", "Detect").
    """

    origin: Origin
    outcome: Outcome
    cause: str
    place: str


Value: TypeAlias = Packet | Frame | Detections | Event | Absent
"""Everything that has a wire form (`Tracks` and `Faces` are `Detections`)."""


def scaled(boxes: NDArray[np.float32], old: Rect, new: Rect) -> NDArray[np.float32]:
    """Boxes (N x 4 xyxy float32) moved from the coordinates of rectangle `old` to those of `new`."""
    across, down = (new[2] - new[0]) / (old[2] - old[0]), (new[3] - new[1]) / (old[3] - old[1])
    factor = np.array([across, down, across, down], np.float32)
    offset = np.array([new[0] - old[0] * across, new[1] - old[1] * down] * 2, np.float32)
    return boxes * factor + offset
