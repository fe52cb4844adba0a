"""Credentials of cameras: `${NAME}` references in addresses, and addresses that are safe to print.

Cameras take passwords in many places: before the host, as a query, within the path
(`/user=admin_password=x_channel=1`), as a bare token. So an address is shown by what is known to be harmless:
the host, the words of a path, and the values of keys like `channel`; everything else is masked.
"""

from __future__ import annotations

import os
import re
from itertools import pairwise
from typing import Any
from urllib.parse import quote

from flowedge.errors import ConfigError

_REFERENCE = re.compile(r"\$\{(\w+)\}")
_ADDRESS = re.compile(r"(?<![\w:@])([A-Za-z][A-Za-z0-9+.-]*)://(?!$)")
_USER_PART = re.compile(
    r"[^\s/:@'\"]+:[^\s@]+@(?=[\w\[$])"
)  # of an address whose scheme is missing or mistyped
_LOCAL = ("file", "street")  # addresses that have no host and no password
_TOKEN = re.compile(r"([/?&;,#])")
_PAIR = re.compile(r"([^=]*?)=(.*?)(?=_[A-Za-z]+=|$)(_?)", re.DOTALL)
_USERS = ("admin", "user", "root", "login", "guest", "operator")  # in a path, the password comes next
_HARMLESS = re.compile(
    r"""(?ix) ch (n|annels?)? | cam (era)? s? | (sub|real_?)? stream (_?id|_?type)? | sub_?type | profile
    | track (id)? | (video|audio) (codec)? | codec | format | fmt | type | proto (col)? | transport | unicast
    | multicast | res (olution)? | size | width | height | w | h | x | y | fps | (frame|bit)? rate | quality
    | compression | rotat (e|ion) | mirror | overlay | text | date | clock | colou?r | (start|end) (time)?
    | duration | timeout | db | seconds | live | action | cmd"""
)
_USUAL = re.compile(
    r"""(?ix) h\.?26[3-6] | mpe?g[1-4]? | mp[34] | mjpe?g | av1 | vp[89] | \d+x\d+
    | (?<![a-z0-9]) (ch|cam|stream|track|main|sub|s|c|v) \d{1,4} (?![a-z])"""
)


