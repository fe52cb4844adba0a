from __future__ import annotations

import copy
import socket
import sys
import threading
import time
from collections.abc import Iterator

import pytest

from flowedge.errors import ConfigError
from flowedge.state.store import _TIMEOUT, MemoryStore, RedisStore, Store, StoreError, store_at
from tests.redis_server import RedisServer, free_port, redis_server


@pytest.fixture(scope="module")
def server() -> Iterator[RedisServer]:
    with redis_server() as running:
        yield running


@pytest.fixture(params=["memory", "redis"])
def store(request: pytest.FixtureRequest) -> Iterator[Store]:
    if request.param == "memory":
        made: Store = MemoryStore()
    else:
        made = store_at(request.getfixturevalue("server").address)
    made.open()
    if isinstance(made, RedisStore):
        made._client.flushdb()
    yield made
    made.close()


def test_a_value_is_there_until_it_is_swapped(store: Store) -> None:
    assert store.load("north") is None
    assert store.swap("north", None, b"\x00one\xff", 60)
    assert store.load("north") == b"\x00one\xff"
    assert store.swap("north", b"\x00one\xff", b"", 60)
    assert (store.load("north"), store.load("south")) == (b"", None)


def test_who_has_not_seen_the_newest_changes_nothing(store: Store) -> None:
    assert not store.swap("north", b"what never was", b"x", 60)
    assert store.load("north") is None
    store.swap("north", None, b"one", 60)
    assert not store.swap("north", None, b"two", 60)
    assert not store.swap("north", b"on", b"two", 60)
    assert store.load("north") == b"one"


def test_an_empty_value_is_not_no_value(store: Store) -> None:
    store.swap("north", None, b"", 60)
    assert not store.swap("north", None, b"two", 60)
    assert store.swap("north", b"", b"two", 60)


def test_values_are_removed_by_the_beginning_of_their_keys(store: Store) -> None:
    keys = [f"{place}/{number}" for place in ("north", "north2", "south") for number in range(300)]
    for key in keys[::20]:
        store.swap(key, None, key.encode(), 60)
    store.remove("north/")
    assert [key for key in keys if store.load(key)] == [key for key in keys[::20] if key[:6] != "north/"]
    store.remove("nowhere")


def test_what_several_threads_add_up_is_not_lost(store: Store) -> None:
    def add() -> None:
        for _ in range(25):
            while True:
                old = store.load("sum")
                if store.swap("sum", old, str(int(old or 0) + 1).encode(), 60):
                    break

    threads = [threading.Thread(target=add) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert store.load("sum") == b"100"


def test_memory_forgets_after_its_time(monkeypatch: pytest.MonkeyPatch) -> None:
    store = MemoryStore()
    store.swap("north", None, b"one", 60)
    later = time.monotonic() + 60
    monkeypatch.setattr("flowedge.state.store.time.monotonic", lambda: later)
    assert store.load("north") is None
    assert store.swap("north", None, b"two", 60)


def test_memory_forgets_what_nobody_asks_for_again(monkeypatch: pytest.MonkeyPatch) -> None:
    store, now = MemoryStore(), time.monotonic()
    store.open()
    monkeypatch.setattr("flowedge.state.store.time.monotonic", lambda: now)
    for seconds, camera in ((60, "north"), (20, "south"), (90, "west")):
        store.swap(camera, None, b"one", seconds)
    now += 70
    store.swap("east", None, b"one", 60)
    assert list(store._values) == ["west", "east"]
    now += 25
    store.swap("east", b"one", b"two", 60)
    assert list(store._values) == ["east"]
    store.close()
    store.swap("south", None, b"one", 60)
    now += 60
    store.swap("north", None, b"one", 60)
    assert list(store._values) == ["north"]


def test_redis_is_told_when_to_forget(server: RedisServer) -> None:
    store = RedisStore(server.address)
    store.open()
    store._client.flushdb()
    store.swap("north", None, b"one", 60)
    assert 50_000 < store._client.pttl("north") <= 60_000
    store.swap("north", b"one", b"two", 600)
    assert 500_000 < store._client.pttl("north") <= 600_000
    store.close()


def test_copies_share_a_store_until_the_last_has_closed(store: Store) -> None:
    other = copy.deepcopy(store)
    other.open()
    store.swap("north", None, b"one", 60)
    store.close()
    assert other.load("north") == b"one"
    store.open()
    other.close()


def test_memory_is_gone_when_the_last_has_closed() -> None:
    store = MemoryStore()
    store.open()
    store.swap("north", None, b"one", 60)
    store.close()
    store.open()
    assert store.load("north") is None


@pytest.mark.parametrize("address", ["", "memory", "memory://x", "redis://", "http://10.0.0.9/", "Redis://h"])
def test_other_addresses_are_refused(address: str) -> None:
    with pytest.raises(ConfigError, match="is not an address: memory://, or redis://"):
        store_at(address)


def test_a_port_that_is_none_is_refused_without_showing_the_password() -> None:
    pytest.importorskip("redis")
    with pytest.raises(ConfigError, match=r"redis://10\.0\.0\.9:sixty/0 is not an address") as caught:
        RedisStore("redis://:secret@10.0.0.9:sixty/0").open()
    assert "secret" not in str(caught.value)


def test_no_server_is_said_when_it_is_opened() -> None:
    pytest.importorskip("redis")
    address = f"redis://127.0.0.1:{free_port()}/0"
    with pytest.raises(
        ConfigError, match=f"{address} gives no answer .*start a Redis server there, or use memory"
    ):
        RedisStore(address).open()


def test_a_server_that_never_answers_is_not_waited_for_long(monkeypatch: pytest.MonkeyPatch) -> None:
    pytest.importorskip("redis")
    monkeypatch.setattr("flowedge.state.store._TIMEOUT", _TIMEOUT)  # the server of this module makes it longer
    with socket.create_server(("127.0.0.1", 0)) as silent:
        begun = time.monotonic()
        with pytest.raises(ConfigError, match="gives no answer"):
            RedisStore(f"redis://127.0.0.1:{silent.getsockname()[1]}/0").open()
    assert time.monotonic() - begun < 60 * _TIMEOUT


def test_without_the_package_the_extra_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "redis", None)
    with pytest.raises(ConfigError, match=r"pip install \"flowedge\[redis\]\""):
        RedisStore("redis://127.0.0.1/0").open()


