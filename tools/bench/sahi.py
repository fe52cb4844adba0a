"""Slices against SAHI: the same model, the same slices, the same pictures.

    python -m tools.bench.sahi path/to/visdrone path/to/models

The data are a folder of pictures with truth as `tools.quality` reads them (VisDrone), the models a folder with
`yolo11n-640.onnx` and `yolox_nano_416.onnx`. For each model and grid it tells AP50 of persons and vehicles, and
frames a second in pairs of runs, once with each of our engines; SAHI has onnxruntime.

SAHI (`get_sliced_prediction`, slices and the whole picture) runs yolo11n through ultralytics, as it does ONNX
files, and YOLOX, which it does not know, through `_yolox`, with our own decoding and suppression. Its settings
are its defaults: from a confidence of 0.1 on it merges (greedily, IoS 0.5), below, as here, it suppresses (IoU
0.5); `batch_size` is 1, as 4 was no faster on two cores. Ours is `NonMaxMerge` at every confidence, after
suppression within each slice at the same IoU.
"""

from __future__ import annotations

import argparse
import functools
import importlib.machinery
import json
import os
import resource
import sys
import tempfile
import time
import types
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import cv2
import numpy as np

from flowedge import Frame, Origin
from flowedge.inference.yolo import COCO_NAMES, decode_yolox, fit, nms, pad
from flowedge.operators.slice import Slice
from flowedge.values import Rect
from flowedge.vision.evaluation import aligned, detection_quality
from tools.bench.pairs import Contender, compare, python
from tools.quality.results import read_results
from tools.quality.sources import CAMERA, Annotated, annotated

os.environ |= {"YOLO_AUTOINSTALL": "0", "YOLO_OFFLINE": "1"}

GRAPH = Path(__file__).parent / "graphs" / "slices.py"
GRIDS = ((1, 1), (2, 2), (2, 3), (3, 4))
"""Rows and columns; beside more than one slice the whole picture is looked at."""

MODELS = {"yolo11n-640.onnx": 640, "yolox_nano_416.onnx": 416}
ENGINES = ("openvino", "onnxruntime")
OVERLAP = 0.2
CONFIDENCE = 0.05

FRAMES = 36
"""Pictures of a run at least: the folder as often as it takes."""

COCO_CLASSES = {"person": ("person",), "vehicle": ("car", "truck", "bus")}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("data", type=Path, help="a folder of pictures with truth")
    parser.add_argument("models", type=Path, help="a folder of models")
    parser.add_argument("--confidence", type=float, default=CONFIDENCE, help="least score (%(default)s)")
    parser.add_argument("--rounds", type=int, default=3, help="pairs of runs (default %(default)s)")
    options = parser.parse_args()
    for model in MODELS:
        for line in measure(options.data, options.models / model, options.confidence, options.rounds):
            print(line, flush=True)


def measure(data: Path, model: Path, confidence: float = CONFIDENCE, rounds: int = 3) -> Iterator[str]:
    """Lines of text: AP50 and frames a second of SAHI and of ours, for each grid and engine."""
    truth = annotated(str(data))
    check_slices(Path(truth.address))
    with tempfile.TemporaryDirectory() as folder:
        pictures = _repeated(Path(truth.address), Path(folder, "pictures"))
        for rows, columns in GRIDS:
            yield f"{model.stem}, {columns} x {rows}, confidence from {confidence:g}"
            told = (str(pictures), str(model), str(rows), str(columns), str(confidence))
            theirs_file = Path(folder, "sahi.jsonl")
            theirs = Contender("SAHI", (python("-m", "tools.bench.sahi", "peer", *told, str(theirs_file)),))
            for engine in ENGINES:
                ours_file = Path(folder, f"{engine}.jsonl")
                ours = Contender(f"flowedge on {engine}", (_ours(*told, engine, str(ours_file)),))
                lines = compare(ours, theirs, rounds)
                yield f"  AP50 person / vehicle: {ours.name} {_ap50(ours_file, truth)}"
                yield f"  AP50 person / vehicle: SAHI {_ap50(theirs_file, truth)}"
                yield from (f"  {line}" for line in lines)


def check_slices(pictures: Path) -> None:
    """Stop where `Slice` would not cut what SAHI cuts."""
    from sahi.slicing import get_slice_bboxes

    for path in pictures.iterdir():
        for grid in GRIDS:
            ours = _slices(cv2.imread(str(path)), grid)
            width, height = ours[0][2:]
            theirs = get_slice_bboxes(*ours[-1][:1:-1], height, width, False, OVERLAP, OVERLAP)
            if [tuple(box) for box in theirs] != ours:
                raise SystemExit(f"{path}: SAHI cuts {theirs}, Slice {ours}")


def _slices(image: Any, grid: tuple[int, int]) -> list[Rect]:
    frame = Frame(Origin(CAMERA), image)
    return [part.region for part in Slice(grid, OVERLAP, whole_frame=False).split(frame)]


