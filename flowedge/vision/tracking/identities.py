"""The identities of one camera's objects, which pass from tile to tile.

Every tile has tracks of its own; a *binding* says which object a tile's track shows. An object in a frame has
the identity to which the tile tracks of its rows are bound. A binding ends when its track is where the object
cannot be, when another track has a better claim to the identity, and when the track was not seen for a while;
so a wrong merge of two objects ends with its evidence. Objects that no binding names are matched by position
with objects that just vanished.
"""

from __future__ import annotations

from dataclasses import dataclass, fields, replace
from typing import TypeVar

import numpy as np
from numpy.typing import NDArray

from flowedge.values import Origin, Rect
from flowedge.vision.tracking.association import assign
from flowedge.vision.tracking.seams import Rows, Sightings, joined, merged
from flowedge.vision.tracking.tracker import elapsed, growth

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]
Mask = NDArray[np.bool_]

_STEADY = 0.5  # seconds over which a velocity is averaged
_COASTING = 1.0  # seconds for which an object that vanished is taken to move on as it did
_HANDOVER = 0.2  # the least IoU with where a vanished object should be now
_REACH = 2.0  # sizes of an object that it may be from where it should be, and as much more each second
_HIDDEN_MOST = 60.0  # seconds for which an object may be where nobody looks
_LATE = 32  # frames: one that is further behind begins a new run


@dataclass(frozen=True)
class Objects:
    """K objects, by rising identity: `boxes` K x 4 and `velocity` K x 2 (pixels a second).

    `seen` is when they were seen last (seconds). `boxed` and `whole`, K x 2, say for x and y when the box was
    taken, and whether it is that of the whole object.
    """

    ids: Ints
    classes: Ints
    boxes: Floats
    velocity: Floats
    boxed: Floats
    seen: Floats
    whole: Mask


@dataclass(frozen=True)
class Bindings:
    """B tile tracks: track `local` of `tile` is object `ids`, was `former` before (0: none), seen at `seen`."""

    tile: Ints
    local: Ints
    ids: Ints
    former: Ints
    seen: Floats


@dataclass(frozen=True)
class Identities:
    """The state of one camera after a frame; `clock` is its time, in seconds from the first.

    `newest` is the last frame's session, index, media and capture time, `size` the width and height of the
    picture in whose pixels all is (0: not told), `following` the next identity, `layout` T x 5 each tile's
    number and region.
    """

    newest: tuple[int, int, float, float]
    size: tuple[int, int]
    clock: float
    following: int
    layout: Ints
    objects: Objects
    bindings: Bindings


def nobody() -> Identities:
    """Before the first frame.

    >>> nobody().following
    1
    """
    none, numbers = np.empty(0), np.empty(0, np.int64)
    pairs = np.empty((0, 2))
    objects = Objects(numbers, numbers, np.empty((0, 4)), pairs, pairs, none, pairs.astype(bool))
    bindings = Bindings(numbers, numbers, numbers, numbers, none)
    return Identities((0, -1, 0.0, 0.0), (0, 0), 0.0, 1, np.empty((0, 5), np.int64), objects, bindings)


def recognise(
    identities: Identities, origin: Origin, rows: Rows, layout: Ints, missing: tuple[Rect, ...], memory: float
) -> tuple[Identities, Sightings, Ints]:
    """The state after this frame, with the K objects seen in it, and their identities.

    `layout` (T x 5) names the tiles that came and what they show; objects that should be in `missing`, or in a
    tile that did not come, do not grow older. What was not seen for `memory` seconds is forgotten. A picture of
    another size than the last shows the same scene, so the state is scaled with it.
    """
    identities, now = _at(identities, origin)
    identities = _resized(identities, (origin.width, origin.height))
    identities = _same_layout(identities, layout, origin.tiles)
    identities = _recent(identities, max(identities.clock, now) - memory - _HIDDEN_MOST)
    objects = identities.objects
    places = _places(objects, now)
    bound, former = _bound(identities, rows, places, now)
    seen = merged(rows, joined(rows, bound))
    ids = _claimed(objects, places, bound, former, seen)
    ids = _handed_over(objects, places, ids, seen)
    new = np.flatnonzero(ids == 0)
    ids[new] = identities.following + np.arange(len(new))
    hidden = _hidden(places, (*missing, *_absent(identities.layout, layout)))
    oldest = max(identities.clock, now) - memory
    objects = _moved(objects, hidden, now, ids, seen)
    objects = select(objects, objects.seen >= oldest)
    bindings = _rebound(identities.bindings, rows, bound, former, ids[seen.labels], now)
    bindings = _current(bindings, objects, oldest)
    after = replace(
        identities,
        clock=max(identities.clock, now),
        following=identities.following + len(new),
        layout=np.concatenate([layout, identities.layout[_lacks(identities.layout, layout)]]),
        objects=objects,
        bindings=bindings,
    )
    return after, seen, ids


