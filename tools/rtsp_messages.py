"""RTSP's messages (RFC 2326): reading requests, writing responses, checking passwords."""

from __future__ import annotations

import base64
import binascii
import hashlib
import hmac
import re
import secrets
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from urllib.parse import unquote, urlsplit

TRACK = "track0"  # the part of a control URI that names the stream's one track
REALM = "FlowEdge"

STATUS = {
    200: "OK",
    400: "Bad RTSPRequest",
    401: "Unauthorized",
    404: "Not Found",
    405: "Method Not Allowed",
    413: "RTSPRequest Entity Too Large",
    454: "Session Not Found",
    455: "Method Not Valid in This State",
    461: "Unsupported Transport",
    505: "RTSP Version Not Supported",
}


class RtspError(Exception):
    """A request that is answered with an error status."""

    def __init__(self, status: int, *headers: tuple[str, str]) -> None:
        """Refuse with this status and these further headers."""
        super().__init__(STATUS[status])
        self.status = status
        self.headers = headers


@dataclass(frozen=True, slots=True)
class RTSPRequest:
    """One RTSP request; header names are lower case."""

    method: str
    uri: str
    version: str
    headers: Mapping[str, str]

    @classmethod
    def parse(cls, text: str) -> RTSPRequest:
        """Read a request's first line and headers."""
        first, *lines = text.strip().split("\r\n")
        try:
            method, uri, version = first.split()
            pairs = [line.split(":", 1) for line in lines]
            headers = {name.strip().lower(): value.strip() for name, value in pairs}
            urlsplit(uri)
        except ValueError:
            raise RtspError(400) from None
        return cls(method, uri, version, headers)

    @property
    def session(self) -> str | None:
        """The session that the request belongs to, if it names one."""
        header = self.headers.get("session")
        return header.partition(";")[0].strip() if header else None

    @property
    def stream(self) -> str:
        """The name of the stream that the URI, of a stream or of its track, asks for."""
        path = unquote(urlsplit(self.uri).path).strip("/")
        return path.removesuffix(f"/{TRACK}").rstrip("/")


@dataclass(frozen=True, slots=True)
class Response:
    """What a request is answered with."""

    status: int = 200
    headers: Sequence[tuple[str, str]] = ()
    body: str = ""

    def encode(self, cseq: str | None) -> bytes:
        """Write the response as it goes over the wire, with the number of its request."""
        lines = [f"RTSP/1.0 {self.status} {STATUS[self.status]}", "Server: FlowEdge"]
        if cseq is not None:
            lines.append(f"CSeq: {cseq}")
        lines += [f"{name}: {value}" for name, value in self.headers]
        if self.body:
            lines.append(f"Content-Length: {len(self.body.encode())}")
        return ("\r\n".join(lines) + "\r\n\r\n" + self.body).encode()


class Authenticator:
    """Checks the user name and password of one connection's requests, by Digest or Basic."""

    def __init__(self, user: str, password: str) -> None:
        """Draw a nonce for the connection."""
        self._user = user
        self._password = password
        self._nonce = secrets.token_hex(16)

    def check(self, request: RTSPRequest) -> None:
        """Refuse a request that does not prove to know the password."""
        scheme, _, proof = request.headers.get("authorization", "").partition(" ")
        accepts = {"digest": self._digest, "basic": self._basic}.get(scheme.lower())
        if accepts is None or not accepts(request.method, proof):
            digest = f'Digest realm="{REALM}", nonce="{self._nonce}"'
            basic = f'Basic realm="{REALM}"'
            raise RtspError(401, ("WWW-Authenticate", digest), ("WWW-Authenticate", basic))

    def _digest(self, method: str, proof: str) -> bool:
        given = dict(re.findall(r'(\w+)="?([^",]*)"?', proof))
        if (given.get("username"), given.get("nonce")) != (self._user, self._nonce):
            return False
        secret = _md5(f"{self._user}:{REALM}:{self._password}")
        # The URI is taken as the client signed it: some sign the stream's where they ask for the track's.
        action = _md5(f"{method}:{given.get('uri', '')}")
        return _same(given.get("response", ""), _md5(f"{secret}:{self._nonce}:{action}"))

    def _basic(self, _method: str, proof: str) -> bool:
        try:
            given = base64.b64decode(proof, validate=True).decode()
        except (binascii.Error, UnicodeDecodeError):
            return False
        return _same(given, f"{self._user}:{self._password}")


def _md5(text: str) -> str:
    """Hash as RTSP's Digest does: MD5 is all that most clients know."""
    return hashlib.md5(text.encode(), usedforsecurity=False).hexdigest()


def _same(given: str, expected: str) -> bool:
    return hmac.compare_digest(given.encode(), expected.encode())
