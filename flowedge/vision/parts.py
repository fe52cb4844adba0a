"""What the parts of a frame have in common, for steps that bring them together."""

from __future__ import annotations

from collections.abc import Sequence

from flowedge import Detections, Rect
from flowedge.values import InvalidValueError


def common_names(step: str, parts: Sequence[Detections]) -> tuple[str, ...]:
    """The class names of all parts; raises `InvalidValueError`, naming the step, where they differ.

    >>> from flowedge import Origin
    >>> common_names("NonMaxMerge", [Detections(Origin("north"), [], [], [], ("person", "car"))])
    ('person', 'car')
    """
    names = {part.names for part in parts}
    if len(names) > 1:
        first, second = sorted(names)[:2]
        raise InvalidValueError(
            f"{step}: the parts of frame {parts[0].origin.index} of camera {parts[0].origin.camera} have "
            f"different class names, {_shown(first)} and {_shown(second)}; let one model look at all of them"
        )
    return parts[0].names


def around(parts: Sequence[Detections]) -> Rect | None:
    """The smallest rectangle around the regions of the parts; None where one looked at everything.

    >>> from flowedge import Origin
    >>> north, halves = Origin("north", width=60, height=40), [(0, 0, 40, 40), (20, 0, 60, 40)]
    >>> around([Detections(north, [], [], [], region=half) for half in halves])
    (0, 0, 60, 40)
    """
    regions = [part.region for part in parts if part.region is not None]
    if len(regions) < len(parts):
        return None
    left, top, right, bottom = zip(*regions, strict=True)
    return min(left), min(top), max(right), max(bottom)


def _shown(names: tuple[str, ...]) -> str:
    return f"({', '.join(names[:3])}{', ...' if len(names) > 3 else ''})" if names else "none"
