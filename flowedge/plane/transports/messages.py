"""The wire form of what goes from process to process: an item of a frame, or the end of a camera's stream.

A message is a preamble, a header and, where the value travels in it, the value's block. Little-endian.

    at      bytes   content
    0       4       magic: the letters FEWM
    4       4       format version, unsigned: 1
    8       4       length H of the header in bytes, unsigned, at most 1 MiB
    12      H       header: one msgpack map
    D       ...     for an item that lies in no slot, its value's block (`flowedge.wire.blocks`);
                    D is the first multiple of 64 that is not below 12 + H

    type        keys
    item        frame, live (bool), part, parts (int), regions ([rect or nil, ...]: none, or one for each part),
                partners ([frame, ...]), slot (bin: where the block lies in shared memory; nil when it follows)
    end         camera, behind (str)

    frame       [camera (str), session (int), index (int)]
    rect        [x1, y1, x2, y2], int, in source pixels

What breaks these rules is refused with `WireError`, whatever the bytes are.
"""

from __future__ import annotations

import struct
from collections.abc import Callable
from dataclasses import dataclass, replace
from reprlib import repr as shown
from typing import TYPE_CHECKING, Any

import msgpack  # type: ignore[import-untyped]
import numpy as np

from flowedge.plane.item import End, Item
from flowedge.values import FrameId, Rect
from flowedge.wire import blocks
from flowedge.wire.blocks import Block
from flowedge.wire.fields import (
    MAX_ITEMS,
    Codec,
    Reader,
    WireError,
    Writer,
    aligned,
    many,
    optional,
    plain,
    tagged,
    whole,
)

if TYPE_CHECKING:
    from typing_extensions import Buffer

_PREAMBLE = struct.Struct("<4sII")
_MAGIC, _VERSION = b"FEWM", 1
_MAX_HEADER = 1 << 20
_NOTHING = memoryview(b"")


@dataclass(frozen=True, slots=True)
class Envelope:
    """An item whose value has not been looked at: it lies in `slot` of shared memory, or else in `block`.

    The other fields are those of `flowedge.plane.item.Item`.
    """

    frame: FrameId
    live: bool
    part: int
    parts: int
    regions: tuple[Rect | None, ...]
    partners: tuple[FrameId, ...]
    slot: bytes | None
    block: memoryview = _NOTHING

    def item(self, read: Callable[[bytes], Buffer]) -> Item:
        """The item with its value, views of the message or of what `read` gives for the slot (`Views.read`).

        Raises `WireError` for a block that cannot be read, and whatever `read` raises.
        """
        value = blocks.decode(self.block if self.slot is None else read(self.slot))
        return Item(self.frame, value, self.live, self.part, self.parts, self.regions, self.partners)


def encode(item: Item, body: Block | bytes) -> bytearray:
    """The message of an item whose value is in `body`: laid out as a block, or the descriptor of its slot.

    >>> from flowedge.values import Event, Origin
    >>> event = Event(Origin("north", index=3), "door")
    >>> message = encode(Item(event.origin.frame_id, event, live=True), blocks.block(event))
    >>> envelope = decode(message)
    >>> envelope.frame.index, envelope.slot, envelope.item(bytes).value.kind
    (3, None, 'door')
    """
    slot = None if isinstance(body, Block) else body
    envelope = Envelope(item.frame, item.live, item.part, item.parts, item.regions, item.partners, slot)
    head = _head(envelope)
    if not isinstance(body, Block):
        return bytearray(head)
    start = aligned(len(head))
    message = bytearray(start + body.size)
    message[: len(head)] = head
    body.write_into(memoryview(message)[start:])
    return message


def encode_end(end: End) -> bytearray:
    """The message of the end of a camera's stream.

    >>> decode(encode_end(End("north")))
    End(camera='north', behind='')
    """
    return bytearray(_head(end))


def decode(message: Buffer) -> Envelope | End:
    """What a message says; the value of an item is not looked at yet. Raises `WireError` for anything else."""
    view = memoryview(message).cast("B")
    if view.nbytes < _PREAMBLE.size:
        raise WireError(f"{view.nbytes} bytes are too few for a message")
    magic, version, length = _PREAMBLE.unpack_from(view)
    if magic != _MAGIC:
        raise WireError(f"not a message: it begins with {magic!r} in place of {_MAGIC!r}")
    if version != _VERSION:
        raise WireError(
            f"the message has format version {version}, and this FlowEdge reads version {_VERSION} only: "
            "run the same version of FlowEdge on both sides"
        )
    end = _PREAMBLE.size + length
    if length > _MAX_HEADER or end > view.nbytes:
        raise WireError(f"a header of {length} bytes does not fit a message of {view.nbytes}")
    try:
        header = msgpack.unpackb(
            view[_PREAMBLE.size : end], use_list=False, max_ext_len=0, max_array_len=MAX_ITEMS
        )
    except (ValueError, msgpack.UnpackException) as error:
        raise WireError(f"the header is not the msgpack of this format: {error}") from error
    content: Envelope | End = _MESSAGE.unpack(header, _NO_BUFFERS)
    if isinstance(content, End):
        return content
    if not content.part < content.parts:
        raise WireError(f"part: {content.part} is not below parts, {content.parts}")
    if content.regions and len(content.regions) != content.parts:
        raise WireError(f"regions: {len(content.regions)} were given for {content.parts} parts")
    return content if content.slot is not None else replace(content, block=view[aligned(end) :].toreadonly())


def _head(content: Envelope | End) -> bytes:
    try:
        header: bytes = msgpack.packb(_MESSAGE.pack(content, Writer(None)))
    except (ValueError, OverflowError) as error:
        raise WireError(f"the envelope does not fit msgpack: {error}") from error
    if len(header) > _MAX_HEADER:
        raise WireError(f"the envelope needs a header of {len(header)} bytes, above {_MAX_HEADER}")
    return _PREAMBLE.pack(_MAGIC, _VERSION, len(header)) + header


def _pack_frame(frame: FrameId, out: Writer) -> list[object]:
    return [_TEXT.pack(frame.camera, out), _INTEGER.pack(frame.session, out), _INTEGER.pack(frame.index, out)]


def _unpack_frame(item: Any, source: Reader) -> FrameId:
    if not isinstance(item, tuple) or len(item) != 3:
        raise WireError(f"[camera, session, index] is needed, {shown(item)} was given")
    camera, *numbers = item
    return FrameId(_TEXT.unpack(camera, source), *[_INTEGER.unpack(number, source) for number in numbers])


_NO_BUFFERS = Reader(np.empty(0, np.uint8))
_TEXT, _FLAG = plain(str), plain(bool)
_INTEGER, _COUNT = whole(-(1 << 63), (1 << 63) - 1), whole(0, MAX_ITEMS)
_FRAME = Codec(_pack_frame, _unpack_frame)
_MESSAGE = tagged(
    "type",
    {
        "item": (
            Envelope,
            {
                "frame": _FRAME,
                "live": _FLAG,
                "part": _COUNT,
                "parts": _COUNT,
                "regions": many(optional(many(_INTEGER, 4))),
                "partners": many(_FRAME),
                "slot": optional(plain(bytes)),
            },
        ),
        "end": (End, {"camera": _TEXT, "behind": _TEXT}),
    },
)
