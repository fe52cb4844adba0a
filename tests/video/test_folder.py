"""A folder of pictures is a video in the order in which people count."""

from __future__ import annotations

import threading
import time

import cv2
import numpy as np
import pytest

from flowedge import SourceError
from flowedge.operators.video import Video


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
    assert 0.08 <= time.monotonic() - began < 2


def test_a_damaged_picture_is_named(folder):
    (folder / "street3.jpg").write_bytes(b"not a picture")
    with pytest.raises(SourceError, match=r"^north: .*street3.jpg is not a picture that OpenCV can read$"):
        list(Video({"north": str(folder)}).read("north", threading.Event()))


def test_an_empty_folder_says_so(tmp_path):
    with pytest.raises(SourceError, match=r"has no .jpg, .jpeg, .png, .bmp pictures"):
        list(Video({"north": str(tmp_path)}).read("north", threading.Event()))
