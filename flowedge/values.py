"""The values that operators exchange: frozen columns over numpy, checked once when they are built.

Boxes are always in *source pixels*: the pixels of the picture that the camera sent. Every `Frame` carries
the rectangle of the source that it shows, so resizing, cropping and slicing compose without bookkeeping.
"""

from __future__ import annotations

import threading
from collections import OrderedDict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from enum import Enum
from fractions import Fraction
from types import MappingProxyType
from typing import TYPE_CHECKING, Any, NamedTuple, Self, TypeAlias, TypeVar

import numpy as np
from numpy.typing import ArrayLike, DTypeLike, NDArray

if TYPE_CHECKING:
    import av
    from av.video.reformatter import VideoReformatter

Rect: TypeAlias = tuple[int, int, int, int]
"""x1, y1, x2, y2 in source pixels; x2 and y2 lie just outside."""

Image: TypeAlias = NDArray[np.uint8]
"""Height x width x 3, blue green red, as OpenCV has it."""

Item = TypeVar("Item", bound=np.generic)

Scalar: TypeAlias = str | int | float | bool | None

Fact: TypeAlias = Scalar | Sequence[Scalar]
"""What an event may say under a name; a list comes as a tuple from another process."""

Attributes: TypeAlias = Mapping[str, NDArray[np.generic]]
"""Columns that operators add to objects, by name: each bool, int64, float32 or text (fixed-width unicode)."""


_UINT8, _UINT32, _FLOAT32 = np.dtype(np.uint8), np.dtype(np.uint32), np.dtype(np.float32)
_INT32, _INT64 = np.dtype(np.int32), np.dtype(np.int64)

_LARGEST = 1 << 63  # integers from here on do not fit 64 bits with a sign

_NO_ATTRIBUTES: Attributes = MappingProxyType({})


class InvalidValueError(ValueError):
    """A value on a stream breaks the rules of its type; the message names the field and what was found."""


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
        _require("Packet", "data", self.data, _UINT8, None)


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
            _require("Frame", "picture", self.picture, _UINT8, None, None, 3)
            picture = _read_only(self.picture)
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

            return _read_only(np.asarray(cv2.resize(self.picture, (width, height)), np.uint8))
        # Never from the cached image: what an operator sees must not depend on who looked before.
        return _read_only(_converted(self.picture, width, height))

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

    >>> found = Detections(Origin("north"), [[0, 0, 9, 9]], [0.5], [1], names=("person", "car"))
    >>> len(found), found.labels
    (1, ['car'])
    >>> found.with_attributes(plate=["B AB 123"]).select([0]).attributes["plate"].tolist()
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
        count = len(_column(self, "boxes", _FLOAT32, None, 4))
        _column(self, "scores", _FLOAT32, count)
        _column(self, "classes", _INT32, count)
        if count:
            _check(self)
        columns = {name: _attribute(self, name, given) for name, given in self.attributes.items()}
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
        columns = {name: _read_only(getattr(self, name)[rows]) for name in self._columns()}
        attributes = {name: _read_only(column[rows]) for name, column in self.attributes.items()}
        return self._unchecked(**columns, attributes=MappingProxyType(attributes))

    def with_attributes(self, **columns: ArrayLike) -> Self:
        """The same objects with these columns of length N as well, in place of those of the same names."""
        added = {name: _attribute(self, name, column) for name, column in columns.items()}
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
        _column(self, "ids", _INT64, len(self.boxes))

    @classmethod
    def _columns(cls) -> tuple[str, ...]:
        return (*Detections._columns(), "ids")


