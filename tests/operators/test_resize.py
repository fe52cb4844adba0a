import av
import numpy as np
import pytest

from flowedge import ConfigError, Frame, Origin
from flowedge.operators import Crop, Resize
from flowedge.testing import frames, run_operator


@pytest.mark.parametrize(
    ("size", "wanted"),
    [((1280, 720), (180, 320)), ((1920, 1080), (180, 320)), ((1000, 333), (106, 320)), ((1280, 2), (2, 320))],
)
def test_proportions_are_kept_in_even_numbers(size: tuple[int, int], wanted: tuple[int, int]) -> None:
    assert run_operator(Resize(320), frames(1, *size))[0].image.shape[:2] == wanted


def test_both_sizes_are_taken_as_given() -> None:
    assert run_operator(Resize(101, 77), frames(1, 320, 240))[0].image.shape == (77, 101, 3)


def test_boxes_stay_in_source_pixels() -> None:
    [frame] = run_operator(Resize(320), run_operator(Crop(100, 0, 200, 100), frames(1, 640, 480)))
    assert frame.region == (100, 0, 300, 100)
    assert frame.to_source(np.array([[0, 0, 320, 160]], np.float32)).tolist() == [[100, 0, 300, 100]]


def test_a_frame_of_the_right_size_is_not_touched() -> None:
    picture = av.VideoFrame(320, 240, "yuv420p")
    frame = Frame(Origin("north", width=320, height=240), picture)
    assert Resize(320).process(frame) is frame


@pytest.mark.parametrize("size", [(0, None), (-4, None), (320, 0)])
def test_impossible_sizes_are_refused(size: tuple[int, int | None]) -> None:
    with pytest.raises(ConfigError, match="number of pixels"):
        Resize(*size)
