"""Messages between processes: every item comes back as it was, and whatever is no message is refused."""

from __future__ import annotations

import contextlib

import msgpack
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from flowedge.plane.item import End, Item
from flowedge.plane.transports.messages import Envelope, decode, encode, encode_end
from flowedge.values import Absent, Detections, Event, Frame, FrameId, Origin, Outcome
from flowedge.wire import blocks
from flowedge.wire.blocks import WireError, block

ORIGIN = Origin("north", 1, 3)

relaxed = settings(deadline=None)
integers = st.integers(-(2**63), 2**63 - 1)
texts = st.text(max_size=20)
frames = st.builds(FrameId, texts, integers, integers)
rects = st.tuples(integers, integers, integers, integers)
events = st.builds(Event, st.builds(Origin, texts), texts, st.dictionaries(texts, integers, max_size=3))
absents = st.builds(Absent, st.just(ORIGIN), st.sampled_from(Outcome), texts, texts)
values = events | absents | st.tuples(events, events)


@st.composite
def items(draw: st.DrawFn) -> Item:
    parts = draw(st.integers(1, 5))
    regions = draw(st.just(()) | st.tuples(*[st.none() | rects] * parts))
    partners = draw(st.lists(frames, max_size=3).map(tuple))
    part = draw(st.integers(0, parts - 1))
    return Item(draw(frames), draw(values), draw(st.booleans()), part, parts, regions, partners)


def assert_same(item: Item, other: Item) -> None:
    assert item[:1] + item[2:] == other[:1] + other[2:]
    assert blocks.encode(item.value) == blocks.encode(other.value)  # events are not compared by value


def unread(slot: bytes) -> bytes:
    raise AssertionError("nothing lies in a slot")


@relaxed
@given(items())
def test_item_comes_back(item: Item) -> None:
    envelope = decode(encode(item, block(item.value)))
    assert isinstance(envelope, Envelope)
    assert_same(envelope.item(unread), item)


@relaxed
@given(items(), st.binary(max_size=60))
def test_item_in_a_slot_comes_back(item: Item, slot: bytes) -> None:
    envelope = decode(encode(item, slot))
    assert isinstance(envelope, Envelope)
    assert envelope.slot == slot
    assert_same(envelope.item({slot: blocks.encode(item.value)}.__getitem__), item)


@given(texts, texts)
def test_end_comes_back(camera: str, behind: str) -> None:
    assert decode(encode_end(End(camera, behind))) == End(camera, behind)


def test_arrays_are_aligned_and_read_only_views() -> None:
    boxes = Detections(
        ORIGIN, np.ones((3, 4), np.float32), np.ones(3, np.float32), np.zeros(3, np.int32), ("car",)
    )
    for camera in ("n", "north" * 9):
        message = encode(Item(FrameId(camera, 0, 0), boxes, False), block(boxes))
        envelope = decode(message)
        assert isinstance(envelope, Envelope)
        value = envelope.item(unread).value
        assert value.boxes.flags.aligned
        assert not value.boxes.flags.writeable
        assert np.shares_memory(value.boxes, np.frombuffer(message, np.uint8))


def test_pair_with_a_picture_comes_back() -> None:
    image = np.arange(48, dtype=np.uint8).reshape(4, 4, 3)
    pair = (Frame(ORIGIN, image), Event(ORIGIN, "door"))
    envelope = decode(encode(Item(ORIGIN.frame_id, pair, False), block(pair)))
    assert isinstance(envelope, Envelope)
    frame, event = envelope.item(unread).value
    np.testing.assert_array_equal(frame.image, image)
    assert (event.origin, event.kind) == (ORIGIN, "door")


# ---------------------------------------------------------------- garbage


def opened(message: bytes) -> None:
    """Read a message to the end. Only `WireError` may come of it."""
    with contextlib.suppress(WireError):
        content = decode(message)
        if isinstance(content, Envelope):
            content.item(lambda slot: slot)


@relaxed
@given(st.binary(max_size=200))
def test_random_bytes_are_refused(message: bytes) -> None:
    with pytest.raises(WireError):
        decode(message)


@relaxed
@given(items(), st.data())
def test_damaged_message_is_refused_or_read(item: Item, data: st.DataObject) -> None:
    message = encode(item, block(item.value))
    at = data.draw(st.integers(0, len(message) - 1))
    message[at] ^= data.draw(st.integers(1, 255))
    opened(bytes(message))
    opened(bytes(message[: data.draw(st.integers(0, len(message)))]))


HEADER = ["item", ["north", 0, 1], False, 0, 2, [], [], b""]


@pytest.mark.parametrize(
    ("at", "wrong", "reason"),
    [
        (0, "other", "or .* is needed, .'other'"),
        (1, ["north", 0], r"\[camera, session, index\] is needed"),
        (1, ["north", 0, "1"], r"\[camera, session, index\] is needed"),
        (2, 1, "is needed, .'item'"),
        (3, 2, "part 2 of 2 cannot be"),
        (3, -1, "part -1 of 2 cannot be"),
        (4, 0, "part 0 of 0 cannot be"),
        (4, 1 << 40, "part 0 of 1099511627776 cannot be"),
        (5, [None], "1 regions were given for 2 parts"),
        (5, [None, [0, 0, 1]], r"\[x1, y1, x2, y2\] or nil is needed"),
        (6, ["south"], r"\[camera, session, index\] is needed"),
        (7, "text", "descriptor or nil is needed"),
    ],
)
def test_what_is_wrong_is_named(at: int, wrong: object, reason: str) -> None:
    header = msgpack.packb([*HEADER[:at], wrong, *HEADER[at + 1 :]])
    with pytest.raises(WireError, match=reason):
        decode(b"FEWM" + (1).to_bytes(4, "little") + len(header).to_bytes(4, "little") + header)


def test_another_version_is_named() -> None:
    message = encode_end(End("north"))
    message[4] = 9
    with pytest.raises(WireError, match="version 9"):
        decode(message)
