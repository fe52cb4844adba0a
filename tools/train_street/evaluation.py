"""How well a model finds what is in streets that it was not trained on.

Everything goes through `Detect`. Held-out frames come from the streets with the seeds 0, 1, 2, ..., which
training does not use; size, people and vehicles go round `FRAMES`.

* Native scale: each frame is cut into as few tiles of 640 x 384 pixels as cover it, spread evenly, and each
  tile is a picture of its own. What is visible of an object in a tile is its truth there.
* Whole frame: each frame is one picture, scaled down to what the network takes.

Objects of which less than `LEAST_VISIBLE` can be seen in the picture, or whose box is lower or narrower than
`LEAST_SIDE` pixels as the network sees it, are ignored: neither finding nor missing them counts.
"""

from __future__ import annotations

import contextlib
import io
import math
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
from pycocotools.coco import COCO
from pycocotools.cocoeval import COCOeval

from flowedge import Frame, Origin
from flowedge.operators import Detect
from flowedge.video.synthetic.scene import CLASSES, Scene

from .tiles import HEIGHT, WIDTH, Image, Region, Rows, cut, tile

FRAMES = tuple(
    (size, people, vehicles)
    for people, vehicles in ((12, 5), (150, 8), (40, 3))
    for size in ((854, 480), (1280, 720), (1920, 1080))
)
"""Size, people and vehicles of the held-out streets."""

LEAST_VISIBLE = 0.3
LEAST_SIDE = 4.0
MOST_FOUND = 300  # in a picture, as many as Detect gives


def ap50(model: Path, streets: int, whole: bool) -> dict[str, float]:
    """COCO's average precision at an overlap of 0.5, of each class that is about in the held-out streets."""
    detect = Detect(str(model), confidence=0.02)
    detect.setup()
    truth: list[dict[str, Any]] = []
    found: list[np.ndarray] = []
    number = 0
    for number, (picture, rows) in enumerate(held_out(streets, whole), start=1):
        for left, top, right, bottom, kind, visible in rows.tolist():
            width, height = right - left, bottom - top
            ignored = visible < LEAST_VISIBLE or min(width, height) < LEAST_SIDE
            truth.append(
                {"id": len(truth) + 1, "image_id": number, "category_id": int(kind), "area": width * height}
                | {"bbox": [left, top, width, height], "iscrowd": int(ignored)}
            )
        result = detect.process(Frame(Origin("street", index=number), picture))
        sides = result.boxes[:, 2:] - result.boxes[:, :2]
        columns = [np.full(len(result), number), result.boxes[:, :2], sides, result.scores, result.classes]
        found.append(np.column_stack(columns).astype(np.float64))
    return _coco_ap50(number, truth, np.concatenate(found))


def held_out(streets: int, whole: bool) -> Iterator[tuple[Image, Rows]]:
    """The pictures of the first so many held-out streets and what is in them; one frame of each street."""
    for seed in range(streets):
        (width, height), people, vehicles = FRAMES[seed % len(FRAMES)]
        image, truth = Scene(width, height, people, vehicles, seed).render(20.0 + seed)
        for region in [(0, 0, width, height)] if whole else _native_regions(width, height):
            yield tile(cut(image, region), truth, region)


def _native_regions(width: int, height: int) -> Iterator[Region]:
    for top in _spread(height, HEIGHT):
        for left in _spread(width, WIDTH):
            yield left, top, left + WIDTH, top + HEIGHT


def _spread(length: int, part: int) -> list[int]:
    """Where the fewest parts that cover the length begin, evenly spread."""
    return [round(start) for start in np.linspace(0, length - part, math.ceil(length / part))]


def _coco_ap50(pictures: int, truth: list[dict[str, Any]], found: np.ndarray) -> dict[str, float]:
    """Per class; `found` has rows of picture, x, y, width, height, score, class."""
    if not len(found):  # which the evaluator does not understand
        return dict.fromkeys(CLASSES, 0.0)
    with contextlib.redirect_stdout(io.StringIO()):  # it reports every step of its own
        coco = COCO()
        coco.dataset = {
            "images": [{"id": number} for number in range(1, pictures + 1)],
            "annotations": truth,
            "categories": [{"id": index} for index in range(len(CLASSES))],
        }
        coco.createIndex()
        evaluation = COCOeval(coco, coco.loadRes(found), "bbox")
        evaluation.params.iouThrs = np.array([0.5])
        evaluation.params.maxDets = [MOST_FOUND]
        evaluation.params.areaRng, evaluation.params.areaRngLbl = [[0, 1e10]], ["all"]
        evaluation.evaluate()
        evaluation.accumulate()
    precision = evaluation.eval["precision"][0, :, :, 0, 0].mean(axis=0)  # -1 of a class that is not there
    return {name: float(value) for name, value in zip(CLASSES, precision, strict=True) if value >= 0}
