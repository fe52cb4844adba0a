"""The people and vehicles of the synthetic street: how they look, move their limbs and are drawn."""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from itertools import pairwise
from typing import NamedTuple, TypeAlias

import cv2
import numpy as np
from numpy.typing import NDArray

from .drawing import (
    Colour,
    Figure,
    Floats,
    Light,
    View,
    bounds,
    capsule_figures,
    capsules,
    fixed_point,
)

_SKIN = ((170, 200, 240), (140, 180, 225), (95, 140, 190), (60, 95, 140), (45, 65, 100))
_HAIR = ((25, 25, 30), (35, 50, 75), (60, 100, 140), (110, 170, 205), (150, 150, 150), (35, 60, 120))
_PAINT = (
    (235, 235, 235), (205, 205, 200), (150, 150, 150), (75, 72, 70), (38, 36, 36), (45, 40, 175), (130, 70, 30),
    (165, 120, 50), (60, 105, 50), (60, 170, 215), (175, 195, 205), (90, 30, 90), (50, 100, 210),
)  # fmt: skip
_TYRE, _HUB, _GLASS = (28, 27, 27), (150, 150, 150), (72, 60, 48)
_HEADLIGHT, _TAILLIGHT, _PLATE = (225, 245, 255), (35, 30, 200), (215, 225, 225)


@dataclass(frozen=True, slots=True)
class Person:
    """How one person looks.

    Radii (18 x 2) and colours are those of the body's 14 parts (see `_pose`) and of coat, rucksack, handbag
    and hat, whose ends (4 x 2 x 3) are `worn`; the colour of what this person does not wear is None.
    """

    size: float
    radii: Floats
    colours: list[Colour | None]
    worn: Floats

    @classmethod
    def random(cls, rng: np.random.Generator, light: Light) -> Person:
        adult = rng.random() < 0.88
        size = rng.normal(0.98, 0.055) if adult else rng.uniform(0.65, 0.82)  # of 1.75 m
        skin, hair = (np.array(rng.choice(palette), dtype=float) for palette in (_SKIN, _HAIR))
        top, bottom, shoe, bag = (_cloth(rng) for _ in range(4))
        bottom *= rng.choice([0.4, 0.85])  # trousers are mostly dark
        shin = skin if rng.random() < 0.2 else bottom
        forearm = skin if rng.random() < 0.4 else top * 0.97
        limb = [bottom * 0.94, shin * 0.94, shoe * 0.5, top * 0.84, forearm * 0.84]
        extras = [top * 0.9, bag, bag, bag]
        worn = rng.random(4) < (0.25, 0.2, 0.15, 0.15)
        paints = light.paint(np.array([*limb, *limb, top, top, skin, hair, *extras]))
        hem, wide, stout = rng.uniform(0.45, 0.7), rng.uniform(0.17, 0.21), rng.uniform(0.9, 1.2)
        return cls(
            float(np.clip(size, 0.62, 1.14)),
            np.array([*_RADII, (0.15, wide), (0.12, 0.13), (0.08, 0.11), (0.13, 0.13)]) * stout * size,
            [*paints[:14], *(paint if on else None for paint, on in zip(paints[14:], worn, strict=True))],
            np.array([((0, 0, 0.95), (0, 0, hem)), *_WORN]),
        )


def people_figures(view: View, people: list[Person], ground: Floats, gait: Floats) -> list[Figure | None]:
    """N people standing on `ground` (N x 3); None for one that is out of view.

    `gait` is N x 3: heading and phase of the step in radians, and effort from 0, standing, to 1, walking.
    """
    phase = np.rint(gait[:, 1] * (_PHASES / math.tau)).astype(np.int64) % _PHASES
    effort = gait[:, 2, None, None, None]
    body = _WALKING[phase] * effort + _STANDING * (1 - effort)
    ends = np.concatenate([body, np.stack([person.worn for person in people])], axis=1)
    ends *= np.array([person.size for person in people])[:, None, None, None]
    cos, sin, none = np.cos(gait[:, 0]), np.sin(gait[:, 0]), np.zeros(len(people))
    turn = np.stack([cos, sin, none, -sin, cos, none, none, none, none + 1], axis=1).reshape(-1, 3, 3)
    world = (ends.reshape(len(people), -1, 3) @ turn + ground[:, None]).reshape(ends.shape)
    return capsule_figures(view, world, np.stack([p.radii for p in people]), [p.colours for p in people])


