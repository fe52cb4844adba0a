from __future__ import annotations

import copy
import threading
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from flowedge import ConfigError, Detections, Frame, Origin, Rect, Tracks
from flowedge.operators.reconstruct import Reconstruct
from flowedge.operators.slice import Slice
from flowedge.operators.track_tile import TrackTile
from flowedge.state.store import StoreError
from flowedge.values import InvalidValueError
from tests.redis_server import free_port, redis_server

WIDTH, HEIGHT = 1000, 500
HALVES: tuple[Rect, ...] = ((0, 0, 550, 500), (450, 0, 1000, 500))  # 100 pixels in common
TOUCHING: tuple[Rect, ...] = ((0, 0, 500, 500), (500, 0, 1000, 500))
FPS = 25

Box = tuple[float, float, float, float]
Local = tuple[int, Box]
"""A tile's track: its number there and its box, in source pixels."""


def origin(index: int, tile: int, tiles: int, camera: str = "north") -> Origin:
    seconds = index / FPS
    return Origin(
        camera,
        index=index,
        media=seconds,
        time=1e9 + seconds,
        width=WIDTH,
        height=HEIGHT,
        tile=tile,
        tiles=tiles,
    )


def part(
    index: int,
    tile: int,
    tracks: Sequence[Local],
    regions: Sequence[Rect] = HALVES,
    camera: str = "north",
    classes: Sequence[int] | None = None,
) -> Tracks:
    """What a tile's tracker says of a frame; boxes are cut where the tile ends."""
    x1, y1, x2, y2 = regions[tile]
    boxes = np.array([box for _, box in tracks], np.float32).reshape(-1, 4)
    boxes = np.clip(boxes, [x1, y1, x1, y1], [x2, y2, x2, y2])
    count = len(tracks)
    return Tracks(
        origin(index, tile, len(regions), camera),
        boxes,
        np.full(count, 0.9),
        np.zeros(count) if classes is None else np.array(classes),
        ("person", "car"),
        region=regions[tile],
        ids=np.array([local for local, _ in tracks], np.int64),
    )


def seen_by_tiles(
    index: int,
    boxes: Mapping[int, Box],
    regions: Sequence[Rect] = HALVES,
    camera: str = "north",
    least: float = 0.3,
) -> list[Tracks]:
    """Perfect trackers: a tile sees an object of which `least` lies in it, by a number of its own."""

    def share(box: Box, region: Rect) -> float:
        sides = np.minimum(box[2:], region[2:]) - np.maximum(box[:2], region[:2])
        return float(np.maximum(sides, 0).prod() / ((box[2] - box[0]) * (box[3] - box[1])))

    return [
        part(
            index,
            tile,
            [(100 * tile + key, box) for key, box in boxes.items() if share(box, region) >= least],
            regions,
            camera,
        )
        for tile, region in enumerate(regions)
    ]


def person(x: float, y: float = 200, width: float = 40, height: float = 100) -> Box:
    return (x, y, x + width, y + height)


@contextmanager
def running(*steps: Reconstruct) -> Iterator[None]:
    for step in steps:
        step.setup()
    try:
        yield
    finally:
        for step in steps:
            step.close()


def reconstructed(frames: Iterable[Sequence[Tracks]], step: Reconstruct | None = None) -> list[Tracks]:
    step = step or Reconstruct()
    with running(step):
        return [step.gather(parts) for parts in frames]


def ids_of(results: Iterable[Tracks]) -> list[list[int]]:
    return [sorted(each.ids.tolist()) for each in results]


def test_the_result_is_the_whole_frame_s() -> None:
    parts = seen_by_tiles(7, {1: person(100), 2: person(800)})
    [tracks] = reconstructed([parts])
    assert tracks.origin == Origin(
        "north", index=7, media=7 / FPS, time=1e9 + 7 / FPS, width=WIDTH, height=HEIGHT, tile=0, tiles=1
    )
    assert (tracks.region, tracks.names, tracks.missing) == ((0, 0, WIDTH, HEIGHT), ("person", "car"), ())
    assert tracks.boxes.tolist() == [list(person(100)), list(person(800))]
    assert (tracks.scores == np.float32(0.9)).all()
    assert tracks.ids.tolist() == [1, 2]


