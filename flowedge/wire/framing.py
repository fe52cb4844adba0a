"""The frame of a block: preamble, msgpack header and raw buffers, as `flowedge.wire.blocks` draws it.

Blocks of values and checkpoints of operators have it in common; `magic` tells them apart.
"""

from __future__ import annotations

import struct
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import msgpack  # type: ignore[import-untyped]
import numpy as np
from numpy.typing import NDArray

from flowedge.wire.fields import PlacedBuffer, Reader, WireError, Writer, aligned

if TYPE_CHECKING:
    from typing_extensions import Buffer

_PREAMBLE = struct.Struct("<4sIQQ")
_MAX_HEADER = 1 << 20


@dataclass(frozen=True, slots=True, eq=False)
class Block:
    """A value laid out but not yet written: `size` bytes, which `write_into` puts into any memory.

    >>> from flowedge import Event, Origin
    >>> from flowedge.wire.blocks import block, decode
    >>> laid = block(Event(Origin("north"), "door", {"open": True}))
    >>> memory = bytearray(4096)
    >>> laid.write_into(memory)
    >>> decode(memory).data
    {'open': True}
    """

    size: int
    _head: bytes
    _parts: list[PlacedBuffer]

    def write_into(self, buffer: Buffer) -> None:
        """Write the block to the start of `buffer`, copying each pixel once; gaps become zero.

        Raises `WireError` when `buffer` is read-only or shorter than `size` bytes.
        """
        view = memoryview(buffer)
        if view.readonly or view.nbytes < self.size:
            reason = "read-only" if view.readonly else f"{view.nbytes} bytes long"
            raise WireError(f"a writable buffer of {self.size} bytes is needed, this one is {reason}")
        target, end, first = np.frombuffer(view, np.uint8), len(self._head), aligned(len(self._head))
        target[:end] = np.frombuffer(self._head, np.uint8)
        for part in self._parts:
            start = first + part.offset
            target[end:start] = 0
            end = start + part.length
            part.write_into(target[start:end])
        target[end : self.size] = 0


def lay_out(magic: bytes, version: int, message: Any, out: Writer, what: str) -> Block:
    """The block of a header `message`, whose buffers are in `out`; raises `WireError` that names `what`."""
    try:
        header: bytes = msgpack.packb(message)
    except (ValueError, OverflowError) as error:
        raise WireError(f"{what} does not fit msgpack: {error}") from error
    if len(header) > _MAX_HEADER:
        raise WireError(f"{what} needs a header of {len(header)} bytes, above {_MAX_HEADER}")
    size = aligned(_PREAMBLE.size + len(header)) + out.end
    return Block(size, _PREAMBLE.pack(magic, version, size, len(header)) + header, out.parts)


def opened(magic: bytes, version: int, buffer: Buffer) -> tuple[NDArray[np.uint8], Reader]:
    """The header's bytes and the buffers of the block at the start of `buffer`. Raises `WireError`."""
    view = memoryview(buffer)
    if view.nbytes < _PREAMBLE.size:
        raise WireError(f"{view.nbytes} bytes are too few for a block")
    data = np.frombuffer(view, np.uint8)
    begins, written, size, length = _PREAMBLE.unpack_from(view.cast("B"))
    if begins != magic:
        raise WireError(f"not a block: it begins with {begins!r} in place of {magic!r}")
    if written != version:
        raise WireError(
            f"the block has format version {written}, and this FlowEdge reads version {version} only: "
            "run the same version of FlowEdge on both sides"
        )
    if size > len(data):
        raise WireError(f"the block is cut off: {len(data)} of {size} bytes are here")
    end = _PREAMBLE.size + length
    if length > _MAX_HEADER or end > size:
        raise WireError(f"a header of {length} bytes does not fit a block of {size}")
    return data[_PREAMBLE.size : end], Reader(data[aligned(end) : size])
