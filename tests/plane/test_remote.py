"""Sessions between machines, on the loopback interface: who is let in, and who may say what to whom."""

from __future__ import annotations

import logging
import queue
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from types import ModuleType
from typing import TYPE_CHECKING, Any

import pytest

from flowedge.errors import ConfigError, UserError
from flowedge.plane.access import from_node, node_topic, to_node
from flowedge.plane.configuration import configuration
from flowedge.plane.credentials import Credentials
from flowedge.plane.probe import DialError
from flowedge.plane.remote import Endpoint, dial, listen
from flowedge.plane.topics import heard

if TYPE_CHECKING:
    import zenoh

SECONDS = 20.0
"""How long anything may take that will come for sure."""

TIMEOUT = 1.0
"""How long a call may take that will fail for sure."""


ANSWERS = from_node("*", "**")


class Heard:
    """What a session hears on a key expression, apart from what it says itself."""

    def __init__(self, session: zenoh.Session, key: str) -> None:
        import zenoh

        self._came: queue.Queue[tuple[str, bytes]] = queue.Queue()
        self._subscriber = session.declare_subscriber(key, self._note, allowed_origin=zenoh.Locality.REMOTE)

    def until(self, last: bytes) -> list[tuple[str, bytes]]:
        """What came before the payload `last`."""
        came = []
        while (message := self._came.get(timeout=SECONDS))[1] != last:
            came.append(message)
        return came

    @property
    def nothing(self) -> bool:
        """Whether nothing more has come so far."""
        return self._came.empty()

    def _note(self, sample: Any) -> None:
        self._came.put((str(sample.key_expr), sample.payload.to_bytes()))


def say(session: zenoh.Session, key: str, payload: bytes) -> None:
    """Put a payload once somebody listens there."""
    import zenoh

    publisher = session.declare_publisher(key, congestion_control=zenoh.CongestionControl.BLOCK)
    assert heard(publisher).wait(SECONDS)
    publisher.put(payload)
    publisher.undeclare()  # type: ignore[no-untyped-call]


@pytest.fixture
def endpoint(port: int) -> str:
    return f"tls/localhost:{port}"


@pytest.fixture
def home(cluster: Path, endpoint: str) -> Iterator[zenoh.Session]:
    """The home, which lets gate and yard in and has never heard of guest."""
    with listen(endpoint, Credentials.of(cluster, "home"), nodes=["gate", "yard"]) as session:
        yield session


@pytest.fixture
def gate(home: zenoh.Session, cluster: Path, endpoint: str) -> Iterator[zenoh.Session]:
    with dial(endpoint, Credentials.of(cluster, "gate")) as session:
        yield session


@pytest.fixture
def yard(home: zenoh.Session, cluster: Path, endpoint: str) -> Iterator[zenoh.Session]:
    with dial(endpoint, Credentials.of(cluster, "yard")) as session:
        yield session


def test_home_and_node_hear_each_other(home: zenoh.Session, gate: zenoh.Session) -> None:
    answers, orders = Heard(home, ANSWERS), Heard(gate, to_node("gate", "**"))
    say(home, to_node("gate", "plan"), b"plan")
    assert orders.until(b"plan") == []
    say(gate, from_node("gate", "ready"), b"ready")
    assert answers.until(b"ready") == []


def test_a_picture_passes_whole(home: zenoh.Session, gate: zenoh.Session) -> None:
    picture = bytes(3840 * 2160 * 3)
    answers = Heard(home, from_node("gate", "**"))
    say(gate, from_node("gate", "picture"), picture)
    assert answers.until(picture) == []


def test_a_node_does_not_speak_for_another(home: zenoh.Session, gate: zenoh.Session) -> None:
    answers, control, data = (Heard(home, key) for key in (ANSWERS, "flowedge/@/**", "flowedge/**"))
    for key in (
        from_node("yard", "ready"),
        node_topic("yard", "1"),
        node_topic("gate", "1"),
        "flowedge/@/plan",
    ):
        gate.put(key, b"false")
    gate.put("flowedge/crossing/Detect/north", b"false")
    say(gate, from_node("gate", "last"), b"last")
    assert answers.until(b"last") == []
    assert control.until(b"last") == []
    assert data.nothing


