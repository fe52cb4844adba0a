"""A synthetic street with exact ground truth: walking people and driving vehicles before a fixed camera.

The street, its light, its houses and everybody in it follow from the seed, and a picture from the seed
and the time, so any moment can be rendered in any order, by any process, with the same pixels.

Vehicles queue at a crossing in a common rhythm, and people cross while the vehicles stand. Trees and
lamps hide what passes behind them.

Example:
    >>> scene = Scene(width=320, height=180, people=4, vehicles=2, seed=7)
    >>> image, truth = scene.render(1.5)
    >>> image.shape, image.dtype.name, truth.boxes.shape[1]
    ((180, 320, 3), 'uint8', 4)
"""

from __future__ import annotations

import math
from bisect import bisect
from collections.abc import Iterator
from dataclasses import dataclass
from functools import lru_cache
from typing import NamedTuple

import cv2
import numpy as np
from numpy.typing import NDArray

from .drawing import FRACTION_BITS, Figure, Floats, Image, fixed_point
from .layout import CROSSING_HALF_WIDTH, LANE_WIDTH, Prop, StreetLayout, backdrop, furnish
from .sprites import Person, Vehicle, people_figures, people_shadows

CLASSES = ("person", "car", "bus", "truck")

_SMALLEST, _LARGEST, _CROWD = 64, 4096, 2000
_LEAST_VISIBLE = 0.1  # share of an object below which it is left out of the truth
_LEAST_SIDE = 2  # pixels of a visible box below which it is left out of the truth
_GREEN = 14.0  # seconds that vehicles drive in each cycle of the lights
_RAMP = 0.25  # share of the green time spent speeding up, and as much slowing down
_INSTANT = 1e-6  # seconds
_STRIDE = 1.45  # metres walked during one full cycle of the gait
_NOISE_SAMPLES = 1_000_003  # of the repeated noise: prime, so that rows of no frame size line up
# Independent random streams of one seed, so that adding vehicles leaves street and people as they were.
_STREET, _PROPS, _BACKDROP, _LANES, _WALKS, _VEHICLE, _PERSON, _NOISE = range(8)


@dataclass(frozen=True, slots=True)
class SceneTruth:
    """What is in a rendered picture, one row per object, the farthest first.

    Objects of which less than a tenth is visible, or whose visible box is narrower or lower than two
    pixels, are left out.

    Attributes:
        boxes: N x 4 float32, the visible extent (x1, y1, x2, y2) of each object in pixels, without its shadow.
        ids: N int64, identities; one that has left the view never comes back. People have odd ones.
        classes: N int32, indices into `CLASSES`.
        visibility: N float32, share (0..1) of the object's pixels that neither another object, nor a tree or
            lamp, nor the edge of the frame hides.
    """

    boxes: NDArray[np.float32]
    ids: NDArray[np.int64]
    classes: NDArray[np.int32]
    visibility: NDArray[np.float32]


class _Walk(NamedTuple):
    """A way through the scene that somebody new starts every so often: straight legs between waypoints."""

    lead: float  # seconds that the first walker is ahead at time 0
    waypoints: Floats  # 7 x 2, metres
    durations: Floats  # 6, seconds per leg
    facing: float  # radians, of those who wait


