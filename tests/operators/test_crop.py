import numpy as np
import pytest

from flowedge import ConfigError
from flowedge.operators import Crop, Resize
from flowedge.testing import frames, run_operator


def test_the_part_is_cut_out() -> None:
    [whole] = frames(1, 640, 360)
    [part] = run_operator(Crop(100, 150, 200, 80), [whole])
    assert part.region == (100, 150, 300, 230)
    assert np.array_equal(part.image, whole.image[150:230, 100:300])


def test_what_lies_outside_is_cut_off() -> None:
    assert run_operator(Crop(600, 300, 100, 100), frames(1, 640, 360))[0].region == (600, 300, 640, 360)


def test_a_resized_frame_is_cropped_in_source_pixels() -> None:
    [part] = run_operator(Crop(320, 0, 320, 180), run_operator(Resize(320), frames(1, 640, 360)))
    assert part.region == (320, 0, 640, 180)
    assert part.image.shape == (90, 160, 3)


def test_each_camera_has_its_own_rectangle() -> None:
    crop = Crop({"north": 100, "south": 200}, 50, 80, {"north": 60, "south": 70})
    both = [*frames(1, 640, 360, "north"), *frames(1, 640, 360, "south")]
    assert [part.region for part in run_operator(crop, both)] == [(100, 50, 180, 110), (200, 50, 280, 120)]


def test_a_rectangle_outside_says_where_the_frame_is() -> None:
    with pytest.raises(ConfigError, match=r"x=700.*camera north, which show x 0\.\.640, y 0\.\.360"):
        run_operator(Crop(700, 0, 10, 10), frames(1, 640, 360, "north"))


@pytest.mark.parametrize("rectangle", [(-1, 0, 9, 9), (0, -1, 9, 9), (0, 0, 0, 9), (0, 0, 9, -9)])
def test_impossible_rectangles_are_refused(rectangle: tuple[int, int, int, int]) -> None:
    with pytest.raises(ConfigError, match="number of pixels"):
        Crop(*rectangle)