def _at(identities: Identities, origin: Origin) -> tuple[Identities, float]:
    """The state with this frame as its newest, unless the frame comes late, and the frame's time.

    Where frames begin anew (a new run on an old store), only the next free identity is kept.
    """
    session, index, media, time = identities.newest
    newest = origin.session, origin.index, origin.media, origin.time
    if index < 0:
        return replace(identities, newest=newest), 0.0
    last = Origin(origin.camera, session, index, media, time)
    frame = replace(origin, monotonic=0.0)  # another machine's says nothing here
    if frame.index > index:
        return replace(identities, newest=newest), identities.clock + elapsed(last, frame)
    if index - frame.index < _LATE and frame.time <= time:
        return identities, identities.clock - (elapsed(frame, last) if frame.index < index else 0.0)
    anew = replace(nobody(), newest=newest, clock=identities.clock, following=identities.following)
    return anew, identities.clock


def _resized(identities: Identities, size: tuple[int, int]) -> Identities:
    """The state in the pixels of a picture of this size."""
    if size == identities.size or min(size) <= 0:
        return identities
    factors = np.array(growth(identities.size, size) * 2)
    objects = identities.objects
    layout = identities.layout.copy()
    layout[:, 1:] = np.rint(layout[:, 1:] * factors)
    objects = replace(objects, boxes=objects.boxes * factors, velocity=objects.velocity * factors[:2])
    return replace(identities, size=size, layout=layout, objects=objects)


def _same_layout(identities: Identities, layout: Ints, count: int) -> Identities:
    """The state without tiles that no longer exist and without bindings of tiles whose region has changed."""
    identities = replace(identities, layout=identities.layout[identities.layout[:, 0] < count])
    tiles, changes = identities.layout[:, None, 0], identities.layout[:, None, 1:] != layout[:, 1:]
    moved = ((tiles == layout[:, 0]) & np.logical_or.reduce(changes, axis=2)).any(axis=1)
    if not moved.any():
        return identities
    gone = _among(identities.bindings.tile, identities.layout[moved, 0])
    return replace(identities, bindings=select(identities.bindings, ~gone))


def _recent(identities: Identities, oldest: float) -> Identities:
    """The state without objects that have been where nobody looks since before `oldest`."""
    kept = identities.objects.boxed.max(axis=1, initial=0) >= oldest
    if kept.all():
        return identities
    objects = select(identities.objects, kept)
    return replace(identities, objects=objects, bindings=_current(identities.bindings, objects, -np.inf))


def _lacks(before: Ints, now: Ints) -> Mask:
    return ~_among(before[:, 0], now[:, 0])


def _absent(before: Ints, now: Ints) -> list[Rect]:
    """The regions of the tiles that did not come."""
    return [(x1, y1, x2, y2) for _, x1, y1, x2, y2 in before[_lacks(before, now)].tolist()]


def _places(objects: Objects, now: float) -> Floats:
    """K x 4: where each object is expected, at its last velocity."""
    gap = np.clip(now - objects.boxed, -_COASTING, _COASTING)
    return np.asarray(objects.boxes + np.tile(objects.velocity * gap, 2))


