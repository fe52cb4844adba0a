"""The wire form of what goes from process to process: an item of a frame, or the end of a camera's stream.

A message is a preamble, a header and, where the value travels in it, the value's block. Little-endian.

    at      bytes   content
    0       4       magic: the letters FEWM
    4       4       format version, unsigned: 1
    8       4       length H of the header in bytes, unsigned, at most 1 MiB
    12      H       header: one msgpack array, one of those below
    D       ...     for an item that lies in no slot, its value's block (`flowedge.wire.blocks`);
                    D is the first multiple of 64 that is not below 12 + H

    item        ["item", frame, live (bool), part, parts (int), regions ([rect or nil, ...]: none, or one for
                each part), partners ([frame, ...]), slot (bin: where the block lies in shared memory, or nil)]
    end         ["end", camera, behind (str)]

    frame       [camera (str), session (int), index (int)]
    rect        [x1, y1, x2, y2], int, in source pixels

What breaks these rules is refused with `WireError`, whatever the bytes are. The header is on the way of every
value, so it is written and read by hand: 11 us, where the codecs of `flowedge.wire.fields` took 27 us.
"""

from __future__ import annotations

import struct
from collections.abc import Callable
from reprlib import repr as shown
from typing import TYPE_CHECKING, Any, NamedTuple

import msgpack  # type: ignore[import-untyped]

from flowedge.plane.item import End, Item
from flowedge.values import FrameId, Rect
from flowedge.wire import blocks
from flowedge.wire.blocks import Block
from flowedge.wire.fields import MAX_ITEMS, WireError, aligned

if TYPE_CHECKING:
    from typing_extensions import Buffer

_PREAMBLE = struct.Struct("<4sII")
_MAGIC, _VERSION = b"FEWM", 1
_MAX_HEADER = 1 << 20


class Envelope(NamedTuple):
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
    block: memoryview

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
    head = _head(("item", item.frame, item.live, item.part, item.parts, item.regions, item.partners, slot))
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
    return bytearray(_head(("end", end.camera, end.behind)))


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
    match header:
        case ("item", frame, bool(live), int(part), int(parts), tuple(regions), tuple(partners), slot):
            if not (slot is None or isinstance(slot, bytes)):
                raise WireError(f"a slot's descriptor or nil is needed, {shown(slot)} was given")
            if not 0 <= part < parts <= MAX_ITEMS:
                raise WireError(f"part {part} of {parts} cannot be")
            if regions and len(regions) != parts:
                raise WireError(f"{len(regions)} regions were given for {parts} parts")
            shows, others = tuple([_rect(region) for region in regions]), tuple([_frame(f) for f in partners])
            block = view[aligned(end) :].toreadonly()
            return Envelope(_frame(frame), live, part, parts, shows, others, slot, block)
        case ("end", str(camera), str(behind)):
            return End(camera, behind)
    raise WireError(f'["item", frame, ...] or ["end", camera, behind] is needed, {shown(header)} was given')


def _head(header: tuple[object, ...]) -> bytes:
    try:
        packed: bytes = msgpack.packb(header)
    except (ValueError, OverflowError, TypeError) as error:
        raise WireError(f"the envelope does not fit msgpack: {error}") from error
    if len(packed) > _MAX_HEADER:
        raise WireError(f"the envelope needs a header of {len(packed)} bytes, above {_MAX_HEADER}")
    return _PREAMBLE.pack(_MAGIC, _VERSION, len(packed)) + packed


def _frame(item: Any) -> FrameId:
    match item:
        case (str(camera), int(session), int(index)):
            return FrameId(camera, session, index)
    raise WireError(f"[camera, session, index] is needed, {shown(item)} was given")


def _rect(item: Any) -> Rect | None:
    match item:
        case (int(x1), int(y1), int(x2), int(y2)):
            return x1, y1, x2, y2
        case None:
            return None
    raise WireError(f"[x1, y1, x2, y2] or nil is needed, {shown(item)} was given")
