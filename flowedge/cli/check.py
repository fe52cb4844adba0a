"""flowedge check: what a graph is, without running it."""

from __future__ import annotations

import json
from typing import Annotated

import typer

from flowedge.cli.arguments import Debug, Given, GraphFile, assignments


def check(
    graph: GraphFile,
    given: Given = None,
    mermaid: Annotated[bool, typer.Option("--mermaid", help="Print the graph as a Mermaid flowchart.")] = False,
    as_json: Annotated[bool, typer.Option("--json", help="Print the graph as JSON, passwords masked.")] = False,
    debug: Debug = False,
) -> None:
    """Check a graph and print its operators, types and parameters.

    Example: flowedge check graphs/detect.py --mermaid
    """
    from flowedge.graph import render
    from flowedge.graph import serialization as serial
    from flowedge.graph.loading import load
    from flowedge.secrets import redact, redact_all

    loaded, parameters = load(graph, assignments(given))
    loaded.check()
    if mermaid:
        print(render.mermaid(loaded))
    elif as_json:
        print(json.dumps(redact_all(serial.to_json(loaded)), indent=2))
    else:
        print(loaded)
        for name, text in parameters.items():
            print(f"{name}={redact(text)}" if text else name)
