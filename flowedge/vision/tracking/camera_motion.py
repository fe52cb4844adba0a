"""How a camera moved between two frames, from what stands still in the picture."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from flowedge.errors import StateError
from flowedge.state.plain import integers, item, table
from flowedge.values import Frame, Rect

_WIDTH = 480  # pixels across of the picture in which points are followed
_POINTS = 200
_ENOUGH = 12  # points that must agree before they are believed
_STILL = np.array([[1.0, 0.0, 0.0], [0.0, 1.0, 0.0]])


class CameraMotion:
    """Follows corners from frame to frame by sparse optical flow (Lucas-Kanade) and fits what most of them did.

    This is the camera motion compensation of BoT-SORT (Aharon et al. 2022, section 3.2) with four degrees of
    freedom: shift, turn and zoom.
    """

    def __init__(self) -> None:
        self._scene: tuple[Rect, int, int] | None = None
        self._before: NDArray[np.uint8] | None = None
        self._points: Any = None

    def between(self, frame: Frame) -> NDArray[np.float64]:
        """2 x 3, float64: maps source pixels of the last frame to those of this one.

        Says that nothing moved for the first frame, after the picture's size or region changed, and where too
        few points agree.
        """
        import cv2

        width = min(_WIDTH, frame.width)
        height = max(1, round(width * frame.height / frame.width))
        grey = np.asarray(cv2.cvtColor(frame.bgr(width, height), cv2.COLOR_BGR2GRAY), np.uint8)
        scene = (frame.region, width, height)
        before, points = (self._before, self._points) if scene == self._scene else (None, None)
        self._scene, self._before = scene, grey
        self._points = cv2.goodFeaturesToTrack(grey, _POINTS, 0.01, max(3, width // 60))
        if before is None or points is None or len(points) < _ENOUGH:
            return _STILL
        unguessed: Any = None  # OpenCV takes it, its type hints do not
        moved, tracked, _ = cv2.calcOpticalFlowPyrLK(before, grey, points, unguessed)
        kept = tracked.ravel() == 1
        if kept.sum() < _ENOUGH:
            return _STILL
        affine, agree = cv2.estimateAffinePartial2D(points[kept], moved[kept], ransacReprojThreshold=1.5)
        if affine is None or agree.sum() < _ENOUGH:
            return _STILL
        return in_source(np.asarray(affine, np.float64), frame.region, width, height)

    def snapshot(self) -> dict[str, Any]:
        """The last picture and its corners as plain data: 130 kB at most for 16:9, 1/3 more for 4:3."""
        if self._scene is None or self._before is None:
            return {"scene": None}
        region, width, height = self._scene
        points = np.empty((0, 1, 2), np.float32) if self._points is None else self._points
        return {
            "scene": [*region, width, height],
            "before": self._before.copy(),
            "points": points.copy(),
        }

    def restore(self, state: Any) -> None:
        """Go on from another's `snapshot`. Raises `StateError`, and changes nothing, for anything else."""
        if item(state, "scene", object) is None:
            self._scene = self._before = self._points = None
            return
        x1, y1, x2, y2, width, height = integers(state, "scene", 6)
        before = table(state, before=(np.uint8, (width,)))["before"]
        points = table(state, points=(np.float32, (1, 2)))["points"]
        if len(before) != height:
            raise StateError(f"before: {len(before)} rows are not {height}")
        self._scene, self._before = ((x1, y1, x2, y2), width, height), before
        self._points = points if len(points) else None


def in_source(
    affine: NDArray[np.float64], region: tuple[int, int, int, int], width: int, height: int
) -> NDArray[np.float64]:
    """An affine map (2 x 3) in the pixels of a `width` x `height` picture of `region`, in source pixels.

    >>> in_source(np.array([[1.0, 0, 3], [0, 1, 0]]), (0, 0, 1920, 1080), 480, 270)[:, 2]
    array([12.,  0.])
    """
    x1, y1, x2, y2 = region
    scale = np.diag([(x2 - x1) / width, (y2 - y1) / height])
    corner = np.array([x1, y1], np.float64)
    turn = scale @ affine[:, :2] @ np.linalg.inv(scale)
    return np.column_stack([turn, scale @ affine[:, 2] + corner - turn @ corner])
