"""DrawLines: the lines, which way is in, and the counts."""

from __future__ import annotations

import av
import numpy as np
import pytest

from flowedge import ConfigError, Event, Frame, Origin
from flowedge.operators import DrawLines
from flowedge.testing import run_operator

GATE = {"gate": (100, 240, 500, 240)}


def drawn(frame: Frame, lines: object = GATE, **data: int) -> np.ndarray:
    """Where the picture has changed."""
    counts = Event(frame.origin, "counts", {key.replace("_", " "): value for key, value in data.items()})
    [result] = run_operator(DrawLines(lines), [(frame, counts)])  # type: ignore[arg-type]
    assert (result.origin, result.region) == (frame.origin, frame.region)
    return (result.image.astype(int) != frame.image).any(axis=2)


def grey(width: int = 640, height: int = 480, camera: str = "north") -> Frame:
    return Frame(Origin(camera, width=width, height=height), np.full((height, width, 3), 90, np.uint8))


def test_the_line_the_side_that_is_in_and_a_caption_on_the_other() -> None:
    changed = drawn(grey())
    assert changed[240, 100:500].all()
    assert not changed[:, :97].any()
    assert not changed[:, 504:].any()
    below, above = np.flatnonzero(changed[245:].any(axis=0)), np.flatnonzero(changed[:236].any(axis=0))
    assert 295 <= below.min() <= below.max() <= 305  # the tick
    assert len(above) > 50  # the caption
    turned = drawn(grey(), {"gate": (500, 240, 100, 240)})
    assert len(np.flatnonzero(turned[245:].any(axis=0))) > 50


def test_counts_are_shown() -> None:
    nothing, some = drawn(grey()), drawn(grey(), gate_in=8, gate_out=20)
    assert (nothing != some).any()


def test_lines_are_drawn_where_a_smaller_picture_or_a_crop_shows_them() -> None:
    frame = grey()
    small = frame.replace(image=frame.bgr(320, 240))
    assert drawn(small)[120, 50:250].all()
    crop = frame.crop((200, 200, 640, 480))
    assert drawn(crop)[40, :300].all()
    assert drawn(frame, {"middle": (0, 0.5, 1, 0.5)})[240].all()


def test_each_camera_has_its_own_lines() -> None:
    lines = {"north": {"a": (0, 100, 640, 100), "b": (0, 300, 640, 300)}, "south": GATE}
    north, south, west = (drawn(grey(camera=camera), lines) for camera in ("north", "south", "west"))
    assert north[100].all()
    assert north[300].all()
    assert south[240, 100:500].all()
    assert not west.any()


def test_a_decoded_picture_stays_what_it_is() -> None:
    picture = av.VideoFrame.from_ndarray(np.full((720, 640), 90, np.uint8), format="yuv420p")
    frame = Frame(Origin("north", width=640, height=480), picture)
    [result] = run_operator(DrawLines(GATE), [(frame, Event(frame.origin, "counts"))])
    assert isinstance(result.picture, av.VideoFrame)
    assert result.picture.format.name == "yuv420p"
    assert (result.image[240, 110] != frame.image[240, 110]).any()


def test_lines_of_another_form_are_refused() -> None:
    with pytest.raises(ConfigError, match=r"^DrawLines\.lines: .* is not lines by name"):
        DrawLines({"gate": (1, 2)})
