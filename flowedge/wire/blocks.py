"""The wire form of a value: one block of bytes, the same over Zenoh, in shared memory, in recordings, in Kafka.

A block is a preamble, a header and the raw buffers that the header names. Everything is little-endian.

    at      bytes   content
    0       4       magic: the letters FEWB
    4       4       format version, unsigned: 2
    8       8       size of the whole block in bytes, unsigned
    16      8       length H of the header in bytes, unsigned, at most 1 MiB
    24      H       header: one msgpack map
    D       ...     buffers; D is the first multiple of 64 that is not below 24 + H

A *buffer* stands in the header as `[dtype, shape, offset, length]`: `offset` counts bytes from D and is a
multiple of 64, `length` is in bytes, items lie in C order. Buffers follow one another in the order of the
tables below and never overlap; gaps are zero. Readers ignore keys that they do not know; the version grows
when old readers would misread a block. The header's `type` decides its other keys:

    type        keys
    packet      origin, data (uint8 [N]), parameters (below), keyframe (bool), time_base (ratio), pts, dts (int
                or nil), corrupt (bool), side_data (map of str to bin), preroll ([these but preroll, ...])
    frame       origin, picture (below), region (rect)
    detections  origin, boxes (float32 [N, 4]), scores (float32 [N]), classes (int32 [N]), names ([str, ...]),
                missing ([rect, ...]), region (rect or nil), attributes (map of str to [type, column]: "bool"
                with uint8 [N], 0 is false; "int64" with int64 [N]; "float32" with float32 [N]; "str" with
                [str, ...])
    tracks      as detections, and ids (int64 [N])
    faces       as detections, and embeddings (float32 [N, D]), landmarks (float32 [N, P, 2]); D and P may be 0
    event       origin, kind (str), data (map of str to str, int, float, bool, nil or a list of these)
    absent      origin, outcome ("filtered", "dropped" or "failed"), cause (str), place (str)
    pair        parts ([header, header], of any of the types above)

    rect        [x1, y1, x2, y2], int, in source pixels
    ratio       [numerator, denominator], int
    parameters  map: codec (str), codec_tag (bin, 4 bytes), extradata (bin), width, height (int), pixel_format
                (str or nil), bits_per_coded_sample (int), sample_aspect_ratio (ratio), orientation (1 to 8),
                reorder_depth (int)
    origin      map: camera (str), session, index (int), media, time, time_error, monotonic (float), width,
                height, tile, tiles (int)
    picture     map whose `form` decides its other keys:
      bgr       pixels (uint8 [height, width, 3])
      jpeg      width, height (int), data (uint8 [N], a JPEG file)
      planes    format (str, the pixel format as FFmpeg names it), width, height, colorspace, color_range (int,
                FFmpeg's AVColorSpace and AVColorRange), planes: a uint8 [rows, stride] buffer for each of
                FFmpeg's planes, stride a multiple of 64, then at least 64 bytes before the end of the block

What breaks these rules is refused with `WireError`, whatever the bytes are.
"""

from __future__ import annotations

from dataclasses import dataclass, fields
from fractions import Fraction
from reprlib import repr as shown
from typing import TYPE_CHECKING, Any, TypeAlias

import msgpack  # type: ignore[import-untyped]
import numpy as np
from numpy.typing import NDArray

from flowedge.values import (
    Absent,
    CodecParameters,
    Detections,
    Event,
    Faces,
    Frame,
    Origin,
    Outcome,
    Packet,
    Tracks,
    Value,
)
from flowedge.wire.fields import (
    MAX_ITEMS,
    Codec,
    Reader,
    WireError,
    Writer,
    array,
    flat_record,
    many,
    one_of,
    optional,
    plain,
    record,
    table,
    tagged,
    whole,
)
from flowedge.wire.framing import Block, lay_out, opened
from flowedge.wire.pictures import PICTURE

if TYPE_CHECKING:
    from typing_extensions import Buffer

__all__ = ["Block", "Message", "WireError", "block", "decode", "encode"]

Message: TypeAlias = Value | tuple[Value, Value]
"""What one block carries: a value, or a pair of values as `join` makes it."""

_MAGIC, _VERSION = b"FEWB", 2


def encode(value: Message, *, jpeg: int | None = None) -> bytearray:
    """The block of a value or of a pair of values, in one allocation.

    `jpeg`, a quality from 0 to 100, compresses the pictures of frames, for taps and previews. Raises
    `WireError` when the value has no wire form: a field of another type than its class declares, a picture
    that is not in main memory.

    >>> decode(encode(Event(Origin("north", index=3), "door"))).origin.key
    ('north', 3)
    """
    laid = block(value, jpeg=jpeg)
    data = bytearray(laid.size)
    laid.write_into(data)
    return data


def block(value: Message, *, jpeg: int | None = None) -> Block:
    """The layout of a value's block, to be written straight into shared memory. Arguments as for `encode`."""
    out = Writer(jpeg)
    message = _MESSAGE.pack(value, out)
    return lay_out(_MAGIC, _VERSION, message, out, type(value).__name__)


def decode(buffer: Buffer) -> Message:
    """The value in the block at the start of `buffer`; bytes behind the block are ignored.

    Arrays and, where PyAV allows it, pictures are views of `buffer`: let its bytes be for as long as the value
    lives. FFmpeg's planes are copied once when the height of a 4:2:0 picture is no multiple of 4, when they do
    not lie at an address that 16 divides, and in formats other than yuv420p, yuvj420p, nv12, gray, bgr24 and
    rgb24. A JPEG becomes an array of height x width x 3 uint8 BGR. Raises `WireError` for anything but a block.
    """
    header, source = opened(_MAGIC, _VERSION, buffer)
    try:
        content = msgpack.unpackb(header, use_list=False, max_ext_len=0, max_array_len=MAX_ITEMS)
    except (ValueError, msgpack.UnpackException) as error:
        raise WireError(f"the header is not the msgpack of this format: {error}") from error
    message: Message = _MESSAGE.unpack(content, source)
    return message


