"""Codecs of fields, from which `flowedge.wire.blocks` builds the wire form of every value.

A codec turns a field into something that msgpack has, and back. Arrays go beside the header: packing adds
them to a `Writer`, which says where they will lie; unpacking takes views of them from a `Reader`. The bytes
may come from anybody, so unpacking trusts nothing: whatever is wrong raises `WireError`, and no memory is
taken because a number in the header says so.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import cache
from operator import attrgetter
from reprlib import repr as shown
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from flowedge.errors import UserError
from flowedge.values import InvalidValueError

ALIGN = 64
"""Every buffer begins at a multiple of so many bytes."""

MAX_ITEMS = 1 << 14
"""The longest list in a header: msgpack takes memory for a stated length before it reads the items."""

_MAX_DIMENSION = 1 << 30


class WireError(UserError):
    """A block that cannot be read or a value without a wire form; the message names the place and reason."""


@dataclass(frozen=True, slots=True)
class PlacedBuffer:
    """A buffer to write, `offset` bytes after the first: `source` in the leading columns of `shape`."""

    offset: int
    source: NDArray[Any]
    shape: tuple[int, ...]

    @property
    def length(self) -> int:
        """Bytes taken in the block."""
        return math.prod(self.shape) * self.source.itemsize

    def write_into(self, data: NDArray[np.uint8]) -> None:
        """Copy `source` into `length` bytes; columns that it does not fill become zero."""
        rows, filled = data.view(self.source.dtype).reshape(self.shape), self.source.shape[-1]
        rows[..., :filled] = self.source
        rows[..., filled:] = 0


class Writer:
    """Collects the buffers of a block. `jpeg` is the quality that pictures are compressed to, if at all."""

    def __init__(self, jpeg: int | None) -> None:
        self.jpeg, self.end = jpeg, 0
        self.parts: list[PlacedBuffer] = []

    def add(self, source: NDArray[Any], shape: tuple[int, ...]) -> list[object]:
        """Append a buffer and return its description for the header."""
        part = PlacedBuffer(aligned(self.end), source, shape)
        self.parts.append(part)
        self.end = part.offset + part.length
        return [_name_of(source.dtype), list(shape), part.offset, part.length]


class Reader:
    """Hands out views of the buffers of a block, each of which must lie behind the one before."""

    def __init__(self, data: NDArray[np.uint8]) -> None:
        self.data, self.end = data, 0

    def take(self, item: object, dtype: np.dtype[Any], dimensions: int) -> NDArray[Any]:
        """The array that `item` of the header describes. Raises `WireError` when it is not as demanded."""
        if type(item) is not tuple or tuple(map(type, item)) != (str, tuple, int, int):
            raise WireError(f"[dtype, shape, offset, length] is needed, {shown(item)} was given")
        name, shape, offset, length = item
        if name != _name_of(dtype):
            raise WireError(f"dtype {dtype.name} is needed, {shown(name)} was given")
        if len(shape) != dimensions or [n for n in shape if type(n) is not int or not 0 <= n <= _MAX_DIMENSION]:
            raise WireError(f"a shape of {dimensions} dimensions is needed, {shown(shape)} was given")
        if length != math.prod(shape) * dtype.itemsize:
            raise WireError(f"shape {shape} of {name} does not make a length of {length} bytes")
        if offset % ALIGN:
            raise WireError(f"offset {offset} is not a multiple of {ALIGN}")
        if not self.end <= offset <= offset + length <= len(self.data):
            raise WireError(
                f"bytes {offset} to {offset + length} do not lie between the buffer before, which ends at "
                f"{self.end}, and the end of the block at {len(self.data)}"
            )
        self.end = offset + length
        return self.data[offset : self.end].view(dtype).reshape(shape)


class Codec(NamedTuple):
    """How one field goes into the header, and how it comes back."""

    pack: Callable[[Any, Writer], Any]
    unpack: Callable[[Any, Reader], Any]


def plain(*types: type) -> Codec:
    """A value that msgpack has itself, of one of these types."""
    names = " or ".join("nil" if kind is type(None) else kind.__name__ for kind in types)

    def checked(value: Any, _context: object) -> Any:
        # To Python True is an integer; to other languages it is not.
        if not isinstance(value, types) or (isinstance(value, bool) and bool not in types):
            raise WireError(f"{names} is needed, {shown(value)} was given")
        return value

    return Codec(checked, checked)


def whole(low: int, high: int) -> Codec:
    """An integer from `low` to `high`."""

    def checked(value: Any, _context: object) -> Any:
        if not isinstance(value, int) or isinstance(value, bool) or not low <= value <= high:
            raise WireError(f"an integer from {low} to {high} is needed, {shown(value)} was given")
        return value

    return Codec(checked, checked)


def many(codec: Codec, count: int | None = None) -> Codec:
    """A tuple of `count` items of one kind, of any number when it is None."""

    def checked(value: Any) -> Any:
        if not isinstance(value, tuple | list) or (count is not None and len(value) != count):
            wanted = "a list" if count is None else f"a list of {count} items"
            raise WireError(f"{wanted} is needed, {shown(value)} was given")
        if len(value) > MAX_ITEMS:
            raise WireError(f"{len(value)} items are more than {MAX_ITEMS}")
        return value

    return Codec(
        lambda value, out: [codec.pack(item, out) for item in checked(value)],
        lambda item, source: tuple([codec.unpack(part, source) for part in checked(item)]),
    )


def optional(codec: Codec) -> Codec:
    """A value or nil."""
    return Codec(
        lambda value, out: None if value is None else codec.pack(value, out),
        lambda item, source: None if item is None else codec.unpack(item, source),
    )


def table(codec: Codec) -> Codec:
    """A map of text to values of one kind."""

    def convert(value: Any, step: Callable[[Any, Any], Any], context: object) -> dict[str, Any]:
        if not isinstance(value, Mapping) or not all(isinstance(name, str) for name in value):
            raise WireError(f"a map of str is needed, {shown(value)} was given")
        return {name: _at(shown(name), step, part, context) for name, part in value.items()}

    return Codec(
        lambda value, out: convert(value, codec.pack, out),
        lambda item, source: convert(item, codec.unpack, source),
    )


def array(name: str, dimensions: int) -> Codec:
    """An array in a buffer of its own, little-endian whatever the machine."""
    dtype = np.dtype(name).newbyteorder("<")
    return Codec(
        lambda value, out: out.add(value.astype(dtype, copy=False), value.shape),
        lambda item, source: source.take(item, dtype, dimensions),
    )


def one_of(codecs: Mapping[str, Codec], name_of: Callable[[Any], str]) -> Codec:
    """A value of one of several kinds, as a pair of the kind's name and its form."""

    def chosen(name: object) -> Codec:
        if not isinstance(name, str) or name not in codecs:
            raise WireError(f"one of {', '.join(codecs)} is needed, {shown(name)} was given")
        return codecs[name]

    def pack(found: Any, out: Writer) -> Any:
        name = name_of(found)
        return [name, chosen(name).pack(found, out)]

    def unpack(item: Any, source: Reader) -> Any:
        if not isinstance(item, tuple) or len(item) != 2:
            raise WireError(f"a kind and a value are needed, {shown(item)} was given")
        return chosen(item[0]).unpack(item[1], source)

    return Codec(pack, unpack)


