from dataclasses import replace

import av
import numpy as np
import pytest
from numpy.typing import NDArray

from flowedge import ConfigError, Detections, Frame, Origin, Tracks
from flowedge.operators import Draw, Resize
from flowedge.testing import frames, run_operator
from flowedge.video.yuv import planes

GREY = 110


def plain(width: int, height: int, count: int = 1, *, picture_format: str = "bgr24") -> list[Frame]:
    """Grey frames, as an array or as a decoder's picture."""
    image = np.full((height, width, 3), GREY, np.uint8)
    picture = image
    if picture_format != "bgr24":
        picture = av.VideoFrame.from_ndarray(image, "bgr24").reformat(format=picture_format)
    return [Frame(f.origin, picture) for f in frames(count, width, height)]


def tracks(frame: Frame, boxes: list[list[float]], ids: list[int]) -> Tracks:
    scores, classes = [0.87] * len(boxes), [0] * len(boxes)
    return Tracks(frame.origin, boxes, scores, classes, names=("person",), ids=ids)


def drawn(frame: Frame, found: Detections, **options: object) -> NDArray[np.bool_]:
    """Where the picture changed."""
    [result] = run_operator(Draw(**options), [(frame, found)])
    return np.abs(result.image.astype(int) - frame.image).max(axis=2) > 30


FORMATS = ["bgr24", "yuv420p", "yuvj420p", "nv12"]


@pytest.mark.parametrize("picture_format", FORMATS)
@pytest.mark.parametrize("size", [(320, 240), (1280, 720), (321, 241)])
def test_a_box_is_drawn_on_its_border(size: tuple[int, int], picture_format: str) -> None:
    [frame] = plain(*size, picture_format=picture_format)
    changed = drawn(frame, tracks(frame, [[50, 60, 150, 200]], [4]), labels=False)
    assert changed.shape == (size[1], size[0])
    assert changed[60, 50:150].all()
    assert changed[60:200, 50].all()
    assert changed[199, 50:150].all()
    assert not changed[66:194, 56:144].any()
    assert not changed[:57].any()


@pytest.mark.parametrize("picture_format", FORMATS)
def test_the_input_is_not_written_to(picture_format: str) -> None:
    [frame] = plain(320, 240, picture_format=picture_format)
    before = frame.bgr(320, 240).copy()
    run_operator(Draw(), [(frame, tracks(frame, [[50, 60, 150, 200]], [4]))])
    assert np.array_equal(Frame(frame.origin, frame.picture).bgr(320, 240), before)


@pytest.mark.parametrize("picture_format", ["yuv420p", "yuvj420p"])
def test_a_decoded_picture_stays_yuv_and_looks_the_same(picture_format: str) -> None:
    [native] = plain(640, 360, picture_format=picture_format)
    native.picture.colorspace = 1  # BT.709
    [array] = [Frame(native.origin, native.image)]
    boxes = [[40, 60, 150, 200], [300, 100, 420, 300]]
    results = [run_operator(Draw(), [(frame, tracks(frame, boxes, [1, 2]))])[0] for frame in (native, array)]
    assert results[0].picture.format.name == picture_format
    assert results[0].picture.colorspace == 1
    assert np.abs(results[0].image.astype(int) - results[1].image).mean() < 2
    inside_label = (slice(48, 58), slice(40, 42))
    assert np.abs(results[0].image[inside_label].astype(int) - results[1].image[inside_label]).max() < 5


@pytest.mark.parametrize("size", [(320, 240), (1280, 720)])
@pytest.mark.parametrize(
    "box", [[0, 0, 30, 30], [310, 0, 320, 30], [-50, -50, -5, -5], [0, 230, 10, 400], [900, 900, 999, 999]]
)
def test_labels_stay_inside_the_frame(size: tuple[int, int], box: list[float]) -> None:
    [frame] = plain(*size)
    with_label = drawn(frame, tracks(frame, [box], [4]))
    rows, columns = np.nonzero(with_label)
    assert np.ptp(columns) > size[1] / 8  # the whole label is there, not only its beginning
    assert np.ptp(rows) >= size[1] / 60


def test_letters_and_lines_grow_with_the_frame() -> None:
    def ink(scale: int) -> int:
        [frame] = plain(320 * scale, 240 * scale)
        box = [scale * edge for edge in (100.0, 100.0, 200.0, 200.0)]
        return int(drawn(frame, tracks(frame, [box], [1])).sum())

    assert ink(4) > 4 * ink(1)


def test_a_trail_follows_the_feet_and_ends_after_its_length() -> None:
    source = plain(640, 360, 20, picture_format="yuv420p")
    pairs = [(f, tracks(f, [[20.0 * i, 100, 20.0 * i + 20, 200]], [7])) for i, f in enumerate(source)]
    last = run_operator(Draw(trail=10, labels=False), pairs)[-1]
    changed = np.abs(last.image.astype(int) - GREY).max(axis=2) > 30
    assert changed[200, 220:380].all()
    assert not changed[200, :205].any()


def test_trails_do_not_mix_cameras_or_outlive_the_stream() -> None:
    operator = Draw(labels=False)
    first, second = plain(640, 360, 2)
    operator.process((first, tracks(first, [[0, 100, 20, 200]], [7])))
    south = Frame(replace(second.origin, camera="south"), second.picture)
    other = operator.process((south, tracks(south, [[400, 100, 420, 200]], [7])))
    assert (other.image[200, 30:380] == GREY).all()
    operator.flush("camera")
    again = operator.process((second, tracks(second, [[400, 100, 420, 200]], [7])))
    assert (again.image[200, 30:380] == GREY).all()


def test_boxes_are_drawn_where_a_resized_frame_shows_them() -> None:
    [frame] = run_operator(Resize(320), plain(640, 480))
    changed = drawn(frame, Detections(frame.origin, [[100, 100, 200, 200]], [1], [0]), labels=False)
    rows, columns = np.nonzero(changed)
    assert (rows.min(), rows.max(), columns.min(), columns.max()) == (50, 99, 50, 99)


@pytest.mark.parametrize("trail", [0, 30])
def test_nothing_found_leaves_the_picture_as_it_is(trail: int) -> None:
    [frame] = plain(320, 240, picture_format="yuv420p")
    [result] = run_operator(Draw(trail), [(frame, tracks(frame, [], []))])
    for ours, theirs in zip(planes(result.picture), planes(frame.picture), strict=True):
        assert np.array_equal(ours, theirs)


def test_identities_have_different_colours() -> None:
    [frame] = plain(640, 360)
    boxes = [[x, 100.0, x + 40, 200] for x in range(0, 600, 50)]
    [result] = run_operator(Draw(labels=False), [(frame, tracks(frame, boxes, list(range(12))))])
    assert len({tuple(result.image[150, int(box[0])]) for box in boxes}) == 12


def test_a_negative_trail_is_refused() -> None:
    with pytest.raises(ConfigError, match=r"Draw\.trail"):
        Draw(trail=-1)


def test_labels_say_attributes() -> None:
    from flowedge.operators.draw import _texts

    found = Detections(Origin("north"), [[0, 0, 9, 9]] * 2, [0.5] * 2, [0] * 2, names=("car",))
    found = found.with_attributes(colour=["red", ""], parked=[False, True], speed=[12.5, 3])
    assert _texts(found) == ["car 0.50 red speed 12.5", "car 0.50 parked speed 3"]
