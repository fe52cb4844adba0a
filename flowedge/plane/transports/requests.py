"""The wire form of what a run and its workers say to each other: requests, answers and control.

A message is a preamble, a header and a body, which may be empty. Everything is little-endian.

    at      bytes   content
    0       4       magic: the letters FEWR
    4       4       format version, unsigned: 1
    8       8       length H of the header in bytes, unsigned, at most 1 MiB
    16      H       header: one msgpack array
    D       ...     body: a value's block, or a state; D is the first multiple of 64 not below 16 + H

The header is [number, instance, message]: `instance` is "" for the worker itself, a reply has the number of
what it replies to, and the message is a map with the fields of one of the classes below, whose name stands
under `type`. What breaks these rules is refused with `WireError`, whatever the bytes are.
"""

from __future__ import annotations

import struct
from collections.abc import Mapping
from dataclasses import dataclass, fields
from enum import Enum
from typing import TYPE_CHECKING, Any, NamedTuple, TypeAlias

import msgpack  # type: ignore[import-untyped]
import numpy as np

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
    table,
    tagged,
    whole,
)

if TYPE_CHECKING:
    from typing_extensions import Buffer

    from flowedge.wire.blocks import Block

_PREAMBLE = struct.Struct("<4sIQ")
_MAGIC, _VERSION = b"FEWR", 1
_MAX_HEADER = 1 << 20


@dataclass(frozen=True, slots=True)
class Host:
    """To a worker: set up an instance of a chain. `steps`: JSON, a list as `graph.serialization` has it.

    `files`: the text, by name, of files that the steps need and the worker's machine does not have.
    """

    steps: str
    files: Mapping[str, str] | None = None


@dataclass(frozen=True, slots=True)
class Import:
    """To a worker: import these `modules`, one a line, as far as they can be: it may need them soon."""

    modules: str


@dataclass(frozen=True, slots=True)
class Retire:
    """To an instance: close the steps and end, once what came before has been answered."""


@dataclass(frozen=True, slots=True)
class Request:
    """To an instance: work on the value in the body, or in the `slot` of the sender's shared memory."""

    slot: bytes | None = None


@dataclass(frozen=True, slots=True)
class Flush:
    """To an instance: the camera's stream has ended."""

    camera: str


@dataclass(frozen=True, slots=True)
class Snapshot:
    """To an instance: reply with the camera's state in the body."""

    camera: str


@dataclass(frozen=True, slots=True)
class Restore:
    """To an instance: take over the state in the body, if there is one.

    Unless `epoch` is None, other copies may have given out identities that are not in that state: begin
    with those of this epoch.
    """

    camera: str
    epoch: int | None = None


@dataclass(frozen=True, slots=True)
class Ready:
    """From a worker: it listens."""


@dataclass(frozen=True, slots=True)
class Imported:
    """From a worker: what it has set up needed these `modules`, one a line."""

    modules: str


@dataclass(frozen=True, slots=True)
class Report:
    """From a worker, once a second: CPU seconds so far and resident bytes; `refused` messages.

    `notes` has what the steps of its instances say under "instance/step/note".
    """

    cpu_seconds: float
    memory: int
    refused: int = 0
    notes: Mapping[str, int] | None = None


@dataclass(frozen=True, slots=True)
class LogLine:
    """From a worker: what it logged, with the traceback if there was one."""

    logger: str
    level: int
    text: str
    traceback: str = ""


@dataclass(frozen=True, slots=True)
class Done:
    """From an instance: what it was told has been done."""


@dataclass(frozen=True, slots=True)
class Failure:
    """An exception: the name of its class and of the class of ours that it is one of, its message."""

    name: str
    base: str
    message: str
    traceback: str = ""


class Gave(Enum):
    """What a step made of a value."""

    VALUE = "value"
    FILTERED = "filtered"
    ABSENT = "absent"
    FAILED = "failed"


class Service(NamedTuple):
    """How long a step worked on a value, in seconds, and what it gave."""

    seconds: float
    gave: Gave


@dataclass(frozen=True, slots=True)
class Reply:
    """From an instance: what its steps made of a value, in order, those that it did not get to left out.

    The last of them gave the result: a value in the body or in the `slot` of the sender's shared memory, an
    `Absent` likewise, nothing where it was filtered, or the `failure`. Without `services`, the request was not
    worked on: its slot was lost.
    """

    services: tuple[Service, ...]
    slot: bytes | None = None
    failure: Failure | None = None


@dataclass(frozen=True, slots=True)
class Failed:
    """From an instance: what it was told could not be done."""

    failure: Failure


@dataclass(frozen=True, slots=True)
class Joined:
    """From another machine: it is there, and what it is like.

    `version` of FlowEdge, `python` as in "3.11", `tier` in the user's words, `memory` in bytes.
    """

    version: str
    python: str
    tier: str
    cores: int
    memory: int


