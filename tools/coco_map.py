"""Accuracy of a detector on pictures with YOLO labels, by the COCO evaluator.

    python tools/coco_map.py path/to/coco128 yolo11n --size 640

The folder holds `images` and `labels`, alike below: one text file per picture with a line
`class centre_x centre_y width height` per object, in fractions of the picture.
"""

from __future__ import annotations

import argparse
import contextlib
import io
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

import cv2
import numpy as np
from numpy.typing import NDArray

from flowedge import Frame, Origin, UserError
from flowedge.operators import Detect

NMS_IOU = 0.7
"""What ultralytics' own evaluation uses; a lower overlap loses objects that stand close together."""


class Accuracy(NamedTuple):
    """COCO's average precision: at an overlap of 0.5, and as the mean over 0.5 to 0.95."""

    ap50: float
    ap: float


def pictures(dataset: Path) -> Iterator[tuple[int, NDArray[np.uint8], NDArray[np.float64]]]:
    """Number, BGR picture, and labels (class, x, y, width, height in pixels) of everything in a dataset."""
    files = sorted((dataset / "images").rglob("*.jpg"))
    if not files:
        raise SystemExit(f"there are no .jpg pictures below {dataset / 'images'}")
    for number, file in enumerate(files, start=1):
        image = np.asarray(cv2.imread(str(file)), np.uint8)
        height, width = image.shape[:2]
        label_file = dataset / "labels" / file.relative_to(dataset / "images").with_suffix(".txt")
        text = label_file.read_text() if label_file.exists() else ""
        labels = np.array(text.split(), np.float64).reshape(-1, 5)
        labels[:, 1:3] -= labels[:, 3:] / 2
        labels[:, 1:] *= (width, height, width, height)
        yield number, image, labels


def evaluate(dataset: Path, detect: Detect) -> tuple[Accuracy, float]:
    """Accuracy over a dataset, and the median time in ms that one picture took."""
    truth: list[dict[str, Any]] = []
    found: list[NDArray[np.float64]] = []
    times: list[float] = []
    number = 0
    for number, image, labels in pictures(dataset):
        started = time.perf_counter()
        result = detect.process(Frame(Origin("coco", index=number), image))
        times.append(1000 * (time.perf_counter() - started))
        for category, *bbox in labels.tolist():
            area = bbox[2] * bbox[3]
            truth.append(
                {"id": len(truth) + 1, "image_id": number, "category_id": int(category), "bbox": bbox}
                | {"area": area, "iscrowd": 0}
            )
        images = np.full(len(result), number)
        sides = result.boxes[:, 2:] - result.boxes[:, :2]
        columns = [images, result.boxes[:, :2], sides, result.scores, result.classes]
        found.append(np.column_stack(columns).astype(np.float64))
    return average_precision(number, truth, np.concatenate(found)), float(np.median(times))


def average_precision(image_count: int, truth: list[dict[str, Any]], found: NDArray[np.float64]) -> Accuracy:
    """COCO's figures; ``found`` has rows of image, x, y, width, height, score, category."""
    from pycocotools.coco import COCO
    from pycocotools.cocoeval import COCOeval

    with contextlib.redirect_stdout(io.StringIO()):  # it reports every step of its own
        coco = COCO()
        coco.dataset = {
            "images": [{"id": number} for number in range(1, image_count + 1)],
            "annotations": truth,
            "categories": [{"id": category} for category in {label["category_id"] for label in truth}],
        }
        coco.createIndex()
        evaluation = COCOeval(coco, coco.loadRes(found), "bbox")
        evaluation.evaluate()
        evaluation.accumulate()
        evaluation.summarize()
    return Accuracy(ap50=float(evaluation.stats[1]), ap=float(evaluation.stats[0]))


def main() -> None:
    """Evaluate one model and print what was found."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("dataset", type=Path, help="folder with images and labels")
    parser.add_argument("model", help="path or name of the model")
    parser.add_argument("--engine", choices=("openvino", "onnxruntime"), default="openvino")
    parser.add_argument("--precision", choices=("f32",), help="default: the engine's own choice")
    parser.add_argument("--size", type=int, help="input size in pixels, where the model leaves it open")
    parser.add_argument(
        "--confidence", type=float, default=0.001, help="lowest score that counts (%(default)s)"
    )
    options = parser.parse_args()
    detect = Detect(
        options.model,
        confidence=options.confidence,
        overlap=NMS_IOU,
        size=options.size,
        engine=options.engine,
        precision=options.precision,
    )
    try:
        detect.setup()
        accuracy, milliseconds = evaluate(options.dataset, detect)
    except UserError as error:
        raise SystemExit(f"error: {error}") from None
    precision = options.precision or "default precision"
    print(f"{options.model}, {options.engine}, {precision}, confidence {options.confidence}:")
    print(f"AP50 {accuracy.ap50:.4f}  AP {accuracy.ap:.4f}  {milliseconds:.1f} ms per picture")


if __name__ == "__main__":
    main()