def test_a_node_gives_no_orders(home: zenoh.Session, gate: zenoh.Session, yard: zenoh.Session) -> None:
    answers, orders = Heard(home, ANSWERS), Heard(yard, to_node("yard", "**"))
    gate.put(to_node("yard", "plan"), b"false")
    gate.delete(to_node("yard", "plan"))
    say(gate, from_node("gate", "done"), b"done")
    answers.until(b"done")
    say(home, to_node("yard", "plan"), b"true")
    assert orders.until(b"true") == []


def test_a_node_hears_no_other(home: zenoh.Session, gate: zenoh.Session, yard: zenoh.Session) -> None:
    spies = [Heard(gate, key) for key in (to_node("yard", "**"), from_node("yard", "**"), "**")]
    wide, own = Heard(gate, "flowedge/@/**"), Heard(gate, to_node("gate", "**"))
    answers, orders = Heard(home, ANSWERS), Heard(yard, to_node("yard", "**"))
    say(home, to_node("yard", "plan"), b"secret")
    orders.until(b"secret")
    say(yard, from_node("yard", "ready"), b"secret")
    answers.until(b"secret")
    home.put("flowedge/crossing/Detect/north", b"secret")
    say(home, to_node("gate", "end"), b"end")
    assert own.until(b"end") == []
    assert wide.until(b"end") == []  # however wide it asked, it is told its own
    assert all(spy.nothing for spy in spies)


def test_a_node_announces_and_describes_itself_only(home: zenoh.Session, gate: zenoh.Session) -> None:
    came: queue.Queue[str] = queue.Queue()
    _watch = home.liveliness().declare_subscriber(
        node_topic("*", "*"), lambda sample: came.put(str(sample.key_expr)), history=True
    )
    answering = [
        gate.declare_queryable(key, lambda query, key=key: query.reply(key, b"8 cores"))
        for key in (node_topic("yard", "1"), to_node("yard", "load"), node_topic("gate", "1"))
    ]
    tokens = [gate.liveliness().declare_token(node_topic(name, "1")) for name in ("yard", "gate")]
    assert came.get(timeout=SECONDS) == node_topic("gate", "1")
    [reply] = home.get(node_topic("gate", "1"), timeout=SECONDS)
    assert reply.ok is not None
    assert reply.ok.payload.to_bytes() == b"8 cores"
    assert list(home.get(node_topic("yard", "1"), timeout=SECONDS)) == []
    assert list(home.get(to_node("yard", "load"), timeout=SECONDS)) == []
    assert came.empty()
    for declared in (*tokens, *answering):
        declared.undeclare()  # type: ignore[no-untyped-call]


def test_a_node_asks_nobody(home: zenoh.Session, gate: zenoh.Session) -> None:
    asked: list[str] = []
    _queryable = home.declare_queryable("flowedge/@/**", lambda query: asked.append(str(query.key_expr)))
    for key in ("flowedge/@/to/yard/plan", "flowedge/@/**", to_node("gate", "plan")):
        assert list(gate.get(key, timeout=SECONDS)) == []
    assert asked == []


def test_a_certificate_without_a_rule_gives_no_rights(
    home: zenoh.Session, gate: zenoh.Session, cluster: Path, endpoint: str
) -> None:
    answers, orders = Heard(home, ANSWERS), Heard(gate, to_node("gate", "**"))
    with dial(endpoint, Credentials.of(cluster, "guest")) as guest:
        spies = [Heard(guest, key) for key in ("**", "flowedge/@/**", to_node("guest", "**"))]
        for key in (from_node("guest", "x"), from_node("gate", "x"), to_node("gate", "plan")):
            guest.put(key, b"false")
        say(gate, from_node("gate", "last"), b"last")
        assert answers.until(b"last") == []
        say(home, to_node("gate", "plan"), b"true")
        assert orders.until(b"true") == []
        assert all(spy.nothing for spy in spies)


