"""Tracks against the truth by the tracking community's own evaluator, in memory.

The library is `trackeval`, the evaluator of the MOTChallenge and of HOTA's authors.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from flowedge import Tracks, UserError
from flowedge.vision.evaluation import NOTHING, Classes, Ignore, counted
from flowedge.vision.overlap import overlaps


@dataclass(frozen=True, slots=True)
class TrackingQuality:
    """Quality of tracking over `frames` with `objects` true boxes.

    `mota`, `idf1` and the counts are at IoU 0.5; `hota`, `deta` and `assa` are means over IoU 0.05 to 0.95.
    `fp` are boxes of tracks without a true one, `fn` true boxes without one of a track, `switches` changes of
    an object's identity, `fragments` interruptions of its track; `mostly_tracked` and `mostly_lost` count the
    objects that were found in at least 80 % and in less than 20 % of their frames.
    """

    frames: int
    objects: int
    mota: float
    idf1: float
    hota: float
    deta: float
    assa: float
    switches: int
    fragments: int
    fp: int
    fn: int
    mostly_tracked: int
    mostly_lost: int


def tracking_quality(
    tracks: Sequence[Tracks],
    truth: Sequence[Tracks],
    classes: Classes | None = None,
    ignore: Ignore = NOTHING,
) -> TrackingQuality:
    """MOTA, IDF1, HOTA and their counts, all evaluated classes together.

    `tracks` and `truth` are the same frames in the same order, of one camera or of one camera after the other.
    A box never matches a true one of another class. What is ignored is taken out of both sides first: boxes of
    tracks that match ignored objects (best score first, IoU 0.5), lie in ignored regions, or above the
    line without matching any object. Raises `UserError` for a frame that has an identity twice, and where
    trackeval is not installed.
    """
    try:
        from trackeval.metrics import CLEAR, HOTA, Identity
    except ImportError as error:
        raise UserError(
            "MOTA, IDF1 and HOTA need trackeval, which brings another build of OpenCV: "
            "`pip install 'flowedge[bench]'` in an environment of its own"
        ) from error

    data = _data([counted(*pair, classes, ignore) for pair in zip(tracks, truth, strict=True)])
    quiet = {"PRINT_CONFIG": False}
    clear = CLEAR(quiet).eval_sequence(data)
    identity = Identity(quiet).eval_sequence(data)
    hota = HOTA().eval_sequence(data)
    clear, identity = (
        CLEAR(quiet).combine_sequences({"": clear}),
        Identity(quiet).combine_sequences({"": identity}),
    )
    return TrackingQuality(
        frames=len(truth),
        objects=data["num_gt_dets"],
        mota=float(clear["MOTA"]),
        idf1=float(identity["IDF1"]),
        hota=float(np.mean(hota["HOTA"])),
        deta=float(np.mean(hota["DetA"])),
        assa=float(np.mean(hota["AssA"])),
        switches=int(clear["IDSW"]),
        fragments=int(clear["Frag"]),
        fp=int(clear["CLR_FP"]),
        fn=int(clear["CLR_FN"]),
        mostly_tracked=int(clear["MT"]),
        mostly_lost=int(clear["ML"]),
    )


def _data(pairs: Sequence[tuple[Tracks, Tracks]]) -> dict[str, Any]:
    """The columns that trackeval's metrics read: identities counted from 0, and overlaps true x tracked."""
    true, objects = _numbered([truth for _, truth in pairs], "the truth")
    tracked, tracks = _numbered([result for result, _ in pairs], "what was found")
    return {
        "num_timesteps": len(pairs),
        "num_gt_ids": objects,
        "num_tracker_ids": tracks,
        "gt_ids": true,
        "tracker_ids": tracked,
        "num_gt_dets": sum(map(len, true)),
        "num_tracker_dets": sum(map(len, tracked)),
        "similarity_scores": [
            overlaps(truth.boxes, result.boxes) * (truth.classes[:, None] == result.classes)
            for result, truth in pairs
        ],
    }


def _numbered(frames: Sequence[Tracks], whose: str) -> tuple[list[NDArray[np.intp]], int]:
    numbers: dict[tuple[str, int], int] = {}
    rows = []
    for frame in frames:
        ids = frame.ids.tolist()
        if len(set(ids)) < len(ids):
            twice = max(ids, key=ids.count)
            raise UserError(
                f"{whose} has the identity {twice} more than once in frame {frame.origin.index} of "
                f"{frame.origin.camera}: identities are needed to judge tracks"
            )
        keys = [(frame.origin.camera, identity) for identity in ids]
        rows.append(np.array([numbers.setdefault(key, len(numbers)) for key in keys], np.intp))
    return rows, len(numbers)