@dataclass(frozen=True, slots=True)
class _Pair:
    parts: tuple[Value, Value]


def _unpack_fraction(item: Any, source: Reader) -> Fraction:
    numerator, denominator = _RATIO.unpack(item, source)
    if denominator == 0:
        raise WireError("the denominator is 0")
    return Fraction(numerator, denominator)


def _unpack_outcome(item: Any, _source: Reader) -> Outcome:
    try:
        return Outcome(item)
    except ValueError as error:
        raise WireError(f"{shown(item)} is not an outcome") from error


def _kind_of(column: NDArray[np.generic]) -> str:
    return "str" if column.dtype.kind == "U" else column.dtype.name


def _pack_value(value: Value, out: Writer) -> Any:
    if out.jpeg is not None and isinstance(value, Frame):
        value = value.replace(image=value.image)
    return _VALUE.pack(value, out)


def _pack_message(message: Message, out: Writer) -> Any:
    return _SENT.pack(_Pair(message), out) if isinstance(message, tuple) else _pack_value(message, out)


def _unpack_message(item: Any, source: Reader) -> Any:
    message = _SENT.unpack(item, source)
    return message.parts if isinstance(message, _Pair) else message


_TEXT, _NUMBER, _FLAG = plain(str), plain(float, int), plain(bool)
_INTEGER = whole(-(1 << 63), (1 << 63) - 1)
_RATIO, _RECT = many(_INTEGER, 2), many(_INTEGER, 4)

_SCALAR = plain(str, int, float, bool, type(None))
_FACT = Codec(
    lambda fact, out: (many(_SCALAR) if isinstance(fact, tuple | list) else _SCALAR).pack(fact, out),
    lambda item, source: (many(_SCALAR) if isinstance(item, tuple) else _SCALAR).unpack(item, source),
)
_BYTES = array("uint8", 1)
_TRUTH = Codec(
    lambda column, out: _BYTES.pack(column.view(np.uint8), out),
    lambda item, source: _BYTES.unpack(item, source) != 0,
)
_TEXTS = Codec(
    lambda column, out: many(_TEXT).pack(column.tolist(), out),
    lambda item, source: np.array(many(_TEXT).unpack(item, source), np.str_),
)

_COLUMNS = {
    "bool": _TRUTH,
    "int64": array("int64", 1),
    "float32": array("float32", 1),
    "str": _TEXTS,
}

_BY_NAME = {"str": (str, _TEXT), "int": (int, _INTEGER), "float": (float, _NUMBER)}
_KINDS = {field.name: _BY_NAME[str(field.type)] for field in fields(Origin)}
_ORIGIN = {
    "origin": flat_record(
        Origin,
        {name: codec for name, (_, codec) in _KINDS.items()},
        {name: kind for name, (kind, _) in _KINDS.items()},
    )
}
_FRACTION = Codec(lambda ratio, _: [ratio.numerator, ratio.denominator], _unpack_fraction)
_SIZE = whole(0, 1 << 16)
_PARAMETERS = record(
    CodecParameters,
    {
        "codec": _TEXT,
        "codec_tag": plain(bytes),
        "extradata": plain(bytes),
        "width": _SIZE,
        "height": _SIZE,
        "pixel_format": optional(_TEXT),
        "bits_per_coded_sample": whole(0, 1 << 10),
        "sample_aspect_ratio": _FRACTION,
        "orientation": whole(1, 8),
        "reorder_depth": whole(0, 16),
    },
)
_PACKET = {
    **_ORIGIN,
    "data": array("uint8", 1),
    "parameters": _PARAMETERS,
    "keyframe": _FLAG,
    "time_base": _FRACTION,
    "pts": optional(_INTEGER),
    "dts": optional(_INTEGER),
    "corrupt": _FLAG,
    "side_data": table(plain(bytes)),
}
_DETECTIONS = {
    **_ORIGIN,
    "boxes": array("float32", 2),
    "scores": array("float32", 1),
    "classes": array("int32", 1),
    "names": many(_TEXT),
    "missing": many(_RECT),
    "region": optional(_RECT),
    "attributes": table(one_of(_COLUMNS, _kind_of)),
}
_VALUES: dict[str, tuple[type, dict[str, Codec]]] = {
    "packet": (Packet, {**_PACKET, "preroll": many(record(Packet, _PACKET))}),
    "frame": (Frame, {**_ORIGIN, "picture": PICTURE, "region": _RECT}),
    "detections": (Detections, _DETECTIONS),
    "tracks": (Tracks, {**_DETECTIONS, "ids": array("int64", 1)}),
    "faces": (
        Faces,
        {**_DETECTIONS, "embeddings": array("float32", 2), "landmarks": array("float32", 3)},
    ),
    "event": (Event, {**_ORIGIN, "kind": _TEXT, "data": table(_FACT)}),
    "absent": (
        Absent,
        {
            **_ORIGIN,
            "outcome": Codec(lambda outcome, _: outcome.value, _unpack_outcome),
            "cause": _TEXT,
            "place": _TEXT,
        },
    ),
}
_VALUE = tagged("type", _VALUES)
_PARTS = many(Codec(_pack_value, _VALUE.unpack), 2)
_SENT = tagged("type", {**_VALUES, "pair": (_Pair, {"parts": _PARTS})})
_MESSAGE = Codec(_pack_message, _unpack_message)