def _bound(identities: Identities, rows: Rows, places: Floats, now: float) -> tuple[Ints, Ints]:
    """The identity that each row's track is bound to and the one before, 0 where there is none.

    A track that is where its object cannot be is another one of the same number: it is bound to nothing.
    """
    bindings, objects = identities.bindings, identities.objects
    bound, former = np.zeros((2, len(rows)), np.int64)
    same = (rows.tiles[:, None] == bindings.tile) & (rows.local[:, None] == bindings.local)
    row, binding = np.nonzero(same)
    of = _index(objects.ids, bindings.ids[binding])
    shown, expected = rows.boxes[row], places[of]
    size = np.maximum(shown[:, 2:] - shown[:, :2], expected[:, 2:] - expected[:, :2]).max(axis=1, initial=0)
    reach = _REACH * size * (1 + np.abs(now - objects.boxed[of].max(axis=1, initial=0)))
    shift = shown + shown[:, [2, 3, 0, 1]] - expected - expected[:, [2, 3, 0, 1]]
    away = np.abs(shift)[:, :2].max(axis=1, initial=0) / 2
    near = away <= reach
    bound[row[near]], former[row[near]] = bindings.ids[binding[near]], bindings.former[binding[near]]
    return bound, former


def _claimed(objects: Objects, places: Floats, bound: Ints, former: Ints, seen: Sightings) -> Ints:
    """The identity of each object in sight by its rows' bindings, each given once; 0 where there is none.

    Of several identities an object has the oldest. Of several objects the one has it whose track had it first,
    or which is nearest to where it should be; the others get back what they had before.
    """
    ids = np.zeros(len(seen), np.int64)
    for claim, entitled in ((bound, former == 0), (bound, former >= 0), (former, former > 0)):
        free = (claim > 0) & entitled & (ids[seen.labels] == 0) & ~_among(claim, ids)
        rows = np.flatnonzero(free)
        if not len(rows):
            continue
        oldest = np.full(len(ids), np.iinfo(np.int64).max)
        np.minimum.at(oldest, seen.labels[rows], claim[rows])
        rows = rows[claim[rows] == oldest[seen.labels[rows]]]
        expected = places[_index(objects.ids, claim[rows])]
        away = np.abs(seen.boxes[seen.labels[rows]] - expected).sum(axis=1)
        rows = rows[np.argsort(away, kind="stable")]
        winners = rows[np.unique(claim[rows], return_index=True)[1]]
        ids[seen.labels[winners]] = claim[winners]
    return ids


def _handed_over(objects: Objects, places: Floats, ids: Ints, seen: Sightings) -> Ints:
    """The identities, with those of vanished objects given to nameless ones where these are expected.

    Of an object that is expected partly outside the tile, only the part inside is compared.
    """
    nameless = np.flatnonzero(ids == 0)
    vanished = np.flatnonzero(~_among(objects.ids, ids))
    if len(nameless) and len(vanished):
        views = seen.views[nameless]
        visible = np.clip(places[vanished, None], views[:, [0, 1, 0, 1]], views[:, [2, 3, 2, 3]])
        similar = _similar(visible, seen.boxes[nameless])
        similar *= objects.classes[vanished][:, None] == seen.classes[nameless]
        of, to = assign(similar, _HANDOVER)
        ids[nameless[to]] = objects.ids[vanished[of]]
    return ids


def _similar(first: Floats, second: Floats) -> Floats:
    """IoU of V x K boxes with K, V x K."""
    low, high = np.maximum(first[..., :2], second[:, :2]), np.minimum(first[..., 2:], second[:, 2:])
    common = np.maximum(high - low, 0).prod(axis=-1)
    areas = ((each[..., 2:] - each[..., :2]).prod(axis=-1) for each in (first, second))
    return np.asarray(common / np.maximum(sum(areas) - common, 1e-9))


def _hidden(places: Floats, regions: tuple[Rect, ...]) -> Mask:
    """Which objects should be, by their middle, where nobody looked."""
    if not regions:
        return np.zeros(len(places), bool)
    rects = np.array(regions, np.float64)
    middle = (places[:, None, :2] + places[:, None, 2:]) / 2
    inside = np.logical_and.reduce((middle >= rects[:, :2]) & (middle < rects[:, 2:]), axis=2)
    return np.asarray(inside.any(axis=1))


