"""Why a machine cannot be reached: Zenoh only says that it could not connect."""

from __future__ import annotations

import socket
import ssl
import time
from collections.abc import Iterator
from contextlib import contextmanager

from flowedge.errors import UserError
from flowedge.plane.credentials import EXPIRED, NOT_YET_VALID, Credentials

_WRONG_HOST = (62, 64)  # OpenSSL's codes: neither the host name nor the IP address is in the certificate
_REFUSALS = {
    "UNKNOWN_CA": "does not accept our certificate {own}: it trusts another authority",
    "CERTIFICATE_REQUIRED": "wants a certificate: give the folder that `flowedge certs` made",
    "CERTIFICATE_EXPIRED": "says that our certificate {own} has expired: compare the clocks of both machines",
}
"""Alerts of TLS, which OpenSSL calls e.g. TLSV1_ALERT_UNKNOWN_CA, in words."""


class DialError(UserError):
    """A machine that does not take our call; `transient` says whether calling again later can help."""

    def __init__(self, message: str, *, transient: bool) -> None:
        super().__init__(message)
        self.transient = transient


def probe(
    host: str, port: int, credentials: Credentials | None, *, timeout: float, patience: float = 0.0
) -> None:
    """Connect as Zenoh would, and disconnect; raise `DialError` with what is in the way.

    Without credentials plain TCP is meant. A server of TLS 1.3 refuses our certificate only after its part of
    the handshake: `patience` is how many seconds to wait for that.
    """
    at = _shown(host, port)
    deadline = time.monotonic() + timeout
    with _connected(host, port, timeout) as raw:
        if credentials is None:
            if patience and _speaks_tls(raw, patience):
                raise DialError(f"{at} wants TLS: dial tls/{at} with certificates", transient=False)
            return
        try:
            raw.settimeout(max(0.1, deadline - time.monotonic()))
            with credentials.client_context().wrap_socket(raw, server_hostname=host) as secured:
                _wait_for_refusal(secured, patience)
        except ssl.SSLCertVerificationError as error:
            raise DialError(_fault(at, host, error.verify_code, credentials), transient=False) from None
        except ssl.SSLError as error:
            raise DialError(f"{at} {_refusal(error, credentials)}", transient=False) from None
        except TimeoutError:
            raise DialError(
                f"{at} accepts a connection but not TLS: it listens on plain TCP, or hangs", transient=True
            ) from None
        except OSError as error:
            raise DialError(f"{at} broke off TLS: {error.strerror or error}", transient=True) from None


@contextmanager
def _connected(host: str, port: int, timeout: float) -> Iterator[socket.socket]:
    at = _shown(host, port)
    try:
        connection = socket.create_connection((host, port), timeout)
    except socket.gaierror:
        raise DialError(f"{host} is no host name that this machine knows", transient=True) from None
    except ConnectionRefusedError:
        raise DialError(f"nobody listens at {at}", transient=True) from None
    except TimeoutError:
        raise DialError(f"{at} does not answer within {timeout:g} s", transient=True) from None
    except OSError as error:
        raise DialError(f"{at} cannot be reached: {error.strerror}", transient=True) from None
    with connection:
        yield connection


def _wait_for_refusal(secured: ssl.SSLSocket, patience: float) -> None:
    if patience:
        secured.settimeout(patience)
        try:
            secured.recv(1)
        except TimeoutError:
            return


def _speaks_tls(raw: socket.socket, patience: float) -> bool:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname, context.verify_mode = False, ssl.CERT_NONE  # whoever it is, does he answer?
    raw.settimeout(patience)
    try:
        context.wrap_socket(raw).close()
    except OSError:
        return False
    return True


def _shown(host: str, port: int) -> str:
    return f"[{host}]:{port}" if ":" in host else f"{host}:{port}"


def _fault(at: str, host: str, code: int, credentials: Credentials) -> str:
    if code in _WRONG_HOST:
        return (
            f"{at} has a certificate that is not for {host}: dial it as it was named to `flowedge certs`, "
            f"or make its certificate with NAME={host}"
        )
    if code == EXPIRED:
        return f"{at} has a certificate that has expired: make another with `flowedge certs`"
    if code == NOT_YET_VALID:
        return f"{at} has a certificate that is not valid yet: compare the clocks of both machines"
    return f"{at} has a certificate of another authority than our {credentials.authority}"


def _refusal(error: ssl.SSLError, credentials: Credentials) -> str:
    reason = error.reason or ""
    for alert, words in _REFUSALS.items():
        if reason.endswith(f"ALERT_{alert}"):
            return words.format(own=credentials.certificate)
    if "ALERT" in reason:
        alert = reason.partition("ALERT_")[2].replace("_", " ").lower()
        return f"refuses our certificate {credentials.certificate}: {alert}"
    return "does not speak TLS: it listens on plain TCP, or is no router of FlowEdge"
