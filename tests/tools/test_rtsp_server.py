"""The test server is right: what PyAV receives from it is what the files hold, faults included."""

from __future__ import annotations

import base64
import logging
import shutil
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from itertools import islice, pairwise
from pathlib import Path

import av
import numpy as np
import pytest
from av.container import InputContainer

from tools import rtsp_channels
from tools.rtp import CLOCK_RATE, ClipError, load_clip
from tools.rtsp_server import RtspServer

SCRIPT = Path(__file__).parents[2] / "tools" / "rtsp_server.py"
PICTURES = 10
STEP = 20  # a picture's brightness tells its place in the clip
FPS = 50
TICKS = CLOCK_RATE // FPS
PATIENCE = 60.0  # seconds after which something that should happen has not


def write_clip(
    path: Path, width: int = 160, height: int = 120, codec: str = "libx264", noise: bool = False
) -> Path:
    """Encode ten pictures at 50 a second, with B-frames, each brighter than the one before."""
    random = np.random.default_rng(0)
    with av.open(str(path), "w") as container:
        stream = container.add_stream(codec, rate=FPS, options={"qp": "15"} if noise else {})
        stream.width, stream.height, stream.pix_fmt = width, height, "yuv420p"
        for index in range(PICTURES):
            picture = np.full((height, width, 3), STEP * index, np.uint8)
            if noise:
                picture = random.integers(0, 256, picture.shape, np.uint8)
            frame = av.VideoFrame.from_ndarray(picture, format="rgb24")
            container.mux(stream.encode(frame))
        container.mux(stream.encode())
    return path


