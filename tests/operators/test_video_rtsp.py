"""Live cameras over RTSP: attaching, every way to lose one, coming back, and never telling a secret."""

from __future__ import annotations

import itertools
import logging
import shutil
import socket
import socketserver
import ssl
import subprocess
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import replace
from importlib import import_module
from pathlib import Path
from types import TracebackType
from typing import Self

import pytest

from flowedge import Packet, SourceError
from flowedge.graph.contract import Detached
from flowedge.operators.decode import Decode
from flowedge.operators.video import Video
from flowedge.video import camera as camera_module
from flowedge.video.tls import fingerprint
from tools.rtp import Clip, RtpStream
from tools.rtsp_server import RtspServer

video_module = import_module("flowedge.operators.video")  # the package's own `video` is the function
PATIENCE = 60.0  # seconds after which something that should happen has not
SECRET = "hunter2"


@pytest.fixture(autouse=True)
def impatient(monkeypatch):
    """What fails is tried again in fractions of a second, but no camera counts as silent because it is slow."""
    monkeypatch.setattr(video_module, "RTSP", replace(video_module.RTSP, silent_after=PATIENCE))
    monkeypatch.setattr(camera_module, "FIRST_PAUSE", 0.05)
    monkeypatch.setattr(camera_module, "LONGEST_PAUSE", 0.2)


@pytest.fixture
def soon_silent(monkeypatch):
    """A camera that freezes is noticed in a fraction of a second."""
    monkeypatch.setattr(video_module, "RTSP", replace(video_module.RTSP, silent_after=0.6))


@pytest.fixture(autouse=True)
def log(caplog):
    """What the camera says; no test may make it say a password."""
    caplog.set_level(logging.DEBUG)
    others = ("asyncio", "rtsp_server")  # the other side of the connection
    with caplog.filtering(lambda record: record.name not in others):
        yield caplog
    assert SECRET not in caplog.text


@pytest.fixture
def server(clip) -> Iterator[RtspServer]:
    with RtspServer({"stream": clip}) as running:
        yield running


@pytest.fixture
def nonsense() -> Iterator[str]:
    """Host and port of a server that answers like no camera."""

    class Mail(socketserver.BaseRequestHandler):
        def handle(self) -> None:
            self.request.recv(100)
            self.request.sendall(b"220 mail.example.org\r\n\r\n")

    with socketserver.TCPServer(("127.0.0.1", 0), Mail) as server:
        threading.Thread(target=server.serve_forever, args=(0.02,)).start()
        yield f"127.0.0.1:{server.server_address[1]}"
        server.shutdown()


class Watcher:
    """Reads a camera in a thread, as the runtime does, and waits for what is to come."""

    def __init__(self, url: str, **options: object) -> None:
        self.packets: list[Packet] = []
        self.error: SourceError | None = None
        self.stop = threading.Event()
        self._changed = threading.Condition()
        self._source = Video({"north": url}, **{"connect_timeout": PATIENCE, **options})
        self._thread = threading.Thread(target=self._read)

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, kind: type | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self.stop.set()
        self._thread.join(PATIENCE)
        assert not self._thread.is_alive()

    def until(self, holds: Callable[[], object]) -> None:
        """Wait until something holds; packets and log records are looked at when they come."""
        deadline = time.monotonic() + PATIENCE
        with self._changed:
            while not holds():
                assert time.monotonic() < deadline, "it did not happen"
                self._changed.wait(0.02)

    def _read(self) -> None:
        try:
            for packet in self._source.read("north", self.stop):
                if isinstance(packet, Detached):
                    continue
                with self._changed:
                    self.packets.append(packet)
                    self._changed.notify_all()
        except SourceError as error:
            self.error = error


def refused(url: str, **options: object) -> SourceError:
    """The error of a camera that no retry can mend."""
    with Watcher(url, **options) as watcher:
        watcher.until(lambda: watcher.error)
    assert watcher.error is not None
    assert not watcher.error.transient
    assert watcher.error.__context__ is None  # FFmpeg's own error holds the address
    return watcher.error


@pytest.mark.parametrize("transport", ["tcp", "udp"])
def test_attach(server, transport, log):
    with Watcher(server.url("stream"), transport=transport) as watcher:
        watcher.until(lambda: len(watcher.packets) > 5)
    first = watcher.packets[0]
    assert first.keyframe
    assert (first.parameters.codec, first.origin.width, first.origin.height) == ("h264", 64, 48)
    assert [packet.origin.index for packet in watcher.packets] == list(range(len(watcher.packets)))
    assert watcher.packets[5].origin.media == pytest.approx(5 / 25, abs=0.001)
    assert log.messages[0].startswith("north: attached, 64x48 h264 25 fps, after ")
    assert Decode().process(first) is not None


