"""A small certificate authority for a cluster: who may speak, and under which name.

A folder holds the authority, `ca.pem` and `ca.key`, and for each name NAME.pem and NAME.key. The common name of
a certificate is the name of its node, which is what access rules go by. Every certificate serves both ends of
mutual TLS. The package `cryptography` is needed: `pip install 'flowedge[cluster]'`.
"""

from __future__ import annotations

import contextlib
import ipaddress
import os
import re
import secrets
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

from flowedge.errors import UserError
from flowedge.graph.contract import NAME, valid_name

AUTHORITY = "ca"
"""What the files of the authority are called, and so no node may be."""

AUTHORITY_DAYS = 3650
NODE_DAYS = 365

_LONGEST_NAME = 63
"""Characters that the label of a host name may have; a common name may have one more."""

_CLOCKS_APART = timedelta(hours=1)
"""Certificates are valid from before they were made: the clocks of small devices are late."""

_LABEL = r"[A-Za-z0-9_](?:[A-Za-z0-9_-]{0,61}[A-Za-z0-9_])?"
_HOST = re.compile(rf"(?=.{{1,253}}$){_LABEL}(?:\.{_LABEL})*")


@dataclass(frozen=True)
class Issued:
    """A certificate that was written: its files, the host names and addresses that it proves, its last day."""

    name: str
    certificate: Path
    key: Path
    hosts: tuple[str, ...]
    expires: datetime


@dataclass(frozen=True)
class _Authority:
    certificate: x509.Certificate
    key: ec.EllipticCurvePrivateKey


def issue(
    folder: Path, addresses: Mapping[str, Sequence[str]], *, now: datetime, days: int = NODE_DAYS
) -> list[Issued]:
    """Make a certificate and a key for each name; first the authority, where the folder has none yet.

    `addresses` has for each name the host names and IP addresses at which the node may be dialled, besides its
    name and localhost. `now` is the time with its zone, and a certificate is valid for so many `days`, at most
    as long as its authority. Files that are there are never replaced, and where one name cannot have its
    certificate, none is made. The first element is the authority if it was made now.

    Raises `UserError` naming what is wrong with the folder, a name or an address.
    """
    for name, hosts in addresses.items():
        _check(name, hosts)
    if days < 1:
        raise UserError(f"certificates for {days} days: give at least 1")
    for path in (path for name in addresses for path in _files(folder, name)):
        if path.exists():
            raise UserError(
                f"{path} is there already and is never replaced: move {path.with_suffix('.pem').name} and "
                f"{path.with_suffix('.key').name} elsewhere to make new ones"
            )
    try:
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        authority, written = _authority(folder, now)
        nodes = [_issue(folder, name, addresses[name], authority, now, days) for name in addresses]
    except OSError as error:
        raise UserError(f"{error.filename or folder}: {error.strerror}") from error
    return written + nodes


def _check(name: str, hosts: Sequence[str]) -> None:
    if not valid_name(name) or len(name) > _LONGEST_NAME:
        raise UserError(f'"{name}" is not {NAME}, of at most {_LONGEST_NAME} characters')
    if name == AUTHORITY:
        raise UserError(f'"{name}" is what the files of the authority are called: choose another name')
    for host in hosts:
        if not (_is_address(host) or _is_host(host)):
            raise UserError(
                f'{name}: "{host}" is neither an IP address nor a host name, e.g. 10.0.0.5 or gate.lan'
            )


def _authority(folder: Path, now: datetime) -> tuple[_Authority, list[Issued]]:
    """The authority of the folder, and what was written for it: nothing where it was there."""
    certificate, key = _files(folder, AUTHORITY)
    if not certificate.exists() and not key.exists():
        return _new_authority(folder, now)
    for here, missing in ((certificate, key), (key, certificate)):
        if not missing.exists():
            raise UserError(
                f"{here} is there but not {missing.name}: give the folder that has both, or an empty one for "
                "another authority, whose certificates are accepted by none of the old ones"
            )
    return _read_authority(certificate, key, now), []


def _new_authority(folder: Path, now: datetime) -> tuple[_Authority, list[Issued]]:
    key = ec.generate_private_key(ec.SECP256R1())
    # Of two authorities of one name, TLS would only say that a signature is wrong.
    subject = _subject(f"FlowEdge authority {secrets.token_hex(4)}")
    certificate = (
        _builder(subject, subject, key.public_key(), now, now + timedelta(days=AUTHORITY_DAYS))
        .add_extension(x509.BasicConstraints(ca=True, path_length=0), critical=True)
        .add_extension(_key_usage(signs_certificates=True), critical=True)
        .add_extension(x509.SubjectKeyIdentifier.from_public_key(key.public_key()), critical=False)
        .sign(key, hashes.SHA256())
    )
    return _Authority(certificate, key), [_write(folder, AUTHORITY, (), certificate, key)]


