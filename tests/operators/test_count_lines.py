"""CountLines: who crosses what, which way and how often."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from flowedge import ConfigError, Graph, Origin, Tracks
from flowedge.graph.serialization import from_json, to_json
from flowedge.operators import CountLines, Null, parsed_lines
from flowedge.testing import run_operator
from flowedge.values import InvalidValueError
from tests.graph_steps import Detect, Track, camera

GATE = {"gate": (100, 300, 500, 300)}  # "in" is down the picture
TALL = 40  # pixels of every box; 4 of them are the margin
NAMES = ("person", "car")

Point = tuple[float, float]


def at(
    index: int, feet: Mapping[int, Point], classes: Mapping[int, int] | None = None, camera: str = "a"
) -> Tracks:
    """A frame with objects whose foot points are here."""
    boxes = [(x - 10, y - TALL, x + 10, y) for x, y in feet.values()]
    kinds = [(classes or {}).get(identity, 0) for identity in feet]
    origin = Origin(camera, index=index, width=640, height=480)
    return Tracks(origin, boxes, [1.0] * len(feet), kinds, NAMES, ids=list(feet))


def walk(points: Iterable[Point], identity: int = 7) -> list[Tracks]:
    return [at(index, {identity: point}) for index, point in enumerate(points)]


def totals(frames: Sequence[Tracks], lines: Mapping[str, object] = GATE, **fields: float) -> dict[str, object]:
    """What is counted in the end."""
    last = run_operator(CountLines(lines, **fields), frames)[-1]  # type: ignore[arg-type]
    return {key: value for key, value in last.data.items() if key != "crossed"}


def test_in_is_from_the_left_to_the_right_of_the_line() -> None:
    down = walk([(200, 250), (200, 290), (200, 330)])
    assert totals(down) == {"gate in": 1, "gate out": 0, "gate in person": 1}
    assert totals(down[::-1]) == {"gate in": 0, "gate out": 1, "gate out person": 1}
    turned = {"gate": (500, 300, 100, 300)}
    assert totals(down, turned) == {"gate in": 0, "gate out": 1, "gate out person": 1}
    upright = {"door": (300, 0, 300, 480)}  # drawn downwards: its left is the right of the picture
    assert totals(walk([(200, 200), (400, 200)]), upright)["door out"] == 1


def test_an_event_says_what_crossed_in_its_frame() -> None:
    frames = [
        at(0, {7: (200, 250), 9: (300, 350)}, {9: 1}),
        at(1, {7: (200, 280), 9: (300, 330)}, {9: 1}),
        at(2, {9: (300, 270), 7: (200, 320)}, {9: 1}),
        at(3, {9: (300, 260), 7: (200, 340)}, {9: 1}),
    ]
    events = run_operator(CountLines(GATE), frames)
    assert [event.kind for event in events] == ["counts", "counts", "crossing", "counts"]
    assert [event.origin for event in events] == [frame.origin for frame in frames]
    assert events[0].data == {"gate in": 0, "gate out": 0}
    assert events[2].data["crossed"] == "car #9 gate out, person #7 gate in"
    assert events[3].data == {"gate in": 1, "gate out": 1, "gate in person": 1, "gate out car": 1}
    [only] = run_operator(CountLines(GATE, quiet=True), frames)
    assert (only.kind, only.data, only.origin) == ("crossing", events[2].data, frames[2].origin)


def test_what_trembles_on_the_line_has_not_crossed() -> None:
    trembling = [(200, 250), *((200 + i, 300 + 3.5 * (-1) ** i) for i in range(50))]
    assert totals(walk([*trembling, (260, 250)])) == {"gate in": 0, "gate out": 0}
    assert totals(walk([*trembling, (260, 350)]))["gate in"] == 1
    assert totals(walk(trembling), margin=0)["gate in"] == 25


def test_each_way_over_the_line_counts_once() -> None:
    there_and_back = [(200, 250), (200, 350), (200, 360), (200, 250), (200, 240), (200, 350)]
    assert totals(walk(there_and_back)) == {
        "gate in": 2,
        "gate out": 1,
        "gate in person": 2,
        "gate out person": 1,
    }


def test_who_goes_round_the_end_of_the_line_has_not_crossed() -> None:
    assert totals(walk([(520, 250), (520, 350)])) == {"gate in": 0, "gate out": 0}
    assert totals(walk([(80, 350), (80, 250), (90, 350)])) == {"gate in": 0, "gate out": 0}
    # Round the end and back over the line: only the way back counts.
    assert totals(walk([(480, 250), (540, 250), (540, 350), (480, 350), (480, 250)]))["gate out"] == 1


def test_who_appears_beyond_or_on_the_line_has_not_crossed() -> None:
    assert totals(walk([(200, 350), (200, 400)])) == {"gate in": 0, "gate out": 0}
    assert totals(walk([(200, 300), (200, 350)])) == {"gate in": 0, "gate out": 0}


def test_who_is_hidden_while_crossing_is_counted_and_another_identity_is_not() -> None:
    gap = [at(0, {7: (200, 250)}), *(at(i, {}) for i in range(1, 900)), at(900, {7: (200, 350)})]
    assert totals(gap)["gate in"] == 1
    assert totals([*gap[:-1], at(900, {8: (200, 350)})])["gate in"] == 0


def test_identities_long_gone_are_forgotten() -> None:
    count = CountLines(GATE)
    count.setup()
    for index in range(1500):
        count.process(at(index, {index: (200, 250)}))
    assert len(count._cameras["a"]._ids) <= 1001
    # The same number after so long is somebody else.
    event = count.process(at(1500, {0: (200, 350)}))
    assert event is not None
    assert event.data["gate in"] == 0


def test_cameras_have_their_own_objects_totals_and_lines() -> None:
    frames = [
        at(0, {7: (200, 250)}, camera="a"),
        at(0, {7: (200, 350)}, camera="b"),
        at(0, {7: (200, 350)}, camera="c"),
        at(1, {7: (200, 350)}, camera="a"),
        at(1, {7: (200, 250)}, camera="b"),
    ]
    a, b = run_operator(CountLines(GATE), frames)[-2:]
    assert (a.data["gate in"], a.data["gate out"]) == (1, 0)
    assert (b.data["gate in"], b.data["gate out"]) == (0, 1)
    lines = {"a": {"one": (0, 300, 640, 300), "two": (0, 320, 640, 320)}, "b": {"far": (0, 10, 640, 10)}}
    first, _, without, a, b = run_operator(CountLines(lines), frames)
    assert (first.data, without.data) == ({"one in": 0, "one out": 0, "two in": 0, "two out": 0}, {})
    assert a.data["crossed"] == "person #7 one in, person #7 two in"
    assert b.data == {"far in": 0, "far out": 0}


def test_lines_may_be_parts_of_the_picture() -> None:
    down = walk([(320, 200), (320, 300)])
    assert totals(down, {"middle": (0, 0.5, 1, 0.5)})["middle in"] == 1
    assert totals(down, {"low": (0, 0.75, 1, 0.75)})["low in"] == 0
    blind = Tracks(Origin("a"), [], [], [], ids=[])
    with pytest.raises(InvalidValueError, match="camera a does not tell its size: give its lines in pixels"):
        run_operator(CountLines({"middle": (0, 0.5, 1, 0.5)}), [blind])


def resized(tracks: Tracks, across: float, down: float) -> Tracks:
    """The same scene in a picture so many times wider and higher."""
    width, height = round(tracks.origin.width * across), round(tracks.origin.height * down)
    boxes = tracks.boxes * np.array([across, down, across, down], np.float32)
    return replace(tracks, origin=replace(tracks.origin, width=width, height=height), boxes=boxes)


def test_lines_in_parts_of_the_picture_go_along_when_its_size_changes() -> None:
    ways = [200, 280, 200, 210, 280]  # of the lower half, 240 and below, twice
    frames = walk([(320, y) for y in ways])
    middle = {"middle": (0, 0.5, 1, 0.5)}
    events = run_operator(CountLines(middle), [*frames[:2], *(resized(each, 0.5, 0.5) for each in frames[2:])])
    counted = [(event.data["middle in"], event.data["middle out"]) for event in events]
    assert counted == [(0, 0), (1, 0), (1, 0), (1, 0), (2, 0)]  # on which side it was is not known any more


def test_nobody_crosses_a_line_because_the_size_of_the_picture_changes() -> None:
    frames = walk([(200, 350)] * 4)
    mixed = [each if n < 2 else resized(each, 0.5, 0.5) for n, each in enumerate(frames)]
    assert totals(mixed) == {"gate in": 0, "gate out": 0}


def test_the_end_of_a_camera_forgets_it() -> None:
    count = CountLines(GATE)
    count.setup()
    for frame in walk([(200, 250), (200, 350)]):
        count.process(frame)
    assert list(count.flush("a")) == []
    event = count.process(at(2, {7: (200, 250)}))
    assert event is not None
    assert (event.kind, event.data) == ("counts", {"gate in": 0, "gate out": 0})


@given(st.data())
def test_the_totals_balance_for_any_walk(data: st.DataObject) -> None:
    """Over a line across the whole world, everybody is where the counts say."""
    count = data.draw(st.integers(1, 4))
    heights = st.lists(st.floats(0, 600), min_size=count, max_size=count)
    ways = data.draw(st.lists(heights, min_size=2, max_size=12))
    frames = [at(i, {n: (300, y) for n, y in enumerate(row)}) for i, row in enumerate(ways)]
    line = {"all": (-1e6, 300, 1e6, 300)}
    counted = totals(frames, line)
    clear = np.abs(np.array(ways) - 300) > 0.1 * TALL * 1.0001
    balance = 0
    for column, certain in zip(np.array(ways).T, clear.T, strict=True):
        sides = np.sign(column[certain] - 300)
        balance += int((sides[-1] - sides[0]) / 2) if len(sides) else 0
    near = (np.abs(np.abs(np.array(ways) - 300) - 0.1 * TALL) < 0.01).any()
    assert near or counted["all in"] - counted["all out"] == balance  # type: ignore[operator]


@pytest.mark.parametrize(
    "lines",
    [
        {},
        {"gate": (1, 2, 3)},
        {"gate": (1, 2, 1, 2)},
        {"gate": (1, 2, 3, float("nan"))},
        {"gate": "1234"},
        {"gate": ("1", "2", "3", "4")},
        {"": (1, 2, 3, 4)},
        {"a": {}},
        {"a": {"gate": (1, 2, 3, 4)}, "gate": (1, 2, 3, 4)},
        {"a": {"b": {"gate": (1, 2, 3, 4)}}},
        [(1, 2, 3, 4)],
    ],
)
def test_lines_of_another_form_are_refused(lines: object) -> None:
    with pytest.raises(ConfigError, match=r"^CountLines\.lines: .* is not "):
        CountLines(lines)  # type: ignore[arg-type]


def test_a_negative_margin_is_refused() -> None:
    with pytest.raises(ConfigError, match=r"CountLines\.margin: -1 is not a part of a box's height"):
        CountLines(GATE, margin=-1)


@pytest.mark.parametrize("words", [("gate:1:2:x:4",), ("gate",), ("gate:1:2:3",)])
def test_lines_of_a_command_line_that_are_none_are_refused(words: tuple[str, ...]) -> None:
    with pytest.raises(ConfigError):
        CountLines(parsed_lines(words))


@pytest.mark.parametrize("lines", [GATE, {"a": {"one": [0, 0.5, 1, 0.5], "two": (1, 2, 3, 4)}}])
def test_lines_travel(lines: Mapping[str, object]) -> None:
    graph = Graph("travels")
    camera(graph, "a") >> Detect() >> Track() >> CountLines(lines, quiet=True) >> Null()
    assert from_json(json.loads(json.dumps(to_json(graph)))) == graph