def people_shadows(view: View, light: Light, people: list[Person], ground: Floats, gait: Floats) -> Floats:
    """Outlines in pixels (3 N x 10 x 2) of the shadows of people: two legs, and the trunk and head."""
    size = np.array([person.size for person in people])[:, None]
    stride = 0.3 * (gait[:, 2] * np.sin(gait[:, 1]))[:, None] * size
    foot = stride * np.stack([np.cos(gait[:, 0]), np.sin(gait[:, 0])], axis=1)
    hip, head = light.cast * 0.95 * size, light.cast * 1.65 * size
    flat = np.stack(
        [np.stack([foot, hip], axis=1), np.stack([-foot, hip], axis=1), np.stack([hip, head], axis=1)], axis=1
    )
    pixels, depth = view.project(np.pad(flat, ((0, 0), (0, 0), (0, 0), (0, 1))) + ground[:, None, None])
    radii = np.array([[0.07, 0.13], [0.07, 0.13], [0.17, 0.1]]) * size[..., None]
    return capsules(pixels, radii * view.focal / depth).reshape(-1, 10, 2)


def _cloth(rng: np.random.Generator) -> Floats:
    """A colour of clothes: any hue, mostly muted."""
    level, vivid = rng.uniform(30, 215), rng.beta(1.3, 2.2)
    hue: Floats = rng.uniform(0, 1, 3)
    return level * (1 - vivid + 1.6 * vivid * hue)


_RADII = [(0.09, 0.07), (0.065, 0.048), (0.05, 0.042), (0.06, 0.05), (0.048, 0.042)] * 2 + [
    (0.15, 0.155), (0.085, 0.085), (0.095, 0.1), (0.115, 0.11),
]  # fmt: skip
_WORN = [
    ((-0.2, 0, 1.3), (-0.2, 0, 1.08)), ((0, 0.3, 0.78), (0, 0.3, 0.62)), ((0.02, 0, 1.74), (-0.02, 0, 1.74)),
]  # fmt: skip


def _pose(phase: float, effort: float) -> Floats:
    """Both ends (14 x 2 x 3: forward, left, up) of the parts of somebody 1.75 m tall.

    For each side thigh, shin, shoe, upper arm, forearm; then trunk, shoulders, face, hair.
    """
    parts: list[tuple[tuple[float, float, float], tuple[float, float, float]]] = []
    bob = 0.02 * effort * math.cos(2 * phase)
    for side in (-1.0, 1.0):
        swing = side * effort * math.sin(phase)
        lift = 0.13 * effort * max(0.0, side * math.cos(phase))  # of the foot that travels forwards
        hip, foot = (0.0, 0.09 * side, 0.92 + bob), (0.36 * swing, 0.09 * side, 0.06 + lift)
        knee = (0.2 * swing + 0.04 + lift, 0.09 * side, 0.5 + lift / 2)
        toe = (foot[0] + 0.14, foot[1], 0.045 + lift / 2)
        shoulder, hand = (
            (0.0, 0.2 * side, 1.4 + bob),
            (0.06 - 0.3 * swing, 0.25 * side, 0.85 + abs(swing) / 12),
        )
        elbow = (-0.04 - 0.13 * swing, 0.25 * side, 1.12 + bob)
        parts += [(hip, knee), (knee, foot), (foot, toe), (shoulder, elbow), (elbow, hand)]
    parts.append(((0.0, 0.0, 0.95 + bob), (0.0, 0.0, 1.32 + bob)))
    parts.append(((0.0, -0.15, 1.4 + bob), (0.0, 0.15, 1.4 + bob)))
    parts.append(((0.05, 0.0, 1.58 + bob), (0.04, 0.0, 1.64 + bob)))
    parts.append(((-0.02, 0.0, 1.65 + bob), (0.0, 0.0, 1.67 + bob)))
    return np.array(parts)


_PHASES = 64  # of a step: finer than a pixel for anybody less than a thousand pixels tall
_WALKING = np.stack([_pose(math.tau * phase / _PHASES, 1.0) for phase in range(_PHASES)])
_STANDING = _pose(0.0, 0.0)


Outline: TypeAlias = list[tuple[float, float]]  # x forward and z up in metres, front to rear over the top
Panel: TypeAlias = tuple[Outline, Colour]  # painted on both sides
Mark: TypeAlias = tuple[int, tuple[float, float, float, float], Colour]  # face; left, right, low, high on it


