"""The program that a good engineer would write by hand: one loop, the same libraries, no framework.

python -m tools.bench.loop VIDEO MODEL OUTPUT [FRAMES]
"""

from __future__ import annotations

import json
import resource
import sys
import time
from itertools import islice
from typing import Any

import av
import cv2
import numpy as np
import openvino

from flowedge.inference.models import resolve
from flowedge.inference.yolo import COCO_NAMES, decode_v8, fit, nms, pad

SIZE = 640

OPTIONS = {"preset": "superfast", "crf": "23", "bf": "0"}
"""What `VideoFile` encodes with."""


def main(video: str, model_name: str, output: str, frames: int | None) -> None:
    model = openvino.Core().compile_model(resolve(model_name, SIZE), "CPU", {"PERFORMANCE_HINT": "LATENCY"})
    detect(model, np.zeros((SIZE, SIZE, 3), np.uint8))
    source = av.open(video)
    stream = source.streams.video[0]
    sink = av.open(output, "w", options={"movflags": "frag_keyframe+empty_moov+default_base_moof"})
    encoder = sink.add_stream("libx264", rate=stream.average_rate, options=OPTIONS)
    encoder.width, encoder.height, encoder.pix_fmt = stream.width, stream.height, "yuv420p"
    begun, cpu_begun = time.monotonic(), time.process_time()
    count = 0
    for frame in islice(source.decode(stream), frames):
        image = frame.to_ndarray(format="bgr24")
        for (x1, y1, x2, y2), text in detect(model, image):
            cv2.rectangle(image, (x1, y1), (x2, y2), (0, 200, 0), 2)
            cv2.putText(image, text, (x1, y1 - 4), cv2.FONT_HERSHEY_SIMPLEX, 0.5, (0, 200, 0), 1)
        drawn = av.VideoFrame.from_ndarray(image, format="bgr24")
        drawn.pts, drawn.time_base = frame.pts, frame.time_base
        sink.mux(encoder.encode(drawn))
        count += 1
    sink.mux(encoder.encode(None))
    sink.close()
    figures = {
        "frames": count,
        "seconds": time.monotonic() - begun,
        "cpu_seconds": time.process_time() - cpu_begun,
        "peak_rss_bytes": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024,
    }
    print(json.dumps(figures))


def detect(model: Any, image: Any) -> list[tuple[list[int], str]]:
    """The boxes in an image and what to write on them."""
    place = fit(image.shape[1], image.shape[0], SIZE, SIZE, centred=True)
    padded = pad(cv2.resize(image, (place.new_w, place.new_h)), place)
    raw = model(cv2.dnn.blobFromImage(padded, 1 / 255, swapRB=True))[0][0]
    boxes, scores, classes = decode_v8(raw, 0.25)
    kept = nms(boxes, scores, classes, 0.7)
    corners = place.to_source(boxes[kept]).astype(int).tolist()
    labels = zip(scores[kept], classes[kept], strict=True)
    return [(box, f"{COCO_NAMES[c]} {score:.2f}") for box, (score, c) in zip(corners, labels, strict=True)]


if __name__ == "__main__":
    main(*sys.argv[1:4], frames=int(sys.argv[4]) if len(sys.argv) > 4 else None)
