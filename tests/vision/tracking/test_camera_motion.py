"""Camera motion from pictures."""

from __future__ import annotations

import cv2
import numpy as np
import pytest

from flowedge import Detections, Frame, Origin
from flowedge.values import Image
from flowedge.vision.tracking import Tracker
from flowedge.vision.tracking.camera_motion import CameraMotion

WORLD = cv2.GaussianBlur(np.random.default_rng(5).integers(0, 256, (700, 1600, 3), np.uint8), (0, 0), 4) * 3
STILL = [[1, 0, 0], [0, 1, 0]]


def view(left: int, index: int = 0, width: int = 960, height: int = 540) -> Frame:
    """What the camera shows when its left edge stands at `left`."""
    image: Image = np.ascontiguousarray(WORLD[80 : 80 + height, left : left + width])
    return Frame(Origin("north", index=index, media=index / 10, width=width, height=height), image)


def test_a_pan_is_measured_in_source_pixels() -> None:
    motion = CameraMotion()
    assert motion.between(view(100)).tolist() == STILL
    assert motion.between(view(124)) == pytest.approx(np.array([[1, 0, -24], [0, 1, 0]]), abs=0.3)
    assert motion.between(view(124)) == pytest.approx(np.array(STILL), abs=0.05)


def test_a_picture_of_another_size_and_a_blank_one_tell_nothing() -> None:
    motion = CameraMotion()
    motion.between(view(100))
    assert motion.between(view(130, width=640, height=360)).tolist() == STILL
    blank = Frame(view(0).origin, np.zeros((540, 960, 3), np.uint8))
    for frame in (blank, blank, view(100)):
        assert motion.between(frame).tolist() == STILL


def test_a_camera_that_swings_keeps_the_identities_only_with_compensation() -> None:
    ids = {}
    for compensated in (True, False):
        tracker = Tracker(camera_motion=CameraMotion() if compensated else None)
        for index, left in enumerate([200, 245, 200, 250, 205, 250, 200, 250]):
            frame = view(left, index)
            box = [700 - left, 200, 730 - left, 290]
            tracks = tracker.update(Detections(frame.origin, [box], [0.9], [0]), frame)
        ids[compensated] = tracks.ids.tolist()
    assert ids == {True: [1], False: []}
