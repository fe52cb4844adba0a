"""Every stateful operator goes on exactly in another process: snapshot, bytes, restore in a fresh copy."""

from __future__ import annotations

import copy
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from functools import cache
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import flowedge.operators
from flowedge import Detections, Frame, Operator, Origin, State, StateError, Tracks
from flowedge.graph.contract import Step
from flowedge.operators import (
    CountLines,
    CountZones,
    Draw,
    Reconstruct,
    Sample,
    Track,
    TrackTile,
    TrackWithPicture,
    Zones,
)
from flowedge.operators import track_with_picture as with_picture
from flowedge.state.checkpoints import Checkpoint, decode, encode
from flowedge.testing import run_moved, run_operator
from flowedge.wire import blocks

WIDTH, HEIGHT, COUNT = 640, 360, 36
GROUND = cv2.GaussianBlur(np.random.default_rng(5).integers(0, 256, (400, 900, 3), np.uint8), (0, 0), 4)
LINES = {"gate": (320, 0, 320, 360), "edge": (0.0, 0.5, 1.0, 0.5)}
ZONES = {"door": ((0, 0), (320, 0), (320, 360), (0, 360)), "all": ((0, 0), (1, 0), (1, 1), (0, 1))}

Value = Any


def origin(camera: str, index: int, tile: int = 0, tiles: int = 1) -> Origin:
    """Moments of a stream whose frames 20 and 21 were dropped, which is reconnected after the 27th."""
    index += 2 * (index >= 20)
    session = int(index >= 27)
    return Origin(
        camera,
        session,
        index,
        media=(index - 27 * session) / 12.5,
        time=1e9 + index / 12.5,
        monotonic=50 + index / 12.5,
        width=WIDTH,
        height=HEIGHT,
        tile=tile,
        tiles=tiles,
    )


@cache
def crowd(seed: int, camera: str = "north", count: int = COUNT) -> list[Detections]:
    """People who walk both ways, pass behind a tree, meet, and are found with trembling boxes and scores."""
    rng = np.random.default_rng(seed)
    starts, speeds = rng.uniform((0, 60), (640, 200), (9, 2)), rng.uniform(-14, 14, 9)
    found = []
    for index in range(count):
        x = starts[:, 0] + speeds * index
        boxes = np.stack([x, starts[:, 1], x + 34, starts[:, 1] + 90], axis=1) + rng.normal(0, 1, (9, 4))
        in_sight = (x > 0) & (x < 600) & ~((x > 250) & (x < 300)) & (rng.random(9) > 0.1)
        boxes, classes = boxes[in_sight].astype(np.float32), np.flatnonzero(in_sight) % 2
        scores = rng.uniform(0.1, 1, len(boxes)).astype(np.float32)
        missing = ((0, 0, 200, 360),) if index % 11 == 7 else ()
        found.append(Detections(origin(camera, index), boxes, scores, classes, ("person", "car"), missing))
    return found


@cache
def tracked(seed: int, camera: str = "north") -> list[Tracks]:
    return run_operator(Track(), crowd(seed, camera))


@cache
def pictures(seed: int, camera: str = "north") -> list[tuple[Frame, Detections]]:
    """The crowd before a shaking camera."""
    rng = np.random.default_rng(seed)
    pairs = []
    for found in crowd(seed, camera):
        left, top = rng.integers(0, 40, 2)
        image = np.ascontiguousarray(GROUND[top : top + HEIGHT, left : left + WIDTH])
        for x1, y1, x2, y2 in found.boxes.astype(int).tolist():
            image[max(0, y1) : y2, max(0, x1) : x2] = (x1 % 200, 90, y1)
        pairs.append((Frame(found.origin, image), found))
    return pairs


@cache
def tiles(seed: int, camera: str = "north") -> list[Detections]:
    """The crowd cut into two tiles, which change what they show in the middle."""
    parts = []
    for index, found in enumerate(crowd(seed, camera)):
        seam = 320 if index < 18 else 360
        for tile, region in enumerate(((0, 0, seam, HEIGHT), (seam, 0, WIDTH, HEIGHT))):
            here = (found.boxes[:, 0] >= region[0]) & (found.boxes[:, 2] <= region[2])
            part = found.select(here)
            parts.append(replace(part, origin=origin(camera, index, tile, 2), missing=(), region=region))
    return parts


class Colours:
    """In place of a re-identification network: the mean colour of the crop."""

    input_size = (32, 16)
    output_shape = (3,)

    def outputs(self, images: Any) -> Any:
        return (image.mean(axis=(0, 1)).astype(np.float32) for image in images)


