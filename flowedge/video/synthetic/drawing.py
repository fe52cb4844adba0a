"""The camera, light and brush of the synthetic street.

World coordinates are metres: x along the street, y away from the camera across it, z up.
Everything that is drawn is a convex polygon: the faces of vehicles, and the outlines of the tapered
capsules that people, lamps and trees are made of.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import NamedTuple, TypeAlias

import cv2
import numpy as np
from numpy.typing import NDArray

Floats: TypeAlias = NDArray[np.float64]
Image: TypeAlias = NDArray[np.uint8]
Colour: TypeAlias = tuple[float, ...]

FRACTION_BITS = 4  # of the fixed-point coordinates that cv2 draws with
_FAN = np.linspace(-math.pi / 2, math.pi / 2, 5)
_AROUND = np.concatenate([_FAN, _FAN + math.pi])  # five points about a capsule's end, five about its start
_END_OF_POINT = np.repeat([1, 0], 5)


@dataclass(frozen=True, slots=True)
class View:
    """A pinhole camera: frame size in pixels, focal length in pixels, eye in metres, axes as rows."""

    width: int
    height: int
    focal: float
    eye: Floats
    axes: Floats

    @classmethod
    def aimed(cls, width: int, height: int, focal: float, eye: Floats, yaw: float, pitch: float) -> View:
        """Look along +y, turned by `yaw` towards +x and tilted down by `pitch` (radians)."""
        forward = np.array([math.sin(yaw) * math.cos(pitch), math.cos(yaw) * math.cos(pitch), -math.sin(pitch)])
        right = np.array([math.cos(yaw), -math.sin(yaw), 0.0])
        return cls(width, height, focal, eye, np.stack([right, np.cross(forward, right), forward]))

    def project(self, points: Floats) -> tuple[Floats, Floats]:
        """Pixels (... x 2) and distances along the optical axis (...) of world points (... x 3)."""
        # Flattened, because numpy is slow to multiply many small matrices.
        flat = (points - self.eye).reshape(-1, 3) @ self.axes.T
        local = flat.reshape(points.shape)
        depth = local[..., 2]
        centre = (self.width / 2, self.height / 2)
        return local[..., :2] * (self.focal / depth)[..., None] + centre, depth

    def shows(self, left: int, top: int, right: int, bottom: int) -> bool:
        """Whether any of these bounds (pixels) is in the frame."""
        return left < self.width and right > 0 and top < self.height and bottom > 0

    def plane(self, origin: Floats, across: Floats, along: Floats) -> Floats:
        """The homography (3 x 3) to pixels from (u, v) in the plane origin + u across + v along."""
        lens = np.array(
            [[self.focal, 0, self.width / 2], [0, self.focal, self.height / 2], [0, 0, 1]], dtype=np.float64
        )
        return lens @ self.axes @ np.stack([across, along, origin - self.eye], axis=1)


@dataclass(frozen=True, slots=True)
class Light:
    """The sun: `cast` is the ground offset (x, y) of a shadow per metre of height, `toward` points to the
    sun, `tint` multiplies every colour (BGR), `shade` is how opaque shadows are (0..1)."""

    cast: Floats
    toward: Floats
    tint: Floats
    shade: float

    def paint(self, colours: Floats, brightness: Floats | float = 1.0) -> list[Colour]:
        """How surfaces of these BGR colours (N x 3) look in this light."""
        lit = np.clip(colours * self.tint * np.reshape(brightness, (-1, 1)), 0, 255)
        return [tuple(colour) for colour in lit.tolist()]


class Figure(NamedTuple):
    """Polygons (K x 2, `fixed_point` in the frame) to be painted in this order, those of them that together
    make the outline, and the pixels that they lie within."""

    polygons: list[NDArray[np.int32]]
    colours: list[Colour]
    outline: list[NDArray[np.int32]]
    left: int
    top: int
    right: int
    bottom: int

    def paint(self, image: Image) -> None:
        for polygon, colour in zip(self.polygons, self.colours, strict=True):
            cv2.fillConvexPoly(image, polygon, colour, cv2.LINE_AA, FRACTION_BITS)

    def stamp(self, owners: NDArray[np.uint16], owner: int) -> None:
        """Set what this figure covers to `owner`."""
        for polygon in self.outline:
            cv2.fillConvexPoly(owners, polygon, (float(owner),), cv2.LINE_8, FRACTION_BITS)

    def area(self) -> int:
        """How many pixels this figure covers, those outside the frame included."""
        corner = np.array([self.left, self.top], np.int32) << FRACTION_BITS
        moved = self._replace(outline=[polygon - corner for polygon in self.outline])
        owners = np.zeros((self.bottom - self.top, self.right - self.left), np.uint16)
        moved.stamp(owners, 1)
        return int(np.count_nonzero(owners))

    def inside(self, width: int, height: int) -> tuple[slice, slice]:
        """The rows and columns of a frame of this size that the bounds cover."""
        return slice(max(self.top, 0), min(self.bottom, height)), slice(
            max(self.left, 0), min(self.right, width)
        )

    def cut(self, width: int, height: int) -> bool:
        """Whether the bounds leave a frame of this size."""
        return self.left < 0 or self.top < 0 or self.right > width or self.bottom > height


def fixed_point(pixels: Floats) -> NDArray[np.int32]:
    """Positions as cv2 draws them: in fractions of a pixel, counted from the middle of the first pixel."""
    return np.rint((pixels - 0.5) * (1 << FRACTION_BITS)).astype(np.int32)


def bounds(discs: Floats, radii: Floats | float = 0.0) -> NDArray[np.int64]:
    """The pixel rectangles (N x 4 xyxy) around N sets of P discs (N x P x 2), with a margin for soft edges."""
    points = np.ascontiguousarray(discs.transpose(2, 0, 1))  # numpy is slow to reduce over short rows
    low, high = (points - radii).min(axis=2), (points + radii).max(axis=2)
    return np.concatenate([np.floor(low) - 2, np.ceil(high) + 2]).T.astype(np.int64)


def capsules(ends: Floats, radii: Floats) -> Floats:
    """Outlines (... x 10 x 2) of discs of these radii (... x 2) swept between two ends (... x 2 x 2)."""
    along = ends[..., 1, :] - ends[..., 0, :]
    angles = np.arctan2(along[..., 1], along[..., 0])[..., None] + _AROUND
    ring = np.stack([np.cos(angles), np.sin(angles)], axis=-1)
    ring *= radii[..., _END_OF_POINT, None]
    ring += ends[..., _END_OF_POINT, :]
    return ring


def capsule_figures(
    view: View, ends: Floats, radii: Floats, colours: list[list[Colour | None]]
) -> list[Figure | None]:
    """N figures of P capsules between world points (N x P x 2 x 3); None for one that is out of view.

    Radii (N x P x 2) are in metres. Within a figure the farthest capsule comes first, and those without a
    colour are left out.
    """
    pixels, depth = view.project(ends)
    width, count = radii * view.focal / depth, len(ends)
    frames = bounds(pixels.reshape(count, -1, 2), width.reshape(count, -1)).tolist()
    outlines = fixed_point(capsules(pixels, width))
    order = np.argsort(-depth.sum(axis=2), axis=1, kind="stable").tolist()
    figures: list[Figure | None] = []
    for frame, polygons, parts, paints in zip(frames, outlines, order, colours, strict=True):
        painted = [(polygons[part], paint) for part in parts if (paint := paints[part])]
        shapes, tones = [shape for shape, _ in painted], [tone for _, tone in painted]
        figures.append(Figure(shapes, tones, shapes, *frame) if view.shows(*frame) else None)
    return figures
