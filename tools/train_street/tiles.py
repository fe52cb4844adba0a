"""Pictures to learn from: tiles of rendered streets, as `Detect` would feed them to the network.

A tile is a part of a frame, fitted into the network's input with grey around it. Half of the tiles show
the frame pixel by pixel ("native scale"); the others are what a grid of tiles, the whole frame among them,
looks like when fitted. Everything follows from the seeds.
"""

from __future__ import annotations

import multiprocessing
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import cv2
import numpy as np
from numpy.typing import NDArray

from flowedge.inference.yolo import fit, pad
from flowedge.video.synthetic.scene import CLASSES, Scene, SceneTruth

HEIGHT, WIDTH = 384, 640
"""The network's input in pixels."""

SIZES = ((640, 360), (640, 480), (854, 480), (960, 540), (1280, 720), (1600, 900), (1920, 1080))
"""Width and height of the frames."""

GRIDS = ((1, 1), (1, 1), (1, 1), (2, 1), (2, 2), (2, 2), (3, 2), (4, 3))
"""Columns and rows of the grids that a scaled tile comes from; the whole frame more often than others."""

OVERLAP = 0.2
"""Share of a grid's tile by which it is wider and higher than its part of the frame."""

FRAMES, CROPS = 4, 2
"""Frames rendered of each street and tiles cut from each."""

Image = NDArray[np.uint8]
Rows = NDArray[np.float32]
"""Objects in a tile, N x 6: box (x1, y1, x2, y2, input pixels), class, and the share of it that is visible."""

Region = tuple[int, int, int, int]


@dataclass(frozen=True)
class Tiles:
    """Pictures (N x HEIGHT x WIDTH x 3, BGR) and the objects in each."""

    pictures: Image
    objects: Sequence[Rows]

    def __len__(self) -> int:
        return len(self.objects)


def render(seeds: Sequence[int], file: Path, processes: int) -> list[Rows]:
    """Write FRAMES x CROPS tiles of each street with these seeds to `file`; the objects in each tile."""
    each = FRAMES * CROPS
    shape = (len(seeds) * each, HEIGHT, WIDTH, 3)
    pictures = np.lib.format.open_memmap(file, "w+", np.uint8, shape)
    del pictures  # the workers fill it
    objects: list[Rows] = []
    work = partial(_write_street, file)
    with multiprocessing.get_context("spawn").Pool(processes, cv2.setNumThreads, (1,)) as pool:
        for done, rows in enumerate(pool.imap(work, enumerate(seeds), chunksize=4), start=1):
            objects.extend(rows)
            if done % 100 == 0:
                print(f"rendered {done} of {len(seeds)} streets", flush=True)
    return objects


def _write_street(file: Path, street: tuple[int, int]) -> list[Rows]:
    """Render one street into its place of the file; its objects, tile by tile."""
    number, seed = street
    pictures = np.load(file, mmap_mode="r+")
    rows = []
    for place, (picture, objects) in enumerate(street_tiles(seed), start=number * FRAMES * CROPS):
        pictures[place] = picture
        rows.append(objects)
    return rows


def street_tiles(seed: int) -> Iterator[tuple[Image, Rows]]:
    """FRAMES x CROPS tiles of the street with this seed."""
    rng = np.random.default_rng([seed, 1])
    width, height = SIZES[rng.integers(len(SIZES))]
    # Equally often nearly nobody, a few, many and a crowd; buses and lorries only come where there is room.
    people = int(rng.integers(*[(0, 5), (5, 30), (30, 80), (80, 161)][rng.integers(4)]))
    vehicles = int(rng.integers(*[(0, 3), (2, 6), (3, 8), (7, 15)][rng.integers(4)]))
    scene = Scene(width, height, people, vehicles, seed, noise=float(rng.uniform(0, 5)))
    for time in rng.uniform(0, 300, FRAMES):
        image, truth = scene.render(float(time))
        for crop in range(CROPS):
            across, down = (WIDTH, HEIGHT) if crop % 2 else _grid_part(rng, width, height)
            region = _somewhere(rng, truth, (width, height), (min(across, width), min(down, height)))
            yield tile(_worn(rng, cut(image, region)), truth, region)


def _grid_part(rng: np.random.Generator, width: int, height: int) -> tuple[int, int]:
    """Width and height of a tile of some grid over a frame."""
    columns, rows = GRIDS[rng.integers(len(GRIDS))]
    return round(width / columns * (1 + OVERLAP)), round(height / rows * (1 + OVERLAP))


def _somewhere(
    rng: np.random.Generator, truth: SceneTruth, frame: tuple[int, int], part: tuple[int, int]
) -> Region:
    """A part of this size of the frame: anywhere, or often where a bus or lorry is, if there is one."""
    least, most = np.zeros(2, int), np.array(frame) - part
    rare = truth.boxes[truth.classes > CLASSES.index("car")]
    if len(rare) and rng.random() < 0.7:
        box = rare[rng.integers(len(rare))]
        point = rng.uniform(box[:2], box[2:]).astype(int)
        least, most = np.clip(point - part, 0, most), np.clip(point, 0, most)
    left, top = rng.integers(least, most + 1).tolist()
    return left, top, left + part[0], top + part[1]


def cut(image: Image, region: Region) -> Image:
    """The region (x1, y1, x2, y2, pixels) of a frame, as a view."""
    left, top, right, bottom = region
    return image[top:bottom, left:right]


def tile(part: Image, truth: SceneTruth, region: Region) -> tuple[Image, Rows]:
    """The region of a frame that `part` shows as the network sees it, and the objects in it."""
    left, top, right, bottom = region
    place = fit(right - left, bottom - top, WIDTH, HEIGHT, centred=True)
    picture = pad(np.asarray(cv2.resize(part, (place.new_w, place.new_h)), np.uint8), place)
    inside = np.clip(truth.boxes, (left, top, left, top), (right, bottom, right, bottom))
    visible = truth.visibility * _area(inside) / _area(truth.boxes)
    scale = np.array([place.new_w / part.shape[1], place.new_h / part.shape[0]] * 2)
    boxes = (inside - (left, top, left, top)) * scale + (place.pad_x, place.pad_y) * 2
    rows = np.column_stack([boxes, truth.classes, visible]).astype(np.float32)
    return picture, rows[visible > 0]


def _area(boxes: NDArray[np.float32]) -> NDArray[np.float32]:
    return (boxes[:, 2] - boxes[:, 0]) * (boxes[:, 3] - boxes[:, 1])


def _worn(rng: np.random.Generator, picture: Image) -> Image:
    """The picture as another camera or an encoder might have left it."""
    if rng.random() < 0.5:
        gain = rng.uniform(0.75, 1.25) * rng.uniform(0.93, 1.07, 3)
        picture = np.clip(picture * gain.astype(np.float32), 0, 255).astype(np.uint8)
    if rng.random() < 0.4:
        quality = int(rng.integers(40, 95))
        coded = cv2.imencode(".jpg", picture, [cv2.IMWRITE_JPEG_QUALITY, quality])[1]
        picture = np.asarray(cv2.imdecode(coded, cv2.IMREAD_COLOR), np.uint8)
    return picture