Case = tuple[Operator[Any, Any], Callable[..., Sequence[Value]]]
CASES: dict[str, Case] = {
    "Track": (Track(), crowd),
    "Track, rough": (Track(smooth=False, patience=0.3), crowd),
    "TrackTile": (TrackTile(), tiles),
    "TrackWithPicture": (TrackWithPicture(appearance="colours"), pictures),
    "TrackWithPicture, without a network": (TrackWithPicture(appearance=None), pictures),
    "CountLines": (CountLines(LINES), tracked),
    "CountLines, quiet": (CountLines(LINES, quiet=True), tracked),
    "CountZones": (CountZones(ZONES), tracked),
    "Zones": (Zones(ZONES), tracked),
    "Sample": (Sample(fps=7), crowd),
    "Draw": (Draw(trail=9), lambda *key: list(zip(*_drawn(*key), strict=True))),
}
NEW = frozenset({"Decode", "MotionDetect"})
"""Stateful operators that begin anew in another copy: OpenCV and FFmpeg do not give out what they keep."""


def _drawn(seed: int, camera: str = "north") -> tuple[list[Frame], list[Tracks]]:
    return [frame for frame, _ in pictures(seed, camera)], tracked(seed, camera)


@pytest.fixture(autouse=True, scope="module")
def colours() -> Any:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(with_picture, "resolve", lambda name: Path(name))
        patch.setattr(with_picture, "load", lambda path, normalise: Colours())
        yield


def told(results: Sequence[Value]) -> list[bytes]:
    """Results as bytes: equal only where every bit is."""
    return [bytes(blocks.encode(result)) for result in results]


def stateful() -> list[type[Step]]:
    kinds = [getattr(flowedge.operators, name) for name in flowedge.operators.__all__]
    return [
        kind for kind in kinds if isinstance(kind, type) and getattr(kind, "state", State.NONE) != State.NONE
    ]


def test_no_stateful_operator_is_left_out() -> None:
    here = {name.split(",")[0] for name in CASES} | {"Reconstruct"} | NEW
    assert {kind.__name__ for kind in stateful()} == here
    assert not any(kind.snapshot is not Step.snapshot for kind in stateful() if kind.__name__ in NEW)


@pytest.mark.parametrize("name", CASES)
@settings(max_examples=6, deadline=None)
@given(seed=st.integers(0, 5), after=st.integers(0, COUNT + 1))
def test_it_goes_on_in_another_copy_as_if_nothing_had_been(name: str, seed: int, after: int) -> None:
    operator, values = CASES[name]
    assert operator.has_snapshot
    given_values = values(seed)
    assert told(run_moved(operator, given_values, after)) == told(run_operator(operator, given_values))


@pytest.mark.parametrize("name", CASES)
@pytest.mark.parametrize("after", [1, 45])
def test_one_of_two_cameras_moves_and_the_other_stays(name: str, after: int) -> None:
    operator, values = CASES[name]
    mixed = [value for pair in zip(values(1, "north"), values(2, "south"), strict=True) for value in pair]
    assert told(run_moved(operator, mixed, after, {"south"})) == told(run_operator(operator, mixed))


@pytest.mark.parametrize("name", CASES)
def test_a_snapshot_stays_as_it_was_while_both_copies_go_on(name: str) -> None:
    operator, values = CASES[name]
    old, new = copy.deepcopy(operator), copy.deepcopy(operator)
    stream = values(3)
    for step in (old, new):
        step.setup()
    for value in stream[:24]:
        old.process(value)
    state = old.snapshot("north")
    before = encode(Checkpoint("test", "step", "north", 0, 0, 0, "", state))
    new.restore("north", state)
    results = [
        [result for value in stream[24:] if (result := step.process(value)) is not None] for step in (old, new)
    ]
    assert told(results[0]) == told(results[1])
    assert encode(Checkpoint("test", "step", "north", 0, 0, 0, "", state)) == before


@pytest.mark.parametrize("name", CASES)
def test_nothing_is_told_of_a_camera_that_was_not_seen_or_has_ended(name: str) -> None:
    operator, values = CASES[name]
    step = copy.deepcopy(operator)
    step.setup()
    for value in values(3)[:9]:
        step.process(value)
    assert step.snapshot("south") is None
    list(step.flush("north"))
    assert step.snapshot("north") is None


def gathered(step: Reconstruct, parts: Sequence[list[Tracks]]) -> list[Tracks]:
    return [step.gather(of_frame) for of_frame in parts]


@settings(max_examples=6, deadline=None)
@given(seed=st.integers(0, 5), after=st.integers(1, COUNT))
def test_reconstruct_goes_on_in_another_copy_as_if_nothing_had_been(seed: int, after: int) -> None:
    parts = run_operator(TrackTile(), tiles(seed))
    frames = [parts[at : at + 2] for at in range(0, len(parts), 2)]
    whole, old, new = Reconstruct(), Reconstruct(), Reconstruct()
    for step in (whole, old, new):
        step.setup()
    wanted = gathered(whole, frames)
    before = gathered(old, frames[:after])
    state = old.snapshot("north")
    new.restore("north", decode(encode(Checkpoint("test", "step", "north", 0, 0, 0, "", state))).state)
    assert told([*before, *gathered(new, frames[after:])]) == told(wanted)
    assert old.snapshot("south") is None
    for other in (None, {}, {"identities": b"garbage"}, {"identities": "text"}):
        with pytest.raises(StateError):
            new.restore("north", other)
    for step in (whole, old, new):
        step.close()