def _read_authority(certificate: Path, key: Path, now: datetime) -> _Authority:
    try:
        authority = x509.load_pem_x509_certificate(certificate.read_bytes())
    except ValueError:
        raise UserError(f"{certificate} is no certificate in PEM") from None
    try:
        private = serialization.load_pem_private_key(key.read_bytes(), password=None)
    except (ValueError, TypeError):  # TypeError: it has a password
        raise UserError(f"{key} is no private key in PEM without a password") from None
    if not isinstance(private, ec.EllipticCurvePrivateKey) or private.public_key() != authority.public_key():
        raise UserError(f"{key} is not the key of {certificate}: give the folder in which both were made")
    if authority.not_valid_after_utc <= now:
        raise UserError(
            f"{certificate} has expired on {authority.not_valid_after_utc:%Y-%m-%d}: "
            "make a new authority and all certificates in an empty folder"
        )
    return _Authority(authority, private)


def _issue(
    folder: Path,
    name: str,
    addresses: Sequence[str],
    authority: _Authority,
    now: datetime,
    days: int,
) -> Issued:
    key = ec.generate_private_key(ec.SECP256R1())
    # A name such as "a..b" is fine for a topic, but TLS libraries reject a whole certificate for it.
    hosts = dict.fromkeys([*[name] * _is_host(name), "localhost", "127.0.0.1", "::1", *addresses])
    names = [x509.IPAddress(ipaddress.ip_address(h)) if _is_address(h) else x509.DNSName(h) for h in hosts]
    expires = min(now + timedelta(days=min(days, AUTHORITY_DAYS)), authority.certificate.not_valid_after_utc)
    certificate = (
        _builder(_subject(name), authority.certificate.subject, key.public_key(), now, expires)
        .add_extension(x509.BasicConstraints(ca=False, path_length=None), critical=True)
        .add_extension(_key_usage(signs_certificates=False), critical=True)
        .add_extension(
            x509.ExtendedKeyUsage([ExtendedKeyUsageOID.SERVER_AUTH, ExtendedKeyUsageOID.CLIENT_AUTH]),
            critical=False,
        )
        .add_extension(x509.SubjectAlternativeName(names), critical=False)
        .add_extension(x509.SubjectKeyIdentifier.from_public_key(key.public_key()), critical=False)
        .add_extension(
            x509.AuthorityKeyIdentifier.from_issuer_public_key(authority.key.public_key()),
            critical=False,
        )
        .sign(authority.key, hashes.SHA256())
    )
    return _write(folder, name, tuple(hosts), certificate, key)


def _builder(
    subject: x509.Name, issuer: x509.Name, public_key: object, now: datetime, expires: datetime
) -> x509.CertificateBuilder:
    return (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(issuer)
        .public_key(public_key)
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - _CLOCKS_APART)
        .not_valid_after(expires)
    )


def _subject(name: str) -> x509.Name:
    return x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)])


def _key_usage(*, signs_certificates: bool) -> x509.KeyUsage:
    return x509.KeyUsage(
        digital_signature=True,
        key_cert_sign=signs_certificates,
        crl_sign=signs_certificates,
        content_commitment=False,
        key_encipherment=False,
        data_encipherment=False,
        key_agreement=False,
        encipher_only=False,
        decipher_only=False,
    )


def _write(
    folder: Path,
    name: str,
    hosts: tuple[str, ...],
    certificate: x509.Certificate,
    key: ec.EllipticCurvePrivateKey,
) -> Issued:
    """Write both files, or none; neither may be there before."""
    secret = key.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )
    certificate_path, key_path = _files(folder, name)
    _create(key_path, secret, 0o600)
    try:
        _create(certificate_path, certificate.public_bytes(serialization.Encoding.PEM), 0o644)
    except OSError:
        key_path.unlink()
        raise
    return Issued(name, certificate_path, key_path, hosts, certificate.not_valid_after_utc)


def _create(path: Path, content: bytes, mode: int) -> None:
    handle = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, mode)
    try:
        with open(handle, "wb") as file:
            file.write(content)
    except OSError:
        with contextlib.suppress(OSError):
            path.unlink()
        raise


def _files(folder: Path, name: str) -> tuple[Path, Path]:
    return folder / f"{name}.pem", folder / f"{name}.key"


def _is_address(host: str) -> bool:
    try:
        ipaddress.ip_address(host)
    except ValueError:
        return False
    return "%" not in host  # of a zone, which means something on one machine only


def _is_host(host: str) -> bool:
    return _HOST.fullmatch(host) is not None