def test_nobody_is_nobody() -> None:
    assert [len(each) for each in reconstructed([seen_by_tiles(n, {}) for n in range(3)])] == [0, 0, 0]


@pytest.mark.parametrize("speed", [2, 7, 20])
@pytest.mark.parametrize("regions", [HALVES, TOUCHING])
def test_who_walks_across_is_one_row_with_one_identity(regions: Sequence[Rect], speed: int) -> None:
    walk = [{1: person(300 + speed * n)} for n in range(400 // speed)]
    results = reconstructed(seen_by_tiles(n, boxes, regions) for n, boxes in enumerate(walk))
    assert ids_of(results) == [[1]] * len(walk)
    if regions == HALVES:  # narrower than what the tiles have in common: some tile shows all of it
        for tracks, boxes in zip(results, walk, strict=True):
            assert tracks.boxes.tolist() == [list(boxes[1])]


def test_the_parts_of_what_no_tile_shows_whole_are_put_together() -> None:
    bus = person(250, 100, 500, 200)
    [tracks] = reconstructed([seen_by_tiles(0, {1: bus})])
    assert tracks.boxes.tolist() == [list(bus)]


def test_four_tiles_around_one_object_see_one() -> None:
    regions = ((0, 0, 550, 280), (450, 0, 1000, 280), (0, 220, 550, 500), (450, 220, 1000, 500))
    van = person(400, 150, 200, 200)
    [tracks] = reconstructed([seen_by_tiles(0, {1: van}, regions, least=0.1)])
    assert tracks.boxes.tolist() == [list(van)]


def test_the_whole_frame_is_a_tile_like_any_other() -> None:
    regions = (*HALVES, (0, 0, WIDTH, HEIGHT))
    people = {1: person(100), 2: person(480), 3: person(530), 4: person(900)}
    [tracks] = reconstructed([seen_by_tiles(0, people, regions)])
    assert sorted(tracks.boxes.tolist()) == sorted(list(box) for box in people.values())


def test_people_side_by_side_in_the_overlap_stay_apart() -> None:
    people = [{1: person(460 + n), 2: person(490 + n), 3: person(500, 310)} for n in range(10)]
    results = reconstructed(seen_by_tiles(n, boxes) for n, boxes in enumerate(people))
    assert ids_of(results) == [[1, 2, 3]] * 10


def test_two_of_whom_each_tile_finds_one_are_not_one_for_a_little_overlap() -> None:
    [tracks] = reconstructed([[part(0, 0, [(1, person(470))]), part(0, 1, [(1, person(495))])]])
    assert len(tracks) == 2


def test_what_one_tile_calls_two_stays_two() -> None:
    """Even if both agree with what the other tile found."""
    box = person(480)
    [tracks] = reconstructed([[part(0, 0, [(1, box), (2, box)]), part(0, 1, [(1, box)])]])
    assert tracks.ids.tolist() == [1, 2]


def test_classes_do_not_mix() -> None:
    box = person(480)
    parts = [part(0, 0, [(1, box)], classes=[0]), part(0, 1, [(1, box)], classes=[1])]
    assert len(reconstructed([parts])[0]) == 2


def test_people_who_pass_each_other_in_the_overlap_keep_their_identities() -> None:
    walk = [{1: person(300 + 5 * n), 2: person(660 - 5 * n, 210)} for n in range(70)]
    results = reconstructed(seen_by_tiles(n, boxes) for n, boxes in enumerate(walk))
    first, last = results[0], results[-1]
    assert ids_of(results) == [[1, 2]] * 70
    assert first.ids[np.argmin(first.boxes[:, 1])] == last.ids[np.argmin(last.boxes[:, 1])]


@pytest.mark.parametrize("gap", [1, 5, 15])
def test_who_was_out_of_sight_between_tiles_comes_back_as_before(gap: int) -> None:
    """The right tile only finds the person `gap` frames after the left one has lost them."""
    walk = [{1: person(300 + 4 * n)} for n in range(50 + gap, 80)]
    before = [{1: person(300 + 4 * n)} for n in range(50)]
    frames = [[part(n, 0, list(boxes.items())), part(n, 1, [])] for n, boxes in enumerate(before)]
    frames += [
        [part(50 + gap + n, 0, []), part(50 + gap + n, 1, list(boxes.items()))] for n, boxes in enumerate(walk)
    ]
    assert ids_of(reconstructed(frames)) == [[1]] * len(frames)


def test_who_comes_up_cut_by_the_edge_is_known_by_the_part_that_shows() -> None:
    """The left tile loses the person before they reach its edge; the right one finds a tenth of them."""
    walk = [{1: person(300 + 4 * n)} for n in range(46)]
    frames = [
        [part(n, 0, list(boxes.items()), TOUCHING), part(n, 1, [], TOUCHING)]
        for n, boxes in enumerate(walk[:38])
    ]
    frames += [
        [part(n, 0, [], TOUCHING), part(n, 1, [(1, person(300 + 4 * n))], TOUCHING)] for n in range(41, 46)
    ]
    assert ids_of(reconstructed(frames)) == [[1]] * len(frames)


def test_a_car_where_a_person_was_is_not_that_person() -> None:
    box = person(200)
    frames = [[part(n, 0, [(1 + n // 5, box)], classes=[n // 5]), part(n, 1, [])] for n in range(10)]
    assert ids_of(reconstructed(frames)) == [[1]] * 5 + [[2]] * 5


def test_somebody_else_elsewhere_is_somebody_else() -> None:
    left = [[part(n, 0, [(1, person(100))]), part(n, 1, [])] for n in range(5)]
    right = [[part(n, 0, []), part(n, 1, [(1, person(900))])] for n in range(5, 10)]
    assert ids_of(reconstructed(left + right)) == [[1]] * 5 + [[2]] * 5


def test_a_number_that_a_tile_gives_again_is_somebody_else() -> None:
    """A tracker that was begun anew counts from 1 again."""
    before = [[part(n, 0, [(1, person(50))]), part(n, 1, [])] for n in range(5)]
    after = [[part(n, 0, [(1, person(400))]), part(n, 1, [])] for n in range(5, 10)]
    assert ids_of(reconstructed(before + after)) == [[1]] * 5 + [[2]] * 5


def test_two_who_were_taken_for_one_are_two_again_as_before() -> None:
    """In the overlap each tile sees only one of the two, who stand before each other."""

    def frame(n: int, first: float, second: float) -> list[Tracks]:
        return [part(n, 0, [(1, person(first))]), part(n, 1, [(1, person(second))])]

    apart = [frame(n, 400, 600) for n in range(5)]
    close = [frame(5 + n, 480, 485) for n in range(10)]
    again = [frame(15 + n, 440, 540) for n in range(5)]
    results = reconstructed(apart + close + again)
    assert ids_of(results) == [[1, 2]] * 5 + [[1]] * 10 + [[1, 2]] * 5
    for tracks in (*results[:5], *results[15:]):
        assert tracks.boxes[tracks.ids == 1][0, 0] < 450 < tracks.boxes[tracks.ids == 2][0, 0]


def test_who_had_an_identity_first_keeps_it_when_one_become_two() -> None:
    """Though the other one is nearer to where both were seen together."""
    frames = [
        [part(n, 0, [(1, person(first))]), part(n, 1, [(1, person(second))])]
        for n, (first, second) in enumerate([(400, 600)] * 3 + [(480, 485)] * 3 + [(440, 490)] * 3)
    ]
    last = reconstructed(frames)[-1]
    assert dict(zip(last.ids.tolist(), last.boxes[:, 0].tolist(), strict=True)) == {1: 440, 2: 490}


def test_two_who_began_as_one_can_become_two() -> None:
    close = [[part(n, 0, [(1, person(480))]), part(n, 1, [(1, person(485))])] for n in range(5)]
    apart = [[part(5 + n, 0, [(1, person(420))]), part(5 + n, 1, [(1, person(560))])] for n in range(5)]
    results = reconstructed(close + apart)
    assert ids_of(results) == [[1]] * 5 + [[1, 2]] * 5


def test_a_moment_of_disagreement_makes_nobody_new() -> None:
    """The right tile finds the legs only, for a frame; by half the agreement two stay together."""
    whole, legs = person(480), person(480, 265, 40, 35)
    frames = [[part(n, 0, [(1, whole)]), part(n, 1, [(1, legs if n == 5 else whole)])] for n in range(10)]
    assert ids_of(reconstructed(frames)) == [[1]] * 10


@pytest.mark.parametrize("told", [True, False])
def test_who_is_where_nobody_looks_is_not_forgotten(told: bool) -> None:
    """The right tile fails for two seconds: told by its absence, or by what the left one says is missing."""
    step, people = Reconstruct(memory=0.5), {1: person(100), 2: person(800)}
    frames = []
    for n in range(100):
        parts = seen_by_tiles(n, people)
        if 20 <= n < 70:
            parts = parts[:1] if told else [parts[0], parts[1].select([False])]
        frames.append(parts)
    results = reconstructed(frames, step)
    assert ids_of(results[:20]) == [[1, 2]] * 20
    assert ids_of(results[70:]) == [[1, 2] if told else [1, 3]] * 30


def test_what_parts_say_is_missing_is_handed_on() -> None:
    lost: Rect = (900, 0, 1000, 500)
    parts = seen_by_tiles(0, {1: person(100)})
    parts = [
        Tracks(p.origin, p.boxes, p.scores, p.classes, p.names, (lost,), p.region, ids=p.ids) for p in parts
    ]
    assert reconstructed([parts])[0].missing == (lost,)


def test_cameras_count_by_themselves() -> None:
    frames = [
        seen_by_tiles(n, {1: person(100), 2: person(700)}, camera=c) for n in range(5) for c in ("a", "b")
    ]
    assert ids_of(reconstructed(frames)) == [[1, 2]] * 10


@pytest.mark.parametrize(
    "after", [TOUCHING, ((0, 0, 400, 500), (300, 0, 700, 500), (600, 0, 1000, 500)), ((0, 0, WIDTH, HEIGHT),)]
)
def test_another_number_of_tiles_changes_no_identity(after: Sequence[Rect]) -> None:
    """Local numbers begin anew, and in another order."""
    people = {1: person(100), 2: person(150), 3: person(480), 4: person(800)}
    renumbered = {2: people[1], 1: people[2], 4: people[3], 3: people[4]}
    results = reconstructed(
        [seen_by_tiles(n, people) if n < 10 else seen_by_tiles(n, renumbered, after) for n in range(20)]
    )
    identity = [
        {tuple(box): i for box, i in zip(r.boxes.tolist(), r.ids.tolist(), strict=True)} for r in results
    ]
    assert [identity[0]] * 20 == identity


def resized(tracks: Tracks, across: float, down: float) -> Tracks:
    """The same scene in a picture so many times wider and higher; the tile is tracked anew."""
    factor = np.array([across, down, across, down], np.float32)
    x1, y1, x2, y2 = np.rint(np.array(tracks.region) * factor).astype(int).tolist()
    return replace(
        tracks,
        origin=replace(tracks.origin, width=round(WIDTH * across), height=round(HEIGHT * down)),
        boxes=tracks.boxes * factor,
        region=(x1, y1, x2, y2),
        ids=tracks.ids + 1000,
    )


@pytest.mark.parametrize(("across", "down"), [(0.5, 0.5), (2, 2), (0.5, 0.75)])
def test_identities_survive_a_picture_of_another_size(across: float, down: float) -> None:
    """Of the new size one tile comes only later; who is in it is remembered."""
    walk = [
        {1: person(400 + 4 * n, 50), 2: person(200 + 2 * n, 250), 3: person(800 - 4 * n)} for n in range(40)
    ]
    frames = [seen_by_tiles(n, people) for n, people in enumerate(walk)]
    after = [[resized(each, across, down) for each in parts] for parts in frames[20:]]
    results = reconstructed([*frames[:20], *(parts[:1] for parts in after[:5]), *after[5:]])
    factor, shown = np.array([across, down, across, down], np.float32), []
    for n, (tracks, people) in enumerate(zip(results, walk, strict=True)):
        expected = np.array(list(people.values()), np.float32) * (factor if n >= 20 else 1)
        nearest = np.abs(tracks.boxes[:, None] - expected).sum(axis=2).argmin(axis=1)
        shown.append(dict(zip(nearest.tolist(), tracks.ids.tolist(), strict=True)))
    of_left_tile = {person: shown[0][person] for person in (0, 1)}
    assert shown == [shown[0]] * 20 + [of_left_tile] * 5 + [shown[0]] * 15


def test_tiles_with_other_class_names_are_refused() -> None:
    left, right = seen_by_tiles(7, {1: person(100), 2: person(800)})
    parts = [left, replace(right, names=("cat", "dog"))]
    with pytest.raises(
        InvalidValueError, match=r"Reconstruct: .* frame 7 of camera north .* \(cat, dog\) and \(person, car\)"
    ):
        reconstructed([parts])


def test_a_tile_that_is_no_more_hides_nobody() -> None:
    three = ((0, 0, 400, 500), (300, 0, 700, 500), (600, 0, 1000, 500))
    before = [seen_by_tiles(n, {1: person(100), 2: person(800)}, three) for n in range(5)]
    after = [seen_by_tiles(n, {1: person(100)}) for n in range(5, 30)]
    again = [seen_by_tiles(n, {1: person(100), 2: person(800)}) for n in range(30, 35)]
    results = reconstructed(before + after + again, Reconstruct(memory=0.5))
    assert ids_of(results) == [[1, 2]] * 5 + [[1]] * 25 + [[1, 3]] * 5


def test_what_is_known_does_not_grow_for_ever() -> None:
    step = Reconstruct(memory=1)
    sizes = []
    with running(step):
        for n in range(600):
            people = {3 * n + k: person(100 + 300 * k) for k in range(3)}
            step.gather([part(n, tile, list(people.items())) for tile in (0, 1)])
            sizes.append(len(step._store.load("flowedge/Reconstruct/north") or b""))
    assert max(sizes[300:]) <= 1.01 * max(sizes[:100])


def test_objects_lost_behind_a_dead_tile_do_not_pile_up() -> None:
    """Somebody walks into it every second, for two minutes."""
    step = Reconstruct(memory=1)
    sizes = []
    with running(step):
        step.gather(seen_by_tiles(0, {}))
        for n in range(1, 120 * FPS, 5):
            x = 300 + 8 * (n % FPS) + 100
            step.gather([part(n, 0, [(n // FPS, person(x))])])
            sizes.append(len(step._store.load("flowedge/Reconstruct/north") or b""))
    assert max(sizes[-50:]) <= 1.05 * max(sizes[: len(sizes) * 2 // 3])


@pytest.mark.parametrize(("seconds", "identity"), [(20, 1), (200, 2)])
def test_who_stands_there_after_a_pause_is_the_same_unless_it_was_long(seconds: int, identity: int) -> None:
    """Nobody looked meanwhile. The numbers go on in any case."""
    before = [seen_by_tiles(n, {1: person(100)}) for n in range(5)]
    after = [seen_by_tiles(n + FPS * seconds, {1: person(100)}) for n in range(5)]
    assert ids_of(reconstructed(before + after)) == [[1]] * 5 + [[identity]] * 5


Crowd = list[list[Tracks]]


def crowd(count: int = 80, people: int = 12) -> Crowd:
    """People who walk in rows over all tiles, to and fro."""
    rng = np.random.default_rng(7)
    starts, speeds = rng.uniform(0, 900, people), rng.uniform(-8, 8, people)
    return [
        seen_by_tiles(
            n,
            {
                k: person(float(np.clip(starts[k] + speeds[k] * n, 0, 960)), 40 * k, 30, 35)
                for k in range(people)
            },
        )
        for n in range(count)
    ]


def same(one: Tracks, other: Tracks) -> bool:
    return bool(np.array_equal(one.ids, other.ids) and np.array_equal(one.boxes, other.boxes))


def test_the_order_in_which_tiles_come_changes_nothing() -> None:
    frames = crowd(30)
    ahead, back = reconstructed(frames), reconstructed(parts[::-1] for parts in frames)
    assert all(same(one, other) for one, other in zip(ahead, back, strict=True))


@contextmanager
def two_replicas(store: str) -> Iterator[tuple[Reconstruct, Reconstruct]]:
    """In one process copies of one step; with Redis steps built by themselves, as in two processes."""
    first = Reconstruct(store=store)
    second = copy.deepcopy(first) if store == "memory://" else Reconstruct(store=store)
    with running(first, second):
        yield first, second


@pytest.fixture(params=["memory", "redis"])
def store(request: pytest.FixtureRequest) -> Iterator[str]:
    if request.param == "memory":
        yield "memory://"
    else:
        with redis_server() as server:
            yield server.address


def test_replicas_in_turn_number_as_one_would(store: str) -> None:
    frames = crowd()
    alone = reconstructed(frames)
    with two_replicas(store) as replicas:
        shared = [replicas[n % 2].gather(parts) for n, parts in enumerate(frames)]
    assert all(same(one, other) for one, other in zip(alone, shared, strict=True))


def test_replicas_at_once_keep_one_set_of_identities(store: str) -> None:
    """Each works through its half of the frames in a thread of its own, ahead of the other or behind."""
    frames = crowd()
    results: dict[int, Tracks] = {}
    with two_replicas(store) as replicas:
        first = replicas[0].gather(frames[0])
        meeting = threading.Barrier(2)

        def work(which: int) -> None:
            for n in range(1 + which, len(frames) - 1, 2):
                meeting.wait(60)
                results[n] = replicas[which].gather(frames[n])

        threads = [threading.Thread(target=work, args=(which,)) for which in (0, 1)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
    assert len(results) == len(frames) - 2
    assert {tuple(sorted(each.ids.tolist())) for each in results.values()} == {
        tuple(sorted(first.ids.tolist()))
    }
    rows = {i: box[1] for i, box in zip(first.ids.tolist(), first.boxes.tolist(), strict=True)}
    for each in results.values():
        assert {i: box[1] for i, box in zip(each.ids.tolist(), each.boxes.tolist(), strict=True)} == rows


def test_who_was_overtaken_by_another_replica_looks_again(monkeypatch: pytest.MonkeyPatch) -> None:
    """The other one puts its frame in between reading and writing: its new person has the number by then."""
    first = Reconstruct()
    second = copy.deepcopy(first)
    load, overtaken = first._store.load, []

    def slow_load(key: str) -> bytes | None:
        value = load(key)
        if not overtaken:
            overtaken.append(True)
            overtaken.append(second.gather(seen_by_tiles(0, {2: person(800)})))
        return value

    with running(first, second):
        monkeypatch.setattr(first._store, "load", slow_load)
        tracks = first.gather(seen_by_tiles(1, {1: person(100), 2: person(800)}))
    assert overtaken[1].ids.tolist() == [1]
    assert dict(zip(tracks.boxes[:, 0].tolist(), tracks.ids.tolist(), strict=True)) == {100: 2, 800: 1}


def test_frames_that_come_late_do_not_turn_time_back() -> None:
    frames = crowd()
    order = [n + (1 if n % 2 else -1) for n in range(1, len(frames) - 1)]
    results = reconstructed([frames[0], *(frames[n] for n in order)])
    assert {tuple(ids) for ids in ids_of(results)} == {tuple(range(1, 13))}


def test_a_new_run_on_an_old_store_finds_new_people() -> None:
    """The same clip again, a minute later, by the same name: numbers go on, nobody is taken for another."""
    with redis_server() as server:
        step = Reconstruct(store=server.address)
        first = reconstructed([seen_by_tiles(n, {1: person(100 + n)}) for n in range(10)], step)
        later = [
            [
                Tracks(
                    Origin(
                        "north", 0, n, n / FPS, 1e9 + 60 + n / FPS, width=WIDTH, height=HEIGHT, tile=k, tiles=2
                    ),
                    p.boxes,
                    p.scores,
                    p.classes,
                    p.names,
                    region=p.region,
                    ids=p.ids,
                )
                for k, p in enumerate(seen_by_tiles(n, {1: person(100 + n)}))
            ]
            for n in range(10)
        ]
        second = reconstructed(later, step)
    assert (ids_of(first), ids_of(second)) == ([[1]] * 10, [[2]] * 10)


def test_a_store_that_went_away_fails_the_frame() -> None:
    with redis_server() as server:
        step = Reconstruct(store=server.address)
        step.setup()
        step.gather(seen_by_tiles(0, {1: person(100)}))
        server.stop()
        with pytest.raises(StoreError, match="gives no answer"):
            step.gather(seen_by_tiles(1, {1: person(100)}))
        step.close()


def test_what_somebody_else_put_there_fails_the_frame() -> None:
    step = Reconstruct()
    with running(step):
        step._store.swap("flowedge/Reconstruct/north", None, b"something else", 60)
        with pytest.raises(StoreError, match="cannot be read"):
            step.gather(seen_by_tiles(0, {}))


def test_bad_fields_are_refused() -> None:
    for store in ("redis", "http://10.0.0.9/0", ""):
        with pytest.raises(
            ConfigError, match=r"Reconstruct.store: '.*' is not an address: memory://, or redis://"
        ):
            Reconstruct(store=store)
    with pytest.raises(ConfigError, match=r"Reconstruct.memory: 0 is not a number of seconds above 0"):
        Reconstruct(memory=0)


def test_a_store_that_is_not_there_is_said_at_setup_without_the_password() -> None:
    pytest.importorskip("redis")
    step = Reconstruct(store=f"redis://:secret@127.0.0.1:{free_port()}/0")
    with pytest.raises(ConfigError, match="gives no answer") as caught:
        step.setup()
    step.close()
    assert "secret" not in str(caught.value)


@pytest.mark.parametrize("tiles", [2, 4, 6])
@pytest.mark.parametrize("overlap", [0.0, 0.2])
def test_from_tiles_to_identities(tiles: int, overlap: float) -> None:
    """With real tile trackers each person has one identity, whatever seams lie in the way."""
    picture = np.zeros((HEIGHT, WIDTH, 3), np.uint8)
    cut = Slice(tiles, overlap=overlap, whole_frame=False)
    tracker, gather = TrackTile(), Reconstruct()
    shown: set[tuple[int, int]] = set()
    with running(gather):
        for n in range(60):
            people = [person(80 + 12 * n, 60), person(850 - 12 * n, 180), person(30, 20 + 5 * n)]
            tiles_ = cut.split(Frame(origin(n, 0, 1), picture))
            tracks = gather.gather([tracker.process(detected(tile, people)) for tile in tiles_])
            for box, identity in zip(tracks.boxes, tracks.ids.tolist(), strict=True):
                nearest = int(np.argmin([np.abs(box - other).sum() for other in people]))
                shown.add((nearest, identity))
    assert sorted(nearest for nearest, _ in shown) == [0, 1, 2]
    assert sorted(identity for _, identity in shown) == [1, 2, 3]


def detected(tile: Frame, people: Sequence[Box]) -> Detections:
    """A detector that finds all of which at least a third is in the tile."""
    low, high = np.array(tile.region[:2]), np.array(tile.region[2:])
    boxes = np.array(people)
    inside = np.hstack([np.clip(boxes[:, :2], low, high), np.clip(boxes[:, 2:], low, high)])
    areas = [(each[:, 2:] - each[:, :2]).prod(axis=1) for each in (inside, boxes)]
    found = areas[0] / areas[1] > 1 / 3
    count = int(found.sum())
    return Detections(
        tile.origin, inside[found], np.full(count, 0.9), np.zeros(count), ("person",), region=tile.region
    )


BOXES = st.tuples(
    st.floats(0, 900),
    st.floats(0, 400),
    st.floats(1, 600),
    st.floats(1, 300),
    st.integers(1, 5),
    st.integers(0, 1),
)


@settings(max_examples=60, deadline=None)
@given(st.lists(st.tuples(st.lists(BOXES, max_size=8), st.lists(BOXES, max_size=8)), min_size=1, max_size=5))
def test_whatever_tiles_say_identities_are_unique_and_boxes_stay_within_what_was_seen(
    frames: list[tuple[list[tuple[float, ...]], list[tuple[float, ...]]]],
) -> None:
    given_parts = [
        [
            part(
                n,
                tile,
                [(int(k), (x, y, x + w, y + h)) for x, y, w, h, k, _ in rows],
                classes=[int(r[5]) for r in rows],
            )
            for tile, rows in enumerate(pair)
        ]
        for n, pair in enumerate(frames)
    ]
    ahead = reconstructed(given_parts)
    back = reconstructed(parts[::-1] for parts in given_parts)
    for one, other, parts in zip(ahead, back, given_parts, strict=True):
        assert same(one, other)
        assert len(set(one.ids.tolist())) == len(one)
        assert max(map(len, parts)) <= len(one) <= sum(map(len, parts))
        assert (one.ids > 0).all()
        if len(one):
            boxes = np.concatenate([each.boxes for each in parts])
            assert (one.boxes[:, :2] >= boxes[:, :2].min(axis=0) - 1e-3).all()
            assert (one.boxes[:, 2:] <= boxes[:, 2:].max(axis=0) + 1e-3).all()


def test_hundreds_of_objects_take_milliseconds_only() -> None:
    """Nothing is done box by box: one call of Python costs as much as some ten thousand boxes."""
    frames = crowd(4, 12)
    many = [
        seen_by_tiles(n, {k: person(3 * k % 950, 7 * k % 400, 20, 30) for k in range(300)}) for n in range(4)
    ]
    assert calls(many) < 1.5 * calls(frames)


def calls(frames: Crowd) -> int:
    """How many Python functions are called for the frames."""
    import sys

    count = 0

    def note(*_: object) -> None:
        nonlocal count
        count += 1

    step = Reconstruct()
    with running(step):
        step.gather(frames[0])
        sys.setprofile(note)
        try:
            for parts in frames[1:]:
                step.gather(parts)
        finally:
            sys.setprofile(None)
    return count


def test_an_object_has_the_attributes_of_its_surest_row() -> None:
    frames = []
    for index in range(3):
        left, right = seen_by_tiles(index, {1: person(100), 2: person(490), 3: person(800)})
        left = replace(left.with_attributes(plate=["A", "B low"]), scores=np.array([0.9, 0.6], np.float32))
        right = replace(right.with_attributes(plate=["B high", "C"]), scores=np.array([0.8, 0.7], np.float32))
        frames.append([right, left])  # tiles come in any order
    for tracks in reconstructed(frames):
        by_place = dict(zip(tracks.boxes[:, 0].tolist(), tracks.attributes["plate"].tolist(), strict=True))
        assert by_place == {100: "A", 490: "B high", 800: "C"}


def test_tiles_without_objects_need_no_attributes() -> None:
    left, right = seen_by_tiles(0, {1: person(100)})
    (tracks,) = reconstructed([[left.with_attributes(hue=[3]), right]])
    assert tracks.attributes["hue"].tolist() == [3]
    (nobody,) = reconstructed([seen_by_tiles(0, {})])
    assert len(nobody) == 0


def test_tiles_with_other_attributes_are_refused() -> None:
    left, right = seen_by_tiles(0, {1: person(100), 2: person(800)})
    with pytest.raises(InvalidValueError, match=r"Reconstruct: .* have different attributes"):
        reconstructed([[left.with_attributes(hue=[3]), right]])
