"""A folder of pictures is a video in the order in which people count."""

from __future__ import annotations

import os
import struct
import threading
import time

import cv2
import numpy as np
import pytest

from flowedge import Absent, Frame, SourceError
from flowedge.operators.video import Video
from flowedge.values import Outcome


@pytest.fixture
def folder(tmp_path):
    for number in (1, 2, 10):
        cv2.imwrite(str(tmp_path / f"street{number}.png"), np.full((4, 6, 3), number, np.uint8))
    (tmp_path / "notes.txt").write_text("not a picture")
    return tmp_path


def test_pictures_come_in_natural_order(folder):
    frames = list(Video({"north": str(folder)}).read("north", threading.Event()))
    assert [int(frame.image[0, 0, 0]) for frame in frames] == [1, 2, 10]
    assert [frame.origin.index for frame in frames] == [0, 1, 2]
    assert [frame.origin.media for frame in frames] == [0, 0.04, 0.08]
    assert {(frame.origin.width, frame.origin.height) for frame in frames} == {(6, 4)}


def test_live_pictures_come_at_their_pace(folder):
    source = Video({"north": str(folder)}, as_live=True)
    began = time.monotonic()
    frames = list(source.read("north", threading.Event()))
    assert source.live("north")
    assert len(frames) == 3
    assert time.monotonic() - began >= 0.08


def test_an_unreadable_picture_is_one_failed_frame(folder, caplog):
    (folder / "street3.jpg").write_bytes(b"not a picture")
    values = list(Video({"north": str(folder)}).read("north", threading.Event()))
    assert [type(value) for value in values] == [Frame, Frame, Absent, Frame]
    assert (values[2].outcome, values[2].cause) == (Outcome.FAILED, "unreadable picture")
    assert [value.origin.index for value in values] == [0, 1, 2, 3]
    assert any("street3.jpg is not a picture that OpenCV can read" in message for message in caplog.messages)


def test_a_folder_without_one_readable_picture_says_so(tmp_path):
    (tmp_path / "street3.jpg").write_bytes(b"not a picture")
    with pytest.raises(SourceError, match=r"^north: .*street3.jpg is not a picture that OpenCV can read$"):
        list(Video({"north": str(tmp_path)}).read("north", threading.Event()))


def test_an_empty_folder_says_so(tmp_path):
    with pytest.raises(SourceError, match=r"has no .jpg, .jpeg, .png, .bmp, .webp, .tif, .tiff pictures"):
        list(Video({"north": str(tmp_path)}).read("north", threading.Event()))


def test_what_is_skipped_is_told_and_a_pipe_holds_nothing_up(folder, caplog):
    os.mkfifo(folder / "live.jpg")
    (folder / "._street1.png").write_bytes(b"what a Mac puts beside a picture")
    (folder / "more").mkdir()
    assert len(list(Video({"north": str(folder)}).read("north", threading.Event()))) == 3
    assert any("1 x .txt" in message and "1 x folder" in message for message in caplog.messages)
    assert any("1 x hidden" in message for message in caplog.messages)
    assert any("1 x no regular file" in message for message in caplog.messages)


@pytest.mark.parametrize("suffix", ["webp", "tif", "JPG", "jpeg", "bmp"])
def test_a_file_and_a_folder_give_the_same_picture(suffix, tmp_path):
    image = np.random.default_rng(1).integers(0, 255, (40, 60, 3)).astype(np.uint8)
    path = tmp_path / f"photo.{suffix}"
    cv2.imwrite(str(path), image)
    (alone,) = Video({"north": str(path)}).read("north", threading.Event())
    (among,) = Video({"north": str(tmp_path)}).read("north", threading.Event())
    assert np.array_equal(alone.image, among.image)
    assert alone.origin.index == among.origin.index == 0


