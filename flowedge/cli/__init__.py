"""The command `flowedge`: one module per subcommand, each of which loads what it needs when it is called."""

from __future__ import annotations

import logging
import sys
from typing import Annotated

import typer

from flowedge.cli import certs, check, models, node, plan, profile, run, simulate, status, tap, top
from flowedge.errors import UserError
from flowedge.version import __version__

app = typer.Typer(
    help="Typed operator graphs for live video analytics.",
    epilog="Start with: flowedge run graphs/quickstart.py",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    rich_markup_mode=None,
)


def _print_version(wanted: bool) -> None:
    if wanted:
        print(f"flowedge {__version__}")
        raise typer.Exit


@app.callback()
def common(
    version: Annotated[
        bool,
        typer.Option("--version", help="Print the version and exit.", callback=_print_version, is_eager=True),
    ] = False,
) -> None:
    """Take the options that stand before a command."""


app.command("run")(run.run)
app.command("check")(check.check)
app.command("profile")(profile.profile)
app.command("plan")(plan.plan)
app.command("simulate")(simulate.simulate)
app.command("tap")(tap.tap)
app.command("status")(status.status)
app.command("top")(top.top)
app.command("node")(node.node)
app.command("certs")(certs.certs)
app.add_typer(models.app, name="models")


def main() -> None:
    """Entry point: a mistake that the user can mend is one sentence, anything else a traceback."""
    logging.basicConfig(format="%(message)s", level=logging.INFO, stream=sys.stderr)
    try:
        app()
    except UserError as error:
        if "--debug" in sys.argv:
            raise
        print(f"error: {error}", file=sys.stderr)
        sys.exit(1)
    except BrokenPipeError:  # the reader of a pipe, such as `head`, has had enough
        sys.stderr.close()
        sys.exit(1)