def _repeated(pictures: Path, folder: Path) -> Path:
    """A folder that shows the pictures over and over, in their order."""
    folder.mkdir()
    paths = sorted(pictures.iterdir())
    for number, path in enumerate(paths * -(-FRAMES // len(paths))):
        (folder / f"{number:06}{path.suffix}").symlink_to(path.resolve())
    return folder


def _ours(
    pictures: str, model: str, rows: str, columns: str, confidence: str, engine: str, output: str
) -> tuple[str, ...]:
    words = {"source": pictures, "model": model, "rows": rows, "columns": columns, "confidence": confidence}
    words |= {"overlap": str(OVERLAP), "engine": engine, "output": output}
    told = (f"{name}={value}" for name, value in words.items())
    return python("-m", "tools.bench.ours", str(GRAPH), str(len(list(Path(pictures).iterdir()))), *told)


def _ap50(file: Path, truth: Annotated) -> str:
    classes = {name: (*group, *COCO_CLASSES[name]) for name, group in (truth.classes or {}).items()}
    frames = [true for _, true in truth.frames()]
    quality = detection_quality(aligned(read_results(file, CAMERA), frames), frames, classes, truth.ignore)
    return " / ".join(f"{quality.classes[name].ap50:.3f}" for name in classes)


# --- SAHI's side, a process of its own ----------------------------------------------------------------


def peer(pictures: str, model: str, rows: str, columns: str, confidence: str, output: str) -> None:
    """Run SAHI over a folder of pictures; write what it finds and print its figures."""
    from sahi.predict import get_sliced_prediction

    _find_torchvision()
    network = (_yolox if "yolox" in Path(model).stem else _yolo11)(model, float(confidence))
    paths = sorted(Path(pictures).iterdir())
    slices = [
        _slices(np.asarray(cv2.imread(str(path)), np.uint8), (int(rows), int(columns)))[0] for path in paths
    ]

    def predict(path: Path, first: Rect) -> Sequence[Any]:
        return get_sliced_prediction(
            str(path),
            network,
            slice_height=first[3],
            slice_width=first[2],
            overlap_height_ratio=OVERLAP,
            overlap_width_ratio=OVERLAP,
            verbose=0,
        ).object_prediction_list

    predict(paths[0], slices[0])
    begun, cpu_begun = time.monotonic(), time.process_time()
    predictions = [predict(*one) for one in zip(paths, slices, strict=True)]
    figures = {
        "frames": len(paths),
        "seconds": time.monotonic() - begun,
        "cpu_seconds": time.process_time() - cpu_begun,
        "peak_rss_bytes": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024,
    }
    lines = (json.dumps(_record(index, objects)) for index, objects in enumerate(predictions))
    Path(output).write_text("".join(f"{line}\n" for line in lines))
    print(json.dumps(figures))


def _record(index: int, objects: Sequence[Any]) -> dict[str, Any]:
    """A line as `JSONLines` writes it."""
    things = [
        {"box": one.bbox.to_xyxy(), "score": float(one.score.value), "name": one.category.name}
        for one in objects
    ]
    return {"camera": CAMERA, "frame": index, "time": 0, "objects": things}


def _find_torchvision() -> None:
    """Ultralytics wants torchvision for its NMS alone; the registry's needs CUDA, which a CPU's torch lacks."""
    try:
        import torchvision  # noqa: F401
    except RuntimeError:
        import torch

        def suppress(boxes: Any, scores: Any, overlap: float) -> Any:
            rects = boxes.numpy().astype(np.float64)
            rects[:, 2:] -= rects[:, :2]
            kept = cv2.dnn.NMSBoxes(rects, scores.numpy(), 0.0, float(overlap))
            return torch.from_numpy(np.asarray(kept, np.int64).ravel())

        module = types.ModuleType("torchvision")
        module.__spec__ = importlib.machinery.ModuleSpec("torchvision", None)
        module.ops = types.SimpleNamespace(nms=suppress)  # type: ignore[attr-defined]
        sys.modules["torchvision"] = module


def _yolo11(model: str, confidence: float) -> Any:
    from sahi import AutoDetectionModel

    detector = AutoDetectionModel.from_pretrained(
        "ultralytics", model, confidence_threshold=confidence, device="cpu", image_size=MODELS[Path(model).name]
    )
    # The file's input is square, which its metadata hides by calling the batch size dynamic.
    detector.model.predict = functools.partial(detector.model.predict, rect=False)
    return detector


def _yolox(model: str, confidence: float) -> Any:
    import onnxruntime
    from sahi.models.base import DetectionModel
    from sahi.prediction import ObjectPrediction

    size = MODELS[Path(model).name]

    class YoloX(DetectionModel):
        def load_model(self) -> None:
            self.model = onnxruntime.InferenceSession(model)

        def perform_inference(self, image: Any) -> None:
            height, width = image.shape[:2]
            place = fit(width, height, size, size, centred=False)
            scaled = cv2.resize(image[:, :, ::-1], (place.new_w, place.new_h))
            planes = cv2.dnn.blobFromImage(pad(np.asarray(scaled, np.uint8), place))
            (raw,) = self.model.run(None, {self.model.get_inputs()[0].name: planes})
            boxes, scores, classes = decode_yolox(raw[0], self.confidence_threshold, (size, size))
            kept = nms(boxes, scores, classes, 0.7)
            self._original_predictions = place.to_source(boxes[kept]), scores[kept], classes[kept]

        def _create_object_prediction_list_from_original_predictions(
            self, shift_amount_list: Any = ((0, 0),), full_shape_list: Any = None
        ) -> None:
            shift, shape = (one[0] if np.ndim(one) > 1 else one for one in (shift_amount_list, full_shape_list))
            self._object_prediction_list_per_image = [
                [
                    ObjectPrediction(
                        bbox=box,
                        category_id=index,
                        category_name=COCO_NAMES[index],
                        score=score,
                        shift_amount=shift,
                        full_shape=shape,
                    )
                    for box, score, index in zip(
                        *(column.tolist() for column in self._original_predictions), strict=True
                    )
                ]
            ]

    return YoloX(confidence_threshold=confidence, device="cpu")


if __name__ == "__main__":
    if sys.argv[1:2] == ["peer"]:
        peer(*sys.argv[2:])
    else:
        main()