def test_a_password_comes_from_the_environment_and_is_never_shown(monkeypatch: pytest.MonkeyPatch) -> None:
    with redis_server("--requirepass", "p@ss/wörd") as guarded:
        store = RedisStore(guarded.address.replace("//", "//:${STORE_PASS}@"))
        with pytest.raises(ConfigError, match="the environment variable STORE_PASS is not set"):
            store.open()
        store.close()
        monkeypatch.setenv("STORE_PASS", "guessed")
        with pytest.raises(ConfigError, match="refuses the user name or the password") as caught:
            store.open()
        store.close()
        assert "guessed" not in str(caught.value)
        monkeypatch.setenv("STORE_PASS", "p@ss/wörd")
        store.open()
        assert store.swap("north", None, b"one", 60)
        guarded.stop()
        with pytest.raises(StoreError) as lost:
            store.load("north")
        assert "p@ss" not in str(lost.value)
        store.close()


def test_a_server_that_dies_fails_each_call_until_it_is_back() -> None:
    with redis_server() as first:
        store = RedisStore(first.address)
        store.open()
        store.swap("north", None, b"one", 60)
        first.stop()
        for _ in range(2):
            with pytest.raises(StoreError, match=f"{first.address} gives no answer"):
                store.load("north")
            with pytest.raises(StoreError, match="gives no answer"):
                store.swap("north", b"one", b"two", 60)
        with redis_server(port=first.port):
            assert store.load("north") is None
            assert store.swap("north", None, b"two", 60)
        store.close()


def test_stores_wait_longer_while_a_test_has_a_server() -> None:
    """A busy machine must not make the server look dead."""
    with redis_server() as running:
        store = RedisStore(running.address)
        store.open()
        assert store._client.get_connection_kwargs()["socket_timeout"] >= 10 * _TIMEOUT
        store.close()


def test_a_server_whose_port_was_taken_starts_on_another(monkeypatch: pytest.MonkeyPatch) -> None:
    with socket.create_server(("127.0.0.1", 0)) as other:
        ports = iter([other.getsockname()[1], free_port()])
        monkeypatch.setattr("tests.redis_server.free_port", lambda: next(ports))
        with redis_server() as running:
            store = RedisStore(running.address)
            store.open()
            assert store.swap("north", None, b"one", 60)
            store.close()
