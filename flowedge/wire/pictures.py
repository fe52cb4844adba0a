"""The wire forms of a picture: plain BGR pixels, a JPEG, or FFmpeg's planes; `PICTURE` is their codec.

The formats are described in `flowedge.wire.blocks`. FFmpeg believes every size that it is told, so a picture
that came over the wire reaches it only after its planes have been compared with what its format demands.
"""

from __future__ import annotations

import struct
from dataclasses import dataclass
from functools import lru_cache
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.lib.stride_tricks import as_strided
from numpy.typing import NDArray

from flowedge.values import Image
from flowedge.wire.fields import (
    ALIGN,
    Codec,
    Reader,
    WireError,
    Writer,
    aligned,
    array,
    many,
    plain,
    tagged,
    whole,
)

if TYPE_CHECKING:
    import av
    from av.video.plane import VideoPlane

_ABORTING = ("yaf32le", "yaf32be")  # the formats with which FFmpeg 8 fails an assertion and ends the process
_MAX_SIDE, _MAX_JPEG_PIXELS = 1 << 15, 1 << 26


@dataclass(frozen=True, slots=True)
class _Pixels:
    pixels: Image

    def picture(self) -> Image:
        return self.pixels


@dataclass(frozen=True, slots=True)
class _Jpeg:
    width: int
    height: int
    data: NDArray[np.uint8]

    @classmethod
    def of(cls, image: Image, quality: int) -> _Jpeg:
        import cv2

        height, width, _ = image.shape
        if max(width, height) > _MAX_SIDE or width * height > _MAX_JPEG_PIXELS:
            raise WireError(f"{width} x {height} pixels are too many for a JPEG")
        _, data = cv2.imencode(".jpg", image, [cv2.IMWRITE_JPEG_QUALITY, quality])
        return cls(width, height, np.asarray(data, np.uint8).reshape(-1))

    def picture(self) -> Image:
        import cv2

        # A few bytes can claim a picture that fills the memory, so the size is read before decoding.
        if self.width * self.height > _MAX_JPEG_PIXELS or self._stated() != (self.width, self.height):
            raise WireError(f"the data is not a JPEG of {self.width} x {self.height} pixels")
        try:
            image = cv2.imdecode(self.data, cv2.IMREAD_COLOR | cv2.IMREAD_IGNORE_ORIENTATION)
        except cv2.error as error:
            raise WireError(f"the JPEG is damaged: {error}") from error
        if image is None or image.shape != (self.height, self.width, 3):
            raise WireError("the JPEG is damaged")
        return np.asarray(image, np.uint8)

    def _stated(self) -> tuple[int, int] | None:
        """Width and height in the JPEG's start-of-frame segment; None when there is none."""
        data, at = self.data.tobytes(), 2
        while data[:2] == b"\xff\xd8" and len(data) >= at + 9 and data[at] == 0xFF:
            marker, length, height, width = struct.unpack_from(">BHxHH", data, at + 1)
            if 0xC0 <= marker <= 0xCF and marker not in (0xC4, 0xC8, 0xCC):
                return width, height
            at += 2 + length
        return None


