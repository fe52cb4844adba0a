"""What was measured, as a table in the terminal, as CSV and as a picture."""

from __future__ import annotations

import csv
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from rich.table import Table

from flowedge import Tracks, UserError
from flowedge.vision.evaluation import DetectionQuality, Ignore, aligned, correctly_tracked, detection_quality
from tools.quality.coco import AveragePrecision, coco_accuracy
from tools.quality.pipeline import PipelineResult
from tools.quality.sources import Annotated
from tools.quality.tracking import TrackingQuality, tracking_quality

Cell = str | int | float | None


_TRACKING = {"MOTA": "mota", "IDF1": "idf1", "HOTA": "hota", "switches": "switches", "FP": "fp", "FN": "fn"}


@dataclass(frozen=True)
class Measured:
    """One row: the setting by name, and its quality; the tracks' where both sides have identities."""

    setting: Mapping[str, object]
    detection: DetectionQuality
    tracking: TrackingQuality | None
    correctly_tracked: float | None
    coco: AveragePrecision | None
    fps: float | None
    detect_ms: float | None

    def cells(self) -> dict[str, Cell]:
        """The row's columns, shares in 0..1."""
        quality, tracking = self.detection, self.tracking
        cells: dict[str, Cell] = {name: str(value) for name, value in self.setting.items() if value is not None}
        cells |= {"frames": quality.frames, "AP50": quality.ap50, "AP": quality.ap}
        if self.coco is not None:
            cells |= {"COCO AP50": self.coco.ap50, "COCO AP": self.coco.ap}
        present = {name: one for name, one in quality.classes.items() if one.objects}
        if 1 < len(present) <= 5:
            cells |= {f"AP50 {name}": one.ap50 for name, one in present.items()}
        cells |= {
            "precision": quality.precision,
            "recall": quality.recall,
            "F1": quality.f1,
            "ROMA": quality.score,
        }
        cells["tracked"] = self.correctly_tracked
        for name, column in _TRACKING.items():
            cells[name] = None if tracking is None else getattr(tracking, column)
        return cells | {"fps": self.fps, "detect ms": self.detect_ms}


def measure(
    source: Annotated,
    outcome: PipelineResult,
    setting: Mapping[str, object],
    confidence: float,
    *,
    coco: bool = False,
) -> Measured:
    """The quality of what was found, by what counts in this source."""
    found, truth, rules = aligned(outcome.found, outcome.truth), outcome.truth, (source.classes, source.ignore)
    detection = detection_quality(found, truth, *rules, confidence=confidence)
    tracking = correct = None
    tracks = [frame for frame in found if isinstance(frame, Tracks)]
    if source.tracked and len(tracks) == len(truth):
        tracking, correct = tracking_quality(tracks, truth, *rules), correctly_tracked(tracks, truth, *rules)
    accuracy = None
    if coco:
        if source.classes is not None or source.ignore != Ignore(regions=source.ignore.regions):
            raise UserError(
                "--coco: the COCO evaluator knows neither groups of classes nor lines and visibility"
            )
        accuracy = coco_accuracy(found, truth, source.ignore.regions)
    return Measured(setting, detection, tracking, correct, accuracy, outcome.fps, outcome.detect_ms)


def table(rows: Sequence[Measured], title: str) -> Table:
    """The rows for the terminal."""
    columns = _columns(rows)
    result = Table(title=title, title_justify="left")
    for name in columns:
        result.add_column(name, justify="left" if name in rows[0].setting else "right")
    for row in rows:
        cells = row.cells()
        result.add_row(*(_shown(name, cells.get(name)) for name in columns))
    return result


def write_csv(rows: Sequence[Measured], path: Path) -> None:
    """The rows as CSV, one line of column names first; raises `UserError` where it cannot be written."""
    try:
        with path.open("w", newline="") as file:
            writer = csv.DictWriter(file, _columns(rows))
            writer.writeheader()
            writer.writerows({name: row.cells().get(name) for name in writer.fieldnames} for row in rows)
    except OSError as error:
        raise UserError(f"{path}: cannot be written: {error.strerror}") from error


def plot(rows: Sequence[Measured], title: str, path: Path) -> None:
    """A PNG: precision over recall of each class for one row, bars of the main figures for several."""
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    figure = Figure(figsize=(8, 5), layout="constrained")
    FigureCanvasAgg(figure)
    axes = figure.add_subplot()
    axes.set_title(title, loc="left")
    axes.set_ylim(0, 1.02)
    axes.grid(alpha=0.3)
    if len(rows) == 1:
        _curves(axes, rows[0].detection)
    else:
        _bars(axes, rows)
    try:
        figure.savefig(path, format="png", dpi=150)
    except OSError as error:
        raise UserError(f"{path}: cannot be written: {error.strerror}") from error


def _curves(axes, quality: DetectionQuality) -> None:  # type: ignore[no-untyped-def]
    """Precision over recall at IoU 0.5, of the eight classes with most objects."""
    present = sorted(quality.classes.items(), key=lambda item: -item[1].objects)
    for name, one in present[:8]:
        if one.objects:
            axes.plot(np.linspace(0, 1, len(one.curve)), one.curve, label=f"{name}: AP50 {one.ap50:.3f}")
            axes.plot(one.recall, one.precision, "o", color=axes.lines[-1].get_color())
    axes.set_xlabel(f"recall (dots: at confidence {quality.confidence:g})")
    axes.set_ylabel("precision")
    axes.set_xlim(0, 1.02)
    axes.legend()


def _bars(axes, rows: Sequence[Measured]) -> None:  # type: ignore[no-untyped-def]
    """A group of bars for each figure, a bar for each setting."""
    cells = [row.cells() for row in rows]
    figures = [
        name
        for name in ("AP50", "AP", "F1", "tracked", "MOTA", "IDF1", "HOTA")
        if any(isinstance(row[name], float) for row in cells)
    ]
    varied = [name for name in rows[0].setting if len({str(row.setting[name]) for row in rows}) > 1]
    wide = 0.8 / len(rows)
    for place, (row, values) in enumerate(zip(rows, cells, strict=True)):
        label = ", ".join(f"{name} {row.setting[name]}" for name in varied)
        heights = [value if isinstance(value := values[name], float) else 0.0 for name in figures]
        at = np.arange(len(figures)) + (place - (len(rows) - 1) / 2) * wide
        axes.bar(at, heights, 0.9 * wide, label=label)
    axes.set_xticks(range(len(figures)), figures)
    axes.legend()


def _columns(rows: Sequence[Measured]) -> list[str]:
    """All columns that any row has something in, in order."""
    names = dict.fromkeys(name for row in rows for name in row.cells())
    return [name for name in names if any(row.cells().get(name) is not None for row in rows)]


def _shown(name: str, value: Cell) -> str:
    if value is None or (isinstance(value, float) and math.isnan(value)):
        return "-"
    if isinstance(value, float):
        return f"{value:.1f}" if name in ("fps", "detect ms") else f"{value:.3f}"
    return str(value)
