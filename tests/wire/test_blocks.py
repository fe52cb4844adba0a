"""The wire form: every value comes back as it was, and whatever is not a block is refused with a reason."""

from __future__ import annotations

import struct
import subprocess
import sys
import tracemalloc
from dataclasses import fields, replace
from fractions import Fraction
from types import MappingProxyType

import av
import msgpack
import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays

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
)
from flowedge.wire.blocks import WireError, block, decode, encode

ORIGIN = Origin("north", 1, 3, 0.125, 12.5, 0.25, 7.5, 640, 480)
FORMATS = ["yuv420p", "yuvj420p", "nv12", "gray", "bgr24", "rgb24"]
OTHERS = [
    "yuv422p",
    "yuyv422",
    "uyyvyy411",
    "yuv444p",
    "yuv420p10le",
    "p010le",
    "rgba",
    "gbrp",
    "monow",
    "gray16be",
]

relaxed = settings(deadline=None, max_examples=60, suppress_health_check=[HealthCheck.too_slow])

# ---------------------------------------------------------------- values at random

integers = st.integers(-(2**63), 2**63 - 1)
floats = st.floats()
texts = st.text(max_size=20)
rects = st.tuples(integers, integers, integers, integers)
origins = st.builds(
    Origin, texts, integers, integers, floats, floats, floats, floats, integers, integers, integers, integers
)
scalars = st.none() | st.booleans() | integers | floats | texts
names = st.lists(texts, min_size=1, max_size=90).map(tuple)


def columns(dtype: str, *shape: int) -> st.SearchStrategy[np.ndarray]:
    return arrays.arrays(dtype, shape, elements={"allow_nan": True} if dtype == "float32" else None)


FINITE = {"allow_nan": False, "allow_infinity": False}


@st.composite
def detections(draw: st.DrawFn, kind: type[Detections] = Detections) -> Detections:
    count = draw(st.integers(0, 40))
    labels = draw(st.just(()) | names)
    classes = arrays.arrays("int32", (count,), elements=st.integers(0, len(labels) - 1) if labels else None)
    corners = draw(
        arrays.arrays("float32", (count, 2, 2), elements={"allow_nan": False, "allow_infinity": False})
    )
    boxes = np.concatenate([corners.min(axis=1), corners.max(axis=1)], axis=1)
    scores = draw(arrays.arrays("float32", (count,), elements={"min_value": 0, "max_value": 1}))
    given = (boxes, scores, draw(classes), labels)
    given += (tuple(draw(st.lists(rects, max_size=3))), draw(st.none() | rects))
    if kind is Tracks:
        given += (draw(columns("int64", count)),)
    if kind is Faces:
        given += (draw(columns("float32", count, draw(st.integers(0, 512 if count < 3 else 8)))),)
        given += (draw(columns("float32", count, draw(st.integers(0, 5)), 2)),)
    return kind(draw(origins), *given)


ratios = st.builds(Fraction, integers, st.integers(1, 2**63 - 1))
sizes = st.integers(0, 1 << 16)
parameters = st.builds(
    CodecParameters,
    texts,
    st.binary(min_size=4, max_size=4),
    st.binary(max_size=200),
    sizes,
    sizes,
    st.none() | texts,
    st.integers(0, 1 << 10),
    ratios,
    st.integers(1, 8),
    st.integers(0, 16),
)


def packets_with(preroll: st.SearchStrategy[tuple[Packet, ...]]) -> st.SearchStrategy[Packet]:
    return st.builds(
        Packet,
        origins,
        arrays.arrays("uint8", st.integers(0, 3000)),
        parameters,
        st.booleans(),
        ratios,
        st.none() | integers,
        st.none() | integers,
        st.booleans(),
        st.dictionaries(texts, st.binary(max_size=20), max_size=3),
        preroll,
    )


