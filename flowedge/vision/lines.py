"""Lines in the pictures of cameras, which objects cross and which are drawn."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, TypeAlias

import numpy as np
from numpy.typing import NDArray

from flowedge.errors import ConfigError
from flowedge.values import InvalidValueError, Origin

Line: TypeAlias = Sequence[float]
"""x1, y1, x2, y2 in source pixels, or all from 0 to 1 as parts of the picture's width and height."""

Lines: TypeAlias = Mapping[str, Any]
"""Lines by name, the same for all cameras, or such a mapping for each camera by its name."""

WANTED = (
    'lines by name, each of two different points x1, y1, x2, y2, such as {"gate": (0, 300, 640, 300)}, '
    'or such a mapping for each camera, {"north": {"gate": (0, 300, 640, 300)}}'
)


def are_lines(lines: Lines) -> bool:
    """Whether a configuration is `Lines`, with at least one of them.

    >>> are_lines({"gate": (0, 300, 640, 300)}), are_lines({"north": {"gate": (0, 0.5, 1, 0.5)}})
    (True, True)
    >>> are_lines({}), are_lines({"gate": (0, 300)}), are_lines({"dot": (1, 1, 1, 1)})
    (False, False, False)
    """
    if lines and all(isinstance(value, Mapping) for value in lines.values()):
        return all(are_lines(of_camera) and not by_camera(of_camera) for of_camera in lines.values())
    return bool(lines) and all(isinstance(name, str) and name and _is_line(lines[name]) for name in lines)


def parsed_lines(words: Sequence[str]) -> Lines:
    """Lines as a command line has them, NAME:X1:Y1:X2:Y2 each; raises `ConfigError`.

    >>> parsed_lines(["gate:0:0.5:1:0.5"])
    {'gate': (0.0, 0.5, 1.0, 0.5)}
    """
    lines = {}
    for word in words:
        name, *numbers = word.split(":")
        try:
            lines[name] = tuple(map(float, numbers))
        except ValueError:
            raise ConfigError(f"lines={word}: write NAME:X1:Y1:X2:Y2, e.g. gate:0:300:640:300") from None
    return lines


def lines_of(lines: Lines, origin: Origin) -> tuple[tuple[str, ...], NDArray[np.float32]]:
    """The names of a camera's lines and, as L x 4, their ends x1, y1, x2, y2 in source pixels.

    Raises `InvalidValueError` where lines are parts of a picture whose size is not known.
    """
    own = lines.get(origin.camera, {}) if by_camera(lines) else lines
    ends = np.array(list(own.values()), np.float32).reshape(-1, 4)
    parts = ((ends >= 0) & (ends <= 1)).all(axis=1, keepdims=True)
    if parts.any() and not (origin.width and origin.height):
        raise InvalidValueError(f"camera {origin.camera} does not tell its size: give its lines in pixels")
    size = np.array([origin.width, origin.height] * 2, np.float32)
    return tuple(own), np.where(parts, ends * size, ends)


def by_camera(lines: Lines) -> bool:
    """Whether a configuration has lines for each camera.

    >>> by_camera({"north": {"gate": (0, 300, 640, 300)}})
    True
    """
    return any(isinstance(value, Mapping) for value in lines.values())


def _is_line(line: Any) -> bool:
    if not isinstance(line, Sequence) or len(line) != 4:
        return False
    numbers = [value for value in line if isinstance(value, int | float) and abs(value) < float("inf")]
    return len(numbers) == 4 and numbers[:2] != numbers[2:]