@dataclass(frozen=True, slots=True)
class _Planes:
    """A picture as FFmpeg has it. Each plane is rows x bytes, with or without padding behind each row."""

    format: str
    width: int
    height: int
    colorspace: int
    color_range: int
    planes: tuple[NDArray[np.uint8], ...]

    @classmethod
    def of(cls, picture: av.VideoFrame) -> _Planes:
        name, width, height = picture.format.name, picture.width, picture.height
        sizes = _plane_sizes(name, width, height)
        if not picture.planes:
            raise WireError("a picture without pixels has no wire form")
        pairs = zip(picture.planes, sizes, strict=True)
        planes = tuple([_rows(plane)[:, :wide] for plane, (_, wide) in pairs])
        colour = int(picture.colorspace), int(picture.color_range)
        return cls(name, width, height, *colour, planes)

    def picture(self) -> av.VideoFrame:
        import av

        try:
            sizes = _plane_sizes(self.format, self.width, self.height)
            shapes = [plane.shape for plane in self.planes]
            fit = [
                rows == height and wide <= stride and stride % ALIGN == 0
                for (rows, wide), (height, stride) in zip(sizes, shapes, strict=False)
            ]
            if len(shapes) != len(sizes) or not all(fit):
                raise WireError(f"planes of {sizes} are needed for {self.format}, {shapes} were given")
            if not _convertible(self.format, self.colorspace, self.color_range):
                raise WireError(
                    f"FFmpeg cannot convert pictures in {self.format} of color space {self.colorspace} and "
                    f"range {self.color_range} to BGR"
                )
            picture = self._in_place() or self._copied(sizes)
            picture.colorspace, picture.color_range = self.colorspace, self.color_range
        except WireError:
            raise
        except (ValueError, av.FFmpegError) as error:
            raise WireError(f"FFmpeg cannot hold this picture: {error!s:.200}") from error
        return picture

    def _in_place(self) -> av.VideoFrame | None:
        """A picture over the planes' own memory; None where FFmpeg cannot have it there."""
        import av

        first, width = self.planes[0], self.width
        starts = [plane.ctypes.data for plane in self.planes]
        if starts[0] % 16:
            return None
        strides = [plane.shape[1] for plane in self.planes]
        match self.format:
            case "gray":
                return av.VideoFrame.from_numpy_buffer(first, "gray", width)
            case "bgr24" | "rgb24":
                pixels = first[:, : width * 3].reshape(-1, width, 3)
                return av.VideoFrame.from_numpy_buffer(pixels, self.format)
            case "yuv420p" | "yuvj420p":
                chroma = [strides[0] // 2] * 2
            case "nv12":
                chroma = [strides[0]]
            case _:
                return None
        ends = [start + plane.size for start, plane in zip(starts, self.planes, strict=True)]
        if ends[:-1] != starts[1:] or strides[1:] != chroma or self.height % 4:
            return None
        together = as_strided(first, (self.height // 2 * 3, strides[0]), writeable=False)
        return av.VideoFrame.from_numpy_buffer(together, self.format, width)

    def _copied(self, sizes: list[tuple[int, int]]) -> av.VideoFrame:
        import av

        picture = av.VideoFrame(self.width, self.height, self.format)
        for target, plane, (_, wide) in zip(picture.planes, self.planes, sizes, strict=True):
            _rows(target)[:, :wide] = plane[:, :wide]
        return picture


@lru_cache(maxsize=256)
def _convertible(name: str, colorspace: int, color_range: int) -> bool:
    """Whether FFmpeg can make BGR of such a picture: not of YCgCo, for example, as a small one tells."""
    import av

    if name in _ABORTING:
        return False
    sample = av.VideoFrame(16, 16, name)
    sample.colorspace, sample.color_range = colorspace, color_range
    try:
        sample.reformat(format="bgr24")
    except (OSError, ValueError):
        return False
    return True


@lru_cache(maxsize=256)
def _plane_sizes(name: str, width: int, height: int) -> list[tuple[int, int]]:
    """Rows, and bytes in a row without padding, of each plane of a picture (checked against FFmpeg's own
    av_image_get_linesize for all of its formats)."""
    from av.video.format import VideoFormat

    layout = VideoFormat(name, width, height)
    if layout.has_palette or not layout.components:
        raise WireError(f"pictures in {layout.name} have no wire form: reformat them to yuv420p or bgr24")
    if not layout.is_planar:
        together = 8 // layout.chroma_width(8)  # pixels that share one chroma sample, and so one cell
        bits = aligned(layout.width, together) * layout.padded_bits_per_pixel
        return [(layout.height, aligned(bits, 8) // 8)]
    sizes: dict[int, tuple[int, int]] = {}
    for component in layout.components:
        _, wide = sizes.get(component.plane, (0, 0))
        wide += component.width * (aligned(component.bits, 8) // 8)
        sizes[component.plane] = (component.height, wide)
    return [sizes[plane] for plane in sorted(sizes)]


def _rows(plane: VideoPlane) -> NDArray[np.uint8]:
    rows = np.frombuffer(memoryview(plane), np.uint8).reshape(plane.height, abs(plane.line_size))
    return rows if plane.line_size > 0 else rows[::-1]  # a negative line size: stored from the bottom up


def _pack_planes(planes: tuple[NDArray[np.uint8], ...], out: Writer) -> list[object]:
    """Rows are padded so that chroma of half the width has half the stride: only then FFmpeg reads in place."""
    narrowest = min(plane.shape[1] for plane in planes)
    packed: list[object] = []
    for plane in planes:
        rows, wide = plane.shape
        packed.append(out.add(plane, (rows, aligned(wide, ALIGN * round(wide / narrowest)))))
    out.end += ALIGN
    return packed


def _unpack_planes(item: Any, source: Reader) -> tuple[NDArray[np.uint8], ...]:
    planes: tuple[NDArray[np.uint8], ...] = many(array("uint8", 2)).unpack(item, source)
    # FFmpeg's vector code reads a little past the last row.
    if source.end + ALIGN > len(source.data):
        raise WireError(f"the planes end at {source.end}, less than {ALIGN} bytes before the block does")
    return planes


def _pack_picture(picture: av.VideoFrame | Image, out: Writer) -> Any:
    if not isinstance(picture, np.ndarray):
        form: _Pixels | _Jpeg | _Planes = _Planes.of(picture)
    elif out.jpeg is not None:
        form = _Jpeg.of(picture, out.jpeg)
    else:
        form = _Pixels(picture)
    return _FORM.pack(form, out)


_SIZE = {"width": whole(1, _MAX_SIDE), "height": whole(1, _MAX_SIDE)}
_COLOUR = whole(0, 255)

_FORM = tagged(
    "form",
    {
        "bgr": (_Pixels, {"pixels": array("uint8", 3)}),
        "jpeg": (_Jpeg, {**_SIZE, "data": array("uint8", 1)}),
        "planes": (
            _Planes,
            {
                "format": plain(str),
                **_SIZE,
                "colorspace": _COLOUR,
                "color_range": _COLOUR,
                "planes": Codec(_pack_planes, _unpack_planes),
            },
        ),
    },
)

PICTURE = Codec(_pack_picture, lambda item, source: _FORM.unpack(item, source).picture())
"""The codec of `Frame.picture`."""