def expand(text: str) -> str:
    """`text` with each `${NAME}` replaced by the environment variable NAME, for the moment of its use.

    In a URL, what is put before the host, behind the question mark or behind an equals sign is
    percent-encoded, so a password may hold any character. Raises `ConfigError` naming a variable that is not
    set.

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
        encoded = is_url and (at < host or -1 < query < at or text[at - 1 : at] == "=")
        return quote(os.environ[name], safe="") if encoded else os.environ[name]

    return _REFERENCE.sub(value, text)


def redact(text: str) -> str:
    """A text for messages and logs in which the addresses have no user names, passwords or tokens.

    Everything up to the last "@" goes: a password that was not percent-encoded may itself hold "/" or "?".
    Of the rest, values of keys that are not known to be harmless are masked, and so is what looks random.

    >>> redact("rtsp://admin:secret@10.0.0.5/street"), redact("http://10.0.0.5/mjpeg?pwd=secret&fps=5")
    ('rtsp://10.0.0.5/street', 'http://10.0.0.5/mjpeg?pwd=***&fps=5')
    >>> redact("rtsp://10.0.0.5/user=admin_password=tlJwpbo6_channel=1_stream=0.sdp")
    'rtsp://10.0.0.5/user=***_password=***_channel=1_stream=0.sdp'
    """
    begins = [match.start() for match in _ADDRESS.finditer(text)]
    before, *parts = (text[begin:end] for begin, end in pairwise([0, *begins, len(text)]))
    return _USER_PART.sub("***@", before) + "".join(map(_redacted, parts))


def redact_all(data: Any) -> Any:
    """Plain data (dicts, lists, texts, numbers) with every text redacted.

    >>> redact_all({"cameras": {"north": "rtsp://admin:secret@10.0.0.5/street"}, "size": 416})
    {'cameras': {'north': 'rtsp://10.0.0.5/street'}, 'size': 416}
    """
    if isinstance(data, dict):
        return {key: redact_all(value) for key, value in data.items()}
    if isinstance(data, list):
        return [redact_all(value) for value in data]
    return redact(data) if isinstance(data, str) else data


def check_user_part(url: str) -> None:
    """Raise `ConfigError` where a raw "/", "?" or "#" in the user name or password would end the host early.

    >>> check_user_part("rtsp://admin:a%2Fb@10.0.0.5/street")
    """
    scheme, separator, rest = url.partition("://")
    if separator and scheme.lower() not in _LOCAL and (raw := _raw_in_user_part(rest)):
        raise ConfigError(
            f'{redact(url)}: its user name or password holds "{raw}", which ends the name of the host: write '
            f"${{CAM_PASS}} in its place and set that environment variable, or write {quote(raw, safe='')}"
        )


def _redacted(address: str) -> str:
    """One address, and what may stand behind it."""
    scheme, _, rest = address.partition("://")
    if scheme.lower() in _LOCAL:
        return address
    authority = re.split(r"[/?#]", rest, maxsplit=1)[0]
    if "@" in authority or _raw_in_user_part(rest):
        rest = rest[rest.rfind("@") + 1 :]
    host = re.match(r"[^/?#\s'\"]*", rest)
    assert host is not None
    tail = re.match(r"[^\s'\"]*", rest[host.end() :])
    assert tail is not None
    behind = rest[host.end() + tail.end() :]
    return f"{scheme}://{_host(host[0])}{_tail(tail[0])}{behind}"


def _host(host: str) -> str:
    name, colon, port = host.rpartition(":")
    is_port = not colon or port.isdecimal() or "${" in host or re.fullmatch(r"localhost|[\d.]+|\[.*", name)
    return host if is_port else f"{name}:***"  # a user name and a password whose "@" is missing


def _raw_in_user_part(rest: str) -> str:
    """The raw character in the user part of what follows "://", or nothing.

    An "@" that comes only behind the first of these characters may belong to a path. It does not where what
    stands before is no host and port.
    """
    ends = re.search(r"[/?#]", rest)
    at = rest.rfind("@")
    if ends is None or at < ends.start():
        return ""
    user, _, host = rest[: ends.start()].rpartition("@")
    name, colon, port = host.rpartition(":")
    if not colon or host.endswith("]"):
        is_raw = bool(user) and not _is_address(host)
    elif not port.isdecimal() or int(port) > 65535:
        is_raw = "${" not in port
    else:
        behind = re.split(r"[/?#:]", rest[at + 1 :], maxsplit=1)[0]
        is_raw = not _is_address(name) and _is_address(behind)
    return ends[0] if is_raw else ""


def _is_address(host: str) -> bool:
    return "." in host or host == "localhost" or host.startswith(("[", "$"))


def _tail(tail: str) -> str:
    """Path and query, token by token."""
    shown: list[str] = []
    before, in_path = "", True
    for token in _TOKEN.split(tail):
        if _TOKEN.fullmatch(token) or not token:
            shown.append(token)
            in_path = in_path and token not in ("?", "#")
            continue
        is_password = before.lower() in _USERS or not (in_path or _is_plain(token))
        shown.append("***" if is_password and "=" not in token else _token(token))
        before = token
    return "".join(shown)


def _token(token: str) -> str:
    if "=" in token:
        return _PAIR.sub(lambda pair: f"{_word(pair[1])}={_value(pair[1], pair[2])}{pair[3]}", token)
    return _word(token)


def _value(key: str, value: str) -> str:
    if _REFERENCE.fullmatch(value) or not value:
        return value
    is_harmless = _HARMLESS.fullmatch(key) and not _is_random(value)
    return value if is_harmless or len(key) == len(value) == 1 else "***"


def _word(word: str) -> str:
    return "***" if "@" in word or (":" in word and "${" not in word) or _is_random(word) else word


def _is_plain(word: str) -> bool:
    """Whether a word behind the path is a switch such as "real_stream" or a number, and no bare token."""
    return not re.search(r"[a-z]\W*\d|\d\W*[a-z]", _USUAL.sub("-", word), re.IGNORECASE)


def _is_random(word: str) -> bool:
    """Whether a word changes so often between letters, capitals and digits that nobody wrote it to be read.

    >>> [_is_random(word) for word in ("Channels", "h264Preview_01_main", "s3cret88", "9f86d081884c7d65")]
    [False, False, True, True]
    """
    for piece in re.split(r"[-_.~+]|\$\{\w+\}", _USUAL.sub("-", word)):
        runs = re.findall(r"[A-Z]?[a-z]+|[A-Z]+|\d+|[^A-Za-z\d]+", piece)
        if len(piece) >= 6 and len(runs) > 2 and any(character.isdigit() for character in piece):
            return True
        if len(piece) >= 8 and len(runs) > 4:
            return True
    return False
