"""flowedge models: the detectors that are here, and those that can be fetched."""

from __future__ import annotations

import sys
from typing import Annotated

import typer

app = typer.Typer(help="List and fetch models.", no_args_is_help=True)

Name = Annotated[str, typer.Argument(metavar="NAME", help="A name that `flowedge models list` shows.")]


@app.command("list")
def list_models() -> None:
    """Print the models that are here and those that can be pulled.

    Example: flowedge models list
    """
    from rich.console import Console
    from rich.table import Table

    from flowedge.inference.models import available

    table = Table("name", "here", "MiB", "licence", "note")
    for model in available():
        size = f"{model.size / 2**20:.1f}" if model.size else ""
        table.add_row(model.name, str(model.path or "no"), size, model.licence, model.note)
    # A program reads what is no terminal: names and paths must not be cut at the usual 80 columns.
    Console(width=None if sys.stdout.isatty() else 10_000, markup=False).print(table)


@app.command()
def pull(name: Name) -> None:
    """Fetch a model from its publisher, check it and keep it.

    Example: flowedge models pull yolox_nano
    """
    from flowedge.inference import models

    print(models.pull(name))


@app.command()
def path(
    name: Name,
    size: Annotated[int | None, typer.Option("--size", help="Input size in pixels.")] = None,
) -> None:
    """Print where a model's file is; it is fetched or exported first where needed.

    Example: flowedge models path yolo11n --size 640
    """
    from flowedge.inference.models import resolve

    print(resolve(name, size))