@pytest.mark.parametrize("transport", ["tcp", "udp"])
def test_the_first_picture_does_not_wait_for_a_second_of_pictures(server, transport, monkeypatch):
    """FFmpeg by itself watches the stream for a second, 27 pictures, before it says what it holds."""
    sent, packets, frozen = itertools.count(1), RtpStream.packets, threading.Event()

    def freezing(*arguments: object) -> list[bytes]:
        if next(sent) == 3:
            server.running.clear()
            frozen.set()
        return packets(*arguments)

    monkeypatch.setattr(RtpStream, "packets", freezing)
    with Watcher(server.url("stream"), transport=transport) as watcher:
        watcher.until(lambda: watcher.packets)
        assert frozen.wait(PATIENCE)
        server.thaw()


def test_a_scheme_in_capitals(server):
    with Watcher(server.url("stream").replace("rtsp://", "RTSP://")) as watcher:
        watcher.until(lambda: watcher.packets)


def test_a_slow_camera_attaches_where_the_setting_says(server, monkeypatch):
    described = Clip.sdp
    monkeypatch.setattr(Clip, "sdp", lambda clip: time.sleep(1) or described(clip))
    with Watcher(server.url("stream"), connect_timeout=30.0) as watcher:
        watcher.until(lambda: watcher.packets)
    assert watcher.packets[0].origin.session == 0


def test_capture_time_comes_from_the_cameras_reports(server):
    with Watcher(server.url("stream")) as watcher:
        watcher.until(lambda: len(watcher.packets) > 5)
    origins = [packet.origin for packet in watcher.packets]
    assert all(origin.time_error == camera_module.CLOCK_ERROR for origin in origins)
    assert all(0 <= time.time() - origin.time < 5 for origin in origins)
    assert origins[5].time - origins[0].time == pytest.approx(5 / 25, abs=0.002)


def test_a_camera_whose_clock_was_never_set_gets_the_arrival_time(server, monkeypatch):
    monkeypatch.setattr(camera_module, "SYNCHRONISED", 0.0)
    with Watcher(server.url("stream")) as watcher:
        watcher.until(lambda: watcher.packets)
    assert watcher.packets[0].origin.time_error == camera_module.ARRIVAL_ERROR


def test_parameter_sets_that_come_with_the_pictures_only(server, monkeypatch):
    described = Clip.sdp
    monkeypatch.setattr(Clip, "sdp", lambda clip: described(clip).replace("sprop-parameter-sets=", "x="))
    with Watcher(server.url("stream")) as watcher:
        watcher.until(lambda: len(watcher.packets) > 12)
    frame = Decode().process(watcher.packets[0])
    assert frame is not None
    assert (frame.origin.width, frame.origin.height) == (64, 48)
    assert watcher.packets[0].keyframe


def test_a_camera_that_goes_and_comes_back(server, log):
    with Watcher(server.url("stream")) as watcher:
        watcher.until(lambda: len(watcher.packets) > 3)
        server.stop()
        watcher.until(lambda: any("connection refused" in message for message in log.messages))
        server.start()
        watcher.until(lambda: watcher.packets[-1].origin.session == 1)
    origins = [packet.origin for packet in watcher.packets]
    assert [origin.index for origin in origins] == list(range(len(origins)))
    assert sorted({origin.session for origin in origins}) == [0, 1]
    assert next(o for o in origins if o.session == 1).media == pytest.approx(0, abs=0.001)
    warnings = [record.getMessage() for record in log.records if record.levelno == logging.WARNING]
    assert len(warnings) == 2  # closed, refused; not one for each attempt
    url = server.url("stream")
    assert warnings[0] == f"north: {url} closed the connection; next try in 0.05 s"
    assert warnings[1].startswith(f"north: connection refused at {url} (nothing listens there); next try in 0.")
    assert "(session 1), 64x48 h264 25 fps" in log.messages[-1]


@pytest.mark.parametrize("transport", ["tcp", "udp"])
def test_a_camera_that_freezes_is_noticed(server, log, transport, soon_silent):
    with Watcher(server.url("stream"), transport=transport) as watcher:
        watcher.until(lambda: len(watcher.packets) > 3)
        server.freeze()
        watcher.until(lambda: any("no picture" in message for message in log.messages))
        server.thaw()
        watcher.until(lambda: watcher.packets[-1].origin.session > 0)
    assert any(
        m.startswith(f"north: no picture from {server.url('stream')} for 0.6 s; next try") for m in log.messages
    )


