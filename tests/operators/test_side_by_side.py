"""Two pictures in one: sizes, places, and whose frame it is."""

from __future__ import annotations

import numpy as np
import pytest

from flowedge import ConfigError, Frame, Origin
from flowedge.operators import SideBySide
from flowedge.testing import run_operator


def plain(camera: str, width: int, height: int, grey: int) -> Frame:
    origin = Origin(camera, index=3, width=width, height=height)
    return Frame(origin, np.full((height, width, 3), grey, np.uint8))


def test_pictures_of_one_height_are_put_together_as_they_are() -> None:
    (both,) = run_operator(SideBySide(), [(plain("north", 4, 2, 100), plain("south", 6, 2, 200))])
    assert both.image[:, :, 0].tolist() == [[100] * 4 + [200] * 6] * 2
    assert both.origin == Origin("north", index=3, width=10, height=2)
    assert both.region == (0, 0, 10, 2)


def test_the_right_picture_is_scaled_to_the_left_and_a_gap_lies_between() -> None:
    (both,) = run_operator(SideBySide(gap=2), [(plain("north", 4, 2, 100), plain("south", 12, 4, 200))])
    assert both.image[:, :, 0].tolist() == [[100] * 4 + [32] * 2 + [200] * 6] * 2


def test_both_are_scaled_to_a_height() -> None:
    (both,) = run_operator(SideBySide(height=8), [(plain("north", 4, 2, 100), plain("south", 12, 4, 200))])
    assert (both.width, both.height) == (16 + 24, 8)


@pytest.mark.parametrize("settings", [{"height": 0}, {"gap": -1}])
def test_sizes_that_cannot_be_are_refused(settings: dict[str, int]) -> None:
    with pytest.raises(ConfigError, match="a number of pixels"):
        SideBySide(**settings)