@pytest.mark.parametrize("mode", ["router", "peer"])
def test_a_node_that_comes_as_a_router_gains_nothing(
    home: zenoh.Session, yard: zenoh.Session, cluster: Path, endpoint: str, mode: str
) -> None:
    import zenoh

    own, tls = Credentials.of(cluster, "gate"), {"enable_mtls": True}
    for use in ("connect", "listen"):
        tls |= {f"{use}_certificate": str(own.certificate), f"{use}_private_key": str(own.key)}
    settings = {"transport/link/tls": {"root_ca_certificate": str(own.authority), **tls}}
    answers, orders = Heard(home, ANSWERS), Heard(yard, to_node("yard", "**"))
    with zenoh.open(configuration(mode, connect=[endpoint], settings=settings)) as gate:
        while answers.nothing:  # routers take a moment until they know of each other
            gate.put(from_node("gate", "here"), b"here")
            time.sleep(0.01)
        gate.put(to_node("yard", "plan"), b"false")
        gate.put(from_node("gate", "done"), b"done")
        assert {payload for _, payload in answers.until(b"done")} == {b"here"}
        say(home, to_node("yard", "plan"), b"true")
        assert orders.until(b"true") == []


def test_a_home_that_dials_gives_orders(
    home: zenoh.Session, gate: zenoh.Session, cluster: Path, endpoint: str
) -> None:
    orders = Heard(gate, to_node("gate", "**"))
    with dial(endpoint, Credentials.of(cluster, "home")) as other:
        answers = Heard(other, ANSWERS)
        say(other, to_node("gate", "plan"), b"plan")
        assert orders.until(b"plan") == []
        say(gate, from_node("gate", "ready"), b"ready")
        assert answers.until(b"ready") == []


def test_a_foreign_authority_is_said(home: zenoh.Session, foreign: Path, endpoint: str) -> None:
    with pytest.raises(DialError, match=r"has a certificate of another authority than our .*ca.pem") as error:
        dial(endpoint, Credentials.of(foreign, "gate"), timeout=TIMEOUT)
    assert not error.value.transient


