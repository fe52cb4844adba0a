"""What a container says beside the bytes reaches the decoder: flags, parameters, side data."""

from __future__ import annotations

import contextlib
import logging
import os
import struct
import threading
from collections.abc import Callable, Iterable
from fractions import Fraction
from pathlib import Path

import av
import cv2
import numpy as np
import pytest

from flowedge import Frame, Packet, SourceError
from flowedge.operators.decode import Decode
from flowedge.operators.video import Video


def picture_of(index: int, width: int = 64, height: int = 48) -> av.VideoFrame:
    """Picture n is grey, of brightness 40 + 4 n, with a bright bar that moves along."""
    planes = np.full((height, width, 3), 40 + 4 * (index % 50), np.uint8)
    planes[:, 2 * index : 2 * index + 4] = 250
    return av.VideoFrame.from_ndarray(planes, "rgb24")


def write(path: Path, codec: str, pixel_format: str, count: int = 10, **options: str) -> Path:
    with av.open(str(path), "w") as container:
        stream = container.add_stream(codec, rate=25, options=options)
        stream.width, stream.height, stream.pix_fmt = 64, 48, pixel_format
        stream.codec_context.thread_count = 1
        for index in range(count):
            container.mux(stream.encode(picture_of(index)))
        container.mux(stream.encode())
    return path


def frames_of(path: Path) -> list[Frame]:
    decode, frames = Decode(), []
    for packet in Video({"north": str(path)}).read("north", threading.Event()):
        result = decode.process(packet)
        frames += [result] if isinstance(result, Frame) else []
    return [*frames, *(result for result in decode.flush("north") if isinstance(result, Frame))]


def ffmpeg_says(path: Path) -> list[np.ndarray]:
    """What FFmpeg decodes where reader and decoder are one."""
    with av.open(str(path)) as container:
        return [frame.to_ndarray(format="bgr24") for frame in container.decode(video=0)]


@pytest.mark.parametrize(
    ("codec", "pixel_format", "suffix"),
    [
        ("png", "rgb24", "mov"),  # without the key flag every picture is added to the one before
        ("qtrle", "rgb24", "mov"),
        ("cinepak", "rgb24", "avi"),
        ("wmv2", "yuv420p", "wmv"),
        ("ffv1", "yuv420p", "avi"),
        ("huffyuv", "rgb24", "avi"),
        ("rawvideo", "bgr24", "avi"),
        ("rawvideo", "yuyv422", "mov"),
        ("msmpeg4v3", "yuv420p", "avi"),
        ("mpeg2video", "yuv420p", "ts"),
        ("zlib", "bgr24", "avi"),
        ("flashsv", "bgr24", "flv"),
    ],
)
def test_every_codec_is_decoded_as_where_reader_and_decoder_are_one(codec, pixel_format, suffix, tmp_path):
    path = write(tmp_path / f"clip.{suffix}", codec, pixel_format)
    frames, expected = frames_of(path), ffmpeg_says(path)
    assert len(frames) == len(expected) == 10
    assert [frame.origin.index for frame in frames] == list(range(10))
    for frame, image in zip(frames, expected, strict=True):
        assert np.abs(frame.image.astype(int) - image.astype(int)).mean() < 2


def remuxed(source: Path, target: Path, change: Callable[[av.Packet], bool] = lambda _: True) -> Path:
    """A copy of the packets for which `change` is true."""
    with av.open(str(source)) as old, av.open(str(target), "w") as new:
        stream = new.add_stream_from_template(old.streams.video[0])
        for packet in old.demux(video=0):
            if packet.dts is not None and change(packet):
                packet.stream = stream
                new.mux(packet)
    return target


@pytest.mark.parametrize("reordered", [0, 3])
def test_what_an_edit_list_cuts_away_is_decoded_and_not_shown(tmp_path, reordered):
    """Among pictures that are reordered, the first one that is not cut away may be shown after others."""
    options = {"g": "40", "bf": str(reordered), "b_strategy": "0", "sc_threshold": "0"}
    source = write(tmp_path / "whole.mp4", "libx264", "yuv420p", 40, **options)

    def from_picture_15(packet: av.Packet) -> bool:
        for name in ("pts", "dts"):
            setattr(packet, name, getattr(packet, name) - round(15 / 25 / packet.time_base))
        return True

    path = remuxed(source, tmp_path / "cut.mp4", from_picture_15)
    packets = list(Video({"north": str(path)}).read("north", threading.Event()))
    assert isinstance(packets[0], Packet)
    assert [packet.origin.index for packet in packets] == list(range(25))
    assert sum(len(packet.preroll) for packet in packets) == 15
    frames, expected = frames_of(path), ffmpeg_says(path)
    assert len(frames) == len(expected) == 25
    assert [frame.origin.media for frame in frames] == pytest.approx([n / 25 for n in range(25)])
    assert np.array_equal(frames[0].image, expected[0])


