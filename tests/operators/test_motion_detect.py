from dataclasses import replace

import cv2
import numpy as np
import pytest

from flowedge import ConfigError, Detections, Frame, Origin
from flowedge.operators import MotionDetect, Resize
from flowedge.testing import run_operator

WIDTH, HEIGHT = 1280, 720
WALKERS = np.array([[100, 150, 9, 20], [300, 300, 16, 40], [700, 500, 24, 60]])  # x, y, width, height


def street(count: int, walkers: np.ndarray = WALKERS, camera: str = "north", session: int = 0) -> list[Frame]:
    """People of 20 to 60 pixels who walk to the right over a grainy pavement, seen by a noisy camera."""
    rng = np.random.default_rng(5)
    ground = cv2.GaussianBlur(rng.integers(60, 180, (HEIGHT, WIDTH, 3), np.uint8), (0, 0), 2)
    noise = rng.normal(0, 3, (4, HEIGHT, WIDTH, 3)).astype(np.float32)
    made = []
    for index in range(count):
        image = np.clip(ground + noise[index % 4], 0, 255).astype(np.uint8)
        for x, y, width, height in walkers.tolist():
            image[y : y + height, x + 3 * index : x + 3 * index + width] = (40, 30, 35)
        made.append(Frame(Origin(camera, session, index, width=WIDTH, height=HEIGHT), image))
    return made


def boxes_at(index: int) -> np.ndarray:
    x, y, width, height = WALKERS.T
    return np.stack([x + 3 * index, y, x + 3 * index + width, y + height], axis=1)


def overlaps(found: Detections, wanted: np.ndarray) -> np.ndarray:
    """Intersection over union of each wanted box with the best one found."""
    corner = np.maximum(found.boxes[:, None, :2], wanted[None, :, :2])
    other = np.minimum(found.boxes[:, None, 2:], wanted[None, :, 2:])
    common = np.prod(np.clip(other - corner, 0, None), axis=2)
    areas = [np.prod(boxes[:, 2:] - boxes[:, :2], axis=1) for boxes in (found.boxes, wanted)]
    return (common / (areas[0][:, None] + areas[1][None] - common)).max(axis=0)


def test_people_are_found_where_they_walk() -> None:
    found = run_operator(MotionDetect(), street(50))
    for index in range(35, 50):
        assert len(found[index]) == 3
        assert overlaps(found[index], boxes_at(index)).min() > 0.25
    assert found[-1].labels == ["moving"] * 3
    assert found[-1].scores.min() > 0.6


def test_warming_up_gives_no_boxes() -> None:
    assert all(len(found) == 0 for found in run_operator(MotionDetect(), street(20)))


def test_a_still_street_gives_no_boxes() -> None:
    assert all(len(found) == 0 for found in run_operator(MotionDetect(), street(45, WALKERS[:0])))


def test_small_things_are_left_out() -> None:
    assert len(run_operator(MotionDetect(min_area=400), street(40))[-1]) == 2


def test_boxes_of_a_resized_frame_are_in_source_pixels() -> None:
    small = run_operator(Resize(640), street(40))
    assert overlaps(run_operator(MotionDetect(), small)[-1], boxes_at(39)).min() > 0.25


@pytest.mark.parametrize("change", ["session", "size"])
def test_another_scene_begins_anew(change: str) -> None:
    detector = MotionDetect()
    before = street(30)
    other = run_operator(Resize(640), before[-1:])[0]
    if change == "session":
        other = Frame(replace(before[-1].origin, session=1), before[-1].picture)
    found = [detector.process(frame) for frame in before]
    assert len(found[-1]) == 3
    assert len(detector.process(other)) == 0


def test_cameras_have_their_own_backgrounds() -> None:
    detector = MotionDetect()
    for frame in street(30):
        detector.process(frame)
    assert len(detector.process(street(1, camera="south")[0])) == 0
    assert len(detector.process(street(31)[-1])) == 3


def test_impossible_settings_are_refused() -> None:
    for setting in ({"min_area": 0}, {"threshold": -1}, {"width": 3}):
        with pytest.raises(ConfigError, match="MotionDetect"):
            MotionDetect(**setting)
