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
    """What to do with the files, as commands for one node; the others are alike."""
    from flowedge.plane.access import HOME

    steps = []
    if not (folder / f"{HOME}.pem").exists():
        steps += ["`flowedge run` needs a certificate, too:", f"  flowedge certs {folder} {HOME}=ADDRESS"]
    node = next((name for name in addresses if name != HOME), None)
    if node is None:
        return "\n".join([*steps, "Next: make one for each node, e.g.", f"  flowedge certs {folder} gate"])
    host = next(iter(addresses[node]), node)
    home = next(iter(addresses.get(HOME, ())), "ADDRESS")
    files = " ".join(str(folder / file) for file in ("ca.pem", f"{node}.pem", f"{node}.key"))
    steps += [
        "Next: take each node ca.pem and its own two files, and start it there, e.g.",
        f"  scp {files} {_bracketed(host)}:",
        f"  flowedge node --name {node} --connect tls/{_bracketed(home)}:7447 --certs .",
    ]
    return "\n".join(steps)


def _bracketed(host: str) -> str:
    return f"[{host}]" if ":" in host else host
