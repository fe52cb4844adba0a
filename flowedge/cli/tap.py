"""flowedge tap: look at an operator's output while its graph runs."""

from __future__ import annotations

import itertools
import logging
import sys
import threading
import time
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from flowedge.cli import files
from flowedge.cli.arguments import Debug
from flowedge.errors import UserError
from flowedge.graph.contract import valid_name
from flowedge.graph.knobs import suggestion

if TYPE_CHECKING:
    from flowedge.plane.topics import RunningGraph

log = logging.getLogger("flowedge.cli")

VALUES_KEPT = 64
CAUSES_KEPT = 100
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
    """Print an operator's values as they come, one JSON object a line (a pair is a list of two).

    Pictures come ten times a second and print by their size.

    Example: flowedge tap crossing/Detect
    """
    import zenoh

    from flowedge.plane.topics import connect, topic
    from flowedge.wire.json_form import json_line

    graph, slash, operator = stream.partition("/")
    if not slash:
        raise UserError(f"{stream}: write GRAPH/OPERATOR, e.g. crossing/Detect")
    if camera != "*" and not valid_name(camera):
        raise UserError(f"--camera {camera}: the name of a camera is needed")
    if picture is not None and picture.suffix not in PICTURES:
        raise UserError(f"--picture {picture}: a name that ends in {', '.join(PICTURES)} is needed")
    target = _find(graph)
    if operator not in target.operators:
        raise UserError(f"{graph} has no operator {operator}{suggestion(operator, target.operators)}")
    refused: Counter[str] = Counter()
    try:
        with connect(target.endpoint) as session:
            channel: Any = zenoh.handlers.FifoChannel(VALUES_KEPT)
            with session.declare_subscriber(topic(graph, operator, camera), channel) as samples:
                for value in itertools.islice(_values(samples, target, refused), count):
                    print(json_line(value), end="", flush=True)
                    if picture is not None:
                        _keep(value, picture)
    except KeyboardInterrupt:
        sys.exit(130)
    except zenoh.ZError as error:
        raise UserError(f"{graph} cannot be tapped: {error}") from None
    finally:
        if refused:
            causes = ", ".join(f"{number} x {cause}" for cause, number in refused.most_common(5))
            log.warning("%d messages were refused: %s", refused.total(), causes)


def _values(samples: Any, target: RunningGraph, refused: Counter[str]) -> Iterator[Any]:
    """The values that come; a message that holds none is counted by its cause, and the first one is logged."""
    from flowedge.wire.fields import WireError

    for sample in _samples(samples, target):
        try:
            value = _value(str(sample.key_expr), sample.payload.to_bytes())
        except WireError as error:
            if not refused:
                log.warning("%s: a message was refused: %s (more are counted)", sample.key_expr, error)
            refused[str(error) if len(refused) < CAUSES_KEPT else "other causes"] += 1
        else:
            yield value


def _value(key: str, data: bytes) -> Any:
    """The value in a message. Raises `WireError` where it is none or belongs to another camera's topic."""
    from flowedge.plane.item import first_origin
    from flowedge.wire.blocks import decode
    from flowedge.wire.fields import WireError

    value = decode(data)
    camera = first_origin(value).camera
    if camera != key.rpartition("/")[2]:
        raise WireError("a value of another camera than its topic's")
    return value


def _samples(samples: Any, target: RunningGraph) -> Iterator[Any]:
    """What comes, until the graph has ended: a client is not told so, it would wait for the next one."""
    from flowedge.plane.topics import running

    pause = threading.Event()
    looked = time.monotonic()
    while True:
        if (sample := samples.try_recv()) is not None:
            yield sample
        elif time.monotonic() - looked < LOOK_SECONDS:
            pause.wait(PAUSE_SECONDS)
        elif target not in running():
            raise UserError(f"{target.graph} has ended")
        else:
            looked = time.monotonic()


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
            files.write(path, data.tobytes(), "--picture")