@pytest.mark.parametrize("turned", range(1, 9))
def test_exif_turns_a_picture_upright_from_a_file_and_from_a_folder(turned, tmp_path):
    image = np.zeros((40, 60, 3), np.uint8)
    image[:20, :30] = 255
    jpeg = cv2.imencode(".jpg", image)[1].tobytes()
    tag = b"\x12\x01\x03\x00\x01\x00\x00\x00" + bytes([turned, 0, 0, 0])
    exif = b"Exif\0\0II*\0\x08\0\0\0\x01\0" + tag + b"\0\0\0\0"
    path = tmp_path / "photo.jpg"
    path.write_bytes(jpeg[:2] + b"\xff\xe1" + (len(exif) + 2).to_bytes(2, "big") + exif + jpeg[2:])
    sideways = {5: image.transpose(1, 0, 2), 6: np.rot90(image, -1), 7: image[::-1, ::-1].transpose(1, 0, 2)}
    upright = {
        1: image,
        2: image[:, ::-1],
        3: image[::-1, ::-1],
        4: image[::-1],
        8: np.rot90(image),
        **sideways,
    }
    for place in (path, tmp_path):
        (frame,) = Video({"north": str(place)}).read("north", threading.Event())
        assert np.abs(frame.image.astype(int) - upright[turned].astype(int)).mean() < 3


@pytest.mark.parametrize("suffix", ["tif", "webp", "png"])
def test_a_file_of_several_pictures_gives_all_of_them(tmp_path, suffix):
    images = [np.full((40, 60, 3), 50 * number, np.uint8) for number in range(4)]
    path = tmp_path / f"several.{suffix}"
    if suffix == "tif":
        cv2.imwritemulti(str(path), images)
    else:
        animation = cv2.Animation()
        animation.frames, animation.durations = images, np.full(4, 40)
        cv2.imwriteanimation(str(path), animation)
    cv2.imwrite(str(tmp_path / "z.png"), np.full((40, 60, 3), 255, np.uint8))
    for source in (path, tmp_path):
        frames = list(Video({"north": str(source)}).read("north", threading.Event()))
        expected = [0, 50, 100, 150] + [255] * (source == tmp_path)
        assert [round(float(frame.image.mean())) for frame in frames] == pytest.approx(expected, abs=2)
        assert [frame.origin.index for frame in frames] == list(range(len(expected)))


@pytest.mark.parametrize("kept", [0.3, 0.999])
def test_a_jpeg_that_is_cut_short_is_told(tmp_path, caplog, kept):
    """Decoders fill what is missing with grey. A thumbnail before the picture has an end of its own."""
    image = np.random.default_rng(1).integers(0, 255, (64, 96, 3)).astype(np.uint8)
    data = cv2.imencode(".jpg", image)[1].tobytes()
    thumbnail = b"Exif\0\0" + data[:200] + b"\xff\xd9"
    whole = data[:2] + b"\xff\xe1" + (len(thumbnail) + 2).to_bytes(2) + thumbnail + data[2:]
    (tmp_path / "whole.jpg").write_bytes(whole + b"and what some cameras put behind")
    (tmp_path / "short.jpg").write_bytes(whole[: int(kept * len(whole))])
    assert len(list(Video({"north": str(tmp_path)}).read("north", threading.Event()))) == 2
    (told,) = caplog.messages
    assert "short.jpg is cut short" in told


@pytest.mark.parametrize("orientation", [1, 3, 6, 8])
def test_a_tiff_is_turned_upright(tmp_path, orientation):
    image = np.zeros((40, 60, 3), np.uint8)
    image[:10] = 200
    path = tmp_path / "scan.tif"
    cv2.imwrite(str(path), image, (cv2.IMWRITE_TIFF_COMPRESSION, 1))
    _add_orientation(path, orientation)
    turned = {1: image, 3: image[::-1], 6: np.rot90(image, -1), 8: np.rot90(image)}[orientation]
    (frame,) = Video({"north": str(path)}).read("north", threading.Event())
    assert np.array_equal(frame.image, turned)


def _add_orientation(path, orientation):
    """Give a TIFF one tag more (TIFF 6.0, section 2): its directory moves to the end."""
    data = path.read_bytes()
    (place,) = struct.unpack_from("<I", data, 4)
    (count,) = struct.unpack_from("<H", data, place)
    tags = [data[place + 2 + 12 * n : place + 14 + 12 * n] for n in range(count)]
    tags = [tag for tag in tags if tag[:2] != struct.pack("<H", 274)]
    tags = sorted([*tags, struct.pack("<HHIHH", 274, 3, 1, orientation, 0)], key=lambda tag: tag[1::-1])
    data += bytes(len(data) % 2)
    directory = struct.pack("<H", len(tags)) + b"".join(tags) + bytes(4)
    path.write_bytes(data[:4] + struct.pack("<I", len(data)) + data[8:] + directory)
