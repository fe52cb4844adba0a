"""flowedge check: what a graph is, without running it."""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator
from typing import TYPE_CHECKING, Annotated, Any

import typer

from flowedge.cli.arguments import Debug, Given, GraphFile, assignments

if TYPE_CHECKING:
    from flowedge.graph.knobs import Parameter


def check(
    graph: GraphFile,
    given: Given = None,
    mermaid: Annotated[bool, typer.Option("--mermaid", help="Print the graph as a Mermaid flowchart.")] = False,
    as_json: Annotated[bool, typer.Option("--json", help="Print the graph as JSON, passwords masked.")] = False,
    debug: Debug = False,
) -> None:
    """Check a graph and print its operators, types and parameters; passwords in addresses are left out.

    Example: flowedge check graphs/detect.py --mermaid
    """
    from flowedge.graph.loading import load
    from flowedge.graph.render import mermaid as flowchart
    from flowedge.graph.serialization import to_json
    from flowedge.secrets import redact_all

    loaded, parameters = load(graph, assignments(given))
    loaded.check()
    if mermaid:
        print(flowchart(loaded))
    elif as_json:
        listed = [_as_data(parameter) for parameter in parameters.values()]
        print(json.dumps(redact_all({**to_json(loaded), "parameters": listed}), indent=2))
    else:
        print(loaded)
        for line in _lines(parameters.values()):
            print(line)


def _lines(parameters: Iterable[Parameter]) -> Iterator[str]:
    """The parameters below a heading, in aligned columns."""
    rows = [("parameter", "type", "default", "choices", "help")]
    rows += [
        (
            parameter.name,
            parameter.type.__name__,
            _text(parameter.default),
            ", ".join(map(_text, parameter.choices)),
            parameter.help,
        )
        for parameter in parameters
    ]
    if len(rows) > 1:
        widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
        yield ""
        yield from ("  ".join(map(str.ljust, row, widths)).rstrip() for row in rows)


def _text(value: object) -> str:
    """A value as it is written on the command line.

    >>> _text(("person", "car")), _text(True), _text(None)
    ('person,car', 'yes', '')
    """
    from flowedge.secrets import redact

    if value is None:
        return ""
    if isinstance(value, bool):
        return "yes" if value else "no"
    return redact(",".join(map(str, value)) if isinstance(value, (tuple, list)) else str(value))


def _as_data(parameter: Parameter) -> dict[str, Any]:
    """A parameter as JSON, its values as they are written on the command line unless JSON has them."""
    return {
        "name": parameter.name,
        "type": parameter.type.__name__,
        "default": _plain(parameter.default),
        "choices": [_plain(choice) for choice in parameter.choices],
        "help": parameter.help,
    }


def _plain(value: object) -> Any:
    return value if value is None or isinstance(value, (bool, int, float)) else _text(value)
