"""Ultralytics' own streaming prediction on an ONNX file.

python -m tools.bench.ultralytics_predict VIDEO MODEL.onnx FRAMES
"""

from __future__ import annotations

import json
import os
import resource
import sys
import time
from itertools import islice

os.environ |= {"YOLO_AUTOINSTALL": "0", "YOLO_OFFLINE": "1"}


def main(video: str, model: str, frames: int) -> None:
    from ultralytics import YOLO

    network = YOLO(model, task="detect")
    # rect=False: the file's input is 640 x 640, which its metadata hides by calling the batch size dynamic.
    results = network.predict(
        source=video, stream=True, verbose=False, imgsz=640, conf=0.25, iou=0.7, rect=False
    )
    next(iter(results))  # the first frame warms up, as ours does before its first
    begun, cpu_begun = time.monotonic(), time.process_time()
    count = sum(1 for _ in islice(results, frames))
    figures = {
        "frames": count,
        "seconds": time.monotonic() - begun,
        "cpu_seconds": time.process_time() - cpu_begun,
        "peak_rss_bytes": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024,
    }
    print(json.dumps(figures))


if __name__ == "__main__":
    main(sys.argv[1], sys.argv[2], int(sys.argv[3]))
