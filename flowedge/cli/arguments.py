"""Arguments that several commands share, and the words they are written in."""

from __future__ import annotations

import re
from collections.abc import Sequence
from pathlib import Path
from typing import Annotated

import typer

from flowedge.errors import ConfigError

GraphFile = Annotated[str, typer.Argument(metavar="GRAPH", help="A Python file that defines a graph.")]
Given = Annotated[
    list[str] | None,
    typer.Argument(metavar="[NAME=VALUE]...", help="Values for the graph's parameters (see `flowedge check`)."),
]
Certs = Annotated[
    Path | None,
    typer.Option(
        "--certs", metavar="FOLDER", help="Certificates of this machine, as `flowedge certs` made them."
    ),
]
Insecure = Annotated[
    bool,
    typer.Option("--insecure", help="Go without certificates: everybody who gets through may give orders."),
]
GraphsAndGiven = Annotated[
    list[str] | None,
    typer.Argument(
        metavar="GRAPH | NAME=VALUE",
        help="Further graphs, and values for parameters; with several graphs FILE.NAME=VALUE is for FILE.py.",
    ),
]
Debug = Annotated[bool, typer.Option("--debug", help="Show the traceback of an error.")]


def assignments(words: Sequence[str] | None) -> dict[str, str]:
    """NAME=VALUE words as a mapping.

    >>> assignments(["size=416", "source=rtsp://cam/a?b=c"])
    {'size': '416', 'source': 'rtsp://cam/a?b=c'}
    """
    given = {}
    for word in words or ():
        name, equals, value = word.partition("=")
        if not (equals and name):
            raise ConfigError(f"{word}: write parameters as NAME=VALUE, e.g. source=video.mp4")
        given[name] = value
    return given


def graphs_and_assignments(words: Sequence[str] | None) -> tuple[list[str], dict[str, str]]:
    """Graph files among NAME=VALUE words, and these as a mapping.

    >>> graphs_and_assignments(["mot.py", "source=a.mp4"])
    (['mot.py'], {'source': 'a.mp4'})
    """
    graphs = [word for word in words or () if "=" not in word and word.endswith(".py")]
    return graphs, assignments([word for word in words or () if word not in graphs])


def seconds(text: str) -> float:
    """A duration as a person writes it, in seconds.

    >>> seconds("500ms"), seconds("2 min"), seconds("30")
    (0.5, 120.0, 30.0)
    """
    match = re.fullmatch(r"(\d+(?:\.\d+)?) *(ms|s|min|m|h|)", text.strip())
    if not match or float(match[1]) == 0:
        raise ConfigError(f"--for {text}: write a time above 0 such as 30s, 500ms, 5min or 1h")
    return float(match[1]) * {"ms": 0.001, "s": 1, "": 1, "min": 60, "m": 60, "h": 3600}[match[2]]
