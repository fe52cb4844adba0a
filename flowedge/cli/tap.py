"""flowedge tap: look at an operator's output while its graph runs."""

from __future__ import annotations

import itertools
import json
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from flowedge.cli.arguments import Debug
from flowedge.errors import UserError
from flowedge.graph.contract import valid_name
from flowedge.graph.knobs import suggestion

if TYPE_CHECKING:
    from flowedge.plane.topics import RunningGraph

VALUES_KEPT = 64
PAUSE_SECONDS = 0.02
LOOK_SECONDS = 0.5
"""How long after which the graph may have ended without a word."""
PICTURES = (".jpg", ".jpeg", ".png")


def tap(
    stream: Annotated[str, typer.Argument(metavar="GRAPH/OPERATOR", help="Whose output to look at.")],
    camera: Annotated[str, typer.Option("--camera", help="One camera only.")] = "*",
    count: Annotated[int | None, typer.Option("--count", min=1, help="Stop after so many values.")] = None,
    picture: Annotated[
        Path | None, typer.Option("--picture", metavar="FILE", help="Keep the newest picture here (jpg, png).")
    ] = None,
    debug: Debug = False,
) -> None:
    """Print an operator's values as they come, one JSON object a line; pictures come ten times a second.

    Example: flowedge tap crossing/Detect
    """
    import zenoh

    from flowedge.plane.topics import connect, topic
    from flowedge.wire.blocks import decode

    graph, slash, operator = stream.partition("/")
    if not slash:
        raise UserError(f"{stream}: write GRAPH/OPERATOR, e.g. crossing/Detect")
    if camera != "*" and not valid_name(camera):
        raise UserError(f"--camera {camera}: the name of a camera is needed")
    if picture is not None and picture.suffix not in PICTURES:
        raise UserError(f"--picture {picture}: a name that ends in {', '.join(PICTURES)} is needed")
    found = _find(graph)
    if operator not in found.operators:
        raise UserError(f"{graph} has no operator {operator}{suggestion(operator, found.operators)}")
    try:
        with connect(found.endpoint) as session:
            channel: Any = zenoh.handlers.FifoChannel(VALUES_KEPT)
            with session.declare_subscriber(topic(graph, operator, camera), channel) as samples:
                for sample in itertools.islice(_samples(samples, found), count):
                    value = decode(sample.payload.to_bytes())
                    print(json.dumps(described(value)), flush=True)
                    if picture is not None:
                        _keep(value, picture)
    except KeyboardInterrupt:
        sys.exit(130)
    except zenoh.ZError as error:
        raise UserError(f"{graph} cannot be tapped: {error}") from None


def _samples(samples: Any, found: RunningGraph) -> Iterator[Any]:
    """What comes, until the graph has ended: a client is not told so, it would wait for the next one."""
    from flowedge.plane.topics import running

    pause = threading.Event()
    looked = time.monotonic()
    while True:
        if (sample := samples.try_recv()) is not None:
            yield sample
        elif time.monotonic() - looked < LOOK_SECONDS:
            pause.wait(PAUSE_SECONDS)
        elif found not in running():
            raise UserError(f"{found.graph} has ended")
        else:
            looked = time.monotonic()


def described(value: Any) -> Any:
    """A value as plain data for a person to read: pictures and packets by their size."""
    from flowedge.values import Detections, Event, Frame, Packet

    if isinstance(value, tuple):
        return [described(half) for half in value]
    head = {"camera": value.origin.camera, "frame": value.origin.index, "time": value.origin.time}
    match value:
        case Frame():
            return head | {"picture": [value.width, value.height], "region": value.region}
        case Packet():
            return head | {
                "codec": value.parameters.codec,
                "bytes": len(value.data),
                "keyframe": value.keyframe,
            }
        case Detections():
            columns = zip(value.boxes.round(1).tolist(), value.scores.tolist(), value.labels, strict=True)
            objects = [{"box": box, "score": round(score, 3), "name": name} for box, score, name in columns]
            for row, identity in zip(objects, getattr(value, "ids", ()), strict=False):
                row["id"] = int(identity)
            return head | {"objects": objects}
        case Event():
            return head | {"kind": value.kind, "data": dict(value.data)}
    return head


def _find(graph: str) -> RunningGraph:
    from flowedge.plane.topics import running

    graphs = {candidate.graph: candidate for candidate in running()}
    if graph not in graphs:
        raise UserError(f"no graph named {graph} runs on this machine{suggestion(graph, graphs)}")
    return graphs[graph]


def _keep(value: Any, path: Path) -> None:
    """Write the picture in a value, if there is one, whole or not at all."""
    import cv2

    from flowedge.values import Frame

    for half in value if isinstance(value, tuple) else (value,):
        if isinstance(half, Frame):
            _, data = cv2.imencode(path.suffix, half.image)
            partial = path.with_name(path.name + ".part")
            try:
                partial.write_bytes(data.tobytes())
                partial.replace(path)
            except OSError as error:
                raise UserError(f"--picture {path}: cannot be written: {error.strerror}") from None