def record(kind: type, fields: Mapping[str, Codec]) -> Codec:
    """A dataclass as a map of its fields. Its own rules are checked again when it is built from the map."""

    packers = [(name, codec.pack) for name, codec in fields.items()]
    unpackers = [(name, codec.unpack) for name, codec in fields.items()]

    def pack(value: Any, out: Writer) -> dict[str, Any]:
        packed, name = {}, ""
        try:
            for name, step in packers:
                packed[name] = step(getattr(value, name), out)
        except WireError as error:
            raise WireError(f"{name}: {error}") from error
        return packed

    def unpack(item: Any, source: Reader) -> Any:
        if not isinstance(item, dict) or not fields.keys() <= item.keys():
            raise WireError(_no_record(fields, item))
        parts, name = {}, ""
        try:
            for name, step in unpackers:
                parts[name] = step(item[name], source)
        except WireError as error:
            raise WireError(f"{name}: {error}") from error
        try:
            return kind(**parts)
        except InvalidValueError as error:
            raise WireError(str(error)) from error

    return Codec(pack, unpack)


def flat_record(kind: type, fields: Mapping[str, Codec], types: Mapping[str, type]) -> Codec:
    """A `record` whose fields nearly always have exactly these `types`, all of them str, int or float.

    They are looked at together then, in a third of the time: every frame has such a record.
    """
    names, exact = tuple(fields), tuple([types[name] for name in fields])
    get = attrgetter(*names)
    integers = attrgetter(*(name for name in names if types[name] is int))
    careful = record(kind, fields)

    def pack(value: Any, out: Writer) -> dict[str, Any]:
        parts = get(value)
        if tuple(map(type, parts)) == exact and _fit(integers(value)):
            return dict(zip(names, parts, strict=True))
        packed: dict[str, Any] = careful.pack(value, out)
        return packed

    def unpack(item: Any, source: Reader) -> Any:
        if isinstance(item, dict):
            parts = tuple(map(item.get, names))
            if tuple(map(type, parts)) == exact:
                value = kind(*parts)
                if _fit(integers(value)):
                    return value
        return careful.unpack(item, source)

    return Codec(pack, unpack)


def tagged(key: str, kinds: Mapping[str, tuple[type, Mapping[str, Codec]]]) -> Codec:
    """One of several records, told apart by the name that the map has under `key`."""
    names = {kind: name for name, (kind, _) in kinds.items()}
    records = {name: record(kind, fields) for name, (kind, fields) in kinds.items()}

    def pack(value: Any, out: Writer) -> dict[str, Any]:
        name = names.get(type(value))
        if name is None:
            raise WireError(f"{type(value).__name__} has no wire form")
        return {key: name, **_at(name, records[name].pack, value, out)}

    def unpack(item: Any, source: Reader) -> Any:
        name = item.get(key) if isinstance(item, dict) else None
        if not isinstance(name, str) or name not in records:
            raise WireError(f"a map whose {key} is one of {', '.join(records)} is needed, not {shown(item)}")
        return _at(name, records[name].unpack, item, source)

    return Codec(pack, unpack)


def aligned(position: int, unit: int = ALIGN) -> int:
    """The first multiple of `unit` that is not below `position`."""
    return -(-position // unit) * unit


@cache
def _name_of(dtype: np.dtype[Any]) -> str:
    """Its name, which numpy puts together each time."""
    return dtype.name


def _fit(integers: tuple[int, ...]) -> bool:
    """Whether they are those of 64 bits with a sign."""
    return min(integers) >= -(1 << 63) and max(integers) < 1 << 63


def _no_record(fields: Mapping[str, Codec], item: Any) -> str:
    needed = f"a map of {', '.join(fields)} is needed"
    missing = [name for name in fields if name not in item] if isinstance(item, dict) else []
    return f"{needed}, {', '.join(missing)} is missing" if missing else f"{needed}, {shown(item)} was given"


def _at(name: str, step: Callable[[Any, Any], Any], value: Any, context: object) -> Any:
    try:
        return step(value, context)
    except WireError as error:
        raise WireError(f"{name}: {error}") from error