class Face(NamedTuple):
    """A polygon (K x 3) counter-clockwise seen from outside; `outer` if the vehicle's outline needs it."""

    polygon: Floats
    colour: Colour
    outer: bool


@dataclass(frozen=True, slots=True)
class Prism:
    """A convex side outline drawn out across the vehicle, with painted faces.

    `low` and `top` are its half widths (metres) at its lowest and highest; `strips` colours the faces between
    outline points that do not have the body's paint; `marks` are painted on those faces, -1..1 across from
    right to left and 0..1 along. Prisms of a higher `layer` hide those of a lower one.
    """

    outline: Outline
    low: float
    top: float
    strips: dict[int, Colour] = field(default_factory=dict)
    panels: list[Panel] = field(default_factory=list)
    marks: list[Mark] = field(default_factory=list)
    wheels: tuple[float, ...] = ()  # radius, and where they are
    layer: int = 0
    paint: Colour | None = None

    @property
    def middle(self) -> float:
        return sum(x for x, _ in self.outline) / len(self.outline)

    def half_width(self, z: float) -> float:
        heights = [height for _, height in self.outline]
        return float(np.interp(z, (min(heights), max(heights)), (self.low, self.top)))

    def faces(self, paint: Colour) -> list[Face]:
        """All faces on a vehicle of this paint, in drawing order."""
        own = self.paint or paint
        quads = [
            np.array([self._edge(a, -1), self._edge(a, 1), self._edge(b, 1), self._edge(b, -1)])
            for a, b in pairwise(self.outline)
        ]
        faces = [Face(quad, self.strips.get(index, own), True) for index, quad in enumerate(quads)]
        faces += self._sides(self.outline, own, True)
        for outline, colour in self.panels:
            faces += self._sides(outline, colour, False)
        for x in self.wheels[1:]:
            faces += self._sides(_circle(x, self.wheels[0], self.wheels[0]), _TYRE, True)
            faces += self._sides(_circle(x, self.wheels[0], self.wheels[0] * 0.55), _HUB, False)
        for index, (left, right, low, high), colour in self.marks:
            corners = [(left, low), (right, low), (right, high), (left, high)]
            faces.append(Face(np.array([_on_quad(quads[index], u, v) for u, v in corners]), colour, False))
        return faces

    def _sides(self, outline: Outline, colour: Colour, outer: bool) -> list[Face]:
        left = np.array([self._edge(point, 1) for point in reversed(outline)])
        right = np.array([self._edge(point, -1) for point in outline])
        return [Face(left, colour, outer), Face(right, colour, outer)]

    def _edge(self, point: tuple[float, float], side: int) -> tuple[float, float, float]:
        return point[0], side * self.half_width(point[1]), point[1]


def _on_quad(quad: Floats, across: float, along: float) -> Floats:
    """The point of a face at -1..1 across it and 0..1 from its first edge to its last."""
    share = (across + 1) / 2
    first, last = quad[0] + (quad[1] - quad[0]) * share, quad[3] + (quad[2] - quad[3]) * share
    point: Floats = first + (last - first) * along
    return point


def _circle(x: float, z: float, radius: float) -> Outline:
    turns = np.linspace(0, math.tau, 10, endpoint=False).tolist()
    return [(x + radius * math.cos(turn), z + radius * math.sin(turn)) for turn in turns]


def _lights(front: int, rear: int, low: float, high: float) -> list[Mark]:
    marks: list[Mark] = [(front, (-0.3, 0.3, 0.1, 0.4), _PLATE), (rear, (-0.3, 0.3, 0.4, 0.8), _PLATE)]
    for left, right in ((-0.95, -0.6), (0.6, 0.95)):
        marks.append((front, (left, right, low, high), _HEADLIGHT))
        marks.append((rear, (left, right, 1 - high, 1 - low), _TAILLIGHT))
    return marks