class _Walks:
    """Where the walkers of all ways are at a time."""

    def __init__(self, walks: list[_Walk]) -> None:
        self._lead = np.array([walk.lead for walk in walks])
        self._facing = np.array([walk.facing for walk in walks])
        self._durations = np.stack([walk.durations for walk in walks])
        self._begins = np.cumsum(self._durations, axis=1) - self._durations
        self._period = self._durations.sum(axis=1)
        self._first = np.stack([walk.waypoints[0] for walk in walks])
        self._legs = np.stack([np.diff(walk.waypoints, axis=0) for walk in walks])

    def at(self, time: float) -> tuple[list[int], Floats, Floats]:
        """How many walked each way before (N), where its walker is (N x 3), and the gait (N x 3)."""
        lives, since = np.divmod(time + self._lead, self._period)
        # The velocity over half a second turns and stops people softly.
        moments = (since + np.array([[-0.25], [0.0], [0.25]]))[..., None]
        done = np.clip((moments - self._begins) / self._durations, 0, 1)
        behind, here, ahead = self._first + (done[..., None] * self._legs).sum(axis=2)
        velocity = (ahead - behind) * 2
        speed = np.hypot(*velocity.T)
        heading = np.where(speed > 0.05, np.arctan2(velocity[:, 1], velocity[:, 0]), self._facing)
        walked = (done[1] * np.abs(self._legs).sum(axis=2)).sum(axis=1)  # legs follow an axis
        how = np.stack([heading, walked * math.tau / _STRIDE, np.minimum(speed, 1)], axis=1)
        return lives.astype(int).tolist(), np.pad(here, ((0, 0), (0, 1))), how


@dataclass(frozen=True, slots=True)
class _Lane:
    """Vehicles at equal distances, from `start` on over `length` metres and then round again as new ones."""

    y: float
    direction: int
    start: float
    length: float
    offset: float
    spacing: float
    advance: float
    kinds: tuple[str, ...]

    def at(self, cycles: float, place: int) -> tuple[int, Floats]:
        """How many vehicles had this place before, and the position (3) of the present one."""
        before, along = divmod(self.offset + place * self.spacing + cycles * self.advance, self.length)
        return int(before), np.array([self.start + self.direction * along, self.y, 0.0])


class _Drawn(NamedTuple):
    """An object or prop ready to be painted."""

    identity: int  # 0 of a prop
    kind: int  # index into CLASSES
    ground: list[float]  # metres
    figure: Figure
    solid: Image | None = None  # of a prop: 1 where it hides what is behind it, within the frame