packets = packets_with(st.lists(packets_with(st.just(())), max_size=2).map(tuple))
images = arrays.arrays("uint8", st.tuples(st.integers(1, 20), st.integers(1, 20), st.just(3)))
frames = st.builds(Frame, origins, images, rects)
events = st.builds(Event, origins, texts, st.dictionaries(texts, scalars, max_size=6))
absents = st.builds(Absent, origins, st.sampled_from(Outcome), texts, texts)


def picture(width: int, height: int, name: str, seed: int = 0) -> av.VideoFrame:
    made = av.VideoFrame(width, height, name)
    random = np.random.default_rng(seed)
    for plane in made.planes:
        plane.update(random.integers(0, 256, plane.buffer_size, np.uint8).tobytes())
    made.colorspace, made.color_range = 1, 2
    return made


natives = st.builds(
    lambda origin, *what: Frame(origin, picture(*what)),
    origins,
    st.integers(1, 70),
    st.integers(1, 40),
    st.sampled_from(FORMATS + OTHERS),
    st.integers(0, 99),
)
values = st.one_of(
    packets, frames, natives, events, absents, detections(), detections(Tracks), detections(Faces)
)
messages = values | st.tuples(values, values)

SAMPLES = [
    Packet(
        ORIGIN,
        np.arange(70, dtype=np.uint8),
        CodecParameters("h264", b"avc1", b"\0\1", 720, 576, None, 24, Fraction(16, 15), 6),
        True,
        Fraction(1, 90000),
        -5,
        None,
        True,
        {"palette": b"\1\2"},
        (
            Packet(
                Origin("north"), np.arange(3, dtype=np.uint8), CodecParameters("h264"), True, Fraction(1, 25)
            ),
        ),
    ),
    Frame(ORIGIN, np.arange(36, dtype=np.uint8).reshape(3, 4, 3), (1, 2, 3, 4)),
    Frame(ORIGIN, picture(6, 4, "yuv420p")),
    Frame(ORIGIN, picture(5, 3, "yuv422p")),
    Detections(ORIGIN, [[0, 1, 2, 3]], [0.5], [1], ("person", "çar"), ((0, 0, 9, 9),), (0, 0, 5, 5)),
    Tracks(ORIGIN, [[0, 1, 2, 3]] * 2, [0.5, 0.6], [1, 0], ids=np.array([7, -8])),
    Faces(ORIGIN, [[0, 1, 2, 3]], [0.5], [0], (), (), None, np.ones((1, 20)), np.ones((1, 5, 2))),
    Faces(ORIGIN, [[0, 1, 2, 3]] * 2, [0.5] * 2, [0] * 2),
    Event(ORIGIN, "door", {"open": True, "angle": 3.5, "who": None, "count": 2, "name": "Ω", "in": (1, "x")}),
    Absent(ORIGIN, Outcome.DROPPED, "newer frame", "Detect"),
    Detections(
        ORIGIN,
        [[0, 1, 2, 3]] * 2,
        [0.5, 0.6],
        [1, 0],
        attributes={"parked": [True, False], "axles": [2, -3], "speed": [0.5, np.nan], "plate": ["Ä 1", ""]},
    ),
    (Event(ORIGIN, "door"), Detections(ORIGIN, [], [], [])),
]


# ---------------------------------------------------------------- comparing


def shape(value: object) -> object:
    """What must be equal after a round trip: arrays with dtype and shape, pictures with format and pixels."""
    match value:
        case np.ndarray():
            return value.dtype.str, value.shape, value.tobytes()
        case av.VideoFrame():
            colour = value.colorspace, value.color_range
            return value.format.name, value.width, value.height, colour, visible(value)
        case tuple() | list():
            return type(value), [shape(item) for item in value]
        case float():
            return struct.pack("<d", value)
        case dict() | MappingProxyType():
            return {key: (type(item), shape(item)) for key, item in value.items()}
        case _ if hasattr(value, "__dataclass_fields__"):
            return type(value), {
                field.name: shape(getattr(value, field.name)) for field in fields(value) if field.init
            }
        case _:
            return value