def _car(long: float, high: float, bonnet: float, boot: float) -> list[Prism]:
    """A car of these sizes (metres) whose bonnet and boot take these shares of its length."""
    nose, tail, belt = long / 2, -long / 2, 0.62 * high
    front, back = nose - bonnet * long, tail + boot * long
    body: Outline = [
        (nose - 0.1, 0.25), (nose, 0.4), (nose - 0.08, belt - 0.18), (front, belt),
        (back, belt), (tail + 0.08, belt - 0.05), (tail, 0.45), (tail + 0.1, 0.25),
    ]  # fmt: skip
    roof_front, roof_back = front - 0.16 * long, back + 0.45 * min(boot * long, 1.0) + 0.08
    cabin: Outline = [(front + 0.1, belt), (roof_front, high), (roof_back, high), (back - 0.15, belt)]
    pillar, sill, lintel = (front + back) / 2 - 0.1, belt + 0.04, high - 0.1
    fore, aft = pillar + 0.06, pillar - 0.06
    windows: list[Panel] = [
        ([(front - 0.12, sill), (roof_front + 0.05, lintel), (fore, lintel), (fore, sill)], _GLASS),
        ([(aft, sill), (aft, lintel), (roof_back, lintel), (back + 0.1, sill)], _GLASS),
    ]
    wheels = (0.33, nose - 0.85, tail + 0.85)
    return [
        Prism(body, 0.9, 0.88, {0: _TYRE, 6: _TYRE}, marks=_lights(1, 5, 0.45, 0.95), wheels=wheels),
        Prism(cabin, 0.86, 0.68, {0: _GLASS, 2: _GLASS}, windows, layer=1),
    ]


def _bus(long: float) -> list[Prism]:
    nose, tail = long / 2, -long / 2
    body: Outline = [
        (nose, 0.35), (nose, 1.2), (nose - 0.12, 2.9), (nose - 0.5, 3.05),
        (tail + 0.3, 3.05), (tail, 2.8), (tail, 1.3), (tail, 0.35),
    ]  # fmt: skip
    pillars = np.linspace(nose - 0.35, tail + 0.35, round(long / 1.5) + 1).tolist()
    panels: list[Panel] = [
        ([(a - 0.06, 1.35), (a - 0.06, 2.5), (b + 0.06, 2.5), (b + 0.06, 1.35)], _GLASS)
        for a, b in pairwise(pillars)
    ]
    panels.append(([(nose - 0.5, 0.4), (nose - 0.5, 1.35), (nose - 1.5, 1.35), (nose - 1.5, 0.4)], _GLASS))
    marks: list[Mark] = [
        *_lights(0, 6, 0.3, 0.6),
        (1, (-0.9, 0.9, 0.1, 0.75), _GLASS),
        (1, (-0.6, 0.6, 0.8, 0.95), (40, 170, 240)),  # destination
        (5, (-0.8, 0.8, 0.1, 0.7), _GLASS),
        (3, (-0.5, 0.5, 0.3, 0.5), (120, 120, 120)),  # air conditioner
    ]
    return [Prism(body, 1.25, 1.2, panels=panels, marks=marks, wheels=(0.5, nose - 2.3, tail + 2.4))]


def _truck(long: float) -> list[Prism]:
    nose, tail = long / 2, -long / 2
    back = nose - 1.9
    frame: Outline = [(nose - 0.2, 0.45), (nose - 0.2, 0.95), (tail, 0.95), (tail, 0.45)]
    cab: Outline = [
        (nose, 0.5), (nose, 1.35), (nose - 0.25, 2.4), (nose - 0.6, 2.5), (back, 2.5), (back, 0.5),
    ]  # fmt: skip
    load: Outline = [(back - 0.15, 0.95), (back - 0.15, 3.3), (tail, 3.3), (tail, 0.95)]
    window: Outline = [(nose - 0.15, 1.4), (nose - 0.4, 2.3), (back + 0.3, 2.3), (back + 0.3, 1.4)]
    taillights: list[Mark] = [(2, (left, left + 0.2, 0.1, 0.6), _TAILLIGHT) for left in (-0.9, 0.7)]
    marks: list[Mark] = [(0, (left, left + 0.3, 0.2, 0.45), _HEADLIGHT) for left in (-0.9, 0.6)]
    marks.append((1, (-0.9, 0.9, 0.05, 0.9), _GLASS))
    wheels = (0.48, nose - 1.0, tail + 1.1, tail + 2.2)
    return [
        Prism(frame, 1.0, 1.0, marks=taillights, wheels=wheels, paint=(50, 48, 46)),
        Prism(load, 1.22, 1.22, layer=1, paint=(205, 208, 205)),
        Prism(cab, 1.12, 1.05, panels=[(window, _GLASS)], marks=marks, layer=1),
    ]


