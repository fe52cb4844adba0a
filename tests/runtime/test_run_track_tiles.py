"""Tiles tracked one by one and brought together, in a running graph."""

from __future__ import annotations

import logging
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

import numpy as np
import pytest

from flowedge import Detections, Frame, Graph, Operator, Origin, Stream, Tracks
from flowedge.errors import UserError
from flowedge.operators.reconstruct import Reconstruct
from flowedge.operators.slice import Slice
from flowedge.operators.track_tile import TrackTile
from flowedge.runtime.run import Run
from flowedge.testing import Collect, ListSource
from tests.redis_server import free_port, redis_server
from tests.runtime.fake_steps import finish

WIDTH, HEIGHT, COUNT = 640, 360, 60


def pictures(count: int = COUNT, cameras: Sequence[str] = ("north",)) -> list[Frame]:
    image = np.zeros((HEIGHT, WIDTH, 3), np.uint8)
    return [
        Frame(Origin(camera, 0, n, n / 25, 1e9 + n / 25, width=WIDTH, height=HEIGHT), image)
        for camera in cameras
        for n in range(count)
    ]


def people(origin: Origin) -> np.ndarray:
    """Three people: to the right, to the left, and from top to bottom. Cameras differ in where they begin."""
    n, start = origin.index, 7 * len(origin.camera)
    feet = np.array([[start + 8 * n, 60], [580 - start - 8 * n, 150], [10, 10 + 4 * n]])
    return np.hstack([feet, feet + np.array([24, 60])]).astype(np.float32)


class Play(ListSource[Frame]):
    """The pictures as files."""


@dataclass
class Find(Operator[Frame, Detections]):
    """Finds the people that are at least a third in a tile; `before` is called with each tile."""

    before: Callable[[Frame], object] = field(default=lambda tile: None)

    def process(self, tile: Frame, /) -> Detections:
        self.before(tile)
        boxes, rect = people(tile.origin), np.array(tile.region)
        inside = np.clip(boxes, rect[[0, 1, 0, 1]], rect[[2, 3, 2, 3]])
        shares = [(each[:, 2:] - each[:, :2]).prod(axis=1) for each in (inside, boxes)]
        found = inside[shares[0] > shares[1] / 3]
        count = len(found)
        return Detections(tile.origin, found, [0.9] * count, [0] * count, ("person",), region=tile.region)


def tracked(graph: Graph, source: Play, find: Find, gather: Reconstruct) -> Stream[Tracks]:
    cut = Slice(6, overlap=0.2, whole_frame=False)
    return graph.source(source) >> cut >> find >> TrackTile() >> gather


def identities(results: Sequence[Tracks]) -> list[dict[int, int]]:
    """For each frame, the identity of each person in sight."""
    shown = []
    for tracks in results:
        away = np.abs(tracks.boxes[:, None] - people(tracks.origin)).sum(axis=2)
        shown.append(dict(zip(away.argmin(axis=1).tolist(), tracks.ids.tolist(), strict=True)))
        assert len(shown[-1]) == len(tracks)
    return shown


def test_everybody_keeps_one_identity_over_all_tiles() -> None:
    graph, sink = Graph("test"), Collect[Tracks]()
    cameras = ("a", "abc")
    tracked(graph, Play(pictures(cameras=cameras)), Find(), Reconstruct()) >> sink
    with Run(graph) as run:
        finish(run)
    for camera in cameras:
        results = [tracks for tracks in sink.values if tracks.origin.camera == camera]
        assert [tracks.origin.index for tracks in results] == list(range(COUNT))
        assert identities(results) == [identities(results[:1])[0]] * COUNT
        assert sorted(identities(results)[0].values()) == [1, 2, 3]


def test_a_tile_that_fails_hides_people_and_does_not_rename_them() -> None:
    def fail(tile: Frame) -> None:
        if tile.origin.tile == 0 and 15 <= tile.origin.index < 25:
            raise ValueError("lost")

    graph, sink = Graph("test"), Collect[Tracks]()
    tracked(graph, Play(pictures()), Find(fail), Reconstruct(memory=0.2)) >> sink
    with Run(graph) as run:
        finish(run)
    lost = [tracks.missing for tracks in sink.values if tracks.missing]
    assert len(lost) == 10
    shown = identities(sink.values)
    assert len(shown[20]) < 3
    assert {pair for each in shown for pair in each.items()} == set(shown[0].items())


def test_two_graphs_that_share_a_server_share_no_identities() -> None:
    with redis_server() as server:
        for name in ("one", "two"):
            graph, sink = Graph("test"), Collect[Tracks]()
            gather = Reconstruct(store=server.address, name=name)
            tracked(graph, Play(pictures(10)), Find(), gather) >> sink
            with Run(graph) as run:
                finish(run)
            assert sorted(identities(sink.values)[-1].values()) == [1, 2, 3]


def test_a_store_that_goes_away_fails_frames_and_hangs_nothing(caplog: pytest.LogCaptureFixture) -> None:
    with redis_server() as server:

        def stop(tile: Frame) -> None:
            if (tile.origin.index, tile.origin.tile) == (30, 0):
                server.stop()

        graph, sink = Graph("test"), Collect[Tracks]()
        tracked(graph, Play(pictures(40)), Find(stop), Reconstruct(store=server.address)) >> sink
        with caplog.at_level(logging.CRITICAL, "flowedge.run"), Run(graph, max_failures=1.0) as run:
            counts = finish(run).cameras["north"]
    assert set(counts.failures) == {"StoreError at Reconstruct"}
    assert counts.failed >= 10
    assert counts.delivered + counts.failed == 40


def test_a_store_that_is_not_there_is_one_sentence() -> None:
    pytest.importorskip("redis")
    graph = Graph("test")
    gather = Reconstruct(store=f"redis://user:secret@127.0.0.1:{free_port()}/0")
    tracked(graph, Play(pictures(3)), Find(), gather) >> Collect()
    with (
        pytest.raises(UserError, match=r"the store redis://127\.0\.0\.1:\d+/0 gives no answer") as caught,
        Run(graph) as run,
    ):
        run.wait(10)
    assert "secret" not in str(caught.value)


def test_tiles_are_not_tracked_without_a_split() -> None:
    graph = Graph("test")
    with pytest.raises(UserError, match="Reconstruct"):
        graph.source(Play(pictures(3))) >> Find() >> TrackTile() >> Reconstruct() >> Collect()
