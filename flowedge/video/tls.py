"""Whom to believe that he is the camera: certificates of `rtsps://` and `https://`."""

from __future__ import annotations

import hashlib
import os
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:  # imported where it is used: it takes 5 MiB, which cameras without TLS need not pay
    import ssl

FINGERPRINT = "sha256:"
_DEFAULT_PORTS = {"rtsps": 322, "https": 443}  # as FFmpeg has them
_OUT_OF_TIME = (9, 10)  # OpenSSL's codes of certificates that are not valid yet, or no more
_BUNDLES = (  # where Linux distributions keep the authorities that they trust
    "/etc/ssl/certs/ca-certificates.crt",
    "/etc/pki/tls/certs/ca-bundle.crt",
    "/etc/ssl/ca-bundle.pem",
    "/etc/ssl/cert.pem",
)


class UntrustedError(Exception):
    """A server has another certificate than the one that is trusted."""


def fingerprint(der: bytes) -> str:
    """The SHA-256 fingerprint of a certificate, in the form in which it is trusted.

    >>> fingerprint(b"certificate")[:16]
    'sha256:03d66dd08'
    """
    return FINGERPRINT + hashlib.sha256(der).hexdigest()


@contextmanager
def trusting(scheme: str, host: str, port: int | None, trust: str, seconds: float) -> Iterator[dict[str, str]]:
    """FFmpeg's options by which it verifies a server's certificate, for the time that the video is open.

    `trust` is a file of authorities (PEM), the fingerprint of the server's own certificate, whoever signed it,
    or empty for the authorities of this machine. Raises `UntrustedError` where the server has another
    certificate than that, and `OSError` where it does not answer.
    """
    if not trust.startswith(FINGERPRINT):
        yield {"tls_verify": "1", "ca_file": trust or authorities()}
        return
    address = host, port or _DEFAULT_PORTS[scheme]
    der = _certificate(address, seconds)
    if fingerprint(der) != _plain(trust):
        raise UntrustedError(f"it has the fingerprint {fingerprint(der)}, not {trust}")
    import ssl

    pem = ssl.DER_cert_to_PEM_cert(der)
    with tempfile.NamedTemporaryFile("w", suffix=".pem") as file:
        file.write(pem)
        file.flush()
        yield {"tls_verify": "1", "ca_file": file.name, "verifyhost": _name(address, pem, seconds) or host}


def objection(scheme: str, host: str, port: int | None, trust: str, seconds: float) -> str:
    """Why a server's certificate is not trusted, with the fingerprint by which it could be; empty if it is."""
    import ssl

    address = host, port or _DEFAULT_PORTS[scheme]
    try:
        bundle = authorities() if not trust or trust.startswith(FINGERPRINT) else trust
        _connect(address, seconds, ssl.create_default_context(cafile=bundle or None), host).close()
    except ssl.SSLCertVerificationError as error:
        if error.verify_code in _OUT_OF_TIME:
            return f"{error.verify_message}: renew it, or set the clock of this machine"
        return f'{error.verify_message}; trust="{fingerprint(_certificate(address, seconds))}" trusts this one'
    except OSError:
        pass
    return ""


def authorities() -> str:
    """The file of authorities that this machine trusts; empty where none is known."""
    import ssl

    given = (os.environ.get("SSL_CERT_FILE"), ssl.get_default_verify_paths().cafile, *_BUNDLES)
    return next((path for path in given if path and Path(path).is_file()), "")


def _plain(trust: str) -> str:
    return FINGERPRINT + trust.removeprefix(FINGERPRINT).replace(":", "").lower()


def _certificate(address: tuple[str, int], seconds: float) -> bytes:
    """The certificate of whoever answers; who that is, its fingerprint has to say."""
    import ssl

    context = ssl.create_default_context()
    context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
    with _connect(address, seconds, context) as encrypted:
        return encrypted.getpeercert(binary_form=True) or b""


def _name(address: tuple[str, int], pem: str, seconds: float) -> str:
    """A name for which a certificate was issued: a camera's is seldom its address."""
    import ssl

    context = ssl.create_default_context(cadata=pem)
    context.check_hostname = False
    context.verify_flags |= ssl.VERIFY_X509_PARTIAL_CHAIN  # trusted by itself, whoever signed it
    try:
        with _connect(address, seconds, context) as encrypted:
            certificate = encrypted.getpeercert() or {}
    except ssl.SSLCertVerificationError as error:
        raise UntrustedError(error.verify_message) from None
    names = [str(name) for kind, name in certificate.get("subjectAltName", ()) if kind in ("DNS", "IP Address")]  # type: ignore
    for part in certificate.get("subject", ()):
        names += [str(value) for key, value in part if key == "commonName"]  # type: ignore
    return names[0].replace("*", "any") if names else ""


def _connect(
    address: tuple[str, int], seconds: float, context: ssl.SSLContext, name: str | None = None
) -> ssl.SSLSocket:
    import socket

    plain = socket.create_connection(address, seconds)
    try:
        return context.wrap_socket(plain, server_hostname=name)
    except BaseException:
        plain.close()
        raise
