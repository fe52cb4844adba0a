"""Packets become frames of the right moment, whatever order they were coded in."""

from __future__ import annotations

import logging
import threading
from collections.abc import Sequence
from dataclasses import replace
from fractions import Fraction
from pathlib import Path

import av
import numpy as np
import pytest

from flowedge import CodecParameters, Frame, Origin, Packet
from flowedge.operators.decode import Decode
from flowedge.operators.video import Video
from flowedge.values import Outcome


def packets_of(path: Path, camera: str = "north", session: int = 0) -> list[Packet]:
    packets = Video({camera: str(path)}).read(camera, threading.Event())
    return [replace(packet, origin=replace(packet.origin, session=session)) for packet in packets]


def decoded(decode: Decode, packets: Sequence[Packet]) -> list[Frame]:
    """What comes while packets go in, and then what was left."""
    came = [frame for packet in packets if (frame := decode.process(packet)) is not None]
    return [*came, *decode.flush(packets[0].origin.camera)]


def shows(frame: Frame) -> int:
    """The number of the picture that a clip of the fixtures shows."""
    assert isinstance(frame.picture, av.VideoFrame)
    return round((float(frame.picture.to_ndarray()[: frame.height].mean()) - 40) / 4)


@pytest.mark.parametrize("name", ["clip", "b_clip"])
def test_frames_are_numbered_as_they_are_shown(name, request):
    packets = packets_of(request.getfixturevalue(name))
    frames = decoded(Decode(), packets)
    assert [frame.origin.index for frame in frames] == list(range(50))
    assert [shows(frame) for frame in frames] == list(range(50))
    assert [frame.origin.media for frame in frames] == pytest.approx([n / 25 for n in range(50)])


def test_reordered_pictures_are_matched_without_times(b_clip):
    packets = [replace(packet, pts=None, dts=None) for packet in packets_of(b_clip)]
    frames = decoded(Decode(), packets)
    assert [shows(frame) for frame in frames] == [frame.origin.index for frame in frames] == list(range(50))


def test_a_live_stream_is_decoded_without_delay(clip):
    decode = Decode()
    assert all(decode.process(packet) is not None for packet in packets_of(clip))


def test_frames_stay_lazy_and_pass_through(clip):
    frame = Frame(Origin("north"), np.zeros((4, 6, 3), np.uint8))
    assert Decode().process(frame) is frame
    coded = Decode().process(packets_of(clip)[0])
    assert coded is not None
    assert isinstance(coded.picture, av.VideoFrame)


def test_the_size_is_that_of_the_picture(clip):
    packet = packets_of(clip)[0]
    frame = Decode().process(replace(packet, origin=replace(packet.origin, width=0, height=0)))
    assert frame is not None
    assert (frame.origin.width, frame.origin.height, frame.region) == (64, 48, (0, 0, 64, 48))


def test_a_new_session_may_have_another_size(clip, make_clip, caplog):
    first, second = packets_of(clip), packets_of(make_clip("wide.mp4", width=96), session=1)
    second = [replace(p, origin=replace(p.origin, index=50 + p.origin.index)) for p in second]
    with caplog.at_level(logging.INFO, "flowedge.camera"):
        frames = decoded(Decode(), [*first, *second])
    assert [frame.origin.index for frame in frames] == list(range(100))
    assert [frame.width for frame in frames] == [64] * 50 + [96] * 50
    assert caplog.messages == ["north: frame size is now 96x48 (was 64x48)"]


def test_pictures_of_the_old_session_are_not_lost(b_clip):
    first, second = packets_of(b_clip), packets_of(b_clip, session=1)
    frames = decoded(Decode(), [*first, *second])
    assert [frame.origin.session for frame in frames] == [0] * 50 + [1] * 50


def test_cameras_do_not_mix(clip, make_clip):
    decode, other = Decode(), packets_of(make_clip("wide.mp4", width=96), camera="south")
    for north, south in zip(packets_of(clip), other, strict=True):
        left, right = decode.process(north), decode.process(south)
        assert left is not None
        assert right is not None
        assert (left.width, right.width) == (64, 96)


def test_a_damaged_packet_raises_and_the_next_key_frame_is_good(clip):
    packets = packets_of(clip)
    decode = Decode()
    decode.process(packets[0])
    with pytest.raises(av.FFmpegError):
        decode.process(replace(packets[1], data=np.full(200, 255, np.uint8)))
    frame = decode.process(packets[10])
    assert packets[10].keyframe
    assert frame is not None
    assert (frame.origin.index, shows(frame)) == (10, 10)


def test_an_empty_packet_is_refused_and_does_not_end_the_stream(clip):
    packets = packets_of(clip)
    decode = Decode()
    with pytest.raises(ValueError, match="packet 0 is empty"):
        decode.process(replace(packets[0], data=np.empty(0, np.uint8)))
    assert decode.process(packets[0]) is not None


def test_what_comes_before_the_first_key_frame_is_dropped(clip):
    results = decoded(Decode(), packets_of(clip)[5:])
    absent, frames = results[:5], results[5:]
    assert [(item.outcome, item.cause) for item in absent] == [(Outcome.DROPPED, "before key frame")] * 5
    assert [item.origin.index for item in absent] == list(range(5, 10))
    assert [frame.origin.index for frame in frames] == list(range(10, 50))


def test_raw_video():
    planes = np.full(64 * 48 * 3 // 2, 128, np.uint8)
    planes[: 64 * 48] = 40 + 4 * 7
    origin = Origin("desk", width=64, height=48)
    packet = Packet(
        origin,
        planes,
        CodecParameters("rawvideo", width=64, height=48, pixel_format="yuv420p"),
        True,
        Fraction(1, 30),
        0,
        0,
    )
    frame = Decode().process(packet)
    assert frame is not None
    assert shows(frame) == 7


def test_flushing_forgets_the_camera(b_clip):
    decode = Decode()
    packets = packets_of(b_clip)
    assert len(decoded(decode, packets)) == len(decoded(decode, packets)) == 50
    assert list(decode.flush("north")) == []


def test_a_colour_space_that_cannot_be_converted_is_refused_when_decoded(tmp_path):
    path = tmp_path / "ycgco.mp4"
    with av.open(str(path), "w") as container:
        stream = container.add_stream("libx264", rate=25)
        stream.width, stream.height, stream.pix_fmt = 64, 48, "yuv444p"
        stream.codec_context.colorspace = 8
        stream.options = {"bf": "0", "tune": "zerolatency"}
        picture = av.VideoFrame(64, 48, "yuv444p")
        picture.colorspace = 8
        container.mux(stream.encode(picture))
        container.mux(stream.encode())
    with pytest.raises(ValueError, match=r"^north: pictures of colour space 8 \(ITU-T H.273\) cannot be"):
        decoded(Decode(), packets_of(path))


def test_an_av1_picture_is_not_held_back(tmp_path):
    path = tmp_path / "clip.mkv"
    with av.open(str(path), "w") as container:
        stream = container.add_stream("libsvtav1", rate=25)
        stream.width, stream.height, stream.pix_fmt = 64, 64, "yuv420p"
        for _ in range(5):
            container.mux(stream.encode(av.VideoFrame(64, 64, "yuv420p")))
        container.mux(stream.encode())
    decode, packets = Decode(), packets_of(path)
    assert [decode.process(packet).origin.index for packet in packets] == list(range(5))
