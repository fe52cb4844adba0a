"""State that replicas share: small values under keys, in this process or in Redis.

A value is replaced only by whoever has seen the newest one (compare and swap), so replicas on different
machines that work on the frames of one camera in turn cannot overwrite each other's work.
"""

from __future__ import annotations

import hashlib
import math
import threading
import time
from abc import ABC, abstractmethod
from typing import Any, Self

from flowedge.errors import ConfigError
from flowedge.secrets import expand, redact

ADDRESSES = "an address: memory://, or redis://host:6379/0 (rediss:// with TLS)"
"""What `store_at` understands, in words for a message."""


class StoreError(Exception):
    """A store did not answer, or keeps what cannot be read: this frame fails, the next one tries again."""


class Store(ABC):
    """Values by key. Copies of a step share the store that the step was built with.

    Every user calls `open` before the first value and `close` after the last; all methods are safe to call from
    several threads.
    """

    def __init__(self) -> None:
        self._users = 0
        self._ready = False
        self._lock = threading.Lock()

    def open(self) -> None:
        """Make ready. Raises `ConfigError` when the store cannot be reached; `close` is due even then."""
        with self._lock:
            self._users += 1
            if not self._ready:
                self._start()
                self._ready = True

    def close(self) -> None:
        """Release what the store holds once its last user has left."""
        with self._lock:
            self._users -= 1
            if not self._users:
                self._stop()
                self._ready = False

    @abstractmethod
    def load(self, key: str) -> bytes | None:
        """The value, or None where there is none. Raises `StoreError`."""

    @abstractmethod
    def swap(self, key: str, old: bytes | None, new: bytes, seconds: float) -> bool:
        """Put `new` in the place of `old` (None: where nothing is), to be forgotten after `seconds`.

        False, and nothing is changed, when something else than `old` is there by now. Raises `StoreError`; the
        value may or may not have been replaced then.
        """

    @abstractmethod
    def remove(self, prefix: str) -> None:
        """Forget all values whose key begins with `prefix`, without "*?[]^\\". Raises `StoreError`."""

    @abstractmethod
    def _start(self) -> None: ...

    @abstractmethod
    def _stop(self) -> None: ...

    def __deepcopy__(self, memo: object) -> Self:
        return self


class MemoryStore(Store):
    """Values in this process; they go when the last user has closed.

    >>> store = MemoryStore()
    >>> store.swap("north", None, b"one", 60), store.swap("north", None, b"two", 60), store.load("north")
    (True, False, b'one')
    """

    def __init__(self) -> None:
        super().__init__()
        self._values: dict[str, tuple[bytes, float]] = {}
        self._first_expiry = math.inf  # no value is due before

    def load(self, key: str) -> bytes | None:
        with self._lock:
            return self._load(key)

    def swap(self, key: str, old: bytes | None, new: bytes, seconds: float) -> bool:
        with self._lock:
            now = time.monotonic()
            self._drop_expired(now)
            if self._load(key) != old:
                return False
            self._values[key] = (new, now + seconds)
            self._first_expiry = min(self._first_expiry, now + seconds)
            return True

    def remove(self, prefix: str) -> None:
        with self._lock:
            for key in [key for key in self._values if key.startswith(prefix)]:
                del self._values[key]

    def _load(self, key: str) -> bytes | None:
        value, until = self._values.get(key, (None, 0.0))
        if value is not None and until <= time.monotonic():
            del self._values[key]
            return None
        return value

    def _drop_expired(self, now: float) -> None:
        """Forget also what nobody asks for again; looks at all values only when one may be due."""
        if now >= self._first_expiry:
            self._values = {key: kept for key, kept in self._values.items() if kept[1] > now}
            self._first_expiry = min((until for _, until in self._values.values()), default=math.inf)

    def _start(self) -> None:
        pass

    def _stop(self) -> None:
        self._values.clear()
        self._first_expiry = math.inf


_TIMEOUT = 0.5  # seconds for one answer: a live frame that waits longer is of no use
_SCANNED = 1000  # keys that the server looks at in one go, some 0.1 ms in which it answers nobody else
_SWAP = """
local now = redis.call('GET', KEYS[1])
if (now and redis.sha1hex(now) or '') ~= ARGV[1] then return 0 end
redis.call('SET', KEYS[1], ARGV[2], 'PX', ARGV[3])
return 1
"""


class RedisStore(Store):
    """Values in the Redis server at `address`, in which `${NAME}` stands for an environment variable.

    Needs the extra `redis`. The server compares by SHA-1 of the old value, which therefore travels once.
    """

    def __init__(self, address: str) -> None:
        super().__init__()
        self._address = address
        self._client: Any = None
        self._swap: Any = None

    def load(self, key: str) -> bytes | None:
        value = self._answer(self._client.get, key)
        return value if value is None else bytes(value)

    def swap(self, key: str, old: bytes | None, new: bytes, seconds: float) -> bool:
        seen = "" if old is None else hashlib.sha1(old, usedforsecurity=False).hexdigest()
        return bool(self._answer(self._swap, [key], [seen, new, max(1, round(seconds * 1000))]))

    def remove(self, prefix: str) -> None:
        for key in self._answer(lambda: list(self._client.scan_iter(f"{prefix}*", count=_SCANNED))):
            self._answer(self._client.unlink, key)

    def _answer(self, call: Any, *arguments: Any) -> Any:
        import redis

        try:
            return call(*arguments)
        except redis.RedisError as error:
            raise StoreError(f"the store {self._shown} gives no answer: {error}") from error

    def _start(self) -> None:
        try:
            import redis
            from redis.backoff import NoBackoff
            from redis.retry import Retry
        except ImportError as error:
            raise ConfigError(
                f'the store {self._shown} needs the package redis: pip install "flowedge[redis]"'
            ) from error
        try:
            self._client = redis.Redis.from_url(
                expand(self._address),
                socket_timeout=_TIMEOUT,
                socket_connect_timeout=_TIMEOUT,
                retry=Retry(NoBackoff(), 1),  # a connection that the server closed in the meantime
            )
            self._swap = self._client.register_script(_SWAP)
            self._client.ping()
        except redis.AuthenticationError as error:
            raise ConfigError(f"the store {self._shown} refuses the user name or the password") from error
        except redis.RedisError as error:
            raise ConfigError(
                f"the store {self._shown} gives no answer ({error}): start a Redis server there, or use memory://"
            ) from error
        except ConfigError:
            raise
        except ValueError:  # its text would show parts of the address
            raise ConfigError(f"the store {self._shown} is not {ADDRESSES}") from None

    def _stop(self) -> None:
        if self._client is not None:
            self._client.close()

    @property
    def _shown(self) -> str:
        return redact(self._address)


def store_at(address: str) -> Store:
    """The store at an address, not yet opened; "memory://" gives a new one each time.

    Raises `ConfigError` for an address of another kind.

    >>> type(store_at("memory://")).__name__, type(store_at("redis://10.0.0.9:6379/0")).__name__
    ('MemoryStore', 'RedisStore')
    """
    if address == "memory://":
        return MemoryStore()
    if is_redis(address):
        return RedisStore(address)
    raise ConfigError(f"the store {redact(address)!r} is not {ADDRESSES}")


def is_redis(address: str) -> bool:
    """Whether an address names a Redis server."""
    return address.startswith(("redis://", "rediss://")) and not address.endswith("://")