def test_the_second_half_of_a_stream_whose_header_changes_is_not_lost(tmp_path):
    """As in two recordings joined by copying: the second one has other parameter sets."""
    path = tmp_path / "joined.flv"
    sources = [
        write(tmp_path / "first.mp4", "libx264", "yuv420p", bf="0"),
        write(tmp_path / "second.mp4", "libx264", "yuv420p", bf="0", refs="4", x264opts="cqm=jvt"),
    ]
    packets = []
    for number, source in enumerate(sources):
        with av.open(str(source)) as container:
            extradata = container.streams.video[0].codec_context.extradata
            packets += [(number, bytes(p), extradata) for p in container.demux(video=0) if p.size]
    assert packets[0][2] != packets[-1][2]
    _write_flv(path, packets)
    frames = frames_of(path)
    assert len(frames) == 20
    assert [round((float(frame.image[0, -1].mean()) - 40) / 4) for frame in frames] == [*range(10), *range(10)]


def _write_flv(path: Path, packets: Iterable[tuple[int, bytes, bytes]]) -> None:
    """FLV, which may send new parameter sets at any time (Adobe's FLV 10.1, annex E)."""
    data, before = bytearray(b"FLV\1\1\0\0\0\x09\0\0\0\0"), None

    def tag(body: bytes, milliseconds: int) -> bytes:
        head = b"\x09" + len(body).to_bytes(3, "big") + milliseconds.to_bytes(3, "big") + b"\0\0\0\0"
        return head + body + (len(body) + 11).to_bytes(4, "big")

    for index, (number, packet, extradata) in enumerate(packets):
        first = number != before
        if first:
            data += tag(b"\x17\0\0\0\0" + extradata, index * 40)
        data += tag((b"\x17" if first else b"\x27") + b"\1\0\0\0" + packet, index * 40)
        before = number
    path.write_bytes(data)


