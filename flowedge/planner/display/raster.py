"""A picture of a plan as a PNG, drawn by OpenCV: its letters are plainer than a browser's."""

from __future__ import annotations

import cv2
import numpy as np
from numpy.typing import NDArray

from flowedge.planner.display.picture import PAPER, Box, Curve, Picture, Shape, Text

_ZOOM = 2  # pixels of the PNG for one of the picture
_SHIFT = 4  # bits behind the point of OpenCV's coordinates
_LETTERS = {"→": ">", "←": "<", "↓": "v", "↑": "^"}  # what OpenCV has in place of others


def png(drawn: Picture) -> bytes:
    """A picture as a PNG file of twice its size."""
    size = int(drawn.height * _ZOOM), int(drawn.width * _ZOOM), 3
    canvas = np.full(size, _bgr(PAPER), np.uint8)
    for shape in drawn.shapes:
        _paint(canvas, shape)
    return bytes(cv2.imencode(".png", canvas)[1])


def _paint(canvas: NDArray[np.uint8], shape: Shape) -> None:
    match shape:
        case Box():
            corners = _at(shape.x, shape.y), _at(shape.x + shape.width, shape.y + shape.height)
            if shape.fill != "none":
                cv2.rectangle(canvas, *corners, _bgr(shape.fill), cv2.FILLED, cv2.LINE_AA)
            if shape.stroke != "none":
                cv2.rectangle(canvas, *corners, _bgr(shape.stroke), _ZOOM, cv2.LINE_AA)
        case Curve():
            points = [shape.at(share) for share in np.linspace(0, 1, 40)]
            line = np.array([[x * _ZOOM * 2**_SHIFT, y * _ZOOM * 2**_SHIFT] for x, y in points], np.int32)
            width = max(1, round(shape.width * _ZOOM))
            cv2.polylines(canvas, [line], False, _bgr(shape.stroke), width, cv2.LINE_AA, _SHIFT)
        case Text():
            words = "".join(_LETTERS.get(letter, letter) for letter in shape.words)
            font, scale = cv2.FONT_HERSHEY_SIMPLEX, shape.size * _ZOOM / 32
            weight = 2 if shape.bold else 1
            (width, _), _ = cv2.getTextSize(words, font, scale, weight)
            x, y = _at(shape.x, shape.y)
            x -= width // 2 if shape.anchor == "middle" else 0
            cv2.putText(canvas, words, (x, y), font, scale, _bgr(shape.fill), weight, cv2.LINE_AA)


def _at(x: float, y: float) -> tuple[int, int]:
    return round(x * _ZOOM), round(y * _ZOOM)


def _bgr(colour: str) -> tuple[int, int, int]:
    """
    >>> _bgr("#0a0b0c")
    (12, 11, 10)
    """
    red, green, blue = bytes.fromhex(colour[1:])
    return blue, green, red