@dataclass(frozen=True, slots=True)
class Launch:
    """To another machine: start a worker's process; `parameters` and `level` as in the worker's settings."""

    token: str
    parameters: Mapping[str, str]
    level: int
    threads: int | None = None


@dataclass(frozen=True, slots=True)
class Launched:
    """From another machine: a worker's process has this id."""

    token: str
    pid: int


@dataclass(frozen=True, slots=True)
class End:
    """To another machine: ask a worker's process to end, or (`now`) kill it."""

    token: str
    now: bool


@dataclass(frozen=True, slots=True)
class Ended:
    """From another machine: a worker's process has ended; `reason` says how."""

    token: str
    reason: str


Order: TypeAlias = Host | Import | Retire | Request | Flush | Snapshot | Restore
"""What a worker and its instances are told."""

Message: TypeAlias = (
    Order
    | Ready
    | Imported
    | Report
    | LogLine
    | Done
    | Failed
    | Reply
    | Joined
    | Launch
    | Launched
    | End
    | Ended
)


@dataclass(frozen=True, slots=True)
class Envelope:
    """One message; `body` is a view of the bytes that came."""

    number: int
    instance: str
    message: Message
    body: memoryview


def pack(number: int, instance: str, message: Message, body: Block | bytes = b"") -> bytearray:
    """The bytes of a message, in one allocation into which a block is written once.

    Raises `WireError` where a field is not what its class declares.

    >>> envelope = unpack(pack(7, "Detect", Flush("north")))
    >>> envelope.number, envelope.instance, envelope.message
    (7, 'Detect', Flush(camera='north'))
    """
    try:
        header: bytes = msgpack.packb([number, instance, _MESSAGE.pack(message, _NO_WRITER)])
    except (ValueError, OverflowError) as error:
        raise WireError(f"the message does not fit msgpack: {error}") from error
    if len(header) > _MAX_HEADER:
        raise WireError(f"{type(message).__name__} needs a header of {len(header)} bytes, above {_MAX_HEADER}")
    head = _PREAMBLE.pack(_MAGIC, _VERSION, len(header)) + header
    size = len(body) if isinstance(body, bytes) else body.size
    if not size:
        return bytearray(head)
    start = aligned(len(head))
    data = bytearray(start + size)
    data[: len(head)] = head
    if isinstance(body, bytes):
        data[start:] = body
    else:
        body.write_into(memoryview(data)[start:])
    return data


def unpack(data: Buffer) -> Envelope:
    """What the bytes say; the body is not looked at. Raises `WireError` for anything but a message."""
    view = memoryview(data).cast("B").toreadonly()
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
    if not isinstance(header, tuple) or len(header) != 3:
        raise WireError("a number, an instance and a message are needed")
    number, instance, content = header
    message: Message = _MESSAGE.unpack(content, _NO_READER)
    return Envelope(
        _COUNT.unpack(number, _NO_READER), _TEXT.unpack(instance, _NO_READER), message, view[aligned(end) :]
    )


def _unpack_service(item: Any, source: Reader) -> Service:
    if not isinstance(item, tuple) or len(item) != 2:
        raise WireError("seconds and an outcome are needed")
    try:
        return Service(_NUMBER.unpack(item[0], source), Gave(item[1]))
    except ValueError as error:
        raise WireError(str(error)) from error


_NO_WRITER, _NO_READER = Writer(None), Reader(np.empty(0, np.uint8))
_TEXT, _NUMBER = plain(str), plain(float, int)
_COUNT = whole(0, (1 << 63) - 1)
_BY_TYPE = {
    "str": _TEXT,
    "int": _COUNT,
    "float": _NUMBER,
    "int | None": optional(_COUNT),
    "bytes | None": optional(plain(bytes)),
    "Mapping[str, int] | None": optional(table(_COUNT)),
    "Mapping[str, str]": table(_TEXT),
    "Mapping[str, str] | None": optional(table(_TEXT)),
    "bool": plain(bool),
}


def _codecs(kind: type) -> dict[str, Codec]:
    return {field.name: _BY_TYPE[str(field.type)] for field in fields(kind)}


_FAILURE_FIELDS = {"failure": (Failure, _codecs(Failure))}
_FAILURE = tagged("type", _FAILURE_FIELDS)
_BY_TYPE |= {
    "Failure": _FAILURE,
    "Failure | None": optional(_FAILURE),
    "tuple[Service, ...]": many(
        Codec(lambda service, _: [service.seconds, service.gave.value], _unpack_service)
    ),
}
_KINDS: tuple[type, ...] = Message.__args__
_MESSAGE = tagged("type", {kind.__name__.lower(): (kind, _codecs(kind)) for kind in _KINDS})