class Scene:
    """A street that can be rendered at any time.

    Args:
        width: Frame width in pixels, 64 to 4096.
        height: Frame height in pixels, 64 to 4096.
        people: How many people there are at all times, most of them in view (0 to 2000).
        vehicles: How many vehicles there are at all times, most of them in view (0 to 2000).
        seed: Which street, light and passers-by (an integer of at least 0).
        noise: Standard deviation of the sensor noise in grey levels, 0 to 64.

    Raises:
        ValueError: An argument is outside its range.
    """

    def __init__(
        self,
        width: int = 1280,
        height: int = 720,
        people: int = 12,
        vehicles: int = 5,
        seed: int = 0,
        noise: float = 2.0,
    ) -> None:
        _require_integer("width", width, _SMALLEST, _LARGEST)
        _require_integer("height", height, _SMALLEST, _LARGEST)
        _require_integer("people", people, 0, _CROWD)
        _require_integer("vehicles", vehicles, 0, _CROWD)
        _require_integer("seed", seed, 0, 2**63 - 1)
        if not 0 <= noise <= 64:
            raise ValueError(f"noise is {noise!r}; give a standard deviation from 0 to 64 grey levels")
        self.width, self.height, self.people, self.vehicles = width, height, people, vehicles
        self.seed, self.noise = seed, noise
        self._street = StreetLayout.random(self._random(_STREET), width, height, people, vehicles)
        props = furnish(self._street, self._random(_PROPS))
        self._lit, self._shaded = backdrop(self._street, self._random(_BACKDROP), props)
        self._props = list(self._props_of(props))
        self._eye = self._street.view.eye.tolist()
        self._edges = [self._street.near_kerb + lane * LANE_WIDTH for lane in range(self._street.lanes + 1)]
        self._cycle = _GREEN + 3.0 + (self._street.far_kerb - self._street.near_kerb) / 1.2
        self._start = float(self._random(_LANES).uniform(0, self._cycle))
        self._lanes = list(self._plan_lanes())
        self._walks = _Walks(list(self._plan_walks())) if people else None
        self._noise_bank = self._plan_noise()
        self._person = lru_cache(2 * people + 1)(self._make_person)
        self._vehicle = lru_cache(2 * vehicles + 1)(self._make_vehicle)

    def render(self, time: float) -> tuple[Image, SceneTruth]:
        """The picture at `time` and what is in it.

        Args:
            time: Seconds since the start, at least 0; any order.

        Returns:
            A new BGR picture, height x width x 3 uint8, and its `SceneTruth`.

        Raises:
            ValueError: `time` is negative or not finite.
        """
        if not (math.isfinite(time) and time >= 0):
            raise ValueError(f"time is {time!r}; give the seconds since the start of the scene, 0 or more")
        image = self._lit.copy()
        shadows: list[NDArray[np.int32]] = []
        drawn = [
            *self._draw_vehicles(float(time), shadows),
            *self._draw_people(float(time), shadows),
            *self._props,
        ]
        self._cast(image, shadows)
        truth = self._paint(image, sorted(drawn, key=self._nearness))
        self._add_noise(image, float(time))
        return image, truth

    def _random(self, *stream: int) -> np.random.Generator:
        return np.random.default_rng([self.seed, *stream])

    def _plan_lanes(self) -> Iterator[_Lane]:
        street, rng = self._street, self._random(_LANES, 1)
        for lane in range(street.lanes):
            count = len(range(lane, self.vehicles, street.lanes))
            y = street.lane_centre(lane)
            direction = 1 if (lane < street.lanes // 2) == street.keeps_right else -1
            left, right = street.in_view(y)
            advance, room = rng.uniform(80, 125), (right - left) / max(count, 1)
            long = room > 16  # there is room for a bus
            margin = 7.0 if long else 3.6
            length = right - left + 2 * margin
            spacing = length / max(count, 1)
            start = left - margin if direction > 0 else right + margin
            stop = min(CROSSING_HALF_WIDTH + (6.8 if long else 3.6), spacing / 2)
            offset = (direction * (street.crossing - start) - stop) % spacing
            # A whole number of places per cycle: every stop leaves the crossing free.
            steps = max(1, round(advance / spacing))
            kinds = CLASSES[1:] if long else CLASSES[1:2]
            yield _Lane(y, direction, start, length, offset, spacing, steps * spacing, kinds)

    def _plan_walks(self) -> Iterator[_Walk]:
        street = self._street
        for place in range(self.people):
            rng = self._random(_WALKS, place)
            speed, from_near, from_left = rng.uniform(1.0, 1.7), rng.random() < 0.5, rng.random() < 0.5
            near = rng.uniform(0.3, street.near_kerb - 0.9)
            far = rng.uniform(street.far_kerb + 0.7, street.front - 0.6)
            if rng.random() < 0.25:
                yield self._crossing_walk(rng, speed, *((near, far) if from_near else (far, near)), from_left)
                continue
            y = near if from_near else far
            left, right = street.in_view(y)
            ends = [left - 1.5, right + 1.5] if from_left else [right + 1.5, left - 1.5]
            # Somebody who does not cross has one leg; the others take him no time and nowhere.
            waypoints = np.array([(ends[0], y), *[(ends[1], y)] * 6])
            durations = np.array([abs(ends[1] - ends[0]) / speed, *[_INSTANT] * 5])
            yield _Walk(rng.uniform(0, durations.sum()), waypoints, durations, 0.0)

    def _crossing_walk(
        self, rng: np.random.Generator, speed: float, y0: float, y1: float, from_left: bool
    ) -> _Walk:
        """Along one pavement to the crossing, a wait for the vehicles to stop, across, and along the other."""
        street, speed = self._street, max(speed, 1.25)
        crossing = street.crossing + rng.uniform(-1.3, 1.3)
        (left0, right0), (left1, right1) = street.in_view(y0), street.in_view(y1)
        enter, leave = (left0 - 1.5, right1 + 1.5) if from_left else (right0 + 1.5, left1 - 1.5)
        kerb0, kerb1 = street.near_kerb - 0.5, street.far_kerb + 0.5
        if y0 > y1:
            kerb0, kerb1 = kerb1, kerb0
        waypoints = np.array([
            (enter, y0), (crossing, y0), (crossing, kerb0), (crossing, kerb0),
            (crossing, kerb1), (crossing, y1), (leave, y1),
        ])  # fmt: skip
        durations = np.abs(np.diff(waypoints, axis=0)).sum(axis=1) / speed + _INSTANT
        cycles = math.ceil(float(durations.sum()) / self._cycle)
        durations[2] += cycles * self._cycle - durations.sum()
        lead = (durations[:3].sum() - self._start_of_red() - rng.uniform(0.5, 1.5)) % self._cycle
        lead += self._cycle * int(rng.integers(cycles))
        return _Walk(float(lead), waypoints, durations, math.copysign(math.pi / 2, y1 - y0))

    def _start_of_red(self) -> float:
        """The first time (seconds, perhaps before 0) at which the vehicles stand still."""
        return _GREEN - self._start

    def _cycles(self, time: float) -> float:
        """How many cycles of driving and standing lie behind the vehicles, the driving eased at both ends."""
        whole, since = divmod(time + self._start, self._cycle)
        share, top = min(since / _GREEN, 1.0), 1 / (1 - _RAMP)
        if share < _RAMP:
            return whole + top * share**2 / (2 * _RAMP)
        if share < 1 - _RAMP:
            return whole + top * (share - _RAMP / 2)
        return whole + 1 - top * (1 - share) ** 2 / (2 * _RAMP)

    def _make_person(self, place: int, life: int) -> Person:
        return Person.random(self._random(_PERSON, place, life), self._street.light)

    def _make_vehicle(self, place: int, life: int) -> tuple[int, Vehicle]:
        rng, lane = self._random(_VEHICLE, place, life), self._lanes[place % len(self._lanes)]
        kind = str(rng.choice(lane.kinds, p=[0.6, 0.2, 0.2] if len(lane.kinds) > 1 else None))
        return CLASSES.index(kind), Vehicle.random(rng, self._street.light, kind, lane.direction)

    def _draw_vehicles(self, time: float, shadows: list[NDArray[np.int32]]) -> Iterator[_Drawn]:
        view, cycles = self._street.view, self._cycles(time)
        for place in range(self.vehicles):
            lane = self._lanes[place % len(self._lanes)]
            life, ground = lane.at(cycles, place // len(self._lanes))
            kind, vehicle = self._vehicle(place, life)
            shadows.append(fixed_point(view.project(vehicle.shadow + ground)[0]))
            if figure := vehicle.figure(view, ground):
                yield _Drawn(2 * (life * self.vehicles + place) + 2, kind, ground.tolist(), figure)

    def _draw_people(self, time: float, shadows: list[NDArray[np.int32]]) -> Iterator[_Drawn]:
        if self._walks is None:
            return
        lives, ground, how = self._walks.at(time)
        people = [self._person(place, life) for place, life in enumerate(lives)]
        shadows.extend(fixed_point(people_shadows(self._street.view, self._street.light, people, ground, how)))
        for place, figure in enumerate(people_figures(self._street.view, people, ground, how)):
            if figure:
                yield _Drawn(2 * (lives[place] * self.people + place) + 1, 0, ground[place].tolist(), figure)

    def _cast(self, image: Image, shadows: list[NDArray[np.int32]]) -> None:
        """Let shadows fall on the ground: nothing that stands on it is in the picture yet."""
        mask = np.zeros((self.height, self.width), np.uint8)
        for outline in shadows:
            cv2.fillConvexPoly(mask, outline, (255.0,), cv2.LINE_8, FRACTION_BITS)
        cv2.copyTo(self._shaded, mask, image)

    def _nearness(self, drawn: _Drawn) -> tuple[int, float]:
        """Sorts the farthest first. A vehicle is long, so its lane decides before its distance does."""
        return -bisect(self._edges, drawn.ground[1]), -math.dist(drawn.ground, self._eye)

    def _paint(self, image: Image, drawn: list[_Drawn]) -> SceneTruth:
        """Paint the figures over the image, far to near, and measure what remains visible of each."""
        owners = np.zeros((self.height, self.width), np.uint16)
        shown: list[tuple[int, _Drawn, tuple[slice, slice], int]] = []
        for order, item in enumerate(drawn, start=1):
            where = item.figure.inside(self.width, self.height)
            if item.solid is not None:
                self._restore(image[where], owners[where], item.solid, self._lit[where])
                continue
            item.figure.paint(image)
            item.figure.stamp(owners, order)
            cut = item.figure.cut(self.width, self.height)
            total = item.figure.area() if cut else int(np.count_nonzero(owners[where] == order))
            shown.append((order, item, where, total))
        rows = []
        for order, item, where, total in shown:
            seen = (owners[where] == order).view(np.uint8)
            left, top, across, down = cv2.boundingRect(seen)
            visible = min(1.0, cv2.countNonZero(seen) / max(total, 1))  # a cut one's total is a measured area
            if visible >= _LEAST_VISIBLE and min(across, down) >= _LEAST_SIDE:
                x, y = where[1].start + left, where[0].start + top
                rows.append(((x, y, x + across, y + down), item.identity, item.kind, visible))
        return _truth(rows)

    def _props_of(self, props: list[Prop]) -> Iterator[_Drawn]:
        for prop in props:
            if prop.figure:
                owners = np.zeros((self.height, self.width), np.uint16)
                prop.figure.stamp(owners, 1)
                solid = (owners[prop.figure.inside(self.width, self.height)] > 0).view(np.uint8)
                yield _Drawn(0, 0, [prop.x, prop.y, 0.0], prop.figure, solid)

    @staticmethod
    def _restore(image: Image, owners: NDArray[np.uint16], solid: Image, lit: Image) -> None:
        """Bring a prop, which the backdrop shows already, back where somebody passed behind it."""
        if owners.any():
            cv2.copyTo(lit, solid, image)
            cv2.copyTo(np.zeros_like(owners), solid, owners)

    def _plan_noise(self) -> tuple[Image, Image] | None:
        """What noise adds and what it takes away, repeated to more than a frame's length."""
        if self.noise == 0:
            return None
        samples = self._random(_NOISE).standard_normal(_NOISE_SAMPLES, dtype=np.float32)
        levels = np.rint(samples * np.float32(self.noise))
        repeated = np.resize(levels, self.width * self.height * 3 + _NOISE_SAMPLES)
        return np.clip(repeated, 0, 255).astype(np.uint8), np.clip(-repeated, 0, 255).astype(np.uint8)

    def _add_noise(self, image: Image, time: float) -> None:
        if self._noise_bank is None:
            return
        start = hash((self.seed, time)) % _NOISE_SAMPLES  # numbers hash alike in every process
        up, down = (bank[start : start + image.size].reshape(image.shape) for bank in self._noise_bank)
        cv2.add(image, up, image)
        cv2.subtract(image, down, image)


def _truth(rows: list[tuple[tuple[int, int, int, int], int, int, float]]) -> SceneTruth:
    boxes, ids, classes, visibility = zip(*rows, strict=True) if rows else ((), (), (), ())
    return SceneTruth(
        np.array(boxes, dtype=np.float32).reshape(-1, 4),
        np.array(ids, dtype=np.int64),
        np.array(classes, dtype=np.int32),
        np.array(visibility, dtype=np.float32),
    )


def _require_integer(name: str, value: int, least: int, most: int) -> None:
    if isinstance(value, bool) or not isinstance(value, (int, np.integer)) or not least <= value <= most:
        raise ValueError(f"{name} is {value!r}; give a whole number from {least} to {most}")
