"""The still part of the synthetic street: its layout, camera, light, backdrop, trees and lamps.

The ground and the row of house fronts are painted flat, in metres, and then seen through the camera.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import cv2
import numpy as np

from .drawing import Colour, Figure, Floats, Image, Light, View, capsule_figures, capsules

LANE_WIDTH = 3.3
CROSSING_HALF_WIDTH = 1.8
_FINEST = 44.0  # pixels per metre of the flat pictures: more costs memory and is not visible
_LARGEST = 5000.0  # pixels along the longer side of a flat picture
_KERB, _MARKING = 0.35, (205.0, 212.0, 212.0)


@dataclass(frozen=True, slots=True)
class StreetLayout:
    """Where everything is, in metres.

    The near pavement spans y from 0 to `near_kerb`, the road goes on to `far_kerb` and the far pavement to
    `front`, where the houses stand. The middle of the crossing is at x = `crossing`.
    """

    view: View
    light: Light
    lanes: int
    near_kerb: float
    far_kerb: float
    front: float
    crossing: float
    keeps_right: bool

    @classmethod
    def random(
        cls, rng: np.random.Generator, width: int, height: int, people: int, vehicles: int
    ) -> StreetLayout:
        """Lay out a street; more lanes and a more distant camera make room for larger crowds."""
        base = int(rng.integers(2, 5))
        lanes = min(max(base, math.ceil(vehicles / 5)), 8)
        reach = min(max(1.0, vehicles / (2.8 * lanes), math.sqrt(people / 32)), 8.0)
        near_kerb, far_walk = rng.uniform(3.0, 4.5) * reach, rng.uniform(3.5, 5.0) * reach
        far_kerb = near_kerb + lanes * LANE_WIDTH
        focal = max(width, 1.2 * height) / (2 * math.tan(math.radians(rng.uniform(25, 30))))
        pitch, yaw = math.radians(rng.uniform(23, 33)), math.radians(rng.uniform(-32, 32))
        up = rng.uniform(9.5, 13.5) * reach
        behind = up / math.tan(pitch + math.atan(height / 2 / focal)) - 0.8 * reach
        view = View.aimed(width, height, focal, np.array([0.0, -behind, up]), yaw, pitch)
        gaze = (behind + (near_kerb + far_kerb) / 2) * math.tan(yaw)
        crossing = gaze + rng.uniform(-5, 5)
        light = _random_light(rng)
        return cls(view, light, lanes, near_kerb, far_kerb, far_kerb + far_walk, crossing, rng.random() < 0.75)

    def lane_centre(self, lane: int) -> float:
        return self.near_kerb + (lane + 0.5) * LANE_WIDTH

    def in_view(self, y: float) -> tuple[float, float]:
        """The ends (x) of the line across the view at this y, from the left edge of the frame to the right."""
        sides = np.array([-self.view.width, self.view.width]) / (2 * self.view.focal)
        right, _, forward = self.view.axes
        reach = y - self.view.eye[1]
        # On the ground, depth = reach * fy + dx * fx + drop * fz and sideways = reach * ry + dx * rx.
        depth = reach * forward[1] - self.view.eye[2] * forward[2]
        ends = (sides * depth - reach * right[1]) / (right[0] - sides * forward[0])
        return float(ends[0]), float(ends[1])

    def nearest(self) -> float:
        """The least y of the ground in view, at one of the lower corners of the frame."""
        view = self.view
        sides = np.array([-view.width, view.width]) / (2 * view.focal)
        corners = np.stack([sides, np.full(2, view.height / (2 * view.focal)), np.ones(2)], axis=1) @ view.axes
        return float((view.eye[1] - corners[:, 1] * view.eye[2] / corners[:, 2]).min())


def _random_light(rng: np.random.Generator) -> Light:
    """A sunny or overcast sky at some hour: warm or cool, bright or dim."""
    sunny = rng.random() < 0.65
    azimuth, elevation = rng.uniform(0, 2 * math.pi), math.radians(rng.uniform(38, 65))
    cast = np.array([math.cos(azimuth), math.sin(azimuth)]) / math.tan(elevation)
    toward = np.array([-cast[0], -cast[1], 1.0]) / np.linalg.norm([*cast, 1.0])
    warmth, brightness = rng.uniform(-0.07, 0.1), rng.uniform(0.82, 1.2)
    tint = brightness * np.array([1 - warmth, 1.0, 1 + warmth])
    if not sunny:
        return Light(cast * 0.35, np.array([0.0, 0.0, 1.0]), tint, rng.uniform(0.15, 0.25))
    return Light(cast, toward, tint, rng.uniform(0.35, 0.5))


class _Plan:
    """A flat picture of a vertical or horizontal plane, painted in metres: u runs right, v runs down."""

    def __init__(
        self, left: float, right: float, top: float, bottom: float, finest: float, base: Colour
    ) -> None:
        self.left, self.top, self.right, self.bottom = left, top, right, bottom
        self.scale = min(finest, _LARGEST / max(right - left, bottom - top))
        size = math.ceil((bottom - top) * self.scale), math.ceil((right - left) * self.scale)
        self.pixels: Image = np.full((*size, 3), base, np.uint8)

    def box(self, left: float, top: float, right: float, bottom: float, colour: Colour) -> None:
        x0, x1 = (max(round((x - self.left) * self.scale), 0) for x in (left, right))
        y0, y1 = (max(round((y - self.top) * self.scale), 0) for y in (top, bottom))
        self.pixels[y0:y1, x0:x1] = [min(max(value, 0), 255) for value in colour]

    def darken(self, outlines: list[Floats], share: float) -> None:
        """Lay soft shadows with these outlines (N x 2) over what is painted."""
        mask = np.zeros(self.pixels.shape[:2], np.uint8)
        for outline in outlines:
            inside = np.rint((outline - (self.left, self.top)) * self.scale).astype(np.int32)
            cv2.fillConvexPoly(mask, inside, (255.0 * share,))
        dark = cv2.cvtColor(cv2.bitwise_not(cv2.blur(mask, (7, 7))), cv2.COLOR_GRAY2BGR)
        cv2.multiply(self.pixels, dark, self.pixels, 1 / 255)

    def grain(self, rng: np.random.Generator, strength: float) -> None:
        """Mottle the surface with patches about 4 m, 0.6 m and 0.1 m wide."""
        rows, columns, _ = self.pixels.shape
        total = np.full((rows, columns), 128.0, np.float32)
        for grain, share in ((4.0, 0.8), (0.6, 0.5), (0.1, 0.7)):
            cells = max(2, int(rows / self.scale / grain)), max(2, int(columns / self.scale / grain))
            noise = rng.standard_normal(cells, dtype=np.float32) * np.float32(share * strength)
            total += cv2.resize(noise, (columns, rows), interpolation=cv2.INTER_LINEAR)
        factor = cv2.cvtColor(np.clip(total, 0, 255).astype(np.uint8), cv2.COLOR_GRAY2BGR)
        cv2.multiply(self.pixels, factor, self.pixels, 1 / 128)

    def seen(self, view: View, origin: Floats, along: Floats, onto: Image) -> None:
        """Paint this plane, whose v axis points `along` from `origin`, onto a picture through the camera."""
        across = np.array([1.0, 0.0, 0.0])
        corner = origin + across * self.left + along * self.top
        pixels = np.diag([1 / self.scale, 1 / self.scale, 1.0])
        zoom = np.diag([onto.shape[1] / view.width, onto.shape[0] / view.height, 1.0])
        homography = zoom @ view.plane(corner, across, along) @ pixels
        size = onto.shape[1], onto.shape[0]
        cv2.warpPerspective(self.pixels, homography, size, onto, cv2.INTER_LINEAR, cv2.BORDER_TRANSPARENT)


def backdrop(street: StreetLayout, rng: np.random.Generator, props: list[Prop]) -> tuple[Image, Image]:
    """The street with its props (BGR, height x width x 3) in the light, and with all ground in shadow.

    Painted at twice the size and then reduced, which keeps the far markings from breaking into steps.
    """
    view = street.view
    double: Image = np.zeros((2 * view.height, 2 * view.width, 3), np.uint8)
    finest = min(max(view.focal / math.hypot(view.eye[1], view.eye[2]), 8.0), _FINEST)
    ground = _ground(street, rng, finest)
    ground.darken([outline for prop in props for outline in prop.shadow], street.light.shade)
    ground.seen(view, np.zeros(3), np.array([0.0, 1.0, 0.0]), double)
    _houses(street, rng, finest).seen(view, np.array([0, street.front, 0.0]), np.array([0, 0, -1.0]), double)
    picture = cv2.resize(double, (view.width, view.height), interpolation=cv2.INTER_AREA)
    across, down = (np.linspace(-1, 1, count, dtype=np.float32) for count in (view.width, view.height))
    slope = rng.uniform(-0.08, 0.08, 2)
    level = slope[0] * across + (slope[1] * down - 0.07 * down**2)[:, None] + 1 - 0.07 * across**2
    bright = (picture * (level[..., None] * street.light.tint).astype(np.float32)).clip(0, 255)
    lit, shaded = bright.astype(np.uint8), (bright * np.float32(1 - street.light.shade)).astype(np.uint8)
    for prop in sorted(props, key=lambda prop: -math.dist((prop.x, prop.y, 0), view.eye)):
        if prop.figure:
            prop.figure.paint(lit)
            prop.figure.paint(shaded)
    return lit, shaded


def _ground(street: StreetLayout, rng: np.random.Generator, finest: float) -> _Plan:
    """Road, pavements, kerbs and markings from above."""
    nearest = min(street.nearest() - 0.5, -2.5)
    ends = np.array([street.in_view(nearest), street.in_view(street.front)])
    left, right = float(ends.min()), float(ends.max())
    grey = rng.uniform(72, 108)
    verge = np.array([(70, 110, 85), (120, 130, 135), (80, 105, 100)][int(rng.integers(3))]) + rng.normal(
        0, 8, 3
    )
    plan = _Plan(left - 1, right + 1, nearest, street.front + 0.5, finest, tuple(verge))
    slab = np.array([150, 155, 160]) + rng.normal(0, 12) + rng.normal(0, 5, 3)
    for low, high in ((-2.0, street.near_kerb), (street.far_kerb, street.front + 0.5)):
        plan.box(plan.left, low, plan.right, high, tuple(slab))
        for joint in np.arange(plan.left, plan.right, 0.9).tolist():
            plan.box(joint, low, joint + 0.04, high, tuple(slab * 0.86))
        for joint in np.arange(low, high, 0.9).tolist():
            plan.box(plan.left, joint, plan.right, joint + 0.04, tuple(slab * 0.86))
    plan.box(plan.left, street.near_kerb, plan.right, street.far_kerb, (grey, grey * 0.98, grey * 0.97))
    for _ in range(7):  # mended asphalt
        x, y = rng.uniform(left, right), rng.uniform(street.near_kerb, street.far_kerb - 2)
        tone = grey * rng.uniform(0.84, 1.06)
        plan.box(x, y, x + rng.uniform(0.8, 5), y + rng.uniform(0.7, 2), (tone, tone, tone))
    for kerb in (street.near_kerb - _KERB, street.far_kerb):
        plan.box(plan.left, kerb, plan.right, kerb + _KERB, tuple(slab * 1.18))
        plan.box(plan.left, kerb + _KERB * 0.8, plan.right, kerb + _KERB, tuple(slab * 0.7))
    _markings(street, plan, rng)
    plan.grain(rng, rng.uniform(5, 9))
    return plan


def _markings(street: StreetLayout, plan: _Plan, rng: np.random.Generator) -> None:
    """Lane lines, a solid one between the directions, the zebra crossing and its stop lines."""
    worn = tuple(np.array(_MARKING) * rng.uniform(0.8, 1.05))
    dash, gap = rng.uniform(1.5, 3), rng.uniform(2, 4)
    for lane in range(1, street.lanes):
        y = street.near_kerb + lane * LANE_WIDTH
        if lane == street.lanes // 2:
            plan.box(plan.left, y - 0.08, plan.right, y + 0.08, worn)
            continue
        for start in np.arange(plan.left, plan.right, dash + gap).tolist():
            plan.box(start, y - 0.07, start + dash, y + 0.07, worn)
    for y in (street.near_kerb + 0.3, street.far_kerb - 0.42):
        plan.box(plan.left, y, plan.right, y + 0.12, worn)
    grey = tuple(float(value) for value in plan.pixels[plan.pixels.shape[0] // 2, 0])
    west, east = street.crossing - CROSSING_HALF_WIDTH, street.crossing + CROSSING_HALF_WIDTH
    plan.box(west - 0.9, street.near_kerb, east + 0.9, street.far_kerb, grey)
    for stripe in np.arange(street.near_kerb + 0.3, street.far_kerb - 0.4, 1.0).tolist():
        plan.box(west, stripe, east, stripe + 0.5, _MARKING)
    middle = street.near_kerb + street.lanes // 2 * LANE_WIDTH
    spans = [(street.near_kerb, middle), (middle, street.far_kerb)]
    for x, (low, high) in zip(
        (west - 0.8, east + 0.5), spans if street.keeps_right else spans[::-1], strict=True
    ):
        plan.box(x, low, x + 0.3, high, worn)


def _houses(street: StreetLayout, rng: np.random.Generator, finest: float) -> _Plan:
    """A row of house fronts with shops, doors and windows, seen straight on; v is minus the height."""
    left, right = street.in_view(street.front)
    high = street.view.eye[2] + 6.0
    plan = _Plan(left - 8, right + 8, -high, 0.0, finest, (120, 130, 140))
    x = plan.left
    while x < plan.right:
        width = rng.uniform(6, 13)
        _house(plan, rng, x, min(x + width, plan.right), high)
        x += width
    plan.grain(rng, 4.0)
    return plan


def _house(plan: _Plan, rng: np.random.Generator, left: float, right: float, high: float) -> None:
    hue, storey = rng.uniform(-1, 1), rng.uniform(2.9, 3.4)
    wall = rng.uniform(85, 190) * np.array([1 - 0.16 * hue, 1.0, 1 + 0.16 * hue])
    plan.box(left, -high, right, 0, tuple(wall))
    plan.box(left, -high, left + 0.12, 0, tuple(wall * 0.7))
    pane = np.array([95, 85, 75]) * rng.uniform(0.6, 1.5)
    frame, spacing, wide = wall * rng.choice([1.25, 0.6]), rng.uniform(2.0, 3.0), rng.uniform(0.9, 1.5)
    for floor in range(1, math.ceil(high / storey)):
        sill = -floor * storey - 0.7
        plan.box(left, -floor * storey - 0.1, right, -floor * storey + 0.05, tuple(wall * 0.88))
        for x in np.arange(left + 0.8, right - wide - 0.3, spacing).tolist():
            plan.box(x - 0.1, sill - 1.65, x + wide + 0.1, sill + 0.12, tuple(frame))
            plan.box(x, sill - 1.55, x + wide, sill, tuple(pane * rng.uniform(0.8, 1.3)))
            plan.box(x + wide / 2 - 0.04, sill - 1.55, x + wide / 2 + 0.04, sill, tuple(frame))
    plan.box(left, -0.4, right, 0, tuple(wall * 0.55))
    door = left + rng.uniform(0.6, 1.6)
    plan.box(door, -2.3, door + 1.1, 0, tuple(rng.uniform(20, 120, 3)))
    if rng.random() < 0.6:
        plan.box(door + 1.7, -2.3, right - 0.5, -0.5, tuple(pane * 0.8))
        plan.box(door + 1.4, -2.95, right - 0.3, -2.3, tuple(rng.uniform(30, 200, 3)))
    else:
        for x in np.arange(door + 2.0, right - wide - 0.3, spacing).tolist():
            plan.box(x, -2.4, x + wide, -1.0, tuple(pane))


@dataclass(frozen=True, slots=True)
class Prop:
    """A lamp or tree: where it stands (metres), how it looks, and its shadow."""

    x: float
    y: float
    figure: Figure | None  # None out of view
    shadow: list[Floats]  # outlines (x, y) on the ground


def furnish(street: StreetLayout, rng: np.random.Generator) -> list[Prop]:
    """Trees along the far pavement and lamps along both kerbs, some of them out of view."""
    leaf, gap = np.array([50, 115, 75]) + rng.normal(0, 16, 3), rng.uniform(7, 13)
    props: list[Prop] = []
    if rng.random() < 0.8:
        y = street.far_kerb + 1.0
        props += [_tree(street, rng, x, y, leaf) for x in _row(street, rng, y, gap)]
    for y, gap in ((street.near_kerb - 0.7, 17.0), (street.far_kerb + 0.6, 14.0)):
        props += [_lamp(street, x, y) for x in _row(street, rng, y, gap)]
    return props


def _row(street: StreetLayout, rng: np.random.Generator, y: float, gap: float) -> list[float]:
    """Places (x) at equal distances across the view."""
    left, right = street.in_view(y)
    places: list[float] = np.arange(left + rng.uniform(0, gap), right, gap).tolist()
    return places


def _prop(street: StreetLayout, x: float, y: float, ends: Floats, radii: Floats, colours: Floats) -> Prop:
    """Build a prop from capsules (N x 2 x 3, relative to its foot)."""
    paints: list[Colour | None] = [*street.light.paint(colours)]
    (figure,) = capsule_figures(street.view, (ends + np.array([x, y, 0.0]))[None], radii[None], [paints])
    fallen = ends[..., :2] + ends[..., 2:] * street.light.cast + np.array([x, y])
    return Prop(x, y, figure, list(capsules(fallen, radii)))


def _tree(street: StreetLayout, rng: np.random.Generator, x: float, y: float, leaf: Floats) -> Prop:
    high, wide, leaves = rng.uniform(4.2, 5.6), rng.uniform(1.1, 1.6), 34
    around = rng.standard_normal((leaves, 3))
    around *= rng.uniform(0.4, 1.0, (leaves, 1)) / np.linalg.norm(around, axis=1, keepdims=True)
    centres = around * (wide, wide, 1.3) + (0, 0, high - 1.0)
    ends = np.concatenate([[[[0, 0, 0], [0, 0, high - 1.2]]], np.stack([centres, centres], axis=1)])
    radii = np.concatenate([[[0.14, 0.1]], np.repeat(rng.uniform(0.3, 0.6, (leaves, 1)), 2, axis=1)])
    brightness = 0.8 + 0.3 * (around @ street.light.toward) + rng.normal(0, 0.05, leaves)
    return _prop(street, x, y, ends, radii, np.concatenate([[[45, 62, 80]], leaf * brightness[:, None]]))


def _lamp(street: StreetLayout, x: float, y: float) -> Prop:
    over = 0.9 if y < street.far_kerb else -0.9
    ends = np.array(
        [
            [[0, 0, 0], [0, 0, 5.2]],
            [[0, 0, 5.2], [0, over, 5.4]],
            [[0, over * 0.8, 5.36], [0, over * 1.3, 5.4]],
        ]
    )
    radii = np.array([[0.08, 0.05], [0.045, 0.04], [0.1, 0.1]])
    return _prop(street, x, y, ends, radii, np.array([[70, 72, 70], [70, 72, 70], [190, 215, 225]]))