def visible(value: av.VideoFrame) -> list[bytes]:
    """The pixels as FFmpeg's raw video encoder writes them, which has its own idea of where they lie."""
    codec = av.CodecContext.create("rawvideo", "w")
    codec.width, codec.height, codec.pix_fmt = value.width, value.height, value.format.name
    codec.time_base = Fraction(1, 25)
    value.pts, value.time_base = 0, Fraction(1, 25)
    return [bytes(packet) for packet in [*codec.encode(value), *codec.encode(None)]]


def same(a: object, b: object) -> bool:
    return shape(a) == shape(b)


@relaxed
@given(messages)
def test_values_come_back_as_they_were(message):
    data = encode(message)
    assert same(decode(data), message)
    assert encode(decode(bytes(data))) == data


@pytest.mark.parametrize("name", FORMATS + OTHERS)
@pytest.mark.parametrize("size", [(17, 13), (64, 48), (1, 1), (2, 2), (960, 6), (322, 10)])
def test_native_pictures_come_back(name, size):
    frame = Frame(ORIGIN, picture(*size, name))
    back = decode(encode(frame))
    assert same(back, frame)
    assert np.array_equal(back.image, frame.image)


def test_lists_of_names_and_large_columns():
    count = 20000
    boxes = np.random.default_rng(0).random((count, 4), np.float32) + np.array([0, 0, 1, 1], np.float32)
    found = Tracks(ORIGIN, boxes, boxes[:, 0], np.arange(count), ids=np.arange(count) - 10)
    assert same(decode(encode(found)), found)


def test_a_crop_and_a_picture_stored_upside_down():
    image = np.random.default_rng(0).integers(0, 256, (48, 64, 3), np.uint8)
    crop = Frame(Origin("n", width=64, height=48), image).crop((3, 5, 40, 31), tile=1, tiles=4)
    assert same(decode(encode(crop)), crop)

    graph = av.filter.Graph()
    graph.link_nodes(
        graph.add_buffer(width=18, height=14, format=av.VideoFormat("yuv420p"), time_base=Fraction(1, 25)),
        graph.add("vflip"),
        graph.add("buffersink"),
    ).configure()
    upright = picture(18, 14, "yuv420p")
    upright.pts, upright.time_base = 0, Fraction(1, 25)
    graph.push(upright)
    flipped = graph.pull()
    assert flipped.planes[0].line_size < 0
    assert same(decode(encode(Frame(ORIGIN, flipped))), Frame(ORIGIN, flipped))


# ---------------------------------------------------------------- copies


@pytest.mark.parametrize("made", [picture(1280, 720, "yuv420p"), np.zeros((720, 1280, 3), np.uint8)])
def test_a_pixel_is_copied_once(made):
    frame = Frame(ORIGIN, made)
    encode(frame)
    tracemalloc.start()
    data = encode(frame)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.reset_peak()
    back = decode(data)
    more = tracemalloc.get_traced_memory()[1] - len(data)
    tracemalloc.stop()
    assert peak <= 1.1 * len(data)
    assert more <= 0.1 * len(data)
    assert back.width == 1280


@pytest.mark.parametrize("name", FORMATS)
@pytest.mark.parametrize("kind", [bytes, bytearray])
def test_pictures_lie_over_the_buffer(name, kind):
    data = kind(encode(Frame(ORIGIN, picture(60, 52, name))))
    whole = np.frombuffer(data, np.uint8)
    for plane in decode(data).picture.planes:
        assert np.shares_memory(np.frombuffer(memoryview(plane), np.uint8), whole)


def test_arrays_lie_over_the_buffer_at_any_address():
    found = SAMPLES[6]
    data = encode(found)
    shifted = memoryview(b"x" + data)[1:]
    back = decode(shifted)
    assert same(back, found)
    assert np.shares_memory(back.embeddings, np.frombuffer(shifted, np.uint8))
    frame = SAMPLES[2]
    assert same(decode(memoryview(b"x" + encode(frame))[1:]), frame)


