"""Pictures stand upright and have square pixels."""

from __future__ import annotations

from fractions import Fraction

import av
import numpy as np
import pytest

from flowedge.video.upright import Upright

STORED = np.arange(6, dtype=np.uint8).reshape(2, 3) * 40  # two rows of three pixels, all different
TURNED = {  # what each orientation of EXIF makes of them
    1: STORED,
    2: STORED[:, ::-1],
    3: STORED[::-1, ::-1],
    4: STORED[::-1],
    5: STORED.T,
    6: np.rot90(STORED, -1),
    7: STORED[::-1, ::-1].T,
    8: np.rot90(STORED),
}


@pytest.mark.parametrize("turned", range(1, 9))
@pytest.mark.parametrize("name", ["gray", "yuv420p", "rgb24", "yuv444p10le"])
def test_every_orientation(turned, name):
    large = np.kron(STORED, np.ones((8, 8), np.uint8))
    picture = av.VideoFrame.from_ndarray(large, "gray").reformat(format=name)
    upright = Upright()(picture, turned, Fraction(0))
    assert upright.format.name == name
    shown = upright.reformat(format="gray").to_ndarray()[4::8, 4::8]
    assert np.abs(shown.astype(int) - TURNED[turned].astype(int)).max() <= 6


@pytest.mark.parametrize(
    ("ratio", "size"), [(Fraction(16, 15), (768, 576)), (Fraction(8, 9), (720, 648)), (Fraction(1), (720, 576))]
)
def test_pixels_become_square(ratio, size):
    picture = av.VideoFrame(720, 576, "yuv420p")
    upright = Upright()(picture, 1, ratio)
    assert (upright.width, upright.height) == size
    assert (upright is picture) is (ratio == 1)


def test_what_is_squared_and_turned():
    upright = Upright()(av.VideoFrame(720, 576, "yuv420p"), 6, Fraction(16, 15))
    assert (upright.width, upright.height) == (576, 768)


def test_colours_keep_their_meaning():
    picture = av.VideoFrame.from_ndarray(np.full((72, 64), 250, np.uint8), "yuv420p")
    picture.colorspace, picture.color_range = 1, 2
    upright = Upright()(picture, 6, Fraction(2))
    assert (upright.colorspace, upright.color_range) == (1, 2)
    assert (upright.to_ndarray() == 250).all()


def test_size_and_format_may_change():
    upright = Upright()
    sizes = [upright(av.VideoFrame(w, 48, name), 6, Fraction(0)) for w, name in ((64, "gray"), (32, "rgb24"))]
    assert [(picture.width, picture.height) for picture in sizes] == [(48, 64), (48, 32)]
