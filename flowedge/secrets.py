"""Credentials of cameras: `${NAME}` references in addresses, and addresses that are safe to print."""

from __future__ import annotations

import os
import re
from urllib.parse import quote

from flowedge.errors import ConfigError

_REFERENCE = re.compile(r"\$\{(\w+)\}")
_TELLING = r"[?&][^=&]*(?:user|pass|pwd|auth|token|secret|key)[^=&]*="


def expand(text: str) -> str:
    """`text` with each `${NAME}` replaced by the environment variable NAME, for the moment of its use.

    In a URL, what is put before the host or behind the question mark is percent-encoded, so a password may
    hold any character. Raises `ConfigError` naming a variable that is not set.

    >>> os.environ["CAM_PASS"] = "p@ss/word"
    >>> expand("rtsp://admin:${CAM_PASS}@10.0.0.5/street")
    'rtsp://admin:p%40ss%2Fword@10.0.0.5/street'
    """
    is_url = "://" in text
    host, query = text.rfind("@"), text.find("?")

    def value(reference: re.Match[str]) -> str:
        name, at = reference[1], reference.start()
        if name not in os.environ:
            raise ConfigError(f"{redact(text)}: the environment variable {name} is not set")
        encoded = is_url and (at < host or -1 < query < at)
        return quote(os.environ[name], safe="") if encoded else os.environ[name]

    return _REFERENCE.sub(value, text)


def redact(url: str) -> str:
    """The address without user name and password, for messages and logs.

    Everything up to the last "@" goes: a password that was not percent-encoded may itself hold "/" or "?".

    >>> redact("rtsp://admin:secret@10.0.0.5/street"), redact("http://10.0.0.5/mjpeg?pwd=secret&fps=5")
    ('rtsp://10.0.0.5/street', 'http://10.0.0.5/mjpeg?pwd=***&fps=5')
    """
    bare = re.sub(r"://.*@", "://", url, flags=re.DOTALL)
    return re.sub(f"({_TELLING})[^&]*", r"\1***", bare, flags=re.IGNORECASE)
