"""Parts of a frame in two tiles, and what every operator that merges them by suppression has to keep to."""

from __future__ import annotations

from flowedge import Detections, Origin

LEFT, RIGHT = (0, 0, 120, 100), (80, 0, 200, 100)


def part(tile, region, *objects, names=("person", "car"), missing=()):
    origin = Origin("north", index=7, width=200, height=100, tile=tile, tiles=2)
    columns = zip(*objects, strict=True) if objects else ([], [], [])
    boxes, scores, classes = (list(column) for column in columns)
    return Detections(origin, boxes, scores, classes, names, missing, region)