@dataclass(frozen=True, slots=True, eq=False)
class Faces(Detections):
    """Detections of faces.

    `embeddings`: N x D float32 of unit length, D = 0 before somebody has made them. `landmarks`: N x P x 2
    float32, x and y in source pixels, P = 0 where nobody has looked for them. `DetectFaces` gives five: the
    eye that is left in the picture, the other, the tip of the nose, the left and the right corner of the mouth.

    >>> found = Faces(Origin("north"), [[0, 0, 9, 9]], [0.9], [0], names=("face",))
    >>> found.embeddings.shape, found.landmarks.shape
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
        _open_column(self, "embeddings")
        _open_column(self, "landmarks", 2)

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
        object.__setattr__(self, "data", {name: _fact(name, fact) for name, fact in self.data.items()})


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


_CONVERTERS_KEPT = 16
_local = threading.local()


def _converted(picture: av.VideoFrame, width: int, height: int) -> Image:
    plane = _converter(picture, width, height).reformat(picture, width, height, "bgr24", threads=1).planes[0]
    rows = np.frombuffer(memoryview(plane), np.uint8).reshape(height, plane.line_size)
    return rows[:, : width * 3].reshape(height, width, 3)


def _converter(picture: av.VideoFrame, width: int, height: int) -> VideoReformatter:
    """A converter of this thread for these sizes: making one costs more than a conversion (measured: 3.8 ms
    a frame with a new one, 1.3 ms with a kept one, 1080p to 640 x 360)."""
    from av.video.reformatter import VideoReformatter

    kept: OrderedDict[tuple[object, ...], VideoReformatter] | None = getattr(_local, "converters", None)
    if kept is None:
        kept = _local.converters = OrderedDict()
    key = (picture.width, picture.height, picture.format.name, width, height)
    if key not in kept:
        kept[key] = VideoReformatter()
        if len(kept) > _CONVERTERS_KEPT:
            kept.popitem(last=False)
    kept.move_to_end(key)
    return kept[key]


def _require(owner: str, name: str, array: object, dtype: np.dtype[Any], *shape: int | None) -> None:
    """Raise `InvalidValueError` for anything but an array of this type and shape: None for any length, in all
    but the last place above 0."""
    if not isinstance(array, np.ndarray) or array.dtype != dtype:
        given = array.dtype if isinstance(array, np.ndarray) else type(array).__name__
        raise InvalidValueError(f"{owner}.{name}: an array of {dtype} is needed, {given} was given")
    *outer, last = array.shape or (None,)
    if len(array.shape) != len(shape) or 0 in outer or last != (shape[-1] or last):
        wanted = " x ".join("N" if length is None else str(length) for length in shape)
        raise InvalidValueError(f"{owner}.{name}: shape {wanted} is needed, {array.shape} was given")


def _read_only(array: NDArray[Item]) -> NDArray[Item]:
    """The array itself where nobody can write into it, else a view of it that refuses to be written into."""
    if not array.flags.writeable:
        return array
    view = array[...]  # half the time of `array.view()`
    view.flags.writeable = False
    return view


_SIZES = np.array([[-1, 0], [0, -1], [1, 0], [0, 1]], np.float32)
"""Boxes (N x 4 xyxy) times this are their widths and heights (N x 2)."""

_ONE = int(np.float32(1).view(np.uint32))


def _check(owner: Detections) -> None:
    """Raise `InvalidValueError` where numbers of a value with at least one object are out of range.

    This is on the way of every frame, so the quick tests come first: a ufunc costs 1 to 5 us on 50 boxes, a
    method such as `argmin`, which finds NaN first, half a microsecond. What does not pass them is looked at
    row by row.
    """
    boxes = owner.boxes
    sizes = boxes.dot(_SIZES) if np.vdot(boxes, boxes) < np.inf else None  # no infinity and no NaN
    if sizes is None or not sizes.item(sizes.argmin()) >= 0:
        _check_boxes(owner)
    # The bits of floats from 0 to 1 ascend as the floats do; those of negative floats and of NaN are greater.
    bits = owner.scores.view(_UINT32)
    if bits.item(bits.argmax()) > _ONE:
        _check_scores(owner)
    if names := owner.names:
        unsigned = owner.classes.view(_UINT32)  # so that negative numbers are greater than any index
        if unsigned.item(unsigned.argmax()) >= len(names):
            raise InvalidValueError(
                f"{type(owner).__name__}.classes: {owner.classes.min()}..{owner.classes.max()} found, "
                f"but names has {len(names)} entries"
            )


def _check_boxes(owner: Detections) -> None:
    boxes = owner.boxes
    wrong = ~(np.isfinite(boxes).all(axis=1) & (boxes[:, :2] <= boxes[:, 2:]).all(axis=1))
    if wrong.any():  # finite numbers may have squares that are not
        row = int(wrong.argmax())
        raise InvalidValueError(
            f"{type(owner).__name__}.boxes: finite x1, y1, x2, y2 with x1 <= x2 and y1 <= y2 are needed, "
            f"{boxes[row].tolist()} was given in row {row}"
        )


def _check_scores(owner: Detections) -> None:
    scores = owner.scores
    wrong = ~((scores >= 0) & (scores <= 1))
    if wrong.any():  # -0.0 has the bits of a negative number
        row = int(wrong.argmax())
        raise InvalidValueError(
            f"{type(owner).__name__}.scores: numbers from 0 to 1 are needed, "
            f"{scores[row].item():g} was given in row {row}"
        )


def _open_column(owner: Detections, name: str, *inner: int) -> None:
    """A float32 column N x D x `inner` of any D; nothing at all means D = 0 for each object."""
    given = np.asarray(getattr(owner, name))
    count, per_object = len(owner.boxes), given.shape[1] if given.ndim == len(inner) + 2 else 0
    if given.size == per_object == 0 and not len(given):
        object.__setattr__(owner, name, np.empty((count, 0, *inner), np.float32))
    _column(owner, name, _FLOAT32, count, per_object, *inner)


def _fact(name: object, given: object) -> Fact:
    """What an event may say under a name, in Python's own types."""
    plain = given.tolist() if isinstance(given, np.generic | np.ndarray) else given
    if isinstance(plain, list | tuple):
        plain = tuple(item.item() if isinstance(item, np.generic) else item for item in plain)
    for item in plain if isinstance(plain, tuple) else (plain,):
        is_whole = isinstance(item, int) and -_LARGEST <= item < _LARGEST
        if not isinstance(name, str) or not (item is None or is_whole or isinstance(item, str | float)):
            raise InvalidValueError(
                f"Event.data[{name!r}]: a text, a number, a truth value, None or a list of them is needed, and "
                f"a name that is a text; {given!r} was given"
            )
    return plain  # type: ignore[return-value]  # looked at item by item


