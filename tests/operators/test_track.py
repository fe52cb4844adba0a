"""Track and TrackWithPicture: detections in, identities out, camera by camera."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from flowedge import ConfigError, Detections, Frame, Origin, Tracks
from flowedge.inference.models import ModelError
from flowedge.operators import Detect
from flowedge.operators import track_with_picture as module
from flowedge.operators.track import Track
from flowedge.operators.track_with_picture import TrackWithPicture
from flowedge.testing import frames, run_operator


def seen(frame: Frame, *lefts: float, score: float = 0.9) -> Detections:
    boxes = [[left, 50, left + 20, 110] for left in lefts]
    return Detections(frame.origin, boxes, [score] * len(boxes), [0] * len(boxes), ("person",))


def test_each_camera_counts_its_own_identities() -> None:
    north, south = frames(5, 320, 240, "north"), frames(5, 320, 240, "south")
    values = [seen(frame, 10, 100) for frame in north] + [seen(frame, 10) for frame in south]
    mixed = [value for pair in zip(values[:5], values[5:], strict=True) for value in pair]
    tracks = run_operator(Track(), mixed)
    assert [each.ids.tolist() for each in tracks] == [[1, 2], [1]] * 5
    assert {each.origin.camera for each in tracks} == {"north", "south"}


def test_flush_forgets_the_camera_that_ended_and_no_other() -> None:
    operator = Track()
    views = {camera: frames(4, 320, 240, camera) for camera in ("north", "south")}
    for camera, lefts in (("north", (10, 100)), ("south", (10, 100))):
        for frame in views[camera][:2]:
            operator.process(seen(frame, *lefts))
    list(operator.flush("north"))
    after = {camera: operator.process(seen(views[camera][2], 100)).ids.tolist() for camera in views}
    assert after == {"north": [1], "south": [2]}


def test_the_result_carries_what_the_detections_say() -> None:
    [frame] = frames(1, 320, 240)
    value = Detections(
        frame.origin, [[9, 9, 29, 69]], [0.8], [1], ("person", "car"), ((0, 0, 5, 5),), (0, 0, 320, 200)
    )
    tracks = Track().process(value)
    assert isinstance(tracks, Tracks)
    assert (tracks.origin, tracks.labels) == (value.origin, ["car"])
    assert (tracks.missing, tracks.region) == (value.missing, value.region)


def test_patience_is_in_seconds() -> None:
    pictures = frames(60, 320, 240, fps=10)
    for patience, identity in ((3.0, 1), (1.0, 2)):
        values = [seen(frame, *(() if 20 <= frame.origin.index < 40 else (100,))) for frame in pictures]
        assert run_operator(Track(patience=patience), values)[-1].ids.tolist() == [identity]


def test_boxes_are_the_detectors_own_unless_smoothed() -> None:
    values = [seen(frame, 100 + 7 * (frame.origin.index % 2)) for frame in frames(20, 320, 240)]
    rough, smooth = (run_operator(Track(smooth=choice), values)[-1] for choice in (False, True))
    assert np.array_equal(rough.boxes, values[-1].boxes)
    assert 100 < smooth.boxes[0, 0] < 107


@pytest.mark.parametrize("kind", [Track, TrackWithPicture])
@pytest.mark.parametrize(
    ("field", "value", "wanted"),
    [
        ("low", -0.1, "a score from 0 to 1"),
        ("new", 0.05, "a score from 0.1"),
        ("new", 1.5, "a score from 0.1"),
        ("patience", -1.0, "a number of seconds from 0"),
        ("patience", float("nan"), "a number of seconds from 0"),
    ],
)
def test_a_number_that_makes_no_sense_is_refused(kind: type, field: str, value: float, wanted: str) -> None:
    with pytest.raises(ConfigError, match=rf"{kind.__name__}\.{field}: .* is not {wanted}"):
        kind(**{field: value})


def test_a_network_that_is_not_there_is_named() -> None:
    with pytest.raises(ModelError, match="no-such-network"):
        TrackWithPicture(appearance="no-such-network").setup()


class _Colours:
    """In place of a re-identification network: the mean colour of the crop."""

    input_size = (32, 16)
    output_shape = (3,)

    def outputs(self, images: object) -> object:
        return (image.mean(axis=(0, 1)).astype(np.float32) for image in images)  # type: ignore[attr-defined]


def jumping(operator: TrackWithPicture, jump_to: float) -> list[int]:
    """Identities of a red and a green object; both are hidden for 1 s, after which the red one is elsewhere."""
    for frame in frames(60, 320, 240):
        index = frame.origin.index
        hidden, red = 15 <= index < 40, 40 if index < 40 else jump_to
        image = np.full((240, 320, 3), 90, np.uint8)
        image[50:110, int(red) : int(red) + 20] = (0, 0, 250)
        image[50:110, 250:270] = (0, 250, 0)
        tracks = operator.process((frame.replace(image=image), seen(frame, *(() if hidden else (red, 250)))))
    order = np.argsort(tracks.boxes[:, 0])
    identities: list[int] = tracks.ids[order].tolist()
    return identities


def test_appearance_finds_again_what_moved_while_hidden(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "resolve", lambda name: Path(name))
    monkeypatch.setattr(module, "load", lambda path, normalise: _Colours())
    looking = TrackWithPicture(appearance="colours", camera_motion=False)
    looking.setup()
    assert jumping(looking, 64) == [1, 2]
    assert jumping(TrackWithPicture(appearance=None, camera_motion=False), 64) == [3, 2]


def test_pixels_count_only_where_motion_allows_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "resolve", lambda name: Path(name))
    monkeypatch.setattr(module, "load", lambda path, normalise: _Colours())
    looking = TrackWithPicture(appearance="colours", camera_motion=False)
    looking.setup()
    assert jumping(looking, 200) == [3, 2]


def test_a_graph_joins_pictures_and_detections() -> None:
    from flowedge import Graph, join
    from flowedge.operators import Null, video

    graph = Graph("tracked")
    pictures = video(graph, "street://?seconds=1")
    join(pictures, pictures >> Detect("yolo11n")) >> TrackWithPicture() >> Null()
    assert "TrackWithPicture" in str(graph)


def test_attributes_stay_with_their_objects() -> None:
    tracks = []
    for index in range(3):
        found = Detections(
            Origin("north", index=index, media=index / 25),
            [[0, 0, 20, 40], [200, 0, 220, 40]],
            [0.9, 0.8],
            [0, 0],
            attributes={"hue": ["red", "blue"]},
        )
        tracks.append(found.select([1, 0]) if index == 1 else found)
    for found in run_operator(Track(), tracks):
        by_place = dict(zip(found.boxes[:, 0] > 100, found.attributes["hue"].tolist(), strict=True))
        assert by_place == {False: "red", True: "blue"}
