"""Faces for tests: a template at any place, pictures of it, and a tiny network that embeds them."""

from __future__ import annotations

from pathlib import Path

import cv2
import numpy as np
import onnx
from numpy.typing import NDArray
from onnx import TensorProto, helper

from flowedge import Faces, Frame, Origin

# InsightFace's template, as its source has it.
TEMPLATE = np.array(
    [[38.2946, 51.6963], [73.5318, 51.5014], [56.0252, 71.7366], [41.5493, 92.3655], [70.7299, 92.2041]],
    np.float32,
)
POOL = 16  # pixels of the face that the tiny network averages
COLOURS = [(255, 0, 0), (0, 255, 0), (0, 0, 255), (255, 255, 0), (0, 255, 255)]


def network(folder: Path, side: int | None = 112, flat: bool = True) -> str:
    """A network whose output is its input in coarse squares, plane by plane."""
    nodes = [
        helper.make_node(
            "AveragePool", ["input"], ["pooled"], kernel_shape=[POOL] * 2, strides=[POOL] * 2, name="pool"
        ),
        helper.make_node("Flatten", ["pooled"], ["output"]) if flat else None,
    ]
    size = side or "any"
    given = [1, None] if flat else [1, 3, None, None]
    graph = helper.make_graph(
        [node for node in nodes if node],
        "squares",
        [helper.make_tensor_value_info("input", TensorProto.FLOAT, (1, 3, size, size))],
        [helper.make_tensor_value_info("output" if flat else "pooled", TensorProto.FLOAT, given)],
    )
    path = folder / f"squares-{side}-{flat}.onnx"
    onnx.save(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 13)], ir_version=8), path)
    return str(path)


def placed(turn: float, scale: float, x: float, y: float) -> NDArray[np.float32]:
    """The template turned (radians), scaled and moved."""
    rotation = np.array([[np.cos(turn), np.sin(turn)], [-np.sin(turn), np.cos(turn)]])
    return (TEMPLATE @ rotation * scale + (x, y)).astype(np.float32)


def picture(*faces: NDArray[np.float32]) -> Frame:
    """A frame of 400 x 500 with a disc of another colour at each landmark of each face."""
    image = np.full((400, 500, 3), 90, np.uint8)
    for points in faces:
        radius = round(float(np.linalg.norm(points[1] - points[0])) / 4)
        for (x, y), colour in zip(points, COLOURS, strict=True):
            cv2.circle(image, (round(float(x)), round(float(y))), radius, colour, -1)
    return Frame(Origin("north", width=500, height=400), image)


def detected(frame: Frame, *faces: NDArray[np.float32]) -> Faces:
    boxes = [[*points.min(axis=0), *points.max(axis=0)] for points in faces]
    count = len(faces)
    landmarks = np.array(faces).reshape(count, 5, 2)
    return Faces(frame.origin, boxes, [0.9] * count, [0] * count, ("face",), landmarks=landmarks)
