"""Who is who, where what is known has to be made by hand."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from flowedge import Origin
from flowedge.vision.tracking.identities import Bindings, Identities, Objects, nobody, recognise
from flowedge.vision.tracking.seams import Rows

LAYOUT = np.array([[0, 0, 0, 500, 500], [1, 500, 0, 1000, 500]])
BOXES = np.array([[400.0, 100, 440, 200], [520, 100, 560, 200]])


def two_of_one() -> Identities:
    """Track 1 of both tiles is object 2; that of the right one was object 3, where nobody looks for 100 s."""
    objects = Objects(
        ids=np.array([2, 3]),
        classes=np.zeros(2, np.int64),
        boxes=BOXES,
        velocity=np.zeros((2, 2)),
        boxed=np.array([[100.0, 100], [0, 0]]),
        seen=np.full(2, 100.0),
        whole=np.ones((2, 2), bool),
    )
    tiles, ones = np.array([0, 1]), np.ones(2, np.int64)
    bindings = Bindings(tiles, ones, 2 * ones, np.array([0, 3]), np.full(2, 100.0))
    return replace(
        nobody(),
        newest=(0, 9, 100.0, 100.0),
        clock=100.0,
        following=4,
        layout=LAYOUT,
        objects=objects,
        bindings=bindings,
    )


def test_nobody_is_given_back_to_who_is_forgotten() -> None:
    regions = LAYOUT[:, 1:].astype(np.float64)
    inner = np.array([[False, False, True, False], [True, False, False, False]])
    rows = Rows(
        BOXES, np.full(2, 0.9), np.zeros(2, np.int64), np.array([0, 1]), np.ones(2, np.int64), regions, inner
    )
    known = two_of_one()
    for index in (10, 11):
        origin = Origin("north", index=index, media=index + 90.1, time=index + 90.1)
        known, _, ids = recognise(known, origin, rows, LAYOUT, (), memory=5.0)
        assert ids.tolist() == [2, 4]