@pytest.fixture(scope="module")
def clip(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_clip(tmp_path_factory.mktemp("clips") / "small.mp4")


@pytest.fixture(scope="module")
def wide_clip(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_clip(tmp_path_factory.mktemp("clips") / "wide.mkv", width=192)


@pytest.fixture(scope="module")
def noisy_clip(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_clip(tmp_path_factory.mktemp("clips") / "noisy.mp4", noise=True)


@pytest.fixture
def server(clip: Path) -> Iterator[RtspServer]:
    with RtspServer({"stream": clip}) as server:
        yield server


@contextmanager
def attached(
    url: str, transport: str = "tcp", *, opens: float = PATIENCE, reads: float = PATIENCE
) -> Iterator[InputContainer]:
    """FFmpeg's client, and how many seconds it waits for an answer and for a picture."""
    options = {"rtsp_transport": transport, "analyzeduration": "0", "probesize": "32"}
    with av.open(url, options=options, timeout=(opens, reads)) as container:
        yield container


def place(frame: av.VideoFrame) -> int:
    """A picture's place in its clip, read from its brightness."""
    return round(float(frame.to_ndarray(format="rgb24").mean()) / STEP)


def watch(url: str, count: int, transport: str = "tcp") -> list[av.VideoFrame]:
    with attached(url, transport) as container:
        return list(islice(container.decode(video=0), count))


def until(condition: Callable[[], bool]) -> None:
    deadline = time.monotonic() + PATIENCE
    while not condition():
        assert time.monotonic() < deadline, "it did not happen"
        time.sleep(0.01)


class Client:
    """Speaks RTSP by hand, to say what no well-behaved client would say."""

    def __init__(self, server: RtspServer, receive_buffer: int | None = None) -> None:
        self.socket = socket.socket()
        if receive_buffer:
            self.socket.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, receive_buffer)
        self.socket.settimeout(PATIENCE)
        self.socket.connect((server.host, server.port))
        self.file = self.socket.makefile("rb")
        self.url = server.url("stream")

    def __enter__(self) -> Client:
        return self

    def __exit__(self, *_: object) -> None:
        self.file.close()
        self.socket.close()

    def ask(self, method: str, path: str = "", **headers: str) -> tuple[int, dict[str, str]]:
        lines = [f"{method} {self.url}{path} RTSP/1.0", "CSeq: 7"]
        lines += [f"{name}: {value}" for name, value in headers.items()]
        return self.say("\r\n".join(lines) + "\r\n\r\n")

    def say(self, text: str) -> tuple[int, dict[str, str]]:
        self.socket.sendall(text.encode())
        status = int(self.file.readline().split()[1])
        headers = {}
        while line := self.file.readline().decode().strip():
            name, value = line.split(": ", 1)
            headers[name] = value
        self.file.read(int(headers.get("Content-Length", "0")))
        return status, headers

    def packet(self) -> tuple[int, bytes]:
        """Receive an interleaved packet and its channel's number."""
        dollar, channel, *length = self.file.read(4)
        assert dollar == ord("$")
        return channel, self.file.read(int.from_bytes(bytes(length), "big"))


@pytest.mark.parametrize("transport", ["tcp", "udp"])
def test_pictures_and_timestamps_go_on_through_the_loop(server: RtspServer, transport: str) -> None:
    frames = watch(server.url("stream"), 25, transport)
    assert [place(frame) for frame in frames] == [index % PICTURES for index in range(25)]
    # FFmpeg leaves the first timestamp out.
    times = [frame.pts for frame in frames[1:]]
    assert all(later - earlier == TICKS for earlier, later in pairwise(times))


@pytest.mark.parametrize("transport", ["tcp", "udp"])
def test_pictures_larger_than_a_packet_arrive_whole(noisy_clip: Path, transport: str) -> None:
    with av.open(str(noisy_clip)) as container:
        expected = [frame.to_ndarray(format="rgb24") for frame in container.decode(video=0)]
    with RtspServer({"stream": noisy_clip}) as server:
        frames = watch(server.url("stream"), PICTURES, transport)
    for frame, picture in zip(frames, expected, strict=True):
        assert np.array_equal(frame.to_ndarray(format="rgb24"), picture)


def test_the_video_starts_at_once_at_its_first_picture(server: RtspServer) -> None:
    for _ in range(2):
        assert place(watch(server.url("stream"), 1)[0]) == 0


def test_frame_rate_override(clip: Path) -> None:
    with RtspServer({"stream": clip}, fps=25) as server, attached(server.url("stream")) as container:
        assert container.streams.video[0].average_rate == 25
        times = [frame.pts for frame in islice(container.decode(video=0), 15)][1:]
    assert all(later - earlier == CLOCK_RATE // 25 for earlier, later in pairwise(times))


def test_sender_reports_tell_the_time_of_capture(server: RtspServer) -> None:
    opened = time.time()
    with attached(server.url("stream")) as container:
        list(islice(container.decode(video=0), 3))
        captured = container.start_time_realtime / 1e6
    assert opened - 0.5 < captured < time.time()


def test_a_password_is_asked_for(clip: Path) -> None:
    with RtspServer({"stream": clip}, credentials=("viewer", "s3cret")) as server:
        url = server.url("stream")
        assert "s3cret" not in url
        assert place(watch(url.replace("//", "//viewer:s3cret@"), 1)[0]) == 0
        for refused in (url, url.replace("//", "//viewer:wrong@"), url.replace("//", "//other:s3cret@")):
            with pytest.raises(av.HTTPUnauthorizedError), attached(refused):
                pass


def test_basic_authentication_is_accepted(clip: Path) -> None:
    with RtspServer({"stream": clip}, credentials=("viewer", "s3cret")) as server, Client(server) as client:
        right, wrong = (f"Basic {base64.b64encode(text).decode()}" for text in (b"viewer:s3cret", b"viewer:no"))
        assert client.ask("OPTIONS")[0] == 200
        assert client.ask("DESCRIBE")[0] == 401
        assert client.ask("DESCRIBE", Authorization=wrong)[0] == 401
        assert client.ask("DESCRIBE", Authorization="Basic ???")[0] == 401
        assert client.ask("DESCRIBE", Authorization=right)[0] == 200


def test_an_unknown_path_is_not_found(server: RtspServer) -> None:
    with pytest.raises(av.HTTPNotFoundError), attached(server.url("other")):
        pass


def test_encrypted(clip: Path, tmp_path: Path) -> None:
    openssl = shutil.which("openssl")
    if openssl is None:
        pytest.skip("needs openssl to make a certificate")
    cert, key = tmp_path / "cert.pem", tmp_path / "key.pem"
    command = [openssl, "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-subj", "/CN=localhost"]
    subprocess.run([*command, "-keyout", key, "-out", cert], check=True, capture_output=True)
    with RtspServer({"stream": clip}, tls=(cert, key)) as server:
        assert server.url("stream").startswith("rtsps://")
        assert [place(frame) for frame in watch(server.url("stream"), 5)] == [0, 1, 2, 3, 4]


def test_clients_are_counted(server: RtspServer) -> None:
    assert server.clients == 0
    with attached(server.url("stream")), attached(server.url("stream"), "udp"):
        assert server.clients == 2
    until(lambda: server.clients == 0)


def test_a_frozen_server_says_nothing(server: RtspServer) -> None:
    with attached(server.url("stream"), reads=0.4) as container:
        next(container.decode(video=0))
        server.freeze()
        with pytest.raises(av.ExitError):
            list(islice(container.decode(video=0), 100))
        with pytest.raises(av.FFmpegError), attached(server.url("stream"), opens=0.3):
            pass
    server.thaw()
    assert place(watch(server.url("stream"), 1)[0]) == 0


def test_a_thawed_session_goes_on_after_a_gap(server: RtspServer) -> None:
    began = time.monotonic()
    with attached(server.url("stream")) as container:
        frames = container.decode(video=0)
        first = list(islice(frames, 5))
        server.freeze()
        thaw = threading.Timer(0.5, server.thaw)
        thaw.start()
        shown = first + list(islice(frames, 15))
        thaw.join()
    assert [place(frame) for frame in shown] == [index % PICTURES for index in range(20)]
    steps = [later.pts - earlier.pts for earlier, later in pairwise(shown[1:])]
    gaps = [step for step in steps if step != TICKS]
    assert len(gaps) <= 3  # a gap in sending order is one or two in the order of display
    assert CLOCK_RATE * 0.3 < max(gaps) < CLOCK_RATE * (time.monotonic() - began)


def test_a_stopped_server_starts_again_on_its_port(server: RtspServer) -> None:
    url = server.url("stream")
    with attached(url) as container:
        frames = container.decode(video=0)
        next(frames)
        server.stop()
        assert len(list(frames)) < 50  # FFmpeg takes the cut for the end of the file
        with pytest.raises(av.ConnectionRefusedError), attached(url):
            pass
    assert server.clients == 0
    server.start()
    assert server.url("stream") == url
    assert place(watch(url, 1)[0]) == 0


def test_another_file_under_the_same_path(server: RtspServer, wide_clip: Path) -> None:
    with attached(server.url("stream")) as container:
        frames = container.decode(video=0)
        assert next(frames).width == 160
        server.serve("stream", wide_clip)
        assert {frame.width for frame in frames} <= {160}
    assert watch(server.url("stream"), 1)[0].width == 192


@pytest.mark.parametrize("transport", ["tcp", "udp"])
def test_another_file_in_the_same_session(server: RtspServer, wide_clip: Path, transport: str) -> None:
    with attached(server.url("stream"), transport) as container:
        frames = container.decode(video=0)
        shown = list(islice(frames, 5))
        server.switch("stream", wide_clip)
        shown += islice(frames, 20)
    change = [frame.width for frame in shown].index(192)
    assert {frame.width for frame in shown[change:]} == {192}
    assert [place(frame) for frame in shown[change:][:PICTURES]] == list(range(PICTURES))[: 25 - change]
    steps = [later.pts - earlier.pts for earlier, later in pairwise(shown[1:])]
    assert min(steps) > 0
    assert max(steps) <= 6 * TICKS


def test_a_slow_client_is_disconnected(
    noisy_clip: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(rtsp_channels, "MAX_BACKLOG", 100_000)
    with RtspServer({"stream": noisy_clip}, fps=2000) as server, Client(server, 4096) as client:
        client.ask("SETUP", "/track0", Transport="RTP/AVP/TCP;unicast;interleaved=0-1")
        assert client.ask("PLAY")[0] == 200
        until(lambda: "127.0.0.1 reads stream too slowly and is disconnected" in caplog.text)
        until(lambda: server.clients == 0)


def test_interleaved_packets(server: RtspServer) -> None:
    with Client(server) as client:
        status, headers = client.ask("SETUP", "/track0", Transport="RTP/AVP/TCP;unicast;interleaved=4-5")
        assert (status, headers["Transport"]) == (200, "RTP/AVP/TCP;unicast;interleaved=4-5")
        session = headers["Session"].split(";")[0]
        assert len(session) >= 16
        status, headers = client.ask("PLAY", Session=session)
        info = dict(part.split("=", 1) for part in headers["RTP-Info"].split(";"))
        assert info["url"] == f"{client.url}/track0"
        channel, report = client.packet()
        assert (channel, report[1]) == (5, 200)
        channel, first = client.packet()
        assert channel == 4
        assert int.from_bytes(first[2:4], "big") == int(info["seq"])
        assert int.from_bytes(first[4:8], "big") == int(info["rtptime"])
        assert first[12] & 31 == 7  # a sequence parameter set


def test_requests_that_are_refused(server: RtspServer) -> None:
    tcp = "RTP/AVP/TCP;unicast;interleaved=0-1"
    with Client(server) as client:
        assert client.ask("PLAY")[0] == 455
        assert client.ask("PLAY", Session="guessed")[0] == 454
        assert client.ask("TEARDOWN")[0] == 454
        assert client.ask("RECORD")[0] == 405
        assert client.ask("SETUP")[0] == 461
        assert client.ask("SETUP", Transport="RTP/AVP;multicast")[0] == 461
        assert client.ask("SETUP", "/no/such", Transport=tcp)[0] == 404
        assert client.ask("SETUP", Transport=f"RTP/AVP;multicast,{tcp}")[0] == 200
        assert client.ask("GET_PARAMETER")[0] == 200
        assert client.ask("TEARDOWN")[0] == 200
        assert client.ask("GET_PARAMETER", Session="gone")[0] == 454
        assert client.say("OPTIONS * RTSP/9.0\r\nCSeq: 1\r\n\r\n")[0] == 505
        assert client.ask("SETUP", Transport="RTP/AVP;unicast;client_port=many")[0] == 400
        assert client.file.read() == b""  # after which the server hangs up


def test_leaving_the_context_leaves_nothing_behind(clip: Path, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.WARNING)
    threads = set(threading.enumerate())
    with ExitStack() as stack:
        server = stack.enter_context(RtspServer({"stream": clip}))
        with Client(server) as idle, attached(server.url("stream")), attached(server.url("stream"), "udp"):
            server.freeze()
            idle.socket.sendall(b"OPTIONS * RTSP/1.0\r\nCSeq: 1\r\n\r\n")
            stack.close()
            assert set(threading.enumerate()) == threads
            with socket.socket() as again:
                again.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
                again.bind((server.host, server.port))
    assert not caplog.records


def test_only_h264_is_served(tmp_path: Path) -> None:
    path = write_clip(tmp_path / "old.mp4", codec="mpeg4")
    with pytest.raises(ClipError, match=r"old.mp4 holds mpeg4 video, but this server sends H.264 only\.$"):
        load_clip(path)
    done = subprocess.run([sys.executable, SCRIPT, path], capture_output=True, text=True, timeout=PATIENCE)
    assert done.returncode == 2
    assert done.stderr.endswith("holds mpeg4 video, but this server sends H.264 only.\n")
    with pytest.raises(ClipError, match="cannot be read: No such file or directory"):
        load_clip(tmp_path / "none.mp4")


def test_the_command_serves_until_it_is_told_to_end(clip: Path) -> None:
    command = [
        sys.executable,
        SCRIPT,
        clip,
        "--port",
        "0",
        "--path",
        "gate/1",
        "--user",
        "u",
        "--password",
        "p",
    ]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        url = next(word for word in process.stdout.readline().split() if word.startswith("rtsp:")).rstrip(";")
        assert url.endswith("/gate/1")
        assert place(watch(url.replace("//", "//u:p@"), 1)[0]) == 0
        process.send_signal(signal.SIGTERM)
        _, errors = process.communicate(timeout=PATIENCE)
    assert process.returncode == 0
    assert errors == "127.0.0.1 plays gate/1\n"