def test_a_camera_that_accepts_and_does_not_answer(server, log):
    server.freeze()
    with Watcher(server.url("stream"), connect_timeout=0.5) as watcher:
        watcher.until(lambda: any("no answer" in message for message in log.messages))
        server.thaw()
        watcher.until(lambda: watcher.packets)
    assert log.messages[0].startswith(f"north: no answer from {server.url('stream')} for 0.5 s; next try in")
    assert watcher.packets[0].origin.session == 0


def test_another_picture_size_after_a_reconnect(server, make_clip, log):
    with Watcher(server.url("stream")) as watcher:
        watcher.until(lambda: len(watcher.packets) > 3)
        server.serve("stream", make_clip("wide.mp4", width=96))
        watcher.until(lambda: watcher.packets[-1].origin.session == 1)
    frame = list(map(Decode().process, watcher.packets))[-1]
    assert frame is not None
    assert (frame.width, frame.origin.width) == (96, 96)
    assert "north: frame size is now 96x48 (was 64x48)" in log.messages


def test_another_picture_size_in_the_midst_of_a_session(server, make_clip, log):
    decode = Decode()
    with Watcher(server.url("stream")) as watcher:
        watcher.until(lambda: len(watcher.packets) > 3)
        server.switch("stream", make_clip("wide.mp4", width=96))
        watcher.until(lambda: (seen := list(map(decode.process, watcher.packets)))[-1] and seen[-1].width == 96)
    assert {packet.origin.session for packet in watcher.packets} == {0}
    assert "north: frame size is now 96x48 (was 64x48)" in log.messages


def test_password_with_every_kind_of_character(clip, monkeypatch):
    password = f"{SECRET}@:/?%#"
    monkeypatch.setenv("CAM_PASS", password)
    with RtspServer({"stream": clip}, credentials=("admin", password)) as server:
        address = server.url("stream").replace("://", "://admin:${CAM_PASS}@")
        with Watcher(address) as watcher:
            watcher.until(lambda: watcher.packets)
    assert watcher.error is None


@pytest.mark.parametrize("user_info", ["", f"admin:{SECRET}@"])
def test_a_wrong_password(clip, user_info):
    with RtspServer({"stream": clip}, credentials=("admin", "right")) as server:
        error = refused(server.url("stream").replace("://", f"://{user_info}"))
        assert str(error) == f"north: {server.url('stream')} wants another user name and password"
    assert error.kind == "unauthorised"


def test_a_wrong_path(server):
    error = refused(server.url("nothing").replace("://", f"://admin:{SECRET}@"))
    assert (error.kind, str(error)) == (
        "not found",
        f"north: there is no such stream at {server.url('nothing')}",
    )


def test_after_a_first_success_a_wrong_path_is_retried(server, clip, log):
    with Watcher(server.url("stream")) as watcher:
        watcher.until(lambda: len(watcher.packets) > 3)
        server.credentials = ("admin", "right")
        server.serve("stream", clip)
        watcher.until(lambda: any("another user name" in message for message in log.messages))
        server.credentials = None
        watcher.until(lambda: watcher.packets[-1].origin.session == 1)


def test_a_closed_port_is_retried_quietly_until_stopped(log):
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        url = f"rtsp://admin:{SECRET}@127.0.0.1:{free.getsockname()[1]}/x"
        with Watcher(url) as watcher:
            watcher.until(lambda: len(log.messages) > 3)
    assert watcher.error is None
    assert [record.levelname for record in log.records[:3]] == ["WARNING", "DEBUG", "DEBUG"]


def test_an_unknown_host(log):
    with Watcher("rtsp://nowhere.invalid/x") as watcher:
        watcher.until(lambda: log.messages)
    assert log.messages[0].startswith(
        "north: the host name in rtsp://nowhere.invalid/x is unknown; next try in"
    )


def test_what_answers_is_no_camera(nonsense, log):
    url = f"rtsp://{nonsense}/x"
    with Watcher(url) as watcher:
        watcher.until(lambda: log.messages)
    assert log.messages[0].startswith(f"north: what answers at {url} does not speak RTSP; next try in")