def test_a_picture_keeps_its_buffer_alive():
    frame = Frame(ORIGIN, picture(64, 48, "yuv420p"))
    back = decode(encode(frame))
    [encode(frame) for _ in range(20)]
    assert same(back, frame)


@relaxed
@given(messages, st.integers(0, 200))
def test_written_into_memory_with_old_contents(message, spare):
    laid = block(message)
    memory = bytearray(b"\xaa" * (laid.size + spare))
    laid.write_into(memory)
    assert memory[: laid.size] == encode(message)
    assert memory[laid.size :] == b"\xaa" * spare
    assert same(decode(memory), message)


def test_memory_that_cannot_take_the_block():
    laid = block(SAMPLES[0])
    with pytest.raises(WireError, match=rf"{laid.size} bytes is needed, this one is {laid.size - 1} bytes"):
        laid.write_into(bytearray(laid.size - 1))
    with pytest.raises(WireError, match="read-only"):
        laid.write_into(bytes(laid.size))


# ---------------------------------------------------------------- JPEG


@pytest.mark.parametrize("name", ["array", "yuv420p"])
def test_jpeg(name):
    smooth = np.repeat(np.repeat(np.arange(48, dtype=np.uint8)[:, None], 64, 1)[..., None], 3, 2) * 4
    made = smooth if name == "array" else av.VideoFrame.from_ndarray(smooth, "bgr24").reformat(format=name)
    frame = Frame(ORIGIN, made, (5, 6, 70, 80))
    data = encode(frame, jpeg=80)
    back = decode(data)
    assert len(data) < smooth.nbytes / 4
    assert (back.origin, back.region, back.image.shape) == (ORIGIN, (5, 6, 70, 80), smooth.shape)
    assert np.abs(back.image.astype(int) - smooth).mean() < 3
    pair = decode(encode((frame, SAMPLES[4]), jpeg=80))
    assert isinstance(pair[0].picture, np.ndarray)
    assert same(pair[1], SAMPLES[4])
    assert encode(SAMPLES[4], jpeg=80) == encode(SAMPLES[4])


def test_a_picture_too_wide_for_jpeg():
    with pytest.raises(WireError, match="70000 x 1 pixels are too many"):
        encode(Frame(ORIGIN, np.zeros((1, 70000, 3), np.uint8)), jpeg=80)


# ---------------------------------------------------------------- what is not a block


@pytest.mark.parametrize("sample", SAMPLES)
def test_cut_off_anywhere(sample):
    data = encode(sample)
    for length in range(len(data)):
        with pytest.raises(WireError):
            decode(data[:length])


def survive(data: bytes) -> None:
    """Whatever the bytes, decoding gives a value that can be looked at or raises `WireError`."""
    try:
        message = decode(data)
    except WireError:
        return
    for value in message if isinstance(message, tuple) else (message,):
        if isinstance(value, Frame):
            shape(value.picture)


@settings(relaxed, max_examples=300)
@given(st.sampled_from([*map(encode, SAMPLES), encode(SAMPLES[1], jpeg=80)]), st.data())
def test_flipped_bytes(data, draw):
    damaged = bytearray(data)
    within = min(len(data), 600)
    for _ in range(draw.draw(st.integers(1, 4))):
        damaged[draw.draw(st.integers(0, within - 1))] ^= draw.draw(st.integers(1, 255))
    survive(damaged)


def test_every_header_byte_at_every_extreme():
    for sample in SAMPLES:
        data = encode(sample)
        end = 24 + struct.unpack_from("<Q", data, 16)[0]
        for at in range(end):
            for other in (0, 0x7F, 0x80, 0xC0, 0xD9, 0xFF, data[at] ^ 1):
                damaged = bytearray(data)
                damaged[at] = other
                survive(damaged)


@relaxed
@given(st.binary(max_size=300))
def test_random_bytes(data):
    with pytest.raises(WireError):
        decode(data)
    survive(made(data))