@pytest.mark.parametrize("degrees", [0, 90, 180, -90])
def test_a_phones_video_stands_upright(degrees, tmp_path):
    path = tmp_path / "phone.mp4"
    with av.open(str(path), "w") as container:
        stream = container.add_stream("libx264", rate=25)
        stream.width, stream.height, stream.pix_fmt = 64, 48, "yuv420p"
        stream.set_display_rotation(degrees)
        image = np.zeros((48, 64, 3), np.uint8)
        image[:24, :32] = 255
        container.mux(stream.encode(av.VideoFrame.from_ndarray(image, "rgb24")))
        container.mux(stream.encode())
    (frame,) = frames_of(path)
    expected = np.rot90(image, degrees // 90)
    assert (frame.origin.height, frame.origin.width) == expected.shape[:2]
    assert np.abs(frame.image.astype(int) - expected.astype(int)).mean() < 10


@pytest.mark.parametrize("suffix", ["mp4", "mkv", "ts"])
def test_pixels_that_are_not_square_become_it(suffix, tmp_path):
    path = tmp_path / f"wide.{suffix}"
    with av.open(str(path), "w") as container:
        stream = container.add_stream("libx264", rate=25)
        stream.width, stream.height, stream.pix_fmt = 64, 48, "yuv420p"
        stream.codec_context.sample_aspect_ratio = Fraction(3, 2)
        container.mux(stream.encode(picture_of(0)))
        container.mux(stream.encode())
    (frame,) = frames_of(path)
    assert (frame.origin.width, frame.origin.height) == (frame.width, frame.height) == (96, 48)


def test_the_largest_of_several_streams_is_read(tmp_path):
    path = tmp_path / "two.mkv"
    with av.open(str(path), "w") as container:
        streams = [container.add_stream("mpeg4", rate=25) for _ in range(2)]
        for stream, width in zip(streams, (32, 64), strict=True):
            stream.width, stream.height, stream.pix_fmt = width, 48, "yuv420p"
        for index in range(10):
            for stream in streams:
                container.mux(stream.encode(picture_of(index, stream.width)))
        for stream in streams:
            container.mux(stream.encode())
    assert {frame.width for frame in frames_of(path)} == {64}


def test_a_cover_picture_is_no_video(tmp_path):
    path = tmp_path / "song.mp4"
    with av.open(str(path), "w") as container:
        sound = container.add_stream("aac", rate=8000, layout="mono")
        cover = container.add_stream("mjpeg", rate=1)
        cover.width, cover.height, cover.pix_fmt = 64, 48, "yuvj420p"
        cover.disposition = 1 << 10
        samples = av.AudioFrame.from_ndarray(np.zeros((1, 1024), np.float32), "fltp", "mono")
        samples.sample_rate = 8000
        container.mux(cover.encode(picture_of(0)))
        container.mux(cover.encode())
        container.mux(sound.encode(samples))
        container.mux(sound.encode())
    with pytest.raises(SourceError, match=r"song.mp4 has no video$"):
        frames_of(path)


def test_a_file_that_is_cut_short_says_so(tmp_path, caplog):
    path = write(tmp_path / "whole.mkv", "mpeg4", "yuv420p", 60)
    assert len(frames_of(path)) == 60
    assert caplog.messages == []
    cut = tmp_path / "cut.mkv"
    cut.write_bytes(path.read_bytes()[: path.stat().st_size // 2])
    with caplog.at_level(logging.WARNING, "flowedge.camera"):
        frames_of(cut)
    assert any(
        "is cut short: it ends after" in message and "of 2.4 s" in message for message in caplog.messages
    )


def test_a_file_that_begins_later_is_not_cut_short(tmp_path, caplog):
    """As parts of a recording do (torchcodec#1209): Matroska writes down when it ends."""

    def later(packet: av.Packet) -> bool:
        packet.pts, packet.dts = (stamp + round(100 / packet.time_base) for stamp in (packet.pts, packet.dts))
        return True

    path = remuxed(write(tmp_path / "whole.mkv", "mpeg4", "yuv420p", 60), tmp_path / "part.mkv", later)
    frames = frames_of(path)
    assert [frame.origin.media for frame in frames] == pytest.approx([n / 25 for n in range(60)], abs=0.002)
    assert caplog.messages == []


@pytest.mark.parametrize("suffix", ["avi", "h264", "mkv", "mp4", "ts"])
def test_reordered_pictures_come_in_order_from_any_container(suffix, tmp_path):
    path = write(
        tmp_path / f"clip.{suffix}", "libx264", "yuv420p", 30, bf="3", g="30", b_adapt="0", sc_threshold="0"
    )
    frames = frames_of(path)
    assert [round((float(frame.image[0, -1].mean()) - 40) / 4) for frame in frames] == list(range(30))
    assert [frame.origin.index for frame in frames] == list(range(30))
    assert [frame.origin.media for frame in frames] == pytest.approx([n / 25 for n in range(30)], abs=0.002)


def test_leaps_of_the_clock_are_mended_and_told(tmp_path, caplog):
    def leap(packet: av.Packet) -> bool:
        shift = round(3600 / packet.time_base) if packet.pts * packet.time_base > 0.3 else 0
        packet.pts, packet.dts = packet.pts + shift, packet.dts + shift
        return True

    source = write(tmp_path / "whole.mkv", "mpeg4", "yuv420p", 20)
    frames = frames_of(remuxed(source, tmp_path / "leap.mkv", leap))
    assert [frame.origin.media for frame in frames] == pytest.approx([n / 25 for n in range(20)], abs=0.002)
    assert any("a time stamp is not believed (a step of 36" in message for message in caplog.messages)


def test_pictures_of_vp8_that_are_only_referred_to_are_no_frames(tmp_path):
    def hide_picture_5(packet: av.Packet) -> bool:
        if round(packet.pts * packet.time_base * 25) == 5:
            data = bytearray(packet)
            data[0] &= ~0x10  # RFC 6386, 9.1: show_frame
            packet.update(bytes(data))
        return True

    path = remuxed(write(tmp_path / "all.webm", "libvpx", "yuv420p"), tmp_path / "clip.webm", hide_picture_5)
    packets = list(Video({"north": str(path)}).read("north", threading.Event()))
    assert [len(packet.preroll) for packet in packets] == [0, 0, 0, 0, 0, 1, 0, 0, 0]
    frames, expected = frames_of(path), ffmpeg_says(path)
    assert [frame.origin.index for frame in frames] == list(range(9))
    assert np.array_equal(frames[-1].image, expected[-1])


def test_further_video_streams_are_told(tmp_path, caplog):
    path = tmp_path / "two.mkv"
    with av.open(str(path), "w") as container:
        streams = [container.add_stream("mpeg4", rate=25) for _ in range(2)]
        for stream, (width, height) in zip(streams, ((64, 48), (128, 96)), strict=True):
            stream.width, stream.height, stream.pix_fmt = width, height, "yuv420p"
        for stream in streams:
            container.mux(stream.encode(picture_of(0, stream.width, stream.height)))
            container.mux(stream.encode())
    assert [(frame.origin.width, frame.origin.height) for frame in frames_of(path)] == [(128, 96)]
    assert [message for message in caplog.messages if "video streams" in message] == [
        f"north: {path} has 2 video streams; only the one of 128 x 96 is read"
    ]


def box(kind: str, *parts: bytes) -> bytes:
    body = b"".join(parts)
    return struct.pack(">I4s", 8 + len(body), kind.encode()) + body


def full_box(kind: str, *parts: bytes, version: int = 0) -> bytes:
    return box(kind, struct.pack(">I", version << 24), *parts)


def write_tiled(path: Path) -> None:
    """A picture of 128 x 64 pixels in two tiles (ISO/IEC 23008-12, 6.6.2.3), as telephones write them."""
    tiles = [cv2.imencode(".jpg", np.full((64, 64, 3), grey, np.uint8))[1].tobytes() for grey in (80, 160)]
    items = [*tiles, struct.pack(">4B2H", 0, 0, 0, 1, 128, 64)]
    kinds = (b"jpeg", b"jpeg", b"grid")
    entries = [
        full_box("infe", struct.pack(">HH4sx", number, 0, kind), version=2)
        for number, kind in enumerate(kinds, 1)
    ]
    sizes = [full_box("ispe", struct.pack(">II", width, 64)) for width in (64, 128)]
    properties = [struct.pack(">HBB", number, 1, size) for number, size in ((1, 1), (2, 1), (3, 2))]

    def meta(begin: int) -> bytes:
        places = [
            struct.pack(">HHHII", number, 0, 1, begin + sum(map(len, items[: number - 1])), len(item))
            for number, item in enumerate(items, 1)
        ]
        return full_box(
            "meta",
            full_box("hdlr", b"\0\0\0\0pict", bytes(13)),
            full_box("pitm", struct.pack(">H", 3)),
            full_box("iinf", struct.pack(">H", 3), *entries),
            full_box("iloc", struct.pack(">BBH", 0x44, 0, 3), *places),
            full_box("iref", box("dimg", struct.pack(">4H", 3, 2, 1, 2))),
            box("iprp", box("ipco", *sizes), full_box("ipma", struct.pack(">I", 3), *properties)),
        )

    head = box("ftyp", b"mif1\0\0\0\0mif1miaf")
    path.write_bytes(head + meta(len(head) + len(meta(0)) + 8) + box("mdat", *items))


def test_a_picture_in_tiles_is_refused(tmp_path):
    path = tmp_path / "phone.heic"
    write_tiled(path)
    with pytest.raises(SourceError, match=r"^north: .*phone.heic is a picture stored in tiles"):
        frames_of(path)


def write_ts(path: Path, codec: str, pid: int, width: int, height: int, **options: str) -> bytes:
    """40 pictures as a transport stream, a key picture in every ten."""
    with av.open(str(path), "w", options={"mpegts_start_pid": str(pid)}) as container:
        stream = container.add_stream(codec, rate=25, options={"g": "10", "bf": "0", **options})
        stream.width, stream.height, stream.pix_fmt = width, height, "yuv420p"
        for index in range(40):
            container.mux(stream.encode(picture_of(index, width, height)))
        container.mux(stream.encode())
    return path.read_bytes()


def test_a_transport_stream_whose_video_moves_to_another_pid_goes_on(tmp_path, caplog):
    """As in recordings of broadcasts (torchcodec#505, mpv#4305): the second part was lost without a word."""
    path = tmp_path / "moved.ts"
    parts = [write_ts(tmp_path / f"{width}.ts", "libx264", 4 * width, width, 48) for width in (64, 128)]
    path.write_bytes(b"".join(parts))
    frames = frames_of(path)
    assert [frame.origin.index for frame in frames] == list(range(80))
    assert {(frame.width, frame.height) for frame in frames[-38:]} == {(128, 48)}
    assert [frame.origin.media for frame in frames] == pytest.approx([n / 25 for n in range(80)], abs=0.05)
    assert not any("video streams" in message for message in caplog.messages)


@pytest.mark.parametrize(("codec", "name"), [("libx265", "hevc"), ("mpeg2video", "mpeg2video")])
def test_a_transport_stream_whose_codec_changes_goes_on_and_says_so(codec, name, tmp_path, caplog):
    path, options = tmp_path / "changed.ts", {"x265-params": "log-level=none"} if codec == "libx265" else {}
    second = write_ts(tmp_path / "b.ts", codec, 0x100, 64, 48, **options)
    path.write_bytes(write_ts(tmp_path / "a.ts", "libx264", 0x100, 64, 48) + second)
    decode, frames = Decode(), []
    for packet in Video({"north": str(path)}).read("north", threading.Event()):
        with contextlib.suppress(av.FFmpegError):  # where both meet, FFmpeg's parser mixes them
            frames.append(decode.process(packet))
    frames += decode.flush("north")
    shown = [frame for frame in frames if isinstance(frame, Frame)]
    assert len(shown) >= 68, "more is lost than the group of pictures where both meet"
    for frame, expected in zip(shown[-28:], ffmpeg_says(tmp_path / "b.ts")[-28:], strict=True):
        assert np.abs(frame.image.astype(int) - expected).mean() < 2
    assert f"north: {path} goes on in another codec, {name} (was h264)" in caplog.messages


def test_a_video_that_goes_on_elsewhere_in_another_codec_is_told(tmp_path, caplog):
    path = tmp_path / "changed.ts"
    first = write_ts(tmp_path / "a.ts", "libx264", 0x100, 64, 48)
    path.write_bytes(first + write_ts(tmp_path / "b.ts", "mpeg4", 0x200, 64, 48))
    assert len(frames_of(path)) == 40
    assert f"north: {path} has 2 video streams; only the one of 64 x 48 is read" in caplog.messages


def test_a_stream_that_begins_later_does_not_end_the_video(tmp_path, caplog):
    """A live transport stream whose sound comes later ended with `IndexError`."""
    caplog.set_level(logging.INFO, "flowedge.camera")
    silent = write_ts(tmp_path / "a.ts", "libx264", 0x100, 64, 48)
    with av.open(str(tmp_path / "b.ts"), "w") as container:
        stream = container.add_stream("libx264", rate=25)
        sound = container.add_stream("aac", rate=8000, layout="mono")
        stream.width, stream.height, stream.pix_fmt = 64, 48, "yuv420p"
        for index in range(10):
            container.mux(stream.encode(picture_of(index)))
            samples = av.AudioFrame.from_ndarray(np.zeros((1, 1024), np.float32), "fltp", "mono")
            samples.sample_rate, samples.pts = 8000, 1024 * index
            container.mux(sound.encode(samples))
        container.mux([*stream.encode(), *sound.encode()])
    path = tmp_path / "pipe"
    os.mkfifo(path)  # which cannot be looked ahead in
    writer = threading.Thread(target=path.write_bytes, args=(silent + (tmp_path / "b.ts").read_bytes(),))
    writer.start()
    frames = frames_of(path)
    writer.join()
    assert len(frames) == 50
    assert any("has a further stream from now on" in message for message in caplog.messages)


@pytest.mark.parametrize("suffix", ["mkv", "nut", "mp4", "ts"])
@pytest.mark.parametrize("begins", [0, 4])
def test_a_whole_file_of_slow_pictures_is_not_cut_short_wherever_it_begins(tmp_path, caplog, suffix, begins):
    path = tmp_path / f"slow.{suffix}"
    with av.open(str(path), "w") as container:
        stream = container.add_stream("libx264", 1, options={"bf": "0"})
        stream.width, stream.height = 64, 48
        for number in range(5):
            picture = av.VideoFrame.from_ndarray(np.full((48, 64, 3), 40 * number, np.uint8))
            picture.pts, picture.time_base = begins + number, Fraction(1)
            container.mux(stream.encode(picture))
        container.mux(stream.encode(None))
    assert [frame.origin.media for frame in frames_of(path)] == pytest.approx([0, 1, 2, 3, 4])
    assert not any("cut short" in message for message in caplog.messages)
