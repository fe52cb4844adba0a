"""The quality of detections and tracks against ground truth, measured while a graph runs."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from contextlib import closing
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from flowedge import Detections, Sink, Tracks
from flowedge.outputs import OutputPaths, ReplacedFile, check_pattern, existing, writing
from flowedge.vision.evaluation import DetectionQuality, DetectionTally, IdentityTally, Ignore


@dataclass
class Quality(Sink[tuple[Detections, Tracks]]):
    """Measure what was found against what is true: `join(found, truth) >> Quality()`.

    At the end of a run it says AP50, F1 and, where identities were found, the share of objects correctly
    tracked (`flowedge.vision.evaluation` defines them), all cameras together. Frames in which either side is
    missing, because they were dropped, do not count.

    `classes` maps the name of a class to the names that belong to it, where found and true ones differ, e.g.
    `{"vehicle": ("car", "bus", "truck")}`; by default each name of the truth is a class, and objects found
    under other names do not count. True objects of which less than `visible` can be seen (0..1, the score of
    the truth of `street`) count neither for nor against. F1, precision and recall count what was found with
    at least `confidence`. `path` is a JSON file to write at the end.

    It keeps 10 bytes for each found object up to the first million, some megabytes at most for all else that
    was found, and some hundred bytes for each pair of a true identity and a found one that ever met. Raises
    `ConfigError` for a share outside 0..1 and, at the first frame, where the names found and those that count
    have nothing in common; `OutputError` where the file cannot be written.

    >>> from flowedge import Origin
    >>> sink = Quality()
    >>> truth = Tracks(Origin("north"), [[0, 0, 9, 9], [20, 0, 29, 9]], [1, 1], [0, 0], ("car",), ids=[1, 2])
    >>> sink.setup()
    >>> sink.write((truth.select([0]), truth))
    >>> print(*sink.summary(), sep="\\n")
    quality of 1 frame, 2 objects: AP50 0.50, F1 0.67 at confidence 0.25, correctly tracked 50 %
    """

    classes: Mapping[str, Sequence[str]] | None = None
    visible: float = 0.0
    confidence: float = 0.25
    path: str = ""
    _paths: OutputPaths = field(init=False, repr=False, compare=False)
    _detections: DetectionTally = field(init=False, repr=False, compare=False)
    _identities: IdentityTally | None = field(init=False, repr=False, compare=False)
    _file: Path | None = field(init=False, repr=False, compare=False, default=None)

    def __post_init__(self) -> None:
        super().__post_init__()
        for name in ("visible", "confidence"):
            self.require(name, 0 <= getattr(self, name) <= 1, "a share from 0 to 1")
        self.require("classes", self.classes is None or len(self.classes) > 0, "at least one class, or None")
        in_tuples = not any(isinstance(names, str) for names in (self.classes or {}).values())
        self.require(
            "classes", in_tuples, 'a tuple of names for each class, such as {"vehicle": ("car", "bus")}'
        )
        one_file = not self.path or (check_pattern(self.path) and "{camera}" not in self.path)
        self.require("path", one_file, 'a path like "quality.json", of one file for all cameras')
        self._paths = OutputPaths(self.path)
        self._begin()

    def setup(self) -> None:
        """Start from nothing."""
        self._begin()

    def write(self, pair: tuple[Detections, Tracks], /) -> None:
        """Count one frame."""
        detections, truth = pair
        self._detections.add(detections, truth)
        if not isinstance(detections, Tracks):
            self._identities = None
        elif self._identities is not None:
            self._identities.add(detections, truth)

    def close(self) -> None:
        """Write the file."""
        if self.path and self._detections.frames:
            file = self._paths.of("")
            with writing(file), closing(ReplacedFile("Quality.path", file)) as replaced:
                replaced.write((json.dumps(self._record(), indent=2) + "\n").encode())
            self._file = file

    def written(self) -> Sequence[Path]:
        """The file, once it is written."""
        return () if self._file is None else existing([self._file])

    def summary(self) -> Sequence[str]:
        """One line of figures, and what was left out of them."""
        quality = self.quality
        if not quality.frames:
            return ("quality: no frame was measured",)
        objects = sum(one.objects for one in quality.classes.values())
        if not objects:
            return (f"quality of {_count(quality.frames, 'frame')}: no object was to be found",)
        line = f"quality of {_count(quality.frames, 'frame')}, {_count(objects, 'object')}: "
        line += f"AP50 {quality.ap50:.2f}, F1 {quality.f1:.2f} at confidence {self.confidence:g}"
        if (tracked := self.correctly_tracked) is not None:
            line += f", correctly tracked {tracked:.0%}".replace("%", " %")
        if self.visible:
            line += f"; objects less than {self.visible:.0%} visible are ignored".replace("%", " %")
        return (line,)

    def measured_accuracy(self) -> tuple[float, str] | None:
        """The share of objects correctly tracked or, without identities, F1; None before any frame."""
        quality, tracked = self.quality, self.correctly_tracked
        if not quality.frames:
            return None
        return (quality.f1, "F1") if tracked is None else (tracked, "correctly tracked")

    @property
    def quality(self) -> DetectionQuality:
        """The quality of detection so far, of what was written to this copy; a run writes to one of its own."""
        return self._detections.quality()

    @property
    def correctly_tracked(self) -> float | None:
        """The share of objects correctly tracked so far, 0..1, as `quality` of what was written to this copy;
        None where what was found has no identities."""
        return None if self._identities is None else self._identities.correctly_tracked()

    def _begin(self) -> None:
        ignore = Ignore(visible=self.visible)
        self._detections = DetectionTally(self.classes, ignore, self.confidence)
        self._identities = IdentityTally(self.classes, ignore)

    def _record(self) -> dict[str, Any]:
        quality = self.quality
        names = ("frames", "confidence", "ap50", "ap", "precision", "recall", "f1", "score")
        of_class = ("objects", "found", "correct", "ap50", "ap", "precision", "recall", "f1")
        classes = {
            label: {name: _plain(getattr(one, name)) for name in of_class}
            for label, one in quality.classes.items()
        }
        figures: dict[str, Any] = {name: _plain(getattr(quality, name)) for name in names}
        return figures | {"correctly_tracked": self.correctly_tracked, "classes": classes}


def _count(number: int, thing: str) -> str:
    return f"{number} {thing}" + ("" if number == 1 else "s")


def _plain(value: float) -> float | None:
    """A figure as JSON has it, which knows no NaN."""
    return None if value != value else value