# Length, height (metres), bonnet and boot of a saloon, a hatchback, an estate and a van.
_CARS = ((4.5, 1.45, 0.27, 0.17), (4.0, 1.5, 0.25, 0.05), (4.7, 1.75, 0.26, 0.05), (4.9, 2.1, 0.17, 0.03))


def _blueprint(kind: str, rng: np.random.Generator) -> list[Prism]:
    if kind == "bus":
        return _bus(rng.uniform(9.0, 10.8))
    if kind == "truck":
        return _truck(rng.uniform(7.0, 9.0))
    long, high, bonnet, boot = _CARS[int(rng.integers(len(_CARS)))]
    return _car(long * rng.uniform(0.95, 1.04), high * rng.uniform(0.97, 1.04), bonnet, boot)


@dataclass(frozen=True, slots=True)
class Vehicle:
    """How one vehicle looks: faces in world orientation about the middle of its footprint, already lit."""

    vertices: Floats  # of all faces, one after the other
    spans: list[slice]  # of each face's vertices
    colours: list[Colour]
    outer: list[bool]
    centres: Floats
    normals: Floats
    shadow: Floats  # outline (K x 3) on the ground
    from_ahead: NDArray[np.int64]  # drawing order of the faces for an eye farther along x than the vehicle
    from_behind: NDArray[np.int64]

    @classmethod
    def random(cls, rng: np.random.Generator, light: Light, kind: str, direction: int) -> Vehicle:
        """A vehicle of a kind, "car", "bus" or "truck", that drives towards +x (1) or -x (-1)."""
        paint = tuple(np.clip(np.array(rng.choice(_PAINT)) + rng.normal(0, 8, 3), 8, 250).tolist())
        turn = np.array([direction, direction, 1.0])
        built = [(prism, prism.faces(paint)) for prism in _blueprint(kind, rng)]
        faces = [face for _, painted in built for face in painted]
        polygons = [face.polygon * turn for face in faces]
        layer = np.concatenate([[prism.layer] * len(painted) for prism, painted in built])
        ahead = np.concatenate([[prism.middle * direction] * len(painted) for prism, painted in built])
        vertices, normals = np.concatenate(polygons), np.stack([_normal(polygon) for polygon in polygons])
        brightness = 0.72 + 0.36 * np.maximum(normals @ light.toward, 0)
        fallen = np.concatenate([vertices[:, :2], vertices[:, :2] + vertices[:, 2:] * light.cast])
        outline = cv2.convexHull(fallen.astype(np.float32))[:, 0].astype(np.float64)
        ends = np.cumsum([0, *map(len, polygons)]).tolist()
        return cls(
            vertices,
            [slice(start, end) for start, end in pairwise(ends)],
            light.paint(np.array([face.colour for face in faces]), brightness),
            [face.outer for face in faces],
            np.stack([polygon.mean(axis=0) for polygon in polygons]),
            normals,
            np.pad(outline, ((0, 0), (0, 1))),
            np.lexsort((ahead, layer)),
            np.lexsort((-ahead, layer)),
        )

    def figure(self, view: View, ground: Floats) -> Figure | None:
        """The vehicle standing on `ground` (3), or None out of view."""
        pixels, _ = view.project(self.vertices + ground)
        frame = bounds(pixels[None])[0].tolist()
        if not view.shows(*frame):
            return None
        seen = ((view.eye - ground - self.centres) * self.normals).sum(axis=1) > 0
        order = self.from_ahead if view.eye[0] > ground[0] else self.from_behind
        faces, points = order[seen[order]].tolist(), fixed_point(pixels)
        polygons = [points[self.spans[face]] for face in faces]
        outline = [polygon for polygon, face in zip(polygons, faces, strict=True) if self.outer[face]]
        return Figure(polygons, [self.colours[face] for face in faces], outline, *frame)


def _normal(polygon: Floats) -> Floats:
    """The outward unit normal of a polygon that runs counter-clockwise seen from outside (Newell's sum)."""
    total = np.zeros(3)
    for (x0, y0, z0), (x1, y1, z1) in pairwise([*polygon.tolist(), polygon[0].tolist()]):
        total += (y0 * z1 - z0 * y1, z0 * x1 - x0 * z1, x0 * y1 - y0 * x1)
    normal: Floats = total / np.linalg.norm(total)
    return normal
