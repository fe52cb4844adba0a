"""What a process proves itself with to other machines: files that `flowedge certs` makes."""

from __future__ import annotations

import logging
import ssl
import stat
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Self

from flowedge.errors import UserError

log = logging.getLogger("flowedge.credentials")

EXPIRES_SOON_SECONDS = 30 * 86_400.0
"""How long before its end a certificate is warned of."""

EXPIRED, NOT_YET_VALID = 10, 9
"""OpenSSL's codes of certificates that are out of their time."""


@dataclass(frozen=True)
class Credentials:
    """A process's name, its certificate and private key, and the authority that others are measured by (PEM).

    It holds paths only, so that no key gets into a log with it.
    """

    name: str
    authority: Path
    certificate: Path
    key: Path

    @classmethod
    def of(cls, folder: Path, name: str) -> Self:
        """Those of a node in a folder of `flowedge certs`; `check` says whether they are any good.

        >>> Credentials.of(Path("certs"), "gate").key
        PosixPath('certs/gate.key')
        """
        return cls(name, folder / "ca.pem", folder / f"{name}.pem", folder / f"{name}.key")

    def check(self) -> float:
        """When the certificate ends, in seconds since 1970, if all is well; warns of one that ends soon.

        Raises `UserError` where a file cannot be read, a key is open to every user or belongs to another
        certificate, or the certificate is of another authority or name or out of its time.
        """
        self._check_files()
        certificate = self._handshake()
        subject = {key: value for pairs in certificate["subject"] for key, value in pairs}
        if (owner := subject.get("commonName")) != self.name:
            raise UserError(
                f"{self.certificate} is for {owner}, not for {self.name}: copy the files of that name"
            )
        expires = ssl.cert_time_to_seconds(certificate["notAfter"])
        if expires - time.time() < EXPIRES_SOON_SECONDS:
            day = time.strftime("%Y-%m-%d", time.gmtime(expires))
            log.warning("%s expires on %s: make another with `flowedge certs` before", self.certificate, day)
        return expires

    def client_context(self) -> ssl.SSLContext:
        """The settings of TLS to dial others with. Raises `UserError` for files that hold something else."""
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
        self._load_authority(context)
        self._load_own(context)
        return context

    def _check_files(self) -> None:
        for path in (self.authority, self.certificate, self.key):
            try:
                with path.open("rb"):
                    pass
            except FileNotFoundError:
                raise UserError(
                    f"{path} is not there: make it with `flowedge certs` where ca.key is, and copy it here"
                ) from None
            except OSError as error:
                raise UserError(f"{path} cannot be read: {error.strerror}") from None
        if stat.S_IMODE(self.key.stat().st_mode) & stat.S_IRWXO:
            raise UserError(f"{self.key} is open to every user of this machine: chmod 600 {self.key}")

    def _load_authority(self, context: ssl.SSLContext) -> None:
        try:
            context.load_verify_locations(self.authority)
        except ssl.SSLError:
            raise UserError(f"{self.authority} is no certificate in PEM") from None

    def _load_own(self, context: ssl.SSLContext) -> None:
        try:
            context.load_cert_chain(self.certificate, self.key, password="")  # never ask at the terminal
        except ssl.SSLError as error:
            if error.reason == "KEY_VALUES_MISMATCH":
                raise UserError(
                    f"{self.key} is not the key of {self.certificate}: copy both from one folder"
                ) from None
            raise UserError(f"{self.certificate} and {self.key} are no certificate and key in PEM") from None

    def _handshake(self) -> dict[str, Any]:
        """The own certificate as one who trusts the authority sees it, by a handshake of TLS within memory."""
        server_side = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        self._load_own(server_side)
        client_side = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
        client_side.check_hostname = False  # nobody is dialled
        self._load_authority(client_side)
        to_server, to_client = ssl.MemoryBIO(), ssl.MemoryBIO()
        client = client_side.wrap_bio(to_client, to_server)
        server = server_side.wrap_bio(to_server, to_client, server_side=True)
        try:
            for side in (client, server):
                try:
                    side.do_handshake()
                except ssl.SSLWantReadError:
                    continue
            client.do_handshake()
        except ssl.SSLCertVerificationError as error:
            raise UserError(f"{self.certificate} {self._fault(error.verify_code)}") from None
        return client.getpeercert() or {}

    def _fault(self, code: int) -> str:
        if code == EXPIRED:
            return "has expired: make another with `flowedge certs` where ca.key is, and copy it here"
        if code == NOT_YET_VALID:
            return "is not valid yet: set the clock of this machine"
        return f"is of another authority than {self.authority}: copy both from the same folder"