def test_stop_ends_a_frozen_camera(server, soon_silent):
    with Watcher(server.url("stream")) as watcher:
        watcher.until(lambda: len(watcher.packets) > 3)
        server.freeze()
        watcher.stop.set()
    assert watcher.error is None


def certificate(folder: Path, name: str, address: str) -> tuple[Path, Path]:
    """A self-signed certificate and its key."""
    openssl = shutil.which("openssl")
    if openssl is None:
        pytest.skip("needs openssl to make a certificate")
    cert, key = folder / f"{name}.pem", folder / f"{name}-key.pem"
    command = [openssl, "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-subj", f"/CN={name}"]
    issued_for = ["-addext", f"subjectAltName={address}"]
    subprocess.run([*command, *issued_for, "-keyout", key, "-out", cert], check=True, capture_output=True)
    return cert, key


def signed_certificate(folder: Path, address: str) -> tuple[Path, Path]:
    """A certificate that an authority signed, and its key."""
    maker, maker_key = certificate(folder, "maker", "DNS:maker.example")
    cert, key, wish, more = (folder / name for name in ("leaf.pem", "leaf-key.pem", "leaf.csr", "leaf.ext"))
    more.write_text(f"subjectAltName={address}\nbasicConstraints=CA:FALSE\n")
    request = ["req", "-newkey", "rsa:2048", "-nodes", "-subj", "/CN=camera", "-keyout", key, "-out", wish]
    signing = ["x509", "-req", "-in", wish, "-CA", maker, "-CAkey", maker_key, "-CAcreateserial"]
    for command in (request, [*signing, "-extfile", more, "-out", cert]):
        subprocess.run(["openssl", *command], check=True, capture_output=True)
    return cert, key


@pytest.fixture
def secure(clip, tmp_path) -> Iterator[tuple[RtspServer, Path, str]]:
    """A camera with a self-signed certificate of another name, its file, and its fingerprint."""
    cert, key = certificate(tmp_path, "camera", "DNS:camera.local")
    with RtspServer({"stream": clip}, tls=(cert, key)) as server:
        yield server, cert, fingerprint(ssl.PEM_cert_to_DER_cert(cert.read_text()))


def test_rtsps_with_the_fingerprint_of_the_cameras_certificate(secure):
    server, _, right = secure
    pairs = ":".join(right[7:].upper()[n : n + 2] for n in range(0, 64, 2))  # as openssl prints it
    for trust in (right, {"north": f"sha256:{pairs}"}):
        with Watcher(server.url("stream"), trust=trust) as watcher:
            watcher.until(lambda watcher=watcher: watcher.packets)


@pytest.mark.parametrize("address", ["DNS:camera.local", "DNS:*.camera.local", "IP:10.0.0.9"])
def test_rtsps_with_the_fingerprint_of_a_certificate_that_another_signed(clip, address, tmp_path):
    """As cameras come with that their maker signed, whose own certificate nobody has."""
    cert, key = signed_certificate(tmp_path, address)
    right = fingerprint(ssl.PEM_cert_to_DER_cert(cert.read_text()))
    with RtspServer({"stream": clip}, tls=(cert, key)) as server:
        with Watcher(server.url("stream"), trust=right) as watcher:
            watcher.until(lambda: watcher.packets)
        unknown = refused(server.url("stream"))
        assert str(unknown).endswith(f'unable to get local issuer certificate; trust="{right}" trusts this one')


def test_rtsps_with_a_file_of_authorities(clip, tmp_path):
    cert, key = certificate(tmp_path, "localhost", "IP:127.0.0.1")
    with (
        RtspServer({"stream": clip}, tls=(cert, key)) as server,
        Watcher(server.url("stream"), trust=str(cert)) as watcher,
    ):
        watcher.until(lambda: watcher.packets)


def test_rtsps_refuses_who_is_not_trusted(secure):
    server, _, right = secure
    unknown = refused(server.url("stream"))
    assert unknown.kind == "tls"
    assert f"the certificate of {server.url('stream')} is not trusted: self" in str(unknown)
    assert f'trust="{right}"' in str(unknown)
    other = refused(server.url("stream"), trust=f"sha256:{'0' * 64}")
    assert f"it has the fingerprint {right}, not sha256:000" in str(other)


def test_no_encryption_where_it_was_asked_for(nonsense):
    url = f"rtsps://admin:{SECRET}@{nonsense}/x"
    error = refused(url)
    assert error.kind == "tls"
    assert str(error) == f"north: no encrypted connection to rtsps://{nonsense}/x came about"
