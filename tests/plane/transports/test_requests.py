"""What a run and its workers say survives the way, and nothing else is taken for it."""

from __future__ import annotations

from typing import Any

import msgpack
import pytest
from hypothesis import given
from hypothesis import strategies as st

from flowedge import Event, Origin
from flowedge.plane.transports.requests import (
    Done,
    Failed,
    Failure,
    Flush,
    Gave,
    Host,
    Import,
    Imported,
    LogLine,
    Message,
    Ready,
    Reply,
    Report,
    Request,
    Restore,
    Retire,
    Service,
    Snapshot,
    pack,
    unpack,
)
from flowedge.wire.blocks import block, decode
from flowedge.wire.fields import WireError

counts = st.integers(0, (1 << 63) - 1)
numbers = st.floats(allow_nan=False)
texts = st.text(st.characters(codec="utf-8"))
failures = st.builds(Failure, texts, texts, texts, texts)
services = st.lists(st.builds(Service, numbers, st.sampled_from(Gave)), max_size=4).map(tuple)
messages: st.SearchStrategy[Message] = st.one_of(
    st.builds(Host, texts),
    st.builds(Import, texts),
    st.builds(Imported, texts),
    st.builds(Retire),
    st.builds(Request, st.none() | st.binary()),
    st.builds(Flush, texts),
    st.builds(Snapshot, texts),
    st.builds(Restore, texts, st.none() | counts),
    st.builds(Ready),
    st.builds(Report, numbers, counts, counts, st.none() | st.dictionaries(texts, counts)),
    st.builds(LogLine, texts, counts, texts, texts),
    st.builds(Done),
    st.builds(Failed, failures),
    st.builds(Reply, services, st.none() | st.binary(), st.none() | failures),
)


@given(counts, texts, messages, st.binary())
def test_every_message_comes_back_as_it_was(number: int, instance: str, message: Message, body: bytes) -> None:
    envelope = unpack(pack(number, instance, message, body))
    assert (envelope.number, envelope.instance, envelope.message) == (number, instance, message)
    assert bytes(envelope.body) == body
    assert envelope.body.readonly


def test_a_block_in_a_message_is_read_in_place() -> None:
    event = Event(Origin("north", index=3), "door", {"open": True})
    read = decode(unpack(pack(1, "Detect", Request(), block(event))).body)
    assert isinstance(read, Event)
    assert (read.origin, read.data) == (event.origin, event.data)


@given(st.binary())
def test_bytes_that_are_no_message_are_refused(data: bytes) -> None:
    with pytest.raises(WireError):
        unpack(data)


@given(messages, st.data())
def test_a_message_with_one_wrong_byte_is_refused_or_another_message(message: Message, data: Any) -> None:
    packed = pack(7, "Detect", message, b"body")
    position = data.draw(st.integers(0, len(packed) - 1))
    packed[position] ^= data.draw(st.integers(1, 255))
    try:
        envelope = unpack(packed)
    except WireError:
        return
    assert isinstance(envelope.message, Message)


@given(messages, st.data())
def test_a_message_that_is_cut_off_is_refused(message: Message, data: Any) -> None:
    packed = pack(7, "Detect", message)
    with pytest.raises(WireError):
        unpack(packed[: data.draw(st.integers(0, len(packed) - 1))])


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        ([7, "Detect"], "a number, an instance and a message are needed"),
        ([-1, "Detect", {"type": "retire"}], "an integer from 0"),
        ([7, 8, {"type": "retire"}], "str is needed"),
        ([7, "Detect", {"type": "reboot"}], "one of host, import, retire"),
        ([7, "Detect", {"type": "flush"}], "camera is missing"),
        ([7, "Detect", {"type": "flush", "camera": 3}], "flush: camera: str is needed, 3 was given"),
        ([7, "Detect", {"type": "reply", "services": [[1, "lost"]], "slot": None, "failure": None}], "lost"),
    ],
)
def test_what_is_wrong_with_a_header_is_said(content: Any, reason: str) -> None:
    header = msgpack.packb(content)
    data = b"FEWR" + (1).to_bytes(4, "little") + len(header).to_bytes(8, "little") + header
    with pytest.raises(WireError, match=reason):
        unpack(data)


def test_another_version_is_named() -> None:
    data = pack(7, "Detect", Retire())
    data[4] = 9
    with pytest.raises(WireError, match="version 9, and this FlowEdge reads version 1 only"):
        unpack(data)
