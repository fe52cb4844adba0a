"""Zenoh sessions between machines: mutual TLS, and access by the names in certificates.

The home listens as a router and nodes dial out to it, so that they may stand behind NAT. Without certificates
a session stays on its machine unless it is told to be insecure.
"""

from __future__ import annotations

import ipaddress
import logging
import re
from collections.abc import Iterable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Self

from flowedge.errors import ConfigError, UserError
from flowedge.plane.access import access_control
from flowedge.plane.configuration import configuration
from flowedge.plane.credentials import Credentials
from flowedge.plane.probe import DialError, probe

if TYPE_CHECKING:
    import zenoh

log = logging.getLogger("flowedge.remote")

LEASE_MILLISECONDS = 1000
"""A machine that has been silent for so long is gone: 0.8 s after it froze, by default 8.5 s."""

KEEP_ALIVES_PER_LEASE = 4

MAX_MESSAGE_BYTES = 64 << 20
"""A raw picture of 4K takes 25 MB; Zenoh would collect up to 1 GiB for whoever sends it. More is dropped."""

REFUSAL_SECONDS = 1.0
"""How long to listen for the reason of a refusal, once a session could not be opened."""


@dataclass(frozen=True)
class Endpoint:
    """An address as Zenoh has it: `tls` or `tcp`, a host name or IP address, a port."""

    protocol: str
    host: str
    port: int

    @classmethod
    def parse(cls, text: str) -> Self:
        """Read `tls/HOST:PORT` or `tcp/HOST:PORT`; raises `ConfigError` for anything else.

        >>> Endpoint.parse("tls/[::1]:7447").host
        '::1'
        """
        match = re.fullmatch(r"(tls|tcp)/(?:\[([0-9A-Fa-f:.]+)\]|([A-Za-z0-9_.-]+)):(\d{1,5})", text)
        if not match or not 0 < int(match[4]) < 65536:
            raise ConfigError(f'the endpoint "{text}" is not tls/HOST:PORT, e.g. tls/10.0.0.5:7447')
        return cls(match[1], match[2] or match[3], int(match[4]))

    def __str__(self) -> str:
        host = f"[{self.host}]" if ":" in self.host else self.host
        return f"{self.protocol}/{host}:{self.port}"

    @property
    def is_loopback(self) -> bool:
        """Whether only processes of this machine can be at the other end."""
        try:
            return ipaddress.ip_address(self.host).is_loopback
        except ValueError:
            return self.host == "localhost"


def listen(
    endpoint: str, credentials: Credentials | None = None, *, nodes: Iterable[str] = (), insecure: bool = False
) -> zenoh.Session:
    """A router that the home and the `nodes` may dial, each with what `plane.access` allows it.

    Without credentials everybody who reaches the endpoint may do everything; beyond loopback that is refused
    unless `insecure`. Raises `UserError` for that, for credentials that are no good, and where the endpoint is
    taken or not of this machine.
    """
    import zenoh

    address = Endpoint.parse(endpoint)
    settings = _security(address, credentials, insecure=insecure)
    if credentials:
        settings["access_control"] = access_control(nodes)
    elif not address.is_loopback:
        log.warning("%s is open to everybody who reaches it, without certificates", endpoint)
    try:
        return zenoh.open(configuration("router", listen=[str(address)], settings=settings))
    except zenoh.ZError as error:
        raise UserError(f"{endpoint}: cannot listen there: {_cause(error)}") from None


def dial(
    endpoint: str, credentials: Credentials | None = None, *, insecure: bool = False, timeout: float = 10.0
) -> zenoh.Session:
    """A client of the router at `endpoint`, which must take the call within `timeout` seconds.

    The session dials again by itself whenever the link breaks. Raises `DialError` that says what is in the
    way, and `UserError` for credentials that are no good or missing.
    """
    import zenoh

    address = Endpoint.parse(endpoint)
    settings = _security(address, credentials, insecure=insecure)
    settings["connect/timeout_ms"] = int(1000 * timeout)
    settings["connect/exit_on_failure"] = True
    probe(address.host, address.port, credentials, timeout=timeout)
    config = configuration("client", connect=[str(address)], timeout=timeout, settings=settings)
    try:
        return zenoh.open(config)
    except zenoh.ZError:
        probe(address.host, address.port, credentials, timeout=timeout, patience=REFUSAL_SECONDS)
        raise DialError(
            f"{endpoint} took the call but opened no session within {timeout:g} s", transient=True
        ) from None


def _security(address: Endpoint, credentials: Credentials | None, *, insecure: bool) -> dict[str, Any]:
    """Settings by path, after the credentials were found fit for the endpoint."""
    settings: dict[str, Any] = {
        "transport/link/tx/lease": LEASE_MILLISECONDS,
        "transport/link/tx/keep_alive": KEEP_ALIVES_PER_LEASE,
        "transport/link/rx/max_message_size": MAX_MESSAGE_BYTES,
    }
    if credentials is None:
        if address.protocol == "tls":
            raise ConfigError(f"{address}: TLS needs certificates: make them with `flowedge certs`")
        if not (address.is_loopback or insecure):
            raise ConfigError(
                f"{address} leaves this machine without certificates: make them with `flowedge certs`, or say "
                "that everybody who reaches it may give orders, with --insecure"
            )
        return settings
    if address.protocol != "tls":
        raise ConfigError(f"{address} makes no use of certificates: write tls/ in place of tcp/")
    credentials.check()
    settings["transport/link/tls"] = {
        "root_ca_certificate": str(credentials.authority),
        "enable_mtls": True,
        "verify_name_on_connect": True,
        "listen_certificate": str(credentials.certificate),
        "listen_private_key": str(credentials.key),
        "connect_certificate": str(credentials.certificate),
        "connect_private_key": str(credentials.key),
    }
    return settings


def _cause(error: Exception) -> str:
    """What the operating system said, out of Zenoh's account of who called whom.

    >>> _cause(Exception("Can not bind tcp/a:1: [Address in use (os error 98)] at x.rs:1"))
    'Address in use'
    """
    match = re.search(r"([A-Z][^\[\]:()]*) \(os error \d+\)", str(error))
    return match[1] if match else str(error).partition(" at ")[0]
