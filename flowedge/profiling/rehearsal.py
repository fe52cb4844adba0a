"""Other settings of a running graph, tried on a few of its frames beside it.

A process of its own, which yields the cores to everybody else, runs the graph's operators in one setting after
the other on the same frames. That tells what each takes; and how well its results agree with those of the
setting that takes most stands in for their accuracy, which nobody knows without ground truth (as AWStream's
online profiling does; Zhang et al., SIGCOMM 2018). Sinks are left out: they would write a second time.
"""

from __future__ import annotations

import contextlib
import json
import os
from collections.abc import Mapping, Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from multiprocessing import get_context
from typing import Any, Self

import numpy as np

from flowedge.errors import RunError, UserError
from flowedge.graph.contract import Source
from flowedge.graph.graph import Graph
from flowedge.graph.serialization import from_json, to_json
from flowedge.planner.model.profiles import Setting
from flowedge.profiling.fitting import Measurement
from flowedge.profiling.measure import cores_here, measure
from flowedge.values import Detections
from flowedge.vision.evaluation import detection_quality
from flowedge.wire.blocks import decode, encode

NICENESS = 15
"""Of the process that rehearses, 0..19, once it is out of haste: then it gets what others leave. At first it is
as nice as any, for nothing can be planned before it is done, and a graph that fills the machine leaves nothing:
at niceness 5 it had not begun after 24 s."""

CONFIDENCE = 0.25
"""Objects that are less certain than this count for nothing where two settings are compared."""


@dataclass(frozen=True)
class Rehearsed:
    """What a setting takes, and its detections in each frame, empty for graphs that give none."""

    measurement: Measurement
    results: tuple[Detections, ...]


class Rehearsal:
    """Tries settings of one graph; use it as a context manager. Not thread-safe."""

    def __init__(self, graph: Graph) -> None:
        self._graph = json.dumps(to_json(graph))
        self._child = ProcessPoolExecutor(1, get_context("spawn"))

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """End the process, whatever it is doing."""
        processes = list((getattr(self._child, "_processes", None) or {}).values())
        self._child.shutdown(wait=False, cancel_futures=True)
        for process in processes:
            process.kill()
            process.join()

    def take_time(self) -> None:
        """Yield the cores to everybody else from now on."""
        with contextlib.suppress(RuntimeError):  # it has ended
            self._child.submit(os.nice, NICENESS)

    def try_setting(self, setting: Setting, given: Mapping[str, Sequence[Any]]) -> Rehearsed:
        """Run one setting on the values that sources gave for one camera each; a source without any is read.

        Raises `RunError` where an operator cannot be set up or fails, and where the process dies or was closed.
        """
        blocks = {source: [bytes(encode(value)) for value in values] for source, values in given.items()}
        try:
            measurement, results = self._child.submit(_rehearsed, self._graph, setting, blocks).result()
        except UserError:
            raise
        except Exception as error:  # the process died, or was closed while it worked
            raise RunError(f"settings cannot be tried: {type(error).__name__}: {error}") from None
        decoded = [decode(block) for block in results]
        return Rehearsed(measurement, tuple(value for value in decoded if isinstance(value, Detections)))


def agreement(found: Sequence[Detections], reference: Sequence[Detections]) -> float:
    """How well detections agree with those of a reference in the same frames: F1 at IoU 0.5, 0..1.

    >>> from flowedge import Origin
    >>> one = Detections(Origin("north"), [[0, 0, 9, 9]], [0.9], [0], ("person",))
    >>> agreement([one], [one]), agreement([one.select([])], [one])
    (1.0, 0.0)
    """
    certain, expected = (list(map(_certain, values)) for values in (found, reference))
    if not any(map(len, certain)) or not any(map(len, expected)):
        return float(not any(map(len, (*certain, *expected))))
    return detection_quality(certain, expected, confidence=CONFIDENCE).f1


def _certain(value: Detections) -> Detections:
    return value.select(np.flatnonzero(value.scores >= CONFIDENCE))


def _rehearsed(
    text: str, setting: Setting, given: Mapping[str, Sequence[bytes]]
) -> tuple[Measurement, list[bytes]]:
    """In the child: the measurement, and the last detections of each frame as blocks."""
    try:
        graph = from_json(json.loads(text))
        last: list[Any] = []

        def gave(_: str, values: Sequence[Any]) -> None:
            if any(isinstance(value, Detections) for value in values):
                last[:] = values

        recorded = [(_source(graph, source), list(map(decode, blocks))) for source, blocks in given.items()]
        frames = min(len(values) for _, values in recorded)
        recorded = [(source, values[:frames]) for source, values in recorded]
        measured = measure(graph, setting, cores_here(), frames, recorded, gave=gave, beside=True)
        return measured, [bytes(encode(value)) for value in last if isinstance(value, Detections)]
    except UserError as error:
        raise RunError(str(error)) from None  # its class may not survive the way to the parent


def _source(graph: Graph, name: str) -> Source[Any]:
    step = graph.node(name).step
    assert isinstance(step, Source)
    return step
