"""Models of what was measured, and how far they miss it: service times, bytes, accuracy.

>>> points = [Timed(1, 2e6, 0.11), Timed(2, 2e6, 0.06), Timed(1, 1e6, 0.06), Timed(2, 1e6, 0.035)]
>>> model = fit_service(points)
>>> round(model(cores=4, pixels=2e6), 4), round(errors([model(p.cores, p.pixels) for p in points],
...     [p.seconds for p in points]).mae, 6)
(0.035, 0.0)
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from flowedge.errors import ConfigError

MEGA = 1e6


@dataclass(frozen=True, slots=True)
class Errors:
    """Mean absolute, mean squared and root mean squared error of a fit, as in ROMA's Table I.

    `share` is the mean absolute error as a share of the mean of what was measured.
    """

    mae: float
    mse: float
    rmse: float
    share: float


def errors(fitted: Sequence[float], measured: Sequence[float]) -> Errors:
    """How far fitted values miss the measured ones.

    >>> errors([1.0, 2.5], [2.0, 2.0])
    Errors(mae=0.75, mse=0.625, rmse=0.7905694150420949, share=0.375)
    """
    right = np.asarray(measured, np.float64)
    missed = np.abs(np.asarray(fitted, np.float64) - right)
    mse = float(np.mean(missed**2))
    mae = float(np.mean(missed))
    return Errors(mae, mse, math.sqrt(mse), mae / max(float(np.mean(np.abs(right))), 1e-12))


@dataclass(frozen=True, slots=True)
class Timed:
    """Mean seconds a frame of an operator that looks at so many pixels a frame with so many cores."""

    cores: float
    pixels: float
    seconds: float


@dataclass(frozen=True, slots=True)
class ServiceModel:
    """Seconds a frame: t(c, p) = alone + alone_pixel p + (shared + shared_pixel p) / c, p in million pixels.

    The part before the sum in brackets is done by one core whatever there is (Amdahl's law).
    """

    alone: float
    alone_pixel: float
    shared: float
    shared_pixel: float

    def __call__(self, cores: float, pixels: float) -> float:
        mega = pixels / MEGA
        return self.alone + self.alone_pixel * mega + (self.shared + self.shared_pixel * mega) / cores

    @property
    def terms(self) -> int:
        """How many of its coefficients are above 0."""
        return sum(each > 0 for each in (self.alone, self.alone_pixel, self.shared, self.shared_pixel))

    def __str__(self) -> str:
        """
        >>> print(ServiceModel(0.001, 0.0, 0.002, 0.03))
        1 + (2 + 30 Mpx) / c ms
        """
        alone, shared = _sum(self.alone, self.alone_pixel), _sum(self.shared, self.shared_pixel)
        divided = f"({shared}) / c" if "+" in shared else f"{shared} / c"
        parts = [alone] * bool(self.alone or self.alone_pixel) + [divided] * bool(
            self.shared or self.shared_pixel
        )
        return f"{' + '.join(parts) or '0'} ms"


def fit_service(points: Sequence[Timed]) -> ServiceModel:
    """The model with no coefficient below 0 that is nearest to the points.

    Errors count as shares of the time, or of the median of all times where that is longer: what is done in no
    time says little. A term that the points cannot tell from another (one number of cores, one resolution) is
    left out.
    """
    from scipy.optimize import nnls

    if not points:
        raise ConfigError("points: a fit of service times needs at least one")
    cores = np.array([each.cores for each in points], np.float64)
    pixels = np.array([each.pixels / MEGA for each in points], np.float64)
    seconds = np.array([each.seconds for each in points], np.float64)
    scale = np.maximum(seconds, max(float(np.median(seconds)), 1e-9))
    several = len(set(cores)) > 1, len(set(pixels)) > 1
    terms = np.stack([np.ones_like(cores), pixels, 1 / cores, pixels / cores], axis=1)
    terms *= np.array([True, several[1], several[0], several[0] and several[1]])
    found, _ = nnls(terms / scale[:, None], seconds / scale)
    return ServiceModel(*(float(each) for each in found))


@dataclass(frozen=True, slots=True)
class Encoded:
    """Bytes of a picture of so many pixels as a JPEG of this quality (0..100)."""

    pixels: float
    quality: float
    bytes: float


@dataclass(frozen=True, slots=True)
class BytesModel:
    """Bytes of a JPEG: ln b = base + power ln p + slope q + bend q^2 with p in Mpx and q = quality / 100."""

    base: float
    power: float
    slope: float
    bend: float

    def __call__(self, pixels: float, quality: float) -> float:
        share = quality / 100
        exponent = self.base + self.slope * share + self.bend * share**2
        return float((pixels / MEGA) ** self.power * math.exp(exponent))

    def __str__(self) -> str:
        size = math.exp(self.base) / 1e3
        return f"{size:.3g} Mpx^{self.power:.2f} exp({self.slope:.3g} q {self.bend:+.3g} q^2) kB"


def fit_bytes(points: Sequence[Encoded]) -> BytesModel:
    """The model with the least squares of ln b; raises `ConfigError` where the points cannot tell its terms.

    >>> points = [Encoded(p * 1e6, q, 1e5 * p**0.8 * 2.0 ** (q / 25)) for p in (1, 2) for q in (25, 50, 75)]
    >>> model = fit_bytes(points)
    >>> round(model.power, 3), round(model(2e6, 80) / (1e5 * 2**0.8 * 2.0 ** (80 / 25)), 3)
    (0.8, 1.0)
    """
    pixels = np.array([each.pixels / MEGA for each in points], np.float64)
    shares = np.array([each.quality / 100 for each in points], np.float64)
    design = np.stack([np.ones_like(pixels), np.log(pixels), shares, shares**2], axis=1)
    wanted: NDArray[np.float64] = np.log([each.bytes for each in points])
    found, _, rank, _ = np.linalg.lstsq(design, wanted, rcond=None)
    if rank < design.shape[1]:
        raise ConfigError("points: a fit of bytes needs two resolutions and three qualities")
    return BytesModel(*(float(each) for each in found))


@dataclass(frozen=True, slots=True)
class AccuracyModel:
    """The accuracy (0..1) at a resolution r (pixels along an edge): a(r) = a1 - a2 exp(-r / a3).

    `residual` is the largest error at the points that it was fitted to.

    >>> model = AccuracyModel(0.674, 0.405, 188.7)
    >>> round(model(416), 3), round(model(512), 3)
    (0.629, 0.647)
    """

    a1: float
    a2: float
    a3: float
    residual: float = 0.0

    def __call__(self, resolution: float) -> float:
        return self.a1 - self.a2 * math.exp(-resolution / self.a3)


def fit_accuracy(resolutions: Sequence[float], accuracies: Sequence[float]) -> AccuracyModel:
    """The least-squares fit of a(r); raises `ConfigError` for fewer than three different resolutions.

    For a given a3 the model is linear in a1 and a2, so only a3 is searched for.

    >>> model = fit_accuracy((320, 416, 512, 608), (0.600, 0.628, 0.649, 0.657))
    >>> round(model.a1, 3), round(model.residual, 3)
    (0.674, 0.002)
    """
    from scipy.optimize import minimize_scalar

    if len(set(resolutions)) < 3:
        raise ConfigError(f"resolutions: a fit needs three different ones, not {list(resolutions)}")
    at, wanted = np.asarray(resolutions, np.float64), np.asarray(accuracies, np.float64)

    def solved(a3: float) -> tuple[float, float, float, float]:
        design = np.stack([np.ones_like(at), -np.exp(-at / a3)], axis=1)
        (a1, a2), *_ = np.linalg.lstsq(design, wanted, rcond=None)
        errors = design @ (a1, a2) - wanted
        return float(a1), float(a2), float(np.abs(errors).max()), float(errors @ errors)

    span = float(at.max() - at.min())
    bounds = math.log(span / 20), math.log(span * 20)
    best = minimize_scalar(
        lambda log: solved(math.exp(log))[3], bounds=bounds, method="bounded", options={"xatol": 1e-9}
    )
    a3 = math.exp(best.x)
    a1, a2, residual, _ = solved(a3)
    return AccuracyModel(a1, a2, a3, residual)


def _sum(constant: float, pixel: float) -> str:
    """Two terms in milliseconds, those that are 0 left out."""
    parts = [f"{1e3 * constant:.3g}"] * (constant > 0) + [f"{1e3 * pixel:.3g} Mpx"] * (pixel > 0)
    return " + ".join(parts)
