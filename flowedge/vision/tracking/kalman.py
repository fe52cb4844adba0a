"""Kalman filters of all tracks of a camera at once, on centre and size of a box, in seconds.

The state of a track is (cx, cy, w, h) and its rate of change, as in BoT-SORT (Aharon et al. 2022, section
3.1). With noise that is independent for each of the four, the 8 x 8 filter falls apart into four filters of
two numbers, position and velocity, whose covariances are three columns: no matrix is ever inverted. Noise is a
share of the box's size, and process noise grows with the time that passed, so the same numbers hold at 7 and at
60 frames a second and over a gap. Sizes settle: their rate of change dies out, because an object that is
hidden bit by bit seems to shrink and does not go on doing so.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, fields

import numpy as np
from numpy.typing import NDArray

Columns = NDArray[np.float64]

_SETTLING = 2.0  # per second: how fast the change of a box's size dies out
_SMALLEST = 1.0  # pixels: no box becomes smaller than this


@dataclass(frozen=True, slots=True)
class Noise:
    """Standard deviations as shares of the box's size.

    `measured` is that of a detection; `walk` that of the position after one second; `surge` that of the change
    of velocity, in sizes per second, within one second; `start` that of a new track's velocity.
    """

    measured: float = 0.1
    walk: float = 0.2
    surge: float = 0.6
    start: float = 2.0


@dataclass(slots=True, eq=False)
class Motion:
    """What is believed about N boxes: each column is N x 4 for cx, cy, w, h, in pixels and seconds.

    `vv`, `pv` and `pp` are the variances of velocity, position and the covariance of the two.
    """

    position: Columns
    velocity: Columns
    pp: Columns
    pv: Columns
    vv: Columns

    def __len__(self) -> int:
        return len(self.position)

    def select(self, rows: NDArray[np.intp] | NDArray[np.bool_]) -> Motion:
        """The tracks that a mask or indices name."""
        return Motion(*(getattr(self, item.name)[rows] for item in fields(self)))

    def extend(self, other: Motion) -> Motion:
        """These tracks and, behind them, others."""
        return Motion(
            *(np.concatenate([getattr(self, item.name), getattr(other, item.name)]) for item in fields(self))
        )

    def predict(self, seconds: float, noise: Noise) -> None:
        """Move on by `seconds` at constant velocity; uncertainty grows (discrete white noise)."""
        size = _size(self.position)
        self.velocity[:, 2:] *= math.exp(-_SETTLING * seconds)
        self.pp += seconds * (2 * self.pv + seconds * self.vv) + (noise.walk * size) ** 2 * seconds
        self.pv += seconds * self.vv
        self.vv += (noise.surge * size) ** 2 * seconds
        self.position += seconds * self.velocity
        np.maximum(self.position[:, 2:], _SMALLEST, out=self.position[:, 2:])

    def shift(self, affine: Columns) -> None:
        """Follow the camera: `affine`, 2 x 3, maps points of the last frame to this one, turned and scaled."""
        turn = affine[:, :2]
        scale = math.sqrt(abs(turn[0, 0] * turn[1, 1] - turn[0, 1] * turn[1, 0]))
        self.position[:, :2] = self.position[:, :2] @ turn.T + affine[:, 2]
        self.velocity[:, :2] = self.velocity[:, :2] @ turn.T
        self.position[:, 2:] *= scale
        self.velocity[:, 2:] *= scale

    def scale(self, across: float, down: float) -> None:
        """Follow a picture that has become so many times wider and higher."""
        factor = np.array([across, down, across, down])
        self.position *= factor
        self.velocity *= factor
        for variance in (self.pp, self.pv, self.vv):
            variance *= factor**2

    def update(self, rows: NDArray[np.intp], measured: Columns, noise: Noise) -> None:
        """Correct the tracks `rows` by what was measured for them, K x 4 (cx, cy, w, h)."""
        pp, pv = self.pp[rows], self.pv[rows]
        total = pp + (noise.measured * _size(measured)) ** 2
        gain, gain_velocity = pp / total, pv / total
        surprise = measured - self.position[rows]
        self.position[rows] += gain * surprise
        self.velocity[rows] += gain_velocity * surprise
        self.pp[rows] = pp - gain * pp
        self.pv[rows] = pv - gain * pv
        self.vv[rows] -= gain_velocity * pv

    @staticmethod
    def begin(measured: Columns, noise: Noise) -> Motion:
        """New tracks at rest where they were measured, K x 4 (cx, cy, w, h)."""
        size = _size(measured)
        zeros = np.zeros_like(measured)
        return Motion(
            measured.copy(), zeros, (noise.measured * size) ** 2, zeros.copy(), (noise.start * size) ** 2
        )


def _size(position: Columns) -> Columns:
    """What noise is relative to, N x 4: the width for cx and w, the height for cy and h."""
    return np.tile(np.maximum(position[:, 2:], _SMALLEST), 2)