def test_a_foreign_certificate_is_refused_by_the_home(
    home: zenoh.Session, cluster: Path, foreign: Path, endpoint: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(Credentials, "check", lambda self: None)  # which would have said so before
    credentials = Credentials("gate", cluster / "ca.pem", foreign / "gate.pem", foreign / "gate.key")
    with pytest.raises(DialError, match=r"does not accept our certificate .*gate.pem: it trusts another"):
        dial(endpoint, credentials, timeout=TIMEOUT)


def test_without_a_certificate_nobody_gets_in(home: zenoh.Session, cluster: Path, endpoint: str) -> None:
    import zenoh

    settings = {
        "connect/timeout_ms": int(1000 * TIMEOUT),
        "connect/exit_on_failure": True,
        "transport/link/tls": {"root_ca_certificate": str(cluster / "ca.pem"), "enable_mtls": False},
    }
    with pytest.raises(zenoh.ZError, match="Unable to connect"):
        zenoh.open(configuration("client", connect=[endpoint], settings=settings))


def test_plain_tcp_is_told_to_use_tls(home: zenoh.Session, port: int) -> None:
    with pytest.raises(DialError, match=rf"localhost:{port} wants TLS: dial tls/localhost:{port}"):
        dial(f"tcp/localhost:{port}", timeout=TIMEOUT)


def test_tls_to_plain_tcp_is_said(cluster: Path, port: int) -> None:
    with (
        listen(f"tcp/127.0.0.1:{port}"),
        pytest.raises(DialError, match="accepts a connection but not TLS: it listens on plain TCP"),
    ):
        dial(f"tls/127.0.0.1:{port}", Credentials.of(cluster, "gate"), timeout=TIMEOUT)


def test_a_certificate_for_another_host_is_said(cluster: Path, port: int) -> None:
    with (
        listen(f"tls/127.0.0.2:{port}", Credentials.of(cluster, "home")),
        pytest.raises(DialError, match=r"has a certificate that is not for 127.0.0.2: dial it as"),
    ):
        dial(f"tls/127.0.0.2:{port}", Credentials.of(cluster, "gate"), timeout=TIMEOUT)


def test_an_expired_certificate_is_said(
    certificates: ModuleType, tmp_path: Path, endpoint: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    certificates.issue(tmp_path, {"home": ()}, now=datetime.now(UTC) - timedelta(days=366))
    certificates.issue(tmp_path, {"gate": ()}, now=datetime.now(UTC))
    with pytest.raises(UserError, match=r"home.pem has expired: make another"):
        listen(endpoint, Credentials.of(tmp_path, "home"))
    monkeypatch.setattr(Credentials, "check", lambda self: None)
    with (
        listen(endpoint, Credentials.of(tmp_path, "home")),
        pytest.raises(DialError, match="has a certificate that has expired"),
    ):
        dial(endpoint, Credentials.of(tmp_path, "gate"), timeout=TIMEOUT)


def test_nobody_there_is_said_and_may_pass(cluster: Path, endpoint: str) -> None:
    with pytest.raises(DialError, match="nobody listens at localhost:") as error:
        dial(endpoint, Credentials.of(cluster, "gate"), timeout=TIMEOUT)
    assert error.value.transient


def test_a_machine_that_hangs_is_said(cluster: Path) -> None:
    with socket.socket() as silent:
        silent.bind(("127.0.0.1", 0))
        silent.listen()
        with pytest.raises(DialError, match="took the call but opened no session"):
            dial(f"tcp/127.0.0.1:{silent.getsockname()[1]}", timeout=0.2)


@pytest.mark.parametrize(
    "endpoint", ["tcp/0.0.0.0:7447", "tcp/10.0.0.5:7447", "tcp/[::]:7447", "tcp/gate.lan:7447"]
)
def test_nothing_leaves_the_machine_without_certificates(endpoint: str) -> None:
    for function in (listen, dial):
        with pytest.raises(ConfigError, match=r"leaves this machine without certificates: .* --insecure"):
            function(endpoint)


def test_unless_it_is_told_to(port: int, caplog: pytest.LogCaptureFixture) -> None:
    with (
        caplog.at_level(logging.WARNING, logger="flowedge"),
        listen(f"tcp/0.0.0.0:{port}", insecure=True) as home,
        dial(f"tcp/127.0.0.1:{port}") as node,
    ):
        answers = Heard(home, ANSWERS)
        say(node, from_node("gate", "ready"), b"ready")
        assert answers.until(b"ready") == []
    assert f"tcp/0.0.0.0:{port} is open to everybody who reaches it" in caplog.text


def test_certificates_and_plain_tcp_do_not_go_together(cluster: Path) -> None:
    with pytest.raises(ConfigError, match="makes no use of certificates: write tls/ in place of tcp/"):
        listen("tcp/127.0.0.1:7447", Credentials.of(cluster, "home"))
    with pytest.raises(ConfigError, match="TLS needs certificates: make them with `flowedge certs`"):
        listen("tls/127.0.0.1:7447")


def test_a_port_that_is_taken_is_said(home: zenoh.Session, cluster: Path, endpoint: str) -> None:
    with pytest.raises(UserError, match="cannot listen there: Address already in use"):
        listen(endpoint, Credentials.of(cluster, "home"))


@pytest.mark.parametrize(
    "text",
    [
        "",
        "localhost",
        "tls/gate",
        "tls/gate:0",
        "tls/gate:65536",
        "udp/gate:1",
        "tls/gate:1#key=x",
        "tls/a b:1",
    ],
)
def test_what_is_no_endpoint_is_refused(text: str) -> None:
    with pytest.raises(ConfigError, match=r"is not tls/HOST:PORT, e.g. tls/10.0.0.5:7447"):
        Endpoint.parse(text)


TALKATIVE = """
import logging, pathlib, sys, zenoh
logging.basicConfig(level=logging.DEBUG)
zenoh.init_log_from_env_or("trace")
from flowedge.plane.credentials import Credentials
from flowedge.plane.remote import dial, listen
cluster, endpoint = pathlib.Path(sys.argv[1]), sys.argv[2]
with listen(endpoint, Credentials.of(cluster, "home"), nodes=["gate"]):
    with dial(endpoint, Credentials.of(cluster, "gate")) as gate:
        gate.put("flowedge/@/from/gate/x", b"said")
print("done", repr(Credentials.of(cluster, "gate")))
"""


def test_no_key_is_logged(cluster: Path, endpoint: str) -> None:
    command = [sys.executable, "-c", TALKATIVE, str(cluster), endpoint]
    done = subprocess.run(command, capture_output=True, text=True, timeout=60, check=True)
    assert "done" in done.stdout
    assert "TRACE" in done.stdout + done.stderr  # or nothing would have been tried
    for name in ("home", "gate"):
        for line in (cluster / f"{name}.key").read_text().splitlines()[1:-1]:
            assert line not in done.stdout + done.stderr