def _moved(objects: Objects, hidden: Mask, now: float, ids: Ints, seen: Sightings) -> Objects:
    """The objects after this frame.

    A part of an object says that it is there, not where its middle is: it counts only where nobody has seen the
    whole lately.
    """
    is_known = _among(ids, objects.ids)
    here, of = np.flatnonzero(is_known), _index(objects.ids, ids[is_known])
    last_seen = objects.seen.copy()
    last_seen[of] = np.maximum(last_seen[of], now)
    last_seen[hidden] = np.maximum(last_seen[hidden], now)
    gap = now - objects.boxed[of]
    counts = (gap > 0) & (seen.whole[here] | ~objects.whole[of] | (gap > _COASTING))
    gap = np.where(counts, gap, 1.0)
    velocity, boxes = objects.velocity.copy(), objects.boxes.copy()
    boxed, whole = objects.boxed.copy(), objects.whole.copy()
    step = (seen.boxes[here] - boxes[of]).reshape(-1, 2, 2).mean(axis=1) / gap
    steady = counts & seen.whole[here] & whole[of]
    velocity[of] += np.where(steady, 1 - np.exp(-gap / _STEADY), 0.0) * (step - velocity[of])
    boxes[of] = np.where(np.tile(counts, 2), seen.boxes[here], boxes[of])
    boxed[of] = np.where(counts, now, boxed[of])
    whole[of] = np.where(counts, seen.whole[here], whole[of])
    return _with_new(
        Objects(objects.ids, objects.classes, boxes, velocity, boxed, last_seen, whole), now, ids, seen
    )


def _with_new(objects: Objects, now: float, ids: Ints, seen: Sightings) -> Objects:
    new = ~_among(ids, objects.ids)
    count = np.count_nonzero(new)
    return Objects(
        np.concatenate([objects.ids, ids[new]]),
        np.concatenate([objects.classes, seen.classes[new]]),
        np.concatenate([objects.boxes, seen.boxes[new]]),
        np.concatenate([objects.velocity, np.zeros((count, 2))]),
        np.concatenate([objects.boxed, np.full((count, 2), now)]),
        np.concatenate([objects.seen, np.full(count, now)]),
        np.concatenate([objects.whole, seen.whole[new]]),
    )


def _rebound(before: Bindings, rows: Rows, bound: Ints, former: Ints, ids: Ints, now: float) -> Bindings:
    """The bindings with this frame's rows in place of what their tracks were bound to."""
    same = (before.tile[:, None] == rows.tiles) & (before.local[:, None] == rows.local)
    others = select(before, ~same.any(axis=1))
    changed = bound != ids
    given_back = former == ids
    return Bindings(
        np.concatenate([others.tile, rows.tiles]),
        np.concatenate([others.local, rows.local]),
        np.concatenate([others.ids, ids]),
        np.concatenate([others.former, np.where(changed, np.where(given_back, 0, bound), former)]),
        np.concatenate([others.seen, np.full(len(rows), now)]),
    )


def _current(bindings: Bindings, objects: Objects, oldest: float) -> Bindings:
    """The bindings to objects that are remembered, of tracks seen since `oldest`."""
    bindings = select(bindings, _among(bindings.ids, objects.ids) & (bindings.seen >= oldest))
    return replace(bindings, former=np.where(_among(bindings.former, objects.ids), bindings.former, 0))


def _among(ids: Ints, others: Ints) -> Mask:
    """Which of the ids are among the others (`np.isin` takes five times as long for a few)."""
    return np.asarray((ids[:, None] == others).any(axis=1))


def _index(ids: Ints, wanted: Ints) -> NDArray[np.intp]:
    """Where in the rising `ids` each wanted one is; all of them must be there."""
    return np.searchsorted(ids, wanted)


Table = TypeVar("Table", Objects, Bindings)


def select(table: Table, rows: Mask) -> Table:
    """The rows of a mask."""
    return (
        table
        if rows.all()
        else replace(table, **{field.name: getattr(table, field.name)[rows] for field in fields(table)})
    )