def made(header: object, buffers: bytes = b"", version: int = 2) -> bytes:
    """A block with any header at all, as another program may write it."""
    packed = header if isinstance(header, bytes) else msgpack.packb(header)
    size = -(-(24 + len(packed)) // 64) * 64 + len(buffers)
    head = struct.pack("<4sIQQ", b"FEWB", version, size, len(packed)) + packed
    return head.ljust(size - len(buffers), b"\0") + buffers


ANY = st.recursive(
    scalars | st.binary(max_size=9), lambda inner: st.lists(inner, max_size=4) | st.dictionaries(texts, inner)
)


def header_of(sample: object) -> tuple[dict, bytes]:
    data = encode(sample)
    length = struct.unpack_from("<Q", data, 16)[0]
    return msgpack.unpackb(data[24 : 24 + length]), bytes(data[-(-(24 + length) // 64) * 64 :])


@settings(relaxed, max_examples=150)
@given(st.sampled_from(SAMPLES), st.data())
def test_any_field_replaced_by_anything(sample, draw):
    header, buffers = header_of(sample)
    place: object = header
    while True:
        key = draw.draw(st.sampled_from(sorted(place) if isinstance(place, dict) else range(len(place))))
        if not (isinstance(place[key], dict | list) and place[key] and draw.draw(st.booleans())):
            break
        place = place[key]
    if isinstance(place, dict) and draw.draw(st.booleans()):
        del place[key]
    else:
        place[key] = draw.draw(ANY | integers)
    survive(made(header, buffers))


def changed(sample: object, **other: object) -> bytes:
    header, buffers = header_of(sample)
    return made({**header, **other}, buffers)


def described(**other: object) -> bytes:
    header, buffers = header_of(PACKET)
    return made({**header, "parameters": {**header["parameters"], **other}}, buffers)


def pictured(sample: object, **other: object) -> bytes:
    header, buffers = header_of(sample)
    return made({**header, "picture": {**header["picture"], **other}}, buffers)


PACKET, BGR, YUV, PLANES, FOUND, TRACKS = SAMPLES[:6]
EVENT, ABSENT = SAMPLES[8:10]
PAIR = SAMPLES[-1]
BOXES = ["float32", [1, 4], 0, 16]
GOOD = bytes(encode(FOUND))


@pytest.mark.parametrize(
    ("data", "reason"),
    [
        (b"", "0 bytes are too few"),
        (b"JUNK" + GOOD[4:], "not a block: it begins with b'JUNK'"),
        (made({}, version=1), "the block has format version 1, and this FlowEdge reads version 2 only: run"),
        (GOOD[:4] + b"\3" + GOOD[5:], "the block has format version 3"),
        (GOOD[:-1], r"cut off: \d+ of \d+ bytes"),
        (
            GOOD[:16] + struct.pack("<Q", 2**63) + GOOD[24:],
            "a header of 9223372036854775808 bytes does not fit",
        ),
        (GOOD[:8] + struct.pack("<QQ", 5, 0) + GOOD[24:], "a header of 0 bytes does not fit a block of 5"),
        (made(b"\xc1"), "the header is not the msgpack"),
        (made(b"\x81\xa4ty"), "the header is not the msgpack"),
        (made(b"\x81\xa1\xff\x00"), "the header is not the msgpack"),
        (made(b"\x81\x01\x02"), "the header is not the msgpack"),
        (made(b"\xc7\x01\x05x"), "max_ext_len"),
        (made(b"\xdd\x00\x10\x00\x00"), "max_array_len"),
        (made(b"\x91" * 5000), "the header is not the msgpack"),
        (made([1, 2]), "a map whose type is one of packet, .*, pair is needed"),
        (made({}), "a map whose type"),
        (changed(FOUND, type="sounds"), "a map whose type"),
        (changed(FOUND, type=[{}]), "a map whose type"),
        (
            made({"type": "event"}),
            "event: a map of origin, kind, data is needed, origin, kind, data is missing",
        ),
        (changed(FOUND, origin=7), "detections: origin: a map of camera, .* 7 was given"),
        (changed(FOUND, origin={**header_of(FOUND)[0]["origin"], "index": "x"}), "origin: index: an integer"),
        (changed(FOUND, origin={**header_of(FOUND)[0]["origin"], "index": True}), "index: .* True was given"),
        (changed(FOUND, origin={**header_of(FOUND)[0]["origin"], "index": 1 << 63}), "index: an integer from"),
        (
            changed(FOUND, origin={**header_of(FOUND)[0]["origin"], "time": None}),
            "time: float or int is needed",
        ),
        (changed(FOUND, names=["a", 1]), "names: str is needed, 1 was given"),
        (changed(FOUND, names=["a"]), "Detections.classes: 1..1 found, but names has 1"),
        (changed(FOUND, missing=[[1, 2, 3]]), "missing: a list of 4 items is needed"),
        (changed(FOUND, boxes=7), r"boxes: \[dtype, shape, offset, length\] is needed, 7"),
        (changed(FOUND, boxes=["object", [1, 4], 0, 16]), "boxes: dtype float32 is needed, 'object'"),
        (changed(FOUND, boxes=["float32", [4], 0, 16]), "boxes: a shape of 2 dimensions"),
        (changed(FOUND, boxes=["float32", [-1, 4], 0, 16]), "boxes: a shape of 2 dimensions"),
        (changed(FOUND, boxes=["float32", [True, 4], 0, 16]), "boxes: a shape of 2 dimensions"),
        (changed(FOUND, boxes=["float32", [2**63, 0], 0, 0]), "boxes: a shape of 2 dimensions"),
        (changed(FOUND, boxes=["float32", [1, 4], 0, 12]), "does not make a length of 12 bytes"),
        (changed(FOUND, boxes=["float32", [2**28, 4], 0, 2**32]), "do not lie between"),
        (changed(FOUND, boxes=["float32", [1, 4], 8, 16]), "offset 8 is not a multiple of 64"),
        (changed(FOUND, boxes=["float32", [1, 4], -64, 16]), "do not lie between"),
        (changed(FOUND, scores=["float32", [1], 0, 4]), "bytes 0 to 4 do not lie between .* ends at 16"),
        (changed(FOUND, boxes=["float32", [0, 4], 0, 0]), "Detections.scores: shape"),
        (changed(TRACKS, ids=["int32", [2], 256, 8]), "ids: dtype int64 is needed"),
        (changed(PACKET, time_base=[1, 0]), "time_base: the denominator is 0"),
        (changed(PACKET, side_data={"palette": "text"}), "side_data: 'palette': bytes is needed"),
        (described(extradata="text"), "parameters: extradata: bytes is needed"),
        (described(codec_tag=b"avc"), "CodecParameters.codec_tag: 4 bytes are needed"),
        (described(orientation=9), "orientation: an integer from 1 to 8"),
        (described(sample_aspect_ratio=[1, 0]), "sample_aspect_ratio: the denominator is 0"),
        (changed(PACKET, pts=2**64 - 1), "pts: an integer from"),
        (
            changed(EVENT, data={"a": {"b": 1}}),
            r"data: 'a': str or int or float or bool or nil is needed, \{'b': 1\}",
        ),
        (changed(TRACKS, attributes={"a": ["date", []]}), "attributes: 'a': one of bool, int64, float32, str"),
        (changed(TRACKS, attributes={"a": 1}), "attributes: 'a': a kind and a value are needed, 1 was given"),
        (changed(TRACKS, attributes={"a": ["str", ["x"] * 99]}), r"attributes\['a'\]: shape"),
        (changed(EVENT, data={b"a": 1}), "data: a map of str is needed"),
        (changed(ABSENT, outcome="lost"), "outcome: 'lost' is not an outcome"),
        (changed(PAIR, parts=[]), "pair: parts: a list of 2 items"),
        (changed(PAIR, parts=[header_of(PAIR)[0]] * 2), "pair: parts: a map whose type"),
        (pictured(BGR, form="webp"), "picture: a map whose form is one of bgr, jpeg, planes"),
        (pictured(BGR, pixels=["uint8", [3, 3, 4], 0, 36]), "Frame.picture: shape"),
        (pictured(YUV, format="cuda"), "pictures in cuda have no wire form"),
        (pictured(YUV, format="pal8"), "pictures in pal8 have no wire form"),
        (pictured(YUV, format="nothing"), "FFmpeg cannot hold this picture: not a pixel format"),
        (pictured(YUV, format="\0é"), "FFmpeg cannot hold this picture"),
        (pictured(YUV, format="nv12"), "planes of .* are needed for nv12"),
        (pictured(YUV, height=8), r"planes of \[\(8, 6\), \(4, 3\), \(4, 3\)\] are needed"),
        (pictured(YUV, width=130), "planes of"),
        (pictured(YUV, width=2**40), "width: an integer from 1 to"),
        (pictured(YUV, width=0), "width: an integer from 1 to"),
        (pictured(YUV, color_range=-1), "color_range: an integer from 0 to 255"),
        (made(header_of(YUV)[0], header_of(YUV)[1][:-1]), "the planes end at .* less than 64 bytes before"),
    ],
)
def test_reasons(data, reason):
    with pytest.raises(WireError, match=reason):
        decode(data)


@pytest.mark.parametrize(
    ("other", "reason"),
    [
        ({"width": 30000, "height": 30000}, "the data is not a JPEG of 30000 x 30000 pixels"),
        ({"width": 5}, "the data is not a JPEG of 5 x 3 pixels"),
    ],
)
def test_jpeg_of_another_size(other, reason):
    data = encode(BGR, jpeg=80)
    length = struct.unpack_from("<Q", data, 16)[0]
    header, buffers = msgpack.unpackb(data[24 : 24 + length]), data[-(-(24 + length) // 64) * 64 :]
    with pytest.raises(WireError, match=reason):
        decode(made({**header, "picture": {**header["picture"], **other}}, bytes(buffers)))


def test_jpeg_without_a_picture_in_it():
    for content in (
        b"",
        b"\x89PNG\r\n",
        b"\xff\xd8\xff\xc0\0\x0b\x08\0\3\0\4\1\1\x11\0",
        b"\xff\xd8\xff\xe0\0\0",
    ):
        item = {"form": "jpeg", "width": 4, "height": 3, "data": ["uint8", [len(content)], 0, len(content)]}
        header = {**header_of(BGR)[0], "picture": item}
        with pytest.raises(WireError, match=r"JPEG"):
            decode(made(header, content))


def test_a_giant_stated_in_a_few_bytes_takes_no_memory():
    nested = b"\xdc\x3f\xff" * 200
    tracemalloc.start()
    for data in (made(nested), changed(FOUND, boxes=["float32", [2**30, 2**30], 0, 2**62])):
        with pytest.raises(WireError):
            decode(data)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 50e6


@pytest.mark.parametrize("sample", SAMPLES[:-1])
def test_every_field_travels(sample):
    header, _ = header_of(sample)
    assert {"type"} | {field.name for field in fields(sample) if field.init} == header.keys()
    assert {field.name for field in fields(Origin)} == header["origin"].keys()


def test_a_reason_stays_short():
    for data in (changed(EVENT, data={"x" * 9999: [[1]] * 9999}), pictured(YUV, format="x" * 9999)):
        with pytest.raises(WireError) as refused:
            decode(data)
        assert len(str(refused.value)) < 500


def test_keys_of_a_later_version_are_ignored():
    header, buffers = header_of(TRACKS)
    header["origin"]["weather"] = header["speeds"] = ["float32", [2], 320, 8]
    assert same(decode(made(header, buffers + bytes(80))), TRACKS)


def test_numbers_of_other_types_than_usual():
    event = Event(Origin("north", index=np.int64(7), media=3, time=np.float64(2.5)), "door")
    with pytest.raises(WireError, match="origin: index: an integer"):
        encode(event)
    origin = decode(encode(Event(replace(event.origin, index=7), "door"))).origin
    assert (origin.index, origin.media, origin.time) == (7, 3, 2.5)


# ---------------------------------------------------------------- what has no wire form


@pytest.mark.parametrize(
    ("value", "reason"),
    [
        (7, "int has no wire form"),
        ((EVENT, EVENT, EVENT), "parts: a list of 2 items"),
        ((EVENT, (EVENT, EVENT)), "parts: tuple has no wire form"),
        (Event(ORIGIN, "\ud800"), "Event does not fit msgpack"),
        (Event(ORIGIN, "x" * (1 << 20)), "needs a header of"),
        (Event(Origin(3), "door"), "event: origin: camera: str is needed, 3 was given"),
        (Event(Origin("north", index=1 << 63), "door"), "event: origin: index: an integer from"),
        (Detections(ORIGIN, [], [], [], names=("a",) * 20000), "names: 20000 items are more than"),
        (Frame(ORIGIN, av.VideoFrame(0, 0)), "a picture without pixels"),
        (Frame(ORIGIN, av.VideoFrame(8, 8, "pal8")), "pictures in pal8 have no wire form: reformat them"),
    ],
)
def test_values_without_a_wire_form(value, reason):
    with pytest.raises(WireError, match=reason):
        encode(value)


# ---------------------------------------------------------------- the format itself

GOLDEN = (
    "4645574202000000c401000000000000fb0000000000000089a474797065aa646574656374696f6e73a66f726967696e"
    "8ba663616d657261a16ea773657373696f6e01a5696e64657802a56d65646961cb3fd0000000000000a474696d65cb40"
    "08000000000000aa74696d655f6572726f72cb3fe0000000000000a96d6f6e6f746f6e6963cb4010000000000000a577"
    "6964746840a668656967687430a474696c6500a574696c657301a5626f78657394a7666c6f617433329201040010a673"
    "636f72657394a7666c6f6174333291014004a7636c617373657394a5696e7433329101cc8004a56e616d657392a161a1"
    "62a76d697373696e67919400000808a6726567696f6ec0aa617474726962757465738000000000000000000000000000"
    "00000000000000000000000000000000000000000000000000000000000000000000803f000000400000404000008040"
    "000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000"
    "0000003f0000000000000000000000000000000000000000000000000000000000000000000000000000000000000000"
    "0000000000000000000000000000000001000000"
)


def test_the_format_has_not_changed():
    found = Detections(
        Origin("n", 1, 2, 0.25, 3.0, 0.5, 4.0, 64, 48), [[1, 2, 3, 4]], [0.5], [1], ("a", "b"), ((0, 0, 8, 8),)
    )
    assert encode(found).hex() == GOLDEN
    assert same(decode(bytes.fromhex(GOLDEN)), found)


def test_the_import_is_cheap():
    code = "import sys, flowedge.wire.blocks; sys.exit(any(m in sys.modules for m in ('av', 'cv2')))"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0


@pytest.mark.parametrize(
    ("name", "colorspace", "color_range"),
    [
        ("yuv420p", 8, 2),  # YCgCo
        ("yuv444p", 10, 2),  # BT.2020 with constant luminance
        ("yuv420p", 1, 9),
        ("x2rgb10be", 1, 2),
        ("yaf32le", 1, 2),  # FFmpeg would end the process
    ],
)
def test_a_picture_that_cannot_be_converted_is_refused(name: str, colorspace: int, color_range: int) -> None:
    made = picture(16, 16, name)
    made.colorspace, made.color_range = colorspace, color_range
    with pytest.raises(WireError, match="FFmpeg cannot convert pictures"):
        decode(encode(Frame(ORIGIN, made)))
