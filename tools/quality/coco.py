"""Average precision by pycocotools, the evaluator of COCO, to check ours against."""

from __future__ import annotations

import contextlib
import io
from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from flowedge import Detections


class AveragePrecision(NamedTuple):
    """COCO's average precision: at an overlap of 0.5, and as the mean over 0.5 to 0.95; NaN without objects."""

    ap50: float
    ap: float


def coco_accuracy(
    found: Sequence[Detections], truth: Sequence[Detections], regions: Sequence[str] = ()
) -> AveragePrecision:
    """COCO's figures for the same frames in the same order, of which each name in the truth is a class.

    At most 100 objects of a class count in a frame. True objects with a name in `regions` are areas to ignore.
    """
    from pycocotools.coco import COCO
    from pycocotools.cocoeval import COCOeval

    names = list(dict.fromkeys(name for frame in truth for name in frame.names if name not in regions))
    labels: list[dict[str, Any]] = []
    for image, frame in enumerate(truth, start=1):
        for box, name in zip(_boxes(frame).tolist(), frame.labels, strict=True):
            for category in names if name in regions else [name]:
                place = {"image_id": image, "category_id": names.index(category), "bbox": box}
                labels.append(
                    {**place, "id": len(labels) + 1, "area": box[2] * box[3], "iscrowd": int(name in regions)}
                )
    rows = np.concatenate([_rows(image, frame, names) for image, frame in enumerate(found, start=1)])
    if not labels or not len(rows):
        return AveragePrecision(0.0, 0.0) if labels else AveragePrecision(float("nan"), float("nan"))
    with contextlib.redirect_stdout(io.StringIO()):  # it reports every step of its own
        coco = COCO()
        images = [{"id": number} for number in range(1, len(truth) + 1)]
        categories = [{"id": number} for number in range(len(names))]
        coco.dataset = {"images": images, "annotations": labels, "categories": categories}
        coco.createIndex()
        evaluation = COCOeval(coco, coco.loadRes(rows), "bbox")
        evaluation.evaluate()
        evaluation.accumulate()
        evaluation.summarize()
    ap, ap50 = (float(value) if value >= 0 else float("nan") for value in evaluation.stats[:2])
    return AveragePrecision(ap50, ap)


def _rows(image: int, frame: Detections, names: Sequence[str]) -> NDArray[np.float64]:
    """Rows of image, x, y, width, height, score, category for what has a name that counts."""
    categories = np.array([names.index(name) if name in names else -1 for name in frame.labels], np.float64)
    columns = [np.full(len(frame), image), _boxes(frame), frame.scores, categories]
    return np.column_stack(columns)[categories >= 0]


def _boxes(frame: Detections) -> NDArray[np.float64]:
    boxes = frame.boxes.astype(np.float64)
    return np.concatenate([boxes[:, :2], boxes[:, 2:] - boxes[:, :2]], axis=1)