def _attribute(owner: Detections, name: object, given: ArrayLike) -> NDArray[np.generic]:
    """A checked, read-only column of one of the four types of `Attributes`."""
    where = f"{type(owner).__name__}.attributes[{name!r}]"
    if not isinstance(name, str) or not name:
        raise InvalidValueError(f"{where}: a name is needed that is a text and not empty")
    array = np.asarray(given)
    if array.dtype.kind not in "biufU":
        raise InvalidValueError(
            f"{where}: truth values, integers, float32 or texts are needed, {array.dtype} was given"
        )
    if array.shape != (len(owner.boxes),):
        raise InvalidValueError(f"{where}: shape ({len(owner.boxes)},) is needed, {array.shape} was given")
    if array.dtype.kind == "u" and array.size and array.max() >= _LARGEST:
        raise InvalidValueError(f"{where}: integers of 64 bits with a sign are needed, {array.max()} was given")
    if array.dtype.itemsize > 4 and array.dtype.kind == "f":
        beyond = np.abs(array[np.isfinite(array)]) > np.finfo(np.float32).max
        if beyond.any():
            raise InvalidValueError(f"{where}: numbers that fit float32 are needed, {array.max():g} was given")
    wanted: DTypeLike = {"i": np.int64, "u": np.int64, "f": np.float32}.get(array.dtype.kind, array.dtype)
    return _read_only(array.astype(wanted, copy=False))


def _column(
    owner: Detections, name: str, dtype: np.dtype[Any], count: int | None, *inner: int
) -> NDArray[np.generic]:
    """Set the column `name` of a value under construction to a checked array and return it."""
    array: NDArray[np.generic] = getattr(owner, name)
    if type(array) is not np.ndarray or array.dtype is not dtype or not array.size:
        array = _as_column(owner, name, dtype, *inner)
    expected = (len(array) if count is None and array.ndim else count, *inner)
    if array.shape != expected:
        raise InvalidValueError(
            f"{type(owner).__name__}.{name}: shape {expected} is needed, {array.shape} was given"
        )
    array = _read_only(array)
    object.__setattr__(owner, name, array)
    return array


def _as_column(owner: Detections, name: str, dtype: np.dtype[Any], *inner: int) -> NDArray[np.generic]:
    try:
        array: NDArray[np.generic] = np.asarray(getattr(owner, name), dtype)
    except (TypeError, ValueError) as error:
        raise InvalidValueError(f"{type(owner).__name__}.{name}: not an array of {dtype}: {error}") from error
    return array.reshape(0, *inner) if inner and array.size == 0 and 0 not in inner else array
