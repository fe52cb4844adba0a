"""flowedge certs: an authority and certificates for the machines of a cluster."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from flowedge.cli.arguments import Debug
from flowedge.errors import UserError

if TYPE_CHECKING:
    from flowedge.certificates import Issued


def certs(
    folder: Annotated[Path, typer.Argument(metavar="FOLDER", help="Where the authority is or shall be.")],
    names: Annotated[
        list[str],
        typer.Argument(
            metavar="NAME[=ADDRESS,...]",
            help="A node, and the IP addresses and host names at which others dial it, if they do.",
        ),
    ],
    days: Annotated[int, typer.Option("--days", help="How long the certificates are valid.")] = 365,
    debug: Debug = False,
) -> None:
    """Make certificates for the machines of a cluster.

    Example: flowedge certs certs home=10.0.0.5 gate yard

    The first call makes the authority; later ones add names to it. Files that are there are never replaced.
    The certificate named home is for the machine of `flowedge run`, which alone gives orders. Whoever has
    ca.key can make certificates for any name: it stays in FOLDER.
    """
    try:
        from flowedge import certificates
    except ModuleNotFoundError as error:
        if error.name != "cryptography":
            raise
        raise UserError("this needs the package cryptography: pip install 'flowedge[cluster]'") from error

    addresses = _addresses(names)
    for issued in certificates.issue(folder, addresses, now=datetime.now(UTC), days=days):
        print(_line(issued))
    print(f"\n{_next_step(folder, addresses)}")


def _addresses(words: Sequence[str]) -> dict[str, list[str]]:
    """NAME=ADDRESS,... words as a mapping.

    >>> _addresses(["home=10.0.0.5,home.lan", "gate"])
    {'home': ['10.0.0.5', 'home.lan'], 'gate': []}
    """
    addresses: dict[str, list[str]] = {}
    for word in words:
        name, equals, rest = word.partition("=")
        if name in addresses:
            raise UserError(f"{name} is given twice: write its addresses as {name}=10.0.0.5,{name}.lan")
        addresses[name] = rest.split(",") if equals else []
    return addresses


def _line(issued: Issued) -> str:
    valid = f"until {issued.expires:%Y-%m-%d}"
    if not issued.hosts:
        return f"{issued.certificate}, {issued.key}: the authority, {valid}"
    return f"{issued.certificate}, {issued.key}: {issued.name}, dialled as {', '.join(issued.hosts)}, {valid}"


def _next_step(folder: Path, addresses: dict[str, list[str]]) -> str:
    """What to do with the files, as commands."""
    from flowedge.plane.access import HOME

    name = next((name for name in addresses if name != HOME), HOME)
    host = next(iter(addresses[name]), name)
    files = " ".join(str(folder / file) for file in ("ca.pem", f"{name}.pem", f"{name}.key"))
    step = f"Next: take each machine ca.pem and its own two files, e.g.\n  scp {files} {host}:"
    if not (folder / f"{HOME}.pem").exists():
        step += f"\n`flowedge run` needs a certificate, too:\n  flowedge certs {folder} {HOME}=ADDRESS"
    return step