def test_tiles_of_a_camera_from_two_replicas_come_together_in_one() -> None:
    stream = tiles(1)
    wanted = told(run_operator(TrackTile(), stream))
    replicas = [TrackTile(), TrackTile()]
    for part in stream[:40]:
        replicas[part.origin.tile].process(part)
    merged = TrackTile()
    for replica in replicas:
        merged.restore("north", replica.snapshot("north"))
    assert told([merged.process(part) for part in stream[40:]]) == wanted[40:]


def identities(results: Sequence[Tracks]) -> set[int]:
    return {identity for tracks in results for identity in tracks.ids.tolist()}


def test_a_tile_numbers_on_behind_a_lost_copy() -> None:
    stream = tiles(4)
    old, new = TrackTile(), TrackTile()
    before = identities([old.process(part) for part in stream[:6]])
    state = old.snapshot("north")
    lost = identities([old.process(part) for part in stream[6:28]]) - before
    new.restore("north", state)
    new.renumber("north", 2)
    later = identities([new.process(part) for part in stream[28:36]]) - before
    assert lost
    assert later
    assert not lost & later


@pytest.mark.parametrize("name", ["Track", "TrackWithPicture"])
def test_what_a_lost_copy_numbered_is_numbered_by_no_other(name: str) -> None:
    """From one old checkpoint two copies go on, one after the other, and then one without any state."""
    operator, values = CASES[name]
    stream = values(4)
    step = copy.deepcopy(operator)
    step.setup()
    before = identities([step.process(value) for value in stream[:6]])
    state = step.snapshot("north")
    given_out = [identities([step.process(value) for value in stream[6:20]]) - before]
    for epoch in (2, 3, 4):
        step = copy.deepcopy(operator)
        step.setup()
        if epoch < 4:
            step.restore("north", state)
        step.renumber("north", epoch)
        given_out.append(identities([step.process(value) for value in stream[20:]]) - before)
    assert all(given_out)
    assert len(set.union(*given_out)) == sum(map(len, given_out))
    assert min(given_out[-1]) == 4_000_001


def test_reconstruct_numbers_on_behind_a_lost_copy() -> None:
    parts = run_operator(TrackTile(), tiles(4))
    frames = [parts[at : at + 2] for at in range(0, len(parts), 2)]
    old, new = Reconstruct(), Reconstruct()
    for step in (old, new):
        step.setup()
    before = identities(gathered(old, frames[:3]))
    state = old.snapshot("north")
    lost = identities(gathered(old, frames[3:20])) - before
    new.restore("north", state)
    new.renumber("north", 2)
    later = identities(gathered(new, frames[20:])) - before
    assert lost
    assert later
    assert not lost & later
    assert min(later) > 2_000_000
    for step in (old, new):
        step.close()


def spoilt(state: Any, place: str = "") -> Iterator[tuple[str, Any]]:
    """The state with one part of it missing, of another type or of another length, everywhere in turn."""
    if isinstance(state, dict):
        for name, value in state.items():
            yield place, {key: other for key, other in state.items() if key != name}
            yield name, {**state, name: object()}
            yield from ((where, {**state, name: other}) for where, other in spoilt(value, name))
    elif isinstance(state, list):
        for at, value in enumerate(state):
            for where, other in spoilt(value, place):
                yield where, [*state[:at], other, *state[at + 1 :]]
    elif isinstance(state, np.ndarray):
        wrong = (state.astype(np.complex64), state[..., None], state.tolist(), np.repeat(state, 2, axis=0))
        yield from ((place, other) for other in wrong)


MAY_DIFFER = {"points", "zones"}
"""What has any number of members: corners of a picture, zones that somebody was in."""


@pytest.mark.parametrize("name", CASES)
def test_what_is_no_state_is_refused_and_changes_nothing(name: str) -> None:
    operator, values = CASES[name]
    stream = values(3)
    old, new = copy.deepcopy(operator), copy.deepcopy(operator)
    for step in (old, new):
        step.setup()
        for value in stream[:24]:
            step.process(value)
    others = [("", None), ("", []), ("", "state"), *spoilt(old.snapshot("north"))]
    for place, other in others:
        if place not in MAY_DIFFER:
            with pytest.raises(StateError):
                new.restore("north", other)
    results = [
        [result for value in stream[24:] if (result := step.process(value)) is not None] for step in (old, new)
    ]
    assert len(others) > 10
    assert told(results[0]) == told(results[1])
