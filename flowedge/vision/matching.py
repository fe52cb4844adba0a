"""Match the detected objects of one frame to the true ones, as the COCO evaluation does.

Within a class, best score first, each detected object takes the free true object that it overlaps most, if the
overlap (intersection over union, IoU) reaches a level; levels go from 0.5 to 0.95 in steps of 0.05.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import TypeAlias

import numpy as np
from numpy.typing import NDArray

from flowedge.errors import ConfigError
from flowedge.values import Detections
from flowedge.vision.overlap import area, overlaps, shared

Classes: TypeAlias = Mapping[str, Sequence[str]]
"""What counts as what: the name of an evaluated class -> the names, detected or true, that belong to it."""

IOU = 0.5
"""The least overlap at which a detected object counts as the true one, where a single level is used."""

LEVELS = np.linspace(0.5, 0.95, 10)
BITS = 1 << np.arange(len(LEVELS))
_EVERY_LEVEL = int(BITS.sum())


@dataclass(frozen=True, slots=True)
class Ignore:
    """Which objects count neither for nor against a detector.

    Ignored are true objects of which a share below `visible` can be seen (the score of `street`'s truth), and
    objects, true or detected, whose box ends above the line y = `above` in source pixels; 0 is no line.
    `regions` names the true boxes that mark areas without annotations instead of objects: a detected object is
    ignored when such an area covers enough of it. A detected object is ignored too when it matches an ignored
    true object, and never when it matches one that counts.

    >>> Ignore(visible=0.25, regions=("ignored",)).above
    0.0
    """

    visible: float = 0.0
    above: float = 0.0
    regions: Sequence[str] = ()


NOTHING = Ignore()


def covered(boxes: NDArray[np.float64], regions: NDArray[np.float64]) -> NDArray[np.float64]:
    """The share of each of N boxes that each of M regions covers (both x 4, xyxy): N x M, 0 for empty boxes."""
    a, b = boxes.T[:, :, None], regions.T[:, None, :]
    both = shared(a, b)
    return np.asarray(np.divide(both, area(a), out=np.zeros_like(both), where=both > 0))


class Groups:
    """The evaluated classes by number, and the class of each object."""

    def __init__(self, classes: Classes | None) -> None:
        self.names = list(classes or ())
        self._fixed = classes is not None
        self._group_of = {name: i for i, group in enumerate(self.names) for name in (classes or {})[group]}
        self._tables: dict[tuple[str, ...], NDArray[np.intp]] = {}

    def learn(self, truth: Detections, ignore: Ignore) -> None:
        """Where no classes were given, take each name in the truth as a class."""
        if not self._fixed:
            for name in _names(truth):
                if name not in self._group_of and name not in ignore.regions:
                    self._group_of[name] = len(self.names)
                    self.names.append(name)
                    self._tables.clear()

    def of(self, value: Detections) -> NDArray[np.intp]:
        """The number of each object's class, -1 for one that is not evaluated."""
        names = _names(value)
        if names not in self._tables:
            self._tables[names] = np.array([self._group_of.get(name, -1) for name in names], np.intp)
        return self._tables[names][value.classes] if names else np.empty(0, np.intp)

    def check(self, detections: Detections) -> None:
        """Raise `ConfigError` where no class name of the detections is evaluated."""
        names = _names(detections)
        if names and self.names and not any(name in self._group_of for name in names):
            raise ConfigError(
                f"quality: what was found is called {_listed(names)}, what counts {_listed(self._group_of)}; "
                f'say which is which with classes={{"{self.names[0]}": ("{next(iter(self._group_of))}", '
                f'"{names[0]}")}}'
            )


class FrameMatch:
    """One frame's detected objects, best first, against its true ones.

    `overlap` is detected x true, 0 across classes; for a region it is the share of the object inside it.
    """

    def __init__(self, groups: Groups, detections: Detections, truth: Detections, ignore: Ignore) -> None:
        groups.learn(truth, ignore)
        groups.check(detections)
        found_groups, true_groups = groups.of(detections), groups.of(truth)
        is_region = _named(truth, ignore.regions)
        self.groups = groups
        order = np.argsort(-detections.scores, kind="stable")
        self.found_rows = order[found_groups[order] >= 0]
        self.true_rows = np.flatnonzero((true_groups >= 0) | is_region)
        self.found_groups, self.true_groups = found_groups[self.found_rows], true_groups[self.true_rows]
        self.regions = is_region[self.true_rows]
        mine = detections.boxes[self.found_rows].astype(np.float64)
        true = truth.boxes[self.true_rows].astype(np.float64)
        hidden = truth.scores[self.true_rows] < ignore.visible
        line = ignore.above or -np.inf  # boxes may reach out of the picture, so 0 would be a line too
        self.ignored = self.regions | hidden | (true[:, 3] < line)
        self.above = mine[:, 3] < line
        self.overlap = overlaps(mine, true) * (self.found_groups[:, None] == self.true_groups)
        if self.regions.any():
            self.overlap[:, self.regions] = covered(mine, true[self.regions])

    def matches(self) -> tuple[NDArray[np.uint16], NDArray[np.uint16]]:
        """For each detected object the levels, one bit each, at which it hits, and at which it is skipped.

        The loop is over pairs that overlap by half or more, at all levels at once: about one per object.
        """
        at, true = np.nonzero(self.overlap >= LEVELS[0])
        amount = self.overlap[at, true]
        order = np.lexsort((-true, -amount, self.ignored[true], at))
        at, true = at[order], true[order]
        levels = (amount[order, None] >= LEVELS) @ BITS
        free, open_found = [_EVERY_LEVEL] * len(self.ignored), [_EVERY_LEVEL] * len(self.found_rows)
        hits, skipped = [0] * len(open_found), [0] * len(open_found)
        ignored, regions = self.ignored.tolist(), self.regions.tolist()
        for i, j, level in zip(at.tolist(), true.tolist(), levels.tolist(), strict=True):
            taken = level & open_found[i] & free[j]
            open_found[i] ^= taken
            if not regions[j]:
                free[j] ^= taken
            if ignored[j]:
                skipped[i] |= taken
            else:
                hits[i] |= taken
        left_out = np.where(self.above, np.array(open_found, np.uint16), 0)
        return np.array(hits, np.uint16), np.array(skipped, np.uint16) | left_out.astype(np.uint16)


def _names(value: Detections) -> tuple[str, ...]:
    return value.names or tuple(f"class {i}" for i in range(value.classes.max(initial=-1) + 1))


def _named(value: Detections, names: Sequence[str]) -> NDArray[np.bool_]:
    if not names:
        return np.zeros(len(value), np.bool_)
    return np.isin(value.classes, [i for i, name in enumerate(_names(value)) if name in names])


def _listed(names: Iterable[str]) -> str:
    several = list(names)
    return ", ".join(several[:4]) + (", ..." if len(several) > 4 else "")
