"""flowedge node: let a run on another machine use this one."""

from __future__ import annotations

import logging
import signal
import threading
from typing import TYPE_CHECKING, Annotated

import typer

from flowedge.cli.arguments import Certs, Debug, Insecure

if TYPE_CHECKING:
    import zenoh

    from flowedge.plane.credentials import Credentials

log = logging.getLogger("flowedge.cli")

RETRY_SECONDS = 2.0


def node(
    connect: Annotated[
        str,
        typer.Option(
            "--connect", metavar="ENDPOINT", help="Where `flowedge run` listens, e.g. tls/10.0.0.5:7447."
        ),
    ],
    name: Annotated[str, typer.Option("--name", metavar="NAME", help="What plans call this machine.")],
    tier: Annotated[str, typer.Option("--tier", metavar="TIER", help="edge, fog, cloud ...")] = "",
    certs: Certs = None,
    insecure: Insecure = False,
    debug: Debug = False,
) -> None:
    """Let a run on another machine use this one, until Ctrl-C.

    Example: flowedge node --name gate --tier edge --connect tls/10.0.0.5:7447 --certs certs

    It dials out, so it works behind NAT; it waits for a run, serves it, and waits for the next.
    """
    from flowedge.plane.access import check_node_name
    from flowedge.plane.credentials import Credentials
    from flowedge.runtime.workers.launcher import Launcher, description

    check_node_name(name)
    credentials = Credentials.of(certs, name) if certs else None
    stopping = threading.Event()
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, lambda *_: stopping.set())
    session = _dialled(connect, credentials, insecure, stopping)
    if session is None:
        return
    launcher = Launcher(name, session, description(tier), connect, credentials, insecure=insecure)
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, lambda *_: launcher.stop())
    if not stopping.is_set():
        launcher.run()


def _dialled(
    endpoint: str, credentials: Credentials | None, insecure: bool, stopping: threading.Event
) -> zenoh.Session | None:
    """A session with the run, once there is one; None when this process is asked to end before."""
    from flowedge.plane.probe import DialError
    from flowedge.plane.remote import dial

    said = ""
    while not stopping.is_set():
        try:
            return dial(endpoint, credentials, insecure=insecure)
        except DialError as error:
            if not error.transient:
                raise
            if str(error) != said:
                said = str(error)
                log.info("%s; trying again every %.0f s", said, RETRY_SECONDS)
            stopping.wait(RETRY_SECONDS)
    return None
