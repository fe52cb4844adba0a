"""Pictures are found in malformed multipart messages, and nothing else is gathered."""

from __future__ import annotations

import io
import itertools
from collections.abc import Iterator
from functools import partial

import av
import numpy as np
import pytest
from PIL import Image

from flowedge.video.multipart import Repaired, pictures

LARGEST = 1 << 16
JUNK = b"\xff\xd8\xff\xe0\x00\x04ab" + bytes(1000)  # what a picture begins with, and no end


def jpeg(value: int, **options: object) -> bytes:
    file = io.BytesIO()
    noise = np.random.default_rng(value).integers(0, 256, (48, 64, 3), np.uint8)
    Image.fromarray(noise).save(file, "JPEG", **options)
    return file.getvalue()


def with_thumbnail() -> bytes:
    """A picture with another one in its header, end of image and all."""
    inner = b"Exif\0\0" + jpeg(9)
    return jpeg(1)[:2] + b"\xff\xe1" + (len(inner) + 2).to_bytes(2) + inner + jpeg(1)[2:]


def cut(data: bytes, size: int) -> Iterator[bytes]:
    return (data[start : start + size] for start in range(0, len(data), size))


def parts(data: bytes, size: int = 1000) -> tuple[list[bytes], list[int]]:
    """The pictures in `data` that comes in pieces of `size` bytes, and what was refused."""
    refused: list[int] = []
    return [bytes(item) for item in pictures(cut(data, size), refused.append, LARGEST)], refused


@pytest.mark.parametrize("size", [1, 2, 3, 1000, 1 << 20])
@pytest.mark.parametrize("between", [b"", b"--frame\r\n--frame\r\n\r\n", b"\xff\xff\xd8 \xff", JUNK[:8]])
def test_every_picture_is_found_wherever_the_bytes_are_cut(size, between):
    sent = [jpeg(0), jpeg(1, progressive=True), jpeg(2, quality=20, restart_marker_blocks=2), with_thumbnail()]
    assert parts(between.join([b"", *sent, b""]), size) == (sent, [])


def test_a_picture_is_given_when_its_last_byte_has_come():
    came: list[int] = []

    def chunks() -> Iterator[bytes]:
        for chunk in cut(jpeg(0) * 2, 1):
            came.append(len(chunk))
            yield chunk

    next(pictures(chunks(), print, LARGEST))
    assert len(came) == len(jpeg(0))


def test_a_picture_without_an_end_goes_as_far_as_the_next_one():
    head = b"\r\n--frame\r\n\r\n"
    found, refused = parts(jpeg(0)[:-2] + head + jpeg(1))
    assert (found, refused) == ([jpeg(0)[:-2] + head, jpeg(1)], [])


def test_a_picture_cut_off_before_its_coded_data_is_passed_over():
    header = jpeg(0)[: jpeg(0).index(b"\xff\xda")]
    assert parts(header + jpeg(1) + header + b"\xff\xd9" + jpeg(2)) == ([jpeg(1), jpeg(2)], [])


@pytest.mark.parametrize(
    "junk",
    [JUNK + bytes(LARGEST), bytes(LARGEST + 1), JUNK[:8] * (LARGEST // 8 + 1), jpeg(0)[:-2] + bytes(LARGEST)],
    ids=["begun", "nothing", "many beginnings", "coded"],
)
def test_what_brings_no_picture_is_refused_once_and_the_next_one_is_found(junk):
    found, refused = parts(jpeg(0) + junk + jpeg(1))
    assert found == [jpeg(0), jpeg(1)]
    assert len(refused) == 1
    assert LARGEST < refused[0] <= len(junk)


def test_what_comes_without_end_is_refused_again_and_again():
    endless, refused = itertools.chain([jpeg(0)], itertools.repeat(bytes(1000), 10 * LARGEST // 1000)), []
    assert len(list(pictures(endless, refused.append, LARGEST))) == 1
    assert len(refused) == 9


class Raw:
    """Stands for FFmpeg's "data", which gives bytes as they come."""

    def __init__(self, chunks: Iterator[bytes]) -> None:
        self.demux = lambda: chunks


def test_ffmpeg_reads_them_as_a_well_formed_message():
    raw = Raw(cut(b"--frame\r\n--frame\r\n\r\n" + jpeg(0) + b"--frame" + jpeg(1) + jpeg(2), 500))
    with av.open(Repaired(raw, print, None, None), "r", format="mpjpeg") as container:
        assert [bytes(p) for p in container.demux() if p.size] == [jpeg(0), jpeg(1), jpeg(2)]


@pytest.mark.parametrize(("before", "limits"), [(b"", (0.02, 60)), (jpeg(0) * 2, (60, 0.02))])
def test_bytes_that_bring_no_picture_are_silence(before, limits):
    """Not of a camera that sends something, but of pictures."""
    repaired = Repaired(Raw(itertools.chain([before], itertools.repeat(b"junk"))), print, *limits)
    with pytest.raises(av.FFmpegError, match="no picture"):
        list(iter(partial(repaired.read, 1 << 20), b""))


def test_an_error_of_the_connection_is_ffmpegs_own():
    def chunks() -> Iterator[bytes]:
        yield jpeg(0) + jpeg(1)
        raise av.error.ConnectionResetError(104, "reset")

    container = av.open(Repaired(Raw(chunks()), print, None, None), "r", format="mpjpeg")
    with container, pytest.raises(av.error.ConnectionResetError):
        list(container.demux())
